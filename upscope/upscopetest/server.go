// Package upscopetest is Upscope in memory: an http.Handler that speaks version 1.3 of the REST API, serves the
// pages behind its watch links, and fails on demand. Tests and the demo use it in place of the service. Open
// server.go first.
//
// It does what the vendor documents. Where nothing is documented, it does what is hardest for a client: a search for
// anything but a known token is fuzzy and always returns a visitor if there is one, a search for one result returns
// that of the first region, most failures have no useful body, empty fields are null, and integration ids are
// searched but not returned.
package upscopetest

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"cobrowse-bridge/upscope"
)

// Options configure a Server. The zero value is a service whose key is "test-key".
type Options struct {
	Key     string // the secret REST key; "test-key" when empty
	Version string // first segment of the paths; upscope.DefaultVersion when empty
	// WatchBase is the address of this handler for browsers, before /session/{uuid}. When empty it is the
	// vendor's: links look real and do not work. See also SetWatchBase.
	WatchBase string
	LinkLife  time.Duration    // how long a watch link can be opened; 5 minutes when zero
	OneUse    bool             // a watch link can be opened only once
	PageSize  int              // sessions on a page of the list; 20 when zero
	Regions   []string         // in the order in which they answer; eu-central, us-east when empty
	Now       func() time.Time // the service's clock, also in the Date header; time.Now when nil
	// OnEnd is called with the id of each session that has ended, without the lock. It can call SendWebhook.
	OnEnd func(sessionID string)
}

// Endpoint names one call of the API.
type Endpoint string

// The endpoints. Any means all of them in Fail. Unknown is the endpoint of calls to other paths.
const (
	Any            Endpoint = "*"
	Unknown        Endpoint = "unknown"
	Usage          Endpoint = "usage"
	List           Endpoint = "list"
	Visitor        Endpoint = "visitor"
	Watch          Endpoint = "watch_url"
	StopSession    Endpoint = "stop session"
	DeleteVisitor  Endpoint = "delete visitor"
	DeleteVisitors Endpoint = "delete visitors"
	Agent          Endpoint = "agent"
	Sessions       Endpoint = "sessions"
	OnPremise      Endpoint = "onpremise token"
)

// Endpoints returns all calls of the API, without Any and Unknown.
func Endpoints() []Endpoint {
	return []Endpoint{
		Usage, List, Visitor, Watch, StopSession, DeleteVisitor, DeleteVisitors, Agent, Sessions, OnPremise,
	}
}

// Call is one request that the server received.
type Call struct {
	Endpoint   Endpoint
	Method     string
	RequestURI string // path and query, escaped as in the request
	Search     string // the search parameter, unescaped
	KeyOK      bool
}

// Server is the service. New makes it. It is safe for use by many goroutines.
type Server struct {
	opts Options
	mux  *http.ServeMux

	mu        sync.Mutex
	watchBase string
	overPlan  bool
	visitors  []*visitor // in the order they came
	sessions  []*session // in the order they began
	agents    []*upscope.Agent
	links     map[string]*link
	watches   []WatchRecord
	opened    int
	calls     []Call
	faults    []*activeFault
}

// New returns a service without visitors.
func New(o Options) *Server {
	o.Key = cmp.Or(o.Key, "test-key")
	o.Version = cmp.Or(o.Version, upscope.DefaultVersion)
	o.LinkLife = cmp.Or(o.LinkLife, 5*time.Minute)
	o.PageSize = cmp.Or(o.PageSize, 20)
	if len(o.Regions) == 0 {
		o.Regions = []string{"eu-central", "us-east"}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	s := &Server{opts: o, mux: http.NewServeMux(), links: map[string]*link{}}
	s.SetWatchBase(o.WatchBase)
	for pattern, e := range map[string]struct {
		Endpoint
		answer
	}{
		"GET /usage":                    {Usage, s.usage},
		"GET /list":                     {List, s.list},
		"GET /visitors/{id}":            {Visitor, s.visitor},
		"POST /visitors/{id}/watch_url": {Watch, s.watch},
		"DELETE /visitors/{id}/session": {StopSession, s.stop},
		"DELETE /visitors/{id}":         {DeleteVisitor, s.deleteVisitor},
		"DELETE /visitors":              {DeleteVisitors, s.deleteVisitors},
		"GET /agents/lookup":            {Agent, s.agent},
		"GET /cobrowsing_sessions/list": {Sessions, s.sessionList},
		"POST /onpremise/token":         {OnPremise, s.onPremise},
	} {
		method, path, _ := strings.Cut(pattern, " ")
		s.mux.Handle(method+" /"+o.Version+path, s.api(e.Endpoint, e.answer))
	}
	s.mux.Handle("/", s.api(Unknown, func(*http.Request, []byte) (int, any) { return notFound() }))
	s.mux.HandleFunc("GET /session/{uuid}", s.page)
	s.mux.HandleFunc("POST /session/{uuid}/end", s.pageEnd)
	return s
}

// SetWatchBase changes Options.WatchBase for new links. It exists because the address of an httptest.Server is known
// only after its start.
func (s *Server) SetWatchBase(base string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.watchBase = strings.TrimRight(cmp.Or(base, "https://cobrowsingapi.com"), "/")
}

// SetOverPlan switches on and off that new sessions exceed the plan and are answered with 402.
func (s *Server) SetOverPlan(over bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.overPlan = over
}

// ServeHTTP answers a call of the API or opens a watch link.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) { s.mux.ServeHTTP(w, r) }

// Calls returns all calls of the API, in order.
func (s *Server) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// Requests returns how often each endpoint was called, including calls with a wrong key and failures.
func (s *Server) Requests() map[Endpoint]int {
	s.mu.Lock()
	defer s.mu.Unlock()
	counts := map[Endpoint]int{}
	for _, c := range s.calls {
		counts[c.Endpoint]++
	}
	return counts
}

// answer handles a call with the lock held, and returns a status and content: a page is sent as HTML, other values
// as JSON.
type answer func(r *http.Request, body []byte) (status int, content any)

type page string

func (s *Server) api(e Endpoint, handle answer) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(io.LimitReader(r.Body, 1<<20))
		if err != nil {
			return
		}
		w.Header().Set("Date", s.opts.Now().UTC().Format(http.TimeFormat))
		authorized := s.authorized(r)
		s.mu.Lock()
		s.calls = append(s.calls, Call{
			Endpoint: e, Method: r.Method, RequestURI: r.URL.RequestURI(), Search: r.URL.Query().Get("search"),
			KeyOK: authorized,
		})
		fault := s.fault(e)
		s.mu.Unlock()

		if fault != nil && !fault.replaceCall(w, r) {
			return
		}
		status, content := http.StatusUnauthorized, any(problem("invalid_api_key"))
		if authorized {
			s.mu.Lock()
			status, content = handle(r, body)
			s.mu.Unlock()
		}
		kind, text := render(content)
		if fault != nil {
			text = fault.change(e, text)
			fault.send(w, r, status, kind, text)
			return
		}
		w.Header().Set("Content-Type", kind)
		w.WriteHeader(status)
		_, _ = w.Write(text)
	})
}

