package store

import (
	"context"
	"database/sql"
	"fmt"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riverpgxv5"
	"github.com/riverqueue/river/riverdriver/riversqlite"

	"cobrowse-bridge/bridge/store/engine"
)

var kilobyte = []byte(strings.Repeat("b", 1024))

// inParallel calls f n times in so many goroutines, and returns how long each
// call and all of them took.
func inParallel(b *testing.B, goroutines, n int, f func(i int) error) (each []time.Duration, all time.Duration) {
	b.Helper()
	each = make([]time.Duration, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	begun := time.Now()
	for range goroutines {
		wg.Go(func() {
			for {
				i := int(next.Add(1)) - 1
				if i >= n {
					return
				}
				at := time.Now()
				if err := f(i); err != nil {
					b.Error(err)
					return
				}
				each[i] = time.Since(at)
			}
		})
	}
	wg.Wait()
	return each, time.Since(begun)
}

func perSecond(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }

func accept(s *Store, prefix string) func(int) error {
	return func(i int) error {
		_, err := s.Accept(context.Background(), Delivery{Connector: "c", Key: fmt.Sprint(prefix, i), Body: kilobyte}, Job{Kind: "read"})
		return err
	}
}

// bareSQLite is the floor: a row and River's InsertTx, each in a transaction of
// its own, on a file with the same settings.
func bareSQLite(b *testing.B) func(int) error {
	address := newDatabase(b, "sqlite")
	openAt(b, address, Options{}).Close()
	db, err := sql.Open("sqlite", "file:"+strings.TrimPrefix(address, "sqlite:")+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		b.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	b.Cleanup(func() { db.Close() })
	client, err := river.NewClient(riversqlite.New(db), &river.Config{})
	if err != nil {
		b.Fatal(err)
	}
	return func(i int) error {
		ctx := context.Background()
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer tx.Rollback()
		if _, err := tx.ExecContext(ctx, queryInsertDeliveries+`(?, 'c', ?, ?, 0)`, fmt.Sprint(i), fmt.Sprint(i), kilobyte); err != nil {
			return err
		}
		if _, err := client.InsertTx(ctx, tx, jobArgs{Name: "read", Subject: fmt.Sprint(i)}, nil); err != nil {
			return err
		}
		return tx.Commit()
	}
}

func barePostgres(b *testing.B) func(int) error {
	address := newDatabase(b, "postgres")
	openAt(b, address, Options{}).Close()
	pool, err := pgxpool.New(context.Background(), address+"?pool_max_conns=16")
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(pool.Close)
	client, err := river.NewClient(riverpgxv5.New(pool), &river.Config{})
	if err != nil {
		b.Fatal(err)
	}
	return func(i int) error {
		ctx := context.Background()
		return pgx.BeginFunc(ctx, pool, func(tx pgx.Tx) error {
			if _, err := tx.Exec(ctx, queryInsertDeliveries+`($1, 'c', $2, $3, 0)`, fmt.Sprint(i), fmt.Sprint(i), kilobyte); err != nil {
				return err
			}
			_, err := client.InsertTx(ctx, tx, jobArgs{Name: "read", Subject: fmt.Sprint(i)}, nil)
			return err
		})
	}
}

// rawGroup inserts rows only, through the same committer.
func rawGroup(b *testing.B) func(int) error {
	s := openAt(b, newDatabase(b, "sqlite"), Options{})
	return func(i int) error {
		id := fmt.Sprint(i)
		return s.write(context.Background(), &write{delivery: &deliveryRow{id: id, connector: "c", key: id, body: kilobyte}})
	}
}

// BenchmarkAccept compares Accept at 64 parallel with what it stands on.
func BenchmarkAccept(b *testing.B) {
	for _, c := range []struct {
		name, engine, ratio string
		floor               func(*testing.B) func(int) error
	}{
		{"SQLite/OverBareRiver", "sqlite", "×bare", bareSQLite},
		{"SQLite/OverRawGroup", "sqlite", "×raw", rawGroup},
		{"PostgreSQL/OverBareRiver", "postgres", "×bare", barePostgres},
	} {
		b.Run(c.name, func(b *testing.B) {
			floor := c.floor(b)
			s := openAt(b, newDatabase(b, c.engine), Options{})
			accept := accept(s, "")
			b.ResetTimer()
			_, floorTook := inParallel(b, 64, b.N, floor)
			_, took := inParallel(b, 64, b.N, accept)
			b.ReportMetric(perSecond(b.N, floorTook), "floor/s")
			b.ReportMetric(perSecond(b.N, took), "accept/s")
			b.ReportMetric(floorTook.Seconds()/took.Seconds(), c.ratio)
		})
	}
}

// BenchmarkAcceptLatency compares p99 at 64 parallel with p50 alone.
func BenchmarkAcceptLatency(b *testing.B) {
	for _, name := range []string{"sqlite", "postgres"} {
		b.Run(name, func(b *testing.B) {
			s := openAt(b, newDatabase(b, name), Options{})
			b.ResetTimer()
			alone, _ := inParallel(b, 1, b.N, accept(s, "alone "))
			crowd, _ := inParallel(b, 64, b.N, accept(s, "crowd "))
			slices.Sort(alone)
			slices.Sort(crowd)
			p50, p99 := alone[len(alone)/2], crowd[len(crowd)*99/100]
			b.ReportMetric(float64(p50.Microseconds()), "µs-p50-of-1")
			b.ReportMetric(float64(alone[len(alone)*99/100].Microseconds()), "µs-p99-of-1")
			b.ReportMetric(float64(crowd[len(crowd)/2].Microseconds()), "µs-p50-of-64")
			b.ReportMetric(float64(p99.Microseconds()), "µs-p99-of-64")
			b.ReportMetric(float64(p99)/float64(p50), "p99of64/p50of1")
		})
	}
}

// BenchmarkStart measures from Accept until the job starts.
func BenchmarkStart(b *testing.B) {
	for _, name := range []string{"sqlite", "postgres"} {
		b.Run(name, func(b *testing.B) {
			s := openAt(b, newDatabase(b, name), Options{})
			ctx, cancel := context.WithCancel(b.Context())
			started, ended := make(chan struct{}, 1), make(chan error, 1)
			go func() {
				ended <- s.Work(ctx, map[string]int{"default": 10}, func(context.Context, Job) error { started <- struct{}{}; return nil })
			}()
			accept := accept(s, "")
			each, _ := inParallel(b, 1, b.N, func(i int) error { err := accept(i); <-started; return err })
			slices.Sort(each)
			b.ReportMetric(float64(each[len(each)/2].Microseconds()), "µs-p50")
			b.ReportMetric(float64(each[len(each)*95/100].Microseconds()), "µs-p95")
			cancel()
			if err := <-ended; err != nil {
				b.Error(err)
			}
		})
	}
}

// BenchmarkGrowth compares the costs at a million pending deliveries with those
// at a thousand.
func BenchmarkGrowth(b *testing.B) {
	if testing.Short() {
		b.Skip("a million rows take a while")
	}
	s := openAt(b, newDatabase(b, "sqlite"), Options{})
	have := 0
	measure := func(pending int) (insert, claim, door time.Duration) {
		pend(b, s, have, pending)
		have = pending
		const n = 300
		inserts, _ := inParallel(b, 1, n, accept(s, fmt.Sprint(pending, " ")))
		claims, _ := inParallel(b, 1, n, func(int) error { return claimJob(s) })
		doors, _ := inParallel(b, 1, n, func(i int) error {
			_, err := s.CardByHandle(b.Context(), handleOf(i))
			return err
		})
		for _, each := range [][]time.Duration{inserts, claims, doors} {
			slices.Sort(each)
		}
		return inserts[n/2], claims[n/2], doors[n/2]
	}
	b.ResetTimer()
	for range b.N {
		insert1, claim1, door1 := measure(1000)
		insert2, claim2, door2 := measure(1000000)
		b.ReportMetric(float64(insert2)/float64(insert1), "insert-1M/1k")
		b.ReportMetric(float64(claim2)/float64(claim1), "claim-1M/1k")
		b.ReportMetric(float64(door2)/float64(door1), "card-1M/1k")
		b.ReportMetric(float64(insert2.Microseconds()), "µs-insert-1M")
		b.ReportMetric(float64(claim2.Microseconds()), "µs-claim-1M")
		b.ReportMetric(float64(door2.Microseconds()), "µs-card-1M")
	}
}

func handleOf(i int) (h [32]byte) {
	copy(h[:], fmt.Sprintf("%032d", i))
	return h
}

// pend adds deliveries, available jobs and cards numbered from one number to
// another.
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
		err := s.engine.Write(b.Context(), func(ctx context.Context, tx engine.Tx) error {
			_, err := tx.Exec(ctx, query)
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
	}
}

// claimJob takes one job as River's SQLite driver does
// (riversqlite v0.47.0, dbsqlc JobGetAvailable).
func claimJob(s *Store) error {
	return s.engine.Write(context.Background(), func(ctx context.Context, tx engine.Tx) error {
		var id int64
		return tx.QueryRow(ctx, `UPDATE river_job SET attempt = attempt + 1, attempted_at = datetime('now', 'subsec'), state = 'running'
			WHERE id IN (SELECT id FROM river_job WHERE priority >= 0 AND queue = $1 AND scheduled_at <= datetime('now', 'subsec') AND state = 'available'
				ORDER BY priority, scheduled_at, id LIMIT 1) RETURNING id`, "default").Scan(&id)
	})
}
