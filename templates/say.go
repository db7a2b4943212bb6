package templates

import (
	"net/url"
	"strconv"
	"strings"
	"time"
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

// clean makes a text that a stranger may have written fit to stand in a
// sentence of ours: one line, at most limit runes, without control characters,
// without marks that turn the direction of the text around it, without
// invisible characters, and with few accents on each letter. A text that shows
// nothing becomes empty.
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
			// Joiners hold emoji and some scripts together; alone they hide.
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

// place shortens an address to host and path, the part that tells an agent
// where a visitor is. The rest may hold the visitor's secrets.
func place(s string) string {
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

// breakable is an address in parts, between which a line may break.
func breakable(place string) []string {
	if place == "" {
		return nil
	}
	return strings.SplitAfter(place, "/")
}

// upper lets a sentence of ours begin with a capital letter.
func upper(s string) string {
	r, n := utf8.DecodeRuneInString(s)
	if n == 0 {
		return ""
	}
	return string(unicode.ToUpper(r)) + s[n:]
}

// cleanLink drops a link that leads to anything but a web page.
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

// ago says how long t was before now. The future is "just now": clocks differ.
func ago(now, t time.Time) string {
	switch d := now.Sub(t); {
	case t.IsZero():
		return ""
	case d < time.Minute:
		return "just now"
	case d < time.Hour:
		return count(int(d/time.Minute), "minute") + " ago"
	case d < 24*time.Hour:
		return count(int(d/time.Hour), "hour") + " ago"
	case d < 31*24*time.Hour:
		return count(int(d/(24*time.Hour)), "day") + " ago"
	default:
		return "on " + t.UTC().Format("2 January 2006")
	}
}

// A moment is a time in words: how long ago, and exactly. The zero time has no
// words.
type moment struct {
	Ago     string // "12 minutes ago"
	Exact   string // "6 May 2031, 11:48:00 UTC"
	Machine string // RFC 3339
}

func momentOf(now, t time.Time) moment {
	if t.IsZero() {
		return moment{}
	}
	t = t.UTC()
	return moment{ago(now, t), t.Format("2 Jan 2006, 15:04:05 UTC"), t.Format(time.RFC3339)}
}

// span says how long to wait, rounded up; zero or less is "a moment".
func span(d time.Duration) string {
	up := func(unit time.Duration) int { return int((d + unit - 1) / unit) }
	switch {
	case d <= 0:
		return "a moment"
	case d <= 59*time.Second:
		return count(up(time.Second), "second")
	case d <= 59*time.Minute:
		return count(up(time.Minute), "minute")
	default:
		return count(up(time.Hour), "hour")
	}
}

func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return strconv.Itoa(n) + " " + what + "s"
}

// joined puts the facts that are there behind one another.
func joined(facts ...string) string {
	var there []string
	for _, f := range facts {
		if f != "" {
			there = append(there, f)
		}
	}
	return strings.Join(there, " · ")
}
