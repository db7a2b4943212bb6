package store

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
)

// A BrokenAuditError says where the audit trail is no longer what was written.
type BrokenAuditError struct {
	// Seq is the first record that is wrong or missing.
	Seq    int64
	Reason string
}

func (e *BrokenAuditError) Error() string {
	return fmt.Sprintf("audit trail is broken at record %d: %s", e.Seq, e.Reason)
}

// An AuditSpan is what was verified: the records from First to Head.Seq.
type AuditSpan struct {
	// First is the record after those that were trimmed; 1 if none were.
	First int64
	Head  AuditHead
}

// Records is how many records the span has.
func (s AuditSpan) Records() int64 { return s.Head.Seq - s.First + 1 }

// VerifyAudit checks every record, the chain between them, and both its ends:
// that what was erased or trimmed was so by the bridge. A head that was kept
// elsewhere shows in addition whether the end was cut off or the whole trail
// rewritten; a zero one is not looked at, and one from before what was trimmed
// is an error. What was changed is a *BrokenAuditError.
func (s *Store) VerifyAudit(ctx context.Context, known AuditHead) (AuditSpan, error) {
	for {
		first, err := s.auditFirst(ctx)
		if err != nil {
			return AuditSpan{}, err
		}
		span, err := s.verifyAudit(ctx, known)
		if _, broken := errors.AsType[*BrokenAuditError](err); broken {
			// The trail may have been trimmed meanwhile.
			if now, err := s.auditFirst(ctx); err != nil {
				return AuditSpan{}, err
			} else if now != first {
				continue
			}
		}
		return span, err
	}
}

func (s *Store) auditFirst(ctx context.Context) (seq int64, err error) {
	part, err := s.auditPart(ctx, queryAudit, -1, 1)
	if err != nil {
		return 0, fmt.Errorf("store: audit: %w", err)
	}
	if len(part) == 0 {
		return 0, nil
	}
	return part[0].Seq, nil
}

func (s *Store) verifyAudit(ctx context.Context, known AuditHead) (AuditSpan, error) {
	none := AuditSpan{}
	head, err := s.AuditHead(ctx)
	if err != nil {
		return none, err
	}
	v := verifier{again: func(seq int64) (Record, error) { return s.record(ctx, seq) }, erased: map[int64]bool{}}
	for r, err := range s.Audit(ctx, -1) {
		if err != nil {
			return none, err
		}
		if err := v.take(r); err != nil {
			return none, err
		}
		switch {
		case known.Seq == v.last.Seq && known != v.last:
			return none, &BrokenAuditError{v.last.Seq, "the record is not the one that the known head names"}
		case head.Seq == v.last.Seq && head != v.last:
			return none, &BrokenAuditError{v.last.Seq, "the record is not the one that the stored head names"}
		}
	}
	if err := v.end(); err != nil {
		return none, err
	}
	if expect := max(head.Seq, known.Seq); v.last.Seq < expect {
		return none, &BrokenAuditError{v.last.Seq + 1, fmt.Sprintf("the trail ends before it, but went on to record %d", expect)}
	}
	switch {
	case known.Seq > 0 && known.Seq < v.anchor.Seq:
		return none, fmt.Errorf("the known head names record %d, and the trail was trimmed through record %d: keep a newer head", known.Seq, v.anchor.Seq)
	case known.Seq > 0 && known.Seq == v.anchor.Seq && known != v.anchor:
		return none, &BrokenAuditError{known.Seq, "the record that was trimmed is not the one that the known head names"}
	}
	// The trail may have grown meanwhile, but never beyond its head.
	if head, err = s.AuditHead(ctx); err != nil {
		return none, err
	}
	if v.last.Seq > head.Seq {
		return none, &BrokenAuditError{head.Seq + 1, "the record was appended by something else than the bridge"}
	}
	return AuditSpan{First: v.anchor.Seq + 1, Head: v.last}, nil
}

// record reads one record again. One that is gone meanwhile counts as erased.
func (s *Store) record(ctx context.Context, seq int64) (Record, error) {
	part, err := s.auditPart(ctx, queryAudit, seq-1, 1)
	if err != nil {
		return Record{}, fmt.Errorf("store: audit: %w", err)
	}
	if len(part) == 0 || part[0].Seq != seq {
		return Record{Erased: true}, nil
	}
	return part[0], nil
}

// A verifier takes the records of a trail in order.
type verifier struct {
	again  func(seq int64) (Record, error)
	last   AuditHead
	anchor AuditHead // the record before the first that is left
	cut    bool      // and no record has said yet that it was trimmed
	erased map[int64]bool
}

func (v *verifier) take(r Record) error {
	if v.last == (AuditHead{}) && r.Seq > 1 {
		v.anchor, v.cut = AuditHead{r.Seq - 1, r.Prev}, true
		v.last = v.anchor
	}
	switch {
	case r.Seq != v.last.Seq+1:
		return &BrokenAuditError{v.last.Seq + 1, "the record is missing"}
	case r.Prev != v.last.Hash:
		return &BrokenAuditError{r.Seq, "the record does not follow the one before it"}
	case r.Erased && r.Visitor+r.Chat+r.Detail != "":
		return &BrokenAuditError{r.Seq, "the record counts as erased and still names somebody"}
	case r.Hash != r.sum(), !r.Erased && r.Commitment != r.commitment():
		return &BrokenAuditError{r.Seq, "the record was changed"}
	}
	v.last = AuditHead{r.Seq, r.Hash}
	if r.Erased {
		v.erased[r.Seq] = true
		return nil
	}
	switch r.Action {
	case ActionErased:
		return v.takeErasure(r)
	case ActionTrimmed:
		var t Trim
		if json.Unmarshal([]byte(r.Detail), &t) == nil && t.Through == v.anchor.Seq && t.Hash == hex.EncodeToString(v.anchor.Hash[:]) {
			v.cut = false
		}
	}
	return nil
}

func (v *verifier) takeErasure(r Record) error {
	var e Erasure
	if json.Unmarshal([]byte(r.Detail), &e) != nil {
		return nil // it names nothing, and so allows nothing
	}
	for _, seq := range e.Records {
		if seq <= v.anchor.Seq || seq >= r.Seq {
			continue
		}
		if v.erased[seq] {
			v.erased[seq] = false
			continue
		}
		if _, twice := v.erased[seq]; twice {
			continue
		}
		// It was whole when it was read, which may have been just before.
		now, err := v.again(seq)
		if err != nil {
			return err
		}
		if !now.Erased {
			return &BrokenAuditError{seq, fmt.Sprintf("the record was erased, as record %d says, and names somebody again", r.Seq)}
		}
	}
	return nil
}

func (v *verifier) end() error {
	if v.cut {
		return &BrokenAuditError{1, fmt.Sprintf("the record is missing, with those up to %d, and no record says that they were trimmed", v.anchor.Seq)}
	}
	var unnamed []int64
	for seq, open := range v.erased {
		if open {
			unnamed = append(unnamed, seq)
		}
	}
	if len(unnamed) > 0 {
		return &BrokenAuditError{slices.Min(unnamed), "the record was erased, and no record says so"}
	}
	return nil
}
