package commands

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"

	"cobrowse-bridge/bridge/settings/yamlfile"
	"cobrowse-bridge/connectors/chatvisor"
	"cobrowse-bridge/connectors/chatvisor/rules"

	"github.com/tidwall/gjson"
	"go.yaml.in/yaml/v3"
)

// maxDocument is the largest document in bytes.
const maxDocument = 8 << 20

// An apiDocument has the parts of an OpenAPI document (spec.openapis.org/oas) that a
// proposal needs. References and schemas are not followed.
type apiDocument struct {
	OpenAPI, Swagger any
	BasePath         string `yaml:"basePath"` // Swagger has this instead of servers
	Servers          []struct{ URL string }
	Paths            map[string]map[string]lazyPart
}

// An operation has the parts of an operation that a proposal needs.
type operation struct {
	method, path string
	Summary      string
	OperationID  string `yaml:"operationId"`
	Tags         []string
}

// A lazyPart is a part of a document that is decoded only if it is needed.
type lazyPart struct{ decode func(into any) error }

func (p *lazyPart) UnmarshalJSON(data []byte) error {
	data = bytes.Clone(data)
	p.decode = func(into any) error { return json.Unmarshal(data, into) }
	return nil
}

func (p *lazyPart) UnmarshalYAML(n *yaml.Node) error {
	p.decode = n.Decode
	return nil
}

// readDocument reads a document. It ignores values of a wrong type.
func readDocument(data []byte) (*apiDocument, error) {
	if len(data) > maxDocument {
		return nil, fmt.Errorf("the document is larger than %d MiB", maxDocument>>20)
	}
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	var doc apiDocument
	var err error
	if json.Valid(data) { // the YAML library does not read all JSON, such as \/
		_ = json.Unmarshal(data, &doc)
		err = duplicateMember(data)
	} else {
		err = readYAML(data, &doc)
	}
	switch {
	case err != nil:
		return nil, err
	case doc.OpenAPI == nil && doc.Swagger == nil || len(doc.Paths) == 0:
		return nil, errors.New("the file is not an OpenAPI document with paths")
	}
	return &doc, nil
}

func readYAML(data []byte, doc *apiDocument) error {
	parse := func(part []byte) error { return yaml.Unmarshal(part, new(yaml.Node)) }
	var top yaml.Node
	if yaml.Unmarshal(data, &top) != nil {
		return fmt.Errorf("line %d: not valid JSON or YAML; correct it, or download the file again", yamlfile.BrokenLine(data, parse))
	}
	if key, before := yamlfile.DuplicateKey(&top); key != nil {
		return fmt.Errorf("line %d: duplicate key, first in line %d; remove one", key.Line, before)
	}
	err := top.Decode(doc)
	if _, types := errors.AsType[*yaml.TypeError](err); err != nil && !types {
		return errors.New("the file has tags, anchors or merged keys that cannot be read; write the values out")
	}
	return nil
}

// duplicateMember returns an error for a duplicate key of a JSON document or its paths.
// Without it, the last of two would count.
func duplicateMember(data []byte) error {
	top := gjson.ParseBytes(data)
	for _, object := range []gjson.Result{top, top.Get("paths")} {
		seen := map[string]bool{}
		var err error
		object.ForEach(func(name, _ gjson.Result) bool {
			if seen[name.Str] {
				err = fmt.Errorf("duplicate key %s; remove one", rules.Short(name.Str))
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

// methods are the methods of operations, in the order in which they are proposed.
var methods = []string{http.MethodGet, http.MethodPost, http.MethodPatch, http.MethodPut, http.MethodDelete}

// operations returns all operations of the document, sorted by tag.
func (d *apiDocument) operations() []operation {
	var all []operation
	for path, item := range d.Paths {
		for method, part := range item {
			o := operation{method: strings.ToUpper(method), path: path}
			if !slices.Contains(methods, o.method) {
				continue // parameters and the like
			}
			if part.decode != nil {
				_ = part.decode(&o) // ignores values of a wrong type
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

// servers returns the addresses below which the document's paths begin.
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

// trimBase removes the path of the API's address from the start of a path, since some
// documents repeat it in each path. base is the removed part; empty if there was none.
func (d *apiDocument) trimBase(path string) (rest, base string) {
	for _, server := range append(d.servers(), chatvisor.DefaultURL) {
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
