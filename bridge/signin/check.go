package signin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"
)

const (
	// checkEvery is how often a session in use is written, and checked with the
	// issuer.
	checkEvery = 5 * time.Minute
	// checkAgain is when the issuer is asked again after it did not answer.
	checkAgain = time.Minute
	// userinfoTimeout is for how long a request waits for the issuer.
	userinfoTimeout = 2 * time.Second
	// lookTimeout is for how long a session is looked after altogether.
	lookTimeout = 10 * time.Second
)

// lookAfter checks a session with the issuer and notes that it is in use.
// Requests that come at once share the look, which goes on when they are gone.
func (o *OIDC) lookAfter(ctx context.Context, token string) (session, error) {
	looked, err, _ := o.checking.Do(token, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lookTimeout)
		defer cancel()
		s, ctx, err := o.load(ctx, token)
		now := time.Now().UTC()
		if err != nil || !now.After(s.Next) { // ended, or another replica was quicker
			return s, err
		}
		s.Seen, s.Next = now, now.Add(o.every)
		if err = o.check(ctx, &s); errors.Is(err, ErrIssuer) {
			o.log.Warn("a session could not be checked with the issuer; it goes on", "agent", s.ID, "err", err)
			s.Next, err = now.Add(min(checkAgain, o.every)), nil
		}
		if err != nil {
			o.log.Info("a session ends: the person may no longer", "agent", s.ID, "err", err)
			if gone := o.sessions.Destroy(ctx); gone != nil {
				return s, fmt.Errorf("%w: %w", ErrStore, gone)
			}
			return s, err
		}
		o.sessions.Put(ctx, sessionName, s)
		switch _, _, err := o.sessions.Commit(ctx); {
		case errors.Is(err, errEnded):
			return s, ErrNobody
		case err != nil:
			return s, fmt.Errorf("%w: %w", ErrStore, err)
		}
		return s, nil
	})
	s, _ := looked.(session)
	return s, err
}

// check asks the issuer whether the person still is who they were, and may. The
// error is ErrIssuer where it cannot be asked; ErrNobody, ErrDomain and ErrGroup
// end the session.
func (o *OIDC) check(ctx context.Context, s *session) error {
	if s.Access == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, userinfoTimeout)
	defer cancel()
	about, err := o.issuer.discover(ctx)
	if err != nil {
		return err
	}
	if about.Userinfo == "" {
		return nil
	}
	switch err := o.ask(ctx, about, s); {
	case errors.Is(err, errRefused), errors.Is(err, ErrToken):
		return ErrNobody
	case err != nil:
		return err
	}
	return o.admit(s.Identity)
}

var errRefused = errors.New("the access token is refused")

// ask asks userinfo and brings the session up to date. The error is ErrIssuer,
// errRefused, or ErrToken where it speaks of somebody else, or of nobody, as
// Slack does where the token is no good
// (https://docs.slack.dev/reference/methods/openid.connect.userInfo).
func (o *OIDC) ask(ctx context.Context, about *metadata, s *session) error {
	said := claims{}
	status, _, err := o.issuer.get(ctx, about.Userinfo, string(s.Access), &said)
	switch {
	case err != nil:
		return fmt.Errorf("%w: ask for userinfo: %s", ErrIssuer, reason(err))
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return errRefused
	case status != http.StatusOK:
		return fmt.Errorf("%w: ask for userinfo: answered %d", ErrIssuer, status)
	case identify(o.issuer.url, said.text("sub")) != s.ID:
		return fmt.Errorf("%w: userinfo speaks of somebody else", ErrToken)
	}
	o.learn(&s.Identity, said)
	if said.has("groups") {
		s.Listed = true
	} else if s.Listed {
		s.Groups = nil
	}
	return nil
}
