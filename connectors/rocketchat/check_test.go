package rocketchat

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

func problems(found []chat.Finding) string {
	var all []string
	for _, f := range found {
		if f.OK == "" {
			all = append(all, f.Problem+f.Warning+" → "+f.Remedy)
		}
	}
	return strings.Join(all, "\n")
}

func TestASoundWorkspaceHasNoProblems(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"7.0", "8.8", "9.0"} {
		d := newDesk(t)
		d.Version = version
		found := d.Check(t.Context())
		if p := problems(found); p != "" || len(found) < 7 {
			t.Errorf("%s: %d findings, problems: %s", version, len(found), p)
		}
		for _, f := range found {
			if (f.OK == "") == (f.Problem == "") || f.Problem != "" && f.Remedy == "" {
				t.Errorf("%+v", f)
			}
			clean(t, "a finding", f.OK+f.Problem+f.Remedy)
		}
	}
}

func TestEachFaultOfAWorkspaceIsFound(t *testing.T) {
	t.Parallel()
	user := func(id, name, token string, roles ...string) func(*desk) {
		return func(d *desk) { d.AddUser(rocketchattest.User{ID: id, Username: name, Token: token, Roles: roles}) }
	}
	for name, c := range map[string]struct {
		spoil func(*desk)
		want  []string
	}{
		"the poster is a manager":       {user("posterId", "cobrowse", posterToken, "bot", "livechat-manager"), []string{"The poster sees livechat rooms", "every role except bot"}},
		"the poster is admin":           {user("posterId", "cobrowse", posterToken, "admin"), []string{"The poster sees livechat rooms"}},
		"the poster lacks the role bot": {user("posterId", "cobrowse", posterToken, "user"), []string{"ROCKETCHAT_POSTER_ID is rate limited", "role bot"}},
		"the reader lacks the role bot": {user("readerId", "reader", readerToken, "livechat-monitor"), []string{"ROCKETCHAT_READER_ID is rate limited"}},
		"the reader sees nothing":       {user("readerId", "reader", readerToken, "bot"), []string{"lacks the permission view-l-room", "lacks the permission view-livechat-rooms", "livechat-monitor has it"}},
		"the reader's token is old":     {user("readerId", "reader", "changed", "bot"), []string{"ROCKETCHAT_READER_ID cannot sign in", "ROCKETCHAT_READER_TOKEN"}},
		"the poster's token is old":     {user("posterId", "cobrowse", "changed", "bot"), []string{"ROCKETCHAT_POSTER_ID cannot sign in", "ROCKETCHAT_POSTER_TOKEN"}},
		"a field has the scope room":    {func(d *desk) { d.AddField("upscope_key", "room") }, []string{"upscope_key does not have the scope Visitor", "ROCKETCHAT_FIELD"}},
		"the poster is an agent": {user("posterId", "cobrowse", posterToken, "bot", "livechat-agent"),
			[]string{"The poster has access to Omnichannel (view-l-room)", "ROCKETCHAT_POSTER_ID has the role livechat-agent"}},
		"the poster has one permission too many": {func(d *desk) {
			d.AddUser(rocketchattest.User{ID: "posterId", Username: "cobrowse", Token: posterToken, Roles: []string{"bot"}, Permissions: []string{"view-livechat-rooms"}})
		}, []string{"The poster sees livechat rooms (view-livechat-rooms)"}},
		"the reader is admin": {user("readerId", "reader", readerToken, "admin"), []string{"ROCKETCHAT_READER_ID has the role admin"}},
		"the reader lacks one of two": {func(d *desk) {
			d.AddUser(rocketchattest.User{ID: "readerId", Username: "reader", Token: readerToken, Roles: []string{"bot"}, Permissions: []string{"view-l-room"}})
		}, []string{"lacks the permission view-livechat-rooms"}},
		"the reader sees no users": {func(d *desk) {
			d.Fail("users.info", rocketchattest.Fault{Status: 403, Body: `{"success":false,"error":"unauthorized"}`}, 1)
		}, []string{"The reader cannot see users", "role that can see users"}},
		"the reader cannot see the type of users": {func(d *desk) {
			d.answerUser(`{"_id":"posterId","username":"cobrowse"}`)
		}, []string{"cannot see the type of a user's account"}},
		"the workspace is read-only":      {func(d *desk) { d.SetDaysLeft(0) }, []string{"is read-only, so cards cannot be shown", "reach Rocket.Chat's cloud"}},
		"the workspace will be read-only": {func(d *desk) { d.SetDaysLeft(7) }, []string{"becomes read-only in 7 days"}},
		"public settings are refused": {func(d *desk) {
			d.Fail("settings.public", rocketchattest.Fault{Status: 400, Body: `{"success":false,"error":"a-new-code"}`}, 1)
		}, []string{"Could not check whether the workspace is read-only", "(a-new-code)"}},
		"business units": {func(d *desk) {
			d.AddUnit("north", "someone")
			d.AddUser(rocketchattest.User{ID: "readerId", Username: "reader", Token: readerToken, Roles: []string{"bot", "livechat-monitor"}, Permissions: []string{"manage-livechat-units"}})
		}, []string{"has business units", "only the chats of its own units", "custom role with view-l-room and view-livechat-rooms"}},
		"the poster's token asks for two factors": {func(d *desk) {
			d.Fail("me", rocketchattest.Fault{Status: 200, Body: `{"_id":"readerId","username":"reader"}`}, 1)
			d.Fail("me", rocketchattest.Fault{Status: 400, Body: `{"success":false,"error":"TOTP Required","errorType":"totp-required"}`}, 1)
		}, []string{"ROCKETCHAT_POSTER_ID asks for two-factor", "Ignore Two Factor Authentication", "ROCKETCHAT_POSTER_TOKEN"}},
		"a route asks the reader for two factors": {func(d *desk) {
			d.Fail("livechat/rooms", rocketchattest.Fault{Status: 400, Body: `{"success":false,"error":"TOTP Required","errorType":"totp-required"}`}, 1)
		}, []string{"ROCKETCHAT_READER_ID asks for two-factor", "ROCKETCHAT_READER_TOKEN"}},
		"rooms are refused with a new code": {func(d *desk) {
			d.Fail("livechat/rooms", rocketchattest.Fault{Status: 400, Body: `{"success":false,"error":"a-new-code"}`}, 1)
		}, []string{"Could not check whether the reader can see the livechat rooms", "(a-new-code)"}},
		"the webhook's settings are not there": {func(d *desk) {
			d.Fail("livechat/integrations.settings", rocketchattest.Fault{Status: 404, Body: "<html>"}, 1)
		}, []string{"The webhook's settings cannot be read", "404"}},
		"an old version":  {func(d *desk) { d.Version = "6.11.3" }, []string{"does not support Rocket.Chat 6.11.3", "6.12 to 9"}},
		"a later version": {func(d *desk) { d.Version = "10.0" }, []string{"does not support Rocket.Chat 10.0"}},
		"no webhook":      {func(d *desk) { d.Set("Livechat_webhookUrl", "") }, []string{"has no URL", "followed by /hooks/rocketchat"}},
		"another system has the webhook": {func(d *desk) { d.Set("Livechat_webhookUrl", "https://crm.example.org/in?key=crm-key-Thoo9ieb") },
			[]string{"does not end with /hooks/rocketchat", "ROCKETCHAT_FORWARD_URL"}},
		"a slash too many":  {func(d *desk) { d.Set("Livechat_webhookUrl", "https://bridge.example.org/hooks/rocketchat/") }, []string{"does not end with"}},
		"another workspace": {func(d *desk) { d.Set("Livechat_webhookUrl", "https://bridge.example.org/hooks/rocketchat-emea") }, []string{"does not end with"}},
		"no secret":         {func(d *desk) { d.Set("Livechat_secret_token", "") }, []string{"no secret token: the bridge refuses every event", "ROCKETCHAT_WEBHOOK_SECRET"}},
		"another secret":    {func(d *desk) { d.Set("Livechat_secret_token", "another-secret-of-the-workspace") }, []string{"differs from ROCKETCHAT_WEBHOOK_SECRET"}},
		"two events are off": {func(d *desk) {
			d.Set("Livechat_webhook_on_chat_taken", false)
			d.Set("Livechat_webhook_on_visitor_message", false)
		}, []string{"switched off: Chat Taken, Visitor Messages.", "Send Request on"}},
		"a short timeout": {func(d *desk) { d.Set("Livechat_http_timeout", 500) }, []string{"waits only 500 ms"}},
		"another service answers": {func(d *desk) {
			d.Fail("/api/info", rocketchattest.Fault{Status: 200, Body: `{}`}, 1)
		}, []string{"not Rocket.Chat", "ROCKETCHAT_URL"}},
		"a page of the web app answers": {func(d *desk) {
			d.Fail("/api/info", rocketchattest.Fault{Status: 200, Body: `<html>`}, 1)
		}, []string{"cannot be reached"}},
	} {
		d := newDesk(t)
		c.spoil(d)
		got := problems(d.Check(t.Context()))
		for _, w := range c.want {
			if !strings.Contains(got, w) {
				t.Errorf("%s: %q is not in: %s", name, w, got)
			}
		}
		clean(t, name, got)
		for _, s := range []string{"another-secret", "crm-key", "crm.example.org"} {
			if strings.Contains(got, s) {
				t.Errorf("%s: a finding contains %q: %s", name, s, got)
			}
		}
	}
	d := newDesk(t, func(c *Config) { c.KeyField, c.Name = "no_such_field", "rocketchat-emea" })
	if got := problems(d.Check(t.Context())); !strings.Contains(got, "no_such_field does not exist") || !strings.Contains(got, "ROCKETCHAT_EMEA_FIELD") {
		t.Errorf("got %s", got)
	}
}

