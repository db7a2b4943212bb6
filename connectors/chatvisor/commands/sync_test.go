package commands

import (
	"cmp"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"

	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/connectors/chatvisor/api"
	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
	"cobrowse-bridge/connectors/chatvisor/rules"
)

func TestAgentsFollowTheFileAndOthersAreNotTouched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOperator(t, "all-steps")
		o.AddAgent(chatvisortest.Agent{ID: "s-1", Email: "Boss@example.org", Firstname: "The", Lastname: "Boss"})
		o.AddAgent(chatvisortest.Agent{ID: "s-2", Email: "bob@example.org", Firstname: "Robert", Lastname: "Baker"})
		ledger := filepath.Join(o.dir, "ledger.json")
		file := o.write("agents.csv", "\ufeffLastname;EMAIL;Firstname\nBaker;bob@example.org;Bob\nEvans;Eve@Example.org;Eve\nGrey;gus@example.org;\n")
		sync := func(args ...string) string {
			t.Helper()
			return o.mustRun(append([]string{"sync-agents", file, "--ledger", ledger}, args...)...)
		}
		o.wantText(sync(), "create  eve@example.org Eve Evans", "create  gus@example.org Grey", "leave   bob@example.org Robert Baker: not created by the bridge",
			"leave   boss@example.org", "Nothing was changed")
		if len(o.changeRequests()) > 0 {
			t.Fatal("a run without --yes changed an agent")
		}
		o.wantText(sync("--yes", "--allow-delete"), "agent created", "agent=eve@example.org")
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
		o.wantText(sync("--yes"), "Nothing to do.")
		if info, err := os.Stat(ledger); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("ledger: %v, %v", info, err)
		}

		file = o.write("agents.json", `[{"email":"eve@example.org","firstname":"Eva","lastname":"Evans"}]`)
		o.wantText(sync("--yes"), `rename  eve@example.org "Eve Evans" to "Eva Evans"`, `old="Eve Evans"`, "keep    gus@example.org Grey", "leave   bob@example.org")
		if got := emails(); len(got) != 4 || got[2] != "eve@example.org Eva Evans" {
			t.Errorf("agents %q", got)
		}
		o.wantText(sync("--yes", "--allow-delete"), "delete  gus@example.org", "agent deleted")
		if got := emails(); !slices.Equal(got, []string{want[0], want[1], "eve@example.org Eva Evans"}) {
			t.Errorf("agents %q", got)
		}

		t.Setenv("CHATVISOR_URL", os.Getenv("CHATVISOR_URL")+"/")
		sync()
		t.Setenv("CHATVISOR_URL", "http://127.0.0.1:1/rest/v1")
		if _, err := o.run("sync-agents", file, "--ledger", ledger); err == nil || !strings.Contains(err.Error(), "another tenant") {
			t.Errorf("the ledger of another tenant: %v", err)
		}
	})
}

func TestAllStepsOfAPlanAreCheckedFirst(t *testing.T) {
	o := newOperator(t, "all-steps")
	rules := strings.Replace(o.Rules(), "create_agent: {", "create_agent: {enabled: false, ", 1)
	rules = strings.Replace(rules, `"{lastname}"}, enabled: true}`, `"{lastname}"}}`, 1)
	o.write("chatvisor.yaml", rules)
	file := o.write("agents.csv", "email\nbob@example.org\n")
	_, err := o.run("sync-agents", file, "--ledger", filepath.Join(o.dir, "l"), "--yes")
	if err == nil || !strings.Contains(err.Error(), "set endpoints.create_agent.enabled to true") || len(o.changeRequests()) > 0 {
		t.Errorf("%v", err)
	}
}

