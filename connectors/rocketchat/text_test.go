package rocketchat

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"cobrowse-bridge/bridge/chat"
)

// hostile are names that a visitor could type.
var hostile = []string{
	"[Start](https://evil.example)", "![x](http://evil.example/p.png)", "<https://evil.example|Watch>", "@all", "@here", "@bob",
	"#general", "*bold* _it_ ~no~ `code` ```block```", "||spoiler||", ":rocket: :)", "https://evil.example/w/1", "www.evil.example",
	"evil.com", "ann@evil.example", "+12025550123", "10.0.0.1/x", "<t:1700000000:R>", "\\(x^2\\) $$y$$", "> quote", "- item", "1. item",
	"# heading", "a\nb\r\nc\u2028d\u2029e\x85f\vg", "\u202egnp.exe", "a\u200bb\u2060c\ufeffd", "\x00\x07\x1b[31m", "{{ .Name }} ${x}",
	"\xff\xfe", "&lt;b&gt;", "<script>alert(1)</script>", strings.Repeat("@all ", 20_000), "ㅤ", "",
}

var markup = "[](){}*_~`|\\$@#<>:+&"

// clock matches times, which keep their colons.
var clock = regexp.MustCompile(`[0-9]:([0-9]{2}:)*[0-9]`)

func TestAVisitorsTextHasNoMarkup(t *testing.T) {
	t.Parallel()
	for _, s := range hostile {
		plain(t, s)
	}
	for in, want := range map[string]string{
		"Ann Miller":                    "Ann Miller",
		"Zoë  O'Neill-Ström, 3rd.":      "Zoë O'Neill-Ström, 3rd.",
		"山田 太郎":                         "山田 太郎",
		"Ann (mobile)":                  "Ann （mobile）",
		"[Start](https://evil.example)": "［Start］（https：//evil․example）",
		"@all":                          "＠all",
		"12:30":                         "12:30",
		"at 03:45, 3:4, or 23:59:07":    "at 03:45, 3:4, or 23:59:07",
		"12: 30, 12 :30, :30, 12:":      "12： 30, 12 ：30, ：30, 12：",
		"a:1 1:a ١:٢ :1:":               "a：1 1：a ١：٢ ：1：",
		"1:100:1 2:1234:5 9:8ball:9":    "1:100：1 2:1234：5 9:8ball：9",
		"03:45-04:10, 1:100:1:100":      "03:45-04:10, 1:100：1:100",
		"::1 1::1 10.0.0.1:80":          "：：1 1：：1 10․0․0․1:80",
		"a\nb":                          "a b",
		"\u202egnp.exe":                 "gnp․exe",
	} {
		if got := neutral(in, 100); got != want {
			t.Errorf("%q: got %q, want %q", in, got, want)
		}
	}
}

func plain(t *testing.T, s string) {
	t.Helper()
	for _, limit := range []int{1, 10, 400} {
		got := neutral(s, limit)
		if n := utf8.RuneCountInString(got); n > limit {
			t.Errorf("%.60q: %d runes, limit %d", s, n, limit)
		}
		signs := clock.ReplaceAllString(got, "")
		if !utf8.ValidString(got) || strings.ContainsAny(signs, markup) || strings.TrimSpace(got) != got {
			t.Errorf("%.60q became %q", s, got)
		}
		if regexp.MustCompile(`\.[^ ]`).MatchString(got) {
			t.Errorf("%.60q became %q, which may be linked", s, got)
		}
		for _, r := range got {
			if unicode.IsControl(r) || unicode.In(r, unicode.Cf, unicode.Zl, unicode.Zp) || unicode.IsSpace(r) && r != ' ' {
				t.Errorf("%.60q became %q with %U", s, got, r)
			}
		}
		if again := neutral(got, limit); again != got {
			t.Errorf("%.60q: %q is not stable: %q", s, got, again)
		}
	}
}

