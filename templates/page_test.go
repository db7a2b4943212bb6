package templates

import (
	"go/ast"
	"go/parser"
	"go/token"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
)

func parsed(t testing.TB, p Page) *goquery.Document {
	t.Helper()
	doc, err := goquery.NewDocumentFromReader(strings.NewReader(render(t, p)))
	if err != nil {
		t.Fatal(err)
	}
	return doc
}

// text is what people read of the selection, with white space made single.
func text(s *goquery.Selection) string { return strings.Join(strings.Fields(s.Text()), " ") }

// promises are what a kind of page may have.
type promises struct {
	styles, scripts, searches int
	// actions are where its forms lead; "…" stands for any rest.
	actions []string
}

func about(p Page) promises {
	switch p.(type) {
	case Door:
		return promises{styles: 1, actions: []string{"/w/…"}}
	case Connect, Notice:
		return promises{styles: 1, actions: []string{"/w/…", "/signout"}}
	case Desk:
		return promises{styles: 2, scripts: 1, actions: []string{"/desk/look-up", "/desk/tell", "/desk/unlink", "/signout"}}
	case Operations:
		return promises{styles: 2, actions: []string{"/desk/retry", "/signout"}}
	case Audit:
		return promises{styles: 2, searches: 1, actions: []string{"/desk/audit", "/signout"}}
	case Erase:
		return promises{styles: 2, actions: []string{"/desk/erase", "/signout"}}
	}
	return promises{}
}

func TestEveryPageIsSoundMarkup(t *testing.T) {
	for name, p := range samplePages() {
		t.Run(name, func(t *testing.T) {
			doc := parsed(t, p)
			for selector, want := range map[string]int{
				`html[lang="en"]`:       1,
				"main":                  1,
				"main h1":               1,
				"h1":                    1,
				"title":                 1,
				`meta[name="viewport"]`: 1,
				`meta[name="robots"][content*="noindex"]`:    1,
				`link[rel="stylesheet"][href^="/static/"]`:   about(p).styles,
				`link[rel="icon"][href^="/static/"]`:         1,
				"script":                                     about(p).scripts,
				`script:not([type="module"])`:                0,
				`script:not([src^="/static/desk."])`:         0,
				"style, iframe, object, embed, base":         0,
				"[style], [autofocus], [target]":             0,
				"img:not([alt]), img:not([src^='/static/'])": 0,
				`svg:not([aria-hidden="true"])`:              0,
				`form:not([method="post"])`:                  about(p).searches,
				`form[method="get"]:not(.filter)`:            0,
				`[formaction], [formmethod]`:                 0,
				`a:not([href])`:                              0,
				`a[href^="http"]:not([rel="noreferrer"])`:    0,
				`meta[http-equiv]`:                           0,
			} {
				if got := doc.Find(selector).Length(); got != want {
					t.Errorf("%d × %s, want %d", got, selector, want)
				}
			}
			doc.Find("*").Each(func(_ int, s *goquery.Selection) {
				for _, a := range s.Nodes[0].Attr {
					if strings.HasPrefix(a.Key, "on") {
						t.Errorf("<%s> runs script: %s", goquery.NodeName(s), a.Key)
					}
				}
			})
			doc.Find("form").Each(func(_ int, s *goquery.Selection) {
				action := s.AttrOr("action", "")
				if !slices.ContainsFunc(about(p).actions, func(want string) bool {
					return action == want || strings.HasSuffix(want, "…") && strings.HasPrefix(action, strings.TrimSuffix(want, "…"))
				}) {
					t.Errorf("a form leads to %s", action)
				}
			})
			doc.Find("script").Each(func(_ int, s *goquery.Selection) {
				if s.Text() != "" {
					t.Errorf("a script is written into the page: %s", s.Text())
				}
			})
			doc.Find("link[href], img[src], script[src]").Each(func(_ int, s *goquery.Selection) {
				for _, attr := range []string{"href", "src"} {
					if v, ok := s.Attr(attr); ok && !strings.HasPrefix(v, "/static/") {
						t.Errorf("loads %s", v)
					}
				}
			})
			doc.Find("button, a, legend, h1, h2, h3, label, dt, dd, th, summary").Each(func(_ int, s *goquery.Selection) {
				if text(s) == "" {
					t.Errorf("<%s> says nothing", goquery.NodeName(s))
				}
			})
			doc.Find(`input:not([type="hidden"]), select`).Each(func(_ int, s *goquery.Selection) {
				if s.Closest("label").Length() == 0 && doc.Find(`label[for="`+s.AttrOr("id", "")+`"]`).Length() != 1 {
					t.Error("a field has no label")
				}
			})
			// On the desk, each card has a main thing of its own.
			scopes := doc.Find("main")
			if _, ok := p.(Desk); ok {
				scopes = doc.Find("li.row, form")
			}
			scopes.Each(func(_ int, s *goquery.Selection) {
				if s.Find(".button:not(.quiet)").Length() > 1 {
					t.Error("more than one thing is the main thing to press")
				}
			})
			ids := make(map[string]bool)
			doc.Find("[id]").Each(func(_ int, s *goquery.Selection) {
				if id := s.AttrOr("id", ""); ids[id] {
					t.Errorf("two elements are #%s", id)
				} else {
					ids[id] = true
				}
			})
			doc.Find("[aria-describedby]").Each(func(_ int, s *goquery.Selection) {
				if id := s.AttrOr("aria-describedby", ""); !ids[id] {
					t.Errorf("nothing is #%s", id)
				}
			})
		})
	}
}

