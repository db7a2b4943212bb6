// Package connectors knows which chat services there are.
package connectors

import (
	"log/slog"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/connectors/rest"
	"cobrowse-bridge/connectors/rocketchat"
)

// A kind of connector: how to open one from the variables below a prefix, and
// which variables those are.
type kind struct {
	open     func(r *settings.Reader, name, prefix string, transport http.RoundTripper, log *slog.Logger) bridge.Connector
	settings any
}

// kinds has one line for each chat service.
var kinds = map[string]kind{
	"rocketchat": {rocketchat.Open, &rocketchat.Settings{}},
}

// Names are the chat services there are.
func Names() []string {
	var names []string
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// form of a connector's name, which stands in addresses and queue names.
var form = regexp.MustCompile(`^[a-z]+(-[a-z0-9]+)*$`)

// Open opens the connectors that are named. A name is that of a chat service, or
// that followed by a dash and a word of the operator's: "rocketchat-emea" is a
// second Rocket.Chat, with variables that begin with ROCKETCHAT_EMEA_. Faults go
// to the reader.
func Open(r *settings.Reader, variable string, names []string, log *slog.Logger) []bridge.Connector {
	var all []bridge.Connector
	for i, name := range names {
		service, _, _ := strings.Cut(name, "-")
		k, known := kinds[service]
		switch {
		case !known || !form.MatchString(name):
			r.Fault(variable, "names no connector that there is; there are: "+strings.Join(Names(), ", "))
			continue
		case slices.Contains(names[:i], name):
			r.Fault(variable, "names "+name+" twice")
			continue
		}
		log := log.With("connector", name)
		all = append(all, k.open(r, name, prefix(name), bridge.Upstream(name, rest.NewTransport(), log), log))
	}
	return all
}

// Prefixes are what the variables of the named connectors begin with.
func Prefixes() []string {
	var all []string
	for _, name := range Names() {
		all = append(all, prefix(name)+"_")
	}
	return all
}

func prefix(name string) string { return strings.ToUpper(strings.ReplaceAll(name, "-", "_")) }

// Variables lists the variables of a chat service.
func Variables(service string) []settings.Variable {
	return settings.Variables(prefix(service), kinds[service].settings)
}
