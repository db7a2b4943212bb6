// Package slacktest is a Slack workspace in memory, as an http.Handler: the Web
// API methods that a bridge uses, response_urls, dialogs and Socket Mode, and
// senders that sign what they send as Slack does.
//
// It is written from docs.slack.dev and stricter than Slack: what Slack would
// ignore or merely advise against (an unknown argument, a post that lets Slack
// fetch its links, an update without blocks, blocks over their limits) is reported
// as a violation, which a test makes its failure.
//
// Page shows the workspace in a browser.
package slacktest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A User is somebody whom users.info can be asked about.
type User struct {
	ID          string
	Name        string // of the account
	DisplayName string
	RealName    string
	// Email is told to apps with the scope users:read.email; Confirmed says that it
	// is theirs.
	Email     string
	Confirmed bool
	// Team is the workspace's own if empty.
	Team string
	// Enterprise and Teams are of the user's organisation, if there is one.
	Enterprise string
	Teams      []string

	Guest, UltraGuest, Stranger, Bot, Deleted bool
}

// A Channel is a conversation with members, the app's user among them or not.
type Channel struct {
	ID      string // C…, or G… for old private ones
	Name    string
	Private bool
	Members []string
	// ExtShared and Pending mean that another company is in it, or invited.
	ExtShared, Pending bool
	Archived           bool
}

// A Post is a message that somebody can see.
type Post struct {
	Channel string
	TS      string
	Thread  string
	By      string // user id
	// For is who alone sees an ephemeral message.
	For      string
	Text     string
	Blocks   json.RawMessage // nil if there are none
	Metadata json.RawMessage
	Edited   int
	// Sent are the arguments as they came, the token left out, for golden files.
	Sent map[string]any
}

// A View is a dialog or a Home tab.
type View struct {
	ID, Hash string
	External string
	User     string
	// Body is the view as it was sent.
	Body json.RawMessage
	// Closed is set by CloseViews.
	Closed bool
	// Changed counts updates.
	Changed int
}

// A Request is one that the workspace got.
type Request struct {
	Method string // of the Web API, or "response_url"
	Args   map[string]any
}

// A Workspace is a running Slack. The exported fields are set before its first
// request.
type Workspace struct {
	Team, TeamName string
	Enterprise     string
	// OrgWide installs the app in the whole organisation: payloads then name no
	// workspace.
	OrgWide  bool
	App      string
	AppName  string // what people call it; empty is the name of its user
	BotUser  string // the app's user
	BotID    string
	BotToken string
	AppToken string
	// Secret signs what is sent.
	Secret string
	// Scopes are those of the bot token.
	Scopes []string
	// Skew is how far Slack's clock is ahead of ours.
	Skew time.Duration
	// SocketURL is where Socket Mode connects to, such as ws://127.0.0.1:1234/link.
	SocketURL string

	report func(format string, args ...any)

	mu         sync.Mutex
	users      map[string]*User
	channels   map[string]*Channel
	posts      []*Post
	views      []*View
	homes      map[string]*View
	triggers   map[string]*trigger
	responses  map[string]*response
	faults     map[string][]Fault
	requests   []Request
	violations []string
	serial     int
	sockets    sockets
	changed    chan struct{} // closed at each change that people see
}

// New returns a workspace with an app and nobody else. Violations go to report,
// which is a test's Errorf; nil panics.
func New(report func(format string, args ...any)) *Workspace {
	if report == nil {
		report = func(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
	}
	w := &Workspace{
		Team: "T0ACME", TeamName: "Acme", App: "A0BRIDGE", BotUser: "U0BRIDGE", BotID: "B0BRIDGE",
		Scopes: []string{
			"commands", "chat:write", "users:read", "app_mentions:read", "im:write", "im:history", "channels:read", "groups:read",
		},
		report:    report,
		users:     make(map[string]*User),
		channels:  make(map[string]*Channel),
		homes:     make(map[string]*View),
		triggers:  make(map[string]*trigger),
		responses: make(map[string]*response),
		faults:    make(map[string][]Fault),
		changed:   make(chan struct{}),
	}
	w.AddUser(User{ID: w.BotUser, Name: "cobrowse", Bot: true})
	return w
}

// AddUser adds a user, or replaces the one of the same id.
func (w *Workspace) AddUser(u User) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.users[u.ID] = &u
	w.touch()
}

