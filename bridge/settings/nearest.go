package settings

import (
	"math"
	"slices"
	"strings"
)

// maxTypos is how many letters a name may differ from the one that was meant.
const maxTypos = 2

// Nearest returns the name that was probably meant by a misspelt one, or "" if none or several
// are equally near. Upper and lower case, and the characters between words, do not matter.
func Nearest(misspelt string, names []string) string {
	best, found := maxTypos+1, ""
	for _, name := range names {
		switch d := distance(letters(misspelt), letters(name)); {
		case d < best:
			best, found = d, name
		case d == best:
			found = ""
		}
	}
	return found
}

// withMissingWord returns the name that has all words of an incomplete one and the fewest others,
// such as UPSCOPE_API_KEY for UPSCOPE_KEY. It returns "" if none or several do.
func withMissingWord(incomplete string, names []string) (found string) {
	fewest := math.MaxInt
	for _, name := range names {
		has := strings.Split(name, "_")
		lacks := func(word string) bool { return !slices.Contains(has, word) }
		switch {
		case slices.ContainsFunc(strings.Split(incomplete, "_"), lacks):
		case len(has) < fewest:
			fewest, found = len(has), name
		case len(has) == fewest:
			found = ""
		}
	}
	return found
}

// letters returns the letters and digits of a name in lower case.
func letters(name string) string {
	return strings.Map(func(c rune) rune {
		if c >= 'a' && c <= 'z' || c >= '0' && c <= '9' {
			return c
		}
		return -1
	}, strings.ToLower(name))
}

// distance counts the letters to insert, remove or replace to get from a to b (Levenshtein).
func distance(a, b string) int {
	before := make([]int, len(b)+1) // distances from the first i-1 letters of a
	for j := range before {
		before[j] = j
	}
	for i := range len(a) {
		now := []int{i + 1}
		for j := range len(b) {
			replace := before[j]
			if a[i] != b[j] {
				replace++
			}
			now = append(now, min(replace, before[j+1]+1, now[j]+1))
		}
		before = now
	}
	return before[len(b)]
}
