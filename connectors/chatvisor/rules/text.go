package rules

import (
	"regexp"
	"strings"
	"unicode"
)

// idForm matches ids. It excludes characters with a meaning in an address or in the id
// of a chat.
var idForm = regexp.MustCompile(`^[A-Za-z0-9._:@=+~-]{1,128}$`)

// PlausibleID reports whether s can be an id. "." and ".." would lead to another path.
func PlausibleID(s string) bool {
	return idForm.MatchString(s) && s != "." && s != ".."
}

// Visible reports whether s is not empty and has only visible ASCII characters.
func Visible(s string) bool {
	return s != "" && !strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' })
}

// Printable reports whether s has only printable characters.
func Printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}

// maxName is the longest text that Short returns, in runes.
const maxName = 80

// Short returns a text from outside without characters that cannot be printed, cut to one
// line of 80 runes.
func Short(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
	if r := []rune(text); len(r) > maxName {
		return string(r[:maxName]) + "…"
	}
	return text
}
