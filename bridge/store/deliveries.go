package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"

	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/store/sweeps"
)

// A Delivery is one genuine event of a chat service, kept until a Change finishes it.
type Delivery struct {
	// ID is made by the store.
	ID        string
	Connector string
	// Key is equal for repeats of one event of a connector.
	Key  string
	Body []byte
	// Received is when it arrived; zero means when it was stored.
	Received time.Time
	// SweepKey is the Key that a sweep would find for the same news, so that the next
	// sweep does not count it as new. Empty means none. Only a keyed hash is stored.
	SweepKey string
	// Found says that a sweep found the news, and FoundLate that it may be old. Only
	// StoreFound sets them.
	Found, FoundLate bool
	// Changes are the chats that the delivery takes from their agents. They are pending
	// until a Change finishes or applies the delivery. Store.Delivery leaves them out.
	Changes []ChatChange
	// ChangesPending says that the delivery has pending Changes. Only Store.Delivery
	// sets it.
	ChangesPending bool
}

const purposeBody = "delivery body"

// StoreDelivery stores d and its job in one transaction, with the id of the delivery as the
// job's Subject. When it returns nil, they are on disk. If the connector has a delivery with
// this key already, fresh is false and nothing is written. After an error the delivery may
// be lost, so the sender must send it again.
func (s *Store) StoreDelivery(ctx context.Context, d Delivery, j jobs.Job) (fresh bool, err error) {
	id, err := uuid.NewV7()
	if err != nil {
		return false, fmt.Errorf("store: delivery: %w", err)
	}
	if d.Received.IsZero() {
		d.Received = time.Now()
	}
	j.Subject = id.String()
	w := &write{
		delivery: &deliveryRow{
			id:        j.Subject,
			connector: d.Connector,
			key:       d.Key,
			body:      s.sealer.Seal(purposeBody, d.Body, d.Connector, j.Subject),
			received:  engine.Micros(d.Received),
			found:     foundColumn(d),
			changes:   d.Changes,
		},
		do:   s.refuseHandled(j.Subject, d.Connector, d.Key),
		jobs: []river.InsertManyParams{j.Params(ctx)},
	}
	if d.SweepKey != "" {
		w.delivery.sweepKey, _ = sweeps.Sums(s.sealer, d.Connector, d.SweepKey)
	}
	err = s.write(ctx, w)
	if errors.Is(err, ErrConflict) {
		return false, nil // a repeat, see refuseHandled
	}
	if err != nil {
		return false, fmt.Errorf("store: delivery: %w", err)
	}
	return w.fresh, nil
}

// StoreFound stores a delivery that a sweep found with its job, and remembers its key, in one
// transaction. Only a keyed hash of d.Key is stored. late says that the news may be old.
func (s *Store) StoreFound(ctx context.Context, sweep sweeps.Sweep, d Delivery, late bool, j jobs.Job) error {
	what, _ := sweeps.Sums(s.sealer, sweep.Connector, d.Key)
	d.Connector, d.SweepKey, d.Found, d.FoundLate = sweep.Connector, d.Key, true, late
	d.Key = sweep.DeliveryKey(what)
	if _, err := s.StoreDelivery(ctx, d, j); err != nil {
		return fmt.Errorf("store: sweep: %w", err)
	}
	return nil
}

// Delivery returns a delivery, or ErrNotFound if it is finished or unknown.
func (s *Store) Delivery(ctx context.Context, id string) (Delivery, error) {
	d := Delivery{ID: id}
	var body []byte
	var received, found int64
	err := s.engine.QueryRow(ctx, queryDelivery, id).Scan(&d.Connector, &d.Key, &body, &received, &found, &d.ChangesPending)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err == nil {
		d.Body, err = s.sealer.Open(purposeBody, body, d.Connector, id)
	}
	if err != nil {
		return Delivery{}, fmt.Errorf("store: delivery %s: %w", id, err)
	}
	d.Received = engine.FromMicros(received)
	d.Found, d.FoundLate = found > 0, found == 2
	return d, nil
}

// foundColumn returns the value of the column found: 0, 1 for Found, or 2 for FoundLate.
func foundColumn(d Delivery) int64 {
	switch {
	case d.FoundLate:
		return 2
	case d.Found:
		return 1
	}
	return 0
}

// idsFrom returns the least id that can be made at t: a UUIDv7 starts with the milliseconds
// of its time (RFC 9562, section 5.7).
func idsFrom(t time.Time) string {
	ms := fmt.Sprintf("%012x", t.UnixMilli())
	return ms[:8] + "-" + ms[8:]
}
