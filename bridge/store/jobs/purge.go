package jobs

import (
	"context"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// riverTime is the form of the times that River stores on SQLite, and the zone for PostgreSQL. SQLite
// compares texts, so the zone must come last.
const riverTime = "2006-01-02 15:04:05.000+00"

// Purge removes the jobs that were done an hour before now, and those that failed 30 days before.
// Each transaction removes at most 250.
func (b *Board) Purge(ctx context.Context, now time.Time) error {
	for _, purge := range []struct {
		query string
		keep  time.Duration
	}{{queryPurgeDone, keepDone}, {queryPurgeCancelled, keepFailed}, {queryPurgeDiscarded, keepFailed}} {
		before := now.Add(-purge.keep).UTC().Format(riverTime)
		for more := true; more; {
			err := b.write(ctx, "done jobs", func(ctx context.Context, tx engine.Tx) error {
				n, err := tx.Exec(ctx, purge.query, before)
				more = n > 0
				return err
			})
			if err != nil {
				return fmt.Errorf("jobs: purge: %w", err)
			}
		}
	}
	return nil
}
