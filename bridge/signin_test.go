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
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/upscope/upscopetest"
)

// Keycloak's access tokens are valid for five minutes, and it gives refresh tokens. Google gives none by default.
func TestOneClickAllDayWithShortAccessTokens(t *testing.T) {
	for name, refresh := range map[string]bool{"with refresh tokens": true, "without refresh tokens": false} {
		t.Run(name, func(t *testing.T) {
			o := newOIDCWorld(t, "")
			config := issuerConfig(issuer)
			config.AccessLife, config.Refresh = 5*time.Minute, refresh
			o.issuer = signintest.New(config)
			inWorld(t, func(w *world) {
				o.world = w
				bobHasCard(w)
				bob := o.connectedBob()
				for range 3 {
					bob.follow(o.door("bob")).wantWatch(t)
					w.pass(306 * time.Second)
				}
				bob.follow(o.door("bob")).wantWatch(t)
				if n := o.issuer.Requests("authorize"); n != 1 {
					t.Errorf("the agent was at the issuer %d times", n)
				}
				o.issuer.Remove("bob")
				w.pass(306 * time.Second)
				got := bob.follow(o.door("bob"))
				if refresh && !strings.HasPrefix(got.Header.Get("Location"), issuer) {
					t.Errorf("after the account was closed: %d %s", got.StatusCode, got.Header.Get("Location"))
				}
				for _, secret := range o.issuer.Secrets() {
					if strings.Contains(w.log.String(), secret) {
						t.Error("the log has a secret")
					}
				}
			}, o.opts...)
		})
	}
}

// Entra leaves the groups out for a person who is in more than 200.
func TestThePageSaysThatTheGroupsWereLeftOut(t *testing.T) {
	o := newOIDCWorld(t, "")
	o.groups = []string{"support"}
	inWorld(t, func(w *world) {
		o.world = w
		o.issuer.Change("bob", func(u *signintest.User) {
			u.Claims = map[string]any{
				"groups": nil, "_claim_names": map[string]any{"groups": "src1"},
				"_claim_sources": map[string]any{"src1": map[string]any{"endpoint": "https://graph.example/v1.0/users/0/getMemberObjects"}},
			}
		})
		b := o.browser()
		b.follow(o.signIn(b, "bob", b.follow("/").Header.Get("Location"))).want(t, http.StatusForbidden, "Your groups are not known", "Sign in again")
		if log := w.log.String(); !strings.Contains(log, "request failed") || !strings.Contains(log, "left the groups out") {
			t.Error("the log does not say so")
		}
		b = o.browser()
		b.follow(o.signIn(b, "eve", b.follow("/").Header.Get("Location"))).want(t, http.StatusForbidden, "You do not have access yet")
	}, o.opts...)
}

// records returns the audit records with an action.
func (w *world) records(action string) (found []audit.Record) {
	w.Helper()
	for r, err := range w.store.AuditLog().After(w.Context(), 0) {
		w.must(err)
		if r.Action == action {
			found = append(found, r)
		}
	}
	return found
}

func TestASignedInAgentsClickIsOneNavigation(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		bobHasCard(o.world)
		bob := o.browser()
		// The first click of the day leads through the sign-in to the page. Browsers would block
		// a redirect from the issuer's form to the screen.
		o.follow(bob, "bob", o.door("bob")).want(t, http.StatusOK, "Co-browse with")
		if o.upscope.Minted() != 0 {
			t.Fatal("a watch link was made that the browser would block")
		}
		bob.follow(o.door("bob")).wantWatch(t)
		o.pass(time.Second)
		o.bobTakes(o.openChat(withPageKey()))
		bob.follow(o.door("bob")).wantWatch(t)

		for _, r := range o.records("watching") {
			if r.Agent != bobID || !strings.Contains(r.Detail, "card of rocketchat:a1") {
				t.Errorf("audited %+v", r.Entry)
			}
		}
		watch := o.upscope.Watches()[1].Body
		if watch.Agent.ID != bobID || watch.Agent.Name != "Bob Baker" {
			t.Errorf("Upscope got the agent %+v", watch.Agent)
		}
		if got := o.records("connected"); len(got) != 1 || got[0].Agent != bobID || got[0].Detail != "rocketchat:a1 by e-mail address" {
			t.Errorf("audited %+v", got)
		}
	}, linkEmail, options{rocketchat: readsEmails})
}

func TestAnAddressAloneLeadsToTheSignInAndNoFurther(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		ann, door := bobHasCard(o.world)
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
			t.Error("a watch link or an audit record was made without a sign-in")
		}
	})
}

