package signin_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/signin/signintest"
)

// Whatever is wrong with a sign-in, no session comes of it, and nothing secret
// is told.
func TestNoSessionComesOf(t *testing.T) {
	finish := func(change func(callback string) string) func(*browser) {
		return func(b *browser) { b.step(change(b.callback())) }
	}
	issuer := func(faults ...signintest.Fault) func(*browser) {
		return func(b *browser) {
			b.issuer.Break(faults...)
			b.step(b.callback())
		}
	}
	user := func(change func(*signintest.User)) func(*browser) {
		return func(b *browser) {
			b.issuer.Change("ada", change)
			b.step(b.callback())
		}
	}
	domain := func(c *signin.OIDCConfig) { c.Domains = []string{"corp.example"} }
	group := func(c *signin.OIDCConfig) { c.Groups = []string{agents} }
	anybody := func(*signin.OIDCConfig) {}

	for _, test := range []struct {
		name   string
		config func(*signin.OIDCConfig)
		do     func(*browser)
		want   error
	}{
		{"no state", anybody, finish(func(c string) string { return changed(c, "state") }), signin.ErrState},
		{"empty state", anybody, finish(func(c string) string { return changed(c, "state", "") }), signin.ErrState},
		{"another state", anybody, finish(func(c string) string { return changed(c, "state", "AAAAAAAAAAAAAAAAAAAAAAAAAA") }), signin.ErrState},
		{"two states", anybody, finish(func(c string) string {
			state := must(url.Parse(c)).Query().Get("state")
			return changed(c, "state", state, state)
		}), signin.ErrState},
		{"a state never sent", anybody, issuer(signintest.OtherState), signin.ErrState},
		{"no code", anybody, finish(func(c string) string { return changed(c, "code") }), signin.ErrState},
		{"another code", anybody, finish(func(c string) string { return changed(c, "code", "AAAAAAAAAAAAAAAAAAAAAAAAAA") }), signin.ErrState},
		{"two codes", anybody, finish(func(c string) string { return changed(c, "code", "a", "b") }), signin.ErrState},
		{"from another browser", anybody, func(b *browser) { b.browser().step(b.callback()) }, signin.ErrState},
		{"from another browser, which began too", anybody, func(b *browser) {
			other := b.browser()
			other.callback()
			other.step(b.callback())
		}, signin.ErrState},
		{"codes of two sign-ins swapped", anybody, func(b *browser) {
			// The issuer notices, by PKCE.
			code := must(url.Parse(b.browser().callback())).Query().Get("code")
			b.step(changed(b.callback(), "code", code))
		}, signin.ErrState},
		{"a cookie under another sign-in's name", anybody, func(b *browser) {
			b.callback()
			first := b.cookies()[0]
			callback := b.callback()
			for _, second := range b.cookies() {
				if second.Name != first.Name {
					b.jar.SetCookies(must(url.Parse(origin)), []*http.Cookie{{Name: second.Name, Value: first.Value, Path: "/", Secure: true}})
				}
			}
			b.step(callback)
		}, signin.ErrState},
		{"a cookie that was changed", anybody, func(b *browser) {
			callback := b.callback()
			c := b.cookies()[0]
			b.jar.SetCookies(must(url.Parse(origin)), []*http.Cookie{{Name: c.Name, Value: "A" + c.Value[1:] + "A", Path: "/", Secure: true}})
			b.step(callback)
		}, signin.ErrState},
		{"a code kept for too long", anybody, func(b *browser) {
			callback := b.callback()
			time.Sleep(2 * time.Minute)
			b.step(callback)
		}, signin.ErrState},
		{"PKCE missing", anybody, func(b *browser) {
			b.step(b.step(changed(b.step("/signin"), "code_challenge")))
		}, signin.ErrDenied},
		{"PKCE plain", anybody, func(b *browser) {
			b.step(b.step(changed(b.step("/signin"), "code_challenge_method", "plain")))
		}, signin.ErrDenied},
		{"PKCE of somebody else", anybody, func(b *browser) {
			b.step(b.step(changed(b.step("/signin"), "code_challenge", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU")))
		}, signin.ErrState},
		{"a nonce of somebody else", anybody, func(b *browser) {
			b.step(b.step(changed(b.step("/signin"), "nonce", "AAAAAAAAAAAAAAAAAAAAAAAAAA")))
		}, signin.ErrToken},

		{"the person says no", anybody, issuer(signintest.Deny), signin.ErrDenied},
		{"the issuer is busy", anybody, finish(func(c string) string { return changed(changed(c, "code"), "error", "temporarily_unavailable") }), signin.ErrIssuer},
		{"the callback is another issuer's", anybody, issuer(signintest.OtherIss), signin.ErrToken},
		{"the callback is nobody's", anybody, finish(func(c string) string { return changed(c, "iss") }), signin.ErrToken},
		{"token of another issuer", anybody, issuer(signintest.WrongIssuer), signin.ErrToken},
		{"token for another client", anybody, issuer(signintest.WrongAudience), signin.ErrToken},
		{"token for two clients", anybody, issuer(signintest.TwoAudiences), signin.ErrToken},
		{"token with another nonce", anybody, issuer(signintest.WrongNonce), signin.ErrToken},
		{"token of another access token", anybody, issuer(signintest.WrongHash), signin.ErrToken},
		{"token without a subject", anybody, issuer(signintest.NoSubject, signintest.NoUserinfo), signin.ErrToken},
		{"token with an endless subject", anybody, issuer(signintest.LongSubject, signintest.NoUserinfo), signin.ErrToken},
		{"token signed with an unknown key", anybody, issuer(signintest.WrongKey), signin.ErrToken},
		{"alg none", anybody, issuer(signintest.AlgNone), signin.ErrToken},
		{"alg HS256 with the client's secret", anybody, issuer(signintest.HS256), signin.ErrToken},
		{"token expired", anybody, issuer(signintest.Expired), signin.ErrClock},
		{"token from the future", anybody, issuer(signintest.Future), signin.ErrClock},
		{"token not good yet", anybody, issuer(signintest.FutureNotBefore), signin.ErrClock},
		{"userinfo of somebody else", anybody, issuer(signintest.OtherPerson), signin.ErrToken},
		{"userinfo of nobody", anybody, issuer(signintest.NotOK), signin.ErrToken},
		{"userinfo is out of order", anybody, issuer(signintest.UserinfoFailing), signin.ErrIssuer},
		{"keys are out of order", anybody, issuer(signintest.KeysFailing), signin.ErrIssuer},

		{"e-mail not verified", domain, issuer(signintest.UnverifiedEmail), signin.ErrDomain},
		{"email_verified not told", domain, user(func(u *signintest.User) { u.Claims = map[string]any{"email_verified": nil} }), signin.ErrDomain},
		{"email_verified is a number", domain, user(func(u *signintest.User) { u.Claims = map[string]any{"email_verified": 1} }), signin.ErrDomain},
		{"email_verified is the text false", domain, user(func(u *signintest.User) { u.Claims = map[string]any{"email_verified": "false"} }), signin.ErrDomain},
		{"no e-mail", domain, user(func(u *signintest.User) { u.Email = "" }), signin.ErrDomain},
		{"a@b@corp.example", domain, user(func(u *signintest.User) { u.Email = "a@b@corp.example" }), signin.ErrDomain},
		{"a@evil.example@corp.example", domain, user(func(u *signintest.User) { u.Email = "a@evil.example@corp.example" }), signin.ErrDomain},
		{"quoted @", domain, user(func(u *signintest.User) { u.Email = `"a@evil.example"@corp.example` }), signin.ErrDomain},
		{"list of addresses", domain, user(func(u *signintest.User) { u.Email = "a@evil.example,b@corp.example" }), signin.ErrDomain},
		{"two lines", domain, user(func(u *signintest.User) { u.Email = "a@corp.example\n@evil.example" }), signin.ErrDomain},
		{"domain below", domain, user(func(u *signintest.User) { u.Email = "a@sub.corp.example" }), signin.ErrDomain},
		{"domain with the same end", domain, user(func(u *signintest.User) { u.Email = "a@evilcorp.example" }), signin.ErrDomain},
		{"domain with the same beginning", domain, user(func(u *signintest.User) { u.Email = "a@corp.example.evil.example" }), signin.ErrDomain},
		{"domain with a dot at its end", domain, user(func(u *signintest.User) { u.Email = "a@corp.example." }), signin.ErrDomain},
		{"domain with a letter that becomes k", func(c *signin.OIDCConfig) { c.Domains = []string{"kcorp.example"} },
			user(func(u *signintest.User) { u.Email = "a@\u212acorp.example" }), signin.ErrDomain},

		{"no groups told", group, issuer(signintest.NoGroups), signin.ErrGroup},
		{"other groups", group, user(func(u *signintest.User) { u.Groups = []string{"staff", "Agents", "agents2", "a"} }), signin.ErrGroup},
		{"groups as a list in a text", group, user(func(u *signintest.User) { u.Claims = map[string]any{"groups": "agents,staff"} }), signin.ErrGroup},
		{"groups as objects", group, user(func(u *signintest.User) {
			u.Claims = map[string]any{"groups": []any{map[string]any{"agents": "agents"}, 1, nil}}
		}), signin.ErrGroup},
		{"groups under another spelling", group, user(func(u *signintest.User) {
			u.Claims = map[string]any{"groups": nil, "Groups": []string{agents}}
		}), signin.ErrGroup},
	} {
		t.Run(test.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := newWorld(t, test.config)
				b := w.browser()
				test.do(b)
				if err := w.came(); !errors.Is(err, test.want) {
					t.Errorf("came to %v, not %v", err, test.want)
				}
				if n := w.sessions(); n != 0 {
					t.Errorf("%d sessions", n)
				}
				for _, c := range b.cookies() {
					if strings.HasSuffix(c.Name, "session") {
						t.Errorf("the browser got %s", c.Name)
					}
				}
				w.quiet()
			})
		})
	}
}
