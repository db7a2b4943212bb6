package store

import (
	"context"
	"database/sql"
	"errors"
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
	Limit string
	// Wait is how long it takes until the next is allowed.
	Wait time.Duration
}

func (e *SpentError) Error() string {
	return fmt.Sprintf("limit %q is spent for %v", e.Limit, e.Wait.Round(time.Second))
}

// Is makes it ErrSpent.
func (e *SpentError) Is(target error) bool { return target == ErrSpent }

// Spend counts acts: all of them, or none and a SpentError.
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
		for _, a := range acts {
			if _, err := tx.Exec(ctx, queryGiveBack, s.spender(a), a.Limit.each().Microseconds()); err != nil {
				return err
			}
		}
		return nil
	})
}

// Left returns a SpentError if one of the acts would not be allowed now, and
// counts nothing.
func (s *Store) Left(ctx context.Context, acts ...Spending) error {
	for _, a := range acts {
		if _, err := s.free(ctx, s.engine, a, time.Now()); err != nil {
			return fmt.Errorf("store: limits: %w", err)
		}
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
	frees := make([]time.Time, len(acts))
	decide = func(ctx context.Context, tx engine.Tx) (err error) {
		now := time.Now()
		for i, a := range acts {
			if frees[i], err = s.free(ctx, tx, a, now); err != nil {
				return err
			}
		}
		return nil
	}
	apply = func(ctx context.Context, tx engine.Tx) error {
		for i, a := range acts {
			if _, err := tx.Exec(ctx, querySpend, s.spender(a), micros(frees[i])); err != nil {
				return fmt.Errorf("spend: %w", err)
			}
		}
		return nil
	}
	return decide, apply
}

// free is when a subject will have all of the limit left again, after an act now.
func (s *Store) free(ctx context.Context, in engine.Reader, a Spending, now time.Time) (time.Time, error) {
	var known int64
	err := in.QueryRow(ctx, queryFree, s.spender(a)).Scan(&known)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		return time.Time{}, fmt.Errorf("spend: %w", err)
	}
	free := fromMicros(known)
	if free.Before(now) {
		free = now
	}
	free = free.Add(a.Limit.each())
	if over := free.Sub(now) - a.Limit.While; over > 0 {
		return time.Time{}, &SpentError{a.Limit.Name, over}
	}
	return free, nil
}

func (s *Store) spender(a Spending) []byte {
	sum, _ := s.sealer.Sums("limit", a.Limit.Name, a.Subject)
	return sum
}
