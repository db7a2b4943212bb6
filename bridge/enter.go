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
// them now. It exists in this answer, and in the memory of this process for a press that is
// made twice. It logs in the agent, so it is guarded as a watch link is: the door
// has to be their browser's, the conversation has to be open, there is a limit, and that they
// went is on record before. Other processes do not know of the first of two presses.
func (b *Bridge) enterChat(w http.ResponseWriter, r *http.Request, c card, browser string) error {
	if !b.enters(c) {
		return b.showDoor(w, r, c)
	}
	if c.over {
		return errClosed
	}
	key := repeatKey{opens: "chat", card: c.ID, agent: c.actor(), browser: browser}
	answer, _, err := b.repeats.once(r.Context(), key, "", func(ctx context.Context) (outcome, error) {
		address, err := b.enterNow(ctx, c, browser)
		return outcome{address: address}, err
	})
	if err != nil {
		return err
	}
	leadAway(w, answer.address)
	return nil
}

// enterNow asks the chat service for an address, after the record of who asks is written.
func (b *Bridge) enterNow(ctx context.Context, c card, browser string) (address string, err error) {
	of, err := b.served(ctx, c)
	if err != nil {
		return "", err
	}
	confirmed, err := b.confirm(ctx, c, of)
	if err == nil && !confirmed {
		err = b.stillServes(ctx, c, of)
	}
	if err == nil {
		err = b.recordEntry(ctx, c, of, browser)
	}
	if err != nil {
		b.refused(ctx, c, err)
		return "", err
	}
	limited, cancel := context.WithTimeout(ctx, enterWait)
	defer cancel()
	who := c.about.Agent
	if c.who.ID != "" {
		who = Agent{ID: c.who.ID, Name: c.actorName(), Email: c.who.Email}
	}
	address, err = b.connectors[of.Connector].EnterChat(limited, of.conversation(), who)
	if err == nil && !b.chats[of.Connector].Allow(address) {
		err = errors.New("its address leads to none of the hosts that are configured")
	}
	if err != nil {
		b.writeDown(context.WithoutCancel(ctx), b.entry(c, "chat not entered", ""))
		return "", fmt.Errorf("%w: %w", errNoChat, err)
	}
	return address, nil
}

// recordEntry writes down who is about to enter which conversation, in one
// transaction with what allows it.
func (b *Bridge) recordEntry(ctx context.Context, c, of card, browser string) error {
	change := store.Change{
		Spend: []store.Spending{{Limit: b.budgets.chatEntries, Subject: c.actor()}},
		Audit: []store.Entry{b.entry(c, "entering chat", of.conversation())},
	}
	if err := b.limits.known(change.Spend); err != nil {
		return err
	}
	if !b.signsIn() {
		change.Claim = c.claim(browser)
	}
	return b.commitPress(ctx, change)
}
