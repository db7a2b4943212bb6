package templates

import (
	"html/template"
	"time"

	"cobrowse-bridge/templates/clean"
)

// Operations is the page for operators: what failed, and the state of the
// connectors and the policy.
//
// Its forms are posted to /desk/retry with job=ID, or all=1 for all that are not
// retried automatically. dismiss=1 removes one from the list.
type Operations struct {
	SignedIn SignedInAgent
	Note     Note
	Failed   []FailedJob
	// More says that there are others besides Failed.
	More       bool
	Connectors []Health
	Policy     PolicyState
	// Now is what times are compared with; zero is the time of the call.
	Now time.Time
}

// A FailedJob is work that failed and has not succeeded since.
type FailedJob struct {
	ID string
	// Kind is the kind of job or periodic work. One without a text is shown as it is.
	Kind string
	// About is the agent of a card, the time of a delivery or the number of a
	// receipt; it may be empty.
	About     string
	Connector string
	// At is when it failed last.
	At       time.Time
	Attempts int
	// Cause is the error of the last attempt.
	Cause string
	// OnlyDismiss says that it cannot be retried.
	OnlyDismiss bool
	// Waiting says that it is retried automatically, at Next.
	Waiting bool
	Next    time.Time
}

// Health says whether work of a connector fails.
type Health struct {
	Name string
	// State is one of the Health constants; any other is shown as idle.
	State string
	Since time.Time
}

// States of a Health.
const (
	HealthIdle    = "idle"
	HealthOK      = "ok"
	HealthFailing = "failing"
)

// A PolicyState says which policy is active.
type PolicyState struct {
	// File is the path of the policy file; empty if none is set.
	File string
	// Since is when it was loaded.
	Since time.Time
	// Fault says why a newer version of the file is not active.
	Fault string
}

type operationsView struct {
	Frame  frame
	Failed []failedView
	More   bool
	// All shows "Retry all": some are not retried automatically.
	All        bool
	Connectors []healthView
	Policy     PolicyState
	PolicyRead moment
}

type failedView struct {
	FailedJob
	What      string
	When      moment
	Next      string // "next in 4 minutes"; hides that of FailedJob
	Attempted string
}

type healthView struct {
	Health
	Status template.HTML
	Tone   string
}

func (o Operations) view() (string, any, error) {
	now := o.Now
	if now.IsZero() {
		now = time.Now()
	}
	v := operationsView{
		Frame: o.SignedIn.frame(operationsTitle, operationsPath, o.Note),
		More:  o.More,
		All:   o.More,
		Policy: PolicyState{
			File: clean.Text(o.Policy.File, maxID), Fault: clean.Text(o.Policy.Fault, maxCause),
		},
		PolicyRead: momentOf(now, o.Policy.Since),
	}
	for _, f := range o.Failed {
		f.ID = clean.Text(f.ID, maxID)
		f.Connector = clean.Text(f.Connector, maxName)
		what := clean.Text(f.Kind, maxFact)
		if text, ok := failedTexts[f.Kind]; ok {
			what = text.Plain(values{"about": clean.Text(f.About, maxFact)})
		}
		f.Cause = clean.Text(f.Cause, maxCause)
		wait := ""
		if d := f.Next.Sub(now); d > 0 {
			wait = span(d)
		}
		v.All = v.All || !f.Waiting && !f.OnlyDismiss
		v.Failed = append(v.Failed, failedView{
			FailedJob: f, What: what, When: momentOf(now, f.At), Next: nextIn.Plain(values{"wait": wait}), Attempted: attempts.Of(f.Attempts),
		})
	}
	for _, h := range o.Connectors {
		status, ok := healthTexts[h.State]
		if !ok {
			status = healthTexts[HealthIdle]
		}
		shown := healthView{Health: h, Status: status.HTML(values{"time": startOf(now, h.Since)})}
		shown.Name = clean.Text(h.Name, maxName)
		switch h.State {
		case HealthOK:
			shown.Tone = "online"
		case HealthFailing:
			shown.Tone = "bad"
		}
		v.Connectors = append(v.Connectors, shown)
	}
	return "operations", v, nil
}
