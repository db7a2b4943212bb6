package rules

import (
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"cobrowse-bridge/bridge/settings/yamlfile"

	"go.yaml.in/yaml/v3"
)

// A reader reads the file, and continues after a fault.
type reader struct{ yamlfile.Faults }

// A value is a value of the file with its line number.
type value[T any] struct {
	content T
	line    int
}

// set reports whether the file has the value.
func (v value[T]) set() bool { return v.line > 0 }

// UnmarshalYAML reads the value and its line number.
func (v *value[T]) UnmarshalYAML(n *yaml.Node) error {
	v.line = n.Line
	return n.Decode(&v.content)
}

// decode reads the file into a document.
func (f *reader) decode(data []byte, doc *document) {
	top := f.Decode(data, doc)
	if top == nil {
		return // an empty file has no fault
	}
	f.rejectEmpty(top)
	f.rejectSignature(top)
	doc.keepLines(top)
}

// mustNotBeEmpty are the keys that need a value if they are present. If they were empty,
// the bridge would accept every sender, ignore every event or use a default, without a
// message.
var mustNotBeEmpty = [][]string{
	{"webhook", "allow_cidrs"},
	{"webhook", "customer_roles"},
	{"webhook", "done_statuses"},
	{"webhook", "mapping", NewConversation, "customer_id"},
	{"webhook", "mapping", NewConversation, "status"},
	{"webhook", "mapping", StatusChange, "customer_id"},
	{"webhook", "mapping", StatusChange, "status"},
	{"webhook", "mapping", NewMessage, "customer_id"},
	{"join"},
	{"agent_url_hosts"},
}

func (f *reader) rejectEmpty(top *yaml.Node) {
	for _, path := range mustNotBeEmpty {
		n, line := yamlfile.Find(top, path...)
		if n != nil && (n.ShortTag() == "!!null" || n.Kind != yaml.ScalarNode && len(n.Content) == 0) {
			f.Add(line, "%s is empty; write a value, or remove the key", path[len(path)-1])
		}
	}
}

// rejectSignature refuses a key of earlier versions. An operator who wrote it would
// believe that signatures are checked.
func (f *reader) rejectSignature(top *yaml.Node) {
	if n, line := yamlfile.Find(top, "webhook", "signature"); n != nil {
		f.Add(line, "signature is no longer supported, since Chatvisor does not sign its webhooks; remove it, and use allow_cidrs to accept only some networks")
	}
}

// keepLines stores the line of fields, which is not a value with a line of its own.
func (doc *document) keepLines(top *yaml.Node) {
	for name, e := range doc.Endpoints {
		if e != nil && e.Fields != nil {
			_, e.Fields.line = yamlfile.Find(top, "endpoints", name.content, "fields")
		}
	}
}

func (f *reader) oneOf(v value[string], key string, choices ...string) string {
	if v.set() && !slices.Contains(choices, v.content) {
		f.Add(v.line, "%s must be one of %s", key, strings.Join(choices, ", "))
	}
	if !v.set() {
		return choices[0]
	}
	return v.content
}

func (f *reader) prefixes(all []value[string], key string) []netip.Prefix {
	var found []netip.Prefix
	for _, v := range all {
		p, err := netip.ParsePrefix(v.content)
		if addr, single := netip.ParseAddr(v.content); err != nil && single == nil && addr.Zone() == "" {
			p, err = netip.PrefixFrom(addr, addr.BitLen()), nil
		}
		if err != nil {
			f.Add(v.line, "%s has an entry that is neither an address nor a network; write it like 192.0.2.0/24", key)
			continue
		}
		found = append(found, p.Masked())
	}
	return found
}

// shortTexts reads a list of short texts; without one it returns the documented default.
func (f *reader) shortTexts(all []value[string], key, otherwise string) []string {
	if all == nil {
		return []string{otherwise}
	}
	var found []string
	for _, v := range all {
		if v.content == "" || len(v.content) > 64 || !Printable(v.content) {
			f.Add(v.line, "%s has an entry that is not a text of 1 to 64 bytes; correct it", key)
		}
		found = append(found, v.content)
	}
	return found
}

// headerForm matches the usual names of headers, a part of RFC 9110, section 5.6.2.
var headerForm = regexp.MustCompile(`^[A-Za-z0-9-]{1,64}$`)

// deliveryHeader refuses Authorization: it is the same in each delivery, so that all
// would count as one.
func (f *reader) deliveryHeader(v value[string]) string {
	if strings.EqualFold(v.content, "Authorization") {
		f.Add(v.line, "delivery_header names a header that is the same in every delivery; name one with an id of the delivery")
	}
	if v.set() && !headerForm.MatchString(v.content) {
		f.Add(v.line, "delivery_header is not the name of a header; write it like X-Delivery-Id")
	}
	return v.content
}
