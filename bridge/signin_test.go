package bridge_test

import (
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/signin/signintest"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/upscope/upscopetest"
)

// records are the records with an action.
func (w *world) records(action string) (found []store.Record) {
	w.Helper()
	for r, err := range w.store.Audit(w.Context(), 0) {
		w.must(err)
		if r.Action == action {
			found = append(found, r)
		}
	}
	return found
}

func TestASignedInAgentsClickIsOneNavigation(t *testing.T) {
	inOffice(t, "", func(o *office) {
		ready(o.world)
		bob := o.browser()
		// The first click of the day leads through the sign-in to the door. Browsers would
		// not let the issuer's form lead on to the screen.
		o.follow(bob, "bob", o.door("bob")).want(t, http.StatusOK, "Co-browse with")
		if o.upscope.Minted() != 0 {
			t.Fatal("a link was made that the browser would not follow")
		}
		bob.follow(o.door("bob")).wantWatch(t)
		o.pass(time.Second)
		o.taken(o.opens(keyed()))
		bob.follow(o.door("bob")).wantWatch(t)

		for _, r := range o.records("watching") {
			if r.Agent != bobID || !strings.Contains(r.Detail, "card of rocketchat:a1") {
				t.Errorf("recorded %+v", r.Entry)
			}
		}
		watch := o.upscope.Watches()[1].Body
		if watch.Agent.ID != bobID || watch.Agent.Name != "Bob Baker" {
			t.Errorf("Upscope is told %+v", watch.Agent)
		}
		if got := o.records("connected"); len(got) != 1 || got[0].Agent != bobID || got[0].Detail != "rocketchat:a1 by e-mail address" {
			t.Errorf("recorded %+v", got)
		}
	}, linkEmail, options{rocketchat: readsEmails})
}

func TestAnAddressAloneLeadsToTheSignInAndNoFurther(t *testing.T) {
	inOffice(t, "", func(o *office) {
		ann, door := ready(o.world)
		stranger := o.browser()
		for _, path := range []string{door, "/w/" + strings.Repeat("A", 43), "/", "/desk/audit"} {
			a := stranger.follow(path)
			if to := a.Header.Get("Location"); a.StatusCode != http.StatusSeeOther || !strings.HasPrefix(to, issuer+"/authorize?") {
				t.Errorf("%s: answered %d to %q", path, a.StatusCode, to)
			}
		}
		stranger.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusUnauthorized, "Sign in")
		stranger.press("/desk/look-up", url.Values{"code": {"4821"}}).want(t, http.StatusUnauthorized)
		events := request(http.MethodGet, "/desk/events", nil)
		events.Header.Set("Sec-Fetch-Mode", "cors")
		stranger.send(events).want(t, http.StatusUnauthorized)
		if o.upscope.Minted() != 0 || len(o.records("watching")) != 0 {
			t.Error("something was minted or recorded for nobody")
		}
	})
}

func TestAnAgentSaysOnceWhoseTheAccountIs(t *testing.T) {
	inOffice(t, "", func(o *office) {
		ann, door := ready(o.world)
		bob := o.connected()
		bob.follow(door).wantWatch(t)

		// Nobody else gets the account, nor the card.
		eve := o.at("eve")
		eve.follow(door).want(t, http.StatusForbidden, "another agent")
		eve.press(door, url.Values{"connect": {"1"}}).want(t, http.StatusForbidden)
		eve.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusForbidden)
		if n := o.upscope.Minted(); n != 1 {
			t.Errorf("%d links were minted", n)
		}
		if got := o.records("refused"); len(got) != 1 || got[0].Agent != eveID || got[0].Card == "" {
			t.Errorf("refusals on record: %+v", got)
		}

		bob.follow("/").want(t, http.StatusOK, "rocketchat:a1")
		bob.press("/desk/unlink", url.Values{"identity": {"rocketchat:a1"}}).want(t, http.StatusSeeOther)
		bob.follow(door).want(t, http.StatusOK, "Is this your account?")
	})
}

