package slacktest

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"
)

// methods are the methods that the bridge needs (docs.slack.dev/reference/methods). The page of
// chat.postEphemeral has no unfurl flags, but Slack's guide says that it honours them.
// chat.update has no unfurl flags, and chat.postEphemeral no metadata.
var methods = map[string]method{
	"auth.test":  {do: (*Workspace).authTest},
	"users.info": {scope: "users:read", required: []string{"user"}, optional: []string{"include_locale"}, do: (*Workspace).usersInfo},
	"conversations.info": {
		required: []string{"channel"}, optional: []string{"include_locale", "include_num_members"}, do: (*Workspace).conversationsInfo,
	},
	"conversations.open": {
		scope: "im:write", required: []string{"users"}, optional: []string{"return_im"}, do: (*Workspace).conversationsOpen,
	},
	"conversations.history": {
		required: []string{"channel"}, optional: []string{"cursor", "inclusive", "latest", "oldest", "limit", "include_all_metadata"},
		do: (*Workspace).conversationsHistory,
	},
	"chat.postMessage": {
		scope: "chat:write", posts: true, required: []string{"channel", "text", "blocks"},
		optional: []string{"thread_ts", "metadata", "unfurl_links", "unfurl_media", "parse", "link_names", "mrkdwn"}, do: (*Workspace).postMessage,
	},
	"chat.postEphemeral": {
		scope: "chat:write", posts: true, required: []string{"channel", "user", "text", "blocks"},
		optional: []string{"thread_ts", "unfurl_links", "unfurl_media", "parse", "link_names"}, do: (*Workspace).postEphemeral,
	},
	"chat.update": {
		scope: "chat:write", required: []string{"channel", "ts"},
		optional: []string{"text", "blocks", "metadata", "parse", "link_names"}, do: (*Workspace).update,
	},
	"views.open":            {required: []string{"trigger_id", "view"}, do: (*Workspace).viewsOpen},
	"views.update":          {required: []string{"view"}, optional: []string{"view_id", "external_id", "hash"}, do: (*Workspace).viewsUpdate},
	"views.publish":         {required: []string{"user_id", "view"}, optional: []string{"hash"}, do: (*Workspace).viewsPublish},
	"apps.connections.open": {app: true, do: (*Workspace).connectionsOpen},
}

func text(args object, name string) string {
	s, _ := args[name].(string)
	return s
}

func (w *Workspace) may(scope string) bool { return slices.Contains(w.Scopes, scope) }

func (w *Workspace) authTest(object) answer {
	body := object{
		"url": "https://acme.slack.com/", "team": w.TeamName, "user": w.users[w.BotUser].Name,
		"team_id": w.Team, "user_id": w.BotUser, "bot_id": w.BotID, "is_enterprise_install": w.OrgWide,
	}
	if w.Enterprise != "" {
		body["enterprise_id"] = w.Enterprise
	}
	return good(body)
}

func (w *Workspace) usersInfo(args object) answer {
	u := w.users[text(args, "user")]
	if u == nil {
		return refuse("user_not_found")
	}
	team := u.Team
	if team == "" {
		team = w.Team
	}
	profile := object{"real_name": u.RealName, "display_name": u.DisplayName}
	if w.may("users:read.email") && u.Email != "" {
		profile["email"] = u.Email
	}
	body := object{
		"id": u.ID, "team_id": team, "name": u.Name, "real_name": u.RealName, "deleted": u.Deleted, "is_bot": u.Bot, "updated": 1700000000,
		"profile": profile, "is_email_confirmed": u.Confirmed,
	}
	// Slack does not send these for closed accounts.
	if !u.Deleted {
		body["is_restricted"], body["is_ultra_restricted"] = u.Guest || u.UltraGuest, u.UltraGuest
	}
	if u.Stranger {
		body["is_stranger"] = true
	}
	if u.Enterprise != "" {
		body["enterprise_user"] = object{"id": u.ID, "enterprise_id": u.Enterprise, "teams": u.Teams}
	}
	return good(object{"user": body})
}

// reach returns a conversation, and Slack's error code if the app may not post or read there.
func (w *Workspace) reach(id string) (*Channel, string) {
	if user, isDirect := strings.CutPrefix(id, "D"); isDirect && w.users[user] != nil {
		return &Channel{ID: id, Private: true, Members: []string{user, w.BotUser}}, ""
	}
	c := w.channels[id]
	switch {
	case c == nil, c.Private && !slices.Contains(c.Members, w.BotUser):
		return nil, "channel_not_found"
	case c.Archived:
		return c, "is_archived"
	case !slices.Contains(c.Members, w.BotUser):
		return c, "not_in_channel"
	}
	return c, ""
}

