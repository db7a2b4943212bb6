package bridge_test

import (
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// bobHasCard gives bob a card for ann, and returns her short id and the path of the door.
func bobHasCard(w *world) (ann, door string) {
	ann = w.ann()
	w.bobTakes(w.openChat(withPageKey()))
	return ann, w.door("bob")
}

func TestPromise2OnlyAPersonsPressReachesWatchURL(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		asked := w.upscope.Requests()[upscopetest.Visitor] + w.upscope.Requests()[upscopetest.List]
		neutral := func(name string, r *http.Request, statuses ...int) {
			t.Helper()
			got := w.do(r)
			if !slices.Contains(statuses, got.StatusCode) || strings.Contains(got.body, "Ann") {
				t.Errorf("%s: answered %d %q", name, got.StatusCode, got.body)
			}
			if now := w.upscope.Requests()[upscopetest.Visitor] + w.upscope.Requests()[upscopetest.List]; now != asked {
				t.Errorf("%s: the bridge called Upscope", name)
			}
		}
		neutral("HEAD", request(http.MethodHead, door, nil), http.StatusOK)
		neutral("OPTIONS", request(http.MethodOptions, door, nil), http.StatusNoContent)
		for _, header := range []string{"Sec-Purpose: prefetch", "Sec-Purpose: prefetch;prerender", "Purpose: prefetch", "X-Moz: prefetch", "X-Purpose: preview"} {
			name, value, _ := strings.Cut(header, ": ")
			r := request(http.MethodGet, door, nil)
			r.Header.Set(name, value)
			neutral(header, r, http.StatusServiceUnavailable)
		}
		for _, robot := range []string{
			"Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "Slack-ImgProxy (+https://api.slack.com/robots)",
			"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Twitterbot/1.0", "TelegramBot (like TwitterBot)",
			"facebookexternalhit/1.1", "WhatsApp/2.23.20.0", "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5", "Discordbot/2.0;",
			"LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
		} {
			r := request(http.MethodGet, door, nil)
			r.Header.Set("User-Agent", robot)
			neutral(robot, r, http.StatusOK)
		}

		// A scanner that runs scripts can submit the form, but that is no press.
		scanner := w.browser()
		scanner.follow(door)
		scanner.submitByScript(door, url.Values{"visitor": {ann}}).want(t, http.StatusForbidden)
		// On another site a person can be made to press, but the origin is wrong.
		r := scanner.form(door, url.Values{"visitor": {ann}})
		r.Header.Set("Origin", "https://evil.example")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Sec-Fetch-User", "?1")
		scanner.send(r).want(t, http.StatusForbidden)
		// Without fetch metadata, the Origin header shows that the form is on another site.
		r = scanner.form(door, url.Values{"visitor": {ann}})
		r.Header.Del("Sec-Fetch-Site")
		r.Header.Del("Sec-Fetch-Mode")
		r.Header.Set("Origin", "https://evil.example")
		scanner.send(r).want(t, http.StatusForbidden)

		if n := w.upscope.Requests()[upscopetest.Watch]; n != 0 {
			t.Errorf("%d calls to watch_url, want none", n)
		}
	})
}

func TestTheFirstBrowserToPressOwnsTheDoorAndIsRemembered(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		bob, thief := w.browser(), w.browser()
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)

		page := thief.follow(door)
		page.want(t, http.StatusForbidden, "another browser")
		if strings.Contains(page.body, "Bob") || strings.Contains(page.body, "Ann") || strings.Contains(page.body, "chat.example.org") {
			t.Errorf("the refusal names the agent, the visitor or the chat: %s", page.body)
		}
		thief.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusForbidden)

		bob.follow(door).wantWatch(t)

		// Later cards of the agent lead straight to the screen in that browser, and are refused in others.
		w.idle(time.Hour)
		second := w.openChat(withPageKey())
		w.bobTakes(second)
		later := w.door("bob")
		if later == door {
			t.Fatal("two cards have the same door")
		}
		thief.follow(later).want(t, http.StatusForbidden)
		thief.press(later, url.Values{"visitor": {ann}}).want(t, http.StatusForbidden)
		bob.follow(later).wantWatch(t)

		// A page that navigates by script does not skip the page.
		r := request(http.MethodGet, later, nil)
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Dest", "document")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		bob.send(r).want(t, http.StatusOK, "Co-browse with")

		// Neither does a link that opens in a frame of another page.
		r = request(http.MethodGet, later, nil)
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Dest", "iframe")
		r.Header.Set("Sec-Fetch-Site", "same-site")
		r.Header.Set("Sec-Fetch-User", "?1")
		bob.send(r).want(t, http.StatusOK, "Co-browse with")

		// The browser is remembered for half a day.
		w.idle(12 * time.Hour)
		w.bobTakes(w.openChat(withPageKey()))
		bob.follow(w.door("bob")).want(t, http.StatusOK, "Co-browse with")
	})
}

