package bridge

import (
	"context"
	"errors"
	"time"

	"cobrowse-bridge/bridge/store"
)

const (
	// sweepLease is how long a process that sweeps may be silent before another takes
	// over: longer than any one request takes.
	sweepLease = 2 * time.Minute
	// sweepLook is how often a process looks whether it has to.
	sweepLook = 30 * time.Second
	// sweepPace is the pause before each chat that is taken up. There may be hundreds
	// after an outage or at the first sweep, and what comes in by itself goes before.
	sweepPace = time.Second
	// sweepRest is the longest pause after sweeps that failed.
	sweepRest = 10 * time.Minute
	// sweepLate is how long after the last whole sweep what is found still counts as
	// news. After that it may be of hours ago, and is late.
	sweepLate = 15 * time.Minute
)

// sweep has a connector look for chats whose deliveries were lost, whenever that is
// due and no other process is at it, until ctx ends.
func (b *Bridge) sweep(ctx context.Context, c Connector) {
	for failures := 0; ctx.Err() == nil; {
		due, err := b.store.SweepDue(ctx, c.Name, c.SweepEvery)
		if err == nil && !due.After(time.Now()) {
			if failures, err = b.sweepNow(ctx, c, failures); err == nil {
				continue
			}
		}
		wait := sweepLook
		if err == nil {
			wait = min(time.Until(due), sweepLook)
		} else if ctx.Err() == nil {
			b.log.WarnContext(ctx, "sweep not looked after", "connector", c.Name, "err", err)
		}
		select {
		case <-time.After(wait):
		case <-ctx.Done():
		}
	}
}

// sweepNow sweeps once, counts failures of the service in a row, and says in the
// store when the next may come. Its error is the store's.
func (b *Bridge) sweepNow(ctx context.Context, c Connector, failures int) (int, error) {
	sweep, err := b.store.TakeSweep(ctx, c.Name, c.SweepEvery, time.Now().Add(sweepLease))
	if errors.Is(err, store.ErrLeased) {
		return 0, nil // another process was faster
	}
	if err != nil {
		return failures, err
	}
	taken := 0
	err = c.Sweep(ctx, func(ctx context.Context, page []Delivery) error {
		n, err := b.takeFound(ctx, sweep, page)
		taken += n
		return err
	})
	if taken > 0 {
		b.log.InfoContext(ctx, "chats were found that no delivery told of", "connector", c.Name, "chats", taken)
	}
	whole := err == nil
	var rest time.Time
	if !whole && ctx.Err() == nil {
		wait := sweepWait(err, c.SweepEvery, failures)
		rest, failures = time.Now().Add(wait), failures+1
		b.log.WarnContext(ctx, "the sweep broke off; chats whose deliveries were lost may have no card",
			"connector", c.Name, "wait", wait, "err", err)
	}
	if whole {
		failures = 0
	}
	err = b.store.EndSweep(context.WithoutCancel(ctx), sweep, whole, rest)
	if errors.Is(err, store.ErrLeased) {
		err = nil // another process took it for dead
	}
	return failures, err
}

// sweepWait is how long to leave a service alone after a sweep failed: as long as it
// says, or else longer each time, and long where somebody has to mend something.
func sweepWait(err error, every time.Duration, failures int) time.Duration {
	wait, told := RetryWait(err)
	switch {
	case told:
		return max(wait, every)
	case IsPermanent(err):
		return max(sweepRest, every)
	}
	return max(min(every<<min(failures, 10), sweepRest), every)
}

// takeFound stores those chats of a page that are news, slowly, and counts them.
func (b *Bridge) takeFound(ctx context.Context, sweep store.Sweep, page []Delivery) (taken int, err error) {
	if err := b.keepSweep(ctx, sweep); err != nil || len(page) == 0 {
		return 0, err
	}
	found := make([]store.Delivery, len(page))
	for i, d := range page {
		found[i] = store.Delivery{Connector: sweep.Connector, Key: d.Key, Body: d.Body, Received: d.Received}
	}
	unknown, err := b.store.NotFoundBefore(ctx, sweep, found)
	if err != nil {
		return 0, storeFault(err)
	}
	for _, i := range unknown {
		select {
		case <-time.After(sweepPace):
		case <-ctx.Done():
			return taken, ctx.Err()
		}
		if err := b.keepSweep(ctx, sweep); err != nil {
			return taken, err
		}
		if err := b.store.AcceptFound(ctx, sweep, found[i], time.Since(sweep.Since) > sweepLate, store.Job{Queue: sweep.Connector, Kind: jobAnswer}); err != nil {
			return taken, storeFault(err)
		}
		b.metrics.delivery(sweep.Connector, deliveryStored)
		taken++
	}
	return taken, nil
}

func (b *Bridge) keepSweep(ctx context.Context, sweep store.Sweep) error {
	if err := b.store.KeepSweep(ctx, sweep, time.Now().Add(sweepLease)); err != nil {
		return storeFault(err)
	}
	return nil
}
