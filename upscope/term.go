package upscope

import (
	"fmt"
	"log/slog"
	"net/netip"
	"strings"
	"unique"
)

// Kind says how a Term names visitors, without naming anybody. The zero Kind is that of the zero Term.
type Kind string

// The kinds of search token the vendor documents (cobrowsingapi.com/docs/rest-api/better-searching).
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

// Term is one search token. The service matches whatever it does not recognise fuzzily over all visitors, and
// documents neither quoting nor escaping nor what several tokens mean together; so a Term comes only from the
// functions below, each of which admits less than the service may. The zero Term is refused by Search.
//
// Equal terms are ==, so a Term may be the key of a map. Printed, logged or marshalled it shows its kind alone.
type Term struct {
	kind Kind
	// Two handles deep, since fmt does not call Format for a field of another struct: it follows one pointer
	// when the verb is wrong, and prints the second as an address.
	text unique.Handle[unique.Handle[string]]
}

func term(kind Kind, text string) Term { return Term{kind, unique.Make(unique.Make(text))} }

func badTerm(kind Kind, rule string) (Term, error) {
	return Term{}, fmt.Errorf("upscope: %s %s: %w", kind, rule, ErrInvalid)
}

// IntegrationID finds visitors by an id their page passed in integrationIds, such as "rocketchat:key": a
// product's name of 3 to 32 letters a-z, a colon, and 1 to 128 of A-Z a-z 0-9 _ and -. Upscope never returns
// integration ids, so such a hit cannot be checked against the answer; and several visitors may claim one.
func IntegrationID(id string) (Term, error) {
	product, own, ok := strings.Cut(id, ":")
	if !ok || len(product) < 3 || !made(product, 32, lower) || !made(own, 128, word) {
		return badTerm(KindIntegrationID, "must be like product:id, of letters, digits, _ and -")
	}
	return term(KindIntegrationID, "integration_id:"+id), nil
}

// LookupCode finds visitors by the four digits they read aloud, leading zeros included. Codes are drawn at
// random and collide (cobrowsingapi.com/docs/sdk/the-lookup-code): ask for more than one result.
func LookupCode(code string) (Term, error) {
	if len(code) != 4 || !made(code, 4, digit) {
		return badTerm(KindLookupCode, "must be four digits")
	}
	return term(KindLookupCode, code), nil
}

// UniqueID finds visitors whose page gave this uniqueId: 1 to 128 of A-Z a-z 0-9 _ . @ + and -. It is not
// the short id, for which there is Client.Visitor.
func UniqueID(id string) (Term, error) {
	if !made(id, 128, func(c byte) bool { return word(c) || strings.IndexByte(".@+", c) >= 0 }) {
		return badTerm(KindUniqueID, "must be of letters, digits and _ . @ + -")
	}
	return term(KindUniqueID, "id:"+id), nil
}

// Email finds visitors whose page gave this address as uniqueId or among the identities. The address has one @
// and a dotted domain; before the @ stand 1 to 64 of A-Z a-z 0-9 _ . + and -, of which the first is a letter, a
// digit or _, since a token that begins with - or # means something else.
func Email(address string) (Term, error) {
	if !plainEmail(address) {
		return badTerm(KindEmail, "must be a plain address with one @")
	}
	return term(KindEmail, address), nil
}

// Tag finds visitors by a tag, written with its #, like #customer: then 1 to 64 of A-Z a-z 0-9 _ and -.
func Tag(tag string) (Term, error) {
	name, ok := strings.CutPrefix(tag, "#")
	if !ok || !made(name, 64, word) {
		return badTerm(KindTag, "must be # and letters, digits, _ or -")
	}
	return term(KindTag, tag), nil
}

// IP finds visitors by the address they last connected from. An IPv4 address in IPv6 form is taken as IPv4; an
// invalid one, or one with a zone, is refused.
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

// Kind returns how the term names visitors; empty for the zero Term.
func (t Term) Kind() Kind { return t.kind }

// wire is what goes into the query; empty for the zero Term.
func (t Term) wire() string {
	if t == (Term{}) {
		return ""
	}
	return t.text.Value().Value()
}

// String returns the kind, since the rest may identify a person.
func (t Term) String() string {
	if t == (Term{}) {
		return "[no term]"
	}
	return "[" + string(t.kind) + "]"
}

// Format writes the kind, whatever the verb.
func (t Term) Format(f fmt.State, _ rune) { _, _ = f.Write([]byte(t.String())) }

// LogValue is the kind.
func (t Term) LogValue() slog.Value { return slog.StringValue(t.String()) }

// MarshalText writes the kind.
func (t Term) MarshalText() ([]byte, error) { return []byte(t.String()), nil }

// made reports whether s has 1 to most bytes, all of the given class.
func made(s string, most int, class func(byte) bool) bool {
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

func plainEmail(s string) bool {
	user, domain, ok := strings.Cut(s, "@")
	if !ok || !made(user, 64, func(c byte) bool { return word(c) || c == '.' || c == '+' }) ||
		!alnum(user[0]) && user[0] != '_' {
		return false
	}
	return strings.Contains(domain, ".") && hostname(domain)
}

// hostname reports whether s is dot-separated labels of letters, digits and inner hyphens, at most 253 long.
func hostname(s string) bool {
	if len(s) > 253 {
		return false
	}
	for label := range strings.SplitSeq(s, ".") {
		if !made(label, 63, func(c byte) bool { return alnum(c) || c == '-' }) ||
			label[0] == '-' || label[len(label)-1] == '-' {
			return false
		}
	}
	return true
}