func TestAnExpiredDoorIsReplacedAtTheSamePlace(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		w.idle(31 * time.Minute)
		bob := w.browser()
		page := bob.follow(door)
		page.want(t, http.StatusGone, "This button has expired", "renew")
		bob.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusGone)
		renewed := bob.press(door+"?renew=1", nil)
		renewed.want(t, http.StatusOK)
		if doorAddress.MatchString(renewed.body) || strings.Contains(renewed.body, "/w/") {
			t.Error("the page contains the new address")
		}
		w.pass(time.Second)
		w.posts("bob", 1)
		fresh := w.door("bob")
		if fresh == door {
			t.Fatal("the door did not change")
		}
		bob.follow(door).want(t, http.StatusGone, "newer co-browse button")
		bob.press(fresh, url.Values{"visitor": {ann}}).wantWatch(t)
		// A second request at once is refused, by either address of the route.
		bob.press(door+"/renew", nil).want(t, http.StatusTooManyRequests)
		w.idle(time.Minute)
		bob.press(door+"/renew", nil).want(t, http.StatusOK)
	})
}

func TestADoorThatHasNotExpiredIsNotRenewed(t *testing.T) {
	inWorld(t, func(w *world) {
		_, door := bobHasCard(w)
		w.browser().press(door+"?renew=1", nil).want(t, http.StatusOK, "Co-browse with")
		w.pass(time.Second)
		if w.door("bob") != door {
			t.Error("the agent's door changed")
		}
	})
}

func TestARenewedDoorMovesTheAgentToAnotherBrowser(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		old, new := w.browser(), w.browser()
		old.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		new.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusForbidden, "another browser")
		new.press(door+"?renew=1", nil).want(t, http.StatusOK)
		w.pass(time.Second)
		new.press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(t)
		old.follow(w.door("bob")).want(t, http.StatusForbidden)
	})
}

func TestPromise12UnknownHandlesAreThrottledByAddress(t *testing.T) {
	inWorld(t, func(w *world) {
		_, door := bobHasCard(w)
		guess := func(from string) int {
			r := request(http.MethodGet, "/w/"+strings.Repeat("A", 43), nil)
			r.RemoteAddr = from
			return w.do(r).StatusCode
		}
		for n := range 20 {
			if got := guess("198.51.100.7:1000"); got != http.StatusNotFound {
				t.Fatalf("guess %d is answered %d", n, got)
			}
		}
		if got := guess("198.51.100.7:1001"); got != http.StatusTooManyRequests {
			t.Errorf("guess 21 is answered %d", got)
		}
		if got := guess("198.51.100.8:1000"); got != http.StatusNotFound {
			t.Errorf("another address is answered %d", got)
		}
		// Valid handles still work from that address.
		r := request(http.MethodGet, door, nil)
		r.RemoteAddr = "198.51.100.7:1002"
		if got := w.do(r).StatusCode; got != http.StatusOK {
			t.Errorf("a door is answered %d", got)
		}
	})
}

