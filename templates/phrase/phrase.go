// Package phrase has texts in several variants, with placeholders.
package phrase

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
)

// A Wording is one text in its variants, which may have placeholders such as
// {name}. The first variant whose placeholders all have values is used, or else
// the last one.
type Wording []string

// Values are the values of placeholders by name: a string, a list of strings, a number or a Shown. Empty
// ones, and 0, count as missing.
type Values map[string]any

// Plain is the text for a chat message, a title or an attribute.
func (w Wording) Plain(v Values) string {
	return w.fill(v, func(s string) string { return s }, func(value any) string {
		switch value := value.(type) {
		case []string:
			return strings.Join(value, ", ")
		case Shown:
			return value.Plain()
		}
		return fmt.Sprint(value)
	})
}

// HTML is the text for a page. Each string stands in a <bdi>, so that one written
// from right to left leaves the words around it in order.
func (w Wording) HTML(v Values) template.HTML {
	isolated := func(s string) string { return "<bdi>" + template.HTMLEscapeString(s) + "</bdi>" }
	return template.HTML(w.fill(v, template.HTMLEscapeString, func(value any) string {
		switch value := value.(type) {
		case []string:
			all := make([]string, len(value))
			for i, s := range value {
				all[i] = isolated(s)
			}
			return strings.Join(all, ", ")
		case Shown:
			return string(value.HTML())
		case int:
			return strconv.Itoa(value)
		}
		return isolated(fmt.Sprint(value))
	}))
}

// fill puts values into the variant that they fit.
func (w Wording) fill(v Values, words func(string) string, value func(any) string) string {
	for i, variant := range w {
		var b strings.Builder
		complete := true
		for variant != "" {
			before, rest, found := strings.Cut(variant, "{")
			b.WriteString(words(before))
			if !found {
				break
			}
			var name string
			name, variant, _ = strings.Cut(rest, "}")
			if isMissing(v[name]) {
				complete = false
				continue
			}
			b.WriteString(value(v[name]))
		}
		if complete || i == len(w)-1 {
			return b.String()
		}
	}
	return ""
}

func isMissing(value any) bool {
	switch value := value.(type) {
	case nil:
		return true
	case string:
		return value == ""
	case []string:
		return len(value) == 0
	case int:
		return value == 0
	case Shown:
		return value.Plain() == ""
	}
	return false
}

// A Shown is a value with a form for messages and one for pages.
type Shown interface {
	Plain() string
	HTML() template.HTML
}

// A Plural is a text for one and a text for any other number, which {n} stands for.
type Plural [2]string

// Of returns the text for n.
func (p Plural) Of(n int) string {
	if n == 1 {
		return p[0]
	}
	return strings.ReplaceAll(p[1], "{n}", strconv.Itoa(n))
}
