package rocketchattest_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

func start(t *testing.T) (w *rocketchattest.Workspace, chat string, call func(user, method, route, body string) (int, map[string]any)) {
	t.Helper()
	w = rocketchattest.New(t.Errorf)
	w.AddUser(rocketchattest.User{ID: "p", Username: "cobrowse", Token: "tp", Roles: []string{"bot"}})
	w.AddUser(rocketchattest.User{ID: "r", Username: "reader", Token: "tr", Roles: []string{"bot", "livechat-monitor"}})
	w.AddUser(rocketchattest.User{ID: "u", Username: "ursula", Token: "tu", Roles: []string{"user"}})
	w.AddUser(rocketchattest.User{ID: "a", Username: "bob", Name: "Bob", Roles: []string{"user", "livechat-agent"}})
	w.AddField("upscope_key", "visitor")
	chat = w.StartChat(rocketchattest.Visitor{ID: "v", Username: "guest-1", Token: "visitor-credential"})
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	return w, chat, func(user, method, route, body string) (int, map[string]any) {
		t.Helper()
		req, err := http.NewRequestWithContext(t.Context(), method, server.URL+"/api/v1/"+route, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		if user != "" {
			req.Header.Set("X-User-Id", user)
			req.Header.Set("X-Auth-Token", "t"+user)
		}
		resp, err := http.DefaultClient.Do(req)
		if err != nil {
			t.Fatal(err)
		}
		defer resp.Body.Close()
		text, err := io.ReadAll(resp.Body)
		if err != nil {
			t.Fatal(err)
		}
		var answer map[string]any
		json.Unmarshal(text, &answer)
		return resp.StatusCode, answer
	}
}

func TestErrorsHaveTheFormOfTheirVersion(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		version, user, route string
		status               int
		keys                 string // of the answer, sorted
	}{
		{"7.7", "", "me", 401, "message,status"},
		{"7.8", "", "me", 401, "error,message,status,success"},
		{"8.8", "", "me", 401, "error,message,status,success"},
		{"9.0", "", "me", 401, "error,success"},
		{"8.8", "p", "livechat/visitors.info?visitorId=v", 403, "error,success"},
		{"9.0", "p", "livechat/visitors.info?visitorId=v", 403, "error,errorType,success"},
		{"8.8", "p", "rooms.info?roomId=CHAT", 400, "error,errorType,success"},
		{"9.0", "p", "rooms.info?roomId=CHAT", 403, "error,errorType,success"},
		{"9.0", "r", "livechat/visitors.info?visitorId=nobody", 400, "error,success"},
		{"8.8", "r", "livechat/visitors.info?visitorId=v&x=y", 400, "error,errorType,success"},
		{"8.8", "r", "livechat/visitor.info?visitorId=v", 404, "message,status"},
		{"8.8", "p", "livechat/rooms?count=1", 403, "error,success"},
		{"8.8", "r", "users.info?userId=nobody", 400, "error,success"},
	} {
		w, chat, call := start(t)
		w.Version = c.version
		status, answer := call(c.user, "GET", strings.ReplaceAll(c.route, "CHAT", chat), "")
		var keys []string
		for k := range answer {
			keys = append(keys, k)
		}
		slices.Sort(keys)
		if status != c.status || strings.Join(keys, ",") != c.keys {
			t.Errorf("%s %s: %d %v", c.version, c.route, status, answer)
		}
	}
}

func TestOnlyOldVersionsAnswerWithTheVisitorsToken(t *testing.T) {
	t.Parallel()
	for version, want := range map[string]bool{"7.0": true, "8.8": false, "9.0": false} {
		w, _, call := start(t)
		w.Version = version
		_, answer := call("r", "GET", "livechat/visitors.info?visitorId=v", "")
		if _, got := answer["visitor"].(map[string]any)["token"]; got != want {
			t.Errorf("%s: token %v, want %v", version, got, want)
		}
	}
}

func TestAMessageIDIsInsertedOnce(t *testing.T) {
	t.Parallel()
	for version, status := range map[string]int{"7.0": 400, "9.0": 200} {
		w, _, call := start(t)
		w.Version = version
		call("p", "POST", "im.create", `{"username":"bob"}`)
		const body = `{"message":{"_id":"m1","rid":"pa","msg":"x"},"previewUrls":[]}`
		if got, _ := call("p", "POST", "chat.sendMessage", body); got != 200 {
			t.Errorf("%s: first %d", version, got)
		}
		got, answer := call("p", "POST", "chat.sendMessage", body)
		if got != status || answer["message"] != nil || len(w.Posts("bob")) != 1 {
			t.Errorf("%s: second %d %v, %d posts", version, got, answer, len(w.Posts("bob")))
		}
		if got, _ := call("p", "POST", "chat.update", `{"roomId":"pa","msgId":"m1","text":"y","previewUrls":[]}`); got != 200 || w.Posts("bob")[0].Text != "y" || w.Posts("bob")[0].Edited != 1 {
			t.Errorf("%s: edit %d, %+v", version, got, w.Posts("bob"))
		}
	}
}

