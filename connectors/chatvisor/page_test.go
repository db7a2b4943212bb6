package chatvisor

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/browsertest"

	"github.com/chromedp/chromedp"
)

func TestThePageScriptIsSmallServedAndHoldsNoToken(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	_, _ = w.Write(pageScript)
	_ = w.Close()
	if b.Len() > 2560 {
		t.Errorf("the script has %d bytes, %d compressed, want at most 2560", len(pageScript), b.Len())
	}
	if got := newTenant(t, "").Page; !bytes.Equal(got, pageScript) {
		t.Errorf("the connector has a page script of %d bytes", len(got))
	}
	// These calls need a token, which would show all customers to each visitor.
	for _, call := range []string{"rest.auth", "user.list", "user.status", "user.tag", "document.cookie", "fetch(", "XMLHttp"} {
		if bytes.Contains(pageScript, []byte(call)) {
			t.Errorf("the script contains %s", call)
		}
	}
}

// chromium returns the browser of these tests. It skips the test in short mode or if
// there is no browser.
func chromium(t *testing.T) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	return browsertest.SharedChromium(t)
}

// A shop is the operator's site. Its Content-Security-Policy allows only scripts of its
// own origin and of the bridge.
type shop struct {
	browser   context.Context
	url, load string
	steps     string // a page for browsertest.StepsAt
}

func newShop(t *testing.T) *shop {
	t.Helper()
	browser := chromium(t)
	s := serveShop(t)
	s.browser = browser
	return s
}

// serveShop starts the servers of a shop.
func serveShop(t *testing.T) *shop {
	t.Helper()
	bridge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		_, _ = w.Write(pageScript)
	}))
	t.Cleanup(bridge.Close)
	mux := http.NewServeMux()
	mux.Handle("/", http.FileServer(http.Dir("testdata/page")))
	mux.Handle("/shared/", http.StripPrefix("/shared/", http.FileServer(http.Dir("../rocketchat/testdata/page"))))
	site := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scripts := "'self' " + bridge.URL
		if r.URL.Path == "/steps.html" {
			scripts += " 'unsafe-eval'" // for the steps of the test, not for the scripts
		}
		w.Header().Set("Content-Security-Policy", "default-src 'none'; img-src 'self'; script-src "+scripts)
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(site.Close)
	return &shop{url: site.URL + "/shop.html", steps: site.URL + "/steps.html", load: fmt.Sprintf(`const bridge = () => new Promise((done, failed) => {
		const tag = document.createElement("script");
		Object.assign(tag, {src: %q, crossOrigin: "anonymous", onload: done, onerror: failed});
		document.head.append(tag);
	}); window.bridge = bridge;`, bridge.URL)}
}

// A tab is a page of the shop in a customer's browser.
type tab struct {
	*testing.T
	*shop
	ctx context.Context
}

func (s *shop) customer(t *testing.T) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(s.browser, chromedp.WithNewBrowserContext())
	t.Cleanup(cancel)
	p := &tab{t, s, ctx}
	p.reload()
	return p
}

func (p *tab) reload() {
	p.Helper()
	if err := chromedp.Do(p.ctx, chromedp.Navigate(p.url)); err != nil {
		p.Fatal(err)
	}
	p.run(p.load)
}

func (p *tab) run(steps string) { p.Helper(); ask[any](p, steps) }

func ask[V any](p *tab, steps string) V {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, 3*time.Minute)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[V]("(async () => {"+steps+"})()", chromedp.EvalAwaitPromise))
	if err != nil {
		p.Fatalf("%s: %v", steps, err)
	}
	return v
}

// A pageState is the state of a page, of Upscope and of Chatvisor on it.
type pageState struct {
	Visitors map[string]struct {
		IntegrationIDs []string `json:"integrationIds"`
		Identities     []string `json:"identities"`
		Had            []string `json:"had"`
	}
	ID      string
	Calls   []string
	Tagged  any
	Wrong   []string
	Refused []string
	Cookie  string
	Fetched []string
}

