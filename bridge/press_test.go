package bridge_test

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// User-Agents as browsers send them.
const (
	chromium  = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"
	edge      = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36 Edg/156.0.0.0"
	android   = "Mozilla/5.0 (Linux; Android 16; Pixel 9 Build/BP2A; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/156.0.0.0 Mobile Safari/537.36"
	electron  = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) Slack/4.46.0 Chrome/156.0.0.0 Electron/40.0.0 Safari/537.36"
	firefox   = "Mozilla/5.0 (X11; Linux x86_64; rv:153.0) Gecko/20100101 Firefox/153.0"
	safari    = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Safari/605.1.15"
	iPhone    = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/26.1 Mobile/15E148 Safari/604.1"
	iOSChrome = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) CriOS/156.0.0.0 Mobile/15E148 Safari/604.1"
	iOSApp    = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_7 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148"
	epiphany  = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/60.5 Safari/605.1.15"
	safari15  = "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/15.6 Safari/605.1.15"
	slackbot  = "Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)"
	googlebot = "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; Googlebot/2.1; +http://www.google.com/bot.html) Chrome/156.0.0.0 Safari/537.36"
	curl      = "curl/8.14.1"
)

// A sender is a browser, script or program that sends forms or requests pages, with the
// headers that were observed.
type sender struct {
	name      string
	userAgent string
	header    string // lines of the form "Name: value"
	noCookies bool
	// The result of a form: "" if the press is accepted, else the kind of the page that refuses
	// it. Link is for the mode without sign-in, signsIn for the others.
	link, signsIn templates.Kind
}

const (
	ours     = "Origin: " + origin                                                                        // the origin of the bridge
	theirs   = "Origin: https://evil.example"                                                             // the origin of another site
	ofForm   = ours + "\nSec-Fetch-Site: same-origin\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document" // a form on our page
	byPerson = "\nSec-Fetch-User: ?1"                                                                     // added if a person acted
	ofFetch  = ours + "\nSec-Fetch-Site: same-origin\nSec-Fetch-Mode: cors\nSec-Fetch-Dest: empty"
	ofFrame  = ours + "\nSec-Fetch-Site: same-origin\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: iframe"
	ofTheirs = theirs + "\nSec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document"
)

