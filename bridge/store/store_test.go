package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	osexec "os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/jobs"
)

func TestADeliveryIsKeptUntilItIsFinished(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		ctx := t.Context()
		received := time.Date(2026, 3, 4, 5, 6, 7, 8000, time.UTC)
		fresh, err := s.StoreDelivery(ctx, Delivery{Connector: "slack-emea", Key: "k", Body: []byte("hello"), Received: received}, jobs.Job{Kind: "read"})
		if err != nil || !fresh {
			t.Fatalf("StoreDelivery = %v, %v", fresh, err)
		}
		id := onlyDelivery(t, s)
		d, err := s.Delivery(ctx, id)
		if err != nil || d.Connector != "slack-emea" || d.Key != "k" || string(d.Body) != "hello" || !d.Received.Equal(received) || d.ID != id {
			t.Fatalf("Delivery = %+v, %v", d, err)
		}

		if fresh, err := s.StoreDelivery(ctx, Delivery{Connector: "slack-emea", Key: "k", Body: []byte("again")}, jobs.Job{Kind: "read"}); fresh || err != nil {
			t.Errorf("a repeat: %v, %v", fresh, err)
		}
		if fresh, err := s.StoreDelivery(ctx, Delivery{Connector: "slack-apac", Key: "k"}, jobs.Job{Kind: "read"}); !fresh || err != nil {
			t.Errorf("the same key of another connector: %v, %v", fresh, err)
		}
		if n := number(t, s, `SELECT count(*) FROM river_job`); n != 2 {
			t.Errorf("%d jobs for two fresh deliveries", n)
		}

		if err := s.Commit(ctx, Change{Finish: id}); err != nil {
			t.Fatal(err)
		}
		if _, err := s.Delivery(ctx, id); !errors.Is(err, ErrNotFound) {
			t.Errorf("a finished delivery: %v", err)
		}
		if n := number(t, s, `SELECT count(*) FROM deliveries WHERE body IS NULL`); n != 1 {
			t.Errorf("%d bodies removed", n)
		}
		if err := s.Purge(ctx, time.Now(), Retention{Keys: time.Hour, Failed: time.Hour}); err != nil {
			t.Fatal(err)
		}
		if fresh, _ := s.StoreDelivery(ctx, Delivery{Connector: "slack-emea", Key: "k"}, jobs.Job{Kind: "read"}); fresh {
			t.Error("a repeat of a finished delivery was fresh")
		}
		if err := s.Purge(ctx, time.Now().Add(2*time.Hour), Retention{Keys: time.Hour, Failed: time.Hour}); err != nil {
			t.Fatal(err)
		}
		if fresh, _ := s.StoreDelivery(ctx, Delivery{Connector: "slack-emea", Key: "k"}, jobs.Job{Kind: "read"}); !fresh {
			t.Error("a purged key still counts as a repeat")
		}
		if n := number(t, s, `SELECT count(*) FROM deliveries`); n != 1 {
			t.Errorf("%d deliveries are left; the unfinished one must be purged too", n)
		}
		if _, err := s.Delivery(ctx, "unknown"); !errors.Is(err, ErrNotFound) {
			t.Errorf("an unknown delivery: %v", err)
		}
	})
}

func onlyDelivery(t *testing.T, s *Store) (id string) {
	t.Helper()
	if err := s.engine.QueryRow(t.Context(), `SELECT id FROM deliveries`).Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}

func TestTenCopiesAtOnceAreOneDelivery(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		var fresh atomic.Int64
		var wg sync.WaitGroup
		for i := range 5000 {
			wg.Go(func() {
				ok, err := s.StoreDelivery(Patient(t.Context()), Delivery{Connector: "c", Key: fmt.Sprint(i % 500), Body: []byte("body")}, jobs.Job{Kind: "read"})
				if err != nil {
					t.Error(err)
				}
				if ok {
					fresh.Add(1)
				}
			})
		}
		wg.Wait()
		rows, inserted := number(t, s, `SELECT count(*) FROM deliveries`), number(t, s, `SELECT count(*) FROM river_job`)
		if fresh.Load() != 500 || rows != 500 || inserted != 500 {
			t.Errorf("%d fresh, %d rows, %d jobs; want 500 of each", fresh.Load(), rows, inserted)
		}
	})
}

