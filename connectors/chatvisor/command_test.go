package chatvisor

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"cobrowse-bridge/connectors/chatvisor/chatvisortest"

	"github.com/alecthomas/kong"
)

// An office is where an operator runs commands against a tenant.
type office struct {
	*testing.T
	*chatvisortest.Service
	dir string
}

// newOffice has the settings in the environment, so its tests run one by one. The
// rules are those of the service where file is "odd".
func newOffice(t *testing.T, file string) *office {
	o := &office{t, chatvisortest.New(apiToken), t.TempDir()}
	server := httptest.NewServer(o.Service)
	t.Cleanup(server.Close)
	if rest, odd := strings.CutPrefix(file, "odd"); odd {
		file = o.Rules() + rest
	}
	for name, value := range map[string]string{
		"URL": server.URL + chatvisortest.Prefix, "TOKEN": apiToken, "HOOK_SECRET": hookSecret, "CONFIG": o.write("chatvisor.yaml", file),
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
	parser, err := kong.New(&line, kong.Name("bridge"), kong.Writers(&said, &said), kong.BindTo(o.Context(), (*context.Context)(nil)),
		kong.Exit(func(code int) { panic(code) }))
	if err != nil {
		o.Fatal(err)
	}
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
}

func TestLabelsAreAddedAndNeverLost(t *testing.T) {
	o := newOffice(t, "odd")
	o.AddCustomer(chatvisortest.Customer{ID: "c-1", Labels: []string{"vip", "slow"}})
	o.wants(o.does("tag", "c-1", "--label", "cobrowse", "--label", "vip"), `"vip", "slow" and would become "vip", "slow", "cobrowse"`, "Nothing was changed")
	if len(o.changes()) != 0 {
		t.Fatal("a dry run changed something")
	}
	o.wants(o.does("tag", "c-1", "--label", "cobrowse", "--label", "a,b", "--yes"), "Done.", `old="[vip slow]"`)
	if got := o.Labels("c-1"); !slices.Equal(got, []string{"vip", "slow", "cobrowse", "a,b"}) || o.ExternalID("c-1") != "" {
		t.Errorf("labels %q, id %q", got, o.ExternalID("c-1"))
	}
	o.wants(o.does("tag", "c-1", "--label", "vip", "--yes"), "has all of that already")
	o.wants(o.does("tag", "c-1", "--external-id", "cust-77", "--yes"), "Done.")
	if o.ExternalID("c-1") != "cust-77" || len(o.Labels("c-1")) != 4 {
		t.Errorf("labels %q, id %q", o.Labels("c-1"), o.ExternalID("c-1"))
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"c-1", "--external-id", "cust-78", "--yes"}, "another external id already"},
		{[]string{"c-1", "--yes"}, "say what to add"},
		{[]string{"../c-1", "--label", "x", "--yes"}, "no id"},
		{[]string{"c-1", "--label", "a\nb", "--yes"}, "cannot be printed"},
		{[]string{"c-9", "--label", "x", "--yes"}, "no such thing any more"},
	} {
		before := len(o.changes())
		if _, err := o.runs(append([]string{"tag"}, c.args...)...); err == nil || !strings.Contains(err.Error(), c.want) || len(o.changes()) != before {
			t.Errorf("%q: %v", c.args, err)
		}
	}
}

func TestLabelsAreNotWrittenWhereTheyCannotBeRead(t *testing.T) {
	for file, want := range map[string]string{
		"odd\nexternal_id_type: number\n": "says that it must be one",
		"elsewhere":                       "nothing at labels_path",
		"wrong":                           "is no list",
		"none":                            "labels_path is not set",
		"noread":                          "endpoints.get_customer",
	} {
		o := newOffice(t, "odd")
		rules := o.Rules()
		switch file {
		case "elsewhere":
			rules = strings.Replace(rules, "profile.marks", "profile.labels", 1)
		case "wrong":
			rules = strings.Replace(rules, "profile.marks", "profile.own", 1)
		case "none":
			rules = strings.Replace(rules, "labels_path: [profile.marks]", "", 1)
		case "noread":
			rules = rules[strings.Index(rules, "endpoints:"):]
			rules = strings.Replace(rules, "  get_customer", "  # get_customer", 1)
		default:
			rules += "external_id_type: number\n"
		}
		o.write("chatvisor.yaml", rules)
		o.AddCustomer(chatvisortest.Customer{ID: "c-1", Labels: []string{"vip"}})
		_, err := o.runs("tag", "c-1", "--label", "x", "--external-id", "cust-77", "--yes")
		if err == nil || !strings.Contains(err.Error(), want) || len(o.changes()) > 0 {
			t.Errorf("%s: %v after %q", file, err, o.changes())
		}
		if file == "elsewhere" {
			o.does("tag", "c-1", "--label", "x", "--first", "--yes")
			if got := o.Labels("c-1"); !slices.Equal(got, []string{"x"}) {
				t.Errorf("labels %q", got)
			}
		}
	}
}

