package rocketchat

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

const commandToken = "command-token-Ier5aiwo"

// commandDesk is a desk with a private channel for the command, and a bridge that collects
// the receipts of deliveries.
type commandDesk struct {
	*desk
	channel  string
	address  string
	client   *http.Client
	receipts *[]chat.Receipt
}

func newCommandDesk(t *testing.T, change ...func(*Config)) commandDesk {
	t.Helper()
	d := newDesk(t, append([]func(*Config){func(c *Config) {
		c.Command = Command{Token: secret.New(commandToken), Channels: []string{"#cobrowse-desk"}}
	}}, change...)...)
	d.Command = rocketchattest.Integration{Token: commandToken, Word: "!cobrowse"}
	receipts := new([]chat.Receipt)
	front := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		receipt, err := d.Accept(r, body)
		if err != nil {
			w.WriteHeader(http.StatusUnauthorized)
			return
		}
		*receipts = append(*receipts, receipt)
		w.Header().Set("Content-Type", receipt.AnswerType)
		w.Write(receipt.Answer)
	})
	return commandDesk{
		desk: d, channel: d.AddChannel("cobrowse-desk", "bob", "eve"),
		address: "https://bridge.example.org/hooks/rocketchat/command",
		client:  &http.Client{Transport: inMemory(front)}, receipts: receipts,
	}
}

// command writes a message as a user and returns the receipt of the delivery.
func (d commandDesk) command(t *testing.T, room, username, text string) chat.Receipt {
	t.Helper()
	if err := d.RunCommand(t.Context(), d.client, d.address, room, username, text); err != nil {
		t.Fatalf("%q by %s: %v", text, username, err)
	}
	return (*d.receipts)[len(*d.receipts)-1]
}

func (d commandDesk) read(t *testing.T, r chat.Receipt) (chat.Ask, error) {
	t.Helper()
	if r.Key == "" {
		t.Fatalf("the command was ignored: %q", r.Note)
	}
	return d.Read(t.Context(), chat.Delivery{Key: r.Key, Body: r.Body})
}

func TestAnAgentLooksAVisitorUpByACommand(t *testing.T) {
	t.Parallel()
	d := newCommandDesk(t)
	for text, want := range map[string]chat.Ask{
		"!cobrowse 4821":                  {Verb: chat.LookUp, Clues: chat.Clues{LookupCode: "4821"}},
		"!cobrowse   0007 ":               {Verb: chat.LookUp, Clues: chat.Clues{LookupCode: "0007"}},
		"!cobrowse\n4821":                 {Verb: chat.LookUp, Clues: chat.Clues{LookupCode: "4821"}},
		"!cobrowse rocketchat:" + testKey: {Verb: chat.LookUp, Clues: chat.Clues{IntegrationIDs: []string{"rocketchat:" + testKey}}},
		"!cobrowse crm:4711":              {Verb: chat.LookUp, Clues: chat.Clues{IntegrationIDs: []string{"crm:4711"}}},
		"!cobrowse crm:ann@example.org":   {Verb: chat.LookUp, Clues: chat.Clues{IntegrationIDs: []string{"crm:ann@example.org"}}},
		"!cobrowse o'brien@example.org":   {Verb: chat.LookUp, Clues: chat.Clues{Email: "o'brien@example.org"}},
		"!cobrowse code 4821, please":     {Verb: chat.LookUp, Clues: chat.Clues{LookupCode: "4821"}},
		"!cobrowse #4821.":                {Verb: chat.LookUp, Clues: chat.Clues{LookupCode: "4821"}},
		"!cobrowse ４８２１":                  {Verb: chat.LookUp, Clues: chat.Clues{LookupCode: "4821"}},
		"!cobrowse ٤٨٢١":                  {Verb: chat.LookUp, Clues: chat.Clues{LookupCode: "4821"}},
		"!cobrowse":                       {Verb: chat.Help},
		"!cobrowse help":                  {Verb: chat.Help},
		"!cobrowse Help":                  {Verb: chat.Help},
		"!cobrowse 482":                   {Verb: chat.Help, Unclear: chat.UnclearText},
		"!cobrowse 48215":                 {Verb: chat.Help, Unclear: chat.UnclearText},
		"!cobrowse 4821 4822":             {Verb: chat.Help, Unclear: chat.UnclearSeveral},
		"!cobrowse jörg@example.org":      {Verb: chat.Help, Unclear: chat.UnclearLetters},
		"!cobrowse https://evil.example/": {Verb: chat.Help, Unclear: chat.UnclearText},
		"!cobrowse all:true&x=1":          {Verb: chat.Help, Unclear: chat.UnclearText},
		"!cobrowse #tag":                  {Verb: chat.Help, Unclear: chat.UnclearText},
	} {
		ask, err := d.read(t, d.command(t, d.channel, "bob", text))
		if err != nil || ask.Verb != want.Verb || ask.Clues.LookupCode != want.Clues.LookupCode || ask.Clues.Email != want.Clues.Email || ask.Unclear != want.Unclear ||
			!slices.Equal(ask.Clues.IntegrationIDs, want.Clues.IntegrationIDs) {
			t.Errorf("%q: %+v, %v", text, ask, err)
		}
		if ask.Agent != (chat.Agent{ID: "a1", Name: "Bob Baker"}) || ask.Place.Address != "bob" ||
			ask.Chat == "" || ask.Example != "!cobrowse 4821" || ask.ChatURL != "" || ask.Visitor != "" {
			t.Errorf("%q: %+v", text, ask)
		}
	}
	// The agent is the same as when they serve a chat.
	d.Take(d.chat, "bob")
	if ask := d.mustAsk(t, typeTaken); ask.Agent != (chat.Agent{ID: "a1", Name: "Bob Baker"}) || ask.Place.Address != "bob" {
		t.Errorf("in a chat: %+v", ask)
	}
}

