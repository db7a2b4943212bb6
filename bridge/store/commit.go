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

	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/group"
	"cobrowse-bridge/bridge/store/limit"
	"cobrowse-bridge/bridge/store/sweeps"
)

// A write is one caller's part of a shared commit.
type write struct {
	// delivery is inserted if its key is new. Then jobs are its jobs.
	delivery *deliveryRow
	// do runs in the shared transaction. It may refuse (see refused), but only before
	// its first statement that changes something, because the transaction is committed
	// for the other writes. Any other error rolls the transaction back.
	do func(context.Context, engine.Tx) error
	// jobs, audit and desks are written unless do refuses or the delivery is a repeat.
	jobs  []river.InsertManyParams
	audit []audit.Entry
	desks []DeskChange
	// rows names what do changes; see engine.Locks. all says that do cannot name it.
	rows []string
	all  bool

	fresh   bool  // result: the delivery was new
	refusal error // result of the last transaction

	group.Caller
}

// refused reports whether err is a refusal of one write, not a failure of the transaction.
func refused(err error) bool {
	return errors.Is(err, ErrNotFound) || errors.Is(err, ErrConflict) || errors.Is(err, ErrTaken) || errors.Is(err, ErrLeased) || errors.Is(err, limit.ErrSpent)
}

func (s *Store) write(ctx context.Context, w *write) error { return s.committer.Do(ctx, w) }

// commit writes a group. If the shared transaction fails, it tries each write once on its
// own, so that one bad write does not fail the others.
func (s *Store) commit(writes []*write) {
	if len(writes) == 0 {
		return
	}
	err := s.transact(writes)
	if err == nil {
		return
	}
	for _, w := range writes {
		if gone := w.GivenUp(); gone != nil {
			w.Answer(gone)
			continue
		}
		if (len(writes) > 1 || errors.Is(err, engine.ErrDeadlock)) && !errors.Is(err, engine.ErrUnavailable) {
			if alone := s.transact([]*write{w}); alone == nil {
				continue
			} else if errors.Is(alone, engine.ErrUnavailable) {
				err = alone // for the remaining writes as well
			} else {
				w.Answer(alone)
				continue
			}
		}
		w.Answer(err)
	}
	if !errors.Is(err, engine.ErrLost) { // lose has logged that
		s.log.Error("commit failed", "writes", len(writes), "err", err)
	}
}

// transact runs writes in one transaction, for as long as one of its callers waits. If it
// returns nil, it has sent every write its result.
//
// Replicas that share the database do not deadlock, because every transaction waits in the same order:
// for the locks of what it changes, in the order of the locks; for new rows with the same key, in the order of
// the keys (insertDeliveries); and for the head of the audit log. The steps between change rows that
// are locked already, or new ones. The head is last and is held only while the records are written, because
// every press needs it. Two exceptions remain: River changes rows of jobs without our locks, and a
// replica with an earlier version locks the head first. If they meet, the database ends one transaction,
// and commit repeats it.
func (s *Store) transact(writes []*write) error {
	last := slices.MaxFunc(writes, func(a, b *write) int { return a.Until().Compare(b.Until()) })
	ctx, cancel := context.WithDeadlineCause(context.Background(), last.Until(), group.ErrBusy)
	defer cancel()
	if err := s.pulse.Begin(); err != nil {
		return err
	}
	var got struct {
		read  bool // head was read
		head  audit.Head
		fresh map[string]bool // the ids of new deliveries
		desks []DeskChange
	}
	err := s.engine.Write(ctx, locksOf(writes), func(ctx context.Context, tx engine.Tx) (err error) {
		if got.fresh, err = insertDeliveries(ctx, tx, writes); err != nil {
			return err
		}
		var all []river.InsertManyParams
		var entries []audit.Entry
		got.desks = nil
		for _, w := range writes {
			w.refusal = nil
			if w.delivery != nil && !got.fresh[w.delivery.id] {
				continue
			}
			if w.do != nil {
				if err := w.do(ctx, tx); refused(err) {
					w.refusal = err
					continue
				} else if err != nil {
					return err
				}
			}
			all = append(all, w.jobs...)
			entries = append(entries, w.audit...)
			got.desks = append(got.desks, w.desks...)
		}
		if err := insertDeskChanges(ctx, tx, got.desks); err != nil {
			return err
		}
		if len(all) > 0 {
			if err := tx.InsertJobs(ctx, all); err != nil {
				return err
			}
		}
		if got.read, got.head, err = s.checkHead(ctx, tx, len(entries) > 0); err != nil {
			return err
		}
		got.head, err = audit.Append(ctx, tx, got.head, entries)
		return err
	})
	s.end(err)
	if err != nil {
		return err
	}
	if got.read {
		s.head, s.headRead = got.head, time.Now()
	}
	if len(got.desks) > 0 {
		s.deskListeners.call()
	}
	for _, w := range writes {
		w.fresh = w.delivery != nil && got.fresh[w.delivery.id]
		w.Answer(w.refusal)
	}
	return nil
}

