package deploy

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/promql/parser"
	"sigs.k8s.io/yaml"
)

// A metric is one that a running bridge has.
type metric struct {
	kind   string                     // counter, gauge or histogram
	values map[string]map[string]bool // the values of each label
}

// scraped are the metrics of a bridge that runs with SQLite and Rocket.Chat, as text and by name. It
// is the only list of metrics that these tests have.
var scraped = sync.OnceValues(func() (text []byte, err error) {
	temp, err := os.MkdirTemp("", "scraped")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(temp)
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	serve := exec.CommandContext(ctx, bridge, "serve")
	serve.Dir = temp
	// Nothing answers at port 1, so no call leaves this machine.
	serve.Env = []string{
		"BRIDGE_ORIGIN=http://127.0.0.1:1", "BRIDGE_LISTEN=127.0.0.1:0", "BRIDGE_METRICS_LISTEN=127.0.0.1:0", "BRIDGE_SECRET=" + secrets["BRIDGE_SECRET"],
		"BRIDGE_CONNECTORS=rocketchat", "UPSCOPE_URL=http://127.0.0.1:1", "UPSCOPE_API_KEY=" + secrets["UPSCOPE_API_KEY"],
		"ROCKETCHAT_URL=http://127.0.0.1:1", "ROCKETCHAT_WEBHOOK_SECRET=" + secrets["ROCKETCHAT_WEBHOOK_SECRET"],
		"ROCKETCHAT_READER_ID=reader", "ROCKETCHAT_READER_TOKEN=" + secrets["ROCKETCHAT_READER_TOKEN"],
		"ROCKETCHAT_POSTER_ID=poster", "ROCKETCHAT_POSTER_TOKEN=" + secrets["ROCKETCHAT_POSTER_TOKEN"],
	}
	out, err := serve.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := serve.Start(); err != nil {
		return nil, err
	}
	defer func() {
		_ = serve.Process.Signal(syscall.SIGTERM)
		_ = serve.Wait()
	}()
	ready, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, err
	}
	_, address, _ := strings.Cut(strings.TrimSpace(ready), ", with metrics on ")
	answer, err := http.Get("http://" + address + "/metrics")
	if err != nil {
		return nil, err
	}
	defer answer.Body.Close()
	return io.ReadAll(answer.Body)
})

func scrapedMetrics(t *testing.T) map[string]metric {
	t.Helper()
	text, err := scraped()
	if err != nil {
		t.Fatal(err)
	}
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]metric{}
	for name, f := range families {
		m := metric{strings.ToLower(f.GetType().String()), map[string]map[string]bool{}}
		for _, series := range f.Metric {
			for _, l := range series.Label {
				if m.values[l.GetName()] == nil {
					m.values[l.GetName()] = map[string]bool{}
				}
				m.values[l.GetName()][l.GetValue()] = true
			}
		}
		all[name] = m
	}
	if len(all) < 40 {
		t.Fatalf("only %d metrics", len(all))
	}
	return all
}

// ours returns the names of the bridge's own metrics.
func ours(all map[string]metric) map[string]bool {
	names := map[string]bool{}
	for name := range all {
		if strings.HasPrefix(name, "bridge_") {
			names[name] = true
		}
	}
	return names
}

func TestMetricsDocumentListsWhatTheBridgeHas(t *testing.T) {
	t.Parallel()
	all := scrapedMetrics(t)
	page := read(t, filepath.Join(folder, "metrics.md"))
	row := regexp.MustCompile("(?m)^\\| `(bridge_\\w+)` \\| (counter|gauge|histogram)(?:, always 1)?(?:; ([^|]*))? \\| [^|]+ \\|$")
	listed := map[string]bool{}
	for _, r := range row.FindAllStringSubmatch(page, -1) {
		name, kind := r[1], r[2]
		if listed[name] {
			t.Errorf("metrics.md lists %s twice", name)
		}
		listed[name] = true
		var named []string
		for _, l := range regexp.MustCompile("`(\\w+)`").FindAllStringSubmatch(r[3], -1) {
			named = append(named, l[1])
		}
		slices.Sort(named)
		m, exists := all[name]
		if got := slices.Sorted(maps.Keys(m.values)); !exists || m.kind != kind || !slices.Equal(got, named) {
			t.Errorf("metrics.md says that %s is a %s with %q, the bridge has a %s with %q", name, kind, named, m.kind, got)
		}
	}
	for name := range ours(all) {
		if !listed[name] {
			t.Errorf("metrics.md does not list %s", name)
		}
	}
	for _, document := range []string{"metrics.md", "runbook.md", "README.md"} {
		for _, name := range regexp.MustCompile(`\bbridge_[a-z_]+[a-z]\b`).FindAllString(read(t, filepath.Join(folder, document)), -1) {
			if _, _, exists := find(all, name); !exists {
				t.Errorf("%s names %s, which does not exist", document, name)
			}
		}
	}
	// The values of labels in tables.
	for metric, label := range map[string]string{
		"bridge_deliveries_total": "outcome", "bridge_throttled_total": "limit", "bridge_refusals_total": "reason", "bridge_card_steps_total": "step",
		"bridge_calls_total": "outcome", "bridge_sign_ins_total": "outcome",
	} {
		for value := range all[metric].values[label] {
			if !strings.Contains(page, "`"+value+"`") {
				t.Errorf("metrics.md does not explain %s=%q of %s", label, value, metric)
			}
		}
	}
}

