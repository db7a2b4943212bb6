package bridge

import (
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"
)

const (
	operationsPath = "/desk/operations"

	// failuresShown is how many failed deliveries a page shows, and failuresSeen how
	// many unfinished ones it looks at.
	failuresShown = 50
	failuresSeen  = 5000
)

// operations shows what failed, and how the bridge is.
func (b *Bridge) operations(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	page := templates.Operations{Seat: b.seat(who), Note: templates.Note(r.Form.Get("note")), Now: time.Now()}
	seen := 0
	for d, err := range b.store.Backlog(r.Context()) {
		if err != nil {
			return storeFault(err)
		}
		if seen++; seen > failuresSeen || len(page.Failed) == failuresShown {
			page.More = true
			break
		}
		if len(d.Errors) > 0 {
			last := d.Errors[len(d.Errors)-1]
			page.Failed = append(page.Failed, templates.FailedJob{
				ID: d.ID, Connector: d.Connector, What: "Delivery of " + d.Received.UTC().Format("2 January 15:04 UTC"), At: last.At,
				Attempts: d.Attempts, Cause: last.Error, Waiting: d.State != store.DeliveryFailed, Next: d.Next,
			})
		}
	}
	all := b.health.all()
	for _, name := range slices.Sorted(maps.Keys(all)) {
		h := templates.Health{Name: name, State: all[name].State}
		if since := all[name].Since; since != nil {
			h.Since = *since
		}
		page.Connectors = append(page.Connectors, h)
	}
	since, fault := b.policy.State()
	page.Policy = templates.PolicyState{File: b.policy.Path(), Since: since}
	if fault != nil {
		page.Policy.Fault = fault.Error()
	}
	return b.render(w, http.StatusOK, page)
}

// retry has failed deliveries handled at once.
func (b *Bridge) retry(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	ids := []string{r.PostForm.Get("job")}
	if r.PostForm.Get("all") != "" {
		ids = nil
		for d, err := range b.store.Backlog(r.Context()) {
			if err != nil {
				return storeFault(err)
			}
			if d.State == store.DeliveryFailed {
				ids = append(ids, d.ID)
			}
		}
	}
	note := templates.NoteRetryGone
	for _, id := range ids {
		err := b.store.Retry(r.Context(), id, who.ID)
		switch {
		case err == nil:
			note = templates.NoteRetried
		case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrDone), errors.Is(err, store.ErrLeased):
		default:
			return storeFault(err)
		}
	}
	return backTo(w, operationsPath, note)
}
