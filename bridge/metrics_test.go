package bridge

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

	"cobrowse-bridge/bridge/policy"

	"github.com/prometheus/client_golang/prometheus/testutil"
)

func testMetrics() (*metrics, *health) {
	h := newHealth(map[string]Connector{"slack": {}, "rocketchat": {}})
	return newMetrics("1.2.3", h, policy.Fixed(policy.Default)), h
}

// scrape asks for the metrics as Prometheus does.
func scrape(t *testing.T, m *metrics) string {
	t.Helper()
	w := httptest.NewRecorder()
	m.handler().ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if w.Code != http.StatusOK {
		t.Fatalf("answered %d: %s", w.Code, w.Body)
	}
	return w.Body.String()
}

func TestMetricsCountWhatHappens(t *testing.T) {
	t.Parallel()
	m, h := testMetrics()
	m.request("GET", "/w/{handle}", http.StatusOK, 20*time.Millisecond)
	m.request("GET", "/w/{handle}", 0, 20*time.Millisecond)
	m.request("BREW", "none", http.StatusNotFound, 2*time.Second)
	m.delivery("slack", deliveryStored)
	m.delivery("slack", deliveryStored)
	m.delivery("slack", lostDelivery(fmt.Errorf("%w: %w", errStore, os.ErrPermission)))
	m.job("slack", jobShow, jobAgain, 3*time.Second)
	m.job("slack"+forwardQueue, jobForward, jobDone, time.Second)
	m.watch(watchLed)
	m.refusal(errElsewhere.Error())
	m.spoofed()
	m.throttled("watch links")
	h.note("slack", os.ErrDeadlineExceeded)
	h.note("rocketchat", nil)

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
		`bridge_refusals_total{reason="door belongs to another browser"} 1`,
		`bridge_spoofed_identities_total 1`,
		`bridge_throttled_total{limit="watch links"} 1`,
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
	h.note("slack", nil)
	if got := scrape(t, m); !strings.Contains(got, `bridge_connector_failing{connector="slack"} 0`) {
		t.Error("a connector that works again is still failing")
	}
}

func TestLostDeliveriesAreToldApart(t *testing.T) {
	t.Parallel()
	for err, want := range map[error]deliveryOutcome{
		ErrForged:   deliveryForged,
		errBusy:     deliveryBusy,
		errTooLarge: deliveryMalformed,
		errEncoded:  deliveryMalformed,
		errBody:     deliveryMalformed,
		fmt.Errorf("%w: %w", errUnreadable, errors.New("no JSON")): deliveryUnreadable,
		fmt.Errorf("%w: %w", errStore, os.ErrDeadlineExceeded):     deliveryFailed,
	} {
		if got := lostDelivery(err); got != want {
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
		m := newMetrics("", newHealth(nil), file)
		says := func(fault int, since time.Time) {
			t.Helper()
			want := fmt.Sprintf(`
# HELP bridge_policy_fault Whether the policy file is wrong, so that the policy of before goes on.
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
			t.Error("a policy that is wrong was taken")
		}
		says(1, began)
		write("rules: [{may: [stop]}]")
		if _, err := file.Reload(); err != nil {
			t.Error(err)
		}
		says(0, time.Now())
	})
}

// exercise counts something of every kind, with as strange a word as a mistake
// could bring.
func exercise(m *metrics, word string, status int) {
	m.request(word, word, status, time.Second)
	m.delivery(word, deliveryStored)
	m.job(word, word, jobDone, time.Second)
	m.watch(watchLed)
	m.refusal(word)
	m.spoofed()
	m.throttled(word)
}

func TestLabelsAreFewWhateverTheyAreGiven(t *testing.T) {
	t.Parallel()
	m, _ := testMetrics()
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
		t.Errorf("%d series, and %d after other words", before, after)
	}
	got := scrape(t, m)
	if strings.Contains(got, "visitor-") {
		t.Error("words go on being taken")
	}
	for _, found := range regexp.MustCompile(`connector="([^"]*)"`).FindAllStringSubmatch(got, -1) {
		if name := found[1]; name != "slack" && name != "rocketchat" && name != other {
			t.Errorf("there is no connector %q", name)
		}
	}
}

// TestMetricsAreNamedAsPrometheusAdvises also holds deploy/metrics.md to them.
func TestMetricsAreNamedAsPrometheusAdvises(t *testing.T) {
	t.Parallel()
	m, _ := testMetrics()
	exercise(m, "word", http.StatusOK)
	problems, err := testutil.GatherAndLint(m.registry)
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
	page, err := os.ReadFile("../deploy/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	all, err := m.registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	there := map[string]bool{}
	for _, family := range all {
		name := family.GetName()
		there[name] = true
		if strings.HasPrefix(name, "bridge_") && !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("the page for operators lacks %s", name)
		}
	}
	for _, name := range regexp.MustCompile(`\bbridge_\w+`).FindAllString(string(page), -1) {
		if base := regexp.MustCompile(`_(bucket|sum|count)$`).ReplaceAllString(name, ""); !there[name] && !there[base] {
			t.Errorf("the page for operators has %s, which does not exist", name)
		}
	}
}