const returnState = `return {Visitors: kept("visitors", {}), ID: upscope.id, Calls: chatvisor.calls, Tagged: chatvisor.tagged,
	Wrong: wrong, Refused: upscope.refused, Cookie: document.cookie,
	Fetched: performance.getEntriesByType("resource").map(e => e.initiatorType + " " + e.name).filter(e => !/^script |\/favicon.ico$/.test(e))};`

func (p *tab) state() pageState {
	p.Helper()
	s := ask[pageState](p, returnState)
	s.harmless(p)
	return s
}

// harmless checks that the page has no errors, cookies or requests.
func (s pageState) harmless(t testing.TB) {
	t.Helper()
	if len(s.Wrong)+len(s.Refused)+len(s.Fetched) > 0 || s.Cookie != "" {
		t.Errorf("errors %q, calls refused by Upscope %q, requests %q, cookie %q", s.Wrong, s.Refused, s.Fetched, s.Cookie)
	}
}

// wantID checks which id Upscope has for the visitor in this tab; empty means none.
func (p *tab) wantID(id string) pageState {
	p.Helper()
	s := p.state()
	s.wantID(p, id)
	return s
}

func (s pageState) wantID(t testing.TB, id string) {
	t.Helper()
	var want []string
	if id != "" {
		want = []string{id}
	}
	if got := s.Visitors[s.ID]; !slices.Equal(got.IntegrationIDs, want) || id != "" && !slices.Contains(got.Identities, id) {
		t.Errorf("Upscope has the ids %q and identities %q, want %q", got.IntegrationIDs, got.Identities, want)
	}
}

const (
	upscopeComes = `upscope.snippet(); Upscope("init"); upscope.arrives();`
	siteTags     = `const earlier = () => { CV.user.tag({id: "4711"}); }; window.CVLoaded = earlier;`
	siteSays     = `(window.CobrowseChatvisor = window.CobrowseChatvisor || []).push({externalId: 4711});`
	later        = `await clock.pass(20000);`
)

func TestUpscopeGetsTheSitesIDInEveryOrderOfLoading(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	does := map[string]string{"Upscope": upscopeComes, "Chatvisor": `chatvisor.arrives();`, "script": `await bridge();`, "site": siteSays}
	for _, order := range [][]string{
		{"script", "site", "Upscope", "Chatvisor"}, {"script", "Chatvisor", "Upscope", "site"}, {"Upscope", "site", "script", "Chatvisor"},
		{"Upscope", "Chatvisor", "site", "script"}, {"Chatvisor", "script", "Upscope", "site"}, {"site", "Chatvisor", "Upscope", "script"},
	} {
		t.Run(strings.Join(order, ", "), func(t *testing.T) {
			t.Parallel()
			p := s.customer(t)
			p.run(siteTags)
			for _, who := range order {
				p.run(does[who] + `await clock.pass(2000);`)
			}
			p.run(later)
			if got := p.wantID("chatvisorext:4711"); !slices.Equal(got.Calls, []string{"tag"}) {
				t.Errorf("Chatvisor got the calls %q, want only the site's own tag", got.Calls)
			}
		})
	}
	t.Run("after consent some minutes later", func(t *testing.T) {
		t.Parallel()
		p := s.customer(t)
		p.run(siteSays + `await bridge(); await clock.pass(300000); document.body.click(); await clock.pass(700);` + upscopeComes +
			`chatvisor.arrives();` + later)
		p.wantID("chatvisorext:4711")
	})
	t.Run("Upscope connects only when the page asks for it", func(t *testing.T) {
		t.Parallel()
		p := s.customer(t)
		p.run(`upscope.snippet(); Upscope("init", {autoconnect: false}); upscope.arrives(); await bridge();` + siteSays + `chatvisor.arrives();` + later)
		if now := p.state(); len(now.Visitors) > 0 {
			t.Errorf("Upscope is connected: %+v", now.Visitors)
		}
		p.run(`upscope.connect();` + later)
		p.wantID("chatvisorext:4711")
	})
	t.Run("an id with punctuation", func(t *testing.T) {
		t.Parallel()
		p := s.customer(t)
		p.run(upscopeComes + `chatvisor.arrives(); await bridge(); CobrowseChatvisor.push({externalId: "a.b@shop/1+2=3~4"});` + later)
		p.wantID("chatvisorext:a.b@shop/1+2=3~4")
	})
	t.Run("after Upscope found another chat product", func(t *testing.T) {
		t.Parallel()
		p := s.customer(t)
		p.run(siteSays + upscopeComes + `chatvisor.arrives(); await bridge(); await clock.pass(4000); upscope.detects("intercom:x");` + later)
		p.wantID("chatvisorext:4711")
	})
}

