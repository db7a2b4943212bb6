package slacktest

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"
)

// Sign returns the headers of a request with this body, signed now.
func (w *Workspace) Sign(body []byte) http.Header {
	return Sign(w.Secret, time.Now().Add(w.Skew), body)
}

// Sign returns the headers of a request with this body, signed with secret at a time.
func Sign(secret string, at time.Time, body []byte) http.Header {
	unix := strconv.FormatInt(at.Unix(), 10)
	mac := hmac.New(sha256.New, []byte(secret))
	fmt.Fprintf(mac, "v0:%s:%s", unix, body)
	return http.Header{
		"X-Slack-Request-Timestamp": {unix},
		"X-Slack-Signature":         {"v0=" + hex.EncodeToString(mac.Sum(nil))},
		"User-Agent":                {"Slackbot 1.0 (+https://api.slack.com/robots)"},
	}
}

// Retry returns the n-th retry of an event, with Slack's reason for it. It has another
// event_id, since Slack does not always keep it.
func (w *Workspace) Retry(body []byte, n int, reason string) ([]byte, http.Header) {
	var event object
	if err := json.Unmarshal(body, &event); err != nil {
		panic(err)
	}
	w.mu.Lock()
	event["event_id"] = w.id("Ev")
	w.mu.Unlock()
	body = encode(event)
	h := w.Sign(body)
	h.Set("X-Slack-Retry-Num", strconv.Itoa(n))
	h.Set("X-Slack-Retry-Reason", reason)
	return body, h
}

// CommandFields returns the fields of a slash command.
func (w *Workspace) CommandFields(user, channel, text string) url.Values {
	w.mu.Lock()
	defer w.mu.Unlock()
	form := url.Values{
		"token": {"deprecated"}, "team_domain": {"acme"}, "channel_id": {channel}, "channel_name": {"directmessage"},
		"user_id": {user}, "user_name": {"somebody"}, "command": {"/cobrowse"}, "text": {text}, "api_app_id": {w.App},
		"is_enterprise_install": {strconv.FormatBool(w.OrgWide)},
		"response_url":          {w.newResponse("commands", user, channel, "")},
		"trigger_id":            {w.newTrigger(user)},
	}
	if !w.OrgWide {
		form.Set("team_id", w.Team)
	}
	if w.Enterprise != "" {
		form.Set("enterprise_id", w.Enterprise)
		form.Set("enterprise_name", "Acme Group")
	}
	return form
}

// Command returns the body of a slash command.
func (w *Workspace) Command(user, channel, text string) []byte {
	return []byte(w.CommandFields(user, channel, text).Encode())
}

// form returns the body of a request with an interaction's payload.
func form(payload object) []byte {
	return []byte(url.Values{"payload": {string(encode(payload))}}.Encode())
}

func encode(v any) []byte {
	data, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return data
}

// interaction returns the fields that all payloads have. If the app is installed in an
// organisation, team is null, and is_enterprise_install is sometimes a string.
func (w *Workspace) interaction(kind, user string) object {
	team := w.Team
	if u := w.users[user]; u != nil && u.Team != "" {
		team = u.Team
	}
	p := object{
		"type": kind, "token": "deprecated", "api_app_id": w.App, "action_ts": w.stamp(),
		"team": object{"id": w.Team, "domain": "acme"}, "enterprise": nil, "is_enterprise_install": w.OrgWide,
		"user":       object{"id": user, "username": "somebody", "name": "somebody", "team_id": team},
		"trigger_id": w.newTrigger(user),
	}
	if w.Enterprise != "" {
		p["enterprise"] = object{"id": w.Enterprise, "name": "Acme Group"}
	}
	if w.OrgWide {
		p["team"], p["is_enterprise_install"] = nil, "true"
	}
	return p
}

// Press returns the body of a press on button n of a post. The first button is 0.
func (w *Workspace) Press(user string, p Post, n int) []byte { return form(w.PressPayload(user, p, n)) }

