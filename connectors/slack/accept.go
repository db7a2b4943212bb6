package slack

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/connectors/rest"
)

// Slack signs a request with v0=hex(HMAC-SHA256(secret, "v0:" + time + ":" + body))
// (docs.slack.dev/authentication/verifying-requests-from-slack). The time is in a header and
// may differ from ours by up to five minutes. The path, the query and other headers are not
// signed, so nothing is read from them.
const (
	signatureHeader = "X-Slack-Signature"
	timeHeader      = "X-Slack-Request-Timestamp"
	maxSkew         = 5 * time.Minute
)

var unixForm = regexp.MustCompile(`^[0-9]{1,11}$`)

var errUnreadable = errors.New("the request is not a command, an interaction or an event")

// accept receives every kind of request at one address. It checks the signature before it
// parses anything.
func (c *connector) accept(r *http.Request, body []byte) (chat.Receipt, error) {
	if r.URL.Path != "/hooks/"+c.name {
		return chat.Receipt{}, chat.ErrNoRoute
	}
	if why := c.forgeryReason(r.Header, body); why != "" {
		c.log.WarnContext(r.Context(), "request refused", "connector", c.name, "why", why)
		return chat.Receipt{}, chat.ErrForged
	}
	if bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return c.event(body)
	}
	// Read the signed body only; Request.FormValue would read the query too.
	form, err := url.ParseQuery(string(body))
	switch {
	case err != nil:
		return chat.Receipt{}, errUnreadable
	case form.Has("payload"):
		return c.interaction([]byte(form.Get("payload")))
	case form.Get("ssl_check") == "1":
		return chat.Receipt{}, nil
	case form.Has("command"):
		return c.command(form)
	}
	return chat.Receipt{}, errUnreadable
}

// forgeryReason says why a request does not prove that it comes from Slack; empty means that
// it does.
func (c *connector) forgeryReason(h http.Header, body []byte) string {
	signatures, times := h.Values(signatureHeader), h.Values(timeHeader)
	if len(signatures) != 1 || len(times) != 1 || !unixForm.MatchString(times[0]) {
		return "it has no valid signature headers: it is not from Slack, or a proxy removes X-Slack-Signature"
	}
	genuine := false
	for _, value := range secret.AcceptedOf(c.secrets) {
		// Compare the text, not the decoded bytes, so that only one spelling is accepted.
		want := signature([]byte(value), times[0], body)
		genuine = hmac.Equal([]byte(want), []byte(signatures[0])) || genuine
	}
	if !genuine {
		return "the signature is wrong: check that the signing secret is that of this app"
	}
	seconds, err := strconv.ParseInt(times[0], 10, 64)
	if skew := time.Since(time.Unix(seconds, 0)); err != nil || skew >= maxSkew || skew <= -maxSkew {
		return "this machine's clock is " + rest.ClockDifference(skew) + " the time at which it was signed: set the clock, for instance with NTP; if the clock is right, an old request was sent again"
	}
	return ""
}

func signature(secret []byte, unix string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("v0:" + unix + ":"))
	mac.Write(body)
	return "v0=" + hex.EncodeToString(mac.Sum(nil))
}

// kept is the body that the bridge stores for a delivery of either transport. Of what the
// agent wrote it contains only the clue.
type kept struct {
	Kind string `json:"kind"`

	Team       string `json:"team,omitzero"`
	Enterprise string `json:"enterprise,omitzero"`

	User    string `json:"user"`
	Channel string `json:"channel,omitzero"`
	Thread  string `json:"thread,omitzero"`
	// Respond is a response_url. It is a secret: it allows posting for half an hour.
	Respond string `json:"respond,omitzero"`
	// Trigger opens one dialog, within three seconds.
	Trigger string `json:"trigger,omitzero"`

	query
	// Typed is the name of the slash command in this workspace.
	Typed string `json:"typed,omitzero"`
	// Card is the card whose button was pressed.
	Card string `json:"card,omitzero"`
}

// The kinds of delivery.
const (
	kindCommand = "command" // the slash command
	kindMention = "mention" // a mention of the app
	kindMessage = "message" // the shortcut of a message
	kindGlobal  = "global"  // the global shortcut
	kindSearch  = "search"  // a press on the button that opens the dialog
	kindSubmit  = "submit"  // the dialog was submitted
	kindOpen    = "open"    // a press on a card that several people see
	kindHome    = "home"    // the Home tab was opened
)

// receipt makes the receipt of a delivery. parts distinguish it from the user's other
// deliveries of the same kind. They contain the workspace only if needed: Slack may send one
// event of an organisation for several workspaces.
func (k kept) receipt(parts ...string) (chat.Receipt, error) {
	if !userID(k.User) {
		return chat.Receipt{Note: k.Kind + " ignored: it has no valid user id"}, nil
	}
	// For a channel of an unknown kind the response_url is enough.
	if !conversationForm.MatchString(k.Channel) {
		k.Channel = ""
	}
	if !stamp(k.Thread) {
		k.Thread = ""
	}
	body, err := json.Marshal(k)
	if err != nil {
		return chat.Receipt{}, err
	}
	return chat.Receipt{Key: k.Kind + "/" + digest(append([]string{k.User}, parts...)...), Body: body}, nil
}

// command reads a slash command, which came as a form or through Socket Mode
// (docs.slack.dev/interactivity/implementing-slash-commands). The 200 is empty, and the
// answer follows through the response_url.
func (c *connector) command(form url.Values) (chat.Receipt, error) {
	k := kept{
		Kind: kindCommand,
		Team: form.Get("team_id"), Enterprise: form.Get("enterprise_id"),
		User: form.Get("user_id"), Channel: form.Get("channel_id"),
		// Slack refuses commands in threads today, so this is empty.
		Thread:  form.Get("thread_ts"),
		Respond: form.Get("response_url"), query: parseQuery(form.Get("text")), Typed: typed(form.Get("command")),
	}
	// The trigger is the only unique id of a command.
	if trigger := form.Get("trigger_id"); trigger != "" {
		return k.receipt(trigger)
	}
	return k.receipt(k.Team, k.Channel, k.Respond, form.Get("text"))
}

var typedForm = regexp.MustCompile(`^/[^\s<>&]{1,31}$`)

// typed returns the command's name, such as "/cobrowse".
func typed(command string) string {
	if typedForm.MatchString(command) {
		return command
	}
	return "/cobrowse"
}
