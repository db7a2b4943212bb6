package chatvisor

import (
	"bytes"
	"context"
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
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/connectors/chatvisor/rules"
)

func testBody(t testing.TB, name string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", "deliveries", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestEveryBodyVariantIsReadAsDocumented(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "join: [customer_id, lookup_code]")
	start := func(customer string) chat.Ask {
		return chat.Ask{Verb: chat.Start, Chat: customer, Agent: chat.Agent{ID: "team", Name: "Support"}, New: true,
			Clues: chat.Clues{IntegrationIDs: []string{"chatvisor:" + customer}}}
	}
	unchanged := func(a chat.Ask) chat.Ask { a.New = false; return a }
	coded := func(a chat.Ask) chat.Ask { a.Clues.LookupCode = "4821"; return a }
	closed := chat.Ask{Verb: chat.Close, Chat: "c-1"}
	for _, c := range []struct {
		event, body string
		want        chat.Ask
	}{
		{rules.NewConversation, "text", coded(start("c-1"))},
		{rules.NewConversation, "test", coded(start("c-1"))},
		{rules.NewConversation, "no-last-message", start("c-1")},
		{rules.NewConversation, "unknown-status", start("c-1")},
		{rules.NewConversation, "number", start("90071992547409931")},
		{rules.NewConversation, "in-a-list", start("c-1")},
		{rules.StatusChange, "text", coded(unchanged(start("c-1")))},
		{rules.StatusChange, "unresolved", unchanged(start("c-1"))},
		{rules.StatusChange, "unknown-status", unchanged(start("c-1"))},
		{rules.StatusChange, "done", closed},
		{rules.NewMessage, "message", start("c-1")},
		{rules.NewMessage, "message-code", coded(start("c-1"))},
		{rules.Auto, "text", coded(start("c-1"))},
		{rules.Auto, "unresolved", unchanged(start("c-1"))},
		{rules.Auto, "done", closed},
		{rules.Auto, "message", start("c-1")},
	} {
		got := d.ask(t, c.event, testBody(t, c.body))
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", c.want) {
			t.Errorf("%s, %s:\n got %+v\nwant %+v", c.event, c.body, got, c.want)
		}
	}
	if paths := d.paths(); len(paths) > 0 {
		t.Errorf("requests without a configured endpoint: %q", paths)
	}
}

func TestAnEventThatEndsAConversationReportsTheChange(t *testing.T) {
	t.Parallel()
	plain := newTenant(t, "")
	ids := newTenant(t, "webhook: {mapping: {new-conversation: {conversation_id: conversation}, status-change: {conversation_id: conversation}, new-message: {conversation_id: conversation}}}")
	closed := func(chats ...string) (all []chat.ChatChange) {
		for _, id := range chats {
			all = append(all, chat.ChatChange{Chat: id, Closed: true})
		}
		return all
	}
	const a, b, c = `{"customerId":"a","status":"DONE"}`, `{"customerId":"b","status":"UNREAD"}`, `{"customerId":"c","status":"done"}`
	for _, test := range []struct {
		event, body string
		want        []chat.ChatChange
	}{
		{rules.StatusChange, testBody(t, "done"), closed("c-1")},
		{rules.Auto, testBody(t, "done"), closed("c-1")},
		{rules.StatusChange, testBody(t, "text"), nil},
		{rules.StatusChange, testBody(t, "unresolved"), nil},
		{rules.StatusChange, testBody(t, "unknown-status"), nil},
		{rules.NewConversation, testBody(t, "text"), nil},
		{rules.NewConversation, testBody(t, "done"), nil}, // not stored
		{rules.NewMessage, testBody(t, "message"), nil},
		{rules.NewMessage, `{"customerId":"a","text":"hello","status":"DONE"}`, nil},
		{rules.NewSubscriber, `{"customerId":"a","status":"DONE"}`, nil},
		{rules.StatusChange, `{"customer":"a","status":"DONE"}`, nil}, // a mismatch
		{rules.StatusChange, `{"customerId":"a","conversation":"7","status":"DONE"}`, closed("a/7")},
		{rules.StatusChange, "[" + a + "]", closed("a")},
		{rules.StatusChange, "[" + a + "," + b + "," + c + "]", closed("a", "c")},
		{rules.StatusChange, "[" + a + "," + c + "," + a + "]", closed("c", "a")}, // the last end counts
		// The first conversation ends, and another one begins.
		{rules.StatusChange, `[{"customerId":"b","status":"DONE"},` + b + "]", closed("b")},
	} {
		d := plain
		if strings.Contains(test.body, `"conversation"`) {
			d = ids
		}
		r, err := d.receive(test.event, test.body)
		if err != nil || !slices.Equal(r.Changes, test.want) {
			t.Errorf("%s, %s: changes %+v, %v, want %+v", test.event, test.body, r.Changes, err, test.want)
		}
		if test.want != nil && r.Key == "" {
			t.Errorf("%s, %s is not stored", test.event, test.body)
		}
		if test.want == nil || strings.Count(test.body, "customerId") > 1 {
			continue
		}
		if ask, err := d.Read(t.Context(), chat.Delivery{Key: r.Key, Body: r.Body}); err != nil || ask.Verb != chat.Close || ask.Chat != r.Changes[0].Chat {
			t.Errorf("%s, %s: Read returns %+v, %v", test.event, test.body, ask, err)
		}
	}
}

