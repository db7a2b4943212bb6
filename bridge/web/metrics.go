package web

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/store/jobs"
)

// Metrics are the bridge's metrics for Prometheus. Their labels have few values: no ids, paths or
// names from requests. If there would be too many, the value is "other"; see names.
type Metrics struct {
	// SettingsFault reports whether a file of settings has a fault. Nil means that none has. Set it before the
	// metrics are served.
	SettingsFault func() bool

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

// deliveryOutcome is the result of receiving a delivery.
type deliveryOutcome string

const (
	DeliveryStored     deliveryOutcome = "stored"
	DeliveryRepeated   deliveryOutcome = "repeated"   // was stored before
	DeliveryIgnored    deliveryOutcome = "ignored"    // genuine, but nothing is to be done
	deliveryForged     deliveryOutcome = "forged"     // not verified as genuine
	deliveryUnreadable deliveryOutcome = "unreadable" // genuine, but could not be read
	deliveryMalformed  deliveryOutcome = "malformed"  // too large, encoded, incomplete, wrong method or path
	deliveryBusy       deliveryOutcome = "busy"       // refused: too many large deliveries at once, or sent too slowly
	deliveryFailed     deliveryOutcome = "failed"     // not stored; the sender has to send it again
)

var deliveryOutcomes = []deliveryOutcome{
	DeliveryStored, DeliveryRepeated, DeliveryIgnored, deliveryForged, deliveryUnreadable, deliveryMalformed, deliveryBusy, deliveryFailed,
}

// OutcomeOfError returns the outcome of a delivery that was answered with err.
func OutcomeOfError(err error) deliveryOutcome {
	switch {
	case errors.Is(err, chat.ErrForged):
		return deliveryForged
	case errors.Is(err, ErrUnreadable):
		return deliveryUnreadable
	case errors.Is(err, ErrBusy), errors.Is(err, ErrSlow):
		return deliveryBusy
	case errors.Is(err, ErrStore):
		return deliveryFailed
	}
	return deliveryMalformed
}

// watchOutcome is the result of a press for a watch link.
type watchOutcome string

const (
	WatchOpened  watchOutcome = "led"     // the agent got the watch link
	WatchRefused watchOutcome = "refused" // by the limit of watch links, or because the door belongs to another browser
	WatchFailed  watchOutcome = "failed"  // Upscope, the chat service or the store failed
)

var watchOutcomes = []watchOutcome{WatchOpened, WatchRefused, WatchFailed}

// NewMetrics returns Metrics with a registry of their own. queues are the queues of jobs that
// belong to no connector; kinds are all kinds of jobs, the first two those of every connector.
// health and file are read at each scrape.
func NewMetrics(version string, queues, kinds []string, health *Health, file *policy.File) *Metrics {
	registry := prometheus.NewRegistry()
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		registry.MustRegister(c)
		return c
	}
	times := func(name, help string, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{
			Name: name, Help: help,
			// For a Prometheus that does not support native histograms.
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
	m := &Metrics{
		registry:     registry,
		requests:     counters("bridge_requests_total", "Requests answered.", "method", "route", "code"),
		requestTimes: times("bridge_request_duration_seconds", "Time to answer a request.", "route"),
		deliveries:   counters("bridge_deliveries_total", "Deliveries of chat services, by result.", "connector", "outcome"),
		jobs:         counters("bridge_jobs_total", "Attempts at jobs, by result.", "connector", "kind", "outcome"),
		jobTimes:     times("bridge_job_duration_seconds", "Duration of an attempt at a job.", "connector", "kind"),
		watches:      counters("bridge_watches_total", "Presses for a watch link, by result.", "outcome"),
		refusals:     counters("bridge_refusals_total", "Refused presses, card addresses, acts at the desk, commands in the chat and sign-ins, by reason.", "reason"),
		throttles:    counters("bridge_throttled_total", "Acts refused by a limit.", "limit"),
		spoofs: prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bridge_spoofed_identities_total", Help: "Requests with an identity that did not come from a trusted proxy.",
		}),
		connectors: newNames(0, queues...),
		routes:     newNames(50),
		kinds:      newNames(10, kinds...),
		reasons:    newNames(20),
		limits:     newNames(20),
	}
	registry.MustRegister(
		m.spoofs,
		collectors.NewGoCollector(),
		collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)

	// Expected counters start at zero. For Prometheus, a counter that first appears with value 1
	// has not increased, so it would cause no alert.
	for _, outcome := range watchOutcomes {
		m.watches.WithLabelValues(string(outcome))
	}
	for _, name := range health.connectors {
		m.connectors.add(name)
		for _, outcome := range deliveryOutcomes {
			m.deliveries.WithLabelValues(name, string(outcome))
		}
		for _, kind := range kinds[:2] {
			for _, outcome := range jobs.Outcomes {
				m.jobs.WithLabelValues(name, kind, string(outcome))
			}
		}
	}
	registry.MustRegister(&failures{m, health, kinds[:2]})
	gauge("bridge_policy_fault", "Whether the policy file is invalid; the previous policy stays in use.", nil, func() float64 {
		_, fault := file.State()
		return one(fault != nil)
	})
	gauge("bridge_policy_loaded_timestamp_seconds", "When the current policy was read.", nil, func() float64 {
		since, _ := file.State()
		return float64(since.UnixMilli()) / 1000
	})
	gauge("bridge_settings_fault", "Whether a file of settings is invalid; the previous value stays in use.", nil, func() float64 {
		return one(m.SettingsFault != nil && m.SettingsFault())
	})
	gauge("bridge_build_info", "Always 1; the labels are the versions of the program and of Go.", prometheus.Labels{"version": cmp.Or(version, "unknown"), "go": runtime.Version()},
		func() float64 { return 1 })
	return m
}

