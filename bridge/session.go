package bridge

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"

	"github.com/gorilla/mux"
)

const (
	// noShow is how long a watch link may stay unused before its card offers
	// another; noAnswer how long a session may wait for its visitor, and noEnd
	// how long it may run, before nobody believes any more that its end was told.
	noShow   = 10 * time.Minute
	noAnswer = time.Hour
	noEnd    = 12 * time.Hour
	// afterthoughts is how long rating, notes and recording may come after the
	// end, and cutting how long if the recording is being made.
	afterthoughts = 10 * time.Minute
	cutting       = time.Hour

	// sessionsEvery is how often Upscope is asked what became of sessions while
	// any card waits to know, and sessionsGap the least time between two times
	// however often Upscope calls.
	sessionsEvery = 15 * time.Second
	sessionsGap   = 2 * time.Second
	// overlap is how far back each look goes behind the one before: the clocks
	// of two machines differ, and lists lag behind.
	overlap = 2 * time.Minute
	// callbackLife is how long after a press Upscope's call is listened to.
	callbackLife = 72 * time.Hour

	maxSessions = 20 // of one card
	maxNotes    = 5  // of one session
)

// markName is what a session's metadata calls the mark of its card.
const markName = "bridge_card"

// A session is what a card keeps of an Upscope session.
type session struct {
	ID      string    `json:"id"`
	Started time.Time `json:"started,omitzero"`
	Ended   time.Time `json:"ended,omitzero"`
	// Live says that somebody saw the screen, Agreed that the visitor let them.
	Live   bool `json:"live,omitempty"`
	Agreed bool `json:"agreed,omitempty"`
	// Lost says that the end was never told.
	Lost      bool           `json:"lost,omitempty"`
	Seconds   int            `json:"seconds,omitzero"`
	Agents    []string       `json:"agents,omitempty"`
	Rating    int            `json:"rating,omitzero"`
	Notes     []upscope.Note `json:"notes,omitempty"`
	Recording string         `json:"recording,omitempty"` // for those who sign in to Upscope
	Video     string         `json:"video,omitempty"`
}

func sessionOf(s upscope.Session) session {
	kept := session{
		ID: s.ID, Started: s.StartedAt, Ended: s.EndedAt, Live: s.WentLive, Agreed: s.Authorized,
		Seconds: s.LengthSeconds, Rating: s.VisitorAgentRating, Notes: s.AgentNotes[:min(len(s.AgentNotes), maxNotes)],
		Video: s.VideoStatus,
	}
	if s.VideoStatus == "ready" {
		kept.Recording = s.PublicVideoURL
	}
	for _, a := range s.Agents {
		if a.Name != "" && !slices.Contains(kept.Agents, a.Name) && len(kept.Agents) < maxSessions {
			kept.Agents = append(kept.Agents, a.Name)
		}
	}
	return kept
}

func (s session) over() bool { return s.Lost || !s.Ended.IsZero() }

func (s session) outcome() templates.Outcome {
	switch {
	case s.Lost:
		return templates.Unknown
	case s.over() && s.Live:
		return templates.Over
	case s.over() && !s.Agreed:
		return templates.Declined
	case s.over():
		return templates.NotBegun
	case s.Live:
		return templates.Running
	}
	return templates.Waiting
}

// led says that an agent is being led to the visitor.
func (c *card) led(now time.Time) {
	c.move(watched)
	c.about.Pressed = now
	c.Awaited = now.Add(noShow)
}

// notLed takes it back: no session came of it.
func (c *card) notLed() {
	if len(c.about.Sessions) > 0 {
		c.move(sessionOver)
	} else {
		c.move(notWatched)
	}
}

// learn takes into the card what Upscope says of one of its sessions.
func (c *card) learn(s session, now time.Time) {
	c.about.Sessions = slices.Clone(c.about.Sessions)
	if i := slices.IndexFunc(c.about.Sessions, func(known session) bool { return known.ID == s.ID }); i >= 0 {
		c.about.Sessions[i] = s
	} else if len(c.about.Sessions) < maxSessions {
		c.about.Sessions = append(c.about.Sessions, s)
	}
	slices.SortStableFunc(c.about.Sessions, func(a, b session) int { return a.Started.Compare(b.Started) })
	c.account(now)
}

