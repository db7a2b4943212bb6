package store

import (
	"bufio"
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store/jobs"
)

const patience = 3 * time.Minute

// work runs Work until stop is called, which waits for its end.
func work(t *testing.T, s *Store, h jobs.Handler) (stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() {
		ended <- s.Work(ctx, map[string]jobs.Queue{"default": {Workers: 10}, "slack-emea": {Workers: 2}}, h, nil)
	}()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := receive(t, ended, "Work to end"); err != nil {
			t.Errorf("Work = %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func receive[T any](t *testing.T, c <-chan T, what string) (v T) {
	t.Helper()
	select {
	case v = <-c:
	case <-time.After(patience):
		t.Errorf("timed out waiting for %s", what)
	}
	return v
}

func jobState(t *testing.T, s *Store, id int64) (state string) {
	t.Helper()
	if err := s.engine.QueryRow(t.Context(), `SELECT state FROM river_job WHERE id = $1`, id).Scan(&state); err != nil {
		t.Fatal(err)
	}
	return state
}

func TestAJobStartsWithItsStoredFields(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		// Jobs can be inserted before Work runs.
		if err := s.Commit(ctx, Change{Jobs: []jobs.Job{{Kind: "show", Subject: "card", Step: 3, Queue: "slack-emea"}}}); err != nil {
			t.Fatal(err)
		}
		started := make(chan jobs.Job, 10)
		stop := work(t, s, func(_ context.Context, j jobs.Job) error { started <- j; return nil })
		shown := receive(t, started, "the waiting job")
		if shown.Kind != "show" || shown.Subject != "card" || shown.Step != 3 || shown.Queue != "slack-emea" || shown.Attempt != 1 || shown.ID == 0 {
			t.Errorf("job = %+v", shown)
		}
		begun := time.Now()
		if _, err := s.StoreDelivery(ctx, Delivery{Connector: "c", Key: "k"}, jobs.Job{Kind: "read"}); err != nil {
			t.Fatal(err)
		}
		read := receive(t, started, "the delivery's job")
		t.Logf("%v from StoreDelivery to its job", time.Since(begun))
		if read.Kind != "read" || read.Subject != onlyDelivery(t, s) || read.Queue != "default" {
			t.Errorf("job = %+v", read)
		}

		at := time.Now().Add(1500 * time.Millisecond)
		if err := s.Commit(ctx, Change{Jobs: []jobs.Job{{Kind: "later", At: at}, {Kind: "past", At: at.Add(-time.Hour)}, {Kind: "tomorrow", At: at.Add(24 * time.Hour)}}}); err != nil {
			t.Fatal(err)
		}
		if past := receive(t, started, "the overdue job"); past.Kind != "past" {
			t.Errorf("job = %+v", past)
		}
		if later := receive(t, started, "the scheduled job"); later.Kind != "later" || time.Now().Before(at.Add(-10*time.Millisecond)) {
			t.Errorf("job = %+v, %v early", later, time.Until(at))
		}
		stop()
		if state := jobState(t, s, shown.ID); state != "completed" {
			t.Errorf("the job that ended is %s", state)
		}
		if n := number(t, s, `SELECT count(*) FROM river_job WHERE state = 'scheduled'`); n != 1 {
			t.Errorf("%d jobs scheduled for tomorrow", n)
		}
	})
}

// Cards that are ready to show do not wait for the deliveries of a burst.
func TestJobsForWhichSomebodyWaitsGoFirst(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		var all []jobs.Job
		for i := range 30 {
			all = append(all, jobs.Job{Kind: "answer", Subject: fmt.Sprint(i)})
		}
		for i := range 30 {
			all = append(all, jobs.Job{Kind: "show", Subject: fmt.Sprint(i), Priority: jobs.Soon})
		}
		if err := s.Commit(ctx, Change{Jobs: all}); err != nil {
			t.Fatal(err)
		}
		started, end := make(chan string, len(all)), make(chan struct{})
		ctx, cancel := context.WithCancel(ctx)
		go func() {
			defer close(end)
			_ = s.Work(ctx, map[string]jobs.Queue{"default": {Workers: 1}}, func(_ context.Context, j jobs.Job) error {
				started <- j.Kind
				return nil
			}, nil)
		}()
		var order []string
		for range all {
			order = append(order, receive(t, started, "the next job"))
		}
		cancel()
		<-end
		if got := strings.Join(slices.Compact(order), " "); got != "show answer" {
			t.Errorf("the jobs ran as %s", got)
		}
	})
}