// PressPayload returns the payload of a press.
func (w *Workspace) PressPayload(user string, p Post, n int) map[string]any {
	w.mu.Lock()
	defer w.mu.Unlock()
	buttons := Buttons(p.Blocks)
	if n >= len(buttons) {
		panic(fmt.Sprintf("slacktest: the post has %d buttons", len(buttons)))
	}
	b := buttons[n]
	action := object{"type": "button", "action_id": b.Action, "block_id": "b1", "action_ts": w.stamp(), "text": object{"type": "plain_text", "text": b.Label}}
	if b.Value != "" {
		action["value"] = b.Value
	}
	if b.URL != "" {
		action["url"] = b.URL
	}
	payload := w.interaction("block_actions", user)
	delete(payload, "action_ts")
	payload["actions"] = []object{action}
	payload["channel"] = object{"id": p.Channel, "name": "privategroup"}
	payload["response_url"] = w.newResponse("actions", user, p.Channel, p.TS)
	container := object{"type": "message", "message_ts": p.TS, "channel_id": p.Channel, "is_ephemeral": p.For != ""}
	if p.Thread != "" {
		container["thread_ts"] = p.Thread
	}
	payload["container"] = container
	if p.For == "" {
		payload["message"] = w.message(&p)
	}
	return payload
}

// A Button is a button of a post or a view.
type Button struct{ Label, Action, Value, URL, Style string }

// Buttons returns the buttons in blocks, in order.
func Buttons(blocks json.RawMessage) (all []Button) {
	var list []struct {
		Elements []struct {
			Text struct {
				Text string `json:"text"`
			} `json:"text"`
			Action string `json:"action_id"`
			Value  string `json:"value"`
			URL    string `json:"url"`
			Style  string `json:"style"`
		} `json:"elements"`
	}
	json.Unmarshal(blocks, &list)
	for _, b := range list {
		for _, e := range b.Elements {
			all = append(all, Button{e.Text.Text, e.Action, e.Value, e.URL, e.Style})
		}
	}
	return all
}

// Shortcut returns the body of a global shortcut.
func (w *Workspace) Shortcut(user, callback string) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.interaction("shortcut", user)
	p["callback_id"] = callback
	return form(p)
}

// MessageShortcut returns the body of a shortcut at a message.
func (w *Workspace) MessageShortcut(user, callback string, at Post) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.interaction("message_action", user)
	p["callback_id"] = callback
	p["channel"] = object{"id": at.Channel, "name": "general"}
	p["message"], p["message_ts"] = w.message(&at), at.TS
	p["response_url"] = w.newResponse("app", user, at.Channel, at.TS)
	return form(p)
}

// Submit returns the body of a submitted dialog, with the text typed into an input.
func (w *Workspace) Submit(v View, block, input, typed string) []byte {
	return form(w.SubmitPayload(v, block, input, typed))
}

// SubmitPayload returns the payload of a submitted dialog.
func (w *Workspace) SubmitPayload(v View, block, input, typed string) map[string]any {
	w.mu.Lock()
	defer w.mu.Unlock()
	p := w.interaction("view_submission", v.User)
	delete(p, "action_ts")
	view := w.shown(&v)
	view["state"] = object{"values": object{block: object{input: object{"type": "plain_text_input", "value": typed}}}}
	p["view"], p["response_urls"] = view, []any{}
	return p
}

// Mention returns the body of an event for a message that mentions the app. thread is empty
// outside threads.
func (w *Workspace) Mention(user, channel, thread, text string) []byte {
	e := object{"type": "app_mention", "user": user, "channel": channel, "text": "<@" + w.BotUser + "> " + text}
	if thread != "" {
		e["thread_ts"] = thread
	}
	return w.Event(e)
}

// HomeOpened returns the body of an event for a user who opens the app. tab is "home" or
// "messages".
func (w *Workspace) HomeOpened(user, tab string) []byte {
	return w.Event(object{"type": "app_home_opened", "user": user, "channel": direct(user), "tab": tab})
}

// Event returns the body of a request with an inner event.
func (w *Workspace) Event(inner map[string]any) []byte {
	w.mu.Lock()
	defer w.mu.Unlock()
	ts := w.stamp()
	inner["event_ts"] = ts
	if inner["ts"] == nil && inner["type"] == "app_mention" {
		inner["ts"] = ts
	}
	authorization := object{"enterprise_id": nil, "team_id": w.Team, "user_id": w.BotUser, "is_bot": true, "is_enterprise_install": w.OrgWide}
	if w.Enterprise != "" {
		authorization["enterprise_id"] = w.Enterprise
	}
	if w.OrgWide {
		authorization["team_id"] = nil
	}
	return encode(object{
		"type": "event_callback", "token": "deprecated", "team_id": w.Team, "api_app_id": w.App, "event": inner,
		"event_id": w.id("Ev"), "event_time": time.Now().Unix(), "authorizations": []object{authorization}, "is_ext_shared_channel": false,
	})
}
