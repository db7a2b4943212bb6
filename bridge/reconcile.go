package bridge

import (
	"context"
	"errors"
	"time"

	"cobrowse-bridge/bridge/store"
)

const (
	// reconcileEvery is the pause between two questions to a chat service.
	reconcileEvery = 100 * time.Millisecond
	// reconcileTries is how often a service that fails is asked about one chat,
	// and about how many of them in a row.
	reconcileTries = 5
	reconcileWait  = 10 * time.Second
)

// reconcile closes the cards of chats that ended while nobody listened: their
// deliveries are lost for good. Chats that began meanwhile are the connector's to
// report.
func (b *Bridge) reconcile(ctx context.Context, conn Connector) {
	closed, err := b.closeOver(ctx, conn)
	if err != nil && ctx.Err() == nil {
		b.log.WarnContext(ctx, "chats not compared with their cards", "connector", conn.Name, "err", err)
	}
	if closed > 0 {
		b.log.InfoContext(ctx, "cards of chats that ended meanwhile were closed", "connector", conn.Name, "cards", closed)
	}
}

func (b *Bridge) closeOver(ctx context.Context, conn Connector) (closed int, err error) {
	var failed []error
	for after := ""; ; {
		rows, err := b.store.CardsOpen(ctx, conn.Name, after)
		if err != nil || len(rows) == 0 {
			return closed, err
		}
		for _, row := range rows {
			after = row.ID
			over, err := b.over(ctx, conn, row)
			if over {
				closed++
			}
			// One chat that cannot be read says nothing of the others; several in
			// a row say that the service is down.
			if err == nil {
				failed = nil
				continue
			}
			if failed = append(failed, err); len(failed) == reconcileTries || ctx.Err() != nil {
				return closed, errors.Join(failed...)
			}
		}
	}
}

// over closes the card of a chat that is over.
func (b *Bridge) over(ctx context.Context, conn Connector, row store.Card) (bool, error) {
	c, err := openCard(row)
	if err != nil || c.about.Asked {
		return false, err
	}
	open := true
	for try := range reconcileTries {
		wait := reconcileEvery
		if try > 0 {
			wait = reconcileWait
		}
		select {
		case <-ctx.Done():
			return false, ctx.Err()
		case <-time.After(wait):
		}
		if _, open, err = conn.Serving(ctx, c.conversation()); err == nil || IsPermanent(err) {
			break
		}
	}
	if err != nil || open {
		return false, err
	}
	_, err = b.revise(ctx, c.ID, func(c *card) []store.Entry {
		c.close(time.Now())
		return nil
	})
	return true, err
}
