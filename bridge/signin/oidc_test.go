package signin_test

import (
	"bytes"
	"errors"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/signin/signintest"

	"github.com/google/go-cmp/cmp"
)

func TestSignIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.browser()
		if status, body := b.get("/desk"); status != http.StatusUnauthorized || body != signin.ErrNobody.Error()+"\n" {
			t.Fatalf("before: %d %s", status, body)
		}
		b.signIn()
		if status, body := b.get("/w/anything"); status != http.StatusOK || body != adaID {
			t.Fatalf("after: %d %s", status, body)
		}
		all, err := signin.Sessions(t.Context(), w.store)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now().UTC()
		if diff := cmp.Diff([]signin.Session{{
			Identity: signin.Identity{ID: adaID, Name: "Ada Lovelace", Email: "ada@corp.example", Groups: []string{agents, "staff"}},
			Began:    now, Seen: now,
		}}, all); diff != "" {
			t.Error(diff)
		}
		if cookies := b.cookies(); len(cookies) != 1 || cookies[0].Name != "__Host-session" {
			t.Errorf("cookies left: %v", cookies)
		}
		w.checkSecrets()
	})
}

func TestBeginSendsStateNonceAndPKCE(t *testing.T) {
	w := newWorld(t)
	r, err := http.NewRequest(http.MethodGet, origin+"/signin", nil)
	if err != nil {
		t.Fatal(err)
	}
	one := http.Client{Transport: w, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := one.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	read(t, answer)
	h := answer.Header
	if answer.StatusCode != http.StatusSeeOther || h.Get("Referrer-Policy") != "no-referrer" || h.Get("Cache-Control") != "no-store" {
		t.Errorf("%d %v", answer.StatusCode, h)
	}
	to := must(url.Parse(h.Get("Location")))
	q := to.Query()
	for name, want := range map[string]string{
		"response_type": "code", "client_id": clientID, "redirect_uri": origin + "/signin/callback",
		"scope": "openid profile email", "code_challenge_method": "S256",
	} {
		if q.Get(name) != want {
			t.Errorf("%s is %q, not %q", name, q.Get(name), want)
		}
	}
	for _, random := range []string{"state", "nonce", "code_challenge"} {
		if len(q.Get(random)) < 26 {
			t.Errorf("%s is %q", random, q.Get(random))
		}
	}
	if strings.Contains(h.Get("Location"), url.QueryEscape(clientKey)) {
		t.Error("the client's secret goes through the browser")
	}
	cookie := answer.Cookies()[0]
	if !strings.HasPrefix(cookie.Name, "__Host-signin-") || !cookie.Secure || !cookie.HttpOnly || cookie.Path != "/" ||
		cookie.Domain != "" || cookie.SameSite != http.SameSiteLaxMode || cookie.MaxAge != 600 {
		t.Errorf("cookie: %+v", cookie)
	}
	for _, plain := range []string{q.Get("nonce"), q.Get("state")} {
		if strings.Contains(cookie.Value, plain) {
			t.Error("the cookie is not sealed")
		}
	}
}

// verified sets the claim email_verified.
func verified(value any) func(*signintest.User) {
	return func(u *signintest.User) { u.Claims = map[string]any{"email_verified": value} }
}

// These issuers are unusual but valid.
func TestUnusualIssuersWork(t *testing.T) {
	both := func(c *signin.OIDCConfig) { c.Domains, c.Groups = []string{"Corp.Example"}, []string{"other", agents} }
	for _, test := range []struct {
		name   string
		faults []signintest.Fault
		user   func(*signintest.User)
		config func(*signin.OIDCConfig)
	}{
		{name: "an ordinary issuer"},
		{name: "claims in userinfo only", faults: []signintest.Fault{signintest.ClaimsOnlyInUserinfo}},
		{name: "userinfo that refuses fresh tokens", faults: []signintest.Fault{signintest.UserinfoRefuses}},
		{name: "userinfo that refuses fresh tokens as Slack does", faults: []signintest.Fault{signintest.UserinfoTokenRevoked}},
		{name: "userinfo that fails", faults: []signintest.Fault{signintest.UserinfoFailing}},
		{name: "userinfo with a signed answer", faults: []signintest.Fault{signintest.UserinfoJWT, signintest.ClaimsOnlyInUserinfo}},
		{name: "userinfo signed with an unknown key", faults: []signintest.Fault{signintest.UserinfoWrongKey}},
		{name: "userinfo signed for another client", faults: []signintest.Fault{signintest.UserinfoWrongAudience}},
		{name: "userinfo with an encrypted answer", faults: []signintest.Fault{signintest.UserinfoJWE}},
		{name: "userinfo with a page for people", faults: []signintest.Fault{signintest.UserinfoHTML}},
		{name: "userinfo missing", faults: []signintest.Fault{signintest.UserinfoMissing}},
		{name: "a second audience that the operator named", faults: []signintest.Fault{signintest.NoAzp},
			config: func(c *signin.OIDCConfig) { c.Audiences = []string{"third", "another"} }},
		{name: "no userinfo endpoint", faults: []signintest.Fault{signintest.NoUserinfo}},
		{name: "email_verified as text", user: verified("true")},
		{name: "email_verified as Python writes it", user: verified("True")},
		{name: "email_verified in upper case", user: verified("TRUE")},
		{name: "email_verified as the text 1", user: verified("1")},
		{name: "email_verified as the text t", user: verified("t")},
		{name: "email_verified as a number", user: verified(1)},
		{name: "one group as text", user: func(u *signintest.User) { u.Claims = map[string]any{"groups": agents} }},
		{name: "groups of several types", user: func(u *signintest.User) { u.Claims = map[string]any{"groups": []any{1, agents}} }},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t, both)
			if test.config != nil {
				test.config(&w.config)
				w.oidc = must(signin.NewOIDC(w.config))
			}
			w.issuer.Break(test.faults...)
			if test.user != nil {
				w.issuer.Change("ada", test.user)
			}
			w.browser().signIn()
			if n := w.sessions(); n != 1 {
				t.Errorf("%d sessions", n)
			}
		})
	}
}

