package store

import (
	"context"
	"fmt"
	"iter"
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

// An AuditHead identifies the last record. If a copy is kept elsewhere, VerifyAudit can tell
// whether records were removed from the end of the log. The zero value is the head of an empty log.
type AuditHead struct {
	Seq  int64
	Hash [32]byte
}

// lockAudit reads the head and locks it until the transaction ends, so that no other process
// appends.
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

// appendAudit adds entries after head, which lockAudit returned in the same transaction, and
// returns the new head.
func appendAudit(ctx context.Context, tx engine.Tx, head AuditHead, entries []Entry) (AuditHead, error) {
	if len(entries) == 0 {
		return head, nil
	}
	for part := range portions(entries) {
		args := make([]any, 0, len(part)*auditColumnNum)
		records := make([]Record, len(part)) // one slice, since the arguments point into it
		for i, e := range part {
			r := &records[i]
			r.chain(e, head)
			head = AuditHead{r.Seq, r.Hash}
			args = append(args, r.Seq, micros(r.At), r.Action, r.Agent, r.Visitor, r.Card, r.Connector, r.Chat, r.Detail,
				r.Salt[:], r.Commitment[:], r.Prev[:], r.Hash[:])
		}
		if _, err := tx.Exec(ctx, queryInsertAudit+tuples(len(part), auditColumnNum), args...); err != nil {
			return head, fmt.Errorf("append to audit: %w", err)
		}
	}
	if _, err := tx.Exec(ctx, queryMoveAudit, head.Seq, head.Hash[:]); err != nil {
		return head, fmt.Errorf("move audit head: %w", err)
	}
	return head, nil
}

// AuditHead returns the head of the audit log.
func (s *Store) AuditHead(ctx context.Context) (AuditHead, error) {
	h, err := scanHead(s.engine.QueryRow(ctx, queryAuditHead))
	if err != nil {
		return h, fmt.Errorf("store: %w", err)
	}
	return h, nil
}

// auditPortion is how many records one query reads, so that a slow caller keeps no query open.
const auditPortion = 500

// Audit yields the records after the given Seq in order. It ends after an error.
func (s *Store) Audit(ctx context.Context, after int64) iter.Seq2[Record, error] {
	return s.audit(ctx, queryAudit, after)
}

// AuditBack yields the records before the given Seq, the latest first. It ends after an error.
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

// An AuditFilter selects records. An empty field selects all.
type AuditFilter struct {
	// A record must have the same values.
	Agent, Visitor, Card, Action string
	// A record's time must not be before Since, and must be before Until.
	Since, Until time.Time
}

// Fits reports whether the filter selects a record.
func (f AuditFilter) Fits(r Record) bool {
	same := func(want, have string) bool { return want == "" || want == have }
	return same(f.Agent, r.Agent) && same(f.Visitor, r.Visitor) && same(f.Card, r.Card) && same(f.Action, r.Action) &&
		!r.At.Before(f.Since) && (f.Until.IsZero() || r.At.Before(f.Until))
}

// outOfOrder is how much older a record may be than one before it: requests that run at the
// same time are written in any order.
const outOfOrder = time.Hour

// NoneBefore reports whether no record before r can fit.
func (f AuditFilter) NoneBefore(r Record) bool {
	return !f.Since.IsZero() && r.At.Before(f.Since.Add(-outOfOrder))
}
