package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/rivertype"

	"cobrowse-bridge/bridge/store/engine"
)

// ErrNotFailed means that a delivery waits for its first attempt, or is being handled, so
// there is nothing to retry or dismiss.
var ErrNotFailed = errors.New("has not failed")

// ErrNoRetry means that what failed cannot be done again, so it can only be dismissed.
var ErrNoRetry = errors.New("cannot be retried")

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

// Note stores that work failed, or failed again.
func (s *Store) Note(ctx context.Context, f Failure) error {
	now := micros(time.Now())
	err := s.write(ctx, &write{do: func(ctx context.Context, tx engine.Tx) error {
		_, err := tx.Exec(ctx, queryNoteFailure, f.Subject, f.Kind, f.Queue, f.job, f.step, now, now, micros(f.Next), 1, brief(f.Cause))
		return err
	}})
	if err != nil {
		return fmt.Errorf("store: note failure: %w", err)
	}
	return nil
}

// Resolve removes the failure of work that has succeeded, if there is one. Otherwise it
// writes nothing.
func (s *Store) Resolve(ctx context.Context, queue, kind, subject string) error {
	var one int
	err := s.engine.QueryRow(ctx, queryHasFailed, subject, kind, queue).Scan(&one)
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	if err == nil {
		err = s.write(ctx, &write{do: func(ctx context.Context, tx engine.Tx) error {
			_, err := tx.Exec(ctx, queryResolve, subject, kind, queue)
			return err
		}})
	}
	if err != nil {
		return fmt.Errorf("store: resolve failure: %w", err)
	}
	return nil
}

// NoteResult notes that periodic work ended with err, or resolves its failure if err is nil. An
// error of the store is only logged, because the work is tried again.
func (s *Store) NoteResult(ctx context.Context, f Failure, err error) {
	if ctx.Err() != nil {
		return // the bridge stops
	}
	if err == nil {
		err = s.Resolve(ctx, f.Queue, f.Kind, f.Subject)
	} else {
		f.Cause = err.Error()
		err = s.Note(ctx, f)
	}
	if err != nil && ctx.Err() == nil {
		s.log.ErrorContext(ctx, "result of work not stored", "kind", f.Kind, "queue", f.Queue, "err", err)
	}
}

