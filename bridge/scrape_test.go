package bridge_test

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// TestTheWayOfACustomerIsCounted follows one chat from the request to the end of its session.
func TestTheWayOfACustomerIsCounted(t *testing.T) {
	inWorld(t, func(w *world) {
		w.wantCount(`bridge_card_steps_total{connector="rocketchat",step="asked"} 0`)
		_, _, session := w.startSession()
		w.pass(sessionsWait)
		w.wantCount(`bridge_card_steps_total{connector="rocketchat",step="live"} 1`)
		w.wantCount(`bridge_cards{connector="rocketchat",state="live"} 1`)
		w.pass(12*time.Minute - sessionsWait)
		w.upscope.End(session, 5, "")
		w.pass(sessionsWait)
		for _, step := range []string{"asked", "found", "shown", "opened", "live", "ended"} {
			w.wantCount(`bridge_card_steps_total{connector="rocketchat",step="` + step + `"} 1`)
			if step != "asked" {
				w.wantCount(`bridge_card_step_duration_seconds_count{step="` + step + `"} 1`)
			}
		}
		w.wantCount(`bridge_card_step_duration_seconds_sum{step="ended"} 720`)
		w.wantCount(`bridge_cards{connector="rocketchat",state="ended"} 1`)
		w.wantCount(`bridge_cards{connector="desk",state="ready"} 0`)
		w.wantCount(`bridge_waiting_jobs{connector="rocketchat",queue="rocketchat"} 0`)
		w.wantCount(`bridge_waiting_jobs_oldest_age_seconds{connector="rocketchat",queue="rocketchat"} 0`)
		w.wantCount(`bridge_agent_sessions 0`)
		w.wantCount(`bridge_scrape_failed 0`)
	})
}

func TestWorkThatWaitsIsMeasured(t *testing.T) {
	inWorld(t, func(w *world) {
		w.pass(time.Second)
		w.stop()
		w.must(w.store.Commit(w.Context(), store.Change{Jobs: []jobs.Job{{Queue: "rocketchat", Kind: "show", Subject: "none"}, {Queue: "rocketchat", Kind: "show", Subject: "none"}}}))
		<-time.After(90 * time.Second)
		w.wantCount(`bridge_waiting_jobs{connector="rocketchat",queue="rocketchat"} 2`)
		w.wantCount(`bridge_waiting_jobs_oldest_age_seconds{connector="rocketchat",queue="rocketchat"} 90`)
		w.run()
		w.pass(10 * time.Second)
		w.wantCount(`bridge_waiting_jobs{connector="rocketchat",queue="rocketchat"} 0`)
	})
}

func TestFailuresOfUnknownWorkHaveNoLabelsOfTheirOwn(t *testing.T) {
	inWorld(t, func(w *world) {
		failures := []jobs.Failure{
			{Queue: "rocketchat", Kind: "show", Subject: "card-1"}, {Queue: "rocketchat_forward", Kind: "forward", Subject: "delivery-1", Next: time.Now().Add(time.Minute)},
			{Queue: "removed", Kind: "unheard of", Subject: "card-3"}, {Queue: "removed too", Kind: "unheard of", Subject: "card-3"},
		}
		for _, f := range failures {
			w.must(w.store.Jobs().Note(w.Context(), f))
		}
		w.wantCount(`bridge_failures{connector="rocketchat",kind="show",state="failed"} 1`)
		w.wantCount(`bridge_failures{connector="rocketchat",kind="forward",state="retrying"} 1`)
		w.wantCount(`bridge_failures{connector="rocketchat",kind="answer",state="failed"} 0`)
		w.wantCount(`bridge_failures{connector="other",kind="other",state="failed"} 2`)
		w.wantCount(`bridge_connector_failing{connector="rocketchat"} 1`)
		for _, f := range failures {
			w.must(w.store.Jobs().Resolve(w.Context(), f.Queue, f.Kind, f.Subject))
		}
		w.wantCount(`bridge_connector_failing{connector="rocketchat"} 0`)
	})
}

// TestProbesAreLoggedAtDebug holds because two probes each few seconds would be most of the log.
func TestProbesAreLoggedAtDebug(t *testing.T) {
	inWorld(t, func(w *world) {
		for _, path := range []string{"/healthz", "/readyz", "/after"} {
			w.do(request(http.MethodGet, path, nil)).want(w, http.StatusOK)
		}
		levels := map[string]bool{}
		for line := range strings.Lines(w.log.String()) {
			for _, path := range []string{"/healthz", "/readyz", "/after"} {
				if strings.Contains(line, `"route":"`+path+`"`) {
					levels[path+" "+strings.SplitN(strings.SplitN(line, `"level":"`, 2)[1], `"`, 2)[0]] = true
				}
			}
		}
		if len(levels) != 3 || !levels["/healthz DEBUG"] || !levels["/readyz DEBUG"] || !levels["/after INFO"] {
			t.Errorf("logged %v", levels)
		}
		w.wantCount(`bridge_requests_total{code="200",method="GET",route="/readyz"} 1`)
		w.wantCount(`bridge_request_duration_seconds_count{route="/after"} 1`)
	})
}