func (s *Server) authorized(r *http.Request) bool {
	given := r.Header.Get("X-Api-Key")
	if s.opts.Version >= "v1.4" {
		given, _ = strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	}
	return subtle.ConstantTimeCompare([]byte(given), []byte(s.opts.Key)) == 1
}

func render(content any) (kind string, text []byte) {
	if p, ok := content.(page); ok {
		return "text/html; charset=utf-8", []byte(p)
	}
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(content); err != nil {
		panic(fmt.Sprintf("upscopetest: %v", err))
	}
	return "application/json; charset=utf-8", b.Bytes()
}

type object = map[string]any

// problem is the body of a 401. No other failure has a documented body.
func problem(code string) object { return object{"status": "error", "error": code} }

// The bodies of these failures are not documented.
func notFound() (int, any)   { return http.StatusNotFound, page("<h1>Not Found</h1>\n") }
func badRequest() (int, any) { return http.StatusBadRequest, object{} }

func (s *Server) usage(*http.Request, []byte) (int, any) {
	now := s.opts.Now()
	online, lastDay, live, seconds := 0, 0, 0, 0
	for _, v := range s.visitors {
		if v.IsOnline {
			online++
		}
		if now.Sub(v.LastSeenAt) < 24*time.Hour {
			lastDay++
		}
	}
	for _, c := range s.sessions {
		if c.EndedAt.IsZero() {
			live++
		}
		seconds += c.LengthSeconds
	}
	return http.StatusOK, object{"status": "ok", "usage": object{
		"agents":          object{"last_30_days": len(s.agents), "today": len(s.agents)},
		"session_counts":  object{"last_30_days": len(s.sessions), "now": live, "today": len(s.sessions)},
		"session_seconds": object{"last_30_days": seconds, "today": seconds},
		"visitors":        object{"last_24_hrs": lastDay, "online_now": online},
	}}
}

func (s *Server) agent(r *http.Request, _ []byte) (int, any) {
	q := r.URL.Query()
	email, external := q.Get("email"), q.Get("external_id")
	for _, a := range s.agents {
		if email != "" && strings.EqualFold(a.Email, email) || external != "" && a.ExternalID == external {
			shown := agentJSON(*a)
			all := []any{}
			for _, c := range s.sessions {
				if slices.ContainsFunc(c.Agents, func(b upscope.Agent) bool { return b.ID == a.ID }) {
					all = append(all, s.sessionJSON(c))
				}
			}
			shown["sessions"] = all[max(0, len(all)-10):]
			return http.StatusOK, object{"status": "ok", "agent": shown}
		}
	}
	return notFound()
}

// AddAgent adds a user of the dashboard, who has an e-mail address and an id that begins with u_.
func (s *Server) AddAgent(a upscope.Agent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	a.ID = cmp.Or(a.ID, "u_"+rand.Text()[:8])
	s.agents = append(s.agents, &a)
}

// agentFor returns the agent of the API with the caller's id, and adds it if it is new.
func (s *Server) agentFor(id, name string) *upscope.Agent {
	for _, a := range s.agents {
		if a.ExternalID == id {
			a.Name = cmp.Or(name, a.Name)
			return a
		}
	}
	a := &upscope.Agent{ID: "ea_" + rand.Text()[:8], ExternalID: id, Name: name}
	s.agents = append(s.agents, a)
	return a
}

func (s *Server) onPremise(_ *http.Request, body []byte) (int, any) {
	var in struct {
		VisitorID string `json:"visitor_id"`
		Agent     struct{ ID, Name string }
	}
	if json.Unmarshal(body, &in) != nil || in.VisitorID == "" || in.Agent.ID == "" || in.Agent.Name == "" {
		return badRequest()
	}
	if s.overPlan {
		return http.StatusPaymentRequired, object{}
	}
	s.agentFor(in.Agent.ID, in.Agent.Name)
	return http.StatusOK, object{"authorized": true, "token": "onprem-" + rand.Text()} // no status, as documented
}

// merged returns the metadata of a session: that of the request, and that of the page with visitor_ before each name.
func merged(request, visitor map[string]any) map[string]any {
	all := maps.Clone(request)
	if all == nil {
		all = map[string]any{}
	}
	for name, value := range visitor {
		all["visitor_"+name] = value
	}
	return all
}
