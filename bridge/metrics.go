package bridge

import (
	"cmp"
	"errors"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"time"

	"cobrowse-bridge/bridge/policy"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// metrics count what happens, for Prometheus. Labels tell kinds of things apart,
// never things: no ids, paths or names out of requests. A label that should hold
// something else all the same says "other" after a while, see names.
type metrics struct {
	registry *prometheus.Registry

	requests     *prometheus.CounterVec
	requestTimes *prometheus.HistogramVec
	deliveries   *prometheus.CounterVec
	jobs         *prometheus.CounterVec
	jobTimes     *prometheus.HistogramVec
	watches      *prometheus.CounterVec
	refusals     *prometheus.CounterVec
	spoofs       prometheus.Counter
	throttles    *prometheus.CounterVec

	connectors, routes, kinds, reasons, limits *names
}

// What became of a delivery.
type deliveryOutcome string

const (
	deliveryStored     deliveryOutcome = "stored"
	deliveryRepeated   deliveryOutcome = "repeated"   // is known already
	deliveryIgnored    deliveryOutcome = "ignored"    // is genuine and means nothing
	deliveryForged     deliveryOutcome = "forged"     // does not prove where it comes from
	deliveryUnreadable deliveryOutcome = "unreadable" // is genuine and makes no sense
	deliveryMalformed  deliveryOutcome = "malformed"  // is no delivery: too large, encoded, cut off, misaddressed
	deliveryBusy       deliveryOutcome = "busy"       // is one of too many large ones
	deliveryFailed     deliveryOutcome = "failed"     // was not stored, so that the sender has to try again
)

var deliveryOutcomes = []deliveryOutcome{
	deliveryStored, deliveryRepeated, deliveryIgnored, deliveryForged, deliveryUnreadable, deliveryMalformed, deliveryBusy, deliveryFailed,
}

// lostDelivery is the outcome of a delivery that was answered with an error.
func lostDelivery(err error) deliveryOutcome {
	switch {
	case errors.Is(err, ErrForged):
		return deliveryForged
	case errors.Is(err, errUnreadable):
		return deliveryUnreadable
	case errors.Is(err, errBusy):
		return deliveryBusy
	case errors.Is(err, errStore):
		return deliveryFailed
	}
	return deliveryMalformed
}

// How an attempt at a job ended.
type jobOutcome string

const (
	jobDone   jobOutcome = "done"
	jobAgain  jobOutcome = "again"  // failed, and is tried again
	jobWaits  jobOutcome = "waits"  // a service asked to be left alone, or somebody else was at it
	jobFailed jobOutcome = "failed" // for good
)

var jobOutcomes = []jobOutcome{jobDone, jobAgain, jobWaits, jobFailed}

// What came of a press for a watch link.
type watchOutcome string

const (
	watchLed     watchOutcome = "led"     // the agent was led to the visitor's screen
	watchRefused watchOutcome = "refused" // by policy, a limit, or what the card has become
	watchFailed  watchOutcome = "failed"  // Upscope or the store did not do it
)

var watchOutcomes = []watchOutcome{watchLed, watchRefused, watchFailed}

// newMetrics makes metrics in a registry of their own. What health and file say is
// read when somebody asks for the metrics.
func newMetrics(version string, health *health, file *policy.File) *metrics {
	registry := prometheus.NewRegistry()
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		registry.MustRegister(c)
		return c
	}
	times := func(name, help string, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name, Help: help,
			// These are for a Prometheus that does not take native histograms.
			Buckets:                         []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30},
			NativeHistogramBucketFactor:     1.1,
			NativeHistogramMaxBucketNumber:  100,
			NativeHistogramMinResetDuration: time.Hour,
		}, labels)
		registry.MustRegister(h)
		return h
	}
	gauge := func(name, help string, labels prometheus.Labels, value func() float64) {
		registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value))
	}
	m := &metrics{
		registry:     registry,
		requests:     counters("bridge_requests_total", "Requests answered.", "method", "route", "code"),
		requestTimes: times("bridge_request_duration_seconds", "Time to answer a request.", "route"),
		deliveries:   counters("bridge_deliveries_total", "Deliveries of chat services, by what became of them.", "connector", "outcome"),
		jobs:         counters("bridge_jobs_total", "Attempts at jobs, by how they ended.", "connector", "kind", "outcome"),
		jobTimes:     times("bridge_job_duration_seconds", "Time of an attempt at a job.", "connector", "kind"),
		watches:      counters("bridge_watches_total", "Presses for a watch link, by what came of them.", "outcome"),
		refusals:     counters("bridge_refusals_total", "Times that a press, a card, an act at the desk, a command in the chat or a sign-in was refused, by reason.", "reason"),
		throttles:    counters("bridge_throttled_total", "Acts refused by a limit.", "limit"),
		spoofs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bridge_spoofed_identities_total", Help: "Requests that claimed an identity and did not come from a trusted proxy.",
		}),
		connectors: newNames(0, deskName, eraseQueue),
		routes:     newNames(50),
		kinds:      newNames(10, jobAnswer, jobShow, jobRefresh, jobTell, jobForward, jobErase),
		reasons:    newNames(20),
		limits:     newNames(20),
	}
	registry.MustRegister(
		m.spoofs,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)

	// Counters begin at zero where it is known that there will be some: what
	// first appears with 1 has not increased, and so alerts nobody.
	for _, outcome := range watchOutcomes {
		m.watches.WithLabelValues(string(outcome))
	}
	for name := range health.all() {
		m.connectors.add(name)
		for _, outcome := range deliveryOutcomes {
			m.deliveries.WithLabelValues(name, string(outcome))
		}
		for _, kind := range []string{jobAnswer, jobShow} {
			for _, outcome := range jobOutcomes {
				m.jobs.WithLabelValues(name, kind, string(outcome))
			}
		}
		gauge("bridge_connector_failing", "Whether the last job of a connector failed.", prometheus.Labels{"connector": name},
			func() float64 { return one(health.all()[name].State == "failing") })
	}
	gauge("bridge_policy_fault", "Whether the policy file is wrong, so that the policy of before goes on.", nil, func() float64 {
		_, fault := file.State()
		return one(fault != nil)
	})
	gauge("bridge_policy_loaded_timestamp_seconds", "When the current policy was read.", nil, func() float64 {
		since, _ := file.State()
		return float64(since.UnixMilli()) / 1000
	})
	gauge("bridge_build_info", "Is 1; the labels say what runs.", prometheus.Labels{"version": cmp.Or(version, "unknown"), "go": runtime.Version()},
		func() float64 { return 1 })
	return m
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// handler answers with all metrics, to whoever asks: serve it to nobody outside.
func (m *metrics) handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// request counts an answer. The route is its template, and status what was sent.
func (m *metrics) request(method, route string, status int, took time.Duration) {
	route = m.routes.known(route)
	status = cmp.Or(status, http.StatusOK) // which is sent where nobody says
	code := strconv.Itoa(status)
	if http.StatusText(status) == "" {
		code = other
	}
	m.requests.WithLabelValues(knownMethod(method), route, code).Inc()
	m.requestTimes.WithLabelValues(route).Observe(took.Seconds())
}

