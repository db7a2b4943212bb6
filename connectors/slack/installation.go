package slack

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"slices"
	"strings"
)

// An installation is the workspace, or the organisation, in which the app is installed.
type installation struct {
	team, enterprise string
	orgWide          bool
	bot, user, name  string // the bot's id, and the id and name of its user
	scopes           []string
}

// An authAnswer is the answer of auth.test (docs.slack.dev/reference/methods/auth.test).
type authAnswer struct {
	Team       string `json:"team"`
	TeamID     string `json:"team_id"`
	Enterprise string `json:"enterprise_id"`
	OrgWide    any    `json:"is_enterprise_install"`
	User       string `json:"user"`
	UserID     string `json:"user_id"`
	BotID      string `json:"bot_id"`

	header http.Header
}

// authTest calls auth.test. slack-go's own method does not say whether the token belongs to an
// organisation.
func (c *connector) authTest(ctx context.Context) (a authAnswer, err error) {
	a.header, err = c.call(ctx, "auth.test", nil, &a)
	return a, err
}

// self returns the installation of the app. It asks Slack once an hour.
func (c *connector) self(ctx context.Context) (installation, error) {
	if me, ok := c.installations.Peek(""); ok {
		return me, nil
	}
	a, err := c.authTest(ctx)
	if err != nil {
		return installation{}, c.fault("POST auth.test", err)
	}
	me := installation{
		team: a.TeamID, enterprise: a.Enterprise, orgWide: truth(a.OrgWide),
		bot: a.BotID, user: a.UserID, name: a.User, scopes: scopes(a.header.Get("X-Oauth-Scopes")),
	}
	// Slack may name the organisation in place of the workspace, or name no workspace.
	if strings.HasPrefix(me.team, "E") || me.team == "" {
		me.enterprise, me.orgWide = cmp.Or(me.enterprise, me.team), true
	}
	if me.home() == "" {
		return installation{}, fmt.Errorf("POST auth.test: %w", errAnswer)
	}
	c.installations.Put("", me)
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

// covers reports whether a person's delivery comes from the workspace or the organisation in
// which the app is installed. It does not read is_enterprise_install, which some deliveries
// lack. In an organisation every workspace counts, and often none is named.
func (i installation) covers(k kept, p person) bool {
	switch {
	case !i.orgWide:
		return k.Team == i.team
	case k.Enterprise == "":
		return slices.Contains(p.teams, k.Team)
	}
	return k.Enterprise == i.enterprise
}

// hasMember reports whether a person is a member of the workspace or the organisation in
// which the app is installed.
func (i installation) hasMember(p person) bool {
	switch {
	case p.stranger:
		return false
	case i.orgWide:
		return p.enterprise == i.enterprise
	}
	return p.team == i.team || slices.Contains(p.teams, i.team)
}

// home is the first part of its agents' ids: the id of the organisation or the workspace.
func (i installation) home() string {
	if i.orgWide {
		return i.enterprise
	}
	return i.team
}
