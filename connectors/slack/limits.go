package slack

import (
	"strings"
	"unicode"
)

// Lengths in UTF-16 code units, at 90 % of Slack's limits, because Slack does not document
// whether it counts characters or UTF-16 code units
// (docs.slack.dev/reference/block-kit/blocks and /block-elements).
const (
	maxHeader   = 150 * 9 / 10
	maxSection  = 3000 * 9 / 10
	maxText     = 4000 * 9 / 10 // the message's own text; chat.update refuses more
	maxButton   = 75 * 9 / 10
	maxElements = 25
	maxURL      = 3000 // in bytes; a longer address is refused

	maxLabel = 60
	maxFact  = 400
)

// utf16Len is the length of s in UTF-16 code units.
func utf16Len(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

// clip shortens s to at most limit UTF-16 code units with the ellipsis, and cuts between words.
func clip(s string, limit int) string {
	if utf16Len(s) <= limit {
		return s
	}
	var b strings.Builder
	remaining := limit - 1
	for _, r := range s {
		if remaining -= utf16Len(string(r)); remaining < 0 {
			break
		}
		b.WriteRune(r)
	}
	cut := b.String()
	// Cut inside a word only if the word is more than half of the text.
	if at := strings.LastIndexByte(cut, ' '); at > len(cut)/2 {
		cut = cut[:at]
	}
	return strings.TrimRight(cut, " ") + "…"
}

// plain makes a text that a visitor may have typed harmless, for use in plain_text, which has
// no markup. It returns one line without characters that print nothing or change the
// direction of the text, and without "://", so that clients make no links.
func plain(s string, limit int) string {
	if len(s) > 8*limit {
		s = s[:8*limit] // limits the work on a very long hostile text
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
