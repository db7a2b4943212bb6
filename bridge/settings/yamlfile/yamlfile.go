// Package yamlfile reads an operator's YAML file strictly, and reports as many of its faults as it can at
// once, each with its line and what to do. Start reading the code at yamlfile.go.
package yamlfile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// MaxSize is the maximum size of a file in bytes.
const MaxSize = 64 << 10

// maxFaults is how many faults Err reports.
const maxFaults = 100

type fault struct {
	line int
	text string
}

// Faults are the faults of a file. The texts of this package contain keys and no values, which may be secrets.
// Callers of Add, AddAt and Errorf must take care of that themselves.
type Faults []fault

// Add adds a fault. Its text says what is wrong, and after a semicolon what to do.
func (f *Faults) Add(line int, format string, args ...any) {
	*f = append(*f, fault{max(line, 1), fmt.Sprintf(format, args...)})
}

// AddAt adds a fault at the line of a node.
func (f *Faults) AddAt(n *yaml.Node, format string, args ...any) { f.Add(n.Line, format, args...) }

// Err returns the faults as one error with a line "file:line: text" for each, in the
// order of the file, and nil if there are none. It reports the first 100.
func (f Faults) Err(file string) error {
	sorted := slices.Clone(f)
	slices.SortStableFunc(sorted, func(a, b fault) int { return cmp.Compare(a.line, b.line) })
	var all []error
	for i, one := range sorted {
		if i == maxFaults {
			all = append(all, fmt.Errorf("%s:%d: %d more faults from here on; fix the ones above first", file, one.line, len(sorted)-i))
			break
		}
		all = append(all, fmt.Errorf("%s:%d: %s", file, one.line, one.text))
	}
	return errors.Join(all...)
}

// Document returns the top node of a file with one document. It returns nil if the file is empty. It also returns
// nil, and adds a fault, if the file is too large, not text or not YAML, or has a second document, anchors,
// aliases or merge keys.
func (f *Faults) Document(data []byte) *yaml.Node {
	top := f.parse(withoutByteOrderMark(data))
	if top == nil {
		return nil
	}
	faults := len(*f)
	f.refuseIndirect(top)
	if len(*f) > faults {
		return nil
	}
	return top
}

// withoutByteOrderMark removes the byte order mark with which some editors begin a file.
func withoutByteOrderMark(data []byte) []byte { return bytes.TrimPrefix(data, []byte("\ufeff")) }

// parse returns the top node. It returns nil if the file is empty, or adds a fault and returns nil.
func (f *Faults) parse(data []byte) *yaml.Node {
	if len(data) > MaxSize {
		f.Add(1, "the file is larger than %d KiB; shorten it", MaxSize>>10)
		return nil
	}
	if i := notText(data); i >= 0 {
		f.Add(1+bytes.Count(data[:i], []byte("\n")), "the file is not UTF-8 text here; save it as UTF-8")
		return nil
	}
	if hasMore(data) {
		secondDocument := firstLine(data, hasMore)
		f.Add(secondDocument, "the file has more than one document; put everything into one, without ---")
		return nil
	}
	var document yaml.Node
	if err := yaml.Unmarshal(data, &document); err != nil {
		f.notYAML(data, err, func(part []byte) error { return yaml.Unmarshal(part, new(yaml.Node)) })
		return nil
	}
	if len(document.Content) == 0 {
		return nil
	}
	return document.Content[0]
}

// notText returns the index of the first byte that is not UTF-8, or of the first control character that text
// files do not have (all but tab, CR and LF). It returns -1 if there is none.
func notText(data []byte) int {
	for i := 0; i < len(data); {
		c, size := utf8.DecodeRune(data[i:])
		if c == utf8.RuneError && size == 1 || unicode.IsControl(c) && !strings.ContainsRune("\t\n\r", c) {
			return i
		}
		i += size
	}
	return -1
}

// hasMore reports whether something follows the first document.
func hasMore(data []byte) bool {
	in := yaml.NewDecoder(bytes.NewReader(data))
	if in.Decode(new(yaml.Node)) != nil {
		return false
	}
	return !errors.Is(in.Decode(new(yaml.Node)), io.EOF) // a second document may also be faulty
}

const (
	noAnchors  = "anchors and aliases are not supported; write the values out, and put * or & in quotes"
	syntaxHint = "check brackets, quotes and indentation, and put * or & in quotes"
)

var errorText = regexp.MustCompile(`^yaml: (?:line \d+: )?(.+)$`)

// notYAML adds a fault for a syntax error. parse is the function that returned err.
func (f *Faults) notYAML(data []byte, err error, parse func(part []byte) error) {
	text := "the file is not YAML here; " + syntaxHint
	if found := errorText.FindStringSubmatch(err.Error()); found != nil {
		text = "the file is not YAML here: " + found[1] + "; " + syntaxHint
		if strings.HasPrefix(found[1], "unknown anchor") { // found[1] has the anchor's name, which may be part of a value
			text = noAnchors
		}
	}
	f.Add(BrokenLine(data, parse), "%s", text)
}

// refuseIndirect refuses aliases, which can make a small file very large, and merge keys,
// whose values are in other lines.
func (f *Faults) refuseIndirect(n *yaml.Node) {
	if n.Kind == yaml.MappingNode {
		for pair := range slices.Chunk(n.Content, 2) {
			if pair[0].Value == "<<" {
				f.AddAt(pair[0], "merge keys (<<) are not supported; write the keys out")
			}
		}
	}
	if n.Anchor != "" || n.Kind == yaml.AliasNode {
		f.AddAt(n, noAnchors)
	}
	for _, child := range n.Content {
		f.refuseIndirect(child)
	}
}
