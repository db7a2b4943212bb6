// Package signin identifies the agent who makes a request: by a session after a sign-in with an OpenID Connect
// issuer, or by headers from a proxy (header.go). Start reading the code at oidc.go.
package signin

import (
	"errors"
	"fmt"
	"net/url"
	"strings"
)

// An Identity is a person who signed in.
type Identity struct {
	// ID is the same at each sign-in: "oidc:", the issuer's host and path, "/" and the percent-encoded
	// subject; or "header:" and the user name.
	ID   string `json:"id"`
	Name string `json:"name,omitempty"` // the display name; empty if unknown
	// Email is verified and in lower case. It is empty if it is not verified, or not a simple ASCII address.
	Email  string   `json:"email,omitempty"`
	Groups []string `json:"groups,omitempty"` // the names of the person's groups
	// GroupsLeftOut says that the issuer left groups out, because the person is in too many.
	GroupsLeftOut bool `json:"groups_left_out,omitempty"`
	// Slack is the person's Slack account, such as "T1/U2", if Slack is the issuer.
	Slack string `json:"slack,omitempty"`
	// SlackOrg is the same account in an organisation, such as "E1/U2": one user id is valid in all
	// workspaces of an organisation. It is empty outside one.
	SlackOrg string `json:"slack_org,omitempty"`
}

// SlackAccounts returns the ids that the person's Slack account may have in a chat.
func (i Identity) SlackAccounts() (all []string) {
	for _, id := range []string{i.Slack, i.SlackOrg} {
		if id != "" {
			all = append(all, id)
		}
	}
	return all
}

// Errors of a sign-in. Their texts contain no token, code, secret or e-mail address.
var (
	// ErrNobody means that the request has no session, or one that has ended.
	ErrNobody = errors.New("not signed in")
	// ErrIssuer means that the issuer cannot be reached, or its answer cannot be used.
	ErrIssuer = errors.New("the identity provider failed")
	// ErrSetup means that the issuer refuses how the bridge is configured, such as its client
	// secret or its scopes. Every sign-in fails until an operator changes that.
	ErrSetup = errors.New("the identity provider refuses the settings of the bridge")
	// ErrUserinfo means that userinfo cannot be used. Agents can then still sign in, but their sessions
	// are not checked. Only Check returns it.
	ErrUserinfo = errors.New("userinfo cannot be used")
	// ErrState means that the callback or its code is malformed, or belongs to no pending sign-in of this
	// browser: it never began, is finished or expired, or began elsewhere. The person can start again.
	ErrState = errors.New("the callback cannot be used")
	// ErrDenied means that the issuer did not sign the person in, or that the person cancelled.
	ErrDenied = errors.New("the identity provider denied access")
	// ErrDomain means that the person has no verified e-mail address at one of the domains.
	ErrDomain = errors.New("no verified e-mail address at a permitted domain")
	// ErrGroup means that the person is in none of the groups.
	ErrGroup = errors.New("not in a permitted group")
	// ErrGroupsLeftOut is an ErrGroup of a person whose groups the issuer left out.
	ErrGroupsLeftOut = fmt.Errorf("%w: %s; %s", ErrGroup, groupsLeftOut, lookAtGroups)
	// ErrClock means that the token has expired or is from the future, or that Check found that the clocks differ.
	ErrClock = errors.New("the clocks of the bridge and the identity provider differ")
	// ErrToken means that a token, userinfo or the callback is not of this issuer, or is invalid for a
	// reason other than its times (ErrClock).
	ErrToken = errors.New("the answer of the identity provider is invalid")
	// ErrStore means that sessions cannot be read or written.
	ErrStore = errors.New("the sign-ins cannot be read or written")
	// ErrSpoofed means that a request has identity headers, but does not come from a trusted proxy.
	ErrSpoofed = errors.New("identity headers from an address that is not in BRIDGE_TRUSTED_PROXIES")
	// ErrHeaders means that the identity headers of a trusted proxy are repeated or malformed, so that the
	// client may have sent them.
	ErrHeaders = errors.New("ambiguous identity headers")
)

// maxNext is the maximum length of next in bytes, because a cookie contains it.
const maxNext = 512

// localPath returns next if all browsers and servers read it as a path of the bridge, and "/" otherwise. It is
// stricter than the rules for URLs, because browsers read a backslash as a slash, and ignore tabs and line breaks.
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
	if strings.Contains(u.Path, "//") || strings.ContainsFunc(u.Path, unsafeDecoded) {
		return "/"
	}
	for part := range strings.SplitSeq(u.Path, "/") {
		if part == "." || part == ".." {
			return "/"
		}
	}
	return next
}

// unsafeDecoded reports whether a decoded path must not contain c. Without "%", decoding it again changes nothing.
func unsafeDecoded(c rune) bool { return c < ' ' || c == '\\' || c == '%' || c == 0x7f }
