package store

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"
)

// A logged log can be read while it is written.
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

// inAWhile is later than any test.
func inAWhile() time.Time { return time.Now().Add(time.Hour) }

func TestASweepIsOneProcessesAtATime(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		stores := []*Store{open(Options{Secret: secretA})}
		if strings.HasSuffix(t.Name(), "postgres") {
			stores = append(stores, open(Options{Secret: secretA}))
		} else {
			stores = append(stores, stores[0])
		}
		var mu sync.Mutex
		var taken []Sweep
		var all sync.WaitGroup
		for i := range 16 {
			all.Go(func() {
				sweep, err := stores[i%2].TakeSweep(t.Context(), "chat", time.Minute, inAWhile())
				mu.Lock()
				defer mu.Unlock()
				if err == nil {
					taken = append(taken, sweep)
				} else if !errors.Is(err, ErrLeased) {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if len(taken) != 1 {
			t.Fatalf("%d processes sweep at once", len(taken))
		}
		s := stores[0]
		if _, err := s.TakeSweep(t.Context(), "another", time.Minute, inAWhile()); err != nil {
			t.Errorf("another connector waits for this one: %v", err)
		}
		// One that falls silent loses it, and learns of that.
		if err := s.KeepSweep(t.Context(), taken[0], time.Now().Add(-time.Second)); err != nil {
			t.Fatal(err)
		}
		next, err := s.TakeSweep(t.Context(), "chat", time.Minute, inAWhile())
		if err != nil {
			t.Fatal(err)
		}
		if err := s.KeepSweep(t.Context(), taken[0], inAWhile()); !errors.Is(err, ErrLeased) {
			t.Errorf("the first goes on: %v", err)
		}
		if err := s.EndSweep(t.Context(), taken[0], true, time.Time{}); !errors.Is(err, ErrLeased) {
			t.Errorf("the first ends the second: %v", err)
		}
		if err := s.KeepSweep(t.Context(), next, inAWhile()); err != nil {
			t.Errorf("the second: %v", err)
		}
	})
}

func TestASweepIsDueSoLongAfterTheLast(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{Secret: secretA})
		due := func(every time.Duration) time.Duration {
			t.Helper()
			at, err := s.SweepDue(t.Context(), "chat", every)
			if err != nil {
				t.Fatal(err)
			}
			return time.Until(at).Round(time.Minute)
		}
		end := func(rest time.Time) {
			t.Helper()
			sweep, err := s.TakeSweep(t.Context(), "chat", 0, inAWhile())
			if err != nil {
				t.Fatal(err)
			}
			if got := due(time.Minute); got != time.Hour {
				t.Errorf("while it is held the next is due in %v", got)
			}
			if err := s.EndSweep(t.Context(), sweep, true, rest); err != nil {
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
		if _, err := s.TakeSweep(t.Context(), "chat", 10*time.Minute, inAWhile()); !errors.Is(err, ErrLeased) {
			t.Errorf("it can be taken before: %v", err)
		}
		// What is due follows the settings at once, and a rest is longer than they are.
		if got := due(2 * time.Minute); got != 2*time.Minute {
			t.Errorf("after a change of the settings it is due in %v", got)
		}
		end(time.Now().Add(30 * time.Minute))
		if got := due(2 * time.Minute); got != 30*time.Minute {
			t.Errorf("after a rest it is due in %v", got)
		}
	})
}

func TestASweepKnowsWhenTheLastWholeOneBegan(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{Secret: secretA})
		type span struct{ from, to time.Time }
		sweep := func(whole bool) (since time.Time, began span) {
			t.Helper()
			began.from = time.Now().Truncate(time.Microsecond)
			sw, err := s.TakeSweep(t.Context(), "chat", 0, inAWhile())
			began.to = time.Now()
			if err == nil {
				err = s.EndSweep(t.Context(), sw, whole, time.Time{})
			}
			if err != nil {
				t.Fatal(err)
			}
			return sw.Since, began
		}
		if since, _ := sweep(false); !since.IsZero() {
			t.Errorf("before the first there was one, at %v", since)
		}
		since, second := sweep(true)
		if !since.IsZero() {
			t.Errorf("one that broke off counts, at %v", since)
		}
		for _, whole := range []bool{false, true} {
			if since, _ := sweep(whole); since.Before(second.from) || since.After(second.to) {
				t.Errorf("since %v, want %v", since, second)
			}
		}
	})
}

func TestAfterAChangeOfTheSecretNothingIsNews(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		page := []Delivery{{Key: "a"}}
		sweep := func(s *Store) int {
			t.Helper()
			sw, err := s.TakeSweep(t.Context(), "chat", 0, inAWhile())
			if err != nil {
				t.Fatal(err)
			}
			unknown, err := s.NotFoundBefore(t.Context(), sw, page)
			if err == nil && len(unknown) > 0 {
				err = s.AcceptFound(t.Context(), sw, page[0], false, Job{Kind: "answer"})
			}
			if err == nil {
				err = s.EndSweep(t.Context(), sw, true, time.Time{})
			}
			if err != nil {
				t.Fatal(err)
			}
			return len(unknown)
		}
		s := open(Options{Secret: secretA})
		if n := sweep(s); n != 1 {
			t.Fatalf("%d news", n)
		}
		for _, o := range []Options{{Secret: secretB, OldSecret: secretA}, {Secret: secretB}} {
			if err := s.Close(); err != nil {
				t.Fatal(err)
			}
			s = open(o)
			if n := sweep(s); n != 0 {
				t.Errorf("%d news after a change", n)
			}
		}
	})
}

