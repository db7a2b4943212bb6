package work

import (
	"errors"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store/jobs"
)

func TestTheLastAttemptOfAJobFailsForGood(t *testing.T) {
	t.Parallel()
	failed := errors.New("the service answered 500")
	for name, c := range map[string]struct {
		job  jobs.Job
		err  error
		want bool
	}{
		"an attempt failed":         {jobs.Job{Attempt: 1}, failed, false},
		"the last attempt failed":   {jobs.Job{Attempt: 725, Last: true}, failed, true},
		"it can never work":         {jobs.Job{Attempt: 1}, jobs.Cancel(failed), true},
		"the service asked to wait": {jobs.Job{Attempt: 725, Last: true}, jobs.Snooze(failed, time.Minute), false},
	} {
		if got := failedForGood(c.job, c.err); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}
