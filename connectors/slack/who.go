package slack

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	slackapi "github.com/slack-go/slack"

	"cobrowse-bridge/bridge"
)

// A person is what users.info says about whoever asked. The zero person is nobody
// whom Slack knows.
type person struct {
	name               string
	email              string // confirmed, or empty
	team, enterprise   string
	teams              []string // of an organisation, that they are members of
	guest, bot, closed bool
	stranger           bool
}

func (c *connector) person(ctx context.Context, id string) (person, error) {
	if p, ok := c.agents.get(id); ok {
		return p, nil
	}
	u, err := c.api.GetUserInfoContext(ctx, id)
	if refusedAs(err, "user_not_found", "user_not_visible", "users_not_found") {
		return person{}, nil
	}
	if err != nil {
		return person{}, c.fault("POST users.info", err)
	}
	if u.ID != id {
		return person{}, fmt.Errorf("POST users.info: %w", errAnswer)
	}
	p := person{
		name: plain(cmp.Or(u.Profile.DisplayName, u.Profile.RealName, u.RealName, u.Name), 80),
		team: u.TeamID, enterprise: u.Enterprise.EnterpriseID, teams: u.Enterprise.Teams,
		guest: u.IsRestricted || u.IsUltraRestricted || u.IsInvitedUser,
		bot:   u.IsBot || u.IsAppUser || u.IsConnectorBot || u.IsWorkflowBot || id == "USLACKBOT",
		// Of closed accounts Slack does not say whether they were guests.
		closed: u.Deleted, stranger: u.IsStranger,
	}
	if u.IsEmailConfirmed {
		p.email = u.Profile.Email // with the scope users:read.email only
	}
	c.agents.put(id, p)
	return p, nil
}

// agent says who asked, and why they may not, if so. A name or an e-mail address
// decides nothing: their owner can change both.
func (c *connector) agent(ctx context.Context, k kept) (bridge.Agent, bridge.Refusal, error) {
	me, err := c.self(ctx)
	if err != nil {
		return bridge.Agent{}, "", err
	}
	p, err := c.person(ctx, k.User)
	if err != nil {
		return bridge.Agent{}, "", err
	}
	home, why := me.home(), bridge.Refusal("")
	switch {
	case p.team == "":
		why = bridge.RefuseInactive
	case !me.has(k, p), !me.employs(p):
		home, why = p.team, bridge.RefuseExternal
	case p.bot:
		why = bridge.RefuseBot
	case p.closed:
		why = bridge.RefuseInactive
	case p.guest && !c.allowGuests:
		why = bridge.RefuseGuest
	}
	return bridge.Agent{ID: home + "/" + k.User, Name: cmp.Or(p.name, k.User), Email: p.email}, why, nil
}

// outsiders reports whether people of other companies see a channel. Where Slack
// does not tell, they may.
func (c *connector) outsiders(ctx context.Context, channel string) (bool, error) {
	if yes, ok := c.shared.get(channel); ok {
		return yes, nil
	}
	info, err := c.api.GetConversationInfoContext(ctx, &slackapi.GetConversationInfoInput{ChannelID: channel})
	switch {
	case refusedAs(err, "missing_scope"):
		c.log.WarnContext(ctx, "cards in the channel leave the customer out: whether it is shared with another company is not known",
			"connector", c.name, "why", "the scope channels:read or groups:read is missing")
		return true, nil
	case err != nil:
		return false, c.fault("POST conversations.info", err)
	}
	yes := info.IsExtShared || info.IsPendingExtShared || info.IsShared && !info.IsOrgShared
	c.shared.put(channel, yes)
	return yes, nil
}

// sameAccount compares accounts of the form "T1/U2". One person may have an account in
// several workspaces, so an account of another one says nothing.
func sameAccount(account, signedIn string) (same, other bool) {
	team, _, _ := strings.Cut(account, "/")
	same = account == signedIn
	return same, !same && strings.HasPrefix(signedIn, team+"/")
}
