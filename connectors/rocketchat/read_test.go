package rocketchat

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge"
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
		want := bridge.Ask{
			Verb: bridge.Start, Chat: d.chat, ChatURL: "https://chat.example.org/chat/live/" + d.chat,
			Agent: bridge.Agent{ID: "a1", Name: "Bob Baker"}, Visitor: "Ann",
			Place: bridge.Place{Address: "bob"},
		}
		if got := a.Clues.IntegrationIDs; !slices.Equal(got, []string{"rocketchat:" + testKey}) || a.Clues.LookupCode != "" {
			t.Errorf("%s: clues %+v", kind, a.Clues)
		}
		a.Clues = bridge.Clues{}
		if a.Verb != want.Verb || a.Chat != want.Chat || a.ChatURL != want.ChatURL || a.Agent != want.Agent || a.Place != want.Place || a.Visitor != want.Visitor {
			t.Errorf("%s: got %+v, want %+v", kind, a, want)
		}
	}
}

func TestTheWorkspaceIsAskedAndNotTheEventTrusted(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Take(d.chat, "bob")
	body, header := d.Event(typeTaken, d.chat) // a retry would repeat this later
	r, err := d.receipt(t, body, header)
	if err != nil {
		t.Fatal(err)
	}
	read := func() bridge.Ask {
		a, err := d.Read(t.Context(), bridge.Delivery{Key: r.Key, Body: r.Body})
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
	if a := read(); a.Verb != bridge.Start || a.Agent != (bridge.Agent{}) || a.Place != (bridge.Place{}) {
		t.Errorf("back in the queue: %+v", a)
	}
	d.CloseChat(d.chat)
	from := len(d.Requests())
	if a := read(); a.Verb != bridge.Close || a.Chat != d.chat {
		t.Errorf("closed: %+v", a)
	}
	if got := d.routes(from); !slices.Equal(got, []string{"GET rooms.info"}) {
		t.Errorf("a closed chat costs %v", got)
	}
}

func TestAFieldThatComesLateIsFoundByTheNextRead(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	room := d.OpenChat(rocketchattest.Visitor{ID: "v2", Username: "guest-8"})
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
		{key: "rocketchat:0123456789abcdef", code: "١٢٣٤"},
		{key: "0123456789abcde ", code: "12 4"},
		{key: "0123456789abcdef\n", code: "1234\n"},
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

func TestAVisitorThatIsGoneLeavesTheChatWithoutClues(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Take(d.chat, "bob")
	body, header := d.Event(typeTaken, d.chat)
	d.DisableVisitor(d.chat)
	r, _ := d.receipt(t, body, header)
	from := len(d.Requests())
	a, err := d.Read(t.Context(), bridge.Delivery{Body: r.Body})
	if err != nil || a.Verb != bridge.Start || !a.Clues.Empty() || a.Agent.ID != "a1" || a.Visitor != "guest-7" {
		t.Errorf("got %+v, %v", a, err)
	}
	d.Fail("livechat/visitors.info", rocketchattest.Fault{Status: 404, Body: `{"success":false,"error":"visitor-not-found"}`}, 1)
	if a, err := d.Read(t.Context(), bridge.Delivery{Body: r.Body}); err != nil || a.Verb != bridge.Start {
		t.Errorf("as a 404: %+v, %v", a, err)
	}
	if slices.Contains(d.routes(from), "GET livechat/visitor.info") {
		t.Error("visitor-not-found was taken for a missing route")
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

func TestARoomThatIsGone(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	closing, header := d.Event(typeClose, d.chat)
	taken, _ := d.Event(typeTaken, d.chat)
	d.RemoveRoom(d.chat)
	read := func(body []byte) (bridge.Ask, error) {
		r, err := d.receipt(t, body, header)
		if err != nil {
			t.Fatal(err)
		}
		return d.Read(t.Context(), bridge.Delivery{Body: r.Body})
	}
	for _, status := range []int{http.StatusBadRequest, http.StatusNotFound} {
		gone := rocketchattest.Fault{Status: status, Body: `{"success":false,"error":"Resource not found","errorType":"error-room-not-found"}`}
		d.Fail("rooms.info", gone, 2)
		if a, err := read(closing); err != nil || a.Verb != bridge.Close || a.Chat != d.chat {
			t.Errorf("%d, closed: %+v, %v", status, a, err)
		}
		if _, err := read(taken); !bridge.IsPermanent(err) {
			t.Errorf("%d, taken: %v", status, err)
		}
	}
	d.Fail("rooms.info", rocketchattest.Fault{Status: 404, Body: `{"status":"error","message":"API endpoint does not exist"}`}, 1)
	if a, err := read(closing); err == nil || bridge.IsPermanent(err) || !strings.Contains(err.Error(), "ROCKETCHAT_URL") {
		t.Errorf("a missing route closed the chat: %+v, %v", a, err)
	}
}

func TestARefusedReaderSaysWhatItLacks(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"7.0", "7.10", "8.8", "9.0"} {
		d := newDesk(t)
		d.Version = version
		d.AddUser(rocketchattest.User{ID: "readerId", Username: "cobrowse.reader", Token: readerToken, Roles: []string{"bot"}})
		if _, err := d.ask(t, typeTaken); err == nil || bridge.IsPermanent(err) || !strings.Contains(err.Error(), "reader lacks view-livechat-rooms") {
			t.Errorf("%s, no role: %v", version, err)
		}
		d.AddUser(rocketchattest.User{ID: "readerId", Username: "cobrowse.reader", Token: "changed", Roles: []string{"bot"}})
		if _, err := d.ask(t, typeTaken); err == nil || bridge.IsPermanent(err) || !strings.Contains(err.Error(), "ROCKETCHAT_READER_TOKEN") {
			t.Errorf("%s, wrong token: %v", version, err)
		}
	}
}

func TestARateLimitSaysWhenToComeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		ms := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).UnixMilli(), 10) }
		for _, c := range []struct {
			reset, after string
			want         time.Duration
		}{
			{reset: ms(20 * time.Second), want: 20 * time.Second},
			{reset: ms(-time.Hour), want: time.Second},
			{reset: ms(0), want: time.Second},
			{reset: ms(48 * time.Hour), want: 120 * time.Second},
			{reset: "9223372036854775807", want: 120 * time.Second},
			{reset: "-9223372036854775808", want: time.Second},
			{reset: "soon", want: 30 * time.Second},
			{want: 30 * time.Second},
			{after: "7", want: 7 * time.Second},
			{after: "99999999999", want: 120 * time.Second},
			{after: "-5", want: time.Second},
		} {
			d := newDesk(t)
			h := http.Header{}
			if c.reset != "" {
				h["X-Ratelimit-Reset"] = []string{c.reset}
			}
			if c.after != "" {
				h["Retry-After"] = []string{c.after}
			}
			d.Fail("rooms.info", rocketchattest.Fault{Status: 429, Header: h, Body: "{}"}, 1)
			_, err := d.ask(t, typeTaken)
			if wait, ok := bridge.RetryWait(err); !ok || wait != c.want || bridge.IsPermanent(err) {
				t.Errorf("%s: waits %v (%v), want %v", cmp.Or(c.reset, c.after, "nothing"), wait, ok, c.want)
			}
		}
	})
}

