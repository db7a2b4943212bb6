package rocketchat

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
)

func recorded(t testing.TB, name string) []byte {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", "deliveries", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func genuine() http.Header {
	h := http.Header{}
	h.Set(tokenHeader, testSecret)
	return h
}

// private are pieces of the recorded deliveries that must not be stored.
var private = []string{visitorToken, "4111", "let me look", "ann@example.org", "203.0.113.5", "555 0100", "bob@example.org", "Ann", "crmData"}

func TestRecordedDeliveriesAreUnderstood(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for name, want := range map[string]struct {
		wanted bool
		note   string
	}{
		"start": {wanted: true}, "queued": {wanted: true}, "taken": {wanted: true}, "taken-without-agent": {wanted: true},
		"taken-odd-shapes": {wanted: true}, "forwarded-to-agent": {wanted: true}, "forwarded-to-department": {wanted: true},
		"close": {wanted: true}, "message-visitor": {wanted: true}, "message-agent": {wanted: true}, "lead-capture": {wanted: true},
		"edit": {}, "offline": {},
		"test-button":  {note: "test button"},
		"unknown-type": {note: `"LivechatSessionOnHold"`},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := d.receipt(t, recorded(t, name), genuine())
			if err != nil {
				t.Fatal(err)
			}
			if (r.Key != "") != want.wanted {
				t.Errorf("key %q", r.Key)
			}
			if !strings.Contains(r.Note, want.note) || want.note == "" && r.Note != "" {
				t.Errorf("note %q, want one about %q", r.Note, want.note)
			}
			// Rocket.Chat stores the text of an answer in the room, where the visitor reads it.
			if r.Answer != nil {
				t.Errorf("answered %q", r.Answer)
			}
			if want.wanted && !strings.Contains(string(r.Body), "uHEGz4vfFRdvTTLr7") {
				t.Errorf("stored %s, which does not name the room", r.Body)
			}
			for _, p := range private {
				if strings.Contains(string(r.Body)+r.Key+r.Note, p) {
					t.Errorf("%q is stored: %s %s %s", p, r.Key, r.Body, r.Note)
				}
			}
		})
	}
}

func TestAnEventThatTakesAChatFromItsAgentSaysSo(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	const room, bob, eve = "uHEGz4vfFRdvTTLr7", "gXb7CZyTf5Cy2bJxm", "k2b7CZyTf5Cy2bJxm"
	type object = map[string]any
	moved := func(agent string) []chat.ChatChange { return []chat.ChatChange{{Chat: room, Agent: agent}} }
	closed := []chat.ChatChange{{Chat: room, Closed: true}}
	for _, c := range []struct {
		event  string
		change object // fields to set, or to remove if nil
		want   []chat.ChatChange
	}{
		{"close", nil, closed},
		{"close", object{"closedAt": nil}, closed},
		{"close", object{"servedBy": nil, "agent": nil}, closed},
		{"taken", nil, moved(bob)},
		{"taken-odd-shapes", nil, moved(bob)},
		{"taken-without-agent", nil, moved("")},
		{"taken", object{"agent": object{"_id": eve}}, moved(bob)},
		{"taken", object{"servedBy": nil}, moved("")},
		{"taken", object{"servedBy": object{"_id": "no id\n"}}, moved("")},
		// agent is still the former agent; servedBy is the agent who serves now.
		{"forwarded-to-agent", nil, moved(eve)},
		{"forwarded-to-agent", object{"servedBy": nil}, moved("")},
		// The body was made before the hand-over, as a retry's may be.
		{"forwarded-to-agent", object{"servedBy": object{"_id": bob}}, moved("")},
		{"forwarded-to-department", nil, moved("")},
		{"forwarded-to-department", object{"servedBy": object{"_id": eve}}, moved(eve)},
		{"queued", nil, moved("")},
		{"queued", object{"agent": object{"_id": bob}}, moved("")},
		{"queued", object{"servedBy": object{"_id": bob}}, moved(bob)}, // a chat that was taken already
		{"start", nil, nil},
		{"message-visitor", nil, nil},
		{"message-agent", nil, nil},
		{"lead-capture", nil, nil},
		// No known version sends this. If one does, the chat is over.
		{"message-visitor", object{"closedAt": "2026-11-20T10:09:00.000Z"}, closed},
		{"taken", object{"closedAt": "2026-11-20T10:09:00.000Z"}, closed},
		// An event that is ignored changes nothing.
		{"edit", nil, nil},
		{"offline", nil, nil},
		{"test-button", nil, nil},
		{"unknown-type", nil, nil},
		{"close", object{"_id": "no id\n"}, nil},
	} {
		var m object
		if err := json.Unmarshal(recorded(t, c.event), &m); err != nil {
			t.Fatal(err)
		}
		for field, value := range c.change {
			if m[field] = value; value == nil {
				delete(m, field)
			}
		}
		body, _ := json.Marshal(m)
		r, err := d.receipt(t, body, genuine())
		if err != nil || !slices.Equal(r.Changes, c.want) {
			t.Errorf("%s with %v: changes %+v, %v, want %+v", c.event, c.change, r.Changes, err, c.want)
		}
		if c.want != nil && r.Key == "" {
			t.Errorf("%s with %v is ignored", c.event, c.change)
		}
	}
}

