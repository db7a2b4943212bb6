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

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/rest"

	slackapi "github.com/slack-go/slack"
)

// errAnswer means that Slack's answer cannot be read.
var errAnswer = errors.New("the answer cannot be read")

// errPerhaps means that a message may have been posted, and the app cannot search for it.
var errPerhaps = errors.New("perhaps posted: the answer was lost, and the app may not read the channel")

// errUnseen means that a message may have been posted, and the search has not found it yet.
var errUnseen = errors.New("perhaps posted: the answer was lost, and the message was not found yet")

// Slack's error codes (docs.slack.dev/reference/methods), by how the connector handles them.
var (
	// The operator can fix these.
	credentialCodes = []string{
		"invalid_auth", "not_authed", "account_inactive", "token_revoked", "token_expired", "no_permission",
		"org_login_required", "ekm_access_denied", "team_access_not_granted", "enterprise_is_restricted",
		"access_denied", "not_allowed_token_type",
	}
	memberCodes = []string{"not_in_channel", "channel_not_found"}
	// These are temporary.
	passingCodes = []string{"request_timeout", "external_channel_migrating", "team_added_to_org"}
	// After these the call may have been carried out.
	doubtfulCodes = []string{"internal_error", "fatal_error", "service_unavailable"}

	documented = rest.Codes{
		// The same call can never succeed. An archived channel is not among them, since an
		// operator can restore it.
		Final: slices.Concat(lateTriggers, usedTriggers, []string{
			"user_not_found", "users_not_found", "cannot_dm_bot", "user_disabled",
			"msg_too_long", "no_text", "invalid_blocks", "invalid_arguments", "block_mismatch",
			"message_not_found", "cant_update_message", "edit_window_closed",
		}),
		Limits: []string{"ratelimited", "rate_limited"},
	}
)

var (
	scopeText   = regexp.MustCompile(`^[a-z][a-z:._, ]{2,200}$`)
	pointerText = regexp.MustCompile(`json-pointer:(/[a-z0-9_/]{1,100})`)
)

// refused returns Slack's error code. ok is false if err is not an error of Slack's API.
func refused(err error) (code string, ok bool) {
	r, ok := errors.AsType[slackapi.SlackErrorResponse](err)
	if ok && !rest.IsCode(r.Err) {
		return "unknown", true // a code of another form is not logged
	}
	return r.Err, ok
}

func refusedAs(err error, codes ...string) bool {
	code, ok := refused(err)
	return ok && slices.Contains(codes, code)
}

// changedNothing reports whether it is certain that a failed call changed nothing.
func changedNothing(err error) bool {
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

// unfit reports whether Slack's API refused a call for a reason that has to do with the call
// itself, so that another way to show the message may work: the code is neither about the
// installation, nor passing, nor a rate limit. A code that is not known counts too.
func unfit(err error) bool {
	code, ok := refused(err)
	return ok && !slices.Contains(slices.Concat(documented.Limits, credentialCodes, passingCodes, doubtfulCodes), code)
}

// opConnect is the only call that uses the app-level token.
const opConnect = "POST apps.connections.open"

// fault turns the error of a call into one that tells the bridge whether to retry. Its text
// contains nothing of the request or the answer.
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
	return chat.RetryAfter(fmt.Errorf("%s: rate limited by Slack", op), wait)
}

// status is the error of an answer other than 200. Slack's API itself answers 200 except for
// rate limits and its own failures, so others come from a proxy or a wrong address.
func (c *connector) status(op string, code int) error {
	err := fmt.Errorf("%s: answered %d %s", op, code, http.StatusText(code))
	switch {
	case code < 400, code == http.StatusUnauthorized, code == http.StatusForbidden, code == http.StatusNotFound, code == http.StatusMethodNotAllowed:
		return fmt.Errorf("%w: check %s, and whether a proxy blocks the bridge", err, c.env("URL"))
	}
	return documented.Mark(err, code, "", rest.DefaultWait)
}

// refusal is the error of a call that Slack's API refused with a code.
func (c *connector) refusal(op, code string, cause error) error {
	err := fmt.Errorf("%s: refused by Slack: %s", op, code)
	r, _ := errors.AsType[slackapi.SlackErrorResponse](cause)
	switch {
	case op == opConnect && (code == "missing_scope" || slices.Contains(credentialCodes, code)):
		return fmt.Errorf("%w: check that %s is an app-level token of this app with the scope connections:write, and that Socket Mode is on", err, c.env("APP_TOKEN"))
	case code == "missing_scope" && scopeText.MatchString(r.Needed):
		return fmt.Errorf("%w: give the app the scope %s and install it again", err, r.Needed)
	case code == "missing_scope":
		return fmt.Errorf("%w: give the app the scopes of its manifest and install it again", err)
	case slices.Contains(credentialCodes, code):
		return fmt.Errorf("%w: check that %s is the token of the app's latest installation", err, c.env("BOT_TOKEN"))
	case slices.Contains(memberCodes, code):
		return fmt.Errorf("%w: invite the app to the channel", err)
	}
	if at := pointerText.FindStringSubmatch(strings.Join(r.ResponseMetadata.Messages, " ")); code == "invalid_blocks" && at != nil {
		err = fmt.Errorf("%w at %s", err, at[1])
	}
	return documented.Mark(err, http.StatusOK, code, rest.DefaultWait)
}
