package rocketchat

import (
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/connectors/rest"
)

// Settings are the variables of one workspace, each below its prefix:
// ROCKETCHAT_URL, or ROCKETCHAT_EMEA_URL for the connector "rocketchat-emea".
type Settings struct {
	URL              string `split_words:"true" need:"yes" desc:"address of the workspace, possibly with a path"`
	WebhookSecret    string `split_words:"true" need:"yes" desc:"secret token of the Omnichannel webhook"`
	WebhookSecretOld string `split_words:"true" desc:"the token before, accepted while it is being changed"`
	ReaderID         string `split_words:"true" need:"yes" desc:"user id of the user who reads livechat rooms"`
	ReaderToken      string `split_words:"true" need:"yes" desc:"personal access token of the reader"`
	PosterID         string `split_words:"true" need:"yes" desc:"user id of the user who writes to agents; must not see livechat rooms"`
	PosterToken      string `split_words:"true" need:"yes" desc:"personal access token of the poster"`
	Field            string `split_words:"true" default:"upscope_key" desc:"visitor custom field that holds the page key"`
	CodeField        string `split_words:"true" default:"upscope_code" desc:"visitor custom field that holds a lookup code"`
	CommandToken     string `split_words:"true" desc:"token of the outgoing integration by which agents ask; empty: there is none"`
	CommandChannels  string `split_words:"true" desc:"comma list of the channels, by id or name, in which it may be used"`
	ForwardURL       string `split_words:"true" desc:"gets each event of the webhook as it came, since Rocket.Chat has one webhook only"`
}

// idForm is that of user ids, and of custom fields (RocketChat/Rocket.Chat-Open-API,
// omnichannel.yaml, custom-fields.save).
var idForm = regexp.MustCompile(`^[0-9A-Za-z_-]+$`)

// Open makes a connector from the variables below prefix. Faults go to the
// reader; with any, the connector is not usable.
func Open(r *settings.Reader, name, prefix string, transport http.RoundTripper, log *slog.Logger) bridge.Connector {
	var s Settings
	before := len(r.Faults())
	r.Group(prefix, &s)
	variable := func(suffix string) string { return prefix + "_" + suffix }
	c := Config{
		Name: name,
		URL:  r.URL(variable("URL"), s.URL),
		Reader: Credential{
			UserID: s.ReaderID, Token: r.Secret(variable("READER_TOKEN"), s.ReaderToken),
		},
		Poster: Credential{
			UserID: s.PosterID, Token: r.Secret(variable("POSTER_TOKEN"), s.PosterToken),
		},
		KeyField: s.Field, CodeField: s.CodeField, Transport: transport, Log: log,
		Command: Command{
			Token: r.Secret(variable("COMMAND_TOKEN"), s.CommandToken), Channels: settings.List(s.CommandChannels),
		},
	}
	for _, secret := range []string{
		r.Secret(variable("WEBHOOK_SECRET"), s.WebhookSecret),
		r.Secret(variable("WEBHOOK_SECRET_OLD"), s.WebhookSecretOld),
	} {
		if secret != "" {
			c.Secrets = append(c.Secrets, secret)
		}
	}
	if s.ReaderID != "" && s.ReaderID == s.PosterID {
		r.Fault(variable("POSTER_ID"), "is the reader as well: it could write where visitors read, so two users are needed")
	}
	for suffix, value := range map[string]string{"READER_ID": s.ReaderID, "POSTER_ID": s.PosterID, "FIELD": s.Field, "CODE_FIELD": s.CodeField} {
		if value != "" && !idForm.MatchString(value) {
			r.Fault(variable(suffix), "may hold letters, digits, - and _ only")
		}
	}
	switch {
	case s.CommandToken != "" && len(c.Command.Channels) == 0:
		r.Fault(variable("COMMAND_CHANNELS"), "is not set: name the channels in which "+variable("COMMAND_TOKEN")+" is good for the command")
	case s.CommandToken == "" && len(c.Command.Channels) > 0:
		r.Fault(variable("COMMAND_TOKEN"), "is not set: it is the token of the outgoing integration for "+variable("COMMAND_CHANNELS"))
	case !slices.ContainsFunc(c.Command.Channels, func(name string) bool { return !channelName(name) }):
	default:
		r.Fault(variable("COMMAND_CHANNELS"), "must be a comma list of ids or names of channels, such as cobrowse-desk")
	}
	if s.ForwardURL != "" {
		// What many receivers have in place of a password is in the query.
		address, query, _ := strings.Cut(s.ForwardURL, "?")
		if strings.Contains(query, "#") || query != "" && !headerValue(query) {
			r.Fault(variable("FORWARD_URL"), "must have no fragment and no spaces in it")
		}
		if c.ForwardURL = r.URL(variable("FORWARD_URL"), address); c.ForwardURL != nil {
			c.ForwardURL.RawQuery = query
			r.Hide(query)
		}
		c.ForwardTransport = bridge.Upstream(name+" forward", rest.NewTransport(), log)
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
