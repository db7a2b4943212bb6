package bridge

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/upscope"

	"golang.org/x/sync/errgroup"
)

// The kinds of job. A job's subject is the id of the row it works on, its queue
// the connector whose service it speaks to: a service that hangs holds up its
// own queue only.
const (
	jobAnswer  = "answer"  // a delivery
	jobShow    = "show"    // a card
	jobRefresh = "refresh" // presence on a card
	jobTell    = "tell"    // an agent that the visitor of a card is back
	jobForward = "forward" // a delivery, to somebody else
	jobErase   = "erase"   // a person, at Upscope
)

// workers is how many jobs of one connector run at once. They wait for networks
// nearly all of the time.
const workers = 50

// forwardQueue follows a connector's name in the name of the queue for what it
// hands on, so that a receiver that hangs holds up nothing else.
const (
	forwardQueue   = "_forward"
	forwardWorkers = 10
)

// work does one job and says how it ended in the store's terms.
func (b *Bridge) work(ctx context.Context, j store.Job) error {
	began := time.Now()
	err := b.workOne(ctx, j)
	outcome := jobDone
	switch {
	case err == nil:
	case store.IsCancel(err):
		outcome = jobFailed
	case store.IsSnooze(err):
		outcome = jobWaits
	default:
		outcome = jobAgain
	}
	b.metrics.job(j.Queue, j.Kind, outcome, time.Since(began))
	return err
}

func (b *Bridge) workOne(ctx context.Context, j store.Job) error {
	if j.Kind == jobErase {
		return b.eraseAtUpscope(ctx, j)
	}
	name, _ := strings.CutSuffix(j.Queue, forwardQueue)
	c, ok := b.connectors[name]
	if name == deskName && !ok {
		c, ok = Connector{Name: deskName}, true // of its cards visitors are looked after too
	}
	if !ok {
		return store.Cancel(fmt.Errorf("connector %q is not configured", j.Queue))
	}
	var err error
	switch j.Kind {
	case jobAnswer:
		err = b.answer(ctx, c, j)
	case jobShow:
		err = b.show(ctx, c, j.Subject)
	case jobRefresh:
		err = b.refresh(ctx, j)
	case jobTell:
		err = b.tell(ctx, c, j)
	case jobForward:
		err = b.forward(ctx, c, j)
	default:
		return store.Cancel(fmt.Errorf("unknown kind of job %q", j.Kind))
	}
	if errors.Is(err, errAgain) {
		return store.Snooze(err, againWait)
	}
	if e := (*upscope.Error)(nil); !errors.As(err, &e) && j.Kind != jobForward {
		b.health.note(c.Name, err) // Upscope's failures are not the chat service's
	}
	if err == nil {
		return nil
	}
	log := b.log.With("connector", c.Name, "job", j.Kind, "subject", j.Subject, "attempt", j.Attempt, "err", err)
	if IsPermanent(err) {
		log.ErrorContext(ctx, "job failed for good")
		return store.Cancel(err)
	}
	if wait, ok := retryWait(err); ok {
		log.WarnContext(ctx, "job waits", "wait", wait)
		return store.Snooze(err, wait)
	}
	log.WarnContext(ctx, "job failed and will be tried again")
	return err
}

const (
	// soonJobs is how many jobs may wait that nobody stored, soonWorkers how many
	// of them run at once, and soonTimeout for how long each.
	soonJobs    = 1000
	soonWorkers = 16
	soonTimeout = 8 * time.Second
)

// workSoon has jobs done that need not be stored: if this process dies before,
// the next look at Upscope's sessions brings the card up to date. One that fails,
// or that there is no room for, becomes a job like all others.
func (b *Bridge) workSoon(ctx context.Context, jobs []store.Job) {
	for _, j := range jobs {
		select {
		case b.soon <- j:
		default:
			b.postpone(ctx, j)
		}
	}
}

func (b *Bridge) postpone(ctx context.Context, j store.Job) {
	if err := b.store.Commit(context.WithoutCancel(ctx), store.Change{Jobs: []store.Job{j}}); err != nil {
		b.log.ErrorContext(ctx, "job not stored", "job", j.Kind, "subject", j.Subject, "err", err)
	}
}

// workOn does what workSoon was given until ctx ends, and then stores the rest.
func (b *Bridge) workOn(ctx context.Context) {
	var busy errgroup.Group
	busy.SetLimit(soonWorkers)
	for {
		select {
		case j := <-b.soon:
			busy.Go(func() error {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), soonTimeout)
				defer cancel()
				err := b.work(ctx, j)
				if err == nil || store.IsCancel(err) {
					return nil // and work has said so
				}
				if wait, ok := retryWait(err); ok {
					j.At = time.Now().Add(wait)
				}
				b.postpone(ctx, j)
				return nil
			})
		case <-ctx.Done():
			_ = busy.Wait()
			for {
				select {
				case j := <-b.soon:
					b.postpone(ctx, j)
				default:
					return
				}
			}
		}
	}
}

// errAgain means that somebody else changed or holds what a job works on, so
// that the job has to begin anew.
var errAgain = errors.New("changed meanwhile")

const againWait = 250 * time.Millisecond

// retryWait says how long the service that failed wants to be left alone.
func retryWait(err error) (time.Duration, bool) {
	if wait, ok := RetryWait(err); ok {
		return wait, true
	}
	var e *upscope.Error
	if errors.As(err, &e) && errors.Is(err, upscope.ErrRateLimited) {
		return max(e.RetryAfter, time.Second), true
	}
	return 0, false
}

// commit stores a changed card together with what follows from the change.
func (b *Bridge) commit(ctx context.Context, c *card, change store.Change) error {
	c.about.Subjects = b.subjects.add(c.about.Subjects, c.persons())
	row, err := c.row()
	if err != nil {
		return err
	}
	change.Card, change.Follows = row, c.follows
	if err := b.store.Commit(ctx, change); err != nil {
		if errors.Is(err, store.ErrConflict) {
			return fmt.Errorf("%w: %w", errAgain, err)
		}
		return err
	}
	c.Version, c.follows = row.Version, nil
	return nil
}

// entry begins an audit entry about a card, in the name of who acts on it.
func (b *Bridge) entry(c card, action, detail string) store.Entry {
	return store.Entry{
		At: time.Now(), Action: action, Agent: c.actor(), Visitor: c.Visitor,
		Card: c.ID, Connector: c.Connector, Chat: c.Chat, Detail: detail,
	}
}
