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

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/netaddr"
	"cobrowse-bridge/connectors/chatvisor/rules"
	"cobrowse-bridge/connectors/rest"

	"github.com/tidwall/gjson"
)

const (
	// maxBody is the largest accepted body in bytes. It is the only limit on the number
	// of events in a list.
	maxBody = 256 << 10
	// maxNotes is the largest number of notes about one body.
	maxNotes = 5

	// repeatWindow divides time into blocks; equal events in one block count as one. No
	// delivery id is documented, and an equal body may later be a new event. A repeat in a
	// later block is handled again, and changes nothing on the card.
	repeatWindow = 30 * time.Second
)

// acknowledged is the receipt of an ignored event. All receipts have its answer.
var acknowledged = chat.Receipt{Answer: []byte("{}"), AnswerType: "application/json"}

// A storedEvent is what the bridge stores of an event. It contains no text that people
// wrote, except a lookup code.
type storedEvent struct {
	Event        string `json:"event,omitempty"`
	Customer     string `json:"customer,omitempty"`
	Conversation string `json:"conversation,omitempty"`
	Done         bool   `json:"done,omitempty"`
	Code         string `json:"code,omitempty"`
	URL          string `json:"url,omitempty"`
	// Mismatch says how a body differs from the mapping, and which fields it has. Rules is
	// the fingerprint of the file with that mapping. The event is stored for the operator.
	Mismatch string `json:"misfit,omitempty"`
	Rules    string `json:"rules,omitempty"`
	// Key is the delivery key of an event in a list.
	Key string `json:"key,omitempty"`
	// List has the events of a list in their order. All other fields are empty then.
	List []storedEvent `json:"list,omitempty"`

	sweepKey string // from the function sweepKey
}

// permit checks the secret in the path and the client's address before the body is
// read. A sender with a wrong secret gets the answer for an unknown path.
func (c *connector) permit(r *http.Request) (proven bool, err error) {
	secret, _ := c.hookPath(r)
	switch {
	case !c.isSecret(secret):
		return false, fmt.Errorf("%w: the secret in the address is not that of %s", chat.ErrNoRoute, c.api.Env("HOOK_SECRET"))
	case !c.addressAllowed(r):
		return false, fmt.Errorf("%w: the sender's address is not in webhook.allow_cidrs", chat.ErrForged)
	}
	return true, nil
}

// hookPath splits a path of the form /hooks/{name}/{secret}/{event}.
func (c *connector) hookPath(r *http.Request) (secret, event string) {
	tail, _ := strings.CutPrefix(r.URL.Path, "/hooks/"+c.name+"/")
	secret, event, _ = strings.Cut(tail, "/")
	return secret, event
}

// accept turns a delivery into a receipt. Every body for a known event is answered 200
// if the secret is valid, even if the body is ignored: the vendor does not document how
// it handles errors, and might switch the webhook off.
func (c *connector) accept(r *http.Request, body []byte) (chat.Receipt, error) {
	if _, err := c.permit(r); err != nil {
		return chat.Receipt{}, err
	}
	_, event := c.hookPath(r)
	switch {
	case !slices.Contains([]string{rules.NewConversation, rules.StatusChange, rules.NewMessage, rules.NewSubscriber, rules.Auto}, event):
		return chat.Receipt{}, chat.ErrNoRoute
	case event == rules.NewSubscriber:
		return acknowledged, nil // older versions of the product send it; no card follows
	}
	return c.receiptOf(event, r.Header, body)
}

func (c *connector) receiptOf(event string, h http.Header, body []byte) (chat.Receipt, error) {
	answer := acknowledged
	parsed, err := parse(body)
	if err != nil {
		answer.Note = fmt.Sprintf("body of %d bytes for %s ignored: %v", len(body), event, err)
		return answer, nil
	}
	bodies := []gjson.Result{parsed}
	if parsed.IsArray() {
		bodies = parsed.Array()
	}
	var events []storedEvent
	var notes []string
	at := c.now()
	for i, one := range bodies {
		k, note := c.readEvent(event, one, at.Add(listOffset(i)))
		if note != "" && len(notes) < maxNotes && !slices.Contains(notes, note) {
			notes = append(notes, note)
		}
		if k.Event != "" {
			events = append(events, k)
		}
	}
	events = dropOutdated(events)
	if id := h.Get(c.rules.DeliveryHeader); c.rules.DeliveryHeader != "" && id != "" && len(events) == 1 && events[0].Mismatch == "" {
		events[0].Key = c.fingerprint(events[0].Event, "delivery", id)
	}
	answer.Note = strings.Join(notes, "; ")
	if len(events) == 0 {
		return answer, nil
	}
	if len(events) == 1 && c.canSweep() {
		answer.SweepKey = events[0].sweepKey
	}
	answer.Changes = changes(events)
	answer.Key, answer.Body, err = encodeDelivery(events)
	return answer, err
}

var errNotObject = errors.New("it is neither an object nor a list of objects")

// parse reads one JSON object or a list. It ignores a byte order mark, as RFC 8259,
// section 8.1, allows.
func parse(body []byte) (gjson.Result, error) {
	body = bytes.TrimPrefix(body, []byte("\ufeff"))
	if err := rest.Decode(body, new(json.RawMessage)); err != nil {
		return gjson.Result{}, err
	}
	r := gjson.ParseBytes(body)
	if !r.IsObject() && !r.IsArray() {
		return gjson.Result{}, errNotObject
	}
	return r, nil
}

