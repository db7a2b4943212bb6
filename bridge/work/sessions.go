package work

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

	"github.com/gorilla/mux"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/requestid"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

const (
	// maxCall is the maximum body of Upscope's call in bytes.
	maxCall = 1 << 20
	// callbackLife is how long after a press Upscope's calls are accepted.
	callbackLife = 72 * time.Hour
)

// watchSessions polls Upscope's sessions until ctx ends. While no card waits for a report it sends
// no requests.
func (work *Worker) watchSessions(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(work.sessions.pause(false)):
		case <-work.sessions.wake:
			select {
			case <-ctx.Done():
				return
			case <-time.After(work.sessions.pause(true)):
			}
		}
		since, long := work.sessions.begin()
		if work.backoff.active() {
			continue
		}
		ctx := requestid.With(ctx, work.sessions.takeRequest())
		err := work.pollSessions(ctx, since, long)
		switch {
		case err == nil, ctx.Err() != nil:
		case errors.Is(err, store.ErrSealed):
			work.log.ErrorContext(ctx, "cards cannot be read", "err", err, "effect", "their sessions are not followed")
		default:
			work.log.WarnContext(ctx, "list of sessions not read from Upscope", "err", err, "effect", "cards are updated later")
			work.backoff.note(err)
		}
		work.store.Jobs().NoteResult(ctx, jobs.Failure{Queue: book.BridgeQueue, Kind: book.WorkSessions, Next: time.Now().Add(pollEvery)}, err)
	}
}

// pollSessions updates cards from the sessions that changed after since, unless no card waits for one. If
// some of the cards cannot be decrypted, it follows the others, and the error wraps store.ErrSealed.
func (work *Worker) pollSessions(ctx context.Context, since time.Time, long bool) error {
	began := time.Now()
	awaited, err := work.store.AnyToCheck(ctx)
	if err != nil {
		return err
	}
	calls := 0
	var unreadable error
	if awaited {
		if since.IsZero() {
			if since, err = work.firstPollFrom(ctx, began); err != nil {
				return err
			}
		}
		query := upscope.SessionQuery{UpdatedAfter: since, OnCall: func() {
			calls++
			work.sessions.called()
		}}
		for s, err := range work.upscope.Sessions(ctx, query) {
			if err != nil {
				return err
			}
			if err := work.readSession(ctx, s); err != nil && !work.book.SkipUnreadable(ctx, err, "session", s.ID) {
				return err
			}
		}
		if unreadable = work.expireCards(ctx); unreadable != nil && !errors.Is(unreadable, store.ErrSealed) {
			return unreadable
		}
	}
	work.sessions.succeeded(began, long, calls)
	return unreadable
}

// readSession updates the card of a session, unless the last poll that had this session had it unchanged.
func (work *Worker) readSession(ctx context.Context, s upscope.Session) error {
	mark, _ := s.Metadata[card.MetadataCard].(string)
	id, ok := work.book.Doors.CardOfMark(mark)
	if !ok {
		return nil
	}
	reported := card.SessionOf(s)
	before, known := work.seen.Peek(s.ID)
	if !known || !reflect.DeepEqual(before, reported) {
		agent, _ := s.Metadata[card.MetadataAgent].(string)
		if err := work.updateFromSession(ctx, id, agent, reported); err != nil {
			return err
		}
		work.seen.Put(s.ID, reported)
	}
	if !known {
		work.sessions.countNew()
	}
	if reported.Over() {
		work.sessions.endFound(id, s.ID)
	}
	return nil
}

// firstPollFrom returns where the first poll starts: at the oldest press for which a card still
// waits, so that it covers the time when no bridge ran.
func (work *Worker) firstPollFrom(ctx context.Context, now time.Time) (time.Time, error) {
	rows, err := work.store.CardsToCheck(ctx, now.Add(2*callbackLife))
	if err != nil && !errors.Is(err, store.ErrSealed) { // expireCards reports the others
		return now, err
	}
	first := now.Add(-card.MaxSessionLife)
	for _, row := range rows {
		c, err := card.Open(row)
		if pressed := c.About.Pressed; err == nil && !pressed.IsZero() && pressed.Before(first) {
			first = pressed
		}
	}
	if oldest := now.Add(-callbackLife); first.Before(oldest) {
		first = oldest
	}
	return first.Add(-lateness), nil
}

// updateFromSession adds a session that Upscope reported to the card that it began from. agent is the
// agent who began it, if the session says so.
func (work *Worker) updateFromSession(ctx context.Context, id, agent string, reported card.Session) error {
	var live, ended bool // since the card was read
	c, err := work.book.Revise(ctx, id, func(c *card.Card) []audit.Entry {
		i := slices.IndexFunc(c.About.Sessions, func(k card.Session) bool { return k.ID == reported.ID })
		var before card.Session
		if i >= 0 {
			before = c.About.Sessions[i]
		}
		c.AddSession(reported, time.Now())
		live, ended = reported.Live && !before.Live, reported.Over() && before.Ended.IsZero()
		var entries []audit.Entry
		record := func(action, detail string) {
			e := work.book.Entry(*c, action, detail)
			e.Agent = cmp.Or(agent, c.About.ByID, e.Agent)
			entries = append(entries, e)
		}
		if live {
			record("live", "session "+reported.ID)
		}
		if ended {
			record("ended", fmt.Sprintf("session %s: %s", reported.ID, reported.Outcome()))
		}
		return entries
	})
	if err != nil {
		return err
	}
	if live {
		work.metrics.CardStep(c.ChatConnector(), metrics.StepLive, c.About.Pressed, time.Now())
	}
	if ended && reported.Live {
		work.metrics.CardStep(c.ChatConnector(), metrics.StepEnded, reported.Started, reported.Ended)
	}
	return work.book.UpdateShared(ctx, c, func(shared *card.Card) { shared.AddSession(reported, time.Now()) })
}