func TestACommandTakesNoChatFromItsAgent(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *Config) {
		c.Command = Command{Token: secret.New("command-token-of-16"), Channels: []string{"helpdesk"}}
	})
	room := d.AddChannel("helpdesk", "bob")
	d.Command.Token, d.Command.Word = "command-token-of-16", "!cobrowse"
	body := d.Typed(room, "bob", "!cobrowse 4821")
	req := httptest.NewRequest(http.MethodPost, "/hooks/rocketchat/command", nil)
	r, err := d.Accept(req, body)
	if err != nil || r.Key == "" || r.Changes != nil {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestMessagesOfAnUnchangedChatAreOneEventForAWhile(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	key := func(change func(m map[string]any)) string {
		var m map[string]any
		if err := json.Unmarshal(recorded(t, "message-visitor"), &m); err != nil {
			t.Fatal(err)
		}
		change(m)
		body, _ := json.Marshal(m)
		r, err := d.receipt(t, body, genuine())
		if err != nil || r.Key == "" {
			t.Fatal(r, err)
		}
		return r.Key
	}
	message := func(m map[string]any) map[string]any { return m["messages"].([]any)[0].(map[string]any) }
	first := key(func(map[string]any) {})
	for name, c := range map[string]struct {
		same   bool
		change func(map[string]any)
	}{
		"the next message": {true, func(m map[string]any) {
			message(m)["_id"], message(m)["ts"] = "another", "2026-11-20T10:00:29.999Z"
		}},
		"an answer of the agent": {true, func(m map[string]any) { message(m)["agentId"] = "gXb7CZyTf5Cy2bJxm" }},
		"half a minute later":    {false, func(m map[string]any) { message(m)["ts"] = "2026-11-20T10:00:33.000Z" }},
		"a message much later":   {false, func(m map[string]any) { message(m)["ts"] = "2026-11-20T10:20:00.000Z" }},
		"another agent":          {false, func(m map[string]any) { m["agent"].(map[string]any)["_id"] = "k2b7CZyTf5Cy2bJxm" }},
		"no agent any more":      {false, func(m map[string]any) { delete(m, "agent") }},
		"another room":           {false, func(m map[string]any) { m["_id"] = "another" }},
		"a late page key": {false, func(m map[string]any) {
			m["visitor"].(map[string]any)["customFields"].(map[string]any)["upscope_key"] = "0123456789abcdef"
		}},
		"a late lookup code": {false, func(m map[string]any) {
			m["visitor"].(map[string]any)["customFields"].(map[string]any)["upscope_code"] = "4821"
		}},
	} {
		if same := key(c.change) == first; same != c.same {
			t.Errorf("%s: same event %v, want %v", name, same, c.same)
		}
	}
}

func TestAForgedDeliveryIsRefused(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *Config) { c.Secrets = secret.All(testSecret, "the-next-secret-ohb6Ai") })
	body := recorded(t, "taken")
	for name, c := range map[string]struct {
		values []string
		want   error
	}{
		"the secret":          {[]string{testSecret}, nil},
		"the next secret":     {[]string{"the-next-secret-ohb6Ai"}, nil},
		"none":                {nil, chat.ErrForged},
		"empty":               {[]string{""}, chat.ErrForged},
		"wrong":               {[]string{"webhook-secret-Uy8ohs0f"}, chat.ErrForged},
		"both secrets":        {[]string{testSecret, "the-next-secret-ohb6Ai"}, chat.ErrForged},
		"the same twice":      {[]string{testSecret, testSecret}, chat.ErrForged},
		"a shorter secret":    {[]string{testSecret[:10]}, chat.ErrForged},
		"a longer secret":     {[]string{testSecret + "0"}, chat.ErrForged},
		"the visitor's token": {[]string{visitorToken}, chat.ErrForged},
	} {
		h := http.Header{}
		for _, v := range c.values {
			h.Add(tokenHeader, v)
		}
		if _, err := d.receipt(t, body, h); !errors.Is(err, c.want) {
			t.Errorf("%s: got %v, want %v", name, err, c.want)
		}
	}
}