func TestAnAgentConfirmsTheirAccountOnce(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		ann, door := bobHasCard(o.world)
		bob := o.connectedBob()
		bob.follow(door).wantWatch(t)

		// Another agent can neither claim the account nor open the card.
		eve := o.signedIn("eve")
		eve.follow(door).want(t, http.StatusForbidden, "another agent")
		eve.press(door, url.Values{"connect": {"1"}}).want(t, http.StatusForbidden)
		eve.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusForbidden)
		if n := o.upscope.Minted(); n != 1 {
			t.Errorf("%d watch links were made, want 1", n)
		}
		if got := o.records("refused"); len(got) != 1 || got[0].Agent != eveID || got[0].Card == "" {
			t.Errorf("the audited refusals are %+v", got)
		}

		bob.follow("/").want(t, http.StatusOK, "rocketchat:a1")
		bob.press("/desk/unlink", url.Values{"account": {"rocketchat:a1"}}).want(t, http.StatusSeeOther)
		bob.follow(door).want(t, http.StatusOK, "Is this your account?")
	})
}

func TestTheEMailAddressConnectsAccountsOnlyIfTheOperatorAllowsIt(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		_, door := bobHasCard(o.world)
		o.signedIn("bob").follow(door).want(t, http.StatusOK, "Is this your account?")
		if o.upscope.Minted() != 0 || len(o.records("connected")) != 0 {
			t.Error("the account was connected by e-mail address")
		}
	}, options{rocketchat: readsEmails})
}

func TestSigningAnAgentOutEndsTheirSessionAtOnceOnAllReplicas(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		_, door := bobHasCard(o.world)
		bob := o.connectedBob()
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
			t.Fatalf("SignOut ended %d sessions, want 1: %v", n, err)
		}
		for i, b := range []*bridge.Bridge{o.bridge, replica} {
			if got := click(b); got != http.StatusSeeOther {
				t.Errorf("replica %d answers %d after the sign-out", i, got)
			}
		}
	})
}

func TestSigningOutEndsTheSession(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		bobHasCard(o.world)
		bob := o.connectedBob()
		stolen := &browser{world: o.world, cookies: map[string]*http.Cookie{}}
		for name, c := range bob.cookies {
			stolen.cookies[name] = c
		}
		bob.press("/signout", nil).want(t, http.StatusOK, "signed out")
		if to := stolen.follow(o.door("bob")).Header.Get("Location"); !strings.HasPrefix(to, issuer) {
			t.Errorf("the session still works; the redirect is to %q", to)
		}
	})
}

func TestEveryFaultOfASignInHasAPage(t *testing.T) {
	for name, test := range map[string]struct {
		fault  signintest.Fault
		status int
		says   string
	}{
		"the person denies the sign-in": {signintest.Deny, http.StatusForbidden, "sign"},
		"the client secret is wrong":    {signintest.TokenError("invalid_client"), http.StatusServiceUnavailable, "not set up correctly"},
		"the scopes are refused":        {signintest.CallbackError("invalid_scope"), http.StatusServiceUnavailable, "not set up correctly"},
		"the clocks differ":             {signintest.Future, http.StatusBadGateway, "clock"},
		"a token for another audience":  {signintest.WrongAudience, http.StatusBadGateway, "sign"},
		"the callback of another state": {signintest.OtherState, http.StatusBadRequest, "again"},
		"the keys cannot be fetched":    {signintest.KeysFailing, http.StatusServiceUnavailable, "sign"},
		"the issuer fails in between":   {signintest.Down, http.StatusServiceUnavailable, "sign"},
	} {
		t.Run(name, func(t *testing.T) {
			inOIDCWorld(t, "", func(o *oidcWorld) {
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
				o.follow(b, "bob", "/").want(t, http.StatusOK, "desk") // and a new attempt works
			})
		})
	}
}

func TestAnIssuerOutageDoesNotStopWebhooks(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		o.issuer.Break(signintest.Down)
		bobHasCard(o.world) // a delivery, and a card
		o.browser().follow(o.door("bob")).want(t, http.StatusServiceUnavailable, "sign")
	})
}

func TestSignInsThatMayBeGuessesAreThrottledByAddress(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
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
			t.Errorf("%d of 30 sign-ins were refused, want 10", refused)
		}
	})
}

