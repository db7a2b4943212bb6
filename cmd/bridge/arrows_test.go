package main

import (
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// arrows lists for each package of this module the other packages of it that it may
// import. Each package must be listed.
var arrows = map[string][]string{
	"cmd/bridge":                           {"bridge", "bridge/buildinfo", "bridge/card", "bridge/chat", "bridge/check", "bridge/clidoc", "bridge/erase", "bridge/export", "bridge/licenses", "bridge/metrics", "bridge/netaddr", "bridge/network", "bridge/policy", "bridge/secret", "bridge/settings", "bridge/signin", "bridge/signin/signintest", "bridge/store", "bridge/store/audit", "bridge/store/backup", "bridge/store/jobs", "bridge/store/session", "bridge/requestid", "connectors", "connectors/chatvisor", "connectors/chatvisor/chatvisortest", "connectors/chatvisor/commands", "connectors/chatvisor/rules", "connectors/demo", "connectors/rest", "connectors/rocketchat", "connectors/slack", "connectors/slack/slacktest", "upscope", "upscope/upscopetest"},
	"connectors":                           {"bridge/chat", "bridge/network", "bridge/settings", "connectors/chatvisor", "connectors/rest", "connectors/rocketchat", "connectors/slack"},
	"connectors/chatvisor":                 {"bridge/cache", "bridge/chat", "bridge/netaddr", "bridge/network", "bridge/secret", "bridge/settings", "connectors/chatvisor/api", "connectors/chatvisor/rules", "connectors/rest"},
	"connectors/rocketchat":                {"bridge/cache", "bridge/chat", "bridge/network", "bridge/secret", "bridge/settings", "bridge/requestid", "connectors/rest"},
	"connectors/slack":                     {"bridge/cache", "bridge/chat", "bridge/netaddr", "bridge/network", "bridge/secret", "bridge/settings", "bridge/requestid", "connectors/rest"},
	"connectors/demo":                      {"bridge/chat", "connectors/rest"},
	"connectors/connectortest":             {"bridge/chat"},
	"bridge":                               {"bridge/book", "bridge/card", "bridge/chat", "bridge/desk", "bridge/door", "bridge/erase", "bridge/hook", "bridge/match", "bridge/metrics", "bridge/netaddr", "bridge/policy", "bridge/proof", "bridge/signin", "bridge/store", "bridge/store/figures", "bridge/store/jobs", "bridge/web", "bridge/work", "templates", "upscope"},
	"bridge/check":                         {"bridge/chat", "bridge/netaddr", "bridge/network", "bridge/policy", "bridge/proof", "bridge/settings", "bridge/signin", "bridge/store", "bridge/store/engine", "bridge/store/inspect", "connectors/rest", "upscope"},
	"bridge/proof":                         nil,
	"bridge/desk":                          {"bridge/book", "bridge/card", "bridge/chat", "bridge/door", "bridge/erase", "bridge/match", "bridge/metrics", "bridge/policy", "bridge/signin", "bridge/store", "bridge/store/audit", "bridge/store/jobs", "bridge/web", "bridge/work", "templates", "upscope"},
	"bridge/door":                          {"bridge/book", "bridge/card", "bridge/chat", "bridge/match", "bridge/metrics", "bridge/policy", "bridge/signin", "bridge/store", "bridge/store/audit", "bridge/store/limit", "bridge/web", "bridge/work", "templates", "upscope"},
	"bridge/work":                          {"bridge/book", "bridge/cache", "bridge/card", "bridge/chat", "bridge/erase", "bridge/match", "bridge/metrics", "bridge/policy", "bridge/store", "bridge/store/audit", "bridge/store/jobs", "bridge/requestid", "bridge/web", "templates", "upscope", "bridge/store/sweeps", "bridge/store/refreshes"},
	"bridge/erase":                         {"bridge/book", "bridge/card", "bridge/store", "bridge/store/jobs", "upscope"},
	"bridge/hook":                          {"bridge/book", "bridge/chat", "bridge/metrics", "bridge/store", "bridge/store/jobs", "bridge/requestid", "bridge/web", "bridge/store/sweeps"},
	"bridge/export":                        {"bridge/card", "bridge/erase", "bridge/store", "bridge/store/audit", "bridge/store/mention"},
	"bridge/match":                         {"bridge/cache", "bridge/card", "bridge/chat", "bridge/store", "bridge/store/limit", "bridge/web", "templates", "upscope"},
	"bridge/book":                          {"bridge/card", "bridge/chat", "bridge/metrics", "bridge/store", "bridge/store/audit", "bridge/store/erasing", "bridge/store/jobs", "bridge/web", "bridge/store/refreshes"},
	"bridge/web":                           {"bridge/cache", "bridge/chat", "bridge/metrics", "bridge/netaddr", "bridge/signin", "bridge/store", "bridge/store/jobs", "bridge/store/limit", "bridge/requestid", "templates", "upscope"},
	"bridge/card":                          {"bridge/chat", "bridge/store", "templates", "upscope"},
	"bridge/buildinfo":                     nil,
	"bridge/cache":                         nil,
	"bridge/clidoc":                        nil,
	"bridge/licenses":                      nil,
	"connectors/rest":                      {"bridge/chat", "bridge/netaddr", "bridge/network", "bridge/requestid"},
	"bridge/policy":                        {"bridge/settings/yamlfile", "upscope"},
	"bridge/settings":                      {"bridge/netaddr", "bridge/network", "bridge/secret"},
	"bridge/signin":                        {"bridge/netaddr", "bridge/network", "bridge/requestid"},
	"connectors/chatvisor/api":             {"bridge/chat", "bridge/secret", "bridge/requestid", "connectors/chatvisor/rules", "connectors/rest"},
	"connectors/chatvisor/commands":        {"bridge/chat", "bridge/network", "bridge/settings", "bridge/settings/yamlfile", "connectors/chatvisor", "connectors/chatvisor/api", "connectors/chatvisor/rules", "connectors/rest"},
	"connectors/chatvisor/rules":           {"bridge/chat", "bridge/netaddr", "bridge/settings/yamlfile"},
	"bridge/store":                         {"bridge/metrics", "bridge/store/audit", "bridge/store/engine", "bridge/store/erasing", "bridge/store/figures", "bridge/store/jobs", "bridge/store/limit", "bridge/store/measured", "bridge/store/postgres", "bridge/store/pulse", "bridge/store/seal", "bridge/store/session", "bridge/store/sqlite", "bridge/store/sweeps", "bridge/store/group", "bridge/store/refreshes"},
	"bridge/store/inspect":                 {"bridge/store/engine", "bridge/store/postgres", "bridge/store/sqlite"},
	"bridge/store/audit":                   {"bridge/store/engine"},
	"bridge/store/backup":                  {"bridge/store", "bridge/store/audit", "bridge/store/engine", "bridge/store/sqlite"},
	"bridge/store/jobs":                    {"bridge/store/engine", "bridge/requestid"},
	"bridge/store/limit":                   {"bridge/store/engine", "bridge/store/seal"},
	"bridge/store/erasing":                 {"bridge/store/audit", "bridge/store/engine", "bridge/store/jobs", "bridge/store/mention", "bridge/store/seal"},
	"bridge/store/mention":                 nil,
	"bridge/store/pulse":                   {"bridge/store/engine"},
	"bridge/store/group":                   nil,
	"bridge/store/session":                 {"bridge/store/engine", "bridge/store/seal"},
	"bridge/store/refreshes":               {"bridge/store/engine"},
	"bridge/store/sweeps":                  {"bridge/store/engine", "bridge/store/seal"},
	"bridge/store/postgres":                {"bridge/store/engine"},
	"bridge/store/sqlite":                  {"bridge/store/engine"},
	"upscope/upscopetest":                  {"upscope"},
	"bridge/store/figures":                 {"bridge/store/engine"},
	"bridge/store/measured":                {"bridge/metrics", "bridge/store/engine"},
	"bridge/metrics":                       nil,
	"bridge/chat":                          nil,
	"bridge/netaddr":                       nil,
	"bridge/settings/yamlfile":             nil,
	"bridge/network/networktest":           nil,
	"bridge/signin/signintest":             nil,
	"bridge/benchtest":                     nil,
	"bridge/browsertest":                   {"bridge/testmain"},
	"bridge/network":                       nil,
	"bridge/secret":                        nil,
	"bridge/requestid":                     nil,
	"bridge/testmain":                      nil,
	"bridge/benchtest/program":             {"bridge/benchtest"},
	"bridge/benchtest/simulate":            {"bridge/benchtest", "upscope", "upscope/upscopetest"},
	"bridge/benchtest/table":               nil,
	"bridge/store/engine":                  nil,
	"bridge/store/seal":                    nil,
	"templates":                            {"templates/clean", "templates/phrase"},
	"templates/clean":                      nil,
	"templates/phrase":                     nil,
	"upscope":                              nil,
	"connectors/chatvisor/chatvisortest":   nil,
	"connectors/chatvisor/wholetest":       nil,
	"connectors/rocketchat/rocketchattest": nil,
	"connectors/slack/slacktest":           nil,
}

// modules lists for each outside module the packages that may import it. Tests may
// import any module.
var modules = map[string][]string{
	"github.com/alecthomas/kong":           {"bridge/clidoc", "cmd/bridge", "connectors/chatvisor/commands"},
	"github.com/alexedwards/scs/v2":        {"bridge/signin"},
	"github.com/coreos/go-oidc/v3":         {"bridge/signin"},
	"github.com/coreos/go-systemd/v22":     {"cmd/bridge"},
	"golang.org/x/sys":                     {"bridge/testmain"},
	"github.com/chromedp/chromedp":         {"bridge/browsertest"},
	"github.com/go-jose/go-jose/v4":        {"bridge/signin"},
	"github.com/gofrs/flock":               {"bridge/store/sqlite", "connectors/chatvisor/commands"},
	"github.com/google/uuid":               {"bridge/book", "bridge/store"},
	"github.com/gorilla/mux":               {"bridge", "bridge/desk", "bridge/door", "bridge/hook", "bridge/web", "bridge/work"},
	"github.com/gorilla/websocket":         {"connectors/slack", "connectors/slack/slacktest"},
	"github.com/jackc/pgx/v5":              {"bridge/benchtest/simulate", "bridge/store/postgres"},
	"github.com/kelseyhightower/envconfig": {"bridge/settings"},
	"github.com/patrickmn/go-cache":        {"bridge/cache"},
	"github.com/pressly/goose/v3":          {"bridge/store/engine", "bridge/store/postgres", "bridge/store/sqlite"},
	"github.com/prometheus/client_golang":  {"bridge/metrics"},
	"github.com/riverqueue/river":          {"bridge/benchtest", "bridge/store", "bridge/store/engine", "bridge/store/jobs", "bridge/store/postgres", "bridge/store/sqlite"},
	"github.com/slack-go/slack":            {"connectors/slack"},
	"github.com/sony/gobreaker/v2":         {"connectors/rest"},
	"github.com/tidwall/gjson":             {"connectors/chatvisor", "connectors/chatvisor/api", "connectors/chatvisor/commands", "connectors/chatvisor/rules"},
	"go.yaml.in/yaml/v3":                   {"bridge/policy", "bridge/settings/yamlfile", "connectors/chatvisor/commands", "connectors/chatvisor/rules"},
	"golang.org/x/net":                     {"bridge/netaddr"},
	"golang.org/x/oauth2":                  {"bridge/signin"},
	"golang.org/x/sync":                    {"bridge", "bridge/cache", "bridge/hook", "bridge/signin", "bridge/work", "cmd/bridge", "connectors/chatvisor"},
	"golang.org/x/time":                    {"bridge/web"},
	"modernc.org/sqlite":                   {"bridge/benchtest/simulate", "bridge/store/sqlite"},
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
		permitted, listed := arrows[from]
		if !listed {
			t.Errorf("package %s is not in arrows", from)
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
				t.Errorf("arrows allows %s to import %s, but it does not", from, to)
			}
		}
	}
	for module, all := range modules {
		for _, from := range all {
			if !used[module+from] {
				t.Errorf("modules allows %s in %s, but it is not imported there", module, from)
			}
		}
	}
}

// Tests of a connector compile without the engine and its databases. Only wholetest
// links them: it tests the whole way from a delivery to a card.
func TestTestsOfConnectorsDoNotLinkTheEngine(t *testing.T) {
	t.Parallel()
	const whole = "connectors/chatvisor/wholetest"
	engine := regexp.MustCompile(`/(river|riverqueue|pgx|sqlite|client_golang)(/|$)|^` + ours + `bridge(/store)?$`)
	// The test binary of a package is listed as the package "<path>.test".
	out, err := exec.Command("go", "list", "-test", "-f", `{{.ImportPath}} {{join .Deps " "}}`, ours+"connectors/...").Output()
	if err != nil {
		t.Fatal(err)
	}
	tested := 0
	for line := range strings.Lines(string(out)) {
		names := strings.Fields(line)
		path, isTest := strings.CutSuffix(names[0], ".test")
		if !isTest || path == ours+whole {
			continue
		}
		tested++
		for _, dep := range names[1:] {
			if engine.MatchString(dep) {
				t.Errorf("the tests of %s link %s", path, dep)
			}
		}
	}
	if tested < 8 {
		t.Errorf("only %d packages were checked", tested)
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
