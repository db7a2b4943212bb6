package store

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store/refreshes"
)

// addRefreshes stores n cards in a state with a refresh each, by one statement. The first is due at the given
// time, and each other one a microsecond later.
func addRefreshes(t *testing.T, s *Store, prefix, state string, n, step int, due time.Time) {
	t.Helper()
	const numbers = `WITH RECURSIVE numbers (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM numbers WHERE i < %d) `
	exec(t, s, fmt.Sprintf(numbers+`INSERT INTO cards (id, connector, kind, chat, episode, agent, visitor, state, version, generation, created, updated, door_until)
		SELECT '%[2]s' || i, 'c', 'chat', '%[2]s' || i, 1, '', '', '%[3]s', 1, 0, 0, 0, 0 FROM numbers`, n, prefix, state))
	exec(t, s, fmt.Sprintf(numbers+`INSERT INTO refreshes (card, step, due) SELECT '%[2]s' || i, %[3]d, %[4]d + i - 1 FROM numbers`, n, prefix, step, due.UnixMicro()))
}

func TestEachRefreshIsLeasedByOneReplica(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		one := open(Options{})
		replicas := []*Store{one, one}
		if strings.HasSuffix(t.Name(), "postgres") {
			replicas[1] = open(Options{})
		}
		const n = 200
		now := time.Now()
		addRefreshes(t, one, "card-", "ready", n, 0, now.Add(-time.Second))
		var mu sync.Mutex
		leased := map[string]int{}
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				for {
					due, err := replicas[i%2].Refreshes().Due(t.Context(), now, 10)
					if err == nil && len(due) == 0 {
						return
					}
					if err == nil {
						due, err = replicas[i%2].Refreshes().Lease(t.Context(), due, now)
					}
					if err != nil {
						t.Error(err)
						return
					}
					mu.Lock()
					for _, r := range due {
						leased[r.Card]++
					}
					mu.Unlock()
				}
			})
		}
		all.Wait()
		if len(leased) != n {
			t.Errorf("%d of %d refreshes were leased", len(leased), n)
		}
		for card, times := range leased {
			if times != 1 {
				t.Errorf("%s was leased %d times", card, times)
			}
		}
	})
}

// Leased and skipped refreshes follow the same schedule.
func TestARefreshIsDueFiveTimes(t *testing.T) {
	for _, how := range []string{"leased", "skipped"} {
		t.Run(how, func(t *testing.T) {
			onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
				s := open(Options{})
				began := time.UnixMicro(1_800_000_000_000_000)
				card := Card{ID: "card", Connector: "c", Chat: "c", State: "offline"}
				if err := s.Commit(t.Context(), Change{Card: &card, Refresh: &refreshes.Refresh{Card: "card", Due: began.Add(refreshes.First)}}); err != nil {
					t.Fatal(err)
				}
				var after []time.Duration
				for {
					due, err := s.Refreshes().Due(t.Context(), began.AddDate(1, 0, 0), 10)
					if err != nil {
						t.Fatal(err)
					}
					if len(due) == 0 {
						break
					}
					if r := due[0]; r.Step != len(after) {
						t.Fatalf("refresh %d has step %d", len(after), r.Step)
					}
					now := due[0].Due
					after = append(after, now.Sub(began))
					if how == "leased" {
						due, err = s.Refreshes().Lease(t.Context(), due, now)
					} else {
						_, err = s.Refreshes().Skip(t.Context(), now, now)
					}
					if err != nil || len(due) != 1 {
						t.Fatal(due, err)
					}
				}
				want := []time.Duration{2 * time.Minute, 7 * time.Minute, 17 * time.Minute, 37 * time.Minute, 67 * time.Minute}
				if !slices.Equal(after, want) {
					t.Errorf("it was due after %v, want %v", after, want)
				}
				if n := number(t, s, `SELECT count(*) FROM refreshes`); n != 0 {
					t.Errorf("%d refreshes are left", n)
				}
			})
		})
	}
}

func TestLateRefreshesAreSkippedInSlices(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		now := time.Now()
		late := now.Add(-time.Minute)
		addRefreshes(t, s, "late-", "ready", 5000, 1, late.Add(-time.Second))
		addRefreshes(t, s, "last-", "offline", 300, 4, late.Add(-time.Second))
		addRefreshes(t, s, "due-", "ready", 10, 4, late.Add(time.Second))
		addRefreshes(t, s, "pressed-", "opened", 10, 0, late.Add(time.Second))
		addRefreshes(t, s, "pressed-later-", "opened", 10, 0, now.Add(time.Second))
		addRefreshes(t, s, "deleted-", "ready", 10, 0, late.Add(time.Second))
		exec(t, s, `DELETE FROM cards WHERE id LIKE 'deleted-%'`)
		counted := gate(s)
		close(counted.gate)
		skipped, err := s.Refreshes().Skip(ctx, now, late)
		if err != nil || skipped != 5320 {
			t.Errorf("%d skipped, %v; want the late, the last, those of pressed cards and those of deleted ones", skipped, err)
		}
		if n := counted.writes; n > 5000/250+1 {
			t.Errorf("%d transactions", n)
		}
		for prefix, want := range map[string]int64{"late-": 5000, "last-": 0, "due-": 10, "pressed-later-": 10, "deleted-": 0} {
			if n := number(t, s, `SELECT count(*) FROM refreshes WHERE card LIKE $1`, prefix+"%"); n != want {
				t.Errorf("%d refreshes %s are left, want %d", n, prefix, want)
			}
		}
		if n := number(t, s, `SELECT count(*) FROM refreshes WHERE step = 2 AND due = $1`, now.Add(10*time.Minute).UnixMicro()); n != 5000 {
			t.Errorf("%d refreshes have the next step", n)
		}
		due, err := s.Refreshes().Due(ctx, now, 100)
		if err != nil || len(due) != 10 || due[0].Card != "due-1" || due[9].Card != "due-10" {
			t.Errorf("due are %v, %v", due, err)
		}
		counted.writes = 0
		if n, err := s.Refreshes().Skip(ctx, late, late.Add(-time.Minute)); n != 0 || err != nil || counted.writes != 0 {
			t.Errorf("%d skipped, %v, although none is due, or something was written", n, err)
		}
	})
}
