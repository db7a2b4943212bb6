package main

import (
	"bytes"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// locks are statements of another session that lock the bridge's database.
var locks = map[string]string{
	"sqlite":   `PRAGMA busy_timeout = 60000; BEGIN IMMEDIATE`,
	"postgres": `BEGIN; LOCK TABLE deliveries; SELECT * FROM audit_head FOR UPDATE`,
}

// Another session holds a lock of the database until every request is answered. Without its
// own limits the bridge would answer only after the 15 seconds of a commit. The exact limits
// are those of package store, whose tests have a clock of their own.
func TestRequestsAreAnsweredWhileTheDatabaseIsLocked(t *testing.T) {
	t.Parallel()
	for engine, lock := range locks {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			s := newServices(t)
			ann := s.ann()
			env := with(s.env(t), "BRIDGE_DATABASE="+newDatabase(t, engine))
			_, address := startServe(t, env)
			bob := newBrowser(t, address)
			door, room := s.chatWithCard(t, bob)
			bob.follow(door).want(t, http.StatusOK, "Ann Silva")

			other, err := openDatabase(t, env["BRIDGE_DATABASE"]).Conn(t.Context())
			if err != nil {
				t.Fatal(err)
			}
			if _, err := other.ExecContext(t.Context(), lock); err != nil {
				t.Fatal(err)
			}
			type answered struct {
				what string
				answer
				took time.Duration
				error
			}
			answers := make(chan answered)
			send := func(what, method, path string, header http.Header, body string) {
				go func() {
					began := time.Now()
					a, err := bob.send(method, path, header, strings.NewReader(body))
					answers <- answered{what, a, time.Since(began), err}
				}()
			}
			const deliveries = 5
			for range deliveries {
				body, header := s.chat.Event("LivechatSessionTaken", room)
				send("a delivery", http.MethodPost, "/hooks/rocketchat", header, string(bytes.TrimSpace(body)))
			}
			send("a press", http.MethodPost, door, formHeader(), url.Values{"visitor": {ann}}.Encode())
			for n := range deliveries + 2 {
				if n == deliveries+1 { // the last success is more than a second ago
					send("/readyz", http.MethodGet, "/readyz", nil, "")
				}
				a := <-answers
				switch {
				case a.error != nil:
					t.Errorf("%s: %v", a.what, a.error)
				case a.StatusCode != http.StatusServiceUnavailable:
					t.Errorf("%s was answered %d", a.what, a.StatusCode)
				case a.took > 10*time.Second:
					t.Errorf("%s was answered after %v", a.what, a.took)
				case a.what != "/readyz" && a.Header.Get("Retry-After") == "":
					t.Errorf("%s was answered without Retry-After", a.what)
				}
			}
			if n := s.upscope.Minted(); n != 0 {
				t.Errorf("%d watch links without an audit entry", n)
			}

			if _, err := other.ExecContext(t.Context(), `ROLLBACK`); err != nil {
				t.Fatal(err)
			}
			eventually(t, "the bridge is ready again", maxWait, func() bool {
				return bob.do(http.MethodGet, "/readyz", nil, nil).StatusCode == http.StatusOK
			})
			bob.deliverEvent(s, "LivechatSessionTaken", room)
		})
	}
}
