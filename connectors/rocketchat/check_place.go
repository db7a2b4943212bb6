package rocketchat

import (
	"context"
	"fmt"
	"net/url"
	"slices"

	"cobrowse-bridge/bridge"
)

// checkPlace asks whether the poster can show cards in a channel. It reads only.
func (c *connector) checkPlace(ctx context.Context, address string) []bridge.Finding {
	k := &checkup{connector: c}
	if !isChannel(address) {
		k.problem("Name a channel with a # before it, such as "+c.name+":#support-agents.", "Cards cannot be shown at %.40q.", address)
		return k.found
	}
	room, err := c.channelInfo(ctx, address)
	r, se := refused(err)
	switch {
	case se != nil && r.noRoom():
		k.problem("Name a channel as its address in the browser ends, after /group/ or /channel/.", "There is no channel %s.", address)
	case se != nil && r.says("error-room-archived"):
		k.problem("Name another channel.", "The channel %s is archived.", address)
	case se != nil && r.forbidden():
		k.problem(k.invite(), "The poster is not in the channel %s.", address)
	case err != nil:
		k.problem("Run the check again.", "Whether cards can be shown in %s is not known: %v.", address, err)
	case room.ID == "" || "#"+room.Name != address:
		k.problem("Run the check again.", "Whether cards can be shown in %s is not known: the answer is not about it.", address)
	case room.unfit() != "":
		k.problem("Name a private group of your agents.", "Nothing is shown in %s, since it is %s.", address, room.unfit())
	default:
		k.channel(ctx, room)
	}
	return k.found
}

func (k *checkup) invite() string {
	return fmt.Sprintf("Invite the user of %s to the channel with /invite, or name another one.", k.env("POSTER_ID"))
}

// channel looks at what keeps the poster from writing in a channel that it sees:
// public ones are seen by everybody (app/authorization/server/functions/canSendMessage.ts).
func (k *checkup) channel(ctx context.Context, room channel) {
	var answer struct {
		Subscription *struct {
			Roles []string `json:"roles"` // owner, moderator: both write where others only read
		} `json:"subscription"`
	}
	_, err := k.poster.Get(ctx, api+"subscriptions.getOne", url.Values{"roomId": {room.ID}}, &answer)
	name, errName := k.ownName(ctx)
	member := answer.Subscription
	switch {
	case err != nil || errName != nil:
		k.problem("Run the check again.", "Whether the poster is in the channel #%s is not known.", room.Name)
	case member == nil:
		k.problem(k.invite(), "The poster is not in the channel #%s.", room.Name)
	case room.ReadOnly && len(member.Roles) == 0 && !slices.Contains(room.Unmuted, name):
		k.problem("Let that user write there, in the channel's list of members.", "The channel #%s is read-only for the user of %s.", room.Name, k.env("POSTER_ID"))
	case room.Encrypted:
		k.problem("Name a channel without it.", "The channel #%s has end-to-end encryption, and Rocket.Chat may refuse what the bridge posts there.", room.Name)
	default:
		k.ok("Cards can be shown in the channel #%s.", room.Name)
	}
	if room.Type == publicChannel {
		k.problem("Make it private, or name a private group of your agents.",
			"#%s is a public channel: everybody in the workspace can read who is helped, and anybody at all where reading without an account is allowed.", room.Name)
	}
}
