package slack

import (
	"log/slog"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/settings"
)

func open(t *testing.T, env map[string]string) (*settings.Reader, bool) {
	t.Helper()
	for k, v := range env {
		t.Setenv(k, v)
	}
	var r settings.Reader
	c := Open(&r, "slack-emea", "SLACK_EMEA", nil, slog.New(slog.DiscardHandler))
	return &r, c.Accept != nil
}

func TestSettingsMakeAConnector(t *testing.T) {
	// Those of another instance, and without a prefix, change nothing.
	t.Setenv("SLACK_BOT_TOKEN", "xoxb-another-instances-token")
	t.Setenv("BOT_TOKEN", "x")
	r, usable := open(t, map[string]string{"SLACK_EMEA_SIGNING_SECRET": testSecret, "SLACK_EMEA_SIGNING_SECRET_OLD": oldSecret, "SLACK_EMEA_BOT_TOKEN": testBot, "SLACK_EMEA_APP_TOKEN": testApp})
	if len(r.Faults()) > 0 || !usable {
		t.Errorf("%v", r.Faults())
	}
}

func TestFaultsOfSettingsNameTheVariableAndNoValue(t *testing.T) {
	for name, c := range map[string]struct {
		change map[string]string
		want   []string
	}{
		"nothing set":          {map[string]string{"SLACK_EMEA_SIGNING_SECRET": "", "SLACK_EMEA_BOT_TOKEN": ""}, []string{"SLACK_EMEA_SIGNING_SECRET", "SLACK_EMEA_BOT_TOKEN"}},
		"a short secret":       {map[string]string{"SLACK_EMEA_SIGNING_SECRET": "short"}, []string{"SLACK_EMEA_SIGNING_SECRET"}},
		"a user's token":       {map[string]string{"SLACK_EMEA_BOT_TOKEN": "xoxp-1-2-cheiM4aepoo9oogh"}, []string{"SLACK_EMEA_BOT_TOKEN", "a user's"}},
		"tokens the other way": {map[string]string{"SLACK_EMEA_BOT_TOKEN": testApp, "SLACK_EMEA_APP_TOKEN": testBot}, []string{"SLACK_EMEA_BOT_TOKEN", "SLACK_EMEA_APP_TOKEN"}},
		"one for both":         {map[string]string{"SLACK_EMEA_SIGNING_SECRET_OLD": testSecret}, []string{"SLACK_EMEA_SIGNING_SECRET_OLD"}},
		"plain http":           {map[string]string{"SLACK_EMEA_URL": "http://slack.com/api/"}, []string{"SLACK_EMEA_URL"}},
		"hosts that are none":  {map[string]string{"SLACK_EMEA_RESPONSE_HOSTS": "https://hooks.slack.com/"}, []string{"SLACK_EMEA_RESPONSE_HOSTS"}},
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
