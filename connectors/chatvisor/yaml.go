package chatvisor

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// maxFile is the largest file of rules in bytes.
const maxFile = 64 << 10

// byteOrderMark is what some editors and spreadsheets begin a file with.
const byteOrderMark = "\ufeff"

type fault struct {
	line int
	text string
}

// faults are what is wrong with a file, each with its line.
type faults []fault

func (f *faults) add(line int, format string, args ...any) {
	*f = append(*f, fault{max(line, 1), fmt.Sprintf(format, args...)})
}

// A value is one of the file's, with the line it is in.
type value[T any] struct {
	is   T
	line int
}

// set reports whether the file has the value.
func (v value[T]) set() bool { return v.line > 0 }

// UnmarshalYAML keeps the line.
func (v *value[T]) UnmarshalYAML(n *yaml.Node) error {
	v.line = n.Line
	return n.Decode(&v.is)
}

// decode reads the one document of a file; keys that nothing reads are faults,
// since a default would apply without a word.
func (f *faults) decode(data []byte, doc *document) {
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	switch {
	case len(data) > maxFile:
		f.add(1, "the file is larger than %d KiB; shorten it", maxFile>>10)
		return
	case !utf8.Valid(data):
		f.add(notUTF8(data), "the file is not UTF-8 here; save it as UTF-8")
		return
	case goesOn(data):
		f.add(firstLine(data, goesOn), "the file has more than one document, or something after it; put all into one, without ---")
		return
	}
	var top yaml.Node
	if yaml.Unmarshal(data, &top) == nil {
		f.refuseUnread(&top)
	}
	if len(*f) > 0 {
		return
	}
	f.refuseEmpty(&top)
	err := strictly(data, doc)
	doc.keepLines(&top)
	var all *yaml.TypeError
	switch {
	case err == nil, errors.Is(err, io.EOF): // an empty file says nothing wrong
	case errors.As(err, &all):
		for _, text := range all.Errors {
			f.add(translate(text))
		}
	default:
		f.add(brokenLine(data, func(part []byte) error { return strictly(part, new(document)) }),
			"the file is not YAML here; look at brackets, quotes and indentation, and put * or & in quotes")
	}
}

// strictly wants all keys to be known, which a decoded node cannot.
func strictly(data []byte, doc *document) error {
	in := yaml.NewDecoder(bytes.NewReader(data))
	in.KnownFields(true)
	return in.Decode(doc)
}

// goesOn reports whether something follows the first document.
func goesOn(data []byte) bool {
	in := yaml.NewDecoder(bytes.NewReader(data))
	return in.Decode(new(yaml.Node)) == nil && !errors.Is(in.Decode(new(yaml.Node)), io.EOF)
}

// refuseUnread refuses what would not be read as it is written. Aliases make a large
// file of a small one, and merged keys stand in another line. An empty item, as in
// "- # 192.0.2.0/24", is dropped by the YAML library, so that a list of nothing else
// would be an empty one.
func (f *faults) refuseUnread(n *yaml.Node) {
	if line, text := keyTwice(n); line > 0 {
		f.add(line, "%s", text)
	}
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		if n.Content[i].Value == "<<" {
			f.add(n.Content[i].Line, "keys are not merged; write them out in place of <<")
		}
	}
	if n.Anchor != "" || n.Kind == yaml.AliasNode {
		f.add(n.Line, "anchors and aliases are not read; write the values out, and * or & in quotes")
	}
	for _, child := range n.Content {
		if n.Kind == yaml.SequenceNode && child.ShortTag() == "!!null" {
			f.add(child.Line, "an item of a list is empty; write something there, or remove it")
		}
		f.refuseUnread(child)
	}
}

// keyTwice finds the first key that a mapping has twice; the line is 0 if there is none.
// The YAML library would compare each key with each other.
func keyTwice(n *yaml.Node) (line int, text string) {
	lines := map[string]int{}
	for i := 0; n.Kind == yaml.MappingNode && i < len(n.Content); i += 2 {
		key := n.Content[i]
		if before, twice := lines[key.Value]; twice && key.Kind == yaml.ScalarNode {
			return key.Line, fmt.Sprintf("the key is in line %d already; keep one of them", before)
		}
		lines[key.Value] = key.Line
	}
	return 0, ""
}

// needed are the keys with something below them, if they are there at all: what is
// empty would let everybody in, or leave every event out, or be the default that
// somebody wanted to change, without a word.
var needed = [][]string{
	{"webhook", "allow_cidrs"},
	{"webhook", "customer_roles"},
	{"webhook", "done_statuses"},
	{"webhook", "signature"},
	{"webhook", "mapping", eventConversation, "customer_id"},
	{"webhook", "mapping", eventConversation, "status"},
	{"webhook", "mapping", eventStatus, "customer_id"},
	{"webhook", "mapping", eventStatus, "status"},
	{"webhook", "mapping", eventMessage, "customer_id"},
	{"join"},
	{"agent_url_hosts"},
}

