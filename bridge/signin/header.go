package signin

import (
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// HeaderConfig says which headers a proxy names people in, and which proxy.
type HeaderConfig struct {
	// Names of headers. User is needed; the others may be empty.
	User, Email, Name, Groups string
	// Proxies are the addresses whose word is taken. The proxy must set or remove
	// each of the headers in every request.
	Proxies []netip.Prefix
}

// Header takes the word of a proxy that signs people in.
type Header struct {
	proxies []netip.Prefix
	// user, email, name and groups are in canonical form; empty: not used.
	user, email, name, groups string
}

// headerName leaves out what tokens may hold besides: a name with an underscore
// could not be told from its variants.
var headerName = regexp.MustCompile(`^[A-Za-z0-9]+(-[A-Za-z0-9]+)*$`)

// ownedByClients are headers whose values clients choose, whatever a proxy does.
var ownedByClients = []string{"Host", "Cookie", "Authorization", "User-Agent", "Referer", "Origin", "Accept", "From"}

// NewHeader checks the configuration; the error names all that is wrong with it.
func NewHeader(c HeaderConfig) (*Header, error) {
	h := &Header{proxies: slices.Clone(c.Proxies)}
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
			faults = append(faults, fmt.Errorf("the %s header cannot be %s, which is used already", header.use, name))
		}
		used = append(used, name)
		*header.to = name
	}
	if len(c.Proxies) == 0 {
		faults = append(faults, errors.New("no proxy is trusted, so nobody could sign in"))
	}
	for _, proxy := range c.Proxies {
		if !proxy.IsValid() || proxy.Bits() == 0 {
			faults = append(faults, errors.New("a trusted proxy needs an address, and cannot be every address"))
		}
	}
	if err := errors.Join(faults...); err != nil {
		return nil, err
	}
	return h, nil
}

// Who is the person whom the request's headers name. Only the address of the
// TCP connection tells whether they come from the proxy; what forwarded headers
// say does not matter. The error is ErrNobody, ErrSpoofed or ErrHeaders, and the
// request is then nobody's.
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
		// How two headers look that something on the way made one of
		// (RFC 9110, 5.3).
		return Identity{}, fmt.Errorf("%w: a comma in %s", ErrHeaders, h.user)
	}
	who := Identity{
		ID:    "header:" + named[h.user],
		Name:  cleanName(named[h.name]),
		Email: cleanEmail(named[h.email]),
	}
	for group := range strings.SplitSeq(named[h.groups], ",") {
		if group = strings.TrimSpace(group); group != "" {
			who.Groups = append(who.Groups, group)
		}
	}
	return who, nil
}

// trusted reports whether address is of a proxy whose word is taken.
func (h *Header) trusted(address string) bool {
	peer, err := netip.ParseAddrPort(address)
	if err != nil {
		return false
	}
	ip := peer.Addr().Unmap().WithZone("")
	return slices.ContainsFunc(h.proxies, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// values are the identity headers, of which each may come once, by the name it
// is configured with. A name with other signs for its hyphens is refused and not
// overlooked: proxies have taken one for the other, and passed on what a client
// sent (GO-2025-4113).
func (h *Header) values(from http.Header) (map[string]string, error) {
	var named map[string]string
	for key, values := range from {
		name := h.meant(key)
		if name == "" {
			continue
		}
		switch {
		case key != name:
			return nil, fmt.Errorf("%w: %s under another spelling", ErrHeaders, name)
		case len(values) != 1:
			return nil, fmt.Errorf("%w: %s more than once", ErrHeaders, name)
		case !proper(values[0]):
			return nil, fmt.Errorf("%w: %s is too long or holds control characters", ErrHeaders, name)
		}
		if named == nil {
			named = make(map[string]string, 4)
		}
		named[name] = strings.TrimSpace(values[0])
	}
	return named, nil
}

// meant is the identity header that key could be taken for; empty if none.
func (h *Header) meant(key string) string {
	for _, name := range []string{h.user, h.email, h.name, h.groups} {
		if name != "" && len(key) == len(name) && sameLetters(key, name) {
			return name
		}
	}
	return ""
}

// sameLetters compares names of equal length by their letters and digits only.
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

const maxHeader = 512

// proper reports whether a value can be what a proxy says of a person.
func proper(value string) bool {
	return len(value) <= maxHeader && utf8.ValidString(value) && !strings.ContainsFunc(value, unicode.IsControl)
}
