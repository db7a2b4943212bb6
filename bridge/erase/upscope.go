package erase

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"time"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/upscope"
)

// An UpscopeEraser deletes people at Upscope, and erases them from the store again: deliveries may
// have arrived since the first time.
type UpscopeEraser struct {
	store   *store.Store
	local   *Eraser
	upscope *upscope.Client
	remote  *upscope.Eraser
	log     *slog.Logger
}

// NewUpscopeEraser returns an UpscopeEraser. With a nil remote it deletes nobody at Upscope; the
// requests stay pending and fail after maxEraseWait.
func NewUpscopeEraser(s *store.Store, local *Eraser, client *upscope.Client, remote *upscope.Eraser, log *slog.Logger) *UpscopeEraser {
	return &UpscopeEraser{store: s, local: local, upscope: client, remote: remote, log: log}
}

// maxEraseWait is how long the bridge retries while a visitor is online. It equals the time after
// which Upscope deletes visitors without a visit (upscope.com/docs).
const maxEraseWait = 30 * 24 * time.Hour

// eraseWait returns the pause before the next attempt: a minute, then twice as long each time, up
// to six hours.
func eraseWait(step int) time.Duration {
	return min(time.Minute<<min(step, 10), 6*time.Hour)
}

// Erase runs the job of an erasure request: it deletes the person at Upscope and erases them from
// the store. If that fails or a visitor is online, it stores another job, until maxEraseWait ends.
func (a *UpscopeEraser) Erase(ctx context.Context, j jobs.Job) error {
	r, err := a.store.Receipt(ctx, j.Subject)
	if err != nil || r.Subject == nil { // a finished request has no subject
		return err
	}
	var want erasure
	if err := json.Unmarshal(r.Subject, &want); err != nil {
		return fmt.Errorf("receipt %s: subject: %w", r.ID, err)
	}
	cause := a.attempt(ctx, &want, &r)
	if cause == "" {
		return a.finish(ctx, want, r)
	}
	if time.Since(r.Created) > maxEraseWait {
		return a.giveUp(ctx, want, r, cause)
	}
	return a.reschedule(ctx, want, r, j.Step, cause)
}

// attempt deletes the person at Upscope as far as possible, and adds the ids that it finds to want. It
// returns why someone remains, in words without an id of the person, or "" if nobody does.
func (a *UpscopeEraser) attempt(ctx context.Context, want *erasure, r *store.Receipt) (cause string) {
	if a.remote == nil {
		return "Deleting at Upscope is not configured (bridge.Config has no Eraser)."
	}
	online, deleted, err := a.deleteVisitors(ctx, want)
	r.Removed.Visitors += deleted
	if e, ok := errors.AsType[*upscope.Error](err); ok {
		return strings.TrimPrefix(e.Error(), "upscope: ") + "."
	}
	if err != nil {
		return err.Error()
	}
	if online > 0 {
		return "The customer is online. Upscope deletes customers only while they are offline."
	}
	return ""
}

// finish erases the person from the store, and stores r as done and without the person.
func (a *UpscopeEraser) finish(ctx context.Context, want erasure, r store.Receipt) error {
	if err := a.local.remove(ctx, want, &r, bridgeAgent); err != nil {
		return err
	}
	r.State, r.Note, r.Subject = store.ErasureDone, "", nil
	a.log.InfoContext(ctx, "person erased at Upscope", "receipt", r.ID, "customers", r.Removed.Visitors)
	a.store.Jobs().NoteResult(ctx, waitOf(r), nil)
	return a.store.SaveReceipt(ctx, &r)
}

// giveUp erases the person from the store, and stores r as failed. It keeps the person's ids for a
// retry, until an operator dismisses the failure.
func (a *UpscopeEraser) giveUp(ctx context.Context, want erasure, r store.Receipt, cause string) (err error) {
	if r.Subject, err = json.Marshal(want); err != nil {
		return err
	}
	if err := a.local.remove(ctx, want, &r, bridgeAgent); err != nil {
		return err
	}
	r.State = store.ErasureFailed
	r.Note = cause + " The last attempt was after 30 days."
	a.log.ErrorContext(ctx, "person not erased at Upscope", "receipt", r.ID, "customers", r.Removed.Visitors, "note", r.Note)
	if err := a.store.SaveReceipt(ctx, &r); err != nil {
		return err
	}
	a.store.Jobs().NoteResult(ctx, waitOf(r), nil) // the failure of this job takes its place
	return jobs.Cancel(errors.New(cause))
}

