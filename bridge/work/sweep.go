package work

import (
	"cmp"
	"context"
	"errors"
	"time"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/jobs"
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
		due, err := work.store.SweepDue(ctx, c.Name, c.SweepEvery)
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
	sweep, err := work.store.StartSweep(ctx, c.Name, c.SweepEvery, time.Now().Add(sweepLease))
	if errors.Is(err, store.ErrLeased) {
		return 0, nil // another process was faster
	}
	if err != nil {
		return failures, err
	}
	stored := 0
	err = c.Sweep(ctx, func(ctx context.Context, page []chat.Delivery) error {
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
	next := time.Now().Add(wait)
	if err != nil && ctx.Err() == nil {
		work.log.WarnContext(ctx, "sweep not finished",
			"connector", c.Name, "wait", wait.String(), "err", err, "effect", "chats whose webhooks were lost may have no card")
	}
	work.store.Jobs().NoteResult(ctx, jobs.Failure{Queue: c.Name, Kind: book.WorkSweep, Next: next}, err)
	var notBefore time.Time
	if !complete && ctx.Err() == nil {
		notBefore = next
	}
	err = work.store.EndSweep(context.WithoutCancel(ctx), sweep, complete, notBefore)
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
func (work *Worker) storeFound(ctx context.Context, sweep store.Sweep, page []chat.Delivery) (stored int, err error) {
	if err := work.extendSweep(ctx, sweep); err != nil || len(page) == 0 {
		return 0, err
	}
	found := make([]store.Delivery, len(page))
	for i, d := range page {
		found[i] = store.Delivery{Connector: sweep.Connector, Key: d.Key, Body: d.Body, Received: d.Received}
	}
	unknown, err := work.store.NewlyFound(ctx, sweep, found)
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
		if err := work.store.StoreFound(ctx, sweep, found[i], time.Since(sweep.Since) > foundRecentlyLife, jobs.Job{Queue: sweep.Connector, Kind: book.JobAnswer}); err != nil {
			return stored, web.StoreFault(err)
		}
		work.metrics.Delivery(sweep.Connector, web.DeliveryStored)
		stored++
	}
	return stored, nil
}

func (work *Worker) extendSweep(ctx context.Context, sweep store.Sweep) error {
	if err := work.store.ExtendSweep(ctx, sweep, time.Now().Add(sweepLease)); err != nil {
		return web.StoreFault(err)
	}
	return nil
}

const (
	// reconcileEvery is the pause between two requests to a chat service.
	reconcileEvery = 100 * time.Millisecond
	// reconcileTries is how often a failed request about a chat is made, and after how many failed
	// chats in a row reconcile gives up.
	reconcileTries = 5
	reconcileWait  = 10 * time.Second
	// reconcileAgain is the pause after reconcile has given up.
	reconcileAgain = 10 * time.Minute
)

// reconcile closes the cards of chats that ended while the bridge did not run and whose deliveries
// are lost. It runs at the start, until it has succeeded. Chats that began meanwhile are found by
// the connector.
func (work *Worker) reconcile(ctx context.Context, conn chat.Connector) {
	for {
		closed, err := work.closeEnded(ctx, conn)
		if closed > 0 {
			work.log.InfoContext(ctx, "cards closed whose chats had ended", "connector", conn.Name, "cards", closed)
		}
		work.store.Jobs().NoteResult(ctx, jobs.Failure{Queue: conn.Name, Kind: book.WorkReconcile, Next: time.Now().Add(reconcileAgain)}, err)
		if err == nil || ctx.Err() != nil {
			return
		}
		work.log.WarnContext(ctx, "open cards not compared with chats", "connector", conn.Name, "wait", reconcileAgain.String(), "err", err,
			"effect", "cards of chats that ended while the bridge was stopped may still be open")
		select {
		case <-time.After(reconcileAgain):
		case <-ctx.Done():
			return
		}
	}
}

func (work *Worker) closeEnded(ctx context.Context, conn chat.Connector) (closed int, err error) {
	var failed []error // in a row
	var skipped error  // the last one that another attempt can fix
	for after := ""; ; {
		rows, err := work.store.OpenCards(ctx, conn.Name, after)
		if err != nil || len(rows) == 0 {
			return closed, cmp.Or(err, skipped)
		}
		for _, row := range rows {
			after = row.ID
			ended, err := work.closeIfEnded(ctx, conn, row)
			if ended {
				closed++
			}
			// One unreadable chat does not stop the rest. Several in a row mean that the
			// service is down.
			if err == nil {
				failed = nil
				continue
			}
			if !chat.IsPermanent(err) {
				skipped = err
			}
			if failed = append(failed, err); len(failed) == reconcileTries || ctx.Err() != nil {
				return closed, errors.Join(failed...)
			}
		}
	}
}

// closeIfEnded closes a card if its chat is over, and reports whether it was.
func (work *Worker) closeIfEnded(ctx context.Context, conn chat.Connector, row store.Card) (bool, error) {
	c, err := card.Open(row)
	if err != nil || c.Kind != store.KindChat {
		return false, err
	}
	open := true
	for try := range reconcileTries {
		wait := reconcileEvery
		if try > 0 {
			wait = reconcileWait
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(wait):
		}
		if _, open, err = conn.Serving(ctx, c.Chat); err == nil || chat.IsPermanent(err) {
			break
		}
	}
	if err != nil || open {
		return false, err
	}
	_, err = work.book.Revise(ctx, c.ID, func(c *card.Card) []audit.Entry {
		c.Close(time.Now())
		return nil
	})
	return true, err
}
