package slack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/rest"

	slackapi "github.com/slack-go/slack"
)

// The scopes of the manifests, and what does not work without each of them.
var (
	neededScopes = []struct{ name, what string }{
		{"commands", "the slash command and the shortcuts do not exist"},
		{"chat:write", "the app can neither answer nor show cards"},
		{"users:read", "the bridge cannot distinguish members from guests and people of other companies, so it refuses everyone"},
	}
	usefulScopes = []struct{ name, what string }{
		{"app_mentions:read", "mentions in threads do not work"},
		{"im:write", "the bridge cannot search for a direct message if Slack's answer was lost"},
		{"im:history", "the bridge cannot search for a direct message if Slack's answer was lost"},
		{"channels:read", "cards in public channels do not name the customer"},
		{"groups:read", "cards in private channels do not name the customer"},
	}
)

// reachSlack is the remedy if a request got no answer.
const reachSlack = "Check that the bridge can reach slack.com, if necessary through a proxy (HTTPS_PROXY), and run the check again."

// largeSkew is close to the five minutes from which on every request is refused.
const largeSkew = 240 * time.Second

// A checkup collects the findings of one check.
type checkup struct {
	*connector
	found []chat.Finding
}

func (k *checkup) ok(code, format string, args ...any) {
	k.found = append(k.found, chat.Finding{Code: code, OK: fmt.Sprintf(format, args...)})
}

func (k *checkup) warning(code, remedy, format string, args ...any) {
	k.found = append(k.found, chat.Finding{Code: code, Warning: fmt.Sprintf(format, args...), Remedy: remedy})
}

func (k *checkup) problem(code, remedy, format string, args ...any) {
	k.found = append(k.found, chat.Finding{Code: code, Problem: fmt.Sprintf(format, args...), Remedy: remedy})
}

// check asks Slack whether the tokens, the clock, the scopes and Socket Mode work.
func (c *connector) check(ctx context.Context) []chat.Finding {
	k := &checkup{connector: c}
	a, err := c.authTest(ctx)
	answers := true
	if err != nil {
		answers = k.refused(err)
	} else {
		k.installed(a)
		k.compareClocks()
		k.scopes(a.header)
	}
	if c.appToken != nil && answers {
		k.socket(ctx)
	}
	return k.found
}

// checkPlace asks Slack whether cards can be shown in a channel.
func (c *connector) checkPlace(ctx context.Context, address string) []chat.Finding {
	k := &checkup{connector: c}
	if p, err := parsePlace(address); err == nil && isShared(address) {
		k.channel(ctx, p.channel)
	} else {
		k.problem("slack.place", "Use the id of a channel, such as slack:C0123456789.", "Cards cannot be shown at %.40q.", address)
	}
	return k.found
}

// refused says why auth.test failed. It reports whether Slack answered.
func (k *checkup) refused(err error) (answers bool) {
	fault := k.fault("POST auth.test", err)
	code, isRefused := refused(err)
	_, limited := chat.RetryWait(fault)
	switch {
	case isRefused && slices.Contains(credentialCodes, code):
		k.problem("slack.token", fmt.Sprintf("Copy the Bot User OAuth Token from the app's page OAuth & Permissions into %s; install the app there first.", k.env("BOT_TOKEN")),
			"Slack does not accept the bot token: %s.", code)
	case isRefused || limited:
		k.problem("slack.unchecked", "Run the check again.", "Slack did not answer the check: %v.", fault)
	default:
		k.problem("slack.unreachable", rest.ProxyRemedy(err, k.env("PROXY"), reachSlack), "Slack cannot be reached: %v.", fault)
		return false
	}
	return true
}

func (k *checkup) installed(a authAnswer) {
	if a.BotID == "" {
		k.problem("slack.token", fmt.Sprintf("Put the Bot User OAuth Token, which begins with xoxb-, into %s.", k.env("BOT_TOKEN")), "%s is not the token of a bot.", k.env("BOT_TOKEN"))
		return
	}
	k.ok("slack.app", "The app is installed in %s as %s.", plain(a.Team, 60), plain(a.User, 60))
}

