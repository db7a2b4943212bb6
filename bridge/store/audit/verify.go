package audit

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"slices"
)

// A BrokenError says that the audit log was changed by something other than the bridge.
type BrokenError struct {
	// Seq is the first record that is wrong or missing.
	Seq    int64
	Reason string
}

func (e *BrokenError) Error() string {
	return fmt.Sprintf("audit log is broken at record %d: %s. It was changed outside the bridge, or the database or the head is not the right one. Keep a copy of the database, and compare it with your last export", e.Seq, e.Reason)
}

// A Span is the range of verified records, from First to Head.Seq.
type Span struct {
	// First is the Seq of the oldest record that was not trimmed.
	First int64
	Head  Head
}

// Records returns the number of records in the span.
func (s Span) Records() int64 { return s.Head.Seq - s.First + 1 }

// Verify checks every record and the chain between them, and that a later record lists
// each one that was erased or trimmed. If the log was changed otherwise, it fails with a
// *BrokenError. given is a head that was kept elsewhere; with it Verify also finds
// out whether records were removed from the end, or the whole log was rewritten. A zero given
// is ignored; one from before the trimmed records is an error.
func (l Log) Verify(ctx context.Context, given Head) (Span, error) {
	for {
		first, err := l.first(ctx)
		if err != nil {
			return Span{}, err
		}
		span, err := l.verify(ctx, given)
		if _, broken := errors.AsType[*BrokenError](err); broken {
			// If the log was trimmed in the meantime, verify it again.
			if now, err := l.first(ctx); err != nil {
				return Span{}, err
			} else if now != first {
				continue
			}
		}
		return span, err
	}
}

func (l Log) first(ctx context.Context) (seq int64, err error) {
	part, err := l.part(ctx, queryAudit, -1, 1)
	if err != nil {
		return 0, fmt.Errorf("audit log: %w", err)
	}
	if len(part) == 0 {
		return 0, nil
	}
	return part[0].Seq, nil
}

func (l Log) verify(ctx context.Context, given Head) (Span, error) {
	none := Span{}
	head, err := l.Head(ctx)
	if err != nil {
		return none, err
	}
	v := verifier{reread: func(seq int64) (Record, error) { return l.record(ctx, seq) }, erased: map[int64]bool{}}
	for r, err := range l.After(ctx, math.MinInt64) {
		if err != nil {
			return none, err
		}
		if err := v.check(r); err != nil {
			return none, err
		}
		switch {
		case given.Seq == v.last.Seq && given != v.last:
			return none, &BrokenError{v.last.Seq, "the record does not match the given head"}
		case head.Seq == v.last.Seq && head != v.last:
			return none, &BrokenError{v.last.Seq, "the record does not match the stored head"}
		}
	}
	if err := v.end(); err != nil {
		return none, err
	}
	if expect := max(head.Seq, given.Seq); v.last.Seq < expect {
		return none, &BrokenError{v.last.Seq + 1, fmt.Sprintf("the record is missing, with those up to %d", expect)}
	}
	switch {
	case given.Seq > 0 && given.Seq < v.anchor.Seq:
		return none, fmt.Errorf("the given head is record %d, but records up to %d were deleted because of their age: use a newer head", given.Seq, v.anchor.Seq)
	case given.Seq > 0 && given.Seq == v.anchor.Seq && given != v.anchor:
		return none, &BrokenError{given.Seq, "the last trimmed record does not match the given head"}
	}
	// Records may have been added in the meantime, but the head moves with them.
	if head, err = l.Head(ctx); err != nil {
		return none, err
	}
	if v.last.Seq > head.Seq {
		return none, &BrokenError{head.Seq + 1, "the record was not appended by the bridge"}
	}
	return Span{First: v.anchor.Seq + 1, Head: v.last}, nil
}

// record reads one record again. A record that was trimmed in the meantime counts as erased.
func (l Log) record(ctx context.Context, seq int64) (Record, error) {
	part, err := l.part(ctx, queryAudit, seq-1, 1)
	if err != nil {
		return Record{}, fmt.Errorf("audit log: %w", err)
	}
	if len(part) == 0 || part[0].Seq != seq {
		return Record{Erased: true}, nil
	}
	return part[0], nil
}

// A verifier checks the records of the audit log in order.
type verifier struct {
	reread func(seq int64) (Record, error)
	last   Head
	anchor Head           // the record before the oldest one
	cut    bool           // records are missing at the start, and no record read so far lists them as trimmed
	erased map[int64]bool // erased records; true until a later record lists them
}

func (v *verifier) check(r Record) error {
	if v.last == (Head{}) && r.Seq > 1 {
		v.anchor, v.cut = Head{r.Seq - 1, r.Prev}, true
		v.last = v.anchor
	}
	switch {
	case r.Seq < 1:
		return &BrokenError{r.Seq, "the record was not appended by the bridge"}
	case r.Seq != v.last.Seq+1:
		return &BrokenError{v.last.Seq + 1, "the record is missing"}
	case r.Prev != v.last.Hash:
		return &BrokenError{r.Seq, "the record does not follow the one before it"}
	case r.Erased && r.Visitor+r.Chat+r.Detail != "":
		return &BrokenError{r.Seq, "the record is marked as erased but contains personal data"}
	case r.Hash != r.sum(), !r.Erased && r.Commitment != r.commitment():
		return &BrokenError{r.Seq, "the record was changed"}
	}
	v.last = Head{r.Seq, r.Hash}
	if r.Erased {
		v.erased[r.Seq] = true
		return nil
	}
	switch r.Action {
	case ActionErased:
		return v.checkErasure(r)
	case ActionTrimmed:
		var t Trim
		if json.Unmarshal([]byte(r.Detail), &t) == nil && t.Through == v.anchor.Seq && t.Hash == hex.EncodeToString(v.anchor.Hash[:]) {
			v.cut = false
		}
	}
	return nil
}

func (v *verifier) checkErasure(r Record) error {
	var e Erasure
	if json.Unmarshal([]byte(r.Detail), &e) != nil {
		return nil // it lists no records
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
		// The record was not erased when it was read, but may have been erased since.
		now, err := v.reread(seq)
		if err != nil {
			return err
		}
		if !now.Erased {
			return &BrokenError{seq, fmt.Sprintf("record %d lists the record as erased, but it contains personal data", r.Seq)}
		}
	}
	return nil
}

func (v *verifier) end() error {
	if v.cut {
		return &BrokenError{1, fmt.Sprintf("the record is missing, with those up to %d, and no later record lists them as trimmed", v.anchor.Seq)}
	}
	var unlisted []int64
	for seq, open := range v.erased {
		if open {
			unlisted = append(unlisted, seq)
		}
	}
	if len(unlisted) > 0 {
		return &BrokenError{slices.Min(unlisted), "the record was erased, and no later record lists it as erased"}
	}
	return nil
}