var formSenders = []sender{
	// People. WebKit sends no Sec-Fetch-User, ever.
	{name: "Chromium", userAgent: chromium, header: ofForm + byPerson},
	{name: "Chromium before 80, which sends no Sec-Fetch-Dest", userAgent: chromium, header: strings.TrimSuffix(ofForm, "\nSec-Fetch-Dest: document") + byPerson},
	{name: "Edge", userAgent: edge, header: ofForm + byPerson},
	{name: "Firefox", userAgent: firefox, header: ofForm + byPerson},
	{name: "Safari", userAgent: safari, header: ofForm},
	{name: "Safari of an iPhone", userAgent: iPhone, header: ofForm},
	{name: "Chrome of an iPhone, which is WebKit", userAgent: iOSChrome, header: ofForm},
	{name: "GNOME Web", userAgent: epiphany, header: ofForm},
	{name: "a page in an app on an iPhone", userAgent: iOSApp, header: ofForm},
	{name: "a page in an app on Android", userAgent: android, header: ofForm + byPerson},
	{name: "Slack's desktop app", userAgent: electron, header: ofForm + byPerson},
	{name: "Safari, should it begin to send Sec-Fetch-User", userAgent: safari, header: ofForm + byPerson},
	{name: "Safari before 16.4", userAgent: safari15, header: ours, link: templates.KindOldBrowser},
	{name: "Chromium behind a proxy that removes fetch metadata", userAgent: chromium, header: ours, link: templates.KindOldBrowser},

	// Browsers without cookies. An agent who signs in by cookie is not signed in there.
	{name: "Chromium without cookies", userAgent: chromium, header: ofForm + byPerson, noCookies: true, link: templates.KindCookies},
	{name: "Safari without cookies", userAgent: safari, header: ofForm, noCookies: true, link: templates.KindCookies, signsIn: templates.KindCookies},
	{name: "Safari before 16.4 without cookies", userAgent: safari15, header: ours, noCookies: true, link: templates.KindOldBrowser, signsIn: templates.KindCookies},

	// Scripts. submit(), requestSubmit() and click() send the same headers; fetch() sends another mode.
	{name: "a script in Chromium", userAgent: chromium, header: ofForm, link: templates.KindPress, signsIn: templates.KindPress},
	{name: "a script in Firefox", userAgent: firefox, header: ofForm, link: templates.KindPress, signsIn: templates.KindPress},
	{name: "a script in an app on Android", userAgent: android, header: ofForm, link: templates.KindPress, signsIn: templates.KindPress},
	{name: "fetch in Chromium", userAgent: chromium, header: ofFetch, link: templates.KindPress, signsIn: templates.KindPress},
	{name: "fetch in Firefox", userAgent: firefox, header: ofFetch, link: templates.KindPress, signsIn: templates.KindPress},
	{name: "fetch in Safari", userAgent: safari, header: ofFetch, link: templates.KindPress, signsIn: templates.KindPress},

	// Frames, and pages of other sites.
	{name: "a frame in Chromium", userAgent: chromium, header: ofFrame + byPerson, link: templates.KindPress, signsIn: templates.KindPress},
	{name: "a frame in Safari", userAgent: safari, header: ofFrame, link: templates.KindPress, signsIn: templates.KindPress},
	{name: "a sandboxed frame", userAgent: chromium, header: "Origin: null\nSec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: iframe" + byPerson, link: templates.KindCrossOrigin, signsIn: templates.KindCrossOrigin},
	{name: "another site in Chromium", userAgent: chromium, header: ofTheirs + byPerson, link: templates.KindCrossOrigin, signsIn: templates.KindCrossOrigin},
	{name: "another site in Safari", userAgent: safari, header: ofTheirs, link: templates.KindCrossOrigin, signsIn: templates.KindCrossOrigin},
	{name: "another site in Safari before 16.4", userAgent: safari15, header: theirs, link: templates.KindCrossOrigin, signsIn: templates.KindCrossOrigin},
	{name: "another host of our domain", userAgent: chromium, header: "Origin: https://chat.example.org\nSec-Fetch-Site: same-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document" + byPerson, link: templates.KindCrossOrigin, signsIn: templates.KindCrossOrigin},
	{name: "our host without TLS", userAgent: safari15, header: "Origin: http://bridge.example.org", link: templates.KindCrossOrigin, signsIn: templates.KindCrossOrigin},
	{name: "our host at another port", userAgent: safari15, header: "Origin: https://bridge.example.org:8443", link: templates.KindCrossOrigin, signsIn: templates.KindCrossOrigin},
	{name: "a host that begins like ours", userAgent: safari15, header: "Origin: https://bridge.example.org.evil.example", link: templates.KindCrossOrigin, signsIn: templates.KindCrossOrigin},
	{name: "no origin in Safari before 16.4", userAgent: safari15, link: templates.KindPress, signsIn: templates.KindPress},
	{name: "no origin in Chromium", userAgent: chromium, header: strings.TrimPrefix(ofForm, ours+"\n") + byPerson, link: templates.KindPress, signsIn: templates.KindPress},
	{name: "two origins", userAgent: chromium, header: ours + "\n" + ofForm + byPerson, link: templates.KindCrossOrigin, signsIn: templates.KindCrossOrigin},
	{name: "an origin and a site that disagree", userAgent: chromium, header: ours + "\n" + strings.TrimPrefix(ofTheirs, theirs+"\n") + byPerson, link: templates.KindCrossOrigin, signsIn: templates.KindCrossOrigin},
	{name: "half of the metadata", userAgent: safari, header: ours + "\nSec-Fetch-Site: same-origin", link: templates.KindPress, signsIn: templates.KindPress},
	{name: "a form that no page sent", userAgent: chromium, header: strings.Replace(ofForm, "same-origin", "none", 1) + byPerson, link: templates.KindPress, signsIn: templates.KindPress},

	// Programs.
	{name: "Slack's robot", userAgent: slackbot, link: templates.KindPress, signsIn: templates.KindPress},
	{name: "Slack's robot that pretends to press", userAgent: slackbot, header: ofForm + byPerson, link: templates.KindPress, signsIn: templates.KindPress},
	{name: "Google's robot that runs scripts", userAgent: googlebot, header: ofForm, link: templates.KindPress, signsIn: templates.KindPress},
	{name: "curl", userAgent: curl, link: templates.KindPress, signsIn: templates.KindPress},
	{name: "curl with our origin", userAgent: curl, header: ours, link: templates.KindPress, signsIn: templates.KindPress},
	{name: "curl with all headers but Sec-Fetch-User", userAgent: curl, header: ofForm, link: templates.KindPress, signsIn: templates.KindPress},
	{name: "no User-Agent", header: ours, link: templates.KindPress, signsIn: templates.KindPress},
}

