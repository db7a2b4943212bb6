package signin_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/signin/signintest"
)

// refreshing returns a world in which Ada has just signed in. Access tokens are valid for five minutes, as
// with Keycloak, and there are refresh tokens that can be used once.
func refreshing(t *testing.T, faults ...signintest.Fault) (*world, *browser) {
	t.Helper()
	return shortAccess(t, true, faults...)
}

func shortAccess(t *testing.T, refresh bool, faults ...signintest.Fault) (*world, *browser) {
	t.Helper()
	w := newWorldOf(t, func(c *signintest.Config) { c.AccessLife, c.Refresh = 5*time.Minute, refresh }, func(c *signin.OIDCConfig) {
		c.Domains, c.Groups = []string{"corp.example"}, []string{agents}
	})
	w.issuer.Break(faults...)
	b := w.browser()
	b.signIn()
	return w, b
}

// keepCookie sets the browser's cookie again, which it drops after Life.
func (b *browser) keepCookie(session *http.Cookie) {
	b.jar.SetCookies(must(url.Parse(origin)), []*http.Cookie{{Name: session.Name, Value: session.Value, Path: "/", Secure: true}})
}

func TestASignInOutlivesItsAccessToken(t *testing.T) {
	for _, test := range []struct {
		name    string
		refresh bool
		faults  []signintest.Fault
		checked bool // the session is still checked after the access token has expired
	}{
		{"refresh tokens that can be used once", true, nil, true},
		{"a refresh token that can be used again", true, []signintest.Fault{signintest.SameRefreshToken}, true},
		{"no ID token after a refresh", true, nil, true},
		{"refresh tokens, and no expires_in", true, []signintest.Fault{signintest.NoExpiresIn}, true},
		{"no refresh tokens", false, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, b := shortAccess(t, test.refresh, test.faults...)
				if test.name == "no ID token after a refresh" {
					w.issuer.Break(signintest.NoIDToken)
				}
				session := b.cookies()[0]
				for range 70 { // 11 hours and 40 minutes
					time.Sleep(10 * time.Minute)
					b.keepCookie(session)
					if err := b.who(); err != nil {
						t.Fatal(err)
					}
				}
				if n := w.issuer.Requests("authorize"); n != 1 {
					t.Errorf("the agent was at the issuer %d times", n)
				}
				if log := w.log.String(); strings.Contains(log, "no longer checked") == test.checked || strings.Count(log, "no longer checked") > 1 {
					t.Errorf("the log says %q", log)
				}
				w.checkSecrets()
				w.issuer.Change("ada", func(u *signintest.User) { u.Groups = []string{"staff"} })
				time.Sleep(6 * time.Minute)
				if err := b.who(); errors.Is(err, signin.ErrGroup) != test.checked {
					t.Errorf("after a group was lost: %v", err)
				}
				time.Sleep(30 * time.Minute)
				b.keepCookie(session)
				if err := b.who(); !errors.Is(err, signin.ErrNobody) {
					t.Errorf("after 12 hours: %v", err)
				}
			})
		})
	}
}

