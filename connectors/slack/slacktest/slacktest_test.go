package slacktest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const token = "xoxb-1111-2222-ieth8Ohm9aish0Ie"

// A recorder is a workspace that records violations.
type recorder struct {
	*Workspace
	reported []string
}

func workspace() *recorder {
	r := &recorder{}
	r.Workspace = New(func(format string, args ...any) { r.reported = append(r.reported, fmt.Sprintf(format, args...)) })
	r.BotToken, r.AppToken, r.Secret = token, "xapp-1", "8f742231b10e8888abcd99yyyzzz85a5"
	r.AddUser(User{ID: "U1", Name: "bob"})
	r.AddUser(User{ID: "U2", Name: "eve"})
	r.AddChannel(Channel{ID: "C1", Members: []string{"U1", r.BotUser}})
	r.AddChannel(Channel{ID: "C2", Members: []string{"U1"}})
	r.AddChannel(Channel{ID: "C3", Members: []string{"U1"}, Private: true})
	return r
}

func (r *recorder) post(address, bearer string, body any) (int, map[string]any, string) {
	data, _ := json.Marshal(body)
	req := httptest.NewRequest(http.MethodPost, address, bytes.NewReader(data))
	req.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	rec := httptest.NewRecorder()
	r.ServeHTTP(rec, req)
	text, _ := io.ReadAll(rec.Body)
	var out map[string]any
	json.Unmarshal(text, &out)
	return rec.Code, out, string(text)
}

func (r *recorder) call(method string, args map[string]any) map[string]any {
	_, out, _ := r.post("https://slack.com/api/"+method, token, args)
	return out
}

func header(text string) []any {
	return []any{map[string]any{"type": "header", "text": map[string]any{"type": "plain_text", "text": text}}}
}

func message(channel string, more ...any) map[string]any {
	m := map[string]any{"channel": channel, "text": "hello", "blocks": header("hello"), "unfurl_links": false, "unfurl_media": false}
	for i := 0; i < len(more); i += 2 {
		if m[more[i].(string)] = more[i+1]; more[i+1] == nil {
			delete(m, more[i].(string))
		}
	}
	return m
}

func TestCallsAreRefusedWithSlacksCodes(t *testing.T) {
	t.Parallel()
	r := workspace()
	for _, c := range []struct {
		method, bearer string
		args           map[string]any
		want           string
	}{
		{"auth.test", "", nil, "not_authed"},
		{"auth.test", "xoxb-other", nil, "invalid_auth"},
		{"auth.test", "xapp-1", nil, "not_allowed_token_type"},
		{"apps.connections.open", token, nil, "not_allowed_token_type"},
		{"users.info", token, map[string]any{"user": "U404"}, "user_not_found"},
		{"conversations.info", token, map[string]any{"channel": "C3"}, "channel_not_found"},
		{"chat.postMessage", token, message("C2"), "not_in_channel"},
		{"chat.postMessage", token, message("C3"), "channel_not_found"},
		{"chat.postMessage", token, message("C404"), "channel_not_found"},
		{"chat.postMessage", token, message("C1", "text", strings.Repeat("x", 4001)), "msg_too_long"},
		{"chat.postMessage", token, message("C1", "metadata", map[string]any{"event_type": "x"}), "invalid_metadata_format"},
		{"chat.postEphemeral", token, message("C1", "user", "U2"), "user_not_in_channel"},
		{"chat.update", token, map[string]any{"channel": "C1", "ts": "1.1", "text": "x", "blocks": header("x")}, "message_not_found"},
		{"conversations.history", token, map[string]any{"channel": "C1"}, "missing_scope"},
		{"views.open", token, map[string]any{"trigger_id": "1", "view": map[string]any{"type": "modal"}}, "invalid_trigger_id"},
	} {
		if _, got, _ := r.post("https://slack.com/api/"+c.method, c.bearer, c.args); got["error"] != c.want || got["ok"] != false {
			t.Errorf("%s %v: %v, want %s", c.method, c.args, got, c.want)
		}
	}
	if len(r.reported) != 0 {
		t.Errorf("%q", r.reported)
	}
	if got := r.call("conversations.history", map[string]any{"channel": "C1"}); got["needed"] != "channels:history" {
		t.Errorf("%v", got)
	}
}

