package rocketchat

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/connectortest"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

func TestConnectorPassesTheSuite(t *testing.T) {
	connectortest.Run(t, connectortest.Harness{
		New:      newService,
		Optional: func(r *http.Request) bool { return strings.HasSuffix(r.URL.Path, "/users.info") },
		OddFields: []string{
			"name", "v.username", "visitor.username", "livechatData", "visitorEmails", "phone", "ip", "fname", "ts", "status",
		},
	})
}

func TestConnectorPassesTheSuiteInAChannel(t *testing.T) {
	connectortest.Run(t, connectortest.Harness{
		New: func(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) connectortest.Service {
			d := newDesk(t, func(c *Config) { c.Transport = wrap(c.Transport) })
			group := d.AddChannel("support-agents", "bob", "eve", "cobrowse")
			return connectortest.Service{
				Connector:    chat.Connector{Name: d.Name, Show: d.Show, Shared: d.Shared, AllShared: d.AllShared, SignsPresses: d.SignsPresses},
				Secrets:      []string{testSecret, readerToken, posterToken, visitorToken},
				Place:        channelPlace,
				Team:         channelPlace,
				Shown:        func(chat.Place) []string { return texts(d.PostsIn(group)) },
				Markup:       inMarkup,
				VisitorReads: func() []string { return d.VisitorReads(d.chat) },
			}
		},
	})
}

var channelPlace = chat.Place{Connector: "rocketchat", Address: "#support-agents"}

// inMarkup is read by at least one client (developer.rocket.chat, "Message formatting").
var inMarkup = []string{"[Pay](https://evil.example)", "https://evil.example", "evil.example", "@all", "#general", "*bold*", "_it_", "~no~", "`code`", ":smile:"}

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
	after := func(kind string, change func()) func() []byte {
		return func() []byte {
			change()
			body, _ := d.Event(kind, d.chat)
			return body
		}
	}
	forward := after(typeForward, func() { d.Forward(d.chat, "eve") })
	group := d.AddChannel("support-agents", "bob", "eve", "cobrowse")
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
	d.Forward(d.chat, "bob") // back to the first agent, for the calls

	other := d.StartChat(rocketchattest.Visitor{ID: "v2", Username: "guest-8", Token: visitorToken})
	body, _ := d.Event(typeStart, other)
	different = append(different, body)

	named := func(room, key string) []byte {
		var fields map[string]any
		if err := json.Unmarshal(closing, &fields); err != nil {
			t.Fatal(err)
		}
		fields["_id"], fields["closedAt"] = room, key
		body, err := json.Marshal(fields)
		if err != nil {
			t.Fatal(err)
		}
		return body
	}
	return connectortest.Service{
		Connector: d.Connector,
		Secrets:   []string{testSecret, readerToken, posterToken, visitorToken, "crm-key-Thoo9ieb"},
		Genuine: func(body []byte) connectortest.Request {
			return request("genuine", testSecret, bare, body)
		},
		Event:    func() []byte { return taken },
		Closing:  after(typeClose, func() { d.CloseChat(d.chat) }),
		HandOver: forward,
		Release:  after(typeQueued, func() { d.Queue(d.chat) }),
		Remove:   func() { d.RemoveRoom(d.chat) },
		Keyed:    func(key string) []byte { return named(d.chat, key) },
		Named:    named,
		Forged: []connectortest.Request{
			request("another workspace's secret", "another-secret-of-a-workspace", bare, taken),
			request("the reader's token as the secret", readerToken, bare, taken),
			request("a body that is not JSON", "x", bare, []byte("{")),
		},
		Same:      [][]byte{taken, append([]byte(" \n"), taken...)},
		Different: different,
		Open: func() {
			room := d.StartChat(rocketchattest.Visitor{ID: "v2", Username: "guest-8", Token: visitorToken})
			d.Take(room, "bob")
		},
		PageSize: pageSize,
		News:     forward,
		Place:    chat.Place{Connector: "rocketchat", Address: "bob"},
		Team:     channelPlace,
		Shown: func(at chat.Place) []string {
			if at == channelPlace {
				return texts(d.PostsIn(group))
			}
			return texts(d.Posts("bob"))
		},
		Markup:       inMarkup,
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
