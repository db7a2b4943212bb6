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

	"cobrowse-bridge/bridge"
)

// How Slack signs (docs.slack.dev/authentication/verifying-requests-from-slack):
// v0=hex(HMAC-SHA256(secret, "v0:" + time + ":" + body)), with the time of a
// header, which may be five minutes off in either direction. The path, the query
// and other headers are not signed, so nothing is read from them.
const (
	signatureHeader = "X-Slack-Signature"
	timeHeader      = "X-Slack-Request-Timestamp"
	window          = 5 * time.Minute
)

var unixForm = regexp.MustCompile(`^[0-9]{1,11}$`)

var errUnreadable = errors.New("neither a command nor an interaction nor an event")

// accept takes everything at one address. The signature comes first: nothing is
// parsed before it.
func (c *connector) accept(r *http.Request, body []byte) (bridge.Receipt, error) {
	if r.URL.Path != "/hooks/"+c.name {
		return bridge.Receipt{}, bridge.ErrNoRoute
	}
	if why := c.doubt(r.Header, body); why != "" {
		c.log.WarnContext(r.Context(), "a request is refused", "connector", c.name, "why", why)
		return bridge.Receipt{}, bridge.ErrForged
	}
	if bytes.HasPrefix(bytes.TrimLeft(body, " \t\r\n"), []byte("{")) {
		return c.event(body)
	}
	// Only what was signed is read; Request.FormValue would take the query too.
	form, err := url.ParseQuery(string(body))
	switch {
	case err != nil:
		return bridge.Receipt{}, errUnreadable
	case form.Has("payload"):
		return c.interaction([]byte(form.Get("payload")))
	case form.Get("ssl_check") == "1":
		return bridge.Receipt{}, nil
	case form.Has("command"):
		return c.command(form)
	}
	return bridge.Receipt{}, errUnreadable
}

// doubt says why a request does not prove that it comes from Slack; empty means
// that it does.
func (c *connector) doubt(h http.Header, body []byte) string {
	signatures, times := h.Values(signatureHeader), h.Values(timeHeader)
	if len(signatures) != 1 || len(times) != 1 || !unixForm.MatchString(times[0]) {
		return "it is not signed as Slack signs"
	}
	genuine := false
	for _, secret := range c.secrets {
		// Text is compared, not what it decodes to: there is one spelling.
		want := signature(secret, times[0], body)
		genuine = hmac.Equal([]byte(want), []byte(signatures[0])) || genuine
	}
	if !genuine {
		return "the signature does not fit: is it the signing secret of this app?"
	}
	seconds, err := strconv.ParseInt(times[0], 10, 64)
	if skew := time.Since(time.Unix(seconds, 0)); err != nil || skew >= window || skew <= -window {
		return "it was signed " + skew.Round(time.Second).String() + " ago: is this clock right?"
	}
	return ""
}

func signature(secret []byte, unix string, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("v0:" + unix + ":"))
	mac.Write(body)
	return "v0=" + hex.EncodeToString(mac.Sum(nil))
}

// kept is the body that the bridge stores for a delivery, in the same form for
// both transports. Of what was written only the clue is in it.
type kept struct {
	Kind string `json:"kind"`

	Team       string `json:"team,omitzero"`
	Enterprise string `json:"enterprise,omitzero"`

	User    string `json:"user"`
	Channel string `json:"channel,omitzero"`
	Thread  string `json:"thread,omitzero"`
	// Respond is a response_url: whoever has it can post, for half an hour.
	Respond string `json:"respond,omitzero"`
	// Trigger opens a dialog within three seconds, once.
	Trigger string `json:"trigger,omitzero"`

	query
	// Typed is the command as the workspace calls it.
	Typed string `json:"typed,omitzero"`
	// Card is the card whose button was pressed.
	Card string `json:"card,omitzero"`
}

// Kinds of delivery.
const (
	kindCommand = "command"
	kindMention = "mention"
	kindMessage = "message" // the shortcut at a message
	kindGlobal  = "global"  // the shortcut anywhere
	kindSearch  = "search"  // a press on the button that opens the dialog
	kindSubmit  = "submit"  // the dialog, filled in
	kindOpen    = "open"    // a press on a card that several people see
	kindHome    = "home"
)

// receipt is for a delivery that means something. parts tell it from all others of
// the user. The workspace is none of them where they do without: one event of an
// organisation may be said to be of several workspaces.
func (k kept) receipt(parts ...string) (bridge.Receipt, error) {
	if !userID(k.User) {
		return bridge.Receipt{Note: "a " + k.Kind + " without a usable user id was left out"}, nil
	}
	// Of a channel of a kind that we do not know, the response_url is enough.
	if !anywhere.MatchString(k.Channel) {
		k.Channel = ""
	}
	if !stamp(k.Thread) {
		k.Thread = ""
	}
	body, err := json.Marshal(k)
	if err != nil {
		return bridge.Receipt{}, err
	}
	return bridge.Receipt{Key: k.Kind + "/" + digest(append([]string{k.User}, parts...)...), Body: body}, nil
}

// command takes a slash command, from a form or from Socket Mode
// (docs.slack.dev/interactivity/implementing-slash-commands). The empty 200 says
// nothing: what is answered comes through the response_url.
func (c *connector) command(form url.Values) (bridge.Receipt, error) {
	k := kept{
		Kind: kindCommand,
		Team: form.Get("team_id"), Enterprise: form.Get("enterprise_id"),
		User: form.Get("user_id"), Channel: form.Get("channel_id"),
		// Slack refuses commands in threads; should that end, the thread is named.
		Thread:  form.Get("thread_ts"),
		Respond: form.Get("response_url"), query: parseQuery(form.Get("text")), Typed: typed(form.Get("command")),
	}
	// A command has an id of its own only by its trigger.
	if trigger := form.Get("trigger_id"); trigger != "" {
		return k.receipt(trigger)
	}
	return k.receipt(k.Team, k.Channel, k.Respond, form.Get("text"))
}

var typedForm = regexp.MustCompile(`^/[^\s<>&]{1,31}$`)

// typed is the command's name as people write it.
func typed(command string) string {
	if typedForm.MatchString(command) {
		return command
	}
	return "/cobrowse"
}
