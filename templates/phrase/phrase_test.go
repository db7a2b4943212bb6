package phrase

import "testing"

func TestTheFirstVariantWithAllValuesIsUsed(t *testing.T) {
	w := Wording{"{agents} and {more} more with {name}", "{agents} with {name}", "Somebody with {name}", "Nobody"}
	for _, c := range []struct {
		values      Values
		plain, html string
	}{
		{Values{"agents": []string{"Eve", "<b>"}, "more": 2, "name": "{more}"}, "Eve, <b> and 2 more with {more}", "<bdi>Eve</bdi>, <bdi>&lt;b&gt;</bdi> and 2 more with <bdi>{more}</bdi>"},
		{Values{"agents": []string{"Eve"}, "more": 0, "name": "Ann"}, "Eve with Ann", "<bdi>Eve</bdi> with <bdi>Ann</bdi>"},
		{Values{"agents": []string(nil), "name": "Ann"}, "Somebody with Ann", "Somebody with <bdi>Ann</bdi>"},
		{Values{"name": ""}, "Nobody", "Nobody"},
		{nil, "Nobody", "Nobody"},
	} {
		if got := w.Plain(c.values); got != c.plain {
			t.Errorf("%v: %q, want %q", c.values, got, c.plain)
		}
		if got := string(w.HTML(c.values)); got != c.html {
			t.Errorf("%v: %q, want %q", c.values, got, c.html)
		}
	}
}
