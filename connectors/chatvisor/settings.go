package chatvisor

import (
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/network"
	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/connectors/chatvisor/rules"
)

// Settings are the environment variables of one tenant: CHATVISOR_URL, or
// CHATVISOR_EMEA_URL for the connector "chatvisor-emea".
type Settings struct {
	URL           string `split_words:"true" default:"https://app.chatvisor.com/rest/v1" desc:"address of the REST API"`
	Token         string `split_words:"true" need:"yes" desc:"API key of the tenant, from Chatvisor's settings"`
	HookSecret    string `split_words:"true" need:"yes" desc:"22 to 128 letters, digits, - and _, as openssl rand -hex 24 makes them, for the address of the webhooks"`
	HookSecretOld string `split_words:"true" desc:"previous secret, still accepted during a change"`
	Config        string `split_words:"true" desc:"YAML file: where fields are in webhook bodies, how customers are found, which endpoints to use"`
}

// Open makes a connector from the variables that begin with prefix. It reports faults to
// the reader; after a fault the connector must not be used.
func Open(r *settings.Reader, name, prefix string, transport http.RoundTripper, _ network.Route, log *slog.Logger) chat.Connector {
	c, ok := ReadConfig(r, name, prefix)
	if !ok {
		return chat.Connector{Name: name}
	}
	c.Transport, c.Log = transport, log
	k, err := New(c)
	if err != nil {
		r.AddFault(prefix+"_URL", "and the other settings of this connector are not valid together: "+err.Error())
	}
	return k
}

// ReadConfig reads the variables that begin with prefix. It reports faults to the
// reader, and returns false if there is one.
func ReadConfig(r *settings.Reader, name, prefix string) (Config, bool) {
	var s Settings
	before := len(r.Faults())
	r.Group(prefix, &s)
	variable := func(suffix string) string { return prefix + "_" + suffix }
	c := Config{
		Name:      name,
		URL:       r.URL(variable("URL"), s.URL),
		Token:     r.Live(variable("TOKEN"), r.Secret(variable("TOKEN"), s.Token), tokenFault),
		TokenFile: os.Getenv(variable("TOKEN_FILE")),
		Rules:     readRules(r, variable("CONFIG"), s.Config),
	}
	for _, set := range []struct{ variable, value string }{
		{variable("HOOK_SECRET"), s.HookSecret},
		{variable("HOOK_SECRET_OLD"), s.HookSecretOld},
	} {
		if problem := hookSecretFault(set.value); set.value != "" && problem != "" {
			r.AddFault(set.variable, problem)
			continue
		}
		if value := r.Secret(set.variable, set.value); value != "" {
			c.Secrets = append(c.Secrets, r.Live(set.variable, value, hookSecretFault))
		}
	}
	if problem := tokenFault(s.Token); problem != "" {
		r.AddFault(variable("TOKEN"), problem)
	}
	return c, len(r.Faults()) == before
}

func tokenFault(token string) string {
	if strings.Contains(token, " ") {
		return "contains a space; a token has none"
	}
	return ""
}

func hookSecretFault(value string) string {
	if secretForm.MatchString(value) {
		return ""
	}
	return "must be 22 to 128 letters, digits, - and _, since it is part of an address: make one with `openssl rand -hex 24`"
}

// readRules reads the operator's file, and reports each fault with its line.
func readRules(r *settings.Reader, variable, path string) *rules.Rules {
	if path == "" {
		return rules.Default()
	}
	data, err := os.ReadFile(path)
	if err != nil {
		r.AddFault(variable, "names a file that cannot be read: "+settings.Cause(err))
		return nil
	}
	read, err := rules.Parse(filepath.Base(path), data)
	if err != nil {
		for line := range strings.Lines(err.Error()) {
			r.AddFault(variable, "has a fault: "+strings.TrimSpace(line))
		}
		return nil
	}
	return read
}
