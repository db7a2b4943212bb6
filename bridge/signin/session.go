package signin

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"net/http"
	"regexp"
	"time"

	"golang.org/x/oauth2"
)

const (
	sessionName = "session"
	// expiryMargin is how long before its end an access token counts as expired, so that it does not
	// expire on its way to the issuer.
	expiryMargin = 10 * time.Second
)

// A Session is a person signed in with one browser.
type Session struct {
	Identity
	Began time.Time `json:"began"`
	// Seen is when the session was last used, accurate to five minutes.
	Seen time.Time `json:"seen"`
}

// session is a Session as it is stored.
type session struct {
	Session
	Next   time.Time `json:"next"`             // when it must be checked with the issuer
	Access secret    `json:"access,omitempty"` // the access token; if empty, it is not checked
	// AccessUntil is when Access expires. It is zero if the issuer did not say so.
	AccessUntil time.Time `json:"access_until,omitzero"`
	// Refresh is the refresh token. It is empty if the issuer gave none.
	Refresh secret `json:"refresh,omitempty"`
	// Listed says that userinfo had the person's groups before. If it then has none, the
	// person has lost them.
	Listed bool `json:"listed,omitempty"`
}

// expiring reports whether the access token has expired or is about to.
func (s *session) expiring() bool {
	return !s.AccessUntil.IsZero() && time.Now().After(s.AccessUntil.Add(-expiryMargin))
}

// setTokens stores the tokens of an answer of the token endpoint. An answer without a refresh token does
// not replace an old one (RFC 6749, 6).
func (s *session) setTokens(t *oauth2.Token) {
	s.Access, s.AccessUntil = secret(t.AccessToken), t.Expiry.UTC()
	if t.RefreshToken != "" {
		s.Refresh = secret(t.RefreshToken)
	}
}

// dropTokens removes the tokens, so that the session is not checked again.
func (s *session) dropTokens() { s.Access, s.AccessUntil, s.Refresh = "", time.Time{}, "" }

// secret is text that fmt does not print.
type secret string

func (secret) String() string   { return "[secret]" }
func (secret) GoString() string { return "[secret]" }

// Who returns the person whose session the request has. The error is ErrNobody, ErrStore, or
// ErrDomain or ErrGroup if the person may no longer sign in. It reads the store once; once in
// five minutes it also asks the issuer and writes the session.
func (o *OIDC) Who(r *http.Request) (Identity, error) {
	token := o.token(r)
	if token == "" {
		return Identity{}, ErrNobody
	}
	s, _, err := o.load(r.Context(), token)
	if err == nil && time.Now().After(s.Next) {
		s, err = o.checkAndStore(r.Context(), token)
	}
	if err == nil {
		err = o.admit(s.Identity)
	}
	if err != nil {
		return Identity{}, err
	}
	return s.Identity, nil
}

// Peek is Who for requests that a page makes by itself: it does not count as use of the
// session, does not ask the issuer, and reads the store once.
func (o *OIDC) Peek(r *http.Request) (Identity, error) {
	token := o.token(r)
	if token == "" {
		return Identity{}, ErrNobody
	}
	s, _, err := o.load(r.Context(), token)
	if err != nil {
		return Identity{}, err
	}
	return s.Identity, o.admit(s.Identity)
}

// End signs the person out: it ends the session and deletes the browser's cookie. If it
// returns ErrStore, it did neither.
func (o *OIDC) End(w http.ResponseWriter, r *http.Request) error {
	if token := o.token(r); token != "" {
		ctx, err := o.sessions.Load(r.Context(), token)
		if err == nil && o.sessions.Token(ctx) != "" {
			err = o.sessions.Destroy(ctx)
		}
		if err != nil {
			return fmt.Errorf("%w: %w", ErrStore, err)
		}
	}
	o.setCookie(w, sessionName, "", -1)
	return nil
}

// StoredToken returns the hash of the request's session token, as SessionStore has it, or "".
func (o *OIDC) StoredToken(r *http.Request) string {
	token := o.token(r)
	if token == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(token)) // as scs does with HashTokenInStore
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// tokenForm is the form of scs's tokens. Other values are not looked up.
var tokenForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

func (o *OIDC) token(r *http.Request) string {
	cookie, err := r.Cookie(o.cookiePrefix + sessionName)
	if err != nil || !tokenForm.MatchString(cookie.Value) {
		return ""
	}
	return cookie.Value
}

// load reads a session. It also returns the context that scs needs to change the session.
func (o *OIDC) load(ctx context.Context, token string) (session, context.Context, error) {
	ctx, err := o.sessions.Load(ctx, token)
	if err != nil {
		return session{}, nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	s, ok := o.sessions.Get(ctx, sessionName).(session)
	now := time.Now()
	switch {
	case !ok, now.Sub(s.Began) > o.config.Life, now.Sub(s.Seen) > o.config.Idle,
		!isIDOf(o.issuer.url, s.ID): // it is from a previous issuer
		return session{}, nil, ErrNobody
	}
	return s, ctx, nil
}

// startSession begins a session that replaces the browser's old one.
func (o *OIDC) startSession(w http.ResponseWriter, r *http.Request, s session) error {
	ctx, err := o.sessions.Load(r.Context(), o.token(r))
	if err == nil {
		err = o.sessions.RenewToken(ctx)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	o.sessions.Put(ctx, sessionName, s)
	token, _, err := o.sessions.Commit(ctx)
	if err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	o.setCookie(w, sessionName, token, o.config.Life)
	return nil
}
