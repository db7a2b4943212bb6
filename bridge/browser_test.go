package bridge_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"cobrowse-bridge/upscope"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"
)

// What only a real browser shows: which requests it sends, where it lets a form's
// answer lead, and what it tells other sites and keeps for itself.
func TestInChromium(t *testing.T) {
	t.Parallel()
	chromium := startChromium(t)
	for _, test := range []struct {
		name    string
		run     func(s *site)
		without bool // whether the browser runs no scripts as well
	}{
		{"a press by mouse reaches the session", aPressByMouse, true},
		{"a press by keyboard reaches the session", aPressByKeyboard, true},
		{"a choice by keyboard reaches the visitor chosen", aChoiceByKeyboard, true},
		{"a fresh link takes over from an expired one", aFreshLink, true},
		{"an agent may try although the visitor is offline", anywayOffline, true},
		{"the browser that pressed first goes straight on and no other comes in", oneBrowser, false},
		{"scripts cannot press", scriptsCannotPress, false},
		{"a scanner that follows and submits everything opens nothing", aScanner, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(newSite(t, byLink, "").in(chromium, true))
		})
		if test.without {
			t.Run(test.name+" without scripts", func(t *testing.T) {
				t.Parallel()
				test.run(newSite(t, byLink, "").in(chromium, false))
			})
		}
	}
}

func aPressByMouse(s *site) {
	ann := s.ann()
	door := s.card(keyed())
	bob := s.person()
	bob.types(s.chatURL + "/direct/bob")
	bob.answered(http.StatusOK, bob.clicks("Open here"))
	bob.sees("Co-browse with Ann Silva", "Online now")
	bob.looks("ready")
	s.watched()

	bob.answered(http.StatusOK, bob.clicks("Co-browse with Ann Silva"))
	bob.watches("Ann Silva")
	s.watched(ann)
	bob.remembers(door, true)

	// The way back is the way to the door, not through it again.
	s.upscope.End(ann, 0)
	s.must(chromedp.Do(bob.ctx, chromedp.NavigateBack()))
	bob.sees("Co-browse with Ann Silva")
	if cookies := script[string](bob, `document.cookie`); cookies != "" {
		s.Errorf("scripts can read the cookies %q", cookies)
	}
	bob.clicks("Back to the chat")
	if at := script[string](bob, `location.href`); !strings.HasPrefix(at, s.chatURL+"/live/") {
		s.Errorf("the way back to the chat leads to %s", at)
	}
	s.watched(ann)
	bob.quiet()
	s.secretive()
}

func aPressByKeyboard(s *site) {
	ann := s.ann()
	bob := s.person()
	bob.types(s.card(keyed()))
	bob.keys(kb.Tab)
	if at := bob.focused(); at != "Co-browse with Ann Silva" {
		s.Fatalf("the first tab stop is %q", at)
	}
	bob.answered(http.StatusOK, bob.does(chromedp.KeyEvent(kb.Enter)))
	bob.watches("Ann Silva")
	s.watched(ann)
	bob.quiet()
	s.secretive()
}

func aChoiceByKeyboard(s *site) {
	s.ann()
	phone := s.upscope.Come(upscope.Visitor{
		Name: "Ann Silva", Identities: []string{"rocketchat:" + pageKey}, LastURL: "https://shop.example.org/orders/8841",
		LocationCity: "Lisbon", LocationCountryName: "Portugal", BrowserName: "Safari", DeviceName: "iPhone",
	})
	s.upscope.SetIntegrationIDs(phone, "rocketchat:"+pageKey)
	door := s.card(keyed())
	bob := s.person()
	bob.types(door)
	bob.sees("Which visitor are you chatting with?", "Safari on iPhone", "Chrome on Windows")
	bob.looks("choose")

	// Nobody is chosen beforehand, and without a choice nothing is sent.
	s.must(chromedp.Do(bob.ctx, chromedp.Click(labelled("Co-browse with this visitor"))))
	const chosen = `document.querySelector("input:checked")?.value ?? ""`
	if id := script[string](bob, chosen); id != "" {
		s.Errorf("%s is chosen beforehand", id)
	}
	bob.types(door)
	for _, v := range s.atBridge.of(door) {
		if v.method != http.MethodGet {
			s.Errorf("without a choice came %v", v)
		}
	}

	bob.keys(kb.Tab, " ")
	first := script[string](bob, chosen)
	bob.keys(kb.ArrowDown)
	second := script[string](bob, chosen)
	if first == "" || second == "" || first == second {
		s.Fatalf("the keys chose %q and then %q", first, second)
	}
	bob.keys(kb.Tab)
	if at := bob.focused(); at != "Co-browse with this visitor" {
		s.Fatalf("the next tab stop is %q", at)
	}
	bob.answered(http.StatusOK, bob.does(chromedp.KeyEvent(kb.Enter)))
	bob.watches("Ann Silva")
	id, _, _ := strings.Cut(second, ".") // the rest says who was shown
	s.watched(id)
	bob.quiet()
	s.secretive()
}

