package rocketchat

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/connectors/rest"
)

// tokenHeader carries the plain webhook secret; there is no signature
// (docs.rocket.chat/docs/webhooks).
const tokenHeader = "X-RocketChat-Livechat-Token"

// The types of event (Rocket.Chat, app/livechat/server/hooks/sendToCRM.ts). Each version loses
// other events, so the bridge reads the room after each of the first seven. LeadCapture is
// a Message with a phone number or an address. The last two are ignored:
// LivechatOfflineMessage has no room, and LivechatEdit is sent only for closed rooms.
const (
	typeStart   = "LivechatSessionStart"
	typeQueued  = "LivechatSessionQueued"
	typeTaken   = "LivechatSessionTaken"
	typeForward = "LivechatSessionForwarded"
	typeClose   = "LivechatSession"
	typeMessage = "Message"
	typeCapture = "LeadCapture"
	typeEdit    = "LivechatEdit"
	typeOffline = "LivechatOfflineMessage"
)

// messageInterval limits the messages of a chat that become a delivery: one in each interval
// while agent and fields are unchanged. If the visitor is back online, the bridge finds them
// at the next such message. Each delivery costs three GETs (rooms.info, users.info,
// livechat/visitors.info), so at most six GETs a minute for each chat.
const messageInterval = 30 * time.Second

// An event is the part of a webhook body that the bridge reads. It must have no field for the
// visitor's token, e-mail, phone and address, and none for the text of a message.
type event struct {
	Type          string `json:"type"`
	Room          string `json:"_id"`
	CreatedAt     string `json:"createdAt"`
	LastMessageAt string `json:"lastMessageAt"`
	ClosedAt      string `json:"closedAt"`
	Department    string `json:"departmentId"`
	OldDepartment string `json:"oldDepartmentId"`
	Visitor       struct {
		ID     string         `json:"_id"`
		Fields map[string]any `json:"customFields"`
	} `json:"visitor"`
	Agent struct {
		ID string `json:"_id"`
	} `json:"agent"`
	ServedBy    served       `json:"servedBy"`
	OldServedBy served       `json:"oldServedBy"`
	First       firstMessage `json:"messages"`
}

type served struct {
	ID       string `json:"_id"`
	Username string `json:"username"`
	At       string `json:"ts"`
}

// firstMessage is the first entry of messages. The others may be megabytes and are not read.
type firstMessage struct{ ID, At string }

// UnmarshalJSON accepts any JSON, so that this field cannot make the whole event fail.
func (f *firstMessage) UnmarshalJSON(data []byte) error {
	dec := json.NewDecoder(bytes.NewReader(data))
	if t, err := dec.Token(); err != nil || t != json.Delim('[') || !dec.More() {
		return nil
	}
	var m struct {
		ID any `json:"_id"`
		At any `json:"ts"`
	}
	if dec.Decode(&m) == nil {
		f.ID, _ = m.ID.(string)
		f.At, _ = m.At.(string)
	}
	return nil
}

// kept is the body that the bridge stores for an event. It contains nothing that a visitor
// typed: read asks the workspace for everything else.
type kept struct {
	Type    string `json:"type"`
	Room    string `json:"room"`
	Visitor string `json:"visitor,omitzero"`
	Agent   string `json:"agent,omitzero"`
	At      string `json:"at,omitzero"`
}

// permit refuses an event without the secret before its body is read. The token of a command
// is in the body, so acceptCommand checks it.
func (c *connector) permit(r *http.Request) (proven bool, err error) {
	switch {
	case r.URL.Path == c.eventPath():
		if !c.genuine(r.Header.Values(tokenHeader)) {
			return false, fmt.Errorf("%w: the secret token is not that of %s", chat.ErrForged, c.env("WEBHOOK_SECRET"))
		}
		return true, nil
	case r.URL.Path == c.eventPath()+"/command" && c.channels != nil:
		return false, nil
	}
	return false, chat.ErrNoRoute
}

func (c *connector) eventPath() string { return "/hooks/" + c.name }

// accept handles an event of the webhook, or a command.
func (c *connector) accept(r *http.Request, body []byte) (chat.Receipt, error) {
	if _, err := c.permit(r); err != nil {
		return chat.Receipt{}, err
	}
	if r.URL.Path != c.eventPath() {
		return c.acceptCommand(body)
	}
	return c.acceptEvent(r.Header, body)
}

// acceptEvent returns the receipt of a genuine event. Its answer is an empty 200, because
// Rocket.Chat stores the text of an answer in the room, where the visitor can fetch it. Every
// event is forwarded, also the ones that the bridge ignores.
func (c *connector) acceptEvent(h http.Header, body []byte) (chat.Receipt, error) {
	r, err := c.event(body)
	if err == nil && c.forwards {
		r.Forward, err = pack(h, body)
	}
	if err != nil {
		return chat.Receipt{}, err
	}
	return r, nil
}