func TestMistakesThatSlackAcceptsAreReported(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		method string
		args   map[string]any
	}{
		"links may be fetched":        {"chat.postMessage", message("C1", "unfurl_links", nil)},
		"media may be fetched":        {"chat.postMessage", message("C1", "unfurl_media", true)},
		"the same, ephemeral":         {"chat.postEphemeral", message("C1", "user", "U1", "unfurl_media", nil)},
		"a misspelt argument":         {"chat.postMessage", message("C1", "unfurl_link", false)},
		"metadata on an ephemeral":    {"chat.postEphemeral", message("C1", "user", "U1", "metadata", map[string]any{})},
		"no text":                     {"chat.postMessage", message("C1", "text", nil)},
		"an address in the text":      {"chat.postMessage", message("C1", "text", "see https://x.example")},
		"a mention of everybody":      {"chat.postMessage", message("C1", "text", "<!channel>")},
		"a header that is too long":   {"chat.postMessage", message("C1", "blocks", header(strings.Repeat("x", 151)))},
		"an update with an argument":  {"chat.update", map[string]any{"channel": "C1", "ts": "1.1", "text": "x", "blocks": header("x"), "unfurl_links": false}},
		"an update without blocks":    {"chat.update", map[string]any{"channel": "C1", "ts": "1.1", "text": "x"}},
		"a Home tab that is a dialog": {"views.publish", map[string]any{"user_id": "U1", "view": map[string]any{"type": "modal"}}},
		"an unknown method":           {"chat.postMesage", message("C1")},
	} {
		r := workspace()
		r.call(c.method, c.args)
		if len(r.reported) == 0 {
			t.Errorf("%s is not reported", name)
		}
	}
}

func TestAnUpdateWithTextAloneRemovesTheBlocks(t *testing.T) {
	t.Parallel()
	r := workspace()
	ts := r.call("chat.postMessage", message("C1"))["ts"]
	r.call("chat.update", map[string]any{"channel": "C1", "ts": ts, "text": "bye"})
	if p := r.Channel("C1"); len(p) != 1 || p[0].Blocks != nil || p[0].Text != "bye" || p[0].Edited != 1 {
		t.Errorf("%+v", p)
	}
	if p := r.Write("U1", "C1", "", "mine"); r.call("chat.update", map[string]any{"channel": "C1", "ts": p.TS, "text": "x", "blocks": header("x")})["error"] != "cant_update_message" {
		t.Error("another user's message is updated")
	}
	eph := r.call("chat.postEphemeral", message("C1", "user", "U1"))["message_ts"]
	if got := r.call("chat.update", map[string]any{"channel": "C1", "ts": eph, "text": "x", "blocks": header("x")}); got["error"] != "message_not_found" {
		t.Errorf("an ephemeral message is updated: %v", got)
	}
}

func TestATriggerExpiresAfterThreeSecondsAndOneUse(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := workspace()
		view := map[string]any{"type": "modal", "title": map[string]any{"type": "plain_text", "text": "x"}, "blocks": header("x")}
		trigger := func() string { return r.CommandFields("U1", "C1", "").Get("trigger_id") }
		first, second := trigger(), trigger()
		if got := r.call("views.open", map[string]any{"trigger_id": first, "view": view}); got["ok"] != true {
			t.Errorf("%v", got)
		}
		if got := r.call("views.open", map[string]any{"trigger_id": first, "view": view}); got["error"] != "exchanged_trigger_id" {
			t.Errorf("%v", got)
		}
		time.Sleep(triggerLife + time.Millisecond)
		if got := r.call("views.open", map[string]any{"trigger_id": second, "view": view}); got["error"] != "expired_trigger_id" {
			t.Errorf("%v", got)
		}
	})
}

func reply(more ...any) map[string]any {
	m := message("")
	delete(m, "channel")
	m["response_type"] = "ephemeral"
	for i := 0; i < len(more); i += 2 {
		m[more[i].(string)] = more[i+1]
	}
	return m
}

func TestAResponseURLAcceptsFivePostsInHalfAnHour(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := workspace()
		address := r.CommandFields("U1", "C2", "").Get("response_url")
		for range 5 {
			if code, _, text := r.post(address, "", reply()); code != 200 {
				t.Errorf("%d %s", code, text)
			}
		}
		if code, _, text := r.post(address, "", reply()); code != 404 || text != "used_url" {
			t.Errorf("%d %s", code, text)
		}
		late := r.CommandFields("U1", "C2", "").Get("response_url")
		time.Sleep(responseLife + time.Second)
		if code, _, text := r.post(late, "", reply()); code != 404 || text != "expired_url" {
			t.Errorf("%d %s", code, text)
		}
		if code, _, _ := r.post(late+"x", "", reply()); code != 404 {
			t.Errorf("an unknown address: %d", code)
		}
		if n := len(r.Ephemeral("U1")); n != 5 || len(r.reported) != 0 {
			t.Errorf("%d posts, %q", n, r.reported)
		}
	})
}