func TestACallbackWorksOnce(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	callback := b.callback()
	if next := b.step(callback); next != "/desk" {
		t.Fatalf("led to %q: %v", next, w.lastError())
	}
	b.step(callback)
	if !errors.Is(w.lastError(), signin.ErrState) || w.sessions() != 1 {
		t.Errorf("again: %v, %d sessions", w.lastError(), w.sessions())
	}
	if status, _ := b.get("/desk"); status != http.StatusOK {
		t.Errorf("the session before: %d", status)
	}
}

func TestTheCodeOfALateCallbackIsNotExchanged(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.browser()
		callback := b.callback()
		kept := b.cookies()[0]
		time.Sleep(10*time.Minute + time.Second)
		b.jar.SetCookies(must(url.Parse(origin)), []*http.Cookie{{Name: kept.Name, Value: kept.Value, Path: "/", Secure: true}})
		b.step(callback)
		if !errors.Is(w.lastError(), signin.ErrState) || w.issuer.Requests("token") != 0 {
			t.Errorf("%v, asked %d times", w.lastError(), w.issuer.Requests("token"))
		}
	})
}

// The same if the browser, or a thief with its cookies, sends the cookie again.
func TestACallbackWorksOnceEvenWithItsCookie(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	callback := b.callback()
	kept := b.cookies()
	b.step(callback)
	thief := w.browser()
	for _, c := range kept {
		thief.jar.SetCookies(must(url.Parse(origin)), []*http.Cookie{{Name: c.Name, Value: c.Value, Path: "/", Secure: true}})
	}
	thief.step(callback)
	if !errors.Is(w.lastError(), signin.ErrState) || w.sessions() != 1 {
		t.Errorf("again: %v, %d sessions", w.lastError(), w.sessions())
	}
}

func TestTwoTabsSignInAtOnce(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	one := b.step(b.step("/signin?next=/one"))
	two := b.step(b.step("/signin?next=/two"))
	if next := b.step(one); next != "/one" {
		t.Errorf("the first led to %q: %v", next, w.lastError())
	}
	if next := b.step(two); next != "/two" {
		t.Errorf("the second led to %q: %v", next, w.lastError())
	}
	if n := w.sessions(); n != 1 {
		t.Errorf("%d sessions of one browser", n)
	}
}

func TestThereAreAtMostEightPendingSignIns(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	var last string
	for range 100 {
		last = b.step(b.step("/signin?next=/w/" + strings.Repeat("h", 43)))
	}
	size := 0
	for _, c := range b.cookies() {
		size += len(c.Name) + len(c.Value) + len("=; ")
	}
	if n := len(b.cookies()); n != 8 || size > 4<<10 {
		t.Errorf("%d cookies of %d bytes", n, size)
	}
	if next := b.step(last); next != "/w/"+strings.Repeat("h", 43) {
		t.Errorf("the newest led to %q: %v", next, w.lastError())
	}
}

