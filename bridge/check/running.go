package check

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"syscall"
	"time"

	"cobrowse-bridge/bridge/proof"
)

const (
	// hereWait is how long the bridge on this machine may take to answer.
	hereWait = 1500 * time.Millisecond
	// maxAnswer is how much of an answer is read, in bytes.
	maxAnswer = 4 << 10
	// maxReady is the same for /readyz, which lists the connectors.
	maxReady = 64 << 10
)

// checkBridge looks for the bridge on this machine and at its public address.
func checkBridge(ctx context.Context, c Config) []Finding {
	keys, err := proof.NewKeys(c.Secret, c.OldSecret)
	if err != nil {
		return []Finding{problem("settings.invalid", "BRIDGE_SECRET", "", "%s.", err)}
	}
	p := prover{c, keys}
	found, here := p.onThisMachine(ctx)
	outside, there := p.atOrigin(ctx, here)
	found = append(found, outside...)
	switch {
	case here == absent && there:
		// It listens on sockets of a service manager, or runs on another machine.
		found = append(found, p.failures(ctx, p.askOrigin)...)
	case here == absent:
		found = append(found, p.freeToListen(ctx)...)
	}
	return found
}

// A prover asks for proofs of who answers.
type prover struct {
	Config
	keys proof.Keys
}

// A presence says what listens at BRIDGE_LISTEN.
type presence int

const (
	absent presence = iota // nothing answers
	ours                   // a bridge of these settings
	other                  // another program, or a program that does not answer
)

// askHere sends a request to the bridge on this machine.
func (p prover) askHere(ctx context.Context, path string) (*http.Response, error) {
	return p.Ask(ctx, path, p.Origin.Host)
}

// onThisMachine finds out what listens at BRIDGE_LISTEN and, if it is the bridge, what fails there.
func (p prover) onThisMachine(ctx context.Context) ([]Finding, presence) {
	const about = "BRIDGE_LISTEN"
	quick, cancel := context.WithTimeout(ctx, hereWait)
	defer cancel()
	nonce := newNonce()
	resp, err := p.askHere(quick, provePath(nonce))
	switch {
	case errors.Is(err, context.DeadlineExceeded):
		return []Finding{problem("listen.silent", about, "Look at the log of `bridge serve`. If another program listens there, stop it or set another address.",
			"Something listens on %s, and does not answer.", p.Listen)}, other
	case err != nil:
		return nil, absent
	}
	m, proven := p.read(resp, nonce)
	if proven && m.Secret {
		return p.failures(ctx, p.askHere), ours
	}
	if !proven { // perhaps a bridge of a release that makes no proofs
		if found := p.failures(ctx, p.askHere); found != nil {
			return found, ours
		}
	}
	return []Finding{problem("listen.taken", about, "Stop the other program, or set BRIDGE_LISTEN to another address. If it is this bridge with earlier settings, restart it.",
		"Another program, or a bridge with another BRIDGE_SECRET, listens on %s.", p.Listen)}, other
}

// freeToListen finds out whether the bridge could listen on its addresses.
func (p prover) freeToListen(ctx context.Context) (all []Finding) {
	for _, a := range []struct{ setting, address string }{{"BRIDGE_LISTEN", p.Listen}, {"BRIDGE_METRICS_LISTEN", p.Metrics}} {
		if a.address == "" {
			continue
		}
		if err := p.TryListen(ctx, a.address); err != nil {
			all = append(all, problem("listen.address", a.setting, "Stop the other program that listens there, or set "+a.setting+" to another address of this machine.",
				"The bridge could not listen on %s: %s.", a.address, cause(err)))
		}
	}
	return all
}

func cause(err error) string {
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	return err.Error()
}

// failures asks the running bridge for what fails. It returns nil if the answer is not a bridge's.
func (p prover) failures(ctx context.Context, ask func(context.Context, string) (*http.Response, error)) []Finding {
	resp, err := ask(ctx, "/readyz")
	if err != nil {
		return nil
	}
	defer resp.Body.Close()
	var state struct {
		Store    string
		Policy   string
		Settings string // earlier versions do not say
		Failures *struct{ Failed, Retrying int }
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxReady)).Decode(&state); err != nil || state.Failures == nil {
		return nil
	}
	var all []Finding
	if state.Store != "ok" {
		all = append(all, problem("bridge.store", "bridge", "Look at the log of `bridge serve` for \"store not ready\".", "The running bridge cannot use its database, and answers deliveries with 503."))
	}
	if state.Policy == "fault" {
		all = append(all, problem("bridge.policy", aboutPolicy, "Run `bridge policy check`, and correct the file.", "The running bridge could not read the policy file, and uses the previous policy."))
	}
	if state.Settings == "fault" {
		all = append(all, problem("bridge.settings", "bridge", "Look at the log of `bridge serve` for \"setting not reloaded\", and correct the file that it names.",
			"The running bridge could not read a file of settings again, and uses the previous value."))
	}
	f := *state.Failures
	if f.Failed+f.Retrying > 0 {
		return append(all, problem("bridge.failures", "failures", "`bridge deliveries list` shows them with their errors. Fix the cause, then run `bridge deliveries retry --all-failed`.",
			"Failed: %d. Failed and retried automatically: %d.", f.Failed, f.Retrying))
	}
	if all == nil {
		all = append(all, ok("bridge.failures", "failures", "Nothing failed in the running bridge."))
	}
	return all
}
