package chatvisor

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rest"

	"github.com/tidwall/gjson"
)

const (
	// maxBody is the largest body in bytes. Nothing else bounds how many events a list
	// holds.
	maxBody = 256 << 10
	// maxNotes is how many things are said of one body.
	maxNotes = 5

	// glance is how long equal events are one. There is no delivery id, and the same
	// body means the same thing only for a moment. A repeat that comes later is taken
	// once more, finds its card as it should be, and changes nothing.
	glance = 30 * time.Second
)

var accepted = bridge.Receipt{Answer: []byte("{}"), AnswerType: "application/json"}

// A kept event is what the bridge stores of one: no word that anybody wrote but a
// lookup code.
type kept struct {
	Event        string `json:"event,omitempty"`
	Customer     string `json:"customer,omitempty"`
	Conversation string `json:"conversation,omitempty"`
	Done         bool   `json:"done,omitempty"`
	Code         string `json:"code,omitempty"`
	URL          string `json:"url,omitempty"`
	// Misfit says what is wrong with a body and how it looks, and Rules by which file: such an
	// event is kept for the operator alone.
	Misfit string `json:"misfit,omitempty"`
	Rules  string `json:"rules,omitempty"`
	// Key is that of an event in a list.
	Key string `json:"key,omitempty"`
	// List are the events of a list, in its order; there is nothing else of one.
	List []kept `json:"list,omitempty"`

	standing string // see slots.standing
}

// accept takes what was sent to /hooks/{name}/{secret}/{event}. Whoever does not
// know the secret is told that there is no such place. Whoever does is answered
// 200 whatever they send: how the vendor takes an error is not documented, and it
// might switch the webhook off.
func (c *connector) accept(r *http.Request, body []byte) (bridge.Receipt, error) {
	tail, _ := strings.CutPrefix(r.URL.Path, "/hooks/"+c.name+"/")
	secret, event, _ := strings.Cut(tail, "/")
	switch {
	case !c.knows(secret):
		return bridge.Receipt{}, bridge.ErrNoRoute
	case !c.rules.admits(r):
		return bridge.Receipt{}, bridge.ErrForged
	case c.rules.signature != nil && !c.rules.signature.proves(c.signatureSecret, r.Header, body, c.now()):
		return bridge.Receipt{}, bridge.ErrForged
	case !slices.Contains([]string{eventConversation, eventStatus, eventMessage, eventSubscriber, eventAuto}, event):
		return bridge.Receipt{}, bridge.ErrNoRoute
	case event == eventSubscriber:
		return accepted, nil // of no interest; older versions of the product send it
	}
	return c.receipt(event, r.Header, body)
}

func (c *connector) receipt(event string, h http.Header, body []byte) (bridge.Receipt, error) {
	answer := accepted
	parsed, err := parse(body)
	if err != nil {
		answer.Note = fmt.Sprintf("a body of %d bytes for %s was left out: %v", len(body), event, err)
		return answer, nil
	}
	bodies := []gjson.Result{parsed}
	if parsed.IsArray() {
		bodies = parsed.Array()
	}
	var events []kept
	var notes []string
	at := c.now()
	for i, one := range bodies {
		k, note := c.event(event, one, at.Add(inList(i)))
		if note != "" && len(notes) < maxNotes && !slices.Contains(notes, note) {
			notes = append(notes, note)
		}
		if k.Event != "" {
			events = append(events, k)
		}
	}
	events = news(events)
	if id := h.Get(c.rules.deliveryHeader); c.rules.deliveryHeader != "" && id != "" && len(events) == 1 && events[0].Misfit == "" {
		events[0].Key = c.print(events[0].Event, "delivery", id)
	}
	answer.Note = strings.Join(notes, "; ")
	if len(events) == 0 {
		return answer, nil
	}
	if len(events) == 1 && c.sweeps() {
		answer.Known = events[0].standing
	}
	answer.Changes = changes(events)
	answer.Key, answer.Body, err = pack(events)
	return answer, err
}

var errShape = errors.New("it is neither an object nor a list of objects")

// parse admits one JSON object, or a list, behind a byte order mark or none (RFC 8259,
// section 8.1).
func parse(body []byte) (gjson.Result, error) {
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	if err := rest.Decode(body, new(json.RawMessage)); err != nil {
		return gjson.Result{}, err
	}
	r := gjson.ParseBytes(body)
	if !r.IsObject() && !r.IsArray() {
		return gjson.Result{}, errShape
	}
	return r, nil
}

// event reads one event. Of what does not fit, the names and types of what is there
// are kept, for the operator who has to mend the mapping.
func (c *connector) event(event string, body gjson.Result, at time.Time) (kept, string) {
	switch {
	case !body.IsObject():
		return kept{}, "something that is no object was left out"
	case len(body.Map()) == 0:
		return kept{}, "an object with nothing in it was left out"
	}
	var note string
	if event == eventAuto {
		event = c.rules.guess(body)
		note = "an event without a name was taken for " + event
	}
	s, wrong := c.rules.bodies[event].read(body)
	if wrong == "" && event == eventStatus && s.status == "" {
		wrong = "without a status"
	}
	switch {
	case wrong != "":
		return c.misfit(event, wrong, body)
	case s.author != "" && !c.rules.isCustomer(s.author):
		return kept{}, note // what agents write says nothing
	case event == eventConversation && c.rules.isDone(s.status):
		return kept{}, note // nothing begins that is over
	}
	return c.keep(event, s, at), note
}

