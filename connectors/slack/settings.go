package slack

import (
	"log/slog"
	"net/http"
	"strings"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/network"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/bridge/settings"
)

// Settings are the variables of one Slack app. Each begins with the connector's prefix:
// SLACK_BOT_TOKEN, or SLACK_EMEA_BOT_TOKEN for the connector "slack-emea".
type Settings struct {
	SigningSecret    string `split_words:"true" need:"yes" desc:"signing secret of the app, from its page Basic Information"`
	SigningSecretOld string `split_words:"true" desc:"previous signing secret, still accepted during a change"`
	BotToken         string `split_words:"true" need:"yes" desc:"bot user OAuth token, xoxb-…"`
	AppToken         string `split_words:"true" desc:"app-level token, xapp-…; switches Socket Mode on: Slack then need not reach the bridge"`
	URL              string `split_words:"true" default:"https://slack.com/api/" desc:"address of the Web API; https://slack-gov.com/api/ for GovSlack"`
	ResponseHosts    string `split_words:"true" default:"hooks.slack.com,hooks.slack-gov.com" desc:"comma-separated list of the hosts to which answers to commands may be sent"`
	AllowGuests      string `split_words:"true" default:"false" desc:"whether guests of the workspace may co-browse"`
}

// Open makes a connector from the variables that begin with prefix. emails says that the bridge
// looks customers up by their e-mail address. Open reports every fault
// to r; if there is one, the connector has a name only and cannot be used.
func Open(r *settings.Reader, name, prefix string, emails bool, transport http.RoundTripper, route network.Route, log *slog.Logger) chat.Connector {
	var s Settings
	before := len(r.Faults())
	r.Group(prefix, &s)
	variable := func(suffix string) string { return prefix + "_" + suffix }
	c := Config{
		Name: name, Emails: emails, Route: route, Transport: transport, Log: log,
		BotToken:      r.Live(variable("BOT_TOKEN"), r.Secret(variable("BOT_TOKEN"), s.BotToken), botTokenFault),
		AppToken:      r.Live(variable("APP_TOKEN"), r.Secret(variable("APP_TOKEN"), s.AppToken), appTokenFault),
		URL:           r.URL(variable("URL"), s.URL),
		ResponseHosts: r.Hosts(variable("RESPONSE_HOSTS"), s.ResponseHosts),
		AllowGuests:   r.Bool(variable("ALLOW_GUESTS"), s.AllowGuests),
	}
	for _, value := range []*secret.Value{
		r.Live(variable("SIGNING_SECRET"), r.Secret(variable("SIGNING_SECRET"), s.SigningSecret), nil),
		r.Live(variable("SIGNING_SECRET_OLD"), r.Secret(variable("SIGNING_SECRET_OLD"), s.SigningSecretOld), nil),
	} {
		if value != nil {
			c.Secrets = append(c.Secrets, value)
		}
	}
	if strings.Trim(s.ResponseHosts, ", ") == "" {
		r.AddFault(variable("RESPONSE_HOSTS"), "contains no host: the bridge could not answer commands")
	}
	if problem := botTokenFault(c.BotToken.Current()); c.BotToken != nil && problem != "" {
		r.AddFault(variable("BOT_TOKEN"), problem)
	}
	if problem := appTokenFault(c.AppToken.Current()); c.AppToken != nil && problem != "" {
		r.AddFault(variable("APP_TOKEN"), problem)
	}
	if len(r.Faults()) > before {
		return chat.Connector{Name: name}
	}
	k, err := New(c)
	if err != nil {
		r.AddFault(variable("URL"), "and the other settings do not work together: "+err.Error())
	}
	return k
}

func botTokenFault(token string) string {
	if botToken.MatchString(token) {
		return ""
	}
	return wrongToken(token, "xoxb-", "is not a bot token: copy the token that begins with xoxb- from the app's page OAuth & Permissions, after you have installed the app")
}

func appTokenFault(token string) string {
	if appToken.MatchString(token) {
		return ""
	}
	return wrongToken(token, "xapp-", "is not an app-level token: make a token, which begins with xapp-, on the app's page Basic Information")
}

// wrongToken returns the fault of a token that does not have the form of its kind. problem is for
// tokens without the beginning of this kind.
func wrongToken(token, begin, problem string) string {
	if strings.HasPrefix(token, begin) {
		return "begins with " + begin + ", but is too short or has a character that no token has, such as a space: copy it again, without a comment after it"
	}
	return problem + also(token)
}

// also says which kind of token was set in place of the right one, if it is known.
func also(token string) string {
	for prefix, kind := range map[string]string{
		"xoxp-": "a user token", "xoxe": "a token that expires: the app has token rotation, which cannot be switched off; make a new app from the manifest", "xapp-": "an app-level token", "xoxb-": "a bot token",
	} {
		if strings.HasPrefix(token, prefix) {
			return " (the value now is " + kind + ")"
		}
	}
	return ""
}
