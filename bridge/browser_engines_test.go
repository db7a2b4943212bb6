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

// TestInEveryEngine checks, in each engine and with each way to sign in, that the bridge
// accepts the presses of a person and nothing else. The engines send different headers:
// WebKit never sends whether a person acted.
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
						p := &agentBrowser{site: s, Browser: browser.ForTest(t), by: by, user: "bob"}
						p.Reset(s.bridgeURL + "/static/icon.svg")
						test.run(p)
						s.wantNoLeaks()
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

// clicks clicks a button or link with one of these texts and waits for the next page.
func (p *agentBrowser) clicks(texts ...string) {
	p.Helper()
	p.WaitForLoad(func() { p.Click(texts...) })
}

// signsIn signs in at the issuer, if agents of the site sign in there.
func (p *agentBrowser) signsIn() {
	p.Helper()
	if p.by == byOIDC {
		p.WaitForText("Who are you?")
		p.clicks("Sign in as " + users[p.user].name)
	}
}

// connects signs in and confirms that the account in the chat is the agent's.
func (p *agentBrowser) connects() {
	p.Helper()
	p.signsIn()
	if p.by != byLink {
		p.clicks("Yes, this is my account")
		p.WaitForText("Co-browse with")
		// Back then leads to a page that was opened by its address, not by a form.
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
	p.WaitForText("Co-browse with Ann Silva")
	p.wantWatched()
}

// watches checks that the session page is open, and how many watch links were made so far.
func (p *agentBrowser) watches(name string, links int) {
	p.Helper()
	p.WaitForText("You are watching "+name, "as ")
	all := p.upscope.Watches()
	if len(all) != links || p.upscope.Minted() != links {
		p.Fatalf("%d links were made and %d requested, want %d", p.upscope.Minted(), len(all), links)
	}
	if at := p.URL(); at != all[links-1].URL {
		p.Errorf("the session page is at %s", at)
	}
	if n := len(p.records("watching")); n != links {
		p.Errorf("%d audit records of watching, want %d", n, links)
	}
}

// goesBack goes back from the session to the page with its button.
func (p *agentBrowser) goesBack() {
	p.Helper()
	links := p.upscope.Minted()
	p.WaitForLoad(p.Back)
	p.WaitForText("Ann Silva")
	if at := p.URL(); !strings.HasPrefix(at, p.bridgeURL+"/w/") {
		p.Errorf("Back leads to %s", at)
	}
	if n := p.upscope.Minted(); n != links {
		p.Errorf("going back made %d links, want none", n-links)
	}
}

func aClick(p *agentBrowser) {
	ann := p.ann()
	p.card(withPageKey())
	p.arrives()
	p.clicks("Co-browse with Ann Silva")
	p.watches("Ann Silva", 1)
	p.wantWatched(ann)
	p.goesBack()

	// The bridge knows the agent now. The link of a later card leads directly to the screen,
	// if the browser sends that a person clicked it.
	for _, id := range p.upscope.SessionIDs() {
		p.upscope.End(id, 0)
	}
	p.card(withPageKey())
	p.Open(p.chatURL + "/direct/bob")
	p.NewTab(func() { p.Click("Open in a tab") })
	if p.Engine == browsertest.WebKit {
		p.wantMinted(1)
		p.clicks("Co-browse with Ann Silva", "Go to session") // either text: the page may be from before the session
	}
	p.watches("Ann Silva", 2)
}

func anEnter(p *agentBrowser) {
	p.ann()
	door := p.card(withPageKey())
	p.Open(door)
	p.connects()
	p.WaitForText("Co-browse with Ann Silva")
	p.WaitForLoad(func() { p.FocusAndPressEnter("Co-browse with Ann Silva") })
	p.watches("Ann Silva", 1)
	p.goesBack()

	// On Back, Chromium repeats the headers of a typed address.
	p.Open(door)
	p.WaitForText("Ann Silva")
	p.wantMinted(1)
	p.returnsToSession()
	p.goesBack()
}

// postedForms returns the forms that were posted to doors.
func (p *agentBrowser) postedForms() []visit {
	return slices.DeleteFunc(p.atBridge.all(), func(v visit) bool {
		return v.method != http.MethodPost || !strings.HasPrefix(v.path, "/w/")
	})
}

func onlyPersonsPress(p *agentBrowser) {
	p.ann()
	p.card(withPageKey())
	p.arrives()
	door, _, _ := strings.Cut(p.URL(), "?")
	page := door + "?signed-in=1" // never skips the page
	p.Open(page)

	// Our pages do not run injected scripts.
	p.Script(`const s = document.createElement("script"); s.textContent = "document.forms[0].submit()"; document.body.append(s)`)
	p.Script(`try { fetch("?", {method: "POST", body: new URLSearchParams(new FormData(document.forms[0]))}).catch(() => {}) } catch {}`)
	if at := p.URL(); at != page {
		p.Fatalf("a script led to %s", at)
	}
	// Scripts of the browser's remote control do run. The bridge recognises them because they
	// send no Sec-Fetch-User. WebKit never sends it: there only the policy above stops scripts.
	if p.Engine != browsertest.WebKit {
		for _, code := range []string{
			`document.forms[0].submit()`,
			`document.forms[0].requestSubmit()`,
			`document.forms[0].querySelector("button").click()`,
		} {
			p.Open(page)
			p.WaitForText("Co-browse with Ann Silva")
			p.WaitForLoad(func() { p.Script(code) })
			p.WaitForText("The press was not counted")
		}
	}

	// A form on another site cannot press, although a person clicks it.
	p.Open(p.chatURL + "/direct/bob")
	p.clicks("Win a prize")
	p.wantWatched()

	// Upscope answers slowly, so that the second click comes before the page changes.
	p.upscope.Fail(upscopetest.Watch, upscopetest.Fault{Delay: 600 * time.Millisecond}, -1)
	p.Open(page)
	p.WaitForText("Co-browse with Ann Silva")
	before := len(p.postedForms())
	p.WaitForLoad(func() { p.DoubleClick("Co-browse with Ann Silva") })
	p.watches("Ann Silva", 1)
	p.atBridge.await(p.T, "both clicks", func() bool { return len(p.postedForms()) >= before+2 })
	p.watches("Ann Silva", 1)
}

// wantMinted checks how many watch links were made.
func (p *agentBrowser) wantMinted(links int) {
	p.Helper()
	if n := p.upscope.Minted(); n != links {
		p.Fatalf("%d links were made, want %d", n, links)
	}
}

// returnsToSession presses the page's button to return to the running session.
func (p *agentBrowser) returnsToSession() {
	p.Helper()
	p.clicks("Go to session")
	p.WaitForText("You are watching Ann Silva")
}

func anAgentsDesk(p *agentBrowser) {
	ann := p.ann()
	p.upscope.SetLookupCode(ann, "4821")
	p.Open(p.bridgeURL + "/")
	p.signsIn()
	p.WaitForText("No customers yet")

	// A caller reads out their code.
	p.Type("four-digit code", "0000")
	p.clicks("Look up")
	p.WaitForText("No customer online has this code")
	p.Type("four-digit code", "4821")
	p.WaitForLoad(func() { p.Press(browsertest.KeyEnter) })
	p.WaitForText("Co-browse with Ann Silva")
	p.wantWatched()
	p.clicks("Co-browse with Ann Silva")
	p.watches("Ann Silva", 1)

	// The agent ends the session at the desk.
	p.Open(p.bridgeURL + "/")
	p.clicks("End session…")
	p.WaitForText("The session ends for all agents")
	p.clicks("End session")
	p.WaitForText("The session has ended")
	if n := p.upscope.Requests()[upscopetest.StopSession]; n != 1 {
		p.Errorf("Upscope was asked %d times to end a session", n)
	}

	// The visitor is offline.
	p.upscope.Go(ann)
	p.card(withPageKey())
	p.Open(p.chatURL + "/direct/bob")
	p.clicks("Open here")
	p.clicks("Yes, this is my account")
	p.WaitForText("Ann Silva is offline")
	p.Open(p.bridgeURL + "/")
	p.clicks("Tell me when the customer is back…")
	p.WaitForText("You will see it here")

	p.clicks("Disconnect…")
	p.WaitForText("No chat account is connected")
	if p.by == byOIDC {
		p.clicks("Sign out")
		p.WaitForText("signed out")
		p.Open(p.bridgeURL + "/")
		p.WaitForText("Who are you?")
	}
	p.wantMinted(1)
}

func aLeadsDesk(p *agentBrowser) {
	p.user = "eve"
	p.proxied.Store("eve")
	p.ann()
	p.card(withPageKey())
	p.chat.Fail("rooms.info", rocketchattest.Fault{Status: http.StatusBadRequest, Body: `{"success":false,"error":"x","errorType":"error-invalid-user"}`}, 1)
	room := p.openChat(withPageKey())
	p.chat.Take(room, "bob")
	p.deliver(room)
	p.Open(p.bridgeURL + "/desk/operations")
	p.signsIn()
	p.ReloadUntil("Retry all")
	p.clicks("Retry all")
	p.WaitForText("again")
	if n := len(p.records("retried")); n == 0 {
		p.Errorf("the audit log has no retry")
	}

	p.clicks("Delete data…")
	p.ClickLabel("Customer ID of your website")
	p.Type("ID", "cust-77")
	p.clicks("Show summary")
	p.WaitForText("Delete this person’s data?")
	p.clicks("Delete permanently")
	p.WaitForText("Keep this receipt number")
	p.wantWatched()
}
