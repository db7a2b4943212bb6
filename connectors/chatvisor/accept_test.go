package chatvisor

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
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

	"cobrowse-bridge/bridge"
)

func recorded(t testing.TB, name string) string {
	t.Helper()
	body, err := os.ReadFile(filepath.Join("testdata", "deliveries", name+".json"))
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

func TestEveryVariantOfABodyIsHandledAsWritten(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "join: [customer_id, lookup_code]")
	start := func(chat string) bridge.Ask {
		return bridge.Ask{Verb: bridge.Start, Chat: chat, Agent: bridge.Agent{ID: "team", Name: "Support"}, New: true,
			Clues: bridge.Clues{IntegrationIDs: []string{"chatvisor:" + chat}}}
	}
	unchanged := func(a bridge.Ask) bridge.Ask { a.New = false; return a }
	coded := func(a bridge.Ask) bridge.Ask { a.Clues.LookupCode = "4821"; return a }
	closed := bridge.Ask{Verb: bridge.Close, Chat: "c-1"}
	for _, c := range []struct {
		event, body string
		want        bridge.Ask
	}{
		{eventConversation, "text", coded(start("c-1"))},
		{eventConversation, "test", coded(start("c-1"))},
		{eventConversation, "no-last-message", start("c-1")},
		{eventConversation, "unknown-status", start("c-1")},
		{eventConversation, "number", start("90071992547409931")},
		{eventConversation, "in-a-list", start("c-1")},
		{eventStatus, "text", coded(unchanged(start("c-1")))},
		{eventStatus, "unresolved", unchanged(start("c-1"))},
		{eventStatus, "unknown-status", unchanged(start("c-1"))},
		{eventStatus, "done", closed},
		{eventMessage, "message", start("c-1")},
		{eventMessage, "message-code", coded(start("c-1"))},
		{eventAuto, "text", coded(start("c-1"))},
		{eventAuto, "unresolved", unchanged(start("c-1"))},
		{eventAuto, "done", closed},
		{eventAuto, "message", start("c-1")},
	} {
		got := d.ask(t, c.event, recorded(t, c.body))
		if fmt.Sprintf("%+v", got) != fmt.Sprintf("%+v", c.want) {
			t.Errorf("%s, %s:\n got %+v\nwant %+v", c.event, c.body, got, c.want)
		}
	}
	if paths := d.paths(); len(paths) > 0 {
		t.Errorf("asked without an endpoint: %q", paths)
	}
}

func TestAnEventThatEndsAConversationSaysSo(t *testing.T) {
	t.Parallel()
	plain := newTenant(t, "")
	ids := newTenant(t, "webhook: {mapping: {new-conversation: {conversation_id: conversation}, status-change: {conversation_id: conversation}, new-message: {conversation_id: conversation}}}")
	closed := func(chats ...string) (all []bridge.ChatChange) {
		for _, chat := range chats {
			all = append(all, bridge.ChatChange{Chat: chat, Closed: true})
		}
		return all
	}
	const a, b, c = `{"customerId":"a","status":"DONE"}`, `{"customerId":"b","status":"UNREAD"}`, `{"customerId":"c","status":"done"}`
	for _, test := range []struct {
		event, body string
		want        []bridge.ChatChange
	}{
		{eventStatus, recorded(t, "done"), closed("c-1")},
		{eventAuto, recorded(t, "done"), closed("c-1")},
		{eventStatus, recorded(t, "text"), nil},
		{eventStatus, recorded(t, "unresolved"), nil},
		{eventStatus, recorded(t, "unknown-status"), nil},
		{eventConversation, recorded(t, "text"), nil},
		{eventConversation, recorded(t, "done"), nil}, // which is no delivery
		{eventMessage, recorded(t, "message"), nil},
		{eventMessage, `{"customerId":"a","text":"hello","status":"DONE"}`, nil},
		{eventSubscriber, `{"customerId":"a","status":"DONE"}`, nil},
		{eventStatus, `{"customer":"a","status":"DONE"}`, nil}, // which does not fit
		{eventStatus, `{"customerId":"a","conversation":"7","status":"DONE"}`, closed("a/7")},
		{eventStatus, "[" + a + "]", closed("a")},
		{eventStatus, "[" + a + "," + b + "," + c + "]", closed("a", "c")},
		{eventStatus, "[" + a + "," + c + "," + a + "]", closed("c", "a")}, // the last end counts
		// The conversation goes on, as another: the one before is over.
		{eventStatus, `[{"customerId":"b","status":"DONE"},` + b + "]", closed("b")},
	} {
		d := plain
		if strings.Contains(test.body, `"conversation"`) {
			d = ids
		}
		r, err := d.comes(test.event, test.body)
		if err != nil || !slices.Equal(r.Changes, test.want) {
			t.Errorf("%s, %s: changes %+v, %v, want %+v", test.event, test.body, r.Changes, err, test.want)
		}
		if test.want != nil && r.Key == "" {
			t.Errorf("%s, %s is no delivery", test.event, test.body)
		}
		if test.want == nil || strings.Count(test.body, "customerId") > 1 {
			continue
		}
		if ask, err := d.Read(t.Context(), bridge.Delivery{Key: r.Key, Body: r.Body}); err != nil || ask.Verb != bridge.Close || ask.Chat != r.Changes[0].Chat {
			t.Errorf("%s, %s: Read says %+v, %v", test.event, test.body, ask, err)
		}
	}
}

