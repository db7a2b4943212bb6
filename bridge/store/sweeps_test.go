package store

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/store/sweeps"
)

// logged is a log that is safe for concurrent use.
type logged struct {
	mu sync.Mutex
	strings.Builder
}

func (l *logged) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.Write(p)
}

func (l *logged) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Builder.String()
}

// inAWhile returns a time after the end of the test.
func inAWhile() time.Time { return time.Now().Add(time.Hour) }

func TestOnlyOneProcessSweepsAtATime(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		stores := []*Store{open(Options{Secret: secretA})}
		if strings.HasSuffix(t.Name(), "postgres") {
			stores = append(stores, open(Options{Secret: secretA}))
		} else {
			stores = append(stores, stores[0])
		}
		var mu sync.Mutex
		var started []sweeps.Sweep
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				sweep, err := stores[i%2].Sweeps().Start(t.Context(), "chat", time.Minute, inAWhile())
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					started = append(started, sweep)
				} else if !errors.Is(err, ErrLeased) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if len(started) != 1 {
			t.Fatalf("%d processes sweep at once", len(started))
		}
		s := stores[0]
		if _, err := s.Sweeps().Start(t.Context(), "another", time.Minute, inAWhile()); err != nil {
			t.Errorf("another connector must wait: %v", err)
		}
		// A process that does not extend its sweep loses it, and gets ErrLeased.
		if err := s.Sweeps().Extend(t.Context(), started[0], time.Now().Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
		next, err := s.Sweeps().Start(t.Context(), "chat", time.Minute, inAWhile())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.Sweeps().Extend(t.Context(), started[0], inAWhile()); !errors.Is(err, ErrLeased) {
			t.Errorf("the first sweep was extended: %v", err)
		}
		if err := s.Sweeps().End(t.Context(), started[0], true, time.Time{}); !errors.Is(err, ErrLeased) {
			t.Errorf("the first process ended the second sweep: %v", err)
		}
		if err := s.Sweeps().Extend(t.Context(), next, inAWhile()); err != nil {
			t.Errorf("the second sweep was not extended: %v", err)
		}
	})
}

func TestWhenASweepIsDue(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{Secret: secretA})
		due := func(every time.Duration) time.Duration {
			t.Helper()
			at, err := s.Sweeps().Due(t.Context(), "chat", every)
			if err != nil {
				t.Fatal(err)
			}
			return time.Until(at).Round(time.Minute)
		}
		end := func(backoff time.Time) {
			t.Helper()
			sweep, err := s.Sweeps().Start(t.Context(), "chat", 0, inAWhile())
			if err != nil {
				t.Fatal(err)
			}
			if got := due(time.Minute); got != time.Hour {
				t.Errorf("during a sweep the next is due in %v", got)
			}
			if err := s.Sweeps().End(t.Context(), sweep, true, backoff); err != nil {
				t.Fatal(err)
			}
		}
		if got := due(time.Hour); got > 0 {
			t.Errorf("the first is due in %v", got)
		}
		end(time.Time{})
		if got := due(10 * time.Minute); got != 10*time.Minute {
			t.Errorf("the second is due in %v", got)
		}
		if _, err := s.Sweeps().Start(t.Context(), "chat", 10*time.Minute, inAWhile()); !errors.Is(err, ErrLeased) {
			t.Errorf("a sweep can start too early: %v", err)
		}
		// A change of the settings takes effect at once. A backoff counts if it is longer.
		if got := due(2 * time.Minute); got != 2*time.Minute {
			t.Errorf("after a change of the settings it is due in %v", got)
		}
		end(time.Now().Add(30 * time.Minute))
		if got := due(2 * time.Minute); got != 30*time.Minute {
			t.Errorf("after a backoff it is due in %v", got)
		}
	})
}

func TestASweepHasTheStartOfTheLastCompleteOne(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{Secret: secretA})
		type span struct{ from, to time.Time }
		sweep := func(whole bool) (since time.Time, began span) {
			t.Helper()
			began.from = time.Now().Truncate(time.Microsecond)
			sw, err := s.Sweeps().Start(t.Context(), "chat", 0, inAWhile())
			began.to = time.Now()
			if err == nil {
				err = s.Sweeps().End(t.Context(), sw, whole, time.Time{})
			}
			if err != nil {
				t.Fatal(err)
			}
			return sw.Since, began
		}
		if since, _ := sweep(false); !since.IsZero() {
			t.Errorf("the first has an earlier one, at %v", since)
		}
		since, second := sweep(true)
		if !since.IsZero() {
			t.Errorf("an incomplete sweep counts, at %v", since)
		}
		for _, whole := range []bool{false, true} {
			if since, _ := sweep(whole); since.Before(second.from) || since.After(second.to) {
				t.Errorf("since %v, want %v", since, second)
			}
		}
	})
}

func TestFoundKeysAreKnownAfterASecretChange(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		page := []Delivery{{Key: "a"}}
		sweep := func(s *Store) int {
			t.Helper()
			sw, err := s.Sweeps().Start(t.Context(), "chat", 0, inAWhile())
			if err != nil {
				t.Fatal(err)
			}
			unknown, err := s.Sweeps().NewlyFound(t.Context(), sw, []string{page[0].Key})
			if err == nil && len(unknown) > 0 {
				err = s.StoreFound(t.Context(), sw, page[0], false, jobs.Job{Kind: "answer"})
			}
			if err == nil {
				err = s.Sweeps().End(t.Context(), sw, true, time.Time{})
			}
			if err != nil {
				t.Fatal(err)
			}
			return len(unknown)
		}
		s := open(Options{Secret: secretA})
		if n := sweep(s); n != 1 {
			t.Fatalf("%d new keys", n)
		}
		for _, o := range []Options{{Secret: secretB, OldSecret: secretA}, {Secret: secretB}} {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(o)
			if n := sweep(s); n != 0 {
				t.Errorf("%d new keys after a secret change", n)
			}
		}
	})
}

