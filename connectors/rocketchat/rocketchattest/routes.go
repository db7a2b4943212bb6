package rocketchattest

import (
	"bytes"
	"cmp"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"
)

type handler func(w *Workspace, u *User, r *http.Request, body []byte) answer

// routes has the handlers by method and path below /api/v1/.
var routes = map[string]handler{
	"GET livechat/integrations.settings": (*Workspace).integrationSettings,
	"GET livechat/units":                 (*Workspace).businessUnits,
	"GET me":                             (*Workspace).me,
	"GET users.info":                     (*Workspace).usersInfo,
	"GET rooms.info":                     (*Workspace).roomsInfo,
	"GET subscriptions.getOne":           (*Workspace).subscription,
	"GET livechat/visitors.info":         (*Workspace).visitorsInfo,
	"GET livechat/visitor.info":          (*Workspace).visitorsInfo,
	"GET livechat/custom-fields":         (*Workspace).customFields,
	"GET livechat/rooms":                 (*Workspace).livechatRooms,
	"GET chat.getMessage":                (*Workspace).getMessage,
	"POST im.create":                     (*Workspace).imCreate,
	"POST chat.sendMessage":              (*Workspace).sendMessage,
	"POST chat.postMessage":              (*Workspace).postMessage,
	"POST chat.update":                   (*Workspace).updateMessage,
}

func (w *Workspace) me(u *User, _ *http.Request, _ []byte) answer {
	return good(object{"_id": u.ID, "username": u.Username, "name": u.Name, "active": true, "roles": u.Roles,
		"emails": []object{{"address": u.Email, "verified": true}}})
}

func (w *Workspace) usersInfo(u *User, r *http.Request, _ []byte) answer {
	q := r.URL.Query()
	if !only(q, "userId", "username") || len(q) != 1 {
		return invalid("must match a schema in anyOf")
	}
	found := w.users[q.Get("userId")]
	if name := q.Get("username"); name != "" {
		found = w.lookup(name)
	}
	if found == nil {
		return failed(http.StatusBadRequest, "User not found.", "")
	}
	info := object{"_id": found.ID, "username": found.Username, "name": found.Name, "type": cmp.Or(found.Type, "user"),
		"active": !found.Inactive, "status": "online"}
	if u.may("view-full-other-user-info") {
		info["emails"], info["roles"] = []object{{"address": found.Email, "verified": !found.Unconfirmed}}, found.Roles
	}
	return good(object{"user": info})
}

func (w *Workspace) roomsInfo(u *User, r *http.Request, _ []byte) answer {
	q := r.URL.Query()
	if !only(q, "roomId", "roomName") || len(q) != 1 {
		return invalid("must match exactly one schema in oneOf")
	}
	room := w.rooms[q.Get("roomId")]
	if name := q.Get("roomName"); name != "" {
		room = w.roomNamed(name)
	}
	switch {
	case room == nil:
		return failed(http.StatusBadRequest,
			`The required "roomId" or "roomName" param provided does not match any channel [error-room-not-found]`, "error-room-not-found")
	case room.Archived:
		return failed(http.StatusBadRequest, "The channel, "+room.Name+", is archived [error-room-archived]", "error-room-archived")
	case !w.sees(u, room):
		return w.notAllowed("not-allowed", "Not Allowed")
	}
	return good(object{"room": w.roomDocument(room)})
}

func (w *Workspace) roomNamed(name string) *Room {
	for _, room := range w.rooms {
		if room.Name == name {
			return room
		}
	}
	return nil
}

// sees reports whether a user may see a room (server/services/authorization/canAccessRoom.ts).
// A livechat room needs a permission or that the user serves it, a public channel a
// permission, a discussion the right to see its parent, any other room a membership.
func (w *Workspace) sees(u *User, room *Room) bool {
	switch parent := w.rooms[room.Parent]; {
	case room.Type == "l":
		return u.may("view-livechat-rooms") || room.ServedBy == u.ID
	case room.Type == "c" && u.may("view-c-room"), parent != nil && w.sees(u, parent):
		return true
	}
	return slices.Contains(room.Members, u.Username)
}

// subscription answers null for a user who is not a member, even if they may see the room.
func (w *Workspace) subscription(u *User, r *http.Request, _ []byte) answer {
	q := r.URL.Query()
	if !only(q, "roomId") || q.Get("roomId") == "" {
		return invalid("must have required property 'roomId'")
	}
	room := w.rooms[q.Get("roomId")]
	if room == nil || !slices.Contains(room.Members, u.Username) {
		return good(object{"subscription": nil})
	}
	s := object{"_id": room.ID + u.ID, "rid": room.ID, "t": room.Type, "name": room.Name, "u": object{"_id": u.ID, "username": u.Username}}
	if slices.Contains(room.Owners, u.Username) {
		s["roles"] = []string{"owner"}
	}
	return good(object{"subscription": s})
}