func TestTheEventsOfAListKeepTheirChanges(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "")
	var got []chat.Delivery
	deliver := func(_ context.Context, d chat.Delivery) error { got = append(got, d); return nil }
	d.k.deliver.Store(&deliver)
	received := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	r, err := d.receive(rules.StatusChange, `[{"customerId":"a","status":"DONE"},{"customerId":"b","status":"UNREAD"},{"customerId":"c","status":"DONE"}]`)
	if err != nil {
		t.Fatal(err)
	}
	if ask, err := d.k.read(t.Context(), chat.Delivery{Key: r.Key, Body: r.Body, Received: received}); err != nil || ask.Verb != chat.Nothing {
		t.Fatalf("the list itself: %+v, %v", ask, err)
	}
	want := [][]chat.ChatChange{{{Chat: "a", Closed: true}}, nil, {{Chat: "c", Closed: true}}}
	if len(got) != len(want) {
		t.Fatalf("%d deliveries, want %d", len(got), len(want))
	}
	for i, d := range got {
		if !slices.Equal(d.Changes, want[i]) {
			t.Errorf("delivery %d: changes %+v, want %+v", i, d.Changes, want[i])
		}
	}
}

func TestEventsThatAreIgnoredAreAnsweredTheSame(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "webhook: {mapping: {new-message: {author_role: from}}}")
	for _, c := range []struct{ event, body, note string }{
		{rules.NewSubscriber, `{"customerId":"c-1"}`, ""},
		{rules.NewConversation, testBody(t, "done"), ""}, // ended already
		{rules.NewMessage, `{"customerId":"c-1","text":"4821","from":"agent"}`, ""},
		{rules.NewConversation, `{}`, "empty object"},
		{rules.NewConversation, `"c-9"`, "neither an object nor a list"},
		{rules.NewConversation, `[1,"c-9"]`, "not an object"},
		{rules.NewConversation, `[]`, ""},
		{rules.NewConversation, ``, "0 bytes"},
		{rules.NewConversation, `<c-9>`, "not JSON"},
		{rules.NewConversation, strings.Repeat("[", 100_000), "nested too deep"},
	} {
		r, err := d.receive(c.event, c.body)
		if err != nil || r.Key != "" || string(r.Answer) != "{}" || r.AnswerType != "application/json" {
			t.Errorf("%.60s: %+v, %v", c.body, r, err)
		}
		if !strings.Contains(r.Note, c.note) || c.note == "" && r.Note != "" {
			t.Errorf("%.60s: note %q, want %q", c.body, r.Note, c.note)
		}
		if strings.Contains(r.Note, "c-9") || strings.Contains(r.Note, "example.org") || len(r.Note) > 1200 {
			t.Errorf("a value is in the note %q", r.Note)
		}
	}
}

