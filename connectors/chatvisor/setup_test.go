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

	"cobrowse-bridge/bridge/browsertest"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
	"cobrowse-bridge/connectors/chatvisor/rules"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(browsertest.Main{M: m}) }

// Secrets of the tests. None of them may appear in a text.
const (
	apiToken   = "canary-api-token-Ohs8eiquae"
	hookSecret = "canary-hook-secret-ieQu3aeShu"
	oldSecret  = "canary-old-hook-secret-eiV4aing"
)

// A tenant is a Chatvisor with a connector for it.
type tenant struct {
	*chatvisortest.Service
	chat.Connector
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

// newTenant connects them without a network. file is the operator's file; one that begins
// with "all-steps" begins with the service's own rules, which configure every step.
func newTenant(t testing.TB, file string, change ...func(*Config)) *tenant {
	t.Helper()
	s := chatvisortest.New(apiToken)
	if rest, all := strings.CutPrefix(file, "all-steps"); all {
		file = s.Rules() + rest
	}
	read, err := rules.Parse("chatvisor.yaml", []byte(file))
	if err != nil {
		t.Fatal(err)
	}
	d := &tenant{Service: s, log: new(logBuffer)}
	base, _ := url.Parse("https://api.example.org" + chatvisortest.Prefix)
	c := Config{
		Name: "chatvisor", URL: base, Token: secret.New(apiToken), Secrets: secret.All(hookSecret), Rules: read, Transport: chatvisortest.Transport(s),
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
		wantNoSecret(t, "the log", d.log.String())
		if strange := s.Unexpected(); len(strange) > 0 {
			t.Errorf("requests to paths that are not configured: %q", strange)
		}
	})
	return d
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// wantNoSecret fails if text contains a secret.
func wantNoSecret(t testing.TB, where, text string) {
	t.Helper()
	for _, s := range []string{apiToken, hookSecret, oldSecret, "/enter/", "tok-"} {
		if strings.Contains(text, s) {
			t.Errorf("%s contains %q: %s", where, s, text)
		}
	}
}

func hookPath(secret, event string) string { return "/hooks/chatvisor/" + secret + "/" + event }

// receive sends a body to the webhook address of an event.
func (d *tenant) receive(event, body string) (chat.Receipt, error) {
	return d.receiveAt(hookPath(hookSecret, event), body, nil)
}

func (d *tenant) receiveAt(path, body string, change func(*http.Request)) (chat.Receipt, error) {
	r := httptest.NewRequest(http.MethodPost, "https://bridge.example.org"+path, strings.NewReader(body))
	if change != nil {
		change(r)
	}
	return d.Accept(r, []byte(body))
}

// ask sends a body and returns the ask that Read makes of it.
func (d *tenant) ask(t testing.TB, event, body string) chat.Ask {
	t.Helper()
	r, err := d.receive(event, body)
	if err != nil || r.Key == "" {
		t.Fatalf("%s was not stored: %+v, %v", body, r, err)
	}
	ask, err := d.Read(t.Context(), chat.Delivery{Key: r.Key, Body: r.Body, Received: time.Now()})
	if err != nil {
		t.Fatalf("%s: %v", body, err)
	}
	return ask
}

// paths returns "METHOD path" of each request, without the service's random prefix.
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