// misfit is an event that does not fit, once for each kind of event, each thing that
// is wrong and each file: one is enough to mend the mapping by.
func (c *connector) misfit(event, wrong string, body gjson.Result) (kept, string) {
	k := kept{
		Event: event, Misfit: fmt.Sprintf("%s %s was left out; a body looks like %s", event, wrong, skeleton(body)),
		Rules: c.rules.print, Key: c.print(event, "misfit", wrong, c.rules.print),
	}
	return k, k.Misfit
}

// keep leaves of an event what may be stored.
func (c *connector) keep(event string, s slots, at time.Time) kept {
	k := kept{Event: event, Customer: s.customer, Conversation: s.conversation}
	k.Done = event != eventMessage && c.rules.isDone(s.status)
	if !k.Done && event != eventStatus { // which begins nothing
		k.standing = s.standing()
	}
	if !k.Done && slices.Contains(c.rules.join, joinCode) {
		k.Code = c.rules.lookupCode(s.text)
	}
	if c.rules.showURL && chatURL(s.agentURL, c.rules.chatHosts) {
		k.URL = s.agentURL
	}
	k.Key = c.key(k, s, at)
	return k
}

// key is made of the event's meaning and of a print of the text: what a customer
// writes just after the end of a conversation begins another, and is no repeat of
// what they wrote before it. An end is never taken for a repeat: an agent is done, the
// customer says thanks, the agent is done again, and both ends may have one body. One
// that is repeated finds the card closed, as a rule, and changes nothing.
func (c *connector) key(k kept, s slots, at time.Time) string {
	if s.delivery != "" {
		return c.print(k.Event, "delivery", s.delivery)
	}
	when := s.occurred
	switch {
	case when != "":
	case k.Done:
		when = at.UTC().Format(time.RFC3339Nano)
	default:
		when = at.UTC().Truncate(glance).Format(time.RFC3339)
	}
	return c.print(k.Event, k.Customer, k.Conversation, s.status, s.text, when)
}

// print is keyed, so that it does not give away a short text.
func (c *connector) print(event string, parts ...string) string {
	mac := hmac.New(sha256.New, c.printKey[:])
	for _, p := range parts {
		fmt.Fprintf(mac, "%d:%s", len(p), p)
	}
	return event + "/" + hex.EncodeToString(mac.Sum(nil)[:12])
}

// news leaves out of a list what it says twice, and what it says of a conversation
// before it says that it is over: a card would be opened only to be closed, and the same
// words behind the end would be taken for a repeat of those before it.
func news(events []kept) []kept {
	over := map[string]int{} // where the last end of a conversation is
	for i, k := range events {
		if k.Done {
			over[k.chat()] = i
		}
	}
	said := map[string]bool{}
	var left []kept
	for i, k := range events {
		if i < over[k.chat()] || said[k.Key] {
			continue
		}
		said[k.Key] = true
		left = append(left, k)
	}
	return left
}

// pack makes one delivery of all events of a body.
func pack(events []kept) (key string, body []byte, err error) {
	all := events[0]
	key, all.Key = all.Key, ""
	if len(events) > 1 {
		h := sha256.New()
		for _, k := range events {
			fmt.Fprintln(h, k.Key)
		}
		key, all = "list/"+hex.EncodeToString(h.Sum(nil)[:12]), kept{List: events}
	}
	body, err = json.Marshal(all)
	return key, body, err
}

// changes are the conversations that events end. Nothing else takes a conversation from
// its agents: webhooks do not tell whose it is, and all cards are the team's.
func changes(events []kept) (all []bridge.ChatChange) {
	for _, k := range events {
		if k.Done {
			all = append(all, bridge.ChatChange{Chat: k.chat(), Closed: true})
		}
	}
	return all
}

// inList is how much later an event of a list is than the list, so that of two about
// one customer the second counts. The store keeps times to the microsecond.
func inList(i int) time.Duration { return time.Duration(i) * time.Microsecond }

// guess says which event a body is that came to the one address of a tenant. A
// conversation that is unread opens a card or finds it open, so that it need not
// be known which of the two it is.
func (r *Rules) guess(body gjson.Result) string {
	switch status := r.bodies[eventConversation].Status.text(body); {
	case status == "":
		return eventMessage
	case strings.EqualFold(status, "UNREAD"):
		return eventConversation
	}
	return eventStatus
}

func (r *Rules) isDone(status string) bool {
	return slices.ContainsFunc(r.done, func(done string) bool { return strings.EqualFold(done, status) })
}

func (r *Rules) isCustomer(role string) bool {
	return slices.ContainsFunc(r.customerRoles, func(ours string) bool { return strings.EqualFold(ours, role) })
}

// chatURL reports whether an address leads to one of the hosts, and to nothing
// else on the way.
func chatURL(address string, hosts []string) bool {
	u, err := url.Parse(address)
	if err != nil || len(address) > 2048 || !visible(address) || strings.Contains(address, `\`) || u.User != nil {
		return false
	}
	host := strings.ToLower(u.Host)
	return slices.Contains(hosts, host) && (u.Scheme == "https" || u.Scheme == "http" && rest.Loopback(u.Hostname()))
}

// visible reports whether s is nothing but visible ASCII.
func visible(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}
