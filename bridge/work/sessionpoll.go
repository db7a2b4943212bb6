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

	// A poll reads the changes since pollOverlap before the start of the last poll. The list may be late, but
	// by no more than lateness:
	//   - If it does not have an end that Upscope has reported, polls read from that end on until it has.
	//   - A long poll reads from lateness before the last long poll on, for changes that Upscope has not
	//     reported. There is one every longPollEvery if enough calls are left, and every longPollAtLeast in any case.
	pollOverlap     = 10 * time.Second
	lateness        = 5 * time.Minute
	longPollEvery   = time.Minute
	longPollAtLeast = 15 * time.Minute

	// Polls may make callsPerMinute calls, and one more for every sessionsPerCall new sessions. At most
	// savedCalls are saved for later. Each page of the list is one call.
	callsPerMinute  = 4
	sessionsPerCall = 10
	savedCalls      = 20
	// Polls that could not wait may make more calls than that. At most maxExcess of them delay later polls.
	maxExcess = 200
)

// sessionPolls says when to poll Upscope's list of sessions, and from when.
type sessionPolls struct {
	wake chan struct{}

	mu       sync.Mutex
	last     time.Time             // when the last poll began
	since    time.Time             // from when the next one reads; zero before the first that succeeded
	lastLong time.Time             // when the last long poll began that succeeded
	longCost float64               // its calls
	missing  map[string]missingEnd // by card
	calls    float64               // how many calls polls may make now; below zero if they made too many
	counted  time.Time             // when calls was computed
	request  string                // the id of the request that started the next poll, or empty
}

// A missingEnd is the end of a session that Upscope has reported and that its list did not have yet.
type missingEnd struct {
	session string // its id, or empty if Upscope did not tell it
	ended   time.Time
}

func newSessionPolls() *sessionPolls {
	return &sessionPolls{wake: make(chan struct{}, 1), missing: map[string]missingEnd{}, calls: savedCalls, counted: time.Now()}
}

// pause returns how long to wait for the next poll. asked says that Upscope or an agent has ended a session.
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
	for _, end := range s.missing {
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
	for card, end := range s.missing {
		if began.Sub(end.ended) > lateness { // so the list is not only late
			delete(s.missing, card)
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
	s.calls = max(s.mayCall(time.Now())-1, -maxExcess)
}

// countNew counts a new session.
func (s *sessionPolls) countNew() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = s.mayCall(time.Now()) + 1.0/sessionsPerCall
}

// lookForEnd makes polls read from the end of a card's session on until one finds it, or until the list can
// no longer be late. An empty session is any of the card's.
func (s *sessionPolls) lookForEnd(card, session string, ended time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if before, ok := s.missing[card]; ok && before.ended.Before(ended) {
		ended = before.ended
	}
	s.missing[card] = missingEnd{session, ended}
}

// endFound notes that a poll found the end of a session, and that the card has it.
func (s *sessionPolls) endFound(card, session string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if end := s.missing[card].session; end == "" || end == session {
		delete(s.missing, card)
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
