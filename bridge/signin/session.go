package signin

import (
	"context"
	"fmt"
	"net/http"
	"regexp"
	"time"
)

const sessionName = "session"

// A Session is somebody being signed in with one browser. Seen is when it was
// last used, a few minutes more or less.
type Session struct {
	Identity
	Began time.Time `json:"began"`
	Seen  time.Time `json:"seen"`
}

// session is what is stored.
type session struct {
	Session
	Next   time.Time `json:"next"`             // when it is to be looked after
	Access secret    `json:"access,omitempty"` // the access token; none: nothing to check with
	// Listed is whether userinfo has told the person's groups, so that it says
	// something when it tells none.
	Listed bool `json:"listed,omitempty"`
}

// secret is text that does not print.
type secret string

func (secret) String() string   { return "[secret]" }
func (secret) GoString() string { return "[secret]" }

// Who is the person whose session the request has. The error is ErrNobody,
// ErrStore, or ErrDomain or ErrGroup where the person may no longer. It reads the
// store once; once in five minutes it also asks the issuer and writes.
func (o *OIDC) Who(r *http.Request) (Identity, error) {
	token := o.token(r)
	if token == "" {
		return Identity{}, ErrNobody
	}
	s, _, err := o.load(r.Context(), token)
	if err == nil && time.Now().After(s.Next) {
		s, err = o.lookAfter(r.Context(), token)
	}
	if err == nil {
		err = o.admit(s.Identity)
	}
	if err != nil {
		return Identity{}, err
	}
	return s.Identity, nil
}

// Peek is Who for a page that asks by itself: it does not count as use of the
// session, asks the issuer nothing, and reads the store once.
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

// End signs out: the session ends, for whoever has its token, and the browser's
// cookie is deleted. Where ErrStore comes back neither was done.
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

// tokenForm is that of scs's tokens; nothing else is looked up.
var tokenForm = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

func (o *OIDC) token(r *http.Request) string {
	cookie, err := r.Cookie(o.prefix + sessionName)
	if err != nil || !tokenForm.MatchString(cookie.Value) {
		return ""
	}
	return cookie.Value
}

// load reads a session. The context is what scs wants to change it.
func (o *OIDC) load(ctx context.Context, token string) (session, context.Context, error) {
	ctx, err := o.sessions.Load(ctx, token)
	if err != nil {
		return session{}, nil, fmt.Errorf("%w: %w", ErrStore, err)
	}
	s, ok := o.sessions.Get(ctx, sessionName).(session)
	now := time.Now()
	switch {
	case !ok, now.Sub(s.Began) > o.config.Life, now.Sub(s.Seen) > o.config.Idle,
		!identifies(o.issuer.url, s.ID): // it is of an issuer before this one
		return session{}, nil, ErrNobody
	}
	return s, ctx, nil
}

// start begins a session in the browser, in place of the one it had.
func (o *OIDC) start(w http.ResponseWriter, r *http.Request, s session) error {
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
