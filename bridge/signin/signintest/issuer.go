// Package signintest is an OpenID issuer in memory, as an http.Handler: discovery,
// keys, the authorization code flow with PKCE, and userinfo. Tests and the demo
// sign people in with it.
//
// It is written from OpenID Connect Core 1.0, RFC 6749, RFC 7636 and RFC 9207, and
// stricter than most issuers: state, nonce and S256 are demanded, a code works
// once, and the redirect address must be the registered one to the letter. It
// fails on demand.
package signintest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// A User is somebody who can sign in.
type User struct {
	Sub, Name, Email string
	// Unverified means that the issuer does not vouch for the e-mail address.
	Unverified bool
	Groups     []string
	// Claims are further ones, or replace those made from the fields above; a nil
	// one is left out.
	Claims map[string]any
}

// Config is what an Issuer knows from the start.
type Config struct {
	// URL is the issuer's identifier and where it is reached, without a slash at
	// its end; it may have a path.
	URL                    string
	ClientID, ClientSecret string
	// Redirect is the client's one redirect address.
	Redirect string
	Users    []User
	// Auto is the subject of the user who is signed in without being asked; empty
	// shows a page to choose from.
	Auto string
}

// A Fault is a way to fail.
type Fault string

// The faults. Those about tokens are for ID tokens; the rest of such a token is
// as it should be.
const (
	Down            Fault = "every connection breaks"
	Failing         Fault = "every answer is 500"
	Slow            Fault = "no answer, for an hour"
	Thin            Fault = "ID tokens have no claims about the user; userinfo has them"
	NoGroups        Fault = "no groups are told"
	NoUserinfo      Fault = "there is no userinfo endpoint"
	UserinfoFailing Fault = "userinfo answers 500"
	OtherPerson     Fault = "userinfo speaks of somebody else"
	NotOK           Fault = "userinfo answers 200 and that the token is no good, as Slack does"
	Refusing        Fault = "userinfo refuses every token"
	KeysFailing     Fault = "the keys' address answers 500"
	UnverifiedEmail Fault = "no e-mail address is vouched for"
	Deny            Fault = "the user says no"
	OtherState      Fault = "the callback has a state that was never sent"
	OtherIss        Fault = "the callback names another issuer"
	WrongIssuer     Fault = "ID tokens name another issuer"
	WrongAudience   Fault = "ID tokens are for another client"
	TwoAudiences    Fault = "ID tokens are for two clients and made out to the other"
	WrongNonce      Fault = "ID tokens have another nonce"
	WrongHash       Fault = "ID tokens belong to another access token"
	WrongKey        Fault = "ID tokens are signed with a key nobody knows"
	NoSubject       Fault = "ID tokens have no subject"
	LongSubject     Fault = "ID tokens have a subject of 256 letters"
	AlgNone         Fault = "ID tokens are not signed"
	HS256           Fault = "ID tokens are signed with the client's secret"
	Expired         Fault = "ID tokens expired two minutes ago"
	Future          Fault = "ID tokens are from two minutes ahead"
	FutureNotBefore Fault = "ID tokens are good only in two minutes"
)

// An Issuer signs people in. It can be used by many goroutines at once.
type Issuer struct {
	config Config
	base   string // the path of the issuer's URL

	mu      sync.Mutex
	users   []User
	faults  []Fault
	key     key
	codes   map[string]*grant
	access  map[string]string // access token to subject
	answers map[string]int    // requests by endpoint
	last    string            // the newest ID token
}

// A grant is what a code stands for.
type grant struct {
	sub, nonce, challenge string
	made                  time.Time
	access                string // once the code was used
}

type key struct {
	id      string
	private *ecdsa.PrivateKey
}

// New returns an issuer. It panics if c.URL is no URL.
func New(c Config) *Issuer {
	u, err := url.Parse(c.URL)
	if err != nil {
		panic(err)
	}
	return &Issuer{
		config: c, base: u.Path, users: slices.Clone(c.Users), key: newKey(),
		codes: map[string]*grant{}, access: map[string]string{}, answers: map[string]int{},
	}
}

func newKey() key {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // the system's randomness does not fail
	}
	return key{rand.Text(), private}
}

// Break makes the issuer fail in these ways and no others; without arguments it
// is whole again.
func (i *Issuer) Break(faults ...Fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults = faults
}

// Rotate replaces the key that tokens are signed with.
func (i *Issuer) Rotate() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key = newKey()
}

// Change changes a user.
func (i *Issuer) Change(sub string, change func(*User)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if u := i.user(sub); u != nil {
		change(u)
	}
}

// Remove removes a user: their access tokens are refused from now on.
func (i *Issuer) Remove(sub string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.users = slices.DeleteFunc(i.users, func(u User) bool { return u.Sub == sub })
}

// Requests is how often an endpoint was asked: "discovery", "keys", "authorize",
// "token" or "userinfo".
func (i *Issuer) Requests(endpoint string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.answers[endpoint]
}

// Secrets are what the issuer has given out and nobody may show: the codes, the
// access tokens and the newest ID token.
func (i *Issuer) Secrets() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	secrets := []string{i.config.ClientSecret}
	for code := range i.codes {
		secrets = append(secrets, code)
	}
	for token := range i.access {
		secrets = append(secrets, token)
	}
	if i.last != "" {
		secrets = append(secrets, i.last)
	}
	return secrets
}

// user finds a user; i.mu is held.
func (i *Issuer) user(sub string) *User {
	for n := range i.users {
		if i.users[n].Sub == sub {
			return &i.users[n]
		}
	}
	return nil
}

func (i *Issuer) broken(f Fault) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Contains(i.faults, f)
}

func (i *Issuer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, i.base)
	endpoints := map[string]struct {
		name  string
		serve http.HandlerFunc
		fault Fault
	}{
		"/.well-known/openid-configuration": {"discovery", i.discovery, ""},
		"/keys":                             {"keys", i.keys, KeysFailing},
		"/authorize":                        {"authorize", i.authorize, ""},
		"/token":                            {"token", i.token, ""},
		"/userinfo":                         {"userinfo", i.userinfo, UserinfoFailing},
	}
	endpoint, ok := endpoints[path]
	if !ok {
		http.NotFound(w, r)
		return
	}
	i.mu.Lock()
	i.answers[endpoint.name]++
	i.mu.Unlock()
	switch {
	case i.broken(Down):
		panic(http.ErrAbortHandler)
	case i.broken(Slow):
		select {
		case <-time.After(time.Hour):
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler)
	case i.broken(Failing), endpoint.fault != "" && i.broken(endpoint.fault):
		http.Error(w, "the issuer is out of order", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	endpoint.serve(w, r)
}
