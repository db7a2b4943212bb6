package slacktest

import (
	"encoding/json"
	"fmt"
	"slices"
	"unicode/utf8"
)

// Lint checks blocks or a view for Slack's documented limits and fields, and returns a
// description of each fault. surface is "message", "modal" or "home"; raw is an array of
// blocks for a message, otherwise a view.
//
// The limits are those of docs.slack.dev/reference/block-kit and of @slack/types.
func Lint(surface string, raw json.RawMessage) []string {
	l := &lint{ids: map[string]bool{}}
	var blocks []any
	most := 50
	if surface == "message" {
		if json.Unmarshal(raw, &blocks) != nil {
			return []string{"blocks are not an array"}
		}
	} else {
		var view object
		if json.Unmarshal(raw, &view) != nil {
			return []string{"the view is not an object"}
		}
		most = 100
		blocks, _ = view["blocks"].([]any)
		l.fields("view", view, viewFields[surface])
		for _, name := range []string{"title", "submit", "close"} {
			if v, there := view[name]; there {
				l.text("view."+name, v, 24)
			}
		}
		l.length("view.callback_id", view["callback_id"], 255)
		l.length("view.private_metadata", view["private_metadata"], 3000)
		if surface == "modal" && view["title"] == nil {
			l.fault("the view has no title")
		}
	}
	if len(blocks) == 0 || len(blocks) > most {
		l.fault("there are %d blocks", len(blocks))
	}
	inputs := 0
	for i, b := range blocks {
		block, _ := b.(object)
		l.block(fmt.Sprintf("block %d", i), surface, block)
		if block["type"] == "input" {
			inputs++
		}
	}
	if surface == "modal" && inputs > 0 {
		var view object
		json.Unmarshal(raw, &view)
		if view["submit"] == nil {
			l.fault("a dialog with an input has no submit")
		}
	}
	return l.faults
}

var viewFields = map[string][]string{
	"modal": {"type", "title", "blocks", "close", "submit", "private_metadata", "callback_id", "clear_on_close", "notify_on_close", "external_id"},
	"home":  {"type", "blocks", "private_metadata", "callback_id", "external_id"},
}

var blockFields = map[string][]string{
	"header":  {"text"},
	"section": {"text", "fields", "accessory", "expand"},
	"actions": {"elements"},
	"context": {"elements"},
	"divider": {},
	"input":   {"label", "element", "dispatch_action", "hint", "optional"},
}

var elementFields = map[string][]string{
	"button":           {"type", "text", "action_id", "url", "value", "style", "confirm", "accessibility_label"},
	"plain_text_input": {"type", "action_id", "initial_value", "multiline", "min_length", "max_length", "dispatch_action_config", "focus_on_load", "placeholder"},
}

type lint struct {
	faults []string
	ids    map[string]bool
}

func (l *lint) fault(format string, args ...any) {
	l.faults = append(l.faults, fmt.Sprintf(format, args...))
}

func (l *lint) fields(where string, v object, known []string) {
	for name := range v {
		if !slices.Contains(known, name) {
			l.fault("%s has no field %s", where, name)
		}
	}
}

func (l *lint) length(where string, v any, most int) {
	s, isText := v.(string)
	if v != nil && !isText {
		l.fault("%s is not a text", where)
	}
	if utf8.RuneCountInString(s) > most {
		l.fault("%s is longer than %d", where, most)
	}
}

// text checks a text object. It does not accept mrkdwn, in which a visitor's text could be
// markup.
func (l *lint) text(where string, v any, most int) {
	o, _ := v.(object)
	if o == nil {
		l.fault("%s is not a text object", where)
		return
	}
	l.fields(where, o, []string{"type", "text", "emoji"})
	if o["type"] != "plain_text" {
		l.fault("%s is not plain_text", where)
	}
	if o["text"] == "" || o["text"] == nil {
		l.fault("%s is empty", where)
	}
	l.length(where, o["text"], most)
}

func (l *lint) block(where, surface string, b object) {
	kind, _ := b["type"].(string)
	known, ok := blockFields[kind]
	if !ok {
		l.fault("%s is of the unknown type %q", where, kind)
		return
	}
	l.fields(where, b, append([]string{"type", "block_id"}, known...))
	l.length(where+".block_id", b["block_id"], 255)
	if id, _ := b["block_id"].(string); id != "" {
		if l.ids[id] {
			l.fault("the block_id %s is used twice", id)
		}
		l.ids[id] = true
	}
	switch kind {
	case "header":
		l.text(where, b["text"], 150)
	case "section":
		list, _ := b["fields"].([]any)
		if b["text"] == nil && len(list) == 0 || len(list) > 10 {
			l.fault("%s has no text, or %d fields", where, len(list))
		}
		if b["text"] != nil {
			l.text(where, b["text"], 3000)
		}
		for _, f := range list {
			l.text(where+" field", f, 2000)
		}
	case "actions":
		l.elements(where, b)
	case "input":
		if surface == "message" {
			l.fault("%s: an input in a message", where)
		}
		l.text(where+".label", b["label"], 2000)
		if b["hint"] != nil {
			l.text(where+".hint", b["hint"], 2000)
		}
		e, _ := b["element"].(object)
		l.element(where+".element", e)
	}
}

func (l *lint) elements(where string, b object) {
	list, _ := b["elements"].([]any)
	if len(list) == 0 || len(list) > 25 {
		l.fault("%s has %d elements", where, len(list))
	}
	seen, primary := map[any]bool{}, 0
	for i, v := range list {
		e, _ := v.(object)
		l.element(fmt.Sprintf("%s element %d", where, i), e)
		if id := e["action_id"]; id != nil {
			if seen[id] {
				l.fault("%s: the action_id %v is used twice", where, id)
			}
			seen[id] = true
		}
		if e["style"] == "primary" {
			primary++
		}
	}
	if primary > 1 {
		l.fault("%s has %d primary buttons", where, primary)
	}
}

func (l *lint) element(where string, e object) {
	kind, _ := e["type"].(string)
	known, ok := elementFields[kind]
	if !ok {
		l.fault("%s is of the unknown type %q", where, kind)
		return
	}
	l.fields(where, e, known)
	l.length(where+".action_id", e["action_id"], 255)
	switch kind {
	case "button":
		l.text(where, e["text"], 75)
		l.length(where+".value", e["value"], 2000)
		l.length(where+".url", e["url"], 3000)
		l.length(where+".accessibility_label", e["accessibility_label"], 75)
		if style := e["style"]; style != nil && style != "primary" && style != "danger" {
			l.fault("%s has the style %v", where, style)
		}
		if e["url"] != nil && e["confirm"] != nil {
			l.fault("%s: Slack does not document a confirmation on a link", where)
		}
	case "plain_text_input":
		if e["placeholder"] != nil {
			l.text(where+".placeholder", e["placeholder"], 150)
		}
		if n, _ := e["min_length"].(float64); n > 3000 {
			l.fault("%s.min_length is over 3000", where)
		}
	}
}
