package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"cobrowse-bridge/bridge/store/engine"
)

// States of a delivery.
const (
	DeliveryWaiting = "waiting" // to be handled, for the first time or again
	DeliveryRunning = "running" // being handled
	DeliveryFailed  = "failed"  // given up; it can be retried while it is kept
	DeliveryDone    = "done"    // handled; its body is gone
)

// ErrDone means that a delivery was handled, so that nothing is left to retry.
var ErrDone = errors.New("delivery was handled")

// A Backlog is a delivery and how far it has come. Its Body is not read.
type Backlog struct {
	Delivery
	State    string
	Finished time.Time // zero until it is Done
	// Attempts is how often it was tried.
	Attempts int
	// Next is when it is tried again; zero if it is not.
	Next time.Time
	// Errors are those of the attempts that failed, the latest last. River keeps
	// them with the job.
	Errors []Attempt
}

// An Attempt is one that failed.
type Attempt struct {
	Number int       `json:"attempt"`
	At     time.Time `json:"at"`
	Error  string    `json:"error"`
}

// Backlog yields the deliveries that are not handled, the oldest first. An error
// ends it.
func (s *Store) Backlog(ctx context.Context) iter.Seq2[Backlog, error] {
	return func(yield func(Backlog, error) bool) {
		fail := func(err error) { yield(Backlog{}, fmt.Errorf("store: deliveries: %w", err)) }
		jobs := map[string][]*rivertype.JobRow{}
		for j, err := range s.jobs(ctx, river.NewJobListParams().States(unfinishedStates...)) {
			if err != nil {
				fail(err)
				return
			}
			jobs[j.subject] = append(jobs[j.subject], j.JobRow)
		}
		for after := ""; ; {
			part, err := s.unfinished(ctx, after)
			if err != nil {
				fail(err)
				return
			}
			for _, b := range part {
				b.judge(jobs[b.ID])
				if !yield(b, nil) {
					return
				}
				after = b.ID
			}
			if len(part) == 0 {
				return
			}
		}
	}
}

// unfinishedStates are all but completed.
var unfinishedStates = []rivertype.JobState{
	rivertype.JobStateAvailable, rivertype.JobStateCancelled, rivertype.JobStateDiscarded, rivertype.JobStatePending,
	rivertype.JobStateRetryable, rivertype.JobStateRunning, rivertype.JobStateScheduled,
}

func (s *Store) unfinished(ctx context.Context, after string) (part []Backlog, err error) {
	rows, err := s.engine.Query(ctx, queryUnfinished, after)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var b Backlog
		var received int64
		if err := rows.Scan(&b.ID, &b.Connector, &b.Key, &received); err != nil {
			return nil, err
		}
		b.Received = fromMicros(received)
		part = append(part, b)
	}
	return part, rows.Err()
}

// BacklogOf returns one delivery, handled or not, or ErrNotFound.
func (s *Store) BacklogOf(ctx context.Context, id string) (Backlog, error) {
	b, _, err := s.backlogOf(ctx, id)
	if err != nil {
		return Backlog{}, fmt.Errorf("store: delivery %s: %w", id, err)
	}
	return b, nil
}

func (s *Store) backlogOf(ctx context.Context, id string) (b Backlog, jobs []*rivertype.JobRow, err error) {
	b.ID = id
	var received int64
	var finished *int64
	err = s.engine.QueryRow(ctx, queryDeliveryRow, id).Scan(&b.Connector, &b.Key, &received, &finished)
	if errors.Is(err, sql.ErrNoRows) {
		return b, nil, ErrNotFound
	}
	if err != nil {
		return b, nil, err
	}
	b.Received = fromMicros(received)
	for j, err := range s.jobs(ctx, river.NewJobListParams().Where("args ->> 'subject' = @subject", river.NamedArgs{"subject": id})) {
		if err != nil {
			return b, nil, err
		}
		jobs = append(jobs, j.JobRow)
	}
	b.judge(jobs)
	if finished != nil {
		b.State, b.Finished = DeliveryDone, fromMicros(*finished)
	}
	return b, jobs, nil
}