func TestADeliveryNeedsAtMostOneTransaction(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		g := gate(s)
		close(g.gate)
		for i := range 10 {
			if _, err := s.StoreDelivery(t.Context(), Delivery{Connector: "c", Key: fmt.Sprint(i)}, jobs.Job{Kind: "read"}); err != nil {
				t.Fatal(err)
			}
		}
		if g.writes != 10 {
			t.Errorf("%d transactions for 10 deliveries in sequence", g.writes)
		}
		s.engine = g.Engine
		g = gate(s)
		var writes []func() error
		for i := range 100 {
			writes = append(writes, func() error {
				_, err := s.StoreDelivery(t.Context(), Delivery{Connector: "d", Key: fmt.Sprint(i)}, jobs.Job{Kind: "read"})
				return err
			})
		}
		for _, err := range together(t, s, g, writes...) {
			if err != nil {
				t.Error(err)
			}
		}
		if g.writes > 2 {
			t.Errorf("%d transactions for 100 simultaneous deliveries", g.writes)
		}
	})
}

func TestABadWriteDoesNotFailTheOthersInItsCommit(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		ctx := t.Context()
		one, two := Card{ID: "1", Connector: "c", Chat: "1", HandleHash: [32]byte{1}}, Card{ID: "2", Connector: "c", Chat: "2", HandleHash: [32]byte{2}}
		for _, c := range []*Card{&one, &two} {
			if err := s.Commit(ctx, Change{Card: c}); err != nil {
				t.Fatal(err)
			}
		}
		stale, sameHandle := one, two
		stale.Version, stale.State = 7, "stale"
		sameHandle.HandleHash = one.HandleHash
		entry := func(action string) []audit.Entry { return []audit.Entry{{Action: action}} }
		deliver := func(key, queue string) func() error {
			return func() error {
				_, err := s.StoreDelivery(ctx, Delivery{Connector: "c", Key: key}, jobs.Job{Kind: "read", Queue: queue})
				return err
			}
		}
		change := func(c Change) func() error { return func() error { return s.Commit(ctx, c) } }

		g := gate(s)
		errs := together(t, s, g,
			deliver("good 1", ""),
			change(Change{Card: &stale, Audit: entry("stale"), Jobs: []jobs.Job{{Kind: "stale"}}}),
			change(Change{Card: &one, Audit: entry("good 2")}),
		)
		if errs[0] != nil || !errors.Is(errs[1], ErrConflict) || errs[2] != nil {
			t.Errorf("with one conflict: %v", errs)
		}
		if g.writes > 2 {
			t.Errorf("a conflict caused %d transactions", g.writes)
		}

		s.engine = g.Engine
		errs = together(t, s, gate(s),
			deliver("good 3", ""),
			deliver("bad", "No Such Queue!"),
			change(Change{Card: &sameHandle, Audit: entry("bad")}),
			change(Change{Audit: entry("good 4"), Jobs: []jobs.Job{{Kind: "good 4"}}}),
			deliver("good 5", "connector-1"),
		)
		if errs[0] != nil || errs[3] != nil || errs[4] != nil {
			t.Errorf("good writes with bad ones: %v", errs)
		}
		if errs[1] == nil || errs[2] == nil {
			t.Errorf("bad writes succeeded: %v", errs)
		}
		if n := number(t, s, `SELECT count(*) FROM deliveries WHERE dedupe LIKE 'good%'`); n != 3 {
			t.Errorf("%d good deliveries, want 3", n)
		}
		if n := number(t, s, `SELECT count(*) FROM deliveries`); n != 3 {
			t.Errorf("%d deliveries, want 3", n)
		}
		if n := number(t, s, `SELECT count(*) FROM river_job`); n != 4 {
			t.Errorf("%d jobs, want 4", n)
		}
		if h, _ := s.AuditLog().Head(ctx); h.Seq != 2 {
			t.Errorf("%d audit entries, want 2", h.Seq)
		}
		if c, _ := s.Card(ctx, "1"); c.Version != 2 || c.State == "stale" {
			t.Errorf("card 1 = %+v", c)
		}
	})
}

