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

// A session is checked after the issuer's answers have changed.
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
		want   error // nil if the session continues
	}{
		{"nothing", func(*world) {}, nil},
		{"group lost", change(func(u *signintest.User) { u.Groups = []string{"staff"} }), signin.ErrGroup},
		{"last group lost", change(func(u *signintest.User) { u.Groups = []string{} }), signin.ErrGroup},
		{"groups missing", fault(signintest.NoGroups), signin.ErrGroup},
		{"e-mail at another domain", change(func(u *signintest.User) { u.Email = "ada@elsewhere.example" }), signin.ErrDomain},
		{"e-mail no longer verified", fault(signintest.UnverifiedEmail), signin.ErrDomain},
		{"e-mail missing", change(func(u *signintest.User) { u.Email = "" }), nil},
		{"e-mail missing and not verified", change(func(u *signintest.User) {
			u.Claims = map[string]any{"email": nil, "email_verified": false}
		}), signin.ErrDomain},
		{"the same e-mail without email_verified", change(func(u *signintest.User) { u.Claims = map[string]any{"email_verified": nil} }), nil},
		{"another e-mail without email_verified", change(func(u *signintest.User) {
			u.Claims = map[string]any{"email": "eve@corp.example", "email_verified": nil}
		}), signin.ErrDomain},
		{"account gone", func(w *world) { w.issuer.Remove("ada") }, signin.ErrNobody},
		{"token refused", fault(signintest.UserinfoRefuses), signin.ErrNobody},
		{"token refused as Slack does", fault(signintest.UserinfoTokenRevoked), signin.ErrNobody},
		{"account inactive at Slack", fault(signintest.UserinfoError("account_inactive")), signin.ErrNobody},
		{"Slack limits requests", fault(signintest.UserinfoError("ratelimited")), nil},
		{"Slack fails", fault(signintest.UserinfoError("internal_error")), nil},
		{"userinfo is signed", fault(signintest.UserinfoJWT), nil},
		{"userinfo is signed, and the group lost", func(w *world) {
			w.issuer.Break(signintest.UserinfoJWT)
			w.issuer.Change("ada", func(u *signintest.User) { u.Groups = []string{"staff"} })
		}, signin.ErrGroup},
		{"userinfo cannot be read", fault(signintest.UserinfoHTML), nil},
		{"userinfo signed with an unknown key", fault(signintest.UserinfoWrongKey), nil},
		{"another person", fault(signintest.OtherPerson), signin.ErrNobody},
		{"issuer down", fault(signintest.Down), nil},
		{"issuer hangs", fault(signintest.NoAnswer), nil},
		{"issuer fails", fault(signintest.AllFailing), nil},
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
				w.checkSecrets()
			})
		})
	}
}

func TestIssuerIsAskedAgainAfterAMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := signedIn(t)
		w.issuer.Break(signintest.AllFailing)
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
		w.issuer.Break(signintest.NoAnswer)
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

func TestACheckContinuesAfterItsRequestEnds(t *testing.T) {
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

// If userinfo cannot be used at the sign-in, the session is not checked.
func TestUserinfoThatCannotBeUsedIsNotAskedAgain(t *testing.T) {
	for fault, reason := range map[signintest.Fault]string{
		signintest.UserinfoRefuses:      "the access token is refused",
		signintest.UserinfoTokenRevoked: "the access token is refused",
		signintest.UserinfoHTML:         "not the expected JSON",
		signintest.UserinfoMissing:      "HTTP status 404",
		signintest.UserinfoJWE:          "not the expected JSON",
		signintest.UserinfoWrongKey:     "signature, issuer or audience of the token is wrong",
	} {
		synctest.Test(t, func(t *testing.T) {
			w := newWorld(t)
			w.issuer.Break(fault)
			b := w.browser()
			b.signIn()
			asked := w.issuer.Requests("userinfo")
			time.Sleep(6 * time.Minute)
			if err := b.who(); err != nil || w.issuer.Requests("userinfo") != asked {
				t.Errorf("%s: %v, asked %d times more", fault, err, w.issuer.Requests("userinfo")-asked)
			}
			if log := w.log.String(); strings.Count(log, "signed in with the ID token only") != 1 ||
				!strings.Contains(log, "will_be_checked=false") || !strings.Contains(log, reason) {
				t.Errorf("%s: the log says %q", fault, log)
			}
			w.checkSecrets()
		})
	}
}

// If userinfo only fails for a time, the session is checked a minute later.
func TestUserinfoThatFailsAtTheSignInIsAskedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, func(c *signin.OIDCConfig) { c.Groups = []string{agents} })
		w.issuer.Break(signintest.UserinfoFailing)
		b := w.browser()
		b.signIn()
		if log := w.log.String(); strings.Count(log, "signed in with the ID token only") != 1 || !strings.Contains(log, "HTTP status 500") {
			t.Errorf("the log says %q", log)
		}
		w.issuer.Break()
		w.issuer.Change("ada", func(u *signintest.User) { u.Groups = []string{"staff"} })
		time.Sleep(time.Minute + time.Second)
		if err := b.who(); !errors.Is(err, signin.ErrGroup) {
			t.Errorf("a minute later: %v", err)
		}
	})
}

// A person who lacks a claim that userinfo may have is not told that they lack the group.
func TestAMissingClaimWithoutUserinfoIsAFailureOfTheIssuer(t *testing.T) {
	groups := func(c *signin.OIDCConfig) { c.Groups = []string{"leads"} }
	domains := func(c *signin.OIDCConfig) { c.Domains = []string{"elsewhere.example"} }
	for _, test := range []struct {
		config func(*signin.OIDCConfig)
		faults []signintest.Fault
		want   error
	}{
		{groups, []signintest.Fault{signintest.ClaimsOnlyInUserinfo, signintest.UserinfoFailing}, signin.ErrIssuer},
		{groups, []signintest.Fault{signintest.ClaimsOnlyInUserinfo, signintest.UserinfoMissing}, signin.ErrIssuer},
		{groups, []signintest.Fault{signintest.ClaimsOnlyInUserinfo, signintest.UserinfoRefuses}, signin.ErrIssuer},
		{groups, []signintest.Fault{signintest.UserinfoFailing}, signin.ErrGroup},
		{domains, []signintest.Fault{signintest.ClaimsOnlyInUserinfo, signintest.UserinfoHTML}, signin.ErrIssuer},
		{domains, []signintest.Fault{signintest.UserinfoHTML}, signin.ErrDomain},
	} {
		w := newWorld(t, test.config)
		w.issuer.Break(test.faults...)
		b := w.browser()
		b.step(b.callback())
		if err := w.lastError(); !errors.Is(err, test.want) || w.sessions() != 0 {
			t.Errorf("%v: %v, not %v", test.faults, err, test.want)
		}
		w.checkSecrets()
	}
}

func TestReplicasShareACheck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w, b := signedIn(t)
		replica := must(signin.NewOIDC(w.config))
		time.Sleep(6 * time.Minute)
		asked := w.issuer.Requests("userinfo")
		r := httptest.NewRequest(http.MethodGet, "/desk", nil)
		r.AddCookie(b.cookies()[0])
		found := func() { // after this replica has read the session, and before it checks
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
