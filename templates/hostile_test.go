package templates

import (
	"maps"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/PuerkitoBio/goquery"

	"cobrowse-bridge/templates/clean"
)

// corpus is what strangers may type, one Go string literal on each line of the file.
func corpus(t testing.TB) []string {
	t.Helper()
	file, err := os.ReadFile("testdata/hostile.txt")
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range strings.Lines(string(file)) {
		line = strings.TrimSuffix(line, "\n")
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		s, err := strconv.Unquote(line)
		if err != nil {
			t.Fatalf("%s: %v", line, err)
		}
		all = append(all, s)
	}
	return append(all,
		strings.Repeat("A", 64<<10),
		strings.Repeat("Ann ", 16<<10),
		strings.Repeat("Z\u0335\u0322", 16<<10),
		"Z"+strings.Repeat("\u0335", 32<<10),
		strings.Repeat("<b>", 20<<10),
		strings.Repeat("\u202e", 20<<10)+"Ann",
		strings.Repeat(" ", 64<<10)+"Ann",
		strings.Repeat("\u200d", 20<<10),
	)
}

// poison puts s into every text of a page or card.
func poison[T any](v T, s string) T {
	set(reflect.ValueOf(&v).Elem(), s)
	return v
}

func set(v reflect.Value, s string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(s)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				set(v.Field(i), s)
			}
		}
	case reflect.Pointer:
		if !v.IsNil() {
			copied := reflect.New(v.Type().Elem())
			copied.Elem().Set(v.Elem())
			set(copied.Elem(), s)
			v.Set(copied)
		}
	case reflect.Slice:
		copied := reflect.MakeSlice(v.Type(), v.Len(), v.Len())
		reflect.Copy(copied, v)
		for i := range copied.Len() {
			set(copied.Index(i), s)
		}
		v.Set(copied)
	}
}

// poisoned has every page with s in each text that the bridge does not make itself.
func poisoned(s string) map[string]Page {
	pages := samplePages()
	for name, p := range pages {
		switch p := p.(type) {
		case Door:
			d := poison(p, s)
			d.Path, d.OpenChat, d.Reason = p.Path, p.OpenChat, p.Reason
			pages[name] = d
		case Notice:
			n := poison(p, s)
			n.Kind, n.Retry, n.Renew = p.Kind, p.Retry, p.Renew
			pages[name] = n
		case Connect:
			c := poison(p, s)
			c.Path = p.Path
			pages[name] = c
		case Desk:
			d := poison(p, s)
			d.Note = p.Note
			for i, c := range p.Cards {
				d.Cards[i].State, d.Cards[i].Reason = c.State, c.Reason
			}
			pages[name] = d
		case Operations:
			o := poison(p, s)
			o.Note = p.Note
			pages[name] = o
		case Audit:
			a := poison(p, s)
			a.Note = p.Note
			pages[name] = a
		case Erase:
			e := poison(p, s)
			e.Kind = p.Kind
			if p.Receipt != nil {
				e.Receipt.State = p.Receipt.State
			}
			pages[name] = e
		}
	}
	return pages
}

// vocabulary has every element and attribute of our own pages.
func vocabulary(t testing.TB) map[string]bool {
	words := make(map[string]bool)
	for _, p := range samplePages() {
		each(parsed(t, p), func(word, _ string) { words[word] = true })
	}
	return words
}

// each calls f with "<element>" and "<element attribute>" and its value.
func each(doc *goquery.Document, f func(word, value string)) {
	doc.Find("*").Each(func(_ int, s *goquery.Selection) {
		f("<"+goquery.NodeName(s)+">", "")
		for _, a := range s.Nodes[0].Attr {
			f("<"+goquery.NodeName(s)+" "+a.Key+">", a.Val)
		}
	})
}

// address matches what a page may link to: a path of this host, a web page, or a
// part of the page itself.
var address = regexp.MustCompile(`^(?i:https?://[^/]|/[^/\\]|/$|#main$)`)

// harmless checks that a page has no elements, attributes or addresses but ours.
func harmless(t *testing.T, name string, p Page, vocabulary map[string]bool) {
	t.Helper()
	html := render(t, p)
	if !utf8.ValidString(html) {
		t.Errorf("%s is not UTF-8", name)
	}
	doc, err := goquery.NewDocumentFromReader(strings.NewReader(html))
	if err != nil {
		t.Fatal(err)
	}
	each(doc, func(word, value string) {
		if !vocabulary[word] {
			t.Errorf("%s has a %s (%.80q)", name, word, value)
		}
		switch {
		case strings.HasSuffix(word, " href>"), strings.HasSuffix(word, " src>"), strings.HasSuffix(word, " action>"):
			if !address.MatchString(value) {
				t.Errorf("%s: %s leads to %.80q", name, word, value)
			}
		}
	})
	limit := 4000
	if doc.Find("body.desk").Length() > 0 {
		limit = 16000 // a dozen cards or records
	}
	checkText(t, name, text(doc.Selection), limit)
}

// checkText checks what people read.
func checkText(t *testing.T, name, s string, limit int) {
	t.Helper()
	if n := utf8.RuneCountInString(s); n > limit {
		t.Errorf("%s: %d runes to read", name, n)
	}
	for _, r := range s {
		if unicode.Is(unicode.Cc, r) || r == utf8.RuneError || unicode.Is(unicode.Cf, r) && r != '\u200d' && r != '\u200c' {
			t.Errorf("%s: %U is left in %.120q", name, r, s)
			return
		}
	}
}

