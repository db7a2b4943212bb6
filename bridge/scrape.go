package bridge

import (
	"context"
	"maps"
	"slices"
	"time"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/store/figures"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/bridge/work"
)

// newMetrics makes the metrics with all values that their labels can have.
func newMetrics(c metrics.Config, connectors []string, budgets web.Budgets) *metrics.Metrics {
	reasons := map[string]bool{}
	for _, err := range web.Refusals {
		reasons[err.Error()] = true
	}
	for _, refusal := range work.Refusals {
		reasons[string(refusal)] = true
	}
	outcomes := make([]string, len(jobs.Outcomes))
	for i, outcome := range jobs.Outcomes {
		outcomes[i] = string(outcome)
	}
	c.Connectors, c.Desk, c.Others = connectors, book.DeskName, []string{book.EraseQueue, book.BridgeQueue}
	c.JobKinds, c.Kinds, c.JobOutcomes = book.ChatJobKinds, append([]string{book.JobErase}, book.WorkKinds...), outcomes
	c.Reasons, c.Limits = slices.Sorted(maps.Keys(reasons)), budgets.Names()
	return metrics.New(c)
}

// scrape reads the gauges of a bridge from its store.
type scrape struct {
	metrics    *metrics.Metrics
	health     *web.Health
	figures    figures.Reader
	connectors map[string]chat.Connector
}

// failures sends what fails now. The store's failures decide that, as for /readyz.
func (s scrape) failures(ctx context.Context, send metrics.Send) error {
	report, err := s.health.Report(ctx)
	if err != nil {
		return err
	}
	counts := map[[3]string]int{}
	for name, state := range report.Connectors {
		send(metrics.ConnectorFailing, metrics.Bool(state.State == "failing"), name)
		for _, kind := range book.ChatJobKinds {
			counts[[3]string{name, kind, "failed"}], counts[[3]string{name, kind, "retrying"}] = 0, 0
		}
	}
	for _, c := range report.Counts {
		state := "retrying"
		if c.Final {
			state = "failed"
		}
		counts[[3]string{s.metrics.Connector(book.ConnectorOf(c.Queue)), s.metrics.Kind(c.Kind), state}] += c.N
	}
	for labels, n := range counts {
		send(metrics.Failures, float64(n), labels[:]...)
	}
	return nil
}

// waiting sends the depth of each queue, and the age of its oldest job.
func (s scrape) waiting(ctx context.Context, send metrics.Send) error {
	queues := []string{book.DeskName, book.EraseQueue}
	for name, c := range s.connectors {
		queues = append(queues, name)
		if c.Forward != nil {
			queues = append(queues, name+book.ForwardQueueSuffix)
		}
	}
	now := time.Now()
	for _, queue := range queues {
		n, oldest, err := s.figures.Waiting(ctx, queue)
		if err != nil {
			return err
		}
		age := time.Duration(0)
		if !oldest.IsZero() {
			age = max(now.Sub(oldest), 0) // a job may be due in the next seconds
		}
		send(metrics.WaitingJobs, float64(n), book.ConnectorOf(queue), queue)
		send(metrics.WaitingSince, age.Seconds(), book.ConnectorOf(queue), queue)
	}
	return nil
}

// cards sends how many cards are in each state.
func (s scrape) cards(ctx context.Context, send metrics.Send) error {
	for _, name := range slices.Concat(s.health.Connectors(), []string{book.DeskName}) {
		counts, err := s.figures.OpenCards(ctx, name)
		if err != nil {
			return err
		}
		for _, state := range card.OpenStates {
			send(metrics.Cards, float64(counts[string(state)]), name, string(state))
		}
	}
	return nil
}

func (s scrape) sweeps(ctx context.Context, send metrics.Send) error {
	for name, c := range s.connectors {
		if c.Sweep == nil {
			continue
		}
		at, err := s.figures.LastSweep(ctx, name)
		if err != nil {
			return err
		}
		send(metrics.LastSweep, metrics.Timestamp(at), name)
	}
	return nil
}

func (s scrape) sessions(ctx context.Context, send metrics.Send) error {
	n, err := s.figures.SignedIn(ctx)
	if err == nil {
		send(metrics.Sessions, float64(n))
	}
	return err
}

func (s scrape) auditLog(ctx context.Context, send metrics.Send) error {
	at, err := s.figures.LastEntry(ctx)
	if err == nil {
		send(metrics.AuditHead, metrics.Timestamp(at))
	}
	return err
}

func (s scrape) size(ctx context.Context, send metrics.Send) error {
	size, err := s.figures.Size(ctx)
	if err != nil {
		return err
	}
	send(metrics.DatabaseSize, float64(size.Database))
	if size.WAL >= 0 {
		send(metrics.WALSize, float64(size.WAL))
	}
	return nil
}
