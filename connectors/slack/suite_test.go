package slack

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/connectortest"
	"cobrowse-bridge/connectors/slack/slacktest"
)

func TestConnectorPassesTheSuite(t *testing.T) {
	connectortest.Run(t, connectortest.Harness{
		New:       newService,
		OddFields: []string{"real_name", "display_name", "updated", "is_email_confirmed"},
		// Slack's API refuses with the status 200 (docs.slack.dev/apis/web-api).
		Refusal: func(code string) (int, string) {
			return http.StatusOK, fmt.Sprintf(`{"ok":false,"error":%q}`, code)
		},
	})
}

func newService(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) connectortest.Service {
	d := newDesk(t, func(c *Config) { c.Transport = wrap(c.Transport) })
	request := func(name, secret string, at time.Time, body []byte) connectortest.Request {
		return connectortest.Request{Name: name, Path: "/hooks/slack", Header: slacktest.Sign(secret, at, body), Body: body}
	}
	now := time.Now()
	command := d.Command("U1", "C1", "4821")
	mention := d.Mention("U1", "C1", "", "4821")
	again, _ := d.Retry(mention, 1, "http_timeout")
	altered := request("an altered body", testSecret, now, command)
	altered.Body = []byte(strings.Replace(string(command), "4821", "4822", 1))
	moved := request("another time than the signed one", testSecret, now, command)
	moved.Header.Set(timeHeader, "1531420618")

	card := d.Write("U1", "C1", "", "code 4821")
	team := chat.Place{Connector: "slack", Address: "channel/C1"}
	return connectortest.Service{
		Connector: d.Connector,
		Secrets:   []string{testSecret, testBot, "tohw4oGhaekoor1O"},
		Genuine:   func(body []byte) connectortest.Request { return request("genuine", testSecret, time.Now(), body) },
		Event:     func() []byte { return command },
		Keyed: func(key string) []byte {
			fields := d.CommandFields("U1", "C1", "4821")
			fields.Set("trigger_id", key)
			return []byte(fields.Encode())
		},
		Forged: []connectortest.Request{
			request("another app's secret", oldSecret, now, command),
			request("an empty secret", "", now, command),
			request("too old", testSecret, now.Add(-5*time.Minute), command),
			request("too new", testSecret, now.Add(10*time.Minute), command), // more than the limit, for slow machines
			altered, moved,
		},
		Same: [][]byte{mention, again},
		Different: [][]byte{
			command, mention, d.Command("U1", "C1", "4821"), d.Command("U2", "C1", "4821"), d.Mention("U1", "C1", "", "4821"),
			d.Mention("U2", "C1", "1700000000.000001", "4821"), d.HomeOpened("U1", "home"), d.HomeOpened("U1", "home"),
			d.Shortcut("U1", shortcutGlobal), d.MessageShortcut("U1", shortcutMessage, card), d.MessageShortcut("U2", shortcutMessage, card),
		},
		Place: chat.Place{Connector: "slack", Address: "dm/U1"},
		Team:  team,
		Shown: func(at chat.Place) []string {
			if at == team {
				return texts(d.Channel("C1"))
			}
			return texts(d.Direct("U1"))
		},
		Markup: []string{"<!channel>", "<@U2>", "<#C1>", "<https://evil.example|Pay>", "https://evil.example", "&lt;"},
		// The text of a post has markup; slacktest accepts only blocks without.
		Marked: func() (list []string) {
			for _, p := range d.Direct("U1") {
				list = append(list, p.Text)
			}
			return list
		},
		Press: func() []byte {
			posts := d.Channel("C1")
			return d.Press("U1", posts[len(posts)-1], 0)
		},
		VisitorReads: func() []string { return texts(d.Channel("C3")) },
	}
}

func texts(posts []slacktest.Post) (list []string) {
	for _, p := range posts {
		list = append(list, p.Text+string(p.Blocks))
	}
	return list
}