func (w *Workspace) roomDocument(room *Room) object {
	switch room.Type {
	case "l":
	case "d":
		return object{"_id": room.ID, "t": "d", "usernames": room.Members}
	default:
		return w.channelDocument(room)
	}
	v := w.visitors[room.Visitor]
	doc := object{
		"_id": room.ID, "t": "l", "fname": v.Name, "ts": stamp(room.Created),
		"v": object{"_id": v.ID, "username": v.Username, "name": v.Name, "token": v.Token, "status": "online"},
	}
	if room.Open {
		doc["open"] = true
	} else {
		doc["closedAt"] = stamp(room.Closed)
	}
	if room.OnHold {
		doc["onHold"] = true
	}
	if room.ServedBy != "" {
		doc["servedBy"] = w.servedBy(room.ServedBy, room.TakenAt)
	}
	return doc
}

// channelDocument leaves the members out, as the server does.
func (w *Workspace) channelDocument(room *Room) object {
	doc := object{"_id": room.ID, "t": room.Type, "name": room.Name, "fname": room.Name, "usersCount": len(room.Members), "ro": room.ReadOnly}
	if room.Parent != "" {
		doc["prid"] = room.Parent
	}
	if room.Federated {
		doc["federated"] = true
	}
	if room.Encrypted {
		doc["encrypted"] = true
	}
	if room.Unmuted != nil {
		doc["unmuted"] = room.Unmuted
	}
	return doc
}

func (w *Workspace) servedBy(id string, at time.Time) object {
	return object{"_id": id, "username": w.users[id].Username, "ts": stamp(at)}
}

func (w *Workspace) visitorsInfo(u *User, r *http.Request, _ []byte) answer {
	q := r.URL.Query()
	if !only(q, "visitorId") || q.Get("visitorId") == "" {
		return invalid("must have required property 'visitorId'")
	}
	if !u.may("view-l-room") {
		return w.forbidden()
	}
	v := w.visitors[q.Get("visitorId")]
	if v == nil || v.Gone {
		return failed(http.StatusBadRequest, "visitor-not-found", "")
	}
	doc := object{"_id": v.ID, "username": v.Username, "name": v.Name, "phone": nil,
		"visitorEmails": []object{{"address": v.Email}}, "livechatData": v.Fields, "ip": "203.0.113.5"}
	if strings.HasPrefix(w.Version, "7.") {
		doc["token"] = v.Token
	}
	return good(object{"visitor": doc})
}

func (w *Workspace) customFields(u *User, r *http.Request, _ []byte) answer {
	if !only(r.URL.Query(), "text", "count", "offset", "sort", "query") {
		return invalid("must NOT have additional properties")
	}
	if !u.may("view-l-room") {
		return w.forbidden()
	}
	var list []object
	for name, scope := range w.fields {
		list = append(list, object{"_id": name, "label": name, "scope": scope, "visibility": "visible"})
	}
	return good(object{"customFields": list, "count": len(list), "offset": 0, "total": len(list)})
}

// livechatRooms lists rooms as LivechatRooms.findRoomsWithCriteria does: rooms on hold and
// rooms in the queue are listed only if the query asks for them.
func (w *Workspace) livechatRooms(u *User, r *http.Request, _ []byte) answer {
	q := r.URL.Query()
	if !only(q, "count", "offset", "sort", "open", "onhold", "queued", "agents[]", "agents", "departmentId", "roomName") {
		return invalid("must NOT have additional properties")
	}
	if !u.may("view-livechat-rooms") {
		return failed(http.StatusForbidden, "unauthorized", "")
	}
	var rooms []*Room
	for _, room := range w.rooms {
		listed := room.Type == "l" && w.inUnits(u, room)
		if open := q.Get("open"); open != "" {
			listed = listed && room.Open == (open == "true") && room.OnHold == (q.Get("onhold") == "true")
			if open == "true" && !room.OnHold {
				listed = listed && (room.ServedBy == "") == (q.Get("queued") == "true")
			}
		}
		if listed {
			rooms = append(rooms, room)
		}
	}
	slices.SortFunc(rooms, func(a, b *Room) int {
		if q.Get("sort") != `{"ts":1}` {
			a, b = b, a // newest first is the default
		}
		return cmp.Or(a.Created.Compare(b.Created), strings.Compare(a.ID, b.ID))
	})
	offset, _ := strconv.Atoi(q.Get("offset"))
	count, err := strconv.Atoi(q.Get("count"))
	if err != nil {
		count = 50
	}
	list := []object{}
	for _, room := range rooms[min(offset, len(rooms)):min(offset+count, len(rooms))] {
		list = append(list, w.roomDocument(room))
	}
	return good(object{"rooms": list, "count": len(list), "offset": offset, "total": len(rooms)})
}

