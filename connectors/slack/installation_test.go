package slack

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/slack/slacktest"
)

func TestAnOrganisationsInstallation(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Team, d.Enterprise, d.OrgWide = "T0ACME", "E0GROUP", true
	d.AddUser(slacktest.User{ID: "W1", Name: "wilma", RealName: "Wilma West", Team: "T5WEST", Enterprise: "E0GROUP", Teams: []string{"T5WEST"}})
	d.AddUser(slacktest.User{ID: "W2", Name: "walt", RealName: "Walt Other", Team: "T6", Enterprise: "E9OTHER", Teams: []string{"T6"}})
	for name, body := range map[string][]byte{
		"a command": d.Command("W1", "C1", "4821"), "a mention": d.Mention("W1", "C1", "", "4821"),
		"a shortcut": d.MessageShortcut("W1", shortcutMessage, d.Write("W1", "C1", "", "4821")), // team null, the boolean a string
	} {
		got := d.mustAsk(t, body)
		if got.Verb != chat.LookUp || got.Agent.ID != "E0GROUP/W1" {
			t.Errorf("%s: %+v", name, got)
		}
	}
	if got := d.mustAsk(t, d.Command("W2", "C1", "4821")); got.Refusal != chat.RefuseExternal {
		t.Errorf("a person of another organisation is not refused: %+v", got)
	}
}

// Some deliveries lack is_enterprise_install, or have it with another type. The connector
// uses auth.test instead.
func TestAnOrganisationsDeliveriesOfEveryForm(t *testing.T) {
	t.Parallel()
	for _, answered := range []string{"as a flag", "as the team", "as a string", "without a team"} {
		d := newDesk(t, func(c *Config) {
			next := c.Transport
			c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				if r.URL.Path != "/api/auth.test" || answered == "as a flag" {
					return next.RoundTrip(r)
				}
				body := map[string]string{
					"as the team":    `{"ok":true,"team_id":"E0GROUP","enterprise_id":"E0GROUP","bot_id":"B0BRIDGE","user":"cobrowse"}`,
					"as a string":    `{"ok":true,"team_id":"T0ACME","enterprise_id":"E0GROUP","is_enterprise_install":"true","bot_id":"B0BRIDGE","user":"cobrowse"}`,
					"without a team": `{"ok":true,"enterprise_id":"E0GROUP","bot_id":"B0BRIDGE","user":"cobrowse"}`,
				}[answered]
				return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(body)), Header: http.Header{}}, nil
			})
		})
		d.Enterprise, d.OrgWide = "E0GROUP", true
		d.AddUser(slacktest.User{ID: "W1", Name: "wilma", Team: "T5WEST", Enterprise: "E0GROUP", Teams: []string{"T5WEST"}})
		d.AddUser(slacktest.User{ID: "W2", Name: "walt", Team: "T6", Enterprise: "E9OTHER", Teams: []string{"T6"}})
		command := func(user string, pairs ...string) []byte {
			form := d.CommandFields(user, "C1", "4821")
			for i := 0; i < len(pairs); i += 2 {
				form.Del(pairs[i])
				if pairs[i+1] != "" {
					form.Set(pairs[i], pairs[i+1])
				}
			}
			return []byte(form.Encode())
		}
		press := d.PressPayload("W1", slacktest.Post{Channel: "C1", TS: "1700000000.000001", Blocks: []byte(`[{"type":"actions","elements":[{"type":"button","text":{"text":"Open"},"action_id":"cobrowse_open0","value":"c1"}]}]`)}, 0)
		delete(press, "is_enterprise_install")
		for name, body := range map[string][]byte{
			"a command":                        command("W1"),
			"a command without the flag":       command("W1", "is_enterprise_install", ""),
			"a command that says false":        command("W1", "is_enterprise_install", "false", "team_id", "T5WEST"),
			"a command of a workspace only":    command("W1", "is_enterprise_install", "", "enterprise_id", "", "team_id", "T5WEST"),
			"a press without the flag":         form2(press),
			"a mention":                        d.Mention("W1", "C1", "", "4821"),
			"a shortcut":                       d.MessageShortcut("W1", shortcutMessage, d.Write("W1", "C1", "", "4821")),
			"a mention with a workspace in it": []byte(strings.Replace(string(d.Mention("W1", "C1", "", "4821")), `"team_id":null`, `"team_id":"T5WEST"`, 1)),
		} {
			if got := d.mustAsk(t, body); got.Verb != chat.LookUp && got.Verb != chat.Open || got.Agent.ID != "E0GROUP/W1" {
				t.Errorf("%s, org-wide %s: %+v", name, answered, got)
			}
		}
		for name, body := range map[string][]byte{
			"a person of another organisation": command("W2"),
			"another organisation's delivery":  command("W1", "enterprise_id", "E9OTHER"),
			"a workspace they are not in":      command("W1", "enterprise_id", "", "team_id", "T6"),
			"a delivery that names neither":    command("W1", "enterprise_id", ""),
			"another person, workspace only":   command("W2", "enterprise_id", "", "team_id", "T6"),
		} {
			if got := d.mustAsk(t, body); got.Refusal != chat.RefuseExternal {
				t.Errorf("%s, org-wide %s: %+v", name, answered, got)
			}
		}
	}
}

func TestTheAgentHasAConfirmedAddress(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		user  slacktest.User
		scope string
		want  string
	}{
		"confirmed":         {slacktest.User{Email: "bob@acme.example", Confirmed: true}, "users:read.email", "bob@acme.example"},
		"not confirmed":     {slacktest.User{Email: "bob@acme.example"}, "users:read.email", ""},
		"without the scope": {slacktest.User{Email: "bob@acme.example", Confirmed: true}, "chat:write", ""},
		"no address":        {slacktest.User{Confirmed: true}, "users:read.email", ""},
	} {
		d := newDesk(t)
		d.Scopes = append(d.Scopes, c.scope)
		c.user.ID, c.user.Name = "U1", "bob"
		d.AddUser(c.user)
		if got := d.mustAsk(t, d.Command("U1", "C1", "4821")); got.Agent.Email != c.want {
			t.Errorf("%s: %+v", name, got.Agent)
		}
	}
}

func TestAWorkspaceOfAnOrganisation(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Enterprise = "E0GROUP"
	// wilma's home is another workspace, but she is a member of this one too.
	d.AddUser(slacktest.User{ID: "W1", Name: "wilma", Team: "T5WEST", Enterprise: "E0GROUP", Teams: []string{"T5WEST", "T0ACME"}})
	d.AddUser(slacktest.User{ID: "W2", Name: "walt", Team: "T5WEST", Enterprise: "E0GROUP", Teams: []string{"T5WEST"}})
	if got := d.mustAsk(t, d.Command("W1", "C1", "4821")); got.Agent.ID != "T0ACME/W1" {
		t.Errorf("%+v", got)
	}
	if got := d.mustAsk(t, d.Command("W2", "C1", "4821")); got.Refusal != chat.RefuseExternal {
		t.Errorf("a person who is not in the workspace is not refused: %+v", got)
	}
}
