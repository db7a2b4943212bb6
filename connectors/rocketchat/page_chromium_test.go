package rocketchat

import (
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

// startChromium returns the shared browser, or skips the test if there is none.
func startChromium(t *testing.T) context.Context {
	t.Helper()
	if testing.Short() {
		t.Skip("starts a browser")
	}
	return browsertest.SharedChromium(t)
}

// A street has the operator's shop and, at another origin, the bridge. The shop's
// Content-Security-Policy allows scripts of these two origins only.
type street struct {
	chromium context.Context
	shop     string
	steps    string // a page for browsertest.StepsAt
	tag      string // script code that puts the bridge's tag into a page
}

func newStreet(t *testing.T, others ...string) *street {
	t.Helper()
	browser := startChromium(t)
	s := serveStreet(t, others...)
	s.chromium = browser
	return s
}

// serveStreet starts the servers of a street.
func serveStreet(t *testing.T, others ...string) *street {
	t.Helper()
	s := &street{}
	bridge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/javascript; charset=utf-8")
		w.Header().Set("Access-Control-Allow-Origin", "*")
		if len(r.Cookies()) > 0 {
			t.Errorf("the bridge was sent cookies")
		}
		_, _ = w.Write(pageScript)
	}))
	t.Cleanup(bridge.Close)
	files := http.FileServer(http.Dir("testdata/page"))
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		scripts := strings.Join(append(others, "'self'", bridge.URL), " ")
		if r.URL.Path == "/steps.html" {
			scripts += " 'unsafe-eval'" // for the steps of the test, not for the scripts
		}
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src "+scripts+
			"; style-src 'unsafe-inline'; img-src 'self'; frame-src "+strings.Join(append(others, "'self'"), " "))
		files.ServeHTTP(w, r)
	}))
	t.Cleanup(shop.Close)
	s.shop, s.steps = shop.URL+"/shop.html", shop.URL+"/steps.html"
	s.tag = fmt.Sprintf(`const bridge = () => new Promise((done, failed) => {
		const tag = document.createElement("script");
		Object.assign(tag, {src: %q, integrity: %q, crossOrigin: "anonymous", onload: done, onerror: failed});
		document.head.append(tag);
	});`, bridge.URL+"/page/rocketchat.js", integrity(pageScript))
	return s
}

// A tab is an open page of the shop.
type tab struct {
	*testing.T
	*street
	ctx context.Context
}

// customer opens the shop in a new browser profile.
func (s *street) customer(t *testing.T) *tab {
	t.Helper()
	return s.open(t, s.chromium, chromedp.WithNewBrowserContext())
}

// another opens a second tab of the shop in the same browser profile.
func (p *tab) another() *tab {
	p.Helper()
	return p.open(p.T, p.ctx)
}

func (s *street) open(t *testing.T, in context.Context, opts ...chromedp.ContextOption) *tab {
	t.Helper()
	ctx, cancel := chromedp.NewContext(in, opts...)
	t.Cleanup(cancel)
	p := &tab{T: t, street: s, ctx: ctx}
	p.reload()
	return p
}

// reload loads the shop's page again in the tab.
func (p *tab) reload() {
	p.Helper()
	if err := chromedp.Do(p.ctx, chromedp.Navigate(p.shop)); err != nil {
		p.Fatal(err)
	}
	p.does(p.tag + "window.bridge = bridge")
}

// does runs JavaScript in the page. It may await.
func (p *tab) does(steps string) {
	p.Helper()
	ask[any](p, steps)
}

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

// A state is what the tests check of a page.
type state struct {
	Key     string // as stored
	Visitor *struct {
		IntegrationIDs []string `json:"integrationIds"`
		Identities     []string `json:"identities"`
		Online         bool     `json:"online"`
	}
	Guest   map[string]string // custom fields
	Sent    [][3]string       // requests that set custom fields
	Cookie  string
	Fetched []string // requests of the page and its scripts, except for scripts and the icon
	Wrong   []string // errors in the page
	Refused []string // commands that Upscope would not understand
}

func (p *tab) state() state {
	p.Helper()
	return ask[state](p, returnState)
}

const returnState = `return {
	Key: shelf.getItem("upscope_key") ?? "", Visitor: upscope.visitor(), Guest: widget.guest() ?? {}, Sent: widget.sent,
	Cookie: document.cookie, Wrong: wrong, Refused: upscope.refused,
	Fetched: performance.getEntriesByType("resource").map(e => e.initiatorType + " " + e.name).filter(e => !/^script |\/favicon.ico$/.test(e)),
};`

