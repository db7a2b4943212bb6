package metrics

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// Calls are the metrics of calls to other services and to the database. They exist before the rest,
// because clients are made while the settings are read.
type Calls struct {
	ended     *prometheus.CounterVec
	times     *prometheus.HistogramVec
	breakers  *prometheus.GaugeVec
	expiry    *prometheus.GaugeVec
	database  *prometheus.CounterVec
	databases *prometheus.HistogramVec
}

// A CallOutcome says how a call ended.
type CallOutcome string

const (
	CallOK        CallOutcome = "ok"        // for a service: answered below 400
	CallRefused   CallOutcome = "refused"   // answered 4xx other than 429
	CallLimited   CallOutcome = "limited"   // answered 429
	CallFailed    CallOutcome = "failed"    // answered 5xx; for the database: any failure
	CallTimeout   CallOutcome = "timeout"   // no answer in time
	CallBroken    CallOutcome = "broken"    // no connection, or no complete answer
	CallCancelled CallOutcome = "cancelled" // the bridge no longer needed the answer
	CallPaused    CallOutcome = "paused"    // not sent, because the last ten failed
)

var (
	callOutcomes     = []CallOutcome{CallOK, CallRefused, CallLimited, CallFailed, CallTimeout, CallBroken, CallCancelled, CallPaused}
	databaseOutcomes = []CallOutcome{CallOK, CallFailed, CallTimeout, CallCancelled}
)

// The states of a circuit breaker, as gobreaker names them.
var breakerStates = []string{"closed", "half-open", "open"}

// The operations of a database.
const (
	DatabaseRead  = "read"
	DatabaseWrite = "write"
)

// NewCalls returns Calls without a service.
func NewCalls() *Calls {
	c := &Calls{
		ended:    prometheus.NewCounterVec(prometheus.CounterOpts{Name: "bridge_calls_total", Help: "Calls to other services, by result."}, []string{"service", "outcome"}),
		times:    newTimes("bridge_call_duration_seconds", "Time until a service answered a call, or until the call failed.", quick, "service"),
		breakers: prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "bridge_breaker_state", Help: "Whether the circuit breaker of a service is in the state."}, []string{"service", "state"}),
		expiry: prometheus.NewGaugeVec(prometheus.GaugeOpts{
			Name: "bridge_certificate_expiry_timestamp_seconds", Help: "When the first certificate expires that a service sent with its last answer; 0 before that.",
		}, []string{"service"}),
		database:  prometheus.NewCounterVec(prometheus.CounterOpts{Name: "bridge_database_operations_total", Help: "Reads and transactions of the database, by result."}, []string{"operation", "outcome"}),
		databases: newTimes("bridge_database_operation_duration_seconds", "Time of a read or a transaction of the database.", quick, "operation"),
	}
	for _, operation := range []string{DatabaseRead, DatabaseWrite} {
		c.databases.WithLabelValues(operation)
		for _, outcome := range databaseOutcomes {
			c.database.WithLabelValues(operation, string(outcome))
		}
	}
	return c
}

func (c *Calls) all() []prometheus.Collector {
	return []prometheus.Collector{c.ended, c.times, c.breakers, c.expiry, c.database, c.databases}
}

// Transport returns a transport that counts the calls to a service and their time, up to the headers
// of the answer. It also notes when the service's certificates expire.
func (c *Calls) Transport(service string, next http.RoundTripper) http.RoundTripper {
	t := transport{next, map[CallOutcome]prometheus.Counter{}, c.times.WithLabelValues(service), c.expiry.WithLabelValues(service)}
	for _, outcome := range callOutcomes {
		t.ended[outcome] = c.ended.WithLabelValues(service, string(outcome))
	}
	return t
}

// Paused counts a call that a circuit breaker did not let through.
func (c *Calls) Paused(service string) {
	c.ended.WithLabelValues(service, string(CallPaused)).Inc()
}

// Breaker sets the state of a service's circuit breaker: closed, half-open or open.
func (c *Calls) Breaker(service, state string) {
	for _, s := range breakerStates {
		c.breakers.WithLabelValues(service, s).Set(Bool(s == state))
	}
}

// Database counts a read or a transaction of the database. err is nil if it succeeded.
func (c *Calls) Database(operation string, err error, took time.Duration) {
	outcome := CallOK
	if err != nil {
		if outcome = outcomeOf(err); outcome == CallBroken {
			outcome = CallFailed
		}
	}
	c.database.WithLabelValues(operation, string(outcome)).Inc()
	c.databases.WithLabelValues(operation).Observe(took.Seconds())
}

type transport struct {
	next   http.RoundTripper
	ended  map[CallOutcome]prometheus.Counter
	times  prometheus.Observer
	expiry prometheus.Gauge
}

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(r *http.Request) (*http.Response, error) {
	began := time.Now()
	answer, err := t.next.RoundTrip(r)
	t.times.Observe(time.Since(began).Seconds())
	if err != nil {
		t.ended[outcomeOf(err)].Inc()
		return answer, err
	}
	t.ended[outcomeOfStatus(answer.StatusCode)].Inc()
	if answer.TLS != nil {
		t.expiry.Set(Timestamp(firstExpiry(answer.TLS.PeerCertificates)))
	}
	return answer, nil
}

// CloseIdleConnections closes the kept connections of the next transport, if it can.
func (t transport) CloseIdleConnections() {
	if c, ok := t.next.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

func outcomeOf(err error) CallOutcome {
	if errors.Is(err, context.Canceled) {
		return CallCancelled
	}
	if t, ok := errors.AsType[net.Error](err); errors.Is(err, context.DeadlineExceeded) || ok && t.Timeout() {
		return CallTimeout
	}
	return CallBroken
}

func outcomeOfStatus(status int) CallOutcome {
	switch {
	case status == http.StatusTooManyRequests:
		return CallLimited
	case status >= http.StatusInternalServerError:
		return CallFailed
	case status >= http.StatusBadRequest:
		return CallRefused
	}
	return CallOK
}

// firstExpiry returns when the first of the certificates expires.
func firstExpiry(all []*x509.Certificate) (first time.Time) {
	for _, c := range all {
		if first.IsZero() || c.NotAfter.Before(first) {
			first = c.NotAfter
		}
	}
	return first
}
