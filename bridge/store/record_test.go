package store

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store/audit"
)

// writeRecords writes records about two visitors, and returns the head.
func writeRecords(t *testing.T, s *Store) audit.Head {
	t.Helper()
	for i := range 6 {
		e := audit.Entry{Action: "watching", Agent: "c:agent", Visitor: fmt.Sprint("visitor", i%2), Card: fmt.Sprint("card", i%2), Connector: "c", Chat: fmt.Sprint("chat", i%2), Detail: "by short id"}
		if err := s.Commit(t.Context(), Change{Audit: []audit.Entry{e}}); err != nil {
			t.Fatal(err)
		}
	}
	head, err := s.AuditLog().Head(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return head
}

// eraseVisitor erases visitor0, whose records are 1, 3 and 5.
func eraseVisitor(t *testing.T, s *Store) Receipt {
	t.Helper()
	found, err := s.FindForErasure(t.Context(), ErasureQuery{Visitors: []string{"visitor0"}})
	if err != nil {
		t.Fatal(err)
	}
	r, err := NewReceipt()
	if err != nil {
		t.Fatal(err)
	}
	r.State = ErasureDone
	if err := s.Erase(t.Context(), found, &r, "operator:ann"); err != nil {
		t.Fatal(err)
	}
	return r
}

func TestAnErasedAuditLogVerifies(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		head := writeRecords(t, s)
		r := eraseVisitor(t, s)
		if r.Removed.Records != 3 {
			t.Errorf("removed = %+v", r.Removed)
		}
		// A head from before the erasure is still valid.
		span, err := s.AuditLog().Verify(ctx, head)
		if err != nil || span.Records() != 7 || span.First != 1 || span.Head.Seq != 7 {
			t.Fatalf("Verify = %+v, %v", span, err)
		}
		for r, err := range s.AuditLog().After(ctx, 0) {
			if err != nil {
				t.Fatal(err)
			}
			switch {
			case r.Seq == 7:
				if r.Action != audit.ActionErased || r.Agent != "operator:ann" || r.Visitor != "" {
					t.Errorf("the erasure reads %+v", r.Entry)
				}
			case r.Seq%2 == 1:
				if !r.Erased || r.Visitor+r.Chat+r.Detail != "" || r.Salt != [16]byte{} || r.Agent != "c:agent" || r.Card != "card0" || r.Action != "watching" {
					t.Errorf("record %d was erased and reads %+v", r.Seq, r)
				}
			case r.Erased || r.Visitor != "visitor1" || r.Salt == [16]byte{}:
				t.Errorf("record %d reads %+v", r.Seq, r)
			}
		}
		// More records follow, and the person is erased again.
		writeRecords(t, s)
		if r := eraseVisitor(t, s); r.Removed.Records != 3 {
			t.Errorf("the second time removed %+v", r.Removed)
		}
		if _, err := s.AuditLog().Verify(ctx, head); err != nil {
			t.Error(err)
		}
	})
}

func TestAnErasureWithoutARecordFailsVerification(t *testing.T) {
	blank := `UPDATE audit SET visitor = '', chat = '', detail = '', salt = NULL WHERE seq = `
	tests := []struct {
		name string
		seq  int64
		do   []string
	}{
		{"a record is erased by hand", 2, []string{blank + `2`}},
		{"a record after the erasure is erased by hand", 8, []string{blank + `8`}},
		{"the erasure is erased", 1, []string{blank + `7`}},
		{"a salt is changed", 4, []string{`UPDATE audit SET salt = prev WHERE seq = 4`}},
		{"a salt is removed", 4, []string{`UPDATE audit SET salt = NULL WHERE seq = 4`}},
		{"a visitor is changed", 6, []string{`UPDATE audit SET visitor = 'visitor0' WHERE seq = 6`}},
		{"a chat is changed", 6, []string{`UPDATE audit SET chat = 'chat0' WHERE seq = 6`}},
		{"a commitment is changed", 2, []string{`UPDATE audit SET commitment = hash WHERE seq = 2`}},
		{"a commitment is changed where a record was erased", 3, []string{`UPDATE audit SET commitment = hash WHERE seq = 3`}},
		{"an agent is changed where a record was erased", 3, []string{`UPDATE audit SET agent = 'c:other' WHERE seq = 3`}},
		{"an erased record names a visitor", 3, []string{`UPDATE audit SET visitor = 'visitor1' WHERE seq = 3`}},
		{"an erased record is filled in wrongly", 3, []string{`UPDATE audit SET visitor = 'visitor1', chat = 'chat1', salt = (SELECT salt FROM kept WHERE seq = 2) WHERE seq = 3`}},
		{"an erased record is put back", 3, []string{`UPDATE audit SET visitor = 'visitor0', chat = 'chat0', detail = 'by short id', salt = (SELECT salt FROM before WHERE seq = 3) WHERE seq = 3`}},
	}
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		writeRecords(t, s)
		exec(t, s, `CREATE TABLE before AS SELECT * FROM audit`)
		eraseVisitor(t, s)
		head := writeRecords(t, s)
		exec(t, s, `CREATE TABLE kept AS SELECT * FROM audit`)
		for _, test := range tests {
			for _, do := range test.do {
				exec(t, s, do)
			}
			_, err := s.AuditLog().Verify(ctx, head)
			broken, ok := errors.AsType[*audit.BrokenError](err)
			if !ok || broken.Seq != test.seq || broken.Reason == "" {
				t.Errorf("%s: %v, want record %d", test.name, err, test.seq)
			}
			exec(t, s, `DELETE FROM audit`)
			exec(t, s, `INSERT INTO audit SELECT * FROM kept`)
			if _, err := s.AuditLog().Verify(ctx, head); err != nil {
				t.Fatalf("after %s was undone: %v", test.name, err)
			}
		}
	})
}

