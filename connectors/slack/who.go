package slack

import (
	"cmp"
	"context"
	"fmt"
	"net/url"
	"strings"

	"cobrowse-bridge/bridge/chat"
)

// A person is what users.info says about a user. The zero person means that Slack does not
// know the user.
type person struct {
	name               string
	email              string // confirmed, or empty
	team, enterprise   string
	teams              []string // the workspaces of an organisation that they are in
	guest, bot, closed bool
	stranger           bool // a person of another company in a shared channel
}

// A userAnswer is the decoded part of a user (docs.slack.dev/reference/objects/user-object).
type userAnswer struct {
	ID       string           `json:"id"`
	Team     string           `json:"team_id"`
	Name     optional[string] `json:"name"`
	RealName optional[string] `json:"real_name"`
	Profile  optional[struct {
		DisplayName optional[string] `json:"display_name"`
		RealName    optional[string] `json:"real_name"`
		Email       optional[string] `json:"email"`
	}] `json:"profile"`
	Enterprise optional[struct {
		ID    string   `json:"enterprise_id"`
		Teams []string `json:"teams"`
	}] `json:"enterprise_user"`
	EmailConfirmed  any `json:"is_email_confirmed"`
	Restricted      any `json:"is_restricted"`
	UltraRestricted any `json:"is_ultra_restricted"`
	Invited         any `json:"is_invited_user"`
	Bot             any `json:"is_bot"`
	App             any `json:"is_app_user"`
	Connector       any `json:"is_connector_bot"`
	Workflow        any `json:"is_workflow_bot"`
	Deleted         any `json:"deleted"`
	Stranger        any `json:"is_stranger"`
}

func (c *connector) person(ctx context.Context, id string) (person, error) {
	if p, ok := c.agents.Peek(id); ok {
		return p, nil
	}
	var answer struct {
		User userAnswer `json:"user"`
	}
	_, err := c.call(ctx, "users.info", url.Values{"user": {id}}, &answer)
	if refusedAs(err, "user_not_found", "user_not_visible", "users_not_found") {
		return person{}, nil
	}
	if err != nil {
		return person{}, c.fault("POST users.info", err)
	}
	u := answer.User
	if u.ID != id {
		return person{}, fmt.Errorf("POST users.info: %w", errAnswer)
	}
	profile := u.Profile.value
	p := person{
		name: plain(cmp.Or(profile.DisplayName.value, profile.RealName.value, u.RealName.value, u.Name.value), 80),
		team: u.Team, enterprise: u.Enterprise.value.ID, teams: u.Enterprise.value.Teams,
		guest: perhaps(u.Restricted) || perhaps(u.UltraRestricted) || perhaps(u.Invited),
		bot:   perhaps(u.Bot) || perhaps(u.App) || perhaps(u.Connector) || perhaps(u.Workflow) || id == "USLACKBOT",
		// For closed accounts Slack does not say whether they were guests.
		closed: perhaps(u.Deleted), stranger: perhaps(u.Stranger),
	}
	if truth(u.EmailConfirmed) {
		p.email = profile.Email.value // empty without the scope users:read.email
	}
	c.agents.Put(id, p)
	return p, nil
}

// agent returns the person who asked and, if they may not ask, the reason. The decision does
// not use names and e-mail addresses, which people can change.
func (c *connector) agent(ctx context.Context, k kept) (chat.Agent, chat.Refusal, error) {
	me, err := c.self(ctx)
	if err != nil {
		return chat.Agent{}, "", err
	}
	p, err := c.person(ctx, k.User)
	if err != nil {
		return chat.Agent{}, "", err
	}
	home, why := me.home(), chat.Refusal("")
	switch {
	case p.team == "":
		why = chat.RefuseInactive
	case !me.covers(k, p), !me.hasMember(p):
		home, why = p.team, chat.RefuseExternal
	case p.bot:
		why = chat.RefuseBot
	case p.closed:
		why = chat.RefuseInactive
	case p.guest && !c.allowGuests:
		why = chat.RefuseGuest
	}
	return chat.Agent{ID: home + "/" + k.User, Name: cmp.Or(p.name, k.User), Email: p.email}, why, nil
}

// outsiders reports whether people of other companies are in a channel, or may be: if the
// app lacks the scope to ask, it returns true.
func (c *connector) outsiders(ctx context.Context, channel string) (bool, error) {
	if yes, ok := c.external.Peek(channel); ok {
		return yes, nil
	}
	var answer struct {
		Channel struct {
			ID        string `json:"id"`
			Shared    any    `json:"is_shared"`
			OrgShared any    `json:"is_org_shared"`
			ExtShared any    `json:"is_ext_shared"`
			Pending   any    `json:"is_pending_ext_shared"`
		} `json:"channel"`
	}
	_, err := c.call(ctx, "conversations.info", url.Values{"channel": {channel}}, &answer)
	switch {
	case refusedAs(err, "missing_scope"):
		c.log.WarnContext(ctx, "customer not named on the card: the channel may be shared with another company",
			"connector", c.name, "why", "the scope channels:read or groups:read is missing")
		return true, nil
	case err != nil:
		return false, c.fault("POST conversations.info", err)
	}
	info := answer.Channel
	if !conversationForm.MatchString(info.ID) {
		return false, fmt.Errorf("POST conversations.info: %w", errAnswer)
	}
	yes := perhaps(info.ExtShared) || perhaps(info.Pending) || perhaps(info.Shared) && !truth(info.OrgShared)
	c.external.Put(channel, yes)
	return yes, nil
}

// sameAccount compares accounts of the form "T1/U2". A person may have accounts in several
// workspaces, so accounts of two workspaces may belong to one person.
func sameAccount(account, signedIn string) (same, other bool) {
	team, _, _ := strings.Cut(account, "/")
	same = account == signedIn
	return same, !same && strings.HasPrefix(signedIn, team+"/")
}