func TestTheEMailAddressConnectsNobodyUnlessTheOperatorSaysSo(t *testing.T) {
	inOffice(t, "", func(o *office) {
		_, door := ready(o.world)
		o.at("bob").follow(door).want(t, http.StatusOK, "Is this your account?")
		if o.upscope.Minted() != 0 || len(o.records("connected")) != 0 {
			t.Error("the account was connected by e-mail address")
		}
	}, options{rocketchat: readsEmails})
}

func TestSigningAnAgentOutEndsTheirSessionAtOnceOnAllReplicas(t *testing.T) {
	inOffice(t, "", func(o *office) {
		_, door := ready(o.world)
		bob := o.connected()
		replica := o.replica()
		click := func(b *bridge.Bridge) int {
			r := request(http.MethodGet, door, nil)
			r.Header.Set("Sec-Fetch-Mode", "navigate")
			for _, c := range bob.cookies {
				r.AddCookie(c)
			}
			rec := httptest.NewRecorder()
			b.ServeHTTP(rec, r)
			return rec.Code
		}
		for i, b := range []*bridge.Bridge{o.bridge, replica} {
			if got := click(b); got != http.StatusOK {
				t.Fatalf("replica %d answers %d", i, got)
			}
		}
		if n, err := signin.SignOut(o.Context(), o.store.AgentSessions(), bobID); n != 1 || err != nil {
			t.Fatalf("%d, %v", n, err)
		}
		for i, b := range []*bridge.Bridge{o.bridge, replica} {
			if got := click(b); got != http.StatusSeeOther {
				t.Errorf("replica %d answers %d after the sign-out", i, got)
			}
		}
	})
}

func TestSigningOutEndsTheSession(t *testing.T) {
	inOffice(t, "", func(o *office) {
		ready(o.world)
		bob := o.connected()
		stolen := &browser{world: o.world, cookies: map[string]*http.Cookie{}}
		for name, c := range bob.cookies {
			stolen.cookies[name] = c
		}
		bob.press("/signout", nil).want(t, http.StatusOK, "signed out")
		if to := stolen.follow(o.door("bob")).Header.Get("Location"); !strings.HasPrefix(to, issuer) {
			t.Errorf("the session goes on, to %q", to)
		}
	})
}

func TestEveryFaultOfASignInHasAPage(t *testing.T) {
	for name, test := range map[string]struct {
		fault  signintest.Fault
		status int
		says   string
	}{
		"the person says no":             {signintest.Deny, http.StatusForbidden, "sign"},
		"the clocks differ":              {signintest.Future, http.StatusBadGateway, "clock"},
		"a token for somebody else":      {signintest.WrongAudience, http.StatusBadGateway, "sign"},
		"the callback of another state":  {signintest.OtherState, http.StatusBadRequest, "again"},
		"the keys cannot be had":         {signintest.KeysFailing, http.StatusServiceUnavailable, "sign"},
		"the issuer is down all at once": {signintest.Down, http.StatusServiceUnavailable, "sign"},
	} {
		t.Run(name, func(t *testing.T) {
			inOffice(t, "", func(o *office) {
				b := o.browser()
				to := b.follow("/").Header.Get("Location")
				var callback string
				if test.fault == signintest.Down {
					callback = o.signIn(b, "bob", to)
					o.issuer.Break(test.fault)
				} else {
					o.issuer.Break(test.fault)
					callback = o.signIn(b, "bob", to)
				}
				b.follow(callback).want(t, test.status, test.says)
				o.issuer.Break()
				o.follow(b, "bob", "/").want(t, http.StatusOK, "desk") // and starting again helps
			})
		})
	}
}

func TestADeadIssuerStopsNobodysWebhooks(t *testing.T) {
	inOffice(t, "", func(o *office) {
		o.issuer.Break(signintest.Down)
		ready(o.world) // a delivery, and a card
		o.browser().follow(o.door("bob")).want(t, http.StatusServiceUnavailable, "sign")
	})
}

