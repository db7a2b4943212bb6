package rest_test

import (
	"bytes"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"testing"

	"cobrowse-bridge/connectors/rest"
)

// unresolved fails as if the host's name did not resolve.
type unresolved struct{}

func (unresolved) RoundTrip(*http.Request) (*http.Response, error) {
	return nil, &net.DNSError{Err: "no such host", IsNotFound: true}
}

func TestAPausedRequestSaysHowTheLastOneFailed(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	transport := rest.Upstream("chat", unresolved{}, nil, slog.New(slog.NewTextHandler(&log, nil)))
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://chat.example.org/", nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 12 {
		_, err := transport.RoundTrip(request)
		want := "read: cannot resolve the host name"
		if i >= 10 {
			want = "read: not sent, because ten requests in a row failed (the last: cannot resolve the host name)"
		}
		if got := rest.Broken("read", err).Error(); got != want {
			t.Errorf("request %d: %q, want %q", i, got, want)
		}
	}
	if !strings.Contains(log.String(), "requests paused") {
		t.Errorf("log: %s", &log)
	}
}