func (w *Workspace) conversationsInfo(args object) answer {
	c, code := w.reach(text(args, "channel"))
	if c == nil {
		return refuse(code)
	}
	if scope := map[bool]string{false: "channels:read", true: "groups:read"}[c.Private]; c.ID[0] != 'D' && !w.may(scope) {
		return answer{status: 200, body: object{"ok": false, "error": "missing_scope", "needed": scope, "provided": strings.Join(w.Scopes, ",")}}
	}
	return good(object{"channel": object{
		"id": c.ID, "name": c.Name, "is_channel": true, "is_private": c.Private, "is_archived": c.Archived, "created": 1700000000,
		"is_member": slices.Contains(c.Members, w.BotUser), "is_shared": c.ExtShared, "is_ext_shared": c.ExtShared, "is_pending_ext_shared": c.Pending,
	}})
}

func (w *Workspace) conversationsOpen(args object) answer {
	user := w.users[text(args, "users")]
	switch {
	case user == nil || user.Stranger:
		return refuse("user_not_found")
	case user.Deleted:
		return refuse("user_disabled")
	}
	return good(object{"channel": object{"id": direct(user.ID)}})
}

func (w *Workspace) conversationsHistory(args object) answer {
	c, code := w.reach(text(args, "channel"))
	if code != "" {
		return refuse(code)
	}
	scope := "channels:history"
	switch {
	case c.ID[0] == 'D':
		scope = "im:history"
	case c.Private:
		scope = "groups:history"
	}
	if !w.may(scope) {
		return answer{status: 200, body: object{"ok": false, "error": "missing_scope", "needed": scope, "provided": strings.Join(w.Scopes, ",")}}
	}
	list := []object{}
	for _, p := range slices.Backward(w.posts) {
		if p.Channel == c.ID && p.For == "" && p.Thread == "" && len(list) < 50 {
			list = append(list, w.message(p))
		}
	}
	return good(object{"messages": list, "has_more": false})
}

// message returns a post as an app reads it.
func (w *Workspace) message(p *Post) object {
	m := object{"type": "message", "user": p.By, "text": p.Text, "ts": p.TS}
	if p.By == w.BotUser {
		m["bot_id"], m["app_id"] = w.BotID, w.App
	}
	if p.Thread != "" {
		m["thread_ts"] = p.Thread
	}
	if p.Blocks != nil {
		m["blocks"] = p.Blocks
	}
	if p.Metadata != nil {
		m["metadata"] = p.Metadata
	}
	return m
}

// body reads text, blocks and metadata of a post. code is Slack's error code if one of them
// is wrong.
func (w *Workspace) body(name string, args object) (p Post, code string) {
	p = Post{Text: text(args, "text"), Sent: args}
	if utf8.RuneCountInString(p.Text) > 4000 {
		return p, "msg_too_long"
	}
	if strings.Contains(p.Text, "://") {
		w.violate("%s: the text contains an address, which notifications and previews show", name)
	}
	if strings.Contains(p.Text, "<!") || strings.Contains(p.Text, "<@") {
		w.violate("%s: the text contains a mention", name)
	}
	if blocks, there := args["blocks"]; there {
		p.Blocks, _ = json.Marshal(blocks)
		if faults := Lint("message", p.Blocks); len(faults) > 0 {
			w.violate("%s: %s", name, strings.Join(faults, "; "))
			return p, "invalid_blocks"
		}
	}
	if meta, there := args["metadata"].(object); there {
		if text(meta, "event_type") == "" || meta["event_payload"] == nil {
			return p, "invalid_metadata_format"
		}
		p.Metadata, _ = json.Marshal(meta)
	}
	return p, ""
}

func (w *Workspace) postMessage(args object) answer {
	id := text(args, "channel")
	if u := w.users[id]; u != nil {
		if u.Stranger || u.Deleted {
			return refuse("channel_not_found")
		}
		id = direct(u.ID)
	}
	c, code := w.reach(id)
	if code == "not_in_channel" && !c.Private && w.may("chat:write.public") {
		code = ""
	}
	if code != "" {
		return refuse(code)
	}
	p, code := w.body("chat.postMessage", args)
	if code != "" {
		return refuse(code)
	}
	p.Channel, p.TS, p.By, p.Thread = c.ID, w.stamp(), w.BotUser, text(args, "thread_ts")
	w.posts = append(w.posts, &p)
	return good(object{"channel": p.Channel, "ts": p.TS, "message": w.message(&p)})
}

