package work

import (
	"context"
	"errors"
	"time"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/requestid"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/store/sweeps"
	"cobrowse-bridge/bridge/web"
)

const (
	// sweepLease is how long a process that sweeps may take between two writes before another
	// process takes over. It is longer than a request takes.
	sweepLease = 2 * time.Minute
	// sweepCheckEvery is how often a process checks whether a sweep is due.
	sweepCheckEvery = 30 * time.Second
	// sweepPause is the pause before each chat that is stored. A sweep can find hundreds after an
	// outage; ordinary deliveries must not wait for them.
	sweepPause = time.Second
	// maxSweepBackoff is the longest pause after failed sweeps, unless the service asks for more.
	maxSweepBackoff = 10 * time.Minute
	// foundRecentlyLife is how long after the last complete sweep found chats count as recent. After
	// that they count as found late, since they may have begun hours ago.
	foundRecentlyLife = 15 * time.Minute
)

// sweep has a connector look for chats whose deliveries were lost, whenever that is due and no
// other process does it, until ctx ends.
func (work *Worker) sweep(ctx context.Context, c chat.Connector) {
	for failures := 0; ctx.Err() == nil; {
		due, err := work.store.Sweeps().Due(ctx, c.Name, c.SweepEvery)
		if err == nil && !due.After(time.Now()) {
			if failures, err = work.sweepNow(ctx, c, failures); err == nil {
				continue
			}
		}
		wait := sweepCheckEvery
		if err == nil {
			wait = min(time.Until(due), sweepCheckEvery)
		} else if ctx.Err() == nil {
			work.log.WarnContext(ctx, "sweep not started", "connector", c.Name, "err", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// sweepNow sweeps once and stores when the next sweep may start. It returns how often the service
// has failed in a row. Its error is always that of the store.
func (work *Worker) sweepNow(ctx context.Context, c chat.Connector, failures int) (int, error) {
	ctx = requestid.With(ctx, requestid.New())
	began := time.Now()
	sweep, err := work.store.Sweeps().Start(ctx, c.Name, c.SweepEvery, time.Now().Add(sweepLease))
	if errors.Is(err, store.ErrLeased) {
		return 0, nil // another process was faster
	}
	if err != nil {
		return failures, err
	}
	stored, listed := 0, map[string]bool{}
	err = c.Sweep(ctx, func(ctx context.Context, page []chat.Delivery) error {
		for _, d := range page {
			listed[d.Chat] = true
		}
		n, err := work.storeFound(ctx, sweep, page)
		stored += n
		return err
	})
	if stored > 0 {
		work.log.InfoContext(ctx, "sweep found chats whose deliveries were lost", "connector", c.Name, "chats", stored)
	}
	complete := err == nil || errors.Is(err, chat.ErrIncomplete)
	wait := c.SweepEvery
	if complete {
		failures = 0
	} else if ctx.Err() == nil {
		wait = sweepBackoff(err, c.SweepEvery, failures)
		failures++
	}
	if err != nil && ctx.Err() == nil {
		work.log.WarnContext(ctx, "sweep not finished",
			"connector", c.Name, "wait", wait.String(), "err", err, "effect", "chats whose webhooks were lost may have no card")
	}
	known := true // whether the sweep has failed
	if err == nil {
		known, err = work.checkUnlisted(ctx, c, listed, began, func() error { return work.extendSweep(ctx, sweep) })
	}
	next := time.Now().Add(wait)
	if known {
		work.store.Jobs().NoteResult(ctx, jobs.Failure{Queue: c.Name, Kind: book.WorkSweep, Next: next}, err)
	}
	var notBefore time.Time
	if !complete && ctx.Err() == nil {
		notBefore = next
	}
	err = work.store.Sweeps().End(context.WithoutCancel(ctx), sweep, complete, notBefore)
	if errors.Is(err, store.ErrLeased) {
		err = nil // the lease had ended, and another process has taken over
	}
	return failures, err
}

// sweepBackoff returns the pause after a failed sweep: as long as the service asks for, or else
// longer each time. It is long at once if an operator has to fix something.
func sweepBackoff(err error, every time.Duration, failures int) time.Duration {
	wait, ok := chat.RetryWait(err)
	switch {
	case ok:
		return max(wait, every)
	case chat.IsPermanent(err):
		return max(maxSweepBackoff, every)
	}
	return max(min(every<<min(failures, 10), maxSweepBackoff), every)
}

// storeFound stores those chats of a page that the bridge does not know, with pauses, and counts
// them.
func (work *Worker) storeFound(ctx context.Context, sweep sweeps.Sweep, page []chat.Delivery) (stored int, err error) {
	if err := work.extendSweep(ctx, sweep); err != nil || len(page) == 0 {
		return 0, err
	}
	keys := make([]string, len(page))
	for i, d := range page {
		keys[i] = d.Key
	}
	unknown, err := work.store.Sweeps().NewlyFound(ctx, sweep, keys)
	if err != nil {
		return 0, web.StoreFault(err)
	}
	for _, i := range unknown {
		select {
		case <-time.After(sweepPause):
		case <-ctx.Done():
			return stored, ctx.Err()
		}
		if err := work.extendSweep(ctx, sweep); err != nil {
			return stored, err
		}
		ctx := requestid.With(ctx, requestid.New()) // each chat has an id of its own
		if err := work.store.StoreFound(ctx, sweep, store.Delivery{Key: page[i].Key, Body: page[i].Body, Received: page[i].Received}, time.Since(sweep.Since) > foundRecentlyLife, jobs.Job{Queue: sweep.Connector, Kind: book.JobAnswer}); err != nil {
			return stored, web.StoreFault(err)
		}
		work.log.DebugContext(ctx, "delivery stored", "connector", sweep.Connector, "found_by", "sweep")
		work.metrics.Delivery(sweep.Connector, metrics.DeliveryStored)
		stored++
	}
	return stored, nil
}

func (work *Worker) extendSweep(ctx context.Context, sweep sweeps.Sweep) error {
	if err := work.store.Sweeps().Extend(ctx, sweep, time.Now().Add(sweepLease)); err != nil {
		return web.StoreFault(err)
	}
	return nil
}
