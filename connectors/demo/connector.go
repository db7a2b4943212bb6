// Package demo is a help desk in memory and the connector for it. It is the model to copy for
// a new chat service, the fake for tests, and the chat of `bridge demo`.
//
// Read connector.go first: it is the whole connector. It treats the help desk as a remote
// service: everything goes over HTTP, and every delivery must be authenticated.
package demo

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/rest"
)

// A Config is the configuration of the connector. All fields but Transport are required.
type Config struct {
	// Name is the connector's configured name. Deliveries come to /hooks/{Name}.
	Name string
	// URL is the address of the help desk's API.
	URL *url.URL
	// Secret signs deliveries; it has at least 16 bytes.
	Secret string
	// Token authenticates the bridge at the API.
	Token string
	// Transport carries the requests; nil means rest.NewTransport().
	Transport http.RoundTripper
}

type connector struct {
	name   string
	secret []byte
	api    *rest.Client
}

// New checks the configuration and returns the connector. It makes no request, and its errors
// contain neither secret nor token.
func New(c Config) (chat.Connector, error) {
	switch {
	case c.Name == "":
		return chat.Connector{}, errors.New("demo: the connector has no name")
	case len(c.Secret) < 16:
		return chat.Connector{}, errors.New("demo: the secret is shorter than 16 bytes")
	case c.Token == "":
		return chat.Connector{}, errors.New("demo: the token is missing")
	}
	api, err := rest.New(rest.Config{
		Base:      c.URL,
		Header:    http.Header{"Authorization": {"Bearer " + c.Token}},
		Transport: c.Transport,
	})
	if err != nil {
		return chat.Connector{}, fmt.Errorf("demo: API: %w", err)
	}
	k := &connector{name: c.Name, secret: []byte(c.Secret), api: api}
	// Capabilities that the service does not have are nil. This one sends deliveries, so it
	// needs no Listen, and its pages need no script.
	return chat.Connector{
		Name:    c.Name,
		MaxBody: 64 << 10,
		Accept:  k.accept,
		Read:    k.read,
		Serving: k.serving,
		Show:    k.show,
		Check:   k.check,
	}, nil
}

// signatureHeader carries the HMAC-SHA256 of the raw body in lower-case hex.
const signatureHeader = "X-Demo-Signature"

func sign(secret, body []byte) string {
	mac := hmac.New(sha256.New, secret)
	mac.Write(body)
	return hex.EncodeToString(mac.Sum(nil))
}

// An event is the body of a delivery. It says that something happened in a chat. Read asks the
// API for the present state.
type event struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Chat string `json:"chat"`
	// Agent is who serves the chat after this event.
	Agent string `json:"agent,omitempty"`
}

// The types of events that take a chat from its agent.
const (
	typeAssigned = "chat.assigned"
	typeClosed   = "chat.closed"
)

// changes says whether the event takes the chat from its agent. The bridge uses it for presses
// while the API does not answer.
func (e event) changes() []chat.ChatChange {
	switch {
	case e.Type == typeClosed:
		return []chat.ChatChange{{Chat: e.Chat, Closed: true}}
	case e.Type == typeAssigned && id.MatchString(e.Agent):
		return []chat.ChatChange{{Chat: e.Chat, Agent: e.Agent}}
	case e.Type == typeAssigned: // the new agent is not known
		return []chat.ChatChange{{Chat: e.Chat}}
	}
	return nil
}

// kept is the body that the bridge stores for a delivery: only what Read needs.
type kept struct {
	Chat string `json:"chat"`
}

