package chatvisor

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/settings"
)

// Settings are the variables of one tenant, each below its prefix: CHATVISOR_URL,
// or CHATVISOR_EMEA_URL for the connector "chatvisor-emea".
type Settings struct {
	URL             string `split_words:"true" default:"https://app.chatvisor.com/rest/v1" desc:"address of the REST API"`
	Token           string `split_words:"true" need:"yes" desc:"API key of the tenant, from the back-end's settings"`
	HookSecret      string `split_words:"true" need:"yes" desc:"secret in the address of the webhooks: 22 or more letters, digits, - and _"`
	HookSecretOld   string `split_words:"true" desc:"the secret before, accepted while it is being changed"`
	SignatureSecret string `split_words:"true" desc:"secret of the signature, where the file asks for one"`
	Config          string `split_words:"true" desc:"YAML file: how bodies are read, how customers are found, and which endpoints there are"`
}

// Open makes a connector from the variables below prefix. Faults go to the reader;
// with any, the connector is not usable.
func Open(r *settings.Reader, name, prefix string, transport http.RoundTripper, log *slog.Logger) bridge.Connector {
	c, ok := readConfig(r, name, prefix)
	if !ok {
		return bridge.Connector{Name: name}
	}
	c.Transport, c.Log = transport, log
	k, err := New(c)
	if err != nil {
		r.Fault(prefix+"_URL", "and the settings beside it do not fit together: "+err.Error())
	}
	return k
}

// readConfig reports whether the settings are sound.
func readConfig(r *settings.Reader, name, prefix string) (Config, bool) {
	var s Settings
	before := len(r.Faults())
	r.Group(prefix, &s)
	variable := func(suffix string) string { return prefix + "_" + suffix }
	c := Config{
		Name:            name,
		URL:             r.URL(variable("URL"), s.URL),
		Token:           r.Secret(variable("TOKEN"), s.Token),
		TokenFile:       os.Getenv(variable("TOKEN_FILE")),
		SignatureSecret: r.Secret(variable("SIGNATURE_SECRET"), s.SignatureSecret),
		Rules:           readRules(r, variable("CONFIG"), s.Config),
	}
	for _, secret := range []struct{ variable, value string }{
		{variable("HOOK_SECRET"), s.HookSecret},
		{variable("HOOK_SECRET_OLD"), s.HookSecretOld},
	} {
		value := r.Secret(secret.variable, secret.value)
		if value == "" {
			continue
		}
		if !secretForm.MatchString(value) {
			r.Fault(secret.variable, "must be 22 to 128 letters, digits, - and _, since it stands in an address: make one with `openssl rand -hex 24`")
		}
		c.Secrets = append(c.Secrets, value)
	}
	if strings.Contains(s.Token, " ") {
		r.Fault(variable("TOKEN"), "holds a space, which no token has")
	}
	if c.Rules != nil {
		switch signed := c.Rules.signature != nil; {
		case signed && s.SignatureSecret == "":
			r.Fault(variable("SIGNATURE_SECRET"), "is not set, and the file of "+variable("CONFIG")+" asks for a signature")
		case !signed && s.SignatureSecret != "":
			r.Fault(variable("SIGNATURE_SECRET"), "is set, and the file of "+variable("CONFIG")+" asks for no signature: add webhook.signature, or remove the secret")
		}
	}
	return c, len(r.Faults()) == before
}

// readRules reads the operator's file, and has each of its faults told with its
// line.
func readRules(r *settings.Reader, variable, path string) *Rules {
	if path == "" {
		return DefaultRules()
	}
	data, err := os.ReadFile(path)
	if err != nil {
		r.Fault(variable, "names a file that cannot be read")
		return nil
	}
	rules, err := ParseRules(filepath.Base(path), data)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			r.Fault(variable, "is wrong: "+strings.TrimSpace(line))
		}
		return nil
	}
	return rules
}