func TestTheEventsOfAListKeepTheirChanges(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "")
	var got []bridge.Delivery
	deliver := func(_ context.Context, d bridge.Delivery) error { got = append(got, d); return nil }
	d.k.hand.Store(&deliver)
	received := time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)
	r, err := d.comes(eventStatus, `[{"customerId":"a","status":"DONE"},{"customerId":"b","status":"UNREAD"},{"customerId":"c","status":"DONE"}]`)
	if err != nil {
		t.Fatal(err)
	}
	if ask, err := d.k.read(t.Context(), bridge.Delivery{Key: r.Key, Body: r.Body, Received: received}); err != nil || ask.Verb != bridge.Nothing {
		t.Fatalf("%+v, %v", ask, err)
	}
	want := [][]bridge.ChatChange{{{Chat: "a", Closed: true}}, nil, {{Chat: "c", Closed: true}}}
	if len(got) != len(want) {
		t.Fatalf("%d deliveries", len(got))
	}
	for i, d := range got {
		if !slices.Equal(d.Changes, want[i]) {
			t.Errorf("delivery %d: changes %+v, want %+v", i, d.Changes, want[i])
		}
	}
}

func TestWhatIsOfNoInterestIsAnsweredTheSame(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "webhook: {mapping: {new-message: {author_role: from}}}")
	for _, c := range []struct{ event, body, note string }{
		{eventSubscriber, `{"customerId":"c-1"}`, ""},
		{eventConversation, recorded(t, "done"), ""}, // nothing begins that is over
		{eventMessage, `{"customerId":"c-1","text":"4821","from":"agent"}`, ""},
		{eventConversation, `{}`, "nothing in it"},
		{eventConversation, `"c-9"`, "neither an object nor a list"},
		{eventConversation, `[1,"c-9"]`, "no object"},
		{eventConversation, `[]`, ""},
		{eventConversation, ``, "0 bytes"},
		{eventConversation, `<c-9>`, "not JSON"},
		{eventConversation, strings.Repeat("[", 100_000), "nested too deep"},
	} {
		r, err := d.comes(c.event, c.body)
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

func TestABodyThatDoesNotFitIsKeptAsItsNamesAndTypes(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "")
	for _, c := range []struct{ event, body, says string }{
		{eventConversation, `{"customer":{"id":"c-9","mail":"ann@example.org"},"at":12,"ok":true,"ann@example.org":null,"list":[{"a":"b"},{"c":1}]}`,
			"new-conversation without a customer was left out; a body looks like {customer: {id: text, mail: text}, at: number, ok: true or false, ?: null, list: [{a: text}]}"},
		{eventConversation, `{"customerId":"../c-9"}`, "new-conversation with a customer of another form than ids have"},
		{eventConversation, `{"customerId":".."}`, "new-conversation with a customer of another form than ids have"},
		{eventConversation, `{"customerId":"c-1#2"}`, "new-conversation with a customer of another form than ids have"},
		{eventConversation, `{"customerId":" c-9"}`, "of another form than ids have (1 to 128 letters, digits and . _ : @ = + ~ -) was left out; a body looks like {customerId: text}"},
		{eventMessage, `{"customerId":"` + strings.Repeat("c-9", 50) + `"}`, "of another form than ids have"},
		{eventConversation, `{"customerId":{"id":"c-9"}}`, "without a customer was left out; a body looks like {customerId: {id: text}}"},
		{eventStatus, `{"customerId":"c-1"}`, "status-change without a status"},
	} {
		r, err := d.comes(c.event, c.body)
		if err != nil || r.Key == "" || string(r.Answer) != "{}" || !strings.Contains(r.Note, c.says) {
			t.Errorf("%.60s: %+v, %v", c.body, r, err)
		}
		_, failed := d.Read(t.Context(), bridge.Delivery{Key: r.Key, Body: r.Body})
		if !bridge.IsPermanent(failed) || !strings.Contains(failed.Error(), c.says) || !strings.Contains(failed.Error(), "CHATVISOR_CONFIG") {
			t.Errorf("%.60s: the operator reads %v", c.body, failed)
		}
		for _, kept := range []string{r.Key, r.Note, string(r.Body), fmt.Sprint(failed)} {
			if strings.Contains(kept, "c-9") || strings.Contains(kept, "example.org") || len(kept) > 1500 {
				t.Errorf("a value is kept in %q", kept)
			}
		}
	}
	if len(d.Requests()) > 0 {
		t.Errorf("asked %q", d.paths())
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
			t.Fatalf("%d bytes", len(body))
		}
		return body
	}
	for row, want := range map[string]int{
		`{"customerId":"N"}`:        most,
		`{"customerId":7,"text":1}`: 1, // all the same
		`{"customer":"N"}`:          1, // none fits
		`{"xN":1}`:                  1,
	} {
		body := list(row)
		r, err := d.comes(eventMessage, body)
		var got kept
		if err != nil || r.Key == "" || json.Unmarshal(r.Body, &got) != nil || max(len(got.List), 1) != want {
			t.Errorf("%s: %d events are kept, %v", row, len(got.List), err)
		}
		if len(r.Note) > maxNotes*1500 || len(r.Body) > 8*maxBody {
			t.Errorf("%s: a note of %d bytes, a body of %d", row, len(r.Note), len(r.Body))
		}
	}
}

