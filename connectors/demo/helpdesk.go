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

	"cobrowse-bridge/bridge"
)

// Options shape a HelpDesk.
type Options struct {
	// URL is where the help desk is reached: its page at URL/, its API below
	// URL/api.
	URL *url.URL
	// Hook is the bridge's address for deliveries; empty sends none.
	Hook string
	// Visitors is Upscope as the customer's browser reaches it; nil is nobody.
	Visitors Visitors
	// PageScript is the script that a connector has for pages. The help desk
	// serves a shop at URL/shop that runs it; nil serves none.
	PageScript []byte
	// Slack and Chatvisor are the addresses of stand-ins for those, to which the page
	// leads; empty has none.
	Slack, Chatvisor string
	// Log is told of deliveries that nobody took; nil drops it.
	Log *slog.Logger
}

// A HelpDesk is a chat service in memory with two agents, and a page on which
// one person plays the customer and both agents. It is an http.Handler for
// everything below Options.URL, and safe for use by many goroutines.
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
	version int           // counts all that people could see change
	changed chan struct{} // closed and replaced with each version
}

// An agent has a private inbox, which visitors cannot see.
type agent struct {
	ID    string     `json:"id"`
	Name  string     `json:"name"`
	Email string     `json:"-"`     // confirmed; empty for none
	Inbox []*posting `json:"inbox"` // in the order they came
}

// A posting is a message from the bridge to one agent.
type posting struct {
	ID string `json:"id"`
	message
	Edited bool `json:"edited"`
}

// A conversation is between the visitor and whoever serves it. Both read it.
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

// RobinsEmail is the address that the help desk knows of Robin. It knows none of
// Sam.
const RobinsEmail = "robin@lampandleaf.example"

// NewHelpDesk returns a help desk without chats, with a customer who looks at
// the shop's checkout. Run sends its deliveries.
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
	d.shop.enter(o.Visitors)
	d.mux = d.routes()
	return d
}

// Connector returns the connector for this help desk, as an operator would set
// it up. A nil transport means rest.NewTransport().
func (d *HelpDesk) Connector(name string, transport http.RoundTripper) (bridge.Connector, error) {
	return New(Config{Name: name, URL: d.opts.URL.JoinPath("api"), Secret: d.secret, Token: d.token, Transport: transport})
}

// Secrets are what must not be found in a log: the signing secret and the token.
func (d *HelpDesk) Secrets() []string { return []string{d.secret, d.token} }

// ServeHTTP serves the page and the API, below Options.URL's path.
func (d *HelpDesk) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	http.StripPrefix(d.path, d.mux).ServeHTTP(w, r)
}

// Refresh says that what Visitors tells has changed.
func (d *HelpDesk) Refresh() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.touch()
}

// touch tells everybody who looks that there is something new. The lock is held,
// here and in all that follows.
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

// begin opens a chat and gives it to the first agent.
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

// post puts a message into an agent's inbox, or the new words into the one that
// is there under the same id or key. It returns nil where there is none to edit.
func (a *agent) post(id string, m message) *posting {
	for _, known := range a.Inbox {
		if id != "" && known.ID == id || id == "" && known.Key == m.Key {
			known.message, known.Edited = m, true
			return known
		}
	}
	if id != "" {
		return nil
	}
	fresh := &posting{ID: "m" + strconv.Itoa(len(a.Inbox)+1), message: m}
	a.Inbox = append(a.Inbox, fresh)
	return fresh
}

// tell puts an event into the outbox.
func (d *HelpDesk) tell(kind string, c *conversation) {
	d.events++
	select {
	case d.outbox <- event{ID: "e" + strconv.Itoa(d.events), Type: kind, Chat: c.ID, Agent: c.Agent.ID}:
	default:
		d.opts.Log.Warn("a delivery was dropped: too many wait", "delivery", d.events)
	}
}

// Times of a delivery: how long the bridge may take, how often it is tried, and
// the first wait, which doubles.
const (
	deliveryTimeout = 5 * time.Second
	deliveryTries   = 6
	deliveryWait    = 250 * time.Millisecond
)