func TestSignInsThatMayBeGuessesAreThrottledByAddress(t *testing.T) {
	inOffice(t, "", func(o *office) {
		refused := 0
		for range 30 {
			b := o.browser()
			to := o.signIn(b, "bob", b.follow("/").Header.Get("Location"))
			o.issuer.Break(signintest.WrongAudience)
			if b.follow(to).StatusCode == http.StatusTooManyRequests {
				refused++
			}
			o.issuer.Break()
		}
		if refused != 10 {
			t.Errorf("%d of 30 were refused", refused)
		}
	})
}

func TestNobodyCanKeepAnOfficeFromSigningIn(t *testing.T) {
	for name, happens := range map[string]func(o *office){
		"a picture on some page": func(o *office) {
			r := request(http.MethodGet, "/signin/callback?state=x", nil)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Sec-Fetch-Dest", "image")
			o.do(r)
		},
		"the issuer's outage": func(o *office) {
			b := o.browser()
			to := o.signIn(b, "bob", b.follow("/").Header.Get("Location"))
			o.issuer.Break(signintest.Down)
			b.follow(to)
			o.issuer.Break()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inOffice(t, "", func(o *office) {
				for range 50 {
					happens(o)
				}
				o.follow(o.browser(), "eve", "/").want(t, http.StatusOK, "desk")
			})
		})
	}
}

func TestSomebodyOfAnotherGroupIsRefusedOnTheRecordAndKeepsNobodyOut(t *testing.T) {
	o := newOffice(t, "")
	o.groups = []string{"leads"}
	inWorld(t, func(w *world) {
		o.world = w
		for range 50 {
			o.follow(o.browser(), "bob", "/").want(t, http.StatusForbidden)
		}
		if got := w.records("refused"); len(got) != 1 || !strings.Contains(got[0].Detail, "sign in") {
			t.Errorf("recorded %+v", got)
		}
		o.follow(o.browser(), "eve", "/").want(t, http.StatusOK, "desk")
	}, o.opts...)
}

func TestAPlantedSessionAndAForeignCallbackSignNobodyIn(t *testing.T) {
	inOffice(t, "", func(o *office) {
		eve, victim := o.at("eve"), o.browser()
		for name, c := range eve.cookies {
			victim.cookies[name] = c
		}
		o.follow(victim, "bob", "/")
		victim.follow(o.signIn(victim, "bob", victim.follow("/signin").Header.Get("Location")))
		if page := eve.follow("/"); strings.Contains(page.body, "Bob Baker") {
			t.Error("the planted session became bob's")
		}
		other := o.browser()
		callback := o.signIn(other, "eve", other.follow("/signin").Header.Get("Location"))
		o.browser().follow(callback).want(t, http.StatusBadRequest)
		other.follow(callback)
		other.follow(callback).want(t, http.StatusBadRequest)
	})
}

func TestADeskThatIsOpenKeepsNobodySignedIn(t *testing.T) {
	if testing.Short() {
		t.Skip("looks at a desk for eight hours")
	}
	inOffice(t, "", func(o *office) {
		bob := o.at("bob")
		_, stop := o.listen(bob)
		defer stop()
		o.stop()
		<-time.After(8*time.Hour + time.Minute)
		if to := bob.follow("/").Header.Get("Location"); !strings.HasPrefix(to, issuer) {
			t.Errorf("after eight hours without use the session goes on, to %q", to)
		}
	})
}

func TestASignInThatBeganAtTheDeskLeadsToTheDoorAndNoFurther(t *testing.T) {
	inOffice(t, "", func(o *office) {
		ready(o.world)
		bob := o.connected()
		path := o.cardPath(bob.follow("/"))
		bob.press("/signout", nil)
		a := bob.follow(o.signIn(bob, "bob", bob.follow(path).Header.Get("Location")))
		for strings.HasPrefix(a.Header.Get("Location"), "/") {
			a = bob.follow(a.Header.Get("Location"))
		}
		a.want(t, http.StatusOK, "Co-browse with")
		if o.upscope.Minted() != 0 {
			t.Error("a link was made that the browser would not follow")
		}
	})
}

