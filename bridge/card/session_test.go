package card

import (
	"fmt"
	"testing"
	"time"

	"cobrowse-bridge/upscope"
)

func TestASessionKeepsTheNamesOfThoseWhoWroteNotes(t *testing.T) {
	agents := []upscope.Agent{{ID: "ea_1", Name: "Bob Baker", ExternalID: "rocketchat:a1"}, {ID: "u_2", Name: "Eve Evans"}, {ID: "ea_3"}}
	for by, want := range map[string]string{"ea_1": "Bob Baker", "u_2": "Eve Evans", "ea_3": "", "ea_9": "", "": "", "rocketchat:a1": ""} {
		s := SessionOf(upscope.Session{ID: "s1", Agents: agents, AgentNotes: []upscope.Note{{Text: "Done.", By: by}}})
		if n := s.Notes[0]; n.By != want || n.Text != "Done." {
			t.Errorf("a note by %q: %+v, want the name %q", by, n, want)
		}
	}
}

func TestASessionKeepsRatingsFromZeroToFive(t *testing.T) {
	for _, r := range []float64{0, 1, 4.5, 5} {
		if s := SessionOf(upscope.Session{ID: "s1", VisitorAgentRating: &r}); s.Rating == nil || *s.Rating != r {
			t.Errorf("the rating %v is kept as %v", r, s.Rating)
		}
	}
	for _, r := range []*float64{nil, new(-1.0), new(5.5), new(1e9)} {
		if s := SessionOf(upscope.Session{ID: "s1", VisitorAgentRating: r}); s.Rating != nil {
			t.Errorf("the rating is kept as %v", *s.Rating)
		}
	}
}

// Two processes whose clocks differ report the same session in turn.
func TestTheTimesOfASessionStay(t *testing.T) {
	var c Card
	begun := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	for i := range 4 {
		off := time.Duration(i%2) * time.Minute
		s := Session{ID: "s1", Started: begun.Add(off), Live: true}
		if i >= 2 {
			s.Ended = begun.Add(10*time.Minute + off)
		}
		c.AddSession(s, begun.Add(20*time.Minute))
	}
	if s := c.About.Sessions[0]; !s.Started.Equal(begun) || !s.Ended.Equal(begun.Add(10*time.Minute)) {
		t.Errorf("it began %v and ended %v", s.Started, s.Ended)
	}
}

func TestTheStartThatUpscopeReportsLaterReplacesAGuess(t *testing.T) {
	var c Card
	begun := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	c.AddSession(Session{ID: "s1", Live: true}, begun.Add(time.Minute))
	c.AddSession(Session{ID: "s1", Live: true}, begun.Add(2*time.Minute))
	if s := c.About.Sessions[0]; !s.Started.Equal(begun.Add(time.Minute)) {
		t.Errorf("it began %v, want when it was first seen", s.Started)
	}
	c.AddSession(Session{ID: "s1", Live: true, Started: begun}, begun.Add(3*time.Minute))
	if s := c.About.Sessions[0]; !s.Started.Equal(begun) || s.Guessed {
		t.Errorf("it began %v", s.Started)
	}
}

func TestTheNameOfTheChatComesBeforeThatOfTheSite(t *testing.T) {
	for _, test := range []struct {
		inChat  string
		visitor upscope.Visitor
		want    string
	}{
		{"Ann", upscope.Visitor{Name: "Ann Silva"}, "Ann (0)"},
		{"", upscope.Visitor{Name: "Ann Silva", Nickname: "annie"}, "Ann Silva (1)"},
		{"", upscope.Visitor{Nickname: "annie", Email: "ann@example.org"}, "annie (1)"},
		{"", upscope.Visitor{Email: "ann@example.org", UniqueID: "cust-77"}, "ann@example.org (2)"},
		{"", upscope.Visitor{UniqueID: "cust-77"}, "cust-77 (2)"},
		{"Ann", upscope.Visitor{UniqueID: "cust-77"}, "Ann (0)"},
		{"", upscope.Visitor{}, " (0)"},
	} {
		var c Card
		c.About.Visitor = test.inChat
		if got := c.Name(); got.Text != test.inChat {
			t.Errorf("without a visitor the name is %+v", got)
		}
		c.SetVisitor(test.visitor)
		if got := c.Name(); fmt.Sprintf("%s (%d)", got.Text, got.Source) != test.want {
			t.Errorf("%q in the chat and %+v: %+v, want %s", test.inChat, test.visitor, got, test.want)
		}
	}
}
