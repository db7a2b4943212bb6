package slack

import (
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/connectors/slack/slacktest"
)

func findings(found []chat.Finding) (problems, fine string) {
	for _, f := range found {
		if f.OK == "" {
			problems += f.Problem + f.Warning + " " + f.Remedy + "\n"
		} else {
			fine += f.OK + "\n"
		}
	}
	return problems, fine
}

func TestASoundInstallationHasNoProblems(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *Config) { c.AppToken = secret.New(testApp) })
	d.SocketURL = "wss://wss-primary.slack.com/link"
	problems, fine := findings(append(d.Check(t.Context()), d.CheckPlace(t.Context(), "C1")...))
	if problems != "" {
		t.Error(problems)
	}
	for _, want := range []string{"installed in Acme as cobrowse", "clock agrees", "has the required scopes", "Socket Mode works", "shown in the channel C1"} {
		if !strings.Contains(fine, want) {
			t.Errorf("%q is not in:\n%s", want, fine)
		}
	}
	// A check must not change or post anything.
	for _, m := range d.methods(0) {
		if strings.HasPrefix(m, "chat.") || strings.HasPrefix(m, "views.") || m == "conversations.open" {
			t.Errorf("the check calls %s", m)
		}
	}
}

func TestTheCheckReportsEachProblem(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		change func(*slacktest.Workspace)
		want   []string
	}{
		{"another token", func(w *slacktest.Workspace) { w.BotToken = "xoxb-other" }, []string{"does not accept the bot token: invalid_auth", "SLACK_BOT_TOKEN"}},
		{"no scopes at all", func(w *slacktest.Workspace) { w.Scopes = nil }, []string{"which scopes"}},
		{"two scopes less", func(w *slacktest.Workspace) { w.Scopes = []string{"commands", "app_mentions:read"} }, []string{"lacks the scope chat:write", "lacks the scope users:read"}},
		{"no bot", func(w *slacktest.Workspace) { w.BotID = "" }, []string{"not the token of a bot"}},
		{"a clock that is slightly wrong", func(w *slacktest.Workspace) { w.Skew = 90 * time.Second }, []string{"behind Slack's", "NTP"}},
		{"a clock that is very wrong", func(w *slacktest.Workspace) { w.Skew = -time.Hour }, []string{"ahead of Slack's", "refuses every request"}},
		{"another app token", func(w *slacktest.Workspace) { w.AppToken = "xapp-other" }, []string{"Socket Mode does not work: invalid auth", "connections:write"}},
		{"Slack has a fault", func(w *slacktest.Workspace) { w.Fail("auth.test", slacktest.Fault{Error: "internal_error"}, 1) }, []string{"did not answer the check", "internal_error", "Run the check again"}},
		{"Slack has a fault at Socket Mode", func(w *slacktest.Workspace) {
			w.Fail("apps.connections.open", slacktest.Fault{Error: "internal_error"}, 1)
		}, []string{"Could not check Socket Mode", "internal_error", "Run the check again"}},
		{"Slack limits the check", func(w *slacktest.Workspace) { w.Fail("auth.test", slacktest.Fault{Status: 429}, 1) }, []string{"did not answer the check", "rate limited", "Run the check again"}},
		{"Slack is down", func(w *slacktest.Workspace) { w.Fail("auth.test", slacktest.Fault{Status: 503}, 1) }, []string{"cannot be reached", "503"}},
		{"not in the channel", func(w *slacktest.Workspace) { w.AddChannel(slacktest.Channel{ID: "C1"}) }, []string{"not in the channel C1", "/invite"}},
		{"no channel", func(w *slacktest.Workspace) { w.AddChannel(slacktest.Channel{ID: "C1", Private: true}) }, []string{"C1 does not exist", "/invite"}},
		{"an archived channel", func(w *slacktest.Workspace) {
			w.AddChannel(slacktest.Channel{ID: "C1", Members: []string{w.BotUser}, Archived: true})
		}, []string{"archived"}},
		{"a shared channel", func(w *slacktest.Workspace) {
			w.AddChannel(slacktest.Channel{ID: "C1", Members: []string{w.BotUser}, ExtShared: true})
		}, []string{"shared with another company"}},
		{"a channel that may not be seen", func(w *slacktest.Workspace) { w.Scopes = []string{"commands", "chat:write", "users:read"} }, []string{"scope channels:read"}},
	} {
		d := newDesk(t, func(c *Config) { c.AppToken = secret.New(testApp) })
		d.SocketURL = "wss://wss-primary.slack.com/link"
		c.change(d.Workspace)
		problems, _ := findings(append(d.Check(t.Context()), d.CheckPlace(t.Context(), "C1")...))
		for _, want := range c.want {
			if !strings.Contains(problems, want) {
				t.Errorf("%s: %q is not in:\n%s", c.name, want, problems)
			}
		}
		clean(t, c.name, problems)
	}
}
