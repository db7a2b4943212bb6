package store

import (
	"context"
	"fmt"
	"testing"
	"time"
)

// Run with the race detector: a caller whose context ends returns while the shared commit
// still works for it.
func TestACallerThatGivesUpSharesNothingWithItsWrite(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{Secret: secretA})
		sweep, err := s.Sweeps().Start(t.Context(), "rocketchat", time.Minute, time.Now().Add(time.Hour))
		if err != nil {
			t.Fatal(err)
		}
		for n := range 200 {
			ctx, cancel := context.WithCancel(t.Context())
			go cancel()
			_, _ = s.Sweeps().NewlyFound(ctx, sweep, []string{fmt.Sprint(n)})
			_, _ = s.LeaseWaits(ctx, time.Now().Add(time.Minute), 10)
			_, _ = s.LeasePost(ctx, "card", Place{Connector: "rocketchat", Address: "bob"}, time.Now().Add(time.Minute))
		}
	})
}
