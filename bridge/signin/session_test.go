package signin_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/signin"
)

// signedIn returns a world in which Ada has just signed in.
func signedIn(t *testing.T, change ...func(*signin.OIDCConfig)) (*world, *browser) {
	t.Helper()
	w := newWorld(t, append([]func(*signin.OIDCConfig){func(c *signin.OIDCConfig) {
		c.Domains, c.Groups = []string{"corp.example"}, []string{agents}
	}}, change...)...)
	b := w.browser()
	b.signIn()
	return w, b
}

// who calls Who with the browser's cookies.
func (b *browser) who() error {
	r := httptest.NewRequest(http.MethodGet, "/desk", nil)
	for _, c := range b.cookies() {
		r.AddCookie(c)
	}
	who, err := b.oidc.Who(r)
	if (err == nil) != (who.ID == adaID) || err != nil && who.ID != "" {
		b.Errorf("%q with error %v", who.ID, err)
	}
	return err
}

func TestSessionLimits(t *testing.T) {
	short := func(c *signin.OIDCConfig) { c.Idle, c.Life = time.Hour, 3*time.Hour }
	for _, test := range []struct {
		name   string
		config func(*signin.OIDCConfig)
		uses   []time.Duration // since the sign-in; at the last one the session has ended
	}{
		{"not used", short, []time.Duration{time.Hour + time.Second}},
		{"used, then not", short, []time.Duration{50 * time.Minute, 100 * time.Minute, 161 * time.Minute}},
		{"used all the time", short, []time.Duration{
			50 * time.Minute, 100 * time.Minute, 150 * time.Minute, 3*time.Hour - time.Second, 3*time.Hour + time.Second,
		}},
		{"by default, not used", nil, []time.Duration{7 * time.Hour, 15*time.Hour + time.Second}},
		{"by default, used all the time", nil, []time.Duration{5 * time.Hour, 10 * time.Hour, 12*time.Hour + time.Second}},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var change []func(*signin.OIDCConfig)
				if test.config != nil {
					change = append(change, test.config)
				}
				w, b := signedIn(t, change...)
				// The browser would also drop the cookie, so the test sets it again.
				session := b.cookies()
				began := time.Now()
				for n, use := range test.uses {
					time.Sleep(time.Until(began.Add(use)))
					b.jar.SetCookies(must(url.Parse(origin)), []*http.Cookie{{Name: session[0].Name, Value: session[0].Value, Path: "/", Secure: true}})
					err, last := b.who(), n == len(test.uses)-1
					if !last && err != nil || last && !errors.Is(err, signin.ErrNobody) {
						t.Fatalf("after %s: %v", use, err)
					}
				}
				if n := w.sessions(); n != 0 {
					t.Errorf("%d sessions are left", n)
				}
			})
		})
	}
}

