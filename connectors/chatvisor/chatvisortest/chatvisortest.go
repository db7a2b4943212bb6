// Package chatvisortest is a Chatvisor in memory, for tests and for the demo. What
// the vendor documents it does as documented (developers.chatvisor.com). The steps
// of which the path is not documented are at odd paths, drawn for each service, so
// that nothing works by a guess: only the rules that it gives lead to them.
package chatvisortest

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Prefix is where the API begins.
const Prefix = "/rest/v1"

// The statuses of a conversation.
const (
	Unread     = "UNREAD"
	Done       = "DONE"
	Unresolved = "UNRESOLVED"
)

// A Customer has one conversation.
type Customer struct {
	ID, ExternalID, Name, Email string
	Labels                      []string
	// Bare leaves labels and external id out of what is told of the customer while
	// there are none.
	Bare bool
}

// An Agent is an account.
type Agent struct{ ID, Email, Firstname, Lastname string }

// A Hook is one call of a webhook.
type Hook struct {
	Event string
	Body  []byte
}

// A Request is one that the service got. Its token is not kept.
type Request struct {
	At           time.Time
	Method, Path string
	Body         []byte
}

type conversation struct {
	Customer
	status, last string
}

// A Service is a tenant. It is an http.Handler.
type Service struct {
	// Token is what every request needs, in the header or the query.
	Token string
	// Site is what agents' addresses begin with; empty means https://app.chatvisor.com.
	Site string
	// Relabel says what becomes of a customer's labels when some are sent; nil means
	// that these replace them, which is the worse of what a real one may do.
	Relabel func(old, sent []string) []string

	odd string

	mu        sync.Mutex
	customers []*conversation
	agents    []Agent
	visible   bool
	minted    []string
	requests  []Request
	strange   []string
}

// New makes a tenant without customers.
func New(token string) *Service {
	return &Service{Token: token, visible: true, odd: "q" + rand.Text()[:8]}
}

// Rules are what an operator would write for this service.
func (s *Service) Rules() string {
	return strings.NewReplacer("ODD", s.odd).Replace(`
external_id_path: [profile.own.key]
name_path: [profile.called]
email_path: [profile.mail]
labels_path: [profile.marks]
endpoints:
  get_customer: {path: "/ODD/who/{customerId}/card"}
  list_conversations:
    path: /ODD/talks
    query: {from: "{page}", many: "{pageSize}"}
    items: talks.all
    first_page: 1
  tag_customer:
    method: PUT
    path: "/ODD/mark/{customerId}"
    body: {marks: "{labels}", own: {key: "{id}"}}
    enabled: true
  get_visibility: {path: /ODD/curtain, result: curtain.open}
  set_visibility: {method: PATCH, path: /ODD/curtain, body: {curtain: {open: "{visible}"}}, enabled: true}
  list_agents:
    path: /ODD/staff
    query: {page: "{page}"}
    fields: {id: nr, email: login, firstname: first, lastname: last}
  create_agent: {method: POST, path: /ODD/staff, body: {login: "{email}", first: "{firstname}", last: "{lastname}"}, enabled: true}
  update_agent: {method: PATCH, path: "/ODD/staff/{agentId}", body: {first: "{firstname}", last: "{lastname}"}, enabled: true}
  delete_agent: {method: DELETE, path: "/ODD/staff/{agentId}", enabled: true}
  agent_chat_url: {method: POST, path: "/ODD/way/{customerId}", body: {for: "{agentEmail}"}, result: way.in, enabled: true}
  mint_token: {method: POST, path: /ODD/key, body: {login: "{email}"}, result: key.plain, enabled: true}
`)
}

// AddCustomer makes a customer who has written nothing yet.
func (s *Service) AddCustomer(c Customer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.customers = append(s.customers, &conversation{Customer: c})
}

// AddAgent makes an account that somebody else made.
func (s *Service) AddAgent(a Agent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agents = append(s.agents, a)
}

// SetAgents makes the accounts those that are given: somebody worked on them by
// hand.
func (s *Service) SetAgents(all ...Agent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agents = slices.Clone(all)
}

// Write is a message of a customer's. It makes the conversation unread and gives
// the webhooks that this calls: new-conversation for one that began or was done,
// status-change if the status is another, and new-message.
func (s *Service) Write(customer, text string) []Hook {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.find(customer)
	before := c.status
	c.status, c.last = Unread, text
	var hooks []Hook
	if before == "" || before == Done {
		hooks = append(hooks, Hook{"new-conversation", c.body()})
	}
	if before != Unread {
		hooks = append(hooks, Hook{"status-change", c.body()})
	}
	return append(hooks, Hook{"new-message", encode(object{"customerId": c.ID, "text": text})})
}

