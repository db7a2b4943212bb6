package slack

import (
	"strings"
	"testing"
)

func TestTextIsCutBetweenWords(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text  string
		limit int
		want  string
	}{
		{"short", 10, "short"},
		{"exactly", 7, "exactly"},
		{"one two three", 12, "one two…"},
		{"one two three", 8, "one two…"},
		{"unbreakable", 6, "unbre…"},
		{"𝄞𝄞𝄞𝄞", 5, "𝄞𝄞…"}, // each counts twice
		{"ab   cdefghij", 6, "ab…"},
	} {
		if got := clip(c.text, c.limit); got != c.want || utf16Len(got) > c.limit {
			t.Errorf("%q at %d: %q", c.text, c.limit, got)
		}
	}
}

func TestAVisitorsTextIsOneLineOfPlainText(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"Ann Lee":                   "Ann Lee",
		" a\r\n\tb\u2028c\u00a0d ":  "a b c d",
		"x\u202egnp.exe\u2066":      "xgnp.exe",
		"\x1b[31mred\x00":           "[31mred",
		"https://evil.example/?a=1": "https evil.example/?a=1",
		"bad \xff UTF-8":            "bad \uFFFD UTF-8",
		"\u200b\u00ad\ufeff":        "",
		strings.Repeat("x", 1<<20):  strings.Repeat("x", 99) + "…",
	} {
		if got := plain(text, 100); got != want {
			t.Errorf("%.40q: %q", text, got)
		}
	}
}
