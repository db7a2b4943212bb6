// Package slacktest is a Slack workspace in memory, as an http.Handler. It has the Web API
// methods that the bridge uses, response_urls, dialogs and Socket Mode, and it makes signed
// requests as Slack does. Open this file first; Page shows the workspace in a browser.
//
// It follows docs.slack.dev, and is stricter than Slack. It reports a violation for what Slack
// ignores or only advises against: an unknown argument, a post that lets Slack fetch its
// links, an update without blocks, blocks over their limits.
package slacktest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"
)

// A User is a user whom users.info knows.
type User struct {
	ID          string
	Name        string // of the account
	DisplayName string
	RealName    string
	// Email is sent to apps with the scope users:read.email. Confirmed says that Slack has
	// confirmed it.
	Email     string
	Confirmed bool
	// Team is the user's workspace; empty means this one.
	Team string
	// Enterprise and Teams are the user's organisation and their workspaces in it.
	Enterprise string
	Teams      []string

	Guest, UltraGuest, Stranger, Bot, Deleted bool
}

// A Channel is a conversation with members, with or without the app's user.
type Channel struct {
	ID      string // C…, or G… for old private ones
	Name    string
	Private bool
	Members []string
	// ExtShared and Pending mean that another company is in the channel, or is invited.
	ExtShared, Pending bool
	Archived           bool
}

// A Post is a message.
type Post struct {
	Channel string
	TS      string
	Thread  string
	By      string // user id
	// For is the only user who sees an ephemeral message; empty for other messages.
	For      string
	Text     string
	Blocks   json.RawMessage // nil if there are none
	Metadata json.RawMessage
	Edited   int
	// Sent has the arguments of the call without the token, for golden files.
	Sent map[string]any
}

// A View is a dialog or a Home tab.
type View struct {
	ID, Hash string
	External string
	User     string
	// Body is the view as the app sent it.
	Body json.RawMessage
	// Closed says that the user has closed the dialog.
	Closed bool
	// Changed is the number of updates.
	Changed int
}

// A Request is a request to the workspace.
type Request struct {
	Method string // of the Web API, or "response_url"
	Args   map[string]any
}

// A Workspace is a Slack workspace. Set the exported fields before the first request.
type Workspace struct {
	Team, TeamName string
	Enterprise     string
	// OrgWide says that the app is installed in the whole organisation. Payloads then name
	// no workspace.
	OrgWide  bool
	App      string
	AppName  string // the app's shown name; empty means the name of its user
	BotUser  string // the app's user
	BotID    string
	BotToken string
	AppToken string
	// Secret is the signing secret.
	Secret string
	// Scopes are the scopes of the bot token.
	Scopes []string
	// Skew is how far Slack's clock is ahead of ours.
	Skew time.Duration
	// SocketURL is the address for Socket Mode, such as ws://127.0.0.1:1234/link.
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

// New returns a workspace whose only user is the app. It calls report, such as a test's
// Errorf, for each violation; if report is nil, a violation panics.
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

// AddUser adds a user, or replaces the user with the same id.
func (w *Workspace) AddUser(u User) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.users[u.ID] = &u
	w.touch()
}

// Set calls change, which may set exported fields while the workspace serves.
func (w *Workspace) Set(change func(*Workspace)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w)
}

// AddChannel adds a channel, or replaces the channel with the same id.
func (w *Workspace) AddChannel(c Channel) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.channels[c.ID] = &c
	w.touch()
}

// Write posts a message as a user. thread is empty outside threads.
func (w *Workspace) Write(user, channel, thread, text string) Post {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := &Post{Channel: channel, TS: w.stamp(), Thread: thread, By: user, Text: text}
	w.posts = append(w.posts, p)
	w.touch()
	return *p
}

// Insert posts a message with any content, as another app could.
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

// Channel returns the app's posts in a channel, without ephemeral messages.
func (w *Workspace) Channel(id string) []Post {
	return w.list(func(p *Post) bool { return p.For == "" && p.Channel == id })
}

// Direct returns the app's direct messages to a user.
func (w *Workspace) Direct(user string) []Post { return w.Channel(direct(user)) }

// Ephemeral returns the app's ephemeral messages to a user.
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

// Views returns all dialogs that were opened, in order, also closed ones.
func (w *Workspace) Views() (all []View) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range w.views {
		all = append(all, *v)
	}
	return all
}

// CloseViews closes all dialogs, as their users could.
func (w *Workspace) CloseViews() { w.closeViews(func(*View) bool { return true }) }

func (w *Workspace) closeViews(which func(*View) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, v := range w.views {
		v.Closed = v.Closed || which(v)
	}
	w.touch()
}

// touch wakes the streams of changes.
func (w *Workspace) touch() {
	close(w.changed)
	w.changed = make(chan struct{})
}

// Home returns a user's Home tab, and whether the app has published one.
func (w *Workspace) Home(user string) (v View, published bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if v := w.homes[user]; v != nil {
		return *v, true
	}
	return View{}, false
}

// Requests returns all requests so far.
func (w *Workspace) Requests() []Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.requests)
}

// Violations returns all reported violations.
func (w *Workspace) Violations() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.violations)
}

func (w *Workspace) violate(format string, args ...any) {
	w.violations = append(w.violations, fmt.Sprintf(format, args...))
	w.report("Slack: "+format, args...)
}

// stamp returns a new time stamp. Two of the same second differ.
func (w *Workspace) stamp() string {
	w.serial++
	return fmt.Sprintf("%d.%06d", time.Now().Unix(), w.serial)
}

// id returns a new id.
func (w *Workspace) id(prefix string) string {
	w.serial++
	return fmt.Sprintf("%s%06d", prefix, w.serial)
}

// direct returns the id of the app's direct message channel with a user.
func direct(user string) string { return "D" + user }

// A Fault says how a request fails.
type Fault struct {
	// Error is one of Slack's error codes, sent with status 200.
	Error string
	// Status, Body and Header are the answer. With a zero Status the workspace answers as
	// without a Fault.
	Status int
	Body   string
	Header http.Header
	// Delay is the time before the request is handled.
	Delay time.Duration
	// Hang sends no answer until the caller gives up.
	Hang bool
	// Done handles the request first, so that only the answer is lost.
	Done bool
	// Cut breaks the connection in the middle of the answer.
	Cut bool
}

// Fail makes the next calls of a method, such as "chat.postMessage" or "response_url", fail.
// times is how many of them.
func (w *Workspace) Fail(method string, f Fault, times int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for range times {
		w.faults[method] = append(w.faults[method], f)
	}
}
