package templates

import (
	"strings"
	"testing"
)

func TestTextsWithANameHaveAVariantWithoutIt(t *testing.T) {
	check := func(id string, w wording) {
		if len(w) == 0 || w[0] == "" {
			t.Errorf("%s is empty", id)
			return
		}
		optional := id == "desk.about" || strings.HasPrefix(id, "door.changed") // shown only with a name
		if last := w[len(w)-1]; strings.Contains(last, "{name}") && !optional {
			t.Errorf("%s has no variant without a name: %q", id, w)
		}
	}
	for id, w := range pageTexts {
		check(id, w)
	}
	for state, w := range doorHeadings {
		check(state, w)
	}
	for state, c := range cardTexts {
		check(state, c.title)
	}
}

func TestTextsOfMessagesHaveNoMarkup(t *testing.T) {
	check := func(s string) {
		if strings.ContainsAny(s, "[](){}*_~`|\\$@#<>:+&") {
			t.Errorf("Rocket.Chat would show %q with other characters", s)
		}
	}
	for _, c := range cardTexts {
		for _, s := range []string{c.first, c.why, c.next, c.note, c.button, c.stop} {
			check(s)
		}
	}
	for _, r := range refusalTexts {
		check(r.title + r.why + r.next)
	}
	for _, s := range reasonTexts {
		check(s)
	}
	check(ownNote)
}
