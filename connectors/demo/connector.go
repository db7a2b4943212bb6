// Package demo is a help desk in memory and the connector for it: the model to
// copy for a new chat service, the fake for tests, and the chat of `bridge demo`.
//
// The connector is connector.go alone, and it treats the help desk as it would one
// on another continent: everything goes over HTTP, and nothing it hears is
// believed without proof.
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
	"strconv"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rest"
)

// A Config is what the help desk's administrator and the bridge agreed on. All
// but Transport is required.
type Config struct {
	// Name is the connector's configured name. Deliveries come to
	// /hooks/{Name}.
	Name string
	// URL is where the help desk's API begins.
	URL *url.URL
	// Secret signs deliveries; it has at least 16 bytes.
	Secret string
	// Token lets the bridge use the API.
	Token string
	// Transport carries the requests; nil means rest.NewTransport().
	Transport http.RoundTripper
}

type connector struct {
	name   string
	secret []byte
	api    *rest.Client
}

// New checks the configuration and returns the connector. It makes no request,
// and its errors hold neither secret nor token.
func New(c Config) (bridge.Connector, error) {
	switch {
	case c.Name == "":
		return bridge.Connector{}, errors.New("demo: the connector has no name")
	case len(c.Secret) < 16:
		return bridge.Connector{}, errors.New("demo: the secret is shorter than 16 bytes")
	case c.Token == "":
		return bridge.Connector{}, errors.New("demo: there is no token")
	}
	api, err := rest.New(rest.Config{
		Base:      c.URL,
		Header:    http.Header{"Authorization": {"Bearer " + c.Token}},
		Transport: c.Transport,
	})
	if err != nil {
		return bridge.Connector{}, fmt.Errorf("demo: API: %w", err)
	}
	k := &connector{name: c.Name, secret: []byte(c.Secret), api: api}
	// What a service cannot do is left nil: this one calls us, so there is no
	// Listen, and its pages need no script of ours.
	return bridge.Connector{
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

// An event is the body of a delivery. It says that something happened in a chat; how
// the chat stands now is asked.
type event struct {
	ID   string `json:"id"`
	Type string `json:"type"`
	Chat string `json:"chat"`
	// Agent is who serves the chat after this event.
	Agent string `json:"agent,omitempty"`
}

// The types of event that take a chat from its agent.
const (
	typeAssigned = "chat.assigned"
	typeClosed   = "chat.closed"
)

// changes says whether the event takes the chat from its agent, for presses that come
// while the API cannot be asked.
func (e event) changes() []bridge.ChatChange {
	switch {
	case e.Type == typeClosed:
		return []bridge.ChatChange{{Chat: e.Chat, Closed: true}}
	case e.Type == typeAssigned && id.MatchString(e.Agent):
		return []bridge.ChatChange{{Chat: e.Chat, Agent: e.Agent}}
	case e.Type == typeAssigned: // to whom is not said
		return []bridge.ChatChange{{Chat: e.Chat}}
	}
	return nil
}

// kept is what is stored of a delivery: no more than Read needs.
type kept struct {
	Chat string `json:"chat"`
}

// id is the form of everything that goes into an address of the API. Ids come
// from outside, and "../agents" must not be one.
var id = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// accept looks at the signature before anything else, and at the raw body: one
// that was decoded and encoded again has other bytes. Exactly one signature
// counts, so that nobody else in between can pick another than we do.
//
// An old delivery that is sent again does no harm: its key is known, and if it
// were not, read asks how things stand now.
func (c *connector) accept(r *http.Request, body []byte) (bridge.Receipt, error) {
	if r.URL.Path != "/hooks/"+c.name {
		return bridge.Receipt{}, bridge.ErrNoRoute
	}
	given := r.Header.Values(signatureHeader)
	if len(given) != 1 || !hmac.Equal([]byte(given[0]), []byte(sign(c.secret, body))) {
		return bridge.Receipt{}, bridge.ErrForged
	}
	var e event
	if err := rest.Decode(body, &e); err != nil {
		return bridge.Receipt{}, err
	}
	if !id.MatchString(e.ID) || !id.MatchString(e.Chat) {
		return bridge.Receipt{Note: "a delivery without an event or a chat was left out"}, nil
	}
	body, err := json.Marshal(kept{Chat: e.Chat})
	if err != nil {
		return bridge.Receipt{}, err
	}
	return bridge.Receipt{Key: e.ID, Body: body, Changes: e.changes()}, nil
}

// A chat is what the API tells of a conversation, as far as we need it.
type chat struct {
	Open  bool   `json:"open"`
	URL   string `json:"url"`
	Agent struct {
		ID   string `json:"id"`
		Name string `json:"name"`
		// Email is confirmed, or else the help desk does not tell it.
		Email string `json:"email"`
	} `json:"agent"`
	Visitor struct {
		Name string `json:"name"`
		// Key is what the page told both this chat and Upscope.
		Key string `json:"upscope_key"`
	} `json:"visitor"`
}

// pageKey is the form of a page's key. Visitors can write the field, so what
// looks different is no key.
var pageKey = regexp.MustCompile(`^[A-Za-z0-9_-]{16,128}$`)

// read says how the chat stands now, whatever the delivery was about:
// deliveries come late, twice and out of order, and the answer to a question
// does not.
func (c *connector) read(ctx context.Context, d bridge.Delivery) (bridge.Ask, error) {
	var k kept
	if err := json.Unmarshal(d.Body, &k); err != nil || !id.MatchString(k.Chat) {
		return bridge.Ask{}, bridge.Permanent(errors.New("demo: delivery names no chat"))
	}
	now, err := c.chat(ctx, k.Chat)
	if err != nil {
		return bridge.Ask{}, err
	}
	if !now.Open {
		return bridge.Ask{Verb: bridge.Close, Chat: k.Chat}, nil
	}
	ask := bridge.Ask{Verb: bridge.Start, Chat: k.Chat, ChatURL: now.URL, Visitor: now.Visitor.Name}
	if pageKey.MatchString(now.Visitor.Key) {
		ask.Clues.IntegrationIDs = []string{"demo:" + now.Visitor.Key}
	}
	if id.MatchString(now.Agent.ID) {
		ask.Agent = bridge.Agent{ID: now.Agent.ID, Name: now.Agent.Name, Email: now.Agent.Email}
		ask.Place = bridge.Place{Address: now.Agent.ID}
	}
	return ask, nil
}

// serving is asked with an agent waiting at the door, so it is one request.
func (c *connector) serving(ctx context.Context, chat string) (agent string, open bool, err error) {
	if !id.MatchString(chat) {
		return "", false, bridge.Permanent(errors.New("demo: no id of a chat"))
	}
	now, err := c.chat(ctx, chat)
	return now.Agent.ID, now.Open, err
}

func (c *connector) chat(ctx context.Context, chatID string) (chat, error) {
	var now chat
	if _, err := c.api.Get(ctx, "chats/"+chatID, nil, &now); err != nil {
		return chat{}, classify("read chat", err)
	}
	return now, nil
}

// A message is a card in the words of the API. The help desk shows plain text,
// so there is no markup to neutralise; where there is, this is the place.
type message struct {
	// Key makes posting twice harmless: the second time, the help desk answers
	// with the message that is there.
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

// show puts a card among the private messages of an agent, which is the only
// thing this connector can write to: it knows no address of a conversation.
func (c *connector) show(ctx context.Context, p bridge.Place, card bridge.Card) (bridge.Ref, error) {
	if p.Connector != "" && p.Connector != c.name || !id.MatchString(p.Address) {
		return "", bridge.Permanent(errors.New("demo: no place of this help desk"))
	}
	out := message{
		Key: card.ID, Title: card.Title,
		Button: messageLink(card.Button), Chat: messageLink(card.Chat),
	}
	for _, l := range card.Lines {
		out.Lines = append(out.Lines, messageLine(l))
	}
	for _, l := range card.More {
		out.More = append(out.More, messageLink(l))
	}
	// Without a Ref nothing is known to be posted, but it may be: an answer can
	// get lost. That is what Key is for.
	path := "agents/" + p.Address + "/messages"
	if card.Ref != "" {
		path += "/" + string(card.Ref)
	}
	var posted struct {
		ID string `json:"id"`
	}
	if _, err := c.api.Post(ctx, path, out, &posted); err != nil {
		return "", classify("show card", err)
	}
	if !id.MatchString(posted.ID) {
		return "", errors.New("demo: show card: the answer names no message")
	}
	return bridge.Ref(posted.ID), nil
}

// check asks for the least that proves address and token. Each finding is a
// sentence for whoever runs `bridge check`, with what to do about it.
func (c *connector) check(ctx context.Context) []bridge.Finding {
	var me struct {
		Name string `json:"name"`
	}
	_, err := c.api.Get(ctx, "me", nil, &me)
	refusal, refused := errors.AsType[*rest.StatusError](err)
	switch {
	case err == nil && me.Name != "":
		return []bridge.Finding{{OK: "The help desk answers and knows the token."}}
	case refused && refusal.Status == http.StatusUnauthorized:
		return []bridge.Finding{{Problem: "The help desk does not know the token.", Remedy: "Start the demo again: it draws a new one."}}
	case err == nil:
		return []bridge.Finding{{Problem: "Something else than the help desk answers.", Remedy: "Check its address."}}
	}
	return []bridge.Finding{{Problem: "The help desk cannot be asked: " + err.Error() + ".", Remedy: "Check its address and that it runs."}}
}

// classify tells the bridge what to do about a failure: wait for as long as the
// service says, give up on what cannot be mended, and try everything else again.
// A refused token counts as something that an operator can mend.
func classify(op string, err error) error {
	err = fmt.Errorf("demo: %s: %w", op, err)
	refusal, ok := errors.AsType[*rest.StatusError](err)
	if !ok {
		return err
	}
	switch s := refusal.Status; {
	case s == http.StatusTooManyRequests:
		seconds, _ := strconv.Atoi(refusal.Header.Get("Retry-After"))
		return bridge.RetryAfter(err, time.Duration(min(max(seconds, 1), 120))*time.Second)
	case s == http.StatusUnauthorized, s == http.StatusForbidden, s == http.StatusRequestTimeout:
		return err
	case s >= 400 && s < 500:
		return bridge.Permanent(err)
	}
	return err
}
