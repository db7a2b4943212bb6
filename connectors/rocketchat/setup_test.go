package rocketchat

import (
	"bytes"
	"context"
	"flag"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/browsertest"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"

	"go.uber.org/goleak"
)

var rewrite = flag.Bool("rewrite", false, "write the golden files again")

func TestMain(m *testing.M) { goleak.VerifyTestMain(browsertest.Main{M: m}) }

const (
	testSecret   = "webhook-secret-Uy8ohs0e"
	readerToken  = "reader-token-aeGh7Iel"
	posterToken  = "poster-token-oRe4ahx9"
	visitorToken = "visitor-token-9f2c77aa01"
	testKey      = "7b0c0d5e-9a51-4f0e-8a3f-2d9f1c6b1a77"
)

// desk is a workspace with two agents and one open chat, and the connector.
type desk struct {
	*rocketchattest.Workspace
	chat.Connector
	chat string
	log  *bytes.Buffer
}

// Forward is the Forward of the workspace, which hands a chat over, not the connector's.
func (d *desk) Forward(room, username string) { d.Workspace.Forward(room, username) }

func workspace(report func(string, ...any)) (*rocketchattest.Workspace, string) {
	w := rocketchattest.New(report)
	w.Prefix = "/chat"
	w.Secret = testSecret
	w.AddUser(rocketchattest.User{ID: "readerId", Username: "cobrowse.reader", Token: readerToken, Roles: []string{"bot", "livechat-monitor"}})
	w.AddUser(rocketchattest.User{ID: "posterId", Username: "cobrowse", Token: posterToken, Roles: []string{"bot"}})
	w.AddUser(rocketchattest.User{ID: "a1", Username: "bob", Name: "Bob Baker", Email: "bob@example.org", Roles: []string{"user", "livechat-agent"}})
	w.AddUser(rocketchattest.User{ID: "a2", Username: "eve", Name: "Eve Evans", Roles: []string{"user", "livechat-agent"}})
	w.AddField("upscope_key", "visitor")
	w.AddField("upscope_code", "visitor")
	return w, w.StartChat(rocketchattest.Visitor{
		ID: "v1", Username: "guest-7", Name: "Ann", Token: visitorToken, Email: "ann@example.org",
		Fields: map[string]string{"upscope_key": testKey},
	})
}

func config(t *testing.T, base string) Config {
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	return Config{
		Name: "rocketchat", URL: u, Secrets: secret.All(testSecret),
		Reader: Credential{"readerId", secret.New(readerToken)}, Poster: Credential{"posterId", secret.New(posterToken)},
	}
}

// newDesk connects both without a network, so that it also works in simulated time.
func newDesk(t *testing.T, change ...func(*Config)) *desk {
	t.Helper()
	w, room := workspace(t.Errorf)
	d := &desk{Workspace: w, chat: room, log: new(bytes.Buffer)}
	c := config(t, "https://chat.example.org/chat")
	c.Transport = inMemory(w)
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

// clean fails if text contains a secret or a link of a card.
func clean(t *testing.T, where, text string) {
	t.Helper()
	for _, s := range []string{testSecret, readerToken, posterToken, visitorToken, "/w/"} {
		if strings.Contains(text, s) {
			t.Errorf("%s contains %q", where, s)
		}
	}
}

func (d *desk) receipt(t *testing.T, body []byte, header http.Header) (chat.Receipt, error) {
	t.Helper()
	req := httptest.NewRequest(http.MethodPost, "/hooks/rocketchat", bytes.NewReader(body))
	req.Header = header
	return d.Accept(req, body)
}

// ask makes an event of the chat in its present state, and returns what Read makes of it.
func (d *desk) ask(t *testing.T, kind string) (chat.Ask, error) {
	t.Helper()
	body, header := d.Event(kind, d.chat)
	r, err := d.receipt(t, body, header)
	if err != nil || r.Key == "" {
		t.Fatalf("%s was not accepted: %+v, %v", kind, r, err)
	}
	return d.Read(t.Context(), chat.Delivery{Key: r.Key, Body: r.Body, Received: time.Now()})
}

func (d *desk) mustAsk(t *testing.T, kind string) chat.Ask {
	t.Helper()
	a, err := d.ask(t, kind)
	if err != nil {
		t.Fatalf("%s: %v", kind, err)
	}
	return a
}

func (d *desk) show(t *testing.T, to string, c chat.Card) chat.Ref {
	t.Helper()
	ref, err := d.Show(t.Context(), chat.Place{Address: to}, c)
	if err != nil {
		t.Fatalf("Show to %s: %v", to, err)
	}
	return ref
}

func exampleCard() chat.Card {
	return chat.Card{
		ID:     "0197f3b2c1d4",
		Title:  "Co-browse with Ann",
		Lines:  []chat.Line{{Label: "Page", Text: "Basket"}},
		Button: chat.Link{Label: "Co-browse", Address: "https://bridge.example.org/w/4kqRs7"},
		Chat:   chat.Link{Label: "Open the chat", Address: "https://chat.example.org/chat/live/room1"},
	}
}

// routes returns "METHOD route" of the requests that the workspace got, without the first from.
func (d *desk) routes(from int) []string {
	var list []string
	for _, r := range d.Requests()[from:] {
		list = append(list, r.Method+" "+strings.TrimPrefix(r.Path, "/api/v1/"))
	}
	return list
}

func withTimeout(t *testing.T, d time.Duration) context.Context {
	ctx, cancel := context.WithTimeout(t.Context(), d)
	t.Cleanup(cancel)
	return ctx
}
