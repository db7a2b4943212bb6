package policy

import (
	"slices"
	"strings"
)

// A rule fits a question if all of its conditions do; one without any fits
// everything.
type rule struct {
	name       string
	title      string // begins a sentence about it
	line       int
	conditions []condition
	may        []Act
	profile    Profile
	pageFirst  PageFirst
}

// A condition fits a question that has one of the entries.
type condition struct {
	*aspect
	entries []string
}

// An aspect is a key of a rule's who or where.
type aspect struct {
	key string
	of  func(Question) []string // what a question has to be compared
	// entry brings an entry of the file into the form of that, or says what is
	// wrong with it; nil takes every entry.
	entry func(string) (string, problem)
}

// A problem is what is wrong and what to do, or empty.
type problem string

var who = []*aspect{
	{key: "groups", of: func(q Question) []string { return q.Groups }},
	{key: "emails", of: func(q Question) []string { return one(email(q.Email)) }, entry: emailEntry},
	{key: "domains", of: func(q Question) []string { return one(domain(q.Email)) }, entry: domainEntry},
	{key: "agents", of: func(q Question) []string { return one(q.Agent) }},
}

var where = []*aspect{
	{key: "connectors", of: func(q Question) []string { return one(q.Connector) }},
	{key: "places", of: func(q Question) []string { return places(q.Place) }, entry: placeEntry},
}

func (r rule) fits(q Question) bool {
	for _, c := range r.conditions {
		if !slices.ContainsFunc(c.of(q), func(has string) bool { return slices.Contains(c.entries, has) }) {
			return false
		}
	}
	return true
}

// covers reports whether r fits whatever o fits. It sees that by the entries
// alone: that an address lies in a domain is not seen.
func (r rule) covers(o rule) bool {
	for _, c := range r.conditions {
		if !slices.ContainsFunc(o.conditions, func(d condition) bool {
			return c.aspect == d.aspect && !slices.ContainsFunc(d.entries, func(e string) bool { return !slices.Contains(c.entries, e) })
		}) {
			return false
		}
	}
	return true
}

// places are the names of a place: its own, and for an address of several parts,
// such as a thread in a channel, those with one of the parts for an address.
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

// email is the address as it is compared, or empty if it is not one: with a
// second @ there is no saying which of them begins the domain.
func email(address string) string {
	local, host, _ := strings.Cut(address, "@")
	if local == "" || host == "" || strings.Contains(host, "@") {
		return ""
	}
	return lower(address)
}

// domain is what follows the only @ of an address.
func domain(address string) string {
	_, host, _ := strings.Cut(email(address), "@")
	return host
}

// lower changes ASCII letters only: some others become ASCII letters in lower
// case, such as the Kelvin sign, and so one name would pass for another.
func lower(s string) string {
	b := []byte(s)
	for i, c := range b {
		if 'A' <= c && c <= 'Z' {
			b[i] = c + 'a' - 'A'
		}
	}
	return string(b)
}

func emailEntry(s string) (string, problem) {
	if email(s) == "" {
		return "", "is no e-mail address; write name@corp.example"
	}
	return email(s), ""
}

func domainEntry(s string) (string, problem) {
	s = lower(s)
	for _, label := range strings.Split(s, ".") {
		if label == "" || strings.Trim(label, "abcdefghijklmnopqrstuvwxyz0123456789-") != "" {
			return "", "is no domain; write the whole of what follows the @, such as corp.example, and each subdomain by itself"
		}
	}
	return s, ""
}

func placeEntry(s string) (string, problem) {
	if connector, address, _ := strings.Cut(s, ":"); connector == "" || address == "" {
		return "", "is no place; write connector:address, such as slack:C0123"
	}
	return s, ""
}
