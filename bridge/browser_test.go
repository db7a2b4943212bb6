package bridge_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"cobrowse-bridge/bridge/browsertest"
	"cobrowse-bridge/upscope"
)

// TestInChromium checks what depends on a real browser: which requests it sends, which
// redirects after a form it follows, and what it sends to other sites or stores.
func TestInChromium(t *testing.T) {
	t.Parallel()
	chromium := browsertest.SharedChromium(t)
	for _, test := range []struct {
		name    string
		run     func(s *site)
		without bool // whether the test also runs with scripts disabled
	}{
		{"a press by mouse reaches the session", aPressByMouse, true},
		{"a press by keyboard reaches the session", aPressByKeyboard, true},
		{"a choice by keyboard reaches the chosen visitor", aChoiceByKeyboard, true},
		{"a fresh link replaces an expired one", aFreshLink, true},
		{"an agent may try although the visitor is offline", anywayOffline, true},
		{"the browser that pressed first goes straight on and others are refused", oneBrowser, false},
		{"scripts cannot press", scriptsCannotPress, false},
		{"a scanner that follows and submits everything opens nothing", aScanner, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			t.Parallel()
			test.run(newSite(t, byLink, "").withChromium(chromium, true))
		})
		if test.without {
			t.Run(test.name+" without scripts", func(t *testing.T) {
				t.Parallel()
				test.run(newSite(t, byLink, "").withChromium(chromium, false))
			})
		}
	}
}

func aPressByMouse(s *site) {
	ann := s.ann()
	door := s.card(withPageKey())
	bob := s.newPerson()
	bob.types(s.chatURL + "/direct/bob")
	bob.wantStatus(http.StatusOK, bob.clicks("Open here"))
	bob.sees("Co-browse with Ann Silva", "Online")
	bob.checkLayout("ready")
	s.wantWatched()

	bob.wantStatus(http.StatusOK, bob.clicks("Co-browse with Ann Silva"))
	bob.watches("Ann Silva")
	s.wantWatched(ann)
	bob.wantInHistory(door, true)

	// Back leads to the page and does not press again.
	s.upscope.End(ann, 0)
	s.must(chromedp.Do(bob.ctx, chromedp.NavigateBack()))
	bob.sees("Co-browse with Ann Silva")
	if cookies := script[string](bob, `document.cookie`); cookies != "" {
		s.Errorf("scripts can read the cookies %q", cookies)
	}
	bob.clicks("Open the customer’s chat")
	if at := script[string](bob, `location.href`); !strings.HasPrefix(at, s.chatURL+"/live/") {
		s.Errorf("\"Open the customer’s chat\" leads to %s", at)
	}
	s.wantWatched(ann)
	bob.wantNoErrors()
	s.wantNoLeaks()
}

func aPressByKeyboard(s *site) {
	ann := s.ann()
	bob := s.newPerson()
	bob.types(s.card(withPageKey()))
	bob.keys(kb.Tab)
	if at := bob.focused(); at != "Co-browse with Ann Silva" {
		s.Fatalf("the first tab stop is %q", at)
	}
	bob.wantStatus(http.StatusOK, bob.doAndLoad(chromedp.KeyEvent(kb.Enter)))
	bob.watches("Ann Silva")
	s.wantWatched(ann)
	bob.wantNoErrors()
	s.wantNoLeaks()
}

