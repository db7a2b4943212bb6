package connectortest

import (
	"testing"

	"cobrowse-bridge/bridge/chat"
)

// chats tests what Accept and Read say of a chat, before and after it changed.
func (h Harness) chats(t *testing.T) {
	t.Run("clues have the form that Upscope knows", h.givesKnownClues)
	t.Run("a chat that is closed", h.closesChats)
	t.Run("a chat that is handed over", h.handsOverChats)
	t.Run("a chat that has no agent any more", h.releasesChats)
	t.Run("a chat that the service no longer has", h.closesDeletedChats)
}

func (h Harness) givesKnownClues(t *testing.T) {
	s := h.New(t, (&wire{}).wrap)
	_, ask := s.mustDeliver(t, s.Event())
	for _, id := range ask.Clues.IntegrationIDs {
		if !chat.IsIntegrationID(id) {
			t.Errorf("integration id %q", id)
		}
	}
	if code := ask.Clues.LookupCode; code != "" && !chat.IsLookupCode(code) {
		t.Errorf("lookup code %q", code)
	}
}

func (h Harness) closesChats(t *testing.T) {
	s := h.New(t, (&wire{}).wrap)
	if s.Closing == nil {
		t.Skip("no event of this service closes a chat")
	}
	_, before := s.mustDeliver(t, s.Event())
	receipt, ask := s.mustDeliver(t, s.Closing())
	if before.Verb != chat.Start || ask.Verb != chat.Close || ask.Chat != before.Chat {
		t.Errorf("Read says verb %d of chat %q before and verb %d of chat %q after, want Start and Close", before.Verb, before.Chat, ask.Verb, ask.Chat)
	}
	if change := s.change(t, receipt, ask); !change.Closed || change.Agent != "" {
		t.Errorf("the receipt has the change %+v, want a closed chat", change)
	}
	if receipt.SweepKey != "" {
		t.Error("the receipt has a SweepKey, but a sweep does not find a closed chat")
	}
}

func (h Harness) handsOverChats(t *testing.T) {
	s := h.New(t, (&wire{}).wrap)
	if s.HandOver == nil {
		t.Skip("no event of this service hands a chat over")
	}
	_, before := s.mustDeliver(t, s.Event())
	receipt, ask := s.mustDeliver(t, s.HandOver())
	if ask.Verb != chat.Start || ask.Chat != before.Chat || ask.Agent.ID == "" || ask.Agent.ID == before.Agent.ID {
		t.Errorf("Read says %+v, want another agent than %q", ask, before.Agent.ID)
	}
	if ask.Place == before.Place && !s.Connector.IsShared(ask.Place.Address) {
		t.Errorf("the card stays at %v, which only the agent before sees", ask.Place)
	}
	if change := s.change(t, receipt, ask); change.Closed || change.Agent != "" && change.Agent != ask.Agent.ID {
		t.Errorf("the receipt has the change %+v, but agent %q serves the chat", change, ask.Agent.ID)
	}
}

func (h Harness) releasesChats(t *testing.T) {
	s := h.New(t, (&wire{}).wrap)
	if s.Release == nil {
		t.Skip("no event of this service takes a chat from its agent")
	}
	receipt, ask := s.mustDeliver(t, s.Release())
	if ask.Verb != chat.Start || ask.Agent != (chat.Agent{}) {
		t.Errorf("Read says verb %d with agent %+v, want Start without an agent", ask.Verb, ask.Agent)
	}
	if ask.Place != (chat.Place{}) && !s.Connector.IsShared(ask.Place.Address) {
		t.Errorf("the card stays at %v, which one agent sees", ask.Place)
	}
	if change := s.change(t, receipt, ask); change.Closed || change.Agent != "" {
		t.Errorf("the receipt has the change %+v, want one without an agent", change)
	}
}

func (h Harness) closesDeletedChats(t *testing.T) {
	s := h.New(t, (&wire{}).wrap)
	if s.Remove == nil {
		t.Skip("chats of this service cannot be deleted")
	}
	s.Remove()
	ask, err := s.read(t.Context())
	if ask.Verb != chat.Close && !chat.IsPermanent(err) {
		t.Errorf("Read says verb %d, error %v; want Close or a permanent error", ask.Verb, err)
	}
}

// change returns the only change of a receipt. It must be about the chat that Read returns, because
// the bridge compares them.
func (s Service) change(t *testing.T, r chat.Receipt, ask chat.Ask) chat.ChatChange {
	t.Helper()
	if len(r.Changes) != 1 || r.Changes[0].Chat != ask.Chat || ask.Chat == "" {
		t.Fatalf("the receipt has the changes %+v, want one about chat %q", r.Changes, ask.Chat)
	}
	return r.Changes[0]
}

func (h Harness) serving(t *testing.T) {
	// after compares Serving with what Read returns after a change.
	after := func(change func(Service) func() []byte) func(*testing.T) {
		return func(t *testing.T) {
			s := h.New(t, (&wire{}).wrap)
			event := change(s)
			if event == nil {
				t.Skip("the service has no such event")
			}
			_, ask := s.mustDeliver(t, event())
			s.serves(t, ask.Chat, ask.Agent.ID, ask.Verb == chat.Start)
		}
	}
	t.Run("the agent of an open chat", after(func(s Service) func() []byte { return s.Event }))
	t.Run("the next agent after a hand-over", after(func(s Service) func() []byte { return s.HandOver }))
	t.Run("nobody while the chat has no agent", after(func(s Service) func() []byte { return s.Release }))

	t.Run("a closed chat is not open", func(t *testing.T) {
		s := h.New(t, (&wire{}).wrap)
		_, ask := s.mustDeliver(t, s.Event())
		s.Closing()
		if _, open, err := s.Connector.Serving(t.Context(), ask.Chat); open || err != nil {
			t.Errorf("open %v, error %v", open, err)
		}
		if _, late := s.mustDeliver(t, s.Event()); late.Verb != chat.Close {
			t.Errorf("a late event: Read says verb %d, want Close, as Serving", late.Verb)
		}
	})

	t.Run("a chat that the service no longer has is not open", func(t *testing.T) {
		s := h.New(t, (&wire{}).wrap)
		if s.Remove == nil {
			t.Skip("chats of this service cannot be deleted")
		}
		_, ask := s.mustDeliver(t, s.Event())
		s.Remove()
		s.serves(t, ask.Chat, "", false)
	})
}

// serves fails unless Serving returns this agent and whether the chat is open.
func (s Service) serves(t *testing.T, id, agent string, open bool) {
	t.Helper()
	a, o, err := s.Connector.Serving(t.Context(), id)
	if a != agent || o != open || err != nil {
		t.Errorf("Serving returns agent %q, open %v, error %v; want agent %q, open %v", a, o, err, agent, open)
	}
}
