package bridge_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/signin/signintest"
	"cobrowse-bridge/connectors/rocketchat"
)

const (
	issuer       = "https://login.example.org"
	clientSecret = "canary-client-secret-41c7e"
	bobID        = "oidc:login.example.org/bob"
	eveID        = "oidc:login.example.org/eve"
)

// An oidcWorld is a world in which agents sign in at an OpenID Connect issuer.
type oidcWorld struct {
	*world
	issuer *signintest.Issuer
	url    string   // of the issuer
	groups []string // the groups that may sign in; empty: all
	opts   []options
}

// inOIDCWorld runs a test in its own oidcWorld. Rules is the text of a policy file; if it is
// empty, the built-in policy applies.
func inOIDCWorld(t *testing.T, rules string, test func(o *oidcWorld), opts ...options) {
	t.Helper()
	o := newOIDCWorld(t, rules, opts...)
	inWorld(t, func(w *world) {
		o.world = w
		test(o)
	}, o.opts...)
}

// newOIDCWorld returns an oidcWorld without a world. The caller creates the world with its options.
func newOIDCWorld(t *testing.T, rules string, opts ...options) *oidcWorld {
	return newOIDCWorldAt(t, issuer, rules, opts...)
}

func issuerConfig(issuer string) signintest.Config {
	return signintest.Config{
		URL: issuer, ClientID: "bridge", ClientSecret: clientSecret, Redirect: origin + "/signin/callback",
		Slack: issuer == "https://slack.com",
		Users: []signintest.User{
			{Sub: "bob", Name: "Bob Baker", Email: "bob@example.org", Groups: []string{"support"}},
			{Sub: "eve", Name: "Eve Evans", Email: "eve@example.org", Groups: []string{"leads"}},
			{Sub: "agent0"}, {Sub: "agent1"}, {Sub: "agent2"}, {Sub: "agent3"},
			{Sub: "U1", Name: "Bob Baker", Claims: map[string]any{"https://slack.com/team_id": "T0ACME", "https://slack.com/user_id": "U1"}},
		},
	}
}

func newOIDCWorldAt(t *testing.T, issuer, rules string, opts ...options) *oidcWorld {
	o := &oidcWorld{url: issuer, issuer: signintest.New(issuerConfig(issuer))}
	signs := options{config: func(c *bridge.Config) {
		oidc, err := signin.NewOIDC(signin.OIDCConfig{
			Issuer: issuer, ClientID: "bridge", ClientSecret: clientSecret, Scopes: []string{"profile", "email", "groups"},
			Origin: c.Origin, Secret: c.Secret, Sessions: c.Store.AgentSessions(), Transport: o.issuer.Transport(), Log: c.Log,
			Groups: o.groups,
		})
		if err != nil {
			t.Fatal(err)
		}
		c.OIDC = oidc
		if rules != "" {
			p, err := policy.Parse("policy.yaml", []byte(rules))
			if err != nil {
				t.Fatal(err)
			}
			c.Policy = policy.Fixed(p)
		}
	}}
	o.opts = append([]options{signs}, opts...)
	return o
}

// readsEmails lets the connector read the confirmed e-mail addresses of agents.
func readsEmails(c *rocketchat.Config) {
	c.Reader = rocketchat.Credential{UserID: "adminId", Token: secret.New(adminToken)}
}

// linkEmail connects an account to the agent who signs in with its e-mail address.
var linkEmail = options{config: func(c *bridge.Config) { c.LinkEmail = true }}

// follow opens a link to the bridge, signs in as the user if the bridge redirects to the
// issuer, and returns the page at the end.
func (o *oidcWorld) follow(b *browser, user, path string) *answer {
	o.Helper()
	a := b.follow(path)
	if to := a.Header.Get("Location"); strings.HasPrefix(to, o.url) {
		a = b.follow(o.signIn(b, user, to))
		if next := a.Header.Get("Location"); strings.HasPrefix(next, "/") {
			return b.follow(next)
		}
	}
	return a
}

// signIn signs in as the user at the issuer, and returns the path of the callback with its
// query.
func (o *oidcWorld) signIn(b *browser, user, authorize string) string {
	o.Helper()
	if strings.Contains(authorize, "/w/") {
		o.Error("the address of a door is sent to the issuer")
	}
	r := httptest.NewRequest(http.MethodPost, authorize, strings.NewReader(url.Values{"sub": {user}}.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	rec := httptest.NewRecorder()
	o.issuer.ServeHTTP(rec, r)
	to := rec.Header().Get("Location")
	if !strings.HasPrefix(to, origin+"/signin/callback") {
		o.Fatalf("the issuer answers %d to %q", rec.Code, to)
	}
	return strings.TrimPrefix(to, origin)
}

// signedIn returns a browser in which the user is signed in.
func (o *oidcWorld) signedIn(user string) *browser {
	o.Helper()
	b := o.browser()
	o.follow(b, user, "/").want(o, http.StatusOK, "desk")
	return b
}

// connectedBob returns bob's browser after he signed in and confirmed his account.
func (o *oidcWorld) connectedBob() *browser {
	o.Helper()
	bob := o.signedIn("bob")
	bob.follow(o.door("bob")).want(o, http.StatusOK, "Is this your account?")
	bob.press(o.door("bob"), url.Values{"connect": {"1"}}).want(o, http.StatusOK, "Co-browse with")
	return bob
}

// cardPath returns the path of the first card on a page of the desk.
func (o *oidcWorld) cardPath(page *answer) string {
	o.Helper()
	m := cardPath.FindString(page.body)
	if m == "" {
		o.Fatalf("no card on %s", page.body)
	}
	return m
}

var cardPath = regexp.MustCompile(`/desk/card/[0-9a-f-]{36}`)

// restartWithSignIn stops the bridge and starts another on the same store.
func (o *oidcWorld) restartWithSignIn() {
	o.Helper()
	o.restart(o.opts...)
}

// sameBrowser returns a browser with the same cookies for the bridge that runs now.
func (o *oidcWorld) sameBrowser(b *browser) *browser {
	return &browser{world: o.world, cookies: b.cookies}
}

// guessCount returns how many guesses a test makes: one for each lookup code, or fewer with -short.
func guessCount() int {
	if testing.Short() {
		return 300
	}
	return 10_000
}