func TestUpscopeGetsNoIDUnlessBothWidgetsAreLoaded(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	for name, steps := range map[string]string{
		"no Chatvisor":  siteSays + upscopeComes + `await bridge();`,
		"no id":         upscopeComes + `chatvisor.arrives(); await bridge();`,
		"an invalid id": upscopeComes + `chatvisor.arrives(); await bridge(); CobrowseChatvisor.push({externalId: "a b@c"});`,
		"only CVLoaded": siteSays + `window.CVLoaded = () => 1;` + upscopeComes + `await bridge();`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := s.customer(t)
			p.run(steps + later)
			p.wantID("")
		})
	}
	t.Run("no Upscope", func(t *testing.T) {
		t.Parallel()
		p := s.customer(t)
		p.run(siteSays + `await bridge(); chatvisor.arrives();` + later)
		p.state()
	})
}

func TestAnInvalidIDRemovesTheFormerID(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	for _, value := range []string{`null`, `undefined`, `""`, `"null"`, `NaN`, `{}`, `true`, `["4712"]`, `"a b@c"`} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			p := s.customer(t)
			p.run(upscopeComes + `chatvisor.arrives(); await bridge(); CobrowseChatvisor.push({externalId: ` + value + `});` + later)
			p.wantID("")
			p.run(`CobrowseChatvisor.push({externalId: "4711", identities: ["ann@example.org"]});` + later)
			p.wantID("chatvisorext:4711")
			p.run(`CobrowseChatvisor.push({identities: ["ann@example.com"]});` + later)
			p.wantID("chatvisorext:4711")
			p.run(`CobrowseChatvisor.push({externalId: ` + value + `});` + later)
			if now := p.wantID(""); len(now.Visitors[now.ID].Identities) > 0 || len(now.Calls) > 0 {
				t.Errorf("identities remain, or Chatvisor was called: %+v", now)
			}
			p.run(`CobrowseChatvisor.push({externalId: 4712});` + later)
			if now := p.wantID("chatvisorext:4712"); slices.Contains(now.Visitors[now.ID].Identities, "ann@example.com") {
				t.Error("the next customer has the identities of the one before")
			}
		})
	}
}

