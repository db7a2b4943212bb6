package bridge

import (
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/benchtest"
	"cobrowse-bridge/bridge/store"
)

// Each benchmark compares the bridge with a baseline: a minimal program that does the same
// work. An iteration measures both, so run them with -benchtime 5x or so. Rates per CPU
// second are measured on a bridge in another process.

// perRound is how many requests of each kind make a round.
const perRound = 2000

func BenchmarkP1UpstreamPartOfAClick(b *testing.B) {
	s := startServer(b)
	baseline := func() float64 {
		return s.cpuRate(2*perRound, http.StatusOK, func(i int) *http.Request {
			return post(fmt.Sprintf("%s/v1.3/visitors/V%d/watch_url", s.Baseline, i), mintBody)
		})
	}
	subject := func() float64 {
		return s.cpuRate(2*perRound, http.StatusSeeOther, func(i int) *http.Request {
			return post(fmt.Sprintf("%s/mint/V%d", s.Baseline, i), mintBody)
		})
	}
	benchtest.Rates(b, "P1", baseline, subject)
}

func BenchmarkP2WholeClick(b *testing.B) {
	s := startServer(b)
	baseline := func() float64 {
		return s.cpuRate(perRound, http.StatusSeeOther, func(i int) *http.Request {
			return post(fmt.Sprintf("%s/twice/V%d", s.Baseline, i), "")
		})
	}
	subject := func() float64 {
		doors := s.makeDoors(perRound)
		return s.cpuRate(perRound, http.StatusSeeOther, func(i int) *http.Request { return doors[i].press(s.Bridge) })
	}
	benchtest.Rates(b, "P2", baseline, subject)
}

// BenchmarkP3AddedLatency presses 200 times a second, one press at a time, and calls
// the baseline right after each. It subtracts the time of one flush to the disk, which
// depends on the disk alone.
func BenchmarkP3AddedLatency(b *testing.B) {
	s := startServer(b)
	var bare, whole, flushes []time.Duration
	timed := func(r *http.Request) time.Duration {
		began := time.Now()
		if _, err := s.do(r, http.StatusSeeOther); err != nil {
			b.Fatal(err)
		}
		return time.Since(began)
	}
	for b.Loop() {
		doors := s.makeDoors(200)
		pace := time.NewTicker(time.Second / 200)
		for _, d := range doors {
			<-pace.C
			whole = append(whole, timed(d.press(s.Bridge)))
			bare = append(bare, timed(post(s.Baseline+"/twice/"+d.Visitor, "")))
			flushes = append(flushes, flush(b, s.dir))
		}
		pace.Stop()
	}
	once := benchtest.Percentile(flushes, 50)
	for _, percent := range []int{50, 99} {
		baseline, added := benchtest.Percentile(bare, percent), benchtest.Percentile(whole, percent)-benchtest.Percentile(bare, percent)
		b.ReportMetric(float64(baseline.Microseconds())/1000, fmt.Sprintf("P3-p%d/baseline", percent))
		b.ReportMetric(float64((added-once).Microseconds())/1000, fmt.Sprintf("P3-p%d", percent))
	}
	b.ReportMetric(float64(once.Microseconds())/1000, "P3/flush")
	b.ReportMetric(0, "ns/op")
}

// flush returns how long it takes to write 4 KiB to the disk.
func flush(b *testing.B, dir string) time.Duration {
	b.Helper()
	f, err := os.OpenFile(filepath.Join(dir, "flush"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		b.Fatal(err)
	}
	defer func() { _ = f.Close() }()
	began := time.Now()
	if _, err := f.Write(make([]byte, 4096)); err != nil {
		b.Fatal(err)
	}
	if err := f.Sync(); err != nil {
		b.Fatal(err)
	}
	return time.Since(began)
}

func BenchmarkP4DoorPage(b *testing.B) {
	s := startServer(b)
	doors := s.makeDoors(100)
	baseline := func() float64 {
		return s.cpuRate(2*perRound, http.StatusOK, func(int) *http.Request { return newRequest(http.MethodGet, s.Baseline+"/page", nil) })
	}
	subject := func() float64 {
		return s.cpuRate(2*perRound, http.StatusOK, func(i int) *http.Request { return doors[i%len(doors)].look(s.Bridge) })
	}
	benchtest.Rates(b, "P4", baseline, subject)
}

func BenchmarkP5Delivery(b *testing.B) {
	s := startServer(b)
	file := filepath.Join(b.TempDir(), "bare.db")
	db, err := store.Open(b.Context(), "sqlite:"+file, store.Options{Secret: make([]byte, 32)})
	if err != nil {
		b.Fatal(err)
	}
	if err := db.Close(); err != nil {
		b.Fatal(err)
	}
	bare, body, round := benchtest.BareSQLite(b, file), []byte(strings.Repeat("hello ", 170)), 0
	baseline := func() float64 {
		round++
		_, all := benchtest.Parallel(b, parallel, perRound/2, func(i int) error { return bare(fmt.Sprint(round, "-", i), body) })
		return benchtest.PerSecond(perRound/2, all)
	}
	subject := func() float64 {
		round++
		return s.wallRate(2*perRound, http.StatusOK, func(i int) *http.Request { return delivery(s.Bridge, fmt.Sprint(round, "-", i)) })
	}
	benchtest.Rates(b, "P5", baseline, subject)
}

func BenchmarkP9Refusal(b *testing.B) {
	b.Run("Forged", func(b *testing.B) {
		s := startServer(b)
		forged := func(address string) func() float64 {
			return func() float64 {
				return s.cpuRate(2*perRound, http.StatusUnauthorized, func(i int) *http.Request {
					r := delivery(address, fmt.Sprint(i))
					r.Header.Set("X-Signature", sign(nil))
					return r
				})
			}
		}
		subject := forged(s.Bridge)
		baseline := func() float64 {
			return s.cpuRate(2*perRound, http.StatusUnauthorized, func(i int) *http.Request {
				r := delivery(s.Baseline, fmt.Sprint(i))
				r.URL.Path = "/forged"
				return r
			})
		}
		benchtest.Rates(b, "P9-forged", baseline, subject)
	})
	b.Run("Unknown", func(b *testing.B) {
		s := startServer(b)
		baseline := func() float64 {
			return s.cpuRate(2*perRound, http.StatusNotFound, func(int) *http.Request { return newRequest(http.MethodGet, s.Baseline+"/unknown", nil) })
		}
		subject := func() float64 {
			return s.cpuRate(2*perRound, http.StatusNotFound, func(int) *http.Request { return unknownDoor(s.Bridge) })
		}
		benchtest.Rates(b, "P9-unknown", baseline, subject)
	})
}

func BenchmarkP14RedactedLogLine(b *testing.B) {
	r := NewRedactor(io.Discard)
	for i := range 12 {
		r.AddSecrets(fmt.Sprintf("secret-%d-0123456789abcdef", i))
	}
	each := func(w io.Writer) func() time.Duration {
		log := slog.New(slog.NewJSONHandler(w, nil))
		return func() time.Duration {
			const lines = 20_000
			began := time.Now()
			for range lines {
				log.Info("request", "method", "POST", "route", "/w/{handle}", "status", 303, "ms", 12)
			}
			return time.Since(began) / lines
		}
	}
	benchtest.Costs(b, "P14", each(io.Discard), each(r))
}
