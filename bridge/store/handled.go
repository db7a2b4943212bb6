package store

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// keepFinished is how long a handled delivery stays as it is, for people who look at it. After that only
// a keyed hash of its connector and key is left, to recognise repeats: it takes a tenth of the space, and
// identifies nobody.
const keepFinished = 10 * time.Minute

// handledHashes returns the hashes of a delivery with the present secret and with the old one.
func (s *Store) handledHashes(connector, key string) (now, before []byte) {
	now, before = s.sealer.Sums("handled delivery", connector, key)
	return now[:16], before[:16]
}

// refuseHandled returns a step for a delivery that was just inserted. If the hash of its key
// is stored, it is a repeat: the step removes the delivery and fails with ErrConflict.
func (s *Store) refuseHandled(id, connector, key string) func(context.Context, engine.Tx) error {
	now, before := s.handledHashes(connector, key)
	return func(ctx context.Context, tx engine.Tx) error {
		known, err := engine.Column[[]byte](tx.Query(ctx, queryHandled, now, before))
		if err != nil || len(known) == 0 {
			return err
		}
		if err := deleteChanges(id)(ctx, tx); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, queryDeleteDelivery, id); err != nil {
			return fmt.Errorf("remove repeat: %w", err)
		}
		return ErrConflict
	}
}

// ReduceHandled replaces deliveries that were handled some time before now by their hashes, in slices. The
// newest of each connector stays.
func (s *Store) ReduceHandled(ctx context.Context, now time.Time) error {
	ctx = Patient(ctx)
	for more := true; more; {
		err := s.writeAlone(ctx, func(ctx context.Context, tx engine.Tx) error {
			type row struct {
				id, connector, key string
				finished           int64
			}
			var part []row
			rows, err := tx.Query(ctx, queryFinished, engine.Micros(now.Add(-keepFinished)))
			if err != nil {
				return err
			}
			for rows.Next() && err == nil {
				var r row
				err = rows.Scan(&r.id, &r.connector, &r.key, &r.finished)
				part = append(part, r)
			}
			rows.Close()
			if err = errors.Join(err, rows.Err()); err != nil {
				return err
			}
			more = len(part) > 0
			for _, r := range part {
				hash, _ := s.handledHashes(r.connector, r.key)
				_, err := tx.Exec(ctx, queryAddHandled, hash, r.finished)
				if err == nil {
					_, err = tx.Exec(ctx, queryDropFinished, r.id)
				}
				if err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return fmt.Errorf("store: reduce handled deliveries: %w", err)
		}
	}
	return nil
}

// purgeHandled removes the hashes of deliveries that were handled before the given time.
func (s *Store) purgeHandled(ctx context.Context, before time.Time) error {
	return s.removeEach(ctx, func(last []byte) ([][]byte, error) {
		return engine.Column[[]byte](s.engine.Query(ctx, queryExpiredHandled, last, engine.Micros(before)))
	}, func(ctx context.Context, tx engine.Tx, hashes [][]byte) error {
		for _, hash := range hashes {
			if _, err := tx.Exec(ctx, queryPurgeHandled, hash); err != nil {
				return err
			}
		}
		return nil
	})
}