func TestIdentitiesBelongToThePersonWithTheID(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	const ann, bob = `{externalId: "1", identities: ["ann@example.org"]}`, `{externalId: 2}`
	for name, c := range map[string]struct {
		pushes []string
		early  bool // pushed before the widgets are loaded
		want   []string
	}{
		"the next person has none":           {[]string{ann, bob}, false, []string{"chatvisorext:2"}},
		"none if the first was never sent":   {[]string{ann, bob}, true, []string{"chatvisorext:2"}},
		"none after a page without a person": {[]string{ann, `{externalId: null}`, bob}, true, []string{"chatvisorext:2"}},
		"the next person has their own":      {[]string{ann, `{externalId: 2, identities: ["bob@example.org"]}`}, false, []string{"bob@example.org", "chatvisorext:2"}},
		"the same person keeps them":         {[]string{ann, `{externalId: 1}`}, false, []string{"ann@example.org", "chatvisorext:1"}},
		"identities may come before the id":  {[]string{`{identities: ["ann@example.org"]}`, `{externalId: 1}`}, false, []string{"ann@example.org", "chatvisorext:1"}},
		"identities may come after the id":   {[]string{ann, bob, `{identities: ["bob@example.org"]}`}, false, []string{"bob@example.org", "chatvisorext:2"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := s.customer(t)
			arrive, push := upscopeComes+`chatvisor.arrives();`+later, ""
			for _, one := range c.pushes {
				push += `CobrowseChatvisor.push(` + one + `);`
				if !c.early {
					push += later
				}
			}
			if c.early {
				p.run(`await bridge();` + push + arrive)
			} else {
				p.run(`await bridge();` + arrive + push)
			}
			now := p.wantID(c.want[len(c.want)-1])
			if got := now.Visitors[now.ID].Identities; !slices.Equal(got, c.want) {
				t.Errorf("Upscope has the identities %q, want %q", got, c.want)
			}
		})
	}
}

func TestALogOutResetsBothWidgetsOrNeither(t *testing.T) {
	t.Parallel()
	s := newShop(t)
	arrived := siteTags + siteSays + upscopeComes + `chatvisor.arrives(); await bridge();` + later
	t.Run("both", func(t *testing.T) {
		t.Parallel()
		p := s.customer(t)
		p.run(arrived)
		before := p.wantID("chatvisorext:4711")
		p.run(`CobrowseChatvisor.push({forget: true}); CobrowseChatvisor.push({externalId: "4712"});` + later)
		after := p.wantID("chatvisorext:4712")
		if after.ID == before.ID || after.Tagged != nil || !slices.Equal(after.Calls, []string{"tag", "reset"}) {
			t.Errorf("visitor %q is now %q; calls of Chatvisor: %q", before.ID, after.ID, after.Calls)
		}
		if had := after.Visitors[before.ID].Had; slices.Contains(had, "chatvisorext:4712") {
			t.Errorf("the former visitor got the id of the next one: %q", had)
		}
	})
	t.Run("neither until both are loaded", func(t *testing.T) {
		t.Parallel()
		p := s.customer(t)
		p.run(arrived)
		before := p.wantID("chatvisorext:4711")
		p.reload()
		p.run(upscopeComes + `await bridge(); CobrowseChatvisor.push({forget: true}); CobrowseChatvisor.push({externalId: "4712"});` + later)
		if now := p.state(); now.ID != before.ID || slices.Contains(now.Visitors[now.ID].Had, "chatvisorext:4712") {
			t.Errorf("only Upscope was reset, or it got the next id: %+v", now)
		}
		p.reload() // the log-out is in localStorage
		p.run(upscopeComes + siteTags + `await bridge(); CobrowseChatvisor.push({externalId: "4712"}); await clock.pass(3000); chatvisor.arrives();` + later)
		after := p.wantID("chatvisorext:4712")
		if after.ID == before.ID || !slices.Equal(after.Calls, []string{"reset", "tag"}) {
			t.Errorf("visitor %q is now %q; calls of Chatvisor: %q", before.ID, after.ID, after.Calls)
		}
	})
	t.Run("neither if Chatvisor's reset fails", func(t *testing.T) {
		t.Parallel()
		p := s.customer(t)
		p.run(arrived)
		before := p.wantID("chatvisorext:4711")
		p.run(`chatvisor.broken = true; CobrowseChatvisor.push({forget: true});` + later)
		if now := p.state(); now.ID != before.ID || now.Tagged == nil {
			t.Errorf("one of them was reset: visitor %q is now %q, tagged %v", before.ID, now.ID, now.Tagged)
		}
	})
}
