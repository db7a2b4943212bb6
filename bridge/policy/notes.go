package policy

import (
	"regexp"
	"slices"
	"strings"
)

// Values stand for the placeholders of InitialNotes.
type Values struct {
	Agent     string // {agent}
	Connector string // {connector}
	Chat      string // {chat}
	Reason    string // {reason}
}

var placeholders = []string{"{agent}", "{connector}", "{chat}", "{reason}"}

// Notes is InitialNotes with the values in place. Values are taken as they are:
// braces in them stand for nothing.
func (p Profile) Notes(v Values) string {
	if p.InitialNotes == "" {
		return ""
	}
	return strings.NewReplacer(
		"{agent}", v.Agent, "{connector}", v.Connector, "{chat}", v.Chat, "{reason}", v.Reason,
	).Replace(p.InitialNotes)
}

var placeholder = regexp.MustCompile(`\{[^{}]*\}`)

// strangePlaceholder reports whether a template has a placeholder that stands
// for nothing.
func strangePlaceholder(template string) bool {
	return slices.ContainsFunc(placeholder.FindAllString(template, -1), func(found string) bool {
		return !slices.Contains(placeholders, found)
	})
}
