package rocketchat

import (
	"context"
	"net/http"
	"strings"
	"testing"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/connectortest"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

func TestConnectorPassesTheSuite(t *testing.T) {
	connectortest.Run(t, connectortest.Harness{
		New: newService, Verdict: verdict,
		Optional: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/users.info") },
	})
}

// In a channel the suite's cards are public, as all are where agents sign in.
func TestConnectorPassesTheSuiteInAChannel(t *testing.T) {
	connectortest.Run(t, connectortest.Harness{
		New: func(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) connectortest.Service {
			d := newDesk(t, func(c *Config) { c.Transport = wrap(c.Transport) })
			group := d.AddChannel("support-agents", "bob", "eve", "cobrowse")
			return connectortest.Service{
				Connector: bridge.Connector{Name: d.Name, Show: func(ctx context.Context, p bridge.Place, c bridge.Card) (bridge.Ref, error) {
					c.Public = true
					return d.Show(ctx, p, c)
				}},
				Secrets:      []string{testSecret, readerToken, posterToken, visitorToken},
				Place:        bridge.Place{Connector: "rocketchat", Address: "#support-agents"},
				Shown:        func() []string { return texts(d.PostsIn(group)) },
				VisitorReads: func() []string { return d.VisitorReads(d.chat) },
			}
		},
		Verdict: verdict,
	})
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
	d := newDesk(t, func(c *Config) {
		c.Transport = wrap(c.Transport)
		c.ForwardURL, c.ForwardTransport = mustURL("https://crm.example.org/in?key=crm-key-Thoo9ieb"), wrap(inMemory(new(receiver)))
	})
	d.Take(d.chat, "bob")
	request := func(name, token string, header http.Header, body []byte) connectortest.Request {
		h := header.Clone()
		if token != "" {
			h.Set(tokenHeader, token)
		}
		return connectortest.Request{Name: name, Path: "/hooks/rocketchat", Header: h, Body: body}
	}
	taken, header := d.Event(typeTaken, d.chat)
	closing, _ := d.Event(typeClose, d.chat)
	bare := header.Clone()
	bare.Del(tokenHeader)

	var different [][]byte
	add := func(kind string) {
		body, _ := d.Event(kind, d.chat)
		different = append(different, body)
	}
	for _, kind := range []string{typeStart, typeTaken, typeForward, typeClose, typeMessage} {
		add(kind)
	}
	if err := d.SetField(d.chat, "upscope_code", "4821"); err != nil {
		t.Fatal(err)
	}
	add(typeMessage)
	d.Forward(d.chat, "eve")
	add(typeForward)
	d.Forward(d.chat, "bob") // as it was, for the calls

	other := d.OpenChat(rocketchattest.Visitor{ID: "v2", Username: "guest-8", Token: visitorToken})
	body, _ := d.Event(typeStart, other)
	different = append(different, body)

	return connectortest.Service{
		Connector: d.Connector,
		Secrets:   []string{testSecret, readerToken, posterToken, visitorToken, "crm-key-Thoo9ieb"},
		Genuine: func(body []byte) connectortest.Request {
			return request("genuine", testSecret, bare, body)
		},
		Event:   func() []byte { return taken },
		Closing: func() []byte { return closing },
		Forged: []connectortest.Request{
			request("another workspace's secret", "another-secret-of-a-workspace", bare, taken),
			request("the reader's token as the secret", readerToken, bare, taken),
			request("a body that is no JSON", "x", bare, []byte("{")),
		},
		Same:         [][]byte{taken, append([]byte(" \n"), taken...)},
		Different:    different,
		Place:        bridge.Place{Connector: "rocketchat", Address: "bob"},
		Shown:        func() []string { return texts(d.Posts("bob")) },
		VisitorReads: func() []string { return d.VisitorReads(d.chat) },
	}
}

func texts(posts []rocketchattest.Post) []string {
	var list []string
	for _, p := range posts {
		list = append(list, p.Text)
	}
	return list
}
