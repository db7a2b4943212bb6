package rest_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"cobrowse-bridge/connectors/rest"
)

func TestAnIDStaysOneSegment(t *testing.T) {
	var got string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		got = r.URL.EscapedPath()
		_, _ = w.Write([]byte("{}"))
	}))
	defer server.Close()
	base, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	client, err := rest.New(rest.Config{Base: base, Transport: &http.Transport{DisableKeepAlives: true}})
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{
		"c1": "/rooms/c1/notes", "..": "/rooms/%2E%2E/notes", "../a b": "/rooms/%2E%2E%2Fa%20b/notes", "50%": "/rooms/50%25/notes",
	} {
		if _, err := client.Get(t.Context(), "rooms/"+rest.Segment(id)+"/notes", nil, nil); err != nil {
			t.Fatal(err)
		}
		if got != want {
			t.Errorf("%q: %s, want %s", id, got, want)
		}
	}
}
