package commands

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
	"cobrowse-bridge/connectors/chatvisor/rules"

	"github.com/alecthomas/kong"
)

// An operator runs commands against a tenant.
type operator struct {
	*testing.T
	*chatvisortest.Service
	dir string
	ctx context.Context // of the commands
	// between handles each request before the service, if it is set.
	between func(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error)
}

// newOperator sets the settings in the environment, so its tests cannot run in parallel. A
// file that begins with "all-steps" begins with the service's own rules.
func newOperator(t *testing.T, file string) *operator {
	o := &operator{T: t, Service: chatvisortest.New(apiToken), dir: t.TempDir(), ctx: t.Context()}
	if rest, all := strings.CutPrefix(file, "all-steps"); all {
		file = o.Rules() + rest
	}
	for name, value := range map[string]string{
		"URL": "https://api.example.org" + chatvisortest.Prefix, "TOKEN": apiToken, "HOOK_SECRET": hookSecret, "CONFIG": o.write("chatvisor.yaml", file),
	} {
		t.Setenv("CHATVISOR_"+name, value)
	}
	t.Cleanup(func() {
		if strange := o.Unexpected(); len(strange) > 0 {
			t.Errorf("requests to paths that are not configured: %q", strange)
		}
	})
	return o
}

// RoundTrip sends a request to the service, without a network.
func (o *operator) RoundTrip(r *http.Request) (*http.Response, error) {
	serve := func() (*http.Response, error) { return chatvisortest.Transport(o.Service).RoundTrip(r) }
	if o.between != nil {
		return o.between(r, serve)
	}
	return serve()
}

func (o *operator) write(name, text string) string {
	path := filepath.Join(o.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		o.Fatal(err)
	}
	return path
}

// run runs a command and returns its output, from both streams.
func (o *operator) run(args ...string) (string, error) {
	o.Helper()
	var line struct {
		Chatvisor Command `cmd:""`
	}
	var said bytes.Buffer
	parser, err := kong.New(&line, kong.Name("bridge"), kong.Writers(&said, &said), kong.BindTo(o.ctx, (*context.Context)(nil)),
		kong.Exit(func(code int) { panic(code) }))
	if err != nil {
		o.Fatal(err)
	}
	line.Chatvisor.Transport = o
	command, err := parser.Parse(append([]string{"chatvisor"}, args...))
	if err == nil {
		err = command.Run()
	}
	text := said.String()
	wantNoSecret(o, "the output", text+fmt.Sprint(err))
	return text, err
}

// mustRun runs a command that must succeed, and returns its output.
func (o *operator) mustRun(args ...string) string {
	o.Helper()
	said, err := o.run(args...)
	if err != nil {
		o.Fatalf("%q: %v", args, err)
	}
	return said
}

func (o *operator) wantText(said string, all ...string) {
	o.Helper()
	for _, want := range all {
		if !strings.Contains(said, want) {
			o.Errorf("the output is %q, want %q in it", said, want)
		}
	}
}

// changeRequests returns the requests that were not GET.
func (o *operator) changeRequests() (all []string) {
	for _, r := range o.Requests() {
		if r.Method != "GET" {
			all = append(all, r.Method+" "+string(r.Body))
		}
	}
	return all
}

func TestEveryStepNamesTheMissingSetting(t *testing.T) {
	agents := filepath.Join(t.TempDir(), "agents.csv")
	if err := os.WriteFile(agents, []byte("email\nbob@example.org\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	out := filepath.Join(t.TempDir(), "out")
	for setting, args := range map[string][]string{
		"endpoints.set_visibility":     {"visibility", "hide", "--yes"},
		"endpoints.get_visibility":     {"visibility"},
		"endpoints.tag_customer":       {"tag", "c-1", "--label", "vip", "--yes"},
		"endpoints.list_agents":        {"sync-agents", agents, "--ledger", out, "--yes"},
		"endpoints.mint_token":         {"token", "--out", out, "--yes"},
		"endpoints.agent_chat_url":     nil,
		"endpoints.list_conversations": nil,
	} {
		o := newOperator(t, "")
		if args == nil {
			name := strings.TrimPrefix(setting, "endpoints.")
			if why := rules.Default().WhyOff(name, "CHATVISOR_CONFIG"); !strings.Contains(why, "set CHATVISOR_CONFIG to a file with "+setting+" ") {
				t.Errorf("%s: %q", setting, why)
			}
			continue
		}
		_, err := o.run(args...)
		if err == nil || !strings.Contains(err.Error(), "set CHATVISOR_CONFIG to a file with "+setting+" ") {
			t.Errorf("%q: %v", args, err)
		}
		if n := len(o.Requests()); n > 0 {
			t.Errorf("%q: %d requests", args, n)
		}
		if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q created a file", args)
		}
	}
	o := newOperator(t, withEndpoint("set_visibility", `{method: PUT, path: /v, body: {on: "{visible}"}}`))
	if _, err := o.run("visibility", "hide", "--yes"); err == nil || !strings.Contains(err.Error(), "set endpoints.set_visibility.enabled to true") || len(o.Requests()) > 0 {
		t.Errorf("a step that is not enabled: %v", err)
	}
}

func TestVisibilityChangesOnlyWithYes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOperator(t, "all-steps")
		o.wantText(o.mustRun("visibility"), `Visibility of the chat: "true"`)
		o.wantText(o.mustRun("visibility", "hide"), `now: "true". New visibility: false`, "Nothing was changed")
		if !o.Visible() || len(o.changeRequests()) != 0 {
			t.Error("a run without --yes changed the visibility")
		}
		o.wantText(o.mustRun("visibility", "hide", "--yes"), "Done.", "changed in Chatvisor", "what=visibility", "old=true", "new=false")
		if o.Visible() || !slices.Equal(o.changeRequests(), []string{`PATCH {"curtain":{"open":false}}`}) {
			t.Errorf("visible: %v, after %q", o.Visible(), o.changeRequests())
		}
		o.mustRun("visibility", "show", "--yes")
		if !o.Visible() {
			t.Error("the chat is not shown")
		}
	})
}