func aFreshLink(s *site) {
	ann := s.ann()
	door := s.card(keyed())
	s.expire()
	bob := s.person()
	bob.answered(http.StatusGone, bob.types(door))
	bob.sees("This link has expired")
	bob.looks("expired")
	bob.answered(http.StatusOK, bob.clicks("Send me a fresh link"))
	bob.sees("The button in your chat works again")
	bob.looks("renewed")
	s.fresh(door)

	bob.types(s.chatURL + "/direct/bob")
	bob.answered(http.StatusOK, bob.clicks("Open here"))
	bob.clicks("Co-browse with Ann Silva")
	bob.watches("Ann Silva")
	s.watched(ann)
	bob.answered(http.StatusGone, bob.types(door))
	bob.sees("There is a newer link")
	bob.looks("replaced")
	s.watched(ann)
	bob.quiet()
	s.secretive()
}

func anywayOffline(s *site) {
	ann := s.ann()
	s.upscope.Go(ann)
	bob := s.person()
	bob.types(s.card(keyed()))
	bob.sees("Ann Silva is offline")
	bob.looks("offline")
	bob.answered(http.StatusOK, bob.clicks("Look again"))
	bob.sees("Ann Silva is offline")
	s.watched()
	bob.answered(http.StatusGone, bob.clicks("Try anyway"))
	bob.sees("The visitor is not online.") // as Upscope says
	s.watched(ann)
	bob.quiet()
	s.secretive()
}

func oneBrowser(s *site) {
	ann := s.ann()
	door := s.card(keyed())
	bob, thief := s.person(), s.person()
	bob.types(door)
	bob.clicks("Co-browse with Ann Silva")
	bob.watches("Ann Silva")

	thief.answered(http.StatusForbidden, thief.types(door))
	thief.sees("This link belongs to another browser")
	thief.looks("elsewhere")
	s.watched(ann)

	// From here on the first browser needs no press, only a person, also for later cards.
	bob.clicks("End session")
	straight := func(how string, goes func() *tab) {
		s.Helper()
		door = s.card(keyed()) // of the one before a click may still be the same press
		before, opened := len(s.atBridge.of(door)), s.upscope.Opened()
		there := goes()
		there.watches("Ann Silva")
		if got := s.atBridge.of(door)[before:]; len(got) != 1 || got[0].method != http.MethodGet || got[0].status != http.StatusSeeOther {
			s.Errorf("%s: the bridge was asked %v", how, got)
		}
		if n := s.upscope.Opened() - opened; n != 1 {
			s.Errorf("%s: the session was opened %d times", how, n)
		}
		there.clicks("End session")
		there.quiet()
	}
	straight("a link", func() *tab {
		bob.types(s.chatURL + "/direct/bob")
		bob.clicks("Open here")
		return bob
	})
	straight("a link into a new tab", func() *tab {
		bob.types(s.chatURL + "/direct/bob")
		return bob.opens("Open in a tab")
	})
	s.watched(ann, ann, ann)

	// An address that is typed looks like Back, so soon after a session.
	bob.types(door)
	bob.sees("Co-browse with Ann Silva")

	// A page that sends the browser here by itself does not go through.
	bob.types(s.chatURL + "/direct/bob")
	bob.does(chromedp.Evaluate[chromedp.Void](`document.querySelector("#here").click()`))
	bob.sees("Co-browse with Ann Silva")
	s.watched(ann, ann, ann)
	thief.quiet()
	bob.quiet()
	s.secretive()
}