func FuzzNeutral(f *testing.F) {
	for _, s := range hostile {
		if len(s) < 1000 {
			f.Add(s)
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		plain(t, s)
		card := chat.Card{Title: "x" + s, Lines: []chat.Line{{Text: s}, {Label: s, Text: s}},
			Button: chat.Link{Label: "Co-browse", Address: "https://bridge.example.org/w/1"}}
		text, err := layout(card)
		if err != nil {
			t.Fatal(err)
		}
		// The text has one bold title, one link, and no more lines than the card.
		if strings.Count(text, "](") != 1 || strings.Count(text, "*") != 2 || strings.Count(text, "\n") > 3 {
			t.Fatalf("%q became %q", s, text)
		}
		for line := range strings.Lines(text) {
			if regexp.MustCompile(`^(\s|-|\+|\d+\.\s)`).MatchString(line) {
				t.Fatalf("%q became the line %q", s, line)
			}
		}
	})
}

func TestCardsLookAsRecorded(t *testing.T) {
	t.Parallel()
	door := chat.Link{Label: "Co-browse", Address: "https://bridge.example.org/w/4kqRs7-_"}
	link := chat.Link{Label: "Open the chat", Address: "https://chat.example.org/chat/live/uHEGz4vfFRdvTTLr7"}
	for name, c := range map[string]chat.Card{
		"searching": {Title: "Searching for Ann", Chat: link},
		"ready": {Title: "Co-browse with Ann", Button: door, Chat: link, Lines: []chat.Line{
			{Label: "Customer", Text: "Ann Miller, ann@example.org"}, {Label: "Page", Text: "Basket (shop.example.org)"},
			{Label: "Identity", Text: "Matched by the key on their page."},
		}},
		"choose":    {Title: "2 customers match", Button: chat.Link{Label: "Choose customer", Address: door.Address}, Chat: link},
		"ended":     {Title: "Session with Ann has ended", Lines: []chat.Line{{Label: "Session", Text: "12 min, Bob Baker"}, {Label: "Rating", Text: "5 of 5"}, {Text: "03:45"}}},
		"moved":     {Title: "Chat moved to Eve Evans"},
		"hostile":   {Title: "Co-browse with [Start](https://evil.example)", Button: door, Lines: []chat.Line{{Label: "Customer", Text: "@all\n*now* :rocket: evil.com"}, {Text: "- 1. <t:1>"}}},
		"odd links": {Title: "Links", Button: chat.Link{Label: "Co-browse", Address: "https://bridge.example.org/w/a(b)c*d"}},
		"too long": {Title: strings.Repeat("long name ", 100), Button: door, Chat: link, Lines: func() (l []chat.Line) {
			for range 30 {
				l = append(l, chat.Line{Label: "Note", Text: strings.Repeat("word 😀 ", 200)})
			}
			return l
		}()},
	} {
		text, err := layout(c)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if utf16Len(text) > maxText {
			t.Errorf("%s: %d characters", name, utf16Len(text))
		}
		file := filepath.Join("testdata", "cards", strings.ReplaceAll(name, " ", "-")+".md")
		if *rewrite {
			if err := os.WriteFile(file, []byte(text+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(file)
		if err != nil || text+"\n" != string(want) {
			t.Errorf("%s differs from %s (update it with -rewrite):\n%s", name, file, text)
		}
	}
}

func TestAnInvalidLinkIsRefusedAndNotInTheError(t *testing.T) {
	t.Parallel()
	for _, address := range []string{"javascript:alert(1)", "/w/4kqRs7", "https://u:p@x/w/4kqRs7", "https:///w/4kqRs7", "https://x/w/4kqRs7\n", "https://x/" + strings.Repeat("w/", 1000)} {
		_, err := layout(chat.Card{Title: "x", Button: chat.Link{Label: "Co-browse", Address: address}})
		if err == nil {
			t.Errorf("%.40q was accepted", address)
			continue
		}
		clean(t, "the error", err.Error())
	}
}
