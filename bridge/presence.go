package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"reflect"
	"time"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"

	"golang.org/x/sync/errgroup"
)

// Whether a visitor is online is a hint on a card: it was so when somebody
// looked. Looks are the chat's own events, every opening of the door, and these,
// each so long after the one before.
var refreshes = []time.Duration{2 * time.Minute, 5 * time.Minute, 10 * time.Minute, 20 * time.Minute, 30 * time.Minute}

const (
	// refreshesPerMinute bounds what all cards together ask of Upscope to keep
	// their hints honest. A look that is left out is made up for by the next.
	refreshesPerMinute = 120

	// A wait is looked at every returnsEvery, and at most returnsPerSecond of
	// them are, each with one request: 40 a second are 2,400 a minute, whatever is
	// waited for, and a thousand waits are told within half a minute.
	returnsEvery     = 25 * time.Second
	returnsPerSecond = 40
	// newsLife is how long it is news that somebody is back.
	newsLife = 5 * time.Minute
	// waitLife is when an agent who wants to be told has given up.
	waitLife = time.Hour
)

// presence reads where the card's visitor is now, with one request: by the clue
// that led to them, so that somebody who goes on under another short id is found
// as well, or else by that id.
func (b *Bridge) presence(ctx context.Context, c card) (upscope.Visitor, error) {
	clues := c.about.Clues.only(c.about.Reason)
	if clues.Empty() {
		if c.Visitor == "" {
			return upscope.Visitor{}, upscope.ErrNotFound
		}
		return b.finder.visitor(ctx, c.Visitor)
	}
	m, err := b.finder.find(ctx, clues)
	if err != nil {
		return upscope.Visitor{}, err
	}
	if !m.Sure {
		return upscope.Visitor{}, upscope.ErrNotFound
	}
	return m.Visitors[0], nil
}

// only leaves the clue that is behind a reason, if it is one to search by.
func (c Clues) only(r templates.Reason) Clues {
	switch r {
	case templates.ReasonIntegration:
		return Clues{IntegrationIDs: c.IntegrationIDs}
	case templates.ReasonUnique:
		return Clues{UniqueID: c.UniqueID}
	}
	return Clues{}
}

// saw brings a card that waits to be pressed to what was seen of its visitor. If
// that is not who was matched, the door and the press will say so.
func (c *card) saw(v upscope.Visitor) {
	if s := c.state(); s != Ready && s != Offline {
		return
	}
	if v.ShortID != c.Visitor {
		if seen := c.about.Sighting; seen == nil || seen.Identity == identity(v) {
			c.take(v)
		}
		c.Visitor = v.ShortID
	}
	if v.IsOnline {
		c.move(foundOnline)
	} else {
		c.move(foundOffline)
	}
}

// follows says on record that a card's visitor is known by another id now.
func (b *Bridge) follows(c card, before string) []store.Entry {
	if before == "" || c.Visitor == before {
		return nil
	}
	return []store.Entry{b.entry(c, "asked", "short id changed: by "+string(c.about.Reason))}
}

// noticed shows on the card what somebody who looked at its door saw. That it
// fails changes nothing for them.
func (b *Bridge) noticed(ctx context.Context, c card, v upscope.Visitor) {
	if c.about.Shared != "" {
		return // it is looked at for two minutes, by one agent
	}
	after := c
	if after.saw(v); after.State == c.State && after.Visitor == c.Visitor {
		return
	}
	_, err := b.revise(context.WithoutCancel(ctx), c.ID, func(now *card) []store.Entry {
		if now.Visitor != c.Visitor || !reflect.DeepEqual(now.about.Clues, c.about.Clues) {
			return nil // it was looked for anew meanwhile
		}
		now.saw(v)
		return b.follows(*now, c.Visitor)
	})
	if err != nil {
		b.log.WarnContext(ctx, "presence not shown on the card", "card", c.ID, "err", err)
	}
}

// refresh looks at the visitor of a card that nobody has pressed yet, and comes
// back a few times.
func (b *Bridge) refresh(ctx context.Context, j store.Job) error {
	c, err := b.card(ctx, j.Subject)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if s := c.state(); s != Ready && s != Offline {
		return nil
	}
	if !b.rest.resting() && b.refreshed.allow("") {
		v, err := b.presence(ctx, c)
		switch {
		case err == nil:
			b.noticed(ctx, c, v)
		case !errors.Is(err, upscope.ErrNotFound):
			b.log.WarnContext(ctx, "presence not read", "card", c.ID, "err", err)
			b.rest.note(err)
		}
	}
	if j.Step+1 >= len(refreshes) {
		return nil
	}
	return b.store.Commit(ctx, store.Change{Jobs: []store.Job{refreshJob(c, j.Step+1)}})
}

