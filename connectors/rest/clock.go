package rest

import (
	"log/slog"
	"net/http"
	"sync"
	"time"
)

// ClockTolerance is how much the clocks of this machine and of a service may differ before an
// operator is told.
const ClockTolerance = 30 * time.Second

// A Clock knows how far this machine's clock is ahead of a service's, from the Date header of
// its answers (RFC 9110, section 6.6.1). The zero value knows no difference.
type Clock struct {
	mu    sync.Mutex
	ahead time.Duration
	known bool
}

// Note learns from the answer to a request that was sent and answered at these times. Date has
// whole seconds and the request took some time, so only a range of differences is known. The
// present difference stays while it is in that range.
func (c *Clock) Note(h http.Header, sent, received time.Time) {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil || h.Get("Age") != "" { // Age: a cache answered, and Date is from earlier
		return
	}
	least, most := sent.Round(0).Sub(date.Add(time.Second)), received.Round(0).Sub(date)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known = true
	switch {
	case least <= c.ahead && c.ahead <= most:
	case least <= 0 && 0 <= most:
		c.ahead = 0
	default:
		c.ahead = least + (most-least)/2
	}
}

// Ahead returns how far this machine's clock is ahead, negative if it is behind. ok is false
// before the first answer with a date.
func (c *Clock) Ahead() (ahead time.Duration, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ahead, c.known
}

// Now returns the time by the service's clock.
func (c *Clock) Now() time.Time {
	ahead, _ := c.Ahead()
	return time.Now().Add(-ahead)
}

// reportedEvery is the shortest time between two lines about a clock, for a service whose
// machines differ among themselves.
const reportedEvery = 10 * time.Minute

// A clockLog logs when the difference between the clocks changes, and not with each answer.
type clockLog struct {
	Clock
	service string
	log     *slog.Logger

	mu       sync.Mutex
	reported time.Duration // zero if the clocks agree
	at       time.Time     // of the last line
}

func (l *clockLog) note(h http.Header, sent, received time.Time) {
	l.Note(h, sent, received)
	ahead, _ := l.Ahead()
	l.mu.Lock()
	defer l.mu.Unlock()
	differs := ahead.Abs() > ClockTolerance
	changed := differs && (ahead-l.reported).Abs() > ClockTolerance || !differs && l.reported != 0
	if !changed || !l.at.IsZero() && received.Sub(l.at) < reportedEvery {
		return
	}
	l.at, l.reported = received, 0
	if !differs {
		l.log.Info("clock agrees with the service's again", "service", l.service)
		return
	}
	l.reported = ahead
	l.log.Warn("clock of this machine differs from the service's", "service", l.service, "clock", ClockDifference(ahead)+" the service's",
		"remedy", "set the clock of this machine, for instance with NTP")
}

// ClockDifference says in words how this machine's clock differs from another, such as
// "10m0s ahead of" or "10m0s behind".
func ClockDifference(ahead time.Duration) string {
	way := " ahead of"
	if ahead < 0 {
		way = " behind"
	}
	return ahead.Abs().Round(time.Second).String() + way
}
