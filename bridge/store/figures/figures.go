// Package figures reads from the database what operators want to see at each scrape of the metrics.
//
// No figure reads more than 10,000 rows, whatever the size of the database: waiting jobs, open cards and
// sessions are counted through an index and only up to that number, and the others are one row each. With
// 100,000 closed cards, finished jobs and expired sessions all figures together take 0.2 ms on SQLite and
// 5 ms on PostgreSQL; with 100,000 open cards and waiting jobs 14 ms on either (BenchmarkFigures).
package figures

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// A Reader reads figures. In makes it.
type Reader struct{ in engine.Engine }

// In returns a Reader of a database.
func In(e engine.Engine) Reader { return Reader{e} }

// lastPriority is the last of River's priorities; the first is 1 (riverqueue.com/docs/job-priority).
const lastPriority = 4

// Waiting returns how many jobs of a queue are due, at most 10,000, and since when the oldest is. Jobs
// that are due within five seconds count too. oldest is zero if there is none.
func (r Reader) Waiting(ctx context.Context, queue string) (n int, oldest time.Time, err error) {
	err = r.in.QueryRow(ctx, queryWaiting, queue).Scan(&n)
	for priority := 1; priority <= lastPriority && n > 0 && err == nil; priority++ {
		var at time.Time
		if err = orNone(r.in.QueryRow(ctx, queryOldest, queue, priority).Scan(&at)); !at.IsZero() && (oldest.IsZero() || at.Before(oldest)) {
			oldest = at
		}
	}
	return n, oldest, wrap("waiting jobs", err)
}

// OpenCards returns how many of a connector's cards are in each state, without closed cards. It looks at
// the newest 10,000.
func (r Reader) OpenCards(ctx context.Context, connector string) (map[string]int, error) {
	rows, err := r.in.Query(ctx, queryOpenCards, connector)
	if err != nil {
		return nil, wrap("open cards", err)
	}
	defer rows.Close()
	counts := map[string]int{}
	for rows.Next() {
		var state string
		var n int
		if err := rows.Scan(&state, &n); err != nil {
			return nil, wrap("open cards", err)
		}
		counts[state] = n
	}
	return counts, wrap("open cards", rows.Err())
}

// SignedIn returns how many sessions of agents have not expired, at most 10,000.
func (r Reader) SignedIn(ctx context.Context) (n int, err error) {
	err = r.in.QueryRow(ctx, querySignedIn, engine.Micros(time.Now())).Scan(&n)
	return n, wrap("sessions", err)
}

// LastEntry returns when the latest entry of the audit log was written, or the zero time.
func (r Reader) LastEntry(ctx context.Context) (time.Time, error) {
	return r.at(ctx, "audit log", queryLastEntry, 0)
}

// LastSweep returns when the last complete sweep of a connector began, or the zero time.
func (r Reader) LastSweep(ctx context.Context, connector string) (time.Time, error) {
	return r.at(ctx, "sweeps", queryLastSweep, connector)
}

func (r Reader) at(ctx context.Context, what, query string, arg any) (time.Time, error) {
	var micros int64
	err := orNone(r.in.QueryRow(ctx, query, arg).Scan(&micros))
	return engine.FromMicros(micros), wrap(what, err)
}

// Size returns the size of the database.
func (r Reader) Size(ctx context.Context) (engine.Size, error) {
	size, err := r.in.Size(ctx)
	return size, wrap("size", err)
}

// orNone returns nil if there is no row.
func orNone(err error) error {
	if errors.Is(err, sql.ErrNoRows) {
		return nil
	}
	return err
}

func wrap(what string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("figures: %s: %w", what, err)
}