func TestABodyThatDoesNotMatchTheMappingIsStoredAsNamesAndTypes(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "")
	for _, c := range []struct{ event, body, says string }{
		{rules.NewConversation, `{"customer":{"id":"c-9","mail":"ann@example.org"},"at":12,"ok":true,"ann@example.org":null,"list":[{"a":"b"},{"c":1}]}`,
			"new-conversation ignored: no customer id; fields of the body: {customer: {id: text, mail: text}, at: number, ok: true or false, ?: null, list: [{a: text}]}"},
		{rules.NewConversation, `{"customerId":"../c-9"}`, "new-conversation ignored: customer id is not 1 to 128 letters"},
		{rules.NewConversation, `{"customerId":".."}`, "new-conversation ignored: customer id is not 1 to 128 letters"},
		{rules.NewConversation, `{"customerId":"c-1#2"}`, "new-conversation ignored: customer id is not 1 to 128 letters"},
		{rules.NewConversation, `{"customerId":" c-9"}`, "customer id is not 1 to 128 letters, digits and . _ : @ = + ~ -; fields of the body: {customerId: text}"},
		{rules.NewMessage, `{"customerId":"` + strings.Repeat("c-9", 50) + `"}`, "customer id is not 1 to 128 letters"},
		{rules.NewConversation, `{"customerId":{"id":"c-9"}}`, "no customer id; fields of the body: {customerId: {id: text}}"},
		{rules.StatusChange, `{"customerId":"c-1"}`, "status-change ignored: no status"},
	} {
		r, err := d.receive(c.event, c.body)
		if err != nil || r.Key == "" || string(r.Answer) != "{}" || !strings.Contains(r.Note, c.says) {
			t.Errorf("%.60s: %+v, %v", c.body, r, err)
		}
		_, failed := d.Read(t.Context(), chat.Delivery{Key: r.Key, Body: r.Body})
		if !chat.IsPermanent(failed) || !strings.Contains(failed.Error(), c.says) || !strings.Contains(failed.Error(), "CHATVISOR_CONFIG") {
			t.Errorf("%.60s: the error for the operator is %v", c.body, failed)
		}
		for _, kept := range []string{r.Key, r.Note, string(r.Body), fmt.Sprint(failed)} {
			if strings.Contains(kept, "c-9") || strings.Contains(kept, "example.org") || len(kept) > 1500 {
				t.Errorf("a value is stored in %q", kept)
			}
		}
	}
	if len(d.Requests()) > 0 {
		t.Errorf("requests %q, want none", d.paths())
	}
}

func TestAListMayHoldAsManyEventsAsABody(t *testing.T) {
	t.Parallel()
	const most = 9000
	d := newTenant(t, "")
	list := func(row string) string {
		rows := make([]string, most)
		for i := range rows {
			rows[i] = strings.ReplaceAll(row, "N", fmt.Sprint(i))
		}
		body := "[" + strings.Join(rows, ",") + "]"
		if len(body) > maxBody {
			t.Fatalf("the body of the test has %d bytes, more than maxBody", len(body))
		}
		return body
	}
	for row, want := range map[string]int{
		`{"customerId":"N"}`:        most,
		`{"customerId":7,"text":1}`: 1, // all are equal
		`{"customer":"N"}`:          1, // none matches the mapping
		`{"xN":1}`:                  1,
	} {
		body := list(row)
		r, err := d.receive(rules.NewMessage, body)
		var got storedEvent
		if err != nil || r.Key == "" || json.Unmarshal(r.Body, &got) != nil || max(len(got.List), 1) != want {
			t.Errorf("%s: %d events are stored, %v", row, len(got.List), err)
		}
		if len(r.Note) > maxNotes*1500 || len(r.Body) > 8*maxBody {
			t.Errorf("%s: a note of %d bytes, a body of %d", row, len(r.Note), len(r.Body))
		}
	}
}