// behindProxies lets the bridge trust the X-Forwarded-For of a network.
var behindProxies = options{config: func(c *bridge.Config) { c.TrustedProxies = []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")} }}

// forwarded returns a change of requests: a proxy sends them, with this X-Forwarded-For.
func forwarded(header string) func(*http.Request) {
	return func(r *http.Request) {
		r.RemoteAddr = "10.0.0.1:4711"
		if header != "" {
			r.Header.Set("X-Forwarded-For", header)
		}
	}
}

func TestClientsBehindAProxyHaveLimitsOfTheirOwn(t *testing.T) {
	for name, test := range map[string]struct {
		header    func(n int) string // of the request n
		throttled int                // of 30 requests
	}{
		"an address each":             {func(n int) string { return fmt.Sprintf("203.0.113.%d", n) }, 0},
		"an address with a port each": {func(n int) string { return fmt.Sprintf("203.0.113.%d:51034", n) }, 0},
		"one address, another port":   {func(n int) string { return fmt.Sprintf("203.0.113.7:%d", 51000+n) }, 10},
		"an IPv6 network each":        {func(n int) string { return fmt.Sprintf("[2001:db8:0:%d::1]:51034", n) }, 0},
		"one IPv6 network":            {func(n int) string { return fmt.Sprintf("[2001:db8::%d]:51034", n) }, 10},
		"unreadable":                  {func(int) string { return "unknown" }, 0},
		"none":                        {func(int) string { return "" }, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				throttled := 0
				for n := range 30 {
					r := request(http.MethodGet, "/w/"+strings.Repeat("A", 43), nil)
					forwarded(test.header(n))(r)
					if w.do(r).StatusCode == http.StatusTooManyRequests {
						throttled++
					}
				}
				if throttled != test.throttled {
					t.Errorf("%d of 30 requests are throttled, want %d", throttled, test.throttled)
				}
				want := 0
				if h := test.header(0); h == "" || h == "unknown" {
					want = 1
				}
				if got := strings.Count(w.log.String(), "address of a client not known"); got != want {
					t.Errorf("%d warnings, want %d", got, want)
				}
			}, behindProxies)
		})
	}
}

func TestAllInvalidHandlesGetTheSamePage(t *testing.T) {
	inWorld(t, func(w *world) {
		_, door := bobHasCard(w)
		handle := strings.TrimPrefix(door, "/w/")
		flipped := func(i int) string {
			c := byte('A')
			if handle[i] == 'A' {
				c = 'B'
			}
			return handle[:i] + string(c) + handle[i+1:]
		}
		var page string
		for n, bad := range []string{"x", handle[:42], handle + "A", flipped(0), flipped(20), flipped(30), handle[:20] + "%0A" + handle[21:], handle[:42] + "%3D", ".."} {
			r := request(http.MethodGet, "/w/"+bad, nil)
			r.RemoteAddr = fmt.Sprintf("198.51.100.%d:1", n)
			got := w.do(r)
			if got.StatusCode != http.StatusNotFound || page != "" && got.body != page {
				t.Errorf("%q is answered %d: %s", bad, got.StatusCode, got.body)
			}
			page = got.body
		}
	})
}

func TestPromise8NoSessionWithoutAnAuditRecord(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		w.browser().press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		var actions []string
		for record, err := range w.store.AuditLog().After(w.Context(), 0) {
			w.must(err)
			actions = append(actions, record.Action)
			if record.Action == "watching" && (record.Agent != "rocketchat:a1" || record.Visitor != ann || record.Connector != "rocketchat" || record.Chat == "") {
				t.Errorf("the record is %+v", record.Entry)
			}
		}
		if want := []string{"asked", "watching"}; !slices.Equal(actions, want) {
			t.Errorf("audited %v, want %v", actions, want)
		}
		_, err := w.store.AuditLog().Verify(w.Context(), audit.Head{})
		w.must(err)
	})
}

func TestPromise8NoWatchLinkIfTheAuditLogCannotBeWritten(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		bob := w.browser()
		bob.follow(door).want(t, http.StatusOK)
		w.failInserts("audit")
		bob.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusServiceUnavailable, "cannot read or save its data")
		if n := w.upscope.Requests()[upscopetest.Watch]; n != 0 {
			t.Errorf("%d calls to watch_url without an audit record, want none", n)
		}
	})
}