func TestTheCommandTypedInALivechatRoomByMistakeLeadsToNoPostInThatRoom(t *testing.T) {
	t.Parallel()
	for name, channels := range map[string][]string{
		"the channel is listed":        {"cobrowse-desk"},
		"the operator listed the room": {"cobrowse-desk", "room00000000000001"},
	} {
		for _, version := range []string{"7.0", "9.0"} {
			d := newCommandDesk(t, func(c *Config) { c.Command.Channels = channels }) // its workspace fails the test at any write aimed at the chat
			d.Version = version
			d.Take(d.chat, "bob")
			card := exampleCard()
			for _, text := range []string{"!cobrowse 4821", "!cobrowse help", "!cobrowse rocketchat:" + testKey} {
				r := d.command(t, d.chat, "bob", text)
				if string(r.Answer) != "{}" || r.AnswerType != "application/json" {
					t.Errorf("%s: answered %q as %q", name, r.Answer, r.AnswerType)
				}
				if r.Key == "" {
					if len(channels) > 1 || !strings.Contains(r.Note, "ROCKETCHAT_COMMAND_CHANNELS") {
						t.Errorf("%s: ignored with the note %q", name, r.Note)
					}
					continue
				}
				ask, err := d.read(t, r)
				if err != nil {
					t.Fatal(err)
				}
				card.ID = ask.Chat
				card.Ref = d.show(t, ask.Place.Address, card)
				d.show(t, ask.Place.Address, card)
			}
			if shown := len(d.Posts("bob")); (shown > 0) != (len(channels) > 1) {
				t.Errorf("%s: %d direct messages", name, shown)
			}
			// The visitor sees only what the agent typed.
			if got := d.VisitorReads(d.chat); len(got) != 3 || slices.ContainsFunc(got, func(s string) bool { return !strings.HasPrefix(s, "!cobrowse") }) {
				t.Errorf("%s: the visitor reads %q", name, got)
			}
			if v := d.Violations(); v != nil {
				t.Errorf("%s: %q", name, v)
			}
			for _, r := range d.Requests() {
				if r.Method != http.MethodGet && (strings.Contains(r.Body, `"`+d.chat+`"`) || strings.Contains(r.Query, d.chat)) {
					t.Errorf("%s: %s %s %s", name, r.Method, r.Path, r.Body)
				}
			}
		}
	}
}

func TestACommandOutsideItsChannelsIsIgnored(t *testing.T) {
	t.Parallel()
	d := newCommandDesk(t)
	lobby := d.AddChannel("lobby", "bob")
	r := d.command(t, lobby, "bob", "!cobrowse 4821")
	if r.Key != "" || r.Body != nil || !strings.Contains(r.Note, "lobby") || !strings.Contains(r.Note, lobby) || strings.Contains(r.Note, "4821") {
		t.Errorf("%+v", r)
	}
	if len(d.Requests()) != 0 || len(d.Posts("bob")) != 0 {
		t.Errorf("asked %v, posted %v", d.routes(0), d.Posts("bob"))
	}
	// A channel may be listed by its id or by its name.
	byID := newCommandDesk(t, func(c *Config) { c.Command.Channels = []string{"group00000000000002"} })
	if r := byID.command(t, byID.channel, "bob", "!cobrowse 4821"); r.Key == "" {
		t.Errorf("channel %s: %+v", byID.channel, r)
	}
}

