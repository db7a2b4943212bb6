package upscope

import (
	"net/http"
	"sync"
	"time"
)

// A clock converts times between the service's clock and that of this machine. It learns the difference from the
// Date header of answers (RFC 9110, section 6.6.1), so that a wrong clock of this machine neither makes a fresh watch
// link expire nor hides sessions.
type clock struct {
	mu    sync.Mutex
	ahead time.Duration // how far the service's clock is ahead of ours
	last  string        // the latest Date; a second answer in the same second tells nothing new
}

// note learns from the answer to a request that was sent and answered at these times. Date has whole seconds and
// the request took some time, so only a range of differences is known. While the present difference is in that
// range, it stays, and so converted times do not jump.
func (c *clock) note(h http.Header, sent, received time.Time) {
	text := h.Get("Date")
	if text == "" || h.Get("Age") != "" || !c.isNew(text) { // Age: a cache answered, and Date is from earlier
		return
	}
	date, err := http.ParseTime(text)
	if err != nil {
		return
	}
	least, most := date.Sub(received.Round(0)), date.Add(time.Second).Sub(sent.Round(0))
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case least <= c.ahead && c.ahead <= most:
	case least <= 0 && 0 <= most:
		c.ahead = 0
	default:
		c.ahead = least + (most-least)/2
	}
}

// isNew reports whether the latest Date was another one.
func (c *clock) isNew(date string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.last == date {
		return false
	}
	c.last = date
	return true
}

func (c *clock) difference() time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.ahead
}

// ours converts a time of the service to this machine's clock. The zero time stays zero.
func (c *clock) ours(t time.Time) time.Time { return shifted(t, -c.difference()) }

// theirs converts a time of this machine to the service's clock. The zero time stays zero.
func (c *clock) theirs(t time.Time) time.Time { return shifted(t, c.difference()) }

func shifted(t time.Time, by time.Duration) time.Time {
	if t.IsZero() || by == 0 {
		return t
	}
	return t.Add(by)
}

func (c *clock) convertVisitor(v *Visitor) {
	v.LastSeenAt, v.AddedAt = c.ours(v.LastSeenAt), c.ours(v.AddedAt)
	c.convertSessions(v.Sessions)
}

func (c *clock) convertSessions(all []Session) {
	for i := range all {
		s := &all[i]
		s.StartedAt, s.EndedAt = c.ours(s.StartedAt), c.ours(s.EndedAt)
		for j := range s.WebhookLogs {
			l := &s.WebhookLogs[j]
			l.CreatedAt, l.UpdatedAt, l.WillRetryAt = c.ours(l.CreatedAt), c.ours(l.UpdatedAt), c.ours(l.WillRetryAt)
		}
	}
}

// ClockAhead returns how far this machine's clock is ahead of the service's, by the latest successful answer. It is
// negative if the clock is behind, and zero if the difference is less than the time of a request. known is false, and
// the difference zero, before the first successful answer that has a Date. The client converts every time in answers
// and in SessionQuery by the difference, so callers see this machine's time only.
func (c *Client) ClockAhead() (ahead time.Duration, known bool) {
	c.wire.clock.mu.Lock()
	defer c.wire.clock.mu.Unlock()
	return -c.wire.clock.ahead, c.wire.clock.last != ""
}