func TestAByteOrderMarkBeforeABodyIsNoPartOfIt(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "")
	for _, body := range []string{`{"customerId":"c-1","text":"hello"}`, `[{"customerId":"c-1","text":"hello"}]`, `{"customer":{"id":"c-1"}}`} {
		plain, err := d.comes(eventMessage, body)
		marked, failed := d.comes(eventMessage, "\ufeff"+body)
		if err != nil || failed != nil || plain.Key == "" || marked.Key != plain.Key || marked.Note != plain.Note {
			t.Errorf("%s: %+v, and behind a mark %+v", body, plain, marked)
		}
	}
	if r, err := d.comes(eventMessage, "\ufeff"); err != nil || r.Key != "" || !strings.Contains(r.Note, "not JSON") {
		t.Errorf("a mark alone: %+v, %v", r, err)
	}
}

func TestOneBodyThatDoesNotFitStandsForAllUntilTheFileIsMended(t *testing.T) {
	t.Parallel()
	before := newTenant(t, "webhook: {delivery_header: X-Id}")
	arrive := func(d *tenant, event, body, id string) bridge.Receipt {
		r, err := d.arrives(hookPath(hookSecret, event), body, func(r *http.Request) { r.Header.Set("X-Id", id) })
		if err != nil || r.Key == "" {
			t.Fatal(r, err)
		}
		return r
	}
	first := arrive(before, eventMessage, `{"customer":{"id":"c-1"}}`, "1")
	if again := arrive(before, eventMessage, `{"customer":{"id":"c-2"},"text":"hello"}`, "2"); again.Key != first.Key {
		t.Error("each that does not fit is kept by itself")
	}
	if other := arrive(before, eventStatus, `{"customerId":"c-1"}`, "3"); other.Key == first.Key {
		t.Error("another event, which lacks something else, is not kept")
	}
	mended := newTenant(t, "webhook: {mapping: {new-message: {customer_id: customer.id}}}")
	if ask, err := mended.Read(t.Context(), bridge.Delivery{Key: first.Key, Body: first.Body}); err != nil || ask.Verb != bridge.Nothing {
		t.Errorf("a retry after the file was mended: %+v, %v", ask, err)
	}
	if r, err := mended.comes(eventMessage, `{"id":"c-1"}`); err != nil || r.Key == "" || r.Key == first.Key {
		t.Errorf("what still does not fit is not kept anew: %+v, %v", r, err)
	}
}