func TestAReaderWhoSeesNoChatsIsNotSaidToSeeThem(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(*desk)
		want  string
	}{
		"business units that the reader cannot list": {func(d *desk) { d.AddUnit("north", "someone") }, "the list is empty. If there have been chats, the workspace has business units"},
		"no chats yet, a custom role": {func(d *desk) {
			d.RemoveRoom(d.chat)
			d.AddUser(rocketchattest.User{ID: "readerId", Username: "reader", Token: readerToken, Roles: []string{"bot"},
				Permissions: []string{"view-l-room", "view-livechat-rooms"}})
		}, "the list is empty: start a test chat"},
		"a monitor of the unit": {func(d *desk) {
			d.AddUnit("north", "cobrowse.reader", "reader")
			d.ChangeRoom(d.chat, func(r *rocketchattest.Room) { r.Unit = "north" })
		}, "The reader sees the livechat rooms: 1 open and closed ones"},
	} {
		d := newDesk(t)
		c.spoil(d)
		found := d.Check(t.Context())
		if !slices.ContainsFunc(found, func(f chat.Finding) bool { return strings.Contains(f.OK, c.want) }) || problems(found) != "" {
			t.Errorf("%s: %+v", name, found)
		}
	}
}

func TestAnOldVersionDoesNotSayWhetherItIsReadOnly(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Fail("settings.public", rocketchattest.Fault{Status: 400, Body: `{"success":false,"error":"must NOT have additional properties [invalid-params]","errorType":"invalid-params"}`}, 1)
	if p := problems(d.Check(t.Context())); p != "" {
		t.Errorf("problems %q", p)
	}
}