// agreed checks that Upscope and Rocket.Chat have the same key and that the page has no
// errors. It returns the key.
func (p *tab) agreed() string {
	p.Helper()
	return p.state().agreed(p)
}

func (s state) agreed(t testing.TB) string {
	t.Helper()
	s.harmless(t)
	key := s.Guest["upscope_key"]
	if !pageKey(key) || len(key) < 32 {
		t.Errorf("Rocket.Chat has the key %q", key)
	}
	s.hasKey(t, key)
	return key
}

// hasKey checks that Upscope has the key for the visitor of this tab.
func (s state) hasKey(t testing.TB, key string) {
	t.Helper()
	id := "rocketchat:" + key
	if s.Visitor == nil || !slices.Equal(s.Visitor.IntegrationIDs, []string{id}) || !slices.Contains(s.Visitor.Identities, id) {
		t.Errorf("Upscope has %+v, Rocket.Chat %q", s.Visitor, key)
	}
}

// harmless checks that the page has no errors, cookies or requests, and returns its state.
func (p *tab) harmless() state {
	p.Helper()
	s := p.state()
	s.harmless(p)
	return s
}

func (s state) harmless(t testing.TB) {
	t.Helper()
	if len(s.Wrong)+len(s.Refused) > 0 {
		t.Errorf("errors in the page %q, refused commands %q", s.Wrong, s.Refused)
	}
	if s.Cookie != "" || len(s.Fetched) > 0 {
		t.Errorf("cookie %q, requests %q", s.Cookie, s.Fetched)
	}
}

const (
	snippets = `upscope.snippet(); Upscope("init"); widget.snippet();`
	arrival  = snippets + `upscope.arrives(); widget.arrives(); await bridge();`
	// later waits until the script has finished, and begins a chat.
	later = `await clock.pass(20000); await Promise.all([widget.chat(), clock.pass(1000)]); await clock.pass(20000);`
)

func TestTheWidgetsAgreeInEveryOrderOfArrival(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	const u, c = `upscope.snippet(); Upscope("init"); upscope.arrives();`, `widget.snippet(); widget.arrives();`
	steps := map[string]string{"Upscope": u, "Rocket.Chat": c, "script": `await bridge();`}
	for _, order := range [][]string{
		{"script", "Upscope", "Rocket.Chat"}, {"script", "Rocket.Chat", "Upscope"},
		{"Upscope", "script", "Rocket.Chat"}, {"Upscope", "Rocket.Chat", "script"},
		{"Rocket.Chat", "script", "Upscope"}, {"Rocket.Chat", "Upscope", "script"},
	} {
		for _, pause := range []int{0, 7000} {
			t.Run(fmt.Sprintf("%s %dms", strings.Join(order, ", "), pause), func(t *testing.T) {
				t.Parallel()
				p := s.customer(t)
				for _, who := range order {
					p.does(steps[who] + fmt.Sprintf(`await clock.pass(%d)`, pause))
				}
				p.does(later)
				p.agreed()
			})
		}
	}
	for name, steps := range map[string]string{
		"queues, then the scripts":   snippets + `await bridge(); await clock.pass(3000); upscope.arrives(); await clock.pass(3000); widget.arrives();`,
		"consent after five minutes": `await bridge(); await clock.pass(300000); document.body.click(); await clock.pass(700);` + u + c,
		"init long after the script": `upscope.snippet(); upscope.arrives(); await bridge(); await clock.pass(40000); Upscope("init");` + c,
		"a queue without init":       `upscope.snippet(); await bridge(); await clock.pass(4000); Upscope("init"); upscope.arrives();` + c,
		"no queue for Rocket.Chat":   u + `widget.arrives(); await bridge();`,
		"the script twice":           u + c + `await bridge(); await bridge();`,
		"a queue that is replaced": u + `widget.snippet(); await bridge(); await clock.pass(3000);
			widget.snippet(); widget.arrives();`,
		"connect on request": `upscope.snippet(); Upscope("init", {autoconnect: false}); upscope.arrives(); await bridge();` + c +
			`await clock.pass(30000); if (upscope.status) wrong.push("connected"); upscope.connect();`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := s.customer(t)
			p.does(steps + later)
			p.agreed()
		})
	}
}

