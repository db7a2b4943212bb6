package bridge

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"net/http"
	"slices"
	"strconv"
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
	// recordsShown is how many audit records a page shows, and recordsSeen how many
	// it looks at: the next page goes on from there.
	recordsShown = 50
	recordsSeen  = 20_000
)

// operations shows what failed, and how the bridge is.
func (b *Bridge) operations(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	page := templates.Operations{Seat: b.seat(who), Note: templates.Note(r.Form.Get("note")), Now: time.Now()}
	seen := 0
	for d, err := range b.store.Backlog(r.Context()) {
		if err != nil {
			return fmt.Errorf("%w: %w", errStore, err)
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
				return fmt.Errorf("%w: %w", errStore, err)
			}
			if d.State == store.DeliveryFailed {
				ids = append(ids, d.ID)
			}
		}
	}
	note := templates.NoteRetryGone
	for _, id := range ids {
		err := b.store.Retry(r.Context(), id)
		switch {
		case err == nil:
			note = templates.NoteRetried
			b.writeDown(r.Context(), store.Entry{Action: "retried", Agent: who.ID, Detail: id})
		case errors.Is(err, store.ErrNotFound), errors.Is(err, store.ErrDone), errors.Is(err, store.ErrLeased):
		default:
			return fmt.Errorf("%w: %w", errStore, err)
		}
	}
	return backTo(w, operationsPath, note)
}

// actions are those of audit records that agents and the bridge write.
var actions = []string{
	"asked", "watching", "not opened", "entering chat", "chat not entered", "live", "ended", "stopping", "not stopped", "moved", "closed", "renewed", "refused",
	"connected", "disconnected", "signed in", "signed out", "retried", "audit exported", "delivery shown", store.ActionErased, store.ActionTrimmed,
}

// filterOf reads which records are asked for, as the page shows it and as the store
// takes it; ok says that all of it could be read.
func filterOf(r *http.Request) (shown templates.AuditFilter, f store.AuditFilter, ok bool) {
	shown = templates.AuditFilter{
		Agent: r.Form.Get("agent"), Visitor: r.Form.Get("visitor"), Card: r.Form.Get("card"), Action: r.Form.Get("action"),
		Since: r.Form.Get("since"), Until: r.Form.Get("until"),
	}
	ok = true
	day := func(text *string) (t time.Time) {
		if *text == "" {
			return t
		}
		t, err := time.Parse(time.DateOnly, *text)
		if err != nil {
			*text, ok = "", false
		}
		return t
	}
	f = store.AuditFilter{
		Agent: shown.Agent, Visitor: shown.Visitor, Card: shown.Card, Action: shown.Action,
		Since: day(&shown.Since), Until: day(&shown.Until),
	}
	if !f.Until.IsZero() {
		f.Until = f.Until.AddDate(0, 0, 1) // that day included
	}
	return shown, f, ok
}

// audit shows the records that fit a filter, the newest first.
func (b *Bridge) audit(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	shown, f, ok := filterOf(r)
	page := templates.Audit{Seat: b.seat(who), Filter: shown, Actions: actions, Now: time.Now()}
	if !ok {
		page.Note = templates.NoteFilter
	}
	from, err := strconv.ParseInt(r.Form.Get("before"), 10, 64)
	if err != nil || from < 1 {
		from = math.MaxInt64
	} else {
		page.Before = from
	}
	seen := 0
	for record, err := range b.store.AuditBack(r.Context(), from) {
		if err != nil {
			return fmt.Errorf("%w: %w", errStore, err)
		}
		if f.Past(record) {
			break
		}
		if len(page.Records) == recordsShown || seen == recordsSeen {
			page.Older = record.Seq + 1
			break
		}
		seen++
		if f.Fits(record) {
			page.Records = append(page.Records, templates.AuditRecord{
				Seq: record.Seq, At: record.At, Action: record.Action, Agent: record.Agent, Visitor: record.Visitor, Card: record.Card,
				Connector: record.Connector, Chat: record.Chat, Detail: record.Detail, Erased: record.Erased,
			})
		}
	}
	return b.render(w, http.StatusOK, page)
}

// exportAudit writes the records that fit a filter as JSON lines, in order. That
// somebody took them away is on record too.
func (b *Bridge) exportAudit(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	_, f, _ := filterOf(r)
	entry := store.Entry{At: time.Now(), Action: "audit exported", Agent: who.ID}
	if err := b.store.Commit(r.Context(), store.Change{Audit: []store.Entry{entry}}); err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/x-ndjson")
	h.Set("Content-Disposition", `attachment; filename="audit.jsonl"`)
	out := http.NewResponseController(w)
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	for record, err := range b.store.Audit(r.Context(), 0) {
		if err != nil {
			b.log.ErrorContext(r.Context(), "audit export cut short", "err", err)
			panic(http.ErrAbortHandler) // so that nobody takes it for the whole
		}
		if !f.Fits(record) {
			continue
		}
		// Servers have one deadline for the whole of an answer.
		if err := out.SetWriteDeadline(time.Now().Add(liveWrite)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return unanswered(err)
		}
		if err := lines.Encode(record.Export()); err != nil {
			return unanswered(err)
		}
	}
	return nil
}

// erasePage removes a person: what there is of them first, and only then, when it
// is confirmed, that.
func (b *Bridge) erasePage(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	page := templates.Erase{Seat: b.seat(who)}
	if id := r.Form.Get("receipt"); id != "" && r.Method == http.MethodGet {
		receipt, err := b.store.Receipt(r.Context(), id)
		if err != nil && !errors.Is(err, store.ErrNotFound) {
			return fmt.Errorf("%w: %w", errStore, err)
		}
		if err == nil {
			page.Receipt = &templates.EraseReceipt{
				ID: receipt.ID, State: receipt.State, Removed: counted(receipt.Removed), Visitors: receipt.Removed.Visitors, Note: receipt.Note,
			}
		}
	}
	if r.Method != http.MethodPost {
		return b.render(w, http.StatusOK, page)
	}
	person := Person{PersonKind(r.PostForm.Get("kind")), r.PostForm.Get("id")}
	page.Kind, page.ID, page.Upscope = templates.EraseKind(person.Kind), person.ID, r.PostForm.Get("upscope") != ""
	if person.Valid() != nil {
		page.Invalid = true
		return b.render(w, http.StatusBadRequest, page)
	}
	eraser := &Eraser{b.store, b.subjects}
	if r.PostForm.Get("confirm") == "" {
		found, err := eraser.Look(r.Context(), person)
		if err != nil {
			return fmt.Errorf("%w: %w", errStore, err)
		}
		page.Found = new(templates.EraseCounts)
		*page.Found = counted(found)
		return b.render(w, http.StatusOK, page)
	}
	receipt, err := eraser.Erase(r.Context(), person, who.ID, page.Upscope)
	if err != nil {
		return fmt.Errorf("%w: %w", errStore, err)
	}
	seeOther(w, "/desk/erase?receipt="+receipt.ID)
	return nil
}

func counted(n store.Removed) templates.EraseCounts {
	return templates.EraseCounts{Cards: n.Cards, Deliveries: n.Deliveries, Jobs: n.Jobs, Records: n.Records}
}