// readEvent reads one event, and may return a note for the log. Of a body that does not
// match the mapping it stores field names and types, so that the operator can correct it.
func (c *connector) readEvent(event string, body gjson.Result, at time.Time) (storedEvent, string) {
	switch {
	case !body.IsObject():
		return storedEvent{}, "list item that is not an object ignored"
	case len(body.Map()) == 0:
		return storedEvent{}, "empty object ignored"
	}
	var note string
	if event == rules.Auto {
		event = c.rules.Guess(body)
		note = "event without a name handled as " + event
	}
	s, fault := c.rules.Bodies[event].Read(body)
	if fault == "" && event == rules.StatusChange && s.Status == "" {
		fault = "no status"
	}
	switch {
	case fault != "":
		return c.mismatch(event, fault, body, at)
	case s.Author != "" && !c.rules.IsCustomer(s.Author):
		return storedEvent{}, note // a message of an agent
	case event == rules.NewConversation && c.rules.IsDone(s.Status):
		return storedEvent{}, note // the conversation has ended already
	}
	return c.stored(event, s, at), note
}

// mismatch returns the event to store for a body that does not match the mapping. Its
// key is the same for the same kind of event, fault, file and day, so one of each is stored. The
// next day's is listed again if an operator has dismissed the first.
func (c *connector) mismatch(event, fault string, body gjson.Result, at time.Time) (storedEvent, string) {
	k := storedEvent{
		Event: event, Mismatch: fmt.Sprintf("%s ignored: %s; fields of the body: %s", event, fault, rules.Skeleton(body)),
		Rules: c.rules.Fingerprint, Key: c.fingerprint(event, "misfit", fault, c.rules.Fingerprint, at.UTC().Format(time.DateOnly)),
	}
	return k, k.Mismatch
}

// stored returns what may be stored of an event.
func (c *connector) stored(event string, s rules.Slots, at time.Time) storedEvent {
	k := storedEvent{Event: event, Customer: s.Customer, Conversation: s.Conversation}
	k.Done = event != rules.NewMessage && c.rules.IsDone(s.Status)
	if !k.Done && event != rules.StatusChange { // a change of status begins no conversation
		k.sweepKey = sweepKey(s)
	}
	if !k.Done && slices.Contains(c.rules.Join, rules.JoinCode) {
		k.Code = c.rules.LookupCode(s.Text)
	}
	if c.rules.ShowURL && allowedURL(s.AgentURL, c.rules.ChatHosts) {
		k.URL = s.AgentURL
	}
	k.Key = c.key(k, s, at)
	return k
}

// key returns the delivery key of an event: a fingerprint of its meaning and its text.
// The text is part of it because a customer who writes just after the end of a
// conversation begins another one. An end is never a repeat: the agent ends the
// conversation, the customer says thanks, the agent ends it again, and both bodies may
// be equal. An end that was sent twice usually finds the card closed.
func (c *connector) key(k storedEvent, s rules.Slots, at time.Time) string {
	if s.Delivery != "" {
		return c.fingerprint(k.Event, "delivery", s.Delivery)
	}
	when := s.Occurred
	switch {
	case when != "":
	case k.Done:
		when = at.UTC().Format(time.RFC3339Nano)
	default:
		when = at.UTC().Truncate(repeatWindow).Format(time.RFC3339)
	}
	return c.fingerprint(k.Event, k.Customer, k.Conversation, s.Status, s.Text, when)
}

// fingerprint returns a keyed hash, since a plain hash of a short text can be guessed.
func (c *connector) fingerprint(event string, parts ...string) string {
	mac := hmac.New(sha256.New, c.fingerprintKey[:])
	for _, p := range parts {
		fmt.Fprintf(mac, "%d:%s", len(p), p)
	}
	return event + "/" + hex.EncodeToString(mac.Sum(nil)[:12])
}

// dropOutdated removes repeats from a list, and the events of a conversation before its
// last end. They would open a card only to close it, and an equal event after the end
// would count as a repeat.
func dropOutdated(events []storedEvent) []storedEvent {
	lastEnd := map[string]int{} // index of the last end of each conversation
	for i, k := range events {
		if k.Done {
			lastEnd[k.chatID()] = i
		}
	}
	keys := map[string]bool{}
	var remaining []storedEvent
	for i, k := range events {
		if i < lastEnd[k.chatID()] || keys[k.Key] {
			continue
		}
		keys[k.Key] = true
		remaining = append(remaining, k)
	}
	return remaining
}

// encodeDelivery returns the key and the stored body of one delivery with all events.
func encodeDelivery(events []storedEvent) (key string, body []byte, err error) {
	stored := events[0]
	key, stored.Key = stored.Key, ""
	if len(events) > 1 {
		h := sha256.New()
		for _, k := range events {
			fmt.Fprintln(h, k.Key)
		}
		key, stored = "list/"+hex.EncodeToString(h.Sum(nil)[:12]), storedEvent{List: events}
	}
	body, err = json.Marshal(stored)
	return key, body, err
}

// changes returns the conversations that the events end. Webhooks do not say which
// agent serves a conversation, so an end is the only change.
func changes(events []storedEvent) (all []chat.ChatChange) {
	for _, k := range events {
		if k.Done {
			all = append(all, chat.ChatChange{Chat: k.chatID(), Closed: true})
		}
	}
	return all
}

// listOffset returns how much later than its list the event at index i counts as
// received, so that a later event of a customer wins. The store keeps microseconds.
func listOffset(i int) time.Duration { return time.Duration(i) * time.Microsecond }

// allowedURL reports whether an address is an https address of one of the hosts,
// without a user name. http is allowed on this machine.
func allowedURL(address string, hosts []string) bool {
	u, err := url.Parse(address)
	if err != nil || len(address) > 2048 || !rules.Visible(address) || strings.Contains(address, `\`) || u.User != nil {
		return false
	}
	host := strings.ToLower(u.Host)
	return slices.Contains(hosts, host) && (u.Scheme == "https" || u.Scheme == "http" && netaddr.Loopback(u.Hostname()))
}