func TestOnlyTheHookItselfIsARoute(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for path, want := range map[string]error{
		"/hooks/rocketchat": nil, "/hooks/rocketchat/": chat.ErrNoRoute,
		"/hooks/rocketchat/command": chat.ErrNoRoute, "/hooks/rocketchat-emea": chat.ErrNoRoute,
	} {
		req := httptest.NewRequest(http.MethodPost, path, nil)
		req.Header = genuine()
		if _, err := d.Accept(req, recorded(t, "taken")); !errors.Is(err, want) {
			t.Errorf("%s: got %v, want %v", path, err, want)
		}
	}
}

func TestALongChatIsAccepted(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	one := `{"_id":"m","msg":"` + strings.Repeat("x", 1000) + `","ts":"2026-11-20T10:00:03.000Z"},`
	body := fmt.Sprintf(`{"type":"LivechatSession","_id":"r1","closedAt":"2026-11-20T10:00:03.000Z","visitor":{"_id":"v1"},"messages":[%s{}]}`,
		strings.Repeat(one, 15_000))
	if int64(len(body)) > d.MaxBody || len(body) < 15<<20 {
		t.Fatal("the test body has the wrong size", len(body))
	}
	r, err := d.receipt(t, []byte(body), genuine())
	if err != nil || r.Key == "" || len(r.Body) > 1000 {
		t.Errorf("key %q, %d bytes stored, error %v", r.Key, len(r.Body), err)
	}
}