// reschedule erases the person from the store, and stores the job of the next attempt.
func (a *UpscopeEraser) reschedule(ctx context.Context, want erasure, r store.Receipt, step int, note string) (err error) {
	r.Note = note
	if r.Subject, err = json.Marshal(want); err != nil {
		return err
	}
	a.log.InfoContext(ctx, "person not erased at Upscope yet", "receipt", r.ID, "customers", r.Removed.Visitors, "note", note)
	waiting := waitOf(r)
	waiting.Next = time.Now().Add(eraseWait(step))
	a.store.Jobs().NoteResult(ctx, waiting, errors.New(note))
	return a.local.remove(ctx, want, &r, bridgeAgent, jobs.Job{
		Queue: book.EraseQueue, Kind: book.JobErase, Subject: r.ID, Step: step + 1, At: waiting.Next,
	})
}

// waitOf returns the failure that is listed while an erasure waits for its next attempt.
func waitOf(r store.Receipt) jobs.Failure {
	return jobs.Failure{Queue: book.EraseQueue, Kind: book.WorkErasure, Subject: r.ID}
}

// maxSearches limits how often a search is repeated. One answer has at most upscope.MaxResults
// visitors, so a person with more needs several searches.
const maxSearches = 100

// deleteVisitors deletes a person's visitors at Upscope. It returns how many are online and how many
// were deleted, and adds the ids that it finds to want.Visitors.
func (a *UpscopeEraser) deleteVisitors(ctx context.Context, want *erasure) (online int, deleted int64, err error) {
	tried := map[string]bool{}
	remove := func(id string) error {
		if tried[id] {
			return nil
		}
		err := a.remote.DeleteVisitor(ctx, id)
		switch {
		case err == nil:
			deleted++
		case errors.Is(err, upscope.ErrNotFound):
		case errors.Is(err, upscope.ErrVisitorOnline):
			online++
		default:
			return err
		}
		tried[id] = true
		return nil
	}
	if want.Person.Kind == card.ByShortID {
		err = remove(want.Person.ID)
		return online, deleted, err
	}
	for _, id := range want.Visitors { // found by an earlier attempt; a search may not return them any more
		if err := remove(id); err != nil {
			return online, deleted, err
		}
	}
	for range maxSearches {
		ids, err := a.visitorsOf(ctx, want.Person, len(want.Visitors) > 0)
		if err != nil {
			return online, deleted, err
		}
		anyNew := false
		for _, id := range ids {
			if !slices.Contains(want.Visitors, id) {
				want.Visitors = append(want.Visitors, id)
			}
			anyNew = anyNew || !tried[id]
			if err := remove(id); err != nil {
				return online, deleted, err
			}
		}
		if !anyNew {
			return online, deleted, nil
		}
	}
	return online, deleted, errTooMany
}

// A noteError is an error with the text of a receipt's note.
type noteError string

func (e noteError) Error() string { return string(e) }

const (
	errTooMany  noteError = "Too many customers at Upscope have this ID."
	errUnproven noteError = "Several customers at Upscope have this ID. Delete each by its short ID."
)

// visitorsOf searches Upscope for the visitors with an id, online or offline. It returns those whose
// unique id, or whose identities, contain the id. For an integration id Upscope may return visitors
// without such proof: a single one is accepted, but not if someFound is set, because it may be
// another person.
func (a *UpscopeEraser) visitorsOf(ctx context.Context, p card.Person, someFound bool) (ids []string, err error) {
	var term upscope.Term
	hasID := func(v upscope.Visitor) bool { return v.UniqueID == p.ID }
	if p.Kind == card.ByIntegrationID {
		term, err = upscope.IntegrationID(p.ID)
		hasID = func(v upscope.Visitor) bool { return slices.Contains(v.Identities, p.ID) }
	} else {
		term, err = upscope.UniqueID(p.ID)
	}
	if err != nil {
		return nil, err
	}
	all, err := a.upscope.Search(ctx, term, upscope.MaxResults)
	if err != nil {
		return nil, err
	}
	for _, v := range all {
		if hasID(v) {
			ids = append(ids, v.ShortID)
		}
	}
	if len(ids) > 0 || p.Kind != card.ByIntegrationID || len(all) == 0 || someFound {
		return ids, nil
	}
	if len(all) > 1 {
		return nil, errUnproven
	}
	return []string{all[0].ShortID}, nil
}
