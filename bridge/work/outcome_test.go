package work

import (
	"errors"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store"
)

func TestTheLastAttemptOfAJobFailsForGood(t *testing.T) {
	t.Parallel()
	failed := errors.New("the service answered 500")
	for name, c := range map[string]struct {
		job  store.Job
		err  error
		want bool
	}{
		"an attempt failed":         {store.Job{Attempt: 1}, failed, false},
		"the last attempt failed":   {store.Job{Attempt: 725, Last: true}, failed, true},
		"it can never work":         {store.Job{Attempt: 1}, store.Cancel(failed), true},
		"the service asked to wait": {store.Job{Attempt: 725, Last: true}, store.Snooze(failed, time.Minute), false},
	} {
		if got := failedForGood(c.job, c.err); got != c.want {
			t.Errorf("%s: %t, want %t", name, got, c.want)
		}
	}
}
