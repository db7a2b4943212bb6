package bridge_test

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// ready is a world in which bob has a card for ann.
func ready(w *world) (ann, door string) {
	ann = w.ann()
	w.taken(w.opens(keyed()))
	return ann, w.door("bob")
}

func TestPromise2NothingButAPersonsPressReachesWatchURL(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := ready(w)
		asked := w.upscope.Requests()[upscopetest.Visitor] + w.upscope.Requests()[upscopetest.List]
		quiet := func(name string, r *http.Request, statuses ...int) {
			t.Helper()
			got := w.do(r)
			if !slices.Contains(statuses, got.StatusCode) || strings.Contains(got.body, "Ann") {
				t.Errorf("%s: answered %d %q", name, got.StatusCode, got.body)
			}
			if now := w.upscope.Requests()[upscopetest.Visitor] + w.upscope.Requests()[upscopetest.List]; now != asked {
				t.Errorf("%s: asked Upscope", name)
			}
		}
		quiet("HEAD", request(http.MethodHead, door, nil), http.StatusOK)
		quiet("OPTIONS", request(http.MethodOptions, door, nil), http.StatusNoContent)
		for _, header := range []string{"Sec-Purpose: prefetch", "Sec-Purpose: prefetch;prerender", "Purpose: prefetch", "X-Moz: prefetch", "X-Purpose: preview"} {
			name, value, _ := strings.Cut(header, ": ")
			r := request(http.MethodGet, door, nil)
			r.Header.Set(name, value)
			quiet(header, r, http.StatusServiceUnavailable)
		}
		for _, robot := range []string{
			"Slackbot-LinkExpanding 1.0 (+https://api.slack.com/robots)", "Slack-ImgProxy (+https://api.slack.com/robots)",
			"Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)", "Twitterbot/1.0", "TelegramBot (like TwitterBot)",
			"facebookexternalhit/1.1", "WhatsApp/2.23.20.0", "Mozilla/5.0 (Windows NT 6.1; WOW64) SkypeUriPreview Preview/0.5", "Discordbot/2.0;",
			"LinkedInBot/1.0 (compatible; Mozilla/5.0; Apache-HttpClient +http://www.linkedin.com)",
		} {
			r := request(http.MethodGet, door, nil)
			r.Header.Set("User-Agent", robot)
			quiet(robot, r, http.StatusOK)
		}

		// A scanner that runs scripts can send the form, but cannot press.
		scanner := w.browser()
		scanner.follow(door)
		scanner.script(door, url.Values{"visitor": {ann}}).want(t, http.StatusForbidden)
		// Another site can press, but not with our form.
		r := scanner.form(door, url.Values{"visitor": {ann}})
		r.Header.Set("Origin", "https://evil.example")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Sec-Fetch-User", "?1")
		scanner.send(r).want(t, http.StatusForbidden)
		// A browser without fetch metadata tells another site by its origin.
		r = scanner.form(door, url.Values{"visitor": {ann}})
		r.Header.Del("Sec-Fetch-Site")
		r.Header.Del("Sec-Fetch-Mode")
		r.Header.Set("Origin", "https://evil.example")
		scanner.send(r).want(t, http.StatusForbidden)

		if n := w.upscope.Requests()[upscopetest.Watch]; n != 0 {
			t.Errorf("%d calls of watch_url", n)
		}
	})
}

func TestTheFirstBrowserToPressOwnsTheDoorAndIsRemembered(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := ready(w)
		bob, thief := w.browser(), w.browser()
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)

		page := thief.follow(door)
		page.want(t, http.StatusForbidden, "another browser")
		if strings.Contains(page.body, "Bob") || strings.Contains(page.body, "Ann") || strings.Contains(page.body, "chat.example.org") {
			t.Errorf("a stranger is told who: %s", page.body)
		}
		thief.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusForbidden)

		bob.follow(door).wantWatch(t)

		// Later cards of the same agent open straight in that browser and in no other.
		w.idle(time.Hour)
		second := w.opens(keyed())
		w.taken(second)
		later := w.door("bob")
		if later == door {
			t.Fatal("two cards have one door")
		}
		thief.follow(later).want(t, http.StatusForbidden)
		thief.press(later, url.Values{"visitor": {ann}}).want(t, http.StatusForbidden)
		bob.follow(later).wantWatch(t)

		// A page that navigates by script is not a person who follows a link.
		r := request(http.MethodGet, later, nil)
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Dest", "document")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		bob.send(r).want(t, http.StatusOK, "Co-browse with")

		// Nor is one who follows it into a frame of another page.
		r = request(http.MethodGet, later, nil)
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Dest", "iframe")
		r.Header.Set("Sec-Fetch-Site", "same-site")
		r.Header.Set("Sec-Fetch-User", "?1")
		bob.send(r).want(t, http.StatusOK, "Co-browse with")

		// The browser is remembered for half a day.
		w.idle(12 * time.Hour)
		w.taken(w.opens(keyed()))
		bob.follow(w.door("bob")).want(t, http.StatusOK, "Co-browse with")
	})
}

