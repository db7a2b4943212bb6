package upscope

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"unique"
)

// Kind is the kind of a Term. It identifies no person. The zero Kind is that of the zero Term.
type Kind string

// The kinds of search tokens that the vendor documents (cobrowsingapi.com/docs/rest-api/better-searching).
const (
	KindIntegrationID Kind = "integration id"
	KindLookupCode    Kind = "lookup code"
	KindUniqueID      Kind = "unique id"
	KindEmail         Kind = "e-mail"
	KindTag           Kind = "tag"
	KindIP            Kind = "ip"
	KindOnline        Kind = "online"
	KindOffline       Kind = "offline"
)

// Term is one search token. The service matches unknown texts fuzzily over all visitors. It documents no quoting, no
// escaping, and no meaning of several tokens. So only the functions below make a Term, and each allows only forms
// that are certain. Search refuses the zero Term.
//
// Equal terms are ==, so a Term can be the key of a map. Printed, logged or marshalled it shows only its kind.
type Term struct {
	kind Kind
	// The text is behind two handles: fmt does not call Format for a field of another struct. It follows one
	// pointer if the verb does not fit, and prints the second as an address.
	text unique.Handle[unique.Handle[string]]
}

func term(kind Kind, text string) Term { return Term{kind, unique.Make(unique.Make(text))} }

func badTerm(kind Kind, rule string) (Term, error) {
	return Term{}, fmt.Errorf("upscope: %s %s: %w", kind, rule, ErrInvalid)
}

// IntegrationID finds visitors by an id that their page passed in integrationIds, such as "rocketchat:key": a
// product's name of 3 to 32 letters a-z, a colon, and 1 to 200 of A-Z a-z 0-9 . _ @ + / = ~ and -. Upscope does not
// return integration ids, so the caller cannot check the result; and several visitors may have the same id.
func IntegrationID(id string) (Term, error) {
	product, own, ok := strings.Cut(id, ":")
	if !ok || len(product) < 3 || !consistsOf(product, 32, lower) || !consistsOf(own, 200, wordOr(".@+/=~")) {
		return badTerm(KindIntegrationID, "must be like product:id, of letters, digits and . _ @ + / = ~ -")
	}
	return term(KindIntegrationID, "integration_id:"+id), nil
}

// LookupCode finds visitors by the four digits that they read out, with leading zeros. Codes are random, and two
// visitors may have the same (cobrowsingapi.com/docs/sdk/the-lookup-code): ask for more than one result.
func LookupCode(code string) (Term, error) {
	if len(code) != 4 || !consistsOf(code, 4, digit) {
		return badTerm(KindLookupCode, "must be four digits")
	}
	return term(KindLookupCode, code), nil
}

// UniqueID finds visitors whose page gave this uniqueId: 1 to 128 of A-Z a-z 0-9 _ . @ + and -. For short ids use
// Client.Visitor.
func UniqueID(id string) (Term, error) {
	if !consistsOf(id, 128, wordOr(".@+")) {
		return badTerm(KindUniqueID, "must be of letters, digits and _ . @ + -")
	}
	return term(KindUniqueID, "id:"+id), nil
}

// Email finds visitors whose page gave this address as uniqueId or in identities. The address has one @ and a
// domain with a dot. Before the @ are 1 to 64 of the characters that RFC 5321 allows without quotes, except #, ` and
// |. The first of them is a letter, a digit or _, because a token that begins with - or # has another meaning.
func Email(address string) (Term, error) {
	if !plainEmail(address) {
		return badTerm(KindEmail, "must be a plain address with one @")
	}
	return term(KindEmail, address), nil
}

// Tag finds visitors by a tag, written with its #, like #customer: then 1 to 64 of A-Z a-z 0-9 _ and -.
func Tag(tag string) (Term, error) {
	name, ok := strings.CutPrefix(tag, "#")
	if !ok || !consistsOf(name, 64, word) {
		return badTerm(KindTag, "must be # and letters, digits, _ or -")
	}
	return term(KindTag, tag), nil
}

// IP finds visitors by the address from which they last connected. An IPv4 address in IPv6 form counts as IPv4. An
// invalid address, or one with a zone, is refused.
func IP(address netip.Addr) (Term, error) {
	if !address.IsValid() || address.Zone() != "" {
		return badTerm(KindIP, "must be an address without a zone")
	}
	return term(KindIP, "ip:"+address.Unmap().String()), nil
}

// Online finds visitors who are connected.
func Online() Term { return term(KindOnline, "online") }

// Offline finds visitors who are not connected.
func Offline() Term { return term(KindOffline, "-online") }

// Kind returns the kind of the term; empty for the zero Term.
func (t Term) Kind() Kind { return t.kind }

// wire returns the text for the query; empty for the zero Term.
func (t Term) wire() string {
	if t == (Term{}) {
		return ""
	}
	return t.text.Value().Value()
}

// String returns the kind, because the text may identify a person.
func (t Term) String() string {
	if t == (Term{}) {
		return "[no term]"
	}
	return "[" + string(t.kind) + "]"
}

// Format writes the kind, for every verb.
func (t Term) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(t.String())) }

// LogValue returns the kind.
func (t Term) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText returns the kind.
func (t Term) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// consistsOf reports whether s has 1 to most bytes, all of the given class.
func consistsOf(s string, most int, class func(byte) bool) bool {
	if s == "" || len(s) > most {
		return false
	}
	for i := range len(s) {
		if !class(s[i]) {
			return false
		}
	}
	return true
}

func digit(c byte) bool { return c >= '0' && c <= '9' }
func lower(c byte) bool { return c >= 'a' && c <= 'z' }
func alnum(c byte) bool { return digit(c) || lower(c) || c >= 'A' && c <= 'Z' }
func word(c byte) bool  { return alnum(c) || c == '_' || c == '-' }

// wordOr returns a class of the characters of word and those of more.
func wordOr(more string) func(byte) bool {
	return func(c byte) bool { return word(c) || strings.IndexByte(more, c) >= 0 }
}

func plainEmail(s string) bool {
	user, domain, ok := strings.Cut(s, "@")
	if !ok || !consistsOf(user, 64, wordOr("!$%&'*+./=?^{}~")) ||
		!alnum(user[0]) && user[0] != '_' {
		return false
	}
	return strings.Contains(domain, ".") && hostname(domain)
}

// hostname reports whether s has at most 253 bytes and consists of labels of letters, digits and inner hyphens.
func hostname(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !consistsOf(label, 63, func(c byte) bool { return alnum(c) || c == '-' }) ||
			label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}
