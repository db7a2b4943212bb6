// Package group lets many goroutines share one commit.
package group

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"
)

const (
	// maxWrites is how many writes can share a commit.
	maxWrites = 256

	// Wait is how long a write waits for the database. A chat service that waits three
	// seconds for its answer, as Slack does (docs.slack.dev/apis/events-api), learns in time
	// that it has to send again. PatientWait is the same where nobody waits; see Patient.
	Wait        = 2500 * time.Millisecond
	PatientWait = 15 * time.Second
)

var (
	// ErrBusy means that the database did not answer in time. The write may still happen.
	ErrBusy = fmt.Errorf("database did not answer in time: %w", context.DeadlineExceeded)
	// ErrClosed means that Close was called.
	ErrClosed = errors.New("store is closed")
)

// A Caller is the goroutine that waits for a write. Each write embeds one.
type Caller struct {
	ctx   context.Context
	until time.Time // it waits no longer
	done  chan error
}

// Until returns until when the caller waits.
func (c *Caller) Until() time.Time { return c.until }

// GivenUp returns why the caller no longer waits, or nil.
func (c *Caller) GivenUp() error {
	if err := c.ctx.Err(); err != nil {
		return err
	}
	if !time.Now().Before(c.until) {
		return ErrBusy
	}
	return nil
}

// Answer tells the caller the result. It must be called once for each commit of the write.
func (c *Caller) Answer(err error) { c.done <- err }

func (c *Caller) caller() *Caller { return c }

// A Write is anything that embeds a Caller.
type Write interface{ caller() *Caller }

type patientKey struct{}

// Patient returns a context whose writes wait up to 15 seconds for the database, instead of
// 2.5 seconds. It is for work for whose end nobody waits. The jobs of Work have it already.
func Patient(ctx context.Context) context.Context {
	return context.WithValue(ctx, patientKey{}, true)
}

// waitOf returns how long a write with ctx waits for the database.
func (c *Committer[W]) waitOf(ctx context.Context) time.Duration {
	if c.Patient || ctx.Value(patientKey{}) != nil {
		return PatientWait
	}
	return Wait
}

// A Committer collects the writes of many goroutines. One goroutine commits all writes that
// are waiting, and does not wait for more. So a single writer loses no time, and many
// writers share one flush to the disk.
type Committer[W Write] struct {
	// Patient makes every write patient. It must not change while writes run.
	Patient bool

	queue  chan W
	commit func([]W)
	group  []W // of the commit that runs; used again for the next
	timers sync.Pool
	stop   chan struct{}
	once   sync.Once
	wg     sync.WaitGroup
}

// New returns a Committer that commits groups with commit, which must Answer each write.
func New[W Write](commit func([]W), patient bool) *Committer[W] {
	c := &Committer[W]{queue: make(chan W, maxWrites), commit: commit, Patient: patient, stop: make(chan struct{})}
	c.timers.New = func() any { return time.NewTimer(PatientWait) }
	c.wg.Go(c.run)
	return c
}

// Waiting returns how many writes wait for the commit that runs.
func (c *Committer[W]) Waiting() int { return len(c.queue) }

// Do returns when w is committed or refused, when ctx ends, or with ErrBusy when w has waited
// too long. In the last two cases w may still be written.
func (c *Committer[W]) Do(ctx context.Context, write W) error {
	w := write.caller()
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
		return ErrClosed
	default:
	}
	select {
	case c.queue <- write:
	case <-ctx.Done():
		return ctx.Err()
	case <-tooLong.C:
		return ErrBusy
	case <-c.stop:
		return ErrClosed
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
		return ErrClosed
	}
}

func (c *Committer[W]) run() {
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
func (c *Committer[W]) collect(w W) {
	c.group = c.group[:0]
	for {
		if err := w.caller().GivenUp(); err != nil {
			w.caller().Answer(err)
		} else {
			c.group = append(c.group, w)
		}
		if len(c.group) == maxWrites {
			return
		}
		select {
		case w = <-c.queue:
		default:
			return
		}
	}
}

// Close ends the goroutine, and waits for the commit that runs. Writes that still wait fail with ErrClosed.
func (c *Committer[W]) Close() {
	c.once.Do(func() { close(c.stop) })
	c.wg.Wait()
}
