package work

import (
	"slices"
	"testing"

	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"
)

func TestACardThatCannotBeEditedIsPostedAgainWhenTheAgentHasSomethingNewToActOn(t *testing.T) {
	t.Parallel()
	const moved = card.State(templates.StateMoved)
	states := []card.State{card.Searching, card.NoVisitor, card.Failed, card.Offline, card.Choose, card.Ready, card.Opened, card.Live, card.Ended, card.Closed, moved}
	anything := func(except ...card.State) []card.State {
		return slices.DeleteFunc(slices.Clone(states), func(s card.State) bool { return slices.Contains(except, s) })
	}
	after := map[card.State][]card.State{ // the states in the last post after which the card is posted
		card.Ready:     {card.NoVisitor, card.Failed, card.Offline, card.Choose, moved},
		card.Choose:    {card.NoVisitor, card.Failed, card.Offline, card.Ready, moved},
		card.Live:      anything(card.Live),
		card.Ended:     anything(card.Ended),
		card.Closed:    anything(card.Closed),
		moved:          anything(moved),
		card.Offline:   {moved},
		card.NoVisitor: {moved},
		card.Failed:    {moved},
		card.Opened:    {moved},
		card.Searching: {moved},
	}
	for _, now := range states {
		if !(summary{state: string(now)}).isNews(summary{}, "") {
			t.Errorf("%s is not posted as the first post", now)
		}
		for _, last := range states {
			if got, want := (summary{state: string(now)}).isNews(summary{state: string(last)}, "print"), slices.Contains(after[now], last); got != want {
				t.Errorf("%s after a post in state %s: posted again %v, want %v", now, last, got, want)
			}
		}
	}
	for _, test := range []struct {
		name      string
		last, now summary
		shown     string
		posted    bool
	}{
		{"the link was renewed", summary{"ready", 0, "a"}, summary{"offline", 0, "b"}, "print", true},
		{"the link is gone", summary{"ready", 0, "a"}, summary{"opened", 0, ""}, "print", false},
		{"a second session was declined", summary{"ended", 1, "a"}, summary{"ended", 2, "a"}, "print", true},
		{"a session ended after the chat", summary{"closed", 0, ""}, summary{"closed", 1, ""}, "print", true},
		{"one of two sessions ended", summary{"live", 0, "a"}, summary{"live", 1, "a"}, "print", false},
		{"another post may have reached the agent since", summary{"ready", 0, "a"}, summary{"ready", 0, "a"}, store.PerhapsShown, true},
		{"a visitor who went offline is not posted, even then", summary{"ready", 0, "a"}, summary{"offline", 0, "a"}, store.PerhapsShown, false},
	} {
		if got := test.now.isNews(test.last, test.shown); got != test.posted {
			t.Errorf("%s: posted again %v, want %v", test.name, got, test.posted)
		}
	}
}

func TestTheSummaryOfAPostIsStoredWithItsRef(t *testing.T) {
	t.Parallel()
	for _, s := range []summary{{"ready", 0, "0a1b"}, {"closed", 12, ""}, {"no-visitor", 0, ""}} {
		for _, ref := range []string{"", "123", "C1/1700.1", "a b\x00c\n"} {
			if last, got := splitRef(joinRef(s, "") + ref); last != s || string(got) != ref {
				t.Errorf("%+v with %q is read as %+v with %q", s, ref, last, got)
			}
		}
	}
	// A connector that could edit when it posted, and now cannot.
	if last, ref := splitRef("C1/1700.1"); last != (summary{}) || ref != "C1/1700.1" {
		t.Errorf("read as %+v with %q", last, ref)
	}
}
