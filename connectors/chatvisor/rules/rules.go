// Package rules reads the file of CHATVISOR_CONFIG: where fields are in webhook bodies,
// how customers are found, and which endpoints the bridge may use. Open this file first.
package rules

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"

	"cobrowse-bridge/bridge/netaddr"

	"go.yaml.in/yaml/v3"
)

// Rules are the checked contents of an operator's file for one tenant. They contain no
// secret.
type Rules struct {
	Fingerprint string // hash of the file

	QueryAuth bool // send the token in the query

	Allow, Proxies []netip.Prefix
	DeliveryHeader string

	Bodies        map[string]Mapping // by event
	customerRoles []string
	done          []string

	Join                            []string
	ExternalID, Name, Email, Labels Paths
	NumericID                       bool
	code                            *regexp.Regexp // nil if the file has no pattern
	Team                            string

	ChatHosts []string
	ShowURL   bool

	Sweep     Sweep
	Endpoints map[string]*Endpoint // by step name
}

// A Sweep has the interval and the limits of sweeps of the list of conversations.
type Sweep struct {
	Interval           time.Duration
	MaxPages, PageSize int
}

// The clues that join may name, by which a customer's visitor is found.
const (
	JoinExternal = "external_id"
	JoinCustomer = "customer_id"
	JoinCode     = "lookup_code"
	JoinEmail    = "email"
)