func TestOnlyAPressedMessageIsReplaced(t *testing.T) {
	t.Parallel()
	r := workspace()
	// A command has no original message; its own reply does not count.
	address := r.CommandFields("U1", "C1", "").Get("response_url")
	r.post(address, "", reply())
	r.post(address, "", reply("replace_original", true))
	if n := len(r.Ephemeral("U1")); n != 2 {
		t.Errorf("%d replies", n)
	}
	blocks := []any{map[string]any{"type": "actions", "elements": []any{map[string]any{"type": "button", "action_id": "a", "value": "v", "text": map[string]any{"type": "plain_text", "text": "Go"}}}}}
	r.call("chat.postMessage", message("C1", "blocks", blocks))
	pressed := r.PressPayload("U1", r.Channel("C1")[0], 0)["response_url"].(string)
	r.post(pressed, "", reply("replace_original", true, "response_type", "in_channel", "text", "gone on"))
	if p := r.Channel("C1"); len(p) != 1 || p[0].Text != "gone on" {
		t.Errorf("%+v", p)
	}
	if len(r.reported) != 0 {
		t.Errorf("%q", r.reported)
	}
	r.post(pressed, "", map[string]any{"text": "x", "blocks": header("x")})
	if len(r.reported) != 3 { // both flags, and the response_type
		t.Errorf("%q", r.reported)
	}
}

func TestLintKnowsSlacksLimits(t *testing.T) {
	t.Parallel()
	plain := func(s string) map[string]any { return map[string]any{"type": "plain_text", "text": s} }
	x := func(n int) string { return strings.Repeat("x", n) }
	button := func(more ...any) map[string]any {
		b := map[string]any{"type": "button", "text": plain("x"), "action_id": "a"}
		for i := 0; i < len(more); i += 2 {
			b[more[i].(string)] = more[i+1]
		}
		return b
	}
	actions := func(e ...any) any { return map[string]any{"type": "actions", "elements": e} }
	many := func(n int, make func(i int) any) (all []any) {
		for i := range n {
			all = append(all, make(i))
		}
		return all
	}
	numbered := func(i int) any { return button("action_id", fmt.Sprint(i)) }
	section := func(s string) any { return map[string]any{"type": "section", "text": plain(s)} }
	for name, c := range map[string]struct {
		blocks []any
		good   bool
	}{
		"a header of 150":          {header(x(150)), true},
		"a header of 151":          {header(x(151)), false},
		"a section of 3000":        {[]any{section(x(3000))}, true},
		"a section of 3001":        {[]any{section(x(3001))}, false},
		"3000 wide characters":     {[]any{section(strings.Repeat("€", 3000))}, true},
		"an empty section":         {[]any{section("")}, false},
		"mrkdwn":                   {[]any{map[string]any{"type": "section", "text": map[string]any{"type": "mrkdwn", "text": "x"}}}, false},
		"50 blocks":                {many(50, func(int) any { return section("x") }), true},
		"51 blocks":                {many(51, func(int) any { return section("x") }), false},
		"no blocks":                {nil, false},
		"25 buttons":               {[]any{actions(many(25, numbered)...)}, true},
		"26 buttons":               {[]any{actions(many(26, numbered)...)}, false},
		"no buttons":               {[]any{actions()}, false},
		"a label of 76":            {[]any{actions(button("text", plain(x(76))))}, false},
		"a value of 2001":          {[]any{actions(button("value", x(2001)))}, false},
		"an address of 3000":       {[]any{actions(button("url", x(3000)))}, true},
		"an address of 3001":       {[]any{actions(button("url", x(3001)))}, false},
		"an action_id of 256":      {[]any{actions(button("action_id", x(256)))}, false},
		"one action_id twice":      {[]any{actions(button(), button())}, false},
		"two primary buttons":      {[]any{actions(button("style", "primary"), button("style", "primary", "action_id", "b"))}, false},
		"an unknown style":         {[]any{actions(button("style", "secondary"))}, false},
		"a confirmation on a link": {[]any{actions(button("url", "https://x", "confirm", map[string]any{}))}, false},
		"an unknown block":         {[]any{map[string]any{"type": "heading"}}, false},
		"an unknown field":         {[]any{map[string]any{"type": "divider", "colour": "red"}}, false},
		"an input in a message":    {[]any{map[string]any{"type": "input", "label": plain("x"), "element": map[string]any{"type": "plain_text_input"}}}, false},
	} {
		raw, _ := json.Marshal(c.blocks)
		if faults := Lint("message", raw); (len(faults) == 0) != c.good {
			t.Errorf("%s: %q", name, faults)
		}
	}
	view := map[string]any{"type": "modal", "title": plain(x(25)), "blocks": header("x")}
	raw, _ := json.Marshal(view)
	if len(Lint("modal", raw)) == 0 {
		t.Error("a title of 25 passes")
	}
}

func TestSentBodiesAreForms(t *testing.T) {
	t.Parallel()
	r := workspace()
	v, err := url.ParseQuery(string(r.Shortcut("U1", "cb")))
	if err != nil || !json.Valid([]byte(v.Get("payload"))) {
		t.Errorf("%v, %v", v, err)
	}
	if len(r.reported) != 0 {
		t.Errorf("%q", r.reported)
	}
}
