package bridge

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	gocache "github.com/patrickmn/go-cache"

	"cobrowse-bridge/bridge/benchtest"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/upscope"
)

// The benchmarks compare the bridge with a floor in the same run; run them with
// -benchtime 5x or so, for an iteration is a round of both. What is per CPU
// second is measured at a bridge in another process.

// perRound is how many requests of each kind make a round.
const perRound = 2000

func BenchmarkP1UpstreamPartOfAClick(b *testing.B) {
	s := startServer(b)
	floor := func() float64 {
		return s.load(2*perRound, http.StatusOK, func(i int) *http.Request {
			return post(fmt.Sprintf("%s/v1.3/visitors/V%d/watch_url", s.Floor, i), mintBody)
		})
	}
	subject := func() float64 {
		return s.load(2*perRound, http.StatusSeeOther, func(i int) *http.Request {
			return post(fmt.Sprintf("%s/mint/V%d", s.Floor, i), mintBody)
		})
	}
	benchtest.Rates(b, "P1", floor, subject)
}

func BenchmarkP2WholeClick(b *testing.B) {
	s := startServer(b)
	floor := func() float64 {
		return s.load(perRound, http.StatusSeeOther, func(i int) *http.Request {
			return post(fmt.Sprintf("%s/twice/V%d", s.Floor, i), "")
		})
	}
	subject := func() float64 {
		doors := s.doorways(perRound)
		return s.load(perRound, http.StatusSeeOther, func(i int) *http.Request { return doors[i].press(s.Bridge) })
	}
	benchtest.Rates(b, "P2", floor, subject)
}

// BenchmarkP3AddedLatency presses 200 times a second, one press at a time, and
// calls the floor just after each. One flush of the disk is taken off: it is the
// disk's.
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
		doors := s.doorways(200)
		pace := time.NewTicker(time.Second / 200)
		for _, d := range doors {
			<-pace.C
			whole = append(whole, timed(d.press(s.Bridge)))
			bare = append(bare, timed(post(s.Floor+"/twice/"+d.Visitor, "")))
			flushes = append(flushes, flush(b, s.dir))
		}
		pace.Stop()
	}
	once := benchtest.Percentile(flushes, 50)
	for _, percent := range []int{50, 99} {
		floor, added := benchtest.Percentile(bare, percent), benchtest.Percentile(whole, percent)-benchtest.Percentile(bare, percent)
		b.ReportMetric(float64(floor.Microseconds())/1000, fmt.Sprintf("P3-p%d/floor", percent))
		b.ReportMetric(float64((added-once).Microseconds())/1000, fmt.Sprintf("P3-p%d", percent))
	}
	b.ReportMetric(float64(once.Microseconds())/1000, "P3/flush")
	b.ReportMetric(0, "ns/op")
}

// flush measures what it costs to bring 4 KiB to the disk.
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
	doors := s.doorways(100)
	floor := func() float64 {
		return s.load(2*perRound, http.StatusOK, func(int) *http.Request { return newRequest(http.MethodGet, s.Floor+"/page", nil) })
	}
	subject := func() float64 {
		return s.load(2*perRound, http.StatusOK, func(i int) *http.Request { return doors[i%len(doors)].look(s.Bridge) })
	}
	benchtest.Rates(b, "P4", floor, subject)
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
	floor := func() float64 {
		round++
		_, all := benchtest.Parallel(b, parallel, perRound/2, func(i int) error { return bare(fmt.Sprint(round, "-", i), body) })
		return benchtest.PerSecond(perRound/2, all)
	}
	subject := func() float64 {
		round++
		return s.wall(2*perRound, http.StatusOK, func(i int) *http.Request { return delivery(s.Bridge, fmt.Sprint(round, "-", i)) })
	}
	benchtest.Rates(b, "P5", floor, subject)
}

func BenchmarkP9Refusal(b *testing.B) {
	b.Run("Forged", func(b *testing.B) {
		s := startServer(b)
		forged := func(address string) func() float64 {
			return func() float64 {
				return s.load(2*perRound, http.StatusUnauthorized, func(i int) *http.Request {
					r := delivery(address, fmt.Sprint(i))
					r.Header.Set("X-Signature", sign(nil))
					return r
				})
			}
		}
		subject := forged(s.Bridge)
		floor := func() float64 {
			return s.load(2*perRound, http.StatusUnauthorized, func(i int) *http.Request {
				r := delivery(s.Floor, fmt.Sprint(i))
				r.URL.Path = "/forged"
				return r
			})
		}
		benchtest.Rates(b, "P9-forged", floor, subject)
	})
	b.Run("Unknown", func(b *testing.B) {
		s := startServer(b)
		floor := func() float64 {
			return s.load(2*perRound, http.StatusNotFound, func(int) *http.Request { return newRequest(http.MethodGet, s.Floor+"/unknown", nil) })
		}
		subject := func() float64 {
			return s.load(2*perRound, http.StatusNotFound, func(int) *http.Request { return unknown(s.Bridge) })
		}
		benchtest.Rates(b, "P9-unknown", floor, subject)
	})
}

func BenchmarkP11Find(b *testing.B) {
	const entries = 100_000
	forever := func(upscope.Visitor) time.Duration { return time.Hour }
	f := &finder{visitors: newCache(entries, forever)}
	bare := gocache.New(time.Hour, 0)
	ids := make([]string, entries)
	for i := range ids {
		ids[i] = fmt.Sprintf("V%09d", i)
		f.visitors.put(ids[i], upscope.Visitor{ShortID: ids[i]})
		bare.SetDefault(ids[i], upscope.Visitor{ShortID: ids[i]})
	}
	each := func(get func(id string) bool) func() time.Duration {
		return func() time.Duration {
			began := time.Now()
			for i := range entries {
				if !get(ids[i*7919%entries]) { // in no order that the memory is in
					b.Fatal("an entry is gone")
				}
			}
			return time.Since(began) / entries
		}
	}
	floor := each(func(id string) bool { _, ok := bare.Get(id); return ok })
	b.Run("Visitor", func(b *testing.B) {
		benchtest.Costs(b, "P11", floor, each(func(id string) bool {
			v, err := f.visitor(context.Background(), id)
			return err == nil && v.ShortID == id
		}))
	})
	b.Run("Match", func(b *testing.B) {
		benchtest.Costs(b, "P11-match", floor, each(func(id string) bool {
			m, err := f.find(context.Background(), Clues{ShortID: id})
			return err == nil && m.Sure
		}))
	})
}

func BenchmarkP14RedactedLogLine(b *testing.B) {
	r := Redact(io.Discard)
	for i := range 12 {
		r.Hide(fmt.Sprintf("secret-%d-0123456789abcdef", i))
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
