package slack

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/connectortest"
	"cobrowse-bridge/connectors/slack/slacktest"
)

func TestConnectorPassesTheSuite(t *testing.T) {
	connectortest.Run(t, connectortest.Harness{New: newService, Verdict: verdict})
}

func verdict(status int) connectortest.Verdict {
	switch {
	case status == http.StatusTooManyRequests:
		return connectortest.Wait
	case status < 400, status >= 500:
		return connectortest.Retry
	}
	switch status {
	case 401, 403, 404, 405, 408, 425: // an operator can mend these, or time
		return connectortest.Retry
	}
	return connectortest.Permanent
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
	return connectortest.Service{
		Connector: d.Connector,
		Secrets:   []string{testSecret, testBot, "tohw4oGhaekoor1O"},
		Genuine:   func(body []byte) connectortest.Request { return request("genuine", testSecret, time.Now(), body) },
		Event:     func() []byte { return command },
		Forged: []connectortest.Request{
			request("another app's secret", oldSecret, now, command),
			request("an empty secret", "", now, command),
			request("too old", testSecret, now.Add(-5*time.Minute), command),
			request("too new", testSecret, now.Add(10*time.Minute), command), // by now, on a slow machine, a little less
			altered, moved,
		},
		Same: [][]byte{mention, again},
		Different: [][]byte{
			command, mention, d.Command("U1", "C1", "4821"), d.Command("U2", "C1", "4821"), d.Mention("U1", "C1", "", "4821"),
			d.Mention("U2", "C1", "1700000000.000001", "4821"), d.HomeOpened("U1", "home"), d.HomeOpened("U1", "home"),
			d.Shortcut("U1", shortcutGlobal), d.MessageShortcut("U1", shortcutMessage, card), d.MessageShortcut("U2", shortcutMessage, card),
		},
		Place:        bridge.Place{Connector: "slack", Address: "dm/U1"},
		Shown:        func() []string { return texts(d.Direct("U1")) },
		VisitorReads: func() []string { return texts(d.Channel("C3")) },
	}
}

func texts(posts []slacktest.Post) (list []string) {
	for _, p := range posts {
		list = append(list, p.Text+string(p.Blocks))
	}
	return list
}
