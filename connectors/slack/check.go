package slack

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	slackapi "github.com/slack-go/slack"

	"cobrowse-bridge/bridge"
)

// The scopes of the manifests, and what goes without each of them.
var (
	neededScopes = []struct{ name, what string }{
		{"commands", "the slash command and the shortcuts do not exist"},
		{"chat:write", "nothing can be answered or shown"},
		{"users:read", "the bridge cannot tell members from guests and strangers, and so refuses everybody"},
	}
	usefulScopes = []struct{ name, what string }{
		{"app_mentions:read", "mentions in threads are not heard"},
		{"im:write", "a direct message whose answer is lost is not looked for"},
		{"im:history", "a direct message whose answer is lost is not looked for"},
		{"channels:read", "cards in public channels leave the customer out"},
		{"groups:read", "cards in private channels leave the customer out"},
	}
)

const (
	skewNoted = 60 * time.Second
	// skewFatal is close to the five minutes at which every request is refused.
	skewFatal = 240 * time.Second
)

// A checkup gathers the findings of one check.
type checkup struct {
	*connector
	found []bridge.Finding
}

func (k *checkup) ok(format string, args ...any) {
	k.found = append(k.found, bridge.Finding{OK: fmt.Sprintf(format, args...)})
}

func (k *checkup) problem(remedy, format string, args ...any) {
	k.found = append(k.found, bridge.Finding{Problem: fmt.Sprintf(format, args...), Remedy: remedy})
}

// check asks Slack what an operator would otherwise hear from an agent.
func (c *connector) check(ctx context.Context) []bridge.Finding {
	k := &checkup{connector: c}
	a, err := c.authTest(ctx)
	if err != nil {
		k.refused(err)
	} else {
		k.installed(a)
		k.clock(a.header)
		k.scopes(a.header)
	}
	if c.appToken != "" {
		k.socket(ctx)
	}
	return k.found
}

// checkPlace asks whether cards can be shown in a channel.
func (c *connector) checkPlace(ctx context.Context, address string) []bridge.Finding {
	k := &checkup{connector: c}
	if p, err := parsePlace(address); err == nil && isShared(address) {
		k.channel(ctx, p.channel)
	} else {
		k.problem("Name a channel by its id, such as slack:C0123456789.", "Cards cannot be shown at %.40q.", address)
	}
	return k.found
}

func (k *checkup) refused(err error) {
	fault := k.fault("POST auth.test", err)
	if code, ok := refused(err); ok {
		k.problem(fmt.Sprintf("Copy the Bot User OAuth Token from the app's page OAuth & Permissions into %s; install the app there first.", k.env("BOT_TOKEN")),
			"Slack does not accept the bot token: %s.", code)
		return
	}
	k.problem("See that the bridge may reach slack.com, through the proxy if there is one.", "Slack cannot be reached: %v.", fault)
}

func (k *checkup) installed(a authAnswer) {
	if a.BotID == "" {
		k.problem(fmt.Sprintf("Put the Bot User OAuth Token, which begins with xoxb-, into %s.", k.env("BOT_TOKEN")), "%s is not the token of a bot.", k.env("BOT_TOKEN"))
		return
	}
	k.ok("The app is installed in %s as %s.", plain(a.Team, 60), plain(a.User, 60))
}

func (k *checkup) clock(h http.Header) {
	theirs, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return
	}
	skew := time.Since(theirs).Round(time.Second).Abs()
	remedy := "Let this machine keep its time with NTP."
	switch {
	case skew > skewFatal:
		k.problem(remedy, "This machine's clock is %v off Slack's: from five minutes on, everything Slack sends is refused as too old.", skew)
	case skew > skewNoted:
		k.problem(remedy, "This machine's clock is %v off Slack's.", skew)
	default:
		k.ok("The clock agrees with Slack's.")
	}
}

func (k *checkup) scopes(h http.Header) {
	me := installation{scopes: scopes(h.Get("X-Oauth-Scopes"))}
	if len(me.scopes) == 0 {
		k.problem("Run the check again.", "Slack does not say which scopes the app has.")
		return
	}
	all := true
	for _, s := range neededScopes {
		if !me.may(s.name) {
			all = false
			k.problem("Add it under OAuth & Permissions, Bot Token Scopes, and install the app again.", "The app lacks the scope %s: %s.", s.name, s.what)
		}
	}
	for _, s := range usefulScopes {
		if !me.may(s.name) {
			k.ok("The app is without the scope %s: %s.", s.name, s.what)
		}
	}
	if all {
		k.ok("The app has the scopes it needs.")
	}
}

func (k *checkup) channel(ctx context.Context, id string) {
	info, err := k.api.GetConversationInfoContext(ctx, &slackapi.GetConversationInfoInput{ChannelID: id})
	switch {
	case refusedAs(err, "channel_not_found"):
		k.problem("Invite the app to the channel with /invite, or name another one.", "The channel %s is not there, or is private and the app is not in it.", id)
	case err != nil:
		k.problem("Give the app the scopes channels:read and groups:read, and run the check again.", "Whether cards can be shown in %s is not known: %v.", id, k.fault("POST conversations.info", err))
	case info.IsArchived:
		k.problem("Name another channel.", "The channel %s is archived.", id)
	case !info.IsMember:
		k.problem("Invite the app to the channel with /invite.", "The app is not in the channel %s.", id)
	case info.IsExtShared || info.IsPendingExtShared:
		k.problem("Name a channel of your own people only.", "The channel %s is shared with another company: its cards leave the customer out.", id)
	default:
		k.ok("Cards can be shown in the channel %s.", id)
	}
}

func (k *checkup) socket(ctx context.Context) {
	_, address, err := k.api.StartSocketModeContext(ctx)
	if err == nil && !socketAddress(address) {
		err = errAnswer
	}
	remedy := fmt.Sprintf("Make an app-level token with the scope connections:write on the app's page Basic Information, put it into %s, and switch Socket Mode on.", k.env("APP_TOKEN"))
	code, known := refused(err)
	switch {
	case err == nil:
		k.ok("Socket Mode can be used.")
	case known:
		k.problem(remedy, "Socket Mode cannot be used: %s.", strings.ReplaceAll(code, "_", " "))
	case errors.Is(err, errAnswer):
		k.problem("Run the check again.", "Whether Socket Mode can be used is not known: %v.", errAnswer)
	default:
		k.problem("Run the check again.", "Whether Socket Mode can be used is not known: %v.", k.fault(opConnect, err))
	}
}
