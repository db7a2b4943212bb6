package templates

import (
	"cmp"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cobrowse-bridge/templates/clean"
)

// Audit is the page that searches the audit log. Its form is a GET of /desk/audit
// with the fields of AuditFilter in lower case, and "before": the Seq below which
// the page begins. /desk/audit/export takes the same fields.
type Audit struct {
	SignedIn SignedInAgent
	Note     Note
	Filter   AuditFilter
	// Actions are those to choose from.
	Actions []string
	// Records are those that match the filter, the newest first.
	Records []AuditRecord
	// Before is the "before" of this page, zero on the first; Older is that of
	// the next, zero if there is none.
	Before, Older int64
	// Now is what times are compared with; zero is the time of the call.
	Now time.Time
}

// An AuditFilter says which records to show. Empty fields match all records.
type AuditFilter struct {
	Agent, Visitor, Card, Action string
	// Since and Until are the first and the last day, 2006-01-02; anything else
	// counts as empty.
	Since, Until string
}

// An AuditRecord is one entry of the audit log.
type AuditRecord struct {
	Seq                                                   int64
	At                                                    time.Time
	Action, Agent, Visitor, Card, Connector, Chat, Detail string
	// Erased says that Visitor, Chat and Detail were erased with the person.
	Erased bool
}

type auditView struct {
	Frame                 frame
	Filter                AuditFilter
	Actions               []actionView
	Records               []auditRecordView
	Filtered              bool
	Newest, Older, Export string
}

type auditRecordView struct {
	AuditRecord
	Label string // of Action
	When  moment
}

type actionView struct{ Action, Label string }

func (a Audit) view() (string, any, error) {
	now := a.Now
	if now.IsZero() {
		now = time.Now()
	}
	f := a.Filter.view()
	v := auditView{
		Frame: a.SignedIn.frame(auditTitle, auditPath, a.Note), Filter: f, Filtered: f != AuditFilter{},
		Export: f.address(auditPath+"/export", 0),
	}
	if a.Before > 0 {
		v.Newest = f.address(auditPath, 0)
	}
	if a.Older > 0 {
		v.Older = f.address(auditPath, a.Older)
	}
	for _, action := range a.Actions {
		if action = clean.Text(action, maxName); action != "" {
			v.Actions = append(v.Actions, actionView{action, cmp.Or(actionTexts[action], action)})
		}
	}
	for _, r := range a.Records {
		for _, s := range []*string{&r.Action, &r.Agent, &r.Visitor, &r.Card, &r.Connector, &r.Chat} {
			*s = clean.Text(*s, maxID)
		}
		r.Detail = detailText(clean.Text(r.Detail, maxNote))
		v.Records = append(v.Records, auditRecordView{r, cmp.Or(actionTexts[r.Action], r.Action), momentOf(now, r.At)})
	}
	return "audit", v, nil
}

// detailText returns the detail of an entry in words. It leaves unknown parts as they are.
func detailText(detail string) string {
	parts := strings.Split(detail, ", ")
	for i, part := range parts {
		parts[i] = cmp.Or(detailTexts[part], part)
	}
	return strings.Join(parts, ", ")
}

func (f AuditFilter) view() AuditFilter {
	for _, s := range []*string{&f.Agent, &f.Visitor, &f.Card, &f.Action} {
		*s = clean.Text(*s, maxID)
	}
	for _, day := range []*string{&f.Since, &f.Until} {
		if _, err := time.Parse(time.DateOnly, *day); err != nil {
			*day = ""
		}
	}
	return f
}

func (f AuditFilter) address(path string, before int64) string {
	q := url.Values{}
	for name, value := range map[string]string{
		"agent": f.Agent, "visitor": f.Visitor, "card": f.Card, "action": f.Action, "since": f.Since, "until": f.Until,
	} {
		if value != "" {
			q.Set(name, value)
		}
	}
	if before > 0 {
		q.Set("before", strconv.FormatInt(before, 10))
	}
	if len(q) == 0 {
		return path
	}
	return path + "?" + q.Encode()
}
