package chatvisor

import (
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tidwall/gjson"
	"go.yaml.in/yaml/v3"
)

// The events, each with an address of its own: a body does not say which it is
// (developers.chatvisor.com, "Webhooks").
const (
	eventConversation = "new-conversation"
	eventStatus       = "status-change"
	eventMessage      = "new-message"
	eventSubscriber   = "new-subscriber"
	eventAuto         = "auto"
)

// paths are dotted paths into JSON. The first that leads to a text or a number
// counts.
type paths struct {
	all  []string
	line int // where the file has them; zero if it does not
}

func pathsOf(all ...string) paths { return paths{all: all} }

// pathForm leaves gjson nothing but names and indexes: no queries, no modifiers.
var pathForm = regexp.MustCompile(`^[A-Za-z0-9_$-]+(\.[A-Za-z0-9_$-]+)*$`)

// UnmarshalYAML takes one path or a list of them; an empty list says that there
// is none.
func (p *paths) UnmarshalYAML(n *yaml.Node) error {
	p.line, p.all = n.Line, []string{}
	nodes := []*yaml.Node{n}
	if n.Kind == yaml.SequenceNode {
		nodes = n.Content
	}
	for _, item := range nodes {
		if item.Kind != yaml.ScalarNode || len(item.Value) > 128 || !pathForm.MatchString(item.Value) {
			return complain(item, "a path is made of names with dots between them, such as customer.id; mend it")
		}
		p.all = append(p.all, item.Value)
	}
	return nil
}

// in gives what the paths lead to; a zero Result if that is nothing.
func (p paths) in(body gjson.Result) gjson.Result {
	for _, path := range p.all {
		r := body.Get(path)
		if r.Type == gjson.Number || r.Type == gjson.String && r.Str != "" {
			return r
		}
	}
	return gjson.Result{}
}

// text is what the paths lead to, a number as it was written.
func (p paths) text(body gjson.Result) string {
	r := p.in(body)
	if r.Type == gjson.Number {
		return r.Raw
	}
	return r.Str
}

// A mapping says where the slots of an event are in its body. Slots that have no
// path are absent.
type mapping struct {
	Customer     paths `yaml:"customer_id"`
	Conversation paths `yaml:"conversation_id"`
	Status       paths `yaml:"status"`
	Text         paths `yaml:"text"`
	Author       paths `yaml:"author_role"`
	AgentURL     paths `yaml:"agent_url"`
	OccurredAt   paths `yaml:"occurred_at"`
	DeliveryID   paths `yaml:"delivery_id"`
}

// What is documented. For the text the reference prints "test", in all its
// revisions, where it must mean "text"; of the body of a message it tells nothing,
// so that no more than this is tried.
var (
	conversationBody = mapping{
		Customer: pathsOf("customerId"), Status: pathsOf("status"),
		Text: pathsOf("lastMessage.text", "lastMessage.test"), AgentURL: pathsOf("url"),
	}
	messageBody = mapping{Customer: pathsOf("customerId"), Text: pathsOf("text")}
)

// or fills in what the file does not say.
func (m mapping) or(d mapping) mapping {
	for _, slot := range []struct{ ours, documented *paths }{
		{&m.Customer, &d.Customer}, {&m.Conversation, &d.Conversation}, {&m.Status, &d.Status}, {&m.Text, &d.Text},
		{&m.Author, &d.Author}, {&m.AgentURL, &d.AgentURL}, {&m.OccurredAt, &d.OccurredAt}, {&m.DeliveryID, &d.DeliveryID},
	} {
		if slot.ours.all == nil {
			*slot.ours = *slot.documented
		}
	}
	return m
}

// slots are what was found in a body. The text and the author never leave the
// function that read them.
type slots struct {
	customer, conversation, status string
	text, author, agentURL         string
	occurred, delivery             string
}

// read says what is wrong with that which all else hangs on: a customer, and a
// conversation where its id is mapped. Without that id an event would be taken for
// one of another conversation.
func (m mapping) read(body gjson.Result) (found slots, wrong string) {
	s := slots{
		customer:     m.Customer.text(body),
		conversation: m.Conversation.text(body),
		status:       m.Status.text(body),
		text:         m.Text.text(body),
		author:       m.Author.text(body),
		agentURL:     m.AgentURL.text(body),
		occurred:     moment(m.OccurredAt.text(body)),
		delivery:     m.DeliveryID.text(body),
	}
	wrong = badID(s.customer, "customer")
	if wrong == "" && len(m.Conversation.all) > 0 {
		wrong = badID(s.conversation, "conversation id")
	}
	return s, wrong
}

// badID says what is wrong with an id, without the id; empty if nothing is.
func badID(id, what string) string {
	switch {
	case id == "":
		return "without a " + what
	case !plausible(id):
		return "with a " + what + " of another form than ids have (1 to 128 letters, digits and . _ : @ = + ~ -)"
	}
	return ""
}

// idForm is that of ids. It has nothing in it that means something in an address
// or in the name of a conversation.
var idForm = regexp.MustCompile(`^[A-Za-z0-9._:@=+~-]{1,128}$`)

// plausible reports whether s can be an id. "." and ".." would be another path.
func plausible(s string) bool {
	return idForm.MatchString(s) && s != "." && s != ".."
}

// moment brings a time into one form; empty if it is none.
func moment(s string) string {
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t.UTC().Format(time.RFC3339Nano)
	}
	if n, err := strconv.ParseInt(s, 10, 64); err == nil && n > 0 {
		return strconv.FormatInt(n, 10)
	}
	return ""
}

// lookupCode is the code in a message; empty if there is none.
func (r *Rules) lookupCode(text string) string {
	found := r.code.FindStringSubmatch(text)
	if found == nil || len(found[1]) != 4 || strings.Trim(found[1], "0123456789") != "" {
		return ""
	}
	return found[1]
}
