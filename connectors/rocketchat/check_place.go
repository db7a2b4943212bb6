package rocketchat

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"slices"

	"cobrowse-bridge/bridge/chat"
)

// checkPlace checks whether the poster can show cards in a channel. It changes nothing.
func (c *connector) checkPlace(ctx context.Context, address string) []chat.Finding {
	k := &checkup{connector: c}
	if !isChannel(address) {
		k.problem("rocketchat.place", "Use the name of a channel with a # before it, such as "+c.name+":#support-agents.", "Cards cannot be shown at %.40q.", address)
		return k.found
	}
	room, err := c.channelInfo(ctx, address)
	r, se := refused(err)
	switch {
	case se != nil && r.noRoom():
		k.problem("rocketchat.place", "Use the name that follows /group/ or /channel/ in the channel's address in the browser.", "There is no channel %s.", address)
	case se != nil && r.says("error-room-archived"):
		k.problem("rocketchat.place", "Use another channel.", "The channel %s is archived.", address)
	case se != nil && r.forbidden():
		k.problem("rocketchat.place", k.invite(), "The poster is not in the channel %s.", address)
	case err != nil:
		k.problem("rocketchat.unchecked", "Run the check again.", "Could not check whether cards can be shown in %s: %v.", address, err)
	case room.ID == "" || "#"+room.Name != address:
		k.problem("rocketchat.unchecked", "Run the check again.", "Could not check whether cards can be shown in %s: the server answered about another room.", address)
	case room.unfit() != "":
		k.problem("rocketchat.place", "Use a private group of your agents.", "Cards cannot be shown in %s, because it is %s.", address, room.unfit())
	default:
		k.channel(ctx, room)
	}
	return k.found
}

func (k *checkup) invite() string {
	return fmt.Sprintf("Invite the user of %s to the channel with /invite, or use another channel.", k.env("POSTER_ID"))
}

// channel checks whether the poster may write in a channel that it can see. It can see every
// public channel, also as a non-member
// (app/authorization/server/functions/canSendMessage.ts).
func (k *checkup) channel(ctx context.Context, room channel) {
	var answer struct {
		Subscription *struct {
			Roles []string `json:"roles"` // owners and moderators can write in a read-only channel
		} `json:"subscription"`
	}
	_, err := k.poster.Get(ctx, api+"subscriptions.getOne", url.Values{"roomId": {room.ID}}, &answer)
	name, errName := k.ownName(ctx)
	member := answer.Subscription
	switch {
	case err != nil || errName != nil:
		k.problem("rocketchat.unchecked", "Run the check again.", "Could not check whether the poster is in the channel #%s: %v.", room.Name, cmp.Or(err, errName))
	case member == nil:
		k.problem("rocketchat.place", k.invite(), "The poster is not in the channel #%s.", room.Name)
	case room.ReadOnly && len(member.Roles) == 0 && !slices.Contains(room.Unmuted, name):
		k.problem("rocketchat.place", "Allow that user to write, in the channel's list of members.", "The channel #%s is read-only for the user of %s.", room.Name, k.env("POSTER_ID"))
	case room.Encrypted:
		k.problem("rocketchat.place", "Use a channel without encryption.", "The channel #%s has end-to-end encryption, so Rocket.Chat may refuse the bridge's posts.", room.Name)
	default:
		k.ok("rocketchat.place", "Cards can be shown in the channel #%s.", room.Name)
	}
	if room.Type == publicChannel {
		k.problem("rocketchat.place-public", "Make it private, or use a private group of your agents.",
			"#%s is a public channel: everyone in the workspace can read which customers are helped. If anonymous reading is allowed, everyone on the network can.", room.Name)
	}
}
