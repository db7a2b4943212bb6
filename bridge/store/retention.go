package store

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// Retention is how long things are kept. Zero means for good.
type Retention struct {
	// Keys of deliveries count from when those were handled.
	Keys time.Duration
	// Failed deliveries, and those that wait, count from when they came.
	Failed time.Duration
	// Cards count from their last change. One whose door opens, or of which news
	// is awaited, is kept.
	Cards time.Duration
	// Audit records go by whole days: they may be kept a day longer.
	Audit time.Duration
}

// A Trim is what a record with ActionTrimmed says: the first records were removed.
type Trim struct {
	// Through and Hash name the last record that was removed, as an AuditHead
	// does; Hash is in hex.
	Through int64  `json:"through"`
	Hash    string `json:"hash"`
	Records int64  `json:"records"`
}

// Purge removes what is older than r allows at the given time: keys of deliveries,
// whose repeats are new deliveries from then on; what sweeps found that are not done
// any more; deliveries that failed; cards with their posts and waits; audit records,
// on which the trail then notes that they were trimmed; receipts of erasures, with the
// audit; what is left of remembered browsers, sessions and limits that have expired; and
// the chat changes of deliveries that are finished or removed. Where there may be many it
// does so in portions, so that nobody waits behind a large one.
func (s *Store) Purge(ctx context.Context, now time.Time, r Retention) error {
	var errs []error
	for _, expired := range []string{queryPurgeBrowsers, queryPurgeSessions} {
		errs = append(errs, s.purge(ctx, expired, micros(now)))
	}
	errs = append(errs, s.purgeLimits(ctx, now))
	if r.Keys > 0 {
		errs = append(errs, s.purge(ctx, queryPurge, micros(now.Add(-r.Keys))), s.purge(ctx, queryPurgeFound, micros(now.Add(-r.Keys))))
	}
	if r.Failed > 0 {
		errs = append(errs, s.purge(ctx, queryPurgeDead, idsFrom(now.Add(-r.Failed))))
	}
	if r.Cards > 0 {
		errs = append(errs, s.purgeCards(ctx, now, now.Add(-r.Cards)))
	}
	if r.Audit > 0 {
		before := now.Add(-r.Audit)
		errs = append(errs, s.purge(ctx, queryPurgeErasures, idsFrom(before)), s.trimAudit(ctx, before.Truncate(24*time.Hour)))
	}
	errs = append(errs, s.purgeChanges(ctx)) // after deliveries were removed
	if err := errors.Join(errs...); err != nil {
		return fmt.Errorf("store: purge: %w", err)
	}
	return nil
}

func (s *Store) purge(ctx context.Context, query string, args ...any) error {
	for more := true; more; {
		err := s.write(ctx, &write{do: func(ctx context.Context, tx engine.Tx) error {
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

// purgeLimits looks for what has expired before it holds up anybody who writes: where
// everybody who comes is counted, there may be a million.
func (s *Store) purgeLimits(ctx context.Context, now time.Time) error {
	for last := []byte{}; ; {
		subjects, err := column[[]byte](s.engine.Query(ctx, queryExpiredLimits, last, micros(now)))
		if err != nil || len(subjects) == 0 {
			return err
		}
		last = subjects[len(subjects)-1]
		err = s.write(ctx, &write{do: func(ctx context.Context, tx engine.Tx) error {
			for _, subject := range subjects {
				if _, err := tx.Exec(ctx, queryPurgeLimit, subject, micros(now)); err != nil {
					return err
				}
			}
			return nil
		}})
		if err != nil {
			return err
		}
	}
}

// purgeCards removes cards that did not change since the given time.
func (s *Store) purgeCards(ctx context.Context, now, before time.Time) error {
	for more := true; more; {
		err := s.write(ctx, &write{do: func(ctx context.Context, tx engine.Tx) error {
			ids, err := column[string](tx.Query(ctx, queryPurgeCards, idsFrom(before), micros(before), micros(now)))
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

// column reads rows of one column.
func column[T any](rows engine.Rows, err error) (all []T, _ error) {
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var v T
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		all = append(all, v)
	}
	return all, rows.Err()
}

// trimPortion is how many audit records are removed at once.
const trimPortion = 1000

// trimAudit removes the records at the start of the trail that are from before the
// given time.
func (s *Store) trimAudit(ctx context.Context, before time.Time) error {
	head, err := s.AuditHead(ctx) // never what is written about the trimming itself
	if err != nil {
		return err
	}
	for {
		part, err := s.auditPart(ctx, queryAudit, -1, trimPortion)
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
		detail, err := json.Marshal(Trim{last.Seq, hex.EncodeToString(last.Hash[:]), int64(n)})
		if err != nil {
			return err
		}
		err = s.write(ctx, &write{
			audit: []Entry{{Action: ActionTrimmed, Agent: "bridge", Detail: string(detail)}},
			do: func(ctx context.Context, tx engine.Tx) error {
				var first int64
				if err := tx.QueryRow(ctx, queryAuditFirst, -1).Scan(&first); err != nil {
					return err
				}
				if first != part[0].Seq {
					return ErrConflict // another replica was faster
				}
				_, err := tx.Exec(ctx, queryTrimAudit, last.Seq)
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
