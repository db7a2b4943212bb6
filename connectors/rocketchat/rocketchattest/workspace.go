// Package rocketchattest is a Rocket.Chat workspace in memory, as an http.Handler. It has
// users with roles, livechat rooms with visitors, direct messages, channels, and the REST
// routes that the bridge uses, with the permissions and error bodies of several versions.
// Open this file first.
//
// It follows the public source of Rocket.Chat (apps/meteor, version 7.0, and the changes in
// the release notes of 7.8 to 9.0). It reports every request that could write to a livechat
// room, since the visitor could read it.
package rocketchattest

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// A User is an account. Roles are the built-in ones: admin, user, bot, livechat-agent,
// livechat-monitor, livechat-manager.
type User struct {
	ID       string
	Username string
	Name     string
	Email    string
	// Unconfirmed says that Email is not verified.
	Unconfirmed bool
	Token       string
	Roles       []string
	// Permissions are added to those of Roles, as by a custom role.
	Permissions []string
	// Type is "user", "bot" or "app"; empty means "user".
	Type     string
	Inactive bool
}

// A Visitor is a customer who uses the livechat widget.
type Visitor struct {
	ID       string
	Username string
	Name     string
	// Token is the visitor's own secret.
	Token  string
	Email  string
	Fields map[string]string
	Gone   bool // merged or disabled: the API does not find the visitor
}

// A Message is a message in a room.
type Message struct {
	ID     string
	Room   string
	By     string // user id, or visitor id
	Text   string
	Sent   time.Time
	Edited int // number of edits
	// Previewed says that the server was allowed to open the links in Text.
	Previewed bool
}

// A Post is a message as its reader sees it.
type Post struct {
	ID     string
	Text   string
	Edited int
}

// A Room is a livechat room (type l), a Voip room (v), a direct message (d), a public channel
// (c) or a private channel (p).
type Room struct {
	ID        string
	Type      string
	Name      string // of a channel
	Parent    string // id of the room that a discussion belongs to
	ReadOnly  bool
	Archived  bool
	Encrypted bool // end to end
	Federated bool // with members of other servers
	Open      bool
	OnHold    bool
	Visitor   string // visitor id
	Unit      string // business unit of a livechat room
	ServedBy  string // user id
	TakenAt   time.Time
	OldServed string
	OldTaken  time.Time
	Created   time.Time
	Closed    time.Time
	Members   []string // user names; empty for a livechat room
	Owners    []string // user names of members who own the channel
	Unmuted   []string // user names of members who may write although it is read-only
	CRMData   string   // the text of the last answer to a webhook
}

// A Request is a request to the workspace.
type Request struct {
	Method string `json:"method"`
	Path   string `json:"path"` // without the prefix
	Query  string `json:"query,omitzero"`
	Body   string `json:"body,omitzero"`
	User   string `json:"user,omitzero"` // the header X-User-Id
}

// A Workspace is a Rocket.Chat server. Set the exported fields before the first request.
type Workspace struct {
	// Version decides the form of errors; New sets "8.8".
	Version string
	// Prefix is the path of the workspace, such as "/chat".
	Prefix string
	// Secret is sent with each webhook.
	Secret string
	// SingularVisitorRoute replaces livechat/visitors.info with livechat/visitor.info, which
	// one page of the vendor documents.
	SingularVisitorRoute bool
	// Command is the outgoing integration.
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
	daysLeft   int                 // until the workspace is read-only
	units      map[string][]string // business unit to the user names of its monitors
	serial     int
	now        func() time.Time
}

// New returns an empty workspace. It calls report, such as a test's Errorf, for each
// violation; if report is nil, a violation panics.
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
		daysLeft: 10,
		now:      time.Now,
	}
}

// AddUser adds a user, or replaces the user with the same id.
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

// SetDaysLeft sets in how many days the workspace becomes read-only, because it has no contact
// with Rocket.Chat's cloud: ten after a contact. With zero it refuses every message.
func (w *Workspace) SetDaysLeft(days int) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.daysLeft = days
}

// AddUnit makes a business unit with these monitors. Rooms belong to it by their Unit.
func (w *Workspace) AddUnit(name string, monitors ...string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.units == nil {
		w.units = make(map[string][]string)
	}
	w.units[name] = monitors
}

// Posts returns the direct messages that other users sent to a user.
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

// PostsIn returns the messages of a room.
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

// VisitorReads returns all texts that the visitor of a chat can fetch: its messages, and the
// stored answer to a webhook.
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

// Previewed returns the messages whose links the server was allowed to open.
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

// Requests returns all requests so far.
func (w *Workspace) Requests() []Request {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.requests)
}

// Violations returns a description of each request that could write to a livechat room.
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

// permissions has the built-in roles that have each permission
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
	"manage-livechat-units":     {"admin", "livechat-manager"},
}

func (u *User) may(permission string) bool {
	return slices.Contains(u.Permissions, permission) || slices.ContainsFunc(permissions[permission], func(role string) bool { return slices.Contains(u.Roles, role) })
}

func (w *Workspace) violate(format string, args ...any) {
	v := fmt.Sprintf(format, args...)
	w.violations = append(w.violations, v)
	w.report("rocketchattest: %s", v)
}

// before9 reports whether errors have the statuses of versions before 9.0.
func (w *Workspace) before9() bool { return !strings.HasPrefix(w.Version, "9") }

var _ http.Handler = (*Workspace)(nil)
