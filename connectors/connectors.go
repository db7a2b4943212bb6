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
	"cobrowse-bridge/connectors/chatvisor"
	"cobrowse-bridge/connectors/rest"
	"cobrowse-bridge/connectors/rocketchat"
	"cobrowse-bridge/connectors/slack"
)

// A kind of connector: how to open one from the variables below a prefix, and
// which variables those are.
type kind struct {
	open     func(r *settings.Reader, name, prefix string, transport http.RoundTripper, log *slog.Logger) bridge.Connector
	settings any
	// elsewhere says that it has no place for cards, so that one has to be named.
	elsewhere bool
}

// kinds has one line for each chat service.
var kinds = map[string]kind{
	"chatvisor":  {chatvisor.Open, &chatvisor.Settings{}, true},
	"rocketchat": {rocketchat.Open, &rocketchat.Settings{}, false},
	"slack":      {slack.Open, &slack.Settings{}, false},
}

// placing is what every connector can be told.
type placing struct {
	Show string `split_words:"true" desc:"where its cards are shown, connector:address; empty: where the service itself says"`
}

// elsewhere is the same for one whose conversations customers read.
type elsewhere struct {
	Show string `split_words:"true" need:"yes" desc:"where its cards are shown, connector:address, such as slack:C0123456789 or rocketchat:#support-agents"`
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
// second Rocket.Chat, with variables that begin with ROCKETCHAT_EMEA_. signsIn says
// that agents sign in at the bridge. Faults go to the reader.
func Open(r *settings.Reader, variable string, names []string, signsIn bool, log *slog.Logger) []bridge.Connector {
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
		c := k.open(r, name, prefix(name), bridge.Upstream(name, rest.NewTransport(), log), log)
		c.ShowAt = k.shownAt(r, prefix(name), names)
		all = append(all, c)
	}
	if len(r.Faults()) > 0 {
		return all
	}
	for _, c := range all {
		at := slices.IndexFunc(all, func(to bridge.Connector) bool { return to.Name == c.ShowAt.Connector })
		if at < 0 {
			continue // its cards are shown where they are asked for
		}
		switch to := all[at]; {
		case to.Shared == nil || !to.Shared(c.ShowAt.Address):
			r.Fault(prefix(c.Name)+"_SHOW", "must be a place that several agents see: a channel of Slack by its id, slack:C0123456789, or one of Rocket.Chat by its name, rocketchat:#support-agents")
		case !to.SignsPresses && !signsIn:
			r.Fault(prefix(c.Name)+"_SHOW", "is a channel of "+to.Title+", which does not say who presses a button there: let agents sign in, with BRIDGE_SIGNIN=oidc or header, or name a channel of Slack")
		}
	}
	return all
}

// shownAt reads where a connector's cards are shown.
func (k kind) shownAt(r *settings.Reader, prefix string, names []string) bridge.Place {
	var p placing
	if k.elsewhere {
		r.Group(prefix, (*elsewhere)(&p))
	} else {
		r.Group(prefix, &p)
	}
	if p.Show == "" {
		return bridge.Place{}
	}
	name, address, ok := strings.Cut(p.Show, ":")
	if !ok || address == "" || !slices.Contains(names, name) {
		r.Fault(prefix+"_SHOW", "must be connector:address, with one of the connectors in use")
		return bridge.Place{}
	}
	return bridge.Place{Connector: name, Address: address}
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
	k := kinds[service]
	var place any = &placing{}
	if k.elsewhere {
		place = &elsewhere{}
	}
	return append(settings.Variables(prefix(service), k.settings), settings.Variables(prefix(service), place)...)
}
