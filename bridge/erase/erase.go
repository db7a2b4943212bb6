// Package erase erases people from the store and at Upscope. Read erase.go first.
package erase

import (
	"context"
	"encoding/json"
	"slices"
	"strings"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/jobs"
)

// An Eraser erases people from the store. It needs no running bridge.
type Eraser struct {
	store    *store.Store
	subjects book.SubjectKeys
}

// NewEraser returns an Eraser. secret and oldSecret are those of the bridge; oldSecret may be nil.
func NewEraser(s *store.Store, secret, oldSecret []byte) (*Eraser, error) {
	keys, err := book.NewSubjectKeys(secret, oldSecret)
	return &Eraser{s, keys}, err
}

// An erasure says whom to erase. A store.Receipt, the stored request, contains it encrypted until the
// erasure is finished.
type erasure struct {
	Person card.Person `json:"person"`
	// Visitors are the short ids that Upscope has had for the person.
	Visitors []string `json:"visitors,omitempty"`
}

// maxPasses limits how often the store is searched again, because a running bridge may write about
// the person meanwhile.
const maxPasses = 4

// Count counts what the store has about p.
func (e *Eraser) Count(ctx context.Context, p card.Person) (store.Removed, error) {
	found, err := e.Find(ctx, p)
	return found.Removed(), err
}

// Find finds what the store has about p, with the rules by which Erase does.
func (e *Eraser) Find(ctx context.Context, p card.Person) (store.ErasureMatches, error) {
	return e.find(ctx, erasure{Person: p})
}

// Erase erases p from the store in the name of agent. With atUpscope it also stores a job that
// erases them at Upscope. That job needs a running bridge, and p must be offline.
func (e *Eraser) Erase(ctx context.Context, p card.Person, agent string, atUpscope bool) (store.Receipt, error) {
	r, err := store.NewReceipt()
	if err != nil {
		return r, err
	}
	want := erasure{Person: p}
	var more []jobs.Job
	r.State = store.ErasureDone
	if atUpscope {
		r.State, r.Note = store.ErasurePending, "Upscope was not asked yet."
		more = append(more, jobs.Job{Queue: book.EraseQueue, Kind: book.JobErase, Subject: r.ID})
		if r.Subject, err = json.Marshal(want); err != nil {
			return r, err
		}
	}
	err = e.remove(ctx, want, &r, agent, more...)
	return r, err
}

// remove erases what the store has about a person, until a search finds nothing. The first pass also
// stores r and more jobs. Each pass adds an audit entry of agent.
func (e *Eraser) remove(ctx context.Context, want erasure, r *store.Receipt, agent string, more ...jobs.Job) error {
	for pass := range maxPasses {
		found, err := e.find(ctx, want)
		if err != nil {
			return err
		}
		if found.Empty() && pass > 0 {
			break
		}
		auditAgent := agent
		if found.Empty() && agent == bridgeAgent {
			auditAgent = "" // write no entry: the agent's request was recorded when it was made
		}
		if err := e.store.Erase(ctx, found, r, auditAgent, more...); err != nil {
			return err
		}
		more = nil
	}
	return e.store.RemoveDeletedData(ctx)
}

// bridgeAgent is the agent in audit entries about what the bridge does by itself.
const bridgeAgent = "bridge"

// find searches the store for a person: first for their cards, then for everything that belongs to
// those cards or contains one of the person's ids.
func (e *Eraser) find(ctx context.Context, want erasure) (store.ErasureMatches, error) {
	visitors := slices.Clone(want.Visitors)
	if want.Person.Kind == card.ByShortID {
		visitors = append(visitors, want.Person.ID)
	}
	query := store.ErasureQuery{IDs: append(slices.Clone(visitors), want.Person.ID)}
	if _, key, ok := strings.Cut(want.Person.ID, ":"); ok && want.Person.Kind == card.ByIntegrationID {
		query.IDs = append(query.IDs, key) // the id at the chat service
	}
	people := append(card.Persons(card.ByShortID, visitors), want.Person)
	for row, err := range e.store.CardsForErasure(ctx, e.subjects.Hashes(people)) {
		if err != nil {
			return store.ErasureMatches{}, err
		}
		c, err := card.Open(row)
		if err != nil {
			return store.ErasureMatches{}, err
		}
		if !e.isAbout(c, want.Person, visitors) {
			continue
		}
		query.Cards = append(query.Cards, row)
		query.Deliveries = append(query.Deliveries, c.About.Opener)
		query.IDs = append(query.IDs, c.Chat)
	}
	query.Visitors = visitors
	return e.store.FindForErasure(ctx, query)
}

// Index adds what was written since the last call to the index through which Find searches.
func (e *Eraser) Index(ctx context.Context) error {
	return e.store.IndexForErasure(ctx, func(row store.Card) ([]int64, error) {
		c, err := card.Open(row)
		if err != nil {
			return nil, err
		}
		hashes := e.subjects.Add(c.About.Subjects, append(c.Persons(), card.Persons(card.ByShortID, c.About.Choices)...))
		return book.IndexHashes(hashes)
	})
}

// isAbout reports whether a card is about p. visitors are p's short ids.
func (e *Eraser) isAbout(c card.Card, p card.Person, visitors []string) bool {
	ofCard := append(c.Persons(), card.Persons(card.ByShortID, c.About.Choices)...)
	return slices.ContainsFunc(append(card.Persons(card.ByShortID, visitors), p), func(id card.Person) bool {
		return slices.Contains(ofCard, id) || e.subjects.Contain(c.About.Subjects, id)
	})
}

// WasCustomer reports whether p was the customer of a card when its chat was closed.
func (e *Eraser) WasCustomer(c card.Card, p card.Person) bool {
	return e.subjects.Contain(c.About.Customer, p)
}
