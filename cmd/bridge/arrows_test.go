package main

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

// arrows are who may import whom of us. A package that is not here imports
// nothing of ours.
var arrows = map[string][]string{
	"cmd/bridge":                           {"bridge", "bridge/policy", "bridge/settings", "bridge/signin", "bridge/signin/signintest", "bridge/store", "connectors", "connectors/chatvisor", "connectors/chatvisor/chatvisortest", "connectors/demo", "connectors/rocketchat", "connectors/slack", "connectors/slack/slacktest", "upscope", "upscope/upscopetest"},
	"connectors":                           {"bridge", "bridge/settings", "connectors/chatvisor", "connectors/rest", "connectors/rocketchat", "connectors/slack"},
	"connectors/chatvisor":                 {"bridge", "bridge/settings", "connectors/rest"},
	"connectors/rocketchat":                {"bridge", "bridge/settings", "connectors/rest"},
	"connectors/slack":                     {"bridge", "bridge/settings", "connectors/rest"},
	"connectors/demo":                      {"bridge", "connectors/rest"},
	"connectors/connectortest":             {"bridge"},
	"bridge":                               {"bridge/policy", "bridge/signin", "bridge/store", "templates", "upscope"},
	"bridge/policy":                        {"upscope"},
	"bridge/store":                         {"bridge/store/engine", "bridge/store/postgres", "bridge/store/seal", "bridge/store/sqlite"},
	"bridge/store/postgres":                {"bridge/store/engine"},
	"bridge/store/sqlite":                  {"bridge/store/engine"},
	"upscope/upscopetest":                  {"upscope"},
	"bridge/settings":                      nil,
	"bridge/signin":                        nil,
	"bridge/signin/signintest":             nil,
	"bridge/benchtest":                     nil,
	"bridge/browsertest":                   nil,
	"bridge/benchtest/table":               nil,
	"bridge/store/engine":                  nil,
	"bridge/store/seal":                    nil,
	"connectors/rest":                      nil,
	"templates":                            nil,
	"upscope":                              nil,
	"connectors/chatvisor/chatvisortest":   nil,
	"connectors/rocketchat/rocketchattest": nil,
	"connectors/slack/slacktest":           nil,
}

// modules are the outside modules that may be used, and where. Tests may use
// what they like.
var modules = map[string][]string{
	"github.com/alecthomas/kong":           {"cmd/bridge", "connectors/chatvisor"},
	"github.com/alexedwards/scs/v2":        {"bridge/signin"},
	"github.com/coreos/go-oidc/v3":         {"bridge/signin"},
	"github.com/gofrs/flock":               {"bridge/store/sqlite", "connectors/chatvisor"},
	"github.com/google/uuid":               {"bridge", "bridge/store"},
	"github.com/gorilla/mux":               {"bridge"},
	"github.com/gorilla/websocket":         {"connectors/slack", "connectors/slack/slacktest"},
	"github.com/jackc/pgx/v5":              {"bridge/store/postgres"},
	"github.com/kelseyhightower/envconfig": {"bridge/settings"},
	"github.com/patrickmn/go-cache":        {"bridge"},
	"github.com/pressly/goose/v3":          {"bridge/store/engine", "bridge/store/postgres", "bridge/store/sqlite"},
	"github.com/prometheus/client_golang":  {"bridge"},
	"github.com/riverqueue/river":          {"bridge/benchtest", "bridge/store", "bridge/store/engine", "bridge/store/postgres", "bridge/store/sqlite"},
	"github.com/slack-go/slack":            {"connectors/slack"},
	"github.com/sony/gobreaker/v2":         {"bridge"},
	"github.com/tidwall/gjson":             {"connectors/chatvisor"},
	"go.yaml.in/yaml/v3":                   {"bridge/policy", "connectors/chatvisor"},
	"golang.org/x/oauth2":                  {"bridge/signin"},
	"golang.org/x/sync":                    {"bridge", "bridge/signin", "cmd/bridge", "connectors/chatvisor"},
	"golang.org/x/time":                    {"bridge"},
	"modernc.org/sqlite":                   {"bridge/store/sqlite"},
}

const ours = "cobrowse-bridge/"

func TestImportsFollowTheArrows(t *testing.T) {
	t.Parallel()
	out, err := exec.Command("go", "list", "-f", `{{.ImportPath}} {{join .Imports " "}}`, ours+"...").Output()
	if err != nil {
		t.Fatal(err)
	}
	used := map[string]bool{}
	for line := range strings.Lines(string(out)) {
		fields := strings.Fields(line)
		from := strings.TrimPrefix(fields[0], ours)
		permitted, known := arrows[from]
		if !known {
			t.Errorf("package %s is not in the picture", from)
		}
		for _, to := range fields[1:] {
			if mine, ok := strings.CutPrefix(to, ours); ok {
				if !slices.Contains(permitted, mine) {
					t.Errorf("%s must not import %s", from, mine)
				}
				used[from+mine] = true
				continue
			}
			if first, _, _ := strings.Cut(to, "/"); !strings.Contains(first, ".") {
				continue // the standard library
			}
			module := moduleOf(to)
			if !slices.Contains(modules[module], from) {
				t.Errorf("%s must not import %s (module %q)", from, to, module)
			}
			used[module+from] = true
		}
	}
	for from, all := range arrows {
		for _, to := range all {
			if !used[from+to] {
				t.Errorf("the picture has an arrow from %s to %s that nobody uses", from, to)
			}
		}
	}
	for module, all := range modules {
		for _, from := range all {
			if !used[module+from] {
				t.Errorf("%s may be used in %s, and is not", module, from)
			}
		}
	}
}

func moduleOf(path string) string {
	for module := range modules {
		if path == module || strings.HasPrefix(path, module+"/") {
			return module
		}
	}
	return ""
}