func TestTextFromStrangersIsOnlyShownAsText(t *testing.T) {
	t.Parallel()
	if testing.Short() {
		t.Skip("renders every page with every hostile text")
	}
	words := vocabulary(t)
	for i, s := range corpus(t) {
		all := poisoned(s)
		for j, name := range slices.Sorted(maps.Keys(all)) {
			// A quarter of the pages gets each text. FuzzPagesHaveOnlyOurMarkup puts all texts into a page of each kind.
			if i%4 != j%4 {
				continue
			}
			p := all[name]
			harmless(t, name+" "+strconv.Quote(s[:min(len(s), 40)]), p, words)
		}
		for name, c := range sampleCards() {
			bad := poison(c, s)
			bad.State, bad.Reason = c.State, c.Reason
			got := bad.Text()
			for _, line := range append([]Line{{"title", got.Title}, {"button", got.Button}}, got.Lines...) {
				checkText(t, name+" "+line.Label, line.Text, maxNote+maxName+5)
				if strings.Contains(line.Text, "://") {
					t.Errorf("%s: %q holds an address", name, line.Text)
				}
			}
		}
	}
}

func TestHiddenFieldsComeBackAsTheyWere(t *testing.T) {
	// An HTML parser turns line endings into line feeds, and HTML has no NUL.
	parser := strings.NewReplacer("\r\n", "\n", "\r", "\n", "\x00", "\ufffd")
	for _, s := range corpus(t) {
		doc := parsed(t, door(func(*Door) {}, Visitor{ID: s, Online: true}))
		want := parser.Replace(strings.ToValidUTF8(s, "\ufffd"))
		if got := doc.Find(`input[name="visitor"]`).AttrOr("value", ""); got != want {
			t.Errorf("%.80q comes back as %.80q", s, got)
		}
	}
}

func TestANameIsShownUnchanged(t *testing.T) {
	for _, name := range []string{
		"<b>Ann</b>", "{{.Path}}", "{{template \"page\"}}", "Ann & Bob", "O'Neill", `"Ann"`, "&amp;", "Ann</title><script>",
		"Žofie Müller-Œuvre", "نور الهدى", "שרה", "山田 花子", "👩🏽‍💻 Ann", "นภา", "a\u0301",
	} {
		doc := parsed(t, door(func(d *Door) { d.NameInChat = name }))
		if got := doc.Find("h1 bdi").Text(); got != name {
			t.Errorf("%q is shown as %q", name, got)
		}
		if got := doc.Find("dd b bdi").Text(); got != name {
			t.Errorf("%q is shown as %q", name, got)
		}
	}
}

func TestTextFromStrangersIsIsolatedByBDI(t *testing.T) {
	// Right-to-left text outside a <bdi> would turn the words around it.
	for name, p := range poisoned("שרה") {
		doc := parsed(t, p)
		doc.Find("title, a, option").Remove() // labels are our own; titles and options hold no elements
		doc.Find("bdi").Remove()
		if s := text(doc.Selection); strings.Contains(s, "שרה") {
			t.Errorf("%s: not in a <bdi>: %s", name, s)
		}
	}
}

func FuzzPagesHaveOnlyOurMarkup(f *testing.F) {
	for _, s := range corpus(f) {
		if len(s) < 4096 {
			f.Add(s)
		}
	}
	words := vocabulary(f)
	f.Fuzz(func(t *testing.T, s string) {
		all := poisoned(s)
		for _, name := range []string{"door-changed-all", "door-choose", "door-none", "notice-over-plan", "desk-agent", "operations-failed", "audit-filtered", "erase-pending", "connect"} {
			harmless(t, name, all[name], words)
		}
	})
}

func FuzzCleanTextIsShortAndVisible(f *testing.F) {
	for _, s := range corpus(f) {
		if len(s) < 4096 {
			f.Add(s)
		}
	}
	f.Fuzz(func(t *testing.T, s string) {
		const limit = 20
		got := clean.Text(s, limit)
		checkText(t, "clean", got, limit+1)
		if strings.ContainsAny(got, "\n\r\t\u2028\u2029") || got != strings.TrimSpace(got) || strings.Contains(got, "  ") {
			t.Errorf("%q is not a trimmed line", got)
		}
		if again := clean.Text(got, limit); again != got {
			t.Errorf("%q is cleaned again to %q", got, again)
		}
		shows := func(r rune) bool { return !unicode.In(r, unicode.M, unicode.Z, unicode.Cf) }
		if got != "" && !strings.ContainsFunc(got, shows) {
			t.Errorf("%q shows nothing", got)
		}
		if p := clean.Address(s, maxFact); strings.ContainsAny(p, "?#") {
			t.Errorf("%q keeps more than host and path", p)
		}
	})
}

func TestTheHostileCorpusIsLargeAndHasNoDuplicates(t *testing.T) {
	all := corpus(t)
	slices.Sort(all)
	if n := len(slices.Compact(slices.Clone(all))); n != len(all) || n < 250 {
		t.Errorf("%d lines, %d of them different; want 250", len(all), n)
	}
}
