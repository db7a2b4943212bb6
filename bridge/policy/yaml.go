package policy

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// A reader reads YAML strictly, and goes on after a fault. Its methods return
// what could be read; a nil or empty value has been complained about.
type reader struct{ faults []fault }

type fault struct {
	line int
	text string
}

func (r *reader) fault(n *yaml.Node, format string, args ...any) {
	r.faultAt(n.Line, format, args...)
}

func (r *reader) faultAt(line int, format string, args ...any) {
	r.faults = append(r.faults, fault{max(line, 1), fmt.Sprintf(format, args...)})
}

// document returns the top of the only document of a file.
func (r *reader) document(data []byte) *yaml.Node {
	if len(data) > MaxFile {
		r.faultAt(1, "the file is larger than %d KiB; name groups rather than people", MaxFile>>10)
		return nil
	}
	if i := bytes.IndexFunc(data, noText); i >= 0 {
		r.faultAt(1+bytes.Count(data[:i], []byte("\n")), "the file has a character that is no text here; write it anew as UTF-8")
		return nil
	}
	in := yaml.NewDecoder(bytes.NewReader(data))
	var first, second yaml.Node
	err := in.Decode(&first)
	if errors.Is(err, io.EOF) {
		r.faultAt(1, "the file is empty; write rules, or set no policy file")
		return nil
	}
	if err == nil {
		if err = in.Decode(&second); err == nil {
			r.fault(&second, "a second document begins; put all into one, without ---")
		}
	}
	if err != nil && !errors.Is(err, io.EOF) {
		r.faultAt(notYAML(err, data))
		return nil
	}
	if r.refuseAnchors(&first); len(r.faults) > 0 {
		return nil
	}
	return first.Content[0]
}

// noText finds what YAML takes for no text, and complains about without a line.
func noText(c rune) bool {
	return c == utf8.RuneError || unicode.IsControl(c) && !strings.ContainsRune("\t\n\r", c)
}

var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?(.*)`)

// notYAML tells where and why a file is not YAML. The library names no line for
// an alias of an anchor that is not there.
func notYAML(err error, data []byte) (line int, text string) {
	found := yamlError.FindStringSubmatch(err.Error())
	if found == nil {
		return 1, "the file is not YAML; look for what an editor would mark"
	}
	if anchor, ok := strings.CutPrefix(found[2], "unknown anchor '"); ok {
		before, _, _ := bytes.Cut(data, []byte("*"+strings.TrimSuffix(anchor, "' referenced")))
		return 1 + bytes.Count(before, []byte("\n")), noAnchors
	}
	line, _ = strconv.Atoi(found[1])
	return line, "the file is not YAML here: " + found[2] + "; look at brackets, quotes and indentation around here"
}

const noAnchors = "anchors and aliases are not read; write the values out, and * or & in quotes"

func (r *reader) refuseAnchors(n *yaml.Node) {
	if n.Anchor != "" || n.Kind == yaml.AliasNode {
		r.fault(n, noAnchors)
	}
	for _, child := range n.Content {
		r.refuseAnchors(child)
	}
}

// pairs calls do with each key and value of a mapping, and complains about keys
// that come twice. It reports whether there is a mapping.
func (r *reader) pairs(n *yaml.Node, what string, do func(key, value *yaml.Node)) bool {
	if n.Kind != yaml.MappingNode {
		r.fault(n, "%s is not made of keys and values; indent them below it", what)
		return false
	}
	lines := map[string]int{}
	for pair := range slices.Chunk(n.Content, 2) {
		key := pair[0]
		if key.Kind != yaml.ScalarNode {
			r.fault(key, "a key of %s is not a word; write key: value", what)
			continue
		}
		if line, twice := lines[key.Value]; twice {
			r.fault(key, "%.64q is in line %d already; keep one of them", key.Value, line)
			continue
		}
		lines[key.Value] = key.Line
		do(key, pair[1])
	}
	return true
}

// mapping reads a mapping that has only some keys; without one it returns nil.
func (r *reader) mapping(n *yaml.Node, what string, known ...string) map[string]*yaml.Node {
	keys := map[string]*yaml.Node{}
	ok := r.pairs(n, what, func(key, value *yaml.Node) {
		if !slices.Contains(known, key.Value) {
			r.fault(key, "%s has no key %.64q; its keys are %s", what, key.Value, strings.Join(known, ", "))
			return
		}
		keys[key.Value] = value
	})
	if !ok {
		return nil
	}
	return keys
}

func (r *reader) list(n *yaml.Node, what string) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		r.fault(n, "%s is not a list; write [a, b], or one line for each that begins with -", what)
		return nil
	}
	return n.Content
}

// filled reads a list that is not empty, and says what it would mean if it were.
func (r *reader) filled(n *yaml.Node, what, meaning string) []*yaml.Node {
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		r.fault(n, "%s is empty, %s", what, meaning)
	}
	return r.list(n, what)
}

// text reads a string, which is not empty.
func (r *reader) text(n *yaml.Node, what string) string {
	switch {
	case n.Kind != yaml.ScalarNode || n.ShortTag() != "!!str":
		r.fault(n, "%s is not text; put it in quotes", what)
		return ""
	case strings.TrimSpace(n.Value) == "":
		r.fault(n, "%s is empty; fill it in, or leave it out", what)
		return ""
	}
	return n.Value
}
