package rules

import (
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A Step is an action that the vendor's guide names without its path. The bridge uses it
// only after the operator has configured its endpoint.
type Step struct {
	Name string
	Does string // such as "read a customer"
	// MustBeEnabled says that the endpoint needs enabled: true, since it changes
	// something or logs a person in.
	MustBeEnabled bool
	// Methods are the allowed methods. The first is the default unless MustBeEnabled.
	Methods []string
	// Allowed are the placeholders of the step, required those that must be used; a|b
	// means one of them.
	Allowed, required []Placeholder
	List              bool // the answer has a list, at items
	Answers           bool // the answer has a value, at result
}

// The names of the steps.
const (
	GetCustomer       = "get_customer"
	ListConversations = "list_conversations"
	TagCustomer       = "tag_customer"
	GetVisibility     = "get_visibility"
	SetVisibility     = "set_visibility"
	ListAgents        = "list_agents"
	CreateAgent       = "create_agent"
	UpdateAgent       = "update_agent"
	DeleteAgent       = "delete_agent"
	AgentChatURL      = "agent_chat_url"
	MintToken         = "mint_token"
)

var (
	readMethods  = []string{http.MethodGet}
	writeMethods = []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	mintMethods  = []string{http.MethodGet, http.MethodPost}
)

// Steps are all steps, in the order of the proposal and of `bridge check`.
var Steps = []Step{
	{Name: GetCustomer, Does: "read a customer", Methods: readMethods, Allowed: []Placeholder{"customerId"}, required: []Placeholder{"customerId"}},
	{Name: ListConversations, Does: "find conversations whose webhooks were lost", Methods: readMethods, Allowed: []Placeholder{"page", "pageSize"}, List: true},
	{Name: TagCustomer, Does: "label a customer", MustBeEnabled: true, Methods: writeMethods,
		Allowed: []Placeholder{"customerId", "labels", "id"}, required: []Placeholder{"customerId", "labels"}},
	{Name: GetVisibility, Does: "read whether the chat is shown", Methods: readMethods, Answers: true},
	{Name: SetVisibility, Does: "show or hide the chat", MustBeEnabled: true, Methods: writeMethods, Allowed: []Placeholder{"visible"}, required: []Placeholder{"visible"}},
	{Name: ListAgents, Does: "list agents", Methods: readMethods, Allowed: []Placeholder{"page", "pageSize"}, List: true},
	{Name: CreateAgent, Does: "create an agent", MustBeEnabled: true, Methods: writeMethods,
		Allowed: []Placeholder{"email", "firstname", "lastname"}, required: []Placeholder{"email"}},
	{Name: UpdateAgent, Does: "rename an agent", MustBeEnabled: true, Methods: writeMethods,
		Allowed: []Placeholder{"agentId", "email", "firstname", "lastname"}, required: []Placeholder{"agentId|email", "firstname|lastname"}},
	{Name: DeleteAgent, Does: "delete an agent", MustBeEnabled: true, Methods: writeMethods,
		Allowed: []Placeholder{"agentId", "email"}, required: []Placeholder{"agentId|email"}},
	{Name: AgentChatURL, Does: "open the chat for an agent", MustBeEnabled: true, Methods: mintMethods,
		Allowed: []Placeholder{"customerId", "agentEmail"}, required: []Placeholder{"customerId"}, Answers: true},
	{Name: MintToken, Does: "create a token", MustBeEnabled: true, Methods: mintMethods, Allowed: []Placeholder{"email"}, Answers: true},
}

// endpointDoc is an endpoint as written in the file.
type endpointDoc struct {
	Method    value[string]                   `yaml:"method"`
	Path      value[string]                   `yaml:"path"`
	Query     map[value[string]]value[string] `yaml:"query"`
	Body      yaml.Node                       `yaml:"body"`
	Enabled   value[bool]                     `yaml:"enabled"`
	Items     Paths                           `yaml:"items"`
	FirstPage value[int]                      `yaml:"first_page"`
	Result    Paths                           `yaml:"result"`
	Fields    *AgentFields                    `yaml:"fields"`
}

// AgentFields are the paths of an agent's fields in a row of list_agents.
type AgentFields struct {
	ID        Paths `yaml:"id"`
	Email     Paths `yaml:"email"`
	Firstname Paths `yaml:"firstname"`
	Lastname  Paths `yaml:"lastname"`

	line int // of the key
}

// An Endpoint is a step with the method, path, query and body of this tenant.
type Endpoint struct {
	Step
	Method    string
	path      []segment
	query     map[string]segment
	body      any // template; nil for none
	Enabled   bool
	Items     Paths
	FirstPage int
	Result    Paths
	Fields    AgentFields
}

func (f *reader) endpoints(docs map[value[string]]*endpointDoc) map[string]*Endpoint {
	all := map[string]*Endpoint{}
	for name, doc := range docs {
		i := slices.IndexFunc(Steps, func(s Step) bool { return s.Name == name.content })
		switch {
		case i < 0:
			f.Add(name.line, "unknown step %.40q; the steps are %s", name.content, stepNames())
		case doc == nil:
			f.Add(name.line, "%s is empty; write its path, or remove it", name.content)
		default:
			all[name.content] = f.endpoint(name.line, Steps[i], doc)
		}
	}
	return all
}

func (f *reader) endpoint(line int, s Step, doc *endpointDoc) *Endpoint {
	e := &Endpoint{Step: s, query: map[string]segment{}, Items: doc.Items, Result: doc.Result, FirstPage: doc.FirstPage.content}
	e.Enabled = doc.Enabled.content || !doc.Enabled.set() && !s.MustBeEnabled
	switch {
	case doc.Method.set() && !slices.Contains(s.Methods, doc.Method.content):
		f.Add(doc.Method.line, "method of %s must be one of %s", s.Name, strings.Join(s.Methods, ", "))
	case !doc.Method.set() && s.MustBeEnabled:
		f.Add(line, "%s has no method; write one of %s", s.Name, strings.Join(s.Methods, ", "))
	case !doc.Method.set():
		e.Method = s.Methods[0]
	default:
		e.Method = doc.Method.content
	}
	f.templates(line, e, doc)
	f.checkAnswer(line, e, doc)
	return e
}

// templates reads path, query and body, and checks their placeholders.
func (f *reader) templates(line int, e *Endpoint, doc *endpointDoc) {
	used := map[Placeholder]bool{}
	checkPlaceholder := func(line int, name Placeholder) {
		used[name] = true
		if !slices.Contains(e.Allowed, name) {
			f.Add(line, "%s has an unknown placeholder; allowed: %s", e.Name, braced(e.Allowed))
		}
	}
	checkAddressPlaceholder := func(line int, name Placeholder) {
		switch name {
		case "":
			return
		case "labels":
			f.Add(line, "{labels} is a list and cannot be in a path or a query; put it into the body")
		}
		checkPlaceholder(line, name)
	}
	var err error
	faults := len(f.Faults)
	if !doc.Path.set() {
		f.Add(line, "%s has no path; copy it from the vendor's reference", e.Name)
	} else if e.path, err = parsePath(doc.Path.content); err != nil {
		f.Add(doc.Path.line, "path %v", err)
	}
	for _, s := range e.path {
		checkAddressPlaceholder(doc.Path.line, s.placeholder)
	}
	for key, v := range doc.Query {
		if strings.EqualFold(key.content, "access_token") {
			f.Add(key.line, "query has access_token, but this file must contain no secret; set auth_style: query instead, which sends the token there")
			continue
		}
		s, err := parseSegment(v.content)
		if err != nil || !literal.MatchString(key.content) || key.content == "" {
			f.Add(key.line, "query has a name or value that is not allowed; write name: text, or name: \"{placeholder}\"")
			continue
		}
		e.query[key.content] = s
		checkAddressPlaceholder(key.line, s.placeholder)
	}
	switch {
	case !doc.Body.IsZero() && e.Method == http.MethodGet:
		f.Add(doc.Body.Line, "a GET has no body; use the query")
	case !doc.Body.IsZero():
		e.body = f.body(&doc.Body, 0, checkPlaceholder)
	case e.Name == TagCustomer: // as documented
		e.body = map[string]any{"labels": Placeholder("labels"), "id": Placeholder("id")}
		used["labels"] = true
	}
	if len(f.Faults) > faults {
		return // the missing placeholder may be in the part with the fault
	}
	for _, need := range e.required {
		if !slices.ContainsFunc(strings.Split(string(need), "|"), func(name string) bool { return used[Placeholder(name)] }) {
			f.Add(line, "%s does not use {%s}; put it into path, query or body", e.Name, strings.ReplaceAll(string(need), "|", "} or {"))
		}
	}
}

// checkAnswer checks the keys about the answer.
func (f *reader) checkAnswer(line int, e *Endpoint, doc *endpointDoc) {
	unused := func(given bool, atLine int, key string) {
		if given {
			f.Add(atLine, "%s does not use %s; remove it", e.Name, key)
		}
	}
	unused(!e.List && doc.Items.All != nil, doc.Items.line, "items")
	unused(!e.List && doc.FirstPage.set(), doc.FirstPage.line, "first_page")
	unused(!e.Answers && doc.Result.All != nil, doc.Result.line, "result")
	if doc.Fields != nil {
		unused(e.Name != ListAgents, doc.Fields.line, "fields")
	}
	if doc.FirstPage.content < 0 {
		f.Add(doc.FirstPage.line, "first_page is less than 0; write 0 or more")
	}
	if e.Answers && !doc.Result.Given() {
		f.Add(line, "%s has no result; write the path of the value in its answer", e.Name)
	}
	if e.Name == ListAgents {
		if doc.Fields == nil || !doc.Fields.Email.Given() {
			f.Add(line, "%s has no path for an agent's e-mail address; write fields: {email: …}", e.Name)
		} else {
			e.Fields = *doc.Fields
		}
	}
}

func braced(all []Placeholder) string {
	if len(all) == 0 {
		return "none"
	}
	var words []string
	for _, name := range all {
		words = append(words, "{"+string(name)+"}")
	}
	return strings.Join(words, ", ")
}

// Has reports whether path, query or body of the endpoint contain a placeholder.
func (e *Endpoint) Has(name Placeholder) bool {
	found := slices.ContainsFunc(e.path, func(s segment) bool { return s.placeholder == name })
	for _, s := range e.query {
		found = found || s.placeholder == name
	}
	forEachPlaceholder(e.body, func(p Placeholder) { found = found || p == name })
	return found
}

// A Request is one request to the API.
type Request struct {
	Name   string // for errors; contains no data of a customer
	Method string
	Path   string // escaped, below the address of the API
	Query  url.Values
	Body   any // nil for none
}

// Fill returns the request of the endpoint with values in place of its placeholders.
func (e *Endpoint) Fill(values Values) (Request, error) {
	path, err := fillPath(e.path, values)
	if err != nil {
		return Request{}, fmt.Errorf("%s: path: %w", e.Name, err)
	}
	query := url.Values{}
	for key, s := range e.query {
		v, err := s.fill(values, func(s string) string { return s }) // Encode escapes it
		if err != nil {
			return Request{}, fmt.Errorf("%s: query: %w", e.Name, err)
		}
		query.Set(key, v)
	}
	r := Request{Method: e.Method, Path: path, Query: query, Name: e.Name}
	if e.body != nil {
		r.Body = fillBody(e.body, values)
	}
	return r, nil
}

// stepNames lists the names of all steps.
func stepNames() string {
	var all []string
	for _, s := range Steps {
		all = append(all, s.Name)
	}
	return strings.Join(all, ", ")
}

// WhyOff says what to do to make a step available; empty if it is. file is the
// variable that names the operator's file.
func (r *Rules) WhyOff(name, file string) string {
	e := r.Endpoints[name]
	i := slices.IndexFunc(Steps, func(s Step) bool { return s.Name == name })
	switch {
	case e == nil:
		return fmt.Sprintf("to %s, set %s to a file with endpoints.%s (connectors/chatvisor/README.md, section 6)", Steps[i].Does, file, name)
	case !e.Enabled:
		return fmt.Sprintf("to %s, set endpoints.%s.enabled to true in the file of %s", Steps[i].Does, name, file)
	}
	return ""
}

// Where returns the endpoint's path as written in the file.
func (e *Endpoint) Where() string {
	var b strings.Builder
	for _, s := range e.path {
		b.WriteString("/" + s.String())
	}
	return b.String()
}
