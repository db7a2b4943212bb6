package rocketchat

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

func mustURL(s string) *url.URL {
	u, err := url.Parse(s)
	if err != nil {
		panic(err)
	}
	return u
}

func TestAServedChatAsksForACardForItsAgent(t *testing.T) {
	t.Parallel()
	for _, kind := range []string{typeStart, typeQueued, typeTaken, typeForward, typeMessage, typeCapture, typeClose} {
		d := newDesk(t)
		d.Take(d.chat, "bob")
		d.Say(d.chat, "", "hello")
		a := d.mustAsk(t, kind)
		want := chat.Ask{
			Verb: chat.Start, Chat: d.chat, ChatURL: "https://chat.example.org/chat/live/" + d.chat,
			Agent: chat.Agent{ID: "a1", Name: "Bob Baker"}, Visitor: "Ann",
			Place: chat.Place{Address: "bob"},
		}
		if got := a.Clues.IntegrationIDs; !slices.Equal(got, []string{"rocketchat:" + testKey}) || a.Clues.LookupCode != "" {
			t.Errorf("%s: clues %+v", kind, a.Clues)
		}
		a.Clues = chat.Clues{}
		if a.Verb != want.Verb || a.Chat != want.Chat || a.ChatURL != want.ChatURL || a.Agent != want.Agent || a.Place != want.Place || a.Visitor != want.Visitor {
			t.Errorf("%s: got %+v, want %+v", kind, a, want)
		}
	}
}

func TestReadAsksTheWorkspaceAndDoesNotTrustTheEvent(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Take(d.chat, "bob")
	body, header := d.Event(typeTaken, d.chat) // a retry would repeat this later
	r, err := d.receipt(t, body, header)
	if err != nil {
		t.Fatal(err)
	}
	read := func() chat.Ask {
		a, err := d.Read(t.Context(), chat.Delivery{Key: r.Key, Body: r.Body})
		if err != nil {
			t.Fatal(err)
		}
		return a
	}
	d.Forward(d.chat, "eve")
	if a := read(); a.Agent.ID != "a2" || a.Place.Address != "eve" {
		t.Errorf("after the hand-over: %+v", a)
	}
	d.Queue(d.chat)
	if a := read(); a.Verb != chat.Start || a.Agent != (chat.Agent{}) || a.Place != (chat.Place{}) {
		t.Errorf("back in the queue: %+v", a)
	}
	d.CloseChat(d.chat)
	from := len(d.Requests())
	if a := read(); a.Verb != chat.Close || a.Chat != d.chat {
		t.Errorf("closed: %+v", a)
	}
	if got := d.routes(from); !slices.Equal(got, []string{"GET rooms.info"}) {
		t.Errorf("requests for a closed chat: %v", got)
	}
}

func TestAFieldThatComesLateIsFoundByTheNextRead(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	room := d.StartChat(rocketchattest.Visitor{ID: "v2", Username: "guest-8"})
	d.chat = room
	d.Take(room, "bob")
	if a := d.mustAsk(t, typeTaken); !a.Clues.Empty() || a.Visitor != "guest-8" {
		t.Errorf("before: %+v", a)
	}
	if err := errors.Join(d.SetField(room, "upscope_key", testKey), d.SetField(room, "upscope_code", "0482")); err != nil {
		t.Fatal(err)
	}
	a := d.mustAsk(t, typeTaken)
	if !slices.Equal(a.Clues.IntegrationIDs, []string{"rocketchat:" + testKey}) || a.Clues.LookupCode != "0482" {
		t.Errorf("after: %+v", a.Clues)
	}
}

func TestCluesOfAnotherFormAreIgnored(t *testing.T) {
	t.Parallel()
	long := strings.Repeat("k", 128)
	for _, c := range []struct{ key, code, wantKey, wantCode string }{
		{key: "short", code: "123"},
		{key: long + "k", code: "12345"},
		{key: "rocketchat:0123456789abcdef", code: "order 1234"},
		{key: "0123456789abcde ", code: "12 4"},
		{key: "0123456789abcdef\n", code: "1234 5678"},
		{key: "#tag and 1234 online", code: "+123"},
		{key: "0123456789abcdef", code: "0000", wantKey: "0123456789abcdef", wantCode: "0000"},
		{key: long, wantKey: long},
	} {
		d := newDesk(t)
		if err := errors.Join(d.SetField(d.chat, "upscope_key", c.key), d.SetField(d.chat, "upscope_code", c.code)); err != nil {
			t.Fatal(err)
		}
		a := d.mustAsk(t, typeStart)
		got := strings.TrimPrefix(strings.Join(a.Clues.IntegrationIDs, ","), "rocketchat:")
		if got != c.wantKey || a.Clues.LookupCode != c.wantCode {
			t.Errorf("%q %q: got %q %q", c.key, c.code, got, a.Clues.LookupCode)
		}
	}
}

