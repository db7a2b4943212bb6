package bridge

import (
	"context"
	"time"

	"cobrowse-bridge/bridge/store"
)

const (
	// reconcileEvery is the pause between two questions to a chat service.
	reconcileEvery = 100 * time.Millisecond
	// reconcileTries is how often a service that fails is asked about one chat.
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
	for after := ""; ; {
		rows, err := b.store.CardsOpen(ctx, conn.Name, after)
		if err != nil || len(rows) == 0 {
			return closed, err
		}
		for _, row := range rows {
			over, err := b.over(ctx, conn, row)
			if err != nil && !IsPermanent(err) {
				return closed, err
			}
			if over {
				closed++
			}
			after = row.ID
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
		if _, open, err = conn.Serving(ctx, c.Chat); err == nil || IsPermanent(err) {
			break
		}
	}
	if err != nil || open {
		return false, err
	}
	_, err = b.revise(ctx, c.ID, func(c *card) []store.Entry {
		c.close()
		return nil
	})
	return true, err
}