// find returns the metric that a series name belongs to.
func find(all map[string]metric, series string) (name string, m metric, exists bool) {
	if m, exists = all[series]; exists {
		return series, m, true
	}
	for _, suffix := range []string{"_bucket", "_count", "_sum"} {
		if base, cut := strings.CutSuffix(series, suffix); cut && all[base].kind == "histogram" {
			return base, all[base], true
		}
	}
	return "", metric{}, false
}

// openLabels have values that depend on the settings or on what fails.
var openLabels = []string{"connector", "kind", "job", "instance", "le"}

// checkQuery checks that a query is valid, and that the metrics, labels and values of labels in it
// exist. It returns the names of the metrics, and the labels that a legend may have.
func checkQuery(t *testing.T, all map[string]metric, where, query string) (used, legend map[string]bool) {
	t.Helper()
	used, legend = map[string]bool{}, map[string]bool{"job": true, "instance": true, "le": true}
	query = strings.NewReplacer("$__rate_interval", "5m", "$__range", "1d", "$connector", ".*").Replace(query)
	expr, err := parser.NewParser(parser.Options{}).ParseExpr(query)
	if err != nil {
		t.Errorf("%s: %v", where, err)
		return used, legend
	}
	var grouping []string
	parser.Inspect(expr, func(n parser.Node, _ []parser.Node) error {
		switch n := n.(type) {
		case *parser.VectorSelector:
			name, m, exists := find(all, n.Name)
			if !exists && n.Name != "up" {
				t.Errorf("%s: there is no metric %s", where, n.Name)
			}
			used[name] = true
			for l := range m.values {
				legend[l] = true
			}
			for _, match := range n.LabelMatchers {
				if match.Name != labels.MetricName && !slices.Contains(openLabels, match.Name) {
					checkMatcher(t, where, m, match)
				}
			}
		case *parser.AggregateExpr:
			grouping = append(grouping, n.Grouping...)
		case *parser.BinaryExpr:
			if n.VectorMatching != nil {
				grouping = append(grouping, n.VectorMatching.MatchingLabels...)
			}
		}
		return nil
	})
	for _, l := range grouping {
		if !legend[l] {
			t.Errorf("%s: none of its metrics has the label %s", where, l)
		}
	}
	return used, legend
}

// checkMatcher checks that a matcher, and each word of a regular expression, matches a value that exists.
func checkMatcher(t *testing.T, where string, m metric, match *labels.Matcher) {
	t.Helper()
	if m.values[match.Name] == nil {
		t.Errorf("%s: no label %s", where, match.Name)
		return
	}
	if match.Type == labels.MatchNotEqual && !m.values[match.Name][match.Value] {
		t.Errorf("%s: %s is never %q", where, match.Name, match.Value)
	}
	for _, word := range strings.Split(match.Value, "|") {
		one, err := labels.NewMatcher(match.Type, match.Name, word)
		if err != nil {
			t.Errorf("%s: %v", where, err)
			continue
		}
		if !slices.ContainsFunc(slices.Collect(maps.Keys(m.values[match.Name])), one.Matches) {
			t.Errorf("%s: %s is never %s", where, match.Name, one)
		}
	}
}

// ruleFile is rules.yaml.
type ruleFile struct {
	Groups []struct {
		Name  string `json:"name"`
		Rules []struct {
			Alert       string            `json:"alert"`
			Record      string            `json:"record"`
			Expr        string            `json:"expr"`
			For         string            `json:"for"`
			Labels      map[string]string `json:"labels"`
			Annotations map[string]string `json:"annotations"`
		} `json:"rules"`
	} `json:"groups"`
}

