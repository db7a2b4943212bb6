package templates

import (
	"fmt"
	"html/template"
	"strconv"
	"strings"
)

// A wording is one text in its variants, which may have placeholders such as
// {name}. The first variant whose placeholders all have values is used, or else
// the last one.
type wording []string

// values are the values of placeholders by name: a string, a list of strings, a
// number or a moment. Empty strings and lists, 0 and the zero moment count as
// missing.
type values map[string]any

// plain is the text for a chat message, a title or an attribute.
func (w wording) plain(v values) string {
	return w.fill(v, func(s string) string { return s }, func(value any) string {
		switch value := value.(type) {
		case []string:
			return strings.Join(value, ", ")
		case moment:
			return value.Ago
		}
		return fmt.Sprint(value)
	})
}

// A decimal is a number with a fraction, as text; empty if there is none.
type decimal string

// html is the text for a page. Each string stands in a <bdi>, so that one written
// from right to left leaves the words around it in order.
func (w wording) html(v values) template.HTML {
	isolated := func(s string) string { return "<bdi>" + template.HTMLEscapeString(s) + "</bdi>" }
	return template.HTML(w.fill(v, template.HTMLEscapeString, func(value any) string {
		switch value := value.(type) {
		case []string:
			all := make([]string, len(value))
			for i, s := range value {
				all[i] = isolated(s)
			}
			return strings.Join(all, ", ")
		case moment:
			return string(value.HTML())
		case int:
			return strconv.Itoa(value)
		case decimal:
			return template.HTMLEscapeString(string(value))
		}
		return isolated(fmt.Sprint(value))
	}))
}

// fill puts values into the variant that they fit.
func (w wording) fill(v values, words func(string) string, value func(any) string) string {
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
	case moment:
		return value.Ago == ""
	}
	return false
}

// A plural is a text for one and a text for any other number, which {n} stands for.
type plural struct{ one, other string }

func (p plural) of(n int) string {
	if n == 1 {
		return p.one
	}
	return strings.ReplaceAll(p.other, "{n}", strconv.Itoa(n))
}

// pageTexts are the texts of all layouts by id, which begins with the layout's name.
var pageTexts = func() map[string]wording {
	all := make(map[string]wording)
	for _, texts := range []map[string]wording{
		frameTexts, doorTexts, connectTexts, noticeTexts, deskTexts, operationsTexts, auditTexts, eraseTexts,
	} {
		for id, w := range texts {
			if all[id] != nil {
				panic("two texts with the id " + id)
			}
			all[id] = w
		}
	}
	return all
}()

// pageText is the function "text" of the layouts, plainText the function "plain" for
// attributes. Names of placeholders and their values follow the id.
func pageText(id string, pairs ...any) template.HTML { return pageTexts[id].html(valuesOf(pairs)) }

func plainText(id string, pairs ...any) string { return pageTexts[id].plain(valuesOf(pairs)) }

func valuesOf(pairs []any) values {
	v := make(values, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		v[fmt.Sprint(pairs[i])] = pairs[i+1]
	}
	return v
}
