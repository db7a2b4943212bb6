// Package netaddr has what several packages need about network addresses: loopback hosts, canonical host names,
// and (client.go) the client's address behind proxies.
package netaddr

import (
	"net/netip"
	"slices"
	"strings"
	"unicode"

	"golang.org/x/net/idna"
)

// Loopback reports whether a host, without a port, is this machine: localhost, or a
// loopback address. Settings accept http:// addresses for such hosts only.
func Loopback(host string) bool {
	addr, err := netip.ParseAddr(host)
	return strings.EqualFold(host, "localhost") || err == nil && addr.IsLoopback()
}

// CanonicalHost returns a host, with or without a port, as browsers send it to a server of the scheme:
// in lower case, and without the default port.
func CanonicalHost(scheme, host string) string {
	host = strings.ToLower(host)
	switch scheme {
	case "https":
		return strings.TrimSuffix(host, ":443")
	case "http":
		return strings.TrimSuffix(host, ":80")
	}
	return host
}

// ASCII returns a host name in the form that DNS and browsers use: brücke.example is
// xn--brcke-lva.example. It returns a host that is already ASCII unchanged. The host may have a port.
func ASCII(host string) (string, error) {
	if !strings.ContainsFunc(host, func(c rune) bool { return c > unicode.MaxASCII }) {
		return host, nil
	}
	name, port, hasPort := strings.Cut(host, ":")
	ascii, err := idna.Lookup.ToASCII(name)
	if hasPort {
		ascii += ":" + port
	}
	return ascii, err
}

// ASCIIList is ASCII for each host of a list that is separated by commas. A host that is not valid stays
// as it is.
func ASCIIList(hosts string) string {
	all := strings.Split(hosts, ",")
	for i, host := range all {
		if ascii, err := ASCII(strings.TrimSpace(host)); err == nil {
			all[i] = ascii
		}
	}
	return strings.Join(all, ",")
}

// Within reports whether an address is in one of the networks. An IPv4-mapped IPv6 address (::ffff:192.0.2.1)
// counts as IPv4, and a zone is ignored.
func Within(networks []netip.Prefix, addr netip.Addr) bool {
	addr = addr.Unmap().WithZone("")
	return slices.ContainsFunc(networks, func(p netip.Prefix) bool { return p.Contains(addr) })
}
