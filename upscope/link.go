package upscope

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// Why a watch link is not to be followed.
var (
	ErrUntrustedTarget = errors.New("upscope: watch link leads somewhere not trusted")
	ErrExpired         = errors.New("upscope: watch link has expired")
)

// WatchLink is the authority to watch one visitor, for whoever holds it and for a short time. It does not
// print, log or marshal, and no method but Location tells its address.
type WatchLink struct {
	secret
	expires time.Time
}

// Expires returns when the link ends; zero when the service did not say.
func (l WatchLink) Expires() time.Time { return l.expires }

// Location returns the address to redirect the agent to, as the service wrote it, fit for a Location header.
// It is given out only if the link has not expired at now, and the address is absolute, https (or http for a
// listed loopback host), on one of the hosts or a subdomain, on the listed port or none, and has no user, no
// fragment, and no character that a browser might read otherwise than we do. Else the error is ErrExpired or
// ErrUntrustedTarget, and what it tells of the address is at most the last two labels of its host.
func (l WatchLink) Location(hosts Hosts, now time.Time) (string, error) {
	if !l.expires.IsZero() && !now.Before(l.expires) {
		return "", ErrExpired
	}
	address := l.open()
	if why := hosts.check(address); why != "" {
		return "", fmt.Errorf("%w: %s", ErrUntrustedTarget, why)
	}
	return address, nil
}

// DefaultWatchHosts are the sites of all brands. Links have been seen on cobrowsingapi.com and on a subdomain of
// upscope.io; the vendor promises no host.
const DefaultWatchHosts = "cobrowsingapi.com,upscope.com,upscope.io,userview.com,helloscreen.com"

// Hosts are the sites watch links may lead to. The zero value admits none.
type Hosts struct{ entries []host }

type host struct {
	name     string // lower case
	port     string // empty for the scheme's own
	loopback bool   // this very host and no subdomain, http allowed
}

// ParseHosts reads a list like DefaultWatchHosts: entries separated by commas, each a host or host:port, with
// blanks around them ignored. A host is a domain name of at least two labels, which stands for its subdomains
// too, or localhost or an IPv4 loopback address, which stands for itself and may be reached by plain http.
func ParseHosts(list string) (Hosts, error) {
	var h Hosts
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.ToLower(strings.TrimSpace(entry))
		if entry == "" {
			return Hosts{}, errors.New("upscope: watch hosts: an empty entry")
		}
		e := host{name: entry}
		if name, port, ok := strings.Cut(entry, ":"); ok {
			if !made(port, 5, digit) || port[0] == '0' || len(port) == 5 && port > "65535" {
				return Hosts{}, fmt.Errorf("upscope: watch hosts: %q: want host or host:port", entry)
			}
			e.name, e.port = name, port
		}
		if !hostname(e.name) {
			return Hosts{}, fmt.Errorf("upscope: watch hosts: %q is not a host name", entry)
		}
		e.loopback = loopback(e.name)
		last := e.name[strings.LastIndexByte(e.name, '.')+1:]
		if _, err := netip.ParseAddr(e.name); !e.loopback && (err == nil || last == e.name || !lower(last[0])) {
			return Hosts{}, fmt.Errorf("upscope: watch hosts: %q: want a domain name of two labels or more", entry)
		}
		h.entries = append(h.entries, e)
	}
	return h, nil
}

// Allow reports whether an agent may be sent to address: the rules of WatchLink.Location, for addresses that are
// no secret, such as Visitor.WatchLink.
func (h Hosts) Allow(address string) bool { return h.check(address) == "" }

// CSPSources returns the hosts as source expressions of a Content-Security-Policy. They belong into the
// form-action of a page whose form is answered with a redirect to a watch link: Chromium holds redirects to it.
func (h Hosts) CSPSources() []string {
	var sources []string
	for _, e := range h.entries {
		port := ""
		if e.port != "" {
			port = ":" + e.port
		}
		if e.loopback {
			sources = append(sources, "http://"+e.name+port) // covers https as well
			continue
		}
		sources = append(sources, "https://"+e.name+port, "https://*."+e.name+port)
	}
	return sources
}

// String returns the list in the form ParseHosts reads.
func (h Hosts) String() string {
	var list []string
	for _, e := range h.entries {
		if e.port != "" {
			e.name += ":" + e.port
		}
		list = append(list, e.name)
	}
	return strings.Join(list, ",")
}

// check says why address is not to be followed, or nothing. It admits a small language in which Go, browsers and
// proxies agree on the host, rather than trusting one parser to foresee the others.
func (h Hosts) check(address string) (why string) {
	if len(address) > 4096 {
		return "too long"
	}
	for i := range len(address) {
		if c := address[i]; c <= ' ' || c > '~' || strings.IndexByte("\\\"<>^`{|}#", c) >= 0 {
			return "a character that addresses do not have"
		}
	}
	scheme, rest, ok := strings.Cut(address, "://")
	scheme = strings.ToLower(scheme)
	if !ok || scheme != "https" && scheme != "http" {
		return "not https"
	}
	authority, _, _ := strings.Cut(rest, "/")
	authority, _, _ = strings.Cut(authority, "?")
	authority = strings.ToLower(authority)
	name, port, explicit := strings.Cut(authority, ":")
	if !hostname(name) {
		return "no plain host"
	}
	if explicit && !made(port, 5, digit) {
		return "no plain port"
	}
	// And the other parser has to see the same.
	if u, err := url.Parse(address); err != nil || strings.ToLower(u.Host) != authority || u.User != nil || u.Opaque != "" {
		return "not a plain address"
	}
	for _, e := range h.entries {
		if e.admits(scheme, name, port) {
			return ""
		}
	}
	if labels := strings.Split(name, "."); len(labels) > 1 {
		return "its host, under " + strings.Join(labels[len(labels)-2:], ".") + ", is not listed with that scheme and port"
	}
	return "its host is not listed"
}

func (e host) admits(scheme, name, port string) bool {
	if scheme == "http" && !e.loopback {
		return false
	}
	if name != e.name && (e.loopback || !strings.HasSuffix(name, "."+e.name)) {
		return false
	}
	own := "443"
	if scheme == "http" {
		own = "80"
	}
	want, got := e.port, port
	if want == "" {
		want = own
	}
	if got == "" {
		got = own
	}
	return want == got
}
