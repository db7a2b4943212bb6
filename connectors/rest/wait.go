package rest

import (
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"
)

// Limits of the pause after a service answered 429.
const (
	// MinWait is the shortest pause.
	MinWait = time.Second
	// MaxWait is the longest pause for services whose limits are per minute.
	MaxWait = 2 * time.Minute
	// DefaultWait is the pause after a 429 that does not say how long to wait.
	DefaultWait = 30 * time.Second
)

// RetryAfter reads the Retry-After header of an answer: seconds, or a date (RFC 9110,
// section 10.2.3). A date is compared with the Date of the same answer, since the service's
// clock may differ from ours, or else with now. The wait is at least MinWait and at most most.
// If the header is missing or cannot be read, ok is false and the wait is DefaultWait.
func RetryAfter(h http.Header, now time.Time, most time.Duration) (wait time.Duration, ok bool) {
	value := strings.TrimSpace(h.Get("Retry-After"))
	seconds, err := strconv.ParseInt(value, 10, 64)
	switch {
	case errors.Is(err, strconv.ErrRange) || err == nil && seconds > int64(most/time.Second):
		return most, true
	case err == nil:
		return BoundWait(time.Duration(max(seconds, 0))*time.Second, most), true
	}
	if at, err := http.ParseTime(value); err == nil {
		if theirs, err := http.ParseTime(h.Get("Date")); err == nil {
			now = theirs
		}
		return BoundWait(at.Sub(now), most), true
	}
	return DefaultWait, false
}

// BoundWait returns wait, but at least MinWait and at most most.
func BoundWait(wait, most time.Duration) time.Duration { return min(max(wait, MinWait), most) }
