package bridge

import (
	"context"
	"errors"
	"fmt"
	"regexp"
	"strconv"
	"strings"

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
	next, err := b.cardOfChat(ctx, connector, fmt.Sprintf("%s#%d", ask.Chat, max(n, 1)+1))
	if next.Version == 0 {
		// An end that is worked on at this moment found the last conversation, and is
		// about this one.
		next.follows = &last.Card
	}
	return next, err
}

var episodes = regexp.MustCompile(`#[0-9]+$`)

// conversation is what the chat service calls the conversation of a card.
func (c *card) conversation() string { return strings.TrimSuffix(c.Chat, episodes.FindString(c.Chat)) }
