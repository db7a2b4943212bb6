// Package refreshes says when the bridge reads again whether the visitors of cards are online.
package refreshes

import (
	"context"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// First is how long after its state changed to ready or offline a card is refreshed for the first
// time. The later pauses are in queries.go.
const First = 2 * time.Minute

// lastStep is the last Step of a Refresh.
const lastStep = 4

// portion is how many refreshes one transaction skips or removes, at most, of each kind.
const portion = 250

// A Refresh says when the bridge reads again whether the visitor of a card is online. It is about a card
// whose state is ready or offline; others are removed when they are due.
type Refresh struct {
	Card string
	// Step counts how often it was due before, from 0. After the last step the refresh is removed.
	Step int
	Due  time.Time
}

// Start prepares the statement that stores r. It replaces the refresh of the same card.
func Start(r Refresh) func(context.Context, engine.Tx) error {
	return func(ctx context.Context, tx engine.Tx) error {
		if _, err := tx.Exec(ctx, queryRefresh, r.Card, int64(r.Step), engine.Micros(r.Due)); err != nil {
			return fmt.Errorf("start refresh: %w", err)
		}
		return nil
	}
}

// A Table has the refreshes in a database.
type Table struct {
	in    engine.Reader
	write func(ctx context.Context, cards []string, do func(context.Context, engine.Tx) error) error
	alone engine.LoneWriter
}

// In returns the refreshes in a database. write commits what a function changes about cards, and alone what
// it changes while nothing else is written.
func In(db engine.Reader, write func(context.Context, []string, func(context.Context, engine.Tx) error) error, alone engine.LoneWriter) Table {
	return Table{db, write, alone}
}

// Due returns at most n refreshes that are due at the given time and whose cards are ready or
// offline, the earliest first. It only reads.
func (t Table) Due(ctx context.Context, now time.Time, n int) (due []Refresh, err error) {
	rows, err := t.in.Query(ctx, queryRefreshesDue, engine.Micros(now), n)
	if err != nil {
		return nil, fmt.Errorf("store: refreshes: %w", err)
	}
	defer rows.Close()
	for rows.Next() {
		var r Refresh
		var at int64
		if err := rows.Scan(&r.Card, &r.Step, &at); err != nil {
			return nil, fmt.Errorf("store: refreshes: %w", err)
		}
		r.Due = engine.FromMicros(at)
		due = append(due, r)
	}
	if err := rows.Err(); err != nil {
		return nil, fmt.Errorf("store: refreshes: %w", err)
	}
	return due, nil
}

// Lease moves refreshes to their next step, or removes those with the last one, and returns those
// that no other process has moved since they were read. The caller does them now. If it dies, the next
// step does.
func (t Table) Lease(ctx context.Context, due []Refresh, now time.Time) ([]Refresh, error) {
	var leased []Refresh // not a result: if ctx ends, the write may still set it
	var cards []string
	for _, r := range due {
		cards = append(cards, r.Card)
	}
	err := t.write(ctx, cards, func(ctx context.Context, tx engine.Tx) error {
		leased = nil // a failed shared commit runs this again
		for _, r := range due {
			query, args := queryNextRefresh, []any{r.Card, engine.Micros(r.Due), engine.Micros(now)}
			if r.Step >= lastStep {
				query, args = queryEndRefresh, args[:2]
			}
			n, err := tx.Exec(ctx, query, args...)
			if err != nil {
				return err
			}
			if n > 0 {
				leased = append(leased, r)
			}
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("store: lease refreshes: %w", err)
	}
	return leased, nil
}

// Skip moves all refreshes that have been due since before the given time to their next step, or
// removes those with the last one. It also removes those that are due and whose cards are no longer ready or
// offline. It returns how many it moved or removed, and writes nothing if none is due. Each transaction
// changes a few hundred rows.
func (t Table) Skip(ctx context.Context, now, before time.Time) (skipped int64, err error) {
	due, err := engine.Column[int64](t.in.Query(ctx, queryAnyRefreshDue, engine.Micros(now)))
	for more := len(due) > 0; more && err == nil; {
		var ended, moved int64
		err = t.alone(ctx, func(ctx context.Context, tx engine.Tx) (err error) {
			if ended, err = tx.Exec(ctx, queryEndRefreshes, engine.Micros(now), engine.Micros(before), portion); err == nil {
				moved, err = tx.Exec(ctx, queryNextRefreshes, engine.Micros(before), portion, engine.Micros(now))
			}
			return err
		})
		if err == nil {
			skipped += ended + moved
			more = ended == portion || moved == portion
		}
	}
	if err != nil {
		return skipped, fmt.Errorf("store: skip refreshes: %w", err)
	}
	return skipped, nil
}
