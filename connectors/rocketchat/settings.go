package rocketchat

import (
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/network"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/connectors/rest"
)

// Settings are the variables of one workspace. Each begins with the connector's prefix:
// ROCKETCHAT_URL, or ROCKETCHAT_EMEA_URL for the connector "rocketchat-emea".
type Settings struct {
	URL              string `split_words:"true" need:"yes" desc:"address of the workspace, possibly with a path"`
	WebhookSecret    string `split_words:"true" need:"yes" desc:"secret token of the Omnichannel webhook"`
	WebhookSecretOld string `split_words:"true" desc:"previous secret token, still accepted during a change"`
	ReaderID         string `split_words:"true" need:"yes" desc:"user id of the user who reads livechat rooms"`
	ReaderToken      string `split_words:"true" need:"yes" desc:"personal access token of the reader"`
	PosterID         string `split_words:"true" need:"yes" desc:"user id of the user who writes to agents; must not be able to see livechat rooms"`
	PosterToken      string `split_words:"true" need:"yes" desc:"personal access token of the poster"`
	Field            string `split_words:"true" default:"upscope_key" desc:"visitor custom field with the key that the page script makes"`
	CodeField        string `split_words:"true" default:"upscope_code" desc:"visitor custom field with a lookup code"`
	CommandToken     string `split_words:"true" desc:"token of the outgoing integration for the agents' command; empty: no command"`
	CommandChannels  string `split_words:"true" desc:"comma-separated list of the channels, by id or name, in which the command works"`
	ForwardURL       string `split_words:"true" desc:"address of another system that gets a copy of each event, since Rocket.Chat has only one webhook; not the bridge's own address"`
}

// idForm is the form of user ids and of custom fields (RocketChat/Rocket.Chat-Open-API,
// omnichannel.yaml, custom-fields.save).
var idForm = regexp.MustCompile(`^[0-9A-Za-z_-]+$`)

// Open makes a connector from the variables that begin with prefix. It reports every fault
// to r; if there is one, the connector has a name only and cannot be used.
func Open(r *settings.Reader, name, prefix string, transport http.RoundTripper, route network.Route, log *slog.Logger) chat.Connector {
	var s Settings
	before := len(r.Faults())
	r.Group(prefix, &s)
	variable := func(suffix string) string { return prefix + "_" + suffix }
	live := func(suffix, value string) *secret.Value {
		return r.Live(variable(suffix), r.Secret(variable(suffix), value), nil)
	}
	c := Config{
		Name: name,
		URL:  r.URL(variable("URL"), s.URL),
		Reader: Credential{
			UserID: s.ReaderID, Token: live("READER_TOKEN", s.ReaderToken),
		},
		Poster: Credential{
			UserID: s.PosterID, Token: live("POSTER_TOKEN", s.PosterToken),
		},
		KeyField: s.Field, CodeField: s.CodeField, Transport: transport, Log: log,
		Command: Command{
			Token: live("COMMAND_TOKEN", s.CommandToken), Channels: settings.List(s.CommandChannels),
		},
	}
	for _, value := range []*secret.Value{live("WEBHOOK_SECRET", s.WebhookSecret), live("WEBHOOK_SECRET_OLD", s.WebhookSecretOld)} {
		if value != nil {
			c.Secrets = append(c.Secrets, value)
		}
	}
	if s.ReaderID != "" && s.ReaderID == s.PosterID {
		r.AddFault(variable("POSTER_ID"), "must not be the reader: two users are needed, so that the user who writes cannot see chats with customers")
	}
	for suffix, value := range map[string]string{"READER_ID": s.ReaderID, "POSTER_ID": s.PosterID, "FIELD": s.Field, "CODE_FIELD": s.CodeField} {
		if value != "" && !idForm.MatchString(value) {
			r.AddFault(variable(suffix), "may hold letters, digits, - and _ only")
		}
	}
	switch {
	case s.CommandToken != "" && len(c.Command.Channels) == 0:
		r.AddFault(variable("COMMAND_CHANNELS"), "is not set: list the channels in which the command of "+variable("COMMAND_TOKEN")+" works")
	case s.CommandToken == "" && len(c.Command.Channels) > 0:
		r.AddFault(variable("COMMAND_TOKEN"), "is not set: it must be the token of the outgoing integration in "+variable("COMMAND_CHANNELS"))
	case !slices.ContainsFunc(c.Command.Channels, func(name string) bool { return !channelName(name) }):
	default:
		r.AddFault(variable("COMMAND_CHANNELS"), "must be a comma-separated list of channels, by id or name, such as cobrowse-desk")
	}
	if s.ForwardURL != "" {
		// The query of many receivers contains a secret.
		address, query, _ := strings.Cut(s.ForwardURL, "?")
		if strings.Contains(s.ForwardURL, "#") || query != "" && !headerValue(query) {
			r.AddFault(variable("FORWARD_URL"), "must not contain a fragment (#…) or spaces")
		} else if c.ForwardURL = r.URL(variable("FORWARD_URL"), address); c.ForwardURL != nil {
			c.ForwardURL.RawQuery = query
			r.RedactInLogs(query)
		}
		// The receiver is another system, so it does not use the proxy of Rocket.Chat.
		c.ForwardTransport = rest.Upstream(name+" forward", route.Through(nil).Transport(rest.NewTransport()), nil, log)
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
