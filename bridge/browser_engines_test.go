package bridge_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/browsertest"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope/upscopetest"
)

// TestInEveryEngine checks in each engine and with each way to sign in that a person's
// presses arrive, and that nothing else is taken for one. The engines differ in the
// headers they send: WebKit never says whether a person acted.
func TestInEveryEngine(t *testing.T) {
	if testing.Short() {
		t.Skip("starts browsers")
	}
	all := []way{byLink, byHeader, byOIDC}
	for _, engine := range browsertest.Engines {
		t.Run(string(engine), func(t *testing.T) {
			t.Parallel()
			browser := browsertest.Start(t, engine)
			for _, test := range []struct {
				name  string
				ways  []way
				rules string
				run   func(p *agentBrowser)
			}{
				{"a click leads to the session, and Back to the page with its button", all, "", aClick},
				{"Enter leads to the session, and Back to the page with its button", all, "", anEnter},
				{"only a person presses, and a double click asks for one link", all, "", onlyPersonsPress},
				{"the desk of an agent", []way{byHeader, byOIDC}, "", anAgentsDesk},
				{"the desk of a lead", []way{byHeader, byOIDC}, leadsOperate, aLeadsDesk},
			} {
				for _, by := range test.ways {
					t.Run(test.name+" by "+string(by), func(t *testing.T) {
						s := newSite(t, by, test.rules)
						p := &agentBrowser{site: s, Browser: browser.With(t), by: by, user: "bob"}
						p.Reset(s.bridgeURL + "/static/icon.svg")
						test.run(p)
						s.secretive()
					})
				}
			}
		})
	}
}

// An agentBrowser is a browser in which an agent uses a site.
type agentBrowser struct {
	*site
	*browsertest.Browser
	by   way
	user string
}

// clicks clicks on a button or link with one of these texts, which leads to another page.
func (p *agentBrowser) clicks(texts ...string) {
	p.Helper()
	p.Loads(func() { p.Click(texts...) })
}

// signsIn signs in where the site asks who it is.
func (p *agentBrowser) signsIn() {
	p.Helper()
	if p.by == byOIDC {
		p.See("Who are you?")
		p.clicks("Sign in as " + users[p.user].name)
	}
}

// connects signs in, and says that the account in the chat is theirs.
func (p *agentBrowser) connects() {
	p.Helper()
	p.signsIn()
	if p.by != byLink {
		p.clicks("Yes, this is my account")
		p.See("Co-browse with")
		// Back leads to an address, and not to the answer to a form.
		door, _, _ := strings.Cut(p.URL(), "?")
		p.Open(door + "?signed-in=1")
	}
}

// arrives follows the link in the chat to Ann's page.
func (p *agentBrowser) arrives() {
	p.Helper()
	p.Open(p.chatURL + "/direct/bob")
	p.clicks("Open here")
	p.connects()
	p.See("Co-browse with Ann Silva")
	p.watched()
}

// watches checks that the session page is open, and how many links led to one.
func (p *agentBrowser) watches(name string, links int) {
	p.Helper()
	p.See("You are watching "+name, "as ")
	all := p.upscope.Watches()
	if len(all) != links || p.upscope.Minted() != links {
		p.Fatalf("%d links were made and %d asked for, want %d", p.upscope.Minted(), len(all), links)
	}
	if at := p.URL(); at != all[links-1].URL {
		p.Errorf("the session page is at %s", at)
	}
	if n := len(p.records("watching")); n != links {
		p.Errorf("%d times somebody watching is on record, want %d", n, links)
	}
}

// goesBack goes back from the session to the page with its button.
func (p *agentBrowser) goesBack() {
	p.Helper()
	links := p.upscope.Minted()
	p.Loads(p.Back)
	p.See("Ann Silva")
	if at := p.URL(); !strings.HasPrefix(at, p.bridgeURL+"/w/") {
		p.Errorf("Back leads to %s", at)
	}
	if n := p.upscope.Minted(); n != links {
		p.Errorf("Back made %d links", n-links)
	}
}

func aClick(p *agentBrowser) {
	ann := p.ann()
	p.card(keyed())
	p.arrives()
	p.clicks("Co-browse with Ann Silva")
	p.watches("Ann Silva", 1)
	p.watched(ann)
	p.goesBack()

	// The bridge knows the agent now. Of a later card the link is the one click, where the
	// browser says that a person clicked it.
	for _, id := range p.upscope.SessionIDs() {
		p.upscope.End(id, 0)
	}
	p.card(keyed())
	p.Open(p.chatURL + "/direct/bob")
	p.NewTab(func() { p.Click("Open in a tab") })
	if p.Engine == browsertest.WebKit {
		p.minted(1)
		p.clicks("Co-browse with Ann Silva", "Go back to the session") // the page may be a moment old
	}
	p.watches("Ann Silva", 2)
}

func anEnter(p *agentBrowser) {
	p.ann()
	door := p.card(keyed())
	p.Open(door)
	p.connects()
	p.See("Co-browse with Ann Silva")
	p.Loads(func() { p.Enter("Co-browse with Ann Silva") })
	p.watches("Ann Silva", 1)
	p.goesBack()

	// An address that was typed is what Chromium repeats with all its headers.
	p.Open(door)
	p.See("Ann Silva")
	p.minted(1)
	p.goesOn()
	p.goesBack()
}

