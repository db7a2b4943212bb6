package rocketchattest_test

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

// receiver gives an integration its answers in order, and then repeats the last one.
type receiver struct {
	answers []answer
	got     []string
}

type answer struct {
	status     int
	kind, text string
}

func (r *receiver) RoundTrip(req *http.Request) (*http.Response, error) {
	body, _ := io.ReadAll(req.Body)
	a := r.answers[min(len(r.got), len(r.answers)-1)]
	r.got = append(r.got, string(body))
	rec := httptest.NewRecorder()
	rec.Header().Set("Content-Type", a.kind)
	rec.WriteHeader(a.status)
	io.WriteString(rec, a.text)
	return rec.Result(), nil
}

// typed runs a command and returns how long it took.
func typed(t *testing.T, w *rocketchattest.Workspace, r *receiver, room, text string) (took time.Duration, err error) {
	t.Helper()
	begun := time.Now()
	err = w.RunCommand(t.Context(), &http.Client{Transport: r}, "https://bridge.example.org/hooks/rocketchat/command", room, "bob", text)
	return time.Since(begun), err
}

func withCommand(report func(string, ...any)) (w *rocketchattest.Workspace, channel, chat string) {
	w = rocketchattest.New(report)
	w.Command = rocketchattest.Integration{Token: "tok", Word: "!cobrowse"}
	w.AddUser(rocketchattest.User{ID: "a", Username: "bob", Roles: []string{"user"}})
	return w, w.AddChannel("desk", "bob"), w.StartChat(rocketchattest.Visitor{ID: "v", Username: "guest-1"})
}

func TestAnIntegrationSendsTheServersBody(t *testing.T) {
	t.Parallel()
	w, channel, _ := withCommand(t.Errorf)
	r := &receiver{answers: []answer{{200, "application/json", "{}"}}}
	if _, err := typed(t, w, r, channel, "!cobrowse 4821"); err != nil || len(r.got) != 1 {
		t.Fatalf("%v, %q", err, r.got)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(r.got[0]), &got); err != nil {
		t.Fatal(err)
	}
	for key, want := range map[string]any{"token": "tok", "bot": false, "trigger_word": "!cobrowse", "channel_id": channel,
		"channel_name": "desk", "user_id": "a", "user_name": "bob", "text": "!cobrowse 4821"} {
		if got[key] != want {
			t.Errorf("%s is %v, want %v", key, got[key], want)
		}
	}
	if got["message_id"] == "" || got["timestamp"] == nil || got["siteUrl"] == nil {
		t.Errorf("got %v", got)
	}
	if _, err := typed(t, w, r, channel, "hello"); err == nil || len(r.got) != 1 {
		t.Errorf("another message: %v", err)
	}
}

func TestAnswersToAnIntegration(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		answers []answer
		calls   int
		took    time.Duration
		fails   bool
	}{
		"an empty object":       {[]answer{{200, "application/json", "{}"}}, 1, 0, false},
		"an empty body":         {[]answer{{200, "application/json", ""}}, 5, 111100 * time.Millisecond, true},
		"no content":            {[]answer{{204, "", ""}}, 5, 111100 * time.Millisecond, true},
		"a refusal, then not":   {[]answer{{401, "text/plain", "no"}, {202, "application/json", "{}"}}, 2, 100 * time.Millisecond, false},
		"a fault of the server": {[]answer{{500, "text/plain", "broken"}}, 1, 0, true},
		"gone":                  {[]answer{{410, "text/plain", "gone"}}, 1, 0, true},
	} {
		synctest.Test(t, func(t *testing.T) {
			w, channel, _ := withCommand(t.Errorf)
			r := &receiver{answers: c.answers}
			took, err := typed(t, w, r, channel, "!cobrowse")
			if len(r.got) != c.calls || took != c.took || (err != nil) != c.fails {
				t.Errorf("%s: %d calls in %v: %v", name, len(r.got), took, err)
			}
			if disabled := w.Command.Disabled; disabled != (name == "gone") {
				t.Errorf("%s: disabled %v", name, disabled)
			}
		})
	}
}

