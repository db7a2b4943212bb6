package connectortest

import (
	"net/http"
	"strings"
	"testing"

	"cobrowse-bridge/bridge"
)

func (h Harness) show(t *testing.T) {
	t.Run("shown again without a ref it is one post", func(t *testing.T) {
		s := h.New(t, (&wire{}).wrap)
		first, err := s.Connector.Show(t.Context(), s.Place, card())
		if err != nil || first == "" {
			t.Fatalf("Show: ref %q, error %v", first, err)
		}
		second, err := s.Connector.Show(t.Context(), s.Place, card())
		if err != nil || second != first {
			t.Errorf("shown again: ref %q, error %v; want %q", second, err, first)
		}
		s.one(t, "Co-browse with Ann", door)
	})

	t.Run("shown with its ref it is edited", func(t *testing.T) {
		s := h.New(t, (&wire{}).wrap)
		c := card()
		ref, err := s.Connector.Show(t.Context(), s.Place, c)
		if err != nil {
			t.Fatal(err)
		}
		c.Ref, c.Title, c.Button = ref, "Over", bridge.Link{}
		if again, err := s.Connector.Show(t.Context(), s.Place, c); err != nil || again != ref {
			t.Errorf("edited: ref %q, error %v; want %q", again, err, ref)
		}
		s.one(t, "Over", "")
		if text := strings.Join(s.Shown(), "\n"); strings.Contains(text, door) {
			t.Error("the door is still on a card that has none")
		}
	})

	t.Run("two cards are two posts", func(t *testing.T) {
		s := h.New(t, (&wire{}).wrap)
		other := card()
		other.ID = "card-2"
		for _, c := range []bridge.Card{card(), other} {
			if _, err := s.Connector.Show(t.Context(), s.Place, c); err != nil {
				t.Fatal(err)
			}
		}
		if n := len(s.Shown()); n != 2 {
			t.Errorf("%d posts for two cards", n)
		}
	})

	t.Run("a post whose answer was lost is joined", func(t *testing.T) {
		// Every request is lost in turn, before and after it reached the service.
		for n := 1; ; n++ {
			var w wire
			s := h.New(t, w.wrap)
			if _, err := s.Connector.Show(t.Context(), s.Place, card()); err != nil {
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
				if _, err := s.Connector.Show(t.Context(), s.Place, card()); err != nil && bridge.IsPermanent(err) {
					t.Errorf("request %d lost: %v is permanent", n, err)
				}
				w.set(nil)
				if _, err := s.Connector.Show(t.Context(), s.Place, card()); err != nil {
					t.Errorf("request %d lost (reached the service: %v): the next call fails: %v", n, reached, err)
				}
				s.one(t, "Co-browse with Ann", door)
			}
		}
	})

	t.Run("nothing is sent to where the visitor reads", func(t *testing.T) {
		s := h.New(t, (&wire{}).wrap)
		c := card()
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
	})

	t.Run("a place that is none is refused for good", func(t *testing.T) {
		s := h.New(t, (&wire{}).wrap)
		for _, p := range []bridge.Place{{}, {Connector: "another", Address: s.Place.Address}} {
			if _, err := s.Connector.Show(t.Context(), p, card()); !bridge.IsPermanent(err) {
				t.Errorf("%+v: got %v, want a permanent error", p, err)
			}
		}
		if n := len(s.Shown()); n != 0 {
			t.Errorf("%d posts", n)
		}
	})
}

func (s Service) one(t *testing.T, words ...string) {
	t.Helper()
	shown := s.Shown()
	if len(shown) != 1 {
		t.Fatalf("the agent sees %d posts, want 1: %q", len(shown), shown)
	}
	for _, w := range words {
		if !strings.Contains(shown[0], w) {
			t.Errorf("%q is not in the post %q", w, shown[0])
		}
	}
}
