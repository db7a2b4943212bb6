package chatvisor

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"github.com/tidwall/gjson"
	"go.yaml.in/yaml/v3"
)

// maxDocument is the largest document in bytes.
const maxDocument = 8 << 20

// An apiDocument is as much of one as proposing takes (spec.openapis.org/oas);
// references and schemas are not followed.
type apiDocument struct {
	OpenAPI, Swagger any
	BasePath         string `yaml:"basePath"` // of Swagger, which has no servers
	Servers          []struct{ URL string }
	Paths            map[string]map[string]part
}

// An operation is as much of one as proposing takes.
type operation struct {
	method, path string
	Summary      string
	OperationID  string `yaml:"operationId"`
	Tags         []string
}

// A part of a document is decoded once it is known to be of use.
type part struct{ decode func(into any) error }

func (p *part) UnmarshalJSON(data []byte) error {
	data = bytes.Clone(data)
	p.decode = func(into any) error { return json.Unmarshal(data, into) }
	return nil
}

func (p *part) UnmarshalYAML(n *yaml.Node) error {
	p.decode = n.Decode
	return nil
}

// readDocument takes what is of another type than it should be for absent.
func readDocument(data []byte) (*apiDocument, error) {
	if len(data) > maxDocument {
		return nil, fmt.Errorf("the document is larger than %d MiB", maxDocument>>20)
	}
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	var doc apiDocument
	var err error
	if json.Valid(data) { // not all of it is YAML to the library: there is no \/
		_ = json.Unmarshal(data, &doc)
		err = memberTwice(data)
	} else {
		err = readYAML(data, &doc)
	}
	switch {
	case err != nil:
		return nil, err
	case doc.OpenAPI == nil && doc.Swagger == nil || len(doc.Paths) == 0:
		return nil, errors.New("it is no OpenAPI document with paths in it")
	}
	return &doc, nil
}

func readYAML(data []byte, doc *apiDocument) error {
	parse := func(part []byte) error { return yaml.Unmarshal(part, new(yaml.Node)) }
	var top yaml.Node
	if yaml.Unmarshal(data, &top) != nil {
		return fmt.Errorf("line %d: here it is neither JSON nor YAML; mend it, or download it anew", brokenLine(data, parse))
	}
	if line, text := anyKeyTwice(&top); line > 0 {
		return fmt.Errorf("line %d: %s", line, text)
	}
	err := top.Decode(doc)
	if _, types := errors.AsType[*yaml.TypeError](err); err != nil && !types {
		return errors.New("it has tags, anchors or merged keys that cannot be read; write the values out")
	}
	return nil
}

// anyKeyTwice is keyTwice for all that is below a node.
func anyKeyTwice(n *yaml.Node) (line int, text string) {
	if line, text = keyTwice(n); line > 0 {
		return line, text
	}
	for _, child := range n.Content {
		if line, text = anyKeyTwice(child); line > 0 {
			return line, text
		}
	}
	return 0, ""
}

// memberTwice is the same for the members of JSON that tell of paths: of two the last
// would count.
func memberTwice(data []byte) error {
	top := gjson.ParseBytes(data)
	for _, object := range []gjson.Result{top, top.Get("paths")} {
		seen := map[string]bool{}
		var err error
		object.ForEach(func(name, _ gjson.Result) bool {
			if seen[name.Str] {
				err = fmt.Errorf("it has %s twice; keep one of them", short(name.Str))
			}
			seen[name.Str] = true
			return err == nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// methods are those of operations, in the order in which they are proposed: PUT
// replaces the whole of a thing, and DELETE says what it does.
var methods = []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete}

// operations are all of the document, by their tag.
func (d *apiDocument) operations() []operation {
	var all []operation
	for path, item := range d.Paths {
		for method, part := range item {
			o := operation{method: strings.ToUpper(method), path: path}
			if !slices.Contains(methods, o.method) {
				continue // parameters and the like
			}
			if part.decode != nil {
				_ = part.decode(&o) // what is of another type is absent
			}
			all = append(all, o)
		}
	}
	rank := func(o operation) int { return slices.Index(methods, o.method) }
	slices.SortFunc(all, func(a, b operation) int {
		return cmp.Or(cmp.Compare(a.tag(), b.tag()), cmp.Compare(a.path, b.path), cmp.Compare(rank(a), rank(b)))
	})
	return all
}

// servers are the addresses below which the document says that its paths are.
func (d *apiDocument) servers() []string {
	var all []string
	if d.BasePath != "" {
		all = append(all, d.BasePath)
	}
	for _, s := range d.Servers {
		if s.URL != "" {
			all = append(all, s.URL)
		}
	}
	return all
}

// below is a path without what addresses of the API end in already, in the document
// or by default; base is what that was. Some documents have it in each path.
func (d *apiDocument) below(path string) (rest, base string) {
	for _, server := range append(d.servers(), defaultURL) {
		if _, address, full := strings.Cut(server, "://"); full {
			_, server, _ = strings.Cut(address, "/")
		}
		base := "/" + strings.Trim(server, "/")
		if rest, ok := strings.CutPrefix(path, base+"/"); ok && base != "/" {
			return "/" + rest, base
		}
	}
	return path, ""
}