// send makes a request as the sender does, with the cookies of a browser.
func (s sender) send(b *browser, method, path string, form url.Values) *answer {
	r := request(method, path, strings.NewReader(form.Encode()))
	if method == http.MethodPost {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	}
	for line := range strings.SplitSeq(s.header, "\n") {
		if name, value, ok := strings.Cut(line, ": "); ok {
			r.Header.Add(name, value)
		}
	}
	r.Header.Set("User-Agent", s.userAgent)
	if b.proxied != nil {
		b.proxied(r)
	}
	for _, c := range b.cookies {
		if !s.noCookies {
			r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
		}
	}
	return b.do(r)
}

// A mode is a way to sign in.
type mode struct {
	name    string
	signsIn bool
	// run runs a test in a world in which bob has a card for ann, and may do everything. His
	// browser has loaded the page. Agents open the chat through the bridge.
	run func(t *testing.T, test func(w *world, bob *browser))
}

// everything is a policy: bob may do everything on his own cards, and eve, a lead, may watch
// on all cards.
const everything = "rules: [{who: {groups: [leads]}, may: [watch, any-card]}, {may: [watch, stop, look-up, operate, audit, erase]}]"

var opensChats = options{config: func(c *bridge.Config) {
	c.Connectors[0].ChatHosts = []string{"chat.example.org"}
	c.Connectors[0].OpenChat = func(context.Context, string, chat.Agent) (string, error) {
		return "https://chat.example.org/enter", nil
	}
}}

var modes = []mode{
	{"link", false, func(t *testing.T, test func(*world, *browser)) {
		inWorld(t, func(w *world) {
			bobHasCard(w)
			bob := w.browser()
			bob.loads(w.door("bob"))
			test(w, bob)
		}, opensChats)
	}},
	{"oidc", true, func(t *testing.T, test func(*world, *browser)) {
		inOIDCWorld(t, everything, func(o *oidcWorld) {
			bobHasCard(o.world)
			test(o.world, o.connectedBob())
		}, opensChats)
	}},
	{"header", true, func(t *testing.T, test func(*world, *browser)) {
		inWorld(t, func(w *world) {
			bobHasCard(w)
			bob := w.browser()
			bob.proxied = func(r *http.Request) {
				r.RemoteAddr = "10.1.2.3:1000"
				r.Header.Set("X-Forwarded-User", "bob")
			}
			bob.press(w.door("bob"), url.Values{"connect": {"1"}}).want(t, http.StatusOK, "Co-browse with")
			test(w, bob)
		}, opensChats, options{config: func(c *bridge.Config) {
			proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
			var err error
			if c.Header, err = signin.NewHeader(signin.HeaderConfig{User: "X-Forwarded-User", Proxies: proxies}); err != nil {
				t.Fatal(err)
			}
			rules, err := policy.Parse("policy.yaml", []byte(everything))
			if err != nil {
				t.Fatal(err)
			}
			c.Policy = policy.Fixed(rules)
		}})
	}},
}

// A form is a form on a page. At is its path; if it is empty or begins with "?", it is
// appended to the path of the door.
type form struct {
	name, at string
	fields   url.Values
}

var doorForms = []form{
	{"co-browse", "", url.Values{"visitor": {"ANN"}}},
	{"try anyway", "", url.Values{"visitor": {"ANN"}, "anyway": {"1"}}},
	{"look again", "", url.Values{"look": {"1"}}},
	{"tell me", "", url.Values{"tell": {"1"}}},
	{"open the chat", "", url.Values{"chat": {"1"}}},
	{"this is my account", "", url.Values{"connect": {"1"}}},
	{"end the session", "", url.Values{"stop": {"1"}}},
	{"send a fresh link", "?renew=1", nil},
}

