package store

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/riverqueue/river"

	"cobrowse-bridge/bridge/store/engine"
)

// commitTimeout ends a commit on a database that no longer answers.
const commitTimeout = 15 * time.Second

// A write is one caller's part of a shared commit.
type write struct {
	// delivery is a row to insert if it is new; the jobs are then its jobs.
	delivery *deliveryRow
	// do runs in the shared transaction. It may refuse (see refused), but only
	// before its first statement that changes anything, because the others'
	// transaction goes on. Any other error undoes the transaction.
	do func(context.Context, engine.Tx) error
	// jobs and audit are written unless do refuses or the delivery is old.
	jobs  []river.InsertManyParams
	audit []Entry
	// serial keeps other replicas' serial writes away. Writes with audit
	// entries are serial.
	serial bool

	fresh bool // out: the delivery was new

	ctx  context.Context
	done chan error
}

// refused reports whether err is an answer rather than a fault.
func refused(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) || errors.Is(err, ErrTaken) || errors.Is(err, ErrLeased) || errors.Is(err, ErrSpent)
}

func (s *Store) write(ctx context.Context, w *write) error { return s.committer.do(ctx, w) }

// commit writes a group. If the shared transaction fails, each write is tried
// alone, once, so that a bad one harms nobody else.
func (s *Store) commit(group []*write) {
	if len(group) == 0 {
		return
	}
	err := s.transact(group)
	if err == nil {
		return
	}
	for _, w := range group {
		if len(group) > 1 && !errors.Is(err, engine.ErrUnavailable) {
			if alone := s.transact([]*write{w}); alone == nil {
				continue
			} else if errors.Is(alone, engine.ErrUnavailable) {
				err = alone // and so it is for the rest
			} else {
				w.done <- alone
				continue
			}
		}
		w.done <- err
	}
	s.log.Error("commit failed", "writes", len(group), "err", err)
}

// transact runs the group in one transaction. Unless it returns an error, every
// write has its answer.
func (s *Store) transact(group []*write) error {
	ctx, cancel := context.WithTimeout(context.Background(), commitTimeout)
	defer cancel()
	answers := make([]error, len(group))
	var fresh map[string]bool
	err := s.engine.Write(ctx, func(ctx context.Context, tx engine.Tx) (err error) {
		var head AuditHead
		if slices.ContainsFunc(group, func(w *write) bool { return w.serial || len(w.audit) > 0 }) {
			if head, err = lockAudit(ctx, tx); err != nil {
				return err
			}
		}
		if fresh, err = insertDeliveries(ctx, tx, group); err != nil {
			return err
		}
		var jobs []river.InsertManyParams
		var audit []Entry
		for i, w := range group {
			if w.delivery != nil && !fresh[w.delivery.id] {
				continue
			}
			if w.do != nil {
				if err := w.do(ctx, tx); refused(err) {
					answers[i] = err
					continue
				} else if err != nil {
					return err
				}
			}
			jobs = append(jobs, w.jobs...)
			audit = append(audit, w.audit...)
		}
		if err := appendAudit(ctx, tx, head, audit); err != nil {
			return err
		}
		if len(jobs) == 0 {
			return nil
		}
		return tx.InsertJobs(ctx, jobs)
	})
	if err != nil {
		s.committed.Store(0)
		return err
	}
	s.committed.Store(time.Now().UnixMicro())
	for i, w := range group {
		w.fresh = w.delivery != nil && fresh[w.delivery.id]
		w.done <- answers[i]
	}
	return nil
}

type deliveryRow struct {
	id, connector, key string
	body               []byte
	received           int64
	known              []byte // what a sweep need not find; nil for nothing
	changes            []ChatChange
}

// insertDeliveries inserts the group's deliveries and returns the ids of those
// that were new. The order of keys is the same in every
// replica, so that they do not block each other.
func insertDeliveries(ctx context.Context, tx engine.Tx, group []*write) (fresh map[string]bool, err error) {
	var rows []*deliveryRow
	for _, w := range group {
		if w.delivery != nil {
			rows = append(rows, w.delivery)
		}
	}
	if len(rows) == 0 {
		return nil, nil
	}
	slices.SortStableFunc(rows, func(a, b *deliveryRow) int {
		return cmp.Or(cmp.Compare(a.connector, b.connector), cmp.Compare(a.key, b.key))
	})
	fresh = make(map[string]bool, len(rows))
	for part := range portions(rows) {
		if err := insertPortion(ctx, tx, part, fresh); err != nil {
			return nil, fmt.Errorf("insert deliveries: %w", err)
		}
	}
	if err := insertChanges(ctx, tx, rows, fresh); err != nil {
		return nil, err
	}
	return fresh, insertKnown(ctx, tx, rows, fresh)
}

// insertKnown remembers what new deliveries tell of, in an order of its own. Where
// nobody ever swept, nothing is remembered.
func insertKnown(ctx context.Context, tx engine.Tx, rows []*deliveryRow, fresh map[string]bool) error {
	known := slices.DeleteFunc(rows, func(d *deliveryRow) bool { return d.known == nil || !fresh[d.id] })
	slices.SortFunc(known, func(a, b *deliveryRow) int {
		return cmp.Or(cmp.Compare(a.connector, b.connector), bytes.Compare(a.known, b.known))
	})
	for _, d := range known {
		if _, err := tx.Exec(ctx, queryFound, d.connector, d.known); err != nil {
			return fmt.Errorf("remember what is known: %w", err)
		}
	}
	return nil
}

func insertPortion(ctx context.Context, tx engine.Tx, rows []*deliveryRow, fresh map[string]bool) error {
	args := make([]any, 0, len(rows)*deliveryColumnNum)
	for _, d := range rows {
		args = append(args, d.id, d.connector, d.key, d.body, d.received)
	}
	inserted, err := tx.Query(ctx, queryInsertDeliveries+tuples(len(rows), deliveryColumnNum)+queryInsertedOnce, args...)
	if err != nil {
		return err
	}
	defer inserted.Close()
	for inserted.Next() {
		var id string
		if err := inserted.Scan(&id); err != nil {
			return err
		}
		fresh[id] = true
	}
	return inserted.Err()
}
