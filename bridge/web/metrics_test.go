package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/jobs"
)

func testMetrics(t *testing.T) (*Metrics, *store.Store) {
	t.Helper()
	h := testHealth(t)
	return NewMetrics("1.2.3", []string{"bridge"}, []string{"answer", "show", "forward", "sessions"}, h, policy.Fixed(policy.Default)), h.store
}

func testHealth(t *testing.T) *Health {
	t.Helper()
	s, err := store.Open(t.Context(), "sqlite:"+filepath.Join(t.TempDir(), "bridge.db"), store.Options{Secret: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	return NewHealth(s, []string{"rocketchat", "slack"}, func(queue string) string { return strings.TrimSuffix(queue, "_forward") })
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

func TestMetricsCountWhatHappens(t *testing.T) {
	t.Parallel()
	m, s := testMetrics(t)
	m.request("GET", "/w/{handle}", http.StatusOK, 20*time.Millisecond)
	m.request("GET", "/w/{handle}", 0, 20*time.Millisecond)
	m.request("BREW", "none", http.StatusNotFound, 2*time.Second)
	m.Delivery("slack", DeliveryStored)
	m.Delivery("slack", DeliveryStored)
	m.Delivery("slack", OutcomeOfError(fmt.Errorf("%w: %w", ErrStore, os.ErrPermission)))
	m.Job("slack", "show", jobs.Again, 3*time.Second)
	m.Job("slack", "forward", jobs.Done, time.Second)
	m.Watch(WatchOpened)
	m.Refusal(ErrOtherBrowser.Error())
	m.spoofed()
	m.throttled("watch links")
	next := time.Now().Add(time.Minute)
	for _, f := range []jobs.Failure{
		{Queue: "slack", Kind: "show", Subject: "card-1"}, {Queue: "slack", Kind: "show", Subject: "card-2"},
		{Queue: "slack_forward", Kind: "forward", Subject: "delivery-1", Next: next}, {Queue: "bridge", Kind: "sessions", Next: next},
		{Queue: "removed", Kind: "unheard of", Subject: "card-3"}, {Queue: "removed too", Kind: "unheard of", Subject: "card-3"},
	} {
		if err := s.Jobs().Note(t.Context(), f); err != nil {
			t.Fatal(err)
		}
	}

	for _, name := range []string{"bridge_request_duration_seconds", "bridge_job_duration_seconds"} {
		if n, err := testutil.GatherAndCount(m.registry, name); err != nil || n != 2 {
			t.Errorf("%s has %d series, %v", name, n, err)
		}
	}
	got := scrape(t, m)
	for _, want := range []string{
		`bridge_requests_total{code="200",method="GET",route="/w/{handle}"} 2`,
		`bridge_requests_total{code="404",method="other",route="none"} 1`,
		`bridge_request_duration_seconds_bucket{route="/w/{handle}",le="0.025"} 2`,
		`bridge_request_duration_seconds_bucket{route="none",le="1"} 0`,
		`bridge_request_duration_seconds_sum{route="none"} 2`,
		`bridge_deliveries_total{connector="slack",outcome="stored"} 2`,
		`bridge_deliveries_total{connector="slack",outcome="failed"} 1`,
		`bridge_deliveries_total{connector="rocketchat",outcome="forged"} 0`,
		`bridge_jobs_total{connector="slack",kind="show",outcome="again"} 1`,
		`bridge_jobs_total{connector="slack",kind="forward",outcome="done"} 1`,
		`bridge_jobs_total{connector="slack",kind="answer",outcome="failed"} 0`,
		`bridge_job_duration_seconds_sum{connector="slack",kind="show"} 3`,
		`bridge_watches_total{outcome="led"} 1`,
		`bridge_watches_total{outcome="failed"} 0`,
		`bridge_refusals_total{reason="card is bound to another browser"} 1`,
		`bridge_spoofed_identities_total 1`,
		`bridge_throttled_total{limit="watch links"} 1`,
		`bridge_failures{connector="slack",kind="show",state="failed"} 2`,
		`bridge_failures{connector="slack",kind="show",state="retrying"} 0`,
		`bridge_failures{connector="slack",kind="forward",state="retrying"} 1`,
		`bridge_failures{connector="bridge",kind="sessions",state="retrying"} 1`,
		`bridge_failures{connector="other",kind="unheard of",state="failed"} 2`,
		`bridge_failures{connector="rocketchat",kind="answer",state="failed"} 0`,
		`bridge_failures_unknown 0`,
		`bridge_connector_failing{connector="slack"} 1`,
		`bridge_connector_failing{connector="rocketchat"} 0`,
		`bridge_policy_fault 0`,
		`version="1.2.3"} 1`,
		`go_goroutines`,
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the metrics lack %s", want)
		}
	}
	for _, id := range []string{"card-1", "card-2", "delivery-1"} {
		if err := errors.Join(s.Jobs().Resolve(t.Context(), "slack", "show", id), s.Jobs().Resolve(t.Context(), "slack_forward", "forward", id)); err != nil {
			t.Fatal(err)
		}
	}
	if got := scrape(t, m); !strings.Contains(got, `bridge_connector_failing{connector="slack"} 0`) {
		t.Error("a connector that works again is still shown as failing")
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
	if got := scrape(t, m); !strings.Contains(got, `bridge_failures_unknown 1`) || strings.Contains(got, `bridge_connector_failing`) {
		t.Error("without the store, the metrics say that nothing failed")
	}
}

func TestTheOutcomeOfADeliveryDependsOnTheError(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]deliveryOutcome{
		chat.ErrForged: deliveryForged,
		ErrBusy:        deliveryBusy,
		ErrSlow:        deliveryBusy,
		ErrTooLarge:    deliveryMalformed,
		ErrEncoded:     deliveryMalformed,
		ErrBody:        deliveryMalformed,
		fmt.Errorf("%w: %w", ErrUnreadable, errors.New("no JSON")): deliveryUnreadable,
		fmt.Errorf("%w: %w", ErrStore, os.ErrDeadlineExceeded):     deliveryFailed,
	} {
		if got := OutcomeOfError(err); got != want {
			t.Errorf("%v: %s, want %s", err, got, want)
		}
	}
}

func TestPolicyMetricsFollowTheFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		path := filepath.Join(t.TempDir(), "policy.yaml")
		write := func(text string) {
			t.Helper()
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write("rules: [{may: [watch]}]")
		file, err := policy.Open(path)
		if err != nil {
			t.Fatal(err)
		}
		m := NewMetrics("", nil, []string{"answer", "show"}, testHealth(t), file)
		says := func(fault int, since time.Time) {
			t.Helper()
			want := fmt.Sprintf(`
# HELP bridge_policy_fault Whether the policy file is invalid; the previous policy stays in use.
# TYPE bridge_policy_fault gauge
bridge_policy_fault %d
# HELP bridge_policy_loaded_timestamp_seconds When the current policy was read.
# TYPE bridge_policy_loaded_timestamp_seconds gauge
bridge_policy_loaded_timestamp_seconds %d
`, fault, since.Unix())
			if err := testutil.GatherAndCompare(m.registry, strings.NewReader(want), "bridge_policy_fault", "bridge_policy_loaded_timestamp_seconds"); err != nil {
				t.Error(err)
			}
		}
		began := time.Now()
		says(0, began)
		<-time.After(time.Hour)
		write("rules: nothing")
		if _, err := file.Reload(); err == nil {
			t.Error("an invalid policy was loaded")
		}
		says(1, began)
		write("rules: [{may: [stop]}]")
		if _, err := file.Reload(); err != nil {
			t.Error(err)
		}
		says(0, time.Now())
	})
}

