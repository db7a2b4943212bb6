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

// A sign-in with any fault starts no session and shows no secret.
func TestABadSignInStartsNoSession(t *testing.T) {
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
	open := func(*signin.OIDCConfig) {}

	for _, test := range []struct {
		name   string
		config func(*signin.OIDCConfig)
		do     func(*browser)
		want   error
	}{
		{"no state", open, finish(func(c string) string { return changed(c, "state") }), signin.ErrState},
		{"empty state", open, finish(func(c string) string { return changed(c, "state", "") }), signin.ErrState},
		{"another state", open, finish(func(c string) string { return changed(c, "state", "AAAAAAAAAAAAAAAAAAAAAAAAAA") }), signin.ErrState},
		{"two states", open, finish(func(c string) string {
			state := must(url.Parse(c)).Query().Get("state")
			return changed(c, "state", state, state)
		}), signin.ErrState},
		{"a state never sent", open, issuer(signintest.OtherState), signin.ErrState},
		{"no code", open, finish(func(c string) string { return changed(c, "code") }), signin.ErrState},
		{"another code", open, finish(func(c string) string { return changed(c, "code", "AAAAAAAAAAAAAAAAAAAAAAAAAA") }), signin.ErrState},
		{"two codes", open, finish(func(c string) string { return changed(c, "code", "a", "b") }), signin.ErrState},
		{"from another browser", open, func(b *browser) { b.browser().step(b.callback()) }, signin.ErrState},
		{"from another browser, which began too", open, func(b *browser) {
			other := b.browser()
			other.callback()
			other.step(b.callback())
		}, signin.ErrState},
		{"codes of two sign-ins swapped", open, func(b *browser) {
			// The issuer finds out by PKCE.
			code := must(url.Parse(b.browser().callback())).Query().Get("code")
			b.step(changed(b.callback(), "code", code))
		}, signin.ErrState},
		{"a cookie under another sign-in's name", open, func(b *browser) {
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
		{"a cookie that was changed", open, func(b *browser) {
			callback := b.callback()
			c := b.cookies()[0]
			b.jar.SetCookies(must(url.Parse(origin)), []*http.Cookie{{Name: c.Name, Value: "A" + c.Value[1:] + "A", Path: "/", Secure: true}})
			b.step(callback)
		}, signin.ErrState},
		{"a code kept for too long", open, func(b *browser) {
			callback := b.callback()
			time.Sleep(2 * time.Minute)
			b.step(callback)
		}, signin.ErrState},
		{"PKCE missing", open, func(b *browser) {
			b.step(b.step(changed(b.step("/signin"), "code_challenge")))
		}, signin.ErrSetup},
		{"PKCE plain", open, func(b *browser) {
			b.step(b.step(changed(b.step("/signin"), "code_challenge_method", "plain")))
		}, signin.ErrSetup},
		{"PKCE of another sign-in", open, func(b *browser) {
			b.step(b.step(changed(b.step("/signin"), "code_challenge", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU")))
		}, signin.ErrState},
		{"a nonce of another sign-in", open, func(b *browser) {
			b.step(b.step(changed(b.step("/signin"), "nonce", "AAAAAAAAAAAAAAAAAAAAAAAAAA")))
		}, signin.ErrToken},

		{"the person cancels", open, issuer(signintest.Deny), signin.ErrDenied},
		{"the issuer is busy", open, finish(func(c string) string { return changed(changed(c, "code"), "error", "temporarily_unavailable") }), signin.ErrIssuer},
		{"the callback is from another issuer", open, issuer(signintest.OtherIss), signin.ErrToken},
		{"the callback has no issuer", open, finish(func(c string) string { return changed(c, "iss") }), signin.ErrToken},
		{"token of another issuer", open, issuer(signintest.WrongIssuer), signin.ErrToken},
		{"token for another client", open, issuer(signintest.WrongAudience), signin.ErrToken},
		{"token for two clients", open, issuer(signintest.TwoAudiences), signin.ErrToken},
		{"token for two clients, and issued to nobody", open, issuer(signintest.NoAzp), signin.ErrToken},
		{"token for a client that was not named", func(c *signin.OIDCConfig) { c.Audiences = []string{"third"} }, issuer(signintest.NoAzp), signin.ErrToken},
		{"token issued to a client that was named", func(c *signin.OIDCConfig) { c.Audiences = []string{"another"} }, issuer(signintest.TwoAudiences), signin.ErrToken},
		{"token with another nonce", open, issuer(signintest.WrongNonce), signin.ErrToken},
		{"token of another access token", open, issuer(signintest.WrongHash), signin.ErrToken},
		{"token without a subject", open, issuer(signintest.NoSubject, signintest.NoUserinfo), signin.ErrToken},
		{"token with a subject that is too long", open, issuer(signintest.LongSubject, signintest.NoUserinfo), signin.ErrToken},
		{"token signed with an unknown key", open, issuer(signintest.WrongKey), signin.ErrToken},
		{"alg none", open, issuer(signintest.AlgNone), signin.ErrToken},
		{"alg HS256 with the client's secret", open, issuer(signintest.HS256), signin.ErrToken},
		{"token expired", open, issuer(signintest.Expired), signin.ErrClock},
		{"token from the future", open, issuer(signintest.Future), signin.ErrClock},
		{"token not valid yet", open, issuer(signintest.FutureNotBefore), signin.ErrClock},
		{"userinfo of another person", open, issuer(signintest.OtherPerson), signin.ErrToken},
		{"userinfo of another person, signed", open, issuer(signintest.OtherPerson, signintest.UserinfoJWT), signin.ErrToken},
		{"userinfo without a person", open, func(b *browser) {
			b.issuer.Break(signintest.UserinfoJWT)
			b.issuer.Change("ada", func(u *signintest.User) { u.Claims = map[string]any{"sub": nil} })
			b.step(b.callback())
		}, signin.ErrToken},
		{"no ID token", open, issuer(signintest.NoIDToken), signin.ErrToken},
		{"keys fail", open, issuer(signintest.KeysFailing), signin.ErrIssuer},

		{"e-mail not verified", domain, issuer(signintest.UnverifiedEmail), signin.ErrDomain},
		{"email_verified missing", domain, user(func(u *signintest.User) { u.Claims = map[string]any{"email_verified": nil} }), signin.ErrDomain},
		{"email_verified is the number 2", domain, user(verified(2)), signin.ErrDomain},
		{"email_verified is the number 0", domain, user(verified(0)), signin.ErrDomain},
		{"email_verified is the text false", domain, user(verified("false")), signin.ErrDomain},
		{"email_verified is the text yes", domain, user(verified("yes")), signin.ErrDomain},
		{"email_verified is a text with a space", domain, user(verified("true ")), signin.ErrDomain},
		{"email_verified is an empty text", domain, user(verified("")), signin.ErrDomain},
		{"email_verified is a list", domain, user(verified([]any{true})), signin.ErrDomain},
		{"email_verified is an object", domain, user(verified(map[string]any{"true": true})), signin.ErrDomain},
		{"no e-mail", domain, user(func(u *signintest.User) { u.Email = "" }), signin.ErrDomain},
		{"a@b@corp.example", domain, user(func(u *signintest.User) { u.Email = "a@b@corp.example" }), signin.ErrDomain},
		{"a@evil.example@corp.example", domain, user(func(u *signintest.User) { u.Email = "a@evil.example@corp.example" }), signin.ErrDomain},
		{"quoted @", domain, user(func(u *signintest.User) { u.Email = `"a@evil.example"@corp.example` }), signin.ErrDomain},
		{"list of addresses", domain, user(func(u *signintest.User) { u.Email = "a@evil.example,b@corp.example" }), signin.ErrDomain},
		{"two lines", domain, user(func(u *signintest.User) { u.Email = "a@corp.example\n@evil.example" }), signin.ErrDomain},
		{"subdomain", domain, user(func(u *signintest.User) { u.Email = "a@sub.corp.example" }), signin.ErrDomain},
		{"domain with the same end", domain, user(func(u *signintest.User) { u.Email = "a@evilcorp.example" }), signin.ErrDomain},
		{"domain with the same beginning", domain, user(func(u *signintest.User) { u.Email = "a@corp.example.evil.example" }), signin.ErrDomain},
		{"domain with a dot at its end", domain, user(func(u *signintest.User) { u.Email = "a@corp.example." }), signin.ErrDomain},
		{"domain with a letter that becomes k", func(c *signin.OIDCConfig) { c.Domains = []string{"kcorp.example"} },
			user(func(u *signintest.User) { u.Email = "a@\u212acorp.example" }), signin.ErrDomain},

		{"groups missing", group, issuer(signintest.NoGroups), signin.ErrGroup},
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
				if err := w.lastError(); !errors.Is(err, test.want) {
					t.Errorf("error %v, not %v", err, test.want)
				}
				if n := w.sessions(); n != 0 {
					t.Errorf("%d sessions", n)
				}
				for _, c := range b.cookies() {
					if strings.HasSuffix(c.Name, "session") {
						t.Errorf("the browser got %s", c.Name)
					}
				}
				w.checkSecrets()
			})
		})
	}
}

// The codes with which an issuer ends a sign-in say who can do something about it.
func TestErrorCodesOfTheIssuer(t *testing.T) {
	for _, test := range []struct {
		fault signintest.Fault
		want  error
		says  string
	}{
		{signintest.CallbackError("access_denied"), signin.ErrDenied, "access_denied"},
		{signintest.CallbackError("login_required"), signin.ErrDenied, "login_required"},
		{signintest.CallbackError("user_cancelled_login"), signin.ErrDenied, "user_cancelled_login"},
		{signintest.CallbackError("invalid_grant"), signin.ErrDenied, "invalid_grant"},
		{signintest.CallbackError("server_error"), signin.ErrIssuer, "server_error"},
		{signintest.CallbackError("temporarily_unavailable"), signin.ErrIssuer, "temporarily_unavailable"},
		{signintest.CallbackError("invalid_scope"), signin.ErrSetup, "invalid_scope; look at BRIDGE_OIDC_SCOPES"},
		{signintest.CallbackError("unauthorized_client"), signin.ErrSetup, "authorization code flow"},
		{signintest.CallbackError("unsupported_response_type"), signin.ErrSetup, "authorization code flow"},
		{signintest.CallbackError("redirect_uri_mismatch"), signin.ErrSetup, "register the redirect address"},
		{signintest.CallbackError("invalid_request"), signin.ErrSetup, "invalid_request"},

		{signintest.TokenError("invalid_grant"), signin.ErrState, "400 invalid_grant"},
		{signintest.TokenError("invalid_client"), signin.ErrSetup, "BRIDGE_OIDC_CLIENT_SECRET"},
		{signintest.TokenError("unauthorized_client"), signin.ErrSetup, "authorization code flow"},
		{signintest.TokenError("redirect_uri_mismatch"), signin.ErrSetup, "register the redirect address"},
		{signintest.TokenError("server_error"), signin.ErrIssuer, "400 server_error"},
		{signintest.TokenError("code_of_tomorrow"), signin.ErrIssuer, "400 code_of_tomorrow"},
	} {
		t.Run(string(test.fault), func(t *testing.T) {
			w := newWorld(t)
			w.issuer.Break(test.fault)
			b := w.browser()
			b.step(b.callback())
			if err := w.lastError(); !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) || w.sessions() != 0 {
				t.Errorf("%v, not %v that says %q", err, test.want, test.says)
			}
			w.checkSecrets()
		})
	}
}

// A code that is not a plain word may be anything, also a secret.
func TestOnlyPlainErrorCodesAreShown(t *testing.T) {
	for _, code := range []string{"Ada@Corp.example", "two words", "<b>", strings.Repeat("x", 100)} {
		for _, fault := range []signintest.Fault{signintest.CallbackError(code), signintest.TokenError(code)} {
			w := newWorld(t)
			w.issuer.Break(fault)
			b := w.browser()
			b.step(b.callback())
			if err := w.lastError(); err == nil || strings.Contains(err.Error(), code) {
				t.Errorf("%q: %v", code, err)
			}
			w.checkSecrets()
		}
	}
}
