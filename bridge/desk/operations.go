package desk

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"time"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/templates"
)

const (
	operationsPath = "/desk/operations"

	// maxFailuresShown is how many failures a page shows at most.
	maxFailuresShown = 50
)

// showOperations shows what failed, and the state of connectors and policy.
func (desk *Desk) showOperations(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	page := templates.Operations{SignedIn: desk.signedInAgent(who), Note: templates.Note(r.Form.Get("note")), Now: time.Now()}
	for f, err := range desk.store.Jobs().Failures(r.Context()) {
		if err != nil {
			return web.StoreFault(err)
		}
		if len(page.Failed) == maxFailuresShown {
			page.More = true
			break
		}
		about, err := desk.aboutFailure(r.Context(), f)
		if err != nil {
			return web.StoreFault(err)
		}
		page.Failed = append(page.Failed, templates.FailedJob{
			ID: f.ID(), Kind: f.Kind, About: about, Connector: book.ConnectorOf(f.Queue), At: f.Last,
			Attempts: f.Attempts, Cause: f.Cause, Waiting: !f.Next.IsZero(), Next: f.Next, OnlyDismiss: !f.CanRetry(),
		})
	}
	report, err := desk.health.Report(r.Context())
	if err != nil {
		return web.StoreFault(err)
	}
	for _, name := range slices.Sorted(maps.Keys(report.Connectors)) {
		state := report.Connectors[name]
		h := templates.Health{Name: name, State: state.State}
		if state.Since != nil {
			h.Since = *state.Since
		}
		page.Connectors = append(page.Connectors, h)
	}
	since, fault := desk.policy.State()
	page.Policy = templates.PolicyState{File: desk.policy.Path(), Since: since}
	if fault != nil {
		page.Policy.Fault = fault.Error()
	}
	return desk.web.Render(w, http.StatusOK, page)
}

// aboutFailure returns whom or what a failure is about: the agent of a card, or else the time of a
// delivery. It is empty for a card that was erased or cannot be read.
func (desk *Desk) aboutFailure(ctx context.Context, f jobs.Failure) (string, error) {
	switch f.Kind {
	case book.JobShow, book.JobRefresh, book.JobTell:
		row, err := desk.store.Card(ctx, f.Subject)
		if errors.Is(err, store.ErrNotFound) || errors.Is(err, store.ErrSealed) {
			return "", nil
		}
		c, _ := card.Open(row)
		return c.About.Agent.Name, err
	case book.JobAnswer, book.JobForward:
		return store.DeliveryTime(f.Subject).UTC().Format("2 January 15:04 UTC"), nil
	}
	return f.Subject, nil
}

// retryOrDismiss makes failed work run again now, or removes it from the list.
func (desk *Desk) retryOrDismiss(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	id, note := r.PostForm.Get("failure"), templates.NoteRetried
	var err error
	switch {
	case r.PostForm.Get("all") != "":
		var n int
		if n, err = desk.store.RetryAll(r.Context(), who.ID); n == 0 {
			note = templates.NoteRetryGone
		}
	case r.PostForm.Get("dismiss") != "":
		err, note = desk.store.Dismiss(r.Context(), id, who.ID), templates.NoteDismissed
	default:
		err = desk.store.Retry(r.Context(), id, who.ID)
	}
	switch {
	case err == nil:
	case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrDone), errors.Is(err, store.ErrNotFailed), errors.Is(err, store.ErrNoRetry), errors.Is(err, store.ErrLeased):
		note = templates.NoteRetryGone
	default:
		return web.StoreFault(err)
	}
	return backTo(w, operationsPath, note)
}
