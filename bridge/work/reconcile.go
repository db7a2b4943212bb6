package work

import (
	"context"
	"errors"
	"time"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/requestid"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/jobs"
)

const (
	// reconcileEvery is the pause between two requests to a chat service.
	reconcileEvery = 100 * time.Millisecond
	// reconcileTries is how often a failed request about a chat is made, and after how many failed
	// chats in a row reconcile gives up.
	reconcileTries = 5
	reconcileWait  = 10 * time.Second
	// reconcileAgain is the pause after reconcile has given up.
	reconcileAgain = 10 * time.Minute
)

// reconcile closes the cards of chats that ended while the bridge did not run and whose deliveries
// are lost. It runs at the start, until it has succeeded. Chats that began meanwhile are found by
// the connector.
func (work *Worker) reconcile(ctx context.Context, conn chat.Connector) {
	for {
		ctx := requestid.With(ctx, requestid.New())
		closed, err := work.closeEnded(ctx, conn)
		if closed > 0 {
			work.log.InfoContext(ctx, "cards closed whose chats had ended", "connector", conn.Name, "cards", closed)
		}
		work.store.Jobs().NoteResult(ctx, jobs.Failure{Queue: conn.Name, Kind: book.WorkReconcile, Next: time.Now().Add(reconcileAgain)}, err)
		if err == nil || ctx.Err() != nil {
			return
		}
		work.log.WarnContext(ctx, "open cards not compared with chats", "connector", conn.Name, "wait", reconcileAgain.String(), "err", err,
			"effect", "cards of chats that ended while the bridge was stopped may still be open")
		select {
		case <-time.After(reconcileAgain):
		case <-ctx.Done():
			return
		}
	}
}

func (work *Worker) closeEnded(ctx context.Context, conn chat.Connector) (closed int, err error) {
	chats, err := work.store.OpenChats(ctx, conn.Name, time.Now())
	if err != nil {
		return 0, err
	}
	var failed []error // in a row
	var skipped error  // the last one that another attempt can fix
	for _, c := range chats {
		ended, err := work.closeIfEnded(ctx, conn, c)
		if ended {
			closed++
		}
		// One unreadable chat does not stop the rest. Several in a row mean that the
		// service is down.
		if err == nil {
			failed = nil
			continue
		}
		if !chat.IsPermanent(err) {
			skipped = err
		}
		if failed = append(failed, err); len(failed) == reconcileTries || ctx.Err() != nil {
			return closed, errors.Join(failed...)
		}
	}
	return closed, skipped
}

// closeIfEnded closes a card if its chat is over, and reports whether it was.
func (work *Worker) closeIfEnded(ctx context.Context, conn chat.Connector, c store.OpenChat) (ended bool, err error) {
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
		if _, open, err = conn.Serving(ctx, c.Chat); err == nil || chat.IsPermanent(err) {
			break
		}
	}
	if err != nil || open {
		return false, err
	}
	return true, work.closeCard(ctx, c.Card)
}

// closeCard closes the card of a chat that is over.
func (work *Worker) closeCard(ctx context.Context, id string) error {
	_, err := work.book.Revise(ctx, id, func(c *card.Card) []audit.Entry {
		c.Close(time.Now())
		return nil
	})
	return err
}