func (k *checkup) compareClocks() {
	ahead, ok := k.clock.Ahead()
	if !ok {
		return
	}
	skew, difference := ahead.Abs(), rest.ClockDifference(ahead)
	remedy := "Synchronise this machine's clock with NTP."
	switch {
	case skew > largeSkew:
		k.problem("slack.clock", remedy, "This machine's clock is %s Slack's. From five minutes on, the bridge refuses every request that Slack signs.", difference)
	case skew > rest.ClockTolerance:
		k.warning("slack.clock", remedy, "This machine's clock is %s Slack's.", difference)
	default:
		k.ok("slack.clock", "This machine's clock agrees with Slack's.")
	}
}

func (k *checkup) scopes(h http.Header) {
	me := installation{scopes: scopes(h.Get("X-Oauth-Scopes"))}
	if len(me.scopes) == 0 {
		k.problem("slack.unchecked", "Run the check again.", "Slack does not say which scopes the app has.")
		return
	}
	all := true
	for _, s := range neededScopes {
		if !me.may(s.name) {
			all = false
			k.problem("slack.scope", "Add it under OAuth & Permissions, Bot Token Scopes, and install the app again.", "The app lacks the scope %s: %s.", s.name, s.what)
		}
	}
	for _, s := range usefulScopes {
		if !me.may(s.name) {
			k.ok("slack.scope-optional", "The app lacks the optional scope %s: %s.", s.name, s.what)
		}
	}
	if all {
		k.ok("slack.scope", "The app has the required scopes.")
	}
}

func (k *checkup) channel(ctx context.Context, id string) {
	info, err := k.api().GetConversationInfoContext(ctx, &slackapi.GetConversationInfoInput{ChannelID: id})
	switch {
	case refusedAs(err, "channel_not_found"):
		k.problem("slack.place", "Invite the app to the channel with /invite, or use another channel.", "The channel %s does not exist, or is private and the app is not in it.", id)
	case refusedAs(err, "missing_scope"):
		k.problem("slack.unchecked", "Give the app the scopes channels:read and groups:read, and run the check again.", "Could not check whether cards can be shown in %s: %v.", id, k.fault("POST conversations.info", err))
	case err != nil:
		k.problem("slack.unchecked", reachSlack, "Could not check whether cards can be shown in %s: %v.", id, k.fault("POST conversations.info", err))
	case info.IsArchived:
		k.problem("slack.place", "Use another channel.", "The channel %s is archived.", id)
	case !info.IsMember:
		k.problem("slack.place", "Invite the app to the channel with /invite.", "The app is not in the channel %s.", id)
	case info.IsExtShared || info.IsPendingExtShared:
		k.problem("slack.place-shared", "Use a channel that only your own people are in.", "The channel %s is shared with another company, so its cards do not name the customer.", id)
	default:
		k.ok("slack.place", "Cards can be shown in the channel %s.", id)
	}
}

func (k *checkup) socket(ctx context.Context) {
	_, address, err := k.api().StartSocketModeContext(ctx)
	if err == nil && !socketAddress(address) {
		err = errAnswer
	}
	remedy := fmt.Sprintf("Make an app-level token with the scope connections:write on the app's page Basic Information, put it into %s, and switch Socket Mode on.", k.env("APP_TOKEN"))
	code, isRefused := refused(err)
	switch {
	case err == nil:
		k.ok("slack.socket", "Socket Mode works.")
	case isRefused && !slices.Contains(slices.Concat(documented.Limits, passingCodes, doubtfulCodes), code):
		k.problem("slack.socket", remedy, "Socket Mode does not work: %s.", strings.ReplaceAll(code, "_", " "))
	case errors.Is(err, errAnswer):
		k.problem("slack.unchecked", "Run the check again.", "Could not check Socket Mode: %v.", errAnswer)
	default:
		k.problem("slack.unchecked", "Run the check again.", "Could not check Socket Mode: %v.", k.fault(opConnect, err))
	}
}