func (w *Workspace) postEphemeral(args object) answer {
	c, code := w.reach(text(args, "channel"))
	switch {
	case code != "":
		return refuse(code)
	case !slices.Contains(c.Members, text(args, "user")):
		return refuse("user_not_in_channel")
	}
	p, code := w.body("chat.postEphemeral", args)
	if code != "" {
		return refuse(code)
	}
	p.Channel, p.TS, p.By, p.For, p.Thread = c.ID, w.stamp(), w.BotUser, text(args, "user"), text(args, "thread_ts")
	w.posts = append(w.posts, &p)
	return good(object{"message_ts": p.TS})
}

func (w *Workspace) update(args object) answer {
	if _, there := args["blocks"]; !there || text(args, "text") == "" {
		w.violate("chat.update: text and blocks must be sent together: one alone removes the other or leaves it unchanged")
	}
	for _, p := range w.posts {
		if p.Channel != text(args, "channel") || p.TS != text(args, "ts") {
			continue
		}
		switch {
		case p.For != "":
			return refuse("message_not_found") // ephemeral messages cannot be updated
		case p.By != w.BotUser:
			return refuse("cant_update_message")
		}
		fresh, code := w.body("chat.update", args)
		if code != "" {
			return refuse(code)
		}
		_, withText := args["text"]
		_, withBlocks := args["blocks"]
		if withText {
			p.Text = fresh.Text
		}
		if withText || withBlocks {
			p.Blocks = fresh.Blocks // text alone removes them
		}
		if fresh.Metadata != nil {
			p.Metadata = fresh.Metadata
		}
		p.Edited++
		return good(object{"channel": p.Channel, "ts": p.TS, "text": p.Text, "message": w.message(p)})
	}
	return refuse("message_not_found")
}

// triggerLife is how long a trigger_id is valid. It can be used once.
const triggerLife = 3 * time.Second

type trigger struct {
	user string
	born time.Time
	used bool
}

func (w *Workspace) newTrigger(user string) string {
	id := w.id("1234567890.") + ".feedface"
	w.triggers[id] = &trigger{user: user, born: time.Now()}
	return id
}

var slug = regexp.MustCompile(`^.{1,255}$`)

func (w *Workspace) viewsOpen(args object) answer {
	t := w.triggers[text(args, "trigger_id")]
	switch {
	case t == nil:
		return refuse("invalid_trigger_id")
	case t.used:
		return refuse("exchanged_trigger_id")
	case time.Since(t.born) > triggerLife:
		return refuse("expired_trigger_id")
	}
	v, code := w.view("views.open", "modal", args)
	if code != "" {
		return refuse(code)
	}
	if v.External != "" && slices.ContainsFunc(w.views, func(o *View) bool { return o.External == v.External && !o.Closed }) {
		return refuse("duplicate_external_id")
	}
	t.used = true
	v.ID, v.Hash, v.User = w.id("V"), w.id("hash"), t.user
	w.views = append(w.views, v)
	return good(object{"view": w.shown(v)})
}

func (w *Workspace) viewsUpdate(args object) answer {
	fresh, code := w.view("views.update", "modal", args)
	if code != "" {
		return refuse(code)
	}
	for _, v := range w.views {
		if v.Closed || v.ID != text(args, "view_id") && (v.External == "" || v.External != text(args, "external_id")) {
			continue
		}
		if hash := text(args, "hash"); hash != "" && hash != v.Hash {
			return refuse("hash_conflict")
		}
		v.Body, v.Hash = fresh.Body, w.id("hash")
		v.Changed++
		return good(object{"view": w.shown(v)})
	}
	return refuse("not_found")
}

func (w *Workspace) viewsPublish(args object) answer {
	user := text(args, "user_id")
	if w.users[user] == nil {
		return refuse("invalid_arguments")
	}
	v, code := w.view("views.publish", "home", args)
	if code != "" {
		return refuse(code)
	}
	v.ID, v.Hash, v.User = w.id("V"), w.id("hash"), user
	w.homes[user] = v
	return good(object{"view": w.shown(v)})
}

func (w *Workspace) view(name, kind string, args object) (*View, string) {
	body, isObject := args["view"].(object)
	if !isObject || text(body, "type") != kind {
		w.violate("%s: the view is not of type %s", name, kind)
		return nil, "invalid_arguments"
	}
	v := &View{External: text(body, "external_id")}
	v.Body, _ = json.Marshal(body)
	if faults := Lint(kind, v.Body); len(faults) > 0 {
		w.violate("%s: %s", name, strings.Join(faults, "; "))
		return nil, "invalid_arguments"
	}
	if v.External != "" && !slug.MatchString(v.External) {
		return nil, "invalid_arguments"
	}
	return v, ""
}

func (w *Workspace) shown(v *View) object {
	var body object
	json.Unmarshal(v.Body, &body)
	body["id"], body["hash"], body["team_id"], body["app_id"] = v.ID, v.Hash, w.Team, w.App
	body["state"] = object{"values": object{}}
	return body
}