// exercise counts one event of every kind, with a word as label that a mistake in the code could
// pass.
func exercise(m *Metrics, word string, status int) {
	m.request(word, word, status, time.Second)
	m.Delivery(word, DeliveryStored)
	m.Job(word, word, jobs.Done, time.Second)
	m.Watch(WatchOpened)
	m.Refusal(word)
	m.spoofed()
	m.throttled(word)
}

func TestLabelsHaveFewValuesEvenAfterMistakes(t *testing.T) {
	t.Parallel()
	m, _ := testMetrics(t)
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
	if strings.Contains(got, "visitor-") {
		t.Error("new words still become labels")
	}
	for _, found := range regexp.MustCompile(`connector="([^"]*)"`).FindAllStringSubmatch(got, -1) {
		if name := found[1]; name != "slack" && name != "rocketchat" && name != other {
			t.Errorf("there is no connector %q", name)
		}
	}
}

// TestMetricsAreNamedAsPrometheusAdvises also checks that deploy/metrics.md lists the same metrics.
func TestMetricsAreNamedAsPrometheusAdvises(t *testing.T) {
	t.Parallel()
	m, _ := testMetrics(t)
	exercise(m, "word", http.StatusOK)
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	page, err := os.ReadFile("../../deploy/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	all, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	exists := map[string]bool{}
	for _, family := range all {
		name := family.GetName()
		exists[name] = true
		if strings.HasPrefix(name, "bridge_") && !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("deploy/metrics.md lacks %s", name)
		}
	}
	for _, name := range regexp.MustCompile(`\bbridge_\w+`).FindAllString(string(page), -1) {
		if base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, ""); !exists[name] && !exists[base] {
			t.Errorf("deploy/metrics.md has %s, which does not exist", name)
		}
	}
}
