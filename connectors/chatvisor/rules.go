package chatvisor

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Rules are what an operator's file says about one tenant, checked: how bodies
// are read, how customers are joined to visitors, and which endpoints there are.
// Nothing in them is secret.
type Rules struct {
	print string // of the file

	queryAuth bool // the token goes into the query

	allow, proxies []netip.Prefix
	signature      *signature
	deliveryHeader string

	bodies        map[string]mapping // by event
	customerRoles []string
	done          []string

	join                            []string
	externalID, name, email, labels paths
	numericID                       bool
	code                            *regexp.Regexp
	team                            string

	chatHosts []string
	showURL   bool

	sweep     sweepRules
	endpoints map[string]*endpoint // by the name of their step
}

// sweepRules bound one look through the list of conversations.
type sweepRules struct {
	interval           time.Duration
	maxPages, pageSize int
}

// The ways to join a customer to a visitor.
const (
	joinExternal = "external_id"
	joinCustomer = "customer_id"
	joinCode     = "lookup_code"
	joinEmail    = "email"
)

// A document is the file as it is written.
type document struct {
	AuthStyle value[string] `yaml:"auth_style"`
	Webhook   struct {
		AllowCIDRs     []value[string] `yaml:"allow_cidrs"`
		TrustedProxies []value[string] `yaml:"trusted_proxies"`
		DeliveryHeader value[string]   `yaml:"delivery_header"`
		CustomerRoles  []value[string] `yaml:"customer_roles"`
		DoneStatuses   []value[string] `yaml:"done_statuses"`
		Signature      *signatureDoc   `yaml:"signature"`
		Mapping        struct {
			NewConversation mapping `yaml:"new-conversation"`
			StatusChange    mapping `yaml:"status-change"`
			NewMessage      mapping `yaml:"new-message"`
		} `yaml:"mapping"`
	} `yaml:"webhook"`
	Join           []value[string]                `yaml:"join"`
	ExternalIDPath paths                          `yaml:"external_id_path"`
	ExternalIDType value[string]                  `yaml:"external_id_type"`
	NamePath       paths                          `yaml:"name_path"`
	EmailPath      paths                          `yaml:"email_path"`
	LabelsPath     paths                          `yaml:"labels_path"`
	LookupCode     value[string]                  `yaml:"lookup_code"`
	Team           value[string]                  `yaml:"team"`
	AgentURLHosts  []value[string]                `yaml:"agent_url_hosts"`
	ShowAgentURL   value[bool]                    `yaml:"show_agent_url"`
	Sweep          sweepDoc                       `yaml:"sweep"`
	Endpoints      map[value[string]]*endpointDoc `yaml:"endpoints"`
}

type sweepDoc struct {
	Interval value[string] `yaml:"interval"`
	MaxPages value[int]    `yaml:"max_pages"`
	PageSize value[int]    `yaml:"page_size"`
}

const (
	defaultTeam = "Support"
	// defaultCode takes a message that is a code and nothing else, or a code after
	// that word: any other number of four digits is more likely a year or a price.
	defaultCode = `(?i)^\s*(?:code)?[\s:#-]*([0-9]{4})\s*[.!]?\s*$`
)

// maxFaults is how many faults are told at once.
const maxFaults = 100

// DefaultRules are those of an empty file: what the vendor documents, and nothing
// else.
func DefaultRules() *Rules {
	r, err := ParseRules("", nil)
	if err != nil {
		panic(err) // a test reads them
	}
	return r
}

// ParseRules reads a file, whose name its errors begin with. It finds all faults
// at once; each is an error "file:line: what is wrong; what to do". Faults name
// keys of the file and never values, since people paste tokens into anything.
func ParseRules(file string, data []byte) (*Rules, error) {
	var f faults
	var doc document
	f.decode(data, &doc)
	rules := f.rules(&doc)
	if len(f) == 0 {
		sum := sha256.Sum256(data)
		rules.print = hex.EncodeToString(sum[:8])
		return rules, nil
	}
	slices.SortStableFunc(f, func(a, b fault) int { return a.line - b.line })
	var all []error
	for i, one := range f {
		if i == maxFaults {
			all = append(all, fmt.Errorf("%s:%d: %d more faults begin; mend those before, and look again", file, one.line, len(f)-i))
			break
		}
		all = append(all, fmt.Errorf("%s:%d: %s", file, one.line, one.text))
	}
	return nil, errors.Join(all...)
}