func TestATextInTheAnswerIsPostedWhereTheCommandWasTyped(t *testing.T) {
	t.Parallel()
	reports := 0
	w, _, chat := withCommand(func(string, ...any) { reports++ })
	r := &receiver{answers: []answer{{200, "application/json; charset=utf-8", `{"text":"https://bridge.example.org/w/1"}`}}}
	if _, err := typed(t, w, r, chat, "!cobrowse 4821"); err != nil {
		t.Fatal(err)
	}
	if got := w.VisitorReads(chat); reports != 1 || !slices.Equal(got, []string{"!cobrowse 4821", "https://bridge.example.org/w/1"}) {
		t.Errorf("%d reports, the visitor reads %q", reports, got)
	}
	r.answers = []answer{{200, "text/plain", `{"text":"not read as JSON"}`}}
	if _, err := typed(t, w, r, chat, "!cobrowse 4821"); err != nil || reports != 1 {
		t.Errorf("%v, %d reports", err, reports)
	}
}

func TestEachListHasItsOwnRooms(t *testing.T) {
	t.Parallel()
	w, served, call := start(t)
	open := func() string { return w.StartChat(rocketchattest.Visitor{ID: "v", Username: "guest-1"}) }
	queued, held, over := open(), open(), open()
	w.Take(served, "bob")
	w.Take(held, "bob")
	w.Hold(held)
	w.CloseChat(over)
	w.AddChannel("lobby", "bob")
	for query, want := range map[string][]string{
		"open=true":                  {served},
		"open=true&onhold=true":      {held},
		"open=true&queued=true":      {queued},
		"open=false":                 {over},
		"count=2&offset=1":           {held, queued}, // the newest first
		"count=9&offset=9":           nil,
		"offset=2&sort={%22ts%22:1}": {held, over},
	} {
		_, a := call("r", "GET", "livechat/rooms?"+query, "")
		var got []string
		for _, room := range a["rooms"].([]any) {
			got = append(got, room.(map[string]any)["_id"].(string))
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: %v, want %v", query, got, want)
		}
		if a["total"].(float64) < float64(len(got)) {
			t.Errorf("%s: %v", query, a)
		}
	}
}

func TestSettingsOfTheWebhookAreForManagersAndMonitors(t *testing.T) {
	t.Parallel()
	w, _, call := start(t)
	w.Secret = "secret-of-the-webhook"
	w.Set("Livechat_webhook_on_close", nil)
	if status, _ := call("p", "GET", "livechat/integrations.settings", ""); status != 403 {
		t.Errorf("a bot: %d", status)
	}
	_, a := call("r", "GET", "livechat/integrations.settings", "")
	text, _ := json.Marshal(a)
	for s, want := range map[string]bool{"secret-of-the-webhook": true, "/hooks/rocketchat": true, "on_chat_taken": true, "on_close": false} {
		if strings.Contains(string(text), s) != want {
			t.Errorf("%s: %s", s, text)
		}
	}
	w.AddUser(rocketchattest.User{ID: "p", Username: "cobrowse", Token: "tp", Permissions: []string{"view-livechat-manager"}})
	if status, _ := call("p", "GET", "livechat/integrations.settings", ""); status != 200 {
		t.Errorf("with a custom role: %d", status)
	}
}

func TestTheRateLimitEndsAfterAMinute(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		w, _, _ := withCommand(t.Errorf)
		w.AddUser(rocketchattest.User{ID: "u", Username: "ursula", Token: "tu", Roles: []string{"user"}})
		ask := func() int {
			req := httptest.NewRequest(http.MethodGet, "/api/v1/me", nil)
			req.Header.Set("X-User-Id", "u")
			req.Header.Set("X-Auth-Token", "tu")
			rec := httptest.NewRecorder()
			w.ServeHTTP(rec, req)
			return rec.Code
		}
		for range 10 {
			ask()
		}
		if got := ask(); got != 429 {
			t.Errorf("the eleventh: %d", got)
		}
		time.Sleep(time.Minute)
		if got := ask(); got != 200 {
			t.Errorf("a minute later: %d", got)
		}
	})
}
