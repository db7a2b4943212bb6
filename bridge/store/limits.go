package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// A Limit allows each subject a number of acts in a period. The subject may use all Acts at
// once; after that, one more is allowed each time While/Acts has passed. All processes that
// share the store share their limits.
type Limit struct {
	Name  string
	Acts  int
	While time.Duration
}

// each is how long it takes until one more act is allowed.
func (l Limit) each() time.Duration { return l.While / time.Duration(l.Acts) }

// A Spending is an act of a subject that counts against a limit. The subject may be any
// text. The store keeps only a keyed hash of it, until the limit is unused again.
type Spending struct {
	Limit   Limit
	Subject string
}

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

// Spend counts acts, each with another limit or subject. If one is not allowed, it counts
// none and returns a SpentError.
func (s *Store) Spend(ctx context.Context, acts ...Spending) error {
	decide, apply := s.spend(acts)
	return s.spendWith(ctx, func(ctx context.Context, tx engine.Tx) error {
		if err := decide(ctx, tx); err != nil {
			return err
		}
		return apply(ctx, tx)
	})
}

// GiveBack undoes a Spend, for acts that should not count.
func (s *Store) GiveBack(ctx context.Context, acts ...Spending) error {
	return s.spendWith(ctx, func(ctx context.Context, tx engine.Tx) error {
		for i, subject := range s.spenders(acts) {
			if _, err := tx.Exec(ctx, queryGiveBack, subject, acts[i].Limit.each().Microseconds()); err != nil {
				return err
			}
		}
		return nil
	})
}

// CheckSpend returns a SpentError if Spend would, and counts nothing.
func (s *Store) CheckSpend(ctx context.Context, acts ...Spending) error {
	if _, err := s.frees(ctx, s.engine, acts); err != nil {
		return fmt.Errorf("store: limits: %w", err)
	}
	return nil
}

func (s *Store) spendWith(ctx context.Context, do func(context.Context, engine.Tx) error) error {
	// Serial, because otherwise two replicas could both use the last act.
	if err := s.write(ctx, &write{serial: true, do: do}); err != nil {
		return fmt.Errorf("store: limits: %w", err)
	}
	return nil
}

// spend prepares the check, which only refuses, and the statement that counts the acts.
func (s *Store) spend(acts []Spending) (decide, apply func(context.Context, engine.Tx) error) {
	var rows []any
	decide = func(ctx context.Context, tx engine.Tx) (err error) {
		rows, err = s.frees(ctx, tx, acts)
		return err
	}
	apply = func(ctx context.Context, tx engine.Tx) error {
		if _, err := tx.Exec(ctx, querySpend+tuples(len(acts), limitColumnNum)+querySpent, rows...); err != nil {
			return fmt.Errorf("spend: %w", err)
		}
		return nil
	}
	return decide, apply
}

// frees returns for each act its stored subject, and the time at which the limit will be
// unused again if the subject acts now.
func (s *Store) frees(ctx context.Context, in engine.Reader, acts []Spending) (rows []any, err error) {
	subjects := s.spenders(acts)
	now := time.Now()
	stored := make(map[string]int64, len(acts))
	found, err := in.Query(ctx, queryFree+tuples(1, len(acts)), subjects...)
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
		free := fromMicros(stored[string(subjects[i].([]byte))])
		if free.Before(now) {
			free = now
		}
		free = free.Add(a.Limit.each())
		if wait := free.Sub(now) - a.Limit.While; wait > 0 {
			return nil, &SpentError{a, wait}
		}
		rows = append(rows, subjects[i], micros(free))
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
func (s *Store) spenders(acts []Spending) []any {
	subjects := make([]any, len(acts))
	var sum []byte
	for i, a := range acts {
		if i == 0 || a.Subject != acts[i-1].Subject {
			sum, _ = s.sealer.Sums("limit", a.Subject)
		}
		name := sha256.Sum256([]byte(a.Limit.Name))
		subjects[i] = append(append(make([]byte, 0, subjectSize), sum[:hashSize]...), name[:nameSize]...)
	}
	return subjects
}
