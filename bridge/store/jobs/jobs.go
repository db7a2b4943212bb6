// Package jobs runs the jobs that the store keeps, with River, and lists the work that failed.
package jobs

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"cobrowse-bridge/bridge/requestid"
	"cobrowse-bridge/bridge/store/engine"
)

// A Job is one step of work, now or later. It is stored unsealed, so it must hold ids only.
type Job struct {
	// ID is made by the store.
	ID int64
	// Queue is made of a-z, 0-9, - and _. Empty is "default".
	Queue   string
	Kind    string
	Subject string
	Step    int
	// Priority orders the jobs of a queue that are due. Zero is InOrder.
	Priority Priority
	// At is when to start; zero means at once. A job that is inserted more than five
	// seconds before At may start up to five seconds late.
	At time.Time
	// Attempt counts from 1 when a Handler gets the job.
	Attempt int
	// Request is the id of the request from which the job follows, for the log. Params sets it if
	// it is empty.
	Request string
}

// A Priority says which jobs of a queue go first.
type Priority int

// The priorities, from the first to the last. River has four (riverqueue.com/docs/job-priority).
const (
	Soon    Priority = 1 // an agent waits for it
	InOrder Priority = 2
)

// A Handler does a job. The job ends if the Handler returns nil. After an error marked by
// Cancel it has failed, and after one marked by Snooze it runs again later, for a day at most.
// After any other error or a panic it is tried again for about a day. The error's text is logged
// and, cut to 300 bytes, stored unsealed, also as a Failure. ctx ends after 30 seconds, or 8
// seconds after Work is stopped.
type Handler func(ctx context.Context, j Job) error

// Cancel marks err as permanent: the job has failed and is not tried again. Cancel(nil) is
// nil.
func Cancel(err error) error {
	if err == nil {
		return nil
	}
	return &cancelError{err}
}

// Snooze marks err as temporary: the job runs again after d, and the attempt does not count.
// Snooze(nil, …) is nil.
func Snooze(err error, d time.Duration) error {
	if err == nil {
		return nil
	}
	return &snoozeError{err, d}
}

type cancelError struct{ error }

func (e *cancelError) Unwrap() error { return e.error }

type snoozeError struct {
	error
	wait time.Duration
}

func (e *snoozeError) Unwrap() error { return e.error }

const (
	// A job that another process started and did not finish is rescued after this time.
	// River checks every 30 seconds.
	rescueAfter = 45 * time.Second
	jobTimeout  = 30 * time.Second
	// pollInterval is how often the database is asked for jobs of other processes. An alarm starts the jobs
	// that this process inserts, so it keeps what follows from a delivery, and replicas do not compete for it.
	// SQLite has another.
	pollInterval = time.Second
	// rarePollInterval is for queues that are Rare.
	rarePollInterval = 10 * time.Second
	// fetchCooldown is the least pause between two reads of a queue, for which a busy bridge spends much.
	fetchCooldown = 40 * time.Millisecond
	grace         = 8 * time.Second // for running jobs when Work ends
	keepDone      = time.Hour
	keepFailed    = 30 * 24 * time.Hour

	// never is the period after which River removes no finished jobs.
	never time.Duration = -1

	// River looks for scheduled jobs this often. It makes jobs that are due before the
	// next look available.
	schedulerInterval = 5 * time.Second

	// startAgain is the pause before another start if the database did not answer, for example
	// because another process holds a lock.
	startAgain = 2 * time.Second
)

// jobArgs is a Job as River stores it. For River all jobs have the same kind, so a job can
// be inserted before a worker for its kind is registered.
type jobArgs struct {
	Name    string `json:"kind"`
	Subject string `json:"subject,omitzero"`
	Step    int    `json:"step,omitzero"`
	Request string `json:"request,omitzero"`
}

func (jobArgs) Kind() string { return "bridge" }

// Params returns the job as River inserts it. It follows from the request of ctx; if that has none,
// the job gets a new id.
func (j Job) Params(ctx context.Context) river.InsertManyParams {
	return river.InsertManyParams{
		Args:       jobArgs{j.Kind, j.Subject, j.Step, cmp.Or(j.Request, requestid.ID(ctx), requestid.New())},
		InsertOpts: &river.InsertOpts{Queue: j.Queue, Priority: int(cmp.Or(j.Priority, InOrder)), ScheduledAt: j.At},
	}
}

// InsertConfig configures the client that inserts jobs. It does not need a running Work.
func InsertConfig(log *slog.Logger) *river.Config {
	return &river.Config{
		Logger:        Warnings(log),
		MaxAttempts:   maxAttempts,
		FetchCooldown: fetchCooldown, // also limits how often it notifies workers
		Hooks:         []rivertype.Hook{river.HookInsertBeginFunc(startSoon)},
	}
}

