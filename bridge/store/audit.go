package store

import (
	"context"
	"fmt"
	"iter"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// An Entry says who did what to whom. It is exported as it is, so it holds ids
// and no secret.
type Entry struct {
	// At is kept in microseconds; zero means when it was stored.
	At     time.Time
	Action string
	// Agent is who has to answer for it, and is kept for as long as the record.
	Agent string
	// Visitor, Chat and Detail may lead to the visitor, and can be erased.
	Visitor   string
	Card      string
	Connector string
	Chat      string
	Detail    string
}

// An AuditHead names the last record. One that is kept elsewhere shows later
// that the end of the trail was cut off. Its zero value is the head of an empty
// trail.
type AuditHead struct {
	Seq  int64
	Hash [32]byte
}

// lockAudit reads the head, and keeps other processes from appending before this
// transaction ends.
func lockAudit(ctx context.Context, tx engine.Tx) (AuditHead, error) {
	return scanHead(tx.QueryRow(ctx, queryLockAudit))
}

func scanHead(row engine.Row) (h AuditHead, err error) {
	var hash []byte
	if err := row.Scan(&h.Seq, &hash); err != nil {
		return AuditHead{}, fmt.Errorf("audit head: %w", err)
	}
	copy(h.Hash[:], hash)
	return h, nil
}

// appendAudit adds entries behind head, which lockAudit returned in the same
// transaction.
func appendAudit(ctx context.Context, tx engine.Tx, head AuditHead, entries []Entry) error {
	if len(entries) == 0 {
		return nil
	}
	for part := range portions(entries) {
		args := make([]any, 0, len(part)*auditColumnNum)
		records := make([]Record, len(part)) // at once: the arguments point into them
		for i, e := range part {
			r := &records[i]
			r.chain(e, head)
			head = AuditHead{r.Seq, r.Hash}
			args = append(args, r.Seq, micros(r.At), r.Action, r.Agent, r.Visitor, r.Card, r.Connector, r.Chat, r.Detail,
				r.Salt[:], r.Commitment[:], r.Prev[:], r.Hash[:])
		}
		if _, err := tx.Exec(ctx, queryInsertAudit+tuples(len(part), auditColumnNum), args...); err != nil {
			return fmt.Errorf("append to audit: %w", err)
		}
	}
	if _, err := tx.Exec(ctx, queryMoveAudit, head.Seq, head.Hash[:]); err != nil {
		return fmt.Errorf("move audit head: %w", err)
	}
	return nil
}

// AuditHead returns the head of the trail.
func (s *Store) AuditHead(ctx context.Context) (AuditHead, error) {
	h, err := scanHead(s.engine.QueryRow(ctx, queryAuditHead))
	if err != nil {
		return h, fmt.Errorf("store: %w", err)
	}
	return h, nil
}

// auditPortion is how many records are read at a time, so that a slow reader
// holds nothing open.
const auditPortion = 500

// Audit yields the records after the given Seq in order. An error ends it.
func (s *Store) Audit(ctx context.Context, after int64) iter.Seq2[Record, error] {
	return s.audit(ctx, queryAudit, after)
}

// AuditBack yields the records before the given Seq, the latest first. An error
// ends it.
func (s *Store) AuditBack(ctx context.Context, before int64) iter.Seq2[Record, error] {
	return s.audit(ctx, queryAuditBack, before)
}

func (s *Store) audit(ctx context.Context, query string, from int64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for {
			part, err := s.auditPart(ctx, query, from, auditPortion)
			if err != nil {
				yield(Record{}, fmt.Errorf("store: audit: %w", err))
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

func (s *Store) auditPart(ctx context.Context, query string, from, limit int64) ([]Record, error) {
	rows, err := s.engine.Query(ctx, query, from, limit)
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
		r.At = fromMicros(at)
		r.Erased = salt == nil
		copy(r.Salt[:], salt)
		copy(r.Commitment[:], commitment)
		copy(r.Prev[:], prev)
		copy(r.Hash[:], hash)
		part = append(part, r)
	}
	return part, rows.Err()
}

// An AuditFilter says which records are asked for: those that have what it has, and of
// all if it has nothing.
type AuditFilter struct {
	Agent, Visitor, Card, Action string
	// Since is the first moment, Until the first that is too late; zero bounds nothing.
	Since, Until time.Time
}

// Fits reports whether a record is asked for.
func (f AuditFilter) Fits(r Record) bool {
	same := func(want, have string) bool { return want == "" || want == have }
	return same(f.Agent, r.Agent) && same(f.Visitor, r.Visitor) && same(f.Card, r.Card) && same(f.Action, r.Action) &&
		!r.At.Before(f.Since) && (f.Until.IsZero() || r.At.Before(f.Until))
}

// outOfOrder is how far apart the time of a record and its place may be: requests
// that end together are written in any order.
const outOfOrder = time.Hour

// Past reports whether no record before this one can fit.
func (f AuditFilter) Past(r Record) bool {
	return !f.Since.IsZero() && r.At.Before(f.Since.Add(-outOfOrder))
}
