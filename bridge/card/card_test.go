package card

import (
	"math/rand/v2"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"
)

var events = []event{eventFoundNobody, eventFoundSeveral, eventFoundOffline, eventFoundOnline, eventOpened, eventNotOpened, eventSessionLive, eventSessionOver, eventChatClosed, EventUpscopeFailed}

// drawn reads the arrows of the drawing in states.md.
func drawn(t *testing.T) map[State]map[State]bool {
	t.Helper()
	text, err := os.ReadFile("states.md")
	if err != nil {
		t.Fatal(err)
	}
	arrows := map[State]map[State]bool{}
	for _, m := range regexp.MustCompile(`(?m)^ {4}(\w+) --> (\w+) :`).FindAllStringSubmatch(string(text), -1) {
		from, to := State(strings.ReplaceAll(m[1], "_", "-")), State(strings.ReplaceAll(m[2], "_", "-"))
		if arrows[from] == nil {
			arrows[from] = map[State]bool{}
		}
		arrows[from][to] = true
	}
	return arrows
}

func TestTheDrawingHasExactlyTheTransitionsThatHappen(t *testing.T) {
	arrows := drawn(t)
	taken := map[State]map[State]bool{}
	random := rand.New(rand.NewPCG(1, 2))
	for range 2000 {
		s := Searching
		for range 50 {
			to := nextState(s, events[random.IntN(len(events))])
			if to == s {
				continue
			}
			if !arrows[s][to] {
				t.Fatalf("%s → %s is not in the drawing", s, to)
			}
			if taken[s] == nil {
				taken[s] = map[State]bool{}
			}
			taken[s][to] = true
			s = to
		}
	}
	for from, tos := range arrows {
		for to := range tos {
			if !taken[from][to] {
				t.Errorf("%s → %s is drawn but never happens", from, to)
			}
		}
	}
}

func TestAClosedCardStaysClosed(t *testing.T) {
	for _, e := range events {
		if got := nextState(Closed, e); got != Closed {
			t.Errorf("event %d moves a closed card to %s", e, got)
		}
	}
}

// TestACardIsFoundOnce holds because otherwise each return of a customer, and each card from before an
// update, would count as found.
func TestACardIsFoundOnce(t *testing.T) {
	for _, test := range []struct {
		stored, now State
		found       time.Time
		want        bool
	}{
		{"", Searching, time.Time{}, false},
		{"", Ready, time.Time{}, true},
		{Searching, NoVisitor, time.Time{}, false},
		{NoVisitor, Choose, time.Time{}, true},
		{Failed, Offline, time.Time{}, true},
		{Ready, Opened, time.Time{}, false}, // stored before an update
		{NoVisitor, Ready, time.Unix(1, 0), false},
		{Searching, Closed, time.Time{}, false},
	} {
		c := Card{stored: test.stored, About: Detail{Found: test.found}}
		c.State = string(test.now)
		if got := c.JustFound(); got != test.want {
			t.Errorf("%s → %s, found at %v: %v, want %v", test.stored, test.now, test.found, got, test.want)
		}
	}
}
