package rocketchat

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"cobrowse-bridge/bridge/chat"
)

// errPersonal means that a card whose links are for one agent was about to be shown in a
// channel. Rocket.Chat does not tell who follows a link, so a card in a channel must lead to
// a page that asks who opens it.
var errPersonal = errors.New("refused to show a card for one agent in a channel")

// A channel is the part of rooms.info that decides whether cards may be posted in a room.
type channel struct {
	ID        string   `json:"_id"`
	Type      string   `json:"t"`
	Name      string   `json:"name"`
	Parent    string   `json:"prid"` // for a discussion, the room that it belongs to
	Federated bool     `json:"federated"`
	Encrypted bool     `json:"encrypted"`
	ReadOnly  bool     `json:"ro"`
	Unmuted   []string `json:"unmuted"`
}

const (
	privateGroup  = "p"
	publicChannel = "c"
)

// isChannel reports whether an address is a channel's: its name with a leading #. The name
// of a user never begins with #.
func isChannel(address string) bool {
	return address != "" && address[0] == '#' && channelName(address)
}

// target returns the id of the room in which a card is posted for an address. It asks the
// server each time whether only agents read there.
func (c *connector) target(ctx context.Context, address string, card chat.Card) (rid string, err error) {
	if !isChannel(address) {
		return c.dm(ctx, address)
	}
	if personal(card) {
		return "", chat.Permanent(errPersonal)
	}
	return c.channel(ctx, address)
}

// personal reports whether a card has a link that only one agent may see.
func personal(card chat.Card) bool {
	for _, l := range append([]chat.Link{card.Button}, card.More...) {
		if l.Address != "" && !card.Public {
			return true
		}
	}
	return false
}

// channel returns the id of the channel at an address, if the server confirms that the room
// has exactly this name and that cards may be posted in it.
func (c *connector) channel(ctx context.Context, address string) (rid string, err error) {
	room, err := c.channelInfo(ctx, address)
	if r, se := refused(err); se != nil && r.noRoom() {
		return "", fmt.Errorf("%w: there is no channel %s", err, address)
	}
	if err != nil {
		return "", c.classify(err, "POSTER", "access to "+address+": invite it there")
	}
	switch {
	case room.ID == "" || "#"+room.Name != address:
		return "", fmt.Errorf("GET rooms.info: the answer is not about %s: %w", address, errTarget)
	case room.unfit() != "":
		return "", chat.Permanent(fmt.Errorf("%s is %s: %w", address, room.unfit(), errTarget))
	case !c.proven.allowAs(room.Name, room.ID):
		return "", fmt.Errorf("%s now belongs to another room; restart the bridge to use that room: %w", address, errTarget)
	}
	return room.ID, nil
}

// channelInfo reads a room as the poster. The server refuses rooms that the poster may not
// see, and archived rooms (Rocket.Chat, app/api/server/v1/rooms.ts).
func (c *connector) channelInfo(ctx context.Context, address string) (channel, error) {
	var answer struct {
		Room channel `json:"room"`
	}
	_, err := c.poster.Get(ctx, api+"rooms.info", url.Values{"roomName": {address[1:]}}, &answer)
	if answer.Room.Type == "l" {
		c.proven.livechat(answer.Room.ID)
	}
	return answer.Room, err
}

// unfit says why cards may not be posted in a room; empty means that they may. Everyone who
// can read the parent room can read a discussion
// (server/services/authorization/canAccessRoom.ts), and people of other servers can read a
// federated room.
func (r channel) unfit() string {
	switch {
	case r.Type != privateGroup && r.Type != publicChannel:
		return "neither a private group nor a public channel"
	case r.Parent != "":
		return "a discussion in another room"
	case r.Federated:
		return "shared with other servers"
	}
	return ""
}
