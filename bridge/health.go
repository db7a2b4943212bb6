package bridge

import (
	"cmp"
	"context"
	"encoding/json"
	"net/http"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/web"
)

// NameFailure returns for operators what failed and which connector it belongs to.
func NameFailure(f jobs.Failure) (what, connector string) {
	return cmp.Or(jobNames[f.Kind], f.Kind), book.ConnectorOf(f.Queue)
}

// jobNames are the names of jobs by kind. The names of other work are its kinds.
var jobNames = map[string]string{
	book.JobAnswer: "delivery", book.JobForward: "delivery", book.JobShow: "card", book.JobRefresh: "card",
	book.JobTell: "message", book.JobErase: "erasure",
}

// alive handles /healthz. It always answers ok.
func (b *Bridge) alive(w http.ResponseWriter, _ *http.Request) error {
	_, err := w.Write([]byte("ok\n"))
	return web.SendFault(err)
}

// ready handles /readyz: whether the bridge can receive deliveries, and what fails. Only the store,
// and a stop, decide whether it is ready: jobs that fail because of a chat service are retried later.
func (b *Bridge) ready(w http.ResponseWriter, r *http.Request) error {
	answer := struct {
		Ready      bool                           `json:"ready"`
		Store      string                         `json:"store"`
		Connectors map[string]web.ConnectorHealth `json:"connectors"`
		// Failures counts what failed and has not succeeded since. It does not change Ready.
		Failures web.Failed `json:"failures"`
		// Policy is "ok", or "fault" if the policy file is invalid. The previous policy then
		// stays in force, and the log has the cause.
		Policy string `json:"policy"`
		// Settings is "ok", or "fault" if a file of settings is not valid. The previous value then
		// stays in use, and the log has the cause.
		Settings string `json:"settings"`
		// Stopping says that the program was told to stop, and goes on for a while.
		Stopping bool `json:"stopping,omitempty"`
	}{Ready: true, Store: "ok", Policy: "ok", Settings: "ok"}
	status := http.StatusOK
	if _, fault := b.policy.State(); fault != nil {
		answer.Policy = "fault"
	}
	if b.settingsFault != nil && b.settingsFault() {
		answer.Settings = "fault"
	}
	ctx, cancel := context.WithTimeout(r.Context(), web.MachineTime)
	defer cancel()
	var report web.Report
	err := b.store.Ready(ctx)
	if err != nil {
		answer.Store = "not writable"
	} else if report, err = b.health.Report(ctx); err != nil {
		answer.Store = "not readable"
	}
	if err != nil {
		b.log.ErrorContext(ctx, "store not ready", "err", err)
		answer.Ready = false
		status = http.StatusServiceUnavailable
	}
	if b.stopping.Load() {
		answer.Ready, answer.Stopping = false, true
		status = http.StatusServiceUnavailable
	}
	answer.Connectors, answer.Failures = report.Connectors, report.All
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	return web.SendFault(json.NewEncoder(w).Encode(answer))
}