func TestAMissingOrBrokenWidgetDoesNoHarm(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	t.Run("Upscope", func(t *testing.T) {
		t.Parallel()
		p := s.customer(t)
		p.does(`widget.snippet(); widget.arrives(); await bridge();` + later)
		if got := p.harmless(); got.Guest["upscope_key"] != got.Key {
			t.Errorf("%+v", got)
		}
	})
	t.Run("Rocket.Chat", func(t *testing.T) {
		t.Parallel()
		p := s.customer(t)
		p.does(`upscope.snippet(); Upscope("init"); upscope.arrives(); await bridge(); await clock.pass(30000)`)
		got := p.harmless()
		got.hasKey(p, got.Key)
	})
	t.Run("both", func(t *testing.T) {
		t.Parallel()
		p := s.customer(t)
		p.does(`await bridge(); await clock.pass(600000); CobrowseBridge.push({forget: true}); await clock.pass(600000);`)
		p.harmless()
	})
	t.Run("both scripts are blocked", func(t *testing.T) {
		t.Parallel()
		p := s.customer(t)
		p.does(snippets + `await bridge(); await clock.pass(600000); CobrowseBridge.push({forget: true}); await clock.pass(600000);`)
		p.harmless()
	})
	t.Run("both throw", func(t *testing.T) {
		t.Parallel()
		p := s.customer(t)
		p.does(`window.Upscope = window.RocketChat = () => { throw new Error("broken"); };
			await bridge(); await clock.pass(60000); CobrowseBridge.push({forget: true}); await clock.pass(60000);`)
		p.harmless()
	})
	t.Run("the widget's functions throw", func(t *testing.T) {
		t.Parallel()
		p := s.customer(t)
		p.does(snippets + `await bridge(); await clock.pass(1000); widget.broken = true; upscope.arrives(); widget.arrives();
			CobrowseBridge.push({forget: true}); await clock.pass(60000);`)
		p.harmless()
	})
	t.Run("neither is a function", func(t *testing.T) {
		t.Parallel()
		p := s.customer(t)
		p.does(`window.Upscope = {}; window.RocketChat = document.body;
			await bridge(); CobrowseBridge.push(null); CobrowseBridge.push({identities: null}); await clock.pass(60000);`)
		p.harmless()
	})
}

func TestAllTimersEnd(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	p := s.customer(t)
	p.does(`await bridge();` + snippets + `upscope.arrives(); widget.arrives(); await clock.pass(120000);`)
	if running := ask[int](p, `return clock.timers.size`); running != 0 {
		t.Errorf("%d timers run after two minutes", running)
	}
}

func TestAnotherProductsDetectionIsOverwritten(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	for _, at := range []int{500, 4000, 9900} {
		t.Run(fmt.Sprint(at), func(t *testing.T) {
			t.Parallel()
			p := s.customer(t)
			p.does(arrival + fmt.Sprintf(`await clock.pass(%d); upscope.detects("intercom:1"); await clock.pass(1);`, at))
			if got := p.state(); !slices.Equal(got.Visitor.IntegrationIDs, []string{"intercom:1"}) {
				t.Fatalf("%+v", got.Visitor)
			}
			p.does(later)
			p.agreed()
		})
	}
}

func TestTheKeyStaysAfterResetsAndReloads(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	p := s.customer(t)
	p.does(arrival + later)
	first := p.agreed()
	p.does(`Upscope("reset"); await clock.pass(30000);`)
	if again := p.agreed(); again != first {
		t.Errorf("%s after a reset, %s before", again, first)
	}
	p.reload()
	p.does(arrival + later)
	if again := p.agreed(); again != first {
		t.Errorf("%s on the next page, %s before", again, first)
	}
	p.does(`upscope.drop(); await clock.pass(1000); upscope.connect(); await clock.pass(30000);`)
	p.agreed()
}

func TestTheNextChatHasTheSameKey(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	p := s.customer(t)
	p.does(arrival + later)
	first := p.agreed()
	p.does(`widget.ends();` + later)
	if again := p.agreed(); again != first {
		t.Errorf("the second chat has the key %s, the first had %s", again, first)
	}
}

func TestIfStorageIsBlockedTheKeyIsForThisPageOnly(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	p := s.customer(t)
	p.does(`blockStorage();` + arrival + later)
	first := p.agreed()
	p.does(`CobrowseBridge.push({forget: true});` + later)
	if p.agreed() == first {
		t.Error("forget keeps the key")
	}
}

