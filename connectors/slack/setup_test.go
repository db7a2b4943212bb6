package slack

import (
	"bytes"
	"flag"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/connectors/slack/slacktest"

	"go.uber.org/goleak"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files again")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testSecret = "8f742231b10e8888abcd99yyyzzz85a5"
	oldSecret  = "0e8888abcd99yyyzzz85a58f742231b1"
	testBot    = "xoxb-1111-2222-ieth8Ohm9aish0Ie"
	testApp    = "xapp-1-A0BRIDGE-3333-eeDie0wahGhei5Oo"
	testDoor   = "https://bridge.example.org/w/4kqRs7kaeW1Aephei7naiDooqu9Oe4xieph1ieg3ahKu5Chee"
)

// workspace has two members, a guest, a bot, a closed account and people of other companies.
func workspace(report func(string, ...any)) *slacktest.Workspace {
	w := slacktest.New(report)
	w.Secret, w.BotToken, w.AppToken = testSecret, testBot, testApp
	w.AddUser(slacktest.User{ID: "U1", Name: "bob", RealName: "Bob Baker"})
	w.AddUser(slacktest.User{ID: "U2", Name: "eve", RealName: "Eve Evans", DisplayName: "Eve"})
	w.AddUser(slacktest.User{ID: "U3GUEST", Name: "gus", RealName: "Gus Guest", Guest: true})
	w.AddUser(slacktest.User{ID: "U4BOT", Name: "robot", Bot: true})
	w.AddUser(slacktest.User{ID: "U5GONE", Name: "gone", Deleted: true})
	w.AddUser(slacktest.User{ID: "U6OTHER", Name: "carl", RealName: "Carl Customer", Team: "T9OTHER"})
	w.AddUser(slacktest.User{ID: "U7STRANGE", Name: "strange", Stranger: true})
	everybody := []string{"U1", "U2", "U3GUEST", "U6OTHER", w.BotUser}
	w.AddChannel(slacktest.Channel{ID: "C1", Name: "support", Members: everybody})
	w.AddChannel(slacktest.Channel{ID: "C2", Name: "private", Private: true, Members: []string{"U1"}})
	w.AddChannel(slacktest.Channel{ID: "C3", Name: "shared-with-carl", Members: everybody, ExtShared: true})
	return w
}

func config() Config {
	return Config{Name: "slack", Secrets: secret.All(testSecret), BotToken: secret.New(testBot)}
}

// A desk is a workspace and the connector to it, connected without a network, so that they
// also work in simulated time.
type desk struct {
	*slacktest.Workspace
	chat.Connector
	log *lockedBuffer
}

// Channel is the workspace's Channel.
func (d *desk) Channel(id string) []slacktest.Post { return d.Workspace.Channel(id) }

func newDesk(t *testing.T, change ...func(*Config)) *desk {
	t.Helper()
	d := &desk{Workspace: workspace(t.Errorf), log: new(lockedBuffer)}
	c := config()
	c.Transport = inMemory(d.Workspace)
	c.Log = slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	for _, f := range change {
		f(&c)
	}
	var err error
	if d.Connector, err = New(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { clean(t, "the log", d.log.String()) })
	return d
}

// another returns a second connector, with empty caches, as in another process.
func (d *desk) another(t *testing.T) chat.Connector {
	t.Helper()
	c := config()
	c.Transport = inMemory(d.Workspace)
	other, err := New(c)
	if err != nil {
		t.Fatal(err)
	}
	return other
}

type lockedBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *lockedBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.Write(p)
}

func (l *lockedBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

// clean fails if text contains a secret or a link of a card.
func clean(t *testing.T, where, text string) {
	t.Helper()
	for _, s := range []string{testSecret, oldSecret, testBot, testApp, "hooks.slack.com", "tohw4oGhaekoor1O", "/w/"} {
		if strings.Contains(text, s) {
			t.Errorf("%s contains %q: %s", where, s, text)
		}
	}
}

// A handlerTransport calls a handler instead of a server.
type handlerTransport struct{ http.Handler }

func inMemory(h http.Handler) http.RoundTripper { return handlerTransport{h} }

func (h handlerTransport) RoundTrip(req *http.Request) (*http.Response, error) {
	in := req.Clone(req.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	h.ServeHTTP(rec, in)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	resp := rec.Result()
	resp.Request = req
	return resp, nil
}

// receive signs a body as Slack does and returns what Accept makes of it.
func (d *desk) receive(body []byte) (chat.Receipt, error) {
	return d.receiveWith(body, d.Sign(body))
}

func (d *desk) receiveWith(body []byte, header http.Header) (chat.Receipt, error) {
	r := httptest.NewRequest(http.MethodPost, "/hooks/slack", bytes.NewReader(body))
	r.Header = header
	return d.Accept(r, body)
}

// ask returns what Read makes of a request with this body.
func (d *desk) ask(t *testing.T, body []byte) (chat.Ask, error) {
	t.Helper()
	r, err := d.receive(body)
	if err != nil || r.Key == "" {
		t.Fatalf("it was not accepted: %+v, %v", r, err)
	}
	if r.Answer != nil {
		t.Errorf("it was answered %q", r.Answer)
	}
	return d.Read(t.Context(), chat.Delivery{Key: r.Key, Body: r.Body, Received: time.Now()})
}

func (d *desk) mustAsk(t *testing.T, body []byte) chat.Ask {
	t.Helper()
	a, err := d.ask(t, body)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (d *desk) show(t *testing.T, address string, c chat.Card) chat.Ref {
	t.Helper()
	ref, err := d.Show(t.Context(), chat.Place{Connector: "slack", Address: address}, c)
	if err != nil {
		t.Fatalf("Show at %.20s: %v", address, err)
	}
	return ref
}

// methods returns the methods of the requests that Slack got, without the first from.
func (d *desk) methods(from int) (list []string) {
	for _, r := range d.Requests()[from:] {
		list = append(list, r.Method)
	}
	return list
}

func exampleCard() chat.Card {
	return chat.Card{
		ID:     "0197f3b2-c1d4-7000-8000-000000000001",
		Title:  "Co-browse with Ann",
		Lines:  []chat.Line{{Label: "Page", Text: "Basket"}, {Label: "From", Text: "Berlin, Germany · Firefox"}},
		Button: chat.Link{Label: "Co-browse", Address: testDoor},
	}
}

// sharedCard is a card as the bridge makes it for a place that several people see.
func sharedCard() chat.Card {
	c := exampleCard()
	c.Button.Address = ""
	return c
}

// publicCard is a card as the bridge makes it if agents sign in.
func publicCard() chat.Card {
	c := exampleCard()
	c.Public = true
	c.More = []chat.Link{{Label: "End session", Address: testDoor + "?stop"}}
	c.Chat = chat.Link{Label: "Open the chat", Address: "https://chat.example.org/live/ann"}
	return c
}