func TestWhoSeesAndWritesInAChannel(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		room           rocketchattest.Room
		sees, writes   int // up to 8.x; from 9.0 on a refusal is 403
		member, called string
	}{
		{rocketchattest.Room{Type: "p", Members: []string{"cobrowse"}}, 200, 200, "member", "a private group"},
		{rocketchattest.Room{Type: "p", Members: []string{"bob"}}, 400, 400, "", "a private group of others"},
		{rocketchattest.Room{Type: "c", Members: []string{"bob"}}, 200, 200, "", "a public channel of others"},
		{rocketchattest.Room{Type: "p", Members: []string{"cobrowse"}, Archived: true}, 400, 200, "member", "an archived group"},
		{rocketchattest.Room{Type: "p", Members: []string{"cobrowse"}, ReadOnly: true}, 200, 400, "member", "a read-only group"},
		{rocketchattest.Room{Type: "p", Members: []string{"cobrowse"}, ReadOnly: true, Owners: []string{"cobrowse"}}, 200, 200, "owner", "a read-only group of the owner"},
	} {
		w, _, call := start(t)
		c.room.Name = "desk"
		id := w.AddRoom(c.room)
		status, a := call("p", "GET", "rooms.info?roomName=desk", "")
		room, _ := a["room"].(map[string]any)
		if status != c.sees || status == 200 && (room["_id"] != id || room["t"] != c.room.Type || room["name"] != "desk" || room["usernames"] != nil) {
			t.Errorf("%s: rooms.info %d %v", c.called, status, a)
		}
		if status, a := call("p", "POST", "chat.sendMessage", `{"message":{"rid":"`+id+`","msg":"x"},"previewUrls":[]}`); status != c.writes {
			t.Errorf("%s: chat.sendMessage %d %v", c.called, status, a)
		}
		_, a = call("p", "GET", "subscriptions.getOne?roomId="+id, "")
		got := ""
		if s, ok := a["subscription"].(map[string]any); ok {
			got = "member"
			if s["roles"] != nil {
				got = "owner"
			}
		}
		if got != c.member {
			t.Errorf("%s: subscriptions.getOne %v", c.called, a)
		}
		w.Version = "9.0"
		if status, _ := call("p", "GET", "rooms.info?roomName=desk", ""); c.called == "a private group of others" && status != 403 {
			t.Errorf("%s: 9.0 answers %d", c.called, status)
		}
	}
}

func TestLinksAreOpenedUnlessTheRequestForbidsIt(t *testing.T) {
	t.Parallel()
	w, _, call := start(t)
	call("p", "POST", "im.create", `{"username":"bob"}`)
	call("p", "POST", "chat.sendMessage", `{"message":{"_id":"m1","rid":"pa","msg":"https://a"}}`)
	call("p", "POST", "chat.sendMessage", `{"message":{"_id":"m2","rid":"pa","msg":"https://b"},"previewUrls":[]}`)
	call("p", "POST", "chat.postMessage", `{"roomId":"pa","text":"https://c"}`)
	if got := w.Previewed(); !slices.Equal(got, []string{"https://a", "https://c"}) {
		t.Errorf("got %q", got)
	}
}

func TestTenCallsAMinuteUnlessTheUserIsABot(t *testing.T) {
	t.Parallel()
	_, _, call := start(t)
	for user, want := range map[string]int{"u": 429, "p": 200} {
		var last int
		for range 11 {
			last, _ = call(user, "GET", "me", "")
		}
		if last != want {
			t.Errorf("%s: the eleventh is answered %d", user, last)
		}
	}
}

func TestTheAnswerOfAWebhookIsReadByTheVisitor(t *testing.T) {
	t.Parallel()
	w, chat, _ := start(t)
	w.Secret = "s"
	text, status := "", http.StatusOK
	hook := httptest.NewServer(http.HandlerFunc(func(out http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-RocketChat-Livechat-Token") != "s" {
			t.Error("no secret")
		}
		out.WriteHeader(status)
		io.WriteString(out, text)
	}))
	t.Cleanup(hook.Close)
	deliver := func() error {
		return w.Deliver(t.Context(), hook.Client(), hook.URL, "LivechatSessionTaken", chat)
	}
	if err := deliver(); err != nil || len(w.VisitorReads(chat)) != 0 {
		t.Errorf("an empty answer: %v, %q", err, w.VisitorReads(chat))
	}
	text = "https://bridge.example.org/w/1"
	if err := deliver(); err != nil || !slices.Equal(w.VisitorReads(chat), []string{text}) {
		t.Errorf("an answer with a text: %v, %q", err, w.VisitorReads(chat))
	}
	for _, status = range []int{201, 204, 401, 503} {
		if deliver() == nil {
			t.Errorf("%d counts as success", status)
		}
	}
}

func TestFaults(t *testing.T) {
	t.Parallel()
	w, _, call := start(t)
	call("p", "POST", "im.create", `{"username":"bob"}`)
	w.Fail("chat.sendMessage", rocketchattest.Fault{Status: 502, Done: true, Delay: time.Millisecond}, 1)
	if status, _ := call("p", "POST", "chat.sendMessage", `{"message":{"_id":"m1","rid":"pa","msg":"x"}}`); status != 502 || len(w.Posts("bob")) != 1 {
		t.Errorf("%d, %d posts", status, len(w.Posts("bob")))
	}
	server := httptest.NewServer(w)
	t.Cleanup(server.Close)
	w.Fail("me", rocketchattest.Fault{Cut: true}, 1)
	resp, err := server.Client().Get(server.URL + "/api/v1/me")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.ReadAll(resp.Body); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("cut: %v", err)
	}
	resp.Body.Close()
	w.Fail("me", rocketchattest.Fault{Hang: true}, 1)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	req, _ := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+"/api/v1/me", nil)
	if _, err := server.Client().Do(req); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("hang: %v", err)
	}
}
