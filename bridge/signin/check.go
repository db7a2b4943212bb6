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
	// checkTimeout limits the requests of a check to the issuer together, if the access token is
	// not refreshed.
	checkTimeout = 2 * time.Second
	// wholeCheckTimeout limits checkAndStore: the store and the issuer together. The page that waits
	// for it has to be answered as well.
	wholeCheckTimeout = 5 * time.Second
	// storeTimeout is how long the result of a check may take to be stored.
	storeTimeout = 3 * time.Second
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
		switch err := o.checkOrKeep(sessionCtx, token, &s); {
		case errors.Is(err, errRefreshing):
			return s, nil
		case errors.Is(err, ErrStore):
			return s, err
		case err != nil:
			o.log.Info("sign-in ended by the identity provider", "agent", s.ID, "err", err)
			return s, o.destroy(sessionCtx, err)
		}
		// The issuer may have replaced the refresh token, so this has its own time.
		sessionCtx, cancelStore := context.WithTimeout(context.WithoutCancel(sessionCtx), storeTimeout)
		defer cancelStore()
		return s, o.storeChecked(sessionCtx, s)
	})
	s, _ := result.(session)
	return s, err
}

// checkOrKeep checks a session and sets Seen and Next. If the issuer cannot be asked, the session is kept.
func (o *OIDC) checkOrKeep(ctx context.Context, token string, s *session) error {
	now := time.Now().UTC()
	s.Seen, s.Next = now, now.Add(o.checkInterval)
	err := o.check(ctx, token, s)
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
// asked. ErrNobody, ErrDomain and ErrGroup end the session. ErrStore and errRefreshing are those of refresh.
func (o *OIDC) check(ctx context.Context, token string, s *session) error {
	if s.Access == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, refreshTimeout)
	defer cancel()
	quick, cancelQuick := context.WithTimeout(ctx, checkTimeout)
	defer cancelQuick()
	doc, err := o.issuer.discover(quick)
	if err != nil {
		return err
	}
	if doc.Userinfo == "" {
		return nil
	}
	refreshed := s.Refresh != "" && s.expiring()
	if refreshed {
		err = o.refresh(ctx, doc, token, s)
		quick = ctx
	}
	if err == nil {
		err = o.updateFromUserinfo(quick, doc, s)
	}
	if errors.Is(err, errRefused) && s.Refresh != "" && !refreshed { // the issuer has revoked the access token
		if err = o.refresh(ctx, doc, token, s); err == nil {
			err = o.updateFromUserinfo(ctx, doc, s)
		}
	}
	switch {
	case errors.Is(err, errRefused) && s.Refresh == "" && s.expiring():
		s.dropTokens()
		o.log.Info("sign-in no longer checked with the identity provider", "agent", s.ID,
			"reason", "the access token has expired, and there is no refresh token", "effect", "the agent stays signed in")
	case errors.Is(err, errRefused), errors.Is(err, ErrToken):
		return fmt.Errorf("%w: %w", ErrNobody, err)
	case err != nil:
		return err
	}
	return o.admit(s.Identity)
}
