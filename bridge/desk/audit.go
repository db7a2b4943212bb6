package desk

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/templates"
)

// A page shows at most maxRecordsShown audit records. The next page starts after the last one.
const maxRecordsShown = 50

// filterOf returns a request's filter in two forms: for the page and for the store. ok is false if a
// date is invalid; the filter then lacks it.
func filterOf(r *http.Request) (shown templates.AuditFilter, f audit.Filter, ok bool) {
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
	f = audit.Filter{
		Agent: shown.Agent, Visitor: shown.Visitor, Card: shown.Card, Action: shown.Action,
		Since: day(&shown.Since), Until: day(&shown.Until),
	}
	if !f.Until.IsZero() {
		f.Until = f.Until.AddDate(0, 0, 1) // to include that day
	}
	return shown, f, ok
}

// showAudit shows the records that match a filter, newest first.
func (desk *Desk) showAudit(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	return desk.renderAudit(w, r, who, http.StatusOK, templates.NoteFilter)
}

// renderAudit shows the records that match a filter. If a date of the filter is invalid, the page
// has the note.
func (desk *Desk) renderAudit(w http.ResponseWriter, r *http.Request, who signin.Identity, status int, note templates.Note) error {
	shown, f, ok := filterOf(r)
	page := templates.Audit{SignedIn: desk.signedInAgent(who), Filter: shown, Actions: audit.Actions, Now: time.Now()}
	if !ok {
		page.Note = note
	}
	before, err := strconv.ParseInt(r.Form.Get("before"), 10, 64)
	if err != nil || before < 1 {
		before = math.MaxInt64
	} else {
		page.Before = before
	}
	for record, err := range desk.store.AuditLog().Search(r.Context(), f, before) {
		if err != nil {
			return web.StoreFault(err)
		}
		if len(page.Records) == maxRecordsShown {
			page.Older = record.Seq + 1 // Search excludes it
			break
		}
		page.Records = append(page.Records, templates.AuditRecord{
			Seq: record.Seq, At: record.At, Action: record.Action, Agent: record.Agent, Visitor: record.Visitor, Card: record.Card,
			Connector: record.Connector, Chat: record.Chat, Detail: record.Detail, Erased: record.Erased,
		})
	}
	return desk.web.Render(w, status, page)
}

// exportAudit writes the records that match a filter as JSON lines, oldest first. The export itself
// is recorded in the audit log.
func (desk *Desk) exportAudit(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	_, f, ok := filterOf(r)
	if !ok { // without the date, the file would have more than was asked for
		return desk.renderAudit(w, r, who, http.StatusBadRequest, templates.NoteNotExported)
	}
	entry := audit.Entry{At: time.Now(), Action: "audit exported", Agent: who.ID}
	if err := desk.store.Commit(r.Context(), store.Change{Audit: []audit.Entry{entry}}); err != nil {
		return web.StoreFault(err)
	}
	h := w.Header()
	h.Set("Content-Type", "application/x-ndjson")
	h.Set("Content-Disposition", `attachment; filename="audit.jsonl"`)
	out := http.NewResponseController(w)
	lines := json.NewEncoder(w)
	lines.SetEscapeHTML(false)
	for record, err := range desk.store.AuditLog().After(r.Context(), 0) {
		if err != nil {
			desk.log.ErrorContext(r.Context(), "audit export not finished", "err", err)
			panic(http.ErrAbortHandler) // so that the client sees that the file is incomplete
		}
		if !f.Fits(record) {
			continue
		}
		// Extend the deadline for each line, because the server's is for the whole answer.
		if err := out.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil && !errors.Is(err, http.ErrNotSupported) {
			return web.SendFault(err)
		}
		if err := lines.Encode(record.Export()); err != nil {
			return web.SendFault(err)
		}
	}
	return nil
}
