package store

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"cobrowse-bridge/bridge/store/engine"
)

// A ChatChange says that a delivery takes a chat from its agent.
type ChatChange struct {
	// Chat is the chat service's id of the chat.
	Chat string
	// Closed says that the chat is over. False means that it was handed over.
	Closed bool
	// Agent is the chat service's id of the agent who serves the chat now. Empty means
	// that no agent serves it, or that the delivery does not say who does.
	Agent string
}

// A PendingChange is a ChatChange of a delivery that is stored and not finished.
type PendingChange struct {
	Closed bool
	Agent  string
	// Received is when the delivery arrived.
	Received time.Time
}

// maxPendingChanges is how many changes of one chat PendingChanges returns at most.
const maxPendingChanges = 100

// PendingChanges returns the changes of a chat whose deliveries are not finished, the
// oldest first, and at most the latest 100. It includes the changes of failed deliveries.
func (s *Store) PendingChanges(ctx context.Context, connector, chat string) ([]PendingChange, error) {
	all, err := s.pendingChanges(ctx, connector, chat)
	if err != nil {
		return nil, fmt.Errorf("store: pending changes: %w", err)
	}
	return all, nil
}

func (s *Store) pendingChanges(ctx context.Context, connector, chat string) (all []PendingChange, err error) {
	rows, err := s.engine.Query(ctx, queryPendingChanges, connector, chat, maxPendingChanges)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	for rows.Next() {
		var c PendingChange
		var received int64
		if err := rows.Scan(&c.Closed, &c.Agent, &received); err != nil {
			return nil, err
		}
		c.Received = engine.FromMicros(received)
		all = append(all, c)
	}
	slices.Reverse(all) // the query returns the latest first
	return all, rows.Err()
}

// A changeRow is a row of chat_changes.
type changeRow struct {
	connector, delivery string
	ChatChange
}

// insertChanges stores the changes of new deliveries. Rows are sorted, as everywhere, so
// that two replicas insert in the same order. They cannot block each other here anyway:
// each row has the id of its new delivery.
func insertChanges(ctx context.Context, tx engine.Tx, deliveries []*deliveryRow, fresh map[string]bool) error {
	var rows []changeRow
	for _, d := range deliveries {
		if len(d.changes) == 0 || !fresh[d.id] {
			continue
		}
		last := make(map[string]ChatChange, len(d.changes)) // a later change of a chat replaces an earlier one
		for _, c := range d.changes {
			last[c.Chat] = c
		}
		for _, c := range last {
			rows = append(rows, changeRow{d.connector, d.id, c})
		}
	}
	slices.SortFunc(rows, func(a, b changeRow) int {
		return cmp.Or(cmp.Compare(a.connector, b.connector), cmp.Compare(a.Chat, b.Chat), cmp.Compare(a.delivery, b.delivery))
	})
	for part := range engine.Portions(rows) {
		args := make([]any, 0, len(part)*changeColumnNum)
		for _, r := range part {
			args = append(args, r.connector, r.Chat, r.delivery, r.Closed, r.Agent)
		}
		if _, err := tx.Exec(ctx, queryInsertChanges+engine.Tuples(len(part), changeColumnNum), args...); err != nil {
			return fmt.Errorf("insert chat changes: %w", err)
		}
	}
	return nil
}

// deleteChanges removes the changes of a delivery.
func deleteChanges(delivery string) func(context.Context, engine.Tx) error {
	return func(ctx context.Context, tx engine.Tx) error {
		if _, err := tx.Exec(ctx, queryDeleteChanges, delivery); err != nil {
			return fmt.Errorf("delete chat changes: %w", err)
		}
		return nil
	}
}

// purgeChanges removes the changes of deliveries that are finished or removed. It searches
// for them outside of the write, so that other writes do not wait for the search.
func (s *Store) purgeChanges(ctx context.Context) error {
	for last := ""; ; {
		done, err := engine.Column[string](s.engine.Query(ctx, queryDoneChanges, last))
		if err != nil || len(done) == 0 {
			return err
		}
		last = done[len(done)-1]
		err = s.write(ctx, &write{all: true, do: func(ctx context.Context, tx engine.Tx) error {
			for _, delivery := range slices.Compact(done) {
				if err := deleteChanges(delivery)(ctx, tx); err != nil {
					return err
				}
			}
			return nil
		}})
		if err != nil {
			return err
		}
	}
}
