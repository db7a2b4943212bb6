package demo

import (
	"crypto/rand"
	"log/slog"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"cobrowse-bridge/bridge/chat"
)

// Options are the options of a HelpDesk.
type Options struct {
	// URL is the address of the help desk. Its page is at URL/, its API below URL/api.
	URL *url.URL
	// Hook is the bridge's address for deliveries; with "" none are sent.
	Hook string
	// Visitors is Upscope as the customer's browser uses it; nil means without visitors.
	Visitors Visitors
	// PageScript is the script of a connector for pages. The help desk serves a shop at
	// URL/shop that runs it; nil means no shop.
	PageScript []byte
	// Slack and Chatvisor are the addresses of the stand-ins for these services, to which
	// the page has links; empty means no link.
	Slack, Chatvisor string
	// Log receives messages about deliveries that failed; nil discards them.
	Log *slog.Logger
}

// A HelpDesk is a chat service in memory with two agents, and a page on which one person plays
// the customer and both agents. It is an http.Handler for all paths below Options.URL. It may
// be used from many goroutines.
type HelpDesk struct {
	opts   Options
	path   string // of Options.URL, without a trailing slash
	secret string
	token  string
	mux    *http.ServeMux
	outbox chan event
	done   chan struct{} // closed when Run ends

	mu      sync.Mutex
	agents  []*agent
	chats   []*conversation // in the order they began
	shop    shop
	events  int
	version int           // number of visible changes so far
	changed chan struct{} // closed and replaced after each change
}

// An agent has a private inbox, which visitors cannot see.
type agent struct {
	ID    string     `json:"id"`
	Name  string     `json:"name"`
	Email string     `json:"-"`     // confirmed; empty for none
	Inbox []*posting `json:"inbox"` // oldest first
}

// A posting is a message from the bridge to one agent.
type posting struct {
	ID string `json:"id"`
	message
	Edited bool `json:"edited"`
}

// A conversation is between the visitor and an agent. Both can read it.
type conversation struct {
	ID       string   `json:"id"`
	Open     bool     `json:"open"`
	Agent    *agent   `json:"-"`
	Visitor  string   `json:"visitor"`
	Messages []remark `json:"messages"`
	key      string
}

// A remark is one message of a conversation.
type remark struct {
	By   string `json:"by"`
	Text string `json:"text"`
	Mine bool   `json:"mine"` // from the visitor
}

// RobinsEmail is Robin's e-mail address at the help desk. Sam has none.
const RobinsEmail = "robin@lampandleaf.example"

// NewHelpDesk returns a help desk without chats, whose customer is at the shop's checkout. Call
// Run to send its deliveries.
func NewHelpDesk(o Options) *HelpDesk {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Visitors == nil {
		o.Visitors = nobody{}
	}
	d := &HelpDesk{
		opts:    o,
		path:    strings.TrimRight("/"+strings.Trim(o.URL.Path, "/"), "/"),
		secret:  rand.Text(),
		token:   rand.Text(),
		outbox:  make(chan event, 256),
		done:    make(chan struct{}),
		agents:  []*agent{{ID: "robin", Name: "Robin", Email: RobinsEmail}, {ID: "sam", Name: "Sam"}},
		changed: make(chan struct{}),
	}
	d.shop.openCheckout(o.Visitors)
	d.mux = d.routes()
	return d
}

// Connector returns a connector for this help desk. A nil transport means rest.NewTransport().
func (d *HelpDesk) Connector(name string, transport http.RoundTripper) (chat.Connector, error) {
	return New(Config{Name: name, URL: d.opts.URL.JoinPath("api"), Secret: d.secret, Token: d.token, Transport: transport})
}

// Secrets returns the signing secret and the token, which must not appear in a log.
func (d *HelpDesk) Secrets() []string { return []string{d.secret, d.token} }

// ServeHTTP serves the page and the API below the path of Options.URL.
func (d *HelpDesk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	http.StripPrefix(d.path, d.mux).ServeHTTP(w, r)
}

// Refresh updates open pages after a change in Visitors.
func (d *HelpDesk) Refresh() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.touch()
}

// touch updates open pages. The caller of it, and of all functions below, holds the lock.
func (d *HelpDesk) touch() {
	d.version++
	close(d.changed)
	d.changed = make(chan struct{})
}

func (d *HelpDesk) chat(id string) *conversation {
	i := slices.IndexFunc(d.chats, func(c *conversation) bool { return c.ID == id })
	if i < 0 {
		return nil
	}
	return d.chats[i]
}

func (d *HelpDesk) agent(id string) *agent {
	i := slices.IndexFunc(d.agents, func(a *agent) bool { return a.ID == id })
	if i < 0 {
		return nil
	}
	return d.agents[i]
}

// begin opens a chat and assigns it to the first agent.
func (d *HelpDesk) begin(visitor, key string) *conversation {
	c := &conversation{
		ID: "c" + strconv.Itoa(len(d.chats)+1), Open: true, Agent: d.agents[0], Visitor: visitor, key: key,
		Messages: []remark{
			{By: visitor, Text: "Hi! The checkout doesn’t take my postcode.", Mine: true},
			{By: d.agents[0].Name, Text: "Let me have a look at that with you."},
		},
	}
	d.chats = append(d.chats, c)
	d.tell(typeAssigned, c)
	return c
}

func (d *HelpDesk) say(c *conversation, text string) {
	c.Messages = append(c.Messages, remark{By: c.Visitor, Text: text, Mine: true})
	d.tell("chat.message", c)
}

func (d *HelpDesk) handOver(c *conversation, to *agent) {
	if c.Open && c.Agent != to {
		c.Agent = to
		c.Messages = append(c.Messages, remark{By: to.Name, Text: "Hello, this is " + to.Name + ". I take over from here."})
		d.tell(typeAssigned, c)
	}
}

func (d *HelpDesk) close(c *conversation) {
	if c.Open {
		c.Open = false
		d.tell(typeClosed, c)
	}
}

// post adds a message to an agent's inbox, or edits the message with the same id or, if id is
// empty, the same key. It returns nil if there is no message with the id.
func (a *agent) post(id string, m message) *posting {
	for _, old := range a.Inbox {
		if id != "" && old.ID == id || id == "" && old.Key == m.Key {
			old.message, old.Edited = m, true
			return old
		}
	}
	if id != "" {
		return nil
	}
	fresh := &posting{ID: "m" + strconv.Itoa(len(a.Inbox)+1), message: m}
	a.Inbox = append(a.Inbox, fresh)
	return fresh
}

// tell adds an event to the outbox.
func (d *HelpDesk) tell(kind string, c *conversation) {
	d.events++
	select {
	case d.outbox <- event{ID: "e" + strconv.Itoa(d.events), Type: kind, Chat: c.ID, Agent: c.Agent.ID}:
	default:
		d.opts.Log.Warn("delivery dropped: the outbox is full", "delivery", d.events)
	}
}

// The limits of a delivery: the time for an answer, the number of attempts, and the pause after
// the first attempt. Each further pause is twice as long.
const (
	deliveryTimeout = 5 * time.Second
	deliveryTries   = 6
	deliveryWait    = 250 * time.Millisecond
)