func TestReplicasDoNotDeadlockOnSweepKeys(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		if !strings.HasSuffix(t.Name(), "postgres") {
			t.Skip("SQLite has one process")
		}
		log := &logged{}
		o := Options{Secret: secretA, Log: slog.New(slog.NewTextHandler(log, nil))}
		stores := []*Store{open(o), open(o)}
		sweep, err := stores[0].Sweeps().Start(t.Context(), "chat", time.Minute, inAWhile())
		if err != nil {
			t.Fatal(err)
		}
		const n = 40
		var list []string
		for i := range n {
			list = append(list, fmt.Sprint("chat ", i))
		}
		var all sync.WaitGroup
		for round := range 10 {
			for i := range n {
				for r, s := range stores {
					k := i
					if r == 1 {
						k = n - 1 - i // in the opposite order
					}
					all.Go(func() {
						d := Delivery{Connector: "chat", Key: fmt.Sprintf("%d/%d/%d", r, round, k), SweepKey: fmt.Sprint("chat ", k), Body: []byte("x")}
						if _, err := s.StoreDelivery(t.Context(), d, jobs.Job{Queue: "chat", Kind: "answer"}); err != nil {
							t.Errorf("a webhook: %v", err)
						}
					})
				}
			}
			all.Go(func() {
				if _, err := stores[0].Sweeps().NewlyFound(t.Context(), sweep, list); err != nil {
					t.Errorf("the sweep: %v", err)
				}
			})
			all.Wait()
		}
		if text := log.String(); strings.Contains(text, "deadlock") {
			t.Errorf("the log says %s", text)
		}
	})
}

func TestAFoundKeyIsNewOnce(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{Secret: secretA})
		// sweep finds these keys, and returns the new ones.
		sweep := func(whole bool, keys ...string) (news string) {
			t.Helper()
			sw, err := s.Sweeps().Start(t.Context(), "chat", 0, inAWhile())
			if err != nil {
				t.Fatal(err)
			}
			unknown, err := s.Sweeps().NewlyFound(t.Context(), sw, keys)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range unknown {
				if err := s.StoreFound(t.Context(), sw, Delivery{Key: keys[i], Body: []byte(keys[i])}, false, jobs.Job{Kind: "answer"}); err != nil {
					t.Fatal(err)
				}
				news += keys[i]
			}
			if err := s.Sweeps().End(t.Context(), sw, whole, time.Time{}); err != nil {
				t.Fatal(err)
			}
			return news
		}
		reported := Delivery{Connector: "chat", Key: "a webhook", SweepKey: "x", Body: []byte("x")}
		if _, err := s.StoreDelivery(t.Context(), reported, jobs.Job{Kind: "answer"}); err != nil {
			t.Fatal(err) // before the first sweep, its key is not remembered
		}
		for i, c := range []struct {
			whole bool
			keys  string
			news  string
		}{
			{true, "ab", "ab"},
			{true, "abc", "c"},
			{true, "abb", ""},
			{false, "a", ""}, // it ended before b
			{true, "ab", ""},
			{true, "a", ""}, // b is not in the list
			{true, "ab", "b"},
		} {
			if news := sweep(c.whole, strings.Split(c.keys, "")...); news != c.news {
				t.Errorf("sweep %d of %s: news %q, want %q", i, c.keys, news, c.news)
			}
		}
		// A key that a delivery reported is not new.
		reported = Delivery{Connector: "chat", Key: "another webhook", SweepKey: "d", Body: []byte("d")}
		if _, err := s.StoreDelivery(t.Context(), reported, jobs.Job{Kind: "answer"}); err != nil {
			t.Fatal(err)
		}
		if news := sweep(true, "a", "d"); news != "" {
			t.Errorf("%q is new, although a delivery reported it", news)
		}
		// After incomplete sweeps, keys are kept for KeptRounds sweeps.
		for i := range sweeps.KeptRounds + 1 {
			sweep(false, fmt.Sprint("text ", i))
		}
		if news := sweep(false, "d", "text 5"); news != "d" {
			t.Errorf("new keys %q, want only the one that was not found for long", news)
		}
	})
}

func TestStoreFoundStoresTheDeliveryAndAHashOfItsKey(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{Secret: secretA})
		sweep, err := s.Sweeps().Start(t.Context(), "chat", 0, inAWhile())
		if err != nil {
			t.Fatal(err)
		}
		received := time.Now().Add(-time.Hour).Truncate(time.Microsecond)
		if err := s.StoreFound(t.Context(), sweep, Delivery{Key: "c-1 writes canary", Body: []byte("body"), Received: received}, true, jobs.Job{Queue: "chat", Kind: "answer"}); err != nil {
			t.Fatal(err)
		}
		n := 0
		for b, err := range s.UnfinishedDeliveries(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			d, err := s.Delivery(t.Context(), b.ID)
			if found, late := d.Found, d.FoundLate; !found || !late {
				t.Errorf("found %v, late %v", found, late)
			}
			if err != nil || b.State != DeliveryWaiting || string(d.Body) != "body" || !d.Received.Equal(received) || strings.Contains(d.Key, "canary") {
				t.Errorf("%+v, %+v, %v", b, d, err)
			}
		}
		if n != 1 {
			t.Errorf("%d deliveries", n)
		}
	})
}
