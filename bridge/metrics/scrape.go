package metrics

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// A Gauge is a metric that is read from the store at each scrape.
type Gauge struct{ about *prometheus.Desc }

var gauges []Gauge // all of them

func newGauge(name, help string, labels ...string) Gauge {
	g := Gauge{prometheus.NewDesc(name, help, labels, nil)}
	gauges = append(gauges, g)
	return g
}

// The gauges that are read at each scrape. All replicas of a database report the same values.
var (
	Failures         = newGauge("bridge_failures", "Work that failed and has not succeeded since: retrying, or failed for good.", "connector", "kind", "state")
	ConnectorFailing = newGauge("bridge_connector_failing", "Whether work of a connector failed and has not succeeded since.", "connector")
	WaitingJobs      = newGauge("bridge_waiting_jobs", "Jobs that are due and not started, at most 10,000 of a queue.", "connector", "queue")
	WaitingSince     = newGauge("bridge_waiting_jobs_oldest_age_seconds", "How long the oldest due job has been waiting; 0 if none waits.", "connector", "queue")
	Cards            = newGauge("bridge_cards", "Cards of chats that are not over, by state, at most 10,000 of a connector.", "connector", "state")
	Sessions         = newGauge("bridge_agent_sessions", "Agents' sessions at the bridge that have not expired, at most 10,000.")
	AuditHead        = newGauge("bridge_audit_head_timestamp_seconds", "When the latest entry of the audit log was written; 0 if there is none.")
	DatabaseSize     = newGauge("bridge_database_size_bytes", "Size of the database.")
	WALSize          = newGauge("bridge_database_wal_size_bytes", "Size of the write-ahead log of a SQLite database.")
	LastSweep        = newGauge("bridge_sweep_last_success_timestamp_seconds", "When the last sweep began that read the whole list of open chats; 0 if there was none.", "connector")
)

var scrapeFailed = prometheus.NewDesc("bridge_scrape_failed", "Whether some metrics could not be read from the database, and are missing.", nil, nil)

const (
	// scrapeTimeout limits how long a scrape waits for the store.
	scrapeTimeout = time.Second
	// readTimeout limits a reading. It ends before the scrapes that wait for it, so that they get the
	// parts that were read in time.
	readTimeout = 900 * time.Millisecond
)

// A Send adds a gauge's value to a scrape. labels are in the order of the gauge's labels.
type Send func(g Gauge, value float64, labels ...string)

// A Part reads some gauges from the store and sends them.
type Part func(ctx context.Context, send Send) error

// AddParts adds the parts that are read at each scrape. Scrapes that come at the same time share one
// reading. If a part fails, or takes longer than a second together with those before it, its gauges
// are missing, and bridge_scrape_failed is 1. Call it once.
func (m *Metrics) AddParts(log *slog.Logger, parts ...Part) {
	m.registry.MustRegister(&scrapes{log: log, parts: parts})
}

// scrapes is a prometheus.Collector.
type scrapes struct {
	log   *slog.Logger
	parts []Part

	mu     sync.Mutex
	now    *reading // that runs; nil for none
	failed bool     // the last scrape
}

// A reading is one run of all parts.
type reading struct {
	done   chan struct{} // is closed at the end
	values []prometheus.Metric
	err    error
}

// Describe implements prometheus.Collector.
func (s *scrapes) Describe(all chan<- *prometheus.Desc) {
	for _, g := range gauges {
		all <- g.about
	}
	all <- scrapeFailed
}

var errSlow = errors.New("the database did not answer within a second")

// Collect implements prometheus.Collector. It never waits longer than scrapeTimeout, also if the
// database driver ignores the end of its context.
func (s *scrapes) Collect(all chan<- prometheus.Metric) {
	r, err := s.join(), error(nil)
	select {
	case <-r.done:
		err = r.err
		for _, v := range r.values {
			all <- v
		}
	case <-time.After(scrapeTimeout):
		err = errSlow
	}
	all <- prometheus.MustNewConstMetric(scrapeFailed, prometheus.GaugeValue, Bool(err != nil))
	s.mu.Lock()
	before := s.failed
	s.failed = err != nil
	s.mu.Unlock()
	if err != nil && !before {
		s.log.Error("metrics not read from the database", "err", err, "effect", "they are missing until it answers")
	}
}

// join returns the reading that runs, or starts one.
func (s *scrapes) join() *reading {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.now != nil {
		return s.now
	}
	r := &reading{done: make(chan struct{})}
	s.now = r
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
		defer cancel()
		r.read(ctx, s.parts)
		s.mu.Lock()
		s.now = nil
		s.mu.Unlock()
		close(r.done)
	}()
	return r
}

func (r *reading) read(ctx context.Context, parts []Part) {
	for _, part := range parts {
		var values []prometheus.Metric
		err := part(ctx, func(g Gauge, value float64, labels ...string) {
			values = append(values, prometheus.MustNewConstMetric(g.about, prometheus.GaugeValue, value, labels...))
		})
		if err != nil {
			r.err = errors.Join(r.err, err)
			continue
		}
		r.values = append(r.values, values...)
	}
}