func aChoiceByKeyboard(s *site) {
	s.ann()
	phone := s.upscope.Come(upscope.Visitor{
		Name: "Ann Silva", Identities: []string{"rocketchat:" + pageKey}, LastURL: "https://shop.example.org/orders/8841",
		LocationCity: "Lisbon", LocationCountryName: "Portugal", BrowserName: "Safari", DeviceName: "iPhone",
	})
	s.upscope.SetIntegrationIDs(phone, "rocketchat:"+pageKey)
	door := s.card(withPageKey())
	bob := s.newPerson()
	bob.types(door)
	bob.sees("Which customer are you helping?", "Safari on iPhone", "Chrome on Windows")
	bob.checkLayout("choose")

	// No visitor is preselected, and without a choice the browser sends nothing.
	s.must(chromedp.Do(bob.ctx, chromedp.Click(labelled("Co-browse with this customer"))))
	const chosen = `document.querySelector("input:checked")?.value ?? ""`
	if id := script[string](bob, chosen); id != "" {
		s.Errorf("%s is preselected", id)
	}
	bob.types(door)
	for _, v := range s.atBridge.of(door) {
		if v.method != http.MethodGet {
			s.Errorf("without a choice the browser sent %v", v)
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
	if at := bob.focused(); at != "Co-browse with this customer" {
		s.Fatalf("the next tab stop is %q", at)
	}
	bob.wantStatus(http.StatusOK, bob.doAndLoad(chromedp.KeyEvent(kb.Enter)))
	bob.watches("Ann Silva")
	id, _, _ := strings.Cut(second, ".") // the rest is a fingerprint of the visitor who was shown
	s.wantWatched(id)
	bob.wantNoErrors()
	s.wantNoLeaks()
}

func aFreshLink(s *site) {
	ann := s.ann()
	door := s.card(withPageKey())
	s.expireDoors()
	bob := s.newPerson()
	bob.wantStatus(http.StatusGone, bob.types(door))
	bob.sees("This button has expired")
	bob.checkLayout("expired")
	bob.wantStatus(http.StatusOK, bob.clicks("Get a new link"))
	bob.sees("The co-browse message has a new button")
	bob.checkLayout("renewed")
	s.waitForNewDoor(door)

	bob.types(s.chatURL + "/direct/bob")
	bob.wantStatus(http.StatusOK, bob.clicks("Open here"))
	bob.clicks("Co-browse with Ann Silva")
	bob.watches("Ann Silva")
	s.wantWatched(ann)
	bob.wantStatus(http.StatusGone, bob.types(door))
	bob.sees("This button was replaced")
	bob.checkLayout("replaced")
	s.wantWatched(ann)
	bob.wantNoErrors()
	s.wantNoLeaks()
}

func anywayOffline(s *site) {
	ann := s.ann()
	s.upscope.Go(ann)
	bob := s.newPerson()
	bob.types(s.card(withPageKey()))
	bob.sees("Ann Silva is offline")
	bob.checkLayout("offline")
	bob.wantStatus(http.StatusOK, bob.clicks("Check again"))
	bob.sees("Ann Silva is offline")
	s.wantWatched()
	bob.wantStatus(http.StatusGone, bob.clicks("Co-browse anyway"))
	bob.sees("The visitor is not online.") // as Upscope says
	s.wantWatched(ann)
	bob.wantNoErrors()
	s.wantNoLeaks()
}

func oneBrowser(s *site) {
	ann := s.ann()
	door := s.card(withPageKey())
	bob, thief := s.newPerson(), s.newPerson()
	bob.types(door)
	bob.clicks("Co-browse with Ann Silva")
	bob.watches("Ann Silva")

	thief.wantStatus(http.StatusForbidden, thief.types(door))
	thief.sees("This button works only in another browser")
	thief.checkLayout("elsewhere")
	s.wantWatched(ann)

	// From here on a person's click on the link is enough in the first browser, also for later cards.
	bob.clicks("End session")
	straight := func(how string, goes func() *tab) {
		s.Helper()
		door = s.card(withPageKey()) // a new card: on the same card a second click may count as the same press
		before, opened := len(s.atBridge.of(door)), s.upscope.Opened()
		session := goes()
		session.watches("Ann Silva")
		if got := s.atBridge.of(door)[before:]; len(got) != 1 || got[0].method != http.MethodGet || got[0].status != http.StatusSeeOther {
			s.Errorf("%s: the bridge got %v, want one redirect", how, got)
		}
		if n := s.upscope.Opened() - opened; n != 1 {
			s.Errorf("%s: the session was opened %d times", how, n)
		}
		session.clicks("End session")
		session.wantNoErrors()
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
	s.wantWatched(ann, ann, ann)

	// A typed address right after a session could be Back, so the page is shown.
	bob.types(door)
	bob.sees("Co-browse with Ann Silva")

	// A script that clicks the link in the chat does not skip the page.
	bob.types(s.chatURL + "/direct/bob")
	bob.doAndLoad(chromedp.Evaluate[chromedp.Void](`document.querySelector("#here").click()`))
	bob.sees("Co-browse with Ann Silva")
	s.wantWatched(ann, ann, ann)
	thief.wantNoErrors()
	bob.wantNoErrors()
	s.wantNoLeaks()
}

func scriptsCannotPress(s *site) {
	ann := s.ann()
	door := s.card(withPageKey())
	bob := s.newPerson()
	for _, code := range []string{
		`document.forms[0].submit()`,
		`document.forms[0].requestSubmit()`,
		`document.querySelector("button").click()`,
		`document.querySelector("button").dispatchEvent(new MouseEvent("click", {bubbles: true, cancelable: true}))`,
	} {
		bob.types(door)
		bob.wantStatus(http.StatusForbidden, bob.doAndLoad(chromedp.Evaluate[chromedp.Void](code)))
		bob.sees("The press was not counted")
	}
	bob.checkLayout("press")
	s.wantWatched()

	// The advice on the page works: the agent presses the button.
	bob.types(s.chatURL + "/direct/bob")
	bob.clicks("Open here")
	bob.clicks("Co-browse with Ann Silva")
	bob.watches("Ann Silva")
	s.wantWatched(ann)
	bob.wantNoErrors()
	s.wantNoLeaks()
}

// aScanner opens the door of every card. By script it fills in the fields and tries each
// link, button and form, also on the pages that it reaches.
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
	doors := []string{s.card(withPageKey()), s.card(map[string]string{"upscope_key": several}), s.card(map[string]string{"upscope_key": absent})}

	scanner, pages := s.newPerson(), map[string]bool{}
	for _, door := range doors {
		scanner.scans(door, pages)
	}
	s.expireDoors()
	for _, door := range doors {
		scanner.scans(door, pages)
	}
	for _, title := range []string{
		"Co-browse with Ann Silva", "Which customer are you helping?", "Zoe is offline", "This button has expired", "The press was not counted",
	} {
		if !pages[title+" · Co-browse bridge"] {
			s.Errorf("the scanner did not reach the page %q: %v", title, pages)
		}
	}
	s.wantWatched()
	for record, err := range s.store.AuditLog().After(s.Context(), 0) {
		s.must(err)
		if record.Action != "asked" {
			s.Errorf("the scanner caused the audit record %q", record.Action)
		}
	}
	if now := s.latestDoor("bob"); now != doors[len(doors)-1] {
		s.Error("the scanner made the bridge send a fresh link")
	}
	scanner.wantNoErrors()
	s.wantNoLeaks()
}

// scans tries everything on a page, and on the pages of the bridge that it reaches, unless
// they are in pages already.
func (p *tab) scans(door string, pages map[string]bool) {
	p.Helper()
	const acts = `document.querySelectorAll("input[type=radio]").forEach(i => i.checked = true);
		const all = (what, ...how) => [...document.querySelectorAll(what)].flatMap((_, i) =>
			how.map(h => "document.querySelectorAll('" + what + "')[" + i + "]." + h + "()"));
		[...all("form", "submit", "requestSubmit"), ...all("button", "click"), ...all("a", "click")]`
	for ways := [][]string{nil}; len(ways) > 0; ways = ways[1:] {
		p.types(door)
		for _, act := range ways[0] {
			script[[]string](p, "{"+acts+"}") // fills in the fields
			p.doAndLoad(chromedp.Evaluate[chromedp.Void](act))
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
