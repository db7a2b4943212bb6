package slack

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"

	slackapi "github.com/slack-go/slack"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rest"
)

// errAnswer means that Slack answered something that cannot be understood.
var errAnswer = errors.New("the answer cannot be read")

// errPerhaps means that a post may be there, and nobody can tell.
var errPerhaps = errors.New("perhaps posted: the answer was lost, and the app may not read there to find out")

// errUnseen means that a post may be there, and can be found out.
var errUnseen = errors.New("perhaps posted: the answer was lost, and the message is not to be seen yet")

// Slack's error codes (docs.slack.dev/reference/methods), by what is to be done.
var (
	// An operator can mend these.
	credentialCodes = []string{
		"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "no_permission",
		"org_login_required", "ekm_access_denied", "team_access_not_granted", "enterprise_is_restricted",
		"access_denied", "not_allowed_token_type",
	}
	memberCodes = []string{"not_in_channel", "channel_not_found"}
	// Time mends these.
	passingCodes = []string{"request_timeout", "external_channel_migrating", "team_added_to_org"}
	// These may have been carried out all the same.
	doubtfulCodes = []string{"internal_error", "fatal_error", "service_unavailable"}
	limitCodes    = []string{"ratelimited", "rate_limited"}
)

var (
	codeText    = regexp.MustCompile(`^[a-z][a-z_]{2,59}$`)
	scopeText   = regexp.MustCompile(`^[a-z][a-z:._, ]{2,200}$`)
	pointerText = regexp.MustCompile(`json-pointer:(/[a-z0-9_/]{1,100})`)
)

// refused gives Slack's code for a refusal.
func refused(err error) (code string, ok bool) {
	r, ok := errors.AsType[slackapi.SlackErrorResponse](err)
	if ok && !codeText.MatchString(r.Err) {
		return "unknown", true // whatever it is, it is not told
	}
	return r.Err, ok
}

func refusedAs(err error, codes ...string) bool {
	code, ok := refused(err)
	return ok && slices.Contains(codes, code)
}

// undone reports whether a failed call certainly changed nothing.
func undone(err error) bool {
	if _, ok := errors.AsType[*unsentError](err); ok {
		return true
	}
	if _, ok := errors.AsType[*slackapi.RateLimitedError](err); ok {
		return true
	}
	if s, ok := errors.AsType[slackapi.StatusCodeError](err); ok {
		return s.Code >= 300 && s.Code < 500
	}
	_, ok := refused(err)
	return ok && !refusedAs(err, doubtfulCodes...)
}

// opConnect is the one call that is made with the app's token.
const opConnect = "POST apps.connections.open"

// fault says what the bridge should do about a failed call of the API, in words
// that hold nothing of what was sent or answered.
func (c *connector) fault(op string, err error) error {
	if err == nil {
		return nil
	}
	if l, ok := errors.AsType[*slackapi.RateLimitedError](err); ok {
		return limited(op, l.RetryAfter)
	}
	if s, ok := errors.AsType[slackapi.StatusCodeError](err); ok {
		return c.status(op, s.Code)
	}
	if code, ok := refused(err); ok {
		return c.refusal(op, code, err)
	}
	_, transport := errors.AsType[*url.Error](err)
	_, network := errors.AsType[net.Error](err)
	if transport || network || errors.Is(err, context.Canceled) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return rest.Broken(op, err)
	}
	return fmt.Errorf("%s: %w", op, errAnswer)
}

func limited(op string, wait time.Duration) error {
	return bridge.RetryAfter(fmt.Errorf("%s: Slack asks for a pause", op), wait)
}

// status is for an answer that is not Slack's API speaking: it answers 200 to
// everything that is not a rate limit or a fault of its own.
func (c *connector) status(op string, code int) error {
	err := fmt.Errorf("%s: answered %d %s", op, code, http.StatusText(code))
	switch {
	case code == http.StatusTooManyRequests:
		return limited(op, blindWait)
	case code < 400, code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusNotFound, code == http.StatusMethodNotAllowed:
		return fmt.Errorf("%w: is %s right, and does a proxy let the bridge through?", err, c.env("URL"))
	case code >= 500, code == http.StatusRequestTimeout, code == http.StatusTooEarly:
		return err
	}
	return bridge.Permanent(err)
}

func (c *connector) refusal(op, code string, cause error) error {
	err := fmt.Errorf("%s: Slack refuses it: %s", op, code)
	r, _ := errors.AsType[slackapi.SlackErrorResponse](cause)
	switch {
	case slices.Contains(limitCodes, code):
		return limited(op, blindWait)
	case op == opConnect && (code == "missing_scope" || slices.Contains(credentialCodes, code)):
		return fmt.Errorf("%w: is %s an app-level token of this app with the scope connections:write, and is Socket Mode on?", err, c.env("APP_TOKEN"))
	case code == "missing_scope" && scopeText.MatchString(r.Needed):
		return fmt.Errorf("%w: give the app the scope %s and install it again", err, r.Needed)
	case code == "missing_scope":
		return fmt.Errorf("%w: give the app the scopes of its manifest and install it again", err)
	case slices.Contains(credentialCodes, code):
		return fmt.Errorf("%w: is %s the token of the app as it is installed now?", err, c.env("BOT_TOKEN"))
	case slices.Contains(memberCodes, code):
		return fmt.Errorf("%w: invite the app to the channel", err)
	case slices.Contains(passingCodes, code), slices.Contains(doubtfulCodes, code):
		return err
	case code == "invalid_blocks":
		if at := pointerText.FindStringSubmatch(strings.Join(r.ResponseMetadata.Messages, " ")); at != nil {
			err = fmt.Errorf("%w at %s", err, at[1])
		}
	}
	return bridge.Permanent(err)
}
