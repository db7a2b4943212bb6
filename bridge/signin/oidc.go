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

// OIDCConfig says who the issuer is, whom to admit, and where sessions are kept.
type OIDCConfig struct {
	// Issuer is the issuer's identifier to the letter, an https address.
	Issuer, ClientID, ClientSecret string
	// Scopes are asked for besides openid; nil means profile and email.
	Scopes []string
	// Domains are those of which a person needs a verified e-mail address; equal,
	// not below. Empty admits everybody. Issuers that do not say email_verified
	// admit nobody here.
	Domains []string
	// Groups are those of which a person needs to be in one, by the claim "groups".
	// Empty admits everybody.
	Groups []string
	// Origin is the bridge's own address. The callback is /signin/callback there,
	// and with https the cookies belong to that one host.
	Origin *url.URL
	// Secret, of 32 bytes, seals the cookie of a sign-in that is under way. OldSecret
	// is the one before, or nil.
	Secret, OldSecret []byte
	Sessions          SessionStore
	// A session ends when it was not used for Idle, up to five minutes early, and in
	// any case after Life. Zero means 8 and 12 hours.
	Idle, Life time.Duration
	// Transport carries what is asked of the issuer. Nil means one of its own.
	Transport http.RoundTripper
	// Log gets what goes wrong behind a session's back; nil means nowhere.
	Log *slog.Logger
}

const (
	callbackPath = "/signin/callback"

	defaultIdle = 8 * time.Hour
	defaultLife = 12 * time.Hour
)

// OIDC signs people in with an OpenID Connect issuer and keeps their sessions.
// It can be used by many goroutines at once.
//
// Whether a person still may is asked of the issuer's userinfo endpoint, where it
// has one, when a session is used and was not checked for five minutes. A session
// ends if the access token is no good any more, which leads the person to the
// issuer again, where they pass without a word while they are signed in; and if
// domain or group are lost. While the issuer cannot be reached sessions go on,
// and it is asked again a minute later: its outage must not stop those at work.
// An issuer whose userinfo refuses even a fresh token is not asked again. Access
// tokens are not refreshed: where they live for minutes only, agents are led past
// the issuer that often.
type OIDC struct {
	config   OIDCConfig
	issuer   *issuer
	scopes   []string
	domains  []string
	keys     cookieKeys
	sessions *scs.SessionManager
	every    time.Duration // how often a session in use is looked after
	checking singleflight.Group
	prefix   string // of cookies' names
	log      *slog.Logger
}

var domainForm = regexp.MustCompile(`^[a-z0-9-]+(\.[a-z0-9-]+)+$`)

// NewOIDC checks the configuration, and the error names all that is wrong with
// it. Nothing is asked of the issuer before the first sign-in.
func NewOIDC(c OIDCConfig) (*OIDC, error) {
	var faults []error
	fault := func(format string, args ...any) { faults = append(faults, fmt.Errorf(format, args...)) }

	issuer, err := url.Parse(c.Issuer)
	if err == nil {
		err = safeURL(issuer)
	} else {
		err = errors.New("it is no address")
	}
	if err != nil {
		fault("issuer: %w", err)
	} else if issuer.RawQuery != "" {
		fault("issuer: it may have no query")
	}
	if c.ClientID == "" {
		fault("there is no client id")
	}
	if c.ClientSecret == "" {
		fault("there is no client secret")
	}
	if c.Origin == nil || safeURL(c.Origin) != nil || strings.Trim(c.Origin.Path, "/") != "" || c.Origin.RawQuery != "" {
		fault("origin: an https address without a path is needed (http:// is accepted for loopback only)")
	}
	if c.Sessions == nil {
		fault("there is no store for sessions")
	}
	if c.Idle < 0 || c.Life < 0 {
		fault("a session cannot last less than no time")
	}
	o := &OIDC{config: c, scopes: []string{"openid"}, log: c.Log}
	for _, domain := range c.Domains {
		domain = strings.ToLower(domain)
		if !domainForm.MatchString(domain) {
			fault("%q is no domain", domain)
		}
		o.domains = append(o.domains, domain)
	}
	if c.Scopes == nil {
		c.Scopes = []string{"profile", "email"}
	}
	for _, scope := range c.Scopes {
		if !slices.Contains(o.scopes, scope) {
			o.scopes = append(o.scopes, scope)
		}
	}
	if o.keys, err = newCookieKeys(c.Secret, c.OldSecret); err != nil {
		faults = append(faults, err)
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}

	if o.log == nil {
		o.log = slog.New(slog.DiscardHandler)
	}
	if c.Origin.Scheme == "https" {
		o.prefix = "__Host-"
	}
	o.issuer = newIssuer(issuer, c.Issuer, c.Transport)
	o.config.Idle, o.config.Life = cmp.Or(c.Idle, defaultIdle), cmp.Or(c.Life, defaultLife)
	o.every = min(checkEvery, o.config.Idle/2)
	// Not scs.New, which also starts a store in memory that nothing stops.
	o.sessions = &scs.SessionManager{
		Store: lasting{c.Sessions}, Codec: codec{}, HashTokenInStore: true,
		IdleTimeout: o.config.Idle, Lifetime: o.config.Life,
	}
	return o, nil
}

// setCookie writes a cookie that scripts cannot read and that follows people who
// come from elsewhere by a link. A negative age deletes it.
func (o *OIDC) setCookie(w http.ResponseWriter, name, value string, age time.Duration) {
	seconds := int(age.Seconds())
	if age < 0 {
		seconds = -1
	}
	http.SetCookie(w, &http.Cookie{
		Name: o.prefix + name, Value: value, Path: "/", MaxAge: seconds,
		Secure: o.prefix != "", HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}
