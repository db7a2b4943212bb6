package store

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/group"
	"cobrowse-bridge/bridge/store/jobs"
)

// inBubble runs f with a store on SQLite and a fake clock.
func inBubble(t *testing.T, f func(t *testing.T, s *Store)) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		s := openAt(t, "sqlite:"+filepath.Join(t.TempDir(), "bridge.db"), Options{})
		s.committer.Patient = false
		f(t, s)
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

func deliverNow(s *Store, key string) error {
	_, err := s.StoreDelivery(context.Background(), Delivery{Connector: "c", Key: key}, jobs.Job{Kind: "k"})
	return err
}

func TestAWriteGivesUpWhileTheDatabaseHangs(t *testing.T) {
	inBubble(t, func(t *testing.T, s *Store) {
		g := gate(s)
		first := make(chan error)
		go func() { first <- deliverNow(s, "running") }()
		<-g.waiting // its transaction waits for the database
		began := time.Now()
		for range 3 { // senders come one after the other, and none waits for the one before
			go func() { first <- deliverNow(s, "queued") }()
		}
		for range 4 {
			if err := <-first; !errors.Is(err, group.ErrBusy) || time.Since(began) > group.Wait {
				t.Errorf("a delivery ended after %v with %v, want ErrBusy after %v", time.Since(began), err, group.Wait)
			}
		}
		began = time.Now()
		if err := s.Ready(t.Context()); err == nil || time.Since(began) > 0 {
			t.Errorf("Ready returned %v after %v, want an error at once", err, time.Since(began))
		}
		synctest.Wait() // until the deadline has ended the transaction as well
		close(g.gate)
		synctest.Wait()
		if n := number(t, s, `SELECT count(*) FROM deliveries`); n != 0 {
			t.Errorf("%d deliveries were stored after their senders had given up", n)
		}
		if err := s.Ready(t.Context()); err != nil {
			t.Errorf("the database answers again, and Ready returns %v", err)
		}
	})
}

func TestWorkForWhichNobodyWaitsIsPatient(t *testing.T) {
	inBubble(t, func(t *testing.T, s *Store) {
		g := gate(s)
		ended := make(chan error)
		go func() { ended <- s.Commit(Patient(t.Context()), Change{Audit: []audit.Entry{{Action: "a"}}}) }()
		<-g.waiting
		time.Sleep(group.Wait + time.Second)
		close(g.gate)
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}

func TestTheFirstProbeOfADatabaseThatHangsEndsSoon(t *testing.T) {
	inBubble(t, func(t *testing.T, s *Store) {
		g := gate(s)
		defer close(g.gate)
		began := time.Now()
		if err := s.Ready(t.Context()); err == nil || time.Since(began) > probeWait {
			t.Errorf("Ready returned %v after %v", err, time.Since(began))
		}
	})
}

// flaky is an engine that fails some transactions.
type flaky struct {
	engine.Engine
	fail func(n int) error // n counts transactions from 0
	n    int
}

func (f *flaky) Write(ctx context.Context, locks engine.Locks, do func(context.Context, engine.Tx) error) error {
	err := f.fail(f.n)
	if f.n++; err != nil {
		return err
	}
	return f.Engine.Write(ctx, locks, do)
}

func TestAStoreThatFailsOftenIsNotReady(t *testing.T) {
	lost := fmt.Errorf("%w: prepared statement already exists", engine.ErrFailed)
	for name, test := range map[string]struct {
		fails func(n int) bool
		err   error
		ready bool
	}{
		"12 of 20 fail":                    {func(n int) bool { return n%5 < 3 }, lost, false},
		"every fourth fails":               {func(n int) bool { return n%4 == 0 }, lost, false},
		"an outage is over":                {func(n int) bool { return n < 16 }, lost, true},
		"one of 20 fails":                  {func(n int) bool { return n == 7 }, lost, true},
		"many have values it cannot store": {func(n int) bool { return n%2 == 0 }, errors.New("a bad value"), true},
	} {
		t.Run(name, func(t *testing.T) {
			inBubble(t, func(t *testing.T, s *Store) {
				s.engine = &flaky{Engine: s.engine, fail: func(n int) error {
					if n < 20 && test.fails(n) {
						return test.err
					}
					return nil
				}}
				for i := range 20 {
					_ = deliverNow(s, fmt.Sprint(i))
				}
				err := s.Ready(t.Context())
				if (err == nil) != test.ready {
					t.Errorf("Ready returned %v", err)
				}
				if err != nil && !errors.Is(err, test.err) {
					t.Errorf("Ready returned %v, which does not name the cause", err)
				}
				time.Sleep(30 * time.Second) // longer ago, failures do not count
				if err := s.Ready(t.Context()); err != nil {
					t.Errorf("the failures are long ago, and Ready returns %v", err)
				}
			})
		})
	}
}

func TestALockOnDeliveriesIsNoticedByReady(t *testing.T) {
	t.Parallel()
	s := openAt(t, newDatabase(t, "postgres"), Options{})
	locked, release := make(chan struct{}), make(chan struct{})
	ended := make(chan error)
	go func() {
		ended <- s.engine.Write(t.Context(), engine.Locks{All: true}, func(ctx context.Context, tx engine.Tx) error {
			_, err := tx.Exec(ctx, `LOCK TABLE deliveries`)
			close(locked)
			<-release
			return err
		})
	}()
	<-locked
	if err := s.Ready(t.Context()); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Ready returned %v while another session has locked the deliveries", err)
	}
	close(release)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if err := deliverNow(s, "k"); err != nil {
		t.Error(err)
	}
}