const rulesPath = folder + "/prometheus/rules.yaml"

func readRules(t *testing.T) (f ruleFile) {
	t.Helper()
	if err := yaml.UnmarshalStrict([]byte(read(t, rulesPath)), &f); err != nil {
		t.Fatal(err)
	}
	return f
}

// alertNames returns the names of all alerts.
func alertNames(t *testing.T) (names []string) {
	for _, g := range readRules(t).Groups {
		for _, r := range g.Rules {
			if r.Alert != "" {
				names = append(names, r.Alert)
			}
		}
	}
	slices.Sort(names)
	if len(names) < 15 || len(slices.Compact(slices.Clone(names))) != len(names) {
		t.Fatalf("alerts %q", names)
	}
	return names
}

// withRecords adds the metrics that rules record.
func withRecords(t *testing.T, all map[string]metric) map[string]metric {
	all = maps.Clone(all)
	for _, g := range readRules(t).Groups {
		for _, r := range g.Rules {
			if r.Record != "" {
				all[r.Record] = metric{"gauge", map[string]map[string]bool{"service": {}}}
			}
		}
	}
	return all
}

func TestAlertsUseMetricsThatExist(t *testing.T) {
	t.Parallel()
	all := withRecords(t, scrapedMetrics(t))
	for _, g := range readRules(t).Groups {
		for _, r := range g.Rules {
			where := "rules.yaml " + r.Alert + r.Record
			_, given := checkQuery(t, all, where, r.Expr)
			if r.Alert == "" {
				continue
			}
			if s := r.Labels["severity"]; s != "critical" && s != "warning" {
				t.Errorf("%s has the severity %q", where, s)
			}
			for _, name := range []string{"summary", "description"} {
				text := r.Annotations[name]
				if !strings.HasSuffix(text, ".") {
					t.Errorf("%s: %s %q is no sentence", where, name, text)
				}
				for _, l := range regexp.MustCompile(`\$labels\.(\w+)`).FindAllStringSubmatch(text, -1) {
					if !given[l[1]] {
						t.Errorf("%s: %s has the label %s, which its metrics do not have", where, name, l[1])
					}
				}
			}
			if want := docs + "runbook.md#" + strings.ToLower(r.Alert); r.Annotations["runbook_url"] != want {
				t.Errorf("%s: runbook_url %s, want %s", where, r.Annotations["runbook_url"], want)
			}
		}
	}
}

// docs is the address in runbook_url that operators replace.
const docs = "https://docs.example.com/bridge/"

// TestTheAddressOfTheRunbookCanBeReplaced runs the command that metrics.md and rules.yaml have.
func TestTheAddressOfTheRunbookCanBeReplaced(t *testing.T) {
	t.Parallel()
	command := "sed -i 's|https://docs.example.com/bridge/|https://wiki.example.org/bridge/|' rules.yaml"
	for _, file := range []string{"metrics.md", "prometheus/rules.yaml"} {
		if !strings.Contains(read(t, filepath.Join(folder, file)), command) {
			t.Errorf("%s lacks %s", file, command)
		}
	}
	temp := t.TempDir()
	write(t, filepath.Join(temp, "rules.yaml"), read(t, rulesPath))
	sed := exec.Command("sh", "-c", command)
	sed.Dir = temp
	run(t, sed)
	changed := read(t, filepath.Join(temp, "rules.yaml"))
	if n := strings.Count(changed, "runbook_url: https://wiki.example.org/bridge/runbook.md#"); n != len(alertNames(t)) {
		t.Errorf("the command changed %d addresses", n)
	}
}

func TestEveryAlertHasASectionInTheRunbook(t *testing.T) {
	t.Parallel()
	_, part, ok := strings.Cut(read(t, filepath.Join(folder, "runbook.md")), "\n## Alerts\n")
	if !ok {
		t.Fatal("runbook.md has no part Alerts")
	}
	part, _, _ = strings.Cut(part, "\n## ")
	var sections []string
	for _, s := range strings.Split(part, "\n### ")[1:] {
		name, text, _ := strings.Cut(s, "\n")
		sections = append(sections, name)
		for _, says := range []string{"*What people see*: ", "*What to do*: "} {
			if !strings.Contains(text, "\n"+says) {
				t.Errorf("%s does not say %q", name, says)
			}
		}
	}
	slices.Sort(sections)
	if alerts := alertNames(t); !slices.Equal(sections, alerts) {
		t.Errorf("runbook.md has sections for %q, and rules.yaml has the alerts %q", sections, alerts)
	}
}

