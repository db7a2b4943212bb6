package signin

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"

	"cobrowse-bridge/bridge/requestid"
)

var (
	// errRefused means that the issuer refuses the access token.
	errRefused = errors.New("the access token is refused")
	// errUserinfoUnusable means that there is no userinfo endpoint, or that its answer cannot be used.
	errUserinfoUnusable = fmt.Errorf("%w: the userinfo answer cannot be used", ErrIssuer)
)

// signedForm matches a signed token (JWS): three base64url parts with dots between.
var signedForm = regexp.MustCompile(`^[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+$`)

// tokenCodes are the error codes with which Slack refuses an access token or a person, in an answer of
// status 200 (https://docs.slack.dev/reference/methods/openid.connect.userInfo).
var tokenCodes = []string{
	"access_denied", "account_inactive", "ekm_access_denied", "enterprise_is_restricted", "invalid_auth", "invalid_token",
	"no_permission", "not_authed", "org_login_required", "team_access_not_granted", "token_expired", "token_revoked",
}

// addUserinfo adds userinfo to a new session, and checks that the person may sign in. If userinfo fails, only
// the claims of the ID token are used; if they lack a claim that admit needs, the error is ErrIssuer. If userinfo
// refused the token or gave an unusable answer, the tokens are dropped, and the session is never checked again.
func (o *OIDC) addUserinfo(ctx context.Context, doc *metadata, s *session, idToken claims) error {
	failed := o.updateFromUserinfo(ctx, doc, s)
	switch {
	case failed == nil:
		return o.admit(s.Identity)
	case errors.Is(failed, ErrToken):
		return failed
	case errors.Is(failed, errRefused), errors.Is(failed, errUserinfoUnusable):
		s.dropTokens()
	default:
		s.Next = s.Began.Add(min(checkAgain, o.checkInterval))
	}
	err := o.admit(s.Identity)
	if err == nil {
		o.log.Warn("userinfo failed; signed in with the ID token only", "agent", s.ID, "will_be_checked", s.Access != "", "err", failed)
		return nil
	}
	if !missingClaim(err, idToken) {
		return err
	}
	if errors.Is(failed, errRefused) {
		failed = fmt.Errorf("%w: userinfo: %w", ErrIssuer, failed)
	}
	return fmt.Errorf("%w; the ID token does not show that the person may sign in", failed)
}

// missingClaim reports whether the cause of an error of admit is a claim that the ID token does not have.
func missingClaim(err error, idToken claims) bool {
	switch {
	case errors.Is(err, ErrGroupsLeftOut):
		return false
	case errors.Is(err, ErrGroup):
		return !idToken.has("groups")
	case errors.Is(err, ErrDomain):
		return !idToken.has("email") || !idToken.has("email_verified")
	}
	return false
}

// updateFromUserinfo gets userinfo from the issuer and updates the session. Its error wraps ErrIssuer (and
// errUserinfoUnusable if the answer cannot be used), errRefused, or ErrToken if userinfo has another subject or none.
func (o *OIDC) updateFromUserinfo(ctx context.Context, doc *metadata, s *session) error {
	answer, err := o.issuer.fetch(requestid.WithRoute(ctx, "userinfo"), doc.Userinfo, string(s.Access), "application/json, application/jwt;q=0.9")
	switch {
	case err != nil:
		return fmt.Errorf("%w: userinfo cannot be read: %s", ErrIssuer, reason(err))
	case answer.status == http.StatusUnauthorized, answer.status == http.StatusForbidden:
		return errRefused
	case noEndpoint(answer.status):
		return fmt.Errorf("%w: HTTP status %d", errUserinfoUnusable, answer.status)
	case answer.status != http.StatusOK:
		return fmt.Errorf("%w: userinfo cannot be read: HTTP status %d", ErrIssuer, answer.status)
	}
	info, err := o.readUserinfo(ctx, doc, answer.body)
	if err != nil {
		return err
	}
	if idOf(o.issuer.url, info.text("sub")) != s.ID {
		return fmt.Errorf("%w: userinfo has another subject, or none", ErrToken)
	}
	o.update(&s.Identity, info)
	if info.has("groups") {
		s.Listed = true
	} else if s.Listed {
		s.Groups = nil // groups that were listed before and are missing now were removed
	}
	return nil
}

// noEndpoint reports whether a status means that the address is no userinfo endpoint: it is missing, or
// redirects to a web page.
func noEndpoint(status int) bool {
	switch status {
	case http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotAcceptable, http.StatusGone, http.StatusNotImplemented:
		return true
	}
	return status/100 == 3
}

// readUserinfo reads the claims of userinfo: JSON, or a signed token (OpenID Connect Core, 5.3.2). It returns
// errRefused or ErrIssuer if the JSON is an error message, as Slack sends with status 200.
func (o *OIDC) readUserinfo(ctx context.Context, doc *metadata, body []byte) (claims, error) {
	if text := bytes.TrimSpace(body); signedForm.Match(text) {
		_, info, err := o.verifySigned(ctx, doc, doc.UserinfoAlgorithms, string(text))
		if errors.Is(err, ErrToken) {
			return nil, fmt.Errorf("%w: the form, algorithm, signature, issuer or audience of the token is wrong", errUserinfoUnusable)
		}
		return info, err
	}
	info := claims{}
	if err := readJSON(body, &info); err != nil {
		return nil, fmt.Errorf("%w: %s", errUserinfoUnusable, reason(err))
	}
	code := info.text("error")
	switch {
	case info.has("sub"), code == "" && string(info["ok"]) != "false":
		return info, nil // if sub is missing, updateFromUserinfo refuses it
	case slices.Contains(tokenCodes, code):
		return nil, errRefused
	case plainCode.MatchString(code):
		return nil, fmt.Errorf("%w: userinfo answered with the error %s", ErrIssuer, code)
	}
	return nil, fmt.Errorf("%w: userinfo answered with an error", ErrIssuer)
}

// checkUserinfo asks userinfo without a token, for `bridge check`. A userinfo endpoint refuses such a request.
// If the answer looks like a missing page or HTML, the error is ErrUserinfo.
func (o *OIDC) checkUserinfo(ctx context.Context, doc *metadata) error {
	if doc.Userinfo == "" {
		return nil
	}
	answer, err := o.issuer.fetch(requestid.WithRoute(ctx, "userinfo"), doc.Userinfo, "", "application/json")
	switch {
	case err != nil:
		return fmt.Errorf("%w: %s", ErrUserinfo, reason(err))
	case noEndpoint(answer.status), answer.status >= http.StatusInternalServerError:
		return fmt.Errorf("%w: HTTP status %d", ErrUserinfo, answer.status)
	case answer.status == http.StatusOK && readJSON(answer.body, &claims{}) != nil:
		return fmt.Errorf("%w: %w", ErrUserinfo, errNotJSON)
	}
	return nil
}
