package policy

import (
	"slices"
	"strings"
)

// A rule fits a question if all of its conditions do. A rule without conditions fits every
// question.
type rule struct {
	name       string
	title      string // the subject of Decision.Why
	line       int
	conditions []condition
	may        []Act
	profile    Profile
	pageFirst  PageFirst
}

// A condition fits a question that has one of its entries.
type condition struct {
	*conditionKey
	entries []string
}

// A conditionKey is a key of a rule's who or where.
type conditionKey struct {
	key    string
	values func(Question) []string // the values of a question to compare with the entries
	// parse returns an entry of the file in the form of these values, or a fault, which says
	// what is wrong and what to do. Nil accepts every entry unchanged.
	parse func(string) (entry, fault string)
	// fromSignIn says that the values are unknown if agents do not sign in.
	fromSignIn bool
}

var whoKeys = []*conditionKey{
	{key: "groups", values: func(q Question) []string { return q.Groups }, fromSignIn: true},
	{key: "emails", values: func(q Question) []string { return one(email(q.Email)) }, parse: emailEntry, fromSignIn: true},
	{key: "domains", values: func(q Question) []string { return one(domain(q.Email)) }, parse: domainEntry, fromSignIn: true},
	{key: "agents", values: func(q Question) []string { return one(q.Agent) }},
}

var whereKeys = []*conditionKey{
	{key: "connectors", values: func(q Question) []string { return one(q.Connector) }},
	{key: "places", values: func(q Question) []string { return places(q.Place) }, parse: placeEntry},
}

func (r rule) fits(q Question) bool {
	for _, c := range r.conditions {
		if !slices.ContainsFunc(c.values(q), func(has string) bool { return slices.Contains(c.entries, has) }) {
			return false
		}
	}
	return true
}

// covers reports whether r fits every question that o fits. It compares entries only, and
// does not know that an address belongs to a domain.
func (r rule) covers(o rule) bool {
	for _, c := range r.conditions {
		if !slices.ContainsFunc(o.conditions, func(d condition) bool {
			return c.conditionKey == d.conditionKey && !slices.ContainsFunc(d.entries, func(e string) bool { return !slices.Contains(c.entries, e) })
		}) {
			return false
		}
	}
	return true
}

// places returns the names of a place. If its address has several parts, such as a thread in
// a channel, each part is a name as well.
func places(place string) []string {
	all := one(place)
	connector, address, _ := strings.Cut(place, ":")
	if strings.Contains(address, "/") {
		for part := range strings.SplitSeq(address, "/") {
			all = append(all, connector+":"+part)
		}
	}
	return all
}

func one(s string) []string {
	if s == "" {
		return nil
	}
	return []string{s}
}

// email returns the address in the form that is compared, or "" if it is not an address. An
// address with two @ is refused, because it is not clear where the domain begins.
func email(address string) string {
	local, host, _ := strings.Cut(address, "@")
	if local == "" || host == "" || strings.Contains(host, "@") {
		return ""
	}
	return lower(address)
}

// domain returns the part of an address after its @.
func domain(address string) string {
	_, host, _ := strings.Cut(email(address), "@")
	return host
}

// lower changes ASCII letters only. Some other characters, such as the Kelvin sign, have an
// ASCII letter as their lower case, so two different names would become equal.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func emailEntry(s string) (entry, fault string) {
	if email(s) == "" {
		return "", "is not an e-mail address; write name@corp.example"
	}
	return email(s), ""
}

func domainEntry(s string) (entry, fault string) {
	s = lower(s)
	for _, label := range strings.Split(s, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return "", "is not a domain; write all that follows the @, such as corp.example, and list each subdomain"
		}
	}
	return s, ""
}

func placeEntry(s string) (entry, fault string) {
	if connector, address, _ := strings.Cut(s, ":"); connector == "" || address == "" {
		return "", "is not a place; write connector:address, such as slack:C0123"
	}
	return s, ""
}