func TestACancelledWriteIsNotTried(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.StoreDelivery(ctx, Delivery{Connector: "c", Key: "k"}, jobs.Job{Kind: "read"}); !errors.Is(err, context.Canceled) {
			t.Errorf("StoreDelivery = %v", err)
		}
	})
}

func TestAClosedStoreRefuses(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		if err := s.Ready(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := s.Close(); err != nil {
			t.Fatal(err)
		}
		if _, err := s.StoreDelivery(t.Context(), Delivery{Connector: "c", Key: "k"}, jobs.Job{Kind: "read"}); err == nil {
			t.Error("a closed store stored a delivery")
		}
	})
}

func TestADatabaseOfANewerReleaseIsRefused(t *testing.T) {
	t.Parallel()
	for _, name := range []string{"sqlite", "postgres"} {
		t.Run(name, func(t *testing.T) {
			address := newDatabase(t, name)
			s := openAt(t, address, Options{})
			exec(t, s, `INSERT INTO goose_db_version (version_id, is_applied) VALUES (99999, TRUE)`)
			s.Close()
			_, err := Open(t.Context(), address, Options{Secret: secretA})
			if err == nil || !strings.Contains(err.Error(), "newer release") {
				t.Errorf("Open = %v", err)
			}
		})
	}
}

func TestNoErrorContainsThePasswordOfTheAddress(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"postgres://bridge:s3cret-word@127.0.0.1:1/none?connect_timeout=2",
		"postgres://bridge:s3cret-word@[broken/none",
		"postgres://bridge:s3cret-word@127.0.0.1/none?sslmode=s3cret-word",
		"postgres://bridge:%zz-s3cret-word@127.0.0.1/none",
		"postgres://bridge:s3cret-word/s3cret-word@127.0.0.1/none",
		"postgres://bridge@127.0.0.1/none?password=s3cret-word&sslrootcert=/s3cret-word&sslmode=verify-full",
		"postgres://bridge@127.0.0.1/none?sslcert=/s3cret-word&sslkey=/s3cret-word&sslmode=require&sslpassword=s3cret-word",
		"postgres://127.0.0.1/none?service=s3cret-word",
		"postgres:host=127.0.0.1 port=1 password=s3cret-word",
		"sqlite:/s3cret-word/bridge.db",
		"postgres://bridge:s3cret-word@127.0.0.1:notaport/none",
		"mysql://bridge:s3cret-word@127.0.0.1/none",
		"s3cret-word",
		"",
	} {
		s, err := Open(t.Context(), address, Options{Secret: secretA})
		if err == nil {
			s.Close()
			t.Errorf("%s opened", address)
		} else if strings.Contains(err.Error(), "s3cret-word") {
			t.Errorf("the error contains the password: %v", err)
		}
		if _, err := CheckAddress(address); err != nil && strings.Contains(err.Error(), "s3cret-word") {
			t.Errorf("the fault contains the password: %v", err)
		}
	}
}

func TestASecretOfTheWrongLengthIsRefused(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{{}, {Secret: secretA[:31]}, {Secret: secretA, OldSecret: []byte{}}} {
		if s, err := Open(t.Context(), newDatabase(t, "sqlite"), o); err == nil {
			s.Close()
			t.Errorf("opened with %d and %d bytes", len(o.Secret), len(o.OldSecret))
		}
	}
}

// secondProcess runs in the test's program when it is started as the second process.
func secondProcess(address string) {
	_, err := Open(context.Background(), address, Options{Secret: secretA})
	fmt.Println(errors.Is(err, ErrInUse), err)
	os.Exit(0)
}