func TestEveryFailureOfUpscopeLeadsToAPage(t *testing.T) {
	for _, test := range []struct {
		name   string
		at     upscopetest.Endpoint
		fault  upscopetest.Fault
		status int
		says   string
	}{
		{"key refused when reading", upscopetest.List, upscopetest.Fault{Status: 401, Code: "invalid_api_key"}, 502, "rejected the key"},
		{"key refused when watching", upscopetest.Watch, upscopetest.Fault{Status: 401, Code: "no_subscription"}, 502, "rejected the key"},
		{"over plan", upscopetest.Watch, upscopetest.Fault{Status: 402}, 402, "does not let your company start another session"},
		{"rate limited", upscopetest.Watch, upscopetest.Fault{Status: 429, RetryAfter: "7"}, 503, "Upscope"},
		{"broken", upscopetest.Watch, upscopetest.Fault{Status: 500}, 503, "Upscope"},
		{"a proxy's page", upscopetest.Watch, upscopetest.Fault{Status: 502, Body: "<html>bad gateway"}, 503, "Upscope"},
		{"hanging", upscopetest.Watch, upscopetest.Fault{Hang: true}, 503, "Upscope"},
		{"hanging when reading", upscopetest.List, upscopetest.Fault{Hang: true}, 503, "Upscope"},
		{"visitor just went offline", upscopetest.Watch, upscopetest.Fault{Status: 404}, 200, "Ann Silva"},
		{"cut off", upscopetest.Watch, upscopetest.Fault{Truncate: true}, 503, "Upscope"},
		{"cut off when reading", upscopetest.List, upscopetest.Fault{Truncate: true}, 503, "Upscope"},
		{"slower than the timeout", upscopetest.Watch, upscopetest.Fault{Delay: time.Minute}, 503, "Upscope"},
		{"50 MB", upscopetest.Watch, upscopetest.Fault{Size: 50 << 20}, 503, "Upscope"},
		{"wrong types", upscopetest.Watch, upscopetest.Fault{WrongTypes: true}, 503, "Upscope"},
		{"wrong types when reading", upscopetest.List, upscopetest.Fault{WrongTypes: true}, 503, "Upscope"},
		{"nested too deep", upscopetest.Watch, upscopetest.Fault{Depth: 100_000}, 503, "Upscope"},
		{"a redirect", upscopetest.Watch, upscopetest.Fault{RedirectTo: "https://evil.example/"}, 503, "Upscope"},
		{"a link to another host", upscopetest.Watch, upscopetest.Fault{WatchURL: "https://evil.example/session/1"}, 502, "trust"},
		{"a link without TLS", upscopetest.Watch, upscopetest.Fault{WatchURL: "http://cobrowsingapi.com/session/1"}, 502, "trust"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				ann, door := bobHasCard(w)
				w.pass(10 * time.Second) // so that no cache holds the visitor
				w.upscope.Fail(test.at, test.fault, 1)
				bob := w.browser()
				got := bob.press(door, url.Values{"visitor": {ann}})
				got.want(t, test.status, test.says)
				w.wantCount(`bridge_watches_total{outcome="failed"} 1`)
				if strings.Contains(got.body, "evil.example") || got.Header.Get("Location") != "" {
					t.Errorf("the answer leads to another site: %v %s", got.Header, got.body)
				}
				// The next press works.
				w.idle(time.Minute)
				bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
			})
		})
	}
}

func TestAVisitorOnAForeignSiteIsShownWithAWarningFirst(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		bob := w.browser()
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		w.upscope.ChangePage(ann, "https://shop.example.org.evil.example/basket")
		w.pass(15 * time.Second)
		bob.follow(door).want(t, http.StatusOK, "is not on your website")
		w.upscope.ChangePage(ann, "https://www.shop.example.org/basket")
		w.pass(15 * time.Second)
		bob.follow(door).wantWatch(t)
	}, options{config: func(c *bridge.Config) { c.Sites = []string{"shop.example.org"} }})
}

func TestLookAgainFindsAVisitorWhoReturnedUnderAnotherID(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		again := w.upscope.Reset(ann)
		w.upscope.SetIdentities(again, "rocketchat:"+pageKey)
		w.upscope.SetIntegrationIDs(again, "rocketchat:"+pageKey)
		w.pass(15 * time.Second)
		bob := w.browser()
		bob.follow(door).want(t, http.StatusOK, "is offline", "Check again")
		bob.press(door, url.Values{"look": {"1"}}).want(t, http.StatusOK, again, "Online")
	})
}

func TestAPressWaitsForASlowUpscope(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		w.upscope.Fail(upscopetest.Watch, upscopetest.Fault{Delay: 3 * time.Second}, 1)
		w.browser().press(door, url.Values{"visitor": {ann}}).wantWatch(t)
	})
}

func TestOverPlanOffersUpscopesOwnLink(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		w.upscope.SetOverPlan(true)
		bob := w.browser()
		for range 3 { // only the first calls Upscope
			bob.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusPaymentRequired, "/w/"+ann)
		}
		if n := w.callsTo(upscopetest.Watch); n != 1 {
			t.Errorf("%d calls to watch_url, want 1", n)
		}
		w.upscope.SetOverPlan(false)
		w.pass(time.Minute)
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
	})
}