func TestNobodyClaimsAnAccountTheyMayDoNothingWith(t *testing.T) {
	inOffice(t, "rules:\n  - who: {groups: [support]}\n    may: [watch]\n", func(o *office) {
		_, door := ready(o.world)
		o.at("eve").press(door, url.Values{"connect": {"1"}}).want(t, http.StatusForbidden)
		if len(o.records("connected")) != 0 {
			t.Error("the account is hers")
		}
		o.at("bob").follow(door).want(t, http.StatusOK, "Is this your account?")
	})
}

func TestAProofTakesAnAccountFromWhoOnlySaidThatItIsTheirs(t *testing.T) {
	inOffice(t, "", func(o *office) {
		_, door := ready(o.world)
		eve := o.at("eve") // who got hold of the address
		eve.press(door, url.Values{"connect": {"1"}}).want(t, http.StatusOK, "Co-browse with")
		o.at("bob").follow(door).wantWatch(t)
		eve.follow(door).want(t, http.StatusForbidden, "another agent")
		if got := o.records("connected"); len(got) != 2 || got[1].Agent != bobID {
			t.Errorf("recorded %+v", got)
		}
	}, linkEmail, options{rocketchat: readsEmails})
}

func TestNobodyElseRenewsADoor(t *testing.T) {
	inOffice(t, "", func(o *office) {
		_, door := ready(o.world)
		bob, eve := o.connected(), o.at("eve")
		eve.press(door+"?renew=1", nil).want(t, http.StatusForbidden)
		bob.follow(door).wantWatch(t)
	})
}

func TestTheRecordNamesWhoPressedAndNotWhoDidLater(t *testing.T) {
	inOffice(t, leadsOperate, func(o *office) {
		ready(o.world)
		bob := o.connected()
		bob.follow(o.door("bob")).wantWatch(t)
		bobs := o.upscope.Watches()[0]
		o.pass(time.Second)
		o.at("eve").follow(o.door("bob")).wantWatch(t) // and never uses the link
		_, err := o.upscope.Open(bobs)
		o.must(err)
		o.pass(sessionsWait)
		if got := o.records("live"); len(got) != 1 || got[0].Agent != bobID {
			t.Errorf("recorded %+v", got)
		}
	})
}

