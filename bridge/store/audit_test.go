package store

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/engine"
)

func TestTheAuditLogIsAChain(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		if _, err := s.AuditLog().Verify(ctx, audit.Head{}); err != nil {
			t.Errorf("an empty log: %v", err)
		}
		at := time.Date(2026, 1, 2, 3, 4, 5, 6007, time.FixedZone("", 3600))
		e := audit.Entry{At: at, Action: "watching", Agent: "c:agent", Visitor: "visitor", Card: "card", Connector: "c", Chat: "chat", Detail: `{"sign_in":"link"}`}
		if err := s.Commit(ctx, Change{Audit: []audit.Entry{e, {Action: "ended"}}}); err != nil {
			t.Fatal(err)
		}
		var records []audit.Record
		for r, err := range s.AuditLog().After(ctx, 0) {
			if err != nil {
				t.Fatal(err)
			}
			records = append(records, r)
		}
		if len(records) != 2 {
			t.Fatalf("%d records", len(records))
		}
		first := records[0]
		if !first.At.Equal(at.Truncate(time.Microsecond)) {
			t.Errorf("At = %v", first.At)
		}
		first.At = at
		if first.Entry != e || first.Seq != 1 || first.Prev != [32]byte{} || records[1].Prev != first.Hash || records[1].At.IsZero() {
			t.Errorf("records = %+v", records)
		}
		head, err := s.AuditLog().Head(ctx)
		if err != nil || head != (audit.Head{Seq: 2, Hash: records[1].Hash}) {
			t.Errorf("Head = %+v, %v", head, err)
		}
		for r, err := range s.AuditLog().After(ctx, 1) {
			if err != nil || r.Seq != 2 {
				t.Errorf("after 1: %+v, %v", r, err)
			}
		}

		// More than fit into one statement or one portion.
		if err := s.Commit(ctx, Change{Audit: make([]audit.Entry, 2100)}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.AuditLog().Verify(ctx, head); err != nil {
			t.Error(err)
		}
		n := 0
		for range s.AuditLog().After(ctx, 0) {
			if n++; n == 700 {
				break
			}
		}
		for _, err := range s.AuditLog().After(t.Context(), 700) {
			if err != nil {
				t.Error(err)
			}
			n++
		}
		if n != 2102 {
			t.Errorf("%d records", n)
		}
	})
}

func TestAChangedAuditLogFailsVerification(t *testing.T) {
	tests := []struct {
		name string
		seq  int64
		do   []string
	}{
		{"a field is changed", 3, []string{`UPDATE audit SET agent = 'c:other' WHERE seq = 3`}},
		{"a time is changed", 4, []string{`UPDATE audit SET at = at + 1 WHERE seq = 4`}},
		{"a hash is changed", 2, []string{`UPDATE audit SET hash = prev WHERE seq = 2`}},
		{"words move between fields", 5, []string{`UPDATE audit SET action = 'watching5', detail = '' WHERE seq = 5`}},
		{"a record is dropped", 3, []string{`DELETE FROM audit WHERE seq = 3`}},
		{"the first is dropped", 1, []string{`DELETE FROM audit WHERE seq = 1`}},
		{"a record is dropped and the rest moved up", 3, []string{`DELETE FROM audit WHERE seq = 3`, `UPDATE audit SET seq = 3 WHERE seq = 4`, `UPDATE audit SET seq = 4 WHERE seq = 5`}},
		{"two records are swapped", 2, []string{`UPDATE audit SET seq = 99 WHERE seq = 2`, `UPDATE audit SET seq = 2 WHERE seq = 3`, `UPDATE audit SET seq = 3 WHERE seq = 99`}},
		{"a record is put in front", 0, []string{`INSERT INTO audit SELECT 0, at, action, agent, visitor, card, connector, chat, detail, salt, commitment, prev, hash FROM audit WHERE seq = 1`}},
		{"a record is put far in front", -7, []string{`INSERT INTO audit SELECT -7, at, action, agent, visitor, card, connector, chat, detail, salt, commitment, prev, hash FROM audit WHERE seq = 1`}},
		{"a record is appended", 6, []string{`INSERT INTO audit SELECT 6, at, action, agent, visitor, card, connector, chat, detail, salt, commitment, hash, hash FROM audit WHERE seq = 5`}},
		{"the tail is cut", 5, []string{`DELETE FROM audit WHERE seq = 5`}},
		{"the tail is cut and the head moved", 4, []string{`DELETE FROM audit WHERE seq > 3`, `UPDATE audit_head SET seq = 3, hash = (SELECT hash FROM audit WHERE seq = 3)`}},
		{"all is gone", 1, []string{`DELETE FROM audit`, `UPDATE audit_head SET seq = 0`}},
	}
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		for i := range 5 {
			if err := s.Commit(ctx, Change{Audit: []audit.Entry{{Action: "watching", Agent: "c:agent", Detail: fmt.Sprint(i + 1)}}}); err != nil {
				t.Fatal(err)
			}
		}
		head, _ := s.AuditLog().Head(ctx)
		if _, err := s.AuditLog().Verify(ctx, head); err != nil {
			t.Fatal(err)
		}
		exec(t, s, `CREATE TABLE kept AS SELECT * FROM audit`)
		exec(t, s, `CREATE TABLE kept_head AS SELECT * FROM audit_head`)
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
			exec(t, s, `DELETE FROM audit_head`)
			exec(t, s, `INSERT INTO audit SELECT * FROM kept`)
			exec(t, s, `INSERT INTO audit_head SELECT * FROM kept_head`)
			if _, err := s.AuditLog().Verify(ctx, head); err != nil {
				t.Fatalf("after %s was undone: %v", test.name, err)
			}
		}
		// A rewritten log of the same length.
		other := head
		other.Hash[0]++
		_, err := s.AuditLog().Verify(ctx, other)
		if broken, ok := errors.AsType[*audit.BrokenError](err); !ok || broken.Seq != 5 {
			t.Errorf("another given head: %v", err)
		}
	})
}

func TestAStoreWithoutTheHeadOfTheAuditLogIsNotReady(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		exec(t, s, `DELETE FROM audit_head`)
		if err := s.Commit(ctx, Change{Audit: []audit.Entry{{Action: "watching"}}}); !errors.Is(err, engine.ErrLost) {
			t.Errorf("Commit: %v", err)
		}
		if err := s.Ready(ctx); !errors.Is(err, engine.ErrLost) {
			t.Errorf("Ready: %v", err)
		}
		if _, err := s.AuditLog().Verify(ctx, audit.Head{}); !errors.Is(err, engine.ErrLost) {
			t.Errorf("Verify: %v", err)
		}
	})
}

func TestReplicasExtendOneChain(t *testing.T) {
	t.Parallel()
	address := newDatabase(t, "postgres")
	replicas := []*Store{openAt(t, address, Options{}), openAt(t, address, Options{}), openAt(t, address, Options{})}
	done := make(chan error)
	for i, s := range replicas {
		go func() {
			var err error
			for n := range 50 {
				err = errors.Join(err, s.Commit(t.Context(), Change{Audit: []audit.Entry{{Action: fmt.Sprint(i, n)}}}))
			}
			done <- err
		}()
	}
	for range replicas {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if head, err := replicas[0].AuditLog().Head(t.Context()); head.Seq != 150 || err != nil {
		t.Errorf("Head = %d, %v", head.Seq, err)
	}
	if _, err := replicas[1].AuditLog().Verify(t.Context(), audit.Head{}); err != nil {
		t.Error(err)
	}
}
