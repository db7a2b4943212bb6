// Package limit counts what people do against limits, in the store. Who did it is kept as a keyed
// hash only, until the limit is unused again.
package limit

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/seal"
)

// A Limit allows each subject a number of acts in a period. The subject may use all Acts at
// once; after that, one more is allowed each time While/Acts has passed. All processes that
// share the store share their limits.
type Limit struct {
	Name  string
	Acts  int
	While time.Duration
}

// clockSkew is how far the clocks of replicas may differ.
const clockSkew = time.Minute

// each is how long it takes until one more act is allowed.
func (l Limit) each() time.Duration { return l.While / time.Duration(l.Acts) }

// A Spending is an act of a subject that counts against a limit. The subject may be any
// text. The store keeps only a keyed hash of it, until the limit is unused again.
type Spending struct {
	Limit   Limit
	Subject string
}

// ErrSpent means that a limit allows no more acts now; see SpentError.
var ErrSpent = errors.New("limit is used up")

// A SpentError says that a limit allows a subject no more acts now. It matches ErrSpent.
type SpentError struct {
	Act Spending
	// Wait is the time until the next act is allowed.
	Wait time.Duration
}

// Error leaves out the subject, which may be an address.
func (e *SpentError) Error() string {
	return fmt.Sprintf("limit %q is used up for %v", e.Act.Limit.Name, e.Wait.Round(time.Second))
}

// Is reports whether target is ErrSpent.
func (e *SpentError) Is(target error) bool { return target == ErrSpent }

// A Counter counts acts in the tables of a database.
type Counter struct{ sealer *seal.Sealer }

// NewCounter returns a counter that hashes subjects with sealer.
func NewCounter(sealer *seal.Sealer) Counter { return Counter{sealer} }

// Spend prepares the check, which only refuses, and the statement that counts the acts. rows are as in Rows.
func (c Counter) Spend(acts []Spending) (rows []string, decide, apply func(context.Context, engine.Tx) error) {
	subjects := c.spenders(acts)
	var counted []any
	decide = func(ctx context.Context, tx engine.Tx) (err error) {
		counted, err = frees(ctx, tx, acts, subjects)
		return err
	}
	apply = func(ctx context.Context, tx engine.Tx) error {
		if _, err := tx.Exec(ctx, querySpend+engine.Tuples(len(acts), limitColumnNum)+querySpent, counted...); err != nil {
			return fmt.Errorf("spend: %w", err)
		}
		return nil
	}
	return rowsOf(subjects), decide, apply
}

// Rows returns the names of the acts' rows in locks. Without a lock two replicas could both use the last act.
func (c Counter) Rows(acts []Spending) []string { return rowsOf(c.spenders(acts)) }

func rowsOf(subjects []any) []string {
	rows := make([]string, len(subjects), len(subjects)+4) // the caller may add some
	for i, subject := range subjects {
		rows[i] = "limit " + string(subject.([]byte))
	}
	return rows
}

// Check returns a SpentError if one of the acts is not allowed now. It only reads.
func (c Counter) Check(ctx context.Context, in engine.Reader, acts []Spending) error {
	_, err := frees(ctx, in, acts, c.spenders(acts))
	return err
}

// GiveBack prepares the statements that undo Spend.
func (c Counter) GiveBack(acts []Spending) func(context.Context, engine.Tx) error {
	return func(ctx context.Context, tx engine.Tx) error {
		for i, subject := range c.spenders(acts) {
			if _, err := tx.Exec(ctx, queryGiveBack, subject, acts[i].Limit.each().Microseconds()); err != nil {
				return err
			}
		}
		return nil
	}
}

// Unused returns at most 500 stored subjects after the given one whose limits are unused at the
// given time, in order.
func Unused(ctx context.Context, in engine.Reader, after []byte, now time.Time) ([][]byte, error) {
	return engine.Column[[]byte](in.Query(ctx, queryExpiredLimits, after, engine.Micros(now)))
}

// Remove removes those of the subjects whose limits are unused at the given time.
func Remove(ctx context.Context, tx engine.Tx, subjects [][]byte, now time.Time) error {
	for _, subject := range subjects {
		if _, err := tx.Exec(ctx, queryPurgeLimit, subject, engine.Micros(now)); err != nil {
			return err
		}
	}
	return nil
}

// frees returns for each act its stored subject, and the time at which the limit will be
// unused again if the subject acts now.
func frees(ctx context.Context, in engine.Reader, acts []Spending, subjects []any) (rows []any, err error) {
	now := time.Now()
	stored := make(map[string]int64, len(acts))
	found, err := in.Query(ctx, queryFree+engine.Tuples(1, len(acts)), subjects...)
	if err != nil {
		return nil, fmt.Errorf("spend: %w", err)
	}
	defer found.Close()
	for found.Next() {
		var subject []byte
		var free int64
		if err := found.Scan(&subject, &free); err != nil {
			return nil, fmt.Errorf("spend: %w", err)
		}
		stored[string(subject)] = free
	}
	if err := found.Err(); err != nil {
		return nil, fmt.Errorf("spend: %w", err)
	}
	for i, a := range acts {
		free := engine.FromMicros(stored[string(subjects[i].([]byte))])
		switch {
		case free.Before(now):
			free = now
		case free.Sub(now) > a.Limit.While+clockSkew:
			// The clock was ahead when the acts were counted, or the limit had a longer period.
			// Allow one act now, and the next after each, as if the limit had just been used up.
			free = now.Add(a.Limit.While - a.Limit.each())
		}
		free = free.Add(a.Limit.each())
		if wait := free.Sub(now) - a.Limit.While; wait > 0 {
			return nil, &SpentError{a, wait}
		}
		rows = append(rows, subjects[i], engine.Micros(free))
	}
	return rows, nil
}

// subjectSize is the length of a stored subject in bytes: the beginning of its keyed hash,
// and of the hash of the limit's name.
const (
	subjectSize = hashSize + nameSize
	hashSize    = 24
	nameSize    = 8
)

// spenders returns the stored subjects of the acts.
func (c Counter) spenders(acts []Spending) []any {
	subjects := make([]any, len(acts))
	var sum []byte
	for i, a := range acts {
		if i == 0 || a.Subject != acts[i-1].Subject {
			sum, _ = c.sealer.Sums("limit", a.Subject)
		}
		name := sha256.Sum256([]byte(a.Limit.Name))
		subjects[i] = append(append(make([]byte, 0, subjectSize), sum[:hashSize]...), name[:nameSize]...)
	}
	return subjects
}
