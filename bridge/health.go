package bridge

import (
	"encoding/json"
	"maps"
	"net/http"
	"sync"
	"time"
)

// health remembers how the last job of each connector ended.
type health struct {
	mu    sync.Mutex
	state map[string]connectorHealth
}

type connectorHealth struct {
	// State is "idle" until the first job, then "ok" or "failing".
	State string     `json:"state"`
	Since *time.Time `json:"since,omitempty"`
}

func newHealth(connectors map[string]Connector) *health {
	h := &health{state: map[string]connectorHealth{}}
	for name := range connectors {
		h.state[name] = connectorHealth{State: "idle"}
	}
	return h
}

func (h *health) note(connector string, err error) {
	state := "ok"
	if err != nil && !IsPermanent(err) {
		state = "failing"
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if known, ok := h.state[connector]; ok && known.State != state {
		now := time.Now()
		h.state[connector] = connectorHealth{state, &now}
	}
}

func (h *health) all() map[string]connectorHealth {
	h.mu.Lock()
	defer h.mu.Unlock()
	return maps.Clone(h.state)
}

// alive says that the process answers.
func (b *Bridge) alive(w http.ResponseWriter, _ *http.Request) error {
	_, err := w.Write([]byte("ok\n"))
	return unanswered(err)
}

// ready says whether deliveries can be taken in, which depends on the store
// alone: what a connector cannot do now its jobs will do later.
func (b *Bridge) ready(w http.ResponseWriter, r *http.Request) error {
	answer := struct {
		Ready      bool                       `json:"ready"`
		Store      string                     `json:"store"`
		Connectors map[string]connectorHealth `json:"connectors"`
		// Policy is "ok", or "fault" where the file is wrong and the policy of before
		// goes on, which the log explains.
		Policy string `json:"policy"`
	}{true, "ok", b.health.all(), "ok"}
	status := http.StatusOK
	if _, fault := b.policy.State(); fault != nil {
		answer.Policy = "fault"
	}
	if err := b.store.Ready(r.Context()); err != nil {
		b.log.ErrorContext(r.Context(), "store is not ready", "err", err)
		answer.Ready, answer.Store = false, "not writable"
		status = http.StatusServiceUnavailable
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	return unanswered(json.NewEncoder(w).Encode(answer))
}
