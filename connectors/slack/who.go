package slack

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	slackapi "github.com/slack-go/slack"

	"cobrowse-bridge/bridge"
)

// An installation is whom the bot token belongs to.
type installation struct {
	team, enterprise string
	bot, user, name  string // the bot's id, and the id and name of its user
	scopes           []string
}

// self asks once an hour who we are (docs.slack.dev/reference/methods/auth.test).
func (c *connector) self(ctx context.Context) (installation, error) {
	if me, ok := c.selves.get(""); ok {
		return me, nil
	}
	a, err := c.api.AuthTestContext(ctx)
	if err != nil {
		return installation{}, c.fault("POST auth.test", err)
	}
	me := installation{
		team: a.TeamID, enterprise: a.EnterpriseID, bot: a.BotID, user: a.UserID, name: a.User,
		scopes: scopes(a.Header.Get("X-Oauth-Scopes")),
	}
	if me.team == "" {
		return installation{}, fmt.Errorf("POST auth.test: %w", errAnswer)
	}
	c.selves.put("", me)
	return me, nil
}

func scopes(header string) []string {
	var all []string
	for s := range strings.SplitSeq(header, ",") {
		if s = strings.TrimSpace(s); s != "" {
			all = append(all, s)
		}
	}
	return all
}

func (i installation) may(scope string) bool { return slices.Contains(i.scopes, scope) }

// has reports whether a delivery comes from where the app is installed. Where
// that is a whole organisation, the workspace may be any and is often not named.
func (i installation) has(k kept) bool {
	if k.OrgWide {
		return k.Enterprise != "" && (k.Enterprise == i.enterprise || k.Enterprise == i.team)
	}
	return k.Team == i.team
}

// home is what the ids of its people begin with.
func (i installation) home(orgWide bool) string {
	if orgWide && i.enterprise != "" {
		return i.enterprise
	}
	return i.team
}

// A person is what users.info says about whoever asked. The zero person is nobody
// whom Slack knows.
type person struct {
	name               string
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
	ours := !p.stranger && (p.team == me.team || slices.Contains(p.teams, me.team) ||
		k.OrgWide && p.enterprise != "" && p.enterprise == k.Enterprise)
	home, why := me.home(k.OrgWide), bridge.Refusal("")
	switch {
	case p.team == "":
		why = bridge.RefuseInactive
	case !me.has(k), !ours:
		home, why = p.team, bridge.RefuseExternal
	case p.bot:
		why = bridge.RefuseBot
	case p.closed:
		why = bridge.RefuseInactive
	case p.guest && !c.allowGuests:
		why = bridge.RefuseGuest
	}
	return bridge.Agent{ID: home + "/" + k.User, Name: cmp.Or(p.name, k.User)}, why, nil
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
