package rocketchat

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cobrowse-bridge/bridge/chat"
)

const api = "api/v1/"

// A room is the part of rooms.info that the connector uses for a livechat room. On purpose
// it has no field for v.token, which some versions send.
type room struct {
	ID       string `json:"_id"`
	Type     string `json:"t"`
	Open     bool   `json:"open"`
	ServedBy served `json:"servedBy"`
	Visitor  struct {
		ID       string `json:"_id"`
		Username string `json:"username"`
	} `json:"v"`
}

type visitor struct {
	ID       string         `json:"_id"`
	Name     string         `json:"name"`
	Username string         `json:"username"`
	Fields   map[string]any `json:"livechatData"`
}

type user struct {
	ID       string `json:"_id"`
	Username string `json:"username"`
	Name     string `json:"name"`
	Active   bool   `json:"active"`
	Type     string `json:"type"` // "user", "bot", "app", …
	// Emails are present only if the reader has view-full-other-user-info.
	Emails []struct {
		Address  string `json:"address"`
		Verified bool   `json:"verified"`
	} `json:"emails"`
}

// email returns the user's confirmed e-mail address, or "".
func (u user) email() string {
	for _, e := range u.Emails {
		if e.Verified {
			return e.Address
		}
	}
	return ""
}

// errNoRoom means that the workspace has no room with that id.
var errNoRoom = errors.New("the room does not exist")

// read asks the workspace for the present state of the room in a delivery. The event itself
// may be out of date: events arrive in any order, and a retry repeats an old body.
func (c *connector) read(ctx context.Context, d chat.Delivery) (chat.Ask, error) {
	var e kept
	err := json.Unmarshal(d.Body, &e)
	if err == nil && e.Type == typeCommand {
		return c.readCommand(ctx, d)
	}
	if err != nil || e.Room == "" {
		return chat.Ask{}, chat.Permanent(errors.New("the stored delivery cannot be read"))
	}
	r, err := c.room(ctx, e.Room)
	if errors.Is(err, errNoRoom) && e.Type == typeClose {
		return chat.Ask{Verb: chat.Close, Chat: e.Room}, nil
	}
	if err != nil {
		return chat.Ask{}, err
	}
	ask := chat.Ask{Chat: e.Room, ChatURL: c.site.JoinPath("live", url.PathEscape(e.Room)).String()}
	if !r.Open {
		ask.Verb = chat.Close
		return ask, nil
	}
	ask.Verb = chat.Start
	if r.ServedBy.ID != "" {
		if err := c.setAgent(ctx, &ask, r.ServedBy); err != nil {
			return chat.Ask{}, err
		}
	}
	v, err := c.visitor(ctx, r.Visitor.ID)
	if err != nil {
		return chat.Ask{}, err
	}
	ask.Visitor = cmp.Or(v.Name, v.Username, r.Visitor.Username)
	if key := asString(v.Fields[c.keyField]); pageKey(key) {
		ask.Clues.IntegrationIDs = []string{"rocketchat:" + key}
	}
	ask.Clues.LookupCode = codeIn(v.Fields[c.codeField])
	return ask, nil
}

// codeIn reads the field in which the visitor typed their code, as text or as a number. A number
// has no leading zeros, so only one with four digits is certain.
func codeIn(field any) string {
	if n, ok := field.(float64); ok && n > 0 {
		field = strconv.FormatFloat(n, 'f', -1, 64)
	}
	return chat.CodeIn(asString(field))
}

func (c *connector) room(ctx context.Context, id string) (room, error) {
	var answer struct {
		Room room `json:"room"`
	}
	_, err := c.reader.Get(ctx, api+"rooms.info", url.Values{"roomId": {id}}, &answer)
	if r, se := refused(err); se != nil && r.noRoom() {
		return room{}, chat.Permanent(fmt.Errorf("%w: %w", err, errNoRoom))
	}
	if err != nil {
		return room{}, c.classify(err, "READER", "view-livechat-rooms")
	}
	switch r := answer.Room; {
	case r.ID != id:
		return room{}, errors.New("GET rooms.info: the answer is not about the room")
	case r.Type != "l":
		return room{}, chat.Permanent(errors.New("GET rooms.info: not a livechat room"))
	default:
		c.proven.livechat(id)
		return r, nil
	}
}