func TestAnExpiredDoorSendsAFreshOneToTheSamePlace(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := ready(w)
		w.idle(31 * time.Minute)
		bob := w.browser()
		page := bob.follow(door)
		page.want(t, http.StatusGone, "This link has expired", "renew")
		bob.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusGone)
		renewed := bob.press(door+"?renew=1", nil)
		renewed.want(t, http.StatusOK)
		if doorAddress.MatchString(renewed.body) || strings.Contains(renewed.body, "/w/") {
			t.Error("the page tells the fresh address")
		}
		w.pass(time.Second)
		w.posts("bob", 1)
		fresh := w.door("bob")
		if fresh == door {
			t.Fatal("the address is the same")
		}
		bob.follow(door).want(t, http.StatusGone, "newer link")
		bob.press(fresh, url.Values{"visitor": {ann}}).wantWatch(t)
		// Asking again at once is too soon, by either address of the route.
		bob.press(door+"/renew", nil).want(t, http.StatusTooManyRequests)
		w.idle(time.Minute)
		bob.press(door+"/renew", nil).want(t, http.StatusOK)
	})
}

func TestADoorThatStillOpensIsNotRenewed(t *testing.T) {
	inWorld(t, func(w *world) {
		_, door := ready(w)
		w.browser().press(door+"?renew=1", nil).want(t, http.StatusOK, "Co-browse with")
		w.pass(time.Second)
		if w.door("bob") != door {
			t.Error("the agent's address was taken away")
		}
	})
}

func TestARenewedDoorMovesTheAgentToAnotherBrowser(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := ready(w)
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
		_, door := ready(w)
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
		// Who knows a handle is no guesser.
		r := request(http.MethodGet, door, nil)
		r.RemoteAddr = "198.51.100.7:1002"
		if got := w.do(r).StatusCode; got != http.StatusOK {
			t.Errorf("a door is answered %d", got)
		}
	})
}

func TestHandlesThatAreNoneLookAlike(t *testing.T) {
	inWorld(t, func(w *world) {
		_, door := ready(w)
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

func TestPromise8NoSessionWithoutARecord(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := ready(w)
		w.browser().press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		var actions []string
		for record, err := range w.store.Audit(w.Context(), 0) {
			w.must(err)
			actions = append(actions, record.Action)
			if record.Action == "watching" && (record.Agent != "rocketchat:a1" || record.Visitor != ann || record.Connector != "rocketchat" || record.Chat == "") {
				t.Errorf("the record is %+v", record.Entry)
			}
		}
		if want := []string{"asked", "watching"}; !slices.Equal(actions, want) {
			t.Errorf("recorded %v, want %v", actions, want)
		}
		_, err := w.store.VerifyAudit(w.Context(), store.AuditHead{})
		w.must(err)
	})
}

func TestPromise8AStoreThatCannotRecordOpensNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := ready(w)
		bob := w.browser()
		bob.follow(door).want(t, http.StatusOK)
		w.refuse("audit")
		bob.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusServiceUnavailable, "record")
		if n := w.upscope.Requests()[upscopetest.Watch]; n != 0 {
			t.Errorf("%d calls of watch_url without a record", n)
		}
	})
}

