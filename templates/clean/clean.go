// Package clean makes texts that strangers may have written safe to show.
package clean

import (
	"net/url"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Text makes a text that a stranger may have written safe to show: one line, at
// most limit runes, without control characters, without marks that change the
// direction of the text around it, without invisible characters, and with few
// accents on each letter. A text that shows nothing becomes empty.
func Text(s string, limit int) string {
	var b strings.Builder
	n, accents, visible, gap := 0, 0, false, false
	for _, r := range s {
		switch {
		case unicode.IsSpace(r), r == '\u2800', r == '\u3164', r == '\u115f', r == '\u1160', r == '\uffa0':
			// Some of these show nothing though they count as letters.
			gap = n > 0
			continue
		case r == '\u200d' || r == '\u200c':
			// Joiners connect emoji and letters of some scripts; alone they are invisible.
			if accents++; !visible || gap || accents > 3 {
				continue
			}
		case r == utf8.RuneError, unicode.In(r, unicode.Cc, unicode.Cf, unicode.Co, unicode.Noncharacter_Code_Point):
			continue
		case unicode.In(r, unicode.M):
			if accents++; !visible || accents > 3 {
				continue
			}
		default:
			accents, visible = 0, true
		}
		if gap {
			b.WriteByte(' ')
			n, gap = n+1, false
		}
		if n++; n > limit {
			return strings.TrimRight(b.String(), " \u200d\u200c") + "…"
		}
		b.WriteRune(r)
	}
	return strings.TrimRight(b.String(), "\u200d\u200c")
}

// Address shortens an address to the part that tells an agent which page a
// visitor is on, and to at most limit runes. The rest may hold the visitor's secrets.
func Address(s string, limit int) string {
	if i := strings.IndexAny(s, "?#"); i >= 0 {
		s = s[:i]
	}
	if _, after, ok := strings.Cut(s, "://"); ok {
		s = after
	}
	host, rest, _ := strings.Cut(s, "/")
	if i := strings.LastIndexByte(host, '@'); i >= 0 {
		host = host[i+1:]
	}
	if rest != "" {
		host += "/" + rest
	}
	return Text(host, limit)
}

// IsLink reports whether an address is that of a web page, or a path of this host.
func IsLink(address string) bool {
	u, err := url.Parse(address)
	switch {
	case err != nil:
		return false
	case u.Scheme == "https" || u.Scheme == "http":
		return u.Host != "" && u.User == nil
	}
	return u.Scheme == "" && u.Host == "" && strings.HasPrefix(address, "/") && !strings.HasPrefix(address, "//") && !strings.HasPrefix(address, `/\`)
}

// WithoutSchemes removes "://" from a text, so that no chat service makes a link
// of what a visitor typed.
func WithoutSchemes(s string) string { return strings.ReplaceAll(s, "://", " ") }