// AddChannel adds a channel, or replaces the one of the same id.
func (w *Workspace) AddChannel(c Channel) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.channels[c.ID] = &c
	w.touch()
}

// Write is a message of a person.
func (w *Workspace) Write(user, channel, thread, text string) Post {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &Post{Channel: channel, TS: w.stamp(), Thread: thread, By: user, Text: text}
	w.posts = append(w.posts, p)
	w.touch()
	return *p
}

// Insert puts a message there as somebody's own program might write it.
func (w *Workspace) Insert(p Post) {
	w.mu.Lock()
	defer w.mu.Unlock()
	p.TS = w.stamp()
	w.posts = append(w.posts, &p)
	w.touch()
}

// Delete removes a post.
func (w *Workspace) Delete(channel, ts string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.posts = slices.DeleteFunc(w.posts, func(p *Post) bool { return p.Channel == channel && p.TS == ts })
	w.touch()
}

// Channel are the app's posts that everybody in a channel sees.
func (w *Workspace) Channel(id string) []Post {
	return w.list(func(p *Post) bool { return p.For == "" && p.Channel == id })
}

// Direct are the app's direct messages to a user.
func (w *Workspace) Direct(user string) []Post { return w.Channel(direct(user)) }

// Ephemeral are what only that user sees.
func (w *Workspace) Ephemeral(user string) []Post {
	return w.list(func(p *Post) bool { return p.For == user })
}

func (w *Workspace) list(wanted func(*Post) bool) (all []Post) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, p := range w.posts {
		if p.By == w.BotUser && wanted(p) {
			all = append(all, *p)
		}
	}
	return all
}

// Views are the dialogs that were opened, in order.
func (w *Workspace) Views() (all []View) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range w.views {
		all = append(all, *v)
	}
	return all
}

// CloseViews is everybody closing their dialogs.
func (w *Workspace) CloseViews() { w.closeViews(func(*View) bool { return true }) }

func (w *Workspace) closeViews(which func(*View) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range w.views {
		v.Closed = v.Closed || which(v)
	}
	w.touch()
}

// touch says that something changed.
func (w *Workspace) touch() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// Home is a user's Home tab.
func (w *Workspace) Home(user string) (v View, published bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if v := w.homes[user]; v != nil {
		return *v, true
	}
	return View{}, false
}

// Requests are all that came so far.
func (w *Workspace) Requests() []Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.requests)
}

// Violations are all that was reported.
func (w *Workspace) Violations() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.violations)
}

func (w *Workspace) violate(format string, args ...any) {
	w.violations = append(w.violations, fmt.Sprintf(format, args...))
	w.report("Slack: "+format, args...)
}

// stamp is a fresh time stamp. Two in one second differ.
func (w *Workspace) stamp() string {
	w.serial++
	return fmt.Sprintf("%d.%06d", time.Now().Unix(), w.serial)
}

// id is a fresh one.
func (w *Workspace) id(prefix string) string {
	w.serial++
	return fmt.Sprintf("%s%06d", prefix, w.serial)
}

// direct is the channel of the app's direct message with a user.
func direct(user string) string { return "D" + user }

// A Fault is what happens to a request in place of, or after, what should.
type Fault struct {
	// Error is a code of Slack's, answered with 200.
	Error string
	// Status, Body and Header are answered; a zero Status answers nothing of
	// the kind.
	Status int
	Body   string
	Header http.Header
	// Delay passes before anything else.
	Delay time.Duration
	// Hang waits until the caller gives up.
	Hang bool
	// Done carries the request out first, so that only the answer is lost.
	Done bool
	// Cut breaks the connection in the middle of the answer.
	Cut bool
}

// Fail lets the next calls of a method ("chat.postMessage", or "response_url")
// fail, as many as times says.
func (w *Workspace) Fail(method string, f Fault, times int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for range times {
		w.faults[method] = append(w.faults[method], f)
	}
}