// startSoon makes jobs that are due within schedulerInterval available at once, as River
// does with short retries. So they start on time, and not at the scheduler's next run. Later
// jobs stay scheduled, because every poll reads all available jobs.
func startSoon(_ context.Context, p *rivertype.JobInsertParams) error {
	if p.State == rivertype.JobStateScheduled && time.Until(*p.ScheduledAt) <= schedulerInterval {
		p.State = rivertype.JobStateAvailable
	}
	return nil
}

// A Board runs jobs and lists the work that failed.
type Board struct {
	engine engine.Engine
	write  engine.Writer
	log    *slog.Logger
}

// NewBoard returns the board of a database. write is how its rows are written.
func NewBoard(e engine.Engine, write engine.Writer, log *slog.Logger) *Board {
	return &Board{e, write, log}
}

// An Outcome says how one attempt at a job ended.
type Outcome string

const (
	Done   Outcome = "done"
	Again  Outcome = "again"  // failed, and is retried
	Waits  Outcome = "waits"  // postponed: a service asked for a pause, or another job was at work
	Failed Outcome = "failed" // failed for good
)

// Outcomes are all outcomes.
var Outcomes = []Outcome{Done, Again, Waits, Failed}

// An End is the end of one attempt at a job.
type End struct {
	Job     Job
	Outcome Outcome
	Err     error         // nil if Outcome is Done
	Wait    time.Duration // if Outcome is Waits
	Took    time.Duration
}

// A Queue says how the jobs of a queue are run.
type Queue struct {
	Workers int // how many run at once
	// Rare says that its jobs may wait some seconds if another process inserted them, so the database is
	// asked for them less often.
	Rare bool
}

// Work runs jobs of the queues with h until ctx ends. ended gets
// the end of each attempt; it may be nil. When
// ctx ends, Work starts no more jobs, gives running jobs 8 seconds to finish, cancels their
// contexts, and returns when all have returned.
func (b *Board) Work(ctx context.Context, queues map[string]Queue, h Handler, ended func(context.Context, End)) error {
	workers := river.NewWorkers()
	if err := river.AddWorkerSafely(workers, river.WorkFunc(func(ctx context.Context, j *river.Job[jobArgs]) error {
		began := time.Now()
		ctx = requestid.With(ctx, cmp.Or(j.Args.Request, requestid.New())) // earlier versions stored no id
		end, result := b.handle(ctx, h, j)
		end.Took = time.Since(began)
		if ended != nil {
			ended(ctx, end)
		}
		return result
	})); err != nil {
		return fmt.Errorf("jobs: %w", err)
	}
	c := InsertConfig(b.log)
	c.Workers = workers
	c.Queues = make(map[string]river.QueueConfig, len(queues))
	for name, q := range queues {
		c.Queues[name] = river.QueueConfig{MaxWorkers: q.Workers}
		if q.Rare {
			c.Queues[name] = river.QueueConfig{MaxWorkers: q.Workers, FetchPollInterval: rarePollInterval}
		}
	}
	c.FetchPollInterval = pollInterval
	c.JobTimeout = jobTimeout
	c.RescueStuckJobsAfter = rescueAfter
	c.RetryPolicy = retryPolicy{}
	c.SoftStopTimeout = grace
	// River would remove 10,000 jobs in one transaction. Purge removes few at a time.
	c.CompletedJobRetentionPeriod = never
	c.CancelledJobRetentionPeriod = never
	c.DiscardedJobRetentionPeriod = never
	for {
		err := b.engine.Work(ctx, c)
		switch {
		case err == nil, ctx.Err() != nil: // it was stopped, perhaps while it started
			return nil
		case !errors.Is(err, engine.ErrUnavailable):
			return fmt.Errorf("jobs: %w", err)
		}
		b.log.ErrorContext(ctx, "jobs not started", "err", err, "wait", startAgain.String())
		select {
		case <-time.After(startAgain):
		case <-ctx.Done():
			return nil
		}
	}
}

// handle calls h for a job of River, and returns the end and the result for River.
func (b *Board) handle(ctx context.Context, h Handler, j *river.Job[jobArgs]) (end End, result error) {
	job := Job{ID: j.ID, Queue: j.Queue, Kind: j.Args.Name, Subject: j.Args.Subject, Step: j.Args.Step, At: j.ScheduledAt, Attempt: j.Attempt, Request: requestid.ID(ctx)}
	err := b.call(ctx, h, job)
	if errors.Is(err, context.Canceled) && ctx.Err() != nil {
		return End{Job: job, Outcome: Again, Err: err}, briefError{err} // Work ends; the job runs again after the next start
	}
	return b.ended(context.WithoutCancel(ctx), j.JobRow, job, err)
}

// call calls h. If River caught a panic, it would store its value and the stack.
func (b *Board) call(ctx context.Context, h Handler, j Job) (err error) {
	defer func() {
		if r := recover(); r != nil {
			b.log.ErrorContext(ctx, "job panicked", "job", j.ID, "kind", j.Kind, "err", r, "stack", string(debug.Stack()))
			err = fmt.Errorf("job %q panicked", j.Kind)
		}
	}()
	return h(ctx, j)
}