func TestNothingThatSomebodyWroteIsKept(t *testing.T) {
	t.Parallel()
	body := `{"customerId":"c-1","status":"UNREAD","lastMessage":{"text":"my card is 4111 1111"},"url":"https://app.chatvisor.com/x?token=private"}`
	d := newTenant(t, "")
	r, err := d.comes(eventConversation, body)
	if err != nil || string(r.Body) != `{"event":"new-conversation","customer":"c-1"}` {
		t.Errorf("kept %s, %v", r.Body, err)
	}
	if strings.Contains(r.Key+r.Note, "4111") {
		t.Error("the text is in key or note")
	}
	for file, want := range map[string]string{
		"show_agent_url: true": `"url":"https://app.chatvisor.com/x?token=private"`,
		"show_agent_url: true\nagent_url_hosts: [chat.example.org]": `"customer":"c-1"}`,
	} {
		r, err := newTenant(t, file).comes(eventConversation, body)
		if err != nil || !strings.Contains(string(r.Body), want) {
			t.Errorf("%s: kept %s, %v", file, r.Body, err)
		}
	}
}

func TestASecretOpensAndNothingElseDoes(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "", func(c *Config) { c.Secrets = []string{hookSecret, oldSecret} })
	for path, want := range map[string]error{
		hookPath(hookSecret, eventConversation):                  nil,
		hookPath(oldSecret, eventStatus):                         nil,
		hookPath(hookSecret, eventAuto):                          nil,
		hookPath(hookSecret+"x", eventConversation):              bridge.ErrNoRoute,
		hookPath(hookSecret[1:], eventConversation):              bridge.ErrNoRoute,
		hookPath(strings.ToUpper(hookSecret), eventStatus):       bridge.ErrNoRoute,
		hookPath("", eventStatus):                                bridge.ErrNoRoute,
		hookPath(hookSecret+"%20", eventStatus):                  bridge.ErrNoRoute,
		hookPath("%2F"+hookSecret, eventStatus):                  bridge.ErrNoRoute,
		hookPath(hookSecret, ""):                                 bridge.ErrNoRoute,
		hookPath(hookSecret, "new-conversation/"):                bridge.ErrNoRoute,
		hookPath(hookSecret, "another"):                          bridge.ErrNoRoute,
		"/hooks/chatvisor/" + hookSecret:                         bridge.ErrNoRoute,
		"/hooks/chatvisor":                                       bridge.ErrNoRoute,
		"/hooks/chatvisor-emea/" + hookSecret + "/status-change": bridge.ErrNoRoute,
		"/hooks/chatvisor/x/" + hookSecret + "/status-change":    bridge.ErrNoRoute,
	} {
		r, err := d.arrives(path, recorded(t, "text"), nil)
		if !errors.Is(err, want) || err != nil && (r.Key != "" || r.Answer != nil || r.Note != "") {
			t.Errorf("%s: %+v, %v, want %v", path, r, err, want)
		}
	}
	// Every bit counts.
	for i := range len(hookSecret) * 8 {
		flipped := []byte(hookSecret)
		flipped[i/8] ^= 1 << (i % 8)
		r := httptest.NewRequest(http.MethodPost, "/hooks", nil)
		r.URL.Path = hookPath(string(flipped), eventStatus)
		if _, err := d.Accept(r, []byte(recorded(t, "text"))); !errors.Is(err, bridge.ErrNoRoute) {
			t.Errorf("with bit %d flipped: %v", i, err)
		}
	}
}

