package chatvisor

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

	"github.com/alecthomas/kong"
)

// An office is where an operator runs commands against a tenant.
type office struct {
	*testing.T
	*chatvisortest.Service
	dir string
	ctx context.Context // of the commands
	// between stands between the commands and the service, if it is set.
	between func(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error)
}

// newOffice has the settings in the environment, so its tests run one by one. The
// rules are those of the service where file is "odd".
func newOffice(t *testing.T, file string) *office {
	o := &office{T: t, Service: chatvisortest.New(apiToken), dir: t.TempDir(), ctx: t.Context()}
	if rest, odd := strings.CutPrefix(file, "odd"); odd {
		file = o.Rules() + rest
	}
	for name, value := range map[string]string{
		"URL": "https://api.example.org" + chatvisortest.Prefix, "TOKEN": apiToken, "HOOK_SECRET": hookSecret, "CONFIG": o.write("chatvisor.yaml", file),
	} {
		t.Setenv("CHATVISOR_"+name, value)
	}
	t.Cleanup(func() {
		if strange := o.Strange(); len(strange) > 0 {
			t.Errorf("guessed at: %q", strange)
		}
	})
	return o
}

// RoundTrip is the way to the service, without a network.
func (o *office) RoundTrip(r *http.Request) (*http.Response, error) {
	serve := func() (*http.Response, error) { return inMemory(o.Service).RoundTrip(r) }
	if o.between != nil {
		return o.between(r, serve)
	}
	return serve()
}

func (o *office) write(name, text string) string {
	path := filepath.Join(o.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		o.Fatal(err)
	}
	return path
}

// runs runs a command and gives what it said, on both streams.
func (o *office) runs(args ...string) (string, error) {
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
	clean(o, "what was said", text+fmt.Sprint(err))
	return text, err
}

// does is a command that works.
func (o *office) does(args ...string) string {
	o.Helper()
	said, err := o.runs(args...)
	if err != nil {
		o.Fatalf("%q: %v", args, err)
	}
	return said
}

func (o *office) wants(said string, all ...string) {
	o.Helper()
	for _, want := range all {
		if !strings.Contains(said, want) {
			o.Errorf("it said %q, and not %q", said, want)
		}
	}
}

// changes are the requests that were no GET.
func (o *office) changes() (all []string) {
	for _, r := range o.Requests() {
		if r.Method != "GET" {
			all = append(all, r.Method+" "+string(r.Body))
		}
	}
	return all
}

func TestEveryStepRefusesWithTheMissingSetting(t *testing.T) {
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
		o := newOffice(t, "")
		if args == nil {
			name := strings.TrimPrefix(setting, "endpoints.")
			if why := DefaultRules().off(name, "CHATVISOR_CONFIG"); !strings.Contains(why, setting+" is not in the file of CHATVISOR_CONFIG.") {
				t.Errorf("%s: %q", setting, why)
			}
			continue
		}
		_, err := o.runs(args...)
		if err == nil || !strings.Contains(err.Error(), setting+" is not in the file of CHATVISOR_CONFIG.") {
			t.Errorf("%q: %v", args, err)
		}
		if n := len(o.Requests()); n > 0 {
			t.Errorf("%q: %d requests", args, n)
		}
		if _, err := os.Stat(out); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("%q made a file", args)
		}
	}
	o := newOffice(t, withEndpoint("set_visibility", `{method: PUT, path: /v, body: {on: "{visible}"}}`))
	if _, err := o.runs("visibility", "hide", "--yes"); err == nil || !strings.Contains(err.Error(), "endpoints.set_visibility.enabled is not true") || len(o.Requests()) > 0 {
		t.Errorf("%v", err)
	}
}

func TestVisibilityIsChangedOnlyWhenTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOffice(t, "odd")
		o.wants(o.does("visibility"), `visibility is "true"`)
		o.wants(o.does("visibility", "hide"), `"true" and would become false`, "Nothing was changed")
		if !o.Visible() || len(o.changes()) != 0 {
			t.Error("a dry run changed something")
		}
		o.wants(o.does("visibility", "hide", "--yes"), "Done.", "changed in Chatvisor", "what=visibility", "old=true", "new=false")
		if o.Visible() || !slices.Equal(o.changes(), []string{`PATCH {"curtain":{"open":false}}`}) {
			t.Errorf("shown: %v, after %q", o.Visible(), o.changes())
		}
		o.does("visibility", "show", "--yes")
		if !o.Visible() {
			t.Error("the chat is not shown")
		}
	})
}

