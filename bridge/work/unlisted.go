package work

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/store"
)

const (
	// listedAfter is how old a card must be before the list has to contain its chat.
	listedAfter = time.Minute
	// maxUnlistedOpen and maxUnlistedAsked limit how many of the chats that a sweep did not list
	// are asked about: the first those that are open, the second all.
	maxUnlistedOpen  = 10
	maxUnlistedAsked = 20
	// confirmedLife is how long a chat that is open and not listed is not asked about again.
	confirmedLife = time.Hour
	// unlistedPause is the pause before each request about a chat. Some services limit requests of
	// an account to ten a minute, which new cards need too.
	unlistedPause = 10 * time.Second
	// missingSweeps is after how many sweeps in a row missing chats are listed as a failure. In
	// one sweep, a chat can be missed that moved from one list of the service to another.
	missingSweeps = 2
)

// unlisted remembers the chats of open cards that the service's list of open chats does not contain.
// Only the goroutine that sweeps the connector uses it. Each process has its own.
type unlisted struct {
	asked    map[string]asked // by the id of the chat's card
	sweeps   int              // in a row with chats that were not listed and are open or cannot be read
	reported bool             // in the log
}

// asked says when the service was asked about a chat last, and whether the chat was open then.
type asked struct {
	at   time.Time
	open bool
}

// checkUnlisted compares the open cards with the list of open chats that a complete sweep has read.
// A chat that was not listed has ended, and its delivery is lost, or the account that reads the list
// may not see it. checkUnlisted asks the service about some of these chats, so that all have their
// turn, and closes the cards of those that have ended. It returns an error if sweep after sweep
// chats that the list does not contain are open, or cannot be read. known is false if this sweep alone
// does not tell. It calls extend before each request, and stops if that fails.
func (work *Worker) checkUnlisted(ctx context.Context, conn chat.Connector, listed map[string]bool, began time.Time, extend func() error) (known bool, err error) {
	open, err := work.store.OpenChats(ctx, conn.Name, began.Add(-listedAfter))
	if err != nil {
		return true, err
	}
	u := work.unlisted[conn.Name]
	missing := slices.DeleteFunc(slices.Clone(open), func(c store.OpenChat) bool { return listed[c.Chat] })
	seen := len(open) - len(missing) // chats with a card that were listed
	if conn.Serving == nil {
		if seen == 0 && len(missing) > 0 {
			work.reportUnlisted(ctx, u, conn.Name, 0, len(missing), "if one of these chats is open, chats whose webhooks were lost have no card")
		} else {
			u.reported = false
		}
		return true, nil
	}
	u.keep(missing)
	stillOpen, unread, err := work.askUnlisted(ctx, conn, u, missing, extend)
	switch {
	case errors.Is(err, store.ErrLeased):
		return false, nil // another process sweeps
	case err != nil:
		return true, err
	case stillOpen > 0:
		u.sweeps++
		total := seen + u.open()
		work.reportUnlisted(ctx, u, conn.Name, seen, total, "chats whose webhooks were lost may have no card")
		if u.sweeps < missingSweeps {
			return false, nil
		}
		return true, fmt.Errorf("the list of open chats contains only %d of at least %d chats that are open: the account that reads it may not see the others", seen, total)
	case unread != nil:
		if u.sweeps++; u.sweeps < missingSweeps {
			return false, nil
		}
		return true, fmt.Errorf("chats of open cards are not in the list of open chats, and cannot be read: %w", unread)
	}
	*u = unlisted{}
	return true, nil
}

// keep forgets the chats that are listed now or whose cards are closed.
func (u *unlisted) keep(missing []store.OpenChat) {
	still := make(map[string]asked, len(u.asked))
	for _, c := range missing {
		if a, ok := u.asked[c.Card]; ok {
			still[c.Card] = a
		}
	}
	u.asked = still
}

// open counts the chats that were open when the service was asked.
func (u *unlisted) open() (n int) {
	for _, a := range u.asked {
		if a.open {
			n++
		}
	}
	return n
}

// reportUnlisted logs that the list lacks chats, once until it contains all again.
func (work *Worker) reportUnlisted(ctx context.Context, u *unlisted, connector string, listed, known int, effect string) {
	if u.reported {
		return
	}
	u.reported = true
	work.log.WarnContext(ctx, "open chats missing from the list of open chats", "connector", connector,
		"listed", fmt.Sprintf("%d of at least %d known", listed, known), "effect", effect)
}

// askUnlisted asks about missing chats, those first that were not asked about for the longest time,
// and closes the cards of those that have ended. It returns how many are open, and the last failure
// of the service. err is a failure of the store, or that ctx has ended.
func (work *Worker) askUnlisted(ctx context.Context, conn chat.Connector, u *unlisted, missing []store.OpenChat, extend func() error) (open int, unread, err error) {
	slices.SortStableFunc(missing, func(a, b store.OpenChat) int { return u.asked[a.Card].at.Compare(u.asked[b.Card].at) })
	closed, failed := 0, 0
	for _, c := range missing[:min(len(missing), maxUnlistedAsked)] {
		last := u.asked[c.Card]
		if open == maxUnlistedOpen || open > 0 && last.open && time.Since(last.at) < confirmedLife || failed == reconcileTries {
			break
		}
		select {
		case <-ctx.Done():
			return open, unread, ctx.Err()
		case <-time.After(unlistedPause):
		}
		if err := extend(); err != nil {
			return open, unread, err
		}
		_, isOpen, e := conn.Serving(ctx, c.Chat)
		u.asked[c.Card] = asked{time.Now(), e == nil && isOpen}
		switch {
		case e != nil:
			if failed, unread = failed+1, e; ctx.Err() != nil {
				return open, unread, ctx.Err()
			}
			if _, busy := chat.RetryWait(e); busy {
				failed = reconcileTries
			}
		case isOpen:
			open++
		default:
			if err := work.closeCard(ctx, c.Card); err != nil {
				return open, unread, err
			}
			closed++
		}
	}
	if closed > 0 {
		work.log.InfoContext(ctx, "cards closed whose chats had ended", "connector", conn.Name, "cards", closed)
	}
	if unread != nil {
		work.log.InfoContext(ctx, "chats missing from the list of open chats not read", "connector", conn.Name, "err", unread)
	}
	return open, unread, nil
}
