package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"
	"github.com/riverqueue/river"
)

// A Delivery is one authentic request from a chat service, kept until a Change
// finishes it.
type Delivery struct {
	// ID is made by the store.
	ID        string
	Connector string
	// Key makes equal events of one connector collide.
	Key  string
	Body []byte
	// Received is when it arrived; zero means when it was stored.
	Received time.Time
	// Known is what a Sweep would find of that which it tells, so that none takes it
	// for news; empty for nothing. It is not stored, but as a keyed hash.
	Known string
	// Changes are the chats that the delivery takes from their agents. They are pending
	// until a Change finishes the delivery or applies it. Delivery does not return them.
	Changes []ChatChange
	// ChangesPending reports whether the delivery has Changes that are pending. Only
	// Delivery sets it.
	ChangesPending bool
}

const purposeBody = "delivery body"

// Accept stores d and its job in one transaction; on return they are on disk.
// The job's Subject is the id of the delivery. A repeat, by connector and key, is
// not fresh and writes nothing, which is no error. After an error nothing is
// promised, and the sender must be told to send again.
func (s *Store) Accept(ctx context.Context, d Delivery, j Job) (fresh bool, err error) {
	id, err := uuid.NewV7()
	if err != nil {
		return false, fmt.Errorf("store: accept: %w", err)
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
			received:  micros(d.Received),
			changes:   d.Changes,
		},
		jobs: []river.InsertManyParams{j.params()},
	}
	if d.Known != "" {
		w.delivery.known, _ = s.found(d.Connector, d.Known)
	}
	if err := s.write(ctx, w); err != nil {
		return false, fmt.Errorf("store: accept: %w", err)
	}
	return w.fresh, nil
}

// Delivery returns a delivery, or ErrNotFound if it is finished or unknown.
func (s *Store) Delivery(ctx context.Context, id string) (Delivery, error) {
	d := Delivery{ID: id}
	var body []byte
	var received int64
	err := s.engine.QueryRow(ctx, queryDelivery, id).Scan(&d.Connector, &d.Key, &body, &received, &d.ChangesPending)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err == nil {
		d.Body, err = s.sealer.Open(purposeBody, body, d.Connector, id)
	}
	if err != nil {
		return Delivery{}, fmt.Errorf("store: delivery %s: %w", id, err)
	}
	d.Received = fromMicros(received)
	return d, nil
}

// idsFrom is where the ids of deliveries that came at t begin: a UUIDv7 starts
// with the milliseconds of its time (RFC 9562, section 5.7).
func idsFrom(t time.Time) string {
	ms := fmt.Sprintf("%012x", t.UnixMilli())
	return ms[:8] + "-" + ms[8:]
}
