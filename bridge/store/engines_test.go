package store

import (
	"bytes"
	"context"
	"crypto/rand"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/jackc/pgx/v5"
	"go.uber.org/goleak"

	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/testmain"
)

func TestMain(m *testing.M) {
	if address := os.Getenv("BRIDGE_TEST_SECOND_PROCESS"); address != "" {
		secondProcess(address)
	}
	testmain.Setup(2)
	goleak.VerifyTestMain(m)
}

var (
	secretA = bytes.Repeat([]byte{0xa1}, 32)
	secretB = bytes.Repeat([]byte{0xb2}, 32)
)

// onEachEngine runs f with an empty SQLite file and, if BRIDGE_TEST_POSTGRES names a server,
// with an empty PostgreSQL database. open opens the store.
func onEachEngine(t *testing.T, f func(t *testing.T, open func(o Options) *Store)) {
	t.Parallel()
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			address := newDatabase(t, name)
			f(t, func(o Options) *Store { return openAt(t, address, o) })
		})
	}
}

func newDatabase(t testing.TB, name string) (address string) {
	if name == "sqlite" {
		return "sqlite:" + filepath.Join(t.TempDir(), "bridge.db")
	}
	server := os.Getenv("BRIDGE_TEST_POSTGRES")
	if server == "" {
		t.Skip("BRIDGE_TEST_POSTGRES does not name a PostgreSQL server")
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("BRIDGE_TEST_POSTGRES is not a URL")
	}
	ctx := context.Background()
	admin := func(query string) {
		conn, err := pgx.Connect(ctx, server)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, query); err != nil {
			t.Fatal(err)
		}
	}
	u.Path = "/bridge_test_" + strings.ToLower(rand.Text())
	admin("CREATE DATABASE " + u.Path[1:])
	t.Cleanup(func() { admin("DROP DATABASE " + u.Path[1:] + " WITH (FORCE)") })
	return u.String()
}

func openAt(t testing.TB, address string, o Options) *Store {
	t.Helper()
	if o.Secret == nil {
		o.Secret = secretA
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s, err := Open(t.Context(), address, o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.Close() })
	s.committer.Patient = true // the machine may be busy; the tests of limits have a clock of their own
	return s
}

// exec runs a statement that is not one of the store's.
func exec(t testing.TB, s *Store, query string, args ...any) {
	t.Helper()
	err := s.engine.Write(t.Context(), engine.Locks{All: true}, func(ctx context.Context, tx engine.Tx) error {
		_, err := tx.Exec(ctx, query, args...)
		return err
	})
	if err != nil {
		t.Fatalf("%s: %v", query, err)
	}
}

func number(t testing.TB, s *Store, query string, args ...any) (n int64) {
	t.Helper()
	if err := s.engine.QueryRow(t.Context(), query, args...).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// gated is an engine that counts transactions, and holds each one until gate is closed.
type gated struct {
	engine.Engine
	writes  int
	gate    chan struct{}
	waiting chan struct{} // gets a value when a write arrives
}

// gate makes the store's engine gated.
func gate(s *Store) *gated {
	g := &gated{Engine: s.engine, gate: make(chan struct{}), waiting: make(chan struct{}, 1000)}
	s.engine = g
	return g
}

func (g *gated) Write(ctx context.Context, locks engine.Locks, f func(context.Context, engine.Tx) error) error {
	g.waiting <- struct{}{}
	<-g.gate
	g.writes++
	return g.Engine.Write(ctx, locks, f)
}

// together runs the functions so that they share one commit, and returns their
// errors.
func together(t *testing.T, s *Store, g *gated, fs ...func() error) []error {
	t.Helper()
	errs := make([]error, len(fs))
	var wg sync.WaitGroup
	// The first write keeps the committer busy while the others queue.
	wg.Go(func() {
		if err := s.Forget(t.Context(), "nobody"); err != nil {
			t.Error(err)
		}
	})
	<-g.waiting
	for i, f := range fs {
		wg.Go(func() { errs[i] = f() })
		for s.committer.Waiting() <= i {
			runtime.Gosched()
		}
	}
	close(g.gate)
	wg.Wait()
	return errs
}