// account brings the card to what its sessions say together.
func (c *card) account(now time.Time) {
	var ended time.Time
	var live, waiting, cut bool
	for _, s := range c.about.Sessions {
		switch {
		case !s.over() && s.Live:
			live = true
		case !s.over():
			waiting = true
		case s.Ended.After(ended):
			ended = s.Ended
			cut = s.Video == "pending" || s.Video == "recording"
		}
	}
	switch {
	case live:
		c.move(sessionLive)
		c.awaitUntil(now.Add(noEnd))
	case waiting:
		c.awaitUntil(now.Add(noAnswer))
	case c.state() == Opened && c.about.Pressed.After(ended):
		// The agent pressed once more, and that session is yet to come.
	default:
		c.move(sessionOver)
		switch {
		case ended.IsZero(): // lost, all of them
			c.Awaited = time.Time{}
		case cut:
			c.Awaited = ended.Add(cutting)
		default:
			c.Awaited = ended.Add(afterthoughts)
		}
	}
}

// awaitUntil changes nothing for a minute or two: each change is a write.
func (c *card) awaitUntil(t time.Time) {
	if d := t.Sub(c.Awaited); d > noShow || d < 0 {
		c.Awaited = t
	}
}

// lapse ends the waiting for what did not come.
func (c *card) lapse() {
	c.about.Sessions = slices.Clone(c.about.Sessions)
	for i := range c.about.Sessions {
		if s := &c.about.Sessions[i]; !s.over() {
			s.Lost = true
		}
	}
	if s := c.state(); s == Opened || s == Live {
		c.notLed()
	}
	c.Awaited = time.Time{}
}

// sessions says when to ask Upscope what became of its sessions.
type sessions struct {
	kick chan struct{}

	mu    sync.Mutex
	since time.Time
}

func (s *sessions) from() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since
}

func (s *sessions) lookFrom(since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.since = since
}

// lookNow asks for a look at sessions that changed after the given time.
func (s *sessions) lookNow(since time.Time) {
	s.mu.Lock()
	if since.Before(s.since) {
		s.since = since
	}
	s.mu.Unlock()
	select {
	case s.kick <- struct{}{}:
	default: // it was asked for already
	}
}

// watchSessions follows the sessions of cards until ctx ends. While no card
// waits for news it asks Upscope nothing.
func (b *Bridge) watchSessions(ctx context.Context) {
	// What was missed while no bridge ran is at most this old; see noEnd.
	b.sessions.lookFrom(time.Now().Add(-noEnd))
	for wait := time.Duration(0); ; {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		case <-b.sessions.kick:
			select {
			case <-ctx.Done():
				return
			case <-time.After(min(wait, sessionsGap)):
			}
		}
		wait = sessionsEvery
		if err := b.lookAtSessions(ctx); err != nil && ctx.Err() == nil {
			b.log.WarnContext(ctx, "sessions not read", "err", err)
			if pause, ok := retryWait(err); ok {
				wait = max(wait, pause)
			}
		}
	}
}

func (b *Bridge) lookAtSessions(ctx context.Context) error {
	began := time.Now()
	awaited, err := b.store.AnyAwaited(ctx)
	if err != nil {
		return err
	}
	if awaited {
		for s, err := range b.upscope.Sessions(ctx, upscope.SessionQuery{UpdatedAfter: b.sessions.from()}) {
			if err != nil {
				return err
			}
			if err := b.observe(ctx, s); err != nil {
				return err
			}
		}
		if err := b.lapsed(ctx); err != nil {
			return err
		}
	}
	b.sessions.lookFrom(began.Add(-overlap))
	return nil
}

// observe takes a session that Upscope reports to the card it began from, if it
// is one of ours.
func (b *Bridge) observe(ctx context.Context, s upscope.Session) error {
	mark, _ := s.Metadata[markName].(string)
	id, ok := b.doors.marked(mark)
	if !ok {
		return nil
	}
	seen := sessionOf(s)
	c, err := b.revise(ctx, id, func(c *card) []store.Entry {
		known := slices.IndexFunc(c.about.Sessions, func(k session) bool { return k.ID == s.ID })
		var before session
		if known >= 0 {
			before = c.about.Sessions[known]
		}
		c.learn(seen, time.Now())
		var entries []store.Entry
		if seen.Live && !before.Live {
			entries = append(entries, b.entry(*c, "live", "session "+seen.ID))
		}
		if seen.over() && !before.over() {
			entries = append(entries, b.entry(*c, "ended", fmt.Sprintf("session %s: %s", seen.ID, seen.outcome())))
		}
		return entries
	})
	if err != nil {
		return err
	}
	return b.shareNews(ctx, c, func(shared *card) { shared.learn(seen, time.Now()) })
}

