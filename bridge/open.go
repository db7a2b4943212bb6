package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"time"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"

	"golang.org/x/sync/errgroup"
)

// A press is an agent's wish to see a visitor's screen.
type press struct {
	visitor string
	// confirm is the identity of a visitor who changed, as the page showed it.
	confirm string
	// anyway insists although the visitor reads as offline.
	anyway bool
	// straight says that the agent has not seen the door's page.
	straight bool
}

// servingWait is how long the chat service may take to say who serves the chat
// before what its deliveries said is taken.
const servingWait = 2 * time.Second

// open leads an agent to the visitor's screen. The watch link is asked for after
// the record of who asks is written, and exists in this answer alone. Where the
// press was not meant for what there is now, the page says so instead.
func (b *Bridge) open(w http.ResponseWriter, r *http.Request, c card, p press) error {
	ctx := r.Context()
	if p.visitor == "" || p.visitor != c.Visitor && !slices.Contains(c.about.Choices, p.visitor) {
		return errForm
	}
	if !b.watches.allow(c.Agent) {
		return errThrottled
	}
	v, confirmed, err := b.lookBefore(ctx, c, p.visitor)
	switch {
	case errors.Is(err, upscope.ErrNotFound):
		return b.followVisitor(w, r, c)
	case err != nil:
		return err
	case !v.IsOnline && !p.anyway && !c.about.Clues.Empty():
		return b.followVisitor(w, r, c)
	case !v.IsOnline && !p.anyway, c.changed(v) && p.confirm != identity(v), p.straight && (v.IsInSession || b.foreign(v)):
		return b.render(w, http.StatusOK, b.doorOf(c, v))
	}

	before := c
	if v.ShortID != c.Visitor {
		c.about.Reason = templates.ReasonChosen
		c.about.Choices = nil
	}
	c.take(v)
	browser, err := b.browser(r, c)
	if err != nil {
		return err
	}
	watching := b.entry(c, "watching", "by "+joined(", ", string(c.about.Reason), confirmed))
	claim := &store.Claim{
		Card: c.ID, Generation: c.Generation, Agent: c.Agent, Browser: browser,
		Until: time.Now().Add(browserLife), Renewed: c.about.Renewed,
	}
	err = b.store.Commit(ctx, store.Change{Claim: claim, Audit: []store.Entry{watching}})
	switch {
	case errors.Is(err, store.ErrTaken):
		return errElsewhere
	case err != nil:
		return fmt.Errorf("%w: %w", errStore, err)
	}

	// The door is this browser's from here on, whatever Upscope says.
	b.remember(w, c, browser)
	location, err := b.mint(ctx, c, v)
	// What came of it is written even if the agent has gone.
	ctx = context.WithoutCancel(ctx)
	if err != nil {
		if e := b.store.Commit(ctx, store.Change{Audit: []store.Entry{b.entry(c, "not opened", outcome(err))}}); e != nil {
			b.log.ErrorContext(ctx, "outcome not recorded", "card", c.ID, "err", e)
		}
		if errors.Is(err, upscope.ErrNotFound) {
			return b.followVisitor(w, r, c)
		}
		return err
	}
	c.move(watched)
	change := store.Change{Audit: []store.Entry{b.entry(c, "opened", "")}}
	b.follow(&c, before, &change)
	if err := b.commit(ctx, &c, change); err != nil {
		// That the agent watches is on record; only the card is behind.
		b.log.WarnContext(ctx, "card not marked as opened", "card", c.ID, "err", err)
	}
	h := w.Header()
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}

// lookBefore reads the visitor, and makes sure that the agent still serves the
// chat.
func (b *Bridge) lookBefore(ctx context.Context, c card, visitor string) (v upscope.Visitor, confirmed string, err error) {
	group, ctx := errgroup.WithContext(ctx)
	group.Go(func() (err error) {
		v, err = b.finder.visitor(ctx, visitor)
		return err
	})
	group.Go(func() error {
		serving := b.connectors[c.Connector].Serving
		if serving == nil {
			return nil
		}
		ctx, cancel := context.WithTimeout(ctx, servingWait)
		defer cancel()
		agent, open, err := serving(ctx, c.Chat)
		switch {
		case err != nil:
			confirmed = "chat not confirmed"
			b.log.WarnContext(ctx, "chat service did not say who serves the chat", "connector", c.Connector, "card", c.ID, "err", err)
		case !open:
			return errClosed
		case agentID(c.Connector, Agent{ID: agent}) != c.Agent:
			return errMoved
		}
		return nil
	})
	err = group.Wait()
	return v, confirmed, err
}

// followVisitor looks for a visitor who may go on under another short id, as
// happens when they log out or clear their browser. Whoever is found is shown
// first.
func (b *Bridge) followVisitor(w http.ResponseWriter, r *http.Request, c card) error {
	if err := b.lookAgain(r.Context(), &c); err != nil {
		return err
	}
	if c.Visitor == "" && len(c.about.Choices) == 0 {
		return errGone
	}
	return b.showDoor(w, r, c)
}

// mint asks Upscope for a watch link and checks where it leads.
func (b *Bridge) mint(ctx context.Context, c card, v upscope.Visitor) (location string, err error) {
	link, err := b.upscope.Watch(ctx, v.ShortID, upscope.WatchRequest{
		Agent:    upscope.Agent{ID: c.Agent, Name: c.about.Agent.Name},
		Metadata: map[string]any{"bridge_card": c.ID},
	})
	if errors.Is(err, upscope.ErrOverPlan) && v.WatchLink != "" {
		return "", &noticeError{err, c.overPlan(v, b.hosts)}
	}
	if err != nil {
		return "", err
	}
	return link.Location(b.hosts, time.Now())
}

// overPlan offers Upscope's own link, which needs an Upscope login and is no
// secret, where the plan allows no more sessions of ours.
func (c *card) overPlan(v upscope.Visitor, hosts upscope.Hosts) templates.Notice {
	n := templates.Notice{Agent: c.about.Agent.Name, Retry: samePage}
	if c.about.ChatURL != "" {
		n.Chat = templates.Link{Label: "Back to the chat", Address: c.about.ChatURL}
	}
	if hosts.Allow(v.WatchLink) {
		n.Other = templates.Link{Label: "Open in Upscope", Address: v.WatchLink}
	}
	return n
}

// outcome names what stopped a session, for the record.
func outcome(err error) string {
	var e *upscope.Error
	if errors.As(err, &e) {
		return e.Error()
	}
	return err.Error()
}
