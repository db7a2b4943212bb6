package store

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/jobs"
)

func TestACommandWorksBesideTheBridge(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		serving := open(Options{})
		ids := storeDeliveries(t, serving, 1)
		exec(t, serving, `UPDATE river_job SET state = 'running'`)
		beside := open(Options{Beside: true})
		// It resets no jobs, because the process that runs them is alive.
		if b, err := beside.DeliveryStatus(t.Context(), ids[0]); err != nil || b.State != DeliveryRunning {
			t.Errorf("DeliveryStatus = %+v, %v", b, err)
		}
		var all sync.WaitGroup
		for _, s := range []*Store{serving, beside} {
			all.Go(func() {
				for range 100 {
					if err := s.Commit(t.Context(), Change{Audit: []audit.Entry{{Action: "watching"}}}); err != nil {
						t.Error(err)
					}
				}
			})
		}
		all.Wait()
		if span, err := beside.AuditLog().Verify(t.Context(), audit.Head{}); err != nil || span.Records() != 200 {
			t.Errorf("Verify = %+v, %v", span, err)
		}
		if err := beside.RemoveDeletedData(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

func TestACommandDoesNotCreateADatabase(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "bridge.db")
	_, err := Open(t.Context(), "sqlite:"+file, Options{Secret: secretA, Beside: true})
	if err == nil || !strings.Contains(err.Error(), "BRIDGE_DATABASE") {
		t.Errorf("Open = %v", err)
	}
	if left, _ := filepath.Glob(file + "*"); len(left) > 0 {
		t.Errorf("it created %v", left)
	}
}

func TestACommandMigratesOnlyWhileNoBridgeRuns(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "bridge.db")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	beside := openAt(t, "sqlite:"+file, Options{Beside: true})
	if _, err := beside.AuditLog().Verify(t.Context(), audit.Head{}); err != nil {
		t.Fatalf("the tables were not created: %v", err)
	}
	// A bridge can start at the same time.
	serving := openAt(t, "sqlite:"+file, Options{})
	for name, change := range map[string]string{
		"an older schema": `DELETE FROM goose_db_version WHERE version_id > 1`,
		"a newer schema":  `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99, 1)`,
	} {
		exec(t, serving, change)
		_, err := Open(t.Context(), "sqlite:"+file, Options{Secret: secretA, Beside: true})
		if !errors.Is(err, ErrInUse) || !strings.Contains(err.Error(), "another release") {
			t.Errorf("with %s: %v", name, err)
		}
	}
}

func TestErasingFindsDeliveriesAndErrorsAboutAPerson(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		keep := func(key, body string) string {
			t.Helper()
			if _, err := s.StoreDelivery(ctx, Delivery{Connector: "c", Key: key, Body: []byte(body)}, jobs.Job{Kind: key}); err != nil {
				t.Fatal(err)
			}
			var id string
			if err := s.engine.QueryRow(ctx, `SELECT id FROM deliveries WHERE dedupe = $1`, key).Scan(&id); err != nil {
				t.Fatal(err)
			}
			return id
		}
		inBody := keep("one", `{"room":"chat-of-ann"}`)
		inKey := keep("Taken/chat-of-ann/77", `{}`)
		inError := keep("three", `{}`)
		opener := keep("four", `{}`)
		other := keep("five", `{"room":"chat-of-carl"}`)
		runJobs(t, s, 5, func(ctx context.Context, j jobs.Job) error {
			if j.Kind == "three" {
				return jobs.Cancel(errors.New(`find visitor "ANN4821": 503`))
			}
			return jobs.Snooze(errors.New("later"), time.Hour)
		})
		card := Card{ID: "card", Connector: "c", Chat: "chat-of-ann", Visitor: "ANN4821"}
		job := jobs.Job{Kind: "show", Subject: "card"}
		if err := s.Commit(ctx, Change{Card: &card, Jobs: []jobs.Job{job}, Finish: inKey, Posts: []Post{{Card: "card", Place: Place{"c", "bob"}}}}); err != nil {
			t.Fatal(err)
		}
		if err := s.StartWait(ctx, Wait{"card", "c:bob", time.Now().Add(time.Hour)}, time.Now()); err != nil {
			t.Fatal(err)
		}
		found, err := s.FindForErasure(ctx, ErasureQuery{Cards: []Card{card}, Visitors: []string{"ANN4821"}, IDs: []string{"ANN4821"}, Deliveries: []string{opener}})
		if err != nil {
			t.Fatal(err)
		}
		r, _ := NewReceipt()
		r.State, r.Subject = ErasurePending, []byte("ann")
		if err := s.Erase(ctx, found, &r, "operator:ann", jobs.Job{Kind: "erase", Subject: r.ID}); err != nil {
			t.Fatal(err)
		}
		want := Removed{Cards: 1, Posts: 1, Waits: 1, Deliveries: 4, Jobs: 5}
		if r.Removed != want {
			t.Errorf("removed %+v, want %+v", r.Removed, want)
		}
		for _, id := range []string{inBody, inKey, inError, opener} {
			if _, err := s.DeliveryStatus(ctx, id); !errors.Is(err, ErrNotFound) {
				t.Errorf("delivery %s: %v", id, err)
			}
		}
		if b, err := s.DeliveryStatus(ctx, other); err != nil || b.State != DeliveryWaiting {
			t.Errorf("another person's delivery: %+v, %v", b, err)
		}
		if n := number(t, s, `SELECT count(*) FROM river_job`); n != 2 { // of the other delivery, and the one that erases
			t.Errorf("%d jobs are left", n)
		}
		got, err := s.Receipt(ctx, r.ID)
		if err != nil || string(got.Subject) != "ann" || got.Removed != want || got.State != ErasurePending || got.Created.IsZero() {
			t.Errorf("Receipt = %+v, %v", got, err)
		}
		got.Subject, got.State = nil, ErasureDone
		if err := s.SaveReceipt(ctx, &got); err != nil {
			t.Fatal(err)
		}
		if n := number(t, s, `SELECT count(*) FROM erasures WHERE subject IS NULL`); n != 1 {
			t.Error("the receipt still has the subject")
		}
		if _, err := s.Receipt(ctx, "unknown"); !errors.Is(err, ErrNotFound) {
			t.Errorf("an unknown receipt: %v", err)
		}
		if head, _ := s.AuditLog().Head(ctx); head.Seq != 1 {
			t.Errorf("%d records", head.Seq)
		}
	})
}
