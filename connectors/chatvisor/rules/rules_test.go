package rules

import (
	"flag"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/settings/yamlfile"
	"cobrowse-bridge/connectors/chatvisor/chatvisortest"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files")

func TestAllFaultsOfAFileNameTheirLine(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/faults/*.yaml")
	if err != nil || len(files) < 5 {
		t.Fatal(files, err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		rules, err := Parse(filepath.Base(file), text)
		if err == nil || rules != nil {
			t.Errorf("%s has no fault", file)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") || strings.Contains(err.Error(), "evil") {
			t.Errorf("%s: a value is in the error: %v", file, err)
		}
		golden := strings.TrimSuffix(file, ".yaml") + ".txt"
		if *update {
			if err := os.WriteFile(golden, []byte(err.Error()+"\n"), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, _ := os.ReadFile(golden)
		if diff := cmp.Diff(string(want), err.Error()+"\n"); diff != "" {
			t.Errorf("%s (-want +got):\n%s", file, diff)
		}
	}
}

func TestInternationalHostsAreWrittenAsInAddresses(t *testing.T) {
	t.Parallel()
	r, err := Parse("", []byte("agent_url_hosts: [brücke.example, \"brücke.example:8443\"]\n"))
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"xn--brcke-lva.example", "xn--brcke-lva.example:8443"}, r.ChatHosts); diff != "" {
		t.Error(diff)
	}
	if _, err := Parse("", []byte("agent_url_hosts: [ü..example]\n")); err == nil {
		t.Error("a host name with an empty label is accepted")
	}
}

func TestAnEmptyFileMeansTheDocumentedDefaults(t *testing.T) {
	t.Parallel()
	for _, text := range []string{"", "# nothing\n", "webhook:\nendpoints:\n"} {
		r, err := Parse("", []byte(text))
		if err != nil || len(r.Endpoints) != 0 || r.ShowURL || r.QueryAuth || len(r.ExternalID.All) != 0 {
			t.Errorf("%q: %+v, %v", text, r, err)
		}
	}
	if _, err := Parse("big.yaml", make([]byte, yamlfile.MaxSize+1)); err == nil || !strings.HasPrefix(err.Error(), "big.yaml:1: ") {
		t.Errorf("a file that is too large: %v", err)
	}
}

func TestYAMLErrorsNameTheirLine(t *testing.T) {
	t.Parallel()
	for text, line := range map[string]int{
		"endpoints:\n  get_customer: {path: /a/{customerId}}\n":              2,
		"endpoints:\n  get_customer:\n\tpath: /a\n":                          3,
		"webhook: {allow_cidrs: [192.0.2.1}\n":                               1,
		"join: [lookup_code\nteam: y\n":                                      1,
		"join: [lookup_code,\n  customer_id,\n  email\nteam: y\nsweep: {}":   3,
		"lookup_code: \"\\d\"\n":                                             1,
		"lookup_code: 'abc\nteam: y\n":                                       1,
		"team: a: b\n":                                                       1,
		"webhook:\n   allow_cidrs: [192.0.2.1]\n  done_statuses: [X]\njoin:": 3,
		"webhook:\n  allow_cidrs:\n    - 192.0.2.1\n   - 192.0.2.2\n":        4,
		"lookup_code: @x\n":                                                  1,
		"lookup_code: [0-9]{4}\nteam: y\n":                                   1,
		"join: [lookup_code, # the first\n  customer_id]\nteam: [x}\n":       3,
		"team: \"\x01\"\n":                                                   1,
		"show_agent_url: true\nteam: caf\xe9\n":                              2,
		"\xff\xfet\x00e\x00a\x00m\x00":                                       1,
	} {
		for name, before := range map[string]string{
			"first in the file": "", "after a key": "auth_style: header\n", "after a list": "name_path:\n  - a\n  - b\n\n# a comment\n", "after a byte order mark": "\ufeff# saved by an editor\n",
		} {
			want := fmt.Sprintf("f.yaml:%d: the file is not ", line+strings.Count(before, "\n"))
			_, err := Parse("f.yaml", []byte(before+text))
			if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "\n") {
				t.Errorf("%q %s: %v, want %s", text, name, err, want)
			}
		}
	}
}

func TestTheNumberOfReportedFaultsIsLimited(t *testing.T) {
	t.Parallel()
	var b strings.Builder
	for i := range 500 {
		fmt.Fprintf(&b, "key%d: 1\n", i)
	}
	_, err := Parse("f.yaml", []byte(b.String()))
	lines := strings.Split(err.Error(), "\n")
	if len(lines) != 101 || !strings.Contains(lines[100], "400 more faults from here on") {
		t.Errorf("%d lines, the last %q", len(lines), lines[len(lines)-1])
	}
}

func TestTheExampleFileIsValid(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../example.yaml")
	if err != nil {
		t.Fatal(err)
	}
	r, err := Parse("example.yaml", text)
	if err != nil {
		t.Fatal(err)
	}
	// It has every step, and enables no step that must be enabled.
	for _, s := range Steps {
		e := r.Endpoints[s.Name]
		if e == nil {
			t.Errorf("%s is missing from the example", s.Name)
		} else if e.Enabled == s.MustBeEnabled {
			t.Errorf("%s is enabled: %v", s.Name, e.Enabled)
		}
	}
	readme, err := os.ReadFile("../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range Steps {
		if !strings.Contains(string(readme), "`"+s.Name+"`") {
			t.Errorf("README.md does not name %s", s.Name)
		}
	}
}

func withEndpoint(name, text string) string { return "endpoints: {" + name + ": " + text + "}\n" }

func TestPathsStayBelowTheAPI(t *testing.T) {
	t.Parallel()
	r, err := Parse("", []byte(withEndpoint("get_customer", `{path: "/who/x-{customerId}/card", query: {v: "1", of: "{customerId}"}}`)))
	if err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]string{
		"c-1":     "/who/x-c-1/card?of=c-1&v=1",
		"a/../b":  "/who/x-a%2F..%2Fb/card?of=a%2F..%2Fb&v=1",
		"a b?c#d": "/who/x-a%20b%3Fc%23d/card?of=a+b%3Fc%23d&v=1",
		"%2e":     "/who/x-%252e/card?of=%252e&v=1",
		"":        "error", "a\nb": "error", strings.Repeat("x", 257): "error",
	} {
		q, err := r.Endpoints[GetCustomer].Fill(Values{"customerId": id})
		got := q.Path + "?" + q.Query.Encode()
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%.20q: %s, want %s", id, got, want)
		}
	}
	bare, err := Parse("", []byte(withEndpoint("get_customer", `{path: "/who/{customerId}"}`)))
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{".", ".."} {
		if q, err := bare.Endpoints[GetCustomer].Fill(Values{"customerId": id}); err == nil {
			t.Errorf("%q leads to %s", id, q.Path)
		}
	}
}

var faultLine = regexp.MustCompile(`^f\.yaml:(\d+): \S.*`)

func FuzzRules(f *testing.F) {
	for _, pattern := range []string{"testdata/faults/*.yaml", "../example.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatal("no seeds: ", err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(string(text), "c-1")
		}
	}
	f.Add(chatvisortest.New("canary-api-token").Rules(), "../..")
	f.Fuzz(func(t *testing.T, text, id string) {
		r, err := Parse("f.yaml", []byte(text))
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				found := faultLine.FindStringSubmatch(line)
				if found == nil {
					t.Fatalf("fault without a line: %q", line)
				}
				if n, err := strconv.Atoi(found[1]); err != nil || n < 1 || n > 2+strings.Count(text, "\n")+strings.Count(text, "\r")+strings.Count(text, "\u0085")+strings.Count(text, "\u2028")+strings.Count(text, "\u2029") {
					t.Fatalf("the file does not have this line: %q", line)
				}
			}
			return
		}
		checkRules(t, r, id)
	})
}

// checkRules checks properties that all valid rules have.
func checkRules(t *testing.T, r *Rules, id string) {
	values := Values{
		"customerId": id, "agentId": id, "email": id, "firstname": id, "lastname": id, "agentEmail": id, "id": id,
		"labels": []string{id}, "visible": true, "page": 1, "pageSize": 50,
	}
	for name, e := range r.Endpoints {
		if e.MustBeEnabled && e.Enabled != (e.Enabled && r.WhyOff(name, "") == "") {
			t.Fatalf("%s is enabled though WhyOff gives a reason", name)
		}
		q, err := e.Fill(values)
		if err != nil {
			continue
		}
		const base = "https://api.example.org/rest/v1"
		u, err := url.Parse(base + q.Path + "?" + q.Query.Encode())
		if err != nil || u.Host != "api.example.org" || !strings.HasPrefix(u.EscapedPath(), "/rest/v1/") || u.Fragment != "" || u.User != nil {
			t.Fatalf("%s leads to %v, %v", name, u, err)
		}
		// The path has as many parts as in the file, and none of them is "..".
		clean := u.JoinPath()
		if clean.EscapedPath() != u.EscapedPath() || strings.Count(q.Path, "/") != len(e.path) {
			t.Fatalf("%s leads to %s, and cleaned to %s", name, u.EscapedPath(), clean.EscapedPath())
		}
	}
	for _, ways := range [][]string{r.Join, r.ChatHosts, r.done} {
		for _, w := range ways {
			if w == "" || len(w) > 253 {
				t.Fatalf("an empty or too long text in %q", ways)
			}
		}
	}
	if code := r.LookupCode(id); code != "" && (len(code) != 4 || r.code != nil && !strings.Contains(id, code)) {
		t.Fatalf("code %q found in %q", code, id)
	}
}

func TestOnlyALookupCodeIsRecognised(t *testing.T) {
	t.Parallel()
	r := Default()
	for text, want := range map[string]string{
		"4821": "4821", " 0042 ": "0042", "code 4821": "4821", "Code: 4821.": "4821", "code #4821!": "4821", "\n4821\n": "4821",
		"my order 4821 is late": "", "2024 or 2025": "", "48211": "", "482": "", "４８２１": "4821", "the code is 4821": "4821", "4821 4822": "", "": "",
		"my code is 7788": "7788", "Mi código es 7788": "7788", "Mi co\u0301digo es 7788": "7788", "il codice è 7788": "7788", "min kode er 7788.": "7788",
		"what is the code? it says 7788": "7788", "code 4821 or 4822": "", "my postcode is 4821": "", "a code for 4821 €": "", "code of 2024-05-01": "",
	} {
		if got := r.LookupCode(text); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
	r, err := Parse("", []byte(`lookup_code: 'upscope-([0-9]+)'`))
	if err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]string{"see upscope-4821 please": "4821", "upscope-48211": "", "4821": ""} {
		if got := r.LookupCode(text); got != want {
			t.Errorf("%q by another pattern: %q, want %q", text, got, want)
		}
	}
}
