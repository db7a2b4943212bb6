package store

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"time"
)

const (
	// maxGroup is how many writes can share a commit.
	maxGroup = 256

	// writeWait is how long a write waits for the database. A chat service that waits three
	// seconds for its answer, as Slack does (docs.slack.dev/apis/events-api), learns in time
	// that it has to send again. patientWait is the same where nobody waits; see Patient.
	writeWait   = 2500 * time.Millisecond
	patientWait = 15 * time.Second
)

// ErrBusy means that the database did not answer in time. The write may still happen.
var ErrBusy = fmt.Errorf("database did not answer in time: %w", context.DeadlineExceeded)

type patientKey struct{}

// Patient returns a context whose writes wait up to 15 seconds for the database, instead of
// 2.5 seconds. It is for work for whose end nobody waits. The jobs of Work have it already.
func Patient(ctx context.Context) context.Context {
	return context.WithValue(ctx, patientKey{}, true)
}

// waitOf returns how long a write with ctx waits for the database.
func (c *committer) waitOf(ctx context.Context) time.Duration {
	if c.patient || ctx.Value(patientKey{}) != nil {
		return patientWait
	}
	return writeWait
}

// A committer collects the writes of many goroutines. One goroutine commits all writes that
// are waiting, and does not wait for more. So a single writer loses no time, and many
// writers share one flush to the disk.
type committer struct {
	queue   chan *write
	commit  func([]*write)
	patient bool     // every write is
	group   []*write // of the commit that runs; used again for the next
	timers  sync.Pool
	stop    chan struct{}
	once    sync.Once
	wg      sync.WaitGroup
}

func newCommitter(commit func([]*write), patient bool) *committer {
	c := &committer{queue: make(chan *write, maxGroup), commit: commit, patient: patient, stop: make(chan struct{})}
	c.timers.New = func() any { return time.NewTimer(patientWait) }
	c.wg.Go(c.run)
	return c
}

// do returns when w is committed or refused, when ctx ends, or with ErrBusy when w has waited
// too long. In the last two cases w may still be written.
func (c *committer) do(ctx context.Context, w *write) error {
	wait := c.waitOf(ctx)
	tooLong := c.timers.Get().(*time.Timer)
	tooLong.Reset(wait)
	defer func() {
		tooLong.Stop()
		c.timers.Put(tooLong)
	}()
	w.ctx, w.until, w.done = ctx, time.Now().Add(wait), make(chan error, 1)
	select {
	case <-c.stop:
		return errClosed
	default:
	}
	select {
	case c.queue <- w:
	case <-ctx.Done():
		return ctx.Err()
	case <-tooLong.C:
		return ErrBusy
	case <-c.stop:
		return errClosed
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	case <-tooLong.C:
		return ErrBusy
	case <-c.stop:
	}
	// The store is closing. The goroutine has ended, or it is committing w.
	c.wg.Wait()
	select {
	case err := <-w.done:
		return err
	default:
		return errClosed
	}
}

func (c *committer) run() {
	for {
		select {
		case <-c.stop:
			return
		case w := <-c.queue:
			// Let goroutines that are about to write join the group.
			runtime.Gosched()
			c.collect(w)
			c.commit(c.group)
			clear(c.group)
		}
	}
}

// collect makes a group of w and the writes that are waiting, except those that were given up.
func (c *committer) collect(w *write) {
	c.group = c.group[:0]
	for {
		if err := w.givenUp(); err != nil {
			w.done <- err
		} else {
			c.group = append(c.group, w)
		}
		if len(c.group) == maxGroup {
			return
		}
		select {
		case w = <-c.queue:
		default:
			return
		}
	}
}

func (c *committer) close() {
	c.once.Do(func() { close(c.stop) })
	c.wg.Wait()
}
