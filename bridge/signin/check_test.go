package signin_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/signin/signintest"
)

// What becomes of a session when the issuer no longer says what it said.
func TestSessionIsCheckedWithTheIssuer(t *testing.T) {
	change := func(change func(*signintest.User)) func(*world) {
		return func(w *world) { w.issuer.Change("ada", change) }
	}
	fault := func(faults ...signintest.Fault) func(*world) {
		return func(w *world) { w.issuer.Break(faults...) }
	}
	for _, test := range []struct {
		name   string
		happen func(*world)
		want   error // nil: the session goes on
	}{
		{"nothing", func(*world) {}, nil},
		{"group lost", change(func(u *signintest.User) { u.Groups = []string{"staff"} }), signin.ErrGroup},
		{"last group lost", change(func(u *signintest.User) { u.Groups = []string{} }), signin.ErrGroup},
		{"groups no longer told", fault(signintest.NoGroups), signin.ErrGroup},
		{"e-mail at another domain", change(func(u *signintest.User) { u.Email = "ada@elsewhere.example" }), signin.ErrDomain},
		{"e-mail no longer vouched for", fault(signintest.UnverifiedEmail), signin.ErrDomain},
		{"e-mail no longer told", change(func(u *signintest.User) { u.Email = "" }), nil},
		{"e-mail neither told nor vouched for", change(func(u *signintest.User) {
			u.Claims = map[string]any{"email": nil, "email_verified": false}
		}), signin.ErrDomain},
		{"the same e-mail, nothing said of it", change(func(u *signintest.User) { u.Claims = map[string]any{"email_verified": nil} }), nil},
		{"another e-mail, nothing said of it", change(func(u *signintest.User) {
			u.Claims = map[string]any{"email": "eve@corp.example", "email_verified": nil}
		}), signin.ErrDomain},
		{"account gone", func(w *world) { w.issuer.Remove("ada") }, signin.ErrNobody},
		{"token refused", fault(signintest.Refusing), signin.ErrNobody},
		{"token refused as Slack does", fault(signintest.NotOK), signin.ErrNobody},
		{"somebody else", fault(signintest.OtherPerson), signin.ErrNobody},
		{"issuer down", fault(signintest.Down), nil},
		{"issuer hangs", fault(signintest.Slow), nil},
		{"issuer out of order", fault(signintest.Failing), nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w, b := signedIn(t)
				test.happen(w)
				time.Sleep(4 * time.Minute)
				if err := b.who(); err != nil {
					t.Fatalf("before five minutes: %v", err)
				}
				time.Sleep(2 * time.Minute)
				asked := time.Now()
				if err := b.who(); !errors.Is(err, test.want) {
					t.Errorf("checked: %v, not %v", err, test.want)
				}
				if took := time.Since(asked); took > 2*time.Second {
					t.Errorf("the agent waited %s", took)
				}
				want, left := test.want, 1
				if want != nil {
					want, left = signin.ErrNobody, 0
				}
				if err := b.who(); !errors.Is(err, want) || w.sessions() != left {
					t.Errorf("afterwards: %v, %d sessions", err, w.sessions())
				}
				w.quiet()
			})
		})
	}
}

func TestIssuerIsAskedAgainAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := signedIn(t)
		w.issuer.Break(signintest.Failing)
		time.Sleep(6 * time.Minute)
		asked := w.issuer.Requests("userinfo")
		for range 30 {
			if err := b.who(); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		if n := w.issuer.Requests("userinfo") - asked; n != 1 {
			t.Errorf("asked %d times in half a minute", n)
		}
		w.issuer.Break()
		w.issuer.Change("ada", func(u *signintest.User) { u.Groups = nil })
		time.Sleep(time.Minute)
		if err := b.who(); !errors.Is(err, signin.ErrGroup) {
			t.Errorf("a minute later: %v", err)
		}
	})
}

func TestRequestsShareACheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := signedIn(t)
		time.Sleep(6 * time.Minute)
		w.issuer.Break(signintest.Slow)
		asked := w.issuer.Requests("userinfo")
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if err := b.who(); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := w.issuer.Requests("userinfo") - asked; n != 1 {
			t.Errorf("the issuer was asked %d times", n)
		}
	})
}

func TestCheckOutlivesARequestThatIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := signedIn(t)
		w.issuer.Change("ada", func(u *signintest.User) { u.Groups = nil })
		time.Sleep(6 * time.Minute)
		r := httptest.NewRequestWithContext(cancelled(t), http.MethodGet, "/desk", nil)
		r.AddCookie(b.cookies()[0])
		if _, err := w.oidc.Who(r); !errors.Is(err, signin.ErrGroup) || w.sessions() != 0 {
			t.Errorf("%v, %d sessions", err, w.sessions())
		}
	})
}

func TestUserinfoThatRefusesFreshTokensIsNotAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.issuer.Break(signintest.Refusing)
		b := w.browser()
		b.signIn()
		asked := w.issuer.Requests("userinfo")
		time.Sleep(6 * time.Minute)
		if err := b.who(); err != nil || w.issuer.Requests("userinfo") != asked {
			t.Errorf("%v, asked %d times more", err, w.issuer.Requests("userinfo")-asked)
		}
		if !strings.Contains(w.log.String(), "refuses fresh tokens") {
			t.Error("the operator is not told")
		}
	})
}

func TestReplicasShareAnOutcome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := signedIn(t)
		replica := must(signin.NewOIDC(w.config))
		time.Sleep(6 * time.Minute)
		asked := w.issuer.Requests("userinfo")
		r := httptest.NewRequest(http.MethodGet, "/desk", nil)
		r.AddCookie(b.cookies()[0])
		found := func() { // between our look and what follows from it
			w.store.found.Store(nil)
			if _, err := replica.Who(r); err != nil {
				t.Error(err)
			}
		}
		w.store.found.Store(&found)
		if err := b.who(); err != nil || w.issuer.Requests("userinfo") != asked+1 {
			t.Errorf("%v, asked %d times", err, w.issuer.Requests("userinfo")-asked)
		}
	})
}
