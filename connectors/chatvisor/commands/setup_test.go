package commands

import (
	"flag"
	"io"
	"net/http"
	"strings"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var update = flag.Bool("update", false, "write the golden files")

// Secrets of the tests. None of them may appear in a text.
const (
	apiToken   = "canary-api-token-Ohs8eiquae"
	hookSecret = "canary-hook-secret-ieQu3aeShu"
)

// wantNoSecret fails if text contains a secret.
func wantNoSecret(t testing.TB, where, text string) {
	t.Helper()
	for _, s := range []string{apiToken, hookSecret, "/enter/", "tok-"} {
		if strings.Contains(text, s) {
			t.Errorf("%s contains %q: %s", where, s, text)
		}
	}
}

func withEndpoint(name, text string) string { return "endpoints: {" + name + ": " + text + "}\n" }

func jsonAnswer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }
