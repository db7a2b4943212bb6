package rocketchat

import (
	"strings"
	"unicode"
)

// neutral makes words that a visitor may have typed into words and nothing
// else: one line of plain text that no client of Rocket.Chat reads as markup, a
// mention, an emoji, a formula, a time, a phone number or an address.
//
// Every sign that its grammar gives a meaning is replaced by the full-width sign
// of the same shape, and the dot inside a name like evil.com by a leader dot.
// Only a colon between digits stays, so that times look like times.
// There is no escape character that all clients honour, and an invisible sign
// put between would be carried along when an agent copies the words; a look-alike
// is never in the grammar, and reads the same.
//
// Signs that print nothing or turn the text around (controls, bidirectional
// marks, zero-width ones) are removed, line ends become spaces, and the result
// is at most limit runes long.
func neutral(s string, limit int) string {
	var b strings.Builder
	room := 4 * limit // bounds the work on a hostile megabyte
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		if room--; room < 0 {
			break
		}
		switch {
		case unicode.IsSpace(r), unicode.IsControl(r):
			b.WriteByte(' ')
		case invisible(r):
		default:
			if wide, ok := lookalike[r]; ok {
				r = wide
			}
			b.WriteRune(r)
		}
	}
	// The cut puts a sign behind a dot that ended a word, and may take the digit
	// behind a colon.
	return undotted(timed(clip(strings.Join(strings.Fields(b.String()), " "), limit)))
}

var lookalike = map[rune]rune{
	'[': '［', ']': '］', '(': '（', ')': '）', '{': '｛', '}': '｝',
	'*': '＊', '_': '＿', '~': '～', '`': '｀', '|': '｜', '\\': '＼', '$': '＄',
	'@': '＠', '#': '＃', '<': '＜', '>': '＞', ':': '：', '+': '＋', '&': '＆',
}

// invisible reports what leaves no ink: format characters (which hold the
// bidirectional and zero-width ones), variation selectors, and letters that are
// drawn as nothing.
func invisible(r rune) bool {
	switch r {
	case '\u034F', '\u115F', '\u1160', '\u17B4', '\u17B5', '\u3164', '\uFFA0', '\u2800':
		return true
	}
	return unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp)
}

// timed gives the colons between ASCII digits back, as in 03:45. Between two of
// them there are two digits, as in 03:45:10, and no other number: :100: is an
// emoji.
func timed(s string) string {
	r := []rune(s)
	before := -1 // the colon that began this number
	for i := range r {
		switch {
		case digit(r[i]):
		case r[i] == lookalike[':'] && i > 0 && digit(r[i-1]) && i+1 < len(r) && digit(r[i+1]) && (before < 0 || i-before == 3):
			r[i], before = ':', i
		default:
			before = -1
		}
	}
	return string(r)
}

func digit(r rune) bool { return r >= '0' && r <= '9' }

// undotted replaces every dot that something follows, so that no domain, e-mail
// address or IP address is left to be linked by itself.
func undotted(s string) string {
	r := []rune(s)
	for i := range r {
		if r[i] == '.' && i+1 < len(r) && r[i+1] != ' ' {
			r[i] = '․' // U+2024, one dot leader
		}
	}
	return string(r)
}

// unlisted keeps a line from becoming an item of a list, or a rule, by how it
// begins.
func unlisted(s string) string {
	if rest, ok := strings.CutPrefix(s, "-"); ok {
		return "－" + rest
	}
	digits := strings.TrimLeft(s, "0123456789")
	if rest, ok := strings.CutPrefix(digits, "."); ok && len(digits) < len(s) {
		return s[:len(s)-len(digits)] + "․" + rest
	}
	return s
}