func refreshJob(c card, step int) store.Job {
	return store.Job{Queue: c.Connector, Kind: jobRefresh, Subject: c.ID, Step: step, At: time.Now().Add(refreshes[step])}
}

// tells reports whether the card's agent can be told later. A door of two minutes
// would have closed by then.
func (b *Bridge) tells(c card) bool {
	return c.about.Shared == "" && c.about.Place.Address != "" && b.connectors[c.about.Place.Connector].Show != nil
}

// waitable reports whether the card's visitor may be waited for: they are gone, or
// may be by the time the agent reads it.
func (c *card) waitable() bool {
	switch c.state() {
	case Offline, Ready, Opened, Ended:
		return true
	}
	return false
}

// wait remembers that the card's agent wants to be told when the visitor is back.
func (b *Bridge) wait(w http.ResponseWriter, r *http.Request, c card) error {
	if !b.tells(c) || !c.waitable() {
		return b.showDoor(w, r, c)
	}
	if err := b.startWait(r.Context(), c); err != nil {
		return err
	}
	return b.render(w, http.StatusOK, templates.Notice{Kind: templates.KindTold, Agent: c.actorName(), Chat: c.chatLink()})
}

func (b *Bridge) startWait(ctx context.Context, c card) error {
	now := time.Now()
	wish := store.Wait{Card: c.ID, Agent: c.Agent, Until: now.Add(waitLife)}
	if err := b.store.StartWait(ctx, wish, now); err != nil {
		return storeFault(err)
	}
	return nil
}

// watchReturns looks after those whom agents wait for, until ctx ends.
func (b *Bridge) watchReturns(ctx context.Context) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if err := b.lookForReturns(ctx); err != nil && ctx.Err() == nil {
			b.log.WarnContext(ctx, "returns not looked for", "err", err)
		}
	}
}

func (b *Bridge) lookForReturns(ctx context.Context) error {
	if b.rest.resting() {
		return nil
	}
	due, err := b.store.WaitsDue(ctx)
	if err != nil || !due {
		return err
	}
	waits, err := b.store.TakeWaits(ctx, time.Now().Add(returnsEvery), returnsPerSecond)
	if err != nil {
		return err
	}
	var looks errgroup.Group
	for _, w := range waits {
		looks.Go(func() error { return b.lookFor(ctx, w) })
	}
	return looks.Wait()
}

// lookFor tells an agent that the visitor of their card is back, if they are.
// What ends the waiting is stored together with the job that tells, so that they
// are told once.
func (b *Bridge) lookFor(ctx context.Context, w store.Wait) error {
	end := func() error { return b.store.Commit(ctx, store.Change{EndWaits: []store.Wait{w}}) }
	if time.Now().After(w.Until) {
		return end()
	}
	c, err := b.card(ctx, w.Card)
	if errors.Is(err, store.ErrNotFound) {
		return end()
	}
	if err != nil {
		return err
	}
	if c.Agent != w.Agent || !c.waitable() || !c.about.Pressed.Before(w.Until.Add(-waitLife)) {
		return end()
	}
	v, err := b.presence(ctx, c)
	if errors.Is(err, upscope.ErrNotFound) || err == nil && !v.IsOnline {
		return nil
	}
	if err != nil {
		b.rest.note(err)
		return err
	}
	before := c
	c.saw(v)
	c.about.Told, c.about.ToldAgent, c.about.ToldAt = c.about.Told+1, c.Agent, time.Now()
	change := store.Change{Audit: b.follows(c, before.Visitor), EndWaits: []store.Wait{w}}
	if b.tells(c) { // of others the desk tells
		change.Jobs = []store.Job{{Queue: c.about.Place.Connector, Kind: jobTell, Subject: c.ID, Step: c.about.Told}}
	}
	b.follow(&c, before, &change)
	if err := b.commit(ctx, &c, change); !errors.Is(err, errAgain) {
		return err
	}
	return nil // the card changed: the next look decides
}

// tell sends the card's agent a message of its own that the visitor is back,
// since an edited card makes no sound.
func (b *Bridge) tell(ctx context.Context, conn Connector, j store.Job) error {
	c, err := b.card(ctx, j.Subject)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	stale := time.Since(c.about.ToldAt) > newsLife || c.about.Told != j.Step || c.Agent != c.about.ToldAgent
	if stale || !c.waitable() || c.state() == Offline {
		return nil
	}
	words, err := b.worded(c, templates.StateBack)
	if err != nil {
		return err
	}
	words.ID = fmt.Sprintf("%s.back%d", c.ID, j.Step)
	_, err = conn.Show(ctx, c.about.Place, words)
	return err
}
