// Package rocketchattest is a Rocket.Chat workspace in memory, as an
// http.Handler: users with roles, livechat rooms with visitors, direct messages,
// channels, and the REST routes a bridge uses with the permission rules and
// error shapes of several versions.
//
// It is written from the public source of Rocket.Chat (apps/meteor, version 7.0,
// and what the release notes of 7.8 to 9.0 changed) and reports loudly when a
// request aims at a livechat room, since whatever is written there the visitor
// reads.
package rocketchattest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// A User is somebody with an account. Roles are the built-in ones: admin, user,
// bot, livechat-agent, livechat-monitor, livechat-manager.
type User struct {
	ID       string
	Username string
	Name     string
	Email    string
	// Unconfirmed says that nobody has shown the address to be theirs.
	Unconfirmed bool
	Token       string
	Roles       []string
	// Permissions come on top of those of the roles, as a custom role gives them.
	Permissions []string
	// Type is "user" if empty; there are "bot" and "app" too.
	Type     string
	Inactive bool
}

// A Visitor is somebody at a web page.
type Visitor struct {
	ID       string
	Username string
	Name     string
	// Token is the visitor's own credential, which nobody else should hold.
	Token  string
	Email  string
	Fields map[string]string
	Gone   bool // merged or disabled: not found any more
}

// A Message is what a room holds.
type Message struct {
	ID     string
	Room   string
	By     string // user id, or visitor id
	Text   string
	Sent   time.Time
	Edited int // how often
	// Previewed is set when the server was left free to open the links in it.
	Previewed bool
}

// A Post is a message as its reader sees it.
type Post struct {
	ID     string
	Text   string
	Edited int
}

// A Room is a livechat room (type l), one of Voip (v), a direct message (d), or a
// channel, public (c) or private (p).
type Room struct {
	ID        string
	Type      string
	Name      string // of a channel
	Parent    string // id of the room that a discussion belongs to
	ReadOnly  bool
	Archived  bool
	Encrypted bool // end to end
	Federated bool // with people of other servers in it
	Open      bool
	OnHold    bool
	Visitor   string // visitor id
	ServedBy  string // user id
	TakenAt   time.Time
	OldServed string
	OldTaken  time.Time
	Created   time.Time
	Closed    time.Time
	Members   []string // user names, unless it is a livechat room
	Owners    []string // those of them who own a channel
	Unmuted   []string // those of them who may write in a channel that is read-only
	CRMData   string   // the text of a webhook's answer
}

// A Request is one that the workspace got.
type Request struct {
	Method string `json:"method"`
	Path   string `json:"path"` // without the prefix
	Query  string `json:"query,omitzero"`
	Body   string `json:"body,omitzero"`
	User   string `json:"user,omitzero"` // user id as claimed
}

// A Workspace is a running Rocket.Chat. The exported fields are set before its
// first request.
type Workspace struct {
	// Version decides the shapes of refusals; New sets "8.8".
	Version string
	// Prefix is the path below which the workspace lives, such as "/chat".
	Prefix string
	// Secret goes with each webhook.
	Secret string
	// SingularVisitorRoute gives livechat/visitor.info in place of
	// livechat/visitors.info, as one page of the vendor has it.
	SingularVisitorRoute bool
	// Command is the outgoing integration for messages, if it has a token.
	Command Integration

	report func(format string, args ...any)

	mu         sync.Mutex
	users      map[string]*User // by id
	visitors   map[string]*Visitor
	rooms      map[string]*Room
	messages   []*Message
	fields     map[string]string // custom field to scope
	settings   map[string]any    // by id, of the Omnichannel webhook
	requests   []Request
	violations []string
	faults     map[string][]Fault
	calls      map[string]*window // of limited users, by route
	noEdits    bool
	serial     int
	now        func() time.Time
}

// New returns an empty workspace. Violations go to report, which is a test's
// Errorf; nil panics.
func New(report func(format string, args ...any)) *Workspace {
	if report == nil {
		report = func(format string, args ...any) { panic(fmt.Sprintf(format, args...)) }
	}
	return &Workspace{
		Version:  "8.8",
		report:   report,
		users:    make(map[string]*User),
		visitors: make(map[string]*Visitor),
		rooms:    make(map[string]*Room),
		fields:   make(map[string]string),
		faults:   make(map[string][]Fault),
		calls:    make(map[string]*window),
		settings: map[string]any{
			"Livechat_webhookUrl":                 "https://bridge.example.org/hooks/rocketchat",
			"Livechat_webhook_on_start":           true,
			"Livechat_webhook_on_close":           true,
			"Livechat_webhook_on_chat_taken":      true,
			"Livechat_webhook_on_chat_queued":     true,
			"Livechat_webhook_on_forward":         true,
			"Livechat_webhook_on_offline_msg":     false,
			"Livechat_webhook_on_visitor_message": true,
			"Livechat_webhook_on_agent_message":   false,
		},
		now: time.Now,
	}
}