var deskForms = []form{
	{"look up a code", "/desk/look-up", url.Values{"code": {"4821"}}},
	{"tell me, at the desk", "/desk/tell", url.Values{"card": {"x"}}},
	{"retry", "/desk/retry", url.Values{"all": {"1"}}},
	{"look for a person", "/desk/erase", url.Values{"kind": {"unique-id"}, "id": {"cust-77"}}},
	{"erase a person", "/desk/erase", url.Values{"kind": {"unique-id"}, "id": {"nobody"}, "confirm": {"1"}}},
	{"disconnect an account", "/desk/unlink", url.Values{"account": {"rocketchat:a1"}}},
	{"sign out", "/signout", nil},
}

// TestPromise2EveryFormNeedsAPersonsPress posts every form as each engine, and as scripts,
// frames, other sites and programs.
func TestPromise2EveryFormNeedsAPersonsPress(t *testing.T) {
	for _, mode := range modes {
		var refused []sender
		for _, s := range formSenders {
			if s.refused(mode) != "" {
				refused = append(refused, s)
				continue
			}
			t.Run(mode.name+"/"+s.name, func(t *testing.T) {
				mode.run(t, func(w *world, bob *browser) { w.sendAllForms(t, mode, s, bob) })
			})
		}
		// Refused senders change nothing, so they can share one world.
		t.Run(mode.name+"/refused", func(t *testing.T) {
			mode.run(t, func(w *world, bob *browser) {
				for _, s := range refused {
					w.sendAllForms(t, mode, s, bob)
				}
				// The door still works.
				bob.press(w.door("bob"), url.Values{"visitor": {w.visitor}}).wantWatch(t)
			})
		})
	}
}

func (s sender) refused(m mode) templates.Kind {
	if m.signsIn {
		return s.signsIn
	}
	return s.link
}

// sendAllForms sends every form as a sender.
func (w *world) sendAllForms(t *testing.T, m mode, s sender, bob *browser) {
	t.Helper()
	forms := doorForms
	if m.signsIn {
		forms = slices.Concat(doorForms, deskForms)
	}
	for _, f := range forms {
		if f.at == "/signout" && m.name != "oidc" {
			continue // the proxy signs agents out
		}
		w.sendForm(t, s, bob, f, s.refused(m))
	}
}

// sendForm sends a form as a sender. It checks that a page of kind refused is the answer, or, if
// refused is empty, that the form counts as a press.
func (w *world) sendForm(t *testing.T, s sender, bob *browser, f form, refused templates.Kind) {
	t.Helper()
	path := f.at
	if !strings.HasPrefix(path, "/") {
		path = w.door("bob") + path
	}
	fields := url.Values{}
	for name, values := range f.fields {
		fields[name] = values
		if values[0] == "ANN" {
			fields[name] = []string{w.visitor}
		}
	}
	minted, recorded := w.upscope.Minted(), len(w.auditedActions())
	got := s.send(bob, http.MethodPost, path, fields)
	minted, recorded = w.upscope.Minted()-minted, len(w.auditedActions())-recorded
	if refused != "" {
		if got.StatusCode != http.StatusForbidden || !strings.Contains(got.body, refused.Title()) {
			t.Errorf("%s, %s: answered %d, want the page %q: %s", s.name, f.name, got.StatusCode, refused.Title(), got.body)
		}
		if minted != 0 || recorded != 0 || len(got.Cookies()) != 0 {
			t.Errorf("%s, %s: %d links, %d audit records and the cookies %v, want none", s.name, f.name, minted, recorded, got.Cookies())
		}
		return
	}
	for _, kind := range []templates.Kind{templates.KindPress, templates.KindCrossOrigin, templates.KindCookies, templates.KindOldBrowser} {
		if strings.Contains(got.body, kind.Title()) {
			t.Errorf("%s, %s: answered %d %q", s.name, f.name, got.StatusCode, kind.Title())
		}
	}
	if signedIn := !s.noCookies || bob.proxied != nil; signedIn && f.name == "co-browse" {
		if got.wantWatch(t); minted != 1 {
			t.Errorf("%d links, want 1", minted)
		}
	}
}

