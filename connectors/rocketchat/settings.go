package rocketchat

import (
	"log/slog"
	"net/http"
	"regexp"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/settings"
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
	if len(r.Faults()) > before {
		return bridge.Connector{Name: name}
	}
	k, err := New(c)
	if err != nil {
		r.Fault(variable("URL"), "and the settings beside it do not fit together: "+err.Error())
	}
	return k
}