func FuzzAccept(f *testing.F) {
	for _, name := range []string{"start", "taken", "taken-odd-shapes", "forwarded-to-agent", "close", "message-visitor", "test-button", "offline"} {
		f.Add(recorded(f, name))
	}
	f.Add([]byte(`{"type":"Message","_id":"r","visitor":{"_id":"v","token":"tok"},"messages":[[]]}`))
	c, err := New(Config{
		Name: "rocketchat", URL: mustURL("https://chat.example.org"), Secrets: secret.All(testSecret),
		Reader: Credential{"r", secret.New("t1")}, Poster: Credential{"p", secret.New("t2")},
	})
	if err != nil {
		f.Fatal(err)
	}
	accept := func(body []byte) (chat.Receipt, error) {
		req := httptest.NewRequest(http.MethodPost, "/hooks/rocketchat", nil)
		req.Header = genuine()
		return c.Accept(req, body)
	}
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := accept(body)
		if err != nil {
			if r.Key != "" || len(err.Error()) > 100 {
				t.Fatalf("receipt %+v with error %v", r, err)
			}
			return
		}
		if again, _ := accept(body); again.Key != r.Key || string(again.Body) != string(r.Body) {
			t.Fatal("the same bytes give another receipt the second time")
		}
		if r.Answer != nil || len(r.Note) > 300 || strings.ContainsAny(r.Key+r.Note, "\r\n\x00") {
			t.Fatalf("answer %q, key %q, note %q", r.Answer, r.Key, r.Note)
		}
		if r.Key == "" {
			return
		}
		for _, change := range r.Changes {
			if len(r.Changes) > 1 || !plausible(change.Chat) || change.Agent != "" && !plausible(change.Agent) || change.Closed && change.Agent != "" {
				t.Fatalf("changes %+v", r.Changes)
			}
		}
		// The stored body has at most these five short fields of printable ASCII.
		var keep map[string]string
		if err := json.Unmarshal(r.Body, &keep); err != nil {
			t.Fatalf("stored %q", r.Body)
		}
		for k, v := range keep {
			if !strings.Contains(" type room visitor agent at ", " "+k+" ") || len(v) > 128 || !headerValue(v) {
				t.Fatalf("stored %q as %q", v, k)
			}
		}
		var sent struct {
			Visitor struct {
				Token string `json:"token"`
			} `json:"visitor"`
		}
		json.Unmarshal(body, &sent)
		for _, v := range keep {
			if tok := sent.Visitor.Token; len(tok) > 16 && strings.Contains(v, tok) && !strings.Contains(strings.Replace(string(body), tok, "", 1), tok) {
				t.Fatal("the visitor's token is stored")
			}
		}
	})
}

func TestSessionEventsWithOtherAgentsOrTimesHaveOtherKeys(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for name, fields := range map[string][]string{
		"forwarded-to-agent":      {"agent._id", "servedBy._id", "servedBy.ts", "oldServedBy._id", "oldServedBy.ts", "lastMessageAt", "_id", "type"},
		"forwarded-to-department": {"departmentId", "oldDepartmentId", "lastMessageAt"},
		"taken":                   {"agent._id", "servedBy._id", "servedBy.ts"},
		"close":                   {"closedAt", "_id"},
		"start":                   {"createdAt", "_id"},
	} {
		key := func(field string) string {
			var m map[string]any
			if err := json.Unmarshal(recorded(t, name), &m); err != nil {
				t.Fatal(err)
			}
			in, last, nested := strings.Cut(field, ".")
			switch {
			case nested:
				m[in].(map[string]any)[last] = "other"
			case field == "type":
				m["type"] = typeTaken
			case field != "":
				m[field] = "other"
			}
			body, _ := json.Marshal(m)
			r, err := d.receipt(t, body, genuine())
			if err != nil || r.Key == "" {
				t.Fatal(name, field, r, err)
			}
			return r.Key
		}
		seen := map[string]string{key(""): "as recorded"}
		for _, f := range fields {
			if other, dup := seen[key(f)]; dup {
				t.Errorf("%s: with another %s it has the key of %s", name, f, other)
			}
			seen[key(f)] = f
		}
		// Texts that people type are not part of the key.
		for _, f := range []string{"label", "topic", "visitor.name", "crmData"} {
			if key(f) != key("") {
				t.Errorf("%s: %s is in the key", name, f)
			}
		}
	}
}

// The two events of a chat that goes back to the queue twice may have the same body.
func TestEveryQueuedEventHasItsOwnKey(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	first, err := d.receipt(t, recorded(t, "queued"), genuine())
	again, errAgain := d.receipt(t, recorded(t, "queued"), genuine())
	if err != nil || errAgain != nil || first.Key == "" || again.Key == "" || first.Key == again.Key {
		t.Errorf("keys %q and %q, %v, %v", first.Key, again.Key, err, errAgain)
	}
}
