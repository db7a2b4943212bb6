package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"reflect"
	"slices"
	"sync"
	"time"

	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"

	"github.com/gorilla/mux"
)

const (
	// sessionsEvery is how often Upscope is asked what became of sessions while
	// any card waits to know, and sessionsGap the least time between two times
	// however often Upscope calls.
	sessionsEvery = 15 * time.Second
	sessionsGap   = 2 * time.Second
	// overlap is how far back each look goes behind the one before: the clocks
	// of two machines differ, and lists lag behind.
	overlap = 5 * time.Minute
	// callbackLife is how long after a press Upscope's call is listened to.
	callbackLife = 72 * time.Hour
)

// What a session's metadata calls the mark of its card, and the agent who pressed.
const (
	markName  = "bridge_card"
	agentName = "bridge_agent"
)

// sessions says when to ask Upscope what became of its sessions.
type sessions struct {
	kick chan struct{}

	mu    sync.Mutex
	since time.Time // zero before the first look
}

func (s *sessions) from() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.since
}

// looked moves the time from which the next look goes on from where the last
// began, unless that one was asked to go further back meanwhile.
func (s *sessions) looked(from, next time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.since.Equal(from) {
		s.since = next
	}
}

// lookBack has the next look begin at the given time, if that is earlier.
func (s *sessions) lookBack(since time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if since.Before(s.since) {
		s.since = since
	}
}

// lookNow asks for a look at sessions that changed after the given time.
func (s *sessions) lookNow(since time.Time) {
	s.lookBack(since)
	select {
	case s.kick <- struct{}{}:
	default: // it was asked for already
	}
}

// watchSessions follows the sessions of cards until ctx ends. While no card
// waits for news it asks Upscope nothing.
func (b *Bridge) watchSessions(ctx context.Context) {
	for wait := time.Duration(0); ; wait = sessionsEvery {
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
		if b.rest.resting() {
			continue
		}
		if err := b.lookAtSessions(ctx); err != nil && ctx.Err() == nil {
			b.log.WarnContext(ctx, "sessions not read", "err", err)
			b.rest.note(err)
		}
	}
}

func (b *Bridge) lookAtSessions(ctx context.Context) error {
	began := time.Now()
	awaited, err := b.store.AnyAwaited(ctx)
	if err != nil {
		return err
	}
	from := b.sessions.from()
	if awaited {
		since := from
		if since.IsZero() {
			if since, err = b.firstPress(ctx, began); err != nil {
				return err
			}
		}
		for s, err := range b.upscope.Sessions(ctx, upscope.SessionQuery{UpdatedAfter: since}) {
			if err != nil {
				return err
			}
			if err := b.observe(ctx, s); err != nil && !b.unreadable(ctx, err, "session", s.ID) {
				return err
			}
		}
		if err := b.lapsed(ctx); err != nil {
			return err
		}
	}
	b.sessions.looked(from, began.Add(-overlap))
	return nil
}

// firstPress is from when news may have been missed while no bridge ran.
func (b *Bridge) firstPress(ctx context.Context, now time.Time) (time.Time, error) {
	rows, err := b.store.CardsAwaited(ctx, now.Add(2*callbackLife))
	if err != nil {
		return now, err
	}
	first := now.Add(-noEnd)
	for _, row := range rows {
		c, err := openCard(row)
		if pressed := c.about.Pressed; err == nil && !pressed.IsZero() && pressed.Before(first) {
			first = pressed
		}
	}
	if oldest := now.Add(-callbackLife); first.Before(oldest) {
		first = oldest
	}
	return first.Add(-overlap), nil
}

