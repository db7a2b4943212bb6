package slack

import (
	"log/slog"
	"net/http"
	"strings"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/settings"
)

// Settings are the variables of one Slack app, each below its prefix:
// SLACK_BOT_TOKEN, or SLACK_EMEA_BOT_TOKEN for the connector "slack-emea".
type Settings struct {
	SigningSecret    string `split_words:"true" need:"yes" desc:"signing secret of the app, from its page Basic Information"`
	SigningSecretOld string `split_words:"true" desc:"the secret before, accepted while it is being changed"`
	BotToken         string `split_words:"true" need:"yes" desc:"bot user OAuth token, xoxb-…"`
	AppToken         string `split_words:"true" desc:"app-level token, xapp-…: switches Socket Mode on, for which Slack need not reach the bridge"`
	URL              string `split_words:"true" default:"https://slack.com/api/" desc:"address of the Web API; https://slack-gov.com/api/ for GovSlack"`
	ResponseHosts    string `split_words:"true" default:"hooks.slack.com,hooks.slack-gov.com" desc:"comma list of the hosts that answers to commands may be sent to"`
	AllowGuests      string `split_words:"true" default:"false" desc:"whether guests of the workspace may co-browse"`
}

// Open makes a connector from the variables below prefix. Faults go to the
// reader; with any, the connector is not usable.
func Open(r *settings.Reader, name, prefix string, transport http.RoundTripper, log *slog.Logger) bridge.Connector {
	var s Settings
	before := len(r.Faults())
	r.Group(prefix, &s)
	variable := func(suffix string) string { return prefix + "_" + suffix }
	c := Config{
		Name: name, Transport: transport, Log: log,
		BotToken:      r.Secret(variable("BOT_TOKEN"), s.BotToken),
		AppToken:      r.Secret(variable("APP_TOKEN"), s.AppToken),
		URL:           r.URL(variable("URL"), s.URL),
		ResponseHosts: r.Hosts(variable("RESPONSE_HOSTS"), s.ResponseHosts),
		AllowGuests:   r.Bool(variable("ALLOW_GUESTS"), s.AllowGuests),
	}
	for _, secret := range []string{
		r.Secret(variable("SIGNING_SECRET"), s.SigningSecret),
		r.Secret(variable("SIGNING_SECRET_OLD"), s.SigningSecretOld),
	} {
		if secret != "" {
			c.Secrets = append(c.Secrets, secret)
		}
	}
	if strings.Trim(s.ResponseHosts, ", ") == "" {
		r.Fault(variable("RESPONSE_HOSTS"), "names no host: nobody could be answered")
	}
	if c.BotToken != "" && !botToken.MatchString(c.BotToken) {
		r.Fault(variable("BOT_TOKEN"), "is not the token of a bot: it begins with xoxb-, and is on the app's page OAuth & Permissions once the app is installed"+also(c.BotToken))
	}
	if c.AppToken != "" && !appToken.MatchString(c.AppToken) {
		r.Fault(variable("APP_TOKEN"), "is not an app-level token: it begins with xapp-, and is made on the app's page Basic Information"+also(c.AppToken))
	}
	if len(r.Faults()) > before {
		return bridge.Connector{Name: name}
	}
	k, err := New(c)
	if err != nil {
		r.Fault(variable("URL"), "and the settings beside it do not fit together: "+err.Error())
	}
	return k
}

// also names the kind of token that was given in place of the right one.
func also(token string) string {
	for prefix, kind := range map[string]string{
		"xoxp-": "a user's", "xoxe": "one that expires: switch token rotation off", "xapp-": "an app-level one", "xoxb-": "a bot's",
	} {
		if strings.HasPrefix(token, prefix) {
			return " (what is there now is " + kind + ")"
		}
	}
	return ""
}
