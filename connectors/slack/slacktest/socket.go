package slacktest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/gorilla/websocket"
)

// maxSockets is how many connections an app may have
// (docs.slack.dev/apis/events-api/using-socket-mode).
const maxSockets = 10

// sockets is the server's side of Socket Mode.
type sockets struct {
	tickets map[string]bool
	open    []*socket
	changed chan struct{} // closed at each change
	acks    []Ack
}

type socket struct {
	write sync.Mutex
	conn  *websocket.Conn
}

// An Ack is the acknowledgement of an envelope.
type Ack struct {
	ID      string          `json:"envelope_id"`
	Payload json.RawMessage `json:"payload"`
}

func (w *Workspace) connectionsOpen(object) answer {
	if len(w.sockets.open) >= maxSockets {
		return refuse("too_many_websockets")
	}
	ticket := w.id("ticket")
	if w.sockets.tickets == nil {
		w.sockets.tickets = map[string]bool{}
	}
	w.sockets.tickets[ticket] = true
	return good(object{"url": w.SocketURL + "?ticket=" + ticket})
}

// link handles a connection until it is closed.
func (w *Workspace) link(out http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	ticket := r.URL.Query().Get("ticket")
	valid := w.sockets.tickets[ticket]
	delete(w.sockets.tickets, ticket) // a ticket works once
	w.mu.Unlock()
	if !valid {
		http.Error(out, "unknown ticket", http.StatusForbidden)
		return
	}
	up := websocket.Upgrader{}
	conn, err := up.Upgrade(out, r, nil)
	if err != nil {
		return
	}
	defer conn.Close()
	s := &socket{conn: conn}
	w.mu.Lock()
	w.sockets.open = append(w.sockets.open, s)
	n := len(w.sockets.open)
	w.mu.Unlock()
	s.send(object{
		"type": "hello", "num_connections": n, "connection_info": object{"app_id": w.App},
		"debug_info": object{"host": "applink-1", "approximate_connection_time": 18060},
	})
	w.socketChanged()
	defer w.socketChanged()
	defer func() {
		w.mu.Lock()
		defer w.mu.Unlock()
		w.sockets.open = slices.DeleteFunc(w.sockets.open, func(o *socket) bool { return o == s })
	}()
	for {
		var ack Ack
		if err := conn.ReadJSON(&ack); err != nil {
			return
		}
		w.mu.Lock()
		w.sockets.acks = append(w.sockets.acks, ack)
		w.mu.Unlock()
		w.socketChanged()
	}
}

func (s *socket) send(v any) error {
	s.write.Lock()
	defer s.write.Unlock()
	return s.conn.WriteJSON(v)
}

func (w *Workspace) socketChanged() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.sockets.changed != nil {
		close(w.sockets.changed)
	}
	w.sockets.changed = make(chan struct{})
}

// WaitSockets waits until exactly n connections are open, and reports whether that happened
// within patience.
func (w *Workspace) WaitSockets(n int, patience time.Duration) bool {
	return w.wait(patience, func() bool { return len(w.sockets.open) == n })
}

// WaitAck waits for the acknowledgement of an envelope. ok says whether it came within
// patience.
func (w *Workspace) WaitAck(id string, patience time.Duration) (ack Ack, ok bool) {
	ok = w.wait(patience, func() bool {
		for _, a := range w.sockets.acks {
			if a.ID == id {
				ack = a
				return true
			}
		}
		return false
	})
	return ack, ok
}

func (w *Workspace) wait(patience time.Duration, done func() bool) bool {
	late := time.After(patience)
	for {
		w.mu.Lock()
		if w.sockets.changed == nil {
			w.sockets.changed = make(chan struct{})
		}
		changed, ok := w.sockets.changed, done()
		w.mu.Unlock()
		if ok {
			return true
		}
		select {
		case <-changed:
		case <-late:
			return false
		}
	}
}

// Envelope sends a payload through one of the connections and returns the envelope's id.
func (w *Workspace) Envelope(kind string, payload any) (id string, err error) {
	w.mu.Lock()
	id = w.id("envelope-")
	open := slices.Clone(w.sockets.open)
	w.mu.Unlock()
	for _, s := range open {
		if err = s.send(object{"type": kind, "envelope_id": id, "payload": payload, "accepts_response_payload": kind == "interactive" || kind == "slash_commands"}); err == nil {
			return id, nil
		}
	}
	return id, fmt.Errorf("slacktest: no open connection: %w", err)
}

// Raw sends any text through the oldest connection, which Envelope uses too.
func (w *Workspace) Raw(text string) error {
	w.mu.Lock()
	s := w.sockets.open[0]
	w.mu.Unlock()
	s.write.Lock()
	defer s.write.Unlock()
	return s.conn.WriteMessage(websocket.TextMessage, []byte(text))
}

// Disconnect announces to the oldest connection that it will be closed. closeIt closes it.
func (w *Workspace) Disconnect(reason string) (closeIt func()) {
	w.mu.Lock()
	s := w.sockets.open[0]
	w.mu.Unlock()
	s.send(object{"type": "disconnect", "reason": reason, "debug_info": object{"host": "applink-1"}})
	return func() { s.conn.Close() }
}

// KillSockets breaks all connections without an announcement.
func (w *Workspace) KillSockets() {
	w.mu.Lock()
	open := slices.Clone(w.sockets.open)
	w.mu.Unlock()
	for _, s := range open {
		s.conn.NetConn().Close()
	}
}
