package templates

import (
	"bytes"
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

// text is the text of the selection, with single spaces.
func text(s *goquery.Selection) string { return strings.Join(strings.Fields(s.Text()), " ") }

// limits are what a kind of page may have.
type limits struct {
	styles, scripts, searches int
	// tableRoles says that the elements of its tables have roles, which validators report.
	tableRoles bool
	// actions are the addresses of its forms; "…" stands for any end.
	actions []string
}

func limitsOf(p Page) limits {
	switch p.(type) {
	case Door:
		return limits{styles: 1, actions: []string{"/w/…"}}
	case Connect, Notice:
		return limits{styles: 1, actions: []string{"/w/…", "/signout"}}
	case Desk:
		return limits{styles: 2, scripts: 1, actions: []string{"/desk/look-up", "/desk/tell", "/desk/unlink", "/signout"}}
	case Operations:
		return limits{styles: 2, actions: []string{"/desk/retry", "/signout"}}
	case Audit:
		return limits{styles: 2, searches: 1, tableRoles: true, actions: []string{"/desk/audit", "/signout"}}
	case Erase:
		return limits{styles: 2, actions: []string{"/desk/erase", "/signout"}}
	}
	return limits{}
}

func TestEveryPageHasValidMarkup(t *testing.T) {
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
				`link[rel="stylesheet"][href^="/static/"]`:   limitsOf(p).styles,
				`link[rel="icon"][href^="/static/"]`:         1,
				"script":                                     limitsOf(p).scripts,
				`script:not([type="module"])`:                0,
				`script:not([src^="/static/desk."])`:         0,
				"style, iframe, object, embed, base":         0,
				"[style], [autofocus], [target]":             0,
				"img:not([alt]), img:not([src^='/static/'])": 0,
				`svg:not([aria-hidden="true"])`:              0,
				`form:not([method="post"])`:                  limitsOf(p).searches,
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
				if !slices.ContainsFunc(limitsOf(p).actions, func(want string) bool {
					return action == want || strings.HasSuffix(want, "…") && strings.HasPrefix(action, strings.TrimSuffix(want, "…"))
				}) {
					t.Errorf("a form is posted to %s", action)
				}
			})
			doc.Find("script").Each(func(_ int, s *goquery.Selection) {
				if s.Text() != "" {
					t.Errorf("the page has an inline script: %s", s.Text())
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
					t.Errorf("<%s> is empty", goquery.NodeName(s))
				}
			})
			doc.Find(`input:not([type="hidden"]), select`).Each(func(_ int, s *goquery.Selection) {
				if s.Closest("label").Length() == 0 && doc.Find(`label[for="`+s.AttrOr("id", "")+`"]`).Length() != 1 {
					t.Error("a field has no label")
				}
			})
			// On the desk, each card has a main button.
			scopes := doc.Find("main")
			if _, ok := p.(Desk); ok {
				scopes = doc.Find("li.row, form")
			}
			scopes.Each(func(_ int, s *goquery.Selection) {
				if s.Find(".button:not(.quiet)").Length() > 1 {
					t.Error("there is more than one main button")
				}
			})
			ids := make(map[string]bool)
			doc.Find("[id]").Each(func(_ int, s *goquery.Selection) {
				if id := s.AttrOr("id", ""); ids[id] {
					t.Errorf("two elements have the id %s", id)
				} else {
					ids[id] = true
				}
			})
			doc.Find("table, thead, tbody, tfoot, tr, th, td").Each(func(_ int, s *goquery.Selection) {
				if _, has := s.Attr("role"); has != limitsOf(p).tableRoles {
					t.Errorf("<%s> has a role: %v, want %v", goquery.NodeName(s), has, limitsOf(p).tableRoles)
				}
			})
			doc.Find("[aria-describedby]").Each(func(_ int, s *goquery.Selection) {
				if id := s.AttrOr("aria-describedby", ""); !ids[id] {
					t.Errorf("no element has the id %s", id)
				}
			})
		})
	}
}

// fields are the inputs of a form with their values.
func fields(form *goquery.Selection) string {
	var all []string
	form.Find("input").Each(func(_ int, s *goquery.Selection) {
		all = append(all, s.AttrOr("type", "")+" "+s.AttrOr("name", "")+"="+s.AttrOr("value", ""))
	})
	slices.Sort(all)
	return strings.Join(all, ", ")
}

