// Package signin says who is asking: an agent signed in with an OpenID Connect
// issuer, or named by a proxy in front of the bridge.
package signin

import (
	"errors"
	"net/url"
	"strings"
)

// An Identity is a person as the sign-in vouches for them.
type Identity struct {
	// ID is the same at each sign-in: "oidc:" with the issuer's host and path and
	// the percent-encoded subject, or "header:" with the user's name.
	ID   string `json:"id"`
	Name string `json:"name,omitempty"`
	// Email is empty unless it is vouched for, of one plain form, and in lower case.
	Email  string   `json:"email,omitempty"`
	Groups []string `json:"groups,omitempty"`
	// Slack is the person in Slack, as "T1/U2", where Slack itself is the issuer.
	Slack string `json:"slack,omitempty"`
}

// What a sign-in can come to. Texts of errors hold no token, code, secret or
// e-mail address.
var (
	// ErrNobody means that nobody is signed in, or no longer: begin.
	ErrNobody = errors.New("nobody is signed in")
	// ErrIssuer means that the issuer cannot be reached, or answers what it should
	// not.
	ErrIssuer = errors.New("the sign-in service does not work")
	// ErrState means that this browser has no such sign-in under way: it has none,
	// it is over, or another began it. Starting again helps.
	ErrState = errors.New("no such sign-in is under way")
	// ErrDenied means that the issuer, or the person there, said no.
	ErrDenied = errors.New("the sign-in service said no")
	// ErrDomain means that the person has no verified e-mail address at one of the
	// domains.
	ErrDomain = errors.New("no verified e-mail address at a permitted domain")
	// ErrGroup means that the person is in none of the groups.
	ErrGroup = errors.New("in none of the permitted groups")
	// ErrClock means that the token has expired or is from the future: the clocks
	// differ.
	ErrClock = errors.New("the clocks of the bridge and the sign-in service differ")
	// ErrToken means that anything else is wrong with the token.
	ErrToken = errors.New("the sign-in service's token is not acceptable")
	// ErrStore means that sessions cannot be read or written.
	ErrStore = errors.New("the sessions cannot be read or written")
	// ErrSpoofed means that a request names a person and does not come from a
	// trusted proxy.
	ErrSpoofed = errors.New("identity headers from an address that is no trusted proxy")
	// ErrHeaders means that a trusted proxy passed on identity headers that could
	// be somebody else's.
	ErrHeaders = errors.New("ambiguous identity headers")
)

// maxNext bounds what the cookie of a sign-in has to hold.
const maxNext = 512

// localPath returns next if it leads to a page of ours whoever reads it, and "/"
// otherwise. It is stricter than URLs are, since browsers forgive much: a
// backslash is a slash to them, and tabs and line ends are nothing.
func localPath(next string) string {
	if len(next) > maxNext || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") {
		return "/"
	}
	for _, c := range []byte(next) {
		if c <= ' ' || c >= 0x7f || c == '\\' || c == '#' {
			return "/"
		}
	}
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil || u.Opaque != "" {
		return "/"
	}
	// Decoded, so that nobody who decodes once more than us reads another path.
	if strings.Contains(u.Path, "//") || strings.ContainsFunc(u.Path, func(c rune) bool { return c < ' ' || c == '\\' || c == '%' || c == 0x7f }) {
		return "/"
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		if part == "." || part == ".." {
			return "/"
		}
	}
	return next
}
