package policy

import (
	"regexp"
	"slices"
	"strings"
)

// Values are the values of the placeholders in Profile.InitialNotes.
type Values struct {
	Agent     string // replaces {agent}: the name of the agent
	Connector string // replaces {connector}: the name of the connector
	Chat      string // replaces {chat}: the id of the conversation
	Reason    string // replaces {reason}: how the visitor was matched
}

var placeholders = []string{"{agent}", "{connector}", "{chat}", "{reason}"}

// ofPlaceholders returns the values of placeholders, in the same order.
func (v Values) ofPlaceholders() []string { return []string{v.Agent, v.Connector, v.Chat, v.Reason} }

// Notes returns InitialNotes with the placeholders replaced. Placeholders inside of values are not replaced.
func (p Profile) Notes(v Values) string {
	if p.InitialNotes == "" {
		return ""
	}
	var pairs []string
	for i, value := range v.ofPlaceholders() {
		pairs = append(pairs, placeholders[i], value)
	}
	return strings.NewReplacer(pairs...).Replace(p.InitialNotes)
}

var placeholderForm = regexp.MustCompile(`\{[^{}]*\}`)

// unknownPlaceholder reports whether a template has a placeholder that is not in placeholders.
func unknownPlaceholder(template string) bool {
	return slices.ContainsFunc(placeholderForm.FindAllString(template, -1), func(found string) bool {
		return !slices.Contains(placeholders, found)
	})
}