// What the issuer says about a refresh, or about the refreshed token.
func TestAnswersToARefresh(t *testing.T) {
	fault := func(faults ...signintest.Fault) func(*world) { return func(w *world) { w.issuer.Break(faults...) } }
	for _, test := range []struct {
		name   string
		happen func(*world)
		want   error  // nil if the session continues
		says   string // in the log
	}{
		{"refreshed", func(*world) {}, nil, ""},
		{"account gone", func(w *world) { w.issuer.Remove("ada") }, signin.ErrNobody, "400 invalid_grant"},
		{"the refresh token has expired", fault(signintest.TokenError("invalid_grant")), signin.ErrNobody, "400 invalid_grant"},
		{"the person has to sign in again", fault(signintest.TokenError("interaction_required")), signin.ErrNobody, "400 interaction_required"},
		{"refused as Slack does", fault(signintest.TokenError("invalid_refresh_token")), signin.ErrNobody, "400 invalid_refresh_token"},
		{"account inactive at Slack", fault(signintest.TokenError("account_inactive")), signin.ErrNobody, "400 account_inactive"},
		{"the client's secret has changed", fault(signintest.TokenError("invalid_client")), nil, "400 invalid_client; look at BRIDGE_OIDC_CLIENT_ID"},
		{"the client may no longer refresh", fault(signintest.TokenError("unauthorized_client")), nil, "400 unauthorized_client"},
		{"the token endpoint fails", fault(signintest.TokenError("server_error")), nil, "400 server_error"},
		{"an unknown code", fault(signintest.TokenError("code_of_tomorrow")), nil, "400 code_of_tomorrow"},
		{"issuer down", fault(signintest.Down), nil, "connection failed"},
		{"issuer hangs", fault(signintest.NoAnswer), nil, "timed out"},
		{"issuer fails", fault(signintest.AllFailing), nil, "HTTP status 500"},
		{"userinfo refuses the new token", fault(signintest.UserinfoRefuses), signin.ErrNobody, "the access token is refused"},
		{"userinfo fails", fault(signintest.UserinfoFailing), nil, "HTTP status 500"},
		{"an ID token of another person", fault(signintest.RefreshOtherPerson), signin.ErrNobody, "another subject"},
		{"an ID token for another client", fault(signintest.WrongAudience), signin.ErrNobody, "audience"},
		{"an ID token signed with an unknown key", fault(signintest.WrongKey), signin.ErrNobody, "signature"},
		{"an ID token of another access token", fault(signintest.WrongHash), signin.ErrNobody, "at_hash"},
		{"an ID token from the future", fault(signintest.Future), nil, "in the future"},
		{"group lost", func(w *world) { w.issuer.Change("ada", func(u *signintest.User) { u.Groups = []string{"staff"} }) }, signin.ErrGroup, "not in a permitted group"},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, b := refreshing(t)
				test.happen(w)
				time.Sleep(6 * time.Minute)
				asked := time.Now()
				if err := b.who(); !errors.Is(err, test.want) {
					t.Errorf("%v, not %v", err, test.want)
				}
				if took := time.Since(asked); took > 4*time.Second {
					t.Errorf("the agent waited %s", took)
				}
				if log := w.log.String(); !strings.Contains(log, test.says) {
					t.Errorf("the log says %q", log)
				}
				w.issuer.Break()
				time.Sleep(2 * time.Minute)
				if err := b.who(); test.want == nil && err != nil || test.want != nil && !errors.Is(err, signin.ErrNobody) {
					t.Errorf("later: %v", err)
				}
				w.checkSecrets()
			})
		})
	}
}

// Groups that only ID tokens list, as with Entra, are read again.
func TestARefreshReadsTheGroupsOfTheIDToken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldOf(t, func(c *signintest.Config) { c.AccessLife, c.Refresh = 5*time.Minute, true }, func(c *signin.OIDCConfig) {
			c.Groups = []string{agents}
			next := c.Transport
			c.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
				if !strings.HasSuffix(r.URL.Path, "/userinfo") {
					return next.RoundTrip(r)
				}
				return around{next, func(_ string, _ http.Header, body map[string]any) { delete(body, "groups") }}.RoundTrip(r)
			})
		})
		b := w.browser()
		b.signIn()
		time.Sleep(6 * time.Minute)
		if err := b.who(); err != nil {
			t.Fatal(err)
		}
		w.issuer.Change("ada", func(u *signintest.User) { u.Groups = []string{"staff"} })
		time.Sleep(6 * time.Minute)
		if err := b.who(); !errors.Is(err, signin.ErrGroup) {
			t.Error(err)
		}
	})
}

// A revoked access token is refreshed before its time, and only the refresh decides.
func TestARevokedAccessTokenIsRefreshed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorldOf(t, func(c *signintest.Config) { c.Refresh = true })
		b := w.browser()
		b.signIn()
		w.issuer.RevokeAccess()
		time.Sleep(6 * time.Minute)
		if err := b.who(); err != nil || w.issuer.Requests("token") != 2 {
			t.Errorf("%v after %d requests for tokens", err, w.issuer.Requests("token"))
		}
	})
}