// inUnits reports whether business units let a user list a room. Once there is any unit, a
// monitor sees the rooms of its own units (livechat.applyRoomRestrictions, restrictQuery.ts).
func (w *Workspace) inUnits(u *User, room *Room) bool {
	return len(w.units) == 0 || !slices.Contains(u.Roles, "livechat-monitor") || slices.Contains(w.units[room.Unit], u.Username)
}

func (w *Workspace) businessUnits(u *User, _ *http.Request, _ []byte) answer {
	if !u.may("manage-livechat-units") {
		return w.forbidden()
	}
	list := []object{}
	for name := range w.units {
		list = append(list, object{"_id": name, "name": name, "type": "u"})
	}
	return good(object{"units": list, "count": len(list), "offset": 0, "total": len(list)})
}

// publicSettings has the one public setting that matters to the bridge. The route needs no
// sign-in.
func (w *Workspace) publicSettings(q url.Values) answer {
	list := []object{}
	if id := "Cloud_Workspace_AirGapped_Restrictions_Remaining_Days"; q.Get("_id") == id {
		list = append(list, object{"_id": id, "value": w.daysLeft})
	}
	return good(object{"settings": list, "count": len(list), "offset": 0, "total": len(list)})
}

// restricted is the answer of the routes that write while the workspace is read-only
// (applyAirGappedRestrictionsValidation in chat.ts).
func restricted() answer { return failed(http.StatusBadRequest, "restricted-workspace", "") }

// integrationSettings answers with the secret in plain text, as the server does
// (app/livechat/server/api/lib/integrations.ts).
func (w *Workspace) integrationSettings(u *User, r *http.Request, _ []byte) answer {
	if !u.may("view-livechat-manager") {
		return w.forbidden()
	}
	list := []object{}
	for id, value := range w.settings {
		list = append(list, object{"_id": id, "value": value})
	}
	if _, set := w.settings["Livechat_secret_token"]; !set {
		list = append(list, object{"_id": "Livechat_secret_token", "value": w.Secret, "secret": true})
	}
	return good(object{"settings": list})
}

func (w *Workspace) imCreate(u *User, _ *http.Request, body []byte) answer {
	var in struct {
		Username string `json:"username"`
	}
	if !strict(body, &in) || in.Username == "" {
		return invalid("must match exactly one schema in oneOf")
	}
	other := w.lookup(in.Username)
	if other == nil || other.ID == u.ID {
		return failed(http.StatusBadRequest, "Invalid user [error-invalid-user]", "error-invalid-user")
	}
	members := []string{u.Username, other.Username}
	for _, room := range w.rooms {
		if room.Type == "d" && same(room.Members, members) {
			return w.dm(room)
		}
	}
	if !u.may("create-d") {
		return w.notAllowed("Not allowed [error-not-allowed]", "error-not-allowed")
	}
	room := &Room{ID: u.ID + other.ID, Type: "d", Open: true, Members: members, Created: w.now()}
	w.rooms[room.ID] = room
	return w.dm(room)
}

func (w *Workspace) dm(room *Room) answer {
	return good(object{"room": object{"t": "d", "rid": room.ID, "_id": room.ID, "usernames": room.Members}})
}

// sendMessage inserts an id once. For a repeated id the server's function returns nothing
// (app/lib/server/functions/sendMessage.ts). Then the route answers with an error up to 8.x,
// and without a message from 9.0 on.
func (w *Workspace) sendMessage(u *User, _ *http.Request, body []byte) answer {
	var in struct {
		Message *struct {
			ID        string `json:"_id"`
			RID       string `json:"rid"`
			Msg       string `json:"msg"`
			ParseURLs *bool  `json:"parseUrls"`
		} `json:"message"`
		PreviewURLs *[]string `json:"previewUrls"`
	}
	if !strict(body, &in) || in.Message == nil || in.Message.RID == "" {
		return invalid("must have required property 'message'")
	}
	if w.daysLeft == 0 {
		return restricted()
	}
	m := in.Message
	previews := (in.PreviewURLs == nil || len(*in.PreviewURLs) > 0) && (m.ParseURLs == nil || *m.ParseURLs)
	if slices.ContainsFunc(w.messages, func(old *Message) bool { return old.ID == m.ID }) {
		if w.before9() {
			return failed(http.StatusBadRequest, "Cannot read properties of undefined (reading 'starred')", "")
		}
		return good(object{"message": nil})
	}
	return w.insert(u, m.ID, m.RID, m.Msg, previews)
}

