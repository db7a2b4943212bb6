package commands

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cobrowse-bridge/connectors/chatvisor/rules"

	"github.com/google/go-cmp/cmp"
)

func TestADocumentBecomesAProposalThatEnablesNothing(t *testing.T) {
	document, err := os.ReadFile("testdata/openapi.yaml")
	if err != nil {
		t.Fatal(err)
	}
	text, err := propose(document)
	if err != nil {
		t.Fatal(err)
	}
	const golden = "testdata/openapi.txt"
	if *update {
		if err := os.WriteFile(golden, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, _ := os.ReadFile(golden)
	if diff := cmp.Diff(string(want), text); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	read, err := rules.Parse("proposal", []byte(text))
	if err != nil {
		t.Fatalf("the proposal is refused: %v", err)
	}
	for _, s := range rules.Steps {
		if e := read.Endpoints[s.Name]; e == nil || e.MustBeEnabled && e.Enabled {
			t.Errorf("%s: %+v", s.Name, e)
		}
	}

	o := newOperator(t, "")
	if got := o.mustRun("import-openapi", "testdata/openapi.yaml"); got != text || len(o.Requests()) > 0 {
		t.Errorf("the command prints %q", got)
	}
	for content, want := range map[string]string{
		"": "not an OpenAPI document", "[]": "not an OpenAPI document", "openapi: 3.0.1": "not an OpenAPI document", "a: [": "line 1: not valid JSON or YAML",
		`{"openapi":"3.1.0","paths":{"/a":{"get":{"summary":"nothing we know"}}}}`: "",
	} {
		got, err := o.run("import-openapi", o.write("document", content))
		switch {
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v", content, err)
		case want == "" && (err != nil || !strings.Contains(got, "No operation matches a step")):
			t.Errorf("%q: %q, %v", content, got, err)
		}
	}
	if _, err := o.run("import-openapi", filepath.Join(o.dir, "none")); err == nil {
		t.Error("no error for a missing file")
	}
}

func TestEveryJSONDocumentIsRead(t *testing.T) {
	t.Parallel()
	for name, title := range map[string]string{
		"plain": "x", "a slash": `\/`, "surrogates": `\ud83d\ude00`, "half of them": `\ud83d`, "DEL": "\x7f", "a control character": "\u0090", "a zero": `\u0000`,
	} {
		for mark, before := range map[string]string{"": "", " after a byte order mark": "\ufeff"} {
			text, err := propose([]byte(before + `{"openapi":"3.0.0","info":{"title":"` + title + `"},"paths":{"\/customer\/{id}":
				{"parameters":[{"name":"id"}],"get":{"summary":"Read a customer","operationId":7,"tags":["Customer"]}},"x-more":[1]}}`))
			if err != nil || !strings.Contains(text, `path: "/customer/{customerId}"`) || !strings.Contains(text, "# Customer\n") {
				t.Errorf("%s%s: %v, %s", name, mark, err, text)
			}
		}
	}
}

func TestFaultsOfADocumentNameTheirLine(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"openapi: 3.0.0\npaths:\n  /a: {get: {}}\n  /b: {get: {}}\n  /a: {put: {}}\n":                       "line 5: duplicate key, first in line 3",
		"openapi: 3.0.0\npaths:\n  /a:\n    get: {}\n    get: {}\n":                                         "line 5: duplicate key, first in line 4",
		"openapi: 3.0.0\npaths:\n  /a:\n    get:\n      summary: x\n      summary: y\n":                     "line 6: duplicate key, first in line 5",
		`{"openapi":"3.0.0","paths":{"/a":{"get":{}},"/b":{},"\/a":{"put":{}}}}`:                            "duplicate key /a",
		`{"openapi":"3.0.0","paths":{"/a":{"get":{}}},"paths":{"/b":{"get":{}}}}`:                           "duplicate key paths",
		"openapi: 3.0.0\npaths:\n  /customer/{id}: {get: {summary: Read}}\n  /{a}/b: {get: {}\n\ninfo: x\n": "line 4: not valid JSON or YAML",
		"openapi: 3.0.0\npaths:\n  /a: {<<: 1}\n":                                                           "merged keys that cannot be read",
		"{\n\"openapi\": \"3.0.0\",\n\"paths\": {\"\\/a\": {}}":                                             "line 3: not valid JSON or YAML",
	} {
		if _, err := propose([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestProposedPathsLeaveOutTheBasePath(t *testing.T) {
	t.Parallel()
	const v1 = "/rest/v1 left out: CHATVISOR_URL must end with it"
	for _, c := range []struct{ servers, path, want, without string }{
		{`servers: [{url: "https://app.chatvisor.com"}]`, "/rest/v1/customer/{id}", "/customer/{customerId}", v1},
		{`servers: [{url: "https://app.chatvisor.com/rest/v1/"}]`, "/rest/v1/customer/{id}", "/customer/{customerId}", v1},
		{`servers: [{url: "https://{tenant}.example.org:443/api/v2"}]`, "/api/v2/customer/{id}", "/customer/{customerId}", "/api/v2 left out"},
		{`servers: [{url: /api}]`, "/api/customer/{id}", "/customer/{customerId}", "/api left out"},
		{`basePath: /api`, "/api/customer/{id}", "/customer/{customerId}", "/api left out"},
		{`servers: [{url: "https://app.chatvisor.com/rest/v1"}]`, "/customer/{id}", "/customer/{customerId}", ""},
		{`servers: [{url: /}]`, "/rest/v12/customer/{id}", "/rest/v12/customer/{customerId}", ""},
	} {
		text, err := propose([]byte("openapi: 3.0.0\n" + c.servers + "\npaths: {\"" + c.path + "\": {get: {summary: Read}}}\n"))
		if err != nil || !strings.Contains(text, fmt.Sprintf("path: %q", c.want)) {
			t.Errorf("%+v: %v, %s", c, err, text)
		}
		if strings.Contains(text, " left out: ") != (c.without != "") || !strings.Contains(text, c.without) {
			t.Errorf("%+v: the proposal is %s", c, text)
		}
	}
}

func TestDeleteIsProposedOnlyForDeletingAgents(t *testing.T) {
	t.Parallel()
	doc := "openapi: 3.0.0\npaths:\n"
	for _, path := range []string{"/customer/{id}", "/customer/{id}/tag", "/visibility", "/users", "/users/{id}"} {
		doc += "  " + path + ": {delete: {}, get: {}, patch: {}, post: {}, put: {}}\n"
	}
	text, err := propose([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	read, err := rules.Parse("proposal", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for step, want := range map[string]string{
		rules.TagCustomer: http.MethodPost, rules.SetVisibility: http.MethodPost, rules.CreateAgent: http.MethodPost, rules.UpdateAgent: http.MethodPatch, rules.DeleteAgent: http.MethodDelete,
	} {
		if e := read.Endpoints[step]; e == nil || e.Method != want {
			t.Errorf("%s: %+v, want %s", step, e, want)
		}
	}
	for _, step := range []string{rules.TagCustomer, rules.SetVisibility} {
		if strings.Contains(text, step+" may also be: DELETE") {
			t.Errorf("%s: %s", step, text)
		}
	}
}

// Every proposal is a valid file and enables nothing.
func FuzzPropose(f *testing.F) {
	document, err := os.ReadFile("testdata/openapi.yaml")
	if err != nil {
		f.Fatal(err)
	}
	f.Add("/customer/{id}", "Read a customer", "get")
	f.Add("/x", "Set visibility\nendpoints: {}", "put")
	f.Add("/agents/{a b}", "# \u2028 user", "delete")
	f.Add("//evil/customer", "user \x85 x", "post")
	f.Add(string(document), "", "")
	f.Fuzz(func(t *testing.T, path, summary, method string) {
		data, err := json.Marshal(map[string]any{"openapi": "3.1.0", "paths": map[string]any{path: map[string]any{method: map[string]any{"summary": summary, "tags": []string{summary}}}}})
		if err != nil {
			t.Fatal(err)
		}
		text, err := propose(data)
		if err != nil {
			return
		}
		read, err := rules.Parse("proposal", []byte(text))
		if err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
		for _, e := range read.Endpoints {
			if e.MustBeEnabled && e.Enabled || !slices.Contains(e.Methods, strings.ToUpper(method)) {
				t.Fatalf("%s %s is proposed:\n%s", e.Method, e.Name, text)
			}
		}
		values := rules.Values{"customerId": "c-1", "agentId": "c-1", "email": "c-1", "visible": true, "page": 1, "pageSize": 50}
		for name, e := range read.Endpoints {
			if q, err := e.Fill(values); err == nil && (!strings.HasPrefix(q.Path, "/") || strings.HasPrefix(q.Path, "//")) {
				t.Fatalf("%s leads to %s", name, q.Path)
			}
		}
	})
}