// getSenders request the page of a card, in the browser of its agent: signed in, or remembered
// from an earlier press.
var getSenders = []struct {
	sender
	status   int
	straight bool
	from     string // the end of the detail in the audit log
}{
	{sender{name: "a link in the chat with a Referer, in Chromium", userAgent: chromium, header: fromTheChat + byPerson + "\nReferer: https://chat.example.org/"}, 303, true, "from the chat, no page seen"},
	{sender{name: "a link in the chat without a Referer, in Chromium", userAgent: chromium, header: fromTheChat + byPerson}, 303, true, "from the chat or another site, no page seen"},
	{sender{name: "a link in the chat, in Firefox", userAgent: firefox, header: fromTheChat + byPerson}, 303, true, "from the chat or another site, no page seen"},
	{sender{name: "a link on another site, in Chromium", userAgent: chromium, header: fromTheChat + byPerson + "\nReferer: https://evil.example/"}, 303, true, "from another site, no page seen"},
	{sender{name: "a link on our own page", userAgent: chromium, header: strings.Replace(fromTheChat, "cross-site", "same-origin", 1) + byPerson + "\nReferer: " + origin + "/"}, 303, true, "from our page, no page seen"},
	{sender{name: "a typed address, or a link in an app", userAgent: chromium, header: typed + byPerson}, 303, true, "from the address bar or an app, no page seen"},

	{sender{name: "a link in the chat, in Safari", userAgent: safari, header: fromTheChat}, 200, false, ""},
	{sender{name: "a link in the chat, on an iPhone", userAgent: iPhone, header: fromTheChat}, 200, false, ""},
	{sender{name: "a link in the chat, in Chrome on an iPhone", userAgent: iOSChrome, header: fromTheChat}, 200, false, ""},
	{sender{name: "a link in the chat, in Safari before 16.4", userAgent: safari15}, 200, false, ""},
	{sender{name: "a page that navigates by script, in Chromium", userAgent: chromium, header: fromTheChat}, 200, false, ""},
	{sender{name: "a page that navigates by script, in Firefox", userAgent: firefox, header: fromTheChat}, 200, false, ""},
	{sender{name: "a link into a frame", userAgent: chromium, header: strings.Replace(fromTheChat, "document", "iframe", 1) + byPerson}, 200, false, ""},
	{sender{name: "fetch on another site", userAgent: chromium, header: "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: no-cors\nSec-Fetch-Dest: empty"}, 200, false, ""},
	{sender{name: "a reload in Firefox", userAgent: firefox, header: typed + "\nCache-Control: no-cache"}, 200, false, ""},
	{sender{name: "Back in Firefox", userAgent: firefox, header: typed}, 200, false, ""},
	{sender{name: "a prefetch", userAgent: chromium, header: fromTheChat + byPerson + "\nSec-Purpose: prefetch"}, 503, false, ""},
	{sender{name: "Slack's robot", userAgent: slackbot, header: fromTheChat + byPerson}, 200, false, ""},
	{sender{name: "curl", userAgent: curl}, 200, false, ""},
}

const (
	fromTheChat = "Sec-Fetch-Site: cross-site\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document"
	typed       = "Sec-Fetch-Site: none\nSec-Fetch-Mode: navigate\nSec-Fetch-Dest: document"
)

// TestOnlyAProvenClickSkipsThePage requests the page of a card as every engine. It checks
// which of them goes straight to the screen, and what the audit log says about it.
func TestOnlyAProvenClickSkipsThePage(t *testing.T) {
	for _, mode := range modes {
		arrive := func(t *testing.T, test func(w *world, bob *browser)) {
			mode.run(t, func(w *world, bob *browser) {
				if !mode.signsIn { // the browser is remembered by a press for an earlier card
					bob.press(w.door("bob"), url.Values{"visitor": {w.visitor}}).wantWatch(t)
				}
				w.idle(time.Minute)
				w.bobTakes(w.openChat(withPageKey()))
				test(w, bob)
			})
		}
		for _, s := range getSenders {
			if !s.straight {
				continue
			}
			t.Run(mode.name+"/"+s.name, func(t *testing.T) {
				arrive(t, func(w *world, bob *browser) {
					s.send(bob, http.MethodGet, w.door("bob"), nil).wantWatch(t)
					records := w.records("watching")
					if last := records[len(records)-1]; !strings.HasSuffix(last.Detail, s.from) {
						t.Errorf("audited %q, want %q at the end", last.Detail, s.from)
					}
				})
			})
		}
		t.Run(mode.name+"/others", func(t *testing.T) {
			arrive(t, func(w *world, bob *browser) {
				before := w.upscope.Minted()
				for _, s := range getSenders {
					if s.straight {
						continue
					}
					got := s.send(bob, http.MethodGet, w.door("bob"), nil)
					if minted := w.upscope.Minted() - before; got.StatusCode != s.status || minted != 0 {
						t.Fatalf("%s: answered %d with %d links, want %d: %s", s.name, got.StatusCode, minted, s.status, got.body)
					}
				}
			})
		})
	}
}