func (f *faults) rules(doc *document) *Rules {
	r := &Rules{
		queryAuth:      f.oneOf(doc.AuthStyle, "auth_style", "header", "query") == "query",
		allow:          f.prefixes(doc.Webhook.AllowCIDRs, "allow_cidrs"),
		proxies:        f.prefixes(doc.Webhook.TrustedProxies, "trusted_proxies"),
		signature:      f.signature(doc.Webhook.Signature),
		deliveryHeader: f.deliveryHeader(doc.Webhook.DeliveryHeader),
		bodies: map[string]mapping{
			eventConversation: doc.Webhook.Mapping.NewConversation.or(conversationBody),
			eventStatus:       doc.Webhook.Mapping.StatusChange.or(conversationBody),
			eventMessage:      doc.Webhook.Mapping.NewMessage.or(messageBody),
		},
		customerRoles: f.words(doc.Webhook.CustomerRoles, "customer_roles", "customer"),
		done:          f.words(doc.Webhook.DoneStatuses, "done_statuses", "DONE"),
		externalID:    doc.ExternalIDPath,
		name:          doc.NamePath,
		email:         doc.EmailPath,
		labels:        doc.LabelsPath,
		numericID:     f.oneOf(doc.ExternalIDType, "external_id_type", "string", "number") == "number",
		code:          f.code(doc.LookupCode),
		team:          f.team(doc.Team),
		chatHosts:     f.hosts(doc.AgentURLHosts),
		showURL:       doc.ShowAgentURL.is,
		sweep:         f.sweep(doc.Sweep),
	}
	f.conversations(doc)
	if all := doc.Webhook.TrustedProxies; len(all) > 0 && len(doc.Webhook.AllowCIDRs) == 0 {
		f.add(all[0].line, "trusted_proxies has no use without allow_cidrs; add that, or remove it")
	}
	r.endpoints = f.endpoints(doc.Endpoints)
	r.join = f.join(doc.Join)
	reads := r.endpoints[getCustomer] != nil
	for _, need := range []struct {
		paths paths
		key   string
	}{{r.externalID, "external_id_path"}, {r.name, "name_path"}, {r.email, "email_path"}, {r.labels, "labels_path"}} {
		if len(need.paths.all) > 0 && !reads {
			f.add(need.paths.line, "%s is where something is in the answer of get_customer, which is not configured; add it under endpoints", need.key)
		}
	}
	lists := slices.ContainsFunc(slices.Collect(maps.Keys(doc.Endpoints)), func(v value[string]) bool { return v.is == listConversations })
	if line := cmp.Or(doc.Sweep.Interval.line, doc.Sweep.MaxPages.line, doc.Sweep.PageSize.line); line > 0 && !lists {
		f.add(line, "sweep is about list_conversations, which is not configured; add it under endpoints, or remove sweep")
	}
	for _, way := range doc.Join {
		if way.is == joinEmail && len(r.email.all) == 0 {
			f.add(way.line, "join names email, and email_path does not say where it is; set it")
		}
	}
	return r
}

// conversations wants all events of a conversation to name it, or none: otherwise
// the end that one of them tells would be that of another card.
func (f *faults) conversations(doc *document) {
	var lines []int
	m := doc.Webhook.Mapping
	for _, one := range []mapping{m.NewConversation, m.StatusChange, m.NewMessage} {
		if len(one.Conversation.all) > 0 {
			lines = append(lines, one.Conversation.line)
		}
	}
	if len(lines) == 1 || len(lines) == 2 {
		f.add(slices.Min(lines), "conversation_id is mapped for some events only, so that they would be of different conversations; map it in all three or in none")
	}
}

