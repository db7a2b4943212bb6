package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/jobs"
)

// A Receipt is the state of a request to erase a person.
type Receipt struct {
	// ID is made by NewReceipt.
	ID               string
	Created, Changed time.Time
	State            string // ErasurePending, ErasureDone or ErasureFailed
	Removed          Removed
	// Note says what remains to be done. It contains no personal data.
	Note string
	// Subject identifies the person, in the caller's format, encrypted at rest. Nil means
	// that it is no longer needed.
	Subject []byte
}

// Retryable reports whether the erasure has failed and Retry can repeat it: nobody has dismissed it.
func (r Receipt) Retryable() bool { return r.State == ErasureFailed && r.Subject != nil }

// States of a Receipt.
const (
	ErasurePending = "pending"
	ErasureDone    = "done"
	ErasureFailed  = "failed"
)

// Removed counts what an erasure removed.
type Removed struct {
	Cards      int64 `json:"cards"`
	Posts      int64 `json:"posts"`
	Waits      int64 `json:"waits"`
	Deliveries int64 `json:"deliveries"`
	Jobs       int64 `json:"jobs"`
	// Records counts the audit records whose personal data was removed.
	Records int64 `json:"records"`
	// Visitors counts the visitors removed at Upscope. The caller sets it.
	Visitors int64 `json:"visitors"`
}

const purposeSubject = "erasure subject"

// NewReceipt makes a receipt that is not stored yet.
func NewReceipt() (Receipt, error) {
	id, err := uuid.NewV7()
	return Receipt{ID: id.String(), Created: time.Now()}, err
}

// Receipt returns a receipt, or ErrNotFound.
func (s *Store) Receipt(ctx context.Context, id string) (Receipt, error) {
	r := Receipt{ID: id}
	var created, changed int64
	var removed string
	var subject []byte
	err := s.engine.QueryRow(ctx, queryErasure, id).Scan(&created, &changed, &r.State, &removed, &r.Note, &subject)
	if errors.Is(err, sql.ErrNoRows) {
		err = ErrNotFound
	}
	if err == nil {
		err = json.Unmarshal([]byte(removed), &r.Removed)
	}
	if err == nil && subject != nil {
		r.Subject, err = s.sealer.Open(purposeSubject, subject, id)
	}
	if err != nil {
		return Receipt{}, fmt.Errorf("store: receipt %s: %w", id, err)
	}
	r.Created, r.Changed = engine.FromMicros(created), engine.FromMicros(changed)
	return r, nil
}

// SaveReceipt stores r together with more jobs.
func (s *Store) SaveReceipt(ctx context.Context, r *Receipt, more ...jobs.Job) error {
	return s.Erase(ctx, ErasureMatches{}, r, "", more...)
}

// Erase removes found, adds the counts to r.Removed, and stores r and more jobs, all in one
// transaction. If agent is not empty, it adds a record with audit.ActionErased in the agent's name.
// The removed data is on the disk until RemoveDeletedData. Erase also removes the chat changes of all
// finished deliveries, which FindForErasure does not search.
func (s *Store) Erase(ctx context.Context, found ErasureMatches, r *Receipt, agent string, more ...jobs.Job) error {
	ctx = Patient(ctx)
	if err := s.purgeChanges(ctx); err != nil {
		return fmt.Errorf("store: erase: %w", err)
	}
	changed := time.Now()
	var subject []byte
	if r.Subject != nil {
		subject = s.sealer.Seal(purposeSubject, r.Subject, r.ID)
	}
	w := &write{all: true}
	if agent != "" {
		w.audit = audit.Erasures(r.ID, agent, found.Records)
	}
	for _, j := range more {
		w.jobs = append(w.jobs, j.Params(ctx))
	}
	for _, id := range found.Cards {
		w.desks = append(w.desks, DeskChange{Card: id})
	}
	var now Removed
	w.do = func(ctx context.Context, tx engine.Tx) (err error) {
		now = r.Removed // a failed shared commit runs this again
		if err := found.remove(ctx, tx, &now); err != nil {
			return err
		}
		removed, err := json.Marshal(now)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, querySaveErasure, r.ID, engine.Micros(r.Created), engine.Micros(changed), r.State, string(removed), r.Note, subject)
		return err
	}
	if err := s.write(ctx, w); err != nil {
		return fmt.Errorf("store: erase: %w", err)
	}
	r.Removed, r.Changed = now, changed
	return nil
}

// RemoveDeletedData removes the data of deleted rows from the files of the database.
func (s *Store) RemoveDeletedData(ctx context.Context) error {
	if err := s.engine.RemoveDeletedData(ctx); err != nil {
		return fmt.Errorf("store: remove deleted data: %w", err)
	}
	return nil
}

func (r ErasureMatches) remove(ctx context.Context, tx engine.Tx, n *Removed) error {
	each := func(count *int64, query string, arg any) error {
		changed, err := tx.Exec(ctx, query, arg)
		*count += changed
		return err
	}
	for _, id := range r.Cards {
		if err := errors.Join(each(&n.Posts, queryDeletePosts, id), each(&n.Waits, queryEndWaits, id), each(&n.Cards, queryDeleteCard, id)); err != nil {
			return err
		}
	}
	for _, id := range r.Deliveries {
		if err := errors.Join(deleteChanges(id)(ctx, tx), each(&n.Deliveries, queryDeleteDelivery, id)); err != nil {
			return err
		}
	}
	for _, id := range r.Jobs {
		if err := each(&n.Jobs, queryDeleteJob, id); err != nil {
			return err
		}
	}
	for _, f := range r.Failures {
		if err := jobs.Remove(ctx, tx, f); err != nil {
			return err
		}
	}
	for _, seq := range r.Records {
		changed, err := audit.Erase(ctx, tx, seq)
		if err != nil {
			return err
		}
		n.Records += changed
	}
	return nil
}
