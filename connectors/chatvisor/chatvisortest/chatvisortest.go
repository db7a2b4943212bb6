// Package chatvisortest is a Chatvisor in memory, for tests and for the demo. It behaves
// as the vendor documents (developers.chatvisor.com). The steps whose paths are not
// documented have random paths, which only the rules from Service.Rules contain, so that
// a guessed path fails. Open this file first.
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

// Prefix is the path of the API.
const Prefix = "/rest/v1"

// The statuses of a conversation.
const (
	Unread     = "UNREAD"
	Done       = "DONE"
	Unresolved = "UNRESOLVED"
)

// A Customer is a customer with one conversation.
type Customer struct {
	ID, ExternalID, Name, Email string
	Labels                      []string
	// OmitEmpty omits labels and external id from the answer while they are empty.
	OmitEmpty bool
}

// An Agent is an agent's account.
type Agent struct{ ID, Email, Firstname, Lastname string }

// A Hook is one call of a webhook.
type Hook struct {
	Event string
	Body  []byte
}

// A Request is a request that the service received, without its token.
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
	// Token must be in every request, in the header or the query.
	Token string
	// Site is the start of agents' chat addresses; empty means https://app.chatvisor.com.
	Site string
	// Relabel returns a customer's new labels when some are sent. Nil means that those
	// replace the old ones, the worse of the two ways that are possible.
	Relabel func(old, sent []string) []string

	prefix string

	mu         sync.Mutex
	customers  []*conversation
	agents     []Agent
	visible    bool
	minted     []string
	requests   []Request
	unexpected []string
}

// New makes a tenant without customers.
func New(token string) *Service {
	return &Service{Token: token, visible: true, prefix: "q" + rand.Text()[:8]}
}

// Rules returns the file that an operator would write for this service.
func (s *Service) Rules() string {
	return strings.NewReplacer("ODD", s.prefix).Replace(`
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

// AddCustomer adds a customer who has written nothing yet.
func (s *Service) AddCustomer(c Customer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.customers = append(s.customers, &conversation{Customer: c})
}

// AddAgent adds an account, as if a person made it in Chatvisor.
func (s *Service) AddAgent(a Agent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agents = append(s.agents, a)
}

// SetAgents replaces all accounts, as if a person changed them in Chatvisor.
func (s *Service) SetAgents(all ...Agent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.agents = slices.Clone(all)
}

// Write adds a message of a customer, which makes the conversation unread. It returns
// the webhooks that follow: new-conversation if the conversation is new or was done,
// status-change if the status changed, and new-message.
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

// SetStatus sets the status, as an agent does, and returns the webhooks that follow.
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

// Call sends webhooks, all at once, to address and the name of the event.
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

// Labels returns a customer's labels.
func (s *Service) Labels(customer string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.find(customer).Labels)
}

// ExternalID returns a customer's external id; empty if there is none.
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

// Agents returns all accounts.
func (s *Service) Agents() []Agent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.agents)
}

// Minted returns the tokens and chat addresses that were created.
func (s *Service) Minted() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.minted)
}

// Requests returns all requests.
func (s *Service) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.requests)
}

// Unexpected returns the requests to paths that are neither documented nor in the rules.
func (s *Service) Unexpected() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.unexpected)
}

type object map[string]any

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err) // texts and numbers
	}
	return data
}

// find returns a customer, and adds one if there is none.
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

// body returns the Conversation object of the vendor's webhooks.
func (c *conversation) body() []byte {
	return encode(object{
		"customerId": c.ID, "status": c.status, "lastMessage": object{"text": c.last},
		"url": "https://app.chatvisor.com/conversation/" + c.ID,
	})
}

// ServeHTTP serves the REST API.
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
	if len(parts) < 2 || parts[0] != s.prefix || !s.serveStep(w, r, parts[1:], body.Bytes()) {
		s.unexpected = append(s.unexpected, r.Method+" "+r.URL.Path)
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
