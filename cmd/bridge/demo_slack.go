package main

import (
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/connectors/demo"
	"cobrowse-bridge/connectors/slack"
	"cobrowse-bridge/connectors/slack/slacktest"
)

// slackPath is the path of the stand-in for Slack, and slackChannel its channel.
const (
	slackPath    = "/stand-in/slack"
	slackChannel = "C1SUPPORT"
)

// addSlack adds the stand-in for Slack, a workspace with the same two agents. The
// bridge uses its real Slack connector.
func (d *demoSite) addSlack(log *slog.Logger) (chat.Connector, error) {
	w := slacktest.New(func(format string, args ...any) {
		log.Warn("call refused by the stand-in for Slack", "reason", fmt.Sprintf(format, args...))
	})
	w.TeamName, w.AppName, w.Secret, w.BotToken = "Lamp & Leaf", "Co-browse", rand.Text(), "xoxb-"+rand.Text()
	w.Scopes = append(w.Scopes, "users:read.email")
	const robin, sam = "U1ROBIN", "U2SAM"
	w.AddUser(slacktest.User{ID: robin, Name: "robin", RealName: "Robin", Email: demo.RobinsEmail, Confirmed: true})
	w.AddUser(slacktest.User{ID: sam, Name: "sam", RealName: "Sam"})
	w.AddChannel(slacktest.Channel{ID: slackChannel, Name: "support", Members: []string{robin, sam, w.BotUser}})
	d.secrets = append(d.secrets, w.Secret, w.BotToken)
	d.slack = w.Page(slacktest.PageConfig{
		Hook: d.origin.JoinPath("hooks/slack").String(), People: []string{robin, sam}, Back: deskPath + "/", BackLabel: "The demo",
	})
	d.mux.Handle(slackPath+"/", http.StripPrefix(slackPath, d.slack))
	return slack.New(slack.Config{Name: "slack", Secrets: secret.All(w.Secret), BotToken: secret.New(w.BotToken), Transport: w.Transport(), Log: log})
}