// invoked is a genuine body with some keys changed; a nil value removes the key.
func invoked(t testing.TB, change map[string]any) []byte {
	t.Helper()
	m := map[string]any{
		"token": commandToken, "bot": false, "trigger_word": "!cobrowse", "channel_id": "g1", "channel_name": "cobrowse-desk",
		"timestamp": "2026-11-20T10:00:00.000Z", "user_id": "a1", "user_name": "bob", "text": "!cobrowse 4821",
		"siteUrl": "https://chat.example.org", "message_id": "m1",
	}
	for k, v := range change {
		if m[k] = v; v == nil {
			delete(m, k)
		}
	}
	body, err := json.Marshal(m)
	if err != nil {
		t.Fatal(err)
	}
	return body
}

func (d commandDesk) accepted(body []byte) (chat.Receipt, error) {
	return d.Accept(httptest.NewRequest(http.MethodPost, "/hooks/rocketchat/command", nil), body)
}

func TestAForgedCommandIsRefused(t *testing.T) {
	t.Parallel()
	d := newCommandDesk(t)
	if r, err := d.accepted(invoked(t, nil)); err != nil || r.Key == "" {
		t.Fatalf("the genuine one: %+v, %v", r, err)
	}
	for name, body := range map[string][]byte{
		"no token":            invoked(t, map[string]any{"token": nil}),
		"an empty token":      invoked(t, map[string]any{"token": ""}),
		"a longer token":      invoked(t, map[string]any{"token": commandToken + "0"}),
		"a shorter token":     invoked(t, map[string]any{"token": commandToken[:10]}),
		"a list of tokens":    invoked(t, map[string]any{"token": []string{commandToken}}),
		"true":                invoked(t, map[string]any{"token": true}),
		"the webhook's":       invoked(t, map[string]any{"token": testSecret}),
		"an event":            recorded(t, "taken"),
		"nothing":             nil,
		"not JSON":            []byte("token=" + commandToken),
		"half of the body":    invoked(t, nil)[:80],
		"a long body":         invoked(t, map[string]any{"text": "!cobrowse " + strings.Repeat("x", maxCommand)}),
		"the token elsewhere": []byte(fmt.Sprintf(`{"data":{"token":%q}}`, commandToken)),
	} {
		r, err := d.accepted(body)
		if !errors.Is(err, chat.ErrForged) || r.Answer != nil || r.Note != "" {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
	}
	// The command's token is not accepted for the webhook.
	h := http.Header{}
	h.Set(tokenHeader, commandToken)
	if _, err := d.receipt(t, recorded(t, "taken"), h); !errors.Is(err, chat.ErrForged) {
		t.Errorf("the command's token as the webhook's: %v", err)
	}
}

func TestMessagesThatAreNoCommandOfAPersonAreIgnored(t *testing.T) {
	t.Parallel()
	d := newCommandDesk(t)
	for name, c := range map[string]struct {
		change map[string]any
		note   string
	}{
		"a bot":                      {map[string]any{"bot": map[string]any{"i": "x"}}, "bot"},
		"bot is not given":           {map[string]any{"bot": nil}, "bot"},
		"the bridge's own poster":    {map[string]any{"user_id": "posterId"}, "bot"},
		"the bridge's own reader":    {map[string]any{"user_id": "readerId"}, "bot"},
		"an edit":                    {map[string]any{"isEdited": true}, ""},
		"a longer word":              {map[string]any{"text": "!cobrowsers 4821"}, ""},
		"the word further in":        {map[string]any{"text": "try !cobrowse 4821"}, ""},
		"no text":                    {map[string]any{"text": nil}, ""},
		"small talk without trigger": {map[string]any{"trigger_word": nil, "text": "room 4821"}, ""},
		"another bot's command":      {map[string]any{"trigger_word": nil, "text": "!deploy production"}, ""},
		"another channel":            {map[string]any{"channel_name": "lobby"}, "COMMAND_CHANNELS"},
		"no channel":                 {map[string]any{"channel_name": nil, "channel_id": nil}, "COMMAND_CHANNELS"},
		"no message id":              {map[string]any{"message_id": nil}, "valid ids"},
		"a message id of lines":      {map[string]any{"message_id": "a\nb"}, "valid ids"},
		"no user":                    {map[string]any{"user_id": ""}, "valid ids"},
	} {
		r, err := d.accepted(invoked(t, c.change))
		if err != nil || r.Key != "" || r.Body != nil || string(r.Answer) != "{}" || r.AnswerType != "application/json" {
			t.Errorf("%s: %+v, %v", name, r, err)
		}
		if !strings.Contains(r.Note, c.note) || c.note == "" && r.Note != "" {
			t.Errorf("%s: note %q, want one about %q", name, r.Note, c.note)
		}
	}
}

func TestOneMessageIsOneCommand(t *testing.T) {
	t.Parallel()
	d := newCommandDesk(t)
	key := func(change map[string]any) string {
		r, err := d.accepted(invoked(t, change))
		if err != nil || r.Key == "" {
			t.Fatalf("%v: %+v, %v", change, r, err)
		}
		return r.Key
	}
	first := key(nil)
	for _, same := range []map[string]any{{"timestamp": "later"}, {"user_name": "robert"}, {"text": "!cobrowse 4822"}} {
		if key(same) != first {
			t.Errorf("with %v it is another command", same)
		}
	}
	for _, other := range []map[string]any{{"message_id": "m2"}, {"user_id": "a2"}} {
		if key(other) == first {
			t.Errorf("with %v it is the same command", other)
		}
	}
}

func TestWithoutATokenThereIsNoCommand(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, body := range [][]byte{invoked(t, nil), invoked(t, map[string]any{"token": ""}), recorded(t, "taken")} {
		req := httptest.NewRequest(http.MethodPost, "/hooks/rocketchat/command", nil)
		req.Header = genuine()
		if _, err := d.Accept(req, body); !errors.Is(err, chat.ErrNoRoute) {
			t.Errorf("got %v", err)
		}
	}
}

func TestACommandOfAnAccountThatIsNotAnActivePersonsIsRefused(t *testing.T) {
	t.Parallel()
	agent := func(u rocketchattest.User) func(*desk) {
		return func(d *desk) { d.AddUser(u) }
	}
	for name, spoil := range map[string]func(*desk){
		"a closed account":          agent(rocketchattest.User{ID: "a1", Username: "bob", Inactive: true}),
		"a bot":                     agent(rocketchattest.User{ID: "a1", Username: "bob", Type: "bot"}),
		"an app":                    agent(rocketchattest.User{ID: "a1", Username: "bob", Type: "app"}),
		"an unreachable name":       agent(rocketchattest.User{ID: "a1", Username: "bob,eve"}),
		"an account without a type": func(d *desk) { d.answerUser(`{"_id":"a1","username":"bob","active":true}`) },
		"an account that may be closed": func(d *desk) {
			d.answerUser(`{"_id":"a1","username":"bob","type":"user"}`)
		},
		"a user who was deleted": func(d *desk) {
			d.Fail("users.info", rocketchattest.Fault{Status: 400, Body: `{"success":false,"error":"User not found."}`}, 1)
		},
	} {
		d := newCommandDesk(t)
		r := d.command(t, d.channel, "bob", "!cobrowse 4821")
		spoil(d.desk)
		ask, err := d.read(t, r)
		if err != nil || ask.Verb != chat.Nothing {
			t.Errorf("%s: %+v, %v", name, ask, err)
		}
		if !strings.Contains(d.log.String(), "command refused") {
			t.Errorf("%s: the log is %q", name, d.log)
		}
		if len(d.Posts("bob")) > 0 {
			t.Errorf("%s: the agent got %v", name, d.Posts("bob"))
		}
	}
}

func (d *desk) answerUser(user string) {
	d.Fail("users.info", rocketchattest.Fault{Status: 200, Body: `{"success":true,"user":` + user + `}`}, 1)
}

func TestACommandIsRetriedIfItsUserCannotBeRead(t *testing.T) {
	t.Parallel()
	for status, want := range map[int]string{500: "retry", 401: "retry", 403: "retry", 404: "retry", 429: "wait", 418: "retry", 415: "permanent"} {
		d := newCommandDesk(t)
		r := d.command(t, d.channel, "bob", "!cobrowse 4821")
		d.Fail("users.info", rocketchattest.Fault{Status: status, Body: "<html>"}, 1)
		ask, err := d.read(t, r)
		got := "retry"
		if _, ok := chat.RetryWait(err); ok {
			got = "wait"
		} else if chat.IsPermanent(err) {
			got = "permanent"
		}
		if err == nil || got != want || ask.Verb != chat.Nothing {
			t.Errorf("%d: %s, want %s: %+v, %v", status, got, want, ask, err)
		}
	}
	d := newCommandDesk(t)
	r := d.command(t, d.channel, "bob", "!cobrowse 4821")
	d.answerUser(`{"_id":"a2","username":"eve","type":"user","active":true}`)
	if ask, err := d.read(t, r); err == nil {
		t.Errorf("an answer about another user: %+v", ask)
	}
}
