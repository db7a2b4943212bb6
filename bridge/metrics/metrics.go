// Package metrics has the bridge's metrics for Prometheus: those that count events, and those that
// are read at each scrape. It knows nothing of the rest of the bridge, so that every package can use
// it. Read metrics.go first.
package metrics

import (
	"cmp"
	"net/http"
	"runtime"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Metrics are the metrics of one bridge. Their labels have few values, which are known at the start:
// no ids, paths or names from requests. Another value, which only a mistake in the code can cause,
// becomes "other".
type Metrics struct {
	registry *prometheus.Registry

	requests     *prometheus.CounterVec
	requestTimes *prometheus.HistogramVec
	deliveries   *prometheus.CounterVec
	jobs         *prometheus.CounterVec
	jobTimes     *prometheus.HistogramVec
	watches      *prometheus.CounterVec
	steps        *prometheus.CounterVec
	stepTimes    *prometheus.HistogramVec
	signIns      *prometheus.CounterVec
	refusals     *prometheus.CounterVec
	spoofs       prometheus.Counter
	throttles    *prometheus.CounterVec

	connectors, routes, kinds, reasons, limits names
}

// A DeliveryOutcome is the result of receiving a delivery.
type DeliveryOutcome string

const (
	DeliveryStored     DeliveryOutcome = "stored"
	DeliveryRepeated   DeliveryOutcome = "repeated"   // was stored before
	DeliveryIgnored    DeliveryOutcome = "ignored"    // genuine, but nothing is to be done
	DeliveryForged     DeliveryOutcome = "forged"     // not verified as genuine
	DeliveryUnreadable DeliveryOutcome = "unreadable" // genuine, but could not be read
	DeliveryMalformed  DeliveryOutcome = "malformed"  // too large, encoded, incomplete, wrong method or path
	DeliveryBusy       DeliveryOutcome = "busy"       // refused: too many large deliveries at once, or sent too slowly
	DeliveryFailed     DeliveryOutcome = "failed"     // not stored; the sender has to send it again
)

var deliveryOutcomes = []DeliveryOutcome{
	DeliveryStored, DeliveryRepeated, DeliveryIgnored, DeliveryForged, DeliveryUnreadable, DeliveryMalformed, DeliveryBusy, DeliveryFailed,
}

// A WatchOutcome is the result of a press for a watch link.
type WatchOutcome string

const (
	WatchOpened  WatchOutcome = "led"     // the agent got the watch link
	WatchRefused WatchOutcome = "refused" // by the limit of watch links, or because the door belongs to another browser
	WatchFailed  WatchOutcome = "failed"  // Upscope, the chat service or the store failed
)

var watchOutcomes = []WatchOutcome{WatchOpened, WatchRefused, WatchFailed}

// A SignInOutcome is the result of a sign-in at the identity provider.
type SignInOutcome string

const (
	SignInDone      SignInOutcome = "done"
	SignInDenied    SignInOutcome = "denied"    // by the identity provider
	SignInRefused   SignInOutcome = "refused"   // the e-mail domain or the groups are not permitted
	SignInStale     SignInOutcome = "stale"     // too late, repeated, or in another browser
	SignInInvalid   SignInOutcome = "invalid"   // the answer of the identity provider could not be verified
	SignInThrottled SignInOutcome = "throttled" // failed, and the IP address has used up its limit
	SignInFailed    SignInOutcome = "failed"    // the identity provider, its settings or the store failed
)

var signInOutcomes = []SignInOutcome{SignInDone, SignInDenied, SignInRefused, SignInStale, SignInInvalid, SignInThrottled, SignInFailed}

// A Step is one step of a card on its way from a request to the end of a session.
type Step string

const (
	StepAsked  Step = "asked"  // the bridge began to search for the customer
	StepFound  Step = "found"  // it found one, or several to choose from
	StepShown  Step = "shown"  // the card was posted in the chat service
	StepOpened Step = "opened" // an agent pressed and got the watch link
	StepLive   Step = "live"   // a session began
	StepEnded  Step = "ended"  // it ended
)

var steps = []Step{StepAsked, StepFound, StepShown, StepOpened, StepLive, StepEnded}

// Config is what New needs.
type Config struct {
	// Version is the program's version; empty means unknown.
	Version string
	// Connectors are the names of the chat services, Desk that of cards that agents make at the
	// desk, and Others are the queues of jobs that belong to neither.
	Connectors []string
	Desk       string
	Others     []string
	// JobKinds are the kinds of jobs that every connector can have, Kinds all other kinds of work.
	JobKinds, Kinds []string
	// JobOutcomes are how an attempt at a job can end.
	JobOutcomes []string
	// Reasons are the reasons of refusals, Limits the names of limits.
	Reasons, Limits []string
	// SettingsFault reports whether a file of settings has a fault; nil means that none has.
	SettingsFault func() bool
	// Policy says when the policy in use was loaded, and why the present file cannot be used. Nil
	// means that there is none.
	Policy func() (loaded time.Time, fault error)
	// Calls are also served; nil means none.
	Calls *Calls
}

// New returns Metrics with a registry of their own. All series whose labels are known are made at
// once, with the value zero. For Prometheus, a counter that first appears with value 1 has not
// increased, so it would cause no alert.
func New(c Config) *Metrics {
	registry := prometheus.NewRegistry()
	counters := func(name, help string, labels ...string) *prometheus.CounterVec {
		return register(registry, prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels))
	}
	times := func(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
		return register(registry, newTimes(name, help, buckets, labels...))
	}
	m := &Metrics{
		registry:     registry,
		requests:     counters("bridge_requests_total", "Requests answered.", "method", "route", "code"),
		requestTimes: times("bridge_request_duration_seconds", "Time to answer a request, without probes.", quick, "route"),
		deliveries:   counters("bridge_deliveries_total", "Deliveries of chat services, by result.", "connector", "outcome"),
		jobs:         counters("bridge_jobs_total", "Attempts at jobs, by result.", "connector", "kind", "outcome"),
		jobTimes:     times("bridge_job_duration_seconds", "Duration of an attempt at a job.", quick, "connector", "kind"),
		watches:      counters("bridge_watches_total", "Presses for a watch link, by result.", "outcome"),
		steps:        counters("bridge_card_steps_total", "Steps of cards on their way from a request to the end of a session.", "connector", "step"),
		stepTimes:    times("bridge_card_step_duration_seconds", "Time of cards until a step.", slow, "step"),
		signIns:      counters("bridge_sign_ins_total", "Sign-ins at the identity provider, by result.", "outcome"),
		refusals:     counters("bridge_refusals_total", "Refused presses, card addresses, acts at the desk, commands in the chat and sign-ins, by reason.", "reason"),
		throttles:    counters("bridge_throttled_total", "Acts refused by a limit.", "limit"),
		spoofs: register(registry, prometheus.NewCounter(prometheus.CounterOpts{
			Name: "bridge_spoofed_identities_total", Help: "Requests with an identity that did not come from a trusted proxy.",
		})),
		connectors: newNames(slices.Concat(c.Connectors, []string{c.Desk}, c.Others)),
		routes:     newNames(nil),
		kinds:      newNames(slices.Concat(c.JobKinds, c.Kinds)),
		reasons:    newNames(c.Reasons),
		limits:     newNames(c.Limits),
	}
	registry.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	if c.Calls != nil {
		registry.MustRegister(c.Calls.all()...)
	}
	m.makeSeries(c)
	m.addGauges(c)
	return m
}

