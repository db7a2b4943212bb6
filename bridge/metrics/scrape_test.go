package metrics

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

func tlsState(expiry []time.Time) *tls.ConnectionState {
	var s tls.ConnectionState
	for _, at := range expiry {
		s.PeerCertificates = append(s.PeerCertificates, &x509.Certificate{NotAfter: at})
	}
	return &s
}

// works sends one gauge.
func works(_ context.Context, send Send) error {
	send(DatabaseSize, 4096)
	return nil
}

func TestAScrapeWithoutTheDatabaseHasTheOtherMetricsWithinASecond(t *testing.T) {
	for name, broken := range map[string]Part{
		"fails": func(_ context.Context, send Send) error {
			send(Sessions, 3)
			return errors.New("database is down")
		},
		"waits": func(ctx context.Context, _ Send) error {
			<-ctx.Done()
			return ctx.Err()
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log bytes.Buffer
				m := New(testConfig())
				m.AddParts(slog.New(slog.NewTextHandler(&log, nil)), works, broken)
				began := time.Now()
				for range 3 {
					got := scrape(t, m)
					wantLines(t, got, "bridge_scrape_failed 1", "bridge_database_size_bytes 4096", "bridge_spoofed_identities_total 0")
					if strings.Contains(got, "bridge_agent_sessions ") {
						t.Error("a part that failed has samples")
					}
				}
				if took := time.Since(began); took > 3*scrapeTimeout {
					t.Errorf("three scrapes took %v", took)
				}
				if n := strings.Count(log.String(), "metrics not read"); n != 1 {
					t.Errorf("logged %d times:\n%s", n, &log)
				}
			})
		})
	}
}

// TestADriverThatIgnoresTheTimeLimitDelaysNoScrape also checks that only one reading runs at a time.
func TestADriverThatIgnoresTheTimeLimitDelaysNoScrape(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		m := New(testConfig())
		goOn := make(chan struct{})
		var readings atomic.Int32
		m.AddParts(slog.New(slog.NewTextHandler(&log, nil)), func(_ context.Context, send Send) error {
			readings.Add(1)
			<-goOn
			return works(t.Context(), send)
		})
		began := time.Now()
		for range 3 {
			wantLines(t, scrape(t, m), "bridge_scrape_failed 1", "bridge_spoofed_identities_total 0")
		}
		if took := time.Since(began); took != 3*scrapeTimeout || readings.Load() != 1 {
			t.Errorf("three scrapes took %v, and started %d readings", took, readings.Load())
		}
		close(goOn)
		synctest.Wait()
		wantLines(t, scrape(t, m), "bridge_scrape_failed 0", "bridge_database_size_bytes 4096")
		if readings.Load() != 2 {
			t.Errorf("%d readings", readings.Load())
		}
	})
}

func TestScrapesAtTheSameTimeShareOneReading(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := New(testConfig())
		readings := 0
		m.AddParts(slog.New(slog.DiscardHandler), func(ctx context.Context, send Send) error {
			readings++
			time.Sleep(100 * time.Millisecond)
			return works(ctx, send)
		})
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { wantLines(t, scrape(t, m), "bridge_scrape_failed 0", "bridge_database_size_bytes 4096") })
		}
		all.Wait()
		if readings != 1 {
			t.Errorf("ten scrapes started %d readings", readings)
		}
	})
}