func (m *metrics) delivery(connector string, outcome deliveryOutcome) {
	m.deliveries.WithLabelValues(m.connectors.known(connector), string(outcome)).Inc()
}

// job counts an attempt. Its connector is the one whose queue it waits in.
func (m *metrics) job(queue, kind string, outcome jobOutcome, took time.Duration) {
	queue, _ = strings.CutSuffix(queue, forwardQueue)
	connector, kind := m.connectors.known(queue), m.kinds.known(kind)
	m.jobs.WithLabelValues(connector, kind, string(outcome)).Inc()
	m.jobTimes.WithLabelValues(connector, kind).Observe(took.Seconds())
}

func (m *metrics) watch(outcome watchOutcome) { m.watches.WithLabelValues(string(outcome)).Inc() }

// refusal counts a press, a card's address, an act at the desk, a command in the chat or a
// sign-in that was refused. The reason is one of a few fixed ones, in the words of the audit
// log.
func (m *metrics) refusal(reason string) {
	m.refusals.WithLabelValues(m.reasons.known(reason)).Inc()
}

// spoofed counts a request that claims to be somebody, and must not.
func (m *metrics) spoofed() { m.spoofs.Inc() }

// throttled counts an act that a limit refused, by the limit's name.
func (m *metrics) throttled(limit string) {
	m.throttles.WithLabelValues(m.limits.known(limit)).Inc()
}

// names are the values that a label may have: those that were added, and as many
// others as there is room for. So a mistake of ours cannot fill the memory, here
// or in Prometheus.
type names struct {
	mu   sync.Mutex
	seen map[string]bool
	room int
}

// other is the value of a label for what there is no room for.
const other = "other"

func newNames(room int, known ...string) *names {
	n := &names{seen: map[string]bool{}, room: room}
	for _, name := range known {
		n.add(name)
	}
	return n
}

func (n *names) add(name string) { n.seen[name] = true }

func (n *names) known(name string) string {
	name = strings.ToValidUTF8(name, "?") // a label is
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.seen[name]:
	case n.room == 0:
		return other
	default:
		n.room--
		n.seen[name] = true
	}
	return name
}