func TestAgentsFollowTheFileAndNobodyElseIsTouched(t *testing.T) {
	o := newOffice(t, "odd")
	o.AddAgent(chatvisortest.Agent{ID: "s-1", Email: "Boss@example.org", Firstname: "The", Lastname: "Boss"})
	o.AddAgent(chatvisortest.Agent{ID: "s-2", Email: "bob@example.org", Firstname: "Robert", Lastname: "Baker"})
	ledger := filepath.Join(o.dir, "ledger.json")
	file := o.write("agents.csv", "\ufeffLastname;EMAIL;Firstname\nBaker;bob@example.org;Bob\nEvans;Eve@Example.org;Eve\nGrey;gus@example.org;\n")
	sync := func(args ...string) string {
		t.Helper()
		return o.does(append([]string{"sync-agents", file, "--ledger", ledger}, args...)...)
	}
	o.wants(sync(), "create  eve@example.org Eve Evans", "create  gus@example.org Grey", "leave   bob@example.org Robert Baker: not made by the bridge",
		"leave   boss@example.org", "Nothing was changed")
	if len(o.changes()) > 0 {
		t.Fatal("a dry run changed something")
	}
	o.wants(sync("--yes", "--allow-delete"), "agent created", "agent=eve@example.org")
	emails := func() (all []string) {
		for _, a := range o.Agents() {
			all = append(all, a.Email+" "+a.Firstname+" "+a.Lastname)
		}
		return all
	}
	want := []string{"Boss@example.org The Boss", "bob@example.org Robert Baker", "eve@example.org Eve Evans", "gus@example.org  Grey"}
	if got := emails(); !slices.Equal(got, want) {
		t.Errorf("agents %q, want %q", got, want)
	}
	o.wants(sync("--yes"), "There is nothing to do.")
	if info, err := os.Stat(ledger); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("ledger: %v, %v", info, err)
	}

	file = o.write("agents.json", `[{"email":"eve@example.org","firstname":"Eva","lastname":"Evans"}]`)
	o.wants(sync("--yes"), "rename  eve@example.org Eva Evans", `old="Eve Evans"`, "keep    gus@example.org Grey", "leave   bob@example.org")
	if got := emails(); len(got) != 4 || got[2] != "eve@example.org Eva Evans" {
		t.Errorf("agents %q", got)
	}
	o.wants(sync("--yes", "--allow-delete"), "delete  gus@example.org", "agent deleted")
	if got := emails(); !slices.Equal(got, []string{want[0], want[1], "eve@example.org Eva Evans"}) {
		t.Errorf("agents %q", got)
	}
	// Whoever is made again by somebody else is not ours any more.
	o.AddAgent(chatvisortest.Agent{ID: "s-9", Email: "gus@example.org"})
	o.wants(sync("--yes", "--allow-delete"), "leave   gus@example.org")

	t.Setenv("CHATVISOR_URL", os.Getenv("CHATVISOR_URL")+"/")
	sync()
	t.Setenv("CHATVISOR_URL", "http://127.0.0.1:1/rest/v1")
	if _, err := o.runs("sync-agents", file, "--ledger", ledger); err == nil || !strings.Contains(err.Error(), "another tenant") {
		t.Errorf("%v", err)
	}
}

func TestAPlanNeedsAllItsStepsBeforeAnyIsTaken(t *testing.T) {
	o := newOffice(t, "odd")
	rules := strings.Replace(o.Rules(), "create_agent: {", "create_agent: {enabled: false, ", 1)
	rules = strings.Replace(rules, `"{lastname}"}, enabled: true}`, `"{lastname}"}}`, 1)
	o.write("chatvisor.yaml", rules)
	file := o.write("agents.csv", "email\nbob@example.org\n")
	_, err := o.runs("sync-agents", file, "--ledger", filepath.Join(o.dir, "l"), "--yes")
	if err == nil || !strings.Contains(err.Error(), "endpoints.create_agent.enabled is not true") || len(o.changes()) > 0 {
		t.Errorf("%v", err)
	}
}

func TestFilesOfAgentsThatAreNoneAreRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                       "empty",
		"name\nBob\n":                            "no column named email",
		"email\n":                                "0 agents",
		"[]":                                     "0 agents",
		"email\nbob\n":                           "agent 1 has no e-mail address",
		"email\na@b@c.org\n":                     "no e-mail address",
		"email\nbob@x.org\nBOB@x.org\n":          "that another has",
		"email,firstname\nbob@x.org,\"a\x07\"\n": "cannot be printed",
		`[{"mail":"bob@x.org"}]`:                 "unknown field",
		`[{"email":"bob@x.org"}] x`:              "follows the list",
		"email,firstname\nbob@x.org\n":           "wrong number of fields",
		"email\n" + strings.Repeat("a@b.org\n", 20_000): "that another has",
	} {
		if all, err := readAgents([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v, %v, want %q", text, all, err, want)
		}
	}
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
	o.write("chatvisor.yaml", strings.Replace(o.Rules(), "key.plain", "key.secret", 1))
	_, err = o.runs("token", "--out", fresh, "--email", "bob@example.org", "--yes")
	if err == nil || !strings.Contains(err.Error(), "it looks like {key: {plain: text}}") {
		t.Errorf("an answer without a token: %v", err)
	}
	if _, err := os.Stat(fresh); !errors.Is(err, os.ErrNotExist) {
		t.Error("an empty file was left")
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
