package upscope

import (
	"errors"
	"fmt"
	"net/netip"
	"net/url"
	"strings"
	"time"
)

// ErrUntrustedTarget and ErrExpired are errors of WatchLink.Location.
var (
	ErrUntrustedTarget = errors.New("upscope: watch link leads to an address that is not trusted")
	ErrExpired         = errors.New("upscope: watch link has expired")
)

// WatchLink is a link to one visitor's screen. For a short time, anyone who has it can watch. It does not print,
// log or marshal; only Location returns its address.
type WatchLink struct {
	secret
	expires time.Time
}

// Expires returns when the link expires by this machine's clock, or the zero time if the service does not say.
func (l WatchLink) Expires() time.Time { return l.expires }

// Location returns the address to redirect the agent to, exactly as the service wrote it, for a Location header.
// The link must not have expired at now. The address must be absolute, https (or http on a listed loopback host),
// on one of the hosts or a subdomain, and on the listed port. It must have no user, no fragment, and no character
// that browsers may read differently. Otherwise the error is ErrExpired or ErrUntrustedTarget. Of the address, the
// error contains at most the last two labels of the host.
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

// DefaultWatchHosts are the hosts of all brands. Real links were on cobrowsingapi.com and on a subdomain of
// upscope.io; the vendor does not document their hosts.
const DefaultWatchHosts = "cobrowsingapi.com,upscope.com,upscope.io,userview.com,helloscreen.com"

// Hosts is a list of hosts that watch links may lead to. The zero value allows none.
type Hosts struct{ entries []host }

type host struct {
	name     string // lower case
	port     string // empty for the scheme's default
	loopback bool   // only this host and no subdomain; http is allowed
}

// ParseHosts reads a list like DefaultWatchHosts: entries separated by commas, each a host or host:port. It ignores
// blanks around them. A host is a domain name of at least two labels, which includes its subdomains, or localhost
// or an IPv4 loopback address, which may be reached by plain http.
func ParseHosts(list string) (Hosts, error) {
	var h Hosts
	for entry := range strings.SplitSeq(list, ",") {
		entry = strings.ToLower(strings.TrimSpace(entry))
		if entry == "" {
			return Hosts{}, errors.New("upscope: watch hosts: an empty entry")
		}
		e := host{name: entry}
		if name, port, ok := strings.Cut(entry, ":"); ok {
			if !consistsOf(port, 5, digit) || port[0] == '0' || len(port) == 5 && port > "65535" {
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

// Allow reports whether address follows the rules of WatchLink.Location. It is for addresses that are not secret,
// such as Visitor.WatchLink.
func (h Hosts) Allow(address string) bool { return h.check(address) == "" }

// CSPSources returns the hosts as source expressions of a Content-Security-Policy. A page whose form is answered
// with a redirect to a watch link needs them in form-action, which Chromium applies to redirects too.
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

// check returns why address is not allowed, or "". It allows only simple addresses, for which Go, browsers and
// proxies find the same host.
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
	if explicit && !consistsOf(port, 5, digit) {
		return "no plain port"
	}
	// net/url must find the same host.
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