// Without a refresh token, a token that is refused before its time, or has no time, ends the session.
func TestARefusedAccessTokenEndsTheSession(t *testing.T) {
	for _, faults := range [][]signintest.Fault{nil, {signintest.NoExpiresIn}} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.issuer.Break(faults...)
			b := w.browser()
			b.signIn()
			w.issuer.RevokeAccess()
			time.Sleep(6 * time.Minute)
			if err := b.who(); !errors.Is(err, signin.ErrNobody) || w.sessions() != 0 {
				t.Errorf("%v: %v", faults, err)
			}
		})
	}
}

func TestRequestsShareARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := refreshing(t)
		time.Sleep(6 * time.Minute)
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if err := b.who(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := w.issuer.Requests("token"); n != 2 {
			t.Errorf("%d requests for tokens", n)
		}
	})
}

// The issuer ends the sign-in if a refresh token comes twice, so two replicas must not send it.
func TestReplicasShareARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := refreshing(t)
		replica := must(signin.NewOIDC(w.config))
		atReplica := func() error {
			r := httptest.NewRequest(http.MethodGet, "/desk", nil)
			r.AddCookie(b.cookies()[0])
			_, err := replica.Who(r)
			return err
		}
		time.Sleep(6 * time.Minute)
		// The other replica reads the session after this one has read it to check it.
		reads := 0
		found := func() {
			if reads++; reads == 2 {
				if err := atReplica(); err != nil {
					t.Error(err)
				}
			}
		}
		w.store.found.Store(&found)
		if err := b.who(); err != nil || w.issuer.Requests("token") != 2 {
			t.Errorf("%v after %d requests for tokens", err, w.issuer.Requests("token"))
		}
		w.store.found.Store(nil)
		for range 12 {
			time.Sleep(6 * time.Minute)
			if err := b.who(); err != nil {
				t.Fatal(err)
			}
			if err := atReplica(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestARefreshIsStoredIfItsRequestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := refreshing(t)
		for range 3 {
			time.Sleep(6 * time.Minute)
			r := httptest.NewRequestWithContext(cancelled(t), http.MethodGet, "/desk", nil)
			r.AddCookie(b.cookies()[0])
			if _, err := w.oidc.Who(r); err != nil {
				t.Fatal(err)
			}
		}
		time.Sleep(6 * time.Minute)
		if err := b.who(); err != nil || w.issuer.Requests("token") != 5 {
			t.Errorf("%v after %d requests for tokens", err, w.issuer.Requests("token"))
		}
	})
}

// A slow issuer gets the time to answer, because an answer that is lost may cost the sign-in.
func TestASlowRefreshIsNotCutOff(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := refreshing(t)
		config := w.config
		config.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			answer, err := w.issuer.Transport().RoundTrip(r)
			if strings.HasSuffix(r.URL.Path, "/token") {
				select {
				case <-time.After(3 * time.Second):
				case <-r.Context().Done():
					return nil, r.Context().Err()
				}
			}
			return answer, err
		})
		fast := w.oidc
		for _, at := range []*signin.OIDC{must(signin.NewOIDC(config)), fast} {
			w.oidc = at
			time.Sleep(6 * time.Minute)
			if err := b.who(); err != nil {
				t.Fatal(err)
			}
		}
	})
}

func TestTheStoreFailsBeforeARefresh(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := refreshing(t)
		time.Sleep(6 * time.Minute)
		reads := 0
		found := func() {
			if reads++; reads == 2 {
				w.store.failing.Store(true)
			}
		}
		w.store.found.Store(&found)
		if err := b.who(); !errors.Is(err, signin.ErrStore) || w.issuer.Requests("token") != 1 {
			t.Errorf("%v after %d requests for tokens", err, w.issuer.Requests("token"))
		}
		w.store.found.Store(nil)
		w.store.failing.Store(false)
		if err := b.who(); err != nil {
			t.Errorf("once the store is back: %v", err)
		}
	})
}

// A sign-in whose userinfo cannot be used keeps no tokens.
func TestNoRefreshTokenIsKeptWithoutChecks(t *testing.T) {
	for _, fault := range []signintest.Fault{signintest.NoUserinfo, signintest.UserinfoMissing} {
		w, _ := refreshing(t, fault)
		for _, data := range must(w.store.All()) {
			for _, secret := range w.issuer.Secrets() {
				if strings.Contains(string(data), secret) {
					t.Errorf("%s: a token is stored", fault)
				}
			}
		}
	}
}