func TestFailedCallbacksDoNotKeepAgentsFromSigningIn(t *testing.T) {
	for name, happens := range map[string]func(o *oidcWorld){
		"an image on another site": func(o *oidcWorld) {
			r := request(http.MethodGet, "/signin/callback?state=x", nil)
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Sec-Fetch-Dest", "image")
			o.do(r)
		},
		"scopes that the issuer refuses": func(o *oidcWorld) {
			b := o.browser()
			to := b.follow("/").Header.Get("Location")
			o.issuer.Break(signintest.CallbackError("invalid_scope"))
			b.follow(o.signIn(b, "bob", to)).want(o.T, http.StatusServiceUnavailable)
			o.issuer.Break()
		},
		"an outage of the issuer": func(o *oidcWorld) {
			b := o.browser()
			to := o.signIn(b, "bob", b.follow("/").Header.Get("Location"))
			o.issuer.Break(signintest.Down)
			b.follow(to)
			o.issuer.Break()
		},
	} {
		t.Run(name, func(t *testing.T) {
			inOIDCWorld(t, "", func(o *oidcWorld) {
				for range 50 {
					happens(o)
				}
				o.follow(o.browser(), "eve", "/").want(t, http.StatusOK, "desk")
			})
		})
	}
}

func TestRefusedSignInsOfAStrangerDoNotKeepAgentsFromSigningIn(t *testing.T) {
	for name, from := range map[string]struct{ stranger, agent string }{
		"another address":          {"203.0.113.66:51031", "203.0.113.7:51034"},
		"another address, no port": {"203.0.113.66", "203.0.113.7"},
		"the same office":          {"203.0.113.7:51031", "203.0.113.7:51034"},
		"unreadable addresses":     {"unknown", "unknown"},
		"no X-Forwarded-For":       {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			inOIDCWorld(t, "", func(o *oidcWorld) {
				refuse := func() *answer {
					b := o.browser()
					b.proxied = forwarded(from.stranger)
					o.issuer.Break(signintest.Deny)
					defer o.issuer.Break()
					return b.follow(o.signIn(b, "bob", b.follow("/").Header.Get("Location")))
				}
				for range 20 {
					refuse().want(t, http.StatusForbidden)
				}
				if from.stranger != "" && from.stranger != "unknown" {
					refuse().want(t, http.StatusTooManyRequests, "Too many failed sign-ins", "other people may share")
				}
				agent := o.browser()
				agent.proxied = forwarded(from.agent)
				o.follow(agent, "bob", "/").want(t, http.StatusOK, "desk")
			}, behindProxies)
		})
	}
}

func TestBackToTheCallbackLeadsASignedInAgentToTheDesk(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		bob := o.browser()
		callback := o.signIn(bob, "bob", bob.follow("/").Header.Get("Location"))
		bob.follow(callback).want(t, http.StatusSeeOther)
		signedIn := len(o.records("signed in"))
		for name, again := range map[string]string{
			"the same callback":          callback,
			"another person's callback":  o.signIn(o.browser(), "eve", o.browser().follow("/").Header.Get("Location")),
			"a callback without a code":  "/signin/callback",
			"a callback with two states": callback + "&state=x",
		} {
			a := bob.follow(again)
			if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != "/" || a.Header.Get("Referrer-Policy") != "no-referrer" {
				t.Errorf("%s: answered %d to %q", name, a.StatusCode, a.Header.Get("Location"))
			}
		}
		bob.follow("/").want(t, http.StatusOK, "Bob Baker")
		if got := len(o.records("signed in")); got != signedIn {
			t.Errorf("%d sign-ins are audited, want %d", got, signedIn)
		}
		o.browser().follow(callback).want(t, http.StatusBadRequest) // a stranger
	})
}

func TestBackToAFormLeadsToItsPage(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		bobHasCard(o.world)
		bob, door := o.connectedBob(), o.door("bob")
		for path, page := range map[string]string{
			"/desk/look-up": "/", "/desk/tell": "/", "/desk/unlink": "/", "/desk/retry": "/desk/operations", "/signout": "/", door + "/renew": door,
		} {
			a := bob.follow(path)
			if a.StatusCode != http.StatusSeeOther || a.Header.Get("Location") != page {
				t.Errorf("%s: answered %d to %q, want %q", path, a.StatusCode, a.Header.Get("Location"), page)
			}
		}
		bob.follow("/").want(t, http.StatusOK, "Bob Baker")
		bob.press("/signout", nil).want(t, http.StatusOK, "signed out")
		bob.follow("/signout").want(t, http.StatusOK, "signed out")
		if to := bob.follow("/desk/look-up").Header.Get("Location"); !strings.HasPrefix(to, issuer) {
			t.Errorf("without a session, the redirect is to %q", to)
		}
	})
}

