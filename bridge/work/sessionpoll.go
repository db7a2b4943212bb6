package work

import (
	"cmp"
	"context"
	"sync"
	"time"

	"cobrowse-bridge/bridge/requestid"
)

const (
	// pollEvery is how often Upscope's list of sessions is read while a card waits for a report.
	// Upscope's calls cause extra polls, at least pollGap after the call.
	pollEvery = 15 * time.Second
	pollGap   = 2 * time.Second
	// pollAtLeast is the longest pause between polls while the calls that polls may make are used up.
	pollAtLeast = time.Minute

	// A poll goes back pollOverlap before the start of the last one. The list may also be late: then
	// an end of which Upscope told the bridge is not in it, and polls go back to that end, for lateness. For
	// sessions of which nobody told the bridge, a poll goes back lateness before the last such poll: every
	// longPollEvery if there are calls for it, and every longPollAtLeast in any case.
	pollOverlap     = 10 * time.Second
	lateness        = 5 * time.Minute
	longPollEvery   = time.Minute
	longPollAtLeast = 15 * time.Minute

	// Polls may make callsPerMinute calls, and one more for every sessionsPerCall new sessions. At most
	// savedCalls are saved for later. Each page of the list is one call.
	callsPerMinute  = 4
	sessionsPerCall = 10
	savedCalls      = 20
	// mostCallsTooMany bounds for how long polls wait after many calls that could not wait.
	mostCallsTooMany = 200
)

// sessionPolls says when to poll Upscope's list of sessions, and from when.
type sessionPolls struct {
	wake chan struct{}

	mu       sync.Mutex
	last     time.Time          // when the last poll began
	since    time.Time          // from when the next one reads; zero before the first that succeeded
	lastLong time.Time          // when the last long poll began that succeeded
	longCost float64            // its calls
	owed     map[string]owedEnd // by card
	calls    float64            // how many calls polls may make now; below zero if they made too many
	counted  time.Time          // when calls was computed
	request  string             // the id of the request that started the next poll, or empty
}

// An owedEnd is the end of a session that Upscope has reported and that its list did not have yet.
type owedEnd struct {
	session string // its id, or empty if Upscope did not tell it
	ended   time.Time
}

func newSessionPolls() *sessionPolls {
	return &sessionPolls{wake: make(chan struct{}, 1), owed: map[string]owedEnd{}, calls: savedCalls, counted: time.Now()}
}

// pause returns how long to wait for the next poll. asked says that somebody waits for it.
func (s *sessionPolls) pause(asked bool) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	if s.last.IsZero() {
		return 0
	}
	next := s.last.Add(pollEvery)
	if asked {
		next = now.Add(pollGap)
	}
	if missing := 1 - s.mayCall(now); missing > 0 {
		afforded := now.Add(time.Duration(missing / callsPerMinute * float64(time.Minute)))
		if latest := s.last.Add(pollAtLeast); latest.Before(afforded) {
			afforded = latest
		}
		if afforded.After(next) {
			next = afforded
		}
	}
	return next.Sub(now)
}

// mayCall returns how many calls polls may make.
func (s *sessionPolls) mayCall(now time.Time) float64 {
	s.calls = min(s.calls+now.Sub(s.counted).Minutes()*callsPerMinute, savedCalls)
	s.counted = now
	return s.calls
}

// begin starts a poll, and returns from when it reads. long says that it goes back far enough for
// a list that is late. The first poll reads from the zero time.
func (s *sessionPolls) begin() (since time.Time, long bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := time.Now()
	s.last = now
	if s.since.IsZero() {
		return time.Time{}, true
	}
	since = s.since
	for _, end := range s.owed {
		if from := end.ended.Add(-pollOverlap); from.Before(since) {
			since = from
		}
	}
	pause := now.Sub(s.lastLong)
	if long = pause >= longPollEvery && s.mayCall(now) >= s.longCost || pause >= longPollAtLeast; long {
		if from := s.lastLong.Add(-lateness); from.Before(since) {
			since = from
		}
	}
	return since, long
}

// succeeded notes that the poll that began at the given time has read the whole list.
func (s *sessionPolls) succeeded(began time.Time, long bool, calls int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = began.Add(-pollOverlap)
	for card, end := range s.owed {
		if began.Sub(end.ended) > lateness { // so the list is not only late
			delete(s.owed, card)
		}
	}
	if long {
		s.lastLong, s.longCost = began, float64(calls)
	}
}

// called counts one call of a poll.
func (s *sessionPolls) called() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = max(s.mayCall(time.Now())-1, -mostCallsTooMany)
}

// found counts a new session.
func (s *sessionPolls) found() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = s.mayCall(time.Now()) + 1.0/sessionsPerCall
}

// owe makes polls go back to the end of a session of a card until one finds it, or until the list can
// no longer be late. An empty session is any of the card's.
func (s *sessionPolls) owe(card, session string, ended time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before, ok := s.owed[card]; ok && before.ended.Before(ended) {
		ended = before.ended
	}
	s.owed[card] = owedEnd{session, ended}
}

// paid notes that a poll found the end of a session.
func (s *sessionPolls) paid(card, session string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if end := s.owed[card].session; end == "" || end == session {
		delete(s.owed, card)
	}
}

// pollNow starts a poll as soon as polls may make a call, for the request of ctx.
func (s *sessionPolls) pollNow(ctx context.Context) {
	s.mu.Lock()
	s.request = requestid.ID(ctx)
	s.mu.Unlock()
	select {
	case s.wake <- struct{}{}:
	default: // a poll will start already
	}
}

// takeRequest returns the id under which the next poll is logged.
func (s *sessionPolls) takeRequest() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	id := s.request
	s.request = ""
	return cmp.Or(id, requestid.New())
}