func TestTheAuditRecordOfAPressSaysThatThePageWasSeen(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		w.browser().press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		if got := w.records("watching"); len(got) != 1 || !strings.HasSuffix(got[0].Detail, ", from our page, page seen") {
			t.Errorf("audited %+v", got)
		}
	})
}

// TestPromise2RobotsOpenNothing sends every kind of request to a door as every robot of the
// list, with the cookies and headers of the agent's browser.
func TestPromise2RobotsOpenNothing(t *testing.T) {
	list, err := os.ReadFile("web/testdata/robots.txt")
	if err != nil {
		t.Fatal(err)
	}
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			mode.run(t, func(w *world, bob *browser) {
				door, robots := w.door("bob"), 0
				for agent := range strings.Lines(string(list)) {
					if agent = strings.TrimSpace(agent); agent == "" || strings.HasPrefix(agent, "#") {
						continue
					}
					robots++
					for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodOptions} {
						sender{userAgent: agent, header: fromTheChat + byPerson}.send(bob, method, door, nil)
						sender{userAgent: agent}.send(bob, method, door, nil)
					}
					for _, header := range []string{"", ours, ofForm, ofForm + byPerson} {
						got := sender{userAgent: agent, header: header}.send(bob, http.MethodPost, door, url.Values{"visitor": {w.visitor}})
						if got.StatusCode != http.StatusForbidden {
							t.Errorf("%s: a POST is answered %d", agent, got.StatusCode)
						}
					}
				}
				if w.upscope.Minted() != 0 || len(w.records("watching")) != 0 {
					t.Errorf("%d links for %d robots, or an audit record; want none", w.upscope.Minted(), robots)
				}
				if robots < 42 {
					t.Errorf("only %d robots are on the list", robots)
				}
			})
		})
	}
}

// On Back, reload or a restored tab, Chromium repeats the headers of a typed address or of a
// link in an app.
func TestBackReloadAndARestoredTabAreNoPress(t *testing.T) {
	again := sender{userAgent: chromium, header: typed + byPerson}
	for _, mode := range modes {
		t.Run(mode.name, func(t *testing.T) {
			mode.run(t, func(w *world, bob *browser) {
				bob.press(w.door("bob"), url.Values{"visitor": {w.visitor}}).wantWatch(t)
				session := w.openLatestLink()
				w.pass(10 * time.Second)
				again.send(bob, http.MethodGet, w.door("bob"), nil).want(t, http.StatusOK, "is still running")
				w.pass(20 * time.Minute) // a long session
				again.send(bob, http.MethodGet, w.door("bob"), nil).want(t, http.StatusOK, "is still running")
				w.upscope.End(session, 0)
				w.pass(time.Minute)
				again.send(bob, http.MethodGet, w.door("bob"), nil).want(t, http.StatusOK, "Co-browse with")
				if n := w.upscope.Minted(); n != 1 {
					t.Errorf("%d links", n)
				}
				// A new click counts.
				bob.follow(w.door("bob")).wantWatch(t)
			})
		})
	}
}

func TestBackToAPageThatOpenedNothingIsNoPress(t *testing.T) {
	inOIDCWorld(t, everything, func(o *oidcWorld) {
		ann, _ := bobHasCard(o.world)
		bob := o.connectedBob()
		o.upscope.Go(ann)
		o.bobTakes(o.openChat(withPageKey()))
		app := sender{userAgent: chromium, header: typed + byPerson}
		arrives := func() *answer {
			got := app.send(bob, http.MethodGet, o.door("bob"), nil)
			for _, c := range got.Cookies() {
				bob.cookies[c.Name] = c
			}
			return got
		}
		arrives().want(t, http.StatusOK, "is offline")
		o.upscope.Return(ann)
		bob.press(o.door("bob"), url.Values{"look": {"1"}}).want(t, http.StatusOK, "Co-browse with")
		o.pass(11 * time.Minute)
		arrives().want(t, http.StatusOK, "Co-browse with") // the page, not the screen
		if n := o.upscope.Minted(); n != 0 {
			t.Errorf("%d links", n)
		}
	})
}

