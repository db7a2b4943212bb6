package store

import (
	"context"
	"fmt"
	"slices"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// A Change is what one step of the bridge writes, all of it or nothing.
type Change struct {
	// Spend counts acts, all of them or none and a SpentError. It is decided first.
	Spend []Spending
	// Claim is decided next; see Claim.
	Claim *Claim
	// Connect gives an account to its agent, or is ErrTaken if it is somebody
	// else's. Disconnect takes it from its agent, if it is theirs.
	Connect, Disconnect *Account
	// Card is inserted if its Version is 0, unless the chat has one
	// (ErrConflict), else it replaces the stored card of that Version
	// (ErrConflict if there is none). Commit sets its Version to the one stored.
	Card *Card
	// Follows is the card in whose place Card is inserted, as it was read. It is
	// ErrConflict if somebody has changed it since, and whoever works on it meanwhile
	// has that too.
	Follows *Card
	// Posts are added to their cards. Of those there already, only Current is
	// set.
	Posts []Post
	Jobs  []Job
	Audit []Entry
	// EndWaits are removed; one without an Agent stands for all of its card.
	EndWaits []Wait
	// Finish is the id of a delivery that is handled: its body is removed, and
	// its key stays to recognise repeats until Purge.
	Finish string
	// Applied is the id of a delivery that is not finished although this Change holds
	// its effect on its chats: its ChatChanges are not pending any more.
	Applied string
}

// Commit writes c. On ErrConflict, ErrTaken, ErrSpent or ErrNotFound (a Claim of a
// card that does not exist) nothing of c is written. When ctx ends first, c may
// have been written or not.
func (s *Store) Commit(ctx context.Context, c Change) error {
	// Serial, or two replicas could both spend what is left once, or give an
	// account away twice.
	w := &write{audit: slices.Clone(c.Audit), serial: c.Claim != nil || c.Connect != nil || len(c.Spend) > 0}
	type step = func(context.Context, engine.Tx) error
	var steps, applied []step
	// What can refuse comes first, and what it writes comes after the card.
	decided := func(decide, apply step) { steps, applied = append(steps, decide), append(applied, apply) }
	if len(c.Spend) > 0 {
		decided(s.spend(c.Spend))
	}
	if c.Claim != nil {
		decided(s.claim(*c.Claim, c.Card != nil && c.Card.Version > 0))
	}
	if c.Connect != nil {
		decided(s.connect(*c.Connect))
	}
	if c.Follows != nil {
		decided(follows(*c.Follows))
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
	if c.Finish != "" {
		steps = append(steps, finish(c.Finish))
	}
	if c.Applied != "" {
		steps = append(steps, deleteChanges(c.Applied))
	}
	w.do = func(ctx context.Context, tx engine.Tx) error {
		for _, step := range steps {
			if err := step(ctx, tx); err != nil {
				return err
			}
		}
		return nil
	}
	for _, j := range c.Jobs {
		w.jobs = append(w.jobs, j.params())
	}
	if err := s.write(ctx, w); err != nil {
		return fmt.Errorf("store: commit: %w", err)
	}
	if c.Card != nil {
		c.Card.Version++
	}
	return nil
}

func finish(id string) func(context.Context, engine.Tx) error {
	return func(ctx context.Context, tx engine.Tx) error {
		if _, err := tx.Exec(ctx, queryFinish, id, time.Now().UnixMicro()); err != nil {
			return fmt.Errorf("finish delivery: %w", err)
		}
		return nil
	}
}