func (f *faults) refuseEmpty(top *yaml.Node) {
	for _, path := range needed {
		n, line := find(top, path...)
		if n != nil && (n.ShortTag() == "!!null" || n.Kind != yaml.ScalarNode && len(n.Content) == 0) {
			f.add(line, "%s is empty; write something there, or leave the key out", path[len(path)-1])
		}
	}
}

// keepLines keeps the lines of keys that are judged as a whole.
func (doc *document) keepLines(top *yaml.Node) {
	if s := doc.Webhook.Signature; s != nil {
		_, s.line = find(top, "webhook", "signature")
	}
	for name, e := range doc.Endpoints {
		if e != nil && e.Fields != nil {
			_, e.Fields.line = find(top, "endpoints", name.is, "fields")
		}
	}
}

// find is what stands at a path of keys, and the line of the last; nil if there is
// nothing.
func find(top *yaml.Node, path ...string) (n *yaml.Node, line int) {
	n = top
	if n.Kind == yaml.DocumentNode && len(n.Content) > 0 {
		n = n.Content[0]
	}
	for _, key := range path {
		if n, line = below(n, key); n == nil {
			break
		}
	}
	return n, line
}

// below is what a key of a mapping has, and the line of the key; nil if there is
// no such key.
func below(n *yaml.Node, key string) (*yaml.Node, int) {
	for i := 0; n.Kind == yaml.MappingNode && i+1 < len(n.Content); i += 2 {
		if n.Content[i].Value == key {
			return n.Content[i+1], n.Content[i].Line
		}
	}
	return nil, 0
}

var (
	lineOf  = regexp.MustCompile(`^line (\d+): (.*)`)
	unknown = regexp.MustCompile(`^field (.*) not found in type `)
	misfit  = regexp.MustCompile(`^cannot (?:unmarshal|decode) (!!\w+)`)
)

// translate makes a fault of what the YAML library says, without any value.
func translate(text string) (line int, say string) {
	if found := lineOf.FindStringSubmatch(text); found != nil {
		line, _ = strconv.Atoi(found[1])
		text = found[2]
	}
	if found := unknown.FindStringSubmatch(text); found != nil {
		return line, fmt.Sprintf("there is no key %.64q here; look for a slip of the pen, or for wrong indentation", found[1])
	}
	if found := misfit.FindStringSubmatch(text); found != nil {
		kind := map[string]string{"!!seq": "a list", "!!map": "keys and values", "!!str": "text", "!!int": "a number", "!!bool": "true or false"}[found[1]]
		if kind == "" {
			kind = "something"
		}
		return line, kind + " is not what belongs here; look at the example in the guide"
	}
	if found, ours := strings.CutPrefix(text, oursBegin); ours {
		return line, found
	}
	return line, "this cannot be read; look at the example in the guide"
}

// oursBegin marks what our own types complain about while they are decoded.
const oursBegin = "chatvisor: "

// complain is an error that decode takes for a fault.
func complain(n *yaml.Node, format string, args ...any) error {
	return &yaml.TypeError{Errors: []string{fmt.Sprintf("line %d: %s%s", n.Line, oursBegin, fmt.Sprintf(format, args...))}}
}

func (f *faults) oneOf(v value[string], key string, choices ...string) string {
	if v.set() && !slices.Contains(choices, v.is) {
		f.add(v.line, "%s is none of %s; choose one", key, strings.Join(choices, ", "))
	}
	if !v.set() {
		return choices[0]
	}
	return v.is
}

func (f *faults) prefixes(all []value[string], key string) []netip.Prefix {
	var found []netip.Prefix
	for _, v := range all {
		p, err := netip.ParsePrefix(v.is)
		if addr, single := netip.ParseAddr(v.is); err != nil && single == nil && addr.Zone() == "" {
			p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			f.add(v.line, "%s has something that is neither an address nor a network; write it like 192.0.2.0/24", key)
			continue
		}
		found = append(found, p.Masked())
	}
	return found
}

// words reads a list of short texts; without one it is what the vendor documents.
func (f *faults) words(all []value[string], key, otherwise string) []string {
	if all == nil {
		return []string{otherwise}
	}
	var found []string
	for _, v := range all {
		if v.is == "" || len(v.is) > 64 || !printable(v.is) {
			f.add(v.line, "%s has something that is no word of up to 64 bytes; mend it", key)
		}
		found = append(found, v.is)
	}
	return found
}

// headerForm is that of a header's name (RFC 9110, section 5.6.2), in short.
var headerForm = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

func (f *faults) header(v value[string], key string) string {
	if v.set() && !headerForm.MatchString(v.is) {
		f.add(v.line, "%s is no name of a header; write it like X-Signature", key)
	}
	return v.is
}

// deliveryHeader refuses what is no id: a header that proves who sends is the same
// in each delivery, so that all would be one.
func (f *faults) deliveryHeader(v value[string]) string {
	if strings.EqualFold(v.is, "Authorization") {
		f.add(v.line, "delivery_header is the same in every delivery; name a header with an id of the delivery")
	}
	return f.header(v, "delivery_header")
}

func printable(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !unicode.IsPrint(r) })
}
