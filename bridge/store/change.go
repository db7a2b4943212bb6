package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/store/limit"
	"cobrowse-bridge/bridge/store/refreshes"
)

// A Change is what one step of the bridge writes. All of it is written, or nothing.
type Change struct {
	// Spend counts acts against limits. If one limit is used up, nothing is written and
	// Commit fails with a SpentError. Spend is checked first.
	Spend []limit.Spending
	// Claim is checked next; see Claim.
	Claim *Claim
	// Connect makes an agent the owner of an account; ErrTaken if another agent owns
	// it. Disconnect removes an account if its Agent owns it.
	Connect, Disconnect *Account
	// Card is inserted if its Version is 0; ErrConflict if the chat has a card already.
	// Otherwise it replaces the stored card; ErrConflict if that has another Version.
	// Commit sets Version to the stored one.
	Card *Card
	// Follows is the card of the previous episode, as it was read, where Card is the
	// next one. If it was changed since, Commit fails with ErrConflict. Commit changes
	// its Version, so a request that read it before gets ErrConflict as well.
	Follows *Card
	// Posts are added to their cards. If a post exists already, only its Current is changed.
	Posts []Post
	Jobs  []jobs.Job
	Audit []audit.Entry
	// EndWaits are removed. A Wait without an Agent means all waits of its card.
	EndWaits []Wait
	// Refresh is stored, in place of another one of the same card.
	Refresh *refreshes.Refresh
	// Finish is the id of a delivery that was handled. Its body is removed. Its key is
	// kept until Purge, to recognise repeats.
	Finish string
	// Applied is the id of a delivery that is not finished, but whose effect on its
	// chats is part of this Change. Its ChatChanges are removed.
	Applied string
}

// Commit writes c. After ErrConflict, ErrTaken, ErrSpent or ErrNotFound (a Claim of a card that
// does not exist) nothing of c is written. If ctx ends first, c may or may not have been written.
func (s *Store) Commit(ctx context.Context, c Change) error {
	w := &write{audit: slices.Clone(c.Audit), desks: c.deskChanges()}
	type step = func(context.Context, engine.Tx) error
	steps, applied := make([]step, 0, 8), make([]step, 0, 2)
	// The checks that can refuse run first. What they write comes after the card.
	checked := func(decide, apply step) { steps, applied = append(steps, decide), append(applied, apply) }
	if len(c.Spend) > 0 {
		rows, decide, apply := s.limits.Spend(c.Spend)
		w.rows = rows
		checked(decide, apply)
	}
	if c.Claim != nil {
		checked(s.claim(*c.Claim, c.Card != nil && c.Card.Version > 0))
	}
	if c.Connect != nil {
		checked(s.connect(*c.Connect))
	}
	if c.Follows != nil {
		checked(previousCard(*c.Follows))
	}
	if c.Card != nil {
		steps = append(steps, s.saveCard(*c.Card, c.Claim != nil))
	}
	steps = append(steps, applied...)
	if c.Disconnect != nil {
		steps = append(steps, disconnect(*c.Disconnect))
	}
	for _, p := range c.Posts {
		steps = append(steps, s.upsertPost(p))
	}
	for _, wait := range c.EndWaits {
		steps = append(steps, endWait(wait))
	}
	if c.Refresh != nil {
		steps = append(steps, refreshes.Start(*c.Refresh))
	}
	if c.Finish != "" {
		steps = append(steps, finish(c.Finish))
	}
	if c.Applied != "" {
		steps = append(steps, deleteChanges(c.Applied))
	}
	w.rows = c.appendRows(w.rows)
	w.do = func(ctx context.Context, tx engine.Tx) error {
		for _, step := range steps {
			if err := step(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	}
	for _, j := range c.Jobs {
		w.jobs = append(w.jobs, j.Params(ctx))
	}
	if err := s.write(ctx, w); err != nil {
		return fmt.Errorf("store: commit: %w", err)
	}
	if c.Card != nil {
		c.Card.Version++
	}
	return nil
}

// appendRows appends the names of all rows that c changes, or whose change by another replica would break a
// check of c, except those of Spend.
func (c *Change) appendRows(rows []string) []string {
	if c.Claim != nil {
		rows = append(rows, rowOfCard(c.Claim.Card), rowOfBrowser(c.Claim.Agent))
	}
	for _, a := range []*Account{c.Connect, c.Disconnect} {
		if a != nil {
			rows = append(rows, rowOfAccount(a.ID))
		}
	}
	if c.Follows != nil {
		rows = append(rows, rowOfCard(c.Follows.ID))
	}
	if c.Card != nil {
		rows = append(rows, rowOfCard(c.Card.ID))
		if c.Card.Version == 0 { // the chat may get its card only once
			rows = append(rows, fmt.Sprintf("chat %q %q", c.Card.Connector, c.Card.Chat))
		}
	}
	for _, p := range c.Posts {
		rows = append(rows, rowOfCard(p.Card))
	}
	for _, w := range c.EndWaits {
		rows = append(rows, rowOfCard(w.Card))
	}
	if c.Refresh != nil {
		rows = append(rows, rowOfCard(c.Refresh.Card))
	}
	for _, id := range []string{c.Finish, c.Applied} {
		if id != "" {
			rows = append(rows, rowOfDelivery(id))
		}
	}
	return rows
}

func finish(id string) func(context.Context, engine.Tx) error {
	return func(ctx context.Context, tx engine.Tx) error {
		if _, err := tx.Exec(ctx, queryFinish, id, time.Now().UnixMicro()); err != nil {
			return fmt.Errorf("finish delivery: %w", err)
		}
		return nil
	}
}
