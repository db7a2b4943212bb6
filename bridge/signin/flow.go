package signin

import (
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/coreos/go-oidc/v3/oidc"
	"golang.org/x/oauth2"
)

const (
	// leeway is by how much the issuer's clock may differ from ours.
	leeway = time.Minute
	// finishTimeout is for how long a callback waits for the issuer altogether.
	finishTimeout = 10 * time.Second
)

// Begin sends the browser to the issuer, and to next once Finish is through.
// What does not lead to a page of the bridge counts as "/". If there is an error
// (ErrIssuer), nothing was answered yet.
func (o *OIDC) Begin(w http.ResponseWriter, r *http.Request, next string) error {
	about, err := o.issuer.discover(r.Context())
	if err != nil {
		return err
	}
	state, u := o.begin(w, r, next)
	h := w.Header()
	h.Set("Location", o.oauth2(about).AuthCodeURL(state, oidc.Nonce(u.Nonce), oauth2.S256ChallengeOption(u.Verifier)))
	h.Set("Cache-Control", "no-store")
	h.Set("Referrer-Policy", "no-referrer")
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// Finish is for the callback: it takes the issuer's word for who is there and
// starts a session in place of the one the browser had. It only sets cookies;
// the caller redirects to next, which leads to a page of the bridge. The error is
// any but ErrNobody and those about headers.
func (o *OIDC) Finish(w http.ResponseWriter, r *http.Request) (who Identity, next string, err error) {
	q := r.URL.Query()
	for _, name := range []string{"state", "code", "error", "iss"} {
		if len(q[name]) > 1 {
			return who, "", fmt.Errorf("%w: the callback has %s twice", ErrState, name)
		}
	}
	u, err := o.finish(w, r, q.Get("state"))
	if err != nil {
		return who, "", err
	}
	ctx, cancel := context.WithTimeout(r.Context(), finishTimeout)
	defer cancel()
	about, err := o.issuer.discover(ctx)
	if err != nil {
		return who, "", err
	}
	// RFC 9207: the answer of another issuer must not be taken for this one's.
	if iss := q.Get("iss"); iss != o.config.Issuer && (iss != "" || about.NamesItself) {
		return who, "", fmt.Errorf("%w: the callback is another issuer's", ErrToken)
	}
	switch code := q.Get("error"); code {
	case "":
	case "server_error", "temporarily_unavailable": // RFC 6749, 4.1.2.1
		return who, "", fmt.Errorf("%w: it said %s", ErrIssuer, code)
	default:
		return who, "", ErrDenied
	}
	if q.Get("code") == "" {
		return who, "", fmt.Errorf("%w: the callback has no code", ErrState)
	}
	s, err := o.exchange(ctx, about, q.Get("code"), u)
	if err != nil {
		return who, "", err
	}
	if err := o.start(w, r, s); err != nil {
		return who, "", err
	}
	return s.Identity, u.Next, nil
}

// exchange trades the code for tokens, and those for a session.
func (o *OIDC) exchange(ctx context.Context, about *metadata, code string, u underWay) (s session, err error) {
	ctx = oidc.ClientContext(ctx, o.issuer.client)
	tokens, err := o.oauth2(about).Exchange(ctx, code, oauth2.VerifierOption(u.Verifier))
	if err != nil {
		because := ErrIssuer
		if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok && refused.ErrorCode == "invalid_grant" {
			because = ErrState // the code is used, too old, or of another sign-in
		}
		return s, fmt.Errorf("%w: exchange the code: %s", because, reason(err))
	}
	idToken, _ := tokens.Extra("id_token").(string)
	said, err := o.verify(ctx, about, idToken, tokens.AccessToken, u.Nonce)
	if err != nil {
		return s, err
	}
	subject := said.text("sub")
	if subject == "" || len(subject) > 255 { // OpenID Connect Core, 2
		return s, fmt.Errorf("%w: it has no proper subject", ErrToken)
	}
	now := time.Now().UTC()
	s = session{
		Session: Session{Identity: Identity{ID: identify(o.issuer.url, subject)}, Began: now, Seen: now},
		Next:    now.Add(o.every),
	}
	o.learn(&s.Identity, said)
	if about.Userinfo == "" {
		return s, o.admit(s.Identity)
	}

	s.Access = secret(tokens.AccessToken)
	switch err := o.ask(ctx, about, &s); {
	case errors.Is(err, errRefused):
		o.log.Warn("the issuer's userinfo refuses fresh tokens; sessions are not checked with it", "agent", s.ID)
		s.Access = ""
	case err != nil:
		return s, err
	}
	return s, o.admit(s.Identity)
}

// verify checks an ID token as OpenID Connect Core, 3.1.3.7, demands, and returns
// what it claims.
func (o *OIDC) verify(ctx context.Context, about *metadata, idToken, access, nonce string) (claims, error) {
	keys := &watched{KeySet: about.keys}
	token, err := oidc.NewVerifier(o.config.Issuer, keys, &oidc.Config{
		ClientID:             o.config.ClientID,
		SupportedSigningAlgs: about.Algorithms,
		SkipExpiryCheck:      true, // it has no leeway for the end, and five minutes for the beginning
	}).Verify(ctx, idToken)
	switch {
	case keys.unreachable:
		return nil, fmt.Errorf("%w: ask for its keys: %s", ErrIssuer, reason(keys.err))
	case err != nil:
		return nil, fmt.Errorf("%w: its signature, issuer or audience is wrong", ErrToken)
	}
	said := claims{}
	if err := token.Claims(&said); err != nil {
		return nil, fmt.Errorf("%w: its claims cannot be read", ErrToken)
	}
	if subtle.ConstantTimeCompare([]byte(token.Nonce), []byte(nonce)) != 1 {
		return nil, fmt.Errorf("%w: it belongs to another sign-in", ErrToken)
	}
	if party := said.text("azp"); party != o.config.ClientID && (said.has("azp") || len(token.Audience) > 1) {
		return nil, fmt.Errorf("%w: it was made out to another client", ErrToken)
	}
	if token.AccessTokenHash != "" && token.VerifyAccessToken(access) != nil {
		return nil, fmt.Errorf("%w: it belongs to another access token", ErrToken)
	}
	return said, inTime(token.IssuedAt, token.Expiry, said)
}

// inTime checks a token's times, which are ErrClock where they are there but
// wrong.
func inTime(issued, expires time.Time, said claims) error {
	now := time.Now()
	var notBefore float64
	if said.has("nbf") && json.Unmarshal(said["nbf"], &notBefore) != nil || !said.has("iat") || !said.has("exp") {
		return fmt.Errorf("%w: it lacks a time", ErrToken)
	}
	switch {
	case now.After(expires.Add(leeway)):
		return fmt.Errorf("%w: a token expired %s ago", ErrClock, now.Sub(expires).Round(time.Second))
	case now.Before(issued.Add(-leeway)):
		return fmt.Errorf("%w: a token is from %s ahead", ErrClock, issued.Sub(now).Round(time.Second))
	case now.Before(time.Unix(int64(notBefore), 0).Add(-leeway)):
		return fmt.Errorf("%w: a token is not good yet", ErrClock)
	}
	return nil
}

// watched notices whether a signature is wrong or the keys could not be had,
// which the verifier's error does not tell.
type watched struct {
	oidc.KeySet
	err         error
	unreachable bool
}

func (w *watched) VerifySignature(ctx context.Context, token string) ([]byte, error) {
	payload, err := w.KeySet.VerifySignature(ctx, token)
	// Only an error of fetching keys wraps another.
	w.err, w.unreachable = err, errors.Unwrap(err) != nil
	return payload, err
}