func TestSupportedVersions(t *testing.T) {
	t.Parallel()
	for version, supported := range map[string]bool{
		"6.11": false, "6.12": true, "6.12.1": true, "6.9.9": false, "7.0": true, "8.8.1": true, "9.0": true, "9.12": true, "10.0": false, "5.4": false,
		"9.0.0-develop": true, "develop": true, // development builds are not checked
	} {
		d := newDesk(t)
		d.Version = version
		if p := problems(d.Check(t.Context())); (p == "") != supported {
			t.Errorf("%s: %q", version, p)
		}
	}
}

func TestAReaderWhoCannotSeeTheWebhooksSettingsIsNoProblem(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"7.0", "9.0"} {
		d := newDesk(t)
		d.Version = version
		d.AddUser(rocketchattest.User{ID: "readerId", Username: "reader", Token: readerToken, Roles: []string{"bot"},
			Permissions: []string{"view-l-room", "view-livechat-rooms"}})
		found := d.Check(t.Context())
		mentioned := slices.ContainsFunc(found, func(f chat.Finding) bool { return strings.Contains(f.OK, "view-livechat-manager") })
		if p := problems(found); p != "" || !mentioned {
			t.Errorf("%s: problems %q in %+v", version, p, found)
		}
	}
}

func TestTheOldSecretIsReportedAsOld(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *Config) { c.Secrets = secret.All("the-next-secret-ohb6Ai", testSecret) })
	p := problems(d.Check(t.Context()))
	if !strings.Contains(p, "still uses the old secret") || !strings.Contains(p, "ROCKETCHAT_WEBHOOK_SECRET_OLD") || strings.Contains(p, "ohb6Ai") {
		t.Errorf("got %q", p)
	}
}

func TestACheckChangesNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Check(t.Context())
	for _, r := range d.routes(0) {
		if !strings.HasPrefix(r, "GET ") {
			t.Errorf("asked %s", r)
		}
	}
}