func TestAByteOrderMarkBeforeABodyIsIgnored(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "")
	for _, body := range []string{`{"customerId":"c-1","text":"hello"}`, `[{"customerId":"c-1","text":"hello"}]`, `{"customer":{"id":"c-1"}}`} {
		plain, err := d.receive(rules.NewMessage, body)
		marked, failed := d.receive(rules.NewMessage, "\ufeff"+body)
		if err != nil || failed != nil || plain.Key == "" || marked.Key != plain.Key || marked.Note != plain.Note {
			t.Errorf("%s: %+v, and after a byte order mark %+v", body, plain, marked)
		}
	}
	if r, err := d.receive(rules.NewMessage, "\ufeff"); err != nil || r.Key != "" || !strings.Contains(r.Note, "not JSON") {
		t.Errorf("only a byte order mark: %+v, %v", r, err)
	}
}

func TestOneMismatchADayIsStoredForEachKindUntilTheFileIsCorrected(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	before := newTenant(t, "webhook: {delivery_header: X-Id}", func(c *Config) { c.now = func() time.Time { return now } })
	arrive := func(d *tenant, event, body, id string) chat.Receipt {
		r, err := d.receiveAt(hookPath(hookSecret, event), body, func(r *http.Request) { r.Header.Set("X-Id", id) })
		if err != nil || r.Key == "" {
			t.Fatal(r, err)
		}
		return r
	}
	first := arrive(before, rules.NewMessage, `{"customer":{"id":"c-1"}}`, "1")
	if again := arrive(before, rules.NewMessage, `{"customer":{"id":"c-2"},"text":"hello"}`, "2"); again.Key != first.Key {
		t.Error("an equal mismatch is stored twice")
	}
	if other := arrive(before, rules.StatusChange, `{"customerId":"c-1"}`, "3"); other.Key == first.Key {
		t.Error("a mismatch of another event is not stored")
	}
	// An operator may have dismissed the first. Its key is kept for days.
	now = now.Add(12 * time.Hour)
	if later := arrive(before, rules.NewMessage, `{"customer":{"id":"c-3"}}`, "4"); later.Key == first.Key {
		t.Error("a mismatch of the next day is not stored")
	}
	mended := newTenant(t, "webhook: {mapping: {new-message: {customer_id: customer.id}}}")
	if ask, err := mended.Read(t.Context(), chat.Delivery{Key: first.Key, Body: first.Body}); err != nil || ask.Verb != chat.Nothing {
		t.Errorf("a retry after the file was corrected: %+v, %v", ask, err)
	}
	if r, err := mended.receive(rules.NewMessage, `{"id":"c-1"}`); err != nil || r.Key == "" || r.Key == first.Key {
		t.Errorf("a mismatch with the corrected file is not stored again: %+v, %v", r, err)
	}
}

func TestNoTextThatPeopleWroteIsStored(t *testing.T) {
	t.Parallel()
	body := `{"customerId":"c-1","status":"UNREAD","lastMessage":{"text":"my card is 4111 1111"},"url":"https://app.chatvisor.com/x?token=private"}`
	d := newTenant(t, "")
	r, err := d.receive(rules.NewConversation, body)
	if err != nil || string(r.Body) != `{"event":"new-conversation","customer":"c-1"}` {
		t.Errorf("stored %s, %v", r.Body, err)
	}
	if strings.Contains(r.Key+r.Note, "4111") {
		t.Error("the text is in key or note")
	}
	for file, want := range map[string]string{
		"show_agent_url: true": `"url":"https://app.chatvisor.com/x?token=private"`,
		"show_agent_url: true\nagent_url_hosts: [chat.example.org]": `"customer":"c-1"}`,
	} {
		r, err := newTenant(t, file).receive(rules.NewConversation, body)
		if err != nil || !strings.Contains(string(r.Body), want) {
			t.Errorf("%s: stored %s, %v", file, r.Body, err)
		}
	}
}