// SetStatus is what an agent does, and gives the webhooks that this calls.
func (s *Service) SetStatus(customer, status string) []Hook {
	s.mu.Lock()
	defer s.mu.Unlock()
	c := s.find(customer)
	if c.status == status {
		return nil
	}
	c.status = status
	return []Hook{{"status-change", c.body()}}
}

// Call calls webhooks, all at once, at the address that ends before the event.
func Call(ctx context.Context, client *http.Client, address string, hooks ...Hook) error {
	results := make(chan error, len(hooks))
	for _, h := range hooks {
		go func() {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, address+"/"+h.Event, bytes.NewReader(h.Body))
			if err != nil {
				results <- err
				return
			}
			req.Header.Set("Content-Type", "application/json")
			resp, err := client.Do(req)
			if err == nil {
				resp.Body.Close()
				if resp.StatusCode != http.StatusOK {
					err = fmt.Errorf("%s was answered %d", h.Event, resp.StatusCode)
				}
			}
			results <- err
		}()
	}
	var failed error
	for range hooks {
		if err := <-results; err != nil {
			failed = err
		}
	}
	return failed
}

// Labels are those that a customer has.
func (s *Service) Labels(customer string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.find(customer).Labels)
}

// ExternalID is the id that a customer is known by.
func (s *Service) ExternalID(customer string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.find(customer).ExternalID
}

// Visible reports whether the chat is shown.
func (s *Service) Visible() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.visible
}

// Agents are the accounts there are.
func (s *Service) Agents() []Agent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.agents)
}

// Minted are the tokens and the addresses of agents that were given out.
func (s *Service) Minted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.minted)
}

// Requests are all that came.
func (s *Service) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Strange are the requests for what neither the vendor documents nor the rules
// name. There must be none.
func (s *Service) Strange() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.strange)
}

type object map[string]any

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts and numbers
	}
	return data
}

// find gives a customer, whom it makes if need be.
func (s *Service) find(id string) *conversation {
	for _, c := range s.customers {
		if c.ID == id {
			return c
		}
	}
	c := &conversation{Customer: Customer{ID: id}}
	s.customers = append(s.customers, c)
	return c
}

// body is the Conversation object.
func (c *conversation) body() []byte {
	return encode(object{
		"customerId": c.ID, "status": c.status, "lastMessage": object{"text": c.last},
		"url": "https://app.chatvisor.com/conversation/" + c.ID,
	})
}

// ServeHTTP is the REST API.
func (s *Service) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	var body bytes.Buffer
	_, _ = body.ReadFrom(http.MaxBytesReader(w, r.Body, 1<<20))
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests = append(s.requests, Request{time.Now(), r.Method, r.URL.Path, body.Bytes()})
	if r.Header.Get("Authorization") != "Bearer "+s.Token && r.URL.Query().Get("access_token") != s.Token {
		answer(w, http.StatusUnauthorized, object{"error": "failed authentication"})
		return
	}
	path, ok := strings.CutPrefix(r.URL.Path, Prefix)
	if !ok {
		path = ""
	}
	if r.Method+" "+path == "GET /customer" {
		s.listCustomers(w, r)
		return
	}
	parts := strings.Split(strings.TrimPrefix(path, "/"), "/")
	if len(parts) < 2 || parts[0] != s.odd || !s.oddly(w, r, parts[1:], body.Bytes()) {
		s.strange = append(s.strange, r.Method+" "+r.URL.Path)
		answer(w, http.StatusNotFound, object{"error": "no such route"})
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_, _ = w.Write(encode(v))
}

func (s *Service) listCustomers(w http.ResponseWriter, r *http.Request) {
	page, size := number(r, "pageNumber", 0), number(r, "pageSize", 50)
	rows := []object{}
	for _, c := range s.customers {
		rows = append(rows, object{"customerId": c.ID, "status": c.status})
	}
	answer(w, http.StatusOK, object{"page": page, "results": cut(rows, page, size)})
}

func number(r *http.Request, name string, otherwise int) int {
	n, err := strconv.Atoi(r.URL.Query().Get(name))
	if err != nil || n < 0 {
		return otherwise
	}
	return n
}

func cut(rows []object, page, size int) []object {
	from := min(page*size, len(rows))
	return rows[from:min(from+size, len(rows))]
}
