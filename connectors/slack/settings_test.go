package slack

import (
	"bytes"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/network"
	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/connectors/slack/slacktest"
)

func open(t *testing.T, env map[string]string) (*settings.Reader, bool) {
	t.Helper()
	r, c := openWith(t, env, false)
	return r, c.Accept != nil
}

func openWith(t *testing.T, env map[string]string, emails bool) (*settings.Reader, chat.Connector) {
	t.Helper()
	for k, v := range env {
		t.Setenv(k, v)
	}
	var r settings.Reader
	return &r, Open(&r, "slack-emea", "SLACK_EMEA", emails, nil, network.Route{}, slog.New(slog.DiscardHandler))
}

func TestSettingsMakeAConnector(t *testing.T) {
	// Variables of another connector, and without a prefix, are ignored.
	t.Setenv("SLACK_BOT_TOKEN", "xoxb-another-instances-token")
	t.Setenv("BOT_TOKEN", "x")
	r, usable := open(t, map[string]string{"SLACK_EMEA_SIGNING_SECRET": testSecret, "SLACK_EMEA_SIGNING_SECRET_OLD": oldSecret, "SLACK_EMEA_BOT_TOKEN": testBot, "SLACK_EMEA_APP_TOKEN": testApp})
	if len(r.Faults()) > 0 || !usable {
		t.Errorf("%v", r.Faults())
	}
}

func TestTheErrorOfADialogOffersEMailAddressesIfTheBridgeMatchesThem(t *testing.T) {
	w := workspace(t.Errorf)
	body := w.Submit(slacktest.View{ID: "V1", Hash: "h", User: "U1", Body: []byte(`{"callback_id":"cobrowse_search"}`)}, blockQuery, inputQuery, "who")
	for _, emails := range []bool{false, true} {
		_, c := openWith(t, map[string]string{"SLACK_EMEA_SIGNING_SECRET": testSecret, "SLACK_EMEA_BOT_TOKEN": testBot}, emails)
		r := httptest.NewRequest(http.MethodPost, "/hooks/slack-emea", bytes.NewReader(body))
		r.Header = w.Sign(body)
		if got, err := c.Accept(r, body); err != nil || strings.Contains(string(got.Answer), "e-mail address") != emails {
			t.Errorf("with matching by e-mail address %v: %s, %v", emails, got.Answer, err)
		}
	}
}

func TestFaultsOfSettingsNameTheVariableAndNoValue(t *testing.T) {
	for name, c := range map[string]struct {
		change map[string]string
		want   []string
	}{
		"nothing set":          {map[string]string{"SLACK_EMEA_SIGNING_SECRET": "", "SLACK_EMEA_BOT_TOKEN": ""}, []string{"SLACK_EMEA_SIGNING_SECRET", "SLACK_EMEA_BOT_TOKEN"}},
		"a short secret":       {map[string]string{"SLACK_EMEA_SIGNING_SECRET": "short"}, []string{"SLACK_EMEA_SIGNING_SECRET"}},
		"a user's token":       {map[string]string{"SLACK_EMEA_BOT_TOKEN": "xoxp-1-2-cheiM4aepoo9oogh"}, []string{"SLACK_EMEA_BOT_TOKEN", "a user token"}},
		"exchanged tokens":     {map[string]string{"SLACK_EMEA_BOT_TOKEN": testApp, "SLACK_EMEA_APP_TOKEN": testBot}, []string{"SLACK_EMEA_BOT_TOKEN", "SLACK_EMEA_APP_TOKEN"}},
		"one for both":         {map[string]string{"SLACK_EMEA_SIGNING_SECRET_OLD": testSecret}, []string{"SLACK_EMEA_SIGNING_SECRET_OLD"}},
		"a comment after it":   {map[string]string{"SLACK_EMEA_APP_TOKEN": testApp + "     # Socket Mode only"}, []string{"SLACK_EMEA_APP_TOKEN begins with xapp-, but is too short or has a character that no token has, such as a space"}},
		"plain http":           {map[string]string{"SLACK_EMEA_URL": "http://slack.com/api/"}, []string{"SLACK_EMEA_URL"}},
		"an address as a host": {map[string]string{"SLACK_EMEA_RESPONSE_HOSTS": "https://hooks.slack.com/"}, []string{"SLACK_EMEA_RESPONSE_HOSTS"}},
		"guests, perhaps":      {map[string]string{"SLACK_EMEA_ALLOW_GUESTS": "perhaps"}, []string{"SLACK_EMEA_ALLOW_GUESTS"}},
		"no hosts":             {map[string]string{"SLACK_EMEA_RESPONSE_HOSTS": " , "}, []string{"SLACK_EMEA_RESPONSE_HOSTS"}},
	} {
		t.Run(name, func(t *testing.T) {
			env := map[string]string{"SLACK_EMEA_SIGNING_SECRET": testSecret, "SLACK_EMEA_BOT_TOKEN": testBot}
			for k, v := range c.change {
				env[k] = v
			}
			r, usable := open(t, env)
			var all string
			for _, f := range r.Faults() {
				all += f.Error() + "\n"
			}
			for _, want := range c.want {
				if !strings.Contains(all, want) {
					t.Errorf("%q is not in %q", want, all)
				}
			}
			if usable || len(r.Faults()) == 0 {
				t.Errorf("usable %v: %q", usable, all)
			}
			clean(t, name, all)
			if strings.Contains(all, "cheiM4aepoo9oogh") {
				t.Errorf("a value is in %q", all)
			}
		})
	}
}