func TestWhatUpscopeAnswersLeadsToAPage(t *testing.T) {
	for _, test := range []struct {
		name   string
		at     upscopetest.Endpoint
		fault  upscopetest.Fault
		status int
		says   string
	}{
		{"key refused when reading", upscopetest.List, upscopetest.Fault{Status: 401, Code: "invalid_api_key"}, 502, "no longer accepts the key"},
		{"key refused when watching", upscopetest.Watch, upscopetest.Fault{Status: 401, Code: "no_subscription"}, 502, "no longer accepts the key"},
		{"over plan", upscopetest.Watch, upscopetest.Fault{Status: 402}, 402, "plan"},
		{"rate limited", upscopetest.Watch, upscopetest.Fault{Status: 429, RetryAfter: "7"}, 503, "Upscope"},
		{"broken", upscopetest.Watch, upscopetest.Fault{Status: 500}, 503, "Upscope"},
		{"a proxy's page", upscopetest.Watch, upscopetest.Fault{Status: 502, Body: "<html>bad gateway"}, 503, "Upscope"},
		{"hanging", upscopetest.Watch, upscopetest.Fault{Hang: true}, 503, "Upscope"},
		{"hanging when reading", upscopetest.List, upscopetest.Fault{Hang: true}, 503, "Upscope"},
		{"visitor gone in this moment", upscopetest.Watch, upscopetest.Fault{Status: 404}, 200, "Ann Silva"},
		{"cut off", upscopetest.Watch, upscopetest.Fault{Truncate: true}, 503, "Upscope"},
		{"cut off when reading", upscopetest.List, upscopetest.Fault{Truncate: true}, 503, "Upscope"},
		{"slow beyond patience", upscopetest.Watch, upscopetest.Fault{Delay: time.Minute}, 503, "Upscope"},
		{"50 MB", upscopetest.Watch, upscopetest.Fault{Size: 50 << 20}, 503, "Upscope"},
		{"wrong types", upscopetest.Watch, upscopetest.Fault{WrongTypes: true}, 503, "Upscope"},
		{"wrong types when reading", upscopetest.List, upscopetest.Fault{WrongTypes: true}, 503, "Upscope"},
		{"nested too deep", upscopetest.Watch, upscopetest.Fault{Depth: 100_000}, 503, "Upscope"},
		{"a redirect", upscopetest.Watch, upscopetest.Fault{RedirectTo: "https://evil.example/"}, 503, "Upscope"},
		{"a link to somewhere else", upscopetest.Watch, upscopetest.Fault{WatchURL: "https://evil.example/session/1"}, 502, "trust"},
		{"a link without TLS", upscopetest.Watch, upscopetest.Fault{WatchURL: "http://cobrowsingapi.com/session/1"}, 502, "trust"},
	} {
		t.Run(test.name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				ann, door := ready(w)
				w.pass(10 * time.Second) // nothing is remembered of the visitor
				w.upscope.Fail(test.at, test.fault, 1)
				bob := w.browser()
				got := bob.press(door, url.Values{"visitor": {ann}})
				got.want(t, test.status, test.says)
				if strings.Contains(got.body, "evil.example") || got.Header.Get("Location") != "" {
					t.Errorf("the answer leads away: %v %s", got.Header, got.body)
				}
				// Nothing was spoilt: the next press works.
				w.idle(time.Minute)
				bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
			})
		})
	}
}

func TestAVisitorOnAForeignPageIsShownWithAWarningAndNeverStraightOn(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := ready(w)
		bob := w.browser()
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		w.upscope.ChangePage(ann, "https://shop.example.org.evil.example/basket")
		w.pass(15 * time.Second)
		bob.follow(door).want(t, http.StatusOK, "not on one of your sites")
		w.upscope.ChangePage(ann, "https://www.shop.example.org/basket")
		w.pass(15 * time.Second)
		bob.follow(door).wantWatch(t)
	}, options{config: func(c *bridge.Config) { c.Sites = []string{"shop.example.org"} }})
}

func TestLookingAgainFindsWhoCameBackUnderAnotherID(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := ready(w)
		again := w.upscope.Reset(ann)
		w.upscope.SetIdentities(again, "rocketchat:"+pageKey)
		w.upscope.SetIntegrationIDs(again, "rocketchat:"+pageKey)
		w.pass(15 * time.Second)
		bob := w.browser()
		bob.follow(door).want(t, http.StatusOK, "is offline", "Look again")
		bob.press(door, url.Values{"look": {"1"}}).want(t, http.StatusOK, again, "Online now")
	})
}

func TestASlowUpscopeIsWaitedFor(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := ready(w)
		w.upscope.Fail(upscopetest.Watch, upscopetest.Fault{Delay: 3 * time.Second}, 1)
		w.browser().press(door, url.Values{"visitor": {ann}}).wantWatch(t)
	})
}

func TestOverPlanOffersUpscopesOwnLink(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := ready(w)
		w.upscope.SetOverPlan(true)
		bob := w.browser()
		for range 3 { // and Upscope is left alone for a while
			bob.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusPaymentRequired, "/w/"+ann)
		}
		if n := w.asked(upscopetest.Watch); n != 1 {
			t.Errorf("Upscope was asked for a link %d times", n)
		}
		w.upscope.SetOverPlan(false)
		w.pass(time.Minute)
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
	})
}

