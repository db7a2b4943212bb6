package rules

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/settings/yamlfile"

	"github.com/tidwall/gjson"
	"go.yaml.in/yaml/v3"
)

// The events. Each has an address of its own, since a body does not name its event
// (developers.chatvisor.com, "Webhooks"). Auto is for any event; see Rules.Guess.
const (
	NewConversation = "new-conversation"
	StatusChange    = "status-change"
	NewMessage      = "new-message"
	NewSubscriber   = "new-subscriber"
	Auto            = "auto"
)

// Paths are dotted paths into JSON. The first one with a text or a number counts.
type Paths struct {
	All  []string
	line int // in the file; zero if not set there
}

func pathsOf(all ...string) Paths { return Paths{All: all} }

// pathForm matches names and indexes. It excludes the queries and modifiers of gjson.
var pathForm = regexp.MustCompile(`^[A-Za-z0-9_$-]+(\.[A-Za-z0-9_$-]+)*$`)

// UnmarshalYAML reads one path or a list of paths; an empty list means no path.
func (p *Paths) UnmarshalYAML(n *yaml.Node) error {
	p.line, p.All = n.Line, []string{}
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
	}
	for _, item := range nodes {
		if item.Kind != yaml.ScalarNode || len(item.Value) > 128 || !pathForm.MatchString(item.Value) {
			return yamlfile.Errorf(item, "not a path; write names with dots between them, such as customer.id")
		}
		p.All = append(p.All, item.Value)
	}
	return nil
}

// Given reports whether there is a path.
func (p Paths) Given() bool { return len(p.All) > 0 }

// find returns the first text or number at the paths; a zero Result if there is none.
func (p Paths) find(body gjson.Result) gjson.Result {
	for _, path := range p.All {
		r := body.Get(path)
		if r.Type == gjson.Number || r.Type == gjson.String && r.Str != "" {
			return r
		}
	}
	return gjson.Result{}
}

// Text returns the first text or number at the paths, a number as it was written. Empty
// if there is none.
func (p Paths) Text(body gjson.Result) string {
	r := p.find(body)
	if r.Type == gjson.Number {
		return r.Raw
	}
	return r.Str
}

// A Mapping has the paths of an event's fields in its body. A field without a path is
// not read.
type Mapping struct {
	Customer     Paths `yaml:"customer_id"`
	Conversation Paths `yaml:"conversation_id"`
	Status       Paths `yaml:"status"`
	Text         Paths `yaml:"text"`
	Author       Paths `yaml:"author_role"`
	AgentURL     Paths `yaml:"agent_url"`
	OccurredAt   Paths `yaml:"occurred_at"`
	DeliveryID   Paths `yaml:"delivery_id"`
}

// The documented mappings. The reference prints "test" for the text, in all revisions,
// and must mean "text". It does not document the body of a message.
var (
	conversationBody = Mapping{
		Customer: pathsOf("customerId"), Status: pathsOf("status"),
		Text: pathsOf("lastMessage.text", "lastMessage.test"), AgentURL: pathsOf("url"),
	}
	messageBody = Mapping{Customer: pathsOf("customerId"), Text: pathsOf("text")}
)

// withDefaults returns m with the paths of d where the file has none.
func (m Mapping) withDefaults(d Mapping) Mapping {
	for _, slot := range []struct{ ours, documented *Paths }{
		{&m.Customer, &d.Customer}, {&m.Conversation, &d.Conversation}, {&m.Status, &d.Status}, {&m.Text, &d.Text},
		{&m.Author, &d.Author}, {&m.AgentURL, &d.AgentURL}, {&m.OccurredAt, &d.OccurredAt}, {&m.DeliveryID, &d.DeliveryID},
	} {
		if slot.ours.All == nil {
			*slot.ours = *slot.documented
		}
	}
	return m
}

// Slots are the values found in a body. Text and author are never stored.
type Slots struct {
	Customer, Conversation, Status string
	Text, Author, AgentURL         string
	Occurred, Delivery             string
}

// Read reads a body. fault says which required id is missing or malformed: the
// customer's, or the conversation's where it is mapped, since without it the event would
// count for another conversation. Empty if there is no fault.
func (m Mapping) Read(body gjson.Result) (found Slots, fault string) {
	s := Slots{
		Customer:     m.Customer.Text(body),
		Conversation: m.Conversation.Text(body),
		Status:       m.Status.Text(body),
		Text:         m.Text.Text(body),
		Author:       m.Author.Text(body),
		AgentURL:     m.AgentURL.Text(body),
		Occurred:     normalTime(m.OccurredAt.Text(body)),
		Delivery:     m.DeliveryID.Text(body),
	}
	fault = badID(s.Customer, "customer id")
	if fault == "" && m.Conversation.Given() {
		fault = badID(s.Conversation, "conversation id")
	}
	return s, fault
}

// badID says what is wrong with an id, without its value; empty if it is valid.
func badID(id, what string) string {
	switch {
	case id == "":
		return "no " + what
	case !PlausibleID(id):
		return what + " is not 1 to 128 letters, digits and . _ : @ = + ~ -"
	}
	return ""
}

// normalTime returns a time, RFC 3339 or a number, in one form; empty if it is neither.
func normalTime(s string) string {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC().Format(time.RFC3339Nano)
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n > 0 {
		return strconv.FormatInt(n, 10)
	}
	return ""
}

// LookupCode returns the lookup code in a message; empty if there is none.
func (r *Rules) LookupCode(text string) string {
	if r.code == nil {
		return chat.CodeIn(text)
	}
	found := r.code.FindStringSubmatch(text)
	if found == nil || !chat.IsLookupCode(found[1]) {
		return ""
	}
	return found[1]
}

// Guess returns the event of a body that came to the address of Auto. UNREAD counts as a
// new conversation; if its card is open already, nothing changes.
func (r *Rules) Guess(body gjson.Result) string {
	switch status := r.Bodies[NewConversation].Status.Text(body); {
	case status == "":
		return NewMessage
	case strings.EqualFold(status, "UNREAD"):
		return NewConversation
	}
	return StatusChange
}

// IsDone reports whether a conversation with this status has ended.
func (r *Rules) IsDone(status string) bool {
	return slices.ContainsFunc(r.done, func(done string) bool { return strings.EqualFold(done, status) })
}

// IsCustomer reports whether an author with this role is a customer.
func (r *Rules) IsCustomer(role string) bool {
	return slices.ContainsFunc(r.customerRoles, func(ours string) bool { return strings.EqualFold(ours, role) })
}
