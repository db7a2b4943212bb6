package chatvisor

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A step is something that the vendor's guide says can be done over REST, without
// saying where. None is taken until an operator has written its endpoint down.
type step struct {
	name string
	does string
	// acts says that it changes something, or lets somebody in: it has to be
	// enabled besides.
	acts bool
	// methods it may have; the first is the one that need not be named, save
	// where it acts.
	methods []string
	// takes are the placeholders there are, needs those that have to be somewhere;
	// a|b is either.
	takes, needs []placeholder
	list         bool // answers a list, below items
	answers      bool // answers a value, at result
}

// The steps.
const (
	getCustomer       = "get_customer"
	listConversations = "list_conversations"
	tagCustomer       = "tag_customer"
	getVisibility     = "get_visibility"
	setVisibility     = "set_visibility"
	listAgents        = "list_agents"
	createAgent       = "create_agent"
	updateAgent       = "update_agent"
	deleteAgent       = "delete_agent"
	agentChatURL      = "agent_chat_url"
	mintToken         = "mint_token"
)

var (
	readMethods  = []string{http.MethodGet}
	writeMethods = []string{http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete}
	mintMethods  = []string{http.MethodGet, http.MethodPost}
)

var steps = []step{
	{name: getCustomer, does: "read a customer", methods: readMethods, takes: []placeholder{"customerId"}, needs: []placeholder{"customerId"}},
	{name: listConversations, does: "find conversations whose webhooks were lost", methods: readMethods, takes: []placeholder{"page", "pageSize"}, list: true},
	{name: tagCustomer, does: "label a customer", acts: true, methods: writeMethods,
		takes: []placeholder{"customerId", "labels", "id"}, needs: []placeholder{"customerId", "labels"}},
	{name: getVisibility, does: "tell whether the chat is shown", methods: readMethods, answers: true},
	{name: setVisibility, does: "show or hide the chat", acts: true, methods: writeMethods, takes: []placeholder{"visible"}, needs: []placeholder{"visible"}},
	{name: listAgents, does: "list agents", methods: readMethods, takes: []placeholder{"page", "pageSize"}, list: true},
	{name: createAgent, does: "create an agent", acts: true, methods: writeMethods,
		takes: []placeholder{"email", "firstname", "lastname"}, needs: []placeholder{"email"}},
	{name: updateAgent, does: "rename an agent", acts: true, methods: writeMethods,
		takes: []placeholder{"agentId", "email", "firstname", "lastname"}, needs: []placeholder{"agentId|email", "firstname|lastname"}},
	{name: deleteAgent, does: "delete an agent", acts: true, methods: writeMethods,
		takes: []placeholder{"agentId", "email"}, needs: []placeholder{"agentId|email"}},
	{name: agentChatURL, does: "lead an agent into the chat", acts: true, methods: mintMethods,
		takes: []placeholder{"customerId", "agentEmail"}, needs: []placeholder{"customerId"}, answers: true},
	{name: mintToken, does: "mint a token", acts: true, methods: mintMethods, takes: []placeholder{"email"}, answers: true},
}

// endpointDoc is an endpoint as the file has it.
type endpointDoc struct {
	Method    value[string]                   `yaml:"method"`
	Path      value[string]                   `yaml:"path"`
	Query     map[value[string]]value[string] `yaml:"query"`
	Body      yaml.Node                       `yaml:"body"`
	Enabled   value[bool]                     `yaml:"enabled"`
	Items     paths                           `yaml:"items"`
	FirstPage value[int]                      `yaml:"first_page"`
	Result    paths                           `yaml:"result"`
	Fields    *agentFields                    `yaml:"fields"`
}

// agentFields are where something is in an agent of the list.
type agentFields struct {
	ID        paths `yaml:"id"`
	Email     paths `yaml:"email"`
	Firstname paths `yaml:"firstname"`
	Lastname  paths `yaml:"lastname"`

	line int // of the key
}

// An endpoint is where a step is, for this operator.
type endpoint struct {
	step
	method    string
	path      []segment
	query     map[string]segment
	body      any // template; nil for none
	enabled   bool
	items     paths
	firstPage int
	result    paths
	fields    agentFields
}

func (f *faults) endpoints(docs map[value[string]]*endpointDoc) map[string]*endpoint {
	all := map[string]*endpoint{}
	for name, doc := range docs {
		i := slices.IndexFunc(steps, func(s step) bool { return s.name == name.is })
		switch {
		case i < 0:
			f.add(name.line, "there is no step of that name; look at the list in the guide")
		case doc == nil:
			f.add(name.line, "%s has nothing below it; write its path, or remove it", name.is)
		default:
			all[name.is] = f.endpoint(name.line, steps[i], doc)
		}
	}
	return all
}

func (f *faults) endpoint(line int, s step, doc *endpointDoc) *endpoint {
	e := &endpoint{step: s, query: map[string]segment{}, items: doc.Items, result: doc.Result, firstPage: doc.FirstPage.is}
	e.enabled = doc.Enabled.is || !doc.Enabled.set() && !s.acts
	switch {
	case doc.Method.set() && !slices.Contains(s.methods, doc.Method.is):
		f.add(doc.Method.line, "method of %s is none of %s; choose one", s.name, strings.Join(s.methods, ", "))
	case !doc.Method.set() && s.acts:
		f.add(line, "%s has no method; choose one of %s", s.name, strings.Join(s.methods, ", "))
	case !doc.Method.set():
		e.method = s.methods[0]
	default:
		e.method = doc.Method.is
	}
	f.templates(line, e, doc)
	f.answers(line, e, doc)
	return e
}

