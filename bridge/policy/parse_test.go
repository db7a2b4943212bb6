package policy_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/policy"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
)

var update = flag.Bool("update", false, "rewrite the golden files")

// Each golden file has all faults of a wrong policy file, with their lines.
func TestFaultsAreAsInTheGoldenFiles(t *testing.T) {
	t.Parallel()
	files, err := filepath.Glob("testdata/faults/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatal("no faults to test: ", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, err = policy.Parse(filepath.Base(file), text)
		if err == nil {
			t.Errorf("%s: accepted", file)
			continue
		}
		if strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%s: the error contains a value of the file: %v", file, err)
		}
		golden := strings.TrimSuffix(file, ".yaml") + ".txt"
		got := err.Error() + "\n"
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Errorf("%v (go test ./bridge/policy -update writes it)", err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("%s: %s", file, diff)
		}
	}
}

func TestFilesThatAreNotAPolicyAreRefusedWithTheirLine(t *testing.T) {
	t.Parallel()
	const good = "rules: [{may: [watch]}]\n"
	for _, test := range []struct {
		name, text string
		line       int
	}{
		{"empty", "", 1},
		{"blank", " \n\n", 1},
		{"comments only", "# rules:\n", 1},
		{"null", "~", 1},
		{"a word", "rules", 1},
		{"a list", "- rules", 1},
		{"no rules", "profiles: {}", 1},
		{"null rules", "\nrules:\n", 2},
		{"two documents", good + "---\n" + good, 2},
		{"tab", "rules:\n\t- may: [watch]", 2},
		{"open quote", good + "\"x", 2},
		{"alias of nothing", "rules:\n  - may: *gone", 2},
		{"anchor", "rules:\n  - may: &a [watch]", 2},
		{"merge", "rules:\n  - <<: {may: [watch]}", 2},
		{"tag", "rules:\n  - may: [!secret watch]", 2},
		{"zero byte", "rules:\n  - may: [watch]\n\x00", 3},
		{"no UTF-8", "# Caf\xe9\n" + good, 1},
		{"UTF-16", "\xff\xfer\x00u\x00", 1},
		{"too large", good + strings.Repeat("#", policy.MaxFileSize), 1},
		{"deep", "rules: " + strings.Repeat("[", 20_000), 1},
	} {
		_, err := policy.Parse("p.yaml", []byte(test.text))
		if want := "p.yaml:" + strconv.Itoa(test.line) + ": "; err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s: %v, want %s…", test.name, err, want)
		}
	}
	if _, err := policy.Parse("p.yaml", []byte(good+strings.Repeat("#", policy.MaxFileSize-len(good)))); err != nil {
		t.Errorf("a file of the largest size: %v", err)
	}
}

func TestOnlyAHundredFaultsAreReported(t *testing.T) {
	t.Parallel()
	_, err := policy.Parse("p.yaml", []byte("rules:\n"+strings.Repeat("- x\n", 1000)))
	lines := strings.Split(err.Error(), "\n")
	if last := lines[len(lines)-1]; len(lines) != 101 || last != "p.yaml:102: 900 more faults from here on; fix the ones above first" {
		t.Errorf("%d faults, the last %q", len(lines), last)
	}
}

// oracle reads a policy with the YAML library alone, and decides in the simplest way.
type oracle struct {
	Rules []struct {
		Name       string
		Who, Where map[string][]string
		May        []string
		PageFirst  policy.PageFirst `yaml:"page_first"`
	}
}

func (o oracle) decide(q policy.Question) (allowed bool, rule string, first policy.PageFirst) {
	if !slices.Contains(policy.Acts(), q.Act) || q.Agent == "" {
		return false, "", ""
	}
	if slices.Contains([]policy.Act{"operate", "audit", "erase"}, q.Act) {
		q.Connector, q.Place = "", ""
	}
	email, domain := strings.ToLower(q.Email), ""
	if parts := strings.Split(email, "@"); len(parts) == 2 && parts[0] != "" {
		domain = parts[1]
	}
	has := map[string][]string{
		"groups": q.Groups, "emails": {email}, "domains": {domain}, "agents": {q.Agent}, "connectors": {q.Connector}, "places": {q.Place},
	}
	fits := func(conditions map[string][]string) bool {
		for key, entries := range conditions {
			if !slices.ContainsFunc(entries, func(e string) bool {
				if key == "emails" || key == "domains" {
					e = strings.ToLower(e)
				}
				return slices.Contains(has[key], e)
			}) {
				return false
			}
		}
		return true
	}
	for i, r := range o.Rules {
		if fits(r.Who) && fits(r.Where) {
			if r.Name == "" {
				r.Name = "rule " + strconv.Itoa(i+1)
			}
			if !slices.Contains(r.May, string(q.Act)) {
				return false, r.Name, ""
			}
			return true, r.Name, r.PageFirst
		}
	}
	return false, "", ""
}

