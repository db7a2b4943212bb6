package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// A chatService is the part of Rocket.Chat that the bridge uses, in memory. The workspace of package
// rocketchattest checks every request for what a visitor could read, which takes longer the more
// rooms and messages there are. This one checks nothing and answers everything but lists of
// chats in constant time, so that it does not limit what is measured.
type chatService struct {
	delay  time.Duration // before each answer
	agents int           // numbered from 1

	mu        sync.Mutex
	rooms     map[string]*room
	open      []*room // oldest first
	next      int     // where in open the next webhook is about
	nextPress int     // where in open the next press is; the agents press in turn, because each has a limit
	made      int
	calls     int
	unknown   map[string]int  // requests that this service does not answer, by method and path
	awaited   int             // chats that were taken and whose card was not shown yet
	shown     []time.Duration // from the webhook to the first card of a chat, since the last resetTimes
}

// A room is a livechat. Without the lock of its chatService only the fields before agent may be read,
// which never change.
type room struct {
	id, name, key, visitor string
	number                 int
	created                time.Time

	agent, before int       // number of the agent who serves it, and of the one before; 0: none
	taken         time.Time // when agent took it
	closed        time.Time
	messages      int
	sent          time.Time   // when the webhook was sent that says who took it; zero before
	posts         map[int]int // new messages about this chat, by agent
	handle        string      // of the address in the newest card
	busy          bool        // reserved for a press, or in a co-browse session
	pressed       bool        // an agent has pressed its card
}

func newChatService(agents int, delay time.Duration) *chatService {
	return &chatService{delay: delay, agents: agents, rooms: map[string]*room{}, unknown: map[string]int{}}
}

// The settings of the bridge for this chat service.
const (
	origin        = "https://bridge.example.org"
	webhookSecret = "value-of-the-webhook-secret"
	readerID      = "readerId"
	posterID      = "posterId"
	posterName    = "cobrowse"
)

type object = map[string]any

// start begins a chat that nobody serves.
func (c *chatService) start() *room {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.made++
	n := c.made
	r := &room{
		id: fmt.Sprintf("room%012d", n), name: fmt.Sprintf("Guest G%07d", n), key: fmt.Sprintf("key-of-the-page-%07d", n),
		visitor: fmt.Sprintf("visitor%07d", n), number: n, created: time.Now(), posts: map[int]int{},
	}
	c.rooms[r.id] = r
	c.open = append(c.open, r)
	return r
}

// take gives a new chat to its first agent. Its card is awaited from now on.
func (c *chatService) take(r *room) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.give(r)
	r.sent = r.taken
	c.awaited++
}

// give gives a chat to the next agent. The caller holds the lock.
func (c *chatService) give(r *room) {
	r.before, r.agent, r.taken, r.handle = r.agent, cmp.Or(r.agent, r.number)%c.agents+1, time.Now(), ""
}

// pick returns the open chats one after the other, those among the n oldest that have a card and are
// not in a session. It returns nil if there is none. at is the place that it has got to. The caller
// holds the lock.
func (c *chatService) pick(at *int, n int) *room {
	n = min(n, len(c.open))
	for range n {
		*at = (*at + 1) % n
		if r := c.open[*at]; r.handle != "" && !r.busy {
			return r
		}
	}
	return nil
}

// another returns the next open chat with a card, or nil.
func (c *chatService) another() *room {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pick(&c.next, len(c.open))
}

// forward gives the next open chat with a card to another agent, and returns it, or nil.
func (c *chatService) forward() *room {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.pick(&c.next, len(c.open))
	if r != nil {
		c.give(r)
	}
	return r
}

// reserve returns the next of the n oldest chats with a card, for a press, or nil. Nothing else
// happens to the chat until release.
func (c *chatService) reserve(n int) *room {
	c.mu.Lock()
	defer c.mu.Unlock()
	r := c.pick(&c.nextPress, n)
	if r != nil {
		r.busy, r.pressed = true, true
	}
	return r
}

func (c *chatService) release(r *room) {
	c.mu.Lock()
	defer c.mu.Unlock()
	r.busy = false
}

// card returns the path of a chat's card, and its agent.
func (c *chatService) card(r *room) (path string, agent int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return "/w/" + r.handle, r.agent
}