func TestEveryAlertIsTestedFiringAndQuiet(t *testing.T) {
	t.Parallel()
	var f struct {
		Tests []struct {
			Expressions []struct {
				Expr    string `json:"expr"`
				Samples []any  `json:"exp_samples"`
			} `json:"promql_expr_test"`
		} `json:"tests"`
	}
	if err := yaml.Unmarshal([]byte(read(t, folder+"/prometheus/rules_test.yaml")), &f); err != nil {
		t.Fatal(err)
	}
	fires, quiet := map[string]bool{}, map[string]bool{}
	for _, test := range f.Tests {
		for _, e := range test.Expressions {
			found := regexp.MustCompile(`^count\(ALERTS{alertname="(\w+)", alertstate="firing"}\)$`).FindStringSubmatch(e.Expr)
			if found == nil {
				t.Fatalf("unknown test %s", e.Expr)
			}
			if len(e.Samples) > 0 {
				fires[found[1]] = true
			} else {
				quiet[found[1]] = true
			}
		}
	}
	for _, name := range alertNames(t) {
		if !fires[name] || !quiet[name] {
			t.Errorf("%s: tested firing %v, quiet %v", name, fires[name], quiet[name])
		}
	}
}

func TestPromtoolAcceptsMetricsAndRules(t *testing.T) {
	t.Parallel()
	promtool := tool(t, "promtool", "apt prometheus")
	text, err := scraped()
	if err != nil {
		t.Fatal(err)
	}
	check := exec.Command(promtool, "check", "metrics")
	check.Stdin = bytes.NewReader(text)
	if out := run(t, check); strings.TrimSpace(out) != "" {
		t.Errorf("promtool check metrics says\n%s", out)
	}
	run(t, exec.Command(promtool, "check", "rules", rulesPath))
	run(t, exec.Command(promtool, "test", "rules", folder+"/prometheus/rules_test.yaml"))
}

// dashboardFile is dashboard.json.
type dashboardFile struct {
	Panels []struct {
		ID          int            `json:"id"`
		Title       string         `json:"title"`
		Type        string         `json:"type"`
		Description string         `json:"description"`
		GridPos     map[string]int `json:"gridPos"`
		Targets     []struct {
			Expr   string `json:"expr"`
			Legend string `json:"legendFormat"`
		} `json:"targets"`
	} `json:"panels"`
	Templating struct {
		List []struct {
			Name  string `json:"name"`
			Query any    `json:"query"`
		} `json:"list"`
	} `json:"templating"`
}

// TestDashboardUsesMetricsThatExist also checks that every metric is in the dashboard, so that nobody
// has to look for it.
func TestDashboardUsesMetricsThatExist(t *testing.T) {
	t.Parallel()
	all := scrapedMetrics(t)
	var d dashboardFile
	if err := json.Unmarshal([]byte(read(t, folder+"/grafana/dashboard.json")), &d); err != nil {
		t.Fatal(err)
	}
	used, ids := map[string]bool{}, map[int]bool{}
	var rows []string
	for _, p := range d.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		if p.Type == "row" {
			rows = append(rows, p.Title)
			continue
		}
		if p.Title == "" || p.Description == "" || len(p.Targets) == 0 || p.GridPos["x"]+p.GridPos["w"] > 24 {
			t.Errorf("panel %d %q has no description, no query or no room", p.ID, p.Title)
		}
		for _, target := range p.Targets {
			names, given := checkQuery(t, all, "panel "+p.Title, target.Expr)
			maps.Copy(used, names)
			for _, l := range regexp.MustCompile(`{{(\w+)}}`).FindAllStringSubmatch(target.Legend, -1) {
				if !given[l[1]] {
					t.Errorf("panel %s: the legend has the label %s, which its metrics do not have", p.Title, l[1])
				}
			}
		}
	}
	if want := []string{"Agents", "Work", "Upstreams", "Failures", "Resources"}; !slices.Equal(rows, want) {
		t.Errorf("rows %q, want %q", rows, want)
	}
	for name := range ours(all) {
		if !used[name] {
			t.Errorf("the dashboard does not show %s", name)
		}
	}
	for _, v := range d.Templating.List {
		if q, ok := v.Query.(map[string]any); ok {
			found := regexp.MustCompile(`^label_values\((\w+), (\w+)\)$`).FindStringSubmatch(q["query"].(string))
			if found == nil || all[found[1]].values[found[2]] == nil {
				t.Errorf("the variable %s has the query %v", v.Name, q["query"])
			}
		}
	}
}
