package rocketchat

import (
	"strings"
	"unicode"
)

// neutral makes a text that a visitor may have typed harmless: it returns one line of at
// most limit runes that no client of Rocket.Chat reads as markup, a mention, an emoji, a
// formula, a phone number or an address.
//
// It replaces every character that has a meaning in Rocket.Chat's grammar with the
// full-width character of the same shape, and the dot inside a name such as evil.com with a
// leader dot. A colon between digits stays, so that times are readable. Not all clients
// know an escape character, and an agent who copies the text would also copy an invisible
// separator. A look-alike has no meaning in the grammar and looks the same.
//
// It removes characters that print nothing or change the direction of the text (control
// characters, bidirectional marks, zero-width characters), and turns line ends into spaces.
func neutral(s string, limit int) string {
	var b strings.Builder
	budget := 4 * limit // limits the work on a very long hostile text
	for _, r := range strings.ToValidUTF8(s, "\uFFFD") {
		if budget--; budget < 0 {
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
	// Clip first: it may put an ellipsis after a dot, and may remove the digit after a colon.
	return replaceDots(restoreColons(clip(strings.Join(strings.Fields(b.String()), " "), limit)))
}

var lookalike = map[rune]rune{
	'[': '［', ']': '］', '(': '（', ')': '）', '{': '｛', '}': '｝',
	'*': '＊', '_': '＿', '~': '～', '`': '｀', '|': '｜', '\\': '＼', '$': '＄',
	'@': '＠', '#': '＃', '<': '＜', '>': '＞', ':': '：', '+': '＋', '&': '＆',
}

// invisible reports whether r is not drawn: a format character (these include bidirectional
// and zero-width ones), a variation selector, or a letter without a shape.
func invisible(r rune) bool {
	switch r {
	case '\u034F', '\u115F', '\u1160', '\u17B4', '\u17B5', '\u3164', '\uFFA0', '\u2800':
		return true
	}
	return unicode.In(r, unicode.Cf, unicode.Variation_Selector, unicode.Co, unicode.Cs, unicode.Zl, unicode.Zp)
}

// restoreColons turns full-width colons between ASCII digits into plain ones, as in 03:45.
// A second colon needs exactly two digits before it, as in 03:45:10, because :100: is an
// emoji.
func restoreColons(s string) string {
	r := []rune(s)
	before := -1 // index of the colon before this number, or -1
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

// replaceDots replaces every dot inside a word, so that clients do not turn domains, e-mail
// addresses and IP addresses into links.
func replaceDots(s string) string {
	r := []rune(s)
	for i := range r {
		if r[i] == '.' && i+1 < len(r) && r[i+1] != ' ' {
			r[i] = '․' // U+2024, one dot leader
		}
	}
	return string(r)
}

// escapeListMarker replaces a leading "-" or "1." of a line, so that clients do not show
// the line as a list item or a rule.
func escapeListMarker(s string) string {
	if rest, ok := strings.CutPrefix(s, "-"); ok {
		return "－" + rest
	}
	digits := strings.TrimLeft(s, "0123456789")
	if rest, ok := strings.CutPrefix(digits, "."); ok && len(digits) < len(s) {
		return s[:len(s)-len(digits)] + "․" + rest
	}
	return s
}