// closeOldest ends the oldest chat that has a card and is not in a session, and returns it, or nil if
// there is none. It calls before first, with
// the lock.
func (c *chatService) closeOldest(before func(*room)) *room {
	c.mu.Lock()
	defer c.mu.Unlock()
	for i, r := range c.open {
		if r.handle != "" && !r.busy {
			before(r)
			r.closed = time.Now()
			c.open = slices.Delete(c.open, i, i+1)
			return r
		}
	}
	return nil
}

// openRooms returns how many chats are open.
func (c *chatService) openRooms() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.open)
}

// withoutCard returns how many chats have waited for their card since they were taken.
func (c *chatService) withoutCard() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.awaited
}

// resetTimes forgets the times until the cards that were shown so far.
func (c *chatService) resetTimes() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.shown = nil
}

// times returns the times until the cards that were shown since resetTimes.
func (c *chatService) times() []time.Duration {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.shown)
}

// requests returns how many requests there were.
func (c *chatService) requests() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.calls
}

// faults describes chats with more than one post for the same agent, and requests that this service
// does not know.
func (c *chatService) faults() (all []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, r := range c.rooms {
		for agent, posts := range r.posts {
			if posts > 1 {
				all = append(all, fmt.Sprintf("%d cards of %s for agent %d", posts, r.id, agent))
			}
		}
	}
	for _, request := range slices.Sorted(maps.Keys(c.unknown)) {
		all = append(all, fmt.Sprintf("%d requests %s", c.unknown[request], request))
	}
	return all
}

func (c *chatService) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if c.delay > 0 {
		<-time.After(c.delay)
	}
	c.mu.Lock()
	c.calls++
	answer := c.answer(r.Method+" "+strings.TrimPrefix(r.URL.Path, "/api/v1/"), r.Header.Get("X-User-Id"), r.URL.Query(), body)
	if answer == nil {
		c.unknown[r.Method+" "+r.URL.Path]++
	}
	text, _ := json.Marshal(answer)
	c.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	if answer == nil {
		w.WriteHeader(http.StatusBadRequest)
		text = []byte(`{"success":false,"error":"not in this simulation"}`)
	}
	_, _ = w.Write(text)
}

// answer returns the body of an answer, or nil. The caller holds the lock.
func (c *chatService) answer(request, user string, query url.Values, body []byte) object {
	switch request {
	case "GET /api/info": // a check at the start of the bridge, which ends without an answer
		return object{}
	case "GET me":
		return object{"success": true, "_id": user, "username": map[string]string{posterID: posterName}[user]}
	case "GET rooms.info":
		if r := c.rooms[query.Get("roomId")]; r != nil {
			return object{"success": true, "room": r.document()}
		}
	case "GET users.info":
		if n, err := strconv.Atoi(strings.TrimPrefix(query.Get("userId"), "agent")); err == nil {
			return object{"success": true, "user": object{
				"_id": query.Get("userId"), "username": agentName(n), "name": "Agent " + strconv.Itoa(n), "active": true, "type": "user",
				"emails": []object{{"address": agentName(n) + "@example.org", "verified": true}},
			}}
		}
	case "GET livechat/visitors.info":
		n, _ := strconv.Atoi(strings.TrimPrefix(query.Get("visitorId"), "visitor"))
		if r := c.rooms[fmt.Sprintf("room%012d", n)]; r != nil {
			return object{"success": true, "visitor": object{
				"_id": r.visitor, "username": r.visitor, "name": r.name, "livechatData": object{"upscope_key": r.key},
			}}
		}
	case "GET livechat/rooms":
		return c.list(query)
	case "POST im.create":
		var in struct{ Username string }
		if json.Unmarshal(body, &in) == nil {
			return object{"success": true, "room": object{"t": "d", "rid": "dm-" + in.Username, "_id": "dm-" + in.Username, "usernames": []string{posterName, in.Username}}}
		}
	case "POST chat.sendMessage":
		var in struct {
			Message struct {
				ID  string `json:"_id"`
				RID string `json:"rid"`
				Msg string `json:"msg"`
			}
		}
		if json.Unmarshal(body, &in) == nil {
			return c.post(in.Message.ID, in.Message.RID, in.Message.Msg, true)
		}
	case "POST chat.update":
		var in struct{ RoomID, MsgID, Text string }
		if json.Unmarshal(body, &in) == nil {
			return c.post(in.MsgID, in.RoomID, in.Text, false)
		}
	}
	return nil
}

func agentName(n int) string { return "agent" + strconv.Itoa(n) }

