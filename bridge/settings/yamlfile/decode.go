package yamlfile

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// Decode reads the document of a file into a struct. It also returns the top node, to look up the lines of
// keys. It returns nil if the file is empty, or has one of the faults that Document reports, a duplicate key, or
// an empty list item. With other faults it returns the node. A key that the struct does not have is a fault too,
// because otherwise a default would apply silently.
func (f *Faults) Decode(data []byte, into any) *yaml.Node {
	data = withoutByteOrderMark(data)
	top := f.parse(data)
	if top == nil {
		return nil
	}
	faults := len(*f)
	f.refuseIndirect(top)
	f.refuseUnread(top)
	if len(*f) > faults {
		return nil
	}
	err := decodeStrict(data, into)
	switch types, ok := errors.AsType[*yaml.TypeError](err); {
	case err == nil:
	case ok:
		for _, text := range types.Errors {
			line, message := translate(text)
			f.Add(line, "%s", message)
		}
	default:
		f.Add(BrokenLine(data, func(part []byte) error {
			fresh := reflect.New(reflect.TypeOf(into).Elem()) // decoding changes the struct
			return decodeStrict(part, fresh.Interface())
		}), "the file is not YAML here; %s", syntaxHint)
	}
	return top
}

// decodeStrict decodes data and refuses unknown keys, which yaml.Node.Decode cannot do.
func decodeStrict(data []byte, into any) error {
	in := yaml.NewDecoder(bytes.NewReader(data))
	in.KnownFields(true)
	return in.Decode(into)
}

// refuseUnread reports duplicate keys with a better text than the YAML library, and empty list items, such as
// "- # 192.0.2.0/24", which the library would ignore.
func (f *Faults) refuseUnread(n *yaml.Node) {
	if key, before := duplicate(n); key != nil {
		f.AddAt(key, duplicateKey, key.Value, before)
	}
	for _, child := range n.Content {
		if n.Kind == yaml.SequenceNode && child.ShortTag() == "!!null" {
			f.AddAt(child, "a list item is empty; fill it in, or remove it")
		}
		f.refuseUnread(child)
	}
}

const duplicateKey = "%.64q is in line %d already; keep one of them"

// DuplicateKey returns the first duplicate key at or below a node, and the line of its first occurrence in the
// same mapping. It returns nil if there is none.
func DuplicateKey(n *yaml.Node) (key *yaml.Node, before int) {
	if key, before = duplicate(n); key != nil {
		return key, before
	}
	for _, child := range n.Content {
		if key, before = DuplicateKey(child); key != nil {
			return key, before
		}
	}
	return nil, 0
}

// duplicate is DuplicateKey for one mapping, without its children. It uses a map, because the library's
// comparison of all pairs is slow for large files.
func duplicate(n *yaml.Node) (key *yaml.Node, before int) {
	if n.Kind != yaml.MappingNode {
		return nil, 0
	}
	lines := map[string]int{}
	for pair := range slices.Chunk(n.Content, 2) {
		key = pair[0]
		if line, found := lines[key.Value]; found && key.Kind == yaml.ScalarNode {
			return key, line
		}
		lines[key.Value] = key.Line
	}
	return nil, 0
}

var (
	lineOf  = regexp.MustCompile(`^line (\d+): (.*)`)
	unknown = regexp.MustCompile(`^field (.*) not found in type `)
	misfit  = regexp.MustCompile(`^cannot (?:unmarshal|decode) (!!\w+)`)
)

// translate returns the line and the text of a fault for an error of the YAML library. The text contains no value
// of the file, except what the caller of Errorf wrote.
func translate(text string) (line int, message string) {
	if found := lineOf.FindStringSubmatch(text); found != nil {
		line, _ = strconv.Atoi(found[1])
		text = found[2]
	}
	if found := unknown.FindStringSubmatch(text); found != nil {
		return line, fmt.Sprintf("there is no key %.64q here; check the spelling and the indentation", found[1])
	}
	if found := misfit.FindStringSubmatch(text); found != nil {
		return line, cmp.Or(misfits[found[1]], "this is not allowed here; see the example in the guide")
	}
	if found, ok := strings.CutPrefix(text, errorfPrefix); ok {
		return line, found
	}
	return line, "this cannot be read; see the example in the guide"
}

// misfits are the texts for values of a wrong kind, by the tag of YAML.
var misfits = map[string]string{
	"!!seq":  "a list is not allowed here; see the example in the guide",
	"!!map":  "a mapping is not allowed here; see the example in the guide",
	"!!str":  "text is not allowed here; see the example in the guide",
	"!!int":  "a number is not allowed here; see the example in the guide",
	"!!bool": "true or false is not allowed here; see the example in the guide",
}

// errorfPrefix marks the errors of Errorf.
const errorfPrefix = "yamlfile: "

// Errorf returns an error that an UnmarshalYAML method may return. Decode reports it as a fault at the line of n.
func Errorf(n *yaml.Node, format string, args ...any) error {
	return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %s%s", n.Line, errorfPrefix, fmt.Sprintf(format, args...))}}
}

// Find returns the value at a path of keys below the top node, and the line of the last key. It returns nil if
// there is no such path. top must not be nil.
func Find(top *yaml.Node, path ...string) (n *yaml.Node, line int) {
	n = top
	for _, key := range path {
		if n, line = below(n, key); n == nil {
			break
		}
	}
	return n, line
}

// below returns the value of a key of a mapping, and the line of the key. It returns nil if
// there is no such key.
func below(n *yaml.Node, key string) (*yaml.Node, int) {
	if n.Kind == yaml.MappingNode {
		for pair := range slices.Chunk(n.Content, 2) {
			if pair[0].Value == key {
				return pair[1], pair[0].Line
			}
		}
	}
	return nil, 0
}
