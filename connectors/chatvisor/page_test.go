package chatvisor

import (
	"bytes"
	"compress/gzip"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

func TestThePageScriptIsSmallServedAndHoldsNoToken(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	w, _ := gzip.NewWriterLevel(&b, gzip.BestCompression)
	_, _ = w.Write(pageScript)
	_ = w.Close()
	if b.Len() > 2048 {
		t.Errorf("%d bytes, %d compressed", len(pageScript), b.Len())
	}
	if got := newTenant(t, "").Page; !bytes.Equal(got, pageScript) {
		t.Errorf("the connector has a page script of %d bytes", len(got))
	}
	// These need a user's token, which would show every visitor all others.
	for _, call := range []string{"rest.auth", "user.list", "user.status", "user.tag", "document.cookie", "fetch(", "XMLHttp"} {
		if bytes.Contains(pageScript, []byte(call)) {
			t.Errorf("the script has %s", call)
		}
	}
}

// chromium starts a browser, or skips the test where there is none.
func chromium(t *testing.T) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	var path string
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome", "google-chrome-stable"} {
		if found, err := exec.LookPath(name); err == nil {
			path = found
			break
		}
	}
	if path == "" {
		t.Skip("no Chromium on this machine (apt-get install chromium)")
	}
	ctx, cancel := chromedp.NewExecAllocator(t.Context(), append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path),
		chromedp.UserDataDir(t.TempDir()),
		chromedp.NoSandbox, // tests often run as root in a container
		chromedp.DisableGPU,
		chromedp.Flag("disable-dev-shm-usage", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.WSURLReadTimeout(time.Minute),
	)...)
	t.Cleanup(cancel)
	ctx, cancel = chromedp.NewContext(ctx)
	t.Cleanup(cancel)
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return ctx
}

// A shop is the operator's site, with a policy that allows scripts of two origins
// and nothing else; the bridge is the other.
type shop struct {
	browser   context.Context
	url, load string
}

func newShop(t *testing.T) *shop {
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
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self' "+bridge.URL)
		mux.ServeHTTP(w, r)
	}))
	t.Cleanup(site.Close)
	return &shop{browser: chromium(t), url: site.URL + "/shop.html", load: fmt.Sprintf(`const bridge = () => new Promise((done, failed) => {
		const tag = document.createElement("script");
		Object.assign(tag, {src: %q, crossOrigin: "anonymous", onload: done, onerror: failed});
		document.head.append(tag);
	}); window.bridge = bridge;`, bridge.URL)}
}

// A tab is a page of the shop that a customer has open.
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
	p.does(p.load)
}

func (p *tab) does(steps string) { p.Helper(); ask[any](p, steps) }

func ask[V any](p *tab, steps string) V {
	p.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, time.Minute)
	defer cancel()
	v, err := chromedp.Run(ctx, chromedp.Evaluate[V]("(async () => {"+steps+"})()", chromedp.EvalAwaitPromise))
	if err != nil {
		p.Fatalf("%s: %v", steps, err)
	}
	return v
}