func TestAReaderWithoutTheBotRoleIsLimitedAndWaits(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.AddUser(rocketchattest.User{ID: "readerId", Username: "cobrowse.reader", Token: readerToken, Roles: []string{"livechat-monitor"}})
	var err error
	for range 11 {
		_, err = d.ask(t, typeTaken)
	}
	if wait, ok := bridge.RetryWait(err); !ok || wait < 50*time.Second || !strings.Contains(err.Error(), "role bot") {
		t.Errorf("got %v", err)
	}
}

func TestAWorkspaceThatHangsIsLeftAfterTheTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.Fail("rooms.info", rocketchattest.Fault{Hang: true}, 1)
		begin := time.Now()
		_, err := d.ask(t, typeTaken)
		if err == nil || bridge.IsPermanent(err) || time.Since(begin) != 10*time.Second || !strings.Contains(err.Error(), "timed out") {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}

func TestARoomOfAnotherKindIsNeverAsked(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Fail("rooms.info", rocketchattest.Fault{Status: 200, Body: `{"room":{"_id":"` + d.chat + `","t":"d","open":true},"success":true}`}, 1)
	if _, err := d.ask(t, typeTaken); !bridge.IsPermanent(err) {
		t.Errorf("got %v", err)
	}
	d.Fail("rooms.info", rocketchattest.Fault{Status: 200, Body: `{"room":{"_id":"another","t":"l","open":true},"success":true}`}, 1)
	if a, err := d.ask(t, typeTaken); err == nil {
		t.Errorf("an answer about another room: %+v", a)
	}
}

func TestAnAgentWhoIsGoneIsNamedByTheRoom(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Take(d.chat, "bob")
	d.Fail("users.info", rocketchattest.Fault{Status: 400, Body: `{"success":false,"error":"User not found."}`}, 1)
	if a := d.mustAsk(t, typeTaken); a.Agent != (bridge.Agent{ID: "a1", Name: "bob"}) || a.Place.Address != "bob" {
		t.Errorf("got %+v", a)
	}
}

func TestAnswersAboutSomebodyElseAreNotUsed(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Take(d.chat, "bob")
	d.Fail("livechat/visitors.info", rocketchattest.Fault{Status: 200,
		Body: `{"visitor":{"_id":"v9","name":"Other","livechatData":{"upscope_key":"0123456789abcdef"}},"success":true}`}, 1)
	if a, err := d.ask(t, typeTaken); err == nil || bridge.IsPermanent(err) {
		t.Errorf("another visitor: %+v, %v", a, err)
	}
	d.Fail("users.info", rocketchattest.Fault{Status: 200, Body: `{"user":{"_id":"a9","username":"mallory","name":"Mallory"},"success":true}`}, 1)
	if a := d.mustAsk(t, typeTaken); a.Agent != (bridge.Agent{ID: "a1", Name: "bob"}) || a.Place.Address != "bob" {
		t.Errorf("another user: %+v", a)
	}
}