func TestSignaturesOfEveryKindAreChecked(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	body := recorded(t, "text")
	mac := func(text string) string {
		h := hmac.New(sha256.New, []byte(signatureSecret))
		h.Write([]byte(text))
		return hex.EncodeToString(h.Sum(nil))
	}
	set := func(pairs ...string) func(*http.Request) {
		return func(r *http.Request) {
			for i := 0; i < len(pairs); i += 2 {
				r.Header.Add(pairs[i], pairs[i+1])
			}
		}
	}
	stamp := func(d time.Duration) string { return fmt.Sprint(now.Add(d).Unix()) }
	timed := "webhook: {signature: {header: X-Sig, prefix: v1=, payload: timestamp.body, timestamp_header: X-Time}}"
	for name, c := range map[string]struct {
		file   string
		header func(*http.Request)
		want   error
	}{
		"the body":             {"webhook: {signature: {header: X-Sig, prefix: sha256=}}", set("X-Sig", "sha256="+mac(body)), nil},
		"none":                 {"webhook: {signature: {header: X-Sig, prefix: sha256=}}", nil, bridge.ErrForged},
		"without its prefix":   {"webhook: {signature: {header: X-Sig, prefix: sha256=}}", set("X-Sig", mac(body)), bridge.ErrForged},
		"of another body":      {"webhook: {signature: {header: X-Sig}}", set("X-Sig", mac(body+" ")), bridge.ErrForged},
		"twice":                {"webhook: {signature: {header: X-Sig}}", set("X-Sig", mac(body), "X-Sig", mac(body)), bridge.ErrForged},
		"in capitals":          {"webhook: {signature: {header: X-Sig}}", set("X-Sig", strings.ToUpper(mac(body))), bridge.ErrForged},
		"a plain value":        {"webhook: {signature: {header: X-Key, algorithm: plain}}", set("X-Key", signatureSecret), nil},
		"another plain value":  {"webhook: {signature: {header: X-Key, algorithm: plain}}", set("X-Key", signatureSecret+"x"), bridge.ErrForged},
		"with the time":        {timed, set("X-Sig", "v1="+mac(stamp(0)+"."+body), "X-Time", stamp(0)), nil},
		"five minutes old":     {timed, set("X-Sig", "v1="+mac(stamp(-tolerance)+"."+body), "X-Time", stamp(-tolerance)), nil},
		"older":                {timed, set("X-Sig", "v1="+mac(stamp(-tolerance-time.Second)+"."+body), "X-Time", stamp(-tolerance-time.Second)), bridge.ErrForged},
		"from the future":      {timed, set("X-Sig", "v1="+mac(stamp(tolerance+time.Second)+"."+body), "X-Time", stamp(tolerance+time.Second)), bridge.ErrForged},
		"another time":         {timed, set("X-Sig", "v1="+mac(stamp(0)+"."+body), "X-Time", stamp(time.Second)), bridge.ErrForged},
		"a time beyond all":    {timed, set("X-Sig", "v1="+mac("9223372036854775807."+body), "X-Time", "9223372036854775807"), bridge.ErrForged},
		"no time":              {timed, set("X-Sig", "v1="+mac("."+body)), bridge.ErrForged},
		"base64 where hex was": {"webhook: {signature: {header: X-Sig, encoding: base64}}", set("X-Sig", mac(body)), bridge.ErrForged},
	} {
		d := newTenant(t, c.file, func(c *Config) {
			c.SignatureSecret, c.now = signatureSecret, func() time.Time { return now }
		})
		if _, err := d.arrives(hookPath(hookSecret, eventConversation), body, c.header); !errors.Is(err, c.want) {
			t.Errorf("%s: %v, want %v", name, err, c.want)
		}
		// Without the path's secret, a signature opens nothing.
		if _, err := d.arrives(hookPath(oldSecret, eventConversation), body, c.header); !errors.Is(err, bridge.ErrNoRoute) {
			t.Errorf("%s, and a wrong secret: %v", name, err)
		}
	}
}

