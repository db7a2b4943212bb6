package work

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"
)

// A listedSession is a session in a list like Upscope's: its start and its end are in the list late.
type listedSession struct {
	began, ended        time.Time
	seenBegan, seenOver bool
}

// Polls make at most four calls a minute, and one more for every ten sessions, whatever the rate of
// sessions. They find every session.
func TestPollsOfSessionsCostWhatBegins(t *testing.T) {
	const (
		pageSize = 50
		length   = 90 * time.Second // of a session
		late     = 3 * time.Second  // the list has a change so much later
	)
	for _, perMinute := range []int{0, 1, 6, 60, 300, 600} {
		t.Run(fmt.Sprint(perMinute, " a minute"), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				s := newSessionPolls()
				var all []*listedSession
				calls := 0
				poll := func() {
					began := time.Now()
					since, long := s.begin()
					shown, pollCalls := 0, 0
					for i, l := range all {
						inList := func(at time.Time) bool { return !at.Add(late).After(began) }
						updated := l.began
						if inList(l.ended) {
							updated = l.ended
						}
						if !inList(l.began) || updated.Before(since) {
							continue
						}
						shown++
						if !l.seenBegan {
							l.seenBegan = true
							s.countNew()
						}
						if inList(l.ended) {
							l.seenOver = true
							s.endFound(fmt.Sprint(i), fmt.Sprint(i))
						}
					}
					for range shown/pageSize + 1 {
						calls++
						pollCalls++
						s.called()
					}
					s.succeeded(began, long, pollCalls)
				}
				const minutes = 30
				next, latest := start, time.Duration(0)
				for step := range minutes * 60 {
					now := time.Now()
					if perMinute > 0 && step < (minutes-4)*60 {
						for range perMinute/60 + min(1, max(0, perMinute%60*(step+1)/60-perMinute%60*step/60)) {
							all = append(all, &listedSession{began: now, ended: now.Add(length)})
						}
					}
					for i, l := range all {
						if l.ended.Equal(now) {
							s.lookForEnd(fmt.Sprint(i), fmt.Sprint(i), now) // Upscope calls
							if at := now.Add(s.pause(true)); at.Before(next) {
								next = at
							}
						}
					}
					if !now.Before(next) {
						if !s.last.IsZero() {
							latest = max(latest, now.Sub(s.last))
						}
						poll()
						next = now.Add(s.pause(false))
					}
					time.Sleep(time.Second)
				}
				if limit := minutes*callsPerMinute + len(all)/sessionsPerCall + savedCalls; calls > limit {
					t.Errorf("%d calls in %d minutes for %d sessions, want at most %d", calls, minutes, len(all), limit)
				}
				for _, l := range all {
					if !l.seenBegan || !l.seenOver {
						t.Fatalf("a session of %v was not found", l.began.Sub(start))
					}
				}
				if latest > pollAtLeast+time.Second {
					t.Errorf("a pause of %v between polls", latest)
				}
				t.Logf("%d calls for %d sessions; at most %v between polls", calls, len(all), latest)
			})
		})
	}
}

// A call of Upscope about an end that the list has two minutes later, or never, makes polls go back to it,
// as long as a list can be late.
func TestPollsGoBackToAnEndThatTheListHasLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSessionPolls()
		poll := func() time.Time {
			began := time.Now()
			since, long := s.begin()
			s.succeeded(began, long, 1)
			return since
		}
		poll()
		time.Sleep(time.Minute)
		ended := time.Now()
		s.lookForEnd("card", "session", ended)
		s.lookForEnd("card 2", "", ended)
		time.Sleep(2 * time.Minute)
		if since := poll(); since.After(ended) {
			t.Errorf("a poll after two minutes begins %v after the end", since.Sub(ended))
		}
		s.endFound("card", "other session")
		s.endFound("card 2", "session 2")
		if len(s.missing) != 1 {
			t.Errorf("%d ends are looked for, want 1", len(s.missing))
		}
		time.Sleep(lateness)
		poll()
		if len(s.missing) != 0 {
			t.Error("an end is looked for after the list cannot be late any more")
		}
	})
}
