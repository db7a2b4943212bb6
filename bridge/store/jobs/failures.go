package jobs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"cobrowse-bridge/bridge/store/engine"
)

// A Failure is work that failed and has not succeeded since. Every list, metric and probe
// that says whether something failed reads these rows. Work notes and resolves the failures
// of jobs itself. Periodic work, which has no job, uses Note and Resolve.
type Failure struct {
	// Queue, Kind and Subject say which work it is, as in a Job. There is one Failure for
	// each. Subject is empty for periodic work.
	Queue, Kind, Subject string
	// First and Last are the times of the first and the last failed attempt. Note sets them.
	First, Last time.Time
	// Attempts counts the failed attempts. Note sets it.
	Attempts int
	// Next is when it is tried again. Zero means that it has failed for good: it is tried
	// again only after Retry.
	Next time.Time
	// Cause is the error of the last attempt. Note cuts it to 300 bytes. It is stored
	// unsealed, so it must not have personal data or secrets.
	Cause string

	job  int64 // River's id; 0 for periodic work, and between a retry and its first attempt
	step int
}

// ID is what Retry and Dismiss take: the subject, or for periodic work kind:queue.
func (f Failure) ID() string {
	if f.Subject != "" {
		return f.Subject
	}
	return f.Kind + ":" + f.Queue
}

const (
	// KindSweep is the kind of the only periodic work that can be retried. Other periodic work only
	// runs again by itself.
	KindSweep = "sweep"
	// KindErasureWait is the kind of erasures that wait until a person is offline at Upscope.
	KindErasureWait = "erasure"
)

// CanRetry reports whether Retry can make the work due now: it is a job, or a sweep.
func (f Failure) CanRetry() bool {
	if f.Subject == "" {
		return f.Kind == KindSweep && !f.Next.IsZero()
	}
	return f.Kind != KindErasureWait
}

// row is the name, in locks, of the rows of failures of a subject.
func row(subject string) string { return "failure " + subject }

// Note stores that work failed, or failed again.
func (b *Board) Note(ctx context.Context, f Failure) error {
	now := engine.Micros(time.Now())
	err := b.write(ctx, row(f.Subject), func(ctx context.Context, tx engine.Tx) error {
		_, err := tx.Exec(ctx, queryNoteFailure, f.Subject, f.Kind, f.Queue, f.job, f.step, now, now, engine.Micros(f.Next), 1, brief(f.Cause))
		return err
	})
	if err != nil {
		return fmt.Errorf("jobs: note failure: %w", err)
	}
	return nil
}

// Resolve removes the failure of work that has succeeded, if there is one. Otherwise it
// writes nothing.
func (b *Board) Resolve(ctx context.Context, queue, kind, subject string) error {
	var one int
	err := b.engine.QueryRow(ctx, queryHasFailed, subject, kind, queue).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil {
		err = b.write(ctx, row(subject), func(ctx context.Context, tx engine.Tx) error {
			return Remove(ctx, tx, Failure{Queue: queue, Kind: kind, Subject: subject})
		})
	}
	if err != nil {
		return fmt.Errorf("jobs: resolve failure: %w", err)
	}
	return nil
}

// NoteResult notes that periodic work ended with err, or resolves its failure if err is nil. An
// error of the store is only logged, because the work is tried again.
func (b *Board) NoteResult(ctx context.Context, f Failure, err error) {
	if ctx.Err() != nil {
		return // the bridge stops
	}
	if err == nil {
		err = b.Resolve(ctx, f.Queue, f.Kind, f.Subject)
	} else {
		f.Cause = err.Error()
		err = b.Note(ctx, f)
	}
	if err != nil && ctx.Err() == nil {
		b.log.ErrorContext(ctx, "result of work not stored", "kind", f.Kind, "queue", f.Queue, "err", err)
	}
}

// Failures yields everything that failed. It ends after an error.
func (b *Board) Failures(ctx context.Context) iter.Seq2[Failure, error] {
	return func(yield func(Failure, error) bool) {
		for after := (Failure{}); ; {
			part, err := failures(b.engine.Query(ctx, queryFailures, after.Subject, after.Kind, after.Queue))
			if err != nil {
				yield(Failure{}, fmt.Errorf("jobs: failures: %w", err))
				return
			}
			for _, f := range part {
				if !yield(f, nil) {
					return
				}
				after = f
			}
			if len(part) == 0 {
				return
			}
		}
	}
}

func failures(rows engine.Rows, err error) (all []Failure, _ error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var f Failure
		var first, last, next int64
		if err := rows.Scan(&f.Subject, &f.Kind, &f.Queue, &f.job, &f.step, &first, &last, &next, &f.Attempts, &f.Cause); err != nil {
			return nil, err
		}
		f.First, f.Last, f.Next = engine.FromMicros(first), engine.FromMicros(last), engine.FromMicros(next)
		all = append(all, f)
	}
	return all, rows.Err()
}

// FailuresWithID returns the failures whose ID is id.
func (b *Board) FailuresWithID(ctx context.Context, id string) ([]Failure, error) {
	if kind, queue, ok := strings.Cut(id, ":"); ok {
		return failures(b.engine.Query(ctx, queryFailurePeriodic, kind, queue))
	}
	return failures(b.engine.Query(ctx, queryFailuresOf, id))
}

// A FailureCount says how many failures of one kind a queue has.
type FailureCount struct {
	Queue, Kind string
	// Final says that they are not tried again, unless an operator retries them.
	Final bool
	N     int
	// First is when the oldest of them failed first.
	First time.Time
}