func TestAddressesAreLookedAtBehindTrustedProxiesOnly(t *testing.T) {
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
		{"198.51.100.1:1", "", bridge.ErrForged},
		{"198.51.100.1:1", "192.0.2.7", bridge.ErrForged}, // a stranger's word
		{"10.0.0.1:1", "192.0.2.7", nil},
		{"10.0.0.1:1", "198.51.100.1, 192.0.2.7", nil},
		{"10.0.0.1:1", "192.0.2.7, 198.51.100.1", bridge.ErrForged},
		{"10.0.0.1:1", "192.0.2.7, 10.0.0.2", nil},
		{"10.0.0.1:1", "", bridge.ErrForged},
		{"10.0.0.1:1", "192.0.2.7, what", bridge.ErrForged},
		{"", "", bridge.ErrForged},
	} {
		_, err := d.arrives(hookPath(hookSecret, eventStatus), recorded(t, "text"), func(r *http.Request) {
			r.RemoteAddr = c.from
			if c.forwarded != "" {
				r.Header.Set("X-Forwarded-For", c.forwarded)
			}
		})
		if !errors.Is(err, c.want) {
			t.Errorf("from %q for %q: %v, want %v", c.from, c.forwarded, err, c.want)
		}
	}
}

func TestEqualEventsAreOneForAMoment(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	d := newTenant(t, "", func(c *Config) { c.now = func() time.Time { return now } })
	key := func(event, body string, later time.Duration) string {
		before := now
		now = now.Add(later)
		r, err := d.comes(event, body)
		now = before
		if err != nil || r.Key == "" {
			t.Fatalf("%s: %+v, %v", body, r, err)
		}
		return r.Key
	}
	text, done, message := recorded(t, "text"), recorded(t, "done"), recorded(t, "message")
	first := key(eventConversation, text, 0)
	for name, c := range map[string]struct {
		got  string
		same bool
	}{
		"a repeat":                   {key(eventConversation, text, glance-time.Nanosecond), true},
		"a repeat in other bytes":    {key(eventConversation, " "+text+"\n", 0), true},
		"the same much later":        {key(eventConversation, text, glance), false},
		"the same as another event":  {key(eventStatus, text, 0), false},
		"another customer":           {key(eventConversation, strings.Replace(text, "c-1", "c-2", 1), 0), false},
		"another status":             {key(eventConversation, strings.Replace(text, "UNREAD", "OPEN", 1), 0), false},
		"another text":               {key(eventConversation, strings.Replace(text, "4821", "hello", 1), 0), false},
		"another link, as of a time": {key(eventConversation, strings.Replace(text, `"url":"`, `"url":"x`, 1), 0), true},
	} {
		if (c.got == first) != c.same {
			t.Errorf("%s is the same event: %v, want %v", name, !c.same, c.same)
		}
	}
	// A conversation that is done, taken up and done again says the same twice, and
	// soon: the customer says thanks.
	if key(eventStatus, done, 0) == key(eventStatus, done, 5*time.Second) {
		t.Error("the second end would be lost")
	}
	// What is written after the end of a conversation begins another.
	if key(eventMessage, message, 0) != key(eventMessage, message, time.Second) {
		t.Error("a repeated message is another event")
	}
	if key(eventMessage, message, 0) == key(eventMessage, strings.Replace(message, "hello", "and more", 1), time.Second) {
		t.Error("a second message would be lost")
	}
	if key(eventMessage, message, 0) == key(eventMessage, recorded(t, "message-code"), 0) {
		t.Error("a code would be lost")
	}
}

