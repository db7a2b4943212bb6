package work

import (
	"context"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/requestid"
	"cobrowse-bridge/bridge/store/jobs"
)

const (
	// queuesCheckedEvery is how often watchQueues looks at the queues.
	queuesCheckedEvery = 30 * time.Second
	// tooLate is how long a job may be due before its queue fails. The alert BridgeWorkWaits uses the
	// same limit.
	tooLate = time.Minute
)

// watchQueues notes until ctx ends which queues have jobs that are due and do not start. Such jobs fail
// neither themselves nor appear in the log: all workers may wait for a service, or there is too little
// processor time.
func (work *Worker) watchQueues(ctx context.Context, queues []string) {
	late := map[string]bool{}
	for first := true; ; first = false {
		select {
		case <-ctx.Done():
			return
		case <-time.After(queuesCheckedEvery):
		}
		ctx := requestid.With(ctx, requestid.New())
		for _, queue := range queues {
			n, oldest, err := work.store.Figures().Waiting(ctx, queue)
			if err != nil {
				if ctx.Err() == nil {
					work.log.WarnContext(ctx, "queue not checked", "queue", queue, "err", err)
				}
				continue
			}
			wait := time.Duration(0)
			if !oldest.IsZero() {
				wait = time.Since(oldest).Round(time.Second)
			}
			before := late[queue]
			if late[queue] = wait > tooLate; late[queue] {
				err = fmt.Errorf("%d jobs are due and have not started, the oldest for %s: a service may answer too slowly, or the bridge has too little processor time", n, wait)
			}
			if late[queue] && !before {
				work.log.WarnContext(ctx, "jobs do not start", "queue", queue, "jobs", n, "wait", wait.String(), "effect", "cards appear late or not at all")
			}
			if !first && !before && !late[queue] {
				continue
			}
			work.store.Jobs().NoteResult(ctx, jobs.Failure{Queue: queue, Kind: book.WorkQueue, Next: time.Now().Add(queuesCheckedEvery)}, err)
		}
	}
}
