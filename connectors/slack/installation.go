package slack

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"

	slackapi "github.com/slack-go/slack"
)

// An installation is whom the bot token belongs to: a workspace, or a whole
// organisation.
type installation struct {
	team, enterprise string
	orgWide          bool
	bot, user, name  string // the bot's id, and the id and name of its user
	scopes           []string
}

// An authAnswer is the answer of auth.test (docs.slack.dev/reference/methods/auth.test).
type authAnswer struct {
	OK         bool   `json:"ok"`
	Error      string `json:"error"`
	Team       string `json:"team"`
	TeamID     string `json:"team_id"`
	Enterprise string `json:"enterprise_id"`
	OrgWide    any    `json:"is_enterprise_install"`
	User       string `json:"user"`
	UserID     string `json:"user_id"`
	BotID      string `json:"bot_id"`

	header http.Header
}

// authTest asks Slack whose the bot token is. slack-go leaves out of the answer whether
// that is an organisation; the errors are of the kinds that it returns.
func (c *connector) authTest(ctx context.Context) (authAnswer, error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, c.base+"auth.test", nil)
	if err != nil {
		return authAnswer{}, err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("Authorization", "Bearer "+c.botToken)
	resp, err := c.http.Do(req)
	if err != nil {
		return authAnswer{}, err
	}
	defer resp.Body.Close()
	switch {
	case resp.StatusCode == http.StatusTooManyRequests:
		return authAnswer{}, &slackapi.RateLimitedError{RetryAfter: retryAfter(resp.Header)}
	case resp.StatusCode != http.StatusOK:
		return authAnswer{}, slackapi.StatusCodeError{Code: resp.StatusCode}
	}
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return authAnswer{}, err
	}
	a := authAnswer{header: resp.Header}
	switch err := json.Unmarshal(body, &a); {
	case err != nil:
		return authAnswer{}, errAnswer
	case !a.OK:
		return authAnswer{}, slackapi.SlackErrorResponse{Err: a.Error}
	}
	return a, nil
}

// self asks once an hour who we are.
func (c *connector) self(ctx context.Context) (installation, error) {
	if me, ok := c.selves.get(""); ok {
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
	// An organisation may also stand where the workspace is named, or be all that is.
	if strings.HasPrefix(me.team, "E") || me.team == "" {
		me.enterprise, me.orgWide = cmp.Or(me.enterprise, me.team), true
	}
	if me.home() == "" {
		return installation{}, fmt.Errorf("POST auth.test: %w", errAnswer)
	}
	c.selves.put("", me)
	return me, nil
}

// truth reads a boolean that is sometimes sent as a string.
func truth(v any) bool { return v == true || v == "true" }

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

// has reports whether a delivery of this person comes from where the app is
// installed. What a delivery itself says of that is not asked: some leave
// is_enterprise_install out. In an organisation the workspace may be any, and is
// often not named.
func (i installation) has(k kept, p person) bool {
	switch {
	case !i.orgWide:
		return k.Team == i.team
	case k.Enterprise == "":
		return slices.Contains(p.teams, k.Team)
	}
	return k.Enterprise == i.enterprise
}

// employs reports whether somebody is a member of where the app is installed.
func (i installation) employs(p person) bool {
	switch {
	case p.stranger:
		return false
	case i.orgWide:
		return p.enterprise == i.enterprise
	}
	return p.team == i.team || slices.Contains(p.teams, i.team)
}

// home is what the ids of its people begin with.
func (i installation) home() string {
	if i.orgWide {
		return i.enterprise
	}
	return i.team
}