func TestTheFieldForLookupCodesIsOptional(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *Config) { c.CodeField = "no_such_field" })
	found := d.Check(t.Context())
	want := chat.Finding{Code: "rocketchat.field", OK: "The optional custom field no_such_field does not exist: pages cannot send lookup codes."}
	if p := problems(found); p != "" || !slices.Contains(found, want) {
		t.Errorf("problems %q in %+v", p, found)
	}
	d = newDesk(t)
	d.AddField("upscope_code", "room")
	if p := problems(d.Check(t.Context())); !strings.Contains(p, "upscope_code does not have the scope Visitor") || !strings.Contains(p, "ROCKETCHAT_CODE_FIELD") {
		t.Errorf("a field with the scope room: %q", p)
	}
}

func TestAnInvalidConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(*Config)
		want  string
	}{
		"no secret":               {func(c *Config) { c.Secrets = nil }, "secret"},
		"an empty secret":         {func(c *Config) { c.Secrets = secret.All(testSecret, "") }, "shorter than 16"},
		"a short secret":          {func(c *Config) { c.Secrets = secret.All("fifteen-bytes-x") }, "shorter than 16"},
		"a blank secret":          {func(c *Config) { c.Secrets = secret.All(strings.Repeat(" ", 20)) }, "shorter than 16"},
		"three secrets":           {func(c *Config) { c.Secrets = secret.All(testSecret, testSecret, testSecret) }, "two during a change"},
		"a secret with lines":     {func(c *Config) { c.Secrets = secret.All(testSecret + "\n") }, "a header cannot carry"},
		"no reader token":         {func(c *Config) { c.Reader.Token = secret.New("") }, "reader has no usable token"},
		"no poster token":         {func(c *Config) { c.Poster.Token = secret.New("") }, "poster has no usable token"},
		"no poster id":            {func(c *Config) { c.Poster.UserID = "" }, "poster has no usable user id"},
		"one user for both":       {func(c *Config) { c.Poster.UserID = c.Reader.UserID }, "the same user"},
		"no URL":                  {func(c *Config) { c.URL = nil }, "no host"},
		"plain http":              {func(c *Config) { c.URL = mustURL("http://chat.example.org") }, "https"},
		"a password":              {func(c *Config) { c.URL = mustURL("https://u:pass-word@chat.example.org") }, "scheme, a host and a path"},
		"no name":                 {func(c *Config) { c.Name = "" }, "no name"},
		"a short command token":   {func(c *Config) { c.Command = Command{secret.New("fifteen-bytes-x"), []string{"desk"}} }, "shorter than 16"},
		"a command anywhere":      {func(c *Config) { c.Command = Command{Token: secret.New(commandToken)} }, "at least one channel"},
		"channels for no command": {func(c *Config) { c.Command = Command{Channels: []string{"desk"}} }, "at least one channel"},
		"a command with a person": {func(c *Config) { c.Command = Command{secret.New(commandToken), []string{"@bob"}} }, "neither an id nor a name"},
		"a command with blanks":   {func(c *Config) { c.Command = Command{secret.New(commandToken), []string{"#a b"}} }, "neither an id nor a name"},
		"a command with no name":  {func(c *Config) { c.Command = Command{secret.New(commandToken), []string{"#"}} }, "neither an id nor a name"},
		"one secret for both":     {func(c *Config) { c.Command = Command{secret.New(testSecret), []string{"desk"}} }, "the same as the webhook secret"},
		"forwarding in the open":  {func(c *Config) { c.ForwardURL = mustURL("http://crm.example.org/in") }, "forward URL"},
		"forwarding with a user":  {func(c *Config) { c.ForwardURL = mustURL("https://u:pass-word@crm.example.org/in") }, "forward URL"},
		"forwarding to nowhere":   {func(c *Config) { c.ForwardURL = mustURL("/in") }, "no host"},
	} {
		conf := config(t, "https://chat.example.org/chat")
		c.spoil(&conf)
		_, err := New(conf)
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want one about %q", name, err, c.want)
			continue
		}
		clean(t, name, err.Error())
		if strings.Contains(err.Error(), "pass-word") {
			t.Errorf("%s: %v", name, err)
		}
	}
	all := Config{URL: &url.URL{}}
	if _, err := New(all); strings.Count(err.Error(), "\n") < 6 {
		t.Errorf("the error does not report all faults: %v", err)
	}
	if _, err := New(config(t, "http://127.0.0.1:3000")); err != nil {
		t.Errorf("loopback: %v", err)
	}
}
