package store

import (
	"context"
	"crypto/sha256"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// A Limit allows each subject so many acts in a while: all of them at once, and
// then one more each time that its part of the while has passed. All processes
// that share the store share what is left.
type Limit struct {
	Name  string
	Acts  int
	While time.Duration
}

func (l Limit) each() time.Duration { return l.While / time.Duration(l.Acts) }

// A Spending is an act of a subject that a limit counts. Of the subject, which may
// be anything, the store keeps a keyed hash, and that for as long as it counts.
type Spending struct {
	Limit   Limit
	Subject string
}

// A SpentError says that a limit allows a subject no more acts for now. It is
// ErrSpent.
type SpentError struct {
	Act Spending
	// Wait is how long it takes until the next is allowed.
	Wait time.Duration
}

// Error leaves the subject out, which may be an address.
func (e *SpentError) Error() string {
	return fmt.Sprintf("limit %q is spent for %v", e.Act.Limit.Name, e.Wait.Round(time.Second))
}

// Is makes it ErrSpent.
func (e *SpentError) Is(target error) bool { return target == ErrSpent }

// Spend counts acts, each of another limit or subject: all of them, or none and a
// SpentError.
func (s *Store) Spend(ctx context.Context, acts ...Spending) error {
	decide, apply := s.spend(acts)
	return s.spendWith(ctx, func(ctx context.Context, tx engine.Tx) error {
		if err := decide(ctx, tx); err != nil {
			return err
		}
		return apply(ctx, tx)
	})
}

// GiveBack undoes a Spend, for acts that do not count after all.
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

// Left returns a SpentError if one of the acts would not be allowed now, and
// counts nothing.
func (s *Store) Left(ctx context.Context, acts ...Spending) error {
	if _, err := s.frees(ctx, s.engine, acts); err != nil {
		return fmt.Errorf("store: limits: %w", err)
	}
	return nil
}

func (s *Store) spendWith(ctx context.Context, do func(context.Context, engine.Tx) error) error {
	// Serial, or two replicas could both spend the last one.
	if err := s.write(ctx, &write{serial: true, do: do}); err != nil {
		return fmt.Errorf("store: limits: %w", err)
	}
	return nil
}

// spend prepares the decision, which only refuses, and what counts the acts, which
// only writes.
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

// frees gives, for each act, its subject and when that will have all of the limit
// left again if it acts now.
func (s *Store) frees(ctx context.Context, in engine.Reader, acts []Spending) (rows []any, err error) {
	subjects := s.spenders(acts)
	now := time.Now()
	known := make(map[string]int64, len(acts))
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
		known[string(subject)] = free
	}
	if err := found.Err(); err != nil {
		return nil, fmt.Errorf("spend: %w", err)
	}
	for i, a := range acts {
		free := fromMicros(known[string(subjects[i].([]byte))])
		if free.Before(now) {
			free = now
		}
		free = free.Add(a.Limit.each())
		if over := free.Sub(now) - a.Limit.While; over > 0 {
			return nil, &SpentError{a, over}
		}
		rows = append(rows, subjects[i], micros(free))
	}
	return rows, nil
}

// subjectSize is the length of a stored subject: so much of its keyed hash, and of
// the hash of the limit's name.
const (
	subjectSize = hashSize + nameSize
	hashSize    = 24
	nameSize    = 8
)

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