// TestMetricsAnswerWithoutTheDatabase has limits of time that a busy machine keeps. The limit itself is
// tested in package metrics, with a clock of its own.
func TestMetricsAnswerWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	for _, database := range []string{"sqlite", "postgres"} {
		t.Run(database, func(t *testing.T) {
			t.Parallel()
			var end func(*store.Store)
			address := "sqlite:" + filepath.Join(t.TempDir(), "bridge.db")
			if database == "postgres" {
				var r *relay
				r, address = newRelay(t, newPostgres(t))
				end = func(*store.Store) { r.dead.Store(true) }
			} else {
				end = func(s *store.Store) { _ = s.Close() }
			}
			calls := metrics.NewCalls()
			s, err := store.Open(t.Context(), address, store.Options{Secret: []byte(bridgeSecret), Calls: calls})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { _ = s.Close() })
			client, err := upscope.New(upscope.Config{Key: upscopeKey, Transport: bridge.InProcess(upscopetest.New(upscopetest.Options{Key: upscopeKey}))})
			if err != nil {
				t.Fatal(err)
			}
			var log bytes.Buffer
			b, err := bridge.New(bridge.Config{
				Origin: &url.URL{Scheme: "https", Host: "bridge.example.org"}, Secret: []byte(bridgeSecret), Store: s, Upscope: client,
				Connectors: []chat.Connector{{Name: "rocketchat"}}, Calls: calls, Log: slog.New(slog.NewTextHandler(&log, nil)),
			})
			if err != nil {
				t.Fatal(err)
			}
			scrape := func() string {
				answer := httptest.NewRecorder()
				b.Metrics().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
				if answer.Code != http.StatusOK {
					t.Errorf("answered %d", answer.Code)
				}
				return answer.Body.String()
			}
			fromDatabase := []string{"\nbridge_waiting_jobs{", "\nbridge_cards{", "\nbridge_failures{", "\nbridge_agent_sessions ", "\nbridge_audit_head_timestamp_seconds "}
			got := scrape()
			for _, want := range append(fromDatabase, "\nbridge_scrape_failed 0\n", "\nbridge_database_size_bytes ", "\nbridge_database_operations_total{operation=\"read\",outcome=\"failed\"} 0\n") {
				if !strings.Contains(got, want) {
					t.Errorf("before the failure the metrics lack %q", want)
				}
			}
			if strings.Contains(got, "\nbridge_database_wal_size_bytes ") != (database == "sqlite") {
				t.Error("only SQLite has a log of its own")
			}
			end(s)
			began := time.Now()
			got = scrape()
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("the scrape took %v", took)
			}
			for _, want := range []string{"\nbridge_scrape_failed 1\n", "\nbridge_watches_total{outcome=\"failed\"} 0\n", "\ngo_goroutines "} {
				if !strings.Contains(got, want) {
					t.Errorf("after the failure the metrics lack %q", want)
				}
			}
			for _, sample := range fromDatabase {
				if strings.Contains(got, sample) {
					t.Errorf("after the failure the metrics have %q", sample)
				}
			}
			if !strings.Contains(log.String(), "metrics not read from the database") {
				t.Errorf("the log does not say why:\n%s", &log)
			}
		})
	}
}

// A relay passes connections to a server on, until it is dead. Then it stays silent, as after a power cut.
type relay struct{ dead atomic.Bool }

// newRelay returns a relay and the address of the database through it.
func newRelay(t *testing.T, database string) (r *relay, address string) {
	t.Helper()
	u, err := url.Parse(database)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r = &relay{}
	server := u.Host
	var running sync.WaitGroup
	var mu sync.Mutex
	var open []io.Closer
	t.Cleanup(func() {
		open = append(open, l)
		mu.Lock()
		for _, c := range open {
			_ = c.Close()
		}
		mu.Unlock()
		running.Wait()
	})
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", server)
			if err != nil {
				_ = in.Close()
				continue
			}
			mu.Lock()
			open = append(open, in, out)
			mu.Unlock()
			running.Go(func() { _ = r.pass(out, in) })
			running.Go(func() { _ = r.pass(in, out) })
		}
	})
	u.Host = l.Addr().String()
	return r, u.String()
}

func (r *relay) pass(to, from net.Conn) error {
	part := make([]byte, 32<<10)
	for {
		n, err := from.Read(part)
		if !r.dead.Load() && n > 0 {
			_, e := to.Write(part[:n])
			err = errors.Join(err, e)
		}
		if err != nil {
			return errors.Join(err, to.Close())
		}
	}
}
