package store

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store/jobs"
)

// storeDeliveries stores n deliveries and returns their ids, the oldest first.
func storeDeliveries(t *testing.T, s *Store, n int) (ids []string) {
	t.Helper()
	for i := range n {
		if _, err := s.StoreDelivery(t.Context(), Delivery{Connector: "c", Key: fmt.Sprint("key ", i), Body: []byte("body")}, jobs.Job{Kind: "answer"}); err != nil {
			t.Fatal(err)
		}
	}
	for b, err := range s.UnfinishedDeliveries(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, b.ID)
	}
	if len(ids) != n {
		t.Fatalf("%d of %d deliveries are listed", len(ids), n)
	}
	return ids
}

// runJobs runs jobs with h until n attempts were made, and returns how they ended.
func runJobs(t *testing.T, s *Store, n int, h jobs.Handler) (ends []jobs.Outcome) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	err := s.Work(ctx, map[string]jobs.Queue{"default": {Workers: 1}}, func(ctx context.Context, j jobs.Job) error {
		if n--; n == 0 {
			stop()
		}
		return h(context.WithoutCancel(ctx), j)
	}, func(_ context.Context, e jobs.End) { ends = append(ends, e.Outcome) })
	stop()
	if err != nil {
		t.Fatal(err)
	}
	return ends
}

func TestFailedDeliveriesAreListedAndRetried(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		ids := storeDeliveries(t, s, 4)
		failed, waiting, done, fresh := ids[0], ids[1], ids[2], ids[3]
		runJobs(t, s, 4, func(ctx context.Context, j jobs.Job) error {
			switch j.Subject {
			case failed:
				return jobs.Cancel(errors.New("no such room"))
			case waiting:
				return errors.New("no answer")
			case done:
				return s.Commit(ctx, Change{Finish: done})
			}
			return jobs.Snooze(errors.New("later"), time.Hour)
		})
		want := map[string]string{failed: "failed 1 no such room", waiting: "waiting 1 no answer", fresh: "waiting 1 later"}
		for b, err := range s.UnfinishedDeliveries(ctx) {
			if err != nil {
				t.Fatal(err)
			}
			got := fmt.Sprint(b.State, " ", b.Attempts, " ")
			for _, a := range b.Errors {
				got += a.Error
			}
			if got != want[b.ID] || b.Connector != "c" || !strings.HasPrefix(b.Key, "key ") || b.Received.IsZero() || b.Body != nil {
				t.Errorf("%+v, want %q", b, want[b.ID])
			}
			if (b.State == DeliveryWaiting) == b.Next.IsZero() {
				t.Errorf("%s is next tried at %v", b.State, b.Next)
			}
			delete(want, b.ID)
		}
		if len(want) > 0 {
			t.Errorf("not listed: %v", want)
		}
		if b, err := s.DeliveryStatus(ctx, done); err != nil || b.State != DeliveryDone || b.Finished.IsZero() {
			t.Errorf("DeliveryStatus = %+v, %v", b, err)
		}
		if d, err := s.Delivery(ctx, failed); err != nil || string(d.Body) != "body" {
			t.Errorf("the failed delivery is not kept: %v", err)
		}

		if err := s.Retry(ctx, done, "operator:ann"); !errors.Is(err, ErrDone) {
			t.Errorf("a handled delivery: %v", err)
		}
		for _, id := range []string{"unknown", "01a1fc90-8164-7180-879f-207872ca71af"} {
			if err := s.Retry(ctx, id, "operator:ann"); !errors.Is(err, ErrNotFound) {
				t.Errorf("unknown: %v", err)
			}
			if _, err := s.DeliveryStatus(ctx, id); !errors.Is(err, ErrNotFound) {
				t.Errorf("unknown: %v", err)
			}
		}
		for _, id := range []string{failed, waiting, fresh} {
			if err := s.Retry(ctx, id, "operator:ann"); err != nil {
				t.Fatal(err)
			}
		}
		again := map[string]bool{}
		runJobs(t, s, 3, func(ctx context.Context, j jobs.Job) error {
			if err := s.Retry(ctx, j.Subject, "operator:ann"); err != nil || again[j.Subject] {
				t.Errorf("it is handled twice, or cannot be retried meanwhile: %v", err)
			}
			again[j.Subject] = true
			return s.Commit(ctx, Change{Finish: j.Subject})
		})
		if len(again) != 3 {
			t.Errorf("handled again: %v", again)
		}
		for b := range s.UnfinishedDeliveries(ctx) {
			t.Errorf("%s is still unfinished", b.ID)
		}
	})
}

func TestManyUnfinishedDeliveriesAreReadInPortions(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		const n = 2100
		done := make(chan error, n)
		for i := range n {
			go func() {
				_, err := s.StoreDelivery(t.Context(), Delivery{Connector: "c", Key: fmt.Sprint(i)}, jobs.Job{Kind: "answer"})
				done <- err
			}()
		}
		for range n {
			if err := <-done; err != nil {
				t.Fatal(err)
			}
		}
		ids := map[string]bool{}
		for b, err := range s.UnfinishedDeliveries(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if b.State != DeliveryWaiting {
				t.Fatalf("%s is %s: its job was not read", b.ID, b.State)
			}
			ids[b.ID] = true
		}
		if len(ids) != n {
			t.Errorf("%d of %d are listed", len(ids), n)
		}
	})
}

func TestDeliveryTimeIsPartOfTheID(t *testing.T) {
	t.Parallel()
	if at := DeliveryTime("019a0000-0000-7000-8000-000000000000"); at.UTC().Format(time.DateOnly) != "2025-10-20" {
		t.Errorf("DeliveryTime = %v", at.UTC())
	}
	for _, id := range []string{"", "x", "019a0000-0000-4000-8000-000000000000"} {
		if at := DeliveryTime(id); !at.IsZero() {
			t.Errorf("DeliveryTime(%q) = %v", id, at)
		}
	}
}