// id is the form of every id in an address of the API. Ids come from outside, so "../agents"
// must not be one.
var id = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// accept checks the signature first. It uses the raw body, because a decoded and encoded body
// has other bytes. It requires exactly one signature header: with two, a proxy could check
// another one than we do.
//
// An old delivery that is sent again does no harm: the bridge knows its key, and read returns
// the present state.
func (c *connector) accept(r *http.Request, body []byte) (chat.Receipt, error) {
	if r.URL.Path != "/hooks/"+c.name {
		return chat.Receipt{}, chat.ErrNoRoute
	}
	given := r.Header.Values(signatureHeader)
	if len(given) != 1 || !hmac.Equal([]byte(given[0]), []byte(sign(c.secret, body))) {
		return chat.Receipt{}, chat.ErrForged
	}
	var e event
	if err := rest.Decode(body, &e); err != nil {
		return chat.Receipt{}, err
	}
	if !id.MatchString(e.ID) || !id.MatchString(e.Chat) {
		return chat.Receipt{Note: "delivery ignored: it has no valid event id or chat id"}, nil
	}
	body, err := json.Marshal(kept{Chat: e.Chat})
	if err != nil {
		return chat.Receipt{}, err
	}
	return chat.Receipt{Key: e.ID, Body: body, Changes: e.changes()}, nil
}

// A chatState is the part of a chat in the API that the connector uses.
type chatState struct {
	Open  bool   `json:"open"`
	URL   string `json:"url"`
	Agent struct {
		ID   string `json:"id"`
		Name string `json:"name"`
		// Email is the agent's confirmed address, or empty.
		Email string `json:"email"`
	} `json:"agent"`
	Visitor struct {
		Name string `json:"name"`
		// Key is the key that the page gave both this chat and Upscope.
		Key string `json:"upscope_key"`
	} `json:"visitor"`
}

// pageKey is the form of a page's key. Visitors can write any text into the field, so a text of
// another form is ignored.
var pageKey = regexp.MustCompile(`^[A-Za-z0-9_-]{16,128}$`)

// read asks the API for the present state of the chat. It does not use the event's own content,
// since deliveries may arrive late, twice or in another order.
func (c *connector) read(ctx context.Context, d chat.Delivery) (chat.Ask, error) {
	var k kept
	if err := json.Unmarshal(d.Body, &k); err != nil || !id.MatchString(k.Chat) {
		return chat.Ask{}, chat.Permanent(errors.New("demo: delivery names no chat"))
	}
	now, err := c.chat(ctx, k.Chat)
	if err != nil {
		return chat.Ask{}, err
	}
	if !now.Open {
		return chat.Ask{Verb: chat.Close, Chat: k.Chat}, nil
	}
	ask := chat.Ask{Verb: chat.Start, Chat: k.Chat, ChatURL: now.URL, Visitor: now.Visitor.Name}
	if pageKey.MatchString(now.Visitor.Key) {
		ask.Clues.IntegrationIDs = []string{"demo:" + now.Visitor.Key}
	}
	if id.MatchString(now.Agent.ID) {
		ask.Agent = chat.Agent{ID: now.Agent.ID, Name: now.Agent.Name, Email: now.Agent.Email}
		ask.Place = chat.Place{Address: now.Agent.ID}
	}
	return ask, nil
}

// serving makes only one request, because an agent who pressed Co-browse is waiting for it.
func (c *connector) serving(ctx context.Context, chatID string) (agent string, open bool, err error) {
	if !id.MatchString(chatID) {
		return "", false, chat.Permanent(errors.New("demo: not the id of a chat"))
	}
	now, err := c.chat(ctx, chatID)
	if errors.Is(err, errNoChat) {
		return "", false, nil // deleted, so it is not open
	}
	return now.Agent.ID, now.Open, err
}

// errNoChat means that the help desk does not have the chat.
var errNoChat = errors.New("the chat does not exist")

// codeNoChat is the API's code for that. The status 404 alone does not prove it, since a wrong
// address of the API has it too.
const codeNoChat = "no-such-chat"

func (c *connector) chat(ctx context.Context, chatID string) (chatState, error) {
	var now chatState
	_, err := c.api.Get(ctx, "chats/"+rest.Segment(chatID), nil, &now)
	if refusal, ok := errors.AsType[*rest.StatusError](err); ok && refusal.Code() == codeNoChat {
		return chatState{}, chat.Permanent(fmt.Errorf("demo: read chat: %w", errNoChat))
	}
	if err != nil {
		return chatState{}, classify("read chat", err)
	}
	return now, nil
}

