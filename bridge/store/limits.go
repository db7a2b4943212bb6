package store

import (
	"context"
	"fmt"

	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/limit"
)

// Spend counts acts, each with another limit or subject. If one is not allowed, it counts
// none and returns a limit.SpentError.
func (s *Store) Spend(ctx context.Context, acts ...limit.Spending) error {
	rows, decide, apply := s.limits.Spend(acts)
	return s.spendWith(ctx, rows, func(ctx context.Context, tx engine.Tx) error {
		if err := decide(ctx, tx); err != nil {
			return err
		}
		return apply(ctx, tx)
	})
}

// GiveBack undoes a Spend, for acts that should not count.
func (s *Store) GiveBack(ctx context.Context, acts ...limit.Spending) error {
	return s.spendWith(ctx, s.limits.Rows(acts), s.limits.GiveBack(acts))
}

// CheckSpend returns a limit.SpentError if Spend would, and counts nothing.
func (s *Store) CheckSpend(ctx context.Context, acts ...limit.Spending) error {
	if err := s.limits.Check(ctx, s.engine, acts); err != nil {
		return fmt.Errorf("store: limits: %w", err)
	}
	return nil
}

func (s *Store) spendWith(ctx context.Context, rows []string, do func(context.Context, engine.Tx) error) error {
	if err := s.write(ctx, &write{rows: rows, do: do}); err != nil {
		return fmt.Errorf("store: limits: %w", err)
	}
	return nil
}
