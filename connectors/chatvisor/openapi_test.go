package chatvisor

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestADocumentIsProposedAndNothingApplied(t *testing.T) {
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
	rules, err := ParseRules("proposal", []byte(text))
	if err != nil {
		t.Fatalf("what is proposed is refused: %v", err)
	}
	for _, s := range steps {
		if e := rules.endpoints[s.name]; e == nil || e.acts && e.enabled {
			t.Errorf("%s: %+v", s.name, e)
		}
	}

	o := newOffice(t, "")
	if got := o.does("import-openapi", "testdata/openapi.yaml"); got != text || len(o.Requests()) > 0 {
		t.Errorf("the command prints %q", got)
	}
	for content, want := range map[string]string{
		"": "no OpenAPI document", "[]": "no OpenAPI document", "openapi: 3.0.1": "no OpenAPI document", "a: [": "line 1: here it is neither JSON nor YAML",
		`{"openapi":"3.1.0","paths":{"/a":{"get":{"summary":"nothing we know"}}}}`: "",
	} {
		got, err := o.runs("import-openapi", o.write("document", content))
		switch {
		case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
			t.Errorf("%q: %v", content, err)
		case want == "" && (err != nil || !strings.Contains(got, "No operation looks like a step")):
			t.Errorf("%q: %q, %v", content, got, err)
		}
	}
	if _, err := o.runs("import-openapi", filepath.Join(o.dir, "none")); err == nil {
		t.Error("a file that is not there was read")
	}
}

func TestAllOfJSONIsRead(t *testing.T) {
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

func TestWhatCannotBeReadOfADocumentIsNamed(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"openapi: 3.0.0\npaths:\n  /a: {get: {}}\n  /b: {get: {}}\n  /a: {put: {}}\n":                       "line 5: the key is in line 3 already",
		"openapi: 3.0.0\npaths:\n  /a:\n    get: {}\n    get: {}\n":                                         "line 5: the key is in line 4 already",
		"openapi: 3.0.0\npaths:\n  /a:\n    get:\n      summary: x\n      summary: y\n":                     "line 6: the key is in line 5 already",
		`{"openapi":"3.0.0","paths":{"/a":{"get":{}},"/b":{},"\/a":{"put":{}}}}`:                            "has /a twice",
		`{"openapi":"3.0.0","paths":{"/a":{"get":{}}},"paths":{"/b":{"get":{}}}}`:                           "has paths twice",
		"openapi: 3.0.0\npaths:\n  /customer/{id}: {get: {summary: Read}}\n  /{a}/b: {get: {}\n\ninfo: x\n": "line 4: here it is neither JSON nor YAML",
		"openapi: 3.0.0\npaths:\n  /a: {<<: 1}\n":                                                           "merged keys that cannot be read",
		"{\n\"openapi\": \"3.0.0\",\n\"paths\": {\"\\/a\": {}}":                                             "line 3: here it is neither JSON nor YAML",
	} {
		if _, err := propose([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

func TestProposedPathsAreBelowTheAddressOfTheAPI(t *testing.T) {
	t.Parallel()
	const v1 = "/rest/v1, which CHATVISOR_URL has to end in"
	for _, c := range []struct{ servers, path, want, without string }{
		{`servers: [{url: "https://app.chatvisor.com"}]`, "/rest/v1/customer/{id}", "/customer/{customerId}", v1},
		{`servers: [{url: "https://app.chatvisor.com/rest/v1/"}]`, "/rest/v1/customer/{id}", "/customer/{customerId}", v1},
		{`servers: [{url: "https://{tenant}.example.org:443/api/v2"}]`, "/api/v2/customer/{id}", "/customer/{customerId}", "/api/v2, which"},
		{`servers: [{url: /api}]`, "/api/customer/{id}", "/customer/{customerId}", "/api, which"},
		{`basePath: /api`, "/api/customer/{id}", "/customer/{customerId}", "/api, which"},
		{`servers: [{url: "https://app.chatvisor.com/rest/v1"}]`, "/customer/{id}", "/customer/{customerId}", ""},
		{`servers: [{url: /}]`, "/rest/v12/customer/{id}", "/rest/v12/customer/{customerId}", ""},
	} {
		text, err := propose([]byte("openapi: 3.0.0\n" + c.servers + "\npaths: {\"" + c.path + "\": {get: {summary: Read}}}\n"))
		if err != nil || !strings.Contains(text, fmt.Sprintf("path: %q", c.want)) {
			t.Errorf("%+v: %v, %s", c, err, text)
		}
		if strings.Contains(text, "without /") != (c.without != "") || !strings.Contains(text, c.without) {
			t.Errorf("%+v: it says %s", c, text)
		}
	}
}

func TestNothingIsProposedToBeDeletedByTheWay(t *testing.T) {
	t.Parallel()
	doc := "openapi: 3.0.0\npaths:\n"
	for _, path := range []string{"/customer/{id}", "/customer/{id}/tag", "/visibility", "/users", "/users/{id}"} {
		doc += "  " + path + ": {delete: {}, get: {}, patch: {}, post: {}, put: {}}\n"
	}
	text, err := propose([]byte(doc))
	if err != nil {
		t.Fatal(err)
	}
	rules, err := ParseRules("proposal", []byte(text))
	if err != nil {
		t.Fatal(err)
	}
	for step, want := range map[string]string{
		tagCustomer: http.MethodPost, setVisibility: http.MethodPost, createAgent: http.MethodPost, updateAgent: http.MethodPatch, deleteAgent: http.MethodDelete,
	} {
		if e := rules.endpoints[step]; e == nil || e.method != want {
			t.Errorf("%s: %+v, want %s", step, e, want)
		}
	}
	for _, step := range []string{tagCustomer, setVisibility} {
		if strings.Contains(text, step+" may also be: DELETE") {
			t.Errorf("%s: %s", step, text)
		}
	}
}

// Whatever a document says, what is proposed is a file that the bridge takes, and
// one that switches nothing on.
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
		data := mustJSON(map[string]any{"openapi": "3.1.0", "paths": map[string]any{path: map[string]any{method: map[string]any{"summary": summary, "tags": []string{summary}}}}})
		text, err := propose(data)
		if err != nil {
			return
		}
		rules, err := ParseRules("proposal", []byte(text))
		if err != nil {
			t.Fatalf("%v:\n%s", err, text)
		}
		for _, e := range rules.endpoints {
			if e.acts && e.enabled || !slices.Contains(e.methods, strings.ToUpper(method)) {
				t.Fatalf("%s %s is proposed:\n%s", e.method, e.name, text)
			}
		}
		checkRules(t, rules, "c-1")
	})
}
