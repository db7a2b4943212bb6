package bridge

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/upscope"
)

// erasePatience is how long a visitor who is online is waited for: people come
// back for that long before Upscope forgets them by itself
// (upscope.com/docs: visitors are removed after 30 days without a visit).
const erasePatience = 30 * 24 * time.Hour

// eraseWait is how long to wait before the next attempt: a minute, and twice as
// long each time, up to six hours.
func eraseWait(step int) time.Duration {
	return min(time.Minute<<min(step, 10), 6*time.Hour)
}

// eraseAtUpscope removes the person of a receipt from Upscope, and then once more
// from the store, which may have learnt of them meanwhile. Until nothing is left
// it comes round as another job.
func (b *Bridge) eraseAtUpscope(ctx context.Context, j store.Job) error {
	r, err := b.store.Receipt(ctx, j.Subject)
	if err != nil || r.Subject == nil {
		return err
	}
	var want erasure
	if err := json.Unmarshal(r.Subject, &want); err != nil {
		return fmt.Errorf("receipt %s: subject: %w", r.ID, err)
	}
	left, deleted, err := 0, int64(0), errNoEraser
	if b.eraser != nil {
		left, deleted, err = b.deleteVisitors(ctx, &want)
	}
	r.Removed.Visitors += deleted
	eraser := &Eraser{b.store, b.subjects}
	log := b.log.With("receipt", r.ID, "visitors", r.Removed.Visitors)
	over := time.Since(r.Created) > erasePatience
	if err == nil && left == 0 || over {
		if e := eraser.remove(ctx, want, &r, itself); e != nil {
			return e
		}
		r.State, r.Note, r.Subject = store.ErasureDone, "", nil
		if over && (err != nil || left > 0) {
			r.State = store.ErasureFailed
			r.Note = cmp.Or(because(err), "the visitor was online each time") + "; given up after 30 days: run the command again"
			log.ErrorContext(ctx, "person not erased at Upscope", "note", r.Note)
		} else {
			log.InfoContext(ctx, "person erased at Upscope")
		}
		return b.store.SaveReceipt(ctx, &r)
	}
	r.Note = cmp.Or(because(err), "the visitor is online, and Upscope removes nobody who is")
	if r.Subject, err = json.Marshal(want); err != nil {
		return err
	}
	log.InfoContext(ctx, "person not erased at Upscope yet", "note", r.Note)
	return eraser.remove(ctx, want, &r, itself, store.Job{
		Queue: eraseQueue, Kind: jobErase, Subject: r.ID, Step: j.Step + 1, At: time.Now().Add(eraseWait(j.Step)),
	})
}

var errNoEraser = errors.New("this bridge may not remove anybody from Upscope")

// because says what went wrong without anything that names the person.
func because(err error) string {
	if e, ok := errors.AsType[*upscope.Error](err); ok {
		return strings.TrimPrefix(e.Error(), "upscope: ")
	}
	if err != nil {
		return err.Error()
	}
	return ""
}

// rounds is how often a search is repeated at most: one answer holds ten visitors.
const rounds = 100

// deleteVisitors removes from Upscope whomever it has for a person, and counts who
// was removed and who is left because they are online. Their ids are added to
// want.
func (b *Bridge) deleteVisitors(ctx context.Context, want *erasure) (left int, deleted int64, err error) {
	done := map[string]bool{} // and whether they were removed
	remove := func(id string) error {
		if _, twice := done[id]; twice {
			return nil
		}
		err := b.eraser.DeleteVisitor(ctx, id)
		switch {
		case err == nil:
			deleted++
			done[id] = true
		case errors.Is(err, upscope.ErrNotFound):
			done[id] = true
		case errors.Is(err, upscope.ErrVisitorOnline):
			left++
			done[id] = false
		default:
			return err
		}
		return nil
	}
	if want.Person.Kind == ByShortID {
		err = remove(want.Person.ID)
		return left, deleted, err
	}
	for _, id := range want.Visitors { // who has changed their ids since
		if err := remove(id); err != nil {
			return left, deleted, err
		}
	}
	for range rounds {
		ids, err := b.visitorsOf(ctx, want.Person, len(want.Visitors) > 0)
		if err != nil {
			return left, deleted, err
		}
		fresh := false
		for _, id := range ids {
			if !slices.Contains(want.Visitors, id) {
				want.Visitors = append(want.Visitors, id)
			}
			_, seen := done[id]
			fresh = fresh || !seen
			if err := remove(id); err != nil {
				return left, deleted, err
			}
		}
		if !fresh {
			return left, deleted, nil
		}
	}
	return left, deleted, errors.New("very many visitors have this id at Upscope")
}

var errUnproven = errors.New("several visitors have this integration id at Upscope, and none is proven to be the one")

// visitorsOf asks Upscope for the visitors whom an id stands for, online or not.
// What a search finds counts only if the answer proves it, as in find; a single
// answer to an integration id is taken as it is, since Upscope does not return
// those, unless some are known already: then it may be anybody who is left over.
func (b *Bridge) visitorsOf(ctx context.Context, p Person, known bool) (ids []string, err error) {
	var term upscope.Term
	proves := func(v upscope.Visitor) bool { return v.UniqueID == p.ID }
	if p.Kind == ByIntegrationID {
		term, err = upscope.IntegrationID(p.ID)
		proves = func(v upscope.Visitor) bool { return slices.Contains(v.Identities, p.ID) }
	} else {
		term, err = upscope.UniqueID(p.ID)
	}
	if err != nil {
		return nil, err
	}
	all, err := b.upscope.Search(ctx, term, upscope.MaxResults)
	if err != nil {
		return nil, err
	}
	for _, v := range all {
		if proves(v) {
			ids = append(ids, v.ShortID)
		}
	}
	if len(ids) > 0 || p.Kind != ByIntegrationID || len(all) == 0 || known {
		return ids, nil
	}
	if len(all) > 1 {
		return nil, errUnproven
	}
	return []string{all[0].ShortID}, nil
}
