package store

import (
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/google/uuid"

	"cobrowse-bridge/bridge/store/engine"
)

// An Erasure is what a record with ActionErased says. Who was erased is no part
// of it.
type Erasure struct {
	Receipt string `json:"receipt"`
	// Records are the Seqs of the records that are erased.
	Records []int64 `json:"records"`
}

// A Receipt tells what became of a request to erase somebody.
type Receipt struct {
	// ID is made by NewReceipt.
	ID               string
	Created, Changed time.Time
	State            string
	Removed          Removed
	// Note says in words what is left to do, and names nobody.
	Note string
	// Subject is the caller's word for who it is, sealed at rest. Nil means that
	// it is not needed any more.
	Subject []byte
}

// States of a Receipt.
const (
	ErasurePending = "pending"
	ErasureDone    = "done"
	ErasureFailed  = "failed"
)

// Removed counts what was removed.
type Removed struct {
	Cards      int64 `json:"cards"`
	Posts      int64 `json:"posts"`
	Waits      int64 `json:"waits"`
	Deliveries int64 `json:"deliveries"`
	Jobs       int64 `json:"jobs"`
	// Records are audit records that name nobody any more.
	Records int64 `json:"records"`
	// Visitors is the caller's: those removed elsewhere.
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
	r.Created, r.Changed = fromMicros(created), fromMicros(changed)
	return r, nil
}

// SaveReceipt stores r as it is now, together with jobs.
func (s *Store) SaveReceipt(ctx context.Context, r *Receipt, jobs ...Job) error {
	return s.Erase(ctx, Remains{}, r, "", jobs...)
}

// Erase removes what Find found, adds what it was to r.Removed, and stores r and
// jobs, all in one transaction. A record with ActionErased, in the name of agent,
// says what was erased; with no agent and nothing removed there is none. What was
// removed is on the disk no more once Scrub has returned. Erase also removes the chat
// changes of all deliveries that are finished: Find does not search them.
func (s *Store) Erase(ctx context.Context, found Remains, r *Receipt, agent string, jobs ...Job) error {
	if err := s.purgeChanges(ctx); err != nil {
		return fmt.Errorf("store: erase: %w", err)
	}
	changed := time.Now()
	var subject []byte
	if r.Subject != nil {
		subject = s.sealer.Seal(purposeSubject, r.Subject, r.ID)
	}
	w := &write{serial: true}
	if agent != "" {
		w.audit = erasures(r.ID, agent, found.records)
	}
	for _, j := range jobs {
		w.jobs = append(w.jobs, j.params())
	}
	var now Removed
	w.do = func(ctx context.Context, tx engine.Tx) (err error) {
		now = r.Removed // a shared commit that failed is tried again
		if err := found.remove(ctx, tx, &now); err != nil {
			return err
		}
		removed, err := json.Marshal(now)
		if err != nil {
			return err
		}
		_, err = tx.Exec(ctx, querySaveErasure, r.ID, micros(r.Created), micros(changed), r.State, string(removed), r.Note, subject)
		return err
	}
	if err := s.write(ctx, w); err != nil {
		return fmt.Errorf("store: erase: %w", err)
	}
	r.Removed, r.Changed = now, changed
	return nil
}

// Scrub removes what is left of deleted rows in the files of the database.
func (s *Store) Scrub(ctx context.Context) error {
	if err := s.engine.Scrub(ctx); err != nil {
		return fmt.Errorf("store: scrub: %w", err)
	}
	return nil
}

// erasures are the entries about records that are erased, as many as it takes
// for none to be large.
func erasures(receipt, agent string, records []int64) (entries []Entry) {
	for {
		part := records[:min(len(records), 500)]
		records = records[len(part):]
		detail, _ := json.Marshal(Erasure{receipt, append([]int64{}, part...)}) // numbers and an id
		entries = append(entries, Entry{Action: ActionErased, Agent: agent, Detail: string(detail)})
		if len(records) == 0 {
			return entries
		}
	}
}

func (r Remains) remove(ctx context.Context, tx engine.Tx, n *Removed) error {
	each := func(count *int64, query string, arg any) error {
		changed, err := tx.Exec(ctx, query, arg)
		*count += changed
		return err
	}
	for _, id := range r.cards {
		if err := errors.Join(each(&n.Posts, queryDeletePosts, id), each(&n.Waits, queryEndWaits, id), each(&n.Cards, queryDeleteCard, id)); err != nil {
			return err
		}
	}
	for _, id := range r.deliveries {
		if err := errors.Join(deleteChanges(id)(ctx, tx), each(&n.Deliveries, queryDeleteDelivery, id)); err != nil {
			return err
		}
	}
	for _, id := range r.jobs {
		if err := each(&n.Jobs, queryDeleteJob, id); err != nil {
			return err
		}
	}
	for _, seq := range r.records {
		if err := each(&n.Records, queryEraseRecord, seq); err != nil {
			return err
		}
	}
	return nil
}