// FailureCounts counts all failures.
func (b *Board) FailureCounts(ctx context.Context) (counts []FailureCount, err error) {
	rows, err := b.engine.Query(ctx, queryFailureCounts)
	if err != nil {
		return nil, fmt.Errorf("jobs: failures: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var c FailureCount
		var final, first int64
		if err := rows.Scan(&c.Queue, &c.Kind, &final, &c.N, &first); err != nil {
			return nil, fmt.Errorf("jobs: failures: %w", err)
		}
		c.Final, c.First = final == 1, engine.FromMicros(first)
		counts = append(counts, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("jobs: failures: %w", err)
	}
	return counts, nil
}

const (
	// noteWaits is the shortest wait after Snooze that counts as a failure. Jobs that another
	// worker was faster than wait less.
	noteWaits = time.Second
	// snoozeLife is how long a job may be postponed, from its first failed attempt. After that it fails.
	snoozeLife = 24 * time.Hour
	// noteAgain is the pause before a job runs again whose failure could not be noted.
	noteAgain = 10 * time.Second
)

// ended notes or resolves the failure of a job that ended with err, and returns the end and
// the result for River. It is the only place that decides whether a job has failed.
func (b *Board) ended(ctx context.Context, row *rivertype.JobRow, j Job, err error) (end End, result error) {
	if err == nil {
		return End{Job: j, Outcome: Done}, b.Resolve(ctx, j.Queue, j.Kind, j.Subject)
	}
	waits := func(wait time.Duration) (End, error) {
		return End{Job: j, Outcome: Waits, Err: err, Wait: wait}, river.JobSnooze(wait)
	}
	now := time.Now()
	f := Failure{Queue: j.Queue, Kind: j.Kind, Subject: j.Subject, Cause: err.Error(), job: j.ID, step: j.Step}
	end, result = End{Job: j, Outcome: Failed, Err: err}, briefError{err}
	snooze, postponed := errors.AsType[*snoozeError](err)
	_, cancelled := errors.AsType[*cancelError](err)
	switch {
	case postponed && snooze.wait < noteWaits:
		return waits(max(snooze.wait, 0))
	case postponed && now.Sub(b.failingSince(ctx, row, j)) < snoozeLife:
		f.Next = now.Add(snooze.wait)
		end, result = waits(snooze.wait)
	case postponed, cancelled:
		result = river.JobCancel(result)
	case row.Attempt < row.MaxAttempts:
		f.Next, end.Outcome = now.Add(retryDelay(row.Attempt, 0.5)), Again
	}
	if err := b.Note(ctx, f); err != nil {
		b.log.ErrorContext(ctx, "failure of a job not noted; the job runs again", "job", j.ID, "kind", j.Kind, "err", err)
		return waits(noteAgain)
	}
	return end, result
}

// failingSince returns when a job failed first: now if it has not, or if that cannot be read. A job
// may be old when it is tried first, because the bridge was stopped.
func (b *Board) failingSince(ctx context.Context, row *rivertype.JobRow, j Job) time.Time {
	now := time.Now()
	if now.Sub(row.CreatedAt) < snoozeLife {
		return row.CreatedAt
	}
	found, err := b.FailuresWithID(ctx, j.Subject)
	if err != nil {
		return now
	}
	for _, f := range found {
		if f.Queue == j.Queue && f.Kind == j.Kind && f.job == j.ID {
			return f.First
		}
	}
	return now
}

// NoteGivenUp notes the failure of a job that River has given up, for a delivery that is not
// finished. If there is a failure already, it writes nothing.
func (b *Board) NoteGivenUp(ctx context.Context, j Stored) error {
	cause := ""
	if failed := j.Failed(); len(failed) > 0 {
		cause = failed[len(failed)-1].Error
	}
	return b.write(ctx, row(j.Job.Subject), func(ctx context.Context, tx engine.Tx) error {
		_, err := tx.Exec(ctx, queryNoteEarlier, j.Job.Subject, j.Job.Kind, j.Queue, j.ID, j.Job.Step, engine.Micros(*j.FinalizedAt), j.Attempt, brief(cause))
		return err
	})
}

// Rerun makes the job of a failure due now. A job that River has given up is inserted again, with
// all its attempts.
func Rerun(ctx context.Context, tx engine.Tx, f Failure) error {
	if f.job == 0 {
		return nil // it was retried, and waits for its attempt
	}
	if !f.Next.IsZero() {
		err := tx.RetryJob(ctx, f.job)
		if !errors.Is(err, rivertype.ErrNotFound) {
			return err
		}
	}
	if _, err := tx.Exec(ctx, queryRetryFailure, f.Subject, f.Kind, f.Queue, engine.Micros(time.Now())); err != nil {
		return err
	}
	j := Job{Queue: f.Queue, Kind: f.Kind, Subject: f.Subject, Step: f.step}
	return tx.InsertJobs(ctx, []river.InsertManyParams{j.Params(ctx)})
}

// Remove removes a failure.
func Remove(ctx context.Context, tx engine.Tx, f Failure) error {
	_, err := tx.Exec(ctx, queryResolve, f.Subject, f.Kind, f.Queue)
	return err
}

// briefError makes the text of an error short and valid UTF-8, because River stores it with
// every attempt.
type briefError struct{ error }

func (e briefError) Unwrap() error { return e.error }

func (e briefError) Error() string { return brief(e.error.Error()) }

func brief(text string) string {
	const limit = 300
	text = strings.ReplaceAll(strings.ToValidUTF8(text, "?"), "\x00", "?")
	if len(text) <= limit {
		return text
	}
	cut := limit
	for !utf8.RuneStart(text[cut]) {
		cut--
	}
	return text[:cut] + "…"
}