func TestOnlyAValidSecretIsAccepted(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "", func(c *Config) { c.Secrets = secret.All(hookSecret, oldSecret) })
	for path, want := range map[string]error{
		hookPath(hookSecret, rules.NewConversation):               nil,
		hookPath(oldSecret, rules.StatusChange):                   nil,
		hookPath(hookSecret, rules.Auto):                          nil,
		hookPath(hookSecret+"x", rules.NewConversation):           chat.ErrNoRoute,
		hookPath(hookSecret[1:], rules.NewConversation):           chat.ErrNoRoute,
		hookPath(strings.ToUpper(hookSecret), rules.StatusChange): chat.ErrNoRoute,
		hookPath("", rules.StatusChange):                          chat.ErrNoRoute,
		hookPath(hookSecret+"%20", rules.StatusChange):            chat.ErrNoRoute,
		hookPath("%2F"+hookSecret, rules.StatusChange):            chat.ErrNoRoute,
		hookPath(hookSecret, ""):                                  chat.ErrNoRoute,
		hookPath(hookSecret, "new-conversation/"):                 chat.ErrNoRoute,
		hookPath(hookSecret, "another"):                           chat.ErrNoRoute,
		"/hooks/chatvisor/" + hookSecret:                          chat.ErrNoRoute,
		"/hooks/chatvisor":                                        chat.ErrNoRoute,
		"/hooks/chatvisor-emea/" + hookSecret + "/status-change":  chat.ErrNoRoute,
		"/hooks/chatvisor/x/" + hookSecret + "/status-change":     chat.ErrNoRoute,
	} {
		r, err := d.receiveAt(path, testBody(t, "text"), nil)
		if !errors.Is(err, want) || err != nil && (r.Key != "" || r.Answer != nil || r.Note != "") {
			t.Errorf("%s: %+v, %v, want %v", path, r, err, want)
		}
	}
	// A secret with one wrong bit is refused.
	for i := range len(hookSecret) * 8 {
		flipped := []byte(hookSecret)
		flipped[i/8] ^= 1 << (i % 8)
		r := httptest.NewRequest(http.MethodPost, "/hooks", nil)
		r.URL.Path = hookPath(string(flipped), rules.StatusChange)
		if _, err := d.Accept(r, []byte(testBody(t, "text"))); !errors.Is(err, chat.ErrNoRoute) {
			t.Errorf("with bit %d flipped: %v", i, err)
		}
	}
}

func TestForwardedAddressesCountOnlyFromTrustedProxies(t *testing.T) {
	t.Parallel()
	const file = "webhook: {allow_cidrs: [192.0.2.0/24, 2001:db8::/32], trusted_proxies: [10.0.0.0/8]}"
	d := newTenant(t, file)
	for _, c := range []struct {
		from, forwarded string
		want            error
	}{
		{"192.0.2.7:1", "", nil},
		{"[2001:db8::1]:1", "", nil},
		{"[::ffff:192.0.2.7]:1", "", nil},
		{"198.51.100.1:1", "", chat.ErrForged},
		{"198.51.100.1:1", "192.0.2.7", chat.ErrForged}, // the sender is not a trusted proxy
		{"10.0.0.1:1", "192.0.2.7", nil},
		{"10.0.0.1:1", "198.51.100.1, 192.0.2.7", nil},
		{"10.0.0.1:1", "192.0.2.7, 198.51.100.1", chat.ErrForged},
		{"10.0.0.1:1", "192.0.2.7, 10.0.0.2", nil},
		{"10.0.0.1:1", "192.0.2.7:51034", nil},
		{"10.0.0.1:1", "[2001:db8::1]:51034", nil},
		{"10.0.0.1:1", "[2001:db8::1]", nil},
		{"10.0.0.1:1", "192.0.2.7:51034, 10.0.0.2:443", nil},
		{"10.0.0.1:1", "198.51.100.1:51034", chat.ErrForged},
		{"10.0.0.1:1", "", chat.ErrForged},
		{"10.0.0.1:1", "192.0.2.7, what", chat.ErrForged},
		{"", "", chat.ErrForged},
	} {
		_, err := d.receiveAt(hookPath(hookSecret, rules.StatusChange), testBody(t, "text"), func(r *http.Request) {
			r.RemoteAddr = c.from
			if c.forwarded != "" {
				r.Header.Set("X-Forwarded-For", c.forwarded)
			}
		})
		if !errors.Is(err, c.want) {
			t.Errorf("from %q for %q: %v, want %v", c.from, c.forwarded, err, c.want)
		}
	}
	for _, fault := range []string{"the proxy 10.0.0.1 sent no X-Forwarded-For", "the proxy 10.0.0.1 sent an X-Forwarded-For that contains no readable address"} {
		if strings.Count(d.log.String(), fault) != 1 {
			t.Errorf("%q is not logged once: %s", fault, d.log)
		}
	}
}

