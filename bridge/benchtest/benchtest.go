// Package benchtest compares a measurement with a baseline, a measurement of the simplest code for
// the same work. Both are measured in the same run, so that their ratio does not depend on the
// machine. The command in table prints the ratios with their goals.
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

// Rates compares two rates. Each iteration of the benchmark measures both, in alternating
// order. It reports the medians of the baseline's rate (as id/baseline), of the subject's rate (as
// id/rate), and of subject ÷ baseline (as id).
func Rates(b *testing.B, id string, baseline, subject func() float64) {
	b.Helper()
	rounds(b, id, "/rate", baseline, subject, func(baseline, subject float64) float64 { return subject / baseline })
}

// Costs compares two durations as Rates compares two rates. The ratio is subject ÷ baseline, so
// less is better.
func Costs(b *testing.B, id string, baseline, subject func() time.Duration) {
	b.Helper()
	seconds := func(f func() time.Duration) func() float64 { return func() float64 { return f().Seconds() * 1e6 } }
	rounds(b, id, "/µs", seconds(baseline), seconds(subject), func(baseline, subject float64) float64 { return subject / baseline })
}

func rounds(b *testing.B, id, unit string, baseline, subject func() float64, ratio func(baseline, subject float64) float64) {
	b.Helper()
	var baselines, subjects, ratios []float64
	for odd := false; b.Loop(); odd = !odd {
		var f, s float64
		if odd {
			s, f = subject(), baseline()
		} else {
			f, s = baseline(), subject()
		}
		baselines, subjects, ratios = append(baselines, f), append(subjects, s), append(ratios, ratio(f, s))
	}
	b.ReportMetric(Percentile(baselines, 50), id+"/baseline")
	b.ReportMetric(Percentile(subjects, 50), id+unit)
	b.ReportMetric(Percentile(ratios, 50), id)
	b.ReportMetric(0, "ns/op") // do not report it: the duration of an iteration has no meaning
}

// Percentile returns the value that is not exceeded by the given percentage of all. It sorts all.
func Percentile[T cmp.Ordered](all []T, percent int) T {
	slices.Sort(all)
	return all[(len(all)-1)*percent/100]
}

// Parallel calls f with 0 to n-1 from several goroutines, and returns the duration of each call
// and of all of them. An error ends the benchmark.
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

// PerSecond returns the rate of n events in d.
func PerSecond(n int, d time.Duration) float64 { return float64(n) / d.Seconds() }

// BareJob is the job of BareSQLite.
type BareJob struct {
	Subject string `json:"subject"`
}

// Kind implements river.JobArgs.
func (BareJob) Kind() string { return "bare" }

// InsertDelivery inserts one delivery, with $1 id and key and $2 body.
const InsertDelivery = `INSERT INTO deliveries (id, connector, dedupe, body, received) VALUES ($1, 'c', $1, $2, 0)`

// BareSQLite returns a function that stores a delivery with the least work: its row and River's
// InsertTx in one transaction. The file must be a database that the store has created and closed.
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