func (w *Workspace) postMessage(u *User, _ *http.Request, body []byte) answer {
	var in struct {
		RoomID    string `json:"roomId"`
		Channel   string `json:"channel"`
		Text      string `json:"text"`
		ParseURLs *bool  `json:"parseUrls"`
	}
	if !strict(body, &in) || (in.RoomID == "") == (in.Channel == "") {
		return invalid("must match exactly one schema in oneOf")
	}
	if w.daysLeft == 0 {
		return restricted()
	}
	target := in.RoomID + strings.TrimLeft(in.Channel, "@#")
	return w.insert(u, w.id("msg"), target, in.Text, in.ParseURLs == nil || *in.ParseURLs)
}

func (w *Workspace) insert(u *User, id, rid, msg string, previews bool) answer {
	room := w.rooms[rid]
	switch {
	case room == nil || !w.sees(u, room):
		return w.notAllowed("error-not-allowed", "error-not-allowed")
	case room.ReadOnly && !slices.Contains(room.Owners, u.Username) && !slices.Contains(room.Unmuted, u.Username):
		return failed(http.StatusBadRequest, "You can't send messages because the room is readonly.", "")
	case utf16Length(msg) > 5000:
		return failed(http.StatusBadRequest, "Message size exceeds Message_MaxAllowedSize [error-message-size-exceeded]", "error-message-size-exceeded")
	}
	if id == "" {
		id = w.id("msg")
	}
	m := &Message{ID: id, Room: rid, By: u.ID, Text: msg, Sent: w.now(), Previewed: previews && strings.Contains(msg, "http")}
	w.messages = append(w.messages, m)
	return good(object{"message": w.messageDocument(m)})
}

func (w *Workspace) updateMessage(u *User, _ *http.Request, body []byte) answer {
	var in struct {
		RoomID      string    `json:"roomId"`
		MsgID       string    `json:"msgId"`
		Text        *string   `json:"text"`
		PreviewURLs *[]string `json:"previewUrls"`
	}
	if !strict(body, &in) || in.RoomID == "" || in.MsgID == "" || in.Text == nil {
		return invalid("must match exactly one schema in oneOf")
	}
	m := w.message(in.MsgID)
	switch {
	case w.daysLeft == 0:
		return restricted()
	case m == nil:
		return failed(http.StatusBadRequest, `No message found with the id of "`+in.MsgID+`".`, "")
	case m.Room != in.RoomID:
		return failed(http.StatusBadRequest, "The room id provided does not match where the message is from.", "")
	case w.noEdits || m.By != u.ID:
		return w.notAllowed("Message editing not allowed [error-action-not-allowed]", "error-action-not-allowed")
	case utf16Length(*in.Text) > 5000:
		return failed(http.StatusBadRequest, "error-message-size-exceeded", "error-message-size-exceeded")
	}
	if m.Text != *in.Text {
		m.Text = *in.Text
		m.Edited++
	}
	if in.PreviewURLs == nil && strings.Contains(m.Text, "http") {
		m.Previewed = true
	}
	return good(object{"message": w.messageDocument(m)})
}

func (w *Workspace) getMessage(u *User, r *http.Request, _ []byte) answer {
	q := r.URL.Query()
	if !only(q, "msgId") || q.Get("msgId") == "" {
		return invalid("must have required property 'msgId'")
	}
	m := w.message(q.Get("msgId"))
	if m == nil || !w.sees(u, w.rooms[m.Room]) {
		return failed(http.StatusBadRequest, "", "")
	}
	return good(object{"message": w.messageDocument(m)})
}

func (w *Workspace) message(id string) *Message {
	for _, m := range w.messages {
		if m.ID == id {
			return m
		}
	}
	return nil
}

func (w *Workspace) messageDocument(m *Message) object {
	doc := object{"_id": m.ID, "rid": m.Room, "msg": m.Text, "ts": stamp(m.Sent), "_updatedAt": stamp(m.Sent), "urls": []any{}, "mentions": []any{}}
	if u := w.users[m.By]; u != nil {
		doc["u"] = object{"_id": u.ID, "username": u.Username, "name": u.Name}
	}
	return doc
}

func only(q url.Values, names ...string) bool {
	for k := range q {
		if !slices.Contains(names, k) {
			return false
		}
	}
	return true
}

func strict(body []byte, out any) bool {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	return dec.Decode(out) == nil
}

func same(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

func utf16Length(s string) int {
	n := 0
	for _, r := range s {
		n++
		if r > 0xFFFF {
			n++
		}
	}
	return n
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
