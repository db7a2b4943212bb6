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

// An office is a world in which agents sign in.
type office struct {
	*world
	issuer *signintest.Issuer
	url    string   // of the issuer
	groups []string // who may sign in; none is everybody
	opts   []options
}

// inOffice runs a test in an office of its own. Rules are those of a policy file;
// with none, the policy is the built-in one.
func inOffice(t *testing.T, rules string, test func(o *office), opts ...options) {
	t.Helper()
	o := newOffice(t, rules, opts...)
	inWorld(t, func(w *world) {
		o.world = w
		test(o)
	}, o.opts...)
}

// newOffice is an office whose world is yet to be made with its options.
func newOffice(t *testing.T, rules string, opts ...options) *office {
	return newOfficeOf(t, issuer, rules, opts...)
}

func newOfficeOf(t *testing.T, issuer, rules string, opts ...options) *office {
	o := &office{url: issuer, issuer: signintest.New(signintest.Config{
		URL: issuer, ClientID: "bridge", ClientSecret: clientSecret, Redirect: origin + "/signin/callback",
		Users: []signintest.User{
			{Sub: "bob", Name: "Bob Baker", Email: "bob@example.org", Groups: []string{"support"}},
			{Sub: "eve", Name: "Eve Evans", Email: "eve@example.org", Groups: []string{"leads"}},
			{Sub: "U1", Name: "Bob Baker", Claims: map[string]any{"https://slack.com/team_id": "T0ACME", "https://slack.com/user_id": "U1"}},
		},
	})}
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

// readsEmails lets the reader see the confirmed e-mail addresses of agents.
func readsEmails(c *rocketchat.Config) {
	c.Reader = rocketchat.Credential{UserID: "adminId", Token: adminToken}
}

// linkEmail has accounts be those of who signs in with the same e-mail address.
var linkEmail = options{config: func(c *bridge.Config) { c.LinkEmail = true }}

// follow is a person who follows a link to the bridge, signs in as the user if they
// are asked to, and arrives.
func (o *office) follow(b *browser, user, path string) *answer {
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

// signIn is a person who says at the issuer who they are. It returns the path of the
// callback.
func (o *office) signIn(b *browser, user, authorize string) string {
	o.Helper()
	if strings.Contains(authorize, "/w/") {
		o.Error("the issuer is told the address of a door")
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

// at is a browser in which the user is signed in.
func (o *office) at(user string) *browser {
	o.Helper()
	b := o.browser()
	o.follow(b, user, "/").want(o, http.StatusOK, "desk")
	return b
}

// connected is bob's browser after he said once that the account is his.
func (o *office) connected() *browser {
	o.Helper()
	bob := o.at("bob")
	bob.follow(o.door("bob")).want(o, http.StatusOK, "Is this your account?")
	bob.press(o.door("bob"), url.Values{"connect": {"1"}}).want(o, http.StatusOK, "Co-browse with")
	return bob
}

// cardPath is the path of the only card on a page of the desk.
func (o *office) cardPath(page *answer) string {
	o.Helper()
	m := cardPath.FindString(page.body)
	if m == "" {
		o.Fatalf("no card on %s", page.body)
	}
	return m
}

var cardPath = regexp.MustCompile(`/desk/card/[0-9a-f-]{36}`)

// restartOffice ends the bridge and starts another on the same store.
func (o *office) restartOffice() {
	o.Helper()
	o.restart(o.opts...)
}

// again is the browser of before, of the bridge that there is now.
func (o *office) again(b *browser) *browser { return &browser{world: o.world, cookies: b.cookies} }

// guesses is how often something is guessed: all lookup codes, unless time is short.
func guesses() int {
	if testing.Short() {
		return 300
	}
	return 10_000
}