// fields are the hidden and chosen values that a form posts.
func fields(form *goquery.Selection) string {
	var all []string
	form.Find("input").Each(func(_ int, s *goquery.Selection) {
		all = append(all, s.AttrOr("type", "")+" "+s.AttrOr("name", "")+"="+s.AttrOr("value", ""))
	})
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func TestADoorAsksForOnePress(t *testing.T) {
	pages := samplePages()
	for _, c := range []struct {
		page, heading, button, fields string
		says                          []string
	}{
		{page: "door-ready", heading: "Co-browse with Ann Silva", button: "Co-browse with Ann Silva", fields: "hidden visitor=AB12CD",
			says: []string{"Online now", "calls themselves Ann", "known as Ann Silva", "shop.example/checkout/delivery", "Lisbon, Portugal · Chrome on Windows", "just now", ReasonIntegration.Sentence(), "Sam Okoro"}},
		{page: "door-ready-nothing", heading: "Co-browse with the visitor", button: "Co-browse with the visitor", fields: "hidden visitor=AB12CD",
			says: []string{"Ask in the chat which page they are on"}},
		{page: "door-ready-email", heading: "Co-browse with Ann Silva", button: "Co-browse with Ann Silva", fields: "hidden visitor=AB12CD",
			says: []string{"The names don’t match", "calls themselves Bob Marsh", "Anyone can type an address: check before you start."}},
		{page: "door-session", heading: "Join the session with Ann Silva", button: "Join", fields: "hidden visitor=EF34GH",
			says: []string{"An agent is co-browsing with Ann Silva now. You can join."}},
		{page: "door-session-one", heading: "Join the session with Ann Silva", button: "Join", fields: "hidden visitor=EF34GH",
			says: []string{"Eve Evans is co-browsing with Ann Silva now. You can join."}},
		{page: "door-session-two", heading: "Join the session with Ann Silva", button: "Join", fields: "hidden visitor=EF34GH",
			says: []string{"Eve Evans and Kim Larsen are co-browsing with Ann Silva now. You can join."}},
		{page: "door-session-many", heading: "Join the session with Ann Silva", button: "Join", fields: "hidden visitor=EF34GH",
			says: []string{"Eve Evans, Kim Larsen, Bob Marsh, Lea Brandt, Noor Aziz and 2 more are co-browsing with Ann Silva now."}},
		{page: "door-session-yours", heading: "Back to your session with Ann Silva", button: "Go back to the session", fields: "hidden visitor=EF34GH",
			says: []string{"Your session with Ann Silva is still running."}},
		{page: "door-session-yours-ours", heading: "Back to your session with Ann Silva", button: "Go back to the sessionEnd the session",
			fields: "hidden visitor=EF34GH"},
		{page: "door-choose-several", heading: "Which visitor are you chatting with?", button: "Co-browse with this visitor",
			fields: "radio visitor=AB12CD, radio visitor=JK56LM",
			says:   []string{"Another visitor came online with the same key. Before, only one visitor matched this chat. Choose one only if you are sure."}},
		{page: "door-offline", heading: "Ann Silva is offline", button: "Look againTry anyway", fields: "hidden visitor=AB12CD",
			says: []string{"a tab that nobody touches counts as offline too", "26 minutes ago"}},
		{page: "door-unsupported", heading: "Co-browse with Ann Silva", button: "Co-browse with Ann Silva", fields: "hidden visitor=AB12CD",
			says: []string{"Their browser may not be able to share."}},
		{page: "door-foreign", heading: "Co-browse with Ann Silva", button: "Co-browse with Ann Silva", fields: "hidden visitor=AB12CD",
			says: []string{"This page is not on one of your sites."}},
		{page: "door-changed", heading: "This is a different visitor", button: "Co-browse with Ann Silva instead", fields: "hidden visitor=AB12CD",
			says: []string{"It was made for Bob Marsh; now it is Ann Silva."}},
		{page: "door-choose", heading: "Which visitor are you chatting with?", button: "Co-browse with this visitor",
			fields: "radio visitor=AB12CD, radio visitor=EF34GH, radio visitor=JK56LM",
			says:   []string{"3 visitors match", "No name", "Not on one of your sites", "Session running", "3 hours ago"}},
		{page: "door-changed-choose", heading: "Which visitor are you chatting with?", button: "Co-browse with this visitor",
			fields: "radio visitor=AB12CD, radio visitor=JK56LM",
			says:   []string{"It was made for Bob Marsh."}},
		{page: "door-none", heading: "We can’t find Ann yet", button: "Look again", fields: "hidden look=1",
			says: []string{"Ask them in the chat to open or reload your page"}},
		{page: "door-none-nameless", heading: "We can’t find the visitor yet", button: "Look again", fields: "hidden look=1"},
	} {
		t.Run(c.page, func(t *testing.T) {
			doc := parsed(t, pages[c.page])
			if got := text(doc.Find("h1")); got != c.heading {
				t.Errorf("heading %q, want %q", got, c.heading)
			}
			form := doc.Find("form")
			if form.Length() != 1 || form.AttrOr("action", "") != "/w/k3yk3yk3y" {
				t.Errorf("%d forms, action %q", form.Length(), form.AttrOr("action", ""))
			}
			if got := text(form.Find("button")); got != c.button {
				t.Errorf("button %q, want %q", got, c.button)
			}
			if got := fields(form); got != c.fields {
				t.Errorf("posts %s; want %s", got, c.fields)
			}
			for _, want := range c.says {
				if all := text(doc.Find("body")); !strings.Contains(all, want) {
					t.Errorf("does not say %q:\n%s", want, all)
				}
			}
		})
	}
}

func TestAgentsWithoutANameAreCountedOrLeftOut(t *testing.T) {
	for _, c := range []struct {
		watching []string
		want     string
	}{
		{nil, "An agent is co-browsing with Ann Silva now."},
		{[]string{"", "\u200b"}, "An agent is co-browsing with Ann Silva now."},
		{[]string{"\u202e", "Eve Evans"}, "Eve Evans and 1 more are co-browsing with Ann Silva now."},
		{[]string{" Eve\nEvans "}, "Eve Evans is co-browsing with Ann Silva now."},
	} {
		doc := parsed(t, door(func(d *Door) { d.Watching = c.watching }, annPhone))
		if got := text(doc.Find("p.lead")); !strings.HasPrefix(got, c.want) {
			t.Errorf("%q: %q, want %q", c.watching, got, c.want)
		}
	}
}

func TestSeveralShowsOnlyWhereThereIsAChoice(t *testing.T) {
	for _, visitors := range [][]Visitor{nil, {ann}} {
		doc := parsed(t, door(func(d *Door) { d.Several = true }, visitors...))
		if doc.Find(".note").Length() != 0 {
			t.Errorf("%d visitors: %s", len(visitors), text(doc.Find(".note")))
		}
	}
}

func TestAnOfflineVisitorIsLookedForAgainFirst(t *testing.T) {
	again := parsed(t, samplePages()["door-offline"]).Find("main .button:not(.quiet)")
	form := again.Closest("form")
	if text(again) != "Look again" || form.AttrOr("method", "") != "post" || again.AttrOr("name", "") != "look" || again.AttrOr("value", "") != "1" {
		t.Errorf("the main thing to press is %q", text(again))
	}
}

func TestNobodyIsChosenForTheAgent(t *testing.T) {
	doc := parsed(t, samplePages()["door-choose"])
	if n := doc.Find("[checked]").Length(); n != 0 {
		t.Errorf("%d visitors are chosen already", n)
	}
	if n := doc.Find("input[type=radio]:not([required])").Length(); n != 0 {
		t.Errorf("%d choices let the form go without one", n)
	}
}

func TestNamesThatGoTogetherRaiseNoDoubt(t *testing.T) {
	for _, c := range []struct {
		known, claimed string
		doubt          bool
	}{
		{"Ann Silva", "Ann", false},
		{"ann", "Ann Silva", false},
		{"Ann Silva", "", false},
		{"", "Ann", false},
		{"Ann Silva", "Bob", true},
	} {
		v := with(ann, func(v *Visitor) { v.Name = c.known })
		doc := parsed(t, door(func(d *Door) { d.Claimed = c.claimed }, v))
		if got := strings.Contains(text(doc.Find("main")), "The names don’t match"); got != c.doubt {
			t.Errorf("Upscope %q, chat %q: doubt %v", c.known, c.claimed, got)
		}
	}
}

func TestEveryNoticeSaysWhatHappenedWhatItMeansAndWhatToDo(t *testing.T) {
	titles := make(map[string]Kind)
	for kind, w := range kinds {
		if other, ok := titles[w.title]; ok {
			t.Errorf("%s and %s have the same title", kind, other)
		}
		titles[w.title] = kind
		if kind == KindNeutral {
			continue
		}
		for _, s := range []string{w.title, w.what, w.means, w.next, w.icon, w.tone} {
			if s == "" {
				t.Errorf("%s leaves something unsaid: %+v", kind, w)
			}
		}
		doc := parsed(t, Notice{Kind: kind})
		if got := text(doc.Find("h1")); got != kind.Title() {
			t.Errorf("%s: heading %q", kind, got)
		}
		if doc.Find("svg.icon").Children().Length() == 0 {
			t.Errorf("%s: no icon %q", kind, w.icon)
		}
		if n := doc.Find("form, a, footer").Length(); n != 0 {
			t.Errorf("%s offers %d ways on that it was not given", kind, n)
		}
	}
}

func TestANoticeOffersTheWaysOnItWasGiven(t *testing.T) {
	doc := parsed(t, Notice{
		Kind: KindExpired, Chat: chat, Retry: "/w/a", Renew: "/w/a/renew",
		Other: Link{"Use Upscope", "https://upscope.example/w/A"}, Agent: "Sam",
	})
	form := doc.Find("form")
	if form.AttrOr("action", "") != "/w/a/renew" || text(form) != "Send me a fresh link" || fields(form) != "" {
		t.Errorf("renew: %q to %q with %q", text(form), form.AttrOr("action", ""), fields(form))
	}
	var links []string
	doc.Find("main a").Each(func(_ int, s *goquery.Selection) {
		links = append(links, text(s)+" "+s.AttrOr("href", ""))
	})
	want := []string{"Try again /w/a", "Back to the chat " + chat.Address, "Use Upscope https://upscope.example/w/A"}
	if !slices.Equal(links, want) {
		t.Errorf("links %q, want %q", links, want)
	}
}

func TestANoticeSaysHowLongToWait(t *testing.T) {
	for wait, want := range map[time.Duration]string{
		0:                        "Wait a moment, then",
		time.Nanosecond:          "Wait 1 second, then",
		30 * time.Second:         "Wait 30 seconds, then",
		59500 * time.Millisecond: "Wait 1 minute, then",
		90 * time.Second:         "Wait 2 minutes, then",
		time.Hour:                "Wait 1 hour, then",
		61 * time.Minute:         "Wait 2 hours, then",
	} {
		if got := text(parsed(t, Notice{Kind: KindThrottled, Wait: wait}).Find("main")); !strings.Contains(got, want) {
			t.Errorf("%v: %s", wait, got)
		}
	}
}

func TestTheNeutralPageTellsNothing(t *testing.T) {
	doc := parsed(t, Notice{Kind: KindNeutral, Agent: "Sam", Chat: chat, Retry: "/w/a", Renew: "/w/a/renew", Other: chat})
	if got := text(doc.Find("body")); got != Product {
		t.Errorf("body says %q", got)
	}
	if got := text(doc.Find("title")); got != Product {
		t.Errorf("title says %q", got)
	}
	if doc.Find("a, form").Length() != 0 {
		t.Error("it leads somewhere")
	}
}

func TestLinksLeadToWebPagesOnly(t *testing.T) {
	for address, shown := range map[string]bool{
		"https://chat.example/r/1":       true,
		"http://127.0.0.1:8080/demo/r/1": true,
		"/desk":                          true,
		"":                               false,
		"//evil.example":                 false,
		`/\evil.example`:                 false,
		"javascript:alert(1)":            false,
		"JaVaScRiPt:alert(1)":            false,
		"data:text/html,x":               false,
		"https:evil.example":             false,
		"https://user@evil.example/":     false,
		"slack://channel":                false,
		"https://chat.example/\n":        false,
	} {
		got := parsed(t, Notice{Kind: KindClosed, Chat: Link{Address: address}}).Find("main a").Length() == 1
		if got != shown {
			t.Errorf("%q shown: %v", address, got)
		}
	}
}

func TestAPageThatCannotBeMadeIsAnError(t *testing.T) {
	if page, err := Render(Notice{Kind: "no such kind"}); err == nil || len(page) != 0 {
		t.Errorf("error %v, %d bytes", err, len(page))
	}
	if Kind("no such kind").Title() != KindInternal.Title() {
		t.Error("an unknown kind has no title")
	}
}

// TestEveryConstantHasItsWords reads the constants from the source, so that one
// without words is noticed.
func TestEveryConstantHasItsWords(t *testing.T) {
	known := map[string]func(string) bool{
		"Kind":   func(v string) bool { _, ok := kinds[Kind(v)]; return ok },
		"Reason": func(v string) bool { return Reason(v).Sentence() != "" },
		"Note":   func(v string) bool { return notes[Note(v)].What != "" && notes[Note(v)].Next != "" },
		"EraseKind": func(v string) bool {
			return slices.ContainsFunc(eraseKinds, func(k eraseKindView) bool { return string(k.Value) == v })
		},
	}
	seen := 0
	for _, file := range []string{"kinds.go", "reason.go", "note.go", "erase.go"} {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			typ, ok := spec.Type.(*ast.Ident)
			if !ok || known[typ.Name] == nil {
				return true
			}
			v, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if seen++; !known[typ.Name](v) {
				t.Errorf("%s has no words", spec.Names[0])
			}
			return true
		})
	}
	if want := len(kinds) + len(reasons) - 1 + len(notes) + len(eraseKinds); seen != want { // the zero Reason is no constant
		t.Errorf("%d constants, %d have words", seen, want)
	}
}