// event makes the receipt of an event, without its copy for the other receiver.
func (c *connector) event(body []byte) (chat.Receipt, error) {
	var e event
	if err := rest.Decode(body, &e); err != nil {
		return chat.Receipt{}, err
	}
	switch e.Type {
	case typeOffline, typeEdit:
		return chat.Receipt{}, nil
	case typeStart, typeQueued, typeTaken, typeForward, typeClose, typeMessage, typeCapture:
	case "":
		return chat.Receipt{Note: "event ignored: it has no type"}, nil
	default:
		return chat.Receipt{Note: fmt.Sprintf("event ignored: unknown type %.40q", e.Type)}, nil
	}
	if e.Visitor.ID == "" {
		return chat.Receipt{Note: "event without a visitor received: the test button sends one"}, nil
	}
	if !plausible(e.Room) {
		return chat.Receipt{Note: "event ignored: it has no valid room id"}, nil
	}
	keep, err := json.Marshal(kept{
		Type:    e.Type,
		Room:    e.Room,
		Visitor: short(e.Visitor.ID),
		Agent:   short(e.Agent.ID),
		At:      short(e.at()),
	})
	if err != nil {
		return chat.Receipt{}, err
	}
	return chat.Receipt{Key: c.key(e), Body: keep, SweepKey: e.sweepKey(), Changes: e.changes()}, nil
}

// sweepKey is the key that a sweep gives the room after this event. It is empty for events
// without servedBy, such as messages.
func (e event) sweepKey() string {
	switch e.Type {
	case typeStart, typeQueued, typeTaken, typeForward:
		return sweepKey(e.Room, e.ServedBy)
	}
	return ""
}

// changes returns the close or hand-over that the event reports. It reads only servedBy and
// closedAt: agent may still be the one before the hand-over. Rocket.Chat retries with the
// body of the first attempt, which may be out of date, so read asks the workspace.
//
// LivechatSessionStart is sent before an agent serves the chat. Messages and LeadCapture
// nearly always name the agent who has the card already, so they are no hand-over.
func (e event) changes() []chat.ChatChange {
	change := chat.ChatChange{Chat: e.Room}
	switch {
	case e.Type == typeClose, e.ClosedAt != "":
		change.Closed = true
	case e.Type == typeTaken, e.Type == typeForward, e.Type == typeQueued:
		// Rocket.Chat forwards no chat to the agent who serves it. A body with the same
		// agent twice was made before the hand-over, and does not name the new agent.
		if e.ServedBy.ID != e.OldServedBy.ID {
			change.Agent = short(e.ServedBy.ID)
		}
	default:
		return nil
	}
	return []chat.ChatChange{change}
}

// genuine reports whether tokens is exactly one accepted secret. The time that it takes does
// not depend on the secrets.
func (c *connector) genuine(tokens []string) bool {
	if len(tokens) != 1 {
		return false
	}
	return isOneOf(tokens[0], secret.AcceptedOf(c.secrets))
}

// isOneOf compares a text with secrets. The time that it takes does not depend on them.
func isOneOf(text string, secrets []string) bool {
	got, ok := digest(text), 0
	for _, s := range secrets {
		want := digest(s)
		ok |= subtle.ConstantTimeCompare(got[:], want[:])
	}
	return ok == 1
}

func digest(s string) [32]byte { return sha256.Sum256([]byte(s)) }

// key builds the key of an event from its content: events have no id, and a retry repeats
// the body of the first attempt.
//
// Of a message, only the agent and the visitor's two fields matter. Messages of one
// messageInterval with the same values have the same key. If the page sets a field late, or
// the Taken event was lost, the next message has another key and is handled at once.
//
// If a chat goes back to the queue twice without a message in between, both events have the
// same body, as a retry does. If the second were ignored, the card would stay with the former
// agent. So each Queued event has its own key; handling a retry twice is harmless.
func (c *connector) key(e event) string {
	switch e.Type {
	case typeMessage, typeCapture:
		at := e.First.At
		if at == "" {
			at = e.LastMessageAt
		}
		if t, err := time.Parse(time.RFC3339, at); err == nil {
			at = t.Truncate(messageInterval).UTC().Format(time.RFC3339)
		}
		if at == "" {
			at = e.First.ID
		}
		return compose("Message", e.Room, e.Agent.ID,
			asString(e.Visitor.Fields[c.keyField]), asString(e.Visitor.Fields[c.codeField]), at)
	case typeClose:
		return compose(e.Type, e.Room, e.ClosedAt)
	case typeStart:
		return compose(e.Type, e.Room, e.CreatedAt)
	case typeQueued:
		return compose(e.Type, e.Room, rand.Text())
	default:
		return compose(e.Type, e.Room, e.Agent.ID, e.ServedBy.ID, e.ServedBy.At,
			e.OldServedBy.ID, e.OldServedBy.At, e.Department, e.OldDepartment, e.LastMessageAt)
	}
}

// compose makes a key of a kind, an id and a hash of parts.
func compose(kind, room string, parts ...string) string {
	h := sha256.New()
	for _, p := range parts {
		fmt.Fprintf(h, "%d:%s", len(p), p)
	}
	return kind + "/" + room + "/" + hex.EncodeToString(h.Sum(nil)[:12])
}

func (e event) at() string {
	return cmp.Or(e.ClosedAt, e.ServedBy.At, e.First.At, e.LastMessageAt, e.CreatedAt)
}

func asString(v any) string {
	s, _ := v.(string)
	return s
}

// plausible reports whether s can be an id: at most 128 characters of printable ASCII.
func plausible(s string) bool {
	return s != "" && len(s) <= 128 && headerValue(s)
}

// short returns s if it can be an id or a time, else "".
func short(s string) string {
	if plausible(s) {
		return s
	}
	return ""
}
