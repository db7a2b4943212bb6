package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/limit"
	"cobrowse-bridge/bridge/store/sweeps"
)

// Retention is how long Purge keeps data. Zero means forever.
type Retention struct {
	// Keys is for the keys of deliveries, from when they were handled.
	Keys time.Duration
	// Failed is for deliveries that failed or are waiting, from when they arrived, and for other
	// failures, from when they failed last.
	Failed time.Duration
	// Cards is for cards, from their last change. A card is kept longer while its door
	// is valid or NextCheck is in the future.
	Cards time.Duration
	// Audit is for audit records. They are removed by whole days, so a record may be kept
	// a day longer.
	Audit time.Duration
}

// Purge removes what r does not keep at the given time:
//   - keys of handled deliveries (a repeat then counts as a new delivery), and what
//     sweeps of connectors found that no longer sweep, by r.Keys;
//   - failed and waiting deliveries and all other failures but those of erasures, by r.Failed;
//   - cards with their posts and waits, by r.Cards;
//   - audit records, with a note in the audit log, and receipts of erasures, by r.Audit;
//   - expired browsers, sessions and limits, chat changes of finished deliveries, and old desk changes.
//
// jobs.Board.Purge removes jobs. At the end Purge gives free space back to the disk. Each transaction removes at most 250 rows, or 100 cards with
// what belongs to them, so that other writes wait for at most about 50 ms.
func (s *Store) Purge(ctx context.Context, now time.Time, r Retention) error {
	ctx = Patient(ctx)
	errs := []error{s.check(ctx)}
	for _, expired := range []string{queryPurgeBrowsers, queryPurgeSessions} {
		errs = append(errs, s.purge(ctx, expired, engine.Micros(now)))
	}
	errs = append(errs, s.purgeLimits(ctx, now))
	if r.Keys > 0 {
		errs = append(errs, s.purge(ctx, queryPurge, engine.Micros(now.Add(-r.Keys))), s.purge(ctx, sweeps.QueryPurgeFound, engine.Micros(now.Add(-r.Keys))), s.purgeHandled(ctx, now.Add(-r.Keys)))
	}
	if r.Failed > 0 {
		before := now.Add(-r.Failed)
		errs = append(errs, s.purge(ctx, queryPurgeDead, idsFrom(before)), s.purge(ctx, queryPurgeFailures, engine.Micros(before)))
	}
	if r.Cards > 0 {
		errs = append(errs, s.purgeCards(ctx, now, now.Add(-r.Cards)))
	}
	if r.Audit > 0 {
		before := now.Add(-r.Audit)
		errs = append(errs, s.purge(ctx, queryPurgeErasures, idsFrom(before)), s.trimAudit(ctx, before.Truncate(24*time.Hour)))
	}
	errs = append(errs, s.purge(ctx, queryPurgeDeskChanges, keptDeskChanges))
	errs = append(errs, s.purgeChanges(ctx)) // after deliveries were removed
	errs = append(errs, s.engine.Shrink(ctx))
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("store: purge: %w", err)
	}
	return nil
}

func (s *Store) purge(ctx context.Context, query string, args ...any) error {
	for more := true; more; {
		err := s.write(ctx, &write{all: true, do: func(ctx context.Context, tx engine.Tx) error {
			n, err := tx.Exec(ctx, query, args...)
			more = n > 0
			return err
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// removeEach removes the rows whose keys find returns, in slices. find returns keys after the last one, in
// their order. It is called outside of the writes, so that other writes do not wait for the search.
func (s *Store) removeEach(ctx context.Context, find func(last []byte) ([][]byte, error), remove func(context.Context, engine.Tx, [][]byte) error) error {
	for last := []byte{}; ; {
		keys, err := find(last)
		if err != nil || len(keys) == 0 {
			return err
		}
		last = keys[len(keys)-1]
		if err := s.writeAlone(ctx, func(ctx context.Context, tx engine.Tx) error { return remove(ctx, tx, keys) }); err != nil {
			return err
		}
	}
}

// purgeLimits removes expired limits. There may be a million, with one for each client address.
func (s *Store) purgeLimits(ctx context.Context, now time.Time) error {
	return s.removeEach(ctx, func(last []byte) ([][]byte, error) {
		return limit.Unused(ctx, s.engine, last, now)
	}, func(ctx context.Context, tx engine.Tx, subjects [][]byte) error {
		return limit.Remove(ctx, tx, subjects, now)
	})
}

// purgeCards removes cards that were last changed before the given time.
func (s *Store) purgeCards(ctx context.Context, now, before time.Time) error {
	for more := true; more; {
		err := s.write(ctx, &write{all: true, do: func(ctx context.Context, tx engine.Tx) error {
			ids, err := engine.Column[string](tx.Query(ctx, queryPurgeCards, idsFrom(before), engine.Micros(before), engine.Micros(now)))
			if err != nil {
				return err
			}
			more = len(ids) > 0
			for _, id := range ids {
				for _, query := range []string{queryDeletePosts, queryEndWaits} {
					if _, err := tx.Exec(ctx, query, id); err != nil {
						return err
					}
				}
			}
			return nil
		}})
		if err != nil {
			return err
		}
	}
	return nil
}

// trimPortion is how many audit records one transaction removes.
const trimPortion = 250

// trimAudit removes the records at the start of the audit log that are older than the given time.
func (s *Store) trimAudit(ctx context.Context, before time.Time) error {
	head, err := s.AuditLog().Head(ctx) // the records about the trimming come after it and stay
	if err != nil {
		return err
	}
	for {
		part, err := s.AuditLog().Oldest(ctx, trimPortion)
		if err != nil {
			return err
		}
		n := 0
		for n < len(part) && part[n].At.Before(before) && part[n].Seq <= head.Seq {
			n++
		}
		if n == 0 {
			return nil
		}
		last := part[n-1]
		err = s.write(ctx, &write{
			all:   true,
			audit: []audit.Entry{audit.Trimmed(last, n)},
			do: func(ctx context.Context, tx engine.Tx) error {
				trimmed, err := audit.TrimTo(ctx, tx, part[0].Seq, last.Seq)
				if err == nil && !trimmed {
					err = ErrConflict
				}
				return err
			},
		})
		if errors.Is(err, ErrConflict) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}