func TestAnAgentOfAnotherGroupIsRefusedAndAuditedOnce(t *testing.T) {
	o := newOIDCWorld(t, "")
	o.groups = []string{"leads"}
	inWorld(t, func(w *world) {
		o.world = w
		for range 50 {
			o.follow(o.browser(), "bob", "/").want(t, http.StatusForbidden)
		}
		if got := w.records("refused"); len(got) != 1 || !strings.Contains(got[0].Detail, "sign in") {
			t.Errorf("audited %+v", got)
		}
		o.follow(o.browser(), "eve", "/").want(t, http.StatusOK, "desk")
	}, o.opts...)
}

func TestEachPersonWhoMayNotSignInIsAudited(t *testing.T) {
	o := newOIDCWorld(t, "")
	o.groups = []string{"leads"}
	inWorld(t, func(w *world) {
		o.world = w
		for _, person := range []string{"bob", "agent0", "bob", "agent1", "agent0"} { // all have one address
			o.follow(o.browser(), person, "/").want(t, http.StatusForbidden)
		}
		var agents []string
		for _, record := range w.records("refused") {
			agents = append(agents, record.Agent[strings.LastIndex(record.Agent, "/")+1:])
		}
		slices.Sort(agents)
		if !slices.Equal(agents, []string{"agent0", "agent1", "bob"}) {
			t.Errorf("audited %q", agents)
		}
	}, o.opts...)
}

func TestAPlantedSessionAndAForeignCallbackSignNobodyIn(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		eve, victim := o.signedIn("eve"), o.browser()
		for name, c := range eve.cookies {
			victim.cookies[name] = c
		}
		o.follow(victim, "bob", "/")
		victim.follow(o.signIn(victim, "bob", victim.follow("/signin").Header.Get("Location")))
		if page := eve.follow("/"); strings.Contains(page.body, "Bob Baker") {
			t.Error("bob signed in to the planted session")
		}
		other := o.browser()
		callback := o.signIn(other, "eve", other.follow("/signin").Header.Get("Location"))
		o.browser().follow(callback).want(t, http.StatusBadRequest)
		other.follow(callback)
		other.follow(callback).want(t, http.StatusSeeOther)
	})
}

func TestAnOpenDeskDoesNotExtendTheSession(t *testing.T) {
	if testing.Short() {
		t.Skip("looks at a desk for eight hours")
	}
	inOIDCWorld(t, "", func(o *oidcWorld) {
		bob := o.signedIn("bob")
		_, stop := o.listen(bob)
		defer stop()
		o.stop()
		<-time.After(8*time.Hour + time.Minute)
		if to := bob.follow("/").Header.Get("Location"); !strings.HasPrefix(to, issuer) {
			t.Errorf("after eight hours without use the session still works; the redirect is to %q", to)
		}
	})
}

func TestASignInThatBeganAtTheDeskEndsAtThePage(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		bobHasCard(o.world)
		bob := o.connectedBob()
		path := o.cardPath(bob.follow("/"))
		bob.press("/signout", nil)
		a := bob.follow(o.signIn(bob, "bob", bob.follow(path).Header.Get("Location")))
		for strings.HasPrefix(a.Header.Get("Location"), "/") {
			a = bob.follow(a.Header.Get("Location"))
		}
		a.want(t, http.StatusOK, "Co-browse with")
		if o.upscope.Minted() != 0 {
			t.Error("a watch link was made that the browser would block")
		}
	})
}

func TestAnAgentWithoutPermissionsCannotClaimAnAccount(t *testing.T) {
	inOIDCWorld(t, "rules:\n  - who: {groups: [support]}\n    may: [watch]\n", func(o *oidcWorld) {
		_, door := bobHasCard(o.world)
		o.signedIn("eve").press(door, url.Values{"connect": {"1"}}).want(t, http.StatusForbidden)
		if len(o.records("connected")) != 0 {
			t.Error("the account was connected to eve")
		}
		o.signedIn("bob").follow(door).want(t, http.StatusOK, "Is this your account?")
	})
}

func TestAMatchingEMailAddressOverridesAClaimedAccount(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		_, door := bobHasCard(o.world)
		eve := o.signedIn("eve") // she found the address of the door
		eve.press(door, url.Values{"connect": {"1"}}).want(t, http.StatusOK, "Co-browse with")
		o.signedIn("bob").follow(door).wantWatch(t)
		eve.follow(door).want(t, http.StatusForbidden, "another agent")
		if got := o.records("connected"); len(got) != 2 || got[1].Agent != bobID {
			t.Errorf("audited %+v", got)
		}
	}, linkEmail, options{rocketchat: readsEmails})
}

func TestAnotherAgentCannotRenewADoor(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		_, door := bobHasCard(o.world)
		bob, eve := o.connectedBob(), o.signedIn("eve")
		eve.press(door+"?renew=1", nil).want(t, http.StatusForbidden)
		bob.follow(door).wantWatch(t)
	})
}

