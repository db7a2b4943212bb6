// Package benchtest measures something against a floor in the same run, so that
// a noisy or slow machine shifts both and leaves their ratio alone. The command
// in table prints the ratios beside their goals.
package benchtest

import (
	"cmp"
	"context"
	"database/sql"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/riverqueue/river"
	"github.com/riverqueue/river/riverdriver/riversqlite"
)

// Rates compares two rates. Each iteration of the benchmark measures both, in
// changing order; reported are the medians of the floor's rate, as id/floor, of
// the subject's, as id/rate, and of subject ÷ floor, as id.
func Rates(b *testing.B, id string, floor, subject func() float64) {
	b.Helper()
	rounds(b, id, "/rate", floor, subject, func(floor, subject float64) float64 { return subject / floor })
}

// Costs compares two durations as Rates does two rates. The ratio is again
// subject ÷ floor, of which less is better.
func Costs(b *testing.B, id string, floor, subject func() time.Duration) {
	b.Helper()
	seconds := func(f func() time.Duration) func() float64 { return func() float64 { return f().Seconds() * 1e6 } }
	rounds(b, id, "/µs", seconds(floor), seconds(subject), func(floor, subject float64) float64 { return subject / floor })
}

func rounds(b *testing.B, id, unit string, floor, subject func() float64, ratio func(floor, subject float64) float64) {
	b.Helper()
	var floors, subjects, ratios []float64
	for odd := false; b.Loop(); odd = !odd {
		var f, s float64
		if odd {
			s, f = subject(), floor()
		} else {
			f, s = floor(), subject()
		}
		floors, subjects, ratios = append(floors, f), append(subjects, s), append(ratios, ratio(f, s))
	}
	b.ReportMetric(Percentile(floors, 50), id+"/floor")
	b.ReportMetric(Percentile(subjects, 50), id+unit)
	b.ReportMetric(Percentile(ratios, 50), id)
	b.ReportMetric(0, "ns/op") // an iteration is a round, whose length says nothing
}

// Percentile returns the value that so many percent of all do not exceed. It
// sorts all.
func Percentile[T cmp.Ordered](all []T, percent int) T {
	slices.Sort(all)
	return all[(len(all)-1)*percent/100]
}

// Parallel calls f with 0 to n-1 from so many goroutines, and returns how long
// each call took and how long it took altogether. An error ends the benchmark.
func Parallel(tb testing.TB, goroutines, n int, f func(i int) error) (each []time.Duration, all time.Duration) {
	tb.Helper()
	each = make([]time.Duration, n)
	var next atomic.Int64
	var wg sync.WaitGroup
	began := time.Now()
	for range goroutines {
		wg.Go(func() {
			for i := int(next.Add(1)) - 1; i < n; i = int(next.Add(1)) - 1 {
				at := time.Now()
				if err := f(i); err != nil {
					tb.Error(err)
					return
				}
				each[i] = time.Since(at)
			}
		})
	}
	wg.Wait()
	all = time.Since(began)
	if tb.Failed() {
		tb.FailNow()
	}
	return each, all
}

// PerSecond turns n in d into a rate.
func PerSecond(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }

// BareJob is the job of BareSQLite.
type BareJob struct {
	Subject string `json:"subject"`
}

// Kind implements river.JobArgs.
func (BareJob) Kind() string { return "bare" }

// InsertDelivery inserts one delivery, with $1 id and key and $2 body.
const InsertDelivery = `INSERT INTO deliveries (id, connector, dedupe, body, received) VALUES ($1, 'c', $1, $2, 0)`

// BareSQLite returns the least that can accept a delivery: its row and River's
// InsertTx, in a transaction of its own. The file is one that the store has
// made and closed.
func BareSQLite(b *testing.B, file string) func(id string, body []byte) error {
	b.Helper()
	db, err := sql.Open("sqlite", "file:"+file+"?_pragma=journal_mode(WAL)&_pragma=synchronous(FULL)&_pragma=busy_timeout(5000)&_txlock=immediate")
	if err != nil {
		b.Fatal(err)
	}
	db.SetMaxOpenConns(1)
	b.Cleanup(func() { _ = db.Close() })
	client, err := river.NewClient(riversqlite.New(db), &river.Config{})
	if err != nil {
		b.Fatal(err)
	}
	return func(id string, body []byte) error {
		ctx := context.Background()
		tx, err := db.BeginTx(ctx, nil)
		if err != nil {
			return err
		}
		defer func() { _ = tx.Rollback() }()
		if _, err := tx.ExecContext(ctx, InsertDelivery, id, body); err != nil {
			return err
		}
		if _, err := client.InsertTx(ctx, tx, BareJob{id}, nil); err != nil {
			return err
		}
		return tx.Commit()
	}
}
