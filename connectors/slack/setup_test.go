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

	"go.uber.org/goleak"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/slack/slacktest"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files anew")

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	testSecret = "8f742231b10e8888abcd99yyyzzz85a5"
	oldSecret  = "0e8888abcd99yyyzzz85a58f742231b1"
	testBot    = "xoxb-1111-2222-ieth8Ohm9aish0Ie"
	testApp    = "xapp-1-A0BRIDGE-3333-eeDie0wahGhei5Oo"
	testDoor   = "https://bridge.example.org/w/4kqRs7kaeW1Aephei7naiDooqu9Oe4xieph1ieg3ahKu5Chee"
)

// workspace has two members, a guest, a bot, a closed account and somebody of
// another company.
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
	return Config{Name: "slack", Secrets: []string{testSecret}, BotToken: testBot}
}

// A desk is a workspace and the connector to it, joined without a network, so that
// they work in virtual time too.
type desk struct {
	*slacktest.Workspace
	bridge.Connector
	log *lockedBuffer
}

// Channel is the workspace's.
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

// another is the connector in another process, which knows nothing of the first.
func (d *desk) another(t *testing.T) bridge.Connector {
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

// clean fails if text holds anything that no text may hold.
func clean(t *testing.T, where, text string) {
	t.Helper()
	for _, s := range []string{testSecret, oldSecret, testBot, testApp, "hooks.slack.com", "tohw4oGhaekoor1O", "/w/"} {
		if strings.Contains(text, s) {
			t.Errorf("%s holds %q: %s", where, s, text)
		}
	}
}

// handlerTransport calls a handler as if over the network.
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

// receive is Accept over a request as Slack sends it now.
func (d *desk) receive(body []byte) (bridge.Receipt, error) {
	return d.receiveWith(body, d.Sign(body))
}

func (d *desk) receiveWith(body []byte, header http.Header) (bridge.Receipt, error) {
	r := httptest.NewRequest(http.MethodPost, "/hooks/slack", bytes.NewReader(body))
	r.Header = header
	return d.Accept(r, body)
}

// ask takes a body all the way through Read.
func (d *desk) ask(t *testing.T, body []byte) (bridge.Ask, error) {
	t.Helper()
	r, err := d.receive(body)
	if err != nil || r.Key == "" {
		t.Fatalf("it was not taken: %+v, %v", r, err)
	}
	if r.Answer != nil {
		t.Errorf("it was answered %q", r.Answer)
	}
	return d.Read(t.Context(), bridge.Delivery{Key: r.Key, Body: r.Body, Received: time.Now()})
}

func (d *desk) mustAsk(t *testing.T, body []byte) bridge.Ask {
	t.Helper()
	a, err := d.ask(t, body)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func (d *desk) show(t *testing.T, address string, c bridge.Card) bridge.Ref {
	t.Helper()
	ref, err := d.Show(t.Context(), bridge.Place{Connector: "slack", Address: address}, c)
	if err != nil {
		t.Fatalf("Show at %.20s: %v", address, err)
	}
	return ref
}

// methods are those of the requests that came since the first from ones.
func (d *desk) methods(from int) (list []string) {
	for _, r := range d.Requests()[from:] {
		list = append(list, r.Method)
	}
	return list
}

func exampleCard() bridge.Card {
	return bridge.Card{
		ID:     "0197f3b2-c1d4-7000-8000-000000000001",
		Title:  "Co-browse with Ann",
		Lines:  []bridge.Line{{Label: "Page", Text: "Basket"}, {Label: "From", Text: "Berlin, Germany · Firefox"}},
		Button: bridge.Link{Label: "Co-browse", Address: testDoor},
	}
}

// sharedCard is what the engine shows where several people see it.
func sharedCard() bridge.Card {
	c := exampleCard()
	c.Button.Address = ""
	return c
}

// publicCard is what the engine shows where agents sign in.
func publicCard() bridge.Card {
	c := exampleCard()
	c.Public = true
	c.More = []bridge.Link{{Label: "Stop", Address: testDoor + "?stop"}}
	c.Chat = bridge.Link{Label: "Open the chat", Address: "https://chat.example.org/live/ann"}
	return c
}
