package work

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"time"

	"golang.org/x/sync/errgroup"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/requestid"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

const (
	// Each process refreshes at most refreshesPerSecond cards in a second. It looks for due refreshes again
	// after refreshPause if there are none.
	refreshesPerSecond = 2
	refreshPause       = 5 * time.Second
	// Refreshes that have been due for refreshLate, because there are too many, are skipped. A process looks
	// for them every skipEvery, and not in its first refreshLate, since all may be late after a downtime.
	refreshLate = 2 * time.Minute
	skipEvery   = 10 * time.Second

	// Each wait is checked every waitCheckEvery, as a rule with one request to Upscope; at most
	// waitChecksPerSecond waits are checked in a second. So a thousand take half a minute.
	waitCheckEvery      = 25 * time.Second
	waitChecksPerSecond = 40
	// NotificationTTL is how long after a visitor came back the agent is told so.
	NotificationTTL = 5 * time.Minute
	// waitLife is how long an agent can wait for a visitor.
	waitLife = time.Hour
)

// ShowPresence updates the card after its visitor was read for a page or a job. An error is only
// logged.
func (work *Worker) ShowPresence(ctx context.Context, c card.Card, v upscope.Visitor) {
	if c.About.SharedCard != "" {
		return // a card made from a shared card works for personalLife only
	}
	after := c
	if after.UpdatePresence(v); after.State == c.State && after.Visitor == c.Visitor {
		return
	}
	goesOn, cancel := web.GoOn(ctx)
	defer cancel()
	_, err := work.book.Revise(goesOn, c.ID, func(now *card.Card) []audit.Entry {
		if now.Visitor != c.Visitor || !reflect.DeepEqual(now.About.Clues, c.About.Clues) {
			return nil // another search has changed the card meanwhile
		}
		now.UpdatePresence(v)
		return work.book.NewIDEntry(*now, c.Visitor)
	})
	if err != nil {
		work.log.WarnContext(ctx, "online state not shown on card", "card", c.ID, "err", err)
	}
}

// watchRefreshes refreshes cards until ctx ends: it shows whether the visitors of cards that no agent has
// pressed are online.
func (work *Worker) watchRefreshes(ctx context.Context) {
	for skip := time.Now().Add(refreshLate); ctx.Err() == nil; {
		ctx := requestid.With(store.Patient(ctx), requestid.New())
		found, err := work.refreshDue(ctx)
		if now := time.Now(); err == nil && !now.Before(skip) {
			skip = now.Add(skipEvery)
			var skipped int64
			if skipped, err = work.store.Refreshes().Skip(ctx, now, now.Add(-refreshLate)); skipped > 0 {
				work.log.DebugContext(ctx, "refreshes skipped", "cards", skipped, "reason", "the card was pressed or closed, or too many were due")
			}
		}
		if err != nil && ctx.Err() == nil {
			work.log.WarnContext(ctx, "online states on cards not refreshed", "err", err)
		}
		pause := refreshPause
		if found {
			pause = time.Second
		}
		select {
		case <-ctx.Done():
		case <-time.After(pause):
		}
	}
}

// refreshDue refreshes the next cards, and reports whether there were some.
func (work *Worker) refreshDue(ctx context.Context) (found bool, err error) {
	if work.backoff.active() {
		return false, nil
	}
	now := time.Now()
	due, err := work.store.Refreshes().Due(ctx, now, refreshesPerSecond)
	if err != nil || len(due) == 0 {
		return false, err
	}
	leased, err := work.store.Refreshes().Lease(ctx, due, now)
	if err != nil {
		return false, err
	}
	var all errgroup.Group
	for _, r := range leased {
		all.Go(func() error { return work.refresh(ctx, r.Card) })
	}
	return true, all.Wait()
}

// refresh reads whether the visitor of a card is online, and updates the card. What fails is only logged:
// the next step updates the card.
func (work *Worker) refresh(ctx context.Context, id string) error {
	c, err := work.book.Card(ctx, id)
	if errors.Is(err, store.ErrNotFound) || work.book.SkipUnreadable(ctx, err, "card", id) {
		return nil
	}
	if err != nil || !c.AwaitsPress() {
		return err
	}
	v, err := work.matcher.CurrentVisitor(ctx, c)
	switch {
	case err == nil:
		work.ShowPresence(ctx, c, v)
	case !errors.Is(err, upscope.ErrNotFound):
		work.log.WarnContext(ctx, "online state not read from Upscope", "card", id, "err", err)
		work.backoff.note(err)
	}
	return nil
}