// A sight is what there is to see of a page.
type sight struct {
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

func (p *tab) sight() sight {
	p.Helper()
	s := ask[sight](p, `return {Visitors: kept("visitors", {}), ID: upscope.id, Calls: chatvisor.calls, Tagged: chatvisor.tagged,
		Wrong: wrong, Refused: upscope.refused, Cookie: document.cookie,
		Fetched: performance.getEntriesByType("resource").map(e => e.initiatorType + " " + e.name).filter(e => !e.startsWith("script "))}`)
	if len(s.Wrong)+len(s.Refused)+len(s.Fetched) > 0 || s.Cookie != "" {
		p.Errorf("went wrong: %q %q; requests %q, cookie %q", s.Wrong, s.Refused, s.Fetched, s.Cookie)
	}
	return s
}

// known checks by which id Upscope knows whoever is in this tab; empty for none.
func (p *tab) known(id string) sight {
	p.Helper()
	s := p.sight()
	var want []string
	if id != "" {
		want = []string{id}
	}
	if got := s.Visitors[s.ID]; !slices.Equal(got.IntegrationIDs, want) || id != "" && !slices.Contains(got.Identities, id) {
		p.Errorf("Upscope knows the visitor by %q and identities %q, want %q", got.IntegrationIDs, got.Identities, want)
	}
	return s
}

const (
	upscopeComes = `upscope.snippet(); Upscope("init"); upscope.arrives();`
	siteTags     = `const earlier = () => { CV.user.tag({id: "4711"}); }; window.CVLoaded = earlier;`
	siteSays     = `(window.CobrowseChatvisor = window.CobrowseChatvisor || []).push({externalId: 4711});`
	later        = `await clock.pass(20000);`
)

func TestUpscopeIsToldTheSitesIDInEveryOrderOfArrival(t *testing.T) {
	s := newShop(t)
	does := map[string]string{"Upscope": upscopeComes, "Chatvisor": `chatvisor.arrives();`, "script": `await bridge();`, "site": siteSays}
	for _, order := range [][]string{
		{"script", "site", "Upscope", "Chatvisor"}, {"script", "Chatvisor", "Upscope", "site"}, {"Upscope", "site", "script", "Chatvisor"},
		{"Upscope", "Chatvisor", "site", "script"}, {"Chatvisor", "script", "Upscope", "site"}, {"site", "Chatvisor", "Upscope", "script"},
	} {
		t.Run(strings.Join(order, ", "), func(t *testing.T) {
			p := s.customer(t)
			p.does(siteTags)
			for _, who := range order {
				p.does(does[who] + `await clock.pass(2000);`)
			}
			p.does(later)
			if got := p.known("chatvisorext:4711"); !slices.Equal(got.Calls, []string{"tag"}) {
				t.Errorf("Chatvisor was told %q: the site's own function was kept from it, or the script spoke", got.Calls)
			}
		})
	}
	t.Run("after consent of minutes", func(t *testing.T) {
		p := s.customer(t)
		p.does(siteSays + `await bridge(); await clock.pass(300000); document.body.click(); await clock.pass(700);` + upscopeComes +
			`chatvisor.arrives();` + later)
		p.known("chatvisorext:4711")
	})
	t.Run("though Upscope finds another chat product", func(t *testing.T) {
		p := s.customer(t)
		p.does(siteSays + upscopeComes + `chatvisor.arrives(); await bridge(); await clock.pass(4000); upscope.detects("intercom:x");` + later)
		p.known("chatvisorext:4711")
	})
}

func TestNothingIsToldWithoutBoth(t *testing.T) {
	s := newShop(t)
	for name, steps := range map[string]string{
		"no Chatvisor":       siteSays + upscopeComes + `await bridge();`,
		"no id":              upscopeComes + `chatvisor.arrives(); await bridge();`,
		"no id of ours":      upscopeComes + `chatvisor.arrives(); await bridge(); CobrowseChatvisor.push({externalId: "a b@c"});`,
		"a function is left": siteSays + `window.CVLoaded = () => 1;` + upscopeComes + `await bridge();`,
	} {
		t.Run(name, func(t *testing.T) {
			p := s.customer(t)
			p.does(steps + later)
			p.known("")
		})
	}
	t.Run("no Upscope", func(t *testing.T) {
		p := s.customer(t)
		p.does(siteSays + `await bridge(); chatvisor.arrives();` + later)
		p.sight()
	})
}

func TestWhatIsNoIDTakesBackWhatWasTold(t *testing.T) {
	s := newShop(t)
	for _, value := range []string{`null`, `undefined`, `""`, `"null"`, `NaN`, `{}`, `true`, `["4712"]`, `"a b@c"`} {
		t.Run(value, func(t *testing.T) {
			p := s.customer(t)
			p.does(upscopeComes + `chatvisor.arrives(); await bridge(); CobrowseChatvisor.push({externalId: ` + value + `});` + later)
			p.known("")
			p.does(`CobrowseChatvisor.push({externalId: "4711", identities: ["ann@example.org"]});` + later)
			p.known("chatvisorext:4711")
			p.does(`CobrowseChatvisor.push({identities: ["ann@example.com"]});` + later)
			p.known("chatvisorext:4711")
			p.does(`CobrowseChatvisor.push({externalId: ` + value + `});` + later)
			if now := p.known(""); len(now.Visitors[now.ID].Identities) > 0 || len(now.Calls) > 0 {
				t.Errorf("there are identities left, or Chatvisor was told: %+v", now)
			}
			p.does(`CobrowseChatvisor.push({externalId: 4712});` + later)
			if now := p.known("chatvisorext:4712"); slices.Contains(now.Visitors[now.ID].Identities, "ann@example.com") {
				t.Error("the next customer has the identities of the one before")
			}
		})
	}
}

func TestIdentitiesAreThoseOfThePersonWithTheID(t *testing.T) {
	s := newShop(t)
	const ann, bob = `{externalId: "1", identities: ["ann@example.org"]}`, `{externalId: 2}`
	for name, c := range map[string]struct {
		pushes []string
		early  bool // before the widgets are there
		want   []string
	}{
		"the next person has none":           {[]string{ann, bob}, false, []string{"chatvisorext:2"}},
		"nor if nobody was told of the one":  {[]string{ann, bob}, true, []string{"chatvisorext:2"}},
		"nor after a page without a person":  {[]string{ann, `{externalId: null}`, bob}, true, []string{"chatvisorext:2"}},
		"the next person has their own":      {[]string{ann, `{externalId: 2, identities: ["bob@example.org"]}`}, false, []string{"bob@example.org", "chatvisorext:2"}},
		"the same person keeps them":         {[]string{ann, `{externalId: 1}`}, false, []string{"ann@example.org", "chatvisorext:1"}},
		"they may come before the first id":  {[]string{`{identities: ["ann@example.org"]}`, `{externalId: 1}`}, false, []string{"ann@example.org", "chatvisorext:1"}},
		"they may come after the id, on top": {[]string{ann, bob, `{identities: ["bob@example.org"]}`}, false, []string{"bob@example.org", "chatvisorext:2"}},
	} {
		t.Run(name, func(t *testing.T) {
			p := s.customer(t)
			arrive, push := upscopeComes+`chatvisor.arrives();`+later, ""
			for _, one := range c.pushes {
				push += `CobrowseChatvisor.push(` + one + `);`
				if !c.early {
					push += later
				}
			}
			if c.early {
				p.does(`await bridge();` + push + arrive)
			} else {
				p.does(`await bridge();` + arrive + push)
			}
			now := p.known(c.want[len(c.want)-1])
			if got := now.Visitors[now.ID].Identities; !slices.Equal(got, c.want) {
				t.Errorf("Upscope has the identities %q, want %q", got, c.want)
			}
		})
	}
}

func TestALogOutResetsBothOrNeither(t *testing.T) {
	s := newShop(t)
	arrived := siteTags + siteSays + upscopeComes + `chatvisor.arrives(); await bridge();` + later
	t.Run("both", func(t *testing.T) {
		p := s.customer(t)
		p.does(arrived)
		before := p.known("chatvisorext:4711")
		p.does(`CobrowseChatvisor.push({forget: true}); CobrowseChatvisor.push({externalId: "4712"});` + later)
		after := p.known("chatvisorext:4712")
		if after.ID == before.ID || after.Tagged != nil || !slices.Equal(after.Calls, []string{"tag", "reset"}) {
			t.Errorf("visitor %q is %q now; Chatvisor was told %q", before.ID, after.ID, after.Calls)
		}
		if had := after.Visitors[before.ID].Had; slices.Contains(had, "chatvisorext:4712") {
			t.Errorf("the former visitor was given the id of the next: %q", had)
		}
	})
	t.Run("neither, until both are there", func(t *testing.T) {
		p := s.customer(t)
		p.does(arrived)
		before := p.known("chatvisorext:4711")
		p.reload()
		p.does(upscopeComes + `await bridge(); CobrowseChatvisor.push({forget: true}); CobrowseChatvisor.push({externalId: "4712"});` + later)
		if now := p.sight(); now.ID != before.ID || slices.Contains(now.Visitors[now.ID].Had, "chatvisorext:4712") {
			t.Errorf("Upscope alone was reset, or told of the next: %+v", now)
		}
		p.reload() // the log-out is remembered
		p.does(upscopeComes + siteTags + `await bridge(); CobrowseChatvisor.push({externalId: "4712"}); await clock.pass(3000); chatvisor.arrives();` + later)
		after := p.known("chatvisorext:4712")
		if after.ID == before.ID || !slices.Equal(after.Calls, []string{"reset", "tag"}) {
			t.Errorf("visitor %q is %q now; Chatvisor was told %q", before.ID, after.ID, after.Calls)
		}
	})
	t.Run("neither where one cannot", func(t *testing.T) {
		p := s.customer(t)
		p.does(arrived)
		before := p.known("chatvisorext:4711")
		p.does(`chatvisor.broken = true; CobrowseChatvisor.push({forget: true});` + later)
		if now := p.sight(); now.ID != before.ID || now.Tagged == nil {
			t.Errorf("one of them was reset: visitor %q is %q, tagged %v", before.ID, now.ID, now.Tagged)
		}
	})
}
