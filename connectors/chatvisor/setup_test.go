package chatvisor

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/chatvisor/chatvisortest"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// Secrets of the tests, none of which may turn up anywhere.
const (
	apiToken        = "canary-api-token-Ohs8eiquae"
	hookSecret      = "canary-hook-secret-ieQu3aeShu"
	oldSecret       = "canary-old-hook-secret-eiV4aing"
	signatureSecret = "canary-signature-secret-Wah7ohph"
)

// A tenant is a Chatvisor with a connector for it.
type tenant struct {
	*chatvisortest.Service
	bridge.Connector
	k   *connector
	log *logBuffer
}

type logBuffer struct {
	sync.Mutex
	bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.Lock()
	defer b.Unlock()
	return b.Buffer.Write(p)
}

func (b *logBuffer) String() string {
	b.Lock()
	defer b.Unlock()
	return b.Buffer.String()
}

// newTenant joins them without a network. The rules are those of the file; "odd"
// are those of the service, by which every step works.
func newTenant(t testing.TB, file string, change ...func(*Config)) *tenant {
	t.Helper()
	s := chatvisortest.New(apiToken)
	if rest, odd := strings.CutPrefix(file, "odd"); odd {
		file = s.Rules() + rest
	}
	rules, err := ParseRules("chatvisor.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	d := &tenant{Service: s, log: new(logBuffer)}
	base, _ := url.Parse("https://api.example.org" + chatvisortest.Prefix)
	c := Config{
		Name: "chatvisor", URL: base, Token: apiToken, Secrets: []string{hookSecret}, Rules: rules, Transport: inMemory(s),
		Log: slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&c)
	}
	if d.Connector, err = New(c); err != nil {
		t.Fatal(err)
	}
	if d.k, err = newConnector(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		clean(t, "the log", d.log.String())
		if strange := s.Strange(); len(strange) > 0 {
			t.Errorf("guessed at: %q", strange)
		}
	})
	return d
}

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

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// clean fails if text holds what no text may hold.
func clean(t testing.TB, where, text string) {
	t.Helper()
	for _, s := range []string{apiToken, hookSecret, oldSecret, signatureSecret, "/enter/", "tok-"} {
		if strings.Contains(text, s) {
			t.Errorf("%s holds %q: %s", where, s, text)
		}
	}
}

func hookPath(secret, event string) string { return "/hooks/chatvisor/" + secret + "/" + event }

// comes has a body arrive at the address of an event.
func (d *tenant) comes(event, body string) (bridge.Receipt, error) {
	return d.arrives(hookPath(hookSecret, event), body, nil)
}

func (d *tenant) arrives(path, body string, change func(*http.Request)) (bridge.Receipt, error) {
	r := httptest.NewRequest(http.MethodPost, "https://bridge.example.org"+path, strings.NewReader(body))
	if change != nil {
		change(r)
	}
	return d.Accept(r, []byte(body))
}

// ask takes a body all the way through Read.
func (d *tenant) ask(t testing.TB, event, body string) bridge.Ask {
	t.Helper()
	r, err := d.comes(event, body)
	if err != nil || r.Key == "" {
		t.Fatalf("%s was not taken: %+v, %v", body, r, err)
	}
	ask, err := d.Read(t.Context(), bridge.Delivery{Key: r.Key, Body: r.Body, Received: time.Now()})
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return ask
}

// paths are "METHOD path" of what the service got, without its odd word.
func (d *tenant) paths() []string {
	var all []string
	for _, r := range d.Requests() {
		path := strings.TrimPrefix(r.Path, chatvisortest.Prefix)
		if parts := strings.SplitN(path, "/", 3); len(parts) == 3 {
			path = "/" + parts[2]
		}
		all = append(all, r.Method+" "+path)
	}
	return all
}
