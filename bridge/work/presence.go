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
	// refreshesPerMinute limits the refresh jobs of all cards that ask Upscope. A job above the
	// limit is skipped; the next one updates the card.
	refreshesPerMinute = 120

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

// refresh reads whether the visitor of a card that was not pressed is online, updates the card, and
// schedules the next refresh.
func (work *Worker) refresh(ctx context.Context, j jobs.Job) error {
	c, err := work.book.Card(ctx, j.Subject)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if s := c.CurrentState(); s != card.Ready && s != card.Offline {
		return nil
	}
	if !work.backoff.active() && work.refreshed.Allow("") {
		v, err := work.matcher.CurrentVisitor(ctx, c)
		switch {
		case err == nil:
			work.ShowPresence(ctx, c, v)
		case !errors.Is(err, upscope.ErrNotFound):
			work.log.WarnContext(ctx, "online state not read from Upscope", "card", c.ID, "err", err)
			work.backoff.note(err)
		}
	}
	if j.Step+1 >= len(book.RefreshWaits) {
		return nil
	}
	return work.store.Commit(ctx, store.Change{Jobs: []jobs.Job{book.RefreshJob(c, j.Step+1)}})
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
		checks.Go(func() error { return work.checkWait(ctx, w) })
	}
	return len(waits) > 0, checks.Wait()
}

// checkWait ends a wait if the visitor is back. In the same transaction it stores the job that
// tells the agent, so that the agent is told once.
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
	if err := work.book.Commit(ctx, &c, change); !errors.Is(err, web.ErrAgain) {
		return err
	}
	return nil // the card was changed meanwhile: the next check decides
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
