// Package signintest is an OpenID issuer in memory, as an http.Handler, for tests and the demo.
// It has discovery, keys, the authorization code flow with PKCE, refresh tokens, and userinfo. Start reading the code at issuer.go.
//
// It follows OpenID Connect Core 1.0, RFC 6749, RFC 7636 and RFC 9207, and is stricter than most issuers: it
// requires state, nonce and S256 (unless Config.Slack is set), a code works once, and the redirect address
// must be exactly the registered one. Tests can make it fail.
package signintest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"
)

// A User is a person who can sign in.
type User struct {
	Sub        string   // the subject: the stable id of the user
	Name       string   // the claim "name"; left out if it is empty
	Email      string   // the claim "email"; left out if it is empty
	Unverified bool     // the e-mail address is not verified
	Groups     []string // the claim "groups"; left out if it is nil
	// Claims are added to those made from the fields above, and replace claims of the same
	// name. A nil value removes the claim.
	Claims map[string]any
}

// Config configures an Issuer.
type Config struct {
	// URL is the issuer's identifier and address, without a slash at its end. It may have a path.
	URL          string
	ClientID     string // the only client
	ClientSecret string // the secret of the client
	Redirect     string // the client's only redirect address
	Users        []User // those who can sign in
	// If Slack is set, the issuer refuses requests like Slack: with status 200 and "ok": false
	// (https://docs.slack.dev/reference/methods/openid.connect.token). It refuses PKCE with internal_error,
	// as Slack does for an app with a client secret.
	Slack bool
	// AccessLife is how long access tokens are valid. Zero means an hour.
	AccessLife time.Duration
	// If Refresh is set, the issuer gives refresh tokens. Each can be used once, and its answer has the next
	// one. If one is used again, the tokens of that sign-in are revoked (RFC 9700, 4.14.2).
	Refresh bool
	// SignedIn is the subject of a user who is already signed in, so that no page is shown. If it is empty,
	// the issuer shows a page with all users.
	SignedIn string
}

// A Fault is a failure or an unusual behaviour of an Issuer.
type Fault string

// The values describe the faults. Each fault changes only what its text says.
const (
	Down                 Fault = "every connection breaks"
	AllFailing           Fault = "every answer is 500"
	NoAnswer             Fault = "the connection breaks after an hour without an answer"
	ClaimsOnlyInUserinfo Fault = "ID tokens have no claims about the user; userinfo has them"
	NoGroups             Fault = "the groups are missing"
	NoUserinfo           Fault = "there is no userinfo endpoint"
	UserinfoFailing      Fault = "userinfo answers 500"
	UserinfoJWT          Fault = "userinfo is a signed token"
	UserinfoJWE          Fault = "userinfo is an encrypted token"
	UserinfoHTML         Fault = "userinfo answers 200 with a web page"
	UserinfoMissing      Fault = "userinfo answers 404"
	OtherPerson          Fault = "userinfo is about another person"
	UserinfoTokenRevoked Fault = userinfoErrorPrefix + "token_revoked"
	UserinfoRefuses      Fault = "userinfo refuses every token"
	KeysFailing          Fault = "the keys' address answers 500"
	UnverifiedEmail      Fault = "no e-mail address is verified"
	Deny                 Fault = "the user cancels"
	OtherState           Fault = "the callback has a state that was never sent"
	OtherIss             Fault = "the callback names another issuer"
	WrongIssuer          Fault = "ID tokens name another issuer"
	WrongAudience        Fault = "ID tokens are for another client"
	TwoAudiences         Fault = "ID tokens are for two clients and issued to the other one"
	WrongNonce           Fault = "ID tokens have another nonce"
	WrongHash            Fault = "ID tokens belong to another access token"
	WrongKey             Fault = "ID tokens are signed with an unknown key"
	NoIDToken            Fault = "the token endpoint sends no ID token"
	NoAzp                Fault = "ID tokens are for two clients and have no azp"
	NoSubject            Fault = "ID tokens have no subject"
	LongSubject          Fault = "ID tokens have a subject of 256 letters, one more than allowed"
	AlgNone              Fault = "ID tokens are not signed"
	HS256                Fault = "ID tokens are signed with the client's secret"
	Expired              Fault = "ID tokens expired two minutes ago"
	Future               Fault = "ID tokens were issued two minutes in the future"
	FutureNotBefore      Fault = "ID tokens are not valid for another two minutes (nbf)"

	NoExpiresIn        Fault = "the token endpoint does not say how long access tokens are valid"
	SameRefreshToken   Fault = "answers to a refresh have no new refresh token; the old one stays valid"
	RefreshOtherPerson Fault = "ID tokens of a refresh are about another person"

	UserinfoWrongKey      Fault = "userinfo is signed with an unknown key"
	UserinfoWrongAudience Fault = "userinfo is signed for another client"
)

const (
	tokenErrorPrefix    = "the token endpoint refuses every request with "
	callbackErrorPrefix = "callbacks have the error "
	userinfoErrorPrefix = "userinfo answers 200 and refuses as Slack does with "
)

