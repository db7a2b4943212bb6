package rules

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"
)

// A Placeholder stands for a value in a path, a query or a body: {customerId}.
type Placeholder string

// Values are the values of placeholders: texts, numbers, true or false, or lists.
type Values map[Placeholder]any

// A segment is one part of a path between slashes, or one value of a query. It has at
// most one placeholder, with text before and after it.
type segment struct {
	before      string
	placeholder Placeholder // empty if there is none
	after       string
}

func (s segment) String() string {
	if s.placeholder == "" {
		return s.before
	}
	return s.before + "{" + string(s.placeholder) + "}" + s.after
}

// literal matches the text of a path or a query. None of its characters needs escaping,
// so it is sent as written.
var literal = regexp.MustCompile(`^[A-Za-z0-9._~:-]*$`)

// parseSegment reads a segment. Its errors do not contain the text.
func parseSegment(text string) (segment, error) {
	before, rest, has := strings.Cut(text, "{")
	if !has {
		if !literal.MatchString(text) {
			return segment{}, errLiteral
		}
		return segment{before: text}, nil
	}
	name, after, ended := strings.Cut(rest, "}")
	switch {
	case !ended || !placeholderForm.MatchString(name):
		return segment{}, errors.New("has a malformed placeholder; write it like {customerId}")
	case strings.ContainsAny(after, "{}"):
		return segment{}, errors.New("has two placeholders between two slashes, and it is not clear where one ends; use one")
	case !literal.MatchString(before) || !literal.MatchString(after):
		return segment{}, errLiteral
	}
	return segment{before, Placeholder(name), after}, nil
}

var (
	placeholderForm = regexp.MustCompile(`^[a-z]+([A-Z][a-z]+)*$`)
	errLiteral      = errors.New("has a character that is not allowed; use letters, digits and . _ ~ : - only, so no %, ? or #")
)

// parsePath reads a path below the address of the API. It refuses every path that leads
// to another host or above that address.
func parsePath(text string) ([]segment, error) {
	rest, ok := strings.CutPrefix(text, "/")
	switch {
	case !ok:
		return nil, errors.New("does not begin with a slash; write what follows the address of the API, such as /customer/{customerId}")
	case strings.HasPrefix(rest, "/"):
		return nil, errors.New("begins with two slashes, which would lead to another host; keep one")
	case len(text) > 512:
		return nil, errors.New("is longer than 512 bytes; shorten it")
	}
	var path []segment
	for part := range strings.SplitSeq(rest, "/") {
		s, err := parseSegment(part)
		switch {
		case err != nil:
			return nil, err
		case part == "":
			return nil, errors.New("has an empty part between two slashes or after the last one; remove a slash")
		case part == "." || part == "..":
			return nil, errors.New("has . or .. between slashes; write the path without them")
		}
		path = append(path, s)
	}
	return path, nil
}

// ValidPath reports whether path is valid for an endpoint.
func ValidPath(path string) bool {
	_, err := parsePath(path)
	return err == nil
}

// fill returns the segment with the value in it, escaped by escape.
func (s segment) fill(values Values, escape func(string) string) (string, error) {
	if s.placeholder == "" {
		return s.before, nil
	}
	text, err := text(values[s.placeholder])
	if err != nil {
		return "", fmt.Errorf("{%s}: %w", s.placeholder, err)
	}
	return s.before + escape(text) + s.after, nil
}

func text(v any) (string, error) {
	switch v := v.(type) {
	case string:
		if v == "" || len(v) > 256 || !Printable(v) {
			return "", errors.New("the value is empty, longer than 256 bytes, or has a character that cannot be printed")
		}
		return v, nil
	case int:
		return strconv.Itoa(v), nil
	case bool:
		return strconv.FormatBool(v), nil
	}
	return "", errors.New("there is no value")
}

// fillPath returns the escaped path with values in it.
func fillPath(path []segment, values Values) (string, error) {
	var b strings.Builder
	for _, s := range path {
		part, err := s.fill(values, url.PathEscape)
		switch {
		case err != nil:
			return "", err
		case part == "." || part == "..":
			return "", fmt.Errorf("{%s}: the value . or .. would lead to another path", s.placeholder)
		}
		b.WriteString("/" + part)
	}
	return b.String(), nil
}

const maxBodyDepth = 8

// body reads the template of a body. A text that is only a placeholder later becomes its
// value, of any type; all else stays as written. It calls use for each placeholder.
func (f *reader) body(n *yaml.Node, depth int, use func(line int, name Placeholder)) any {
	switch {
	case depth > maxBodyDepth:
		f.Add(n.Line, "body is nested too deep; use fewer levels")
	case n.Kind == yaml.MappingNode:
		m := map[string]any{}
		for pair := range slices.Chunk(n.Content, 2) {
			if pair[0].Kind != yaml.ScalarNode || strings.ContainsAny(pair[0].Value, "{}") {
				f.Add(pair[0].Line, "body has a key that is not plain text; write a text without { and }")
				continue
			}
			if _, twice := m[pair[0].Value]; twice {
				f.Add(pair[0].Line, "body has a key twice; keep one of them")
			}
			m[pair[0].Value] = f.body(pair[1], depth+1, use)
		}
		return m
	case n.Kind == yaml.SequenceNode:
		all := []any{}
		for _, item := range n.Content {
			all = append(all, f.body(item, depth+1, use))
		}
		return all
	case n.Kind == yaml.ScalarNode && n.ShortTag() == "!!str":
		name, begins := strings.CutPrefix(n.Value, "{")
		name, ends := strings.CutSuffix(name, "}")
		switch {
		case begins && ends && placeholderForm.MatchString(name):
			use(n.Line, Placeholder(name))
			return Placeholder(name)
		case strings.ContainsAny(n.Value, "{}"):
			f.Add(n.Line, "body has a text with a placeholder and other characters; write only the placeholder")
		}
		return n.Value
	case n.Kind == yaml.ScalarNode && slices.Contains([]string{"!!int", "!!bool", "!!null", "!!float"}, n.ShortTag()):
		var v any
		err := n.Decode(&v)
		if err == nil {
			_, err = json.Marshal(v) // JSON has no .nan and no .inf
		}
		if err != nil {
			f.Add(n.Line, "body has a value that JSON cannot contain; put it in quotes")
		}
		return v
	default:
		f.Add(n.Line, "body has a value that JSON cannot contain; write texts, numbers, true or false")
	}
	return nil
}

// fillBody returns the body with values in it. It omits members whose placeholder has no
// value.
func fillBody(template any, values Values) any {
	switch t := template.(type) {
	case map[string]any:
		m := map[string]any{}
		for key, item := range t {
			if name, is := item.(Placeholder); is && values[name] == nil {
				continue
			}
			m[key] = fillBody(item, values)
		}
		return m
	case []any:
		all := []any{}
		for _, item := range t {
			all = append(all, fillBody(item, values))
		}
		return all
	case Placeholder:
		return values[t]
	}
	return template
}

// forEachPlaceholder calls do with each placeholder of a body.
func forEachPlaceholder(template any, do func(Placeholder)) {
	switch t := template.(type) {
	case map[string]any:
		for _, item := range t {
			forEachPlaceholder(item, do)
		}
	case []any:
		for _, item := range t {
			forEachPlaceholder(item, do)
		}
	case Placeholder:
		do(t)
	}
}