func TestADoorHasOneFormWithOneMainButton(t *testing.T) {
	pages := samplePages()
	for _, c := range []struct {
		page, heading, button, fields string
		says                          []string
	}{
		{page: "door-ready", heading: "Co-browse with Ann Silva", button: "Co-browse with Ann Silva", fields: "hidden visitor=AB12CD",
			says: []string{"Online", "Name in the chatAnn", "Name on your websiteAnn Silva", "shop.example/checkout/delivery", "Lisbon, Portugal · Chrome on Windows", "just now", ReasonIntegration.Sentence(), "Sam Okoro"}},
		{page: "door-ready-nothing", heading: "Co-browse with the customer", button: "Co-browse with the customer", fields: "hidden visitor=AB12CD",
			says: []string{"Tell them that you want to see their page"}},
		{page: "door-ready-email", heading: "Co-browse with Ann Silva", button: "Co-browse with Ann Silva", fields: "hidden visitor=AB12CD",
			says: []string{"The name in the chat and the name on your website are different.", "Name in the chatBob Marsh", "Before you start, ask the customer for something that only they know."}},
		{page: "door-session", heading: "Join the session with Ann Silva", button: "Join session", fields: "hidden visitor=EF34GH",
			says: []string{"An agent is co-browsing with Ann Silva now. You can join."}},
		{page: "door-session-one", heading: "Join the session with Ann Silva", button: "Join session", fields: "hidden visitor=EF34GH",
			says: []string{"Agents in this session: Eve Evans. You can join."}},
		{page: "door-session-two", heading: "Join the session with Ann Silva", button: "Join session", fields: "hidden visitor=EF34GH",
			says: []string{"Agents in this session: Eve Evans, Kim Larsen. You can join."}},
		{page: "door-session-many", heading: "Join the session with Ann Silva", button: "Join session", fields: "hidden visitor=EF34GH",
			says: []string{"Agents in this session: Eve Evans, Kim Larsen, Bob Marsh, Lea Brandt, Noor Aziz and 2 more. You can join."}},
		{page: "door-session-yours", heading: "Your session with Ann Silva is still running", button: "Go to session", fields: "hidden visitor=EF34GH",
			says: []string{"You can go to it"}},
		{page: "door-session-yours-ours", heading: "Your session with Ann Silva is still running", button: "Go to sessionEnd session",
			fields: "hidden visitor=EF34GH"},
		{page: "door-choose-several", heading: "Which customer are you helping?", button: "Co-browse with this customer",
			fields: "radio visitor=AB12CD, radio visitor=JK56LM",
			says:   []string{"A second browser is now connected to this chat. It may be another person. Find out which one is your customer before you choose."}},
		{page: "door-offline", heading: "Ann Silva is offline", button: "Check againCo-browse anyway", fields: "hidden visitor=AB12CD",
			says: []string{"the customer has not used it for some minutes", "26 minutes ago"}},
		{page: "door-unsupported", heading: "Co-browse with Ann Silva", button: "Co-browse with Ann Silva", fields: "hidden visitor=AB12CD",
			says: []string{"The customer’s browser may not support co-browsing."}},
		{page: "door-foreign", heading: "Co-browse with Ann Silva", button: "Co-browse with Ann Silva", fields: "hidden visitor=AB12CD",
			says: []string{"The customer’s page is not on your website."}},
		{page: "door-changed", heading: "Another customer matches now", button: "Co-browse with Ann Silva", fields: "hidden visitor=AB12CD",
			says: []string{"Before: Bob Marsh. Now: Ann Silva. Continue only if you are helping Ann Silva."}},
		{page: "door-choose", heading: "Which browser is the customer using?", button: "Co-browse in this browser",
			fields: "radio visitor=AB12CD, radio visitor=EF34GH, radio visitor=JK56LM",
			says:   []string{"3 browsers match", "No name", "Not on your website", "Session running", "3 hours ago"}},
		{page: "door-none", heading: "Ann not found", button: "Check again", fields: "hidden look=1",
			says: []string{"Ask the customer to open your website or reload the page"}},
		{page: "door-none-nameless", heading: "Customer not found", button: "Check again", fields: "hidden look=1"},
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

func TestAgentsWithoutANameAreOnlyCounted(t *testing.T) {
	for _, c := range []struct {
		watching []string
		want     string
	}{
		{nil, "An agent is co-browsing with Ann Silva now."},
		{[]string{"", "\u200b"}, "An agent is co-browsing with Ann Silva now."},
		{[]string{"\u202e", "Eve Evans"}, "Agents in this session: Eve Evans and 1 more."},
		{[]string{" Eve\nEvans "}, "Agents in this session: Eve Evans."},
	} {
		doc := parsed(t, door(func(d *Door) { d.Watching = c.watching }, annPhone))
		if got := text(doc.Find("p.lead")); !strings.HasPrefix(got, c.want) {
			t.Errorf("%q: %q, want %q", c.watching, got, c.want)
		}
	}
}

func TestTheNoteAboutSeveralNeedsAChoice(t *testing.T) {
	for _, visitors := range [][]Visitor{nil, {ann}} {
		doc := parsed(t, door(func(d *Door) { d.Several = true }, visitors...))
		if doc.Find(".note").Length() != 0 {
			t.Errorf("%d visitors: %s", len(visitors), text(doc.Find(".note")))
		}
	}
}

func TestTheMainButtonForAnOfflineVisitorSearchesAgain(t *testing.T) {
	again := parsed(t, samplePages()["door-offline"]).Find("main .button:not(.quiet)")
	form := again.Closest("form")
	if text(again) != "Check again" || form.AttrOr("method", "") != "post" || again.AttrOr("name", "") != "look" || again.AttrOr("value", "") != "1" {
		t.Errorf("the main button is %q", text(again))
	}
}

func TestNoVisitorIsPreselected(t *testing.T) {
	doc := parsed(t, samplePages()["door-choose"])
	if n := doc.Find("[checked]").Length(); n != 0 {
		t.Errorf("%d visitors are preselected", n)
	}
	if n := doc.Find("input[type=radio]:not([required])").Length(); n != 0 {
		t.Errorf("%d choices are not required", n)
	}
}

func TestOnlyDifferentNamesGiveAWarning(t *testing.T) {
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
		doc := parsed(t, door(func(d *Door) { d.NameInChat = c.claimed }, v))
		if got := strings.Contains(text(doc.Find("main")), "The name in the chat and the name on your website are different."); got != c.doubt {
			t.Errorf("Upscope %q, chat %q: doubt %v", c.known, c.claimed, got)
		}
	}
}

func TestEveryNoticeHasATitleAMeaningAndANextStep(t *testing.T) {
	titles := make(map[string]Kind)
	for kind, w := range notices {
		if other, ok := titles[w.title]; ok && w.title != "You cannot co-browse now" {
			t.Errorf("%s and %s have the same title", kind, other)
		}
		titles[w.title] = kind
		if kind == KindNeutral {
			continue
		}
		for _, s := range []string{w.title, w.means, w.next.Plain(nil), w.icon, w.tone} {
			if s == "" {
				t.Errorf("%s has an empty text: %+v", kind, w)
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
			t.Errorf("%s has %d forms, links or footers that it was not given", kind, n)
		}
	}
}

func TestANoticeShowsTheLinksItWasGiven(t *testing.T) {
	doc := parsed(t, Notice{
		Kind: KindExpired, Chat: chat, Retry: "/w/a", Renew: "/w/a/renew",
		Other: Link{"Use Upscope", "https://upscope.example/w/A"}, Agent: "Sam",
	})
	form := doc.Find("form")
	if form.AttrOr("action", "") != "/w/a/renew" || text(form) != "Get a new link" || fields(form) != "" {
		t.Errorf("renew: %q to %q with %q", text(form), form.AttrOr("action", ""), fields(form))
	}
	var links []string
	doc.Find("main a").Each(func(_ int, s *goquery.Selection) {
		links = append(links, text(s)+" "+s.AttrOr("href", ""))
	})
	want := []string{"Try again /w/a", "Open the customer’s chat " + chat.Address, "Use Upscope https://upscope.example/w/A"}
	if !slices.Equal(links, want) {
		t.Errorf("links %q, want %q", links, want)
	}
}

func TestANoticeSaysHowLongToWait(t *testing.T) {
	for wait, want := range map[time.Duration]string{
		0:                        "Try again in 10 seconds.",
		time.Nanosecond:          "Try again in 1 second.",
		30 * time.Second:         "Try again in 30 seconds.",
		59500 * time.Millisecond: "Try again in 1 minute.",
		90 * time.Second:         "Try again in 2 minutes.",
		time.Hour:                "Try again in 1 hour.",
		61 * time.Minute:         "Try again in 2 hours.",
	} {
		if got := text(parsed(t, Notice{Kind: KindThrottled, Wait: wait}).Find("main")); !strings.Contains(got, want) {
			t.Errorf("%v: %s", wait, got)
		}
	}
}

func TestTheNeutralPageHasNoFacts(t *testing.T) {
	doc := parsed(t, Notice{Kind: KindNeutral, Agent: "Sam", Chat: chat, Retry: "/w/a", Renew: "/w/a/renew", Other: chat})
	if got := text(doc.Find("body")); got != Product+" Open this link in a browser." {
		t.Errorf("body says %q", got)
	}
	if got := text(doc.Find("title")); got != Product {
		t.Errorf("title says %q", got)
	}
	if doc.Find("a, form").Length() != 0 {
		t.Error("it has a link or a form")
	}
}

func TestOnlyLinksToWebPagesAreShown(t *testing.T) {
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

func TestANoticeOfAnUnknownKindIsAnError(t *testing.T) {
	if page, err := Render(Notice{Kind: "no such kind"}); err == nil || len(page) != 0 {
		t.Errorf("error %v, %d bytes", err, len(page))
	}
	if Kind("no such kind").Title() != KindInternal.Title() {
		t.Error("an unknown kind has no title")
	}
}

// TestEveryConstantHasAText reads the constants from the source, so that it finds one
// without a text.
func TestEveryConstantHasAText(t *testing.T) {
	hasText := map[string]func(string) bool{
		"Kind":   func(v string) bool { _, ok := notices[Kind(v)]; return ok },
		"Reason": func(v string) bool { return Reason(v).Sentence() != "" },
		"Note":   func(v string) bool { return notes[Note(v)].What != "" && notes[Note(v)].Next != "" },
		"EraseKind": func(v string) bool {
			return eraseKindTexts[EraseKind(v)] != eraseKindText{}
		},
	}
	constants := 0
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
			if !ok || hasText[typ.Name] == nil {
				return true
			}
			v, err := strconv.Unquote(spec.Values[0].(*ast.BasicLit).Value)
			if err != nil {
				t.Fatal(err)
			}
			if constants++; !hasText[typ.Name](v) {
				t.Errorf("%s has no text", spec.Names[0])
			}
			return true
		})
	}
	if want := len(notices) + len(reasonTexts) + len(notes) + len(eraseKindTexts); constants != want {
		t.Errorf("%d constants, %d have texts", constants, want)
	}
}

// A page that is rendered once for everyone must not have what another notice of its kind says.
func TestANoticeShowsOnlyItsOwnFacts(t *testing.T) {
	plain := Notice{Kind: KindUnknown}
	before, err := Render(plain)
	if err != nil {
		t.Fatal(err)
	}
	for _, other := range []Notice{
		{Kind: KindUnknown, Agent: "Bob Baker"},
		{Kind: KindUnknown, Request: "0123456789abcdef"},
		{Kind: KindUnknown, Chat: Link{Address: "https://chat.example.org/1"}},
		{Kind: KindUnknown, Chat: Link{GoToDesk, deskPath}},
		{Kind: KindUnknown, Case: CaseDesk, Retry: "?"},
	} {
		for range 2 {
			page, err := Render(other)
			if err != nil {
				t.Fatal(err)
			}
			if bytes.Equal(page, before) {
				t.Errorf("%+v is shown without its facts", other)
			}
		}
	}
	if after, err := Render(plain); err != nil || !bytes.Equal(after, before) {
		t.Errorf("%v: the plain notice changed:\n%s", err, after)
	}
}