// templates reads path, query and body, and checks which placeholders they have.
func (f *faults) templates(line int, e *endpoint, doc *endpointDoc) {
	used := map[placeholder]bool{}
	inBody := func(line int, name placeholder) {
		used[name] = true
		if !slices.Contains(e.takes, name) {
			f.add(line, "%s has a placeholder that stands for nothing; there are: %s", e.name, braced(e.takes))
		}
	}
	inAddress := func(line int, name placeholder) {
		switch name {
		case "":
			return
		case "labels":
			f.add(line, "{labels} is a list, which has no place in a path or a query; put it into the body")
		}
		inBody(line, name)
	}
	var err error
	faults := len(*f)
	if !doc.Path.set() {
		f.add(line, "%s has no path; write it as the vendor's reference has it", e.name)
	} else if e.path, err = parsePath(doc.Path.is); err != nil {
		f.add(doc.Path.line, "path %v", err)
	}
	for _, s := range e.path {
		inAddress(doc.Path.line, s.holds)
	}
	for key, v := range doc.Query {
		if strings.EqualFold(key.is, "access_token") {
			f.add(key.line, "query has access_token, and no secret belongs into this file; set auth_style to query, and the token is sent there")
			continue
		}
		s, err := parseSegment(v.is)
		if err != nil || !literal.MatchString(key.is) || key.is == "" {
			f.add(key.line, "query has something that is not accepted; write name: text, or name: \"{placeholder}\"")
			continue
		}
		e.query[key.is] = s
		inAddress(key.line, s.holds)
	}
	switch {
	case !doc.Body.IsZero() && e.method == http.MethodGet:
		f.add(doc.Body.Line, "a GET has no body; use the query")
	case !doc.Body.IsZero():
		e.body = f.body(&doc.Body, 0, inBody)
	case e.name == tagCustomer: // as documented
		e.body = map[string]any{"labels": placeholder("labels"), "id": placeholder("id")}
		used["labels"] = true
	}
	if len(*f) > faults {
		return // what is missing may be in what cannot be read
	}
	for _, need := range e.needs {
		if !slices.ContainsFunc(strings.Split(string(need), "|"), func(name string) bool { return used[placeholder(name)] }) {
			f.add(line, "%s does not say where {%s} goes; put it into path, query or body", e.name, strings.ReplaceAll(string(need), "|", "} or {"))
		}
	}
}

// answers checks what is said about the answer.
func (f *faults) answers(line int, e *endpoint, doc *endpointDoc) {
	misplaced := func(there bool, at int, key string) {
		if there {
			f.add(at, "%s has no use for %s; remove it", e.name, key)
		}
	}
	misplaced(!e.list && doc.Items.all != nil, doc.Items.line, "items")
	misplaced(!e.list && doc.FirstPage.set(), doc.FirstPage.line, "first_page")
	misplaced(!e.answers && doc.Result.all != nil, doc.Result.line, "result")
	if doc.Fields != nil {
		misplaced(e.name != listAgents, doc.Fields.line, "fields")
	}
	if doc.FirstPage.is < 0 {
		f.add(doc.FirstPage.line, "first_page is less than 0; mend it")
	}
	if e.answers && len(doc.Result.all) == 0 {
		f.add(line, "%s has no result; write the path of the value in its answer", e.name)
	}
	if e.name == listAgents {
		if doc.Fields == nil || len(doc.Fields.Email.all) == 0 {
			f.add(line, "%s does not say where an agent's e-mail address is; write fields: {email: …}", e.name)
		} else {
			e.fields = *doc.Fields
		}
	}
}

func braced(all []placeholder) string {
	if len(all) == 0 {
		return "none"
	}
	var words []string
	for _, name := range all {
		words = append(words, "{"+string(name)+"}")
	}
	return strings.Join(words, ", ")
}

// has reports whether the endpoint sends a placeholder's value anywhere.
func (e *endpoint) has(name placeholder) bool {
	found := slices.ContainsFunc(e.path, func(s segment) bool { return s.holds == name })
	for _, s := range e.query {
		found = found || s.holds == name
	}
	inBody(e.body, func(p placeholder) { found = found || p == name })
	return found
}

// fill makes the request that the endpoint stands for.
func (e *endpoint) fill(values map[placeholder]any) (request, error) {
	path, err := fillPath(e.path, values)
	if err != nil {
		return request{}, fmt.Errorf("%s: path: %w", e.name, err)
	}
	query := url.Values{}
	for key, s := range e.query {
		v, err := s.fill(values, func(s string) string { return s }) // Encode escapes it
		if err != nil {
			return request{}, fmt.Errorf("%s: query: %w", e.name, err)
		}
		query.Set(key, v)
	}
	r := request{method: e.method, path: path, query: query, name: e.name}
	if e.body != nil {
		r.body = fillBody(e.body, values)
	}
	return r, nil
}

// off says in a sentence why a step is not taken; empty if it is.
func (r *Rules) off(name, file string) string {
	e := r.endpoints[name]
	i := slices.IndexFunc(steps, func(s step) bool { return s.name == name })
	switch {
	case e == nil:
		return fmt.Sprintf("The bridge does not %s: endpoints.%s is not in the file of %s.", steps[i].does, name, file)
	case !e.enabled:
		return fmt.Sprintf("The bridge does not %s: endpoints.%s.enabled is not true in the file of %s.", steps[i].does, name, file)
	}
	return ""
}

// step is the endpoint of a step, or an error that names the missing setting.
func (c *connector) step(name string) (*endpoint, error) {
	if why := c.rules.off(name, c.env("CONFIG")); why != "" {
		return nil, errors.New(why)
	}
	return c.rules.endpoints[name], nil
}
