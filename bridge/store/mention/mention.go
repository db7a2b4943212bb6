// Package mention finds the ids of a person in texts.
package mention

import (
	"encoding/json"
	"slices"
	"strings"
)

// IDs are ids of a person.
type IDs struct{ words []string }

// Of returns the ids, without empty ones. JSON may write an id in another way, and both are found.
func Of(ids []string) (all IDs) {
	for _, id := range ids {
		if id == "" {
			continue
		}
		all.words = append(all.words, id)
		if quoted, err := json.Marshal(id); err == nil && string(quoted[1:len(quoted)-1]) != id {
			all.words = append(all.words, string(quoted[1:len(quoted)-1]))
		}
	}
	return all
}

// In reports whether a text contains one of the ids, and not only as part of a longer word.
func (all IDs) In(text string) bool {
	return slices.ContainsFunc(all.words, func(w string) bool { return mentions(text, w) })
}

// minUnquoted is the length of the shortest id that is found without quotes around it. A
// shorter one, such as "42", may mean something else.
const minUnquoted = 6

func mentions(text, word string) bool {
	for from := 0; ; {
		i := strings.Index(text[from:], word)
		if i < 0 {
			return false
		}
		i += from
		before, after := byte(' '), byte(' ')
		if i > 0 {
			before = text[i-1]
		}
		if end := i + len(word); end < len(text) {
			after = text[end]
		}
		switch {
		case before == '"' && (after == '"' || after == '\\'):
			return true
		case len(word) >= minUnquoted && !inWord(before) && !inWord(after):
			return true
		}
		from = i + 1
	}
}

// inWord reports whether c can be part of an id.
func inWord(c byte) bool {
	return c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