// observe takes a session that Upscope reports to the card it began from, if it
// is one of ours.
func (b *Bridge) observe(ctx context.Context, s upscope.Session) error {
	mark, _ := s.Metadata[markName].(string)
	id, ok := b.doors.marked(mark)
	if !ok {
		return nil
	}
	agent, _ := s.Metadata[agentName].(string)
	seen := sessionOf(s)
	c, err := b.revise(ctx, id, func(c *card) []store.Entry {
		known := slices.IndexFunc(c.about.Sessions, func(k session) bool { return k.ID == s.ID })
		var before session
		if known >= 0 {
			before = c.about.Sessions[known]
		}
		c.learn(seen, time.Now())
		var entries []store.Entry
		record := func(action, detail string) {
			e := b.entry(*c, action, detail)
			e.Agent = cmp.Or(agent, c.about.ByID, e.Agent)
			entries = append(entries, e)
		}
		if seen.Live && !before.Live {
			record("live", "session "+seen.ID)
		}
		if seen.over() && before.Ended.IsZero() {
			record("ended", fmt.Sprintf("session %s: %s", seen.ID, seen.outcome()))
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
	rows, err := b.store.CardsAwaited(ctx, time.Now())
	if err != nil {
		return err
	}
	for _, row := range rows {
		_, err := b.revise(ctx, row.ID, func(c *card) []store.Entry {
			now := time.Now()
			if c.Awaited.IsZero() || c.Awaited.After(now) {
				return nil
			}
			lost := c.running()
			c.lapse(now)
			if len(lost) == 0 || len(c.running()) > 0 {
				return nil
			}
			return []store.Entry{b.entry(*c, "ended", templates.Unknown.String())}
		})
		if err != nil && !b.unreadable(ctx, err, "card", row.ID) {
			return err
		}
	}
	return nil
}

// unreadable reports whether a card cannot be opened any more, as after its secret
// was taken away. It must not hold up the others.
func (b *Bridge) unreadable(ctx context.Context, err error, key, id string) bool {
	if !errors.Is(err, store.ErrSealed) {
		return false
	}
	b.log.ErrorContext(ctx, "card cannot be read", key, id, "err", err)
	return true
}

// card reads a card, or is store.ErrNotFound.
func (b *Bridge) card(ctx context.Context, id string) (card, error) {
	row, err := b.store.Card(ctx, id)
	if err != nil {
		return card{}, err
	}
	return openCard(row)
}

// revise changes a card as change says, begun anew if somebody else changed it
// meanwhile, and shows what people can see of it. A card that is gone is left
// alone, and so is one that stays as it is, but for what change has to record.
func (b *Bridge) revise(ctx context.Context, id string, change func(*card) []store.Entry) (c card, err error) {
	err = again(func() (err error) {
		c, err = b.card(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
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
	body, _ := io.ReadAll(http.MaxBytesReader(w, r.Body, maxBody)) // only a hint is in it
	now := time.Now()
	since := now.Add(-overlap)
	if hint, err := upscope.ParseWebhook(body); err == nil && !hint.EndedAt.IsZero() && hint.EndedAt.Before(now) {
		since = hint.EndedAt.Add(-overlap)
	}
	if oldest := now.Add(-callbackLife); since.Before(oldest) {
		since = oldest
	}
	if !b.callbacks.allow(id) {
		b.sessions.lookBack(since)
		return nil // the look that an earlier one asked for is as good
	}
	expired := false
	_, err := b.revise(r.Context(), id, func(c *card) []store.Entry {
		if expired = now.Sub(c.about.Pressed) > callbackLife; !expired && c.Awaited.IsZero() {
			c.Awaited = now.Add(noShow) // it comes so late that nobody waited any more
		}
		return nil
	})
	switch {
	case err != nil:
		b.callbacks.forget(id)
		return storeFault(err)
	case expired:
		return errNoPage
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
	if !c.stoppable() {
		return b.showDoor(w, r, c)
	}
	if !b.decide(c, policy.Stop).Allowed {
		b.refused(r.Context(), c, errPolicy)
		return errPolicy
	}
	if err := b.stopSession(r.Context(), c); err != nil {
		return err
	}
	return b.render(w, http.StatusOK, templates.Notice{Kind: templates.KindStopped, Agent: c.actorName(), Chat: c.chatLink()})
}