func TestASignInAfterARefusedPressEndsAtThePage(t *testing.T) {
	inOIDCWorld(t, everything, func(o *oidcWorld) {
		bobHasCard(o.world)
		bob := o.connectedBob()
		bob.press("/signout", nil)
		bob.press(o.door("bob"), url.Values{"visitor": {o.visitor}}).want(t, http.StatusUnauthorized, `href="?"`)
		a := bob.follow(o.signIn(bob, "bob", bob.follow(o.door("bob")+"?").Header.Get("Location")))
		bob.follow(a.Header.Get("Location")).want(t, http.StatusOK, "Co-browse with")
		if n := o.upscope.Minted(); n != 0 {
			t.Errorf("%d links", n)
		}
	})
}

func TestTheRefusalOfAnotherSitesFormHasNoLink(t *testing.T) {
	inOIDCWorld(t, everything, func(o *oidcWorld) {
		bobHasCard(o.world)
		theirs := sender{userAgent: chromium, header: ofTheirs}
		got := theirs.send(o.connectedBob(), http.MethodPost, o.door("bob"), url.Values{"visitor": {o.visitor}})
		if got.want(t, http.StatusForbidden); strings.Contains(got.body, "<a ") {
			t.Errorf("the page of the refusal has a link: %s", got.body)
		}
	})
}

func TestTwoClicksInANewBrowserCountOnce(t *testing.T) {
	modes[2].run(t, func(w *world, bob *browser) {
		clear(bob.cookies)
		bob.follow(w.door("bob")).wantWatch(t)
		w.pass(time.Second)
		bob.follow(w.door("bob")).want(t, http.StatusOK, "Co-browse with")
		if n := w.upscope.Minted(); n != 1 {
			t.Errorf("%d links", n)
		}
	})
}

func TestAnAgentReturnsToASessionThatACodeLedTo(t *testing.T) {
	inOIDCWorld(t, everything, func(o *oidcWorld) {
		zoe := o.visitorWithCode("Zoe", "4821")
		bob := o.signedIn("bob")
		card := bob.press("/desk/look-up", url.Values{"code": {"4821"}}).Header.Get("Location")
		door := bob.follow(card).Header.Get("Location")
		bob.follow(door).want(t, http.StatusOK, "Co-browse with") // a code never skips the page
		bob.press(door, url.Values{"visitor": {zoe}}).wantWatch(t)
		session := o.openLatestLink()
		o.pass(time.Minute)
		bob.follow(door).wantWatch(t)
		o.upscope.End(session, 0)
		o.pass(time.Minute)
		bob.follow(door).want(t, http.StatusOK, "Co-browse with")
	})
}

// TestEveryRouteThatTakesFormsNeedsAPress checks all routes, so that a new one is not forgotten.
func TestEveryRouteThatTakesFormsNeedsAPress(t *testing.T) {
	inOIDCWorld(t, everything, func(o *oidcWorld) {
		bobHasCard(o.world)
		bob := o.connectedBob()
		script := sender{userAgent: chromium, header: ofForm}
		handle := strings.TrimPrefix(o.door("bob"), "/w/")
		fill := strings.NewReplacer("{handle}", handle, "{id}", "x")
		forms := 0
		for _, template := range bridge.RoutesThatPost(o.bridge) {
			if strings.Contains(template, "/hooks/") || strings.HasPrefix(template, "/upscope/") {
				continue // these are verified by a secret
			}
			forms++
			got := script.send(bob, http.MethodPost, fill.Replace(template), url.Values{"visitor": {o.visitor}})
			if got.StatusCode != http.StatusForbidden || !strings.Contains(got.body, templates.KindPress.Title()) {
				t.Errorf("%s: a script is answered %d", template, got.StatusCode)
			}
		}
		if forms < 8 {
			t.Errorf("only %d routes take forms", forms)
		}
	})
}