func TestAVisitorWhoClearedTheirBrowserIsFoundByTheStableClue(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		again := w.upscope.Reset(ann)
		w.upscope.SetIdentities(again, "rocketchat:"+pageKey)
		w.upscope.SetIntegrationIDs(again, "rocketchat:"+pageKey)
		w.upscope.Expire(ann)
		w.pass(15 * time.Second)
		bob := w.browser()
		bob.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusOK, again)
		if w.upscope.Minted() != 0 {
			t.Error("a watch link was made for a visitor whom the agent has not seen")
		}
		bob.press(door, url.Values{"visitor": {again}}).wantWatch(t)
	})
}

func TestAVisitorWhoGotAnotherIDIsFoundByTheStableClue(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		again := w.upscope.Reset(ann) // the old visitor stays at Upscope, offline
		w.upscope.SetIdentities(again, "rocketchat:"+pageKey)
		w.upscope.SetIntegrationIDs(again, "rocketchat:"+pageKey)
		w.pass(15 * time.Second)
		w.browser().press(door, url.Values{"visitor": {ann}}).want(t, http.StatusOK, again, "Online")
		if w.upscope.Minted() != 0 {
			t.Error("a watch link was made for a visitor whom the agent has not seen")
		}
	})
}

func TestAVisitorFoundByACodeIsNotSearchedAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		zoe := w.upscope.Come(upscope.Visitor{Name: "Zoe", IsSupported: true})
		w.upscope.SetLookupCode(zoe, "4821")
		w.bobTakes(w.openChat(map[string]string{"upscope_code": "4821"}))
		door := w.door("bob")
		w.upscope.Expire(zoe)
		yan := w.upscope.Come(upscope.Visitor{Name: "Yan", IsSupported: true})
		w.upscope.SetLookupCode(yan, "4821")
		w.pass(15 * time.Second)
		w.browser().press(door, url.Values{"visitor": {zoe}}).want(t, http.StatusNotFound)
	})
}

func TestAChangedIdentityIsShownBeforeItIsWatched(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		bob := w.browser()
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		w.upscope.SetUniqueID(ann, "cust-99")
		w.pass(15 * time.Second)
		page := bob.follow(door) // led straight to the screen before
		page.want(t, http.StatusOK, "Another customer matches now")
		bob.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusOK, "Another customer matches now")
		bob.press(door, url.Values{"visitor": {firstFormValue(t, page)}}).wantWatch(t)
		bob.follow(door).wantWatch(t)
	})
}

// firstFormValue returns the form value of the first visitor on a page.
func firstFormValue(t *testing.T, page *answer) string {
	t.Helper()
	_, value, ok := strings.Cut(page.body, `name="visitor" value="`)
	value, _, _ = strings.Cut(value, `"`)
	if !ok {
		t.Fatalf("no visitor on the page: %s", page.body)
	}
	return value
}

func TestTheBridgeIsServedUnderEverySpellingOfItsHost(t *testing.T) {
	inWorld(t, func(w *world) {
		_, door := bobHasCard(w)
		for _, target := range []struct{ host, address string }{
			{"bridge.example.org", door}, {"bridge.example.org:443", door}, {"Bridge.Example.ORG", door}, {"BRIDGE.example.org:443", door},
			{"bridge.example.org", origin + door}, // the absolute form: RFC 9112, 3.2.2
		} {
			r := request(http.MethodGet, target.address, nil)
			r.Host = target.host
			if got := w.do(r).StatusCode; got != http.StatusOK {
				t.Errorf("%v: answered %d", target, got)
			}
		}
		if strings.Contains(w.log.String(), "another host name") {
			t.Error("a warning about the bridge's own host")
		}
	})
}

func TestAWrongHostIsWarnedOfOnceWithBothNames(t *testing.T) {
	inWorld(t, func(w *world) {
		send := func(host string) {
			r := request(http.MethodGet, "/", nil)
			r.Host = host
			w.do(r).want(t, http.StatusMisdirectedRequest)
		}
		for range 50 {
			send("upstream:8080")
			send("bridge.example.org:80")
		}
		for _, came := range []string{"upstream:8080", "bridge.example.org:80"} {
			if strings.Count(w.log.String(), `"host":"`+came+`","expected":"bridge.example.org"`) != 1 {
				t.Errorf("%s: %s", came, w.log)
			}
		}
		for n := range 50 {
			send(fmt.Sprintf("scanner-%d.example", n))
		}
		if got := strings.Count(w.log.String(), "request has another host name"); got > 8 {
			t.Errorf("%d warnings", got)
		}
	})
}