// Who reads the store once, and seldom writes to it or asks the issuer.
func TestWhoSeldomWritesOrAsksTheIssuer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := signedIn(t)
		reads, writes, asked := w.store.reads.Load(), w.store.writes.Load(), w.issuer.Requests("userinfo")
		const calls = 240
		for range calls { // four minutes
			if err := b.who(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if r, n, a := w.store.reads.Load()-reads, w.store.writes.Load()-writes, w.issuer.Requests("userinfo")-asked; r != calls || n != 0 || a != 0 {
			t.Errorf("%d calls cost %d reads, %d writes and %d requests to the issuer", calls, r, n, a)
		}
		for range 3600 { // an hour
			if err := b.who(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if n, a := w.store.writes.Load()-writes, w.issuer.Requests("userinfo")-asked; n > 13 || a > 13 || a == 0 {
			t.Errorf("an hour's use cost %d writes and %d requests to the issuer", n, a)
		}
	})
}

func TestSignOut(t *testing.T) {
	w, b := signedIn(t)
	kept := b.cookies()[0]
	if status, body := b.get("/signout"); status != http.StatusOK {
		t.Fatalf("%d %s", status, body)
	}
	if len(b.cookies()) != 0 || w.sessions() != 0 {
		t.Errorf("left: %v, %d sessions", b.cookies(), w.sessions())
	}
	b.jar.SetCookies(must(url.Parse(origin)), []*http.Cookie{{Name: kept.Name, Value: kept.Value, Path: "/", Secure: true}})
	if err := b.who(); !errors.Is(err, signin.ErrNobody) {
		t.Errorf("with the old cookie: %v", err)
	}
	if status, _ := w.browser().get("/signout"); status != http.StatusOK {
		t.Errorf("signing out without a session: %d", status)
	}
}

func TestTheOperatorSignsAnAgentOut(t *testing.T) {
	w, b := signedIn(t)
	elsewhere := w.browser()
	elsewhere.signIn()
	replica := must(signin.NewOIDC(w.config))
	if ended, err := signin.SignOut(t.Context(), w.store, "oidc:login.example/realm/ad"); ended != 0 || err != nil {
		t.Errorf("another id: %d, %v", ended, err)
	}
	if ended, err := signin.SignOut(t.Context(), w.store, adaID); ended != 2 || err != nil {
		t.Errorf("ended %d, %v", ended, err)
	}
	for _, b := range []*browser{b, elsewhere} {
		if err := b.who(); !errors.Is(err, signin.ErrNobody) {
			t.Errorf("signed out: %v", err)
		}
		r := httptest.NewRequest(http.MethodGet, "/desk", nil)
		r.AddCookie(b.cookies()[0])
		if _, err := replica.Who(r); !errors.Is(err, signin.ErrNobody) {
			t.Errorf("at another replica: %v", err)
		}
	}
	if n := w.sessions(); n != 0 {
		t.Errorf("%d sessions", n)
	}
	b.signIn() // they may sign in again
}

// A request that checks a session writes it. If the session has ended since it was read, it
// must not come back.
func TestEndedSessionDoesNotComeBack(t *testing.T) {
	for _, end := range []string{"by the operator", "by the agent"} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, b := signedIn(t)
				time.Sleep(6 * time.Minute)
				reads := 0
				found := func() {
					if reads++; reads != 2 { // the second read is the one before the write
						return
					}
					switch end {
					case "by the operator":
						if ended, err := signin.SignOut(t.Context(), w.store, adaID); ended != 1 || err != nil {
							t.Errorf("ended %d, %v", ended, err)
						}
					case "by the agent":
						r := httptest.NewRequest(http.MethodPost, "/signout", nil)
						r.AddCookie(b.cookies()[0])
						if err := w.oidc.End(httptest.NewRecorder(), r); err != nil {
							t.Error(err)
						}
					}
				}
				w.store.found.Store(&found)
				if err := b.who(); !errors.Is(err, signin.ErrNobody) {
					t.Errorf("the same request: %v", err)
				}
				w.store.found.Store(nil)
				if err := b.who(); !errors.Is(err, signin.ErrNobody) || w.sessions() != 0 || reads < 3 {
					t.Errorf("afterwards: %v, %d sessions, %d reads", err, w.sessions(), reads)
				}
			})
		})
	}
}

// Stricter domains and groups apply to existing sessions, and sessions of another issuer do not
// count.
func TestConfigurationChangesUnderSessions(t *testing.T) {
	w, b := signedIn(t)
	config := w.config
	config.Groups = []string{"supervisors"}
	w.oidc = must(signin.NewOIDC(config))
	if err := b.who(); !errors.Is(err, signin.ErrGroup) {
		t.Errorf("groups changed: %v", err)
	}
	config = w.config
	config.Domains = []string{"new.example"}
	w.oidc = must(signin.NewOIDC(config))
	if err := b.who(); !errors.Is(err, signin.ErrDomain) {
		t.Errorf("domains changed: %v", err)
	}
	config = w.config
	for _, issuer := range []string{"https://login.example/realm2", "https://login.example", "https://login.example/realm/ada"} {
		config.Issuer = issuer
		w.oidc = must(signin.NewOIDC(config))
		if err := b.who(); !errors.Is(err, signin.ErrNobody) {
			t.Errorf("issuer changed to %s: %v", issuer, err)
		}
	}
}

