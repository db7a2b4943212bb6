// Package mention finds the ids of a person in texts.
package mention

import (
	"encoding/json"
	"iter"
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

// Words returns the words of a text by which texts that contain an id can be found: for each id of Keys,
// a text in which In finds the id has the key among its Words. These are the words of at least
// minUnquoted letters, those after a quote, and those before an @. Each is returned once.
func Words(text string) (words []string) {
	for start, end := range runs(text) {
		indexed := end-start >= minUnquoted || start > 0 && text[start-1] == '"' || end < len(text) && text[end] == '@'
		if word := text[start:end]; indexed && !slices.Contains(words, word) {
			words = append(words, word)
		}
	}
	return words
}

// Keys returns for each id a word that each text has among its Words in which In finds the id. ok is
// false if an id has no such word, so that all texts must be read.
func (all IDs) Keys() (keys []string, ok bool) {
	for _, id := range all.words {
		key := keyOf(id)
		if key == "" {
			return nil, false
		}
		if !slices.Contains(keys, key) {
			keys = append(keys, key)
		}
	}
	return keys, true
}

// keyOf returns the longest of the words of an id that texts with the id have among their Words, or "".
func keyOf(id string) (key string) {
	for start, end := range runs(id) {
		// An id of fewer than minUnquoted letters is only found after a quote.
		indexed := end-start >= minUnquoted || start == 0 && len(id) < minUnquoted || start > 0 && id[start-1] == '"' || end < len(id) && id[end] == '@'
		if indexed && end-start > len(key) {
			key = id[start:end]
		}
	}
	return key
}

// runs yields the start and end of each longest run of bytes that are inWord. Where a text contains an
// id, and In finds it, each run of the id is one of the text.
func runs(text string) iter.Seq2[int, int] {
	return func(yield func(int, int) bool) {
		for start := 0; start < len(text); {
			end := start
			for end < len(text) && inWord(text[end]) {
				end++
			}
			if end > start && !yield(start, end) {
				return
			}
			start = end + 1
		}
	}
}

// inWord reports whether c can be part of an id.
func inWord(c byte) bool {
	return c == '_' || c == '-' || '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}
