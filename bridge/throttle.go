package bridge

import (
	"time"

	"golang.org/x/time/rate"
)

// A throttle allows each subject so many acts in a while, in this process; what
// replicas share is in limits. It forgets subjects that have been known for a while,
// and knows so many at most: with more, the newest start afresh each time. Those are
// strangers with an address each, whom a limit by address cannot stop anyway.
type throttle struct {
	limits *cache[*rate.Limiter]
	burst  int
	every  time.Duration
}

func newThrottle(acts int, while time.Duration) *throttle {
	return &throttle{
		limits: newCache(cacheBound, func(*rate.Limiter) time.Duration { return 2 * while }),
		burst:  acts,
		every:  while / time.Duration(acts),
	}
}

// allow counts an act of the subject, and reports whether it may be done.
func (t *throttle) allow(subject string) bool {
	l := t.limits.keep(subject, func() *rate.Limiter {
		return rate.NewLimiter(rate.Every(t.every), t.burst)
	})
	if !l.Allow() {
		return false
	}
	t.limits.put(subject, l) // known for as long as it may still count
	return true
}

// forget has a subject start afresh, whose act did not count after all.
func (t *throttle) forget(subject string) { t.limits.drop(subject) }