// failures reads at each scrape what fails now.
type failures struct {
	metrics *Metrics
	health  *Health
	kinds   []string // of every connector
}

// scrapeTimeout limits how long a scrape waits for the store.
const scrapeTimeout = time.Second

var (
	failuresNow = prometheus.NewDesc("bridge_failures", "Work that failed and has not succeeded since: retrying, or failed for good.", []string{"connector", "kind", "state"}, nil)
	failingNow  = prometheus.NewDesc("bridge_connector_failing", "Whether work of a connector failed and has not succeeded since.", []string{"connector"}, nil)
	unknownNow  = prometheus.NewDesc("bridge_failures_unknown", "Whether the store could not be asked what fails.", nil, nil)
)

// Describe implements prometheus.Collector.
func (f *failures) Describe(all chan<- *prometheus.Desc) {
	all <- failuresNow
	all <- failingNow
	all <- unknownNow
}

// Collect implements prometheus.Collector.
func (f *failures) Collect(all chan<- prometheus.Metric) {
	send := func(about *prometheus.Desc, n int, labels ...string) {
		all <- prometheus.MustNewConstMetric(about, prometheus.GaugeValue, float64(n), labels...)
	}
	ctx, cancel := context.WithTimeout(context.Background(), scrapeTimeout)
	defer cancel()
	report, err := f.health.Report(ctx)
	if err != nil {
		send(unknownNow, 1)
		return
	}
	send(unknownNow, 0)
	counts := map[[3]string]int{}
	for name, state := range report.Connectors {
		failing := 0
		if state.State == "failing" {
			failing = 1
		}
		send(failingNow, failing, name)
		for _, kind := range f.kinds {
			counts[[3]string{name, kind, "failed"}], counts[[3]string{name, kind, "retrying"}] = 0, 0
		}
	}
	for _, c := range report.Counts {
		state := "retrying"
		if c.Final {
			state = "failed"
		}
		counts[[3]string{f.metrics.connectors.label(f.health.connectorOf(c.Queue)), f.metrics.kinds.label(c.Kind), state}] += c.N
	}
	for labels, n := range counts {
		send(failuresNow, n, labels[:]...)
	}
}

func one(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// Handler serves all metrics. It does not check who asks, so do not serve it to the public.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// request counts an answered request. route is the route's template; a status of zero means 200.
func (m *Metrics) request(method, route string, status int, took time.Duration) {
	route = m.routes.label(route)
	status = cmp.Or(status, http.StatusOK) // net/http sends 200 if no status is set
	code := strconv.Itoa(status)
	if http.StatusText(status) == "" {
		code = other
	}
	m.requests.WithLabelValues(knownMethod(method), route, code).Inc()
	m.requestTimes.WithLabelValues(route).Observe(took.Seconds())
}

// Delivery counts a delivery.
func (m *Metrics) Delivery(connector string, outcome deliveryOutcome) {
	m.deliveries.WithLabelValues(m.connectors.label(connector), string(outcome)).Inc()
}

// Job counts an attempt at a job. queue is the connector's name or one of the other queues.
func (m *Metrics) Job(queue, kind string, outcome jobs.Outcome, took time.Duration) {
	connector, kind := m.connectors.label(queue), m.kinds.label(kind)
	m.jobs.WithLabelValues(connector, kind, string(outcome)).Inc()
	m.jobTimes.WithLabelValues(connector, kind).Observe(took.Seconds())
}

// Watch counts a press for a watch link.
func (m *Metrics) Watch(outcome watchOutcome) { m.watches.WithLabelValues(string(outcome)).Inc() }

// Refusal counts a refused press, card address, act at the desk, command in the chat or sign-in.
// reason is one of a few fixed texts, the same as in the audit log.
func (m *Metrics) Refusal(reason string) {
	m.refusals.WithLabelValues(m.reasons.label(reason)).Inc()
}

// spoofed counts a request with an identity that did not come from a trusted proxy.
func (m *Metrics) spoofed() { m.spoofs.Inc() }

// throttled counts an act that the limit with this name refused.
func (m *Metrics) throttled(limit string) {
	m.throttles.WithLabelValues(m.limits.label(limit)).Inc()
}

// names are the values that a label may have: those that were added, and the first others up to
// room. So a mistake in the code cannot fill the memory of the bridge or of Prometheus.
type names struct {
	mu     sync.Mutex
	values map[string]bool
	room   int
}

// other is the value of a label if there is no more room.
const other = "other"

func newNames(room int, known ...string) *names {
	n := &names{values: map[string]bool{}, room: room}
	for _, name := range known {
		n.add(name)
	}
	return n
}

func (n *names) add(name string) { n.values[name] = true }

func (n *names) label(name string) string {
	name = strings.ToValidUTF8(name, "?") // labels must be valid UTF-8
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.values[name]:
	case n.room == 0:
		return other
	default:
		n.room--
		n.values[name] = true
	}
	return name
}

func knownMethod(method string) string {
	if slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}, method) {
		return method
	}
	return "other"
}
