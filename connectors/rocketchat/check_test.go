package rocketchat

import (
	"net/url"
	"slices"
	"strings"
	"testing"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

func problems(found []bridge.Finding) string {
	var all []string
	for _, f := range found {
		if f.Problem != "" {
			all = append(all, f.Problem+" → "+f.Remedy)
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
		"the poster is an agent's boss": {user("posterId", "cobrowse", posterToken, "bot", "livechat-manager"), []string{"THE POSTER SEES LIVECHAT ROOMS", "every role but bot"}},
		"the poster is admin":           {user("posterId", "cobrowse", posterToken, "admin"), []string{"THE POSTER SEES LIVECHAT ROOMS"}},
		"the poster is no bot":          {user("posterId", "cobrowse", posterToken, "user"), []string{"ROCKETCHAT_POSTER_ID is rate limited", "role bot"}},
		"the reader is no bot":          {user("readerId", "reader", readerToken, "livechat-monitor"), []string{"ROCKETCHAT_READER_ID is rate limited"}},
		"the reader sees nothing":       {user("readerId", "reader", readerToken, "bot"), []string{"cannot see the custom fields", "cannot see the livechat rooms", "view-livechat-rooms"}},
		"the reader's token is old":     {user("readerId", "reader", "changed", "bot"), []string{"ROCKETCHAT_READER_ID cannot sign in", "ROCKETCHAT_READER_TOKEN"}},
		"the poster's token is old":     {user("posterId", "cobrowse", "changed", "bot"), []string{"ROCKETCHAT_POSTER_ID cannot sign in", "ROCKETCHAT_POSTER_TOKEN"}},
		"a field is of a room":          {func(d *desk) { d.AddField("upscope_key", "room") }, []string{"upscope_key is not of scope Visitor", "ROCKETCHAT_FIELD"}},
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
	}
	d := newDesk(t, func(c *Config) { c.KeyField, c.Name = "no_such_field", "rocketchat-emea" })
	if got := problems(d.Check(t.Context())); !strings.Contains(got, "no_such_field does not exist") || !strings.Contains(got, "ROCKETCHAT_EMEA_FIELD") {
		t.Errorf("got %s", got)
	}
}

func TestTheFieldForLookupCodesIsOptional(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *Config) { c.CodeField = "no_such_field" })
	found := d.Check(t.Context())
	want := bridge.Finding{OK: "The optional custom field no_such_field is not there: pages cannot hand over lookup codes."}
	if p := problems(found); p != "" || !slices.Contains(found, want) {
		t.Errorf("problems %q in %+v", p, found)
	}
	d = newDesk(t)
	d.AddField("upscope_code", "room")
	if p := problems(d.Check(t.Context())); !strings.Contains(p, "upscope_code is not of scope Visitor") || !strings.Contains(p, "ROCKETCHAT_CODE_FIELD") {
		t.Errorf("of a room: %q", p)
	}
}

func TestAnUnfitConfigurationIsRefused(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		spoil func(*Config)
		want  string
	}{
		"no secret":           {func(c *Config) { c.Secrets = nil }, "secret"},
		"an empty secret":     {func(c *Config) { c.Secrets = []string{testSecret, ""} }, "shorter than 16"},
		"a short secret":      {func(c *Config) { c.Secrets = []string{"fifteen-bytes-x"} }, "shorter than 16"},
		"a blank secret":      {func(c *Config) { c.Secrets = []string{strings.Repeat(" ", 20)} }, "shorter than 16"},
		"three secrets":       {func(c *Config) { c.Secrets = []string{testSecret, testSecret, testSecret} }, "two during a change"},
		"a secret with lines": {func(c *Config) { c.Secrets = []string{testSecret + "\n"} }, "no header can carry"},
		"no reader token":     {func(c *Config) { c.Reader.Token = "" }, "reader has no usable token"},
		"no poster token":     {func(c *Config) { c.Poster.Token = "" }, "poster has no usable token"},
		"no poster id":        {func(c *Config) { c.Poster.UserID = "" }, "poster has no usable user id"},
		"one user for both":   {func(c *Config) { c.Poster.UserID = c.Reader.UserID }, "one user"},
		"no URL":              {func(c *Config) { c.URL = nil }, "no host"},
		"plain http":          {func(c *Config) { c.URL = mustURL("http://chat.example.org") }, "https"},
		"a password":          {func(c *Config) { c.URL = mustURL("https://u:pass-word@chat.example.org") }, "scheme, host and path"},
		"no name":             {func(c *Config) { c.Name = "" }, "no name"},
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
		t.Errorf("not all faults are told at once: %v", err)
	}
	if _, err := New(config(t, "http://127.0.0.1:3000")); err != nil {
		t.Errorf("loopback: %v", err)
	}
}
