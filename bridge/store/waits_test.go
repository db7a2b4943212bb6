package store

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"
)

func TestEachWaitIsLeasedByOneReplica(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		stores := []*Store{open(Options{Secret: secretA})}
		if strings.HasSuffix(t.Name(), "postgres") {
			stores = append(stores, open(Options{Secret: secretA}))
		} else {
			stores = append(stores, stores[0])
		}
		const n = 200
		now := time.Now()
		for i := range n {
			w := Wait{Card: fmt.Sprint("card-", i), Agent: "desk:a1", Until: now.Add(time.Hour)}
			if err := stores[0].StartWait(t.Context(), w, now.Add(-time.Second)); err != nil {
				t.Fatal(err)
			}
		}
		var mu sync.Mutex
		leased := map[string]int{}
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for range n / 10 {
					waits, err := stores[i%2].LeaseWaits(t.Context(), now.Add(time.Minute), 10)
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for _, w := range waits {
						leased[w.Card]++
					}
					mu.Unlock()
				}
			})
		}
		all.Wait()
		if len(leased) != n {
			t.Errorf("%d of %d waits were leased", len(leased), n)
		}
		for card, times := range leased {
			if times != 1 {
				t.Errorf("%s was leased %d times", card, times)
			}
		}
		if due, err := stores[0].WaitsDue(t.Context()); due || err != nil {
			t.Errorf("some are still due: %v, %v", due, err)
		}
	})
}

func TestAWaitEndsWithItsChange(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{Secret: secretA})
		past := time.Now().Add(-time.Second)
		for _, w := range []Wait{{Card: "c1", Agent: "a"}, {Card: "c1", Agent: "b"}, {Card: "c2", Agent: "a"}, {Card: "c3", Agent: "a"}} {
			if err := s.StartWait(t.Context(), w, past); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Commit(t.Context(), Change{EndWaits: []Wait{{Card: "c1"}, {Card: "c2", Agent: "a"}, {Card: "c3", Agent: "b"}}}); err != nil {
			t.Fatal(err)
		}
		left, err := s.LeaseWaits(t.Context(), time.Now().Add(time.Minute), 10)
		if err != nil || len(left) != 1 || left[0].Card != "c3" {
			t.Errorf("left: %+v, %v", left, err)
		}
	})
}
