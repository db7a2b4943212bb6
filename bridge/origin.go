package bridge

import (
	"encoding/json"
	"net"
	"net/http"
	"time"

	"cobrowse-bridge/bridge/netaddr"
	"cobrowse-bridge/bridge/proof"
	"cobrowse-bridge/bridge/web"
)

const (
	// An IP address may ask for proofsPerMinute proofs. One check asks for at most four.
	proofsPerMinute = 30
	// secondEvent is the pause before the second event of a stream. It is long enough for a check to
	// see whether both arrived together, also on a busy machine.
	secondEvent = time.Second
)

// prove handles proof.Path: it proves to `bridge check` which bridge answers here.
func (b *Bridge) prove(w http.ResponseWriter, r *http.Request) error {
	if !direct(r) && !b.proofs.Allow(b.web.Address(r)) {
		return web.ErrThrottled
	}
	query := r.URL.Query()
	nonce, ok := proof.ParseNonce(query.Get(proof.NonceParameter))
	if !ok {
		w.WriteHeader(http.StatusBadRequest)
		return nil
	}
	host := func(name string) string { return netaddr.CanonicalHost(b.origin.Scheme, name) }
	answer, err := json.Marshal(b.proofKeys.Answer(nonce, host(r.Host), host(b.origin.Host)))
	if err != nil {
		return err
	}
	if !query.Has(proof.StreamParameter) {
		w.Header().Set("Content-Type", "application/json")
		_, err := w.Write(append(answer, '\n'))
		return web.SendFault(err)
	}
	// As the stream of the desk.
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no")
	out := http.NewResponseController(w)
	if _, err := w.Write([]byte("data: " + string(answer) + "\n\n")); err != nil {
		return web.SendFault(err)
	}
	if err := out.Flush(); err != nil {
		return web.SendFault(err)
	}
	select {
	case <-time.After(secondEvent):
	case <-r.Context().Done():
		return nil
	}
	_, err = w.Write([]byte("data: end\n\n"))
	return web.SendFault(err)
}

// direct reports whether a request comes from a program on this machine, such as `bridge check`, and not
// through a proxy.
func direct(r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	return err == nil && netaddr.Loopback(host) && r.Header.Get("X-Forwarded-For") == ""
}
