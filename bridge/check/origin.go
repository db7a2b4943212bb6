package check

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"io"
	"net/http"
	"strings"
	"time"

	"cobrowse-bridge/bridge/netaddr"
	"cobrowse-bridge/bridge/proof"
)

const aboutOrigin = "BRIDGE_ORIGIN"

// togetherWithin is how close two events must arrive that the bridge sends with a pause of a second, for
// a proxy to count as holding them back.
const togetherWithin = 200 * time.Millisecond

func newNonce() (n proof.Nonce) {
	_, _ = rand.Read(n[:]) // never fails
	return n
}

func provePath(n proof.Nonce) string {
	return proof.Path + "?" + proof.NonceParameter + "=" + n.Encode()
}

// read reads an answer to provePath and closes it. proven is false if it is not that of a bridge.
func (p prover) read(resp *http.Response, n proof.Nonce) (m proof.Match, proven bool) {
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return m, false
	}
	text, err := io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if err != nil {
		return m, false
	}
	return p.match(text, n)
}

func (p prover) match(text []byte, n proof.Nonce) (m proof.Match, proven bool) {
	var a proof.Answer
	if json.Unmarshal(text, &a) != nil || a.Secret == "" || a.Host == "" || a.Origin == "" {
		return m, false
	}
	host := netaddr.CanonicalHost(p.Origin.Scheme, p.Origin.Host)
	return p.keys.Match(a, n, host, host), true
}

// askOrigin sends a request to the bridge's public address.
func (p prover) askOrigin(ctx context.Context, path string) (*http.Response, error) {
	at := *p.Origin
	at.Path, at.RawQuery, _ = strings.Cut(path, "?")
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at.String(), nil)
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", "bridge check")
	return p.client().Do(r)
}

// atOrigin finds out who answers at the bridge's public address, and what is between. It reports whether
// it is a bridge of these settings.
func (p prover) atOrigin(ctx context.Context, here presence) ([]Finding, bool) {
	nonce := newNonce()
	resp, err := p.askOrigin(ctx, provePath(nonce))
	if err != nil {
		return []Finding{p.noAnswer(err, here)}, false
	}
	expiring := p.certificate(resp.TLS)
	m, proven := p.read(resp, nonce)
	finding, found := p.whoAnswers(resp.StatusCode, m, proven, here)
	if resp.StatusCode == http.StatusNotFound && p.failures(ctx, p.askOrigin) != nil {
		finding, found = warning("origin.older", aboutOrigin, "Update the bridge there, and run the check again.",
			"A bridge of an earlier release answers at %s. It cannot prove that it has this BRIDGE_SECRET.", p.Origin), true
	}
	all := append([]Finding{finding}, expiring...)
	if found && p.buffered(ctx) {
		all = append(all, warning("origin.buffered", aboutOrigin, "Switch buffering of answers off in the proxy for this address (nginx: let X-Accel-Buffering of the bridge through, or proxy_buffering off).",
			"A proxy in front of the bridge holds answers back until they are complete: open desk pages do not update by themselves."))
	}
	return all, found
}

// whoAnswers says what an answer means. found says that the bridge has answered.
func (p prover) whoAnswers(status int, m proof.Match, proven bool, here presence) (f Finding, found bool) {
	const proxy = "Let the proxy at this address pass every path to the bridge without an answer of its own."
	switch {
	case proven && m.Secret && !m.Origin:
		return problem("origin.setting", aboutOrigin, "Set BRIDGE_ORIGIN to the same address for `bridge serve` and `bridge check`, and restart the bridge.",
			"The bridge at %s has another BRIDGE_ORIGIN: it refuses pages at this address, and its cards lead to the other.", p.Origin), true
	case proven && m.Secret && !m.Host:
		return problem("origin.rewritten", aboutOrigin, "Let the proxy pass Host on unchanged (nginx: proxy_set_header Host $host).",
			"A proxy in front of the bridge changes the header Host, so the bridge refuses every page with status 421."), true
	case proven && m.Secret:
		return ok("origin.answers", aboutOrigin, "The bridge answers at %s.", p.Origin), true
	case proven:
		return problem("origin.other-bridge", aboutOrigin, "Correct BRIDGE_ORIGIN or the proxy. If it is this bridge with an earlier BRIDGE_SECRET, restart it; all replicas need the same one.",
			"Another bridge, with another BRIDGE_SECRET, answers at %s.", p.Origin), false
	case p.SignIn.Headers != nil && (status == http.StatusUnauthorized || status == http.StatusForbidden || status >= 300 && status < 400):
		return warning("origin.sign-in", aboutOrigin, "Let the proxy pass "+proof.Path+" to the bridge without a sign-in, as deploy/nginx-oauth2-proxy.conf does.",
			"The proxy at %s asks the check to sign in, so it cannot see whether the bridge answers there.", p.Origin), false
	case status >= 300 && status < 400:
		return problem("origin.redirect", aboutOrigin, "Set BRIDGE_ORIGIN to the address at which the bridge itself answers. "+proxy,
			"%s redirects to another address (status %d), so links in cards lose their press and chat services cannot deliver.", p.Origin, status), false
	case status == http.StatusTooManyRequests:
		return warning("origin.busy", aboutOrigin, "Run the check again in a minute. If a proxy is in front of the bridge, set BRIDGE_TRUSTED_PROXIES to it: otherwise all clients share one limit.", "%s answers that there are too many requests.", p.Origin), false
	case status == http.StatusBadGateway || status == http.StatusServiceUnavailable || status == http.StatusGatewayTimeout:
		if here == ours {
			return problem("origin.gateway", aboutOrigin, "Set the address of the bridge in the proxy to the one on which the bridge listens ("+p.Listen+").",
				"The proxy at %s does not reach the bridge (status %d), which runs on this machine.", p.Origin, status), false
		}
		return p.notRunning(), false
	}
	return problem("origin.other", aboutOrigin, "Correct BRIDGE_ORIGIN or its DNS record. "+proxy+" If an earlier release of the bridge runs there, restart it with this one.",
		"Another program than this bridge answers at %s (status %d).", p.Origin, status), false
}

func (p prover) notRunning() Finding {
	return warning("origin.not-running", aboutOrigin, "Before the first start this is as expected. Start the bridge and its proxy, and run the check again.",
		"No bridge answers at %s.", p.Origin)
}

// buffered reports whether events arrive only when the answer is complete. It looks twice, because this
// program may have been delayed.
func (p prover) buffered(ctx context.Context) bool {
	for range 2 {
		if !p.together(ctx) {
			return false
		}
	}
	return true
}

// together reports whether two events arrive together that the bridge sends one after the other.
func (p prover) together(ctx context.Context) bool {
	nonce := newNonce()
	resp, err := p.askOrigin(ctx, provePath(nonce)+"&"+proof.StreamParameter+"=1")
	if err != nil {
		return false
	}
	defer resp.Body.Close()
	lines := bufio.NewScanner(io.LimitReader(resp.Body, maxAnswer))
	var first time.Time
	for lines.Scan() {
		event, isEvent := strings.CutPrefix(lines.Text(), "data: ")
		switch {
		case !isEvent:
		case first.IsZero():
			if m, proven := p.match([]byte(event), nonce); !proven || !m.Secret {
				return false
			}
			first = time.Now()
		default:
			return time.Since(first) < togetherWithin
		}
	}
	return false
}