func TestAVisitorWhoClearedTheirBrowserIsFollowedByTheStableClue(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := ready(w)
		again := w.upscope.Reset(ann)
		w.upscope.SetIdentities(again, "rocketchat:"+pageKey)
		w.upscope.SetIntegrationIDs(again, "rocketchat:"+pageKey)
		w.upscope.Expire(ann)
		w.pass(15 * time.Second)
		bob := w.browser()
		bob.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusOK, again)
		if w.upscope.Minted() != 0 {
			t.Error("somebody was watched whom the agent has not seen")
		}
		bob.press(door, url.Values{"visitor": {again}}).wantWatch(t)
	})
}

func TestAVisitorWhoWentOnUnderAnotherIDIsFollowedByTheStableClue(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := ready(w)
		again := w.upscope.Reset(ann) // the record of before stays, offline
		w.upscope.SetIdentities(again, "rocketchat:"+pageKey)
		w.upscope.SetIntegrationIDs(again, "rocketchat:"+pageKey)
		w.pass(15 * time.Second)
		w.browser().press(door, url.Values{"visitor": {ann}}).want(t, http.StatusOK, again, "Online now")
		if w.upscope.Minted() != 0 {
			t.Error("somebody was watched whom the agent has not seen")
		}
	})
}

func TestAVisitorFoundByACodeIsNotFollowed(t *testing.T) {
	inWorld(t, func(w *world) {
		zoe := w.upscope.Come(upscope.Visitor{Name: "Zoe", IsSupported: true})
		w.upscope.SetLookupCode(zoe, "4821")
		w.taken(w.opens(map[string]string{"upscope_code": "4821"}))
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
		ann, door := ready(w)
		bob := w.browser()
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		w.upscope.SetUniqueID(ann, "cust-99")
		w.pass(15 * time.Second)
		page := bob.follow(door) // would go straight on
		page.want(t, http.StatusOK, "different visitor")
		bob.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusOK, "different visitor")
		bob.press(door, url.Values{"visitor": {shown(t, page)}}).wantWatch(t)
		bob.follow(door).wantWatch(t)
	})
}

// shown is what the form of a page sends back for the first visitor on it.
func shown(t *testing.T, page *answer) string {
	t.Helper()
	_, value, ok := strings.Cut(page.body, `name="visitor" value="`)
	value, _, _ = strings.Cut(value, `"`)
	if !ok {
		t.Fatalf("no visitor on the page: %s", page.body)
	}
	return value
}

func TestAnAgentWhoLostTheChatMeanwhileIsRefused(t *testing.T) {
	for name, test := range map[string]struct {
		lose   func(w *world, room string)
		status int
		says   string
	}{
		"handed over": {func(w *world, room string) { w.chat.Forward(room, "eve") }, http.StatusGone, "another agent"},
		"closed":      {func(w *world, room string) { w.chat.CloseChat(room) }, http.StatusGone, "over"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				ann := w.ann()
				room := w.opens(keyed())
				w.taken(room)
				test.lose(w, room) // and its webhook is lost
				w.browser().press(w.door("bob"), url.Values{"visitor": {ann}}).want(t, test.status, test.says)
				if w.upscope.Minted() != 0 {
					t.Error("the screen was opened")
				}
			})
		})
	}
}

func TestAPressCostsTwoCallsOfUpscopeAndAtMostTwoTransactions(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := ready(w)
		bob := w.browser()
		bob.loads(door)
		w.pass(15 * time.Second)
		before := total(w.upscope)
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		if n := total(w.upscope) - before; n != 2 {
			t.Errorf("%d calls of Upscope for a press", n)
		}
		w.pass(15 * time.Second)
		before = total(w.upscope)
		w.do(request(http.MethodGet, door, nil))
		bob.send(request(http.MethodGet, door, nil)).want(t, http.StatusOK)
		if n := total(w.upscope) - before; n > 1 {
			t.Errorf("%d calls of Upscope for a page", n)
		}
	})
}

func total(s *upscopetest.Server) (n int) {
	for _, k := range s.Requests() {
		n += k
	}
	return n
}

func TestPagesOfOtherHostsAreNotOurs(t *testing.T) {
	inWorld(t, func(w *world) {
		_, door := ready(w)
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

func TestEveryPageHasTheHeadersThatKeepItSafe(t *testing.T) {
	inWorld(t, func(w *world) {
		_, door := ready(w)
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
		ann, door := ready(w)
		bob := w.browser()
		for range 6 {
			bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
			w.pass(3 * time.Second) // sooner it is the same press
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
