package signin

import (
	"context"
	"errors"
	"fmt"
	"time"
)

const (
	// checkEvery is the longest time between two checks of a session in use.
	checkEvery = 5 * time.Minute
	// checkAgain is the pause before the next check if the issuer could not be asked.
	checkAgain = time.Minute
	// checkTimeout limits the requests of a check for the discovery document and userinfo together.
	checkTimeout = 2 * time.Second
	// wholeCheckTimeout limits checkAndStore: the store and the issuer together. The page that waits
	// for it has to be answered as well.
	wholeCheckTimeout = 5 * time.Second
)

// checkAndStore checks a session with the issuer, and stores that it is in use. Simultaneous requests share
// one check, which goes on if the requests are cancelled.
func (o *OIDC) checkAndStore(ctx context.Context, token string) (session, error) {
	result, err, _ := o.checks.Do(token, func() (any, error) {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), wholeCheckTimeout)
		defer cancel()
		s, sessionCtx, err := o.load(ctx, token)
		if err != nil || !time.Now().After(s.Next) { // an error, or checked meanwhile
			return s, err
		}
		if err := o.checkOrKeep(sessionCtx, &s); err != nil {
			o.log.Info("sign-in ended by the identity provider", "agent", s.ID, "err", err)
			return s, o.destroy(sessionCtx, err)
		}
		return s, o.storeChecked(sessionCtx, s)
	})
	s, _ := result.(session)
	return s, err
}

// checkOrKeep checks a session and sets Seen and Next. If the issuer cannot be asked, the session is kept.
func (o *OIDC) checkOrKeep(ctx context.Context, s *session) error {
	now := time.Now().UTC()
	s.Seen, s.Next = now, now.Add(o.checkInterval)
	err := o.check(ctx, s)
	if errors.Is(err, ErrIssuer) {
		o.log.Warn("sign-in not checked with the identity provider", "agent", s.ID, "err", err, "effect", "the agent stays signed in")
		s.Next = now.Add(min(checkAgain, o.checkInterval))
		return nil
	}
	return err
}

// destroy ends the session and returns cause, or ErrStore.
func (o *OIDC) destroy(ctx context.Context, cause error) error {
	if err := o.sessions.Destroy(ctx); err != nil {
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	return cause
}

func (o *OIDC) storeChecked(ctx context.Context, s session) error {
	o.sessions.Put(ctx, sessionName, s)
	switch _, _, err := o.sessions.Commit(ctx); {
	case errors.Is(err, errEnded):
		return ErrNobody
	case err != nil:
		return fmt.Errorf("%w: %w", ErrStore, err)
	}
	return nil
}

// check asks the issuer whether the person may still sign in. It returns ErrIssuer if the issuer cannot be
// asked. ErrNobody, ErrDomain and ErrGroup end the session.
func (o *OIDC) check(ctx context.Context, s *session) error {
	if s.Access == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	doc, err := o.issuer.discover(ctx)
	if err != nil {
		return err
	}
	if doc.Userinfo == "" {
		return nil
	}
	switch err := o.updateFromUserinfo(ctx, doc, s); {
	case errors.Is(err, errRefused), errors.Is(err, ErrToken):
		return ErrNobody
	case err != nil:
		return err
	}
	return o.admit(s.Identity)
}
