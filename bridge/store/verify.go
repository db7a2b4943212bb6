package store

import (
	"context"
	"fmt"
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

// VerifyAudit checks every record, the chain between them, and its end. A head
// that was kept elsewhere shows in addition whether the end was cut off or the
// whole trail rewritten; a zero one is not looked at. What was changed is a
// *BrokenAuditError.
func (s *Store) VerifyAudit(ctx context.Context, known AuditHead) error {
	head, err := s.AuditHead(ctx)
	if err != nil {
		return err
	}
	var last AuditHead
	for r, err := range s.Audit(ctx, -1) {
		if err != nil {
			return err
		}
		if broken := follows(r, last); broken != nil {
			return broken
		}
		last = AuditHead{r.Seq, r.Hash}
		switch {
		case known.Seq == last.Seq && known != last:
			return &BrokenAuditError{last.Seq, "the record is not the one that the known head names"}
		case head.Seq == last.Seq && head != last:
			return &BrokenAuditError{last.Seq, "the record is not the one that the stored head names"}
		}
	}
	if expect := max(head.Seq, known.Seq); last.Seq < expect {
		return &BrokenAuditError{last.Seq + 1, fmt.Sprintf("the trail ends before it, but went on to record %d", expect)}
	}
	// The trail may have grown meanwhile, but never beyond its head.
	if head, err = s.AuditHead(ctx); err != nil {
		return err
	}
	if last.Seq > head.Seq {
		return &BrokenAuditError{head.Seq + 1, "the record was appended by something else than the bridge"}
	}
	return nil
}

func follows(r Record, last AuditHead) *BrokenAuditError {
	switch {
	case r.Seq != last.Seq+1:
		return &BrokenAuditError{last.Seq + 1, "the record is missing"}
	case r.Prev != last.Hash:
		return &BrokenAuditError{r.Seq, "the record does not follow the one before it"}
	case r.Hash != r.sum():
		return &BrokenAuditError{r.Seq, "the record was changed"}
	}
	return nil
}