func TestEqualEventsCountOnceWithinTheRepeatWindow(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	d := newTenant(t, "", func(c *Config) { c.now = func() time.Time { return now } })
	key := func(event, body string, later time.Duration) string {
		before := now
		now = now.Add(later)
		r, err := d.receive(event, body)
		now = before
		if err != nil || r.Key == "" {
			t.Fatalf("%s: %+v, %v", body, r, err)
		}
		return r.Key
	}
	text, done, message := testBody(t, "text"), testBody(t, "done"), testBody(t, "message")
	first := key(rules.NewConversation, text, 0)
	for name, c := range map[string]struct {
		got  string
		same bool
	}{
		"a repeat":                   {key(rules.NewConversation, text, repeatWindow-time.Nanosecond), true},
		"a repeat with other spaces": {key(rules.NewConversation, " "+text+"\n", 0), true},
		"the same much later":        {key(rules.NewConversation, text, repeatWindow), false},
		"the same as another event":  {key(rules.StatusChange, text, 0), false},
		"another customer":           {key(rules.NewConversation, strings.Replace(text, "c-1", "c-2", 1), 0), false},
		"another status":             {key(rules.NewConversation, strings.Replace(text, "UNREAD", "OPEN", 1), 0), false},
		"another text":               {key(rules.NewConversation, strings.Replace(text, "4821", "hello", 1), 0), false},
		"another link":               {key(rules.NewConversation, strings.Replace(text, `"url":"`, `"url":"x`, 1), 0), true},
	} {
		if (c.got == first) != c.same {
			t.Errorf("%s counts as a repeat: %v, want %v", name, !c.same, c.same)
		}
	}
	// An agent ends the conversation, the customer says thanks, and the agent ends it
	// again: both bodies are equal.
	if key(rules.StatusChange, done, 0) == key(rules.StatusChange, done, 5*time.Second) {
		t.Error("the second end counts as a repeat")
	}
	// A message after the end begins another conversation.
	if key(rules.NewMessage, message, 0) != key(rules.NewMessage, message, time.Second) {
		t.Error("a repeated message counts as another event")
	}
	if key(rules.NewMessage, message, 0) == key(rules.NewMessage, strings.Replace(message, "hello", "and more", 1), time.Second) {
		t.Error("a second message counts as a repeat")
	}
	if key(rules.NewMessage, message, 0) == key(rules.NewMessage, testBody(t, "message-code"), 0) {
		t.Error("a message with a code counts as a repeat")
	}
}

func TestADeliveryIDIdentifiesADelivery(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	d := newTenant(t, "webhook: {delivery_header: X-Delivery, mapping: {status-change: {delivery_id: id, occurred_at: at}}}",
		func(c *Config) { c.now = func() time.Time { return now } })
	key := func(body, header string) string {
		r, err := d.receiveAt(hookPath(hookSecret, rules.StatusChange), body, func(r *http.Request) {
			if header != "" {
				r.Header.Set("X-Delivery", header)
			}
		})
		if err != nil || r.Key == "" {
			t.Fatal(r, err)
		}
		return r.Key
	}
	plain := `{"customerId":"c-1","status":"DONE","id":"%s","at":"%s"}`
	a, sameID := key(fmt.Sprintf(plain, "d1", ""), ""), key(fmt.Sprintf(plain, "d1", "2026-11-21T10:00:00Z"), "")
	now = now.Add(time.Hour)
	if later := key(fmt.Sprintf(plain, "d1", ""), ""); a != sameID || a != later {
		t.Error("a delivery with one id has several keys")
	}
	if key(fmt.Sprintf(plain, "d2", ""), "") == a || key(fmt.Sprintf(plain, "d1", ""), "h1") == a {
		t.Error("another id, in the body or in the header, gives the same key")
	}
	at := key(fmt.Sprintf(plain, "", "2026-11-21T10:00:00+01:00"), "")
	now = now.Add(time.Hour)
	if key(fmt.Sprintf(plain, "", "2026-11-21T09:00:00Z"), "") != at || key(fmt.Sprintf(plain, "", "1795255200"), "") == at {
		t.Error("the key does not depend on the time of the event")
	}
}