// Shorter limits apply to existing sessions.
func TestLimitsChangeUnderSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := signedIn(t)
		time.Sleep(30 * time.Minute)
		for _, change := range []func(*signin.OIDCConfig){
			func(c *signin.OIDCConfig) { c.Idle = 29 * time.Minute },
			func(c *signin.OIDCConfig) { c.Life = 29 * time.Minute },
		} {
			config := w.config
			change(&config)
			w.oidc = must(signin.NewOIDC(config))
			if err := b.who(); !errors.Is(err, signin.ErrNobody) {
				t.Errorf("%s and %s: %v", config.Idle, config.Life, err)
			}
		}
		w.oidc = must(signin.NewOIDC(w.config))
		if err := b.who(); err != nil {
			t.Errorf("as before: %v", err)
		}
	})
}

func TestStoreFails(t *testing.T) {
	w, b := signedIn(t)
	other := w.browser()
	callback := other.callback()
	w.store.failing.Store(true)
	if err := b.who(); !errors.Is(err, signin.ErrStore) || !errors.Is(err, errDisk) {
		t.Errorf("Who: %v", err)
	}
	other.step(callback)
	if !errors.Is(w.lastError(), signin.ErrStore) {
		t.Errorf("Finish: %v", w.lastError())
	}
	if status, _ := b.get("/signout"); status != http.StatusServiceUnavailable || len(b.cookies()) != 1 {
		t.Errorf("End: %d, %d cookies", status, len(b.cookies()))
	}
	if _, err := signin.Sessions(t.Context(), w.store); !errors.Is(err, signin.ErrStore) {
		t.Errorf("Sessions: %v", err)
	}
	if _, err := signin.SignOut(t.Context(), w.store, adaID); !errors.Is(err, signin.ErrStore) {
		t.Errorf("SignOut: %v", err)
	}
	w.store.failing.Store(false)
	if err := b.who(); err != nil {
		t.Errorf("once the store is back: %v", err)
	}
}

func TestMalformedTokensAreNotLookedUp(t *testing.T) {
	w := newWorld(t)
	for _, token := range []string{"", "A", strings.Repeat("A", 42), strings.Repeat("A", 44), strings.Repeat("A", 42) + ".", strings.Repeat("A", 1<<12)} {
		r := httptest.NewRequest(http.MethodGet, "/desk", nil)
		r.AddCookie(&http.Cookie{Name: "__Host-session", Value: token})
		if _, err := w.oidc.Who(r); !errors.Is(err, signin.ErrNobody) {
			t.Errorf("%q: %v", token, err)
		}
	}
	if n := w.store.reads.Load(); n != 0 {
		t.Errorf("%d reads", n)
	}
}

func TestAnUnreadableSessionCountsAsMissing(t *testing.T) {
	w, b := signedIn(t)
	for token := range must(w.store.All()) {
		if err := w.store.Commit(token, []byte("from another time"), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
	}
	if err := b.who(); !errors.Is(err, signin.ErrNobody) || w.sessions() != 0 {
		t.Errorf("%v, %d sessions", err, w.sessions())
	}
	b.signIn()
}

func TestAccessTokenIsStoredAndNeverShown(t *testing.T) {
	w, _ := signedIn(t)
	kept := false
	for _, data := range must(w.store.All()) {
		for _, secret := range w.issuer.Secrets() {
			kept = kept || strings.Contains(string(data), secret)
		}
	}
	if !kept {
		t.Fatal("no access token is kept to check sessions with")
	}
	all := must(signin.Sessions(t.Context(), w.store))
	w.checkSecrets(fmt.Sprintf("%+v %#v", all[0].ID, all[0].Began), fmt.Sprint(all[0].Groups))
	for _, secret := range w.issuer.Secrets() {
		if strings.Contains(fmt.Sprintf("%+v %#v", all, all), secret) {
			t.Error("Sessions returns a secret")
		}
	}
}