func TestANameMissingFromTheFileStays(t *testing.T) {
	for _, c := range []struct {
		what, name, text string
		want             string // the account's name; empty for "Nothing to do."
	}{
		{"no names", "agents.csv", "email\neve@x.org\n", ""},
		{"no first names", "agents.csv", "email,lastname\neve@x.org,Evans\n", ""},
		{"empty cells", "agents.csv", "email,firstname,lastname\neve@x.org,,\"  \"\n", ""},
		{"no members", "agents.json", `[{"email":"eve@x.org"}]`, ""},
		{"another last name and no first names", "agents.csv", "email,lastname\neve@x.org,Ng\n", "Eve Ng"},
		{"another first name and an empty last name", "agents.csv", "email,firstname,lastname\neve@x.org,Eva,\n", "Eva Evans"},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := newOperator(t, "all-steps")
			sync := func(file string) string {
				return o.mustRun("sync-agents", file, "--ledger", filepath.Join(o.dir, "ledger.json"), "--yes")
			}
			sync(o.write("first.csv", "email,firstname,lastname\neve@x.org,Eve,Evans\n"))
			file, want := o.write(c.name, c.text), "Nothing to do."
			if c.want != "" {
				want = fmt.Sprintf("rename  eve@x.org \"Eve Evans\" to %q", c.want)
			}
			o.wantText(sync(file), want)
			if a := o.Agents()[0]; a.Firstname+" "+a.Lastname != cmp.Or(c.want, "Eve Evans") {
				t.Errorf("%s: the account is %+v", c.what, a)
			}
			o.wantText(sync(file), "Nothing to do.")
		})
	}
}

// wantAgents checks the accounts of the tenant by the part before the @.
func wantAgents(t *testing.T, o *operator, want ...string) {
	t.Helper()
	var got []string
	for _, a := range o.Agents() {
		name, _, _ := strings.Cut(a.Email, "@")
		got = append(got, name)
	}
	if !slices.Equal(got, want) {
		t.Errorf("agents %q, want %q", got, want)
	}
}

func TestAccountsChangedByHandAreNotTouched(t *testing.T) {
	for _, c := range []struct {
		what   string
		change func(a chatvisortest.Agent) chatvisortest.Agent
		file   string
		want   []string
	}{
		{
			"nothing", func(a chatvisortest.Agent) chatvisortest.Agent { return a },
			"boss@x.org,The", []string{"delete  eve@x.org Eve"},
		},
		{
			"deleted and created again with the same address", func(a chatvisortest.Agent) chatvisortest.Agent { a.ID = "s-9"; return a },
			"boss@x.org,The", []string{"leave   eve@x.org Eve: ", "this one has another id: it was deleted and created again", "Nothing to do"},
		},
		{
			"the same, and the address is in the file", func(a chatvisortest.Agent) chatvisortest.Agent { a.ID = "s-9"; return a },
			"eve@x.org,Eve", []string{"leave   eve@x.org Eve: ", "deleted and created again", "Nothing to do"},
		},
		{
			"the same, and the file has another name", func(a chatvisortest.Agent) chatvisortest.Agent { a.ID = "s-9"; return a },
			"eve@x.org,Eva", []string{"leave   eve@x.org Eve: ", "deleted and created again", "Nothing to do"},
		},
		{
			"the address", func(a chatvisortest.Agent) chatvisortest.Agent { a.Email = "evans@x.org"; return a },
			"boss@x.org,The", []string{"leave   evans@x.org Eve: created by the bridge with another e-mail address, which was changed", "Nothing to do"},
		},
		{
			"the address, and the new one is in the file", func(a chatvisortest.Agent) chatvisortest.Agent { a.Email = "evans@x.org"; return a },
			"evans@x.org,Eva", []string{"leave   evans@x.org Eve: created by the bridge with another e-mail address", "Nothing to do"},
		},
		{
			"the list no longer has the id", func(a chatvisortest.Agent) chatvisortest.Agent { a.ID = ""; return a },
			"boss@x.org,The", []string{"leave   eve@x.org Eve: ", "the list has no id", "Nothing to do"},
		},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := newOperator(t, "all-steps")
			boss := chatvisortest.Agent{ID: "s-1", Email: "boss@x.org", Firstname: "The"}
			o.AddAgent(boss)
			ledger := filepath.Join(o.dir, "ledger.json")
			sync := func(rows string) string {
				return o.mustRun("sync-agents", o.write("agents.csv", "email,firstname\n"+rows+"\n"), "--ledger", ledger, "--yes", "--allow-delete")
			}
			o.wantText(sync("eve@x.org,Eve"), "agent created")
			changed := c.change(o.Agents()[1])
			o.SetAgents(boss, changed)
			o.wantText(sync(c.file), c.want...)
			if touched := !slices.Equal(o.Agents(), []chatvisortest.Agent{boss, changed}); touched != (c.what == "nothing") {
				t.Errorf("%s: agents %+v", c.what, o.Agents())
			}
		})
	}
}