func TestACodeThatTheVisitorTypedInAFieldIsRead(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ field, want string }{
		{`"4821"`, "4821"}, {`"4821\n"`, "4821"}, {`"#0421."`, "0421"}, {`"٤٨٢١"`, "4821"}, {`"０４２１"`, "0421"}, {`"my code is 4821"`, "4821"},
		{`4821`, "4821"},
		// A number may have lost its zeros.
		{`421`, ""}, {`4821.5`, ""}, {`48211`, ""}, {`-4821`, ""}, {`true`, ""}, {`null`, ""}, {`["4821"]`, ""}, {`{"code":"4821"}`, ""}, {`""`, ""},
	} {
		d := newDesk(t)
		d.Fail("livechat/visitors.info", rocketchattest.Fault{Status: 200, Body: `{"success":true,"visitor":{"_id":"v1","livechatData":{"upscope_code":` + c.field + `}}}`}, 1)
		if a := d.mustAsk(t, typeStart); a.Clues.LookupCode != c.want {
			t.Errorf("%s: got %q, want %q", c.field, a.Clues.LookupCode, c.want)
		}
	}
}

func TestAChatWhoseVisitorWasRemovedHasNoClues(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Take(d.chat, "bob")
	body, header := d.Event(typeTaken, d.chat)
	d.DisableVisitor(d.chat)
	r, _ := d.receipt(t, body, header)
	from := len(d.Requests())
	a, err := d.Read(t.Context(), chat.Delivery{Body: r.Body})
	if err != nil || a.Verb != chat.Start || !a.Clues.Empty() || a.Agent.ID != "a1" || a.Visitor != "guest-7" {
		t.Errorf("got %+v, %v", a, err)
	}
	d.Fail("livechat/visitors.info", rocketchattest.Fault{Status: 404, Body: `{"success":false,"error":"visitor-not-found"}`}, 1)
	if a, err := d.Read(t.Context(), chat.Delivery{Body: r.Body}); err != nil || a.Verb != chat.Start {
		t.Errorf("as a 404: %+v, %v", a, err)
	}
	if slices.Contains(d.routes(from), "GET livechat/visitor.info") {
		t.Error("visitor-not-found is treated as a missing route")
	}
}

func TestTheSingularRouteIsTriedOnceAndRemembered(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.SingularVisitorRoute = true
	for i, want := range [][]string{{"GET livechat/visitors.info", "GET livechat/visitor.info"}, {"GET livechat/visitor.info"}} {
		from := len(d.Requests())
		if a := d.mustAsk(t, typeStart); a.Clues.Empty() {
			t.Errorf("read %d: no clues", i)
		}
		if got := d.routes(from); !slices.Equal(got[1:], want) {
			t.Errorf("read %d: asked %v, want %v", i, got[1:], want)
		}
	}
}

func TestARoomOfAnotherTypeIsRefused(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Fail("rooms.info", rocketchattest.Fault{Status: 200, Body: `{"room":{"_id":"` + d.chat + `","t":"d","open":true},"success":true}`}, 1)
	if _, err := d.ask(t, typeTaken); !chat.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	d.Fail("rooms.info", rocketchattest.Fault{Status: 200, Body: `{"room":{"_id":"another","t":"l","open":true},"success":true}`}, 1)
	if a, err := d.ask(t, typeTaken); err == nil {
		t.Errorf("an answer about another room: %+v", a)
	}
}

func TestADeletedAgentHasTheNameInTheRoom(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Take(d.chat, "bob")
	d.Fail("users.info", rocketchattest.Fault{Status: 400, Body: `{"success":false,"error":"User not found."}`}, 1)
	if a := d.mustAsk(t, typeTaken); a.Agent != (chat.Agent{ID: "a1", Name: "bob"}) || a.Place.Address != "bob" {
		t.Errorf("got %+v", a)
	}
}

func TestAReaderWhoCannotSeeUsersLacksOnlyTheNames(t *testing.T) {
	t.Parallel()
	for status := 400; status < 500; status++ {
		d := newDesk(t)
		d.Take(d.chat, "bob")
		d.Fail("users.info", rocketchattest.Fault{Status: status, Body: `{"success":false,"error":"x","errorType":"error-of-a-new-version"}`}, 1)
		a, err := d.ask(t, typeTaken)
		_, waits := chat.RetryWait(err)
		switch status {
		case http.StatusUnauthorized:
			if err == nil || waits || chat.IsPermanent(err) || !strings.Contains(err.Error(), "ROCKETCHAT_READER_TOKEN") {
				t.Errorf("%d: %+v, %v", status, a, err)
			}
		case http.StatusTooManyRequests:
			if !waits {
				t.Errorf("%d: %+v, %v", status, a, err)
			}
		default:
			if err != nil || a.Agent != (chat.Agent{ID: "a1", Name: "bob"}) || a.Place.Address != "bob" {
				t.Errorf("%d: %+v, %v", status, a, err)
			}
		}
	}
	d := newDesk(t)
	d.Take(d.chat, "bob")
	// From 9.0 on a missing permission may be a 401, with this code.
	d.Fail("users.info", rocketchattest.Fault{Status: 401, Body: `{"success":false,"error":"x [error-unauthorized]"}`}, 1)
	if a, err := d.ask(t, typeTaken); err != nil || a.Place.Address != "bob" {
		t.Errorf("a missing permission in 9.0: %+v, %v", a, err)
	}
	if !strings.Contains(d.log.String(), "error-unauthorized") {
		t.Errorf("the log does not name the code: %s", d.log)
	}
	for _, f := range []rocketchattest.Fault{
		{Status: 400, Body: `{"success":false,"error":"Error, too many requests. [error-too-many-requests]"}`}, {Status: 500}, {Status: 302},
	} {
		d.Fail("users.info", f, 1)
		if a, err := d.ask(t, typeTaken); err == nil || chat.IsPermanent(err) {
			t.Errorf("%d: %+v, %v", f.Status, a, err)
		}
	}
}

