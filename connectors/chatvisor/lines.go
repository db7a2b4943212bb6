package chatvisor

import (
	"fmt"
	"sort"
	"unicode/utf8"
)

// firstLine is the first line up to which a file has a fault that all of it has.
func firstLine(data []byte, faulty func(part []byte) bool) int {
	ends := []int{}
	for i, c := range data {
		if c == '\n' {
			ends = append(ends, i+1)
		}
	}
	return 1 + sort.Search(len(ends), func(i int) bool { return faulty(data[:ends[i]]) })
}

// brokenLine is the first line up to which a file cannot be parsed for the reason for
// which all of it cannot. The YAML library tells where the list or mapping begins that
// it was in, the line before that, or none.
func brokenLine(data []byte, parse func(part []byte) error) int {
	say := func(part []byte) string {
		// It tells no line of what begins in the first, so nothing does.
		return fmt.Sprint(parse(append([]byte("\n"), part...)))
	}
	whole := say(data)
	return firstLine(data, func(part []byte) bool { return say(part) == whole })
}

// notUTF8 is the first line that is not UTF-8.
func notUTF8(data []byte) int {
	return firstLine(data, func(part []byte) bool { return !utf8.Valid(part) })
}