func TestEachSignInStartsANewSession(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	planted := strings.Repeat("A", 43)
	b.jar.SetCookies(must(url.Parse(origin)), []*http.Cookie{{Name: "__Host-session", Value: planted, Path: "/", Secure: true}})
	b.signIn()
	first := b.cookies()[0].Value
	if first == planted {
		t.Fatal("a planted token became a session")
	}
	b.signIn()
	if second := b.cookies()[0].Value; second == first || w.sessions() != 1 {
		t.Errorf("the session before did not end: %d sessions", w.sessions())
	}
	for token := range must(w.store.All()) {
		if strings.Contains(token, first) || len(token) == 43 && slices.ContainsFunc(b.cookies(), func(c *http.Cookie) bool { return c.Value == token }) {
			t.Error("the store holds a token that opens a session")
		}
	}
}

func TestSecretsRotate(t *testing.T) {
	w := newWorld(t)
	b := w.browser()
	callback := b.callback()
	w.config.OldSecret, w.config.Secret = w.config.Secret, bytes.Repeat([]byte{8}, 32)
	w.oidc = must(signin.NewOIDC(w.config))
	if next := b.step(callback); next != "/desk" {
		t.Errorf("a pending sign-in when the secret changed: %v", w.lastError())
	}
	callback = b.callback()
	w.config.OldSecret, w.config.Secret = nil, bytes.Repeat([]byte{9}, 32)
	w.oidc = must(signin.NewOIDC(w.config))
	b.step(callback)
	if !errors.Is(w.lastError(), signin.ErrState) {
		t.Errorf("sealed with a secret that was removed: %v", w.lastError())
	}
}

func TestHTTPOnLoopback(t *testing.T) {
	w := newWorld(t, func(c *signin.OIDCConfig) { c.Origin = must(url.Parse("http://127.0.0.1:8080")) })
	r := must(http.NewRequest(http.MethodGet, "/signin", nil))
	answer := httptest.NewRecorder()
	if err := w.oidc.Begin(answer, r, "/"); err != nil {
		t.Fatal(err)
	}
	c := answer.Result().Cookies()[0]
	if !strings.HasPrefix(c.Name, "signin-") || c.Secure {
		t.Errorf("a browser would not keep %v", c)
	}
}

const slackURL = "https://slack.com"

func slackWorld(t *testing.T, change ...func(*signin.OIDCConfig)) *world {
	issuer := signintest.New(signintest.Config{
		URL: slackURL, ClientID: clientID, ClientSecret: clientKey, Redirect: origin + "/signin/callback", SignedIn: "U024BE7LH",
		Slack: true,
		Users: []signintest.User{{Sub: "U024BE7LH", Name: "Ada", Claims: map[string]any{
			"https://slack.com/team_id": "T0001", "https://slack.com/user_id": "U024BE7LH",
		}}},
	})
	w := newWorld(t, append(change, func(c *signin.OIDCConfig) { c.Issuer, c.Transport = slackURL, issuer.Transport() })...)
	w.issuer = issuer
	return w
}

// The app in Slack has a client secret, and refuses PKCE.
func TestSlackIdentifiesItsUsers(t *testing.T) {
	w := slackWorld(t)
	w.browser().get("/signin")
	all := must(signin.Sessions(t.Context(), w.store))
	if len(all) != 1 || all[0].Slack != "T0001/U024BE7LH" || all[0].ID != "oidc:slack.com/U024BE7LH" {
		t.Errorf("%+v: %v", all, w.lastError())
	}
}

// Slack refuses with status 200.
func TestSlackRefusesWith200(t *testing.T) {
	for code, want := range map[string]error{
		"invalid_code": signin.ErrState, "code_already_used": signin.ErrState, "invalid_grant": signin.ErrState,
		"bad_client_secret": signin.ErrSetup, "invalid_client_id": signin.ErrSetup, "bad_redirect_uri": signin.ErrSetup,
		"invalid_client": signin.ErrSetup, "internal_error": signin.ErrIssuer, "ratelimited": signin.ErrIssuer,
	} {
		w := slackWorld(t)
		w.issuer.Break(signintest.TokenError(code))
		b := w.browser()
		b.step(b.callback())
		if err := w.lastError(); !errors.Is(err, want) || !strings.Contains(err.Error(), "HTTP status 200 "+code) || w.sessions() != 0 {
			t.Errorf("%s: %v, not %v", code, err, want)
		}
	}
	w := slackWorld(t, func(c *signin.OIDCConfig) { c.ClientSecret = "not the secret" })
	b := w.browser()
	b.step(b.callback())
	if err := w.lastError(); !errors.Is(err, signin.ErrSetup) || !strings.Contains(err.Error(), "bad_client_secret; look at BRIDGE_OIDC_CLIENT_ID") {
		t.Error(err)
	}
	w = slackWorld(t)
	b = w.browser()
	b.step(changed(b.callback(), "code", "another"))
	if err := w.lastError(); !errors.Is(err, signin.ErrState) {
		t.Error(err)
	}
}