// Failures yields everything that failed. It ends after an error.
func (s *Store) Failures(ctx context.Context) iter.Seq2[Failure, error] {
	return func(yield func(Failure, error) bool) {
		for after := (Failure{}); ; {
			part, err := failures(s.engine.Query(ctx, queryFailures, after.Subject, after.Kind, after.Queue))
			if err != nil {
				yield(Failure{}, fmt.Errorf("store: failures: %w", err))
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
		f.First, f.Last, f.Next = fromMicros(first), fromMicros(last), fromMicros(next)
		all = append(all, f)
	}
	return all, rows.Err()
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
func (s *Store) FailureCounts(ctx context.Context) (counts []FailureCount, err error) {
	rows, err := s.engine.Query(ctx, queryFailureCounts)
	if err != nil {
		return nil, fmt.Errorf("store: failures: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var c FailureCount
		var final, first int64
		if err := rows.Scan(&c.Queue, &c.Kind, &final, &c.N, &first); err != nil {
			return nil, fmt.Errorf("store: failures: %w", err)
		}
		c.Final, c.First = final == 1, fromMicros(first)
		counts = append(counts, c)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("store: failures: %w", err)
	}
	return counts, nil
}

// Retry makes failed work start at once, and adds an audit entry in the name of agent. id is
// Failure.ID. It fails with ErrNotFound if there is no such work, with ErrDone if it is a
// delivery that was handled, with ErrNotFailed if it is one that has not failed, with ErrNoRetry
// if it can only be dismissed, and with ErrLeased if it only runs again by itself.
func (s *Store) Retry(ctx context.Context, id, agent string) error {
	found, err := s.failuresOf(ctx, id)
	if err == nil && !found[0].CanRetry() {
		err = ErrNoRetry
		if !found[0].Next.IsZero() {
			err = ErrLeased
		}
	}
	if err == nil {
		err = s.change(ctx, "retried", agent, found, retryFailure)
	}
	if err != nil {
		return fmt.Errorf("store: retry %s: %w", id, err)
	}
	return nil
}

// RetryAll retries everything that failed for good, and returns how much that is. It changes
// a hundred failures in one transaction.
func (s *Store) RetryAll(ctx context.Context, agent string) (n int, err error) {
	var final []Failure
	for f, err := range s.Failures(ctx) {
		if err != nil {
			return 0, err
		}
		if f.Next.IsZero() && f.CanRetry() {
			final = append(final, f)
		}
	}
	for part := range slices.Chunk(final, 100) {
		if err := s.change(ctx, "retried", agent, part, retryFailure); err != nil {
			return n, fmt.Errorf("store: retry all: %w", err)
		}
		n += len(part)
	}
	return n, nil
}

// Dismiss removes failures that will not be retried, and adds an audit entry in the name of
// agent. A delivery is then finished, and the person of an erasure forgotten. It returns the
// same errors as Retry, and ErrLeased if the work is tried again by itself.
func (s *Store) Dismiss(ctx context.Context, id, agent string) error {
	found, err := s.failuresOf(ctx, id)
	if err == nil {
		found = slices.DeleteFunc(found, func(f Failure) bool { return !f.Next.IsZero() && f.Subject != "" })
		if err = ErrLeased; len(found) > 0 {
			err = s.change(ctx, "dismissed", agent, found, dismissFailure)
		}
	}
	if err != nil {
		return fmt.Errorf("store: dismiss %s: %w", id, err)
	}
	return nil
}

// change changes failures in one transaction, with an audit entry for each.
func (s *Store) change(ctx context.Context, action, agent string, all []Failure, do func(context.Context, engine.Tx, Failure) error) error {
	var entries []Entry
	for _, f := range all {
		entries = append(entries, Entry{Action: action, Agent: agent, Connector: f.Queue, Detail: f.Kind + " " + f.ID()})
	}
	return s.write(ctx, &write{audit: entries, do: func(ctx context.Context, tx engine.Tx) error {
		for _, f := range all {
			if err := do(ctx, tx, f); err != nil {
				return err
			}
		}
		return nil
	}})
}

// failuresOf returns the failures with an id, at least one.
func (s *Store) failuresOf(ctx context.Context, id string) (found []Failure, err error) {
	if kind, queue, ok := strings.Cut(id, ":"); ok {
		found, err = failures(s.engine.Query(ctx, queryFailurePeriodic, kind, queue))
	} else {
		found, err = failures(s.engine.Query(ctx, queryFailuresOf, id))
	}
	if err != nil || len(found) > 0 {
		return found, err
	}
	d, err := s.DeliveryStatus(ctx, id)
	switch {
	case err != nil:
		return nil, err
	case d.State == DeliveryDone:
		return nil, ErrDone
	}
	return nil, ErrNotFailed
}

// retryFailure makes the job or the sweep due now. A job that River has given up is inserted again,
// with all its attempts.
func retryFailure(ctx context.Context, tx engine.Tx, f Failure) error {
	if f.Subject == "" {
		_, err := tx.Exec(ctx, querySweepNow, f.Queue)
		return err
	}
	if f.job == 0 {
		return nil // it was retried, and waits for its attempt
	}
	if !f.Next.IsZero() {
		err := tx.RetryJob(ctx, f.job)
		if !errors.Is(err, rivertype.ErrNotFound) {
			return err
		}
	}
	if _, err := tx.Exec(ctx, queryRetryFailure, f.Subject, f.Kind, f.Queue, micros(time.Now())); err != nil {
		return err
	}
	j := Job{Queue: f.Queue, Kind: f.Kind, Subject: f.Subject, Step: f.step}
	return tx.InsertJobs(ctx, []river.InsertManyParams{j.params()})
}

func dismissFailure(ctx context.Context, tx engine.Tx, f Failure) error {
	if _, err := tx.Exec(ctx, queryResolve, f.Subject, f.Kind, f.Queue); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, queryFinish, f.Subject, micros(time.Now())); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, queryForgetErasure, f.Subject)
	return err
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

// ended notes or resolves the failure of a job that ended with err, and returns the result
// for River. It is the only place that decides whether a job has failed.
func (s *Store) ended(ctx context.Context, row *rivertype.JobRow, j Job, err error) error {
	if err == nil {
		return s.Resolve(ctx, j.Queue, j.Kind, j.Subject)
	}
	now := time.Now()
	f := Failure{Queue: j.Queue, Kind: j.Kind, Subject: j.Subject, Cause: err.Error(), job: j.ID, step: j.Step}
	result := error(briefError{err})
	snooze, postponed := errors.AsType[*snoozeError](err)
	switch {
	case postponed && snooze.wait < noteWaits:
		return river.JobSnooze(max(snooze.wait, 0))
	case postponed && now.Sub(s.failingSince(ctx, row, j)) < snoozeLife:
		s.log.DebugContext(ctx, "job postponed", "job", j.ID, "kind", j.Kind, "wait", snooze.wait.String(), "err", err)
		result, f.Next = river.JobSnooze(snooze.wait), now.Add(snooze.wait)
	case postponed, IsCancel(err):
		result = river.JobCancel(result)
	case row.Attempt < row.MaxAttempts:
		f.Next = now.Add(retryDelay(row.Attempt, 0.5))
	}
	if err := s.Note(ctx, f); err != nil {
		s.log.ErrorContext(ctx, "failure of a job not noted; the job runs again", "job", j.ID, "kind", j.Kind, "err", err)
		return river.JobSnooze(noteAgain)
	}
	return result
}

// failingSince returns when a job failed first: now if it has not, or if that cannot be read. A job
// may be old when it is tried first, because the bridge was stopped.
func (s *Store) failingSince(ctx context.Context, row *rivertype.JobRow, j Job) time.Time {
	now := time.Now()
	if now.Sub(row.CreatedAt) < snoozeLife {
		return row.CreatedAt
	}
	found, err := failures(s.engine.Query(ctx, queryFailuresOf, j.Subject))
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

// noteEarlier notes the deliveries that River has given up and that have no failure: an
// earlier version did not note them, or its process was killed.
func (s *Store) noteEarlier(ctx context.Context) error {
	unnoted := map[string]bool{}
	for d, err := range s.UnfinishedDeliveries(ctx) {
		if err != nil {
			return err
		}
		if d.Attempts == 0 {
			unnoted[d.ID] = true
		}
	}
	if len(unnoted) == 0 {
		return nil
	}
	for j, err := range s.jobs(ctx, river.NewJobListParams().States(rivertype.JobStateCancelled, rivertype.JobStateDiscarded)) {
		if err != nil {
			return fmt.Errorf("store: failed jobs: %w", err)
		}
		if !unnoted[j.args.Subject] {
			continue
		}
		cause := ""
		if n := len(j.Errors); n > 0 {
			cause = attemptText(j.Errors[n-1])
		}
		err := s.write(ctx, &write{do: func(ctx context.Context, tx engine.Tx) error {
			_, err := tx.Exec(ctx, queryNoteEarlier, j.args.Subject, j.args.Name, j.Queue, j.ID, j.args.Step, micros(*j.FinalizedAt), j.Attempt, brief(cause))
			return err
		}})
		if err != nil {
			return fmt.Errorf("store: failed jobs: %w", err)
		}
	}
	return nil
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
