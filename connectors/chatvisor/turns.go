package chatvisor

import (
	"slices"
	"sync"
	"time"
)

const (
	// gap is what lies between two requests. The vendor documents no limit, so the
	// pace, two a second, is one that no limit should be below.
	gap = time.Second / 2

	// maxPrompt is how long a request may wait for its turn if a person waits for the
	// answer, and maxPause if nobody does. It is so much less that there is always a
	// turn for people: they go first.
	maxPrompt = 5 * time.Second
	maxPause  = time.Second
	// maxPatience is for the sweep, which makes one request at a time.
	maxPatience = time.Minute

	// maxAway bounds how long after the next free turn somebody comes back who was put
	// off, and maxAwayNames of how many it is known when.
	maxAway      = time.Minute
	maxAwayNames = 1024
)

// turns keep all requests of a process to one pace, and away from a service that
// wants to be left alone.
type turns struct {
	mu   sync.Mutex
	next time.Time            // the first turn that is free
	shut time.Time            // until when the service wants to be left alone
	last time.Time            // when the last of those who were put off comes back
	away map[string]time.Time // when each of them does, by what they ask for
}

// A turnError puts a request off.
type turnError struct {
	wait time.Duration
	shut bool
}

func (e *turnError) Error() string {
	if e.shut {
		return "not asked, since Chatvisor said to leave it alone for a while"
	}
	return "put off, to ask no more than twice a second"
}

// take gives the time until a turn, which is the caller's from now on, or a
// turnError if that is longer than most.
func (t *turns) take(what string, most time.Duration) (time.Duration, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	now := time.Now()
	turn := latest(now, t.next, t.shut)
	if turn.Sub(now) > most {
		return 0, t.putOff(what, now, turn)
	}
	t.next = turn.Add(gap)
	return turn.Sub(now), nil
}

// stands says whether a turn that has come may be used.
func (t *turns) stands(what string) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if now := time.Now(); t.shut.After(now) {
		return t.putOff(what, now, t.shut)
	}
	return nil
}

// leaveAlone gives nobody a turn for so long.
func (t *turns) leaveAlone(wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.shut = latest(t.shut, time.Now().Add(wait))
}

// putOff has those who are put off come back one by one, as turns become free: all at
// once, most would come in vain each time. Only those who ask for the same come
// together, since they share the answer.
func (t *turns) putOff(what string, now, turn time.Time) error {
	back := t.away[what]
	if !back.After(now) || back.Before(t.shut) {
		back = latest(turn, t.last.Add(gap))
		if bound := turn.Add(maxAway); back.After(bound) {
			back = bound
		}
		if t.away == nil || len(t.away) >= maxAwayNames {
			t.away = map[string]time.Time{}
		}
		t.last, t.away[what] = back, back
	}
	return &turnError{wait: back.Sub(now), shut: t.shut.After(now)}
}

func latest(all ...time.Time) time.Time { return slices.MaxFunc(all, time.Time.Compare) }
