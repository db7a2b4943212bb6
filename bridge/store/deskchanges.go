package store

import (
	"context"
	"fmt"
	"sync"

	"cobrowse-bridge/bridge/store/engine"
)

// A DeskChange says what open desk pages may show differently: a card with its agent and connector, an
// account (Agent is its id or that of its owner), or a session of an agent that ended. The other fields
// are empty. It is written in the transaction of the change.
type DeskChange struct {
	// Seq is the number of the change. Numbers only grow, but a transaction with a lower number may
	// commit later, and a number may stay unused.
	Seq                    int64
	Card, Agent, Connector string
	// Session is the hash of the session's token, as the session is stored.
	Session string
}

const (
	// MaxDeskChanges is how many rows DeskChanges returns.
	MaxDeskChanges = 10_000
	// keptDeskChanges is how many rows Purge keeps. Readers are at most some seconds behind.
	keptDeskChanges = 50_000
)

// DeskChanges returns at most 10,000 changes with numbers above after, in order. Purge removes old
// ones. A version of the bridge without this table, which may run beside this one during an update,
// writes none.
func (s *Store) DeskChanges(ctx context.Context, after int64) (changes []DeskChange, err error) {
	err = s.scan(ctx, func(row engine.Rows) error {
		var c DeskChange
		err := row.Scan(&c.Seq, &c.Card, &c.Agent, &c.Connector, &c.Session)
		changes = append(changes, c)
		return err
	}, queryDeskChanges, after, MaxDeskChanges)
	if err != nil {
		return nil, fmt.Errorf("store: desk changes: %w", err)
	}
	return changes, nil
}

// LastDeskChange returns the number of the newest change, or 0.
func (s *Store) LastDeskChange(ctx context.Context) (seq int64, err error) {
	if err := s.engine.QueryRow(ctx, queryLastDeskChange).Scan(&seq); err != nil {
		return 0, fmt.Errorf("store: desk changes: %w", err)
	}
	return seq, nil
}

// listeners are called after a commit with DeskChanges.
type listeners struct {
	mu  sync.Mutex
	all map[*func()]bool
}

// OnDeskChange calls f after each commit of this process that has DeskChanges, until stop is called. f
// must not block.
func (s *Store) OnDeskChange(f func()) (stop func()) {
	l := &s.deskListeners
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[*func()]bool{}
	}
	l.all[&f] = true
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.all, &f)
	}
}

func (l *listeners) call() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for f := range l.all {
		(*f)()
	}
}

func insertDeskChanges(ctx context.Context, tx engine.Tx, changes []DeskChange) error {
	for part := range engine.Portions(changes) {
		args := make([]any, 0, len(part)*deskChangeColumnNum)
		for _, c := range part {
			args = append(args, c.Card, c.Agent, c.Connector, c.Session)
		}
		if _, err := tx.Exec(ctx, queryInsertDeskChanges+engine.Tuples(len(part), deskChangeColumnNum), args...); err != nil {
			return fmt.Errorf("insert desk changes: %w", err)
		}
	}
	return nil
}

// deskChanges returns what c changes at desks.
func (c *Change) deskChanges() (changes []DeskChange) {
	if c.Card != nil {
		changes = append(changes, DeskChange{Card: c.Card.ID, Agent: c.Card.Agent, Connector: c.Card.Connector})
	}
	for _, account := range []*Account{c.Connect, c.Disconnect} {
		if account != nil { // the account's id wakes the desk of its previous owner
			changes = append(changes, DeskChange{Agent: account.Agent}, DeskChange{Agent: account.ID})
		}
	}
	for _, wait := range c.EndWaits {
		if c.Card == nil || c.Card.ID != wait.Card {
			changes = append(changes, DeskChange{Card: wait.Card, Agent: wait.Agent})
		}
	}
	return changes
}
