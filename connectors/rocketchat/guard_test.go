package rocketchat

import (
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/rest"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

func TestPromise3NothingIsPostedWhereAVisitorCanReadIt(t *testing.T) {
	t.Parallel()

	t.Run("a whole life of a card writes to direct messages only", func(t *testing.T) {
		for _, version := range []string{"7.0", "7.10", "8.8", "9.0"} {
			d := newDesk(t) // its workspace fails the test at any write aimed at the chat
			d.Version = version
			d.Say(d.chat, "", "hello")
			c := exampleCard()
			for _, kind := range []string{typeStart, typeQueued, typeTaken, typeMessage, typeCapture, typeForward, typeClose} {
				switch kind {
				case typeTaken:
					d.Take(d.chat, "bob")
				case typeForward:
					d.Forward(d.chat, "eve")
				case typeClose:
					d.CloseChat(d.chat)
				}
				a := d.mustAsk(t, kind)
				if a.Place.Address == "" {
					continue
				}
				c.Title, c.Ref = "Co-browse after "+kind, ""
				c.Ref = d.show(t, a.Place.Address, c)
				c.Title = "Live"
				d.show(t, a.Place.Address, c)
			}
			if len(d.Posts("bob")) == 0 || len(d.Posts("eve")) == 0 {
				t.Error("an agent got no post")
			}
			if got := d.VisitorReads(d.chat); !slices.Equal(got, []string{"hello"}) {
				t.Errorf("%s: the visitor reads %q", version, got)
			}
			for _, r := range d.Requests() {
				if r.Method != http.MethodGet && r.User != "posterId" {
					t.Errorf("%s %s by %s", r.Method, r.Path, r.User)
				}
			}
			if v := d.Violations(); v != nil {
				t.Errorf("%s: %q", version, v)
			}
		}
	})

	t.Run("an answer of im.create that is not the direct message of the two is refused", func(t *testing.T) {
		for name, room := range map[string]string{
			"a livechat room":        `{"t":"l","rid":"X","_id":"X","usernames":["cobrowse","bob"]}`,
			"a voip room":            `{"t":"v","rid":"X","_id":"X","usernames":["cobrowse","bob"]}`,
			"a channel":              `{"t":"c","rid":"X","_id":"X","usernames":["cobrowse","bob"]}`,
			"a group of three":       `{"t":"d","rid":"X","_id":"X","usernames":["cobrowse","bob","eve"]}`,
			"another agent":          `{"t":"d","rid":"X","_id":"X","usernames":["cobrowse","eve"]}`,
			"two others":             `{"t":"d","rid":"X","_id":"X","usernames":["bob","eve"]}`,
			"the agent twice":        `{"t":"d","rid":"X","_id":"X","usernames":["bob","bob"]}`,
			"the agent alone":        `{"t":"d","rid":"X","_id":"X","usernames":["bob"]}`,
			"another case":           `{"t":"d","rid":"X","_id":"X","usernames":["cobrowse","Bob"]}`,
			"no members":             `{"t":"d","rid":"X","_id":"X"}`,
			"no type":                `{"rid":"X","_id":"X","usernames":["cobrowse","bob"]}`,
			"no id":                  `{"t":"d","usernames":["cobrowse","bob"]}`,
			"two ids":                `{"t":"d","rid":"Y","_id":"X","usernames":["cobrowse","bob"]}`,
			"nothing":                `{}`,
			"members that are a map": `{"t":"d","rid":"X","_id":"X","usernames":{"0":"cobrowse","1":"bob"}}`,
		} {
			d := newDesk(t)
			body := `{"success":true,"room":` + strings.ReplaceAll(room, `"X"`, `"`+d.chat+`"`) + `}`
			d.Fail("im.create", rocketchattest.Fault{Status: 200, Body: body}, 1)
			_, err := d.Show(t.Context(), chat.Place{Address: "bob"}, exampleCard())
			if !errors.Is(err, errTarget) {
				t.Errorf("%s: got %v", name, err)
			}
			if got := d.routes(0); !slices.Equal(got, []string{"GET me", "POST im.create"}) {
				t.Errorf("%s: %v", name, got)
			}
		}
	})

	t.Run("a place that is not a user name is refused without a request", func(t *testing.T) {
		d := newDesk(t)
		for _, place := range []string{"", "cobrowse", "#general", "@bob", "bob,eve", "bob eve", "../bob", "bob\n", strings.Repeat("b", 300)} {
			if _, err := d.Show(t.Context(), chat.Place{Address: place}, exampleCard()); !chat.IsPermanent(err) {
				t.Errorf("%q: %v", place, err)
			}
		}
		if slices.Contains(d.routes(0), "POST im.create") {
			t.Error("im.create was called")
		}
	})

	t.Run("an edit in another room is a permanent error", func(t *testing.T) {
		d := newDesk(t)
		c := exampleCard()
		c.Ref = d.show(t, "bob", c)
		d.Fail("chat.update", rocketchattest.Fault{Status: 200, Body: `{"success":true,"message":{"_id":"m","rid":"elsewhere"}}`}, 1)
		if _, err := d.Show(t.Context(), chat.Place{Address: "bob"}, c); !chat.IsPermanent(err) || len(d.Posts("bob")) != 1 {
			t.Errorf("got %v, %d posts", err, len(d.Posts("bob")))
		}
	})

	t.Run("a post in another room is a permanent error", func(t *testing.T) {
		d := newDesk(t)
		d.Fail("chat.sendMessage", rocketchattest.Fault{Status: 200, Body: `{"success":true,"message":{"_id":"m","rid":"elsewhere"}}`}, 1)
		if _, err := d.Show(t.Context(), chat.Place{Address: "bob"}, exampleCard()); !chat.IsPermanent(err) {
			t.Errorf("got %v", err)
		}
	})

	t.Run("the transport sends no other body", func(t *testing.T) {
		w, room := workspace(t.Errorf)
		c := config(t, "https://chat.example.org/chat")
		group, lobby := w.AddChannel("support-agents", "cobrowse"), w.AddChannel("lobby", "cobrowse")
		guard := newProvenOnly(inMemory(w))
		for _, proven := range []string{"posterIda1", "was-a-dm"} {
			guard.allow(proven)
		}
		guard.livechat("was-a-dm")
		if !guard.allowAs("support-agents", group) || guard.allowAs("support-agents", lobby) || guard.allowAs("was-a-dm", "was-a-dm") {
			t.Error("allowAs allows two rooms for a name, none, or a chat")
		}
		send := func(rt http.RoundTripper, method, route, body string) error {
			req, err := http.NewRequest(method, c.URL.String()+"/api/v1/"+route, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			resp, err := rt.RoundTrip(req)
			if err == nil {
				resp.Body.Close()
			}
			return err
		}
		for _, r := range []struct{ method, route, body string }{
			{"POST", "chat.sendMessage", `{"message":{"_id":"m","rid":"` + room + `","msg":"x","parseUrls":false},"previewUrls":[]}`},
			{"POST", "chat.sendMessage", `{"message":{"_id":"m","rid":"posterIda1","msg":"x","parseUrls":false}}`},
			{"POST", "chat.sendMessage", `{"message":{"_id":"m","rid":"posterIda1","msg":"x","parseUrls":true},"previewUrls":[]}`},
			{"POST", "chat.sendMessage", `{"message":{"_id":"m","rid":"posterIda1","msg":"x","tmid":"t"},"previewUrls":[]}`},
			{"POST", "chat.sendMessage", `{"message":{"_id":"m","rid":"posterIda1"},"previewUrls":["https://bridge.example.org"]}`},
			{"POST", "chat.update", `{"roomId":"` + room + `","msgId":"m","text":"x","previewUrls":[]}`},
			{"POST", "chat.update", `{"roomId":"posterIda1","msgId":"m","text":"x"}`},
			{"POST", "chat.postMessage", `{"roomId":"posterIda1","text":"x","parseUrls":false}`},
			{"POST", "chat.postMessage", `{"channel":"@bob","text":"x"}`},
			{"POST", "chat.sendMessage", `{"message":{"_id":"m","rid":"was-a-dm","msg":"x","parseUrls":false},"previewUrls":[]}`},
			{"POST", "chat.update", `{"roomId":"was-a-dm","msgId":"m","text":"x","previewUrls":[]}`},
			{"POST", "chat.sendMessage", `{"message":{"_id":"m","RID":"posterIda1","rid":"` + room + `","msg":"x","parseUrls":false},"previewUrls":[]}`},
			{"POST", "chat.sendMessage", `{"message":{"_id":"m","rid":"` + lobby + `","msg":"x","parseUrls":false},"previewUrls":[]}`},
			{"POST", "chat.sendMessage", `{"message":{"_id":"m","rid":"support-agents","msg":"x","parseUrls":false},"previewUrls":[]}`},
			{"POST", "chat.sendMessage", `{"message":{"_id":"m","rid":"` + group + `","msg":"x","parseUrls":true},"previewUrls":[]}`},
			{"POST", "chat.sendMessage", `{"message":{"_id":"m","rid":"` + group + `","msg":"x"},"previewUrls":["https://bridge.example.org"]}`},
			{"POST", "chat.update", `{"roomId":"` + lobby + `","msgId":"m","text":"x","previewUrls":[]}`},
			{"POST", "chat.update", `{"roomId":"` + group + `","msgId":"m","text":"x"}`},
			{"POST", "chat.postMessage", `{"channel":"#support-agents","text":"x"}`},
			{"POST", "channels.join", `{"roomId":"` + group + `"}`},
			{"POST", "im.create", `{"usernames":"bob,eve"}`},
			{"POST", "im.create", `{"username":"@bob"}`},
			{"POST", "livechat/room.saveInfo", `{}`},
			{"PUT", "chat.sendMessage", `{"message":{"_id":"m","rid":"posterIda1"},"previewUrls":[]}`},
			{"DELETE", "livechat/rooms", `{}`},
		} {
			if err := send(guard, r.method, r.route, r.body); !errors.Is(err, errTarget) {
				t.Errorf("%s %s %s: %v", r.method, r.route, r.body, err)
			}
			if err := send(getOnly{inMemory(w)}, r.method, r.route, r.body); !errors.Is(err, errWrites) {
				t.Errorf("reader: %s %s: %v", r.method, r.route, err)
			}
		}
		if n := len(w.Requests()); n != 0 {
			t.Errorf("%d requests were sent", n)
		}
		k := &connector{name: "rocketchat", proven: guard}
		var err error
		if k.poster, err = rest.New(rest.Config{Base: c.URL, Transport: guard}); err != nil {
			t.Fatal(err)
		}
		err = k.send(t.Context(), room, "m", "x")
		if !chat.IsPermanent(err) || !errors.Is(err, errTarget) || !strings.Contains(err.Error(), "refused to post") {
			t.Errorf("the error of send: %v", err)
		}
		for _, rid := range []string{"posterIda1", group} {
			if err := send(guard, "POST", "chat.sendMessage", `{"message":{"_id":"m`+rid+`","rid":"`+rid+`","msg":"x","parseUrls":false},"previewUrls":[]}`); err != nil {
				t.Errorf("a proven room: %v", err)
			}
		}
		guard.livechat(group)
		if err := send(guard, "POST", "chat.update", `{"roomId":"`+group+`","msgId":"m","text":"x","previewUrls":[]}`); !errors.Is(err, errTarget) {
			t.Errorf("a channel that turned out to be a chat: %v", err)
		}
	})
}

// JSON decoders differ in how they read names in another case and data after the value.
func TestTheTransportSendsTheBodyThatItChecked(t *testing.T) {
	t.Parallel()
	w, room := workspace(t.Errorf)
	for route, c := range map[string]struct{ want, other string }{
		"chat.sendMessage": {
			`{"message":{"_id":"m","rid":"posterIda1","msg":"x","parseUrls":false},"previewUrls":[]}`,
			`{"message":{"_id":"m","rid":"CHAT","RID":"posterIda1","msg":"x","parseUrls":true,"ParseUrls":false},"previewUrls":["https://x"],"PREVIEWURLS":[]} {"message":{"rid":"CHAT"}}`,
		},
		"chat.update": {
			`{"roomId":"posterIda1","msgId":"m","text":"x","previewUrls":[]}`,
			`{"roomId":"CHAT","roomid":"posterIda1","msgId":"m","text":"x","previewUrls":[]}{}`,
		},
		"im.create": {`{"username":"bob"}`, ` {"username":"bob,eve","USERNAME":"bob"} "CHAT"`},
	} {
		for _, body := range []string{c.want, strings.ReplaceAll(c.other, "CHAT", room)} {
			req, err := http.NewRequest(http.MethodPost, "https://chat.example.org/chat/api/v1/"+route, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			var sent *http.Request
			guard := newProvenOnly(transportFunc(func(r *http.Request) (*http.Response, error) {
				sent = r
				return inMemory(w).RoundTrip(r)
			}))
			guard.allow("posterIda1")
			from := len(w.Requests())
			resp, err := guard.RoundTrip(req)
			if err != nil {
				t.Errorf("%s: %v", body, err)
				continue
			}
			resp.Body.Close()
			if got := w.Requests()[from].Body; got != c.want {
				t.Errorf("%s was sent as %s", body, got)
			}
			// After a broken connection the transport reads the body again.
			again, err := sent.GetBody()
			if err != nil {
				t.Fatal(err)
			}
			text, _ := io.ReadAll(again)
			if string(text) != c.want || sent.ContentLength != int64(len(c.want)) {
				t.Errorf("%s would be sent again as %s, %d bytes long", body, text, sent.ContentLength)
			}
		}
	}
}

type transportFunc func(*http.Request) (*http.Response, error)

func (f transportFunc) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestARoomReadAsALivechatIsNeverATarget(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	c := exampleCard()
	c.Ref = d.show(t, "bob", c) // proven before, and still refused
	d.Fail("rooms.info", rocketchattest.Fault{Status: 200, Body: `{"room":{"_id":"posterIda1","t":"l","open":true},"success":true}`}, 1)
	if _, _, err := d.Serving(t.Context(), "posterIda1"); err != nil {
		t.Fatal(err)
	}
	from := len(d.Requests())
	for range 2 {
		if _, err := d.Show(t.Context(), chat.Place{Address: "bob"}, c); !errors.Is(err, errTarget) {
			t.Errorf("got %v", err)
		}
	}
	for _, r := range d.routes(from) {
		if r != "GET me" && r != "POST im.create" {
			t.Errorf("asked %s", r)
		}
	}
	d.show(t, "eve", exampleCard())
}

func TestTheLastLivechatRoomsAreRemembered(t *testing.T) {
	t.Parallel()
	var d provenOnly
	for i := range 5 * remembered {
		d.livechat("held")
		d.livechat(strconv.Itoa(i))
		for _, id := range []string{"held", strconv.Itoa(max(0, i-remembered+2))} {
			if !d.young[id] && !d.old[id] {
				t.Fatalf("%s is not remembered at %d", id, i)
			}
		}
		if n := len(d.young) + len(d.old); n > 2*remembered {
			t.Fatalf("%d ids are remembered", n)
		}
	}
}

func TestTheFakeWorkspaceReportsAPostInAChat(t *testing.T) {
	t.Parallel()
	for _, token := range []string{posterToken, readerToken} {
		reports := 0
		w, room := workspace(func(string, ...any) { reports++ })
		for _, body := range []string{`{"roomId":"` + room + `","text":"x"}`, `{"channel":"` + room + `","text":"x"}`} {
			req, _ := http.NewRequest(http.MethodPost, "https://chat.example.org/chat/api/v1/chat.postMessage", strings.NewReader(body))
			req.Header.Set("X-Auth-Token", token)
			req.Header.Set("X-User-Id", map[string]string{posterToken: "posterId", readerToken: "readerId"}[token])
			resp, err := inMemory(w).RoundTrip(req)
			if err != nil {
				t.Fatal(err)
			}
			// The server refuses the poster, and cannot refuse the reader.
			if refused := resp.StatusCode != 200; refused != (token == posterToken) {
				t.Errorf("answered %d", resp.StatusCode)
			}
		}
		if reports != 2 || len(w.Violations()) != 2 {
			t.Errorf("%d reports", reports)
		}
	}
}
