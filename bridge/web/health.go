package web

import (
	"context"
	"time"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/jobs"
)

// Health says what fails now, from the failures in the store. Pages, probes and metrics read it
// here, so they agree, also across replicas.
type Health struct {
	store       *store.Store
	connectors  []string
	connectorOf func(queue string) string
}

// ConnectorHealth is the state of a connector.
type ConnectorHealth struct {
	// State is "failing" while something failed and has not succeeded since, otherwise "ok", or
	// "idle" if no delivery arrived in the last three days.
	State string `json:"state"`
	// Since is when the oldest of what fails failed first.
	Since *time.Time `json:"since,omitempty"`
	Failed
}

// Failed counts failures.
type Failed struct {
	// Failed counts those that are not tried again, unless an operator retries them.
	Failed int `json:"failed,omitempty"`
	// Retrying counts those that are tried again automatically.
	Retrying int `json:"retrying,omitempty"`
}

// A Report is what fails now.
type Report struct {
	// Connectors has every connector by name.
	Connectors map[string]ConnectorHealth
	// All counts all failures, also those that belong to no connector.
	All    Failed
	Counts []jobs.FailureCount
}

// NewHealth returns a Health. connectorOf returns the connector of a queue of jobs.
func NewHealth(s *store.Store, connectors []string, connectorOf func(queue string) string) *Health {
	return &Health{s, connectors, connectorOf}
}

// Connectors returns the names of all connectors.
func (h *Health) Connectors() []string { return h.connectors }

// Report reads what fails now.
func (h *Health) Report(ctx context.Context) (Report, error) {
	counts, err := h.store.Jobs().FailureCounts(ctx)
	if err != nil {
		return Report{}, err
	}
	r := Report{Connectors: map[string]ConnectorHealth{}, Counts: counts}
	for _, name := range h.connectors {
		state := ConnectorHealth{State: "idle"}
		if delivers, err := h.store.AnyDelivery(ctx, name); err != nil {
			return Report{}, err
		} else if delivers {
			state.State = "ok"
		}
		r.Connectors[name] = state
	}
	for _, c := range counts {
		r.All.add(c)
		name := h.connectorOf(c.Queue)
		state, ok := r.Connectors[name]
		if !ok {
			continue
		}
		state.State = "failing"
		state.add(c)
		if state.Since == nil || c.First.Before(*state.Since) {
			state.Since = &c.First
		}
		r.Connectors[name] = state
	}
	return r, nil
}

func (f *Failed) add(c jobs.FailureCount) {
	if c.Final {
		f.Failed += c.N
	} else {
		f.Retrying += c.N
	}
}
