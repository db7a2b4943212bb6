package templates

import (
	"html/template"
	"slices"
	"strings"

	"cobrowse-bridge/templates/clean"
)

// Longest texts in runes; what is longer is cut and ends in "…".
const (
	maxName  = 60
	maxShort = 40 // a name in the title of a card
	maxFact  = 90
	maxNote  = 220 // what an agent wrote about a session
	maxID    = 220 // an issuer's address may be a part of it
	maxCause = 320 // an error, for those who run the bridge
)

// breakable returns an address in which a line may break after each slash.
func breakable(address string) template.HTML {
	if address == "" {
		return ""
	}
	return template.HTML("<bdi>" + strings.ReplaceAll(template.HTMLEscapeString(address), "/", "/<wbr>") + "</bdi>")
}

// cleanLink drops a link to anything but a web page. An empty label becomes label.
func cleanLink(l Link, label string) Link {
	if !clean.IsLink(l.Address) {
		return Link{}
	}
	if l.Label = clean.Text(l.Label, maxShort); l.Label == "" {
		l.Label = label
	}
	return l
}

// joined lists the facts that are not empty.
func joined(facts ...string) string {
	return strings.Join(slices.DeleteFunc(facts, func(f string) bool { return f == "" }), " · ")
}