// lapsed ends the waiting of cards for what did not come in time. It is called
// when Upscope has just told all it knows.
func (b *Bridge) lapsed(ctx context.Context) error {
	for {
		rows, err := b.store.CardsAwaited(ctx, time.Now())
		if err != nil || len(rows) == 0 {
			return err
		}
		for _, row := range rows {
			if _, err := b.revise(ctx, row.ID, func(c *card) []store.Entry {
				if !c.Awaited.IsZero() && !c.Awaited.After(time.Now()) {
					c.lapse()
				}
				return nil
			}); err != nil {
				return err
			}
		}
	}
}

// revise changes a card as change says, begun anew if somebody else changed it
// meanwhile, and shows what people can see of it. A card that is gone is left
// alone, and so is one that stays as it is, but for what change has to record.
func (b *Bridge) revise(ctx context.Context, id string, change func(*card) []store.Entry) (c card, err error) {
	err = again(func() error {
		row, err := b.store.Card(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		if c, err = openCard(row); err != nil {
			return err
		}
		before := c
		write := store.Change{Audit: change(&c)}
		if reflect.DeepEqual(c, before) {
			if len(write.Audit) == 0 {
				return nil
			}
			return b.store.Commit(ctx, write)
		}
		if !c.looksLike(before) {
			b.follow(&c, before, &write)
		}
		return b.commit(ctx, &c, write)
	})
	return c, err
}

// looksLike reports whether two states of a card read the same to people.
func (c *card) looksLike(other card) bool {
	return c.State == other.State && c.Visitor == other.Visitor && reflect.DeepEqual(c.about.Sighting, other.about.Sighting) &&
		reflect.DeepEqual(c.about.Sessions, other.about.Sessions)
}

// ended takes Upscope's call that a session is over. Anybody may have sent what
// it says, so nothing of it is believed: it only hastens the look at the
// sessions that is due anyway, and says from when.
func (b *Bridge) ended(w http.ResponseWriter, r *http.Request) error {
	id, ok := b.doors.called(mux.Vars(r)["secret"])
	if !ok {
		return errNoPage
	}
	if !b.callbacks.allow(id) {
		return nil // the look that an earlier one asked for is as good
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody))
	if err != nil {
		return fmt.Errorf("%w: %w", errBody, err)
	}
	now := time.Now()
	since := now.Add(-overlap)
	if hint, err := upscope.ParseWebhook(body); err == nil && !hint.EndedAt.IsZero() && hint.EndedAt.Before(now) {
		since = hint.EndedAt.Add(-overlap)
	}
	expired := false
	_, err = b.revise(r.Context(), id, func(c *card) []store.Entry {
		if expired = now.Sub(c.about.Pressed) > callbackLife; !expired && c.Awaited.IsZero() {
			c.Awaited = now.Add(noShow) // it comes so late that nobody waited any more
		}
		return nil
	})
	switch {
	case err != nil:
		return fmt.Errorf("%w: %w", errStore, err)
	case expired:
		return errNoPage
	}
	if oldest := now.Add(-callbackLife); since.Before(oldest) {
		since = oldest
	}
	b.sessions.lookNow(since)
	return nil
}

// after is where Upscope leads when a session is over or did not start. The
// visitor may be led there too, so it says nothing of anybody.
func (b *Bridge) after(w http.ResponseWriter, _ *http.Request) error {
	return b.render(w, http.StatusOK, templates.Notice{Kind: templates.KindAfter})
}

// stoppable reports whether a session that began from the card may be running.
func (c *card) stoppable() bool { return c.state() == Opened || c.state() == Live }

// stop ends the session of the card's visitor, for everybody who watches.
func (b *Bridge) stop(w http.ResponseWriter, r *http.Request, c card) error {
	if !c.stoppable() || c.Visitor == "" {
		return b.showDoor(w, r, c)
	}
	if err := b.stopSession(r.Context(), c); err != nil {
		return err
	}
	return b.render(w, http.StatusOK, templates.Notice{Kind: templates.KindStopped, Agent: c.about.Agent.Name, Chat: c.chatLink()})
}
