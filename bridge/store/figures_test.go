package store

import (
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/jobs"
)

func TestFiguresSayWhatIsInTheDatabase(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		f := s.Figures()
		n, oldest, err := f.Waiting(t.Context(), "slack")
		if err != nil || n != 0 || !oldest.IsZero() {
			t.Errorf("at first %d jobs wait since %v, %v", n, oldest, err)
		}
		at, err := f.LastEntry(t.Context())
		swept, e := f.LastSweep(t.Context(), "slack")
		if err != nil || e != nil || !at.IsZero() || !swept.IsZero() {
			t.Errorf("at first the audit log has an entry of %v (%v), and a sweep began at %v (%v)", at, err, swept, e)
		}
		now := time.Now()
		var change Change
		for i, state := range []string{"ready", "ready", "closed", "live"} {
			id := fmt.Sprintf("card-%d", i)
			if err := s.Commit(t.Context(), Change{Card: &Card{ID: id, Connector: "slack", Kind: KindChat, Chat: id, State: state, Episode: 1}}); err != nil {
				t.Fatal(err)
			}
		}
		change.Audit = []audit.Entry{{At: now, Action: "asked"}}
		for _, job := range []jobs.Job{{Queue: "slack", At: now.Add(-time.Minute)}, {Queue: "slack"}, {Queue: "slack", At: now.Add(time.Hour)}, {Queue: "other"}} {
			job.Kind = "show"
			change.Jobs = append(change.Jobs, job)
		}
		if err := s.Commit(t.Context(), change); err != nil {
			t.Fatal(err)
		}
		sweep, err := s.Sweeps().Start(t.Context(), "slack", time.Minute, now.Add(time.Minute))
		if err == nil {
			err = s.Sweeps().End(t.Context(), sweep, true, time.Time{})
		}
		if err != nil {
			t.Fatal(err)
		}
		for token, expires := range map[string]time.Time{"open": now.Add(time.Hour), "expired": now.Add(-time.Hour)} {
			if err := s.AgentSessions().CommitCtx(t.Context(), token, []byte("{}"), expires); err != nil {
				t.Fatal(err)
			}
		}

		n, oldest, err = f.Waiting(t.Context(), "slack")
		if age := time.Since(oldest); err != nil || n != 2 || age < 59*time.Second || oldest.Before(now.Add(-61*time.Second)) {
			t.Errorf("%d jobs wait since %v, %v", n, oldest, err)
		}
		cards, err := f.OpenCards(t.Context(), "slack")
		if err != nil || !maps.Equal(cards, map[string]int{"ready": 2, "live": 1}) {
			t.Errorf("open cards %v, %v", cards, err)
		}
		if n, err := f.SignedIn(t.Context()); err != nil || n != 1 {
			t.Errorf("%d sessions, %v", n, err)
		}
		if at, err := f.LastEntry(t.Context()); err != nil || at.UnixMicro() != now.UnixMicro() {
			t.Errorf("the latest entry is of %v, want %v, %v", at, now, err)
		}
		if at, err := f.LastSweep(t.Context(), "slack"); err != nil || at.Before(now.Truncate(time.Microsecond)) {
			t.Errorf("the last sweep began at %v, %v", at, err)
		}
		size, err := f.Size(t.Context())
		if sqlite := size.WAL >= 0; err != nil || size.Database+size.WAL < 10_000 || sqlite != strings.HasSuffix(t.Name(), "sqlite") {
			t.Errorf("size %+v, %v", size, err)
		}
	})
}

// fillFigures writes n rows into each table that figures read, so that the planner knows what is rare.
// Cards and jobs are closed and finished, or open and waiting.
func fillFigures(t testing.TB, s *Store, n int, open bool) {
	t.Helper()
	state, job, finalized := "closed", "completed", "CURRENT_TIMESTAMP"
	if open {
		state, job, finalized = "ready", "available", "NULL"
	}
	rows := fmt.Sprintf("WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < %d) SELECT ", n)
	text := "CAST(i AS TEXT)"
	exec(t, s, `INSERT INTO cards (id, connector, kind, chat, episode, agent, visitor, state, version, generation, created, updated, door_until) `+
		rows+`'`+state+`-' || `+text+`, 'slack', 'chat', '`+state+`-' || `+text+`, 1, 'a', 'v', '`+state+`', 1, 0, 1, 1, 1 FROM n`)
	exec(t, s, `INSERT INTO river_job (args, kind, max_attempts, queue, state, finalized_at, scheduled_at, created_at) `+
		rows+`'{}', 'bridge', 25, 'slack', '`+job+`', `+finalized+`, CURRENT_TIMESTAMP, CURRENT_TIMESTAMP FROM n`)
	if !open {
		exec(t, s, `INSERT INTO sessions (token, data, expires) `+rows+text+`, '', i FROM n`)
	}
	exec(t, s, "ANALYZE") // as PostgreSQL does by itself after a while
}

// TestFiguresReadFewRowsOfALargePostgreSQLDatabase is TestEveryQueryFindsItsRowsThroughAnIndex for
// PostgreSQL, which scans a table whatever indexes it has if it is small.
func TestFiguresReadFewRowsOfALargePostgreSQLDatabase(t *testing.T) {
	t.Parallel()
	s := openAt(t, newDatabase(t, "postgres"), Options{})
	fillFigures(t, s, 20_000, false)
	for name, query := range queryConstants(t, "figures/queries.go") {
		args := []any{"slack"}
		if strings.Contains(query, "> $1") {
			args[0] = int64(30_000)
		}
		if strings.Contains(query, "$2") {
			args = append(args, 2)
		}
		steps, err := engine.Column[string](s.engine.Query(t.Context(), "EXPLAIN "+query, args...))
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range steps {
			if strings.Contains(step, "Seq Scan on") && !strings.Contains(step, "sweeps") && !strings.Contains(step, "audit") { // which are empty here
				t.Errorf("%s: %s", name, strings.Join(steps, "\n"))
			}
		}
	}
}

// BenchmarkFigures reads all figures of a database with 100,000 finished rows, and with as many that are
// open.
func BenchmarkFigures(b *testing.B) {
	for _, database := range []string{"sqlite", "postgres"} {
		for _, open := range []bool{false, true} {
			b.Run(fmt.Sprintf("%s/open=%v", database, open), func(b *testing.B) {
				s := openAt(b, newDatabase(b, database), Options{})
				fillFigures(b, s, 100_000, open)
				f := s.Figures()
				for b.Loop() {
					_, _, err := f.Waiting(b.Context(), "slack")
					if err == nil {
						_, err = f.OpenCards(b.Context(), "slack")
					}
					if err == nil {
						_, err = f.SignedIn(b.Context())
					}
					if err == nil {
						_, err = f.LastEntry(b.Context())
					}
					if err == nil {
						_, err = f.LastSweep(b.Context(), "slack")
					}
					if err == nil {
						_, err = f.Size(b.Context())
					}
					if err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}
