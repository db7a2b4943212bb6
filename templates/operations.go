package templates

import "time"

// Operations is the page for those who run the bridge: what could not be
// handled, and how the connectors and the policy are.
//
// Its forms are posted to /desk/retry with job=ID, or all=1 for all that were
// given up.
type Operations struct {
	Seat   Seat
	Note   Note
	Failed []FailedJob
	// More says that there are others besides Failed.
	More       bool
	Connectors []Health
	Policy     PolicyState
	// Now is what times are compared with; zero is the time of the call.
	Now time.Time
}

// A FailedJob is work that failed at least once.
type FailedJob struct {
	// ID is that of the delivery.
	ID        string
	Connector string
	// What says in words what was to be done.
	What string
	// At is when it failed last.
	At       time.Time
	Attempts int
	// Cause is the error of the last attempt.
	Cause string
	// Waiting says that it is tried again by itself, at Next.
	Waiting bool
	Next    time.Time
}

// Health is how the last work of a connector ended.
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

// A PolicyState is which policy is in force.
type PolicyState struct {
	// File is empty where none is set.
	File string
	// Since is when it was read.
	Since time.Time
	// Fault says why a newer content of the file is not in force.
	Fault string
}

type operationsView struct {
	frame
	Failed []failedView
	More   bool
	// All says that some were given up, which is what "Retry all" is about.
	All        bool
	Connectors []healthView
	Policy     PolicyState
	PolicyRead moment
}

type failedView struct {
	FailedJob
	When moment
	Next string // "in 4 minutes"; hides that of FailedJob
	Said string
}

type healthView struct {
	Health
	Said string
	Tone string
	When moment
}

func (o Operations) view() (string, any, error) {
	now := o.Now
	if now.IsZero() {
		now = time.Now()
	}
	v := operationsView{
		frame: o.Seat.frame("Operations", operationsPath, o.Note),
		More:  o.More,
		All:   o.More,
		Policy: PolicyState{
			File: clean(o.Policy.File, maxID), Fault: clean(o.Policy.Fault, maxCause),
		},
		PolicyRead: momentOf(now, o.Policy.Since),
	}
	for _, f := range o.Failed {
		f.ID = clean(f.ID, maxID)
		f.Connector = clean(f.Connector, maxName)
		f.What = clean(f.What, maxFact)
		f.Cause = clean(f.Cause, maxCause)
		next := "soon"
		if wait := f.Next.Sub(now); wait > 0 {
			next = "in " + span(wait)
		}
		v.All = v.All || !f.Waiting
		v.Failed = append(v.Failed, failedView{FailedJob: f, When: momentOf(now, f.At), Next: next, Said: count(f.Attempts, "attempt")})
	}
	for _, h := range o.Connectors {
		shown := healthView{Health: h, Said: "Nothing done yet", When: momentOf(now, h.Since)}
		shown.Name = clean(h.Name, maxName)
		switch h.State {
		case HealthOK:
			shown.Said, shown.Tone = "Working", "online"
		case HealthFailing:
			shown.Said, shown.Tone = "Failing", "bad"
		}
		v.Connectors = append(v.Connectors, shown)
	}
	return "operations", v, nil
}
