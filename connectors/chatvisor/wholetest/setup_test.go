package wholetest

import (
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/bridge/testmain"
	"cobrowse-bridge/connectors/chatvisor"
	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
	"cobrowse-bridge/connectors/chatvisor/rules"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	testmain.Setup(0)
	goleak.VerifyTestMain(m)
}

// Secrets of the tests. None of them may appear in the log.
const (
	apiToken   = "canary-api-token-Ohs8eiquae"
	hookSecret = "canary-hook-secret-ieQu3aeShu"
	oldSecret  = "canary-old-hook-secret-eiV4aing"
)

// A tenant is a Chatvisor with a connector for it.
type tenant struct {
	*chatvisortest.Service
	chat.Connector
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
func newTenant(t *testing.T, file string, change ...func(*chatvisor.Config)) *tenant {
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
	c := chatvisor.Config{
		Name: "chatvisor", URL: base, Token: secret.New(apiToken), Secrets: secret.All(hookSecret), Rules: read, Transport: chatvisortest.Transport(s),
		Log: slog.New(slog.NewTextHandler(d.log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	}
	for _, f := range change {
		f(&c)
	}
	if d.Connector, err = chatvisor.New(c); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		for _, secret := range []string{apiToken, hookSecret, oldSecret, "/enter/", "tok-"} {
			if text := d.log.String(); strings.Contains(text, secret) {
				t.Errorf("the log contains %q: %s", secret, text)
			}
		}
		if strange := s.Unexpected(); len(strange) > 0 {
			t.Errorf("requests to paths that are not configured: %q", strange)
		}
	})
	return d
}

func hookPath(secret, event string) string { return "/hooks/chatvisor/" + secret + "/" + event }

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func jsonAnswer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
}

func mustJSON(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}