func TestAnInvalidKeyIsReplaced(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	p := s.customer(t)
	p.does(`localStorage.setItem("upscope_key", "ann@example.org' OR 1");` + arrival + later)
	p.agreed()
	p.reload()
	// A valid key that another script stored stays.
	const uuid = "0b1e6f5e-4f0e-4b43-8a7c-8c2d7c1d9a10"
	p.does(`localStorage.setItem("upscope_key", "` + uuid + `");` + arrival + later)
	if got := p.agreed(); got != uuid {
		t.Errorf("got %s", got)
	}
}

func TestTheSitesIdentitiesStay(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	p := s.customer(t)
	p.does(`window.CobrowseBridge = [{identities: ["Ann Lee"]}];` + arrival + later)
	key := p.agreed()
	p.wantIdentities("Ann Lee", "rocketchat:"+key)
	p.does(`CobrowseBridge.push({identities: ["Ann Lee", "ann@example.org"]}); await clock.pass(1);`)
	p.wantIdentities("Ann Lee", "ann@example.org", "rocketchat:"+key)
}

func (p *tab) wantIdentities(want ...string) {
	p.Helper()
	if got := p.state().Visitor.Identities; !slices.Equal(got, want) {
		p.Errorf("identities %q, want %q", got, want)
	}
}

func TestALookupCodeIsSentOnlyIfThePageAsksForIt(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	p := s.customer(t)
	p.does(arrival + later)
	if got := p.state(); len(got.Guest) != 1 || ask[string](p, `return upscope.code`) != "" {
		t.Errorf("Rocket.Chat got %v", got.Guest)
	}
	for name, steps := range map[string]string{
		"before": `window.CobrowseBridge = [{code: true, field: "my_key", codeField: "my_code"}];` + arrival,
		"after":  arrival + `CobrowseBridge.push({code: true, field: "my_key", codeField: "my_code"});`,
		"late":   `window.CobrowseBridge = [{code: true, field: "my_key", codeField: "my_code"}]; await bridge(); await clock.pass(9000);` + snippets + `widget.arrives(); await clock.pass(9000); upscope.arrives();`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := s.customer(t)
			p.does(steps + later)
			got := p.harmless()
			if got.Guest["my_code"] != "1001" || got.Guest["my_key"] != got.Key {
				t.Errorf("Rocket.Chat got %v", got.Guest)
			}
			p.does(`CobrowseBridge.push({forget: true});` + later)
			got = p.harmless()
			if got.Guest["my_code"] != "1002" || got.Guest["my_key"] != got.Key {
				t.Errorf("Rocket.Chat got %v of the next customer", got.Guest)
			}
		})
	}
}

func TestALateCodeIsNotGivenToTheNextCustomer(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	p := s.customer(t)
	p.does(arrival + later + `CobrowseBridge.push({code: true}); CobrowseBridge.push({forget: true}); upscope.connect = () => {};` + later)
	if got := p.harmless(); got.Guest["upscope_code"] != "" || got.Guest["upscope_key"] != got.Key {
		t.Errorf("Rocket.Chat got %v", got.Guest)
	}
}