func TestWithoutIdsAgentsAreOnlyCreated(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOperator(t, "all-steps")
		o.AddAgent(chatvisortest.Agent{ID: "s-1", Email: "boss@x.org"})
		ledger := filepath.Join(o.dir, "ledger.json")
		run := func(rows string, args ...string) (string, error) {
			return o.run(append([]string{"sync-agents", o.write("agents.csv", "email,firstname\n"+rows), "--ledger", ledger, "--yes"}, args...)...)
		}
		must := func(said string, err error) string {
			t.Helper()
			if err != nil {
				t.Fatal(err)
			}
			return said
		}
		must(run("eve@x.org,Eve\n"))

		ids, without := o.Rules(), strings.Replace(o.Rules(), "id: nr, ", "", 1)
		o.write("chatvisor.yaml", without)
		for what, c := range map[string]struct {
			rows string
			args []string
		}{
			"a rename":   {"eve@x.org,Eva\n", nil},
			"a deletion": {"bob@x.org,Bob\n", []string{"--allow-delete"}},
		} {
			before := len(o.changeRequests())
			_, err := run(c.rows, c.args...)
			if err == nil || !strings.Contains(err.Error(), "endpoints.list_agents.fields.id is not in the file of CHATVISOR_CONFIG") || len(o.changeRequests()) != before {
				t.Errorf("%s: %v", what, err)
			}
		}
		o.wantText(must(run("bob@x.org,Bob\n")), "create  bob@x.org Bob", "leave   eve@x.org Eve: ", "the list has no id",
			"The bridge will never rename or delete the created agents", "endpoints.list_agents.fields.id is not in the file of CHATVISOR_CONFIG")
		wantAgents(t, o, "boss", "eve", "bob")
		o.wantText(must(run("bob@x.org,Bob\neve@x.org,Eve\n")), "Nothing to do")

		// The id of bob is not recorded later.
		o.write("chatvisor.yaml", ids)
		o.wantText(must(run("boss@x.org,\n", "--allow-delete")), "delete  eve@x.org", "leave   bob@x.org Bob: ", "does not know its id")
		wantAgents(t, o, "boss", "bob")
		// It is recorded if a person deletes bob and the bridge creates the account again.
		o.SetAgents(o.Agents()[0])
		must(run("bob@x.org,Bob\n"))
		o.wantText(must(run("boss@x.org,\n", "--allow-delete")), "delete  bob@x.org")
		wantAgents(t, o, "boss")
	})
}

func TestAListWithAmbiguousAgentsIsRefused(t *testing.T) {
	for want, all := range map[string][]chatvisortest.Agent{
		"the list has the address of bob@x.org twice": {{ID: "s-1", Email: "bob@x.org"}, {ID: "s-2", Email: "Bob@X.org"}},
		"the list has the id of eve@x.org twice":      {{ID: "s-1", Email: "bob@x.org"}, {ID: "s-1", Email: "eve@x.org"}},
		"has no e-mail address":                       {{ID: "s-1", Email: "bob"}},
		"fields.id: no agent in the list has a value": {{Email: "bob@x.org"}, {Email: "eve@x.org"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			o := newOperator(t, "all-steps")
			o.SetAgents(all...)
			_, err := o.run("sync-agents", o.write("agents.csv", "email\nann@x.org\n"), "--ledger", filepath.Join(o.dir, "ledger.json"), "--yes")
			if err == nil || !strings.Contains(err.Error(), want) || len(o.changeRequests()) > 0 {
				t.Errorf("%v, want %q", err, want)
			}
		})
	}
}

