package yamlfile

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// theFile is the name of the whole file in faults.
const theFile = "the file"

// Pairs calls do with each key and its value. It adds a fault, and does not call do, for a duplicate key and for a
// key that is a list or mapping. It reports whether n is a mapping. The faults call n by the text what.
func (f *Faults) Pairs(n *yaml.Node, what string, do func(key, value *yaml.Node)) bool {
	if n.Kind != yaml.MappingNode {
		if what == theFile {
			f.AddAt(n, "the file must be a mapping; write each line of it as key: value")
		} else {
			f.AddAt(n, "%s must be a mapping; write its keys on indented lines below it", what)
		}
		return false
	}
	lines := map[string]int{}
	for pair := range slices.Chunk(n.Content, 2) {
		key := pair[0]
		if key.Kind != yaml.ScalarNode {
			f.AddAt(key, "a key of %s is a list or a mapping; write key: value", what)
			continue
		}
		if line, found := lines[key.Value]; found {
			f.AddAt(key, duplicateKey, key.Value, line)
			continue
		}
		lines[key.Value] = key.Line
		do(key, pair[1])
	}
	return true
}

// Mapping reads a mapping that may have only the allowed keys. It returns nil if n is not a mapping.
func (f *Faults) Mapping(n *yaml.Node, what string, allowed ...string) map[string]*yaml.Node {
	keys := map[string]*yaml.Node{}
	ok := f.Pairs(n, what, func(key, value *yaml.Node) {
		if !slices.Contains(allowed, key.Value) {
			f.AddAt(key, "%s has no key %.64q; its keys are %s", what, key.Value, strings.Join(allowed, ", "))
			return
		}
		keys[key.Value] = value
	})
	if !ok {
		return nil
	}
	return keys
}

// List returns the items of a list. It returns nil if n is not a list.
func (f *Faults) List(n *yaml.Node, what string) []*yaml.Node {
	if n.Kind != yaml.SequenceNode {
		f.AddAt(n, "%s is not a list; write [a, b], or a line that begins with - for each item", what)
		return nil
	}
	return n.Content
}

// NonEmptyList is List, and adds the fault ifEmpty if the list is empty.
func (f *Faults) NonEmptyList(n *yaml.Node, what, ifEmpty string) []*yaml.Node {
	if n.Kind == yaml.SequenceNode && len(n.Content) == 0 {
		f.AddAt(n, "%s", ifEmpty)
	}
	return f.List(n, what)
}

// Text reads a string that must not be empty. It returns "" if n is not such a string.
func (f *Faults) Text(n *yaml.Node, what string) string {
	switch {
	case n.Kind != yaml.ScalarNode:
		f.AddAt(n, "%s is a list or a mapping; write one text", what)
		return ""
	case n.ShortTag() != "!!str":
		f.AddAt(n, "%s is not text; put it in quotes", what)
		return ""
	case strings.TrimSpace(n.Value) == "":
		f.AddAt(n, "%s is empty; fill it in, or leave it out", what)
		return ""
	}
	return n.Value
}
