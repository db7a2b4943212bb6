package connectortest

import (
	"strings"
	"testing"

	"cobrowse-bridge/bridge/chat"
)

// content tests what is in a post.
func (h Harness) content(t *testing.T) {
	t.Run("a post has all texts and links of its card", func(t *testing.T) {
		s := h.New(t, (&wire{}).wrap)
		c := s.fullCard()
		if _, err := s.Connector.Show(t.Context(), s.Place, c); err != nil {
			t.Fatal(err)
		}
		s.one(t, words(c)...)
	})

	t.Run("an edited post has the new texts and none of the old ones", func(t *testing.T) {
		s := h.New(t, (&wire{}).wrap)
		if s.Connector.CannotEdit {
			t.Skip("the service cannot edit")
		}
		old := s.fullCard()
		ref, err := s.Connector.Show(t.Context(), s.Place, old)
		if err != nil {
			t.Fatal(err)
		}
		c := s.card()
		c.Ref, c.Title, c.Lines = ref, "Live with Bea", []chat.Line{{Label: "Session", Text: "Carol"}}
		c.Button = chat.Link{Label: "Return", Address: door + "?again"}
		if _, err := s.Connector.Show(t.Context(), s.Place, c); err != nil {
			t.Fatal(err)
		}
		s.one(t, words(c)...)
		for _, word := range words(old) {
			if word != door && strings.Contains(strings.Join(s.Shown(s.Place), "\n"), word) {
				t.Errorf("%q is still in the post", word)
			}
		}
	})

	t.Run("markup in a customer's text is shown as text", func(t *testing.T) {
		for _, markup := range h.New(t, (&wire{}).wrap).Markup {
			s := h.New(t, (&wire{}).wrap)
			c := s.card()
			c.Title = "Co-browse with Ann " + markup + " Lee"
			c.Lines = []chat.Line{{Label: "Page", Text: "Shop " + markup + " Basket"}}
			if _, err := s.Connector.Show(t.Context(), s.Place, c); err != nil {
				t.Fatalf("%s: %v", markup, err)
			}
			s.one(t, "Ann", "Lee", "Shop", "Basket")
			marked := s.Marked
			if marked == nil {
				marked = func() []string { return s.Shown(s.Place) }
			}
			if text := strings.Join(marked(), "\n"); strings.Contains(text, markup) {
				t.Errorf("the post has the markup %s: %s", markup, text)
			}
		}
	})
}

// fullCard is a card with several lines and links.
func (s Service) fullCard() chat.Card {
	c := s.card()
	c.Lines = append(c.Lines, chat.Line{Label: "From", Text: "Berlin"}, chat.Line{Text: "Ask before you type"})
	c.More = []chat.Link{{Label: "Stop", Address: door + "?stop"}, {Label: "Recording", Address: "https://upscope.example.org/recording/17"}}
	c.Chat = chat.Link{Label: "Conversation", Address: "https://chat.example.org/live/ann"}
	return c
}

// words are all texts and addresses of a card.
func words(c chat.Card) []string {
	all := []string{c.Title}
	for _, l := range c.Lines {
		all = append(all, l.Label, l.Text)
	}
	for _, l := range append(append([]chat.Link{c.Button}, c.More...), c.Chat) {
		all = append(all, l.Label, l.Address)
	}
	var present []string
	for _, word := range all {
		if word != "" {
			present = append(present, word)
		}
	}
	return present
}