func TestAProxysHeadersAreBelievedFromItsAddressAlone(t *testing.T) {
	behind := options{config: func(c *bridge.Config) {
		var err error
		c.Header, err = signin.NewHeader(signin.HeaderConfig{
			User: "X-Forwarded-User", Email: "X-Forwarded-Email", Name: "X-Forwarded-Preferred-Username", Groups: "X-Forwarded-Groups",
			Proxies: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")},
		})
		if err != nil {
			panic(err)
		}
	}}
	inWorld(t, func(w *world) {
		_, door := ready(w)
		come := func(from string, header map[string][]string) *answer {
			r := request(http.MethodGet, door, nil)
			r.RemoteAddr = from
			r.Header.Set("Sec-Fetch-Mode", "navigate")
			for name, values := range header {
				r.Header[name] = values
			}
			return w.do(r)
		}
		bob := map[string][]string{"X-Forwarded-User": {"bob"}}
		come("10.1.2.3:1000", bob).want(t, http.StatusOK, "Is this your account?")
		for name, test := range map[string]struct {
			from   string
			header map[string][]string
		}{
			"from anywhere":              {"198.51.100.7:1000", bob},
			"nobody":                     {"10.1.2.3:1000", nil},
			"twice":                      {"10.1.2.3:1000", map[string][]string{"X-Forwarded-User": {"bob", "eve"}}},
			"smuggled":                   {"10.1.2.3:1000", map[string][]string{"X-Forwarded-User": {"bob"}, "X_forwarded_user": {"eve"}}},
			"forwarded through a chain":  {"198.51.100.7:1000", map[string][]string{"X-Forwarded-User": {"bob"}, "X-Forwarded-For": {"10.1.2.3"}}},
			"in another case, elsewhere": {"198.51.100.7:1000", map[string][]string{"x-forwarded-USER": {"bob"}}},
		} {
			if got := come(test.from, test.header); got.StatusCode != http.StatusForbidden {
				t.Errorf("%s: answered %d: %s", name, got.StatusCode, got.body)
			}
		}
		metrics := httptest.NewRecorder()
		w.bridge.Metrics().ServeHTTP(metrics, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if !strings.Contains(metrics.Body.String(), "bridge_spoofed_identities_total 3") {
			t.Error("the spoofed ones are not counted")
		}
	}, behind)
}

func TestAPageOfAnotherSiteCannotPost(t *testing.T) {
	inOffice(t, "", func(o *office) {
		ready(o.world)
		bob := o.connected()
		for _, path := range []string{"/desk/look-up", "/desk/tell", "/desk/unlink", "/desk/retry", "/desk/erase", "/signout", o.door("bob")} {
			r := bob.form(path, url.Values{"identity": {"rocketchat:a1"}})
			r.Header.Set("Origin", "https://evil.example.org")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Sec-Fetch-User", "?1")
			bob.send(r).want(t, http.StatusForbidden)
		}
		bob.follow("/").want(t, http.StatusOK, "rocketchat:a1")
	})
}

func TestGuessesOfDoorsAreBoundedWhoeverGuesses(t *testing.T) {
	inOffice(t, "", func(o *office) {
		_, door := ready(o.world)
		bob, replica := o.connected(), o.replica()
		guess := func(b *bridge.Bridge, n int) int {
			r := request(http.MethodGet, "/w/"+strings.Repeat(string(rune('A'+n%26)), 42)+"A", nil)
			r.RemoteAddr = "198.51.100." + string(rune('0'+n%10)) + ":1000"
			for _, c := range bob.cookies {
				r.AddCookie(c)
			}
			rec := httptest.NewRecorder()
			b.ServeHTTP(rec, r)
			return rec.Code
		}
		answered := map[int]int{}
		for n := range guesses() {
			answered[guess([]*bridge.Bridge{o.bridge, replica}[n%2], n)]++
		}
		if answered[http.StatusNotFound] > 20 || answered[http.StatusTooManyRequests] < guesses()-20 {
			t.Errorf("one agent at ten addresses of two replicas was answered %v", answered)
		}
		bob.follow(door).wantWatch(t) // who knows a door is no guesser
	})
}

// replica is another bridge on the same store.
func (o *office) replica() *bridge.Bridge {
	o.Helper()
	other, err := bridge.New(o.config)
	o.must(err)
	return other
}

func TestTheRecordSaysWhoWatchedUnderOneIdWhateverTheChat(t *testing.T) {
	inOffice(t, "", func(o *office) {
		ready(o.world)
		bob := o.connected()
		bob.follow(o.door("bob")).wantWatch(t)
		session := o.begun()
		o.pass(sessionsWait)
		o.upscope.End(session, 5)
		o.pass(sessionsWait)
		for _, action := range []string{"watching", "live", "ended"} {
			got := o.records(action)
			if len(got) != 1 || got[0].Agent != bobID || got[0].Visitor == "" || got[0].Chat == "" {
				t.Errorf("%s: %+v", action, got)
			}
		}
		if calls := o.upscope.Requests()[upscopetest.Watch]; calls != 1 {
			t.Errorf("%d links were asked for", calls)
		}
		if !slices.Contains(o.actions(), "signed in") {
			t.Error("the sign-in is not on record")
		}
	})
}