func TestTheErrorOfAJobDecidesWhetherItRunsAgain(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		err := s.Commit(ctx, Change{Jobs: []jobs.Job{{Kind: "snooze"}, {Kind: "fail"}, {Kind: "panic"}, {Kind: "cancel"}}})
		if err != nil {
			t.Fatal(err)
		}
		second, cancelled := make(chan jobs.Job, 10), make(chan jobs.Job, 10)
		ran := make(map[string]bool)
		guard := make(chan struct{}, 1)
		stop := work(t, s, func(_ context.Context, j jobs.Job) error {
			if j.Kind == "cancel" {
				cancelled <- j
				return fmt.Errorf("wrapped: %w", jobs.Cancel(errors.New("never again")))
			}
			guard <- struct{}{}
			again := ran[j.Kind]
			ran[j.Kind] = true
			<-guard
			if again {
				second <- j
				return nil
			}
			switch j.Kind {
			case "snooze":
				return fmt.Errorf("wrapped: %w", jobs.Snooze(errors.New("busy"), 50*time.Millisecond))
			case "panic":
				panic("what is only in memory")
			}
			return errors.New("for now")
		})
		attempts := make(map[string]int)
		for range 3 {
			j := receive(t, second, "a second attempt")
			attempts[j.Kind] = j.Attempt
		}
		if attempts["snooze"] != 1 || attempts["fail"] != 2 || attempts["panic"] != 2 {
			t.Errorf("attempts = %v", attempts)
		}
		id := receive(t, cancelled, "the job to cancel").ID
		stop()
		if state := jobState(t, s, id); state != "cancelled" || len(cancelled) > 0 {
			t.Errorf("the job is %s and ran %d more times", state, len(cancelled))
		}
		errorsOf := `SELECT CAST(errors AS TEXT) FROM river_job WHERE state = 'completed' AND errors IS NOT NULL`
		rows, err := s.engine.Query(ctx, errorsOf)
		if err != nil {
			t.Fatal(err)
		}
		defer rows.Close()
		for rows.Next() {
			var text string
			if err := rows.Scan(&text); err != nil {
				t.Fatal(err)
			}
			if strings.Contains(text, "only in memory") {
				t.Errorf("the value of a panic is stored: %s", text)
			}
		}
	})
}

func TestWorkLetsRunningJobsFinish(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		if _, err := s.StoreDelivery(t.Context(), Delivery{Connector: "c", Key: "k"}, jobs.Job{Kind: "read"}); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		started, finish := make(chan jobs.Job, 1), make(chan struct{})
		ended := make(chan error, 1)
		go func() {
			ended <- s.Work(ctx, map[string]jobs.Queue{"default": {Workers: 1}}, func(ctx context.Context, j jobs.Job) error {
				started <- j
				<-finish
				return ctx.Err()
			}, nil)
		}()
		j := receive(t, started, "the job")
		cancel()
		select {
		case <-ended:
			t.Error("Work ended before its job")
		default:
		}
		close(finish)
		if err := receive(t, ended, "Work to end"); err != nil {
			t.Error(err)
		}
		if state := jobState(t, s, j.ID); state != "completed" {
			t.Errorf("the job is %s", state)
		}
	})
}

func TestWorkRefusesAnInvalidQueueName(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		if err := s.Work(t.Context(), map[string]jobs.Queue{"Not A Queue": {Workers: 1}}, nil, nil); err == nil {
			t.Error("no error")
		}
	})
}

func TestSQLiteRestartsJobsAfterACrash(t *testing.T) {
	t.Parallel()
	address := newDatabase(t, "sqlite")
	s := openAt(t, address, Options{})
	if _, err := s.StoreDelivery(t.Context(), Delivery{Connector: "c", Key: "k"}, jobs.Job{Kind: "read"}); err != nil {
		t.Fatal(err)
	}
	exec(t, s, `UPDATE river_job SET state = 'running', attempt = 1, attempted_at = CURRENT_TIMESTAMP`)
	exec(t, s, `INSERT INTO river_leader (elected_at, expires_at, leader_id) VALUES (CURRENT_TIMESTAMP, '2099-01-01', 'crashed')`)
	s.Close()

	s = openAt(t, address, Options{})
	started := make(chan jobs.Job, 1)
	work(t, s, func(_ context.Context, j jobs.Job) error { started <- j; return nil })
	if j := receive(t, started, "the job"); j.Kind != "read" || j.Attempt != 2 {
		t.Errorf("job = %+v", j)
	}
	if n := number(t, s, `SELECT count(*) FROM river_leader WHERE leader_id = 'crashed'`); n != 0 {
		t.Error("the crashed leader still leads")
	}
}

func TestJobsStartOnceALockIsReleased(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "bridge.db")
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	other, err := db.Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	read, write := io.Pipe()
	defer write.Close()
	go func() { // releases the lock when the log says that the jobs did not start
		for lines := bufio.NewScanner(read); lines.Scan(); {
			if strings.Contains(lines.Text(), "jobs not started") {
				_, _ = other.ExecContext(t.Context(), `ROLLBACK`)
			}
		}
	}()
	s := openAt(t, "sqlite:"+file, Options{Log: slog.New(slog.NewTextHandler(write, nil))})
	if err := s.Commit(t.Context(), Change{Jobs: []jobs.Job{{Kind: "k"}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := other.ExecContext(t.Context(), `BEGIN IMMEDIATE`); err != nil {
		t.Fatal(err)
	}
	runJobs(t, s, 1, func(context.Context, jobs.Job) error { return nil })
}
