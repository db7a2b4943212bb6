package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"cobrowse-bridge/bridge/store"

	"github.com/gorilla/mux"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"
)

const (
	// maxBody is the largest delivery of a connector that states no other.
	maxBody = 1 << 20
	// intakeBytes is how much of deliveries may be in memory at once.
	intakeBytes = 64 << 20
)

// hook takes a delivery in: genuine, stored with its job, acknowledged; in this
// order and nothing else. The work is done later.
func (b *Bridge) hook(w http.ResponseWriter, r *http.Request) error {
	c, ok := b.connectors[mux.Vars(r)["connector"]]
	if !ok || c.Accept == nil {
		return ErrNoRoute
	}
	err := b.takeIn(w, r, c)
	if err != nil && !left(err) {
		b.metrics.delivery(c.Name, lostDelivery(err))
	}
	return err
}

func (b *Bridge) takeIn(w http.ResponseWriter, r *http.Request, c Connector) error {
	switch {
	case r.Method != http.MethodPost:
		return errMethod
	case !slices.Contains([]string{"", "identity"}, strings.ToLower(r.Header.Get("Content-Encoding"))):
		return errEncoded
	}
	body, free, err := b.body(w, r, c)
	if err != nil {
		return err
	}
	defer free()
	receipt, err := c.Accept(r, body)
	switch {
	case errors.Is(err, ErrForged), errors.Is(err, ErrNoRoute):
		return err
	case err != nil:
		return fmt.Errorf("%w: %w", errUnreadable, err)
	}
	if receipt.Note != "" {
		b.log.InfoContext(r.Context(), "connector noted", "connector", c.Name, "delivery", receipt.Key, "note", receipt.Note)
	}
	if receipt.Key == "" {
		b.metrics.delivery(c.Name, deliveryIgnored)
	}
	if err := b.take(r.Context(), c.Name, receipt, body); err != nil {
		return err
	}
	if receipt.AnswerType != "" {
		w.Header().Set("Content-Type", receipt.AnswerType)
	}
	_, err = w.Write(receipt.Answer)
	return unanswered(err)
}

// take stores what is to be done about a genuine delivery. What is to be handed on
// shares its commit as a rule, and if only one of the two is stored, the sender is
// told to send again.
func (b *Bridge) take(ctx context.Context, connector string, receipt Receipt, body []byte) error {
	var group errgroup.Group
	if receipt.Key != "" {
		kept := receipt.Body
		if kept == nil {
			kept = body
		}
		group.Go(func() error {
			return b.acceptCounted(ctx, connector, Delivery{Key: receipt.Key, Body: kept, Changes: receipt.Changes}, receipt.Known)
		})
	}
	if receipt.Forward != nil {
		sum := sha256.Sum256(receipt.Forward)
		key := "forward/" + hex.EncodeToString(sum[:])
		group.Go(func() error {
			_, err := b.accept(ctx, connector, Delivery{Key: key, Body: receipt.Forward}, "", store.Job{Queue: connector + forwardQueue, Kind: jobForward})
			return err
		})
	}
	return group.Wait()
}

// acceptCounted has a delivery answered, and counts it.
func (b *Bridge) acceptCounted(ctx context.Context, connector string, d Delivery, known string) error {
	fresh, err := b.accept(ctx, connector, d, known, store.Job{Queue: connector, Kind: jobAnswer})
	if err != nil {
		return err
	}
	outcome := deliveryRepeated
	if fresh {
		outcome = deliveryStored
	}
	b.metrics.delivery(connector, outcome)
	return nil
}

// accept stores a delivery with its job, so that what is acknowledged will be done.
// A delivery whose key is known changes nothing, and is not fresh. Known is
// Receipt.Known.
func (b *Bridge) accept(ctx context.Context, connector string, d Delivery, known string, j store.Job) (fresh bool, err error) {
	if d.Received.IsZero() {
		d.Received = time.Now()
	}
	stored := store.Delivery{Connector: connector, Key: d.Key, Body: d.Body, Received: d.Received, Known: known}
	for _, change := range d.Changes {
		stored.Changes = append(stored.Changes, store.ChatChange(change))
	}
	fresh, err = b.store.Accept(ctx, stored, j)
	if err != nil {
		return false, storeFault(err)
	}
	b.log.DebugContext(ctx, "delivery accepted", "connector", connector, "delivery", d.Key, "fresh", fresh)
	return fresh, nil
}

// forward hands a delivery on.
func (b *Bridge) forward(ctx context.Context, c Connector, j store.Job) error {
	d, err := b.store.Delivery(ctx, j.Subject)
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if c.Forward == nil {
		return Permanent(fmt.Errorf("connector %s hands nothing on any more", c.Name))
	}
	if err := c.Forward(ctx, Delivery{Key: d.Key, Body: d.Body, Received: d.Received}); err != nil {
		return err
	}
	return b.store.Commit(ctx, store.Change{Finish: d.ID})
}

// body reads the body of a delivery, within the connector's limit and within
// what all deliveries together may take.
func (b *Bridge) body(w http.ResponseWriter, r *http.Request, c Connector) (body []byte, free func(), err error) {
	limit := c.MaxBody
	if limit == 0 {
		limit = maxBody
	}
	if r.ContentLength > limit {
		return nil, nil, errTooLarge
	}
	in := &metered{Reader: http.MaxBytesReader(w, r.Body, limit), budget: b.intake}
	body, err = io.ReadAll(in)
	if err == nil {
		return body, in.free, nil
	}
	in.free()
	var over *http.MaxBytesError
	switch {
	case errors.As(err, &over):
		return nil, nil, errTooLarge
	case errors.Is(err, errBusy):
		return nil, nil, err
	}
	return nil, nil, fmt.Errorf("%w: %w", errBody, err)
}

// metered reads a body and pays for it from a budget as the bytes come, so that
// a sender who only announces a large body takes nothing from the others. The
// first bytes are free: an ordinary delivery never waits for the large ones.
type metered struct {
	io.Reader
	budget     *semaphore.Weighted
	read, paid int64
}

const (
	freeBytes  = 64 << 10
	instalment = 1 << 20
)

func (m *metered) Read(p []byte) (int, error) {
	n, err := m.Reader.Read(p)
	m.read += int64(n)
	for m.read > m.paid+freeBytes {
		if !m.budget.TryAcquire(instalment) {
			return n, errBusy
		}
		m.paid += instalment
	}
	return n, err
}

func (m *metered) free() { m.budget.Release(m.paid) }
