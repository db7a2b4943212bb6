package signin

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"cobrowse-bridge/bridge/requestid"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	// leeway is how much the issuer's clock may differ from the bridge's.
	leeway = time.Minute
	// finishTimeout is how long a callback waits for all answers of the issuer. The bridge ends
	// every page after seven seconds.
	finishTimeout = 6 * time.Second
)

// Begin redirects the browser to the issuer. Finish returns next after the sign-in. If next is not a safe
// local path, it returns "/". If Begin returns an error (ErrIssuer), it has not written a response.
func (o *OIDC) Begin(w http.ResponseWriter, r *http.Request, next string) error {
	doc, err := o.issuer.discover(r.Context())
	if err != nil {
		return err
	}
	state, p := o.startPending(w, r, next)
	h := w.Header()
	options := []oauth2.AuthCodeOption{oidc.Nonce(p.Nonce)}
	if o.issuer.pkce() {
		options = append(options, oauth2.S256ChallengeOption(p.Verifier))
	}
	h.Set("Location", o.oauthConfig(doc).AuthCodeURL(state, options...))
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// Finish handles the callback. It gets the person's identity from the issuer, and starts a session that replaces the
// browser's old one. It writes no status and no body, only cookies. The caller must redirect to next. Its error wraps
// ErrState, ErrIssuer, ErrToken, ErrClock, ErrDenied, ErrSetup, ErrDomain, ErrGroup or ErrStore.
// With ErrDomain and ErrGroup it returns the person who may not sign in.
func (o *OIDC) Finish(w http.ResponseWriter, r *http.Request) (who Identity, next string, err error) {
	q := r.URL.Query()
	for _, name := range []string{"state", "code", "error", "iss"} {
		if len(q[name]) > 1 {
			return who, "", fmt.Errorf("%w: it has %s more than once", ErrState, name)
		}
	}
	p, err := o.consumePending(w, r, q.Get("state"))
	if err != nil {
		return who, "", err
	}
	ctx, cancel := context.WithTimeout(r.Context(), finishTimeout)
	defer cancel()
	doc, err := o.issuer.discover(ctx)
	if err != nil {
		return who, "", err
	}
	// RFC 9207: refuse a callback that another issuer sent.
	iss := q.Get("iss")
	wrong := iss != "" && iss != o.config.Issuer
	missing := iss == "" && doc.NamesItself
	if wrong || missing {
		return who, "", fmt.Errorf("%w: the callback does not name this issuer (iss)", ErrToken)
	}
	if code := q.Get("error"); code != "" {
		return who, "", callbackError(code)
	}
	if q.Get("code") == "" {
		return who, "", fmt.Errorf("%w: it has no code", ErrState)
	}
	s, err := o.exchange(ctx, doc, q.Get("code"), p)
	if errors.Is(err, ErrDomain) || errors.Is(err, ErrGroup) {
		return s.Identity, "", err
	}
	if err != nil {
		return who, "", err
	}
	if err := o.startSession(w, r, s); err != nil {
		return who, "", err
	}
	return s.Identity, p.Next, nil
}

// exchange gets tokens for the code, checks the ID token, asks userinfo, and returns the session. It
// returns ErrDomain or ErrGroup if the person may not sign in.
func (o *OIDC) exchange(ctx context.Context, doc *metadata, code string, p pending) (s session, err error) {
	ctx = oidc.ClientContext(requestid.WithRoute(ctx, "token"), o.issuer.client)
	var options []oauth2.AuthCodeOption
	if o.issuer.pkce() {
		options = append(options, oauth2.VerifierOption(p.Verifier))
	}
	tokens, err := o.oauthConfig(doc).Exchange(ctx, code, options...)
	if err != nil {
		return s, tokenError("exchange the code", err)
	}
	idToken, _ := tokens.Extra("id_token").(string)
	if idToken == "" {
		return s, fmt.Errorf("%w: it has no ID token", ErrToken)
	}
	got, nonce, err := o.verify(ctx, doc, idToken, tokens.AccessToken)
	if err != nil {
		return s, err
	}
	if subtle.ConstantTimeCompare([]byte(nonce), []byte(p.Nonce)) != 1 {
		return s, fmt.Errorf("%w: the nonce of the ID token is not that of this sign-in", ErrToken)
	}
	subject := got.text("sub")
	if subject == "" || len(subject) > 255 { // the maximum of OpenID Connect Core, section 2
		return s, fmt.Errorf("%w: the ID token has an empty or too long subject", ErrToken)
	}
	now := time.Now().UTC()
	s = session{
		Session: Session{Identity: Identity{ID: idOf(o.issuer.url, subject)}, Began: now, Seen: now},
		Next:    now.Add(o.checkInterval),
	}
	o.update(&s.Identity, got)
	if doc.Userinfo == "" {
		err = o.admit(s.Identity)
	} else {
		s.setTokens(tokens)
		err = o.addUserinfo(ctx, doc, &s, got)
	}
	if err == nil && s.GroupsLeftOut {
		o.log.Warn("groups of an agent not known", "agent", s.ID, "reason", groupsLeftOut, "remedy", lookAtGroups,
			"effect", "rules of the policy for groups do not apply to the agent")
	}
	return s, err
}

// verify checks an ID token (OpenID Connect Core, 3.1.3.7), with leeway for its times, and returns its claims
// and its nonce, which the caller checks.
func (o *OIDC) verify(ctx context.Context, doc *metadata, idToken, access string) (got claims, nonce string, err error) {
	token, got, err := o.verifySigned(ctx, doc, doc.Algorithms, idToken)
	if err != nil {
		return nil, "", err
	}
	if err := o.checkAudience(token.Audience, got); err != nil {
		return nil, "", err
	}
	if token.AccessTokenHash != "" && token.VerifyAccessToken(access) != nil {
		return nil, "", fmt.Errorf("%w: the ID token belongs to another access token (at_hash)", ErrToken)
	}
	if err := checkTimes(token.IssuedAt, token.Expiry, got); err != nil {
		return nil, "", err
	}
	return got, token.Nonce, nil
}

// verifySigned checks that a token is signed with one of the algorithms (RS256 if there are none), comes from
// the issuer, and names the bridge as an audience. It returns ErrIssuer if the keys cannot be fetched, or ErrToken.
func (o *OIDC) verifySigned(ctx context.Context, doc *metadata, algorithms []string, text string) (*oidc.IDToken, claims, error) {
	keys := &keySetWithError{KeySet: doc.keySet}
	token, err := oidc.NewVerifier(o.config.Issuer, keys, &oidc.Config{
		ClientID:             o.config.ClientID,
		SupportedSigningAlgs: algorithms,
		SkipExpiryCheck:      true, // checkTimes checks the times: go-oidc has no leeway for exp
	}).Verify(ctx, text)
	switch {
	case keys.unreachable:
		return nil, nil, fmt.Errorf("%w: its keys cannot be read: %s", ErrIssuer, reason(keys.err))
	case err != nil:
		return nil, nil, fmt.Errorf("%w: the form, algorithm, signature, issuer or audience of the token is wrong", ErrToken)
	}
	got := claims{}
	if err := token.Claims(&got); err != nil {
		return nil, nil, fmt.Errorf("%w: the claims of the token cannot be read", ErrToken)
	}
	return token, got, nil
}

// checkAudience checks that the bridge may use an ID token (OpenID Connect Core, 3.1.3.7, with errata 2). azp,
// if present, must be the bridge; otherwise every other audience must be in OIDCConfig.Audiences.
func (o *OIDC) checkAudience(audience []string, got claims) error {
	if got.has("azp") {
		if got.text("azp") != o.config.ClientID {
			return fmt.Errorf("%w: the ID token was issued to another client (azp)", ErrToken)
		}
		return nil
	}
	for _, other := range audience {
		if other != o.config.ClientID && !slices.Contains(o.config.Audiences, other) {
			return fmt.Errorf("%w: the ID token names another audience, and has no azp; add that audience to BRIDGE_OIDC_AUDIENCES if you trust it", ErrToken)
		}
	}
	return nil
}

// checkTimes checks a token's times. It returns ErrClock if they are wrong, and ErrToken if iat or exp is
// missing or nbf is not a number.
func checkTimes(issued, expires time.Time, got claims) error {
	now := time.Now()
	var notBefore float64
	if !got.has("iat") || !got.has("exp") {
		return fmt.Errorf("%w: the ID token has no iat or no exp", ErrToken)
	}
	if got.has("nbf") && json.Unmarshal(got["nbf"], &notBefore) != nil {
		return fmt.Errorf("%w: nbf of the ID token is not a number", ErrToken)
	}
	switch {
	case now.After(expires.Add(leeway)):
		return fmt.Errorf("%w: a token expired %s ago", ErrClock, now.Sub(expires).Round(time.Second))
	case now.Before(issued.Add(-leeway)):
		return fmt.Errorf("%w: a token was issued %s in the future", ErrClock, issued.Sub(now).Round(time.Second))
	case now.Before(time.Unix(int64(notBefore), 0).Add(-leeway)):
		return fmt.Errorf("%w: a token is not valid yet", ErrClock)
	}
	return nil
}

// keySetWithError keeps the error of the key set. The verifier's own error does not tell it from a wrong signature.
type keySetWithError struct {
	oidc.KeySet
	err         error
	unreachable bool
}

// VerifySignature implements oidc.KeySet.
func (k *keySetWithError) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := k.KeySet.VerifySignature(ctx, token)
	// go-oidc wraps the cause if it cannot fetch the keys. Its error for a wrong signature wraps nothing.
	k.err, k.unreachable = err, errors.Unwrap(err) != nil
	return payload, err
}