// expireCards calls Expire for cards whose NextCheck has passed. It runs
// after a poll, so that everything that Upscope has reported is stored. If some of the cards cannot be
// decrypted, the error wraps store.ErrSealed.
func (work *Worker) expireCards(ctx context.Context) error {
	rows, unreadable := work.store.CardsToCheck(ctx, time.Now())
	if unreadable != nil && !errors.Is(unreadable, store.ErrSealed) {
		return unreadable
	}
	for _, row := range rows {
		lostLive := false // a session that was live
		c, err := work.book.Revise(ctx, row.ID, func(c *card.Card) []audit.Entry {
			now := time.Now()
			lostLive = false
			if c.NextCheck.IsZero() || c.NextCheck.After(now) {
				return nil
			}
			lost := c.VisitorsInSession()
			wasLive := c.CurrentState() == card.Live
			c.Expire(now)
			if len(lost) == 0 || len(c.VisitorsInSession()) > 0 {
				return nil
			}
			lostLive = wasLive
			return []audit.Entry{work.book.Entry(*c, "ended", templates.Unknown.String())}
		})
		if err == nil && lostLive {
			work.metrics.CardStep(c.ChatConnector(), metrics.StepEnded, time.Time{}, time.Time{}) // Upscope did not say when
		}
		if err != nil && !work.book.SkipUnreadable(ctx, err, "card", row.ID) {
			return err
		}
	}
	return unreadable
}

// sessionEnded answers Upscope's call that a session is over. Its body is not signed, so the bridge
// uses it only as a hint: the call starts the next poll earlier and says how far polls go back.
func (work *Worker) sessionEnded(w http.ResponseWriter, r *http.Request) error {
	id, ok := work.book.Doors.CardOfCallback(mux.Vars(r)["secret"])
	if !ok {
		return web.ErrNoPage
	}
	body, _ := io.ReadAll(http.MaxBytesReader(w, r.Body, maxCall)) // it serves only as a hint
	now := time.Now()
	session, ended := "", now
	if hint, err := work.upscope.ParseWebhook(body); err == nil {
		session = hint.ID
		if !hint.EndedAt.IsZero() && hint.EndedAt.Before(now) {
			ended = card.Latest(hint.EndedAt, now.Add(-callbackLife))
		}
	}
	work.sessions.lookForEnd(id, session, ended)
	if !work.callbacks.Allow(id) {
		return nil // an earlier call for this card has started a poll
	}
	ctx, cancel := context.WithTimeout(r.Context(), web.MachineTime)
	defer cancel()
	expired := false
	_, err := work.book.Revise(ctx, id, func(c *card.Card) []audit.Entry {
		if expired = now.Sub(c.About.Pressed) > callbackLife; !expired && c.NextCheck.IsZero() {
			c.NextCheck = now.Add(card.UnusedLinkLife) // the call is late: the card had stopped waiting
		}
		return nil
	})
	switch {
	case err != nil:
		work.callbacks.Forget(id)
		return web.StoreFault(err)
	case expired:
		return web.ErrNoPage
	}
	work.log.InfoContext(ctx, "end of session reported", "card", id)
	work.sessions.pollNow(ctx)
	return nil
}

// StopSession ends the running sessions of a card, in the name of the agent with the id actor, and
// returns how many it ended. It writes an audit entry first. A session may belong to a visitor with
// an earlier short id.
func (work *Worker) StopSession(ctx context.Context, c card.Card, actor string) (ended int, err error) {
	entry := func(action, detail string) audit.Entry {
		e := work.book.Entry(c, action, detail)
		e.Agent = actor
		return e
	}
	if err := work.store.Commit(ctx, store.Change{Audit: []audit.Entry{entry("stopping", "")}}); err != nil {
		return 0, web.StoreFault(err)
	}
	ctx, cancel := web.GoOn(ctx)
	defer cancel()
	visitors := c.VisitorsInSession()
	if len(visitors) == 0 && c.Visitor != "" {
		visitors = []string{c.Visitor}
	}
	for _, v := range visitors {
		err := work.upscope.StopSession(ctx, v)
		switch {
		case err == nil:
			ended++
		case !errors.Is(err, upscope.ErrNotFound):
			work.book.Record(ctx, entry("not stopped", err.Error()))
			return ended, err
		}
	}
	work.sessions.lookForEnd(c.ID, "", time.Now())
	work.sessions.pollNow(ctx)
	return ended, nil
}

// A backoff says until when Upscope is sent no requests but those for which an agent waits.
type backoff struct {
	mu    sync.Mutex
	until time.Time
}

// note prolongs the backoff by the wait that err asks for, if it does.
func (w *backoff) note(err error) {
	wait, ok := web.RetryWait(err)
	if !ok {
		return
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	w.until = card.Latest(w.until, time.Now().Add(wait))
}

// active reports whether the backoff is not over.
func (w *backoff) active() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return time.Now().Before(w.until)
}