func TestSQLiteRefusesASecondProcess(t *testing.T) {
	t.Parallel()
	address := newDatabase(t, "sqlite")
	s := openAt(t, address, Options{})
	cmd := osexec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), "BRIDGE_TEST_SECOND_PROCESS="+address)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	second := string(out)
	if !strings.HasPrefix(second, "true ") || !strings.Contains(second, "postgres://") {
		t.Errorf("the second process printed: %s", second)
	}
	if used, err := InUse(address); !used || err != nil {
		t.Errorf("InUse while the file is open: %v, %v", used, err)
	}
	s.Close()
	if used, err := InUse(address); used || err != nil {
		t.Errorf("InUse after it was closed: %v, %v", used, err)
	}
	openAt(t, address, Options{}).Close()
}

func TestSQLiteSyncsEveryCommitAndKeepsItsFilesPrivate(t *testing.T) {
	t.Parallel()
	address := newDatabase(t, "sqlite")
	s := openAt(t, address, Options{})
	err := s.engine.Write(t.Context(), engine.Locks{All: true}, func(ctx context.Context, tx engine.Tx) error {
		var synchronous, timeout int
		if err := tx.QueryRow(ctx, "PRAGMA synchronous").Scan(&synchronous); err != nil || synchronous != 2 {
			t.Errorf("synchronous = %d, %v", synchronous, err)
		}
		if err := tx.QueryRow(ctx, "PRAGMA busy_timeout").Scan(&timeout); err != nil || timeout == 0 {
			t.Errorf("busy_timeout = %d, %v", timeout, err)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	path := strings.TrimPrefix(address, "sqlite:")
	for _, file := range []string{path, path + "-wal", path + "-shm", path + ".lock"} {
		info, err := os.Stat(file)
		if err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", filepath.Base(file), info.Mode(), err)
		}
	}
	if _, err := s.engine.Query(t.Context(), "DELETE FROM cards"); err == nil {
		t.Error("a reader can write")
	}
}

func TestAFileThatIsNotADatabaseIsRefusedWithARemedy(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "bridge.db")
	if err := os.WriteFile(path, []byte(strings.Repeat("not a database ", 1000)), 0o600); err != nil {
		t.Fatal(err)
	}
	_, err := Open(t.Context(), "sqlite:"+path, Options{Secret: secretA})
	if err == nil || !strings.Contains(err.Error(), "backup") {
		t.Errorf("Open = %v", err)
	}
}

func TestWritesFailWhileTheDiskIsFull(t *testing.T) {
	t.Parallel()
	s := openAt(t, newDatabase(t, "sqlite"), Options{})
	pages := number(t, s, "PRAGMA page_count")
	exec(t, s, fmt.Sprintf("PRAGMA max_page_count = %d", pages+40))

	body := []byte(strings.Repeat("x", 4000))
	var stored, refused atomic.Int64
	for round := range 20 {
		var wg sync.WaitGroup
		for i := range 16 {
			wg.Go(func() {
				_, err := s.StoreDelivery(t.Context(), Delivery{Connector: "c", Key: fmt.Sprint(round, i), Body: body}, jobs.Job{Kind: "read"})
				if err == nil {
					stored.Add(1)
				} else {
					refused.Add(1)
				}
			})
		}
		wg.Wait()
	}
	if stored.Load() == 0 || refused.Load() == 0 {
		t.Errorf("%d stored, %d refused", stored.Load(), refused.Load())
	}
	if n := number(t, s, `SELECT count(*) FROM deliveries`); n != stored.Load() {
		t.Errorf("%d stored, but %d rows", stored.Load(), n)
	}
	if n := number(t, s, `SELECT count(*) FROM river_job`); n != stored.Load() {
		t.Errorf("%d stored, but %d jobs", stored.Load(), n)
	}
	if s.Ready(t.Context()) == nil {
		t.Error("ready without space")
	}

	exec(t, s, fmt.Sprintf("PRAGMA max_page_count = %d", pages+4000))
	if err := s.Ready(t.Context()); err != nil {
		t.Errorf("not ready again: %v", err)
	}
	if fresh, err := s.StoreDelivery(t.Context(), Delivery{Connector: "c", Key: "later", Body: body}, jobs.Job{Kind: "read"}); !fresh || err != nil {
		t.Errorf("after there is space again: %v, %v", fresh, err)
	}
}
