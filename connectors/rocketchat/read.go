package rocketchat

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"

	"cobrowse-bridge/bridge"
)

const api = "api/v1/"

// A room is what rooms.info tells of a livechat room. Its v.token, where a
// version still sends it, has no field here.
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
	// Emails are told to those alone who may view-full-other-user-info.
	Emails []struct {
		Address  string `json:"address"`
		Verified bool   `json:"verified"`
	} `json:"emails"`
}

// email is the user's confirmed address, if one is known.
func (u user) email() string {
	for _, e := range u.Emails {
		if e.Verified {
			return e.Address
		}
	}
	return ""
}

// errNoRoom means that the workspace knows no room of that id.
var errNoRoom = errors.New("the room is unknown")

// read takes the delivery as a hint and asks the workspace: events have no
// order, and a retry repeats what was true at the first attempt.
func (c *connector) read(ctx context.Context, d bridge.Delivery) (bridge.Ask, error) {
	var e kept
	err := json.Unmarshal(d.Body, &e)
	if err == nil && e.Type == typeCommand {
		return c.readCommand(ctx, d)
	}
	if err != nil || e.Room == "" {
		return bridge.Ask{}, bridge.Permanent(errors.New("the stored delivery cannot be read"))
	}
	r, err := c.room(ctx, e.Room)
	if errors.Is(err, errNoRoom) && e.Type == typeClose {
		return bridge.Ask{Verb: bridge.Close, Chat: e.Room}, nil
	}
	if err != nil {
		return bridge.Ask{}, err
	}
	ask := bridge.Ask{Chat: e.Room, ChatURL: c.site.JoinPath("live", url.PathEscape(e.Room)).String()}
	if !r.Open {
		ask.Verb = bridge.Close
		return ask, nil
	}
	ask.Verb = bridge.Start
	if r.ServedBy.ID != "" {
		if err := c.serve(ctx, &ask, r.ServedBy); err != nil {
			return bridge.Ask{}, err
		}
	}
	v, err := c.visitor(ctx, r.Visitor.ID)
	if err != nil {
		return bridge.Ask{}, err
	}
	ask.Visitor = cmp.Or(v.Name, v.Username, r.Visitor.Username)
	if key := asString(v.Fields[c.keyField]); pageKey(key) {
		ask.Clues.IntegrationIDs = []string{"rocketchat:" + key}
	}
	if code := asString(v.Fields[c.codeField]); bridge.IsLookupCode(code) {
		ask.Clues.LookupCode = code
	}
	return ask, nil
}

func (c *connector) room(ctx context.Context, id string) (room, error) {
	var answer struct {
		Room room `json:"room"`
	}
	_, err := c.reader.Get(ctx, api+"rooms.info", url.Values{"roomId": {id}}, &answer)
	if r, se := refused(err); se != nil && r.noRoom() {
		return room{}, bridge.Permanent(fmt.Errorf("%w: %w", err, errNoRoom))
	}
	if err != nil {
		return room{}, c.classify(err, "READER", "view-livechat-rooms")
	}
	switch r := answer.Room; {
	case r.ID != id:
		return room{}, errors.New("GET rooms.info: the answer is not about the room")
	case r.Type != "l":
		return room{}, bridge.Permanent(errors.New("GET rooms.info: not a livechat room"))
	default:
		c.proven.livechat(id)
		return r, nil
	}
}

// serve fills in who serves the chat. The room's record, written when the agent
// took it, is enough; the user's own only knows the present names. So whatever
// the workspace has against telling those, the agent still gets a card.
func (c *connector) serve(ctx context.Context, ask *bridge.Ask, by served) error {
	u, err := c.user(ctx, by.ID) // empty after a refusal
	if r, se := refused(err); err != nil && (se == nil || !r.declined()) {
		return c.classify(err, "READER", "the right to see users")
	}
	if u.ID != by.ID {
		u = user{}
	}
	name := cmp.Or(u.Username, by.Username)
	ask.Agent = bridge.Agent{ID: by.ID, Name: cmp.Or(u.Name, name), Email: u.email()}
	if !username(name) {
		c.log.WarnContext(ctx, "no card is shown: the agent's user name cannot be written to",
			"connector", c.name, "chat", ask.Chat, "agent", by.ID)
		return nil
	}
	ask.Place = bridge.Place{Address: name}
	return nil
}

// user reads a user. Its error is not classified yet.
func (c *connector) user(ctx context.Context, id string) (user, error) {
	var answer struct {
		User user `json:"user"`
	}
	_, err := c.reader.Get(ctx, api+"users.info", url.Values{"userId": {id}}, &answer)
	return answer.User, err
}

// visitor reads the visitor of a room. One that is gone (merged or disabled)
// is no error: the chat is open all the same, and its agent can still use a
// lookup code.
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

// visitorAt uses the route that every source has, or the one that only an older
// page of the vendor names (developer.rocket.chat/apidocs/get-visitor-information-by-id-1).
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

// pageKey reports whether s has the form of the key that our page script draws:
// 16 to 128 letters, digits, - and _. Anything else was typed by somebody.
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
