package store

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"

	"cobrowse-bridge/bridge/benchtest"
	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/jobs"
)

var kilobyte = []byte(strings.Repeat("b", 1024))

const (
	parallel = 64
	perRound = 2000
)

func deliver(s *Store, prefix string) func(int) error {
	return func(i int) error {
		_, err := s.StoreDelivery(context.Background(), Delivery{Connector: "c", Key: fmt.Sprint(prefix, i), Body: kilobyte}, jobs.Job{Kind: "read"})
		return err
	}
}

// rate returns a function that measures how many calls of f finish in a second, 64 at a time.
// Each measurement uses new values of i.
func rate(b *testing.B, f func(i int) error) func() float64 {
	first := 0
	return func() float64 {
		first += perRound
		_, all := benchtest.Parallel(b, parallel, perRound, func(i int) error { return f(first + i) })
		return benchtest.PerSecond(perRound, all)
	}
}

func BenchmarkP6OverRawGroup(b *testing.B) {
	raw := openAt(b, newDatabase(b, "sqlite"), Options{})
	baseline := rate(b, func(i int) error {
		id := fmt.Sprint(i)
		return raw.write(context.Background(), &write{delivery: &deliveryRow{id: id, connector: "c", key: id, body: kilobyte}})
	})
	benchtest.Rates(b, "P6", baseline, rate(b, deliver(openAt(b, newDatabase(b, "sqlite"), Options{}), "")))
}

func BenchmarkP7OverBareRiver(b *testing.B) {
	b.Run("SQLite", func(b *testing.B) {
		address := newDatabase(b, "sqlite")
		if err := openAt(b, address, Options{}).Close(); err != nil {
			b.Fatal(err)
		}
		bare := benchtest.BareSQLite(b, strings.TrimPrefix(address, "sqlite:"))
		baseline := rate(b, func(i int) error { return bare(fmt.Sprint(i), kilobyte) })
		benchtest.Rates(b, "P7-sqlite", baseline, rate(b, deliver(openAt(b, newDatabase(b, "sqlite"), Options{}), "")))
	})
	b.Run("PostgreSQL", func(b *testing.B) {
		baseline := rate(b, barePostgres(b))
		benchtest.Rates(b, "P7", baseline, rate(b, deliver(openAt(b, newDatabase(b, "postgres"), Options{}), "")))
	})
}

func barePostgres(b *testing.B) func(int) error {
	address := newDatabase(b, "postgres")
	if err := openAt(b, address, Options{}).Close(); err != nil {
		b.Fatal(err)
	}
	config, err := pgxpool.ParseConfig(address)
	if err != nil {
		b.Fatal(err)
	}
	config.MaxConns = 16
	pool, err := pgxpool.NewWithConfig(b.Context(), config)
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{})
	if err != nil {
		b.Fatal(err)
	}
	return func(i int) error {
		ctx, id := context.Background(), fmt.Sprint(i)
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, benchtest.InsertDelivery, id, kilobyte); err != nil {
				return err
			}
			_, err := client.InsertTx(ctx, tx, benchtest.BareJob{Subject: id}, nil)
			return err
		})
	}
}

func BenchmarkP8CrowdOverAlone(b *testing.B) {
	for name, id := range map[string]string{"sqlite": "P8", "postgres": "P8-postgres"} {
		b.Run(name, func(b *testing.B) {
			s, round := openAt(b, newDatabase(b, name), Options{}), 0
			percentile := func(goroutines, n, percent int) func() time.Duration {
				return func() time.Duration {
					round++
					each, _ := benchtest.Parallel(b, goroutines, n, deliver(s, fmt.Sprint(round, "-")))
					return benchtest.Percentile(each, percent)
				}
			}
			benchtest.Costs(b, id, percentile(1, perRound/4, 50), percentile(parallel, 2*perRound, 99))
		})
	}
}