// presses are the forms that were posted to doors.
func (p *agentBrowser) presses() []visit {
	return slices.DeleteFunc(p.atBridge.all(), func(v visit) bool {
		return v.method != http.MethodPost || !strings.HasPrefix(v.path, "/w/")
	})
}

func onlyPersonsPress(p *agentBrowser) {
	p.ann()
	p.card(keyed())
	p.arrives()
	door, _, _ := strings.Cut(p.URL(), "?")
	page := door + "?signed-in=1" // leads nobody straight on
	p.Open(page)

	// Our pages run no script that gets into them.
	p.Script(`const s = document.createElement("script"); s.textContent = "document.forms[0].submit()"; document.body.append(s)`)
	p.Script(`try { fetch("?", {method: "POST", body: new URLSearchParams(new FormData(document.forms[0]))}).catch(() => {}) } catch {}`)
	if at := p.URL(); at != page {
		p.Fatalf("a script led to %s", at)
	}
	// What the browser's remote control runs is told apart from a person's press by
	// Sec-Fetch-User, which WebKit does not send. There nothing but the policy above
	// keeps scripts away, and that is enough.
	if p.Engine != browsertest.WebKit {
		for _, code := range []string{
			`document.forms[0].submit()`,
			`document.forms[0].requestSubmit()`,
			`document.forms[0].querySelector("button").click()`,
		} {
			p.Open(page)
			p.See("Co-browse with Ann Silva")
			p.Loads(func() { p.Script(code) })
			p.See("Please press the button yourself")
		}
	}

	// Nor may a person be tricked into a press on another site.
	p.Open(p.chatURL + "/direct/bob")
	p.clicks("Win a prize")
	p.watched()

	// Upscope is as slow as over a network, so that the second click finds the page.
	p.upscope.Fail(upscopetest.Watch, upscopetest.Fault{Delay: 600 * time.Millisecond}, -1)
	p.Open(page)
	p.See("Co-browse with Ann Silva")
	before := len(p.presses())
	p.Loads(func() { p.DoubleClick("Co-browse with Ann Silva") })
	p.watches("Ann Silva", 1)
	p.atBridge.await(p.T, "both clicks", func() bool { return len(p.presses()) >= before+2 })
	p.watches("Ann Silva", 1)
}

// minted checks how many links were made.
func (p *agentBrowser) minted(links int) {
	p.Helper()
	if n := p.upscope.Minted(); n != links {
		p.Fatalf("%d links were made, want %d", n, links)
	}
}

// goesOn presses the page's button for a visitor whom the same agent watches.
func (p *agentBrowser) goesOn() {
	p.Helper()
	p.clicks("Go back to the session")
	p.See("You are watching Ann Silva")
}

func anAgentsDesk(p *agentBrowser) {
	ann := p.ann()
	p.upscope.SetLookupCode(ann, "4821")
	p.Open(p.bridgeURL + "/")
	p.signsIn()
	p.See("Nobody needs you right now")

	// A caller reads out their code.
	p.Type("digits on their page", "0000")
	p.clicks("Look up")
	p.See("Nobody, or more than one visitor")
	p.Type("digits on their page", "4821")
	p.Loads(func() { p.Press(browsertest.Enter) })
	p.See("Co-browse with Ann Silva")
	p.watched()
	p.clicks("Co-browse with Ann Silva")
	p.watches("Ann Silva", 1)

	// The session is ended from the desk.
	p.Open(p.bridgeURL + "/")
	p.clicks("Stop…")
	p.See("It ends for everybody")
	p.clicks("End the session")
	p.See("The session is ended")
	if n := p.upscope.Requests()[upscopetest.StopSession]; n != 1 {
		p.Errorf("Upscope was asked %d times to end a session", n)
	}

	// A visitor is away.
	p.upscope.Go(ann)
	p.card(keyed())
	p.Open(p.chatURL + "/direct/bob")
	p.clicks("Open here")
	p.clicks("Yes, this is my account")
	p.See("Ann Silva is offline")
	p.Open(p.bridgeURL + "/")
	p.clicks("Tell me when they are back…")
	p.See("We’ll tell you here")

	p.clicks("Disconnect…")
	p.See("None yet.")
	if p.by == byOIDC {
		p.clicks("Sign out")
		p.See("signed out")
		p.Open(p.bridgeURL + "/")
		p.See("Who are you?")
	}
	p.minted(1)
}

func aLeadsDesk(p *agentBrowser) {
	p.user = "eve"
	p.proxied.Store("eve")
	p.ann()
	p.card(keyed())
	p.chat.Fail("rooms.info", rocketchattest.Fault{Status: http.StatusBadRequest, Body: `{"success":false,"error":"x","errorType":"error-invalid-user"}`}, 1)
	room := p.opens(keyed())
	p.chat.Take(room, "bob")
	p.deliver(room)
	p.Open(p.bridgeURL + "/desk/operations")
	p.signsIn()
	p.atChat.await(p.T, "a delivery that fails", func() bool { return strings.Contains(p.log.String(), "error-invalid-user") })
	p.Loads(p.Reload)
	p.clicks("Retry all")
	p.See("again")
	if n := len(p.records("retried")); n == 0 {
		p.Errorf("no retry is on record")
	}

	p.clicks("Erase…")
	p.Choose("Your site’s ID")
	p.Type("The ID", "cust-77")
	p.clicks("See what there is")
	p.See("Erase this person?")
	p.clicks("Erase for good")
	p.See("They are erased")
	p.watched()
}