func TestOddFieldsOfAnAgentLackOnlyThatField(t *testing.T) {
	t.Parallel()
	for fields, want := range map[string]chat.Agent{
		`"name":"Bob","emails":"bob@example.org"`:                                          {ID: "a1", Name: "Bob"},
		`"name":"Bob","emails":[{"address":"bob@example.org","verified":"yes"}]`:           {ID: "a1", Name: "Bob"},
		`"name":["Bob"],"emails":[7,{"address":"bob@example.org","verified":true}]`:        {ID: "a1", Name: "bob", Email: "bob@example.org"},
		`"name":7,"active":"yes","type":null,"emails":[{"address":false,"verified":true}]`: {ID: "a1", Name: "bob"},
	} {
		d := newDesk(t)
		d.Take(d.chat, "bob")
		d.answerUser(`{"_id":"a1","username":"bob",` + fields + `}`)
		if a, err := d.ask(t, typeTaken); err != nil || a.Agent != want || a.Place.Address != "bob" {
			t.Errorf("%s: %+v, %v", fields, a, err)
		}
	}
}

func TestShowingACardToAnAgentWithoutAUsableUserNameFails(t *testing.T) {
	t.Parallel()
	for name, fit := range map[string]bool{
		"bob@example.org": true, "b#b": true, "jörg": true, "山田": true, "b.o_b-1": true,
		"@bob": false, "#bob": false, "bob eve": false, "bob,eve": false, "bob/eve": false, `corp\bob`: false,
		"bob\x00": false, "bob\u0085": false, "bob\u00a0eve": false, "bob\u2028": false,
	} {
		d := newDesk(t)
		d.AddUser(rocketchattest.User{ID: "a1", Username: name, Name: "Bob Baker", Roles: []string{"user", "livechat-agent"}})
		d.Take(d.chat, name)
		a := d.mustAsk(t, typeTaken)
		if a.Verb != chat.Start || a.Agent != (chat.Agent{ID: "a1", Name: "Bob Baker"}) || (a.Place.Address == name) != fit {
			t.Errorf("%q: %+v", name, a)
		}
		if _, err := d.Show(t.Context(), a.Place, exampleCard()); !fit && (!chat.IsPermanent(err) || !strings.Contains(err.Error(), "user name")) {
			t.Errorf("%q: the card is shown: %v", name, err)
		}
		if fit {
			if n := len(d.Posts(name)); n != 1 {
				t.Errorf("%q sees %d posts", name, n)
			}
		}
	}
}

func TestAnswersAboutAnotherPersonAreNotUsed(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Take(d.chat, "bob")
	d.Fail("users.info", rocketchattest.Fault{Status: 200, Body: `{"user":{"_id":"a9","username":"mallory","name":"Mallory"},"success":true}`}, 1)
	if a := d.mustAsk(t, typeTaken); a.Agent != (chat.Agent{ID: "a1", Name: "bob"}) || a.Place.Address != "bob" {
		t.Errorf("another user: %+v", a)
	}
	d.Fail("livechat/visitors.info", rocketchattest.Fault{Status: 200,
		Body: `{"visitor":{"_id":"v9","name":"Other","livechatData":{"upscope_key":"0123456789abcdef"}},"success":true}`}, 1)
	if a, err := d.ask(t, typeTaken); err == nil || chat.IsPermanent(err) {
		t.Errorf("another visitor: %+v, %v", a, err)
	}
}

// Each message of a chat leads to a read of its agent. Their names are read once a minute.
func TestTheNamesOfAnAgentAreReadOnceAMinute(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Take(d.chat, "bob")
	for range 5 {
		if a := d.mustAsk(t, typeTaken); a.Agent.Name != "Bob Baker" {
			t.Errorf("the agent is %+v", a.Agent)
		}
	}
	reads := slices.DeleteFunc(d.routes(0), func(r string) bool { return r != "GET users.info" })
	if len(reads) != 1 {
		t.Errorf("%d reads of the agent, want 1", len(reads))
	}
}
