package store

import (
	"context"
	"errors"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/store/jobs"
)

// River polls each queue once a second. Jobs that this process stores must start before that.
func TestSQLiteStartsJobsOnTime(t *testing.T) {
	t.Parallel()
	address := "sqlite:" + filepath.Join(t.TempDir(), "bridge.db")
	synctest.Test(t, func(t *testing.T) {
		s := openAt(t, address, Options{})
		type start struct {
			job jobs.Job
			at  time.Time
		}
		starts := make(chan start, 100)
		ran := map[int64]bool{}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() {
			ended <- s.Work(ctx, map[string]jobs.Queue{"default": {Workers: 1}, "other": {Workers: 1}}, func(_ context.Context, j jobs.Job) error {
				starts <- start{j, time.Now()}
				again := ran[j.ID]
				if j.Kind == "snooze" || j.Kind == "fail" {
					ran[j.ID] = true
				}
				switch {
				case again:
					return nil
				case j.Kind == "snooze":
					return jobs.Snooze(errors.New("busy"), 250*time.Millisecond)
				case j.Kind == "fail":
					return errors.New("for now")
				}
				return nil
			}, nil)
		}()
		const slack = 150 * time.Millisecond
		next := func(kind string, after time.Duration, since time.Time) start {
			t.Helper()
			got := <-starts
			if late := got.at.Sub(since) - after; got.job.Kind != kind || late < 0 || late > slack {
				t.Errorf("job %q starts %v late, want %q within %v", got.job.Kind, late, kind, slack)
			}
			return got
		}
		commit := func(all ...jobs.Job) time.Time {
			t.Helper()
			if err := s.Commit(ctx, Change{Jobs: all}); err != nil {
				t.Fatal(err)
			}
			return time.Now()
		}
		<-time.After(10*time.Second + 370*time.Millisecond) // the first polls are over

		for range 5 {
			since := commit(jobs.Job{Kind: "now"})
			next("now", 0, since)
			<-time.After(333 * time.Millisecond)
		}
		since := commit(jobs.Job{Kind: "now", Queue: "other"}, jobs.Job{Kind: "soon", At: time.Now().Add(1700 * time.Millisecond)})
		next("now", 0, since)
		next("soon", 1700*time.Millisecond, since)

		since = commit(jobs.Job{Kind: "scheduled", At: time.Now().Add(17*time.Second + 500*time.Millisecond)})
		next("scheduled", 17*time.Second+500*time.Millisecond, since)

		since = commit(jobs.Job{Kind: "snooze"})
		next("snooze", 0, since)
		next("snooze", 250*time.Millisecond, since)

		since = commit(jobs.Job{Kind: "fail"})
		next("fail", 0, since)
		if second := <-starts; second.at.Sub(since) > 2400*time.Millisecond+slack {
			t.Errorf("a job that failed starts again after %v", second.at.Sub(since))
		} else if second.at.After(second.job.At.Add(slack)) {
			t.Errorf("a job that failed starts %v after it is due", second.at.Sub(second.job.At))
		}

		// The only worker is busy with the first: the second starts when it is done.
		since = commit(jobs.Job{Kind: "now"}, jobs.Job{Kind: "now"})
		next("now", 0, since)
		next("now", 0, since)

		cancel()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
}
