package audit

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"iter"
	"math"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// An Entry says who did what to whom. It is exported unchanged, so it must hold ids only
// and no secret.
type Entry struct {
	// At is when it happened, in microseconds; zero means when the entry is stored.
	At     time.Time
	Action string
	// Agent is the person responsible for the action. It is never erased.
	Agent string
	// Visitor, Chat and Detail may identify the visitor, and can be erased.
	Visitor   string
	Card      string
	Connector string
	Chat      string
	Detail    string
}

// A Head identifies the last record. If a copy is kept elsewhere, Log.Verify can tell
// whether records were removed from the end of the log. The zero value is the head of an empty log.
type Head struct {
	Seq  int64
	Hash [32]byte
}

// A Log is the audit log in a database.
type Log struct{ in engine.Reader }

// In returns the log in a database, or as a transaction sees it.
func In(r engine.Reader) Log { return Log{r} }

// LockHead reads the head and locks it until the transaction ends, so that no other process
// appends.
func LockHead(ctx context.Context, tx engine.Tx) (Head, error) {
	return scanHead(tx.QueryRow(ctx, queryLockAudit))
}

func scanHead(row engine.Row) (h Head, err error) {
	var hash []byte
	err = row.Scan(&h.Seq, &hash)
	if errors.Is(err, sql.ErrNoRows) {
		err = fmt.Errorf("%w: the table audit_head is empty, and only another program can have emptied it; stop the bridge and restore a backup", engine.ErrLost)
	}
	if err != nil {
		return Head{}, fmt.Errorf("audit head: %w", err)
	}
	copy(h.Hash[:], hash)
	return h, nil
}

// Append adds entries after head, which LockHead returned in the same transaction, and
// returns the new head.
func Append(ctx context.Context, tx engine.Tx, head Head, entries []Entry) (Head, error) {
	if len(entries) == 0 {
		return head, nil
	}
	for part := range engine.Portions(entries) {
		args := make([]any, 0, len(part)*auditColumnNum)
		records := make([]Record, len(part)) // one slice, since the arguments point into it
		for i, e := range part {
			r := &records[i]
			r.chain(e, head)
			head = Head{r.Seq, r.Hash}
			args = append(args, r.Seq, engine.Micros(r.At), r.Action, r.Agent, r.Visitor, r.Card, r.Connector, r.Chat, r.Detail,
				r.Salt[:], r.Commitment[:], r.Prev[:], r.Hash[:])
		}
		if _, err := tx.Exec(ctx, queryInsertAudit+engine.Tuples(len(part), auditColumnNum), args...); err != nil {
			return head, fmt.Errorf("append to audit: %w", err)
		}
	}
	if _, err := tx.Exec(ctx, queryMoveAudit, head.Seq, head.Hash[:]); err != nil {
		return head, fmt.Errorf("move audit head: %w", err)
	}
	return head, nil
}

// Head returns the head of the log.
func (l Log) Head(ctx context.Context) (Head, error) {
	return scanHead(l.in.QueryRow(ctx, queryAuditHead))
}

// portion is how many records one query reads, so that a slow caller keeps no query open.
const portion = 500

// After yields the records after the given Seq in order. It ends after an error.
func (l Log) After(ctx context.Context, after int64) iter.Seq2[Record, error] {
	return l.records(ctx, queryAudit, after)
}

// Before yields the records before the given Seq, the latest first. It ends after an error.
func (l Log) Before(ctx context.Context, before int64) iter.Seq2[Record, error] {
	return l.records(ctx, queryAuditBack, before)
}

// Search yields the records before the given Seq that f selects, the latest first. It ends after an
// error. It reads records through the index of one field of f, so it reads few that f does not select,
// if f has a field that is rare.
func (l Log) Search(ctx context.Context, f Filter, before int64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		before, err := l.skipNewer(ctx, f.Until, before)
		if err != nil {
			yield(Record{}, fmt.Errorf("audit log: %w", err))
			return
		}
		for r, err := range l.through(ctx, f, before) {
			if err == nil && f.NoneBefore(r) {
				return
			}
			if err == nil && !f.Fits(r) {
				continue
			}
			if !yield(r, err) {
				return
			}
		}
	}
}

