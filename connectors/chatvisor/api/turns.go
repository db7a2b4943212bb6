package api

import (
	"slices"
	"sync"
	"time"
)

const (
	// gap is the time between two requests. The vendor documents no rate limit; two
	// requests a second should be below any limit.
	gap = time.Second / 2

	// PersonWait is how long a request may wait for its turn if a person waits for the
	// answer, and BackgroundWait if no person does. BackgroundWait is shorter, so that
	// there is always a turn left for people.
	PersonWait     = 5 * time.Second
	BackgroundWait = time.Second
	// SweepWait is the same for lists, which are read one page at a time.
	SweepWait = time.Minute

	// maxReturnDelay limits how long after the next free turn a postponed request is made
	// again. maxReturns limits how many such times are stored.
	maxReturnDelay = time.Minute
	maxReturns     = 1024
)

// turns limit the rate of all requests of a process to one API, and pause them while the
// service asks for that.
type turns struct {
	mu          sync.Mutex
	next        time.Time            // the first free turn
	pausedUntil time.Time            // no request is made before
	lastReturn  time.Time            // the latest time in returns
	returns     map[string]time.Time // when a postponed request may be made again, by path and query
}

// A postponedError says that a request was not made, and after which time to try again.
type postponedError struct {
	wait   time.Duration
	paused bool
}

func (e *postponedError) Error() string {
	if e.paused {
		return "request not made: Chatvisor asked for a pause"
	}
	return "request postponed, to make at most two a second"
}

// reserve reserves the next turn and returns the time until then, or a postponedError if
// that is longer than maxWait.
func (t *turns) reserve(request string, maxWait time.Duration) (time.Duration, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	turn := latest(now, t.next, t.pausedUntil)
	if turn.Sub(now) > maxWait {
		return 0, t.postpone(request, now, turn)
	}
	t.next = turn.Add(gap)
	return turn.Sub(now), nil
}

// confirm returns an error if the service asked for a pause since the turn was reserved.
func (t *turns) confirm(request string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); t.pausedUntil.After(now) {
		return t.postpone(request, now, t.pausedUntil)
	}
	return nil
}

// pauseFor lets no request be made for the given time.
func (t *turns) pauseFor(wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.pausedUntil = latest(t.pausedUntil, time.Now().Add(wait))
}

// postpone returns an error with the time after which to try again. Postponed requests
// come back one after the other: if all came at once, most would be postponed again.
// Equal requests come back together, since they share the answer.
func (t *turns) postpone(request string, now, turn time.Time) error {
	back := t.returns[request]
	if !back.After(now) || back.Before(t.pausedUntil) {
		back = latest(turn, t.lastReturn.Add(gap))
		if bound := turn.Add(maxReturnDelay); back.After(bound) {
			back = bound
		}
		if t.returns == nil || len(t.returns) >= maxReturns {
			t.returns = map[string]time.Time{}
		}
		t.lastReturn, t.returns[request] = back, back
	}
	return &postponedError{wait: back.Sub(now), paused: t.pausedUntil.After(now)}
}

func latest(all ...time.Time) time.Time { return slices.MaxFunc(all, time.Time.Compare) }
