package bridge

import (
	"encoding/json"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"
)

const (
	// recordsShown is how many audit records a page shows, and recordsSeen how many
	// it looks at: the next page goes on from there.
	recordsShown = 50
	recordsSeen  = 20_000
)

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
			return storeFault(err)
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
		return storeFault(err)
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