// StartWait makes the card's agent wait for its visitor, for waitLife.
func (work *Worker) StartWait(ctx context.Context, c card.Card) error {
	now := time.Now()
	wait := store.Wait{Card: c.ID, Agent: c.Agent, Until: now.Add(waitLife)}
	if err := work.store.StartWait(ctx, wait, now); err != nil {
		return web.StoreFault(err)
	}
	return nil
}

// watchWaits checks until ctx ends whether visitors for whom agents wait are back.
func (work *Worker) watchWaits(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for noted := time.Now(); ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if work.backoff.active() {
			continue
		}
		ctx := requestid.With(ctx, requestid.New())
		checked, err := work.checkWaits(ctx)
		if err != nil && ctx.Err() == nil {
			work.log.WarnContext(ctx, "customers whom agents wait for not checked", "err", err)
		}
		if err == nil && !checked && time.Since(noted) > waitCheckEvery {
			any, e := work.store.AnyWait(ctx)
			checked, err = !any, e // without any wait, nothing fails any more
		}
		if err != nil || checked {
			noted = time.Now()
			work.store.Jobs().NoteResult(ctx, jobs.Failure{Queue: book.BridgeQueue, Kind: book.WorkWaits, Next: noted.Add(waitCheckEvery)}, err)
		}
	}
}

// checkWaits checks the waits that are due, and reports whether there were some.
func (work *Worker) checkWaits(ctx context.Context) (checked bool, err error) {
	due, err := work.store.WaitsDue(ctx)
	if err != nil || !due {
		return false, err
	}
	waits, err := work.store.LeaseWaits(ctx, time.Now().Add(waitCheckEvery), waitChecksPerSecond)
	if err != nil {
		return false, err
	}
	var checks errgroup.Group
	for _, w := range waits {
		checks.Go(func() error {
			err := book.Retry(func() error { return work.checkWait(ctx, w) })
			if errors.Is(err, web.ErrAgain) {
				return nil // the next check decides
			}
			return err
		})
	}
	return len(waits) > 0, checks.Wait()
}

// checkWait ends a wait if the visitor is back. In the same transaction it stores the job that
// tells the agent, so that the agent is told once. The error is ErrAgain if the card was changed meanwhile.
func (work *Worker) checkWait(ctx context.Context, w store.Wait) error {
	end := func() error { return work.store.Commit(ctx, store.Change{EndWaits: []store.Wait{w}}) }
	if time.Now().After(w.Until) {
		return end()
	}
	c, err := work.book.Card(ctx, w.Card)
	if errors.Is(err, store.ErrNotFound) {
		return end()
	}
	if err != nil {
		return err
	}
	if c.Agent != w.Agent || !c.CanWaitForVisitor() || !c.About.Pressed.Before(w.Until.Add(-waitLife)) {
		return end()
	}
	v, err := work.matcher.CurrentVisitor(ctx, c)
	if errors.Is(err, upscope.ErrNotFound) || err == nil && !v.IsOnline {
		return nil
	}
	if err != nil {
		work.backoff.note(err)
		return err
	}
	before := c
	c.UpdatePresence(v)
	c.About.Notified, c.About.NotifiedAgent, c.About.NotifiedAt = c.About.Notified+1, c.Agent, time.Now()
	change := store.Change{Audit: work.book.NewIDEntry(c, before.Visitor), EndWaits: []store.Wait{w}}
	if work.book.CanNotifyAgent(c) { // otherwise only the desk shows it
		change.Jobs = []jobs.Job{{Queue: c.About.Place.Connector, Kind: book.JobTell, Subject: c.ID, Step: c.About.Notified, Priority: jobs.Soon}}
	}
	work.book.ScheduleEffects(&c, before, &change)
	return work.book.Commit(ctx, &c, change)
}

var errNotifiedLate = errors.New("the agent was not told in time that the customer is back: dismiss this")

// tell sends the card's agent a new message that the visitor is back: chat services do not notify
// people of an edited card.
func (work *Worker) tell(ctx context.Context, conn chat.Connector, j jobs.Job) error {
	c, err := work.book.Card(ctx, j.Subject)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if c.About.Notified != j.Step || c.Agent != c.About.NotifiedAgent || !c.CanWaitForVisitor() || c.CurrentState() == card.Offline {
		return nil
	}
	if time.Since(c.About.NotifiedAt) > NotificationTTL {
		return chat.Permanent(errNotifiedLate)
	}
	message, err := work.cardText(c, templates.StateBack)
	if err != nil {
		return err
	}
	message.ID = fmt.Sprintf("%s.back%d", c.ID, j.Step)
	_, err = work.post(ctx, conn, c.About.Place, message)
	return err
}