// AddUser adds a user, or replaces the one of the same id.
func (w *Workspace) AddUser(u User) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.users[u.ID] = &u
}

// AddField makes a custom field; scope is "visitor" or "room".
func (w *Workspace) AddField(name, scope string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.fields[name] = scope
}

// Set changes a setting of the Omnichannel webhook by its id, such as
// "Livechat_webhookUrl"; nil removes it. The secret is the workspace's Secret
// unless "Livechat_secret_token" is set.
func (w *Workspace) Set(id string, value any) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.settings[id] = value
	if value == nil {
		delete(w.settings, id)
	}
}

// RefuseEdits switches editing of messages off (Message_AllowEditing).
func (w *Workspace) RefuseEdits(refuse bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.noEdits = refuse
}

// Posts are the messages that a user got directly from somebody else.
func (w *Workspace) Posts(username string) []Post {
	w.mu.Lock()
	defer w.mu.Unlock()
	var posts []Post
	for _, m := range w.messages {
		r := w.rooms[m.Room]
		if r != nil && r.Type == "d" && slices.Contains(r.Members, username) && w.users[m.By].Username != username {
			posts = append(posts, Post{ID: m.ID, Text: m.Text, Edited: m.Edited})
		}
	}
	return posts
}

// PostsIn are the messages of a room.
func (w *Workspace) PostsIn(room string) []Post {
	w.mu.Lock()
	defer w.mu.Unlock()
	var posts []Post
	for _, m := range w.messages {
		if m.Room == room {
			posts = append(posts, Post{ID: m.ID, Text: m.Text, Edited: m.Edited})
		}
	}
	return posts
}

// DeletePost removes a message.
func (w *Workspace) DeletePost(id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.messages = slices.DeleteFunc(w.messages, func(m *Message) bool { return m.ID == id })
}

// VisitorReads is everything that the visitor of a chat can fetch: its messages,
// and what webhooks were answered.
func (w *Workspace) VisitorReads(room string) []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, m := range w.messages {
		if m.Room == room {
			all = append(all, m.Text)
		}
	}
	if crm := w.chat(room).CRMData; crm != "" {
		all = append(all, crm)
	}
	return all
}

// Previewed are the texts whose links the server was left free to open.
func (w *Workspace) Previewed() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	var all []string
	for _, m := range w.messages {
		if m.Previewed {
			all = append(all, m.Text)
		}
	}
	return all
}

// Requests are all requests so far.
func (w *Workspace) Requests() []Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.requests)
}

// Violations are the requests that aimed at a livechat room, in words.
func (w *Workspace) Violations() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.violations)
}

func (w *Workspace) id(kind string) string {
	w.serial++
	return fmt.Sprintf("%s%014d", kind, w.serial)
}

func (w *Workspace) chat(room string) *Room {
	r := w.rooms[room]
	if r == nil || r.Type != "l" {
		panic("rocketchattest: no such chat: " + room)
	}
	return r
}

func (w *Workspace) named(username string) *User {
	for _, u := range w.users {
		if u.Username == username {
			return u
		}
	}
	panic("rocketchattest: no such user: " + username)
}

func (w *Workspace) lookup(username string) *User {
	for _, u := range w.users {
		if u.Username == username {
			return u
		}
	}
	return nil
}

// permissions of the built-in roles, as far as they matter here
// (app/authorization/server/constant/permissions.ts).
var permissions = map[string][]string{
	"create-d":                  {"admin", "user", "bot", "app"},
	"view-d-room":               {"admin", "user", "bot", "app"},
	"view-c-room":               {"admin", "user", "bot", "app"},
	"view-l-room":               {"admin", "livechat-manager", "livechat-monitor", "livechat-agent"},
	"view-livechat-rooms":       {"admin", "livechat-manager", "livechat-monitor"},
	"view-livechat-manager":     {"admin", "livechat-manager", "livechat-monitor"},
	"api-bypass-rate-limit":     {"admin", "bot", "app"},
	"view-full-other-user-info": {"admin"},
}

func (u *User) may(permission string) bool {
	return slices.Contains(u.Permissions, permission) || slices.ContainsFunc(permissions[permission], func(role string) bool { return slices.Contains(u.Roles, role) })
}

func (w *Workspace) violate(format string, args ...any) {
	v := fmt.Sprintf(format, args...)
	w.violations = append(w.violations, v)
	w.report("rocketchattest: %s", v)
}

// before9 reports whether refusals have their old statuses.
func (w *Workspace) before9() bool { return !strings.HasPrefix(w.Version, "9") }

var _ http.Handler = (*Workspace)(nil)