// A document is the file as written.
type document struct {
	AuthStyle value[string] `yaml:"auth_style"`
	Webhook   struct {
		AllowCIDRs     []value[string] `yaml:"allow_cidrs"`
		TrustedProxies []value[string] `yaml:"trusted_proxies"`
		DeliveryHeader value[string]   `yaml:"delivery_header"`
		CustomerRoles  []value[string] `yaml:"customer_roles"`
		DoneStatuses   []value[string] `yaml:"done_statuses"`
		Signature      yaml.Node       `yaml:"signature"` // from earlier versions; refused
		Mapping        struct {
			NewConversation Mapping `yaml:"new-conversation"`
			StatusChange    Mapping `yaml:"status-change"`
			NewMessage      Mapping `yaml:"new-message"`
		} `yaml:"mapping"`
	} `yaml:"webhook"`
	Join           []value[string]                `yaml:"join"`
	ExternalIDPath Paths                          `yaml:"external_id_path"`
	ExternalIDType value[string]                  `yaml:"external_id_type"`
	NamePath       Paths                          `yaml:"name_path"`
	EmailPath      Paths                          `yaml:"email_path"`
	LabelsPath     Paths                          `yaml:"labels_path"`
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

const defaultTeam = "Support"

// Default returns the rules of an empty file: only what the vendor documents.
func Default() *Rules {
	r, err := Parse("", nil)
	if err != nil {
		panic(err) // cannot happen; a test covers it
	}
	return r
}

// Parse reads a file. Its error has one line for each fault: "file:line: what is wrong;
// what to do". Faults name keys and never values, since a value may be a secret that was
// pasted by mistake.
func Parse(file string, data []byte) (*Rules, error) {
	var f reader
	var doc document
	f.decode(data, &doc)
	rules := f.rules(&doc)
	if err := f.Err(file); err != nil {
		return nil, err
	}
	sum := sha256.Sum256(data)
	rules.Fingerprint = hex.EncodeToString(sum[:8])
	return rules, nil
}

func (f *reader) rules(doc *document) *Rules {
	r := &Rules{
		QueryAuth:      f.oneOf(doc.AuthStyle, "auth_style", "header", "query") == "query",
		Allow:          f.prefixes(doc.Webhook.AllowCIDRs, "allow_cidrs"),
		Proxies:        f.prefixes(doc.Webhook.TrustedProxies, "trusted_proxies"),
		DeliveryHeader: f.deliveryHeader(doc.Webhook.DeliveryHeader),
		Bodies: map[string]Mapping{
			NewConversation: doc.Webhook.Mapping.NewConversation.withDefaults(conversationBody),
			StatusChange:    doc.Webhook.Mapping.StatusChange.withDefaults(conversationBody),
			NewMessage:      doc.Webhook.Mapping.NewMessage.withDefaults(messageBody),
		},
		customerRoles: f.shortTexts(doc.Webhook.CustomerRoles, "customer_roles", "customer"),
		done:          f.shortTexts(doc.Webhook.DoneStatuses, "done_statuses", "DONE"),
		ExternalID:    doc.ExternalIDPath,
		Name:          doc.NamePath,
		Email:         doc.EmailPath,
		Labels:        doc.LabelsPath,
		NumericID:     f.oneOf(doc.ExternalIDType, "external_id_type", "string", "number") == "number",
		code:          f.code(doc.LookupCode),
		Team:          f.team(doc.Team),
		ChatHosts:     f.hosts(doc.AgentURLHosts),
		ShowURL:       doc.ShowAgentURL.content,
		Sweep:         f.sweep(doc.Sweep),
	}
	f.conversations(doc)
	if all := doc.Webhook.TrustedProxies; len(all) > 0 && len(doc.Webhook.AllowCIDRs) == 0 {
		f.Add(all[0].line, "trusted_proxies has no effect without allow_cidrs; add allow_cidrs, or remove trusted_proxies")
	}
	r.Endpoints = f.endpoints(doc.Endpoints)
	r.Join = f.join(doc.Join)
	hasGetCustomer := r.Endpoints[GetCustomer] != nil
	for _, need := range []struct {
		paths Paths
		key   string
	}{{r.ExternalID, "external_id_path"}, {r.Name, "name_path"}, {r.Email, "email_path"}, {r.Labels, "labels_path"}} {
		if need.paths.Given() && !hasGetCustomer {
			f.Add(need.paths.line, "%s is a path in the answer of get_customer, which is not configured; add get_customer under endpoints", need.key)
		}
	}
	hasList := slices.ContainsFunc(slices.Collect(maps.Keys(doc.Endpoints)), func(v value[string]) bool { return v.content == ListConversations })
	if line := cmp.Or(doc.Sweep.Interval.line, doc.Sweep.MaxPages.line, doc.Sweep.PageSize.line); line > 0 && !hasList {
		f.Add(line, "sweep needs list_conversations, which is not configured; add it under endpoints, or remove sweep")
	}
	for _, method := range doc.Join {
		if method.content == JoinEmail && !r.Email.Given() {
			f.Add(method.line, "join names email, but email_path is not set; set it")
		}
	}
	return r
}

// conversations checks that conversation_id is mapped for all events or for none.
// Otherwise a change of status would close another card.
func (f *reader) conversations(doc *document) {
	var lines []int
	m := doc.Webhook.Mapping
	for _, one := range []Mapping{m.NewConversation, m.StatusChange, m.NewMessage} {
		if one.Conversation.Given() {
			lines = append(lines, one.Conversation.line)
		}
	}
	if len(lines) == 1 || len(lines) == 2 {
		f.Add(slices.Min(lines), "conversation_id is mapped for some events only, so they would belong to different cards; map it in all three or in none")
	}
}

// join reads which clues are used, in order. Ids come first: a code may later belong to
// another visitor, and customers can type any e-mail address.
func (f *reader) join(all []value[string]) []string {
	order := []string{JoinExternal, JoinCustomer, JoinCode}
	if all == nil {
		return order
	}
	rank := map[string]int{JoinExternal: 1, JoinCustomer: 1, JoinCode: 2, JoinEmail: 3}
	var methods []string
	last := 0
	for _, method := range all {
		switch {
		case rank[method.content] == 0:
			f.Add(method.line, "join has an unknown entry; allowed: external_id, customer_id, lookup_code, email")
		case slices.Contains(methods, method.content):
			f.Add(method.line, "join names %s twice; remove one", method.content)
		case rank[method.content] < last:
			f.Add(method.line, "join names %s too late; ids come first, then lookup_code, then email", method.content)
		default:
			last = rank[method.content]
			methods = append(methods, method.content)
		}
	}
	return methods
}

// code reads the pattern that finds a lookup code in a message. It returns nil if there is none.
func (f *reader) code(pattern value[string]) *regexp.Regexp {
	if !pattern.set() {
		return nil
	}
	re, err := regexp.Compile(pattern.content)
	switch {
	case err != nil:
		f.Add(pattern.line, "lookup_code is not a valid regular expression; for the syntax see golang.org/s/re2syntax")
		return nil
	case re.NumSubexp() != 1:
		f.Add(pattern.line, "lookup_code needs exactly one group in parentheses; put it around the four digits")
		return nil
	}
	return re
}

func (f *reader) team(name value[string]) string {
	switch {
	case !name.set():
		return defaultTeam
	case strings.TrimSpace(name.content) == "" || len(name.content) > 64 || !Printable(name.content):
		f.Add(name.line, "team is not a name of up to 64 bytes; write the name that customers may see")
	}
	return name.content
}

// defaultHosts are the hosts in the vendor's documentation.
var defaultHosts = []string{"app.chatvisor.com", "engage.teamviewer.com"}

// hostForm matches a domain name, localhost or 127.x.x.x, with an optional port.
var hostForm = regexp.MustCompile(`^(localhost|127\.\d+\.\d+\.\d+|([a-z0-9]([a-z0-9-]*[a-z0-9])?\.)+[a-z]([a-z0-9-]*[a-z0-9])?)(:[1-9][0-9]{0,4})?$`)

func (f *reader) hosts(all []value[string]) []string {
	if all == nil {
		return defaultHosts
	}
	var hosts []string
	for _, host := range all {
		name, err := netaddr.ASCII(host.content)
		if err != nil || !hostForm.MatchString(name) || len(name) > 253 {
			f.Add(host.line, "agent_url_hosts has an entry that is not a host name; write it like app.chatvisor.com")
		}
		hosts = append(hosts, name)
	}
	return hosts
}

// MaxPages is the largest max_pages, and how many pages of agents are read.
const MaxPages = 200

const (
	minInterval     = time.Minute
	maxInterval     = 24 * time.Hour
	defaultInterval = 2 * time.Minute
	defaultPages    = 20
	defaultPageSize = 50

	maxPageSize = 500
)

func (f *reader) sweep(doc sweepDoc) Sweep {
	s := Sweep{Interval: defaultInterval, MaxPages: defaultPages, PageSize: defaultPageSize}
	if doc.Interval.set() {
		d, err := time.ParseDuration(doc.Interval.content)
		if err != nil || d < minInterval || d > maxInterval {
			f.Add(doc.Interval.line, "interval is not a duration from 60s to 24h; write it like 2m")
		}
		s.Interval = d
	}
	for _, n := range []struct {
		value[int]
		key string
		max int
		to  *int
	}{{doc.MaxPages, "max_pages", MaxPages, &s.MaxPages}, {doc.PageSize, "page_size", maxPageSize, &s.PageSize}} {
		if !n.set() {
			continue
		}
		if n.content < 1 || n.content > n.max {
			f.Add(n.line, "%s must be a number from 1 to %d", n.key, n.max)
		}
		*n.to = n.content
	}
	return s
}