// After forget, neither Upscope's visitor nor the chat of the former person gets the next key,
// and the next person gets neither of them.
func TestForgetSeparatesTwoPeopleOnOneBrowser(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	const forget = `CobrowseBridge.push({forget: true});`
	for name, c := range map[string]struct {
		before, leave string
		next          bool // whether another page follows
	}{
		"and stays on the page": {arrival + later, forget, false},
		"and leaves at once":    {arrival + later, forget, true},
		"and leaves after 10 s": {arrival + later, forget + `await clock.pass(10000);`, true},
		"twice":                 {arrival + later, forget + forget, false},
		"after a long pause":    {arrival + later + `upscope.idle();`, forget + `await clock.pass(60000); upscope.moves();`, false},
		"long pause, leaves":    {arrival + later + `upscope.idle();`, forget, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			p := s.customer(t)
			p.does(`window.CobrowseBridge = [{identities: ["Ann Lee"]}];` + c.before)
			ann := p.agreed()
			p.does(c.leave)
			if c.next {
				p.reload()
				p.does(arrival)
			}
			p.does(later)
			bob := p.agreed()
			p.separate(ann, bob)
			p.reload()
			p.does(arrival + later)
			if p.agreed() != bob {
				t.Error("the next page has another key")
			}
			p.separate(ann, bob)
		})
	}
	t.Run("before the snippets", func(t *testing.T) {
		t.Parallel()
		p := s.customer(t)
		p.does(arrival + later)
		ann := p.agreed()
		p.reload()
		p.does(`await bridge();` + forget + `await clock.pass(3000);` + snippets + `await clock.pass(3000); upscope.arrives(); widget.arrives();` + later)
		p.separate(ann, p.agreed())
	})
	t.Run("before the widgets have loaded", func(t *testing.T) {
		t.Parallel()
		p := s.customer(t)
		p.does(arrival + later)
		ann := p.agreed()
		p.reload()
		p.does(snippets + `await bridge(); await clock.pass(1000);` + forget + `await clock.pass(3000); upscope.arrives(); widget.arrives();` + later)
		p.separate(ann, p.agreed())
	})
	t.Run("before the script", func(t *testing.T) {
		t.Parallel()
		p := s.customer(t)
		p.does(arrival + later)
		ann := p.agreed()
		p.reload()
		p.does(`window.CobrowseBridge = [{forget: true}];` + arrival + later)
		p.separate(ann, p.agreed())
	})
}

// separate checks that the keys ann and bob belong to different visitors and guests.
func (p *tab) separate(ann, bob string) {
	p.Helper()
	if ann == bob {
		p.Fatal("the next person has the same key")
	}
	type visitor struct {
		Had        []string `json:"had"`
		Identities []string `json:"identities"`
		Online     bool     `json:"online"`
	}
	for id, v := range ask[map[string]visitor](p, `return kept("visitors", {})`) {
		hasAnn, hasBob := slices.Contains(v.Had, "rocketchat:"+ann), slices.Contains(v.Had, "rocketchat:"+bob)
		if hasAnn && hasBob {
			p.Errorf("Upscope's visitor %s has had both keys", id)
		}
		if hasAnn && v.Online {
			p.Errorf("the former visitor is still online: %+v", v)
		}
		if hasBob && slices.Contains(v.Identities, "Ann Lee") {
			p.Errorf("visitor %s is still called Ann", id)
		}
	}
	guests := ask[map[string]map[string]string](p, `return kept("guests", {})`)
	for _, g := range guests {
		if g["upscope_key"] == ann {
			return
		}
	}
	p.Errorf("the former chat has lost its key: %v", guests)
}

func TestTabsOfOneBrowserAgree(t *testing.T) {
	t.Parallel()
	s := newStreet(t)
	t.Run("opened one after the other", func(t *testing.T) {
		t.Parallel()
		one := s.customer(t)
		one.does(arrival + later)
		two := one.another()
		two.does(arrival + later)
		if one.agreed() != two.agreed() {
			t.Error("two keys")
		}
	})
	t.Run("opened at once", func(t *testing.T) {
		t.Parallel()
		one := s.customer(t)
		two := one.another()
		one.does(`window.other = true;` + snippets + `await bridge();`)
		two.does(`localStorage.setItem("upscope_key", "another-tab-has-drawn-this-one-meanwhile"); ` + snippets + `await bridge();`)
		one.does(`await until(() => localStorage.getItem("upscope_key") === "another-tab-has-drawn-this-one-meanwhile"); upscope.arrives(); widget.arrives();` + later)
		two.does(`upscope.arrives(); widget.arrives();` + later)
		if one.agreed() != two.agreed() {
			t.Error("two keys")
		}
	})
	t.Run("one forgets", func(t *testing.T) {
		t.Parallel()
		one := s.customer(t)
		one.does(arrival + later)
		ann := one.agreed()
		two := one.another()
		two.does(arrival + later)
		sent, former := len(two.state().Sent), ask[string](two, `return upscope.id`)
		one.does(`CobrowseBridge.push({forget: true});` + later)
		bob := one.agreed()
		two.does(`await until(() => { clock.pass(0); return upscope.id !== "` + former + `"; });` + later)
		got := two.harmless()
		got.hasKey(two, bob)
		if len(got.Sent) != sent {
			t.Errorf("the former visitor's chat got %v", got.Sent[sent:])
		}
		two.separate(ann, bob)
		two.reload()
		two.does(arrival + later)
		if two.agreed() != bob {
			t.Error("the next page has another key")
		}
	})
}