func TestABrowserWithoutCookiesClaimsNoDoorAndIsToldWhy(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		forgetful := sender{userAgent: chromium, header: ofForm + byPerson, noCookies: true}
		for range 2 {
			got := forgetful.send(w.browser(), http.MethodPost, door, url.Values{"visitor": {ann}})
			got.want(t, http.StatusForbidden, templates.KindCookies.Title())
		}
		w.browser().press(door, url.Values{"visitor": {ann}}).wantWatch(t) // the door is still free
	})
}

func TestAnAgentReturnsToTheirSessionAndOthersSeeWhoIsInIt(t *testing.T) {
	for _, wait := range []time.Duration{0, 2 * time.Second, 4 * time.Second, 10 * time.Second, time.Minute, 15 * time.Minute} {
		t.Run(fmt.Sprint("after ", wait), func(t *testing.T) {
			inOIDCWorld(t, everything, func(o *oidcWorld) {
				bobHasCard(o.world)
				bob, eve := o.connectedBob(), o.signedIn("eve")
				bob.follow(o.door("bob")).wantWatch(t)
				o.openLatestLink()
				o.pass(wait)
				// Eve's page fills the cache.
				eve.loads(o.door("bob"))
				eve.follow(o.door("bob")).want(t, http.StatusOK, "Agents in this session: <bdi>Bob Baker</bdi>", "Join")
				o.pass(repeatWindow)
				bob.follow(o.door("bob")).wantWatch(t)
				if n := o.upscope.Minted(); n != 2 {
					t.Errorf("%d links", n)
				}
			})
		})
	}
}

func TestAPolicyCanRequireThePageFirst(t *testing.T) {
	elsewhere := sender{userAgent: chromium, header: fromTheChat + byPerson + "\nReferer: https://evil.example/"}
	silent := sender{userAgent: chromium, header: fromTheChat + byPerson}
	chat := sender{userAgent: chromium, header: fromTheChat + byPerson + "\nReferer: https://chat.example.org/"}
	app := sender{userAgent: chromium, header: typed + byPerson}
	for rule, test := range map[string]struct{ page, straight []sender }{
		"":                          {nil, []sender{elsewhere}},
		", page_first: other-sites": {[]sender{elsewhere, silent}, []sender{chat}},
		", page_first: always":      {[]sender{elsewhere, silent, chat, app}, nil},
	} {
		t.Run("rule"+rule, func(t *testing.T) {
			inOIDCWorld(t, "rules: [{may: [watch]"+rule+"}]", func(o *oidcWorld) {
				bobHasCard(o.world)
				bob := o.connectedBob()
				for _, s := range test.page {
					s.send(bob, http.MethodGet, o.door("bob"), nil).want(t, http.StatusOK, "Co-browse with")
				}
				if n := o.upscope.Minted(); n != 0 {
					t.Errorf("%d links", n)
				}
				for _, s := range test.straight {
					s.send(bob, http.MethodGet, o.door("bob"), nil).wantWatch(t)
				}
			})
		})
	}
}

func TestAPressAfterASecondMatchCameSaysWhatChanged(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		bob := w.browser()
		bob.loads(door)
		w.ann() // another browser with her key
		bob.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusOK, "A second browser", "Which customer are you helping?")
		if n := w.upscope.Requests()[upscopetest.Watch]; n != 0 {
			t.Errorf("%d links were requested, want none", n)
		}
	})
}

func TestAPressAfterTheVisitorChangedSaysWhatChanged(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		bob := w.browser()
		bob.loads(door)
		w.upscope.SetUniqueID(ann, "cust-99") // while the caches still hold her old unique id
		bob.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusOK, "Another customer matches now")
		other := w.upscope.Come(upscope.Visitor{Name: "Zoe", UniqueID: "cust-1", Identities: []string{"rocketchat:" + pageKey}})
		w.upscope.SetIntegrationIDs(other, "rocketchat:"+pageKey)
		w.upscope.Go(ann)
		bob.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusOK, "Another customer matches now", "Zoe")
		if n := w.upscope.Requests()[upscopetest.Watch]; n != 0 {
			t.Errorf("%d links were requested, want none", n)
		}
	})
}
