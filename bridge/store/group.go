package store

import (
	"context"
	"runtime"
	"sync"
)

// maxGroup is how many writes share a commit at most.
const maxGroup = 256

// A committer collects the writes of many goroutines. One goroutine takes
// whatever is waiting, without waiting for more, and commits it at once, so a
// lone writer loses no time and many writers share one flush of the disk.
type committer struct {
	queue  chan *write
	commit func([]*write)
	stop   chan struct{}
	once   sync.Once
	wg     sync.WaitGroup
}

func newCommitter(commit func([]*write)) *committer {
	c := &committer{queue: make(chan *write, maxGroup), commit: commit, stop: make(chan struct{})}
	c.wg.Go(c.run)
	return c
}

// do returns once w is committed, or refused, or ctx has ended. When ctx ends
// the write may still happen.
func (c *committer) do(ctx context.Context, w *write) error {
	w.ctx, w.done = ctx, make(chan error, 1)
	select {
	case <-c.stop:
		return errClosed
	default:
	}
	select {
	case c.queue <- w:
	case <-ctx.Done():
		return ctx.Err()
	case <-c.stop:
		return errClosed
	}
	select {
	case err := <-w.done:
		return err
	case <-ctx.Done():
		return ctx.Err()
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
			// Whoever is about to write gets to do so first.
			runtime.Gosched()
			c.commit(c.take(w))
		}
	}
}

// take adds what is waiting to w, without what nobody waits for any more.
func (c *committer) take(w *write) []*write {
	group := make([]*write, 0, maxGroup)
	for {
		if err := w.ctx.Err(); err != nil {
			w.done <- err
		} else {
			group = append(group, w)
		}
		if len(group) == maxGroup {
			return group
		}
		select {
		case w = <-c.queue:
		default:
			return group
		}
	}
}

func (c *committer) close() {
	c.once.Do(func() { close(c.stop) })
	c.wg.Wait()
}
