package connectortest

import (
	"strings"
	"testing"

	"cobrowse-bridge/bridge/chat"
)

// places tests who sees a place, who presses there, and addresses that are not places.
func (h Harness) places(t *testing.T) {
	t.Run("the connector says which places several people see", func(t *testing.T) {
		s := h.New(t, (&wire{}).wrap)
		if got, want := s.Connector.IsShared(s.Place.Address), s.Place == s.Team; got != want {
			t.Errorf("%v is shared: %v, want %v", s.Place, got, want)
		}
		if s.Team != (chat.Place{}) && !s.Connector.IsShared(s.Team.Address) {
			t.Errorf("%v is not shared", s.Team)
		}
	})

	t.Run("a press at a shared place says who pressed which card", func(t *testing.T) {
		s := h.New(t, (&wire{}).wrap)
		if signs := s.Press != nil; s.Connector.SignsPresses != signs {
			t.Fatalf("SignsPresses is %v; the service signs presses: %v", s.Connector.SignsPresses, signs)
		}
		if s.Press == nil {
			t.Skip("the service does not sign presses")
		}
		c := s.card()
		c.Button.Address, c.Public = "", false
		if _, err := s.Connector.Show(t.Context(), s.Team, c); err != nil {
			t.Fatal(err)
		}
		_, ask := s.mustDeliver(t, s.Press())
		if ask.Verb != chat.Open || ask.Card != c.ID || ask.Agent.ID == "" {
			t.Errorf("Read says %+v, want Open of card %s by an agent", ask, c.ID)
		}
		if ask.Place.Address == "" || s.Connector.IsShared(ask.Place.Address) {
			t.Errorf("the agent's own card is for %v, want a place that only the agent sees", ask.Place)
		}
	})

	t.Run("an address that is one agent's secret is not posted at a shared place", func(t *testing.T) {
		s := h.New(t, (&wire{}).wrap)
		if s.Team == (chat.Place{}) {
			t.Skip("no place of this service is shared")
		}
		c := s.fullCard()
		c.Public = false
		_, _ = s.Connector.Show(t.Context(), s.Team, c) // it may refuse the card
		if text := strings.Join(s.Shown(s.Team), "\n"); strings.Contains(text, door) {
			t.Errorf("several people see %s", text)
		}
	})

	t.Run("an address that is not a place does not change paths", func(t *testing.T) {
		var sent requests
		s := h.New(t, sent.wrap)
		for _, id := range IDs(Rand(t), drawn) {
			for _, address := range s.addresses(id) {
				sent.reset()
				_, _ = s.Connector.Show(t.Context(), chat.Place{Connector: s.Place.Connector, Address: address}, s.card())
				for _, u := range sent.urls() {
					if why := misled(u, id); why != "" {
						t.Errorf("%.60q: %s: %.200s", address, why, u)
					}
				}
			}
		}
		if text := strings.Join(s.VisitorReads(), "\n"); strings.Contains(text, door) {
			t.Error("the visitor reads the link")
		}
	})
}

// addresses returns an id as an address, after the addresses of the service's places, and in place
// of their last part, such as the user in dm/U1.
func (s Service) addresses(id string) []string {
	all := []string{id}
	for _, known := range []string{s.Place.Address, s.Team.Address} {
		all = append(all, known+id, known[:strings.LastIndexAny(known, "/#@:")+1]+id)
	}
	return all
}