func TestTheAuditLogNamesTheAgentWhoOpenedTheWatchLink(t *testing.T) {
	inOIDCWorld(t, leadsOperate, func(o *oidcWorld) {
		bobHasCard(o.world)
		bob := o.connectedBob()
		bob.follow(o.door("bob")).wantWatch(t)
		bobs := o.upscope.Watches()[0]
		o.pass(time.Second)
		o.signedIn("eve").follow(o.door("bob")).wantWatch(t) // she does not open the watch link
		_, err := o.upscope.Open(bobs)
		o.must(err)
		o.pass(sessionsWait)
		if got := o.records("live"); len(got) != 1 || got[0].Agent != bobID {
			t.Errorf("audited %+v", got)
		}
	})
}

func TestAProxysHeadersAreAcceptedOnlyFromItsAddress(t *testing.T) {
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
		_, door := bobHasCard(w)
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
			"from another address":      {"198.51.100.7:1000", bob},
			"no user":                   {"10.1.2.3:1000", nil},
			"two users":                 {"10.1.2.3:1000", map[string][]string{"X-Forwarded-User": {"bob", "eve"}}},
			"with underscores":          {"10.1.2.3:1000", map[string][]string{"X-Forwarded-User": {"bob"}, "X_forwarded_user": {"eve"}}},
			"forwarded through a chain": {"198.51.100.7:1000", map[string][]string{"X-Forwarded-User": {"bob"}, "X-Forwarded-For": {"10.1.2.3"}}},
			"another case and address":  {"198.51.100.7:1000", map[string][]string{"x-forwarded-USER": {"bob"}}},
		} {
			if got := come(test.from, test.header); got.StatusCode != http.StatusForbidden {
				t.Errorf("%s: answered %d: %s", name, got.StatusCode, got.body)
			}
		}
		metrics := httptest.NewRecorder()
		w.bridge.Metrics().ServeHTTP(metrics, httptest.NewRequest(http.MethodGet, "/metrics", nil))
		if !strings.Contains(metrics.Body.String(), "bridge_spoofed_identities_total 3") {
			t.Error("bridge_spoofed_identities_total is not 3")
		}
	}, behind)
}

func TestAPageOfAnotherSiteCannotPost(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		bobHasCard(o.world)
		bob := o.connectedBob()
		for _, path := range []string{"/desk/look-up", "/desk/tell", "/desk/unlink", "/desk/retry", "/desk/erase", "/signout", o.door("bob")} {
			r := bob.form(path, url.Values{"account": {"rocketchat:a1"}})
			r.Header.Set("Origin", "https://evil.example.org")
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Sec-Fetch-User", "?1")
			bob.send(r).want(t, http.StatusForbidden)
		}
		bob.follow("/").want(t, http.StatusOK, "rocketchat:a1")
	})
}

func TestDoorGuessesOfAnAgentAreLimitedAcrossReplicas(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		_, door := bobHasCard(o.world)
		bob, replica := o.connectedBob(), o.replica()
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
		for n := range guessCount() {
			answered[guess([]*bridge.Bridge{o.bridge, replica}[n%2], n)]++
		}
		if answered[http.StatusNotFound] > 20 || answered[http.StatusTooManyRequests] < guessCount()-20 {
			t.Errorf("the answers to one agent from ten addresses on two replicas are %v", answered)
		}
		bob.follow(door).wantWatch(t) // a valid door still works
	})
}

// replica returns another bridge on the same store.
func (o *oidcWorld) replica() *bridge.Bridge {
	o.Helper()
	other, err := bridge.New(o.config)
	o.must(err)
	return other
}

func TestTheAuditLogNamesTheAgentByTheirSignInID(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		bobHasCard(o.world)
		bob := o.connectedBob()
		bob.follow(o.door("bob")).wantWatch(t)
		session := o.openLatestLink()
		o.pass(sessionsWait)
		o.upscope.End(session, 5)
		o.pass(sessionsWait)
		for _, action := range []string{"watching", "live", "ended"} {
			got := o.records(action)
			if len(got) != 1 || got[0].Agent != bobID || got[0].Visitor == "" || got[0].Chat == "" {
				t.Errorf("the audit records of %q are %+v", action, got)
			}
		}
		if calls := o.upscope.Requests()[upscopetest.Watch]; calls != 1 {
			t.Errorf("%d links were requested, want 1", calls)
		}
		if !slices.Contains(o.auditedActions(), "signed in") {
			t.Error("the sign-in is not in the audit log")
		}
	})
}