// agentLife is how long the names of an agent are kept, so that not each message reads them.
const agentLife = time.Minute

// agentNames returns the user with this id, as read within the last minute. It returns the zero user if
// the answer is about another one.
func (c *connector) agentNames(ctx context.Context, id string) (user, error) {
	if u, ok := c.agents.Peek(id); ok {
		return u, nil
	}
	u, err := c.user(ctx, id)
	if err != nil || u.ID != id {
		return user{}, err
	}
	c.agents.Put(id, u)
	return u, nil
}

// setAgent fills in the agent who serves the chat. The room has the user name that the agent
// had when they took the chat; users.info has the present names. If the workspace refuses
// users.info, the name in the room is used, so that the agent still gets a card.
func (c *connector) setAgent(ctx context.Context, ask *chat.Ask, by served) error {
	u, err := c.agentNames(ctx, by.ID) // empty after a refusal
	if r, se := refused(err); err != nil && (se == nil || !r.declined()) {
		return c.classify(err, "READER", "the right to see users")
	}
	if err != nil {
		c.log.InfoContext(ctx, "names of the agent not read, using the one in the chat", "connector", c.name, "chat", ask.Chat, "agent", by.ID, "err", err)
	}
	name := cmp.Or(u.Username, by.Username)
	ask.Agent = chat.Agent{ID: by.ID, Name: cmp.Or(u.Name, name), Email: u.email()}
	if !username(name) {
		name = noUserName
	}
	ask.Place = chat.Place{Address: name}
	return nil
}

// user reads a user. The caller classifies the error.
func (c *connector) user(ctx context.Context, id string) (user, error) {
	var answer struct {
		User user `json:"user"`
	}
	_, err := c.reader.Get(ctx, api+"users.info", url.Values{"userId": {id}}, &answer)
	return answer.User, err
}

// visitor reads the visitor of a room. It returns the zero visitor if the workspace has
// merged or disabled this one: the chat is still open, and its agent can use a lookup code.
func (c *connector) visitor(ctx context.Context, id string) (visitor, error) {
	if id == "" {
		return visitor{}, nil
	}
	singular := c.singular.Load()
	v, err := c.visitorAt(ctx, id, singular)
	if r, se := refused(err); se != nil && r.missing() && !r.noVisitor() {
		again, errAgain := c.visitorAt(ctx, id, !singular)
		other, _ := refused(errAgain)
		if errAgain == nil || other.noVisitor() {
			c.singular.Store(!singular)
			v, err = again, errAgain
		}
	}
	if r, se := refused(err); se != nil && r.noVisitor() {
		return visitor{}, nil
	}
	if err != nil {
		return visitor{}, c.classify(err, "READER", "view-l-room")
	}
	if v.ID != id {
		return visitor{}, errors.New("GET livechat/visitors.info: the answer is not about the visitor")
	}
	return v, nil
}

// visitorAt reads a visitor with livechat/visitors.info or, if singular is set, with
// livechat/visitor.info, which only an older page of the vendor documents
// (developer.rocket.chat/apidocs/get-visitor-information-by-id-1).
func (c *connector) visitorAt(ctx context.Context, id string, singular bool) (visitor, error) {
	path := api + "livechat/visitors.info"
	if singular {
		path = api + "livechat/visitor.info"
	}
	var answer struct {
		Visitor visitor `json:"visitor"`
	}
	_, err := c.reader.Get(ctx, path, url.Values{"visitorId": {id}}, &answer)
	return answer.Visitor, err
}

const keyAlphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"

// pageKey reports whether s has the form of a key that our page script makes: 16 to 128
// letters, digits, - and _. The visitor can put any other text into the field.
func pageKey(s string) bool {
	if len(s) < 16 || len(s) > 128 {
		return false
	}
	for _, b := range []byte(s) {
		if !strings.ContainsRune(keyAlphabet, rune(b)) {
			return false
		}
	}
	return true
}
