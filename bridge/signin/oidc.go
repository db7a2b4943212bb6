package signin

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/alexedwards/scs/v2"
	"golang.org/x/sync/singleflight"
)

// OIDCConfig says who the issuer is, who may sign in, and where sessions are kept.
type OIDCConfig struct {
	// Issuer is the issuer's identifier, an https address (or http on loopback). It must equal "issuer"
	// in the discovery document.
	Issuer       string
	ClientID     string // the client at the issuer
	ClientSecret string // the secret of ClientID
	// Scopes are requested besides openid; nil means profile and email.
	Scopes []string
	// Domains are e-mail domains. If it is not empty, a person needs an address at one of them (not at a
	// subdomain), with the claim email_verified true.
	Domains []string
	// Groups are values of the claim "groups": a person needs one of them. If it is empty, no group is needed.
	Groups []string
	// Audiences are further client IDs that an ID token without azp may have in aud.
	Audiences []string
	// Origin is the bridge's own address. The callback is /signin/callback there. With https the cookies
	// have the prefix __Host-.
	Origin    *url.URL
	Secret    []byte       // 32 bytes; encrypts the cookies of pending sign-ins
	OldSecret []byte       // the previous Secret, or nil
	Sessions  SessionStore // where sessions are kept
	// Idle ends a session that is not used; uses are recorded every five minutes, so it may end up to five
	// minutes early. Life ends every session. Zero means 8 hours for Idle and 12 for Life.
	Idle, Life time.Duration
	// Transport is used for requests to the issuer. Nil means a new one of NewTransport.
	Transport http.RoundTripper
	// Log receives errors that no call returns; nil drops them.
	Log *slog.Logger
}

const (
	callbackPath = "/signin/callback"

	defaultIdle = 8 * time.Hour
	defaultLife = 12 * time.Hour
)

// OIDC signs people in with an OpenID Connect issuer and keeps their sessions. It is safe for concurrent use.
//
// When a session is used and was not checked for five minutes, or for half of Idle if that is less, OIDC checks
// it with the issuer's userinfo endpoint, if there is one. The session ends if the access token is refused, or
// if the person no longer has a permitted domain or group. The person is then redirected to the issuer, which
// usually signs them in again without a question. If the issuer cannot be asked (any ErrIssuer), the session
// continues, and OIDC asks again a minute later, so that agents can work during an outage. If userinfo refuses
// the token or gives an unusable answer during the sign-in, only the ID token is used, and the session is never
// checked again.
//
// If the issuer gave a refresh token, OIDC refreshes an access token that has expired or is refused, and the
// session ends if the refresh token is refused. Without a refresh token, a session whose access token has
// expired continues without checks, until Idle or Life ends it: that the token is refused says nothing about
// the person.
type OIDC struct {
	config        OIDCConfig
	issuer        *issuer
	scopes        []string
	domains       []string
	cookieKeys    cookieKeys
	sessions      *scs.SessionManager
	checkInterval time.Duration // how often a session in use is checked
	checks        singleflight.Group
	cookiePrefix  string // of cookie names
	log           *slog.Logger
}

var domainForm = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+$`)

// NewOIDC returns an OIDC, or an error that lists all faults of c. It does not contact the issuer: the first
// sign-in does.
func NewOIDC(c OIDCConfig) (*OIDC, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	issuer, err := parseSafeURL(c.Issuer)
	if err != nil {
		fault("the issuer %w", err)
	} else if issuer.RawQuery != "" {
		fault("the issuer must not have a query")
	}
	if c.ClientID == "" {
		fault("the client id is missing")
	}
	if c.ClientSecret == "" {
		fault("the client secret is missing")
	}
	if c.Origin == nil || safeURL(c.Origin) != nil || strings.Trim(c.Origin.Path, "/") != "" || c.Origin.RawQuery != "" {
		fault("the origin must be an https address without a path (http:// is accepted for loopback only)")
	}
	if c.Sessions == nil {
		fault("the store for sessions is missing")
	}
	if c.Idle < 0 || c.Life < 0 {
		fault("the durations of a session must not be negative")
	}
	if c.Scopes == nil {
		c.Scopes = []string{"profile", "email"}
	}
	o := &OIDC{config: c, scopes: []string{"openid"}, log: c.Log}
	for _, domain := range c.Domains {
		domain = strings.ToLower(domain)
		if !domainForm.MatchString(domain) {
			fault("%q is not a domain", domain)
		}
		o.domains = append(o.domains, domain)
	}
	for _, scope := range c.Scopes {
		if !slices.Contains(o.scopes, scope) {
			o.scopes = append(o.scopes, scope)
		}
	}
	if o.cookieKeys, err = newCookieKeys(c.Secret, c.OldSecret); err != nil {
		faults = append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}

	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	if c.Origin.Scheme == "https" {
		o.cookiePrefix = "__Host-"
	}
	o.issuer = newIssuer(issuer, c.Issuer, c.Transport, o.log)
	o.config.Idle, o.config.Life = cmp.Or(c.Idle, defaultIdle), cmp.Or(c.Life, defaultLife)
	o.checkInterval = min(checkEvery, o.config.Idle/2)
	// Not scs.New: it starts an in-memory store whose goroutine never ends.
	o.sessions = &scs.SessionManager{
		Store: noRevivalStore{c.Sessions}, Codec: codec{}, HashTokenInStore: true,
		IdleTimeout: o.config.Idle, Lifetime: o.config.Life,
	}
	return o, nil
}

// setCookie writes a cookie that scripts cannot read. Browsers also send it when a person
// follows a link from another site. A negative age deletes it.
func (o *OIDC) setCookie(w http.ResponseWriter, name, value string, age time.Duration) {
	seconds := int(age.Seconds())
	if age < 0 {
		seconds = -1
	}
	http.SetCookie(w, &http.Cookie{
		Name: o.cookiePrefix + name, Value: value, Path: "/", MaxAge: seconds,
		Secure: o.config.Origin.Scheme == "https", HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}