func scriptsCannotPress(s *site) {
	ann := s.ann()
	door := s.card(keyed())
	bob := s.person()
	for _, code := range []string{
		`document.forms[0].submit()`,
		`document.forms[0].requestSubmit()`,
		`document.querySelector("button").click()`,
		`document.querySelector("button").dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true}))`,
	} {
		bob.types(door)
		bob.answered(http.StatusForbidden, bob.does(chromedp.Evaluate[chromedp.Void](code)))
		bob.sees("Please press the button yourself")
	}
	bob.looks("press")
	s.watched()

	// What the page advises helps.
	bob.types(s.chatURL + "/direct/bob")
	bob.clicks("Open here")
	bob.clicks("Co-browse with Ann Silva")
	bob.watches("Ann Silva")
	s.watched(ann)
	bob.quiet()
	s.secretive()
}

// aScanner opens every card's door, fills in what it finds, and tries each link,
// button and form by script, on the pages that come of it too.
func aScanner(s *site) {
	s.ann()
	comes := func(name, key string, online bool) {
		id := s.upscope.Come(upscope.Visitor{Name: name, Identities: []string{"rocketchat:" + key}})
		s.upscope.SetIntegrationIDs(id, "rocketchat:"+key)
		if !online {
			s.upscope.Go(id)
		}
	}
	const several, absent = "11111111-a4f1-4c1f-9d3e-2d9f1c6b1a77", "22222222-a4f1-4c1f-9d3e-2d9f1c6b1a77"
	comes("Kim", several, true)
	comes("Lee", several, true)
	comes("Zoe", absent, false)
	doors := []string{s.card(keyed()), s.card(map[string]string{"upscope_key": several}), s.card(map[string]string{"upscope_key": absent})}

	scanner, pages := s.person(), map[string]bool{}
	for _, door := range doors {
		scanner.scans(door, pages)
	}
	s.expire()
	for _, door := range doors {
		scanner.scans(door, pages)
	}
	for _, title := range []string{
		"Co-browse with Ann Silva", "Which visitor are you chatting with?", "Zoe is offline", "This link has expired", "Please press the button yourself",
	} {
		if !pages[title+" · Co-browse bridge"] {
			s.Errorf("the scanner did not get to see %q: %v", title, pages)
		}
	}
	s.watched()
	for record, err := range s.store.Audit(s.Context(), 0) {
		s.must(err)
		if record.Action != "asked" {
			s.Errorf("the scanner caused a record %q", record.Action)
		}
	}
	if now := s.posted("bob"); now != doors[len(doors)-1] {
		s.Error("the scanner had a fresh link sent")
	}
	scanner.quiet()
	s.secretive()
}

// scans tries everything on a page, and on the pages of the bridge that come of
// it unless it has seen them.
func (p *tab) scans(door string, pages map[string]bool) {
	p.Helper()
	const acts = `document.querySelectorAll("input[type=radio]").forEach(i => i.checked = true);
		const all = (what, ...how) => [...document.querySelectorAll(what)].flatMap((_, i) =>
			how.map(h => "document.querySelectorAll('" + what + "')[" + i + "]." + h + "()"));
		[...all("form", "submit", "requestSubmit"), ...all("button", "click"), ...all("a", "click")]`
	for ways := [][]string{nil}; len(ways) > 0; ways = ways[1:] {
		p.types(door)
		for _, act := range ways[0] {
			script[[]string](p, "{"+acts+"}") // fills in
			p.does(chromedp.Evaluate[chromedp.Void](act))
			if p.upscope.Minted() > 0 {
				p.Fatalf("%q opened a session", ways[0])
			}
		}
		title := script[string](p, `document.title`)
		if pages[title] || !strings.HasPrefix(script[string](p, `location.href`), p.bridgeURL) {
			continue
		}
		pages[title] = true
		for _, act := range script[[]string](p, "{"+acts+"}") {
			ways = append(ways, append(slices.Clone(ways[0]), act))
		}
	}
}
