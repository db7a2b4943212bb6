package slack

import (
	"strings"
	"unicode"
)

// How long things may be, at nine tenths of what Slack documents
// (docs.slack.dev/reference/block-kit/blocks and /block-elements), since whether
// it counts characters or UTF-16 units is not said. We count the latter.
const (
	maxHeader   = 150 * 9 / 10
	maxSection  = 3000 * 9 / 10
	maxText     = 4000 * 9 / 10 // the message's own text; chat.update refuses more
	maxButton   = 75 * 9 / 10
	maxElements = 25
	maxURL      = 3000 // in bytes; an address is not cut

	maxLabel = 60
	maxFact  = 400
)

// units counts UTF-16 units.
func units(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// clip cuts s at a word to at most limit units, the sign of the cut included.
func clip(s string, limit int) string {
	if units(s) <= limit {
		return s
	}
	var b strings.Builder
	left := limit - 1
	for _, r := range s {
		if left -= units(string(r)); left < 0 {
			break
		}
		b.WriteRune(r)
	}
	cut := b.String()
	// A word is not cut in two, unless it is most of the text.
	if at := strings.LastIndexByte(cut, ' '); at > len(cut)/2 {
		cut = cut[:at]
	}
	return strings.TrimRight(cut, " ") + "…"
}

// plain makes one line of words that a visitor may have typed: no line ends, no
// signs that print nothing or turn the text around, no scheme that would make a
// link. Markup needs no care in plain_text, where there is none.
func plain(s string, limit int) string {
	if len(s) > 8*limit {
		s = s[:8*limit] // bounds the work on a hostile megabyte
	}
	s = strings.Map(func(r rune) rune {
		switch {
		case unicode.IsSpace(r), unicode.IsControl(r):
			return ' '
		case unicode.In(r, unicode.Cf, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp):
			return -1
		}
		return r
	}, strings.ToValidUTF8(s, "\uFFFD"))
	return clip(strings.Join(strings.Fields(strings.ReplaceAll(s, "://", " ")), " "), limit)
}