// through yields the records with the same values as f, and at any time.
func (l Log) through(ctx context.Context, f Filter, before int64) iter.Seq2[Record, error] {
	for _, index := range []struct{ query, value string }{
		{queryAuditOfCard, f.Card}, {queryAuditVisitor, f.Visitor}, {queryAuditOfAgent, f.Agent}, {queryAuditOfAction, f.Action},
	} {
		if index.value != "" {
			return l.records(ctx, index.query, before, f.Agent, f.Visitor, f.Card, f.Action, index.value)
		}
	}
	return l.Before(ctx, before)
}

// OfChat yields the records about a chat of any connector, the latest first. It ends after an error.
func (l Log) OfChat(ctx context.Context, chat string) iter.Seq2[Record, error] {
	return l.records(ctx, queryAuditOfChat, math.MaxInt64, chat)
}

// Record returns a record. ok is false if there is none with this Seq.
func (l Log) Record(ctx context.Context, seq int64) (r Record, ok bool, err error) {
	part, err := l.part(ctx, queryAudit, seq-1, 1)
	if err != nil || len(part) == 0 || part[0].Seq != seq {
		return Record{}, false, err
	}
	return part[0], true, nil
}

// skipNewer returns a Seq that is at most before, from which on no record is before until. It halves
// the part of the log in which this Seq is, instead of reading it.
func (l Log) skipNewer(ctx context.Context, until time.Time, before int64) (int64, error) {
	if until.IsZero() {
		return before, nil
	}
	head, err := l.Head(ctx)
	if err != nil {
		return 0, err
	}
	low, high := int64(0), min(before, head.Seq+1)
	before = high
	for low < high {
		middle := low + (high-low)/2
		var seq, at int64
		err := l.in.QueryRow(ctx, queryAuditFrom, middle).Scan(&seq, &at)
		switch {
		case errors.Is(err, sql.ErrNoRows):
			high = middle
		case err != nil:
			return 0, err
		case engine.FromMicros(at).Before(until.Add(outOfOrder)):
			low = seq + 1
		default:
			high, before = middle, middle
		}
	}
	return before, nil
}

func (l Log) records(ctx context.Context, query string, from int64, more ...any) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for {
			part, err := l.part(ctx, query, from, portion, more...)
			if err != nil {
				yield(Record{}, fmt.Errorf("audit log: %w", err))
				return
			}
			for _, r := range part {
				if !yield(r, nil) {
					return
				}
			}
			if len(part) == 0 {
				return
			}
			from = part[len(part)-1].Seq
		}
	}
}

func (l Log) part(ctx context.Context, query string, from, limit int64, more ...any) ([]Record, error) {
	rows, err := l.in.Query(ctx, query, append([]any{from, limit}, more...)...)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var part []Record
	for rows.Next() {
		var r Record
		var at int64
		var salt, commitment, prev, hash []byte
		if err := rows.Scan(&r.Seq, &at, &r.Action, &r.Agent, &r.Visitor, &r.Card, &r.Connector, &r.Chat, &r.Detail,
			&salt, &commitment, &prev, &hash); err != nil {
			return nil, err
		}
		r.At = engine.FromMicros(at)
		r.Erased = salt == nil
		copy(r.Salt[:], salt)
		copy(r.Commitment[:], commitment)
		copy(r.Prev[:], prev)
		copy(r.Hash[:], hash)
		part = append(part, r)
	}
	return part, rows.Err()
}

// Next returns at most n records after the given Seq, the oldest first.
func (l Log) Next(ctx context.Context, after, n int64) ([]Record, error) {
	return l.part(ctx, queryAudit, after, n)
}

// Oldest returns at most n records, the oldest first.
func (l Log) Oldest(ctx context.Context, n int64) ([]Record, error) {
	return l.part(ctx, queryAudit, -1, n)
}

// Erase removes the personal data of a record. It returns 0 if the record has none.
func Erase(ctx context.Context, tx engine.Tx, seq int64) (int64, error) {
	return tx.Exec(ctx, queryEraseRecord, seq)
}

// TrimTo removes the records from first to last. It changes nothing and returns false if first
// is not the oldest record: another replica was faster.
func TrimTo(ctx context.Context, tx engine.Tx, first, last int64) (bool, error) {
	var oldest int64
	if err := tx.QueryRow(ctx, queryAuditFirst, -1).Scan(&oldest); err != nil || oldest != first {
		return false, err
	}
	_, err := tx.Exec(ctx, queryTrimAudit, last)
	return true, err
}
