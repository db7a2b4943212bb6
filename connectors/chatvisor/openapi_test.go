package chatvisor

import (
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
		"": "no OpenAPI document", "[]": "no OpenAPI document", "openapi: 3.0.1": "no OpenAPI document", "a: [": "neither JSON nor YAML",
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