func TestAListOfAgentsWithRepeatedPagesIsRefused(t *testing.T) {
	staff := func(page int) []string {
		return []string{fmt.Sprintf(`{"nr":"s-%d","login":"a%d@x.org"}`, page, page)}
	}
	for name, c := range map[string]struct {
		more  string
		serve func(page int) []string
		want  string // in the error; empty if there is none
	}{
		"pages from 1": {"", func(page int) []string { return staff(max(page, 1)) },
			"may be incomplete, so nothing was changed: page 0 and page 1 of endpoints.list_agents are the same: set first_page: 1, or"},
		"pages that start again": {"", func(page int) []string { return staff(page % 2) }, "page 0 and page 2 of endpoints.list_agents are the same"},
		"an empty page 0": {"", func(page int) []string {
			if page == 0 || page > 3 {
				return nil
			}
			return staff(page)
		}, ""},
		"pages from 1 with first_page: 1": {"first_page: 1,", func(page int) []string {
			if page > 3 {
				return nil
			}
			return staff(max(page, 1))
		}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				file := withEndpoint(rules.ListAgents, `{path: /all, query: {p: "{page}"}, `+c.more+` fields: {id: nr, email: login}}`)
				read, err := rules.Parse("chatvisor.yaml", []byte(file))
				if err != nil {
					t.Fatal(err)
				}
				base, _ := url.Parse("https://api.example.org/rest/v1")
				client := api.New(api.Config{Name: "chatvisor", URL: base, Token: secret.New(apiToken), Rules: read, Transport: roundTripper(func(r *http.Request) (*http.Response, error) {
					page, _ := strconv.Atoi(r.URL.Query().Get("p"))
					return jsonAnswer(r, http.StatusOK, "["+strings.Join(c.serve(page), ",")+"]"), nil
				})})
				all, err := (&console{Client: client, out: t.Logf}).agents(t.Context())
				if c.want == "" {
					if err != nil || len(all) != 3 {
						t.Errorf("%d agents, %v", len(all), err)
					}
				} else if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %q", err, c.want)
				}
			})
		})
	}
}

func TestAListOfAgentsWithoutAnEndIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOperator(t, "all-steps")
		for i := range 3 * rules.MaxPages {
			o.AddAgent(chatvisortest.Agent{ID: fmt.Sprint("s-", i), Email: fmt.Sprintf("a%d@x.org", i)})
		}
		_, err := o.run("sync-agents", o.write("agents.csv", "email\nann@x.org\n"), "--ledger", filepath.Join(o.dir, "ledger.json"), "--yes")
		if err == nil || !strings.Contains(err.Error(), "no empty page within 200 pages") || len(o.changeRequests()) > 0 {
			t.Errorf("%v", err)
		}
	})
}

func TestInvalidAgentFilesAreRefused(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"":                                       "empty",
		"name\nBob\n":                            "no column named email",
		"email\n":                                "has 0 agents",
		"[]":                                     "has 0 agents",
		"email\nbob\n":                           "line 2 has no e-mail address",
		"email\na@b@c.org\n":                     "no e-mail address",
		"email\nbob@x.org\nBOB@x.org\n":          "the same e-mail address",
		"email,firstname\nbob@x.org,\"a\x07\"\n": "cannot be printed",
		`[{"mail":"bob@x.org"}]`:                 "unknown field",
		`[{"email":"bob@x.org"}] x`:              "after the list",
		`[{"email":"bob@x.org"}]]`:               "after the list",
		`[{"email":"bob@x.org"}, null]`:          "agent 2 has no e-mail address",
		`{"agents":[{"email":"bob@x.org"}]}`:     "a JSON object, not a list",
		"email,Email \nbob@x.org,eve@x.org\n":    "two columns named email",
		"email,lastname,lastname\nbob@x.org,,\n": "two columns named lastname",
		"note,email,note\n\"a\nb\",bob@x.org,\n\nc,\"eve\",\n":       "line 5 has no e-mail address",
		"email\nbob@\u212aelvin.org\n":                               "line 2 has no e-mail address",
		"email;firstname\r\nbob@x.org;Bob\r\njm@x.org;J\xfcrgen\r\n": "line 3 is not UTF-8, and names would be damaged: save the file as UTF-8",
		"\xff\xfee\x00m\x00a\x00i\x00l\x00":                          "line 1 is not UTF-8",
		"email,firstname\nbob@x.org\n":                               "wrong number of fields",
		"email\n" + strings.Repeat("a@b.org\n", 20_000):              "the same e-mail address",
	} {
		if all, err := readAgents([]byte(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.30q: %v, %v, want %q", text, all, err, want)
		}
	}
}
