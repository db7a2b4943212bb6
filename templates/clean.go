package templates

import (
	"net/url"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Longest texts in runes; what is longer is cut and ends in "…".
const (
	maxName  = 60
	maxShort = 40 // a name in the title of a card
	maxFact  = 90
	maxNote  = 220 // what an agent wrote about a session
	maxID    = 220 // an issuer's address may be a part of it
	maxCause = 320 // an error, for those who run the bridge
)

// clean makes a text that a stranger may have written safe to show: one line, at
// most limit runes, without control characters, without marks that change the
// direction of the text around it, without invisible characters, and with few
// accents on each letter. A text that shows nothing becomes empty.
func clean(s string, limit int) string {
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

// hostAndPath shortens an address to the part that tells an agent which page a
// visitor is on. The rest may hold the visitor's secrets.
func hostAndPath(s string) string {
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
	return clean(host, maxFact)
}

// breakable splits an address where a line may break.
func breakable(address string) []string {
	if address == "" {
		return nil
	}
	return strings.SplitAfter(address, "/")
}

// cleanLink drops a link to anything but a web page. An empty label becomes label.
func cleanLink(l Link, label string) Link {
	u, err := url.Parse(l.Address)
	web := err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Host != "" && u.User == nil
	local := err == nil && u.Scheme == "" && u.Host == "" && strings.HasPrefix(l.Address, "/") &&
		!strings.HasPrefix(l.Address, "//") && !strings.HasPrefix(l.Address, `/\`)
	if !web && !local {
		return Link{}
	}
	if l.Label = clean(l.Label, maxShort); l.Label == "" {
		l.Label = label
	}
	return l
}

// joined lists the facts that are not empty.
func joined(facts ...string) string {
	return strings.Join(slices.DeleteFunc(facts, func(f string) bool { return f == "" }), " · ")
}
