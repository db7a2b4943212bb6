package rocketchat

import (
	"context"
	"errors"
	"fmt"
	"net/url"

	"cobrowse-bridge/bridge"
)

// errPersonal means that a card whose addresses are one agent's was about to be
// shown to several people. Rocket.Chat does not say who follows a link, so only
// what asks who comes may stand in a channel.
var errPersonal = errors.New("refused to show an agent's own card in a channel")

// A channel is what rooms.info tells of a room by its name.
type channel struct {
	ID        string   `json:"_id"`
	Type      string   `json:"t"`
	Name      string   `json:"name"`
	Parent    string   `json:"prid"` // of a discussion: the room that it belongs to
	Federated bool     `json:"federated"`
	Encrypted bool     `json:"encrypted"`
	ReadOnly  bool     `json:"ro"`
	Unmuted   []string `json:"unmuted"`
}

const (
	privateGroup  = "p"
	publicChannel = "c"
)

// isChannel reports whether an address is that of a channel, which is its name
// with a # before it. No user's name begins so.
func isChannel(address string) bool {
	return address != "" && address[0] == '#' && channelName(address)
}

// target proves where a card may be posted at an address, every time.
func (c *connector) target(ctx context.Context, address string, card bridge.Card) (rid string, err error) {
	if !isChannel(address) {
		return c.dm(ctx, address)
	}
	if personal(card) {
		return "", bridge.Permanent(errPersonal)
	}
	return c.channel(ctx, address)
}

// personal reports whether a card has an address that is one agent's alone.
func personal(card bridge.Card) bool {
	for _, l := range append([]bridge.Link{card.Button}, card.More...) {
		if l.Address != "" && !card.Public {
			return true
		}
	}
	return false
}

// channel returns the id of the room that an address names, once the server's
// answer proves that it has that very name and may hold cards.
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
		return "", bridge.Permanent(fmt.Errorf("%s is %s: %w", address, room.unfit(), errTarget))
	case !c.proven.allowAs(room.Name, room.ID):
		return "", fmt.Errorf("%s is another room than before, restart the bridge if that is meant: %w", address, errTarget)
	}
	return room.ID, nil
}

// channelInfo reads a room as the poster, whom the server refuses what it may not
// see. Archived rooms are refused too (Rocket.Chat, app/api/server/v1/rooms.ts).
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

// unfit says what keeps cards out of a room, or nothing. A discussion is read by
// whoever may read the room that it belongs to, which tells of it too
// (server/services/authorization/canAccessRoom.ts); a federated room by people of
// other servers.
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