func register[C prometheus.Collector](r *prometheus.Registry, c C) C {
	r.MustRegister(c)
	return c
}

// makeSeries makes all series of counters and histograms, except those of requests; see AddRoute.
func (m *Metrics) makeSeries(c Config) {
	for _, outcome := range watchOutcomes {
		m.watches.WithLabelValues(string(outcome))
	}
	for _, outcome := range signInOutcomes {
		m.signIns.WithLabelValues(string(outcome))
	}
	for _, reason := range c.Reasons {
		m.refusals.WithLabelValues(reason)
	}
	for _, limit := range c.Limits {
		m.throttles.WithLabelValues(limit)
	}
	for _, connector := range c.Connectors {
		for _, outcome := range deliveryOutcomes {
			m.deliveries.WithLabelValues(connector, string(outcome))
		}
	}
	for _, connector := range append([]string{c.Desk}, c.Connectors...) {
		for _, step := range steps {
			m.steps.WithLabelValues(connector, string(step))
		}
		for _, kind := range c.JobKinds {
			m.jobTimes.WithLabelValues(connector, kind)
			for _, outcome := range c.JobOutcomes {
				m.jobs.WithLabelValues(connector, kind, outcome)
			}
		}
	}
	for _, step := range steps[1:] {
		m.stepTimes.WithLabelValues(string(step))
	}
}

func (m *Metrics) addGauges(c Config) {
	gauge := func(name, help string, labels prometheus.Labels, value func() float64) {
		m.registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{Name: name, Help: help, ConstLabels: labels}, value))
	}
	if c.Policy != nil {
		gauge("bridge_policy_fault", "Whether the policy file is invalid; the previous policy stays in use.", nil, func() float64 {
			_, fault := c.Policy()
			return Bool(fault != nil)
		})
		gauge("bridge_policy_loaded_timestamp_seconds", "When the current policy was read.", nil, func() float64 {
			loaded, _ := c.Policy()
			return Timestamp(loaded)
		})
	}
	gauge("bridge_settings_fault", "Whether a file of settings is invalid; the previous value stays in use.", nil, func() float64 {
		return Bool(c.SettingsFault != nil && c.SettingsFault())
	})
	gauge("bridge_build_info", "Always 1; the labels are the versions of the program and of Go.",
		prometheus.Labels{"version": cmp.Or(c.Version, "unknown"), "go": runtime.Version()}, func() float64 { return 1 })
}