// BenchmarkStart measures from StoreDelivery until the job starts.
func BenchmarkStart(b *testing.B) {
	for _, name := range []string{"sqlite", "postgres"} {
		b.Run(name, func(b *testing.B) {
			s := openAt(b, newDatabase(b, name), Options{})
			ctx, cancel := context.WithCancel(b.Context())
			started, ended := make(chan struct{}, 1), make(chan error, 1)
			go func() {
				ended <- s.Work(ctx, map[string]jobs.Queue{"default": {Workers: 10}}, func(context.Context, jobs.Job) error { started <- struct{}{}; return nil }, nil)
			}()
			var all []time.Duration
			for round := 0; b.Loop(); round++ {
				deliver := deliver(s, fmt.Sprint(round, "-"))
				each, _ := benchtest.Parallel(b, 1, 50, func(i int) error { err := deliver(i); <-started; return err })
				all = append(all, each...)
			}
			b.ReportMetric(float64(benchtest.Percentile(all, 50).Microseconds()), "µs-p50")
			b.ReportMetric(float64(benchtest.Percentile(all, 95).Microseconds()), "µs-p95")
			cancel()
			if err := <-ended; err != nil {
				b.Error(err)
			}
		})
	}
}

// BenchmarkP12Growth compares the costs with a million pending deliveries, jobs and cards to those
// with a thousand.
func BenchmarkP12Growth(b *testing.B) {
	if testing.Short() {
		b.Skip("a million rows take long")
	}
	few := openAt(b, newDatabase(b, "sqlite"), Options{})
	many := openAt(b, newDatabase(b, "sqlite"), Options{})
	pend(b, few, 0, 1000)
	pend(b, many, 0, 1_000_000)
	round := 0
	typical := func(f func(i int) error) func() time.Duration {
		return func() time.Duration {
			each, _ := benchtest.Parallel(b, 1, 200, f)
			return benchtest.Percentile(each, 50)
		}
	}
	insert := func(s *Store) func() time.Duration {
		return typical(func(int) error { round++; return deliver(s, "new-")(round) })
	}
	claim := func(s *Store) func() time.Duration { return typical(func(int) error { return claimJob(s) }) }
	card := func(s *Store) func() time.Duration {
		return typical(func(i int) error { _, _, err := s.CardByHandle(context.Background(), handleOf(i)); return err })
	}
	b.Run("Insert", func(b *testing.B) { benchtest.Costs(b, "P12-insert", insert(few), insert(many)) })
	b.Run("Claim", func(b *testing.B) { benchtest.Costs(b, "P12-claim", claim(few), claim(many)) })
	b.Run("Card", func(b *testing.B) { benchtest.Costs(b, "P13", card(few), card(many)) })
}

func handleOf(i int) (h [32]byte) {
	copy(h[:], fmt.Sprintf("%032d", i))
	return h
}

// pend adds deliveries, available jobs and cards with the numbers from (inclusive) to (exclusive).
func pend(b *testing.B, s *Store, from, to int) {
	numbers := fmt.Sprintf(`WITH RECURSIVE n(i) AS (SELECT %d UNION ALL SELECT i + 1 FROM n WHERE i < %d) `, from, to-1)
	if from >= to {
		return
	}
	for _, query := range []string{
		`INSERT INTO deliveries (id, connector, dedupe, body, received) ` + numbers + `SELECT 'p' || i, 'c', 'p' || i, zeroblob(200), 0 FROM n`,
		`INSERT INTO river_job (kind, args, queue, scheduled_at, max_attempts) ` + numbers + `SELECT 'bridge', jsonb('{"kind":"read"}'), 'default', datetime('now', 'subsec'), 725 FROM n`,
		`INSERT INTO cards (id, connector, chat, agent, visitor, state, version, generation, handle, created, updated, door_until) ` + numbers +
			`SELECT 'p' || i, 'c', 'p' || i, '', '', '', 1, 0, CAST(printf('%032d', i) AS BLOB), 0, 0, 0 FROM n`,
	} {
		err := s.engine.Write(b.Context(), engine.Locks{All: true}, func(ctx context.Context, tx engine.Tx) error {
			_, err := tx.Exec(ctx, query)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// claimJob takes one job as River's SQLite driver does
// (riversqlite v0.51.2, dbsqlc JobGetAvailable) without FetchOnlyKnownKinds.
func claimJob(s *Store) error {
	return s.engine.Write(context.Background(), engine.Locks{All: true}, func(ctx context.Context, tx engine.Tx) error {
		var id int64
		return tx.QueryRow(ctx, `UPDATE river_job SET attempt = attempt + 1, attempted_at = datetime('now', 'subsec'), state = 'running'
			WHERE id IN (SELECT id FROM river_job WHERE priority >= 0 AND queue = $1 AND scheduled_at <= datetime('now', 'subsec') AND state = 'available'
				ORDER BY priority, scheduled_at, id LIMIT 1) RETURNING id`, "default").Scan(&id)
	})
}
