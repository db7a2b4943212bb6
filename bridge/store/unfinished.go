package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river/rivertype"

	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/jobs"
)

// States of a delivery.
const (
	DeliveryWaiting = "waiting" // waits for its first attempt or the next
	DeliveryRunning = "running" // being handled
	DeliveryFailed  = "failed"  // not tried again, unless an operator retries it; see Failure
	DeliveryDone    = "done"    // handled; its body is removed
)

// ErrDone means that a delivery cannot be retried, because it was handled.
var ErrDone = errors.New("delivery was handled")

// A DeliveryStatus is a delivery with its state and its attempts. Its Body is nil.
type DeliveryStatus struct {
	Delivery
	State    string    // DeliveryWaiting, DeliveryRunning, DeliveryFailed or DeliveryDone
	Finished time.Time // zero unless State is DeliveryDone
	// Attempts is how often the delivery was tried.
	Attempts int
	// Next is when it is tried again; zero if it is not.
	Next time.Time
	// Errors are the failed attempts, the latest last. River keeps them with the job.
	Errors []jobs.Attempt
}

// UnfinishedDeliveries yields the deliveries that are not handled, the oldest first. Their
// State is DeliveryFailed or DeliveryWaiting, and Errors has only the last failed attempt. It
// ends after an error.
func (s *Store) UnfinishedDeliveries(ctx context.Context) iter.Seq2[DeliveryStatus, error] {
	return func(yield func(DeliveryStatus, error) bool) {
		for after := ""; ; {
			part, err := s.unfinished(ctx, after)
			if err != nil {
				yield(DeliveryStatus{}, fmt.Errorf("store: deliveries: %w", err))
				return
			}
			for _, b := range part {
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

func (s *Store) unfinished(ctx context.Context, after string) (part []DeliveryStatus, err error) {
	rows, err := s.engine.Query(ctx, queryUnfinished, after)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		b := DeliveryStatus{State: DeliveryWaiting}
		var received, last, next int64
		var cause string
		if err := rows.Scan(&b.ID, &b.Connector, &b.Key, &received, &b.Attempts, &last, &next, &cause); err != nil {
			return nil, err
		}
		b.Received, b.Next = engine.FromMicros(received), engine.FromMicros(next)
		if b.Attempts > 0 {
			b.Errors = []jobs.Attempt{{Number: b.Attempts, At: engine.FromMicros(last), Error: cause}}
			if next == 0 {
				b.State = DeliveryFailed
			}
		}
		part = append(part, b)
	}
	return part, rows.Err()
}

// AnyDelivery reports whether the store has a delivery of a connector, handled or not. Handled
// ones are kept as long as Retention.Keys.
func (s *Store) AnyDelivery(ctx context.Context, connector string) (bool, error) {
	var one int
	err := s.engine.QueryRow(ctx, queryAnyDelivery, connector).Scan(&one)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return false, fmt.Errorf("store: deliveries: %w", err)
	}
	return err == nil, nil
}

// DeliveryStatus returns the delivery with the given id, handled or not, with all failed
// attempts that River knows. If there is none, it returns ErrNotFound.
func (s *Store) DeliveryStatus(ctx context.Context, id string) (DeliveryStatus, error) {
	fail := func(err error) (DeliveryStatus, error) {
		return DeliveryStatus{}, fmt.Errorf("store: delivery %s: %w", id, err)
	}
	b := DeliveryStatus{Delivery: Delivery{ID: id}}
	var received int64
	var finished *int64
	err := s.engine.QueryRow(ctx, queryDeliveryRow, id).Scan(&b.Connector, &b.Key, &received, &finished)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err != nil {
		return fail(err)
	}
	b.Received = engine.FromMicros(received)
	var all []jobs.Stored
	for j, err := range s.jobs.Of(ctx, id) {
		if err != nil {
			return fail(err)
		}
		all = append(all, j)
	}
	b.setState(all)
	if finished != nil {
		b.State, b.Finished = DeliveryDone, engine.FromMicros(*finished)
	}
	return b, nil
}

// setState fills in the state, attempts and errors of a delivery that is not handled. It
// counts as failed unless one of its jobs is running or scheduled.
func (b *DeliveryStatus) setState(all []jobs.Stored) {
	b.State = DeliveryFailed
	for _, j := range all {
		b.Attempts += j.Attempt
		b.Errors = append(b.Errors, j.Failed()...)
		switch {
		case j.State == rivertype.JobStateRunning:
			b.State = DeliveryRunning
		case j.FinalizedAt == nil && b.State == DeliveryFailed:
			b.State, b.Next = DeliveryWaiting, j.ScheduledAt
		}
	}
}

// DeliveryTime returns the time at which the delivery with this id was stored, which is part
// of the id (RFC 9562, section 5.7). It is zero if id is not an id of a delivery.
func DeliveryTime(id string) time.Time {
	u, err := uuid.Parse(id)
	if err != nil || u.Version() != 7 {
		return time.Time{}
	}
	sec, nsec := u.Time().UnixTime()
	return time.Unix(sec, nsec)
}