// In an organisation one user id is valid in all workspaces, and an app that is installed in the whole
// organisation sees the id of the organisation.
func TestSlackIdentifiesUsersOfAnOrganisation(t *testing.T) {
	for _, test := range []struct {
		name   string
		claims map[string]any
		want   []string
	}{
		{"organisation", map[string]any{"https://slack.com/enterprise_id": "E0GROUP"}, []string{"T0001/U024BE7LH", "E0GROUP/U024BE7LH"}},
		{"organisation without a workspace", map[string]any{"https://slack.com/enterprise_id": "E0GROUP", "https://slack.com/team_id": nil}, []string{"E0GROUP/U024BE7LH"}},
		{"null", map[string]any{"https://slack.com/enterprise_id": nil}, []string{"T0001/U024BE7LH"}},
		{"empty", map[string]any{"https://slack.com/enterprise_id": ""}, []string{"T0001/U024BE7LH"}},
		{"a workspace as the organisation", map[string]any{"https://slack.com/enterprise_id": "T0002"}, []string{"T0001/U024BE7LH"}},
		{"a path", map[string]any{"https://slack.com/enterprise_id": "E0/U1"}, []string{"T0001/U024BE7LH"}},
		{"no user", map[string]any{"https://slack.com/enterprise_id": "E0GROUP", "https://slack.com/user_id": nil}, nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := slackWorld(t)
			w.issuer.Change("U024BE7LH", func(u *signintest.User) { maps.Copy(u.Claims, test.claims) })
			w.browser().get("/signin")
			all := must(signin.Sessions(t.Context(), w.store))
			if len(all) != 1 || !slices.Equal(all[0].SlackAccounts(), test.want) {
				t.Errorf("%+v: %v", all, w.lastError())
			}
		})
	}
}

func TestOtherIssuersCannotIdentifySlackUsers(t *testing.T) {
	w := newWorld(t)
	w.issuer.Change("ada", func(u *signintest.User) {
		u.Claims = map[string]any{
			"https://slack.com/team_id": "T0001", "https://slack.com/user_id": "U024BE7LH", "https://slack.com/enterprise_id": "E0GROUP",
		}
	})
	w.browser().signIn()
	if all := must(signin.Sessions(t.Context(), w.store)); len(all) != 1 || len(all[0].SlackAccounts()) != 0 {
		t.Errorf("%+v", all)
	}
}

func TestIdentityIsSafeToShow(t *testing.T) {
	issuer := signintest.New(signintest.Config{
		URL: issuerURL, ClientID: clientID, ClientSecret: clientKey, Redirect: origin + "/signin/callback", SignedIn: "a/d|a",
		Users: []signintest.User{{Sub: "a/d|a", Name: " Ada\u202e\tL.\x00\n" + strings.Repeat("é", 200)}},
	})
	w := newWorld(t, func(c *signin.OIDCConfig) { c.Transport = issuer.Transport() })
	w.issuer = issuer
	w.browser().get("/signin")
	all := must(signin.Sessions(t.Context(), w.store))
	if len(all) != 1 || all[0].ID != "oidc:login.example/realm/a%2Fd%7Ca" || all[0].Name != "Ada L. "+strings.Repeat("é", 93) {
		t.Errorf("%+v: %v", all, w.lastError())
	}
}

func TestConfigurationFaults(t *testing.T) {
	_, err := signin.NewOIDC(signin.OIDCConfig{
		Issuer: "http://login.example", Domains: []string{"*.corp.example"}, Origin: must(url.Parse("https://a.example/path")),
		Secret: []byte("short"), Life: -1,
	})
	if err == nil {
		t.Fatal("accepted")
	}
	for _, fault := range []string{"issuer", "client id", "client secret", "origin", "sessions", "*.corp.example", "32", "negative"} {
		if !strings.Contains(err.Error(), fault) {
			t.Errorf("%q is not named in: %v", fault, err)
		}
	}
	if strings.Contains(err.Error(), "short") {
		t.Error("the secret is printed")
	}
	for _, issuer := range []string{"", "login.example", "https://", "https://u:p@login.example", "https://login.example#x", "https://login.example?x=1", "ftp://login.example", "https://a b"} {
		config := newWorld(t).config
		config.Issuer = issuer
		if _, err := signin.NewOIDC(config); err == nil {
			t.Errorf("issuer %q is accepted", issuer)
		}
	}
}
