package metrics

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func testConfig() Config {
	return Config{
		Version: "1.2.3", Connectors: []string{"rocketchat", "slack"}, Desk: "desk", Others: []string{"erasures"},
		JobKinds: []string{"answer", "show"}, Kinds: []string{"erase"}, JobOutcomes: []string{"done", "again", "failed"},
		Reasons: []string{"card is bound to another browser"}, Limits: []string{"watch links"},
		Policy: func() (time.Time, error) { return time.Unix(1000, 500e6), nil }, Calls: NewCalls(),
	}
}

// scrape returns the metrics as Prometheus reads them.
func scrape(t *testing.T, m *Metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.Handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("answered %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func wantLines(t *testing.T, got string, lines ...string) {
	t.Helper()
	for _, want := range lines {
		if !strings.Contains(got, "\n"+want+"\n") {
			t.Errorf("the metrics lack %s", want)
		}
	}
}

// TestAllSeriesExistBeforeTheFirstEvent holds because increase() does not see the step from no series
// to 1.
func TestAllSeriesExistBeforeTheFirstEvent(t *testing.T) {
	t.Parallel()
	c := testConfig()
	c.Calls.Transport("upscope", nil)
	c.Calls.Breaker("upscope", "closed")
	m := New(c)
	m.AddRoute("/w/{handle}", false, "GET", "POST")
	wantLines(t, scrape(t, m),
		`bridge_requests_total{code="500",method="POST",route="/w/{handle}"} 0`,
		`bridge_request_duration_seconds_count{route="/w/{handle}"} 0`,
		`bridge_deliveries_total{connector="rocketchat",outcome="forged"} 0`,
		`bridge_jobs_total{connector="slack",kind="answer",outcome="failed"} 0`,
		`bridge_jobs_total{connector="desk",kind="show",outcome="again"} 0`,
		`bridge_job_duration_seconds_count{connector="slack",kind="show"} 0`,
		`bridge_watches_total{outcome="failed"} 0`,
		`bridge_card_steps_total{connector="slack",step="asked"} 0`,
		`bridge_card_steps_total{connector="desk",step="ended"} 0`,
		`bridge_card_step_duration_seconds_count{step="found"} 0`,
		`bridge_sign_ins_total{outcome="done"} 0`,
		`bridge_refusals_total{reason="card is bound to another browser"} 0`,
		`bridge_throttled_total{limit="watch links"} 0`,
		`bridge_spoofed_identities_total 0`,
		`bridge_calls_total{outcome="paused",service="upscope"} 0`,
		`bridge_call_duration_seconds_count{service="upscope"} 0`,
		`bridge_breaker_state{service="upscope",state="closed"} 1`,
		`bridge_breaker_state{service="upscope",state="open"} 0`,
		`bridge_certificate_expiry_timestamp_seconds{service="upscope"} 0`,
		`bridge_database_operations_total{operation="write",outcome="failed"} 0`,
		`bridge_database_operation_duration_seconds_count{operation="read"} 0`,
		`bridge_policy_fault 0`,
		`bridge_policy_loaded_timestamp_seconds 1000.5`,
	)
}

func TestMetricsCountWhatHappens(t *testing.T) {
	t.Parallel()
	m := New(testConfig())
	m.AddRoute("/w/{handle}", false, "GET")
	m.AddRoute("none", false, "GET")
	m.AddRoute("/readyz", true, "GET")
	m.Request("GET", "/w/{handle}", http.StatusOK, false, 20*time.Millisecond)
	m.Request("GET", "/w/{handle}", 0, false, 20*time.Millisecond)
	m.Request("BREW", "none", http.StatusNotFound, false, 2*time.Second)
	m.Request("GET", "/readyz", http.StatusOK, true, 2*time.Second)
	m.Delivery("slack", DeliveryStored)
	m.Job("slack", "show", "again", 3*time.Second)
	m.Watch(WatchOpened)
	now := time.Now()
	m.CardStep("slack", StepFound, now.Add(-2*time.Second), now)
	m.CardStep("slack", StepFound, time.Time{}, now)
	m.SignIn(SignInDenied)
	m.Refusal("card is bound to another browser")
	m.Spoofed()
	m.Throttled("watch links")
	got := scrape(t, m)
	wantLines(t, got,
		`bridge_requests_total{code="200",method="GET",route="/w/{handle}"} 2`,
		`bridge_requests_total{code="404",method="other",route="none"} 1`,
		`bridge_requests_total{code="200",method="GET",route="/readyz"} 1`,
		`bridge_request_duration_seconds_bucket{route="/w/{handle}",le="0.025"} 2`,
		`bridge_request_duration_seconds_bucket{route="none",le="1"} 0`,
		`bridge_request_duration_seconds_sum{route="none"} 2`,
		`bridge_deliveries_total{connector="slack",outcome="stored"} 1`,
		`bridge_jobs_total{connector="slack",kind="show",outcome="again"} 1`,
		`bridge_job_duration_seconds_sum{connector="slack",kind="show"} 3`,
		`bridge_watches_total{outcome="led"} 1`,
		`bridge_card_steps_total{connector="slack",step="found"} 2`,
		`bridge_card_step_duration_seconds_sum{step="found"} 2`,
		`bridge_card_step_duration_seconds_count{step="found"} 1`,
		`bridge_sign_ins_total{outcome="denied"} 1`,
		`bridge_refusals_total{reason="card is bound to another browser"} 1`,
		`bridge_spoofed_identities_total 1`,
		`bridge_throttled_total{limit="watch links"} 1`,
	)
	if strings.Contains(got, `_seconds_count{route="/readyz"}`) {
		t.Error("probes are in the histogram of requests")
	}
	if !strings.Contains(got, `version="1.2.3"} 1`) || !strings.Contains(got, "go_goroutines") {
		t.Error("the metrics lack the version, or those of Go")
	}
}

// exercise counts one event of every kind, with a word as label that a mistake in the code could
// pass.
func exercise(m *Metrics, word string, status int) {
	m.Request(word, word, status, false, time.Second)
	m.Delivery(word, DeliveryStored)
	m.Job(word, word, "done", time.Second)
	m.Watch(WatchOpened)
	m.CardStep(word, StepShown, time.Time{}, time.Time{})
	m.SignIn(SignInDone)
	m.Refusal(word)
	m.Spoofed()
	m.Throttled(word)
}

func TestLabelsHaveFewValuesEvenAfterMistakes(t *testing.T) {
	t.Parallel()
	m := New(testConfig())
	count := func() int {
		all, err := m.registry.Gather()
		if err != nil {
			t.Fatal(err)
		}
		n := 0
		for _, family := range all {
			if strings.HasPrefix(family.GetName(), "bridge_") {
				n += len(family.GetMetric())
			}
		}
		return n
	}
	for i := range 1000 {
		exercise(m, fmt.Sprintf("secret-%d\xff", i), i)
	}
	before := count()
	if before > 400 {
		t.Errorf("%d series", before)
	}
	for i := range 10_000 {
		exercise(m, fmt.Sprintf("visitor-%d", i), http.StatusOK)
	}
	if after := count(); after != before {
		t.Errorf("%d series, and %d after more words", before, after)
	}
	got := scrape(t, m)
	if strings.Contains(got, "visitor-") || strings.Contains(got, "secret-") {
		t.Error("words become labels")
	}
	for _, found := range regexp.MustCompile(`connector="([^"]*)"`).FindAllStringSubmatch(got, -1) {
		if name := found[1]; name != "slack" && name != "rocketchat" && name != "desk" && name != other {
			t.Errorf("there is no connector %q", name)
		}
	}
}

func TestMetricsAreNamedAsPrometheusAdvises(t *testing.T) {
	t.Parallel()
	m := New(testConfig())
	exercise(m, "word", http.StatusOK)
	m.Refusal("word")
	all := make([]Part, 0, len(gauges))
	for _, g := range gauges {
		labels := regexp.MustCompile(`variableLabels: {([^}]*)}`).FindStringSubmatch(g.about.String())[1]
		values := make([]string, 0, 2)
		if labels != "" {
			values = strings.Split(labels, ",")
		}
		all = append(all, func(_ context.Context, send Send) error {
			send(g, 1, values...)
			return nil
		})
	}
	m.AddParts(nil, all...)
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

// service answers with a status and a certificate, or with an error.
type service struct {
	status int
	err    error
	expiry []time.Time
}

func (s *service) RoundTrip(r *http.Request) (*http.Response, error) {
	if s.err != nil {
		return nil, s.err
	}
	answer := httptest.NewRecorder()
	answer.WriteHeader(s.status)
	made := answer.Result()
	made.Request = r
	if s.expiry != nil {
		made.TLS = tlsState(s.expiry)
	}
	return made, nil
}

func TestCallsAreCountedByTheirOutcome(t *testing.T) {
	t.Parallel()
	calls := NewCalls()
	c := testConfig()
	c.Calls = calls
	m := New(c)
	s := &service{}
	transport := calls.Transport("upscope", s)
	request := httptest.NewRequest(http.MethodGet, "https://api.example.org/secret?key=secret", nil)
	first := time.Unix(2_000_000_000, 0)
	for outcome, answer := range map[CallOutcome]service{
		CallOK:        {status: http.StatusOK, expiry: []time.Time{first.Add(time.Hour), first}},
		CallRefused:   {status: http.StatusForbidden},
		CallLimited:   {status: http.StatusTooManyRequests},
		CallFailed:    {status: http.StatusBadGateway},
		CallTimeout:   {err: os.ErrDeadlineExceeded},
		CallBroken:    {err: errors.New("connection refused by secret")},
		CallCancelled: {err: fmt.Errorf("secret: %w", context.Canceled)},
	} {
		*s = answer
		if answer, err := transport.RoundTrip(request); err == nil {
			answer.Body.Close()
		}
		wantLines(t, scrape(t, m), fmt.Sprintf(`bridge_calls_total{outcome=%q,service="upscope"} 1`, outcome))
	}
	calls.Paused("upscope")
	calls.Breaker("upscope", "half-open")
	calls.Database(DatabaseWrite, nil, time.Millisecond)
	calls.Database(DatabaseWrite, errors.New("disk full"), time.Millisecond)
	calls.Database(DatabaseRead, context.DeadlineExceeded, time.Second)
	got := scrape(t, m)
	wantLines(t, got,
		`bridge_calls_total{outcome="paused",service="upscope"} 1`,
		`bridge_call_duration_seconds_count{service="upscope"} 7`,
		`bridge_breaker_state{service="upscope",state="closed"} 0`,
		`bridge_breaker_state{service="upscope",state="half-open"} 1`,
		`bridge_certificate_expiry_timestamp_seconds{service="upscope"} 2e+09`,
		`bridge_database_operations_total{operation="write",outcome="ok"} 1`,
		`bridge_database_operations_total{operation="write",outcome="failed"} 1`,
		`bridge_database_operations_total{operation="read",outcome="timeout"} 1`,
	)
	if strings.Contains(got, "secret") {
		t.Error("the metrics have a part of an address or an error")
	}
}

func TestTheFirstExpiryIsThatOfTheWholeChain(t *testing.T) {
	t.Parallel()
	now := time.Now()
	if got := firstExpiry(tlsState([]time.Time{now.Add(time.Hour), now, now.Add(time.Minute)}).PeerCertificates); !got.Equal(now) {
		t.Errorf("%v, want %v", got, now)
	}
	if got := firstExpiry([]*x509.Certificate{}); !got.IsZero() {
		t.Errorf("no certificate expires at %v", got)
	}
}