func TestAnAgentWhoLostTheChatMeanwhileIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		lose   func(w *world, room string)
		status int
		says   string
	}{
		"handed over": {func(w *world, room string) { w.chat.Forward(room, "eve") }, http.StatusGone, "another agent"},
		"closed":      {func(w *world, room string) { w.chat.CloseChat(room) }, http.StatusGone, "is closed"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				ann := w.ann()
				room := w.openChat(withPageKey())
				w.bobTakes(room)
				test.lose(w, room) // no event is delivered
				w.browser().press(w.door("bob"), url.Values{"visitor": {ann}}).want(t, test.status, test.says)
				if w.upscope.Minted() != 0 {
					t.Error("a watch link was made")
				}
			})
		})
	}
}

func TestAPressMakesTwoCallsToUpscopeAndAPageAtMostOne(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		bob := w.browser()
		bob.loads(door)
		w.pass(15 * time.Second)
		before := totalCalls(w.upscope)
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		if n := totalCalls(w.upscope) - before; n != 2 {
			t.Errorf("%d calls to Upscope for a press, want 2", n)
		}
		w.pass(15 * time.Second)
		before = totalCalls(w.upscope)
		w.do(request(http.MethodGet, door, nil))
		bob.send(request(http.MethodGet, door, nil)).want(t, http.StatusOK)
		if n := totalCalls(w.upscope) - before; n > 1 {
			t.Errorf("%d calls to Upscope for a page, want at most 1", n)
		}
	})
}

func totalCalls(s *upscopetest.Server) (n int) {
	for _, k := range s.Requests() {
		n += k
	}
	return n
}

func TestOtherHostsAndUnknownPathsAreRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		_, door := bobHasCard(w)
		r := request(http.MethodGet, door, nil)
		r.Host = "evil.example"
		if got := w.do(r).StatusCode; got != http.StatusMisdirectedRequest {
			t.Errorf("answered %d", got)
		}
		for _, path := range []string{"//w/x", "/w/../healthz", "/w//", "/nowhere", "/.git/config"} {
			r := request(http.MethodGet, "/", nil)
			r.URL.Path = path
			got := w.do(r)
			if got.StatusCode != http.StatusNotFound || got.Header.Get("Location") != "" {
				t.Errorf("%s: answered %d to %q", path, got.StatusCode, got.Header.Get("Location"))
			}
		}
	})
}

func TestEveryPageHasSecurityHeaders(t *testing.T) {
	inWorld(t, func(w *world) {
		_, door := bobHasCard(w)
		for _, path := range []string{door, "/w/" + strings.Repeat("x", 43), "/nowhere"} {
			got := w.do(request(http.MethodGet, path, nil))
			for header, want := range map[string]string{
				"Cache-Control":             "no-store",
				"Referrer-Policy":           "same-origin",
				"X-Content-Type-Options":    "nosniff",
				"X-Robots-Tag":              "noindex, nofollow, noarchive",
				"Strict-Transport-Security": "max-age=31536000",
			} {
				if got.Header.Get(header) != want {
					t.Errorf("%s: %s is %q", path, header, got.Header.Get(header))
				}
			}
			policy := got.Header.Get("Content-Security-Policy")
			for _, part := range []string{"default-src 'none'", "form-action 'self' https://cobrowsingapi.com https://*.cobrowsingapi.com", "frame-ancestors 'none'", "base-uri 'none'"} {
				if !strings.Contains(policy, part) {
					t.Errorf("%s: the policy lacks %q: %s", path, part, policy)
				}
			}
		}
	})
}

func TestAnAgentWhoPressesTooOftenIsAskedToWait(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		bob := w.browser()
		for range 6 {
			bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
			w.pass(3 * time.Second) // within three seconds it would count as the same press
		}
		got := bob.press(door, url.Values{"visitor": {ann}})
		got.want(t, http.StatusTooManyRequests)
		if got.Header.Get("Retry-After") == "" {
			t.Error("no Retry-After")
		}
		w.pass(67 * time.Second)
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
	})
}