// end notes how a transaction ended.
func (s *Store) end(err error) {
	if s.pulse.End(err) {
		s.log.Error("database lost: nothing is written any more until the bridge is started again", "err", err)
	}
}

// readHeadEvery is how often a transaction without audit entries reads the head of the audit log.
const readHeadEvery = time.Second

// checkHead reads the head of the audit log, and locks it for a transaction that appends to it. If
// the head is before the one that this process has read or written, the database was replaced
// by an older copy, as by a restored backup or by a replica that was behind.
func (s *Store) checkHead(ctx context.Context, tx engine.Tx, append bool) (read bool, head audit.Head, err error) {
	switch {
	case append:
		head, err = audit.LockHead(ctx, tx)
	case time.Since(s.headRead) >= readHeadEvery:
		head, err = audit.In(tx).Head(ctx)
	default:
		return false, head, nil
	}
	if err == nil && (head.Seq < s.head.Seq || head.Seq == s.head.Seq && head.Hash != s.head.Hash) && !s.headRead.IsZero() {
		err = fmt.Errorf("%w: it was replaced by an older copy, whose audit log ends with record %d and not %d; if this is meant, restart the bridge", engine.ErrLost, head.Seq, s.head.Seq)
	}
	return true, head, err
}

// locksOf returns the locks of all writes of a group.
func locksOf(writes []*write) (locks engine.Locks) {
	for _, w := range writes {
		locks.All = locks.All || w.all
		locks.Names = append(locks.Names, w.rows...)
	}
	return locks
}

// The names of rows in locks. Rows that belong to a card, such as its posts, waits and refresh, have its name.
func rowOfCard(id string) string       { return "card " + id }
func rowOfDelivery(id string) string   { return "delivery " + id }
func rowOfAccount(id string) string    { return "account " + id }
func rowOfBrowser(agent string) string { return "browser " + agent }

type deliveryRow struct {
	id, connector, key string
	body               []byte
	received           int64
	found              int64  // see foundColumn
	sweepKey           []byte // the hash of Delivery.SweepKey; nil for none
	changes            []ChatChange
}

// insertDeliveries inserts the group's deliveries and returns the ids of the new ones. It
// sorts them by key, so that replicas do not block each other.
func insertDeliveries(ctx context.Context, tx engine.Tx, writes []*write) (fresh map[string]bool, err error) {
	var rows []*deliveryRow
	for _, w := range writes {
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
	for part := range engine.Portions(rows) {
		if err := insertPortion(ctx, tx, part, fresh); err != nil {
			return nil, fmt.Errorf("insert deliveries: %w", err)
		}
	}
	if err := insertChanges(ctx, tx, rows, fresh); err != nil {
		return nil, err
	}
	return fresh, insertSweepKeys(ctx, tx, rows, fresh)
}

// insertSweepKeys stores the sweep keys of new deliveries, sorted by key. It stores none
// for a connector that never had a sweep.
func insertSweepKeys(ctx context.Context, tx engine.Tx, rows []*deliveryRow, fresh map[string]bool) error {
	withKey := slices.DeleteFunc(rows, func(d *deliveryRow) bool { return d.sweepKey == nil || !fresh[d.id] })
	slices.SortFunc(withKey, func(a, b *deliveryRow) int {
		return cmp.Or(cmp.Compare(a.connector, b.connector), bytes.Compare(a.sweepKey, b.sweepKey))
	})
	for _, d := range withKey {
		if err := sweeps.Remember(ctx, tx, d.connector, d.sweepKey); err != nil {
			return err
		}
	}
	return nil
}

func insertPortion(ctx context.Context, tx engine.Tx, rows []*deliveryRow, fresh map[string]bool) error {
	args := make([]any, 0, len(rows)*deliveryColumnNum)
	for _, d := range rows {
		args = append(args, d.id, d.connector, d.key, d.body, d.received, d.found)
	}
	inserted, err := tx.Query(ctx, queryInsertDeliveries+engine.Tuples(len(rows), deliveryColumnNum)+queryInsertedOnce, args...)
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