func TestAMintedTokenIsOnlyInItsFile(t *testing.T) {
	o := newOperator(t, "all-steps")
	out := filepath.Join(o.dir, "token")
	o.wantText(o.mustRun("token", "--out", out, "--email", "bob@example.org"), "would be created", "Nothing was changed")
	if len(o.changeRequests()) > 0 {
		t.Fatal("a run without --yes created a token")
	}
	o.wantText(o.mustRun("token", "--out", out, "--email", "bob@example.org", "--yes"), "The token is in "+out)
	got, err := os.ReadFile(out)
	if minted := o.Minted(); err != nil || len(minted) != 1 || string(got) != minted[0]+"\n" {
		t.Errorf("the file has %d bytes, %v", len(got), err)
	}
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := o.run("token", "--out", out, "--email", "bob@example.org", "--yes"); err == nil || len(o.changeRequests()) != 1 {
		t.Errorf("a file was overwritten: %v", err)
	}
	fresh := filepath.Join(o.dir, "fresh")
	if _, err := o.run("token", "--out", fresh, "--yes"); err == nil || !strings.Contains(err.Error(), "--email") || len(o.changeRequests()) != 1 {
		t.Errorf("without an e-mail address: %v", err)
	}
	o.wantText(o.mustRun("token", "--out", fresh, "--email", "Bob@Example.ORG", "--yes"), "The token is in")
	if got := o.changeRequests(); !strings.Contains(got[len(got)-1], `"bob@example.org"`) {
		t.Errorf("sent %q", got)
	}
	if err := os.Remove(fresh); err != nil {
		t.Fatal(err)
	}
	o.write("chatvisor.yaml", strings.Replace(o.Rules(), "key.plain", "key.secret", 1))
	_, err = o.run("token", "--out", fresh, "--email", "bob@example.org", "--yes")
	if err == nil || !strings.Contains(err.Error(), "fields of the answer: {key: {plain: text}}") {
		t.Errorf("an answer without a token: %v", err)
	}
	if _, err := os.Stat(fresh); !errors.Is(err, os.ErrNotExist) {
		t.Error("an empty file remains")
	}
}

func TestALostTokenIsReportedForRevocation(t *testing.T) {
	for what, c := range map[string]struct {
		status  int // zero if there is no answer
		body    string
		revokes bool
	}{
		"an answer without a token": {200, `{"key":{}}`, true},
		"no JSON":                   {200, "secret", true},
		"no answer":                 {0, "", true},
		"a refusal":                 {403, "", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := newOperator(t, "all-steps")
			o.between = func(r *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
				if c.status == 0 {
					return nil, errors.New("connection reset")
				}
				return &http.Response{StatusCode: c.status, Body: io.NopCloser(strings.NewReader(c.body)), Request: r}, nil
			}
			_, err := o.run("token", "--out", filepath.Join(o.dir, "token"), "--email", "bob@example.org", "--yes")
			if err == nil || strings.Contains(err.Error(), "find and revoke it") != c.revokes {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
}

func TestCommandsReportWrongSettings(t *testing.T) {
	o := newOperator(t, "team: ''")
	if _, err := o.run("visibility"); err == nil || !strings.Contains(err.Error(), "CHATVISOR_CONFIG has a fault: chatvisor.yaml:1: team") {
		t.Errorf("a fault in the file: %v", err)
	}
	if _, err := o.run("--name", "slack", "visibility"); err == nil || !strings.Contains(err.Error(), "--name") {
		t.Errorf("the name of another service: %v", err)
	}
	if _, err := o.run("--name", "chatvisor-emea", "visibility"); err == nil || !strings.Contains(err.Error(), "CHATVISOR_EMEA_TOKEN is not set") {
		t.Errorf("a tenant without settings: %v", err)
	}
}