func TestReplicasThatHearOfTheSameChatsDoNotBlockEachOther(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		if !strings.HasSuffix(t.Name(), "postgres") {
			t.Skip("SQLite has one process")
		}
		log := &logged{}
		o := Options{Secret: secretA, Log: slog.New(slog.NewTextHandler(log, nil))}
		stores := []*Store{open(o), open(o)}
		sweep, err := stores[0].TakeSweep(t.Context(), "chat", time.Minute, inAWhile())
		if err != nil {
			t.Fatal(err)
		}
		const n = 40
		var list []Delivery
		for i := range n {
			list = append(list, Delivery{Key: fmt.Sprint("chat ", i)})
		}
		var all sync.WaitGroup
		for round := range 10 {
			for i := range n {
				for r, s := range stores {
					k := i
					if r == 1 {
						k = n - 1 - i // and so in another order
					}
					all.Go(func() {
						d := Delivery{Connector: "chat", Key: fmt.Sprintf("%d/%d/%d", r, round, k), Known: fmt.Sprint("chat ", k), Body: []byte("x")}
						if _, err := s.Accept(t.Context(), d, Job{Queue: "chat", Kind: "answer"}); err != nil {
							t.Errorf("a webhook: %v", err)
						}
					})
				}
			}
			all.Go(func() {
				if _, err := stores[0].NotFoundBefore(t.Context(), sweep, list); err != nil {
					t.Errorf("the sweep: %v", err)
				}
			})
			all.Wait()
		}
		if said := log.String(); strings.Contains(said, "deadlock") {
			t.Errorf("the log says %s", said)
		}
	})
}

func TestWhatASweepFoundIsNewsOnce(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{Secret: secretA})
		// sweep finds all of these, and gives those that are news.
		sweep := func(whole bool, keys ...string) (news string) {
			t.Helper()
			sw, err := s.TakeSweep(t.Context(), "chat", 0, inAWhile())
			if err != nil {
				t.Fatal(err)
			}
			var page []Delivery
			for _, key := range keys {
				page = append(page, Delivery{Key: key, Body: []byte(key)})
			}
			unknown, err := s.NotFoundBefore(t.Context(), sw, page)
			if err != nil {
				t.Fatal(err)
			}
			for _, i := range unknown {
				if err := s.AcceptFound(t.Context(), sw, page[i], false, Job{Kind: "answer"}); err != nil {
					t.Fatal(err)
				}
				news += keys[i]
			}
			if err := s.EndSweep(t.Context(), sw, whole, time.Time{}); err != nil {
				t.Fatal(err)
			}
			return news
		}
		told := Delivery{Connector: "chat", Key: "a webhook", Known: "x", Body: []byte("x")}
		if _, err := s.Accept(t.Context(), told, Job{Kind: "answer"}); err != nil {
			t.Fatal(err) // before any sweep, which is fine
		}
		for i, c := range []struct {
			whole bool
			keys  string
			news  string
		}{
			{true, "ab", "ab"},
			{true, "abc", "c"},
			{true, "abb", ""},
			{false, "a", ""}, // it broke off before b
			{true, "ab", ""},
			{true, "a", ""}, // b is over
			{true, "ab", "b"},
		} {
			if news := sweep(c.whole, strings.Split(c.keys, "")...); news != c.news {
				t.Errorf("sweep %d of %s: news %q, want %q", i, c.keys, news, c.news)
			}
		}
		// What a delivery told of is none.
		told = Delivery{Connector: "chat", Key: "another webhook", Known: "d", Body: []byte("d")}
		if _, err := s.Accept(t.Context(), told, Job{Kind: "answer"}); err != nil {
			t.Fatal(err)
		}
		if news := sweep(true, "a", "d"); news != "" {
			t.Errorf("a delivery told of %q already", news)
		}
		// Of a list that never ends well there is no more than of its last so many sweeps.
		for i := range keptRounds + 1 {
			sweep(false, fmt.Sprint("text ", i))
		}
		if news := sweep(false, "d", "text 5"); news != "d" {
			t.Errorf("news %q: what was not found for long is kept, or what was is not", news)
		}
	})
}

func TestWhatASweepFoundIsStoredWithItsJobAndNeverInPlain(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{Secret: secretA})
		sweep, err := s.TakeSweep(t.Context(), "chat", 0, inAWhile())
		if err != nil {
			t.Fatal(err)
		}
		received := time.Now().Add(-time.Hour).Truncate(time.Microsecond)
		if err := s.AcceptFound(t.Context(), sweep, Delivery{Key: "c-1 writes canary", Body: []byte("body"), Received: received}, true, Job{Queue: "chat", Kind: "answer"}); err != nil {
			t.Fatal(err)
		}
		n := 0
		for b, err := range s.Backlog(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
			d, err := s.Delivery(t.Context(), b.ID)
			if found, late := d.Found(); !found || !late {
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
