package rocketchattest

import (
	"fmt"
	"maps"
	"time"
)

// AddChannel makes a private channel and returns its id.
func (w *Workspace) AddChannel(name string, usernames ...string) (id string) {
	return w.AddRoom(Room{Type: "p", Name: name, Members: usernames})
}

// AddRoom makes a room that is not a chat with a visitor, and returns its id.
func (w *Workspace) AddRoom(r Room) (id string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r.ID, r.Open, r.Created = w.id("group"), true, w.now()
	w.rooms[r.ID] = &r
	return r.ID
}

// ChangeRoom calls change with a room.
func (w *Workspace) ChangeRoom(id string, change func(*Room)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	change(w.rooms[id])
}

// StartChat begins a chat in the queue, without an agent, and returns its room id.
func (w *Workspace) StartChat(v Visitor) (room string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	v.Fields = maps.Clone(v.Fields)
	if v.Fields == nil {
		v.Fields = make(map[string]string)
	}
	w.visitors[v.ID] = &v
	r := &Room{ID: w.id("room"), Type: "l", Open: true, Visitor: v.ID, Created: w.now()}
	w.rooms[r.ID] = r
	return r.ID
}

// Take gives a chat to a user. Events of it do not name a former agent.
func (w *Workspace) Take(room, username string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.chat(room)
	r.OldServed, r.OldTaken = "", time.Time{}
	r.ServedBy, r.TakenAt = w.named(username).ID, w.now()
}

// Forward hands a chat to another user. Events of it name the former agent.
func (w *Workspace) Forward(room, username string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.chat(room)
	r.OldServed, r.OldTaken = r.ServedBy, r.TakenAt
	r.ServedBy, r.TakenAt = w.named(username).ID, w.now()
}

// Queue puts a chat back into the queue.
func (w *Workspace) Queue(room string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.chat(room)
	r.ServedBy, r.TakenAt = "", time.Time{}
}

// Hold puts a chat on hold.
func (w *Workspace) Hold(room string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.chat(room).OnHold = true
}

// CloseChat ends a chat.
func (w *Workspace) CloseChat(room string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	r := w.chat(room)
	r.Open, r.Closed = false, w.now()
}

// RemoveRoom deletes a room.
func (w *Workspace) RemoveRoom(room string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.rooms, room)
}

// SetField sets a custom field of the visitor of a chat, as setCustomField of the widget
// does. It returns an error if the field does not exist.
func (w *Workspace) SetField(room, field, value string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.fields[field] != "visitor" {
		return fmt.Errorf("invalid-custom-field: %s", field)
	}
	w.visitors[w.chat(room).Visitor].Fields[field] = value
	return nil
}

// DisableVisitor makes the visitor of a chat unknown to the API.
func (w *Workspace) DisableVisitor(room string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.visitors[w.chat(room).Visitor].Gone = true
}

// Say writes a message in a chat: by the visitor if username is empty, else by
// that user.
func (w *Workspace) Say(room, username, text string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	by := w.chat(room).Visitor
	if username != "" {
		by = w.named(username).ID
	}
	w.messages = append(w.messages, &Message{ID: w.id("msg"), Room: room, By: by, Text: text, Sent: w.now()})
}