// The limits of histograms, in seconds, for a Prometheus that does not support native histograms.
var (
	quick = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	slow  = []float64{.25, .5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200}
)

func newTimes(name, help string, buckets []float64, labels ...string) *prometheus.HistogramVec {
	return prometheus.NewHistogramVec(prometheus.HistogramOpts{
		Name: name, Help: help, Buckets: buckets,
		NativeHistogramBucketFactor:     1.1,
		NativeHistogramMaxBucketNumber:  100,
		NativeHistogramMinResetDuration: time.Hour,
	}, labels)
}

// Bool returns 1 for true.
func Bool(yes bool) float64 {
	if yes {
		return 1
	}
	return 0
}

// Timestamp returns t in seconds since 1970, and 0 for the zero time.
func Timestamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixMilli()) / 1000
}

// Handler serves all metrics. It does not check who asks, so do not serve it to the public.
func (m *Metrics) Handler() http.Handler {
	return promhttp.HandlerFor(m.registry, promhttp.HandlerOpts{EnableOpenMetrics: true})
}

// shownCodes are the statuses of requests whose series are made at the start.
var shownCodes = []int{http.StatusOK, http.StatusInternalServerError, http.StatusServiceUnavailable}

// AddRoute makes the series of a route, which is the route's template. Call it before the first
// request. probe says that no times are kept.
func (m *Metrics) AddRoute(route string, probe bool, methods ...string) {
	m.routes[route] = true
	if !probe {
		m.requestTimes.WithLabelValues(route)
	}
	for _, method := range methods {
		for _, code := range shownCodes {
			m.requests.WithLabelValues(method, route, strconv.Itoa(code))
		}
	}
}

// Request counts an answered request. route is the route's template; a status of zero means 200.
// probe says that its time is not kept: probes are quick and frequent.
func (m *Metrics) Request(method, route string, status int, probe bool, took time.Duration) {
	route = m.routes.label(route)
	status = cmp.Or(status, http.StatusOK) // net/http sends 200 if no status is set
	code := strconv.Itoa(status)
	if http.StatusText(status) == "" {
		code = other
	}
	m.requests.WithLabelValues(KnownMethod(method), route, code).Inc()
	if !probe {
		m.requestTimes.WithLabelValues(route).Observe(took.Seconds())
	}
}

// Delivery counts a delivery.
func (m *Metrics) Delivery(connector string, outcome DeliveryOutcome) {
	m.deliveries.WithLabelValues(m.connectors.label(connector), string(outcome)).Inc()
}

// Job counts an attempt at a job. connector is the name of a connector or one of the other queues.
func (m *Metrics) Job(connector, kind, outcome string, took time.Duration) {
	connector, kind = m.connectors.label(connector), m.kinds.label(kind)
	m.jobs.WithLabelValues(connector, kind, outcome).Inc()
	m.jobTimes.WithLabelValues(connector, kind).Observe(took.Seconds())
}

// Watch counts a press for a watch link.
func (m *Metrics) Watch(outcome WatchOutcome) { m.watches.WithLabelValues(string(outcome)).Inc() }

// CardStep counts a step of a card, from one time to another. If one of them is zero, no time is kept.
func (m *Metrics) CardStep(connector string, step Step, from, to time.Time) {
	m.steps.WithLabelValues(m.connectors.label(connector), string(step)).Inc()
	if !from.IsZero() && !to.IsZero() {
		m.stepTimes.WithLabelValues(string(step)).Observe(max(to.Sub(from), 0).Seconds())
	}
}

// SignIn counts a sign-in.
func (m *Metrics) SignIn(outcome SignInOutcome) { m.signIns.WithLabelValues(string(outcome)).Inc() }

// Refusal counts a refused press, card address, act at the desk, command in the chat or sign-in.
// reason is one of Config.Reasons, the same as in the audit log.
func (m *Metrics) Refusal(reason string) {
	m.refusals.WithLabelValues(m.reasons.label(reason)).Inc()
}

// Spoofed counts a request with an identity that did not come from a trusted proxy.
func (m *Metrics) Spoofed() { m.spoofs.Inc() }

// Throttled counts an act that the limit with this name refused.
func (m *Metrics) Throttled(limit string) {
	m.throttles.WithLabelValues(m.limits.label(limit)).Inc()
}

// Connector returns the value of the label connector for a name.
func (m *Metrics) Connector(name string) string { return m.connectors.label(name) }

// Kind returns the value of the label kind for a kind of work.
func (m *Metrics) Kind(kind string) string { return m.kinds.label(kind) }

// names are the values that a label may have. So a mistake in the code cannot fill the memory of the
// bridge or of Prometheus.
type names map[string]bool

// other is the value of a label for all names that are not known.
const other = "other"

func newNames(known []string) names {
	n := names{}
	for _, name := range known {
		n[name] = true
	}
	return n
}

func (n names) label(name string) string {
	if n[name] {
		return name
	}
	return other
}

// KnownMethod returns the method of a request, or "other".
func KnownMethod(method string) string {
	if slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}, method) {
		return method
	}
	return other
}
