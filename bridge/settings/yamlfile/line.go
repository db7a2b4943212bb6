package yamlfile

import (
	"fmt"
	"sort"
)

// BrokenLine returns the line of a syntax error. It searches for the shortest beginning of the file, in whole
// lines, that gives the same error as the whole file. The line that the YAML library reports is often the one in
// which the list or mapping begins, or the line before, or none.
func BrokenLine(data []byte, parse func(part []byte) error) int {
	errorOf := func(part []byte) string {
		// The library reports no line for errors in line 1, so an empty line is put before the text.
		return fmt.Sprint(parse(append([]byte("\n"), part...)))
	}
	want := errorOf(data)
	return firstLine(data, func(part []byte) bool { return errorOf(part) == want })
}

// firstLine finds, by binary search, the first line that makes the file faulty. faulty must stay true for longer parts.
func firstLine(data []byte, faulty func(part []byte) bool) int {
	ends := []int{}
	for i, c := range data {
		if c == '\n' {
			ends = append(ends, i+1)
		}
	}
	return 1 + sort.Search(len(ends), func(i int) bool { return faulty(data[:ends[i]]) })
}
