package signin

import (
	"errors"
	"fmt"
	"regexp"
	"slices"

	"golang.org/x/oauth2"
)

// Hints for operators about the settings that the issuer refuses.
const (
	lookAtSecret   = "look at BRIDGE_OIDC_CLIENT_ID and BRIDGE_OIDC_CLIENT_SECRET"
	lookAtRedirect = "register the redirect address of the bridge there (bridge check shows it)"
	lookAtScopes   = "look at BRIDGE_OIDC_SCOPES"
	lookAtGroups   = `let it send fewer groups (at Entra: "Groups assigned to the application"), see deploy/signin.md`
	lookAtClient   = "the client must be a confidential one that may use the authorization code flow"
)

// issuerCodes are the error codes of callbacks and of the token endpoint that mean the same at
// both, with the error and, for an operator, what to look at. Codes of RFC 6749, 4.1.2.1 and 5.2;
// of Slack, which answers 200 (https://docs.slack.dev/reference/methods/openid.connect.token);
// and redirect_uri_mismatch of Google
// (https://developers.google.com/identity/protocols/oauth2/web-server).
var issuerCodes = map[string]struct {
	because error
	hint    string
}{
	// The code was used, has expired, or belongs to another sign-in.
	"invalid_grant":     {because: ErrState},
	"invalid_code":      {because: ErrState},
	"code_already_used": {because: ErrState},
	// The same for a refresh token at Slack.
	"invalid_refresh_token": {because: ErrState},

	"invalid_client":            {ErrSetup, lookAtSecret},
	"bad_client_secret":         {ErrSetup, lookAtSecret},
	"invalid_client_id":         {ErrSetup, lookAtSecret},
	"bad_redirect_uri":          {ErrSetup, lookAtRedirect},
	"redirect_uri_mismatch":     {ErrSetup, lookAtRedirect},
	"invalid_scope":             {ErrSetup, lookAtScopes},
	"unauthorized_client":       {ErrSetup, lookAtClient},
	"unsupported_grant_type":    {ErrSetup, lookAtClient},
	"unsupported_response_type": {ErrSetup, lookAtClient},
	"invalid_request":           {because: ErrSetup},

	"server_error":            {because: ErrIssuer},
	"temporarily_unavailable": {because: ErrIssuer},
}

// personCodes are the codes of callbacks that mean that the person has to sign in again (OpenID Connect Core,
// 3.1.2.6). Entra answers a refresh with them too
// (https://learn.microsoft.com/entra/identity-platform/v2-oauth2-auth-code-flow#error-codes-for-token-endpoint-errors).
var personCodes = []string{"interaction_required", "login_required", "account_selection_required", "consent_required"}

// plainCode is the form of an error code that errors may show. A code of another form may be
// anything.
var plainCode = regexp.MustCompile(`^[a-z][a-z0-9_.-]{1,59}$`)

// tokenError returns the error of a failed request to the token endpoint: ErrState if the issuer
// does not accept the grant, ErrSetup, or ErrIssuer for any other reason.
func tokenError(doing string, err error) error {
	because, hint := ErrIssuer, ""
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		if known, ok := issuerCodes[refused.ErrorCode]; ok {
			because, hint = known.because, known.hint
		}
	}
	return withHint(fmt.Errorf("%w: %s: %s", because, doing, reason(err)), hint)
}

// refreshError returns the error of a failed refresh: ErrNobody if the issuer does not accept the refresh
// token or wants the person to sign in again, and ErrIssuer for any other reason.
func refreshError(err error) error {
	failed := tokenError("refresh the access token", err)
	code := ""
	if refused, ok := errors.AsType[*oauth2.RetrieveError](err); ok {
		code = refused.ErrorCode
	}
	switch {
	case errors.Is(failed, ErrState), slices.Contains(personCodes, code), slices.Contains(tokenCodes, code):
		return fmt.Errorf("%w: the refresh token is refused: %s", ErrNobody, reason(err))
	case errors.Is(failed, ErrSetup):
		return fmt.Errorf("%w: %w", ErrIssuer, failed)
	}
	return failed
}

// callbackError returns the error for the parameter error of a callback: ErrIssuer or ErrSetup,
// or ErrDenied for any other reason.
func callbackError(code string) error {
	known, ok := issuerCodes[code]
	switch {
	case ok && !errors.Is(known.because, ErrState):
		return withHint(fmt.Errorf("%w: its error is %s", known.because, code), known.hint)
	case plainCode.MatchString(code):
		return fmt.Errorf("%w: its error is %s", ErrDenied, code)
	}
	return ErrDenied
}

func withHint(err error, hint string) error {
	if hint == "" {
		return err
	}
	return fmt.Errorf("%w; %s", err, hint)
}