func TestAMintedTokenIsSeenByNobody(t *testing.T) {
	o := newOffice(t, "odd")
	out := filepath.Join(o.dir, "token")
	o.wants(o.does("token", "--out", out, "--email", "bob@example.org"), "would be minted", "Nothing was changed")
	if len(o.changes()) > 0 {
		t.Fatal("a dry run minted one")
	}
	o.wants(o.does("token", "--out", out, "--email", "bob@example.org", "--yes"), "The token is in "+out)
	got, err := os.ReadFile(out)
	if minted := o.Minted(); err != nil || len(minted) != 1 || string(got) != minted[0]+"\n" {
		t.Errorf("the file has %d bytes, %v", len(got), err)
	}
	if info, err := os.Stat(out); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}
	if _, err := o.runs("token", "--out", out, "--email", "bob@example.org", "--yes"); err == nil || len(o.changes()) != 1 {
		t.Errorf("a file was written over: %v", err)
	}
	fresh := filepath.Join(o.dir, "fresh")
	if _, err := o.runs("token", "--out", fresh, "--yes"); err == nil || !strings.Contains(err.Error(), "--email") || len(o.changes()) != 1 {
		t.Errorf("without an e-mail address: %v", err)
	}
	o.wants(o.does("token", "--out", fresh, "--email", "Bob@Example.ORG", "--yes"), "The token is in")
	if got := o.changes(); !strings.Contains(got[len(got)-1], `"bob@example.org"`) {
		t.Errorf("sent %q", got)
	}
	if err := os.Remove(fresh); err != nil {
		t.Fatal(err)
	}
	o.write("chatvisor.yaml", strings.Replace(o.Rules(), "key.plain", "key.secret", 1))
	_, err = o.runs("token", "--out", fresh, "--email", "bob@example.org", "--yes")
	if err == nil || !strings.Contains(err.Error(), "it looks like {key: {plain: text}}") {
		t.Errorf("an answer without a token: %v", err)
	}
	if _, err := os.Stat(fresh); !errors.Is(err, os.ErrNotExist) {
		t.Error("an empty file was left")
	}
}

func TestATokenThatIsLostIsForTheOperatorToRevoke(t *testing.T) {
	for what, c := range map[string]struct {
		status  int // zero for none
		body    string
		revokes bool
	}{
		"an answer without a token": {200, `{"key":{}}`, true},
		"no JSON":                   {200, "secret", true},
		"no answer":                 {0, "", true},
		"a refusal":                 {403, "", false},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := newOffice(t, "odd")
			o.between = func(r *http.Request, _ func() (*http.Response, error)) (*http.Response, error) {
				if c.status == 0 {
					return nil, errors.New("the line is cut")
				}
				return &http.Response{StatusCode: c.status, Body: io.NopCloser(strings.NewReader(c.body)), Request: r}, nil
			}
			_, err := o.runs("token", "--out", filepath.Join(o.dir, "token"), "--email", "bob@example.org", "--yes")
			if err == nil || strings.Contains(err.Error(), "that nobody has: look there, and revoke it") != c.revokes {
				t.Errorf("%s: %v", what, err)
			}
		})
	}
}

func TestCommandsNeedSoundSettings(t *testing.T) {
	o := newOffice(t, "team: ''")
	if _, err := o.runs("visibility"); err == nil || !strings.Contains(err.Error(), "CHATVISOR_CONFIG is wrong: chatvisor.yaml:1: team") {
		t.Errorf("%v", err)
	}
	if _, err := o.runs("--name", "slack", "visibility"); err == nil || !strings.Contains(err.Error(), "--name") {
		t.Errorf("%v", err)
	}
	if _, err := o.runs("--name", "chatvisor-emea", "visibility"); err == nil || !strings.Contains(err.Error(), "CHATVISOR_EMEA_TOKEN is not set") {
		t.Errorf("%v", err)
	}
}