// judge decides what jobs say of a delivery that is not handled: it has failed
// unless one of them is still to come.
func (b *Backlog) judge(jobs []*rivertype.JobRow) {
	b.State = DeliveryFailed
	for _, j := range jobs {
		b.Attempts += j.Attempt
		for _, e := range j.Errors {
			text := strings.TrimPrefix(e.Error, "JobCancelError: ") // River's word for Cancel
			b.Errors = append(b.Errors, Attempt{e.Attempt, e.At, text})
		}
		switch {
		case j.State == rivertype.JobStateRunning:
			b.State = DeliveryRunning
		case j.FinalizedAt == nil && b.State == DeliveryFailed:
			b.State, b.Next = DeliveryWaiting, j.ScheduledAt
		}
	}
}

// Retry makes the jobs of a delivery that failed or waits start at once, and writes
// down that agent did. It fails with ErrNotFound if there is no such delivery (any
// more), with ErrDone if it was handled, and with ErrLeased while it is being handled.
func (s *Store) Retry(ctx context.Context, id, agent string) error {
	b, jobs, err := s.backlogOf(ctx, id)
	switch {
	case err != nil:
		return fmt.Errorf("store: retry %s: %w", id, err)
	case b.State == DeliveryDone:
		return fmt.Errorf("store: retry %s: %w", id, ErrDone)
	case b.State == DeliveryRunning:
		return fmt.Errorf("store: retry %s: %w", id, ErrLeased)
	}
	var again []int64
	for _, j := range jobs {
		if j.State != rivertype.JobStateCompleted {
			again = append(again, j.ID)
		}
	}
	if len(again) == 0 {
		return fmt.Errorf("store: retry %s: its job: %w", id, ErrNotFound)
	}
	entry := Entry{Action: "retried", Agent: agent, Connector: b.Connector, Detail: id}
	err = s.write(ctx, &write{audit: []Entry{entry}, do: func(ctx context.Context, tx engine.Tx) error {
		for _, job := range again {
			if err := tx.RetryJob(ctx, job); err != nil && !errors.Is(err, rivertype.ErrNotFound) {
				return err
			}
		}
		return nil
	}})
	if err != nil {
		return fmt.Errorf("store: retry %s: %w", id, err)
	}
	return nil
}

// Came is when a delivery with this id came, as the id says (RFC 9562, section
// 5.7); zero if it is no id of a delivery.
func Came(id string) time.Time {
	u, err := uuid.Parse(id)
	if err != nil || u.Version() != 7 {
		return time.Time{}
	}
	sec, nsec := u.Time().UnixTime()
	return time.Unix(sec, nsec)
}

// A job is one of ours as River keeps it.
type job struct {
	*rivertype.JobRow
	subject string
}

// jobs yields the jobs that p selects, the oldest first. Nil selects all.
func (s *Store) jobs(ctx context.Context, p *river.JobListParams) iter.Seq2[job, error] {
	if p == nil {
		p = river.NewJobListParams()
	}
	p = p.First(1000)
	return func(yield func(job, error) bool) {
		for page := p; ; {
			part, err := s.engine.Jobs(ctx, page)
			if err != nil {
				yield(job{}, err)
				return
			}
			for _, row := range part.Jobs {
				var args jobArgs
				if err := json.Unmarshal(row.EncodedArgs, &args); err != nil {
					yield(job{}, fmt.Errorf("job %d: %w", row.ID, err))
					return
				}
				if !yield(job{row, args.Subject}, nil) {
					return
				}
			}
			if len(part.Jobs) == 0 {
				return
			}
			page = p.After(part.LastCursor) // of p: JobList leaves its cursor in page
		}
	}
}