// A message is a card as the API expects it. The help desk shows plain text. A connector for a
// service with markup escapes the texts here.
type message struct {
	// Key makes posting twice harmless: the second time, the help desk answers with the
	// existing message.
	Key    string        `json:"key"`
	Title  string        `json:"title"`
	Lines  []messageLine `json:"lines,omitempty"`
	Button messageLink   `json:"button,omitzero"`
	More   []messageLink `json:"more,omitempty"`
	Chat   messageLink   `json:"chat,omitzero"`
}

type messageLine struct {
	Label string `json:"label"`
	Text  string `json:"text"`
}

type messageLink struct {
	Label   string `json:"label"`
	Address string `json:"address"`
}

// show posts a card as a private message to an agent, or edits it. The connector writes nowhere
// else: it has no function that writes into a conversation.
func (c *connector) show(ctx context.Context, p chat.Place, card chat.Card) (chat.Ref, error) {
	if p.Connector != "" && p.Connector != c.name || !id.MatchString(p.Address) {
		return "", chat.Permanent(errors.New("demo: not a place of this help desk"))
	}
	out := message{
		Key: card.Key, Title: card.Title,
		Button: messageLink(card.Button), Chat: messageLink(card.Chat),
	}
	for _, l := range card.Lines {
		out.Lines = append(out.Lines, messageLine(l))
	}
	for _, l := range card.More {
		out.More = append(out.More, messageLink(l))
	}
	// Without a Ref the message may still exist, if an answer was lost. Key finds it.
	path := "agents/" + rest.Segment(p.Address) + "/messages"
	if card.Ref != "" {
		path += "/" + rest.Segment(string(card.Ref))
	}
	var posted struct {
		ID string `json:"id"`
	}
	if _, err := c.api.Post(ctx, path, out, &posted); err != nil {
		return "", classify("show card", err)
	}
	if !id.MatchString(posted.ID) {
		return "", errors.New("demo: show card: the answer has no message id")
	}
	return chat.Ref(posted.ID), nil
}

// check makes one request that tests the address and the token. Each finding is a sentence for
// the operator who runs `bridge check`, with a remedy.
func (c *connector) check(ctx context.Context) []chat.Finding {
	var me struct {
		Name string `json:"name"`
	}
	_, err := c.api.Get(ctx, "me", nil, &me)
	refusal, refused := errors.AsType[*rest.StatusError](err)
	switch {
	case err == nil && me.Name != "":
		return []chat.Finding{{Code: "demo.token", OK: "The help desk answers and accepts the token."}}
	case refused && refusal.Status == http.StatusUnauthorized:
		return []chat.Finding{{Code: "demo.token", Problem: "The help desk does not accept the token.", Remedy: "Restart the demo, which makes a new token."}}
	case err == nil:
		return []chat.Finding{{Code: "demo.other-program", Problem: "The server at the address is not the help desk.", Remedy: "Check its address."}}
	}
	return []chat.Finding{{Code: "demo.unreachable", Problem: "The help desk cannot be reached: " + err.Error() + ".", Remedy: "Check its address and that it runs."}}
}

// codes are the codes of the API after which the same request can never succeed.
var codes = rest.Codes{Final: []string{codeNoChat}}

// classify turns the error of a call into one that tells the bridge what to do: wait as long as
// the service says, give up, or retry. A refused token and an unknown refusal are retried,
// because an operator can fix them.
func classify(op string, err error) error {
	err = fmt.Errorf("demo: %s: %w", op, err)
	refusal, ok := errors.AsType[*rest.StatusError](err)
	if !ok {
		return err
	}
	wait, _ := rest.RetryAfter(refusal.Header, time.Now(), rest.MaxWait)
	return codes.Mark(err, refusal.Status, refusal.Code(), wait)
}
