package check

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"time"

	"cobrowse-bridge/bridge/network"
)

const (
	// originWait is how long the public address may take for each step: connection, TLS, answer.
	originWait = 3 * time.Second
	// renewBefore is how long before the end of a certificate there is a warning.
	renewBefore = 21 * 24 * time.Hour
)

// client returns a client for the public address. It follows no redirect, and keeps no connection.
func (p prover) client() *http.Client {
	return &http.Client{
		Transport: p.Route.Transport(&http.Transport{
			DialContext:            (&net.Dialer{Timeout: originWait}).DialContext,
			TLSHandshakeTimeout:    originWait,
			ResponseHeaderTimeout:  originWait,
			MaxResponseHeaderBytes: 16 << 10,
			DisableKeepAlives:      true,
			DisableCompression:     true,
		}),
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}

// noAnswer says why there is no answer from the public address.
func (p prover) noAnswer(err error, here presence) Finding {
	if f, ok := p.proxyFault(err); ok {
		return f
	}
	if f, ok := p.tlsFault(err); ok {
		return f
	}
	if _, ok := errors.AsType[*net.DNSError](err); ok {
		return problem("origin.dns", aboutOrigin, "Correct BRIDGE_ORIGIN, or make a DNS record for the host name.", "The host name of %s cannot be resolved.", p.Origin)
	}
	dial, isDial := errors.AsType[*net.OpError](err)
	isDial = isDial && dial.Op == "dial"
	slow, isNet := errors.AsType[net.Error](err)
	switch {
	case isDial && here != ours:
		return p.notRunning()
	case isDial || isNet && slow.Timeout():
		return problem("origin.unreachable", aboutOrigin, "Check the DNS record of the host name, the proxy, and that a firewall lets this machine reach it. If only this machine cannot reach it, and agents can, the bridge works.",
			"%s does not answer in time, or refuses connections.", p.Origin)
	}
	return problem("origin.other", aboutOrigin, "Correct BRIDGE_ORIGIN or its DNS record: the bridge or its proxy must answer there.", "What answers at %s does not speak HTTP as the bridge does.", p.Origin)
}

// proxyFault says that a proxy for outgoing requests does not let the check through.
func (p prover) proxyFault(err error) (Finding, bool) {
	refused, ok := errors.AsType[*network.ProxyError](err)
	if !ok {
		return Finding{}, false
	}
	return warning("origin.proxy", aboutOrigin, "Allow the address in that proxy, or add its host name to NO_PROXY. Check HTTPS_PROXY.",
		"The check cannot see whether the bridge answers at %s: %s.", p.Origin, refused), true
}

// tlsFault says what is wrong with the certificate or the TLS of the public address.
func (p prover) tlsFault(err error) (Finding, bool) {
	const effect = "so browsers and chat services refuse it"
	if _, ok := errors.AsType[x509.HostnameError](err); ok {
		return problem("origin.tls-name", aboutOrigin, "Give the proxy a certificate for this host name, or correct BRIDGE_ORIGIN.", "The certificate at %s is for another host name, %s.", p.Origin, effect), true
	}
	if invalid, ok := errors.AsType[x509.CertificateInvalidError](err); ok && invalid.Reason == x509.Expired {
		return problem("origin.tls-expired", aboutOrigin, "Renew the certificate, and let the proxy load it. If it is valid, set the clock of this machine.", "The certificate at %s has expired or is not valid yet, %s.", p.Origin, effect), true
	}
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return problem("origin.tls-issuer", aboutOrigin, "Use a certificate of an authority that browsers know, and let the proxy send the intermediate certificates too. For an authority of your own, set BRIDGE_CA_FILE.",
			"The certificate at %s is from an authority that this machine does not know.", p.Origin), true
	}
	_, record := errors.AsType[tls.RecordHeaderError](err)
	_, verify := errors.AsType[*tls.CertificateVerificationError](err)
	_, alert := errors.AsType[tls.AlertError](err)
	if record || verify || alert || errors.Is(err, http.ErrSchemeMismatch) {
		return problem("origin.tls", aboutOrigin, "Let the proxy serve HTTPS with a certificate for the host name at this address.", "%s does not speak TLS as it should, %s.", p.Origin, effect), true
	}
	return Finding{}, false
}

// certificate warns of a certificate that expires soon.
func (p prover) certificate(state *tls.ConnectionState) []Finding {
	if state == nil || len(state.PeerCertificates) == 0 {
		return nil
	}
	end := state.PeerCertificates[0].NotAfter
	if time.Until(end) > renewBefore {
		return nil
	}
	return []Finding{warning("origin.tls-expiring", aboutOrigin, "Renew it, and let the proxy load the new one.", "The certificate at %s expires on %s.", p.Origin, end.UTC().Format(time.DateOnly))}
}