// ascii reports whether oracle can be compared with Parse: strings.ToLower makes ASCII letters
// of some other letters.
func ascii(b []byte) bool { return !slices.ContainsFunc(b, func(c byte) bool { return c >= 0x80 }) }

// questions returns questions about every agent and place in the rules, and variations.
func (o oracle) questions() []policy.Question {
	all := []policy.Question{{Agent: "a"}, {Agent: "a", Connector: "slack", Place: "slack:C1", Email: "a@b@c"}, {}}
	for _, r := range o.Rules {
		q := policy.Question{Agent: "a", Groups: r.Who["groups"]}
		for _, e := range r.Who["agents"] {
			q.Agent = e
		}
		for _, e := range r.Who["domains"] {
			q.Email = "x@" + e
		}
		for _, e := range r.Who["emails"] {
			q.Email = strings.ToUpper(e)
		}
		for _, e := range r.Where["connectors"] {
			q.Connector = e
		}
		for _, e := range r.Where["places"] {
			q.Place = e
		}
		all = append(all, q)
		for _, change := range []func(*policy.Question){
			func(q *policy.Question) { q.Groups = nil },
			func(q *policy.Question) { q.Email += "x" },
			func(q *policy.Question) { q.Email = "x@y@" + q.Email },
			func(q *policy.Question) { q.Agent += "x" },
			func(q *policy.Question) { q.Connector = "" },
			func(q *policy.Question) { q.Place = "" },
		} {
			other := q
			change(&other)
			all = append(all, other)
		}
	}
	return all
}

var faultLine = regexp.MustCompile(`^p\.yaml:(\d+): [^\n]*; [^\n]*$`)

// FuzzParse checks that a refused file has faults with lines of the file, and that an accepted
// file decides as oracle does, so that no act is allowed which no rule allows.
func FuzzParse(f *testing.F) {
	for _, pattern := range []string{"testdata/faults/*.yaml", "../../deploy/policy.example.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil || len(files) == 0 {
			f.Fatal("no seeds: ", err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				f.Fatal(err)
			}
			f.Add(text)
		}
	}
	f.Add([]byte(matrix))
	f.Add([]byte(`rules: [{who: {groups: ["a"], emails: [a@b.c], agents: [x]}, where: {places: ["slack:C1"]}, may: [watch]}, {may: [erase]}]`))
	f.Add([]byte(`rules: [{who: {groups: [a]}, may: [watch], page_first: other-sites}, {may: [watch, stop], page_first: always}]`))
	f.Fuzz(func(t *testing.T, text []byte) {
		p, err := policy.Parse("p.yaml", text)
		if err != nil {
			for line := range strings.SplitSeq(err.Error(), "\n") {
				found := faultLine.FindStringSubmatch(line)
				if found == nil {
					t.Fatalf("this fault has no line: %q", line)
				}
				// YAML ends lines in more ways than with \n.
				lines := 2 + bytes.Count(text, []byte("\n")) + bytes.Count(text, []byte("\r")) + bytes.Count(text, []byte("\u0085")) +
					bytes.Count(text, []byte("\u2028")) + bytes.Count(text, []byte("\u2029"))
				if n, err := strconv.Atoi(found[1]); err != nil || n < 1 || n > lines {
					t.Fatalf("there is no such line among %d: %q", lines, line)
				}
			}
			return
		}
		if !ascii(text) {
			return
		}
		var o oracle
		if err := yaml.Unmarshal(text, &o); err != nil {
			t.Fatalf("accepted, but the YAML library says: %v", err)
		}
		for _, q := range o.questions() {
			for _, q.Act = range append(policy.Acts(), "", "all") {
				got := p.Decide(q)
				if allowed, rule, first := o.decide(q); got.Allowed != allowed || got.Rule != rule || got.PageFirst != first {
					t.Fatalf("%+v: %t by %q, page first %q; want %t by %q, %q", q, got.Allowed, got.Rule, got.PageFirst, allowed, rule, first)
				}
			}
		}
	})
}
