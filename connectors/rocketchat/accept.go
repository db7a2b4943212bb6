package rocketchat

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rest"
)

// tokenHeader carries the plain webhook secret; there is no signature
// (docs.rocket.chat/docs/webhooks).
const tokenHeader = "X-RocketChat-Livechat-Token"

// The types of event that matter (Rocket.Chat,
// app/livechat/server/hooks/sendToCRM.ts). Any of them may be the first to show
// that an agent serves the chat, since versions differ in which they lose:
// LeadCapture, sent for a message with a phone number or an address in it, is
// taken like that message. The last two are not wanted: LivechatOfflineMessage
// has no room, and LivechatEdit comes only for rooms that are closed already.
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

// glance is how often the messages of an unchanged chat are worth a look at its
// room. A visitor who is back is noticed at the next message, half a minute late
// at worst. A look is one stored delivery and three GETs (rooms.info, users.info,
// livechat/visitors.info), so a chat in which somebody always types costs six
// GETs a minute and a quiet one none; a card that did not change is not written.
const glance = 30 * time.Second

// An event is as much of a webhook body as we ever decode. The visitor's token,
// e-mail, phone and address have no field here on purpose, nor has the text of
// a message.
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
	ServedBy    served `json:"servedBy"`
	OldServedBy served `json:"oldServedBy"`
	First       first  `json:"messages"`
}

type served struct {
	ID       string `json:"_id"`
	Username string `json:"username"`
	At       string `json:"ts"`
}

// first is the first entry of messages; the rest may be megabytes of history.
type first struct{ ID, At string }

// UnmarshalJSON takes any shape, since one field must not fail the others.
func (f *first) UnmarshalJSON(data []byte) error {
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

// kept is the body that the bridge stores for a delivery. Read asks the
// workspace for everything else, so nothing that a visitor typed is in it.
type kept struct {
	Type    string `json:"type"`
	Room    string `json:"room"`
	Visitor string `json:"visitor,omitzero"`
	Agent   string `json:"agent,omitzero"`
	At      string `json:"at,omitzero"`
}

// accept tells the webhook from the command, if there is one.
func (c *connector) accept(r *http.Request, body []byte) (bridge.Receipt, error) {
	switch {
	case r.URL.Path == "/hooks/"+c.name:
		return c.acceptEvent(r.Header, body)
	case r.URL.Path == "/hooks/"+c.name+"/command" && c.channels != nil:
		return c.acceptCommand(body)
	}
	return bridge.Receipt{}, bridge.ErrNoRoute
}

// acceptEvent answers every genuine event with an empty 200: the text of an
// answer is stored in the room, where the visitor can fetch it. What is passed
// on to another receiver is all of them, also those that say nothing to us.
func (c *connector) acceptEvent(h http.Header, body []byte) (bridge.Receipt, error) {
	if !c.genuine(h.Values(tokenHeader)) {
		return bridge.Receipt{}, bridge.ErrForged
	}
	r, err := c.event(body)
	if err == nil && c.forwards {
		r.Forward, err = pack(h, body)
	}
	if err != nil {
		return bridge.Receipt{}, err
	}
	return r, nil
}

// event says what is kept of an event.
func (c *connector) event(body []byte) (bridge.Receipt, error) {
	var e event
	if err := rest.Decode(body, &e); err != nil {
		return bridge.Receipt{}, err
	}
	switch e.Type {
	case typeOffline, typeEdit:
		return bridge.Receipt{}, nil
	case typeStart, typeQueued, typeTaken, typeForward, typeClose, typeMessage, typeCapture:
	case "":
		return bridge.Receipt{Note: "an event without a type was left out"}, nil
	default:
		return bridge.Receipt{Note: fmt.Sprintf("an event of unknown type %.40q was left out", e.Type)}, nil
	}
	if e.Visitor.ID == "" {
		return bridge.Receipt{Note: "an event without a visitor arrived: the test button sends one"}, nil
	}
	if !plausible(e.Room) {
		return bridge.Receipt{Note: "an event without a usable room id was left out"}, nil
	}
	keep, err := json.Marshal(kept{
		Type:    e.Type,
		Room:    e.Room,
		Visitor: short(e.Visitor.ID),
		Agent:   short(e.Agent.ID),
		At:      short(e.at()),
	})
	if err != nil {
		return bridge.Receipt{}, err
	}
	return bridge.Receipt{Key: c.key(e), Body: keep, Changes: e.changes()}, nil
}

// changes says whether the event takes the chat from its agent. Only servedBy and
// closedAt count: agent may still be the one before a hand-over. A retry has the body
// of the first attempt, so that the agent may have changed since; Read asks.
//
// LivechatSessionStart is sent before anybody serves the chat. Messages and LeadCapture
// name the agent too, and are not taken for a hand-over: they would have to be kept as
// one each time, although nearly all of them name the agent who has the card.
func (e event) changes() []bridge.ChatChange {
	change := bridge.ChatChange{Chat: e.Room}
	switch {
	case e.Type == typeClose, e.ClosedAt != "":
		change.Closed = true
	case e.Type == typeTaken, e.Type == typeForward, e.Type == typeQueued:
		// Nobody can forward a chat to the agent who serves it: such a body was made
		// before the hand-over, and does not say who serves the chat after it.
		if e.ServedBy.ID != e.OldServedBy.ID {
			change.Agent = short(e.ServedBy.ID)
		}
	default:
		return nil
	}
	return []bridge.ChatChange{change}
}

// genuine compares in a time that depends neither on the secrets nor on their
// number of equal bytes.
func (c *connector) genuine(tokens []string) bool {
	if len(tokens) != 1 {
		return false
	}
	got, ok := digest(tokens[0]), 0
	for i := range c.secrets {
		ok |= subtle.ConstantTimeCompare(got[:], c.secrets[i][:])
	}
	return ok == 1
}

func digest(s string) [32]byte { return sha256.Sum256([]byte(s)) }

// key is built from what the event means, since events have no id and a retry
// repeats the body of the first attempt.
//
// Messages are the frequent ones, and most say nothing new. What one can tell
// is who serves the chat and what the visitor's two fields are, so messages
// that agree on those are one event, once per glance. A field that a page sets
// late makes the next message a new event at once, and a chat whose Taken event
// was lost is found again with the next one.
//
// A chat that goes back to the queue twice without a word between looks like a
// retry; the next agent's Taken tells.
func (c *connector) key(e event) string {
	switch e.Type {
	case typeMessage, typeCapture:
		at := e.First.At
		if at == "" {
			at = e.LastMessageAt
		}
		if t, err := time.Parse(time.RFC3339, at); err == nil {
			at = t.Truncate(glance).UTC().Format(time.RFC3339)
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
	default:
		return compose(e.Type, e.Room, e.Agent.ID, e.ServedBy.ID, e.ServedBy.At,
			e.OldServedBy.ID, e.OldServedBy.At, e.Department, e.OldDepartment, e.LastMessageAt)
	}
}

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

// plausible reports whether s can be an id: short, visible ASCII.
func plausible(s string) bool {
	return s != "" && len(s) <= 128 && headerValue(s)
}

// short drops what is no id or time.
func short(s string) string {
	if plausible(s) {
		return s
	}
	return ""
}
