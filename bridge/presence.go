package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
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
	// them are: 40 a second are 2,400 requests a minute, whatever is waited for,
	// and a thousand waits are told within half a minute.
	returnsEvery     = 25 * time.Second
	returnsPerSecond = 40
	// waitLife is when an agent who wants to be told has given up.
	waitLife = time.Hour
)

// presence reads where the card's visitor is now. Somebody who goes on under
// another short id is found by the clue that lasts.
func (b *Bridge) presence(ctx context.Context, c card) (upscope.Visitor, error) {
	if !c.about.Clues.Empty() && c.about.Reason != templates.ReasonChosen {
		m, err := b.finder.find(ctx, c.about.Clues)
		if err != nil {
			return upscope.Visitor{}, err
		}
		if m.Sure {
			return m.Visitors[0], nil
		}
	}
	if c.Visitor == "" {
		return upscope.Visitor{}, upscope.ErrNotFound
	}
	return b.finder.visitor(ctx, c.Visitor)
}

// saw brings a card that waits to be pressed to what was seen of its visitor.
func (c *card) saw(v upscope.Visitor) {
	if s := c.state(); s != Ready && s != Offline {
		return
	}
	if v.ShortID != c.Visitor {
		c.take(v)
	}
	if v.IsOnline {
		c.move(foundOnline)
	} else {
		c.move(foundOffline)
	}
}

// noticed shows on the card what somebody who looked at its door saw. That it
// fails changes nothing for them.
func (b *Bridge) noticed(ctx context.Context, c card, v upscope.Visitor) {
	after := c
	if after.saw(v); after.State == c.State && after.Visitor == c.Visitor {
		return
	}
	_, err := b.revise(context.WithoutCancel(ctx), c.ID, func(c *card) []store.Entry {
		c.saw(v)
		return nil
	})
	if err != nil {
		b.log.WarnContext(ctx, "presence not shown on the card", "card", c.ID, "err", err)
	}
}

// refresh looks at the visitor of a card that nobody has pressed yet, and comes
// back a few times.
func (b *Bridge) refresh(ctx context.Context, j store.Job) error {
	row, err := b.store.Card(ctx, j.Subject)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	c, err := openCard(row)
	if err != nil {
		return err
	}
	if s := c.state(); s != Ready && s != Offline {
		return nil
	}
	if b.refreshed.allow("") {
		v, err := b.presence(ctx, c)
		switch {
		case err == nil:
			b.noticed(ctx, c, v)
		case !errors.Is(err, upscope.ErrNotFound):
			b.log.WarnContext(ctx, "presence not read", "card", c.ID, "err", err)
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

// tells reports whether the card's agent can be told something.
func (b *Bridge) tells(c card) bool {
	return c.about.Place.Address != "" && b.connectors[c.about.Place.Connector].Show != nil
}

// wait remembers that the card's agent wants to be told when the visitor is back.
func (b *Bridge) wait(w http.ResponseWriter, r *http.Request, c card) error {
	if !b.tells(c) || c.state() != Offline && c.state() != Ready {
		return b.showDoor(w, r, c)
	}
	now := time.Now()
	wish := store.Wait{Card: c.ID, Agent: c.Agent, Until: now.Add(waitLife)}
	if err := b.store.StartWait(r.Context(), wish, now); err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	return b.render(w, http.StatusOK, templates.Notice{Kind: templates.KindTold, Agent: c.about.Agent.Name, Chat: c.chatLink()})
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
	row, err := b.store.Card(ctx, w.Card)
	if errors.Is(err, store.ErrNotFound) || err == nil && (row.Agent != w.Agent || time.Now().After(w.Until)) {
		return b.store.Commit(ctx, store.Change{EndWaits: []store.Wait{w}})
	}
	if err != nil {
		return err
	}
	c, err := openCard(row)
	if err != nil {
		return err
	}
	if s := c.state(); s != Offline && s != Ready {
		return b.store.Commit(ctx, store.Change{EndWaits: []store.Wait{w}})
	}
	v, err := b.presence(ctx, c)
	if errors.Is(err, upscope.ErrNotFound) || err == nil && !v.IsOnline {
		return nil
	}
	if err != nil {
		return err
	}
	before := c
	c.saw(v)
	c.about.Told, c.about.ToldAgent = c.about.Told+1, c.Agent
	change := store.Change{
		EndWaits: []store.Wait{w},
		Jobs:     []store.Job{{Queue: c.about.Place.Connector, Kind: jobTell, Subject: c.ID, Step: c.about.Told}},
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
	row, err := b.store.Card(ctx, j.Subject)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	c, err := openCard(row)
	if err != nil {
		return err
	}
	if c.state() == Closed || c.about.Told != j.Step || c.Agent != c.about.ToldAgent {
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
