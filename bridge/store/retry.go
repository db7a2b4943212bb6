package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/store/sweeps"
)

// ErrNotFailed means that a delivery waits for its first attempt, or is being handled, so
// there is nothing to retry or dismiss.
var ErrNotFailed = errors.New("has not failed")

// ErrNoRetry means that what failed cannot be done again, so it can only be dismissed.
var ErrNoRetry = errors.New("cannot be retried")

// Work runs jobs with h; see jobs.Board. Their writes are Patient.
func (s *Store) Work(ctx context.Context, queues map[string]jobs.Queue, h jobs.Handler, ended func(context.Context, jobs.End)) error {
	return s.jobs.Work(ctx, queues, func(ctx context.Context, j jobs.Job) error { return h(Patient(ctx), j) }, ended)
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
	ctx = Patient(ctx) // a hundred failures take longer than one write
	var final []jobs.Failure
	for f, err := range s.jobs.Failures(ctx) {
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
// agent. A delivery is then finished, and an erasure has failed and forgets its person. It returns the
// same errors as Retry, and ErrLeased if the work is tried again by itself.
func (s *Store) Dismiss(ctx context.Context, id, agent string) error {
	found, err := s.failuresOf(ctx, id)
	if err == nil {
		found = slices.DeleteFunc(found, func(f jobs.Failure) bool { return !f.Next.IsZero() && f.Subject != "" })
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
func (s *Store) change(ctx context.Context, action, agent string, all []jobs.Failure, do func(context.Context, engine.Tx, jobs.Failure) error) error {
	var entries []audit.Entry
	for _, f := range all {
		entries = append(entries, audit.Entry{Action: action, Agent: agent, Connector: f.Queue, Detail: f.Kind + " " + f.ID()})
	}
	return s.write(ctx, &write{all: true, audit: entries, do: func(ctx context.Context, tx engine.Tx) error {
		for _, f := range all {
			if err := do(ctx, tx, f); err != nil {
				return err
			}
		}
		return nil
	}})
}

// failuresOf returns the failures with an id, at least one.
func (s *Store) failuresOf(ctx context.Context, id string) (found []jobs.Failure, err error) {
	found, err = s.jobs.FailuresWithID(ctx, id)
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

// retryFailure makes the job or the sweep due now.
func retryFailure(ctx context.Context, tx engine.Tx, f jobs.Failure) error {
	if f.Subject == "" {
		return sweeps.Now(ctx, tx, f.Queue)
	}
	return jobs.Rerun(ctx, tx, f)
}

func dismissFailure(ctx context.Context, tx engine.Tx, f jobs.Failure) error {
	if err := jobs.Remove(ctx, tx, f); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, queryFinish, f.Subject, engine.Micros(time.Now())); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, queryForgetErasure, f.Subject, ErasureFailed, engine.Micros(time.Now()))
	return err
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
	for j, err := range s.jobs.GivenUp(ctx) {
		if err == nil && unnoted[j.Job.Subject] {
			err = s.jobs.NoteGivenUp(ctx, j)
		}
		if err != nil {
			return fmt.Errorf("store: failed jobs: %w", err)
		}
	}
	return nil
}