func (r *room) document() object {
	doc := object{"_id": r.id, "t": "l", "v": object{"_id": r.visitor, "username": r.visitor}}
	if r.closed.IsZero() {
		doc["open"] = true
	}
	if r.agent != 0 {
		doc["servedBy"] = servedBy(r.agent, r.taken)
	}
	return doc
}

func servedBy(agent int, at time.Time) object {
	return object{"_id": agentName(agent), "username": agentName(agent), "ts": stamp(at)}
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// list answers the lists of open chats: those that an agent serves, and those in the queue.
func (c *chatService) list(query url.Values) object {
	offset, _ := strconv.Atoi(query.Get("offset"))
	count, _ := strconv.Atoi(query.Get("count"))
	rooms, total := []object{}, 0
	for _, r := range c.open {
		if query.Get("onhold") != "" || (r.agent == 0) != (query.Get("queued") != "") {
			continue
		}
		if total++; total > offset && len(rooms) < count {
			rooms = append(rooms, r.document())
		}
	}
	return object{"success": true, "rooms": rooms, "count": len(rooms), "offset": offset, "total": total}
}

var (
	roomOfCard   = regexp.MustCompile(`/live/(room[0-9]+)`)
	handleOfCard = regexp.MustCompile(regexp.QuoteMeta(origin) + `/w/([A-Za-z0-9_-]{43})`)
)

// post stores a new or edited card.
func (c *chatService) post(id, rid, text string, isNew bool) object {
	answer := object{"success": true, "message": object{"_id": id, "rid": rid, "u": object{"_id": posterID}}}
	found := roomOfCard.FindStringSubmatch(text)
	if found == nil {
		return answer
	}
	r := c.rooms[found[1]]
	agent, _ := strconv.Atoi(strings.TrimPrefix(rid, "dm-agent"))
	if r == nil {
		return nil
	}
	if isNew {
		if len(r.posts) == 0 {
			c.awaited--
			c.shown = append(c.shown, time.Since(r.sent))
		}
		r.posts[agent]++
	}
	if handle := handleOfCard.FindStringSubmatch(text); handle != nil && agent == r.agent {
		r.handle = handle[1]
	}
	return answer
}

// The kinds of webhooks (Rocket.Chat, app/livechat/server/hooks/sendToCRM.ts).
const (
	kindStart   = "LivechatSessionStart"
	kindQueued  = "LivechatSessionQueued"
	kindTaken   = "LivechatSessionTaken"
	kindForward = "LivechatSessionForwarded"
	kindMessage = "Message"
	kindClose   = "LivechatSession"
)

// webhook returns the body of a webhook about a chat as it is now.
func (c *chatService) webhook(kind string, r *room) []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	body := object{
		"type": kind, "_id": r.id, "label": r.name, "createdAt": stamp(r.created), "tags": []string{},
		"visitor": object{
			"_id": r.visitor, "token": "token-of-" + r.visitor, "name": r.name, "username": r.visitor, "ip": "203.0.113.5",
			"os": "Windows 10", "browser": "Chrome 130", "customFields": object{"upscope_key": r.key},
			"email": []object{{"address": r.visitor + "@example.com"}}, "phone": nil,
		},
	}
	if r.agent != 0 && kind != kindStart {
		n := r.agent
		body["agent"] = object{"_id": agentName(n), "username": agentName(n), "name": "Agent " + strconv.Itoa(n), "email": agentName(n) + "@example.org"}
	}
	messages := []object{}
	switch kind {
	case kindMessage:
		r.messages++
		messages = append(messages, object{
			"_id": fmt.Sprintf("message-%s-%d", r.id, r.messages), "rid": r.id, "msg": "Thank you. And how do I change the address of the order?",
			"ts": stamp(now), "u": object{"_id": r.visitor, "username": r.visitor, "name": r.name}, "username": r.visitor,
		})
		body["lastMessageAt"] = stamp(now)
	case kindTaken:
		body["servedBy"] = servedBy(r.agent, r.taken)
	case kindForward:
		body["servedBy"] = servedBy(r.agent, r.taken)
		body["oldServedBy"] = servedBy(cmp.Or(r.before, r.agent), r.created)
	case kindClose:
		body["closedAt"], body["closer"] = stamp(r.closed), "visitor"
		body["closedBy"] = object{"_id": r.visitor, "username": r.visitor}
	}
	body["messages"] = messages
	text, _ := json.Marshal(body) // has texts, numbers and times only
	return text
}
