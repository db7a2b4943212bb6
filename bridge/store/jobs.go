package store

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"
)

// A Job is one step to take, now or later. It holds ids only: it is stored in
// plain.
type Job struct {
	// ID is made by the store.
	ID int64
	// Queue is made of a-z, 0-9, - and _. Empty is "default".
	Queue   string
	Kind    string
	Subject string
	Step    int
	// At is when to start it; zero means at once. One that is more than five seconds
	// away may start up to five seconds late.
	At time.Time
	// Attempt counts from 1 when a Handler gets the job.
	Attempt int
}

// A Handler does a job. Nil ends the job; Cancel and Snooze say otherwise; any
// other error, and a panic, means that it is tried again for about a day. The
// error's text is logged and, cut to 300 bytes, stored in plain. The context
// ends after 30 s, and when the grace of a stop is over.
type Handler func(ctx context.Context, j Job) error

// Cancel marks err as one that ends the job as failed, for good. Cancel(nil) is
// nil.
func Cancel(err error) error {
	if err == nil {
		return nil
	}
	return &cancelError{err}
}

// Snooze marks err as a reason to run the job again after d, without counting
// the attempt. Snooze(nil, …) is nil.
func Snooze(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &snoozeError{err, d}
}

// IsCancel reports whether err is marked by Cancel, and IsSnooze whether it is by
// Snooze.
func IsCancel(err error) bool {
	_, ok := errors.AsType[*cancelError](err)
	return ok
}

// IsSnooze: see IsCancel.
func IsSnooze(err error) bool {
	_, ok := errors.AsType[*snoozeError](err)
	return ok
}

type cancelError struct{ error }

func (e *cancelError) Unwrap() error { return e.error }

type snoozeError struct {
	error
	wait time.Duration
}

func (e *snoozeError) Unwrap() error { return e.error }

const (
	// A job that another process took and never finished is found within
	// rescueAfter and the half minute between River's looks.
	rescueAfter   = 45 * time.Second
	jobTimeout    = 30 * time.Second
	pollInterval  = 100 * time.Millisecond // River's own second is too slow for a person
	fetchCooldown = 20 * time.Millisecond
	grace         = 8 * time.Second // for running jobs when Work is to end
	keepDone      = 24 * time.Hour
	keepFailed    = 30 * 24 * time.Hour

	// River looks for scheduled jobs this often, and treats what is due sooner
	// as available.
	schedulerInterval = 5 * time.Second
)

// jobArgs is a Job as River stores it. All are of one kind for River, so that a
// job can be inserted before anybody handles its kind.
type jobArgs struct {
	Name    string `json:"kind"`
	Subject string `json:"subject,omitzero"`
	Step    int    `json:"step,omitzero"`
}

func (jobArgs) Kind() string { return "bridge" }

func (j Job) params() river.InsertManyParams {
	return river.InsertManyParams{
		Args:       jobArgs{j.Kind, j.Subject, j.Step},
		InsertOpts: &river.InsertOpts{Queue: j.Queue, ScheduledAt: j.At},
	}
}

// insertConfig is for the client that inserts jobs. It works whether or not
// anybody works.
func (s *Store) insertConfig() *river.Config {
	return &river.Config{
		Logger:        warnings(s.log),
		MaxAttempts:   maxAttempts,
		FetchCooldown: fetchCooldown, // no more notifications than anyone would act on
		Hooks:         []rivertype.Hook{river.HookInsertBeginFunc(startSoon)},
	}
}

// startSoon makes jobs that are due within a few seconds available, as River
// does with short retries: they start on time, and not when the scheduler comes
// round. Jobs of later must not be available: every poll would read past them.
func startSoon(_ context.Context, p *rivertype.JobInsertParams) error {
	if p.State == rivertype.JobStateScheduled && time.Until(*p.ScheduledAt) <= schedulerInterval {
		p.State = rivertype.JobStateAvailable
	}
	return nil
}

// Work hands jobs to h, with so many workers for each queue, until ctx ends. It
// then takes no more jobs, gives those that run eight seconds to finish, cancels
// their contexts, and returns once all have returned.
func (s *Store) Work(ctx context.Context, queues map[string]int, h Handler) error {
	workers := river.NewWorkers()
	if err := river.AddWorkerSafely(workers, river.WorkFunc(func(ctx context.Context, j *river.Job[jobArgs]) error {
		return s.handle(ctx, h, j)
	})); err != nil {
		return fmt.Errorf("store: work: %w", err)
	}
	c := s.insertConfig()
	c.Workers = workers
	c.Queues = make(map[string]river.QueueConfig, len(queues))
	for name, n := range queues {
		c.Queues[name] = river.QueueConfig{MaxWorkers: n}
	}
	c.FetchPollInterval = pollInterval
	c.JobTimeout = jobTimeout
	c.RescueStuckJobsAfter = rescueAfter
	c.RetryPolicy = retryPolicy{}
	c.SoftStopTimeout = grace
	c.CompletedJobRetentionPeriod = keepDone
	c.CancelledJobRetentionPeriod = keepFailed
	c.DiscardedJobRetentionPeriod = keepFailed
	if err := s.engine.Work(ctx, c); err != nil {
		return fmt.Errorf("store: work: %w", err)
	}
	return nil
}

// handle translates between River and h.
func (s *Store) handle(ctx context.Context, h Handler, j *river.Job[jobArgs]) (err error) {
	defer func() {
		// River would store what was passed to panic, and the stack.
		if r := recover(); r != nil {
			s.log.ErrorContext(ctx, "job panicked", "job", j.ID, "kind", j.Args.Name, "err", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("job %q panicked", j.Args.Name)
		}
	}()
	err = h(ctx, Job{ID: j.ID, Queue: j.Queue, Kind: j.Args.Name, Subject: j.Args.Subject, Step: j.Args.Step, At: j.ScheduledAt, Attempt: j.Attempt})
	if err == nil {
		return nil
	}
	if snooze, ok := errors.AsType[*snoozeError](err); ok {
		s.log.InfoContext(ctx, "job waits", "job", j.ID, "kind", j.Args.Name, "wait", snooze.wait, "err", err)
		return river.JobSnooze(max(snooze.wait, 0))
	}
	if _, ok := errors.AsType[*cancelError](err); ok {
		return river.JobCancel(brief{err})
	}
	return brief{err}
}

// brief keeps a text that is stored with every attempt short, and storable.
type brief struct{ error }

func (e brief) Unwrap() error { return e.error }

func (e brief) Error() string {
	const limit = 300
	text := strings.ReplaceAll(strings.ToValidUTF8(e.error.Error(), "?"), "\x00", "?")
	if len(text) <= limit {
		return text
	}
	cut := limit
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
