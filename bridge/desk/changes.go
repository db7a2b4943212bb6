package desk

import (
	"context"
	"time"

	"cobrowse-bridge/bridge/store"
)

const (
	// readTimeout is for one read of the database.
	readTimeout = 10 * time.Second
	// lateCommit is how long a missing number may still appear: longer than a write waits for the
	// database (store.Patient).
	lateCommit = 30 * time.Second
	// readBehind is how many numbers below the newest are read at first, because their transactions
	// may not have ended yet.
	readBehind = 500
)

// A changeReader reads each of the store's DeskChanges once, also those of a transaction that began
// earlier and commits later. As long as a number is missing, it reads the later ones again.
type changeReader struct {
	store *store.Store
	begun bool
	after int64               // all changes up to here were read, or do not appear any more
	seen  map[int64]time.Time // when those above after were read first
}

// read returns the changes that it has not returned before.
func (r *changeReader) read(ctx context.Context) (fresh []store.DeskChange, err error) {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	if !r.begun {
		newest, err := r.store.LastDeskChange(ctx)
		if err != nil {
			return nil, err
		}
		r.begun, r.after = true, max(0, newest-readBehind)
	}
	rows, err := r.store.DeskChanges(ctx, r.after)
	if err != nil {
		return nil, err
	}
	return r.sort(rows, time.Now()), nil
}

// sort returns the rows that are new, and moves after on.
func (r *changeReader) sort(rows []store.DeskChange, now time.Time) (fresh []store.DeskChange) {
	seen := make(map[int64]time.Time)
	whole := true // no number below is missing
	for _, c := range rows {
		first, again := r.seen[c.Seq]
		if !again {
			first, fresh = now, append(fresh, c)
		}
		if whole = whole && (c.Seq == r.after+1 || now.Sub(first) > lateCommit); whole {
			r.after = c.Seq
		} else {
			seen[c.Seq] = first
		}
	}
	if len(rows) == store.MaxDeskChanges { // too many to read again
		r.after = rows[len(rows)-1].Seq
		clear(seen)
	}
	r.seen = seen
	return fresh
}