func TestATrimmedAuditLogVerifies(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		now := time.Date(2026, 6, 1, 12, 0, 0, 0, time.UTC)
		const day = 24 * time.Hour
		var heads []audit.Head
		for i := range 40 {
			e := audit.Entry{At: now.Add(time.Duration(i-40) * day), Action: "watching", Visitor: fmt.Sprint("visitor", i%2)}
			if err := s.Commit(ctx, Change{Audit: []audit.Entry{e}}); err != nil {
				t.Fatal(err)
			}
			head, _ := s.AuditLog().Head(ctx)
			heads = append(heads, head)
		}
		eraseVisitor(t, s)
		keep := Retention{Audit: 10 * day}
		for range 2 { // the second time nothing is trimmed
			if err := s.Purge(ctx, now, keep); err != nil {
				t.Fatal(err)
			}
		}
		span, err := s.AuditLog().Verify(ctx, heads[39])
		// Records are trimmed by whole days. Record 41 is the erasure, 42 says that 30 were trimmed.
		if err != nil || span.First != 31 || span.Head.Seq != 42 {
			t.Fatalf("Verify = %+v, %v", span, err)
		}
		var last audit.Record
		for r, err := range s.AuditLog().After(ctx, 0) {
			if err != nil {
				t.Fatal(err)
			}
			last = r
		}
		if last.Action != audit.ActionTrimmed || last.Agent != "bridge" {
			t.Errorf("the last record is %+v", last.Entry)
		}
		// The head of the last trimmed record can still be compared; older ones cannot.
		if _, err := s.AuditLog().Verify(ctx, heads[29]); err != nil {
			t.Error(err)
		}
		wrong := heads[29]
		wrong.Hash[0]++
		if _, err := s.AuditLog().Verify(ctx, wrong); err == nil {
			t.Error("a wrong head of a trimmed record passed")
		}
		_, err = s.AuditLog().Verify(ctx, heads[10])
		if _, broken := errors.AsType[*audit.BrokenError](err); err == nil || broken {
			t.Errorf("a head from before the trimmed records: %v", err)
		}
		// Records that were removed by hand are noticed.
		exec(t, s, `CREATE TABLE kept AS SELECT * FROM audit`)
		for _, cut := range []string{`DELETE FROM audit WHERE seq = 31`, `DELETE FROM audit WHERE seq < 42`} {
			exec(t, s, cut)
			_, err = s.AuditLog().Verify(ctx, heads[39])
			if broken, ok := errors.AsType[*audit.BrokenError](err); !ok || broken.Seq != 1 {
				t.Errorf("%s: %v", cut, err)
			}
			exec(t, s, `DELETE FROM audit`)
			exec(t, s, `INSERT INTO audit SELECT * FROM kept`)
		}
		// Trim all records.
		if err := s.Purge(ctx, now.Add(400*day), keep); err != nil {
			t.Fatal(err)
		}
		if span, err := s.AuditLog().Verify(ctx, audit.Head{}); err != nil || span.Records() < 1 {
			t.Errorf("Verify = %+v, %v", span, err)
		}
	})
}

func TestAnErasureOfManyRecordsHasSeveralEntries(t *testing.T) {
	t.Parallel()
	var records []int64
	for i := range 1200 {
		records = append(records, int64(i))
	}
	entries := audit.Erasures("receipt", "agent", records)
	if len(entries) != 3 || len(entries[2].Detail) < 200*4 {
		t.Errorf("%d entries", len(entries))
	}
	if n := len(audit.Erasures("receipt", "agent", nil)); n != 1 {
		t.Errorf("%d entries without records, want one", n)
	}
	if slices.ContainsFunc(entries, func(e audit.Entry) bool { return len(e.Detail) > 4096 }) {
		t.Error("an entry is large")
	}
}
