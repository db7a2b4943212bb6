package signin

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"mime"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"cobrowse-bridge/bridge/netaddr"
)

// HeaderConfig says which proxies may identify people, and by which headers.
type HeaderConfig struct {
	// Names of headers. User is required; the others may be empty.
	User, Email, Name, Groups string
	// Proxies are the addresses of trusted proxies. A proxy must set or remove each of the
	// headers in every request.
	Proxies []netip.Prefix
	// Log receives what is wrong with optional headers; nil drops it.
	Log *slog.Logger
}

// Header identifies people by the headers of a proxy that signs them in.
type Header struct {
	proxies []netip.Prefix
	// user, email, name and groups are header names in canonical form; empty if not used.
	user, email, name, groups string

	log    *slog.Logger
	logged sync.Map // of faults that were logged; see dropped
}

// headerName is the form of a header name. It has no underscore, because some programs treat
// an underscore like a hyphen.
var headerName = regexp.MustCompile(`^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$`)

// ownedByClients are headers that clients set, and that proxies do not replace.
var ownedByClients = []string{"Host", "Cookie", "Authorization", "User-Agent", "Referer", "Origin", "Accept", "From"}

// NewHeader checks the configuration. Its error lists all faults.
func NewHeader(c HeaderConfig) (*Header, error) {
	h := &Header{proxies: slices.Clone(c.Proxies), log: cmp.Or(c.Log, slog.New(slog.DiscardHandler))}
	var faults []error
	var used []string
	for _, header := range []struct {
		use, name string
		to        *string
	}{{"user", c.User, &h.user}, {"email", c.Email, &h.email}, {"name", c.Name, &h.name}, {"groups", c.Groups, &h.groups}} {
		name := http.CanonicalHeaderKey(header.name)
		switch {
		case name == "" && header.use != "user":
			continue
		case !headerName.MatchString(name):
			faults = append(faults, fmt.Errorf("the %s header needs a name of letters, digits and single hyphens", header.use))
		case slices.Contains(ownedByClients, name):
			faults = append(faults, fmt.Errorf("the %s header cannot be %s, which browsers fill in", header.use, name))
		case slices.Contains(used, name):
			faults = append(faults, fmt.Errorf("two settings name the header %s: use different headers, or off", name))
		}
		used = append(used, name)
		*header.to = name
	}
	if len(c.Proxies) == 0 {
		faults = append(faults, errors.New("no proxy is trusted, so nobody could sign in"))
	}
	for _, proxy := range c.Proxies {
		if !proxy.IsValid() || proxy.Bits() == 0 {
			faults = append(faults, errors.New("0.0.0.0/0 would trust everyone: list the addresses of your proxies, such as 127.0.0.1"))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return h, nil
}

// Who returns the person whom the request's headers name. It trusts the headers if the TCP
// connection comes from a proxy, and ignores forwarded addresses. Only the user header must be
// readable: of the others it drops what cannot be read, and logs that once. The error is ErrNobody,
// ErrSpoofed or ErrHeaders.
func (h *Header) Who(r *http.Request) (Identity, error) {
	named, err := h.values(r.Header)
	switch {
	case !h.trusted(r.RemoteAddr) && (err != nil || len(named) > 0):
		return Identity{}, ErrSpoofed
	case err != nil:
		return Identity{}, err
	case named[h.user] == "":
		return Identity{}, ErrNobody
	case strings.Contains(named[h.user], ","):
		// A proxy may have joined two headers with a comma (RFC 9110, 5.3).
		return Identity{}, fmt.Errorf("%w: a comma in %s", ErrHeaders, h.user)
	}
	return Identity{
		ID:     "header:" + named[h.user],
		Name:   decodedName(named[h.name]),
		Email:  h.emailOf(r.Context(), named[h.email]),
		Groups: h.groupsOf(r.Context(), named[h.groups]),
	}, nil
}

func (h *Header) emailOf(ctx context.Context, value string) string {
	email := cleanEmail(value)
	if email == "" && value != "" {
		h.dropped(ctx, h.email, cmp.Or(unreadable(value), "is not a plain e-mail address"))
	}
	return email
}

// groupsOf returns the groups of a comma-separated list that can be read. The server limits the
// length of the list.
func (h *Header) groupsOf(ctx context.Context, value string) (groups []string) {
	for group := range strings.SplitSeq(value, ",") {
		if fault := unreadable(strings.Trim(group, " \t")); fault != "" {
			h.dropped(ctx, h.groups, "has a group that "+fault)
		} else if group = strings.TrimSpace(group); group != "" {
			groups = append(groups, group)
		}
	}
	return groups
}

// dropped logs that a value is not used, once for each header and fault.
func (h *Header) dropped(ctx context.Context, header, fault string) {
	if _, before := h.logged.LoadOrStore([2]string{header, fault}, true); !before {
		h.log.WarnContext(ctx, "part of an identity header not used", "header", header, "fault", fault)
	}
}

// decodedName returns a name that is safe to show. Some proxies send names in Latin-1, or encoded
// as in mail (RFC 2047).
func decodedName(name string) string {
	if !utf8.ValidString(name) {
		runes := make([]rune, 0, len(name))
		for _, c := range []byte(name) {
			runes = append(runes, rune(c))
		}
		name = string(runes)
	}
	var words mime.WordDecoder
	if decoded, err := words.DecodeHeader(name); err == nil {
		name = decoded
	}
	return cleanName(name)
}

// trusted reports whether address belongs to a trusted proxy.
func (h *Header) trusted(address string) bool {
	peer, err := netip.ParseAddrPort(address)
	if err != nil {
		return false
	}
	return netaddr.Within(h.proxies, peer.Addr())
}

// values returns the identity headers by their configured names. Each may come once. A header
// whose name differs only in its hyphens, such as X_Forwarded_User, is refused and not
// ignored: proxies have confused such names, and passed on a client's header (GO-2025-4113).
func (h *Header) values(from http.Header) (map[string]string, error) {
	var named map[string]string
	for key, values := range from {
		name := h.similar(key)
		if name == "" {
			continue
		}
		switch {
		case key != name:
			return nil, fmt.Errorf("%w: a header like %s but with another sign in place of a hyphen, such as _: let the proxy remove it", ErrHeaders, name)
		case len(values) != 1:
			return nil, fmt.Errorf("%w: %s more than once", ErrHeaders, name)
		case name == h.user && unreadable(values[0]) != "":
			return nil, fmt.Errorf("%w: %s %s", ErrHeaders, name, unreadable(values[0]))
		}
		if named == nil {
			named = make(map[string]string, 4)
		}
		named[name] = strings.TrimSpace(values[0])
	}
	return named, nil
}

// similar returns the identity header that key is, or could be confused with; empty if none.
func (h *Header) similar(key string) string {
	for _, name := range []string{h.user, h.email, h.name, h.groups} {
		if name != "" && len(key) == len(name) && sameLetters(key, name) {
			return name
		}
	}
	return ""
}

// sameLetters reports whether two names of equal length have the same letters and digits,
// ignoring case. All other characters count as equal.
func sameLetters(a, b string) bool {
	fold := func(c byte) byte {
		switch {
		case 'A' <= c && c <= 'Z':
			return c + 'a' - 'A'
		case 'a' <= c && c <= 'z', '0' <= c && c <= '9':
			return c
		}
		return '-'
	}
	for i := range len(a) {
		if fold(a[i]) != fold(b[i]) {
			return false
		}
	}
	return true
}

const maxValue = 512 // bytes of a user or a group

// unreadable returns what is wrong with a user, an address or a group, or "".
func unreadable(value string) string {
	switch {
	case len(value) > maxValue:
		return "is too long"
	case !utf8.ValidString(value):
		return "is not UTF-8"
	case strings.ContainsFunc(value, unicode.IsControl):
		return "contains control characters"
	}
	return ""
}
