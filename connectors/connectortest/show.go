package connectortest

import (
	"net/http"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/chat"
)

func (h Harness) show(t *testing.T) {
	t.Run("a card shown again without a ref is one post", h.showsOnce)
	t.Run("a card shown with its ref is edited", h.edits)
	t.Run("if posts cannot be edited, another key is another post", h.postsAnotherKey)
	t.Run("two cards are two posts", h.postsTwoCards)
	t.Run("a post whose answer was lost is not repeated", h.survivesLostAnswers)
	t.Run("nothing is posted where the visitor reads", h.hidesFromVisitors)
	t.Run("an invalid place is a permanent error", h.refusesPlaces)
}

func (h Harness) showsOnce(t *testing.T) {
	s := h.New(t, (&wire{}).wrap)
	first, err := s.Connector.Show(t.Context(), s.Place, s.card())
	if err != nil || first == "" {
		t.Fatalf("Show: ref %q, error %v", first, err)
	}
	second, err := s.Connector.Show(t.Context(), s.Place, s.card())
	if err != nil || second != first {
		t.Errorf("shown again: ref %q, error %v; want %q", second, err, first)
	}
	s.one(t, "Co-browse with Ann", door)
}

func (h Harness) edits(t *testing.T) {
	s := h.New(t, (&wire{}).wrap)
	if s.Connector.CannotEdit {
		t.Skip("the service cannot edit")
	}
	c := s.card()
	ref, err := s.Connector.Show(t.Context(), s.Place, c)
	if err != nil {
		t.Fatal(err)
	}
	// Show may return a new ref, if it replaced the post. The next edit gets that one.
	for _, title := range []string{"Live", "Over"} {
		c.Ref, c.Title, c.Button = ref, title, chat.Link{}
		if ref, err = s.Connector.Show(t.Context(), s.Place, c); err != nil || ref == "" {
			t.Fatalf("edited: ref %q, error %v", ref, err)
		}
		s.one(t, title)
	}
	if text := strings.Join(s.Shown(s.Place), "\n"); strings.Contains(text, door) {
		t.Error("the post still has the link that the card no longer has")
	}
}

func (h Harness) postsAnotherKey(t *testing.T) {
	s := h.New(t, (&wire{}).wrap)
	if !s.Connector.CannotEdit || s.Connector.PostsOnce {
		t.Skip("the service can edit, or posts once")
	}
	c := s.card()
	first, err := s.Connector.Show(t.Context(), s.Place, c)
	if err != nil {
		t.Fatal(err)
	}
	c.Key, c.Ref, c.Title, c.Button = c.ID+".2", first, "Over", chat.Link{}
	for range 2 { // the second call is the retry after a lost answer
		second, err := s.Connector.Show(t.Context(), s.Place, c)
		if err != nil || second == "" || second == first {
			t.Errorf("posted again: ref %q, error %v; the first is %q", second, err, first)
		}
	}
	if shown := s.Shown(s.Place); len(shown) != 2 || !strings.Contains(shown[1], "Over") {
		t.Errorf("the agent sees %q", shown)
	}
}

func (h Harness) postsTwoCards(t *testing.T) {
	s := h.New(t, (&wire{}).wrap)
	other := s.card()
	other.ID, other.Key = "card-2", "card-2"
	for _, c := range []chat.Card{s.card(), other} {
		if _, err := s.Connector.Show(t.Context(), s.Place, c); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(s.Shown(s.Place)); n != 2 {
		t.Errorf("%d posts for two cards", n)
	}
}

func (h Harness) survivesLostAnswers(t *testing.T) {
	// Each request is lost once, before and after it reached the service.
	for n := 1; ; n++ {
		var w wire
		s := h.New(t, w.wrap)
		if _, err := s.Connector.Show(t.Context(), s.Place, s.card()); err != nil {
			t.Fatal(err)
		}
		if n > w.requests() {
			break
		}
		for _, reached := range []bool{false, true} {
			var w wire
			s := h.New(t, w.wrap)
			w.set(func(i int, req *http.Request, next http.RoundTripper) (*http.Response, error) {
				if i != n {
					return next.RoundTrip(req)
				}
				if reached {
					if resp, err := next.RoundTrip(req); err == nil {
						resp.Body.Close()
					}
				}
				return nil, errLost
			})
			if _, err := s.Connector.Show(t.Context(), s.Place, s.card()); err != nil && chat.IsPermanent(err) {
				t.Errorf("request %d lost: %v is permanent", n, err)
			}
			w.set(nil)
			if _, err := s.Connector.Show(t.Context(), s.Place, s.card()); err != nil {
				t.Errorf("request %d lost (reached the service: %v): the next call fails: %v", n, reached, err)
			}
			s.one(t, "Co-browse with Ann", door)
		}
	}
}

func (h Harness) hidesFromVisitors(t *testing.T) {
	s := h.New(t, (&wire{}).wrap)
	c := s.card()
	for _, title := range []string{"Searching", "Ready", "Over"} {
		c.Title = title
		ref, err := s.Connector.Show(t.Context(), s.Place, c)
		if err != nil {
			t.Fatal(err)
		}
		c.Ref = ref
	}
	for _, text := range s.VisitorReads() {
		for _, word := range []string{"Searching", "Ready", "Over", door, "/w/"} {
			if strings.Contains(text, word) {
				t.Errorf("the visitor reads %q", word)
			}
		}
	}
}

func (h Harness) refusesPlaces(t *testing.T) {
	s := h.New(t, (&wire{}).wrap)
	for _, p := range []chat.Place{{}, {Connector: "another", Address: s.Place.Address}} {
		if _, err := s.Connector.Show(t.Context(), p, s.card()); !chat.IsPermanent(err) {
			t.Errorf("%+v: got %v, want a permanent error", p, err)
		}
	}
	if n := len(s.Shown(s.Place)); n != 0 {
		t.Errorf("%d posts", n)
	}
}

// one fails unless the agent sees exactly one post, with these words.
func (s Service) one(t *testing.T, words ...string) {
	t.Helper()
	shown := s.Shown(s.Place)
	if len(shown) != 1 {
		t.Fatalf("the agent sees %d posts, want 1: %q", len(shown), shown)
	}
	for _, w := range words {
		if !strings.Contains(shown[0], w) {
			t.Errorf("%q is not in the post %q", w, shown[0])
		}
	}
}