func FuzzAccept(f *testing.F) {
	for _, name := range []string{"text", "test", "no-last-message", "unknown-status", "number", "in-a-list", "done", "message-code", "several"} {
		f.Add(rules.NewConversation, []byte(testBody(f, name)))
	}
	f.Add(rules.StatusChange, []byte(`{"customerId":"c-1","status":"DONE","status":"UNREAD"}`))
	f.Add(rules.Auto, []byte(`[{"customerId":1e400},{"customerId":"\ud800","text":"1234"}]`))
	read, err := rules.Parse("", []byte("show_agent_url: true\nwebhook: {mapping: {new-conversation: {conversation_id: a.b}, status-change: {conversation_id: a.b}, new-message: {conversation_id: a.b}}}"))
	if err != nil {
		f.Fatal(err)
	}
	c, err := newConnector(Config{Name: "chatvisor", Token: secret.New(apiToken), Secrets: secret.All(hookSecret), Rules: read,
		now: func() time.Time { return time.Unix(1, 0) }})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, event string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/hooks", nil)
		r.URL.Path = hookPath(hookSecret, event)
		got, err := c.accept(r, body)
		if err != nil {
			if !errors.Is(err, chat.ErrNoRoute) {
				t.Fatalf("an error other than ErrNoRoute: %v", err)
			}
			return
		}
		again, _ := c.accept(r, body)
		if again.Key != got.Key || !bytes.Equal(again.Body, got.Body) || string(got.Answer) != "{}" {
			t.Fatal("equal bytes give another result the second time")
		}
		if strings.ContainsAny(got.Key+got.Note, "\r\n\x00") || len(got.Note) > 8000 {
			t.Fatalf("key %q, note %q", got.Key, got.Note)
		}
		if got.Key == "" {
			return
		}
		var first storedEvent
		if err := json.Unmarshal(got.Body, &first); err != nil {
			t.Fatalf("stored %q", got.Body)
		}
		all := first.List
		if len(all) == 0 {
			all = []storedEvent{first}
		}
		for _, change := range got.Changes {
			if !change.Closed || change.Agent != "" || !slices.ContainsFunc(all, func(k storedEvent) bool { return k.Done && k.chatID() == change.Chat }) {
				t.Fatalf("changes %+v", got.Changes)
			}
		}
		for _, k := range all {
			// Only ids, a code and an address of the vendor are stored.
			if k.Mismatch != "" && k.Customer == "" {
				continue
			}
			if !rules.PlausibleID(k.Customer) || k.Conversation != "" && !rules.PlausibleID(k.Conversation) ||
				k.Code != "" && (len(k.Code) != 4 || strings.Trim(k.Code, "0123456789") != "") ||
				k.URL != "" && !strings.HasPrefix(k.URL, "https://app.chatvisor.com") && !strings.HasPrefix(k.URL, "https://engage.teamviewer.com") &&
					!strings.HasPrefix(strings.ToLower(k.URL), "https://") {
				t.Fatalf("stored %+v", k)
			}
			if _, err := c.read(t.Context(), chat.Delivery{Body: mustJSON(storedEvent{Event: k.Event, Customer: k.Customer, Done: k.Done, Code: k.Code})}); err != nil {
				t.Fatalf("a stored event cannot be read: %v", err)
			}
		}
	})
}

func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