// join reads the order of the ways. The bridge follows the ids first, since a
// code may be somebody else's tomorrow and an e-mail address is only claimed.
func (f *faults) join(all []value[string]) []string {
	order := []string{joinExternal, joinCustomer, joinCode}
	if all == nil {
		return order
	}
	rank := map[string]int{joinExternal: 1, joinCustomer: 1, joinCode: 2, joinEmail: 3}
	var ways []string
	last := 0
	for _, way := range all {
		switch {
		case rank[way.is] == 0:
			f.add(way.line, "join has a way that there is not; there are external_id, customer_id, lookup_code, email")
		case slices.Contains(ways, way.is):
			f.add(way.line, "join names %s twice; remove one", way.is)
		case rank[way.is] < last:
			f.add(way.line, "join names %s too late; ids come first, then lookup_code, then email", way.is)
		default:
			last = rank[way.is]
			ways = append(ways, way.is)
		}
	}
	return ways
}

// code reads the pattern that finds a lookup code in a message.
func (f *faults) code(pattern value[string]) *regexp.Regexp {
	text := defaultCode
	if pattern.set() {
		text = pattern.is
	}
	re, err := regexp.Compile(text)
	switch {
	case err != nil:
		f.add(pattern.line, "lookup_code is no regular expression (golang.org/s/re2syntax); mend it")
		return nil
	case re.NumSubexp() != 1:
		f.add(pattern.line, "lookup_code needs exactly one group in parentheses, around the four digits; mend it")
		return nil
	}
	return re
}

func (f *faults) team(name value[string]) string {
	switch {
	case !name.set():
		return defaultTeam
	case strings.TrimSpace(name.is) == "" || len(name.is) > 64 || !printable(name.is):
		f.add(name.line, "team is no name of up to 64 bytes; customers may see it; mend it")
	}
	return name.is
}

// defaultHosts are those that the vendor's own pages name.
var defaultHosts = []string{"app.chatvisor.com", "engage.teamviewer.com"}

// hostForm is a domain name, or this machine, and possibly a port.
var hostForm = regexp.MustCompile(`^(localhost|127\.\d+\.\d+\.\d+|([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]([a-z0-9-]*[a-z0-9])?)(:[1-9][0-9]{0,4})?$`)

func (f *faults) hosts(all []value[string]) []string {
	if all == nil {
		return defaultHosts
	}
	var hosts []string
	for _, host := range all {
		if !hostForm.MatchString(host.is) || len(host.is) > 253 {
			f.add(host.line, "agent_url_hosts has something that is no host name; write it like app.chatvisor.com")
		}
		hosts = append(hosts, host.is)
	}
	return hosts
}

const (
	minInterval     = time.Minute
	maxInterval     = 24 * time.Hour
	defaultInterval = 2 * time.Minute
	defaultPages    = 20
	defaultPageSize = 50
	maxPages        = 200
	maxPageSize     = 500
)

func (f *faults) sweep(doc sweepDoc) sweepRules {
	s := sweepRules{interval: defaultInterval, maxPages: defaultPages, pageSize: defaultPageSize}
	if doc.Interval.set() {
		d, err := time.ParseDuration(doc.Interval.is)
		if err != nil || d < minInterval || d > maxInterval {
			f.add(doc.Interval.line, "interval is no length of time from 60s to 24h; write it like 2m")
		}
		s.interval = d
	}
	for _, n := range []struct {
		value[int]
		key  string
		most int
		to   *int
	}{{doc.MaxPages, "max_pages", maxPages, &s.maxPages}, {doc.PageSize, "page_size", maxPageSize, &s.pageSize}} {
		if !n.set() {
			continue
		}
		if n.is < 1 || n.is > n.most {
			f.add(n.line, "%s is not from 1 to %d; mend it", n.key, n.most)
		}
		*n.to = n.is
	}
	return s
}
