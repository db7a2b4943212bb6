package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"cobrowse-bridge/bridge/store"
)

// enterWait is how long a chat service may take to make an address.
const enterWait = 10 * time.Second

// served is the card of the conversation: this one, or that which an agent pressed
// to get this one.
func (b *Bridge) served(ctx context.Context, c card) (card, error) {
	if c.about.Shared == "" {
		return c, nil
	}
	of, err := b.card(ctx, c.about.Shared)
	if errors.Is(err, store.ErrNotFound) {
		return card{}, errClosed
	}
	if err != nil {
		return card{}, storeFault(err)
	}
	return of, nil
}

// enters reports whether the card's conversation is one that agents enter through
// the bridge.
func (b *Bridge) enters(c card) bool {
	return b.connectors[cmp.Or(c.about.SharedOf, c.Connector)].EnterChat != nil
}

// enterChat leads an agent into the conversation, by an address that is made for
// them now and exists in this answer alone. Whoever follows it is that agent, so it
// is guarded as a watch link is: the door has to be their browser's, the
// conversation has to be open, there is a limit, and that they went is on record
// before.
func (b *Bridge) enterChat(w http.ResponseWriter, r *http.Request, c card) error {
	ctx := r.Context()
	if !b.enters(c) {
		return b.showDoor(w, r, c)
	}
	if c.over {
		return errClosed
	}
	of, err := b.served(ctx, c)
	if err != nil {
		return err
	}
	if err := b.recordEntry(w, r, c, of); err != nil {
		b.refused(ctx, c, err)
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, enterWait)
	defer cancel()
	who := c.about.Agent
	if c.who.ID != "" {
		who = Agent{ID: c.who.ID, Name: c.actorName(), Email: c.who.Email}
	}
	address, err := b.connectors[of.Connector].EnterChat(ctx, of.conversation(), who)
	if err == nil && !b.chats[of.Connector].Allow(address) {
		err = errors.New("its address leads to none of the hosts that are configured")
	}
	if err != nil {
		b.writeDown(context.WithoutCancel(ctx), b.entry(c, "chat not entered", ""))
		return fmt.Errorf("%w: %w", errNoChat, err)
	}
	leadAway(w, address)
	return nil
}

// recordEntry writes down who is about to enter which conversation, in one
// transaction with what allows it.
func (b *Bridge) recordEntry(w http.ResponseWriter, r *http.Request, c, of card) error {
	change := store.Change{
		Spend: []store.Spending{{Limit: b.budgets.chatEntries, Subject: c.actor()}},
		Audit: []store.Entry{b.entry(c, "entering chat", of.conversation())},
	}
	if err := b.limits.known(change.Spend); err != nil {
		return err
	}
	if !b.signsIn() {
		change.Claim = c.claim(b.mark(w, r, c))
	}
	return b.commitPress(r.Context(), change)
}
