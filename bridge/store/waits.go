package store

import (
	"context"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// A Wait is an agent's request to be told when the visitor of a card is back.
type Wait struct {
	Card, Agent string
	// Until is when the request expires.
	Until time.Time
}

// StartWait stores w, which is due at the given time. It replaces a Wait of the same agent
// for the same card.
func (s *Store) StartWait(ctx context.Context, w Wait, due time.Time) error {
	err := s.write(ctx, &write{rows: []string{rowOfCard(w.Card)}, desks: []DeskChange{{Card: w.Card, Agent: w.Agent}}, do: func(ctx context.Context, tx engine.Tx) error {
		_, err := tx.Exec(ctx, queryWait, w.Card, w.Agent, engine.Micros(w.Until), engine.Micros(due))
		return err
	}})
	if err != nil {
		return fmt.Errorf("store: start wait: %w", err)
	}
	return nil
}

// Waiting reports whether an agent has a Wait for a card that has not expired.
func (s *Store) Waiting(ctx context.Context, card, agent string) (bool, error) {
	rows, err := s.engine.Query(ctx, queryWaitOf, card, agent, time.Now().UnixMicro())
	if err != nil {
		return false, fmt.Errorf("store: waits: %w", err)
	}
	defer rows.Close()
	return rows.Next(), rows.Err()
}

// LeaseWaits returns at most n waits that are due now, and makes them due again at the given
// time. Until then no other process gets them; if the caller dies, another does after that.
func (s *Store) LeaseWaits(ctx context.Context, again time.Time, n int) ([]Wait, error) {
	var waits []Wait // not a result: if ctx ends, the write may still set it
	err := s.write(ctx, &write{all: true, do: func(ctx context.Context, tx engine.Tx) error {
		rows, err := tx.Query(ctx, queryWaitsDue, time.Now().UnixMicro(), engine.Micros(again), n)
		if err != nil {
			return err
		}
		defer rows.Close()
		waits = nil // a failed shared commit runs this again
		for rows.Next() {
			var w Wait
			var until int64
			if err := rows.Scan(&w.Card, &w.Agent, &until); err != nil {
				return err
			}
			w.Until = engine.FromMicros(until)
			waits = append(waits, w)
		}
		return rows.Err()
	}})
	if err != nil {
		return nil, fmt.Errorf("store: lease waits: %w", err)
	}
	return waits, nil
}

// WaitsDue reports whether any wait is due. It only reads.
func (s *Store) WaitsDue(ctx context.Context) (bool, error) {
	return s.anyWait(ctx, time.Now())
}

// AnyWait reports whether any agent waits for a visitor.
func (s *Store) AnyWait(ctx context.Context) (bool, error) {
	return s.anyWait(ctx, time.Now().AddDate(1000, 0, 0))
}

// anyWait reports whether a wait is due before the given time.
func (s *Store) anyWait(ctx context.Context, due time.Time) (bool, error) {
	rows, err := s.engine.Query(ctx, queryAnyWaitDue, due.UnixMicro())
	if err != nil {
		return false, fmt.Errorf("store: waits: %w", err)
	}
	defer rows.Close()
	return rows.Next(), rows.Err()
}

// endWait prepares the statement that removes a wait or, if it has no Agent, all waits of its
// card.
func endWait(w Wait) func(context.Context, engine.Tx) error {
	return func(ctx context.Context, tx engine.Tx) (err error) {
		if w.Agent == "" {
			_, err = tx.Exec(ctx, queryEndWaits, w.Card)
		} else {
			_, err = tx.Exec(ctx, queryEndWait, w.Card, w.Agent)
		}
		if err != nil {
			return fmt.Errorf("end wait: %w", err)
		}
		return nil
	}
}