// TokenError is the fault of a token endpoint that refuses every request with status 400 and an
// error code (RFC 6749, 5.2). If Config.Slack is set, the status is 200, as with Slack.
func TokenError(code string) Fault { return Fault(tokenErrorPrefix + code) }

// CallbackError is the fault of an issuer that redirects every callback with an error code (RFC 6749, 4.1.2.1).
func CallbackError(code string) Fault { return Fault(callbackErrorPrefix + code) }

// UserinfoError is the fault of a userinfo endpoint that answers 200 and "ok": false with an error
// code, as Slack does (https://docs.slack.dev/reference/methods/openid.connect.userInfo).
func UserinfoError(code string) Fault { return Fault(userinfoErrorPrefix + code) }

// An Issuer signs people in. It is safe for concurrent use.
type Issuer struct {
	config Config
	base   string // the path of the issuer's URL

	mu          sync.Mutex
	users       []User
	faults      []Fault
	key         key
	grants      map[string]*grant
	access      map[string]*grant // by access token
	refresh     map[string]*grant // by refresh token, also used ones
	requests    map[string]int    // requests by endpoint
	lastIDToken string            // the newest ID token
}

// A grant is a sign-in for which a code was issued.
type grant struct {
	subject, nonce, challenge string
	createdAt                 time.Time
	accessToken               string // the newest access token; empty until the code is used
	accessUntil               time.Time
	refreshToken              string // the newest refresh token
}

type key struct {
	id      string
	private *ecdsa.PrivateKey
}

// New returns an Issuer. It panics if c.URL is not a URL.
func New(c Config) *Issuer {
	u, err := url.Parse(c.URL)
	if err != nil {
		panic(err)
	}
	return &Issuer{
		config: c, base: u.Path, users: slices.Clone(c.Users), key: newKey(),
		grants: map[string]*grant{}, access: map[string]*grant{}, refresh: map[string]*grant{}, requests: map[string]int{},
	}
}

func newKey() key {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err) // the system's randomness does not fail
	}
	return key{rand.Text(), private}
}

// Break sets the issuer's faults and replaces earlier ones. Without arguments the issuer works again.
func (i *Issuer) Break(faults ...Fault) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.faults = faults
}

// Rotate replaces the key that signs tokens.
func (i *Issuer) Rotate() {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.key = newKey()
}

// Change calls change with the user who has the subject sub, if there is one. change must not call the Issuer.
func (i *Issuer) Change(sub string, change func(*User)) {
	i.mu.Lock()
	defer i.mu.Unlock()
	if u := i.user(sub); u != nil {
		change(u)
	}
}

// Remove removes a user: they cannot sign in, and their access tokens are refused.
func (i *Issuer) Remove(sub string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.users = slices.DeleteFunc(i.users, func(u User) bool { return u.Sub == sub })
}

// RevokeAccess makes all access tokens invalid. Refresh tokens stay valid.
func (i *Issuer) RevokeAccess() {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, g := range i.access {
		g.accessUntil = time.Time{}
	}
}

// Requests returns the number of requests to an endpoint: "discovery", "keys", "authorize", "token" or "userinfo".
func (i *Issuer) Requests(endpoint string) int {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.requests[endpoint]
}

// Secrets returns some of the values that must not appear in a log or a page: the client's secret, the codes,
// the access and refresh tokens, and the newest ID token.
func (i *Issuer) Secrets() []string {
	i.mu.Lock()
	defer i.mu.Unlock()
	secrets := []string{i.config.ClientSecret}
	for code := range i.grants {
		secrets = append(secrets, code)
	}
	secrets = slices.AppendSeq(secrets, maps.Keys(i.access))
	secrets = slices.AppendSeq(secrets, maps.Keys(i.refresh))
	if i.lastIDToken != "" {
		secrets = append(secrets, i.lastIDToken)
	}
	return secrets
}

// user returns a user, or nil. The caller holds i.mu.
func (i *Issuer) user(sub string) *User {
	for n := range i.users {
		if i.users[n].Sub == sub {
			return &i.users[n]
		}
	}
	return nil
}

// has reports whether Break has set f.
func (i *Issuer) has(f Fault) bool {
	i.mu.Lock()
	defer i.mu.Unlock()
	return slices.Contains(i.faults, f)
}

// faultCode returns the error code of the first fault that begins with kind, or "".
func (i *Issuer) faultCode(kind string) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, fault := range i.faults {
		if code, ok := strings.CutPrefix(string(fault), kind); ok {
			return code
		}
	}
	return ""
}

// ServeHTTP implements http.Handler.
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
	i.requests[endpoint.name]++
	i.mu.Unlock()
	switch {
	case i.has(Down):
		panic(http.ErrAbortHandler)
	case i.has(NoAnswer):
		select {
		case <-time.After(time.Hour):
		case <-r.Context().Done():
		}
		panic(http.ErrAbortHandler) // the connection breaks
	case i.has(AllFailing), endpoint.fault != "" && i.has(endpoint.fault):
		http.Error(w, "the issuer fails", http.StatusInternalServerError)
		return
	}
	w.Header().Set("Cache-Control", "no-store")
	endpoint.serve(w, r)
}
