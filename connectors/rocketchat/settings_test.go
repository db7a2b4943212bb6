package rocketchat

import (
	"log/slog"
	"slices"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/network"
	"cobrowse-bridge/bridge/settings"
)

// open reads a workspace's settings. variables adds to the default ones or replaces them.
func open(t *testing.T, variables map[string]string) (chat.Connector, *settings.Reader) {
	t.Helper()
	all := map[string]string{
		"URL": "https://chat.example.org", "WEBHOOK_SECRET": testSecret, "READER_ID": "r", "READER_TOKEN": readerToken,
		"POSTER_ID": "p", "POSTER_TOKEN": posterToken, "COMMAND_TOKEN": "", "COMMAND_CHANNELS": "", "FORWARD_URL": "",
	}
	for suffix, value := range variables {
		all[suffix] = value
	}
	for suffix, value := range all {
		t.Setenv("ROCKETCHAT_"+suffix, value)
	}
	r := new(settings.Reader)
	return Open(r, "rocketchat", "ROCKETCHAT", nil, network.Route{}, slog.New(slog.DiscardHandler)), r
}

func TestSettingsOfTheCommandAndOfForwarding(t *testing.T) {
	for name, c := range map[string]struct {
		variables map[string]string
		faults    []string // variable and part of the problem
	}{
		"neither":                    {nil, nil},
		"a command":                  {map[string]string{"COMMAND_TOKEN": commandToken, "COMMAND_CHANNELS": "#cobrowse-desk, GENERAL"}, nil},
		"a command without channels": {map[string]string{"COMMAND_TOKEN": commandToken}, []string{"ROCKETCHAT_COMMAND_CHANNELS is not set"}},
		"channels without a command": {map[string]string{"COMMAND_CHANNELS": "desk"}, []string{"ROCKETCHAT_COMMAND_TOKEN is not set"}},
		"a person as a channel":      {map[string]string{"COMMAND_TOKEN": commandToken, "COMMAND_CHANNELS": "@bob"}, []string{"ROCKETCHAT_COMMAND_CHANNELS must be"}},
		"a short token":              {map[string]string{"COMMAND_TOKEN": "short", "COMMAND_CHANNELS": "desk"}, []string{"ROCKETCHAT_COMMAND_TOKEN is too short"}},
		"the webhook's secret":       {map[string]string{"COMMAND_TOKEN": testSecret, "COMMAND_CHANNELS": "desk"}, []string{"has the same value as"}},
		"a receiver":                 {map[string]string{"FORWARD_URL": "https://crm.example.org/in?key=crm-key-Thoo9ieb"}, nil},
		"a receiver on loopback":     {map[string]string{"FORWARD_URL": "http://127.0.0.1:9000/in"}, nil},
		"a receiver without TLS":     {map[string]string{"FORWARD_URL": "http://crm.example.org/in"}, []string{"ROCKETCHAT_FORWARD_URL must begin with https://"}},
		"a receiver with a password": {map[string]string{"FORWARD_URL": "https://u:crm-key-Thoo9ieb@crm.example.org/in"}, []string{"ROCKETCHAT_FORWARD_URL must not contain a user"}},
		"a receiver with a fragment": {map[string]string{"FORWARD_URL": "https://crm.example.org/in?key=x#crm-key-Thoo9ieb"}, []string{"ROCKETCHAT_FORWARD_URL must not contain a fragment"}},
		"no address":                 {map[string]string{"FORWARD_URL": "crm-key-Thoo9ieb"}, []string{"ROCKETCHAT_FORWARD_URL must be an address"}},
	} {
		t.Run(name, func(t *testing.T) {
			k, r := open(t, c.variables)
			var got []string
			for _, f := range r.Faults() {
				got = append(got, f.Error())
				for _, secret := range []string{commandToken, testSecret, "crm-key"} {
					if strings.Contains(f.Error(), secret) {
						t.Errorf("a fault contains a secret: %v", f)
					}
				}
			}
			if len(got) != len(c.faults) || len(got) > 0 && !strings.Contains(got[0], c.faults[0]) {
				t.Errorf("faults %q, want %q", got, c.faults)
			}
			if c.faults == nil && (k.Accept == nil || (k.Forward != nil) != (c.variables["FORWARD_URL"] != "")) {
				t.Errorf("the connector has Accept %v, Forward %v", k.Accept != nil, k.Forward != nil)
			}
			for _, secret := range []string{c.variables["COMMAND_TOKEN"], "key=crm-key-Thoo9ieb"} {
				if c.faults == nil && strings.Contains(c.variables["COMMAND_TOKEN"]+c.variables["FORWARD_URL"], secret) && secret != "" &&
					!slices.Contains(r.Secrets(), secret) {
					t.Errorf("%q is not hidden from the log", secret)
				}
			}
		})
	}
}
