package bridge_test

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/chat"
)

// Sites load the script with a tag that has an integrity hash. So every origin must be able
// to read it, and it must not change within a release.
func TestThePageScriptIsCachedAndReadableForEverySite(t *testing.T) {
	c := chat.Connector{Name: "rocketchat-emea", Page: []byte("tell();")}
	inWorld(t, func(w *world) {
		ask := func(method, etag string) *answer {
			r := request(method, "/page/rocketchat-emea.js", nil)
			r.Header.Set("Origin", "https://shop.example.org")
			r.Header.Set("If-None-Match", etag)
			return w.do(r)
		}
		first := ask(http.MethodGet, "")
		first.want(t, http.StatusOK, "tell();")
		for name, want := range map[string]string{
			"Content-Type":                 "text/javascript; charset=utf-8",
			"Content-Length":               "7",
			"Cache-Control":                "public, max-age=3600",
			"Access-Control-Allow-Origin":  "*",
			"Cross-Origin-Resource-Policy": "cross-origin",
			"X-Content-Type-Options":       "nosniff",
			"Set-Cookie":                   "",
			"Vary":                         "",
		} {
			if got := first.Header.Get(name); got != want {
				t.Errorf("%s is %q, want %q", name, got, want)
			}
		}
		etag := first.Header.Get("Etag")
		if again := ask(http.MethodGet, etag); etag == "" || again.StatusCode != http.StatusNotModified || again.body != "" {
			t.Errorf("with the ETag %s: %d %q", etag, again.StatusCode, again.body)
		}
		if old := ask(http.MethodGet, `"of another release"`); old.StatusCode != http.StatusOK || old.body != "tell();" {
			t.Errorf("with an old ETag: %d %q", old.StatusCode, old.body)
		}
		if head := ask(http.MethodHead, ""); head.StatusCode != http.StatusOK || head.body != "" || head.Header.Get("Etag") != etag {
			t.Errorf("HEAD: %d %q %v", head.StatusCode, head.body, head.Header)
		}
	}, options{config: func(config *bridge.Config) { config.Connectors = append(config.Connectors, c) }})
}

func TestAFormThatCannotBeReadIsAnsweredWithAPage(t *testing.T) {
	inWorld(t, func(w *world) {
		r := w.browser().form("/w/anything", nil)
		r.Header.Set("Sec-Fetch-User", "?1")
		r.Body = io.NopCloser(strings.NewReader("visitor=%zz"))
		w.browser().send(r).want(t, http.StatusBadRequest, "<h1>")
	})
}

// disconnectedClient is the connection of a client that disconnected.
type disconnectedClient struct {
	http.ResponseWriter
	answers int
}

func (g *disconnectedClient) WriteHeader(status int) {
	g.answers++
	g.ResponseWriter.WriteHeader(status)
}

func (*disconnectedClient) Write([]byte) (int, error) { return 0, errors.New("broken pipe") }

func TestAClientThatDisconnectedIsAnsweredOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		r := request(http.MethodGet, "/w/"+strings.Repeat("x", 43), nil)
		r.Header.Set("Sec-Purpose", "prefetch")
		client := &disconnectedClient{ResponseWriter: httptest.NewRecorder()}
		w.bridge.ServeHTTP(client, r)
		if log := w.log.String(); client.answers != 1 || strings.Contains(log, "request failed") {
			t.Errorf("answered %d times; the log says %s", client.answers, log)
		}
	})
}