func TestADeliveryIDDecidesWhereThereIsOne(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	d := newTenant(t, "webhook: {delivery_header: X-Delivery, mapping: {status-change: {delivery_id: id, occurred_at: at}}}",
		func(c *Config) { c.now = func() time.Time { return now } })
	key := func(body, header string) string {
		r, err := d.arrives(hookPath(hookSecret, eventStatus), body, func(r *http.Request) {
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
		t.Error("another id, or that of the header, does not count")
	}
	at := key(fmt.Sprintf(plain, "", "2026-11-21T10:00:00+01:00"), "")
	now = now.Add(time.Hour)
	if key(fmt.Sprintf(plain, "", "2026-11-21T09:00:00Z"), "") != at || key(fmt.Sprintf(plain, "", "1795255200"), "") == at {
		t.Error("the time of the event does not count")
	}
}

func FuzzAccept(f *testing.F) {
	for _, name := range []string{"text", "test", "no-last-message", "unknown-status", "number", "in-a-list", "done", "message-code", "several"} {
		f.Add(eventConversation, []byte(recorded(f, name)))
	}
	f.Add(eventStatus, []byte(`{"customerId":"c-1","status":"DONE","status":"UNREAD"}`))
	f.Add(eventAuto, []byte(`[{"customerId":1e400},{"customerId":"\ud800","text":"1234"}]`))
	rules, err := ParseRules("", []byte("show_agent_url: true\nwebhook: {mapping: {new-conversation: {conversation_id: a.b}, status-change: {conversation_id: a.b}, new-message: {conversation_id: a.b}}}"))
	if err != nil {
		f.Fatal(err)
	}
	c, err := newConnector(Config{Name: "chatvisor", Token: apiToken, Secrets: []string{hookSecret}, Rules: rules,
		now: func() time.Time { return time.Unix(1, 0) }})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, event string, body []byte) {
		r := httptest.NewRequest(http.MethodPost, "/hooks", nil)
		r.URL.Path = hookPath(hookSecret, event)
		got, err := c.accept(r, body)
		if err != nil {
			if !errors.Is(err, bridge.ErrNoRoute) {
				t.Fatalf("%v", err)
			}
			return
		}
		again, _ := c.accept(r, body)
		if again.Key != got.Key || !bytes.Equal(again.Body, got.Body) || string(got.Answer) != "{}" {
			t.Fatal("the same bytes mean something else the second time")
		}
		if strings.ContainsAny(got.Key+got.Note, "\r\n\x00") || len(got.Note) > 8000 {
			t.Fatalf("key %q, note %q", got.Key, got.Note)
		}
		if got.Key == "" {
			return
		}
		var first kept
		if err := json.Unmarshal(got.Body, &first); err != nil {
			t.Fatalf("kept %q", got.Body)
		}
		all := first.List
		if len(all) == 0 {
			all = []kept{first}
		}
		for _, change := range got.Changes {
			if !change.Closed || change.Agent != "" || !slices.ContainsFunc(all, func(k kept) bool { return k.Done && k.chat() == change.Chat }) {
				t.Fatalf("changes %+v", got.Changes)
			}
		}
		for _, k := range all {
			// What is kept is ids and a code, or an address of the vendor's, and
			// whatever its words are, they were in the body.
			if k.Misfit != "" && k.Customer == "" {
				continue
			}
			if !plausible(k.Customer) || k.Conversation != "" && !plausible(k.Conversation) ||
				k.Code != "" && (len(k.Code) != 4 || strings.Trim(k.Code, "0123456789") != "") ||
				k.URL != "" && !strings.HasPrefix(k.URL, "https://app.chatvisor.com") && !strings.HasPrefix(k.URL, "https://engage.teamviewer.com") &&
					!strings.HasPrefix(strings.ToLower(k.URL), "https://") {
				t.Fatalf("kept %+v", k)
			}
			if _, err := c.read(t.Context(), bridge.Delivery{Body: mustJSON(kept{Event: k.Event, Customer: k.Customer, Done: k.Done, Code: k.Code})}); err != nil {
				t.Fatalf("what was kept cannot be read: %v", err)
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
