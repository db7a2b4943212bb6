package chatvisor

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

// A placeholder stands for a value in a path, a query or a body: {customerId}.
type placeholder string

// A segment is one part of a path between slashes, or one value of a query: some
// text, at most one placeholder, and some text.
type segment struct {
	before string
	holds  placeholder // empty for none
	after  string
}

func (s segment) String() string {
	if s.holds == "" {
		return s.before
	}
	return s.before + "{" + string(s.holds) + "}" + s.after
}

// literal is what may be written into a path or a query as it is. Nothing in it
// is escaped, so that what is sent is what can be read.
var literal = regexp.MustCompile(`^[A-Za-z0-9._~:-]*$`)

// parseSegment reads a segment; what is wrong with it is told without its text.
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
		return segment{}, errors.New("has a placeholder that is none; write it like {customerId}")
	case strings.ContainsAny(after, "{}"):
		return segment{}, errors.New("has two placeholders between two slashes; where one ends could not be told, so use one")
	case !literal.MatchString(before) || !literal.MatchString(after):
		return segment{}, errLiteral
	}
	return segment{before, placeholder(name), after}, nil
}

var (
	placeholderForm = regexp.MustCompile(`^[a-z]+([A-Z][a-z]+)*$`)
	errLiteral      = errors.New("has a character that is not accepted; there are letters, digits and . _ ~ : -, and no %, ? or #")
)

// parsePath reads a path below the address of the API. It can lead to no other
// host and to nothing above that address.
func parsePath(text string) ([]segment, error) {
	rest, ok := strings.CutPrefix(text, "/")
	switch {
	case !ok:
		return nil, errors.New("does not begin with a slash; write what follows the address of the API, such as /customer/{customerId}")
	case strings.HasPrefix(rest, "/"):
		return nil, errors.New("begins with two slashes, which would be another host; keep one")
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
			return nil, errors.New("has nothing between two slashes, or after the last; remove one")
		case part == "." || part == "..":
			return nil, errors.New("has . or .. between slashes; write where it leads")
		}
		path = append(path, s)
	}
	return path, nil
}

// fill puts in the value, which is escaped by the caller's way.
func (s segment) fill(values map[placeholder]any, escape func(string) string) (string, error) {
	if s.holds == "" {
		return s.before, nil
	}
	v, err := text(values[s.holds])
	if err != nil {
		return "", fmt.Errorf("{%s}: %w", s.holds, err)
	}
	return s.before + escape(v) + s.after, nil
}

func text(v any) (string, error) {
	switch v := v.(type) {
	case string:
		if v == "" || len(v) > 256 || !printable(v) {
			return "", errors.New("the value is empty, too long, or holds a line end")
		}
		return v, nil
	case int:
		return strconv.Itoa(v), nil
	case bool:
		return strconv.FormatBool(v), nil
	}
	return "", errors.New("there is no value")
}

// fillPath writes a path, escaped.
func fillPath(path []segment, values map[placeholder]any) (string, error) {
	var b strings.Builder
	for _, s := range path {
		part, err := s.fill(values, url.PathEscape)
		switch {
		case err != nil:
			return "", err
		case part == "." || part == "..":
			return "", fmt.Errorf("{%s}: the value would lead to another path", s.holds)
		}
		b.WriteString("/" + part)
	}
	return b.String(), nil
}

const maxBodyDepth = 8

// body reads the template of a body: scalars stay as they are, and a text that is
// a placeholder and nothing else becomes its value, of whatever type. use is told of
// each with its line.
func (f *faults) body(n *yaml.Node, depth int, use func(line int, name placeholder)) any {
	switch {
	case depth > maxBodyDepth:
		f.add(n.Line, "body is nested too deep; flatten it")
	case n.Kind == yaml.MappingNode:
		m := map[string]any{}
		for pair := range slices.Chunk(n.Content, 2) {
			if pair[0].Kind != yaml.ScalarNode || strings.ContainsAny(pair[0].Value, "{}") {
				f.add(pair[0].Line, "a key of body is no plain word; mend it")
				continue
			}
			if _, twice := m[pair[0].Value]; twice {
				f.add(pair[0].Line, "body has a key twice; keep one of them")
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
			use(n.Line, placeholder(name))
			return placeholder(name)
		case strings.ContainsAny(n.Value, "{}"):
			f.add(n.Line, "body has a text with a placeholder and something else in it; let the placeholder stand alone")
		}
		return n.Value
	case n.Kind == yaml.ScalarNode && slices.Contains([]string{"!!int", "!!bool", "!!null", "!!float"}, n.ShortTag()):
		var v any
		err := n.Decode(&v)
		if err == nil {
			_, err = json.Marshal(v) // has no .nan and no .inf
		}
		if err != nil {
			f.add(n.Line, "body has something that cannot be sent; put it in quotes")
		}
		return v
	default:
		f.add(n.Line, "body has something that cannot be sent; write texts, numbers, true or false")
	}
	return nil
}

// fillBody puts in the values. Members of an object for which there is none are
// left out.
func fillBody(template any, values map[placeholder]any) any {
	switch t := template.(type) {
	case map[string]any:
		m := map[string]any{}
		for key, item := range t {
			if name, is := item.(placeholder); is && values[name] == nil {
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
	case placeholder:
		return values[t]
	}
	return template
}

// inBody calls do with each placeholder of a body.
func inBody(template any, do func(placeholder)) {
	switch t := template.(type) {
	case map[string]any:
		for _, item := range t {
			inBody(item, do)
		}
	case []any:
		for _, item := range t {
			inBody(item, do)
		}
	case placeholder:
		do(t)
	}
}
