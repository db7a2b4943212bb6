package store

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"iter"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// An Entry says who did what to whom. It is exported as it is, so it holds ids
// and no secret.
type Entry struct {
	// At is kept in microseconds; zero means when it was stored.
	At        time.Time
	Action    string
	Agent     string
	Visitor   string
	Card      string
	Connector string
	Chat      string
	Detail    string
}

// A Record is an entry in its place in the chain.
type Record struct {
	// Seq counts from 1 without a gap.
	Seq int64
	Entry
	// Prev is the hash of the record before; all zero for the first.
	Prev [32]byte
	// Hash covers Prev and every field.
	Hash [32]byte
}

// An AuditHead names the last record. One that is kept elsewhere shows later
// that the end of the trail was cut off. Its zero value is the head of an empty
// trail.
type AuditHead struct {
	Seq  int64
	Hash [32]byte
}

// sum is the SHA-256 of the record's fields in order, each with its length
// before it, so that no two records have the same encoding.
func (r Record) sum() [32]byte {
	b := make([]byte, 0, 512)
	field := func(f string) {
		b = append(binary.BigEndian.AppendUint64(b, uint64(len(f))), f...)
	}
	number := func(n int64) {
		b = binary.BigEndian.AppendUint64(binary.BigEndian.AppendUint64(b, 8), uint64(n))
	}
	field("cobrowse-bridge audit 1")
	field(string(r.Prev[:]))
	number(r.Seq)
	number(micros(r.At))
	for _, f := range [...]string{r.Action, r.Agent, r.Visitor, r.Card, r.Connector, r.Chat, r.Detail} {
		field(f)
	}
	return sha256.Sum256(b)
}

// lockAudit reads the head, and keeps other replicas from appending before this
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
		for _, e := range part {
			if e.At.IsZero() {
				e.At = time.Now()
			}
			e.At = e.At.Truncate(time.Microsecond)
			r := Record{Seq: head.Seq + 1, Entry: e, Prev: head.Hash}
			r.Hash = r.sum()
			head = AuditHead{r.Seq, r.Hash}
			args = append(args, r.Seq, micros(r.At), r.Action, r.Agent, r.Visitor, r.Card, r.Connector, r.Chat, r.Detail, r.Prev[:], r.Hash[:])
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

// Audit yields the records after the given Seq in order. An error ends it.
func (s *Store) Audit(ctx context.Context, after int64) iter.Seq2[Record, error] {
	return func(yield func(Record, error) bool) {
		for {
			// A portion at a time, so that a slow reader holds nothing open.
			part, err := s.auditAfter(ctx, after)
			if err != nil {
				yield(Record{}, fmt.Errorf("store: audit: %w", err))
				return
			}
			for _, r := range part {
				if !yield(r, nil) {
					return
				}
				after = r.Seq
			}
			if len(part) == 0 {
				return
			}
		}
	}
}

func (s *Store) auditAfter(ctx context.Context, after int64) ([]Record, error) {
	rows, err := s.engine.Query(ctx, queryAudit, after)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	var part []Record
	for rows.Next() {
		var r Record
		var at int64
		var prev, hash []byte
		if err := rows.Scan(&r.Seq, &at, &r.Action, &r.Agent, &r.Visitor, &r.Card, &r.Connector, &r.Chat, &r.Detail, &prev, &hash); err != nil {
			return nil, err
		}
		r.At = fromMicros(at)
		copy(r.Prev[:], prev)
		copy(r.Hash[:], hash)
		part = append(part, r)
	}
	return part, rows.Err()
}
