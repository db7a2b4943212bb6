package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"cobrowse-bridge/bridge/store"
)

// episode gives the card of the conversation that an ask is about: of several with
// one name the last, or a new one where the ask says that there is another. One
// that came before the last was over is about that, in whatever order they are
// worked on.
func (b *Bridge) episode(ctx context.Context, connector string, ask Ask, d store.Delivery) (card, error) {
	row, err := b.store.CardOfEpisode(ctx, connector, ask.Chat)
	var last card
	switch {
	case err == nil:
		last, err = openCard(row)
	case errors.Is(err, store.ErrNotFound):
		last, err = b.cardOfChat(ctx, connector, ask.Chat)
	}
	again := err == nil && ask.Verb == Start && ask.New && last.Version > 0 && last.state() == Closed && d.Received.After(last.about.Over)
	if !again {
		return last, err
	}
	n, _ := strconv.Atoi(strings.TrimPrefix(episodes.FindString(last.Chat), "#"))
	return b.cardOfChat(ctx, connector, fmt.Sprintf("%s#%d", ask.Chat, max(n, 1)+1))
}

var episodes = regexp.MustCompile(`#[0-9]+$`)

// conversation is what the chat service calls the conversation of a card.
func (c *card) conversation() string { return episodes.ReplaceAllString(c.Chat, "") }

// enterWait is how long a chat service may take to make an address.
const enterWait = 10 * time.Second

// served is the card of the conversation: this one, or that which an agent pressed
// to get this one.
func (b *Bridge) served(ctx context.Context, c card) (card, error) {
	if c.about.Shared == "" {
		return c, nil
	}
	of, err := b.card(ctx, c.about.Shared)
	if err != nil {
		return card{}, fmt.Errorf("%w: %w", errStore, err)
	}
	return of, nil
}

// enters reports whether the card's conversation is entered through the bridge.
func (b *Bridge) enters(c card) bool {
	of, err := b.served(context.Background(), c)
	return err == nil && b.connectors[of.Connector].EnterChat != nil
}

// enterChat leads an agent into the conversation, by an address that is made for
// them now and exists in this answer alone. That they went is on record before.
func (b *Bridge) enterChat(w http.ResponseWriter, r *http.Request, c card) error {
	ctx := r.Context()
	of, err := b.served(ctx, c)
	if err != nil {
		return err
	}
	enter := b.connectors[of.Connector].EnterChat
	if enter == nil {
		return b.showDoor(w, r, c)
	}
	if !b.looks.allow(c.actor()) {
		return errThrottled
	}
	if err := b.store.Commit(ctx, store.Change{Audit: []store.Entry{b.entry(c, "entering chat", of.conversation())}}); err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	ctx, cancel := context.WithTimeout(ctx, enterWait)
	defer cancel()
	who := c.about.Agent
	if c.who.ID != "" {
		who = Agent{ID: c.who.ID, Name: c.actorName(), Email: c.who.Email}
	}
	address, err := enter(ctx, of.conversation(), who)
	if err == nil && !b.chats[of.Connector].Allow(address) {
		err = errors.New("its address leads to none of the hosts that are configured")
	}
	if err != nil {
		b.note(context.WithoutCancel(ctx), c, "chat not entered", "")
		return fmt.Errorf("%w: %w", errNoChat, err)
	}
	h := w.Header()
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Location", address)
	w.WriteHeader(http.StatusSeeOther)
	return nil
}
