package rocketchattest

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
)

// Event returns the body and the header of the webhook that the workspace would send about a
// chat now. kind is a type of the vendor (app/livechat/server/hooks/sendToCRM.ts), or "test"
// for the test button.
func (w *Workspace) Event(kind, room string) ([]byte, http.Header) {
	w.mu.Lock()
	defer w.mu.Unlock()
	header := http.Header{"Content-Type": {"application/json"}, "User-Agent": {"node-fetch"}}
	if w.Secret != "" {
		header.Set("X-RocketChat-Livechat-Token", w.Secret)
	}
	var body object
	switch kind {
	case "test":
		header.Set("Accept", "application/json")
		body = testButton()
	case "LivechatOfflineMessage":
		body = object{"type": kind, "sentAt": stamp(w.now()), "message": "Please call me.",
			"visitor": object{"name": "Ann", "email": "ann@example.org"}}
	default:
		body = w.guestInfo(kind, w.chat(room))
	}
	data, err := json.Marshal(body)
	if err != nil {
		panic(err)
	}
	return data, header
}

// guestInfo is the server's getLivechatRoomGuestInfo, with the fields that each type adds.
func (w *Workspace) guestInfo(kind string, room *Room) object {
	v := w.visitors[room.Visitor]
	body := object{
		"type": kind, "_id": room.ID, "label": v.Name, "createdAt": stamp(room.Created), "tags": []string{},
		"visitor": object{
			"_id": v.ID, "token": v.Token, "name": v.Name, "username": v.Username, "ip": "203.0.113.5",
			"os": "Windows 10", "browser": "Chrome 130", "customFields": v.Fields,
			"email": []object{{"address": v.Email}}, "phone": nil,
		},
	}
	if room.CRMData != "" {
		body["crmData"] = room.CRMData
	}
	// The chat is created before it is routed, so Start never names an agent.
	if a := w.users[room.ServedBy]; a != nil && kind != "LivechatSessionStart" {
		body["agent"] = object{"_id": a.ID, "username": a.Username, "name": a.Name, "email": a.Email}
	}
	history := w.history(room)
	if n := len(history); n > 0 {
		body["lastMessageAt"] = history[n-1]["ts"]
	}
	body["messages"] = history
	served := func() {
		if room.ServedBy != "" {
			body["servedBy"] = w.servedBy(room.ServedBy, room.TakenAt)
		}
	}
	switch kind {
	case "Message":
		body["messages"] = history[max(0, len(history)-1):]
	case "LeadCapture":
		body["messages"] = []object{}
	case "LivechatSessionTaken":
		served()
	case "LivechatSessionForwarded":
		served()
		if room.OldServed != "" {
			body["oldServedBy"] = w.servedBy(room.OldServed, room.OldTaken)
		}
	case "LivechatSession":
		served()
		body["closedAt"] = stamp(room.Closed)
		body["closedBy"] = object{"_id": v.ID, "username": v.Username}
		body["closer"] = "visitor"
	}
	return body
}

func (w *Workspace) history(room *Room) []object {
	history := []object{}
	for _, m := range w.messages {
		if m.Room != room.ID {
			continue
		}
		entry := object{"_id": m.ID, "rid": m.Room, "msg": m.Text, "ts": stamp(m.Sent), "_updatedAt": stamp(m.Sent)}
		if u := w.users[m.By]; u != nil {
			entry["u"] = object{"_id": u.ID, "username": u.Username, "name": u.Name}
			entry["username"], entry["agentId"] = u.Username, u.ID
		} else {
			v := w.visitors[room.Visitor]
			entry["u"] = object{"_id": v.ID, "username": v.Username, "name": v.Name}
			entry["username"] = v.Username
		}
		history = append(history, entry)
	}
	return history
}

// testButton is the body of app/livechat/server/api/v1/webhooks.ts. It has strings for e-mail
// and phone, no token, and a visitor without an id.
func testButton() object {
	return object{
		"type": "LivechatSession", "_id": "fasd6f5a4sd6f8a4sdf", "label": "title", "topic": "asiodojf",
		"createdAt": "2026-11-20T10:00:00.000Z", "lastMessageAt": "2026-11-20T10:00:05.000Z",
		"tags":         []string{"tag1", "tag2", "tag3"},
		"customFields": object{"productId": "123456"},
		"visitor": object{"_id": "", "name": "visitor name", "username": "visitor-username", "department": "department",
			"email": "email@address.com", "phone": "192873192873", "ip": "123.456.7.89", "browser": "Chrome", "os": "Linux",
			"customFields": object{"customerId": "123456"}},
		"agent": object{"_id": "asdf89as6df8", "username": "agent.username", "name": "Agent Name", "email": "agent@email.com"},
		"messages": []object{
			{"username": "visitor-username", "msg": "sending a message", "ts": "2026-11-20T10:00:01.000Z"},
			{"username": "agent.username", "agentId": "asdf89as6df8", "msg": "sending a message from agent", "ts": "2026-11-20T10:00:02.000Z"},
		},
	}
}

// Deliver sends an event to a bridge and handles the answer as the server does: it stores
// the text of a 200 in the room, where the visitor can read it. Any other status is an
// error.
func (w *Workspace) Deliver(ctx context.Context, client *http.Client, address, kind, room string) error {
	body, header := w.Event(kind, room)
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, address, bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header = header
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	text, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return err
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("the webhook was answered %d", resp.StatusCode)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if r := w.rooms[room]; r != nil {
		r.CRMData = string(text)
	}
	return nil
}
