package signin

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/requestid"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	// refreshTimeout limits the requests of a check that refreshes the access token. It is longer than
	// checkTimeout: if the answer is lost, the issuer may have replaced the refresh token already.
	refreshTimeout = 4 * time.Second
	// refreshClaim is how long one replica alone may refresh a session: longer than wholeCheckTimeout.
	refreshClaim = 15 * time.Second
)

// errRefreshing means that another replica refreshes the session.
var errRefreshing = errors.New("another replica refreshes the sign-in")

// refresh gets new tokens with the refresh token (RFC 6749, 6), and updates the session from the new ID
// token, if there is one. Many issuers accept a refresh token once, and end the whole sign-in if it comes
// again, so only one replica refreshes at a time; the others get errRefreshing. The error is ErrNobody if
// the issuer refuses the refresh token, ErrIssuer if it cannot be asked or refuses the settings of the
// bridge, ErrToken if the ID token is invalid or another person's, or ErrStore.
func (o *OIDC) refresh(ctx context.Context, doc *metadata, token string, s *session) error {
	sum := sha256.Sum256([]byte("refresh " + token))
	claimed, err := o.config.Sessions.ClaimCtx(ctx, "refresh "+hex.EncodeToString(sum[:]), time.Now().Add(refreshClaim))
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", ErrStore, err)
	case !claimed:
		return errRefreshing
	}
	ctx = oidc.ClientContext(requestid.WithRoute(ctx, "token"), o.issuer.client)
	tokens, err := o.oauthConfig(doc).TokenSource(ctx, &oauth2.Token{RefreshToken: string(s.Refresh)}).Token()
	if err != nil {
		return refreshError(err)
	}
	s.setTokens(tokens)
	idToken, _ := tokens.Extra("id_token").(string)
	if idToken == "" {
		return nil
	}
	got, _, err := o.verify(ctx, doc, idToken, tokens.AccessToken) // OpenID Connect Core, 12.2
	switch {
	case errors.Is(err, ErrClock):
		return fmt.Errorf("%w: %w", ErrIssuer, err)
	case err != nil:
		return err
	case idOf(o.issuer.url, got.text("sub")) != s.ID:
		return fmt.Errorf("%w: the ID token of the refresh has another subject, or none", ErrToken)
	}
	if got.leavesGroupsOut() {
		s.Groups = nil // those of the last ID token prove nothing any more
	}
	o.update(&s.Identity, got)
	return nil
}
