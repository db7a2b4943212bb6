// Package connectors lists the supported chat services and opens their connectors from the
// settings. Open this file first.
package connectors

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/network"
	"cobrowse-bridge/bridge/settings"
	"cobrowse-bridge/connectors/chatvisor"
	"cobrowse-bridge/connectors/rest"
	"cobrowse-bridge/connectors/rocketchat"
	"cobrowse-bridge/connectors/slack"
)

// A kind is one supported chat service.
type kind struct {
	// open makes a connector from the variables that begin with prefix. emails says that customers
	// may be looked up by their e-mail address.
	open     func(r *settings.Reader, name, prefix string, emails bool, transport http.RoundTripper, route network.Route, log *slog.Logger) chat.Connector
	settings any // a pointer to the struct of these variables
	// needsShow says that the service has no place for cards, so that _SHOW is required.
	needsShow bool
}

var kinds = map[string]kind{
	"chatvisor":  {withoutEmails(chatvisor.Open), &chatvisor.Settings{}, true},
	"rocketchat": {withoutEmails(rocketchat.Open), &rocketchat.Settings{}, false},
	"slack":      {slack.Open, &slack.Settings{}, false},
}

// withoutEmails adapts the Open of a service whose texts do not offer look-ups by e-mail address.
func withoutEmails(open func(*settings.Reader, string, string, http.RoundTripper, network.Route, *slog.Logger) chat.Connector) func(*settings.Reader, string, string, bool, http.RoundTripper, network.Route, *slog.Logger) chat.Connector {
	return func(r *settings.Reader, name, prefix string, _ bool, transport http.RoundTripper, route network.Route, log *slog.Logger) chat.Connector {
		return open(r, name, prefix, transport, route, log)
	}
}

// showSetting is the setting that every connector has beside its own.
type showSetting struct {
	Show string `split_words:"true" desc:"channel that shows this service's cards, such as slack:C0123456789 or rocketchat:#support-agents; empty: in the same chat service, to the agent who asked or serves the chat"`
}

// proxySetting is another setting that every connector has.
type proxySetting struct {
	Proxy string `split_words:"true" desc:"proxy for calls to this service: http://…, https://…, socks5://… or direct; empty: HTTPS_PROXY and NO_PROXY"`
}

// requiredShow is showSetting for a service that has no place for cards.
type requiredShow struct {
	Show string `split_words:"true" need:"yes" desc:"channel that shows this service's cards, such as slack:C0123456789 or rocketchat:#support-agents"`
}

// Names returns the names of the supported chat services, sorted.
func Names() []string {
	var names []string
	for name := range kinds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// IsName reports whether a connector can have the name: that of a chat service, with or
// without a suffix.
func IsName(name string) bool {
	_, supported := kinds[service(name)]
	return supported && nameForm.MatchString(name)
}

// service returns the chat service of a connector's name.
func service(name string) string {
	service, _, _ := strings.Cut(name, "-")
	return service
}

// nameForm is the form of a connector's name. The name is part of addresses and queue names.
var nameForm = regexp.MustCompile(`^[a-z]+(-[a-z0-9]+)*$`)

// Open opens the named connectors. A name is the name of a chat service, with or without
// a suffix that the operator chooses: "rocketchat-emea" is a second Rocket.Chat, and its
// variables begin with ROCKETCHAT_EMEA_. variable is the setting that holds the names.
// signsIn says that agents sign in at the bridge, emails that they may look customers up by e-mail
// address. calls counts the requests to the services. route is how they leave this machine, unless a
// connector has another proxy. Open reports every fault to r.
func Open(r *settings.Reader, variable string, names []string, signsIn, emails bool, calls rest.Counter, route network.Route, log *slog.Logger) []chat.Connector {
	var all []chat.Connector
	before := len(r.Faults())
	for i, name := range names {
		k := kinds[service(name)]
		switch {
		case !IsName(name):
			meant, question := intended(name), ""
			if meant != "" {
				question = " (did you mean " + meant + "?)"
			}
			r.AddFault(variable, fmt.Sprintf("contains an unknown connector in position %d%s: write %s, in lower case, also with a suffix such as rocketchat-emea", i+1, question, strings.Join(Names(), ", ")))
			skipSettings(r, meant, names)
			continue
		case slices.Contains(names[:i], name):
			r.AddFault(variable, "contains "+name+" twice")
			continue
		}
		prefix := settings.ConnectorPrefix(name)
		var p proxySetting
		r.Group(prefix, &p)
		own := route.Through(r.Proxy(prefix+"_PROXY", p.Proxy))
		transport := rest.Upstream(name, own.Transport(rest.NewTransport()), calls, log)
		c := k.open(r, name, prefix, emails, transport, own, log)
		c.Check = withClock(c, transport)
		c.ShowAt = k.shownAt(r, settings.ConnectorPrefix(name), names)
		all = append(all, c)
	}
	for _, service := range Names() {
		for _, v := range Variables(service) {
			r.NoEffect(v.Name, variable+" does not name "+service+": add it there, or remove this setting")
		}
	}
	for setting, name := range missing(names) {
		r.NoEffect(setting, variable+" does not name "+name+": add it there, or remove this setting")
	}
	if len(r.Faults()) > before {
		return all // a connector with faults does not say which places it has
	}
	byName, faulty := map[string]chat.Connector{}, map[string]bool{}
	for _, c := range all {
		byName[c.Name] = c
	}
	for _, c := range all {
		if to, ok := byName[c.ShowAt.Connector]; ok && !to.IsShared(c.ShowAt.Address) {
			r.AddFault(settings.ConnectorPrefix(c.Name)+"_SHOW", "must be a channel: of Slack by its id, such as slack:C0123456789, or of Rocket.Chat by its name, such as rocketchat:#support-agents")
			faulty[c.Name] = true
		}
	}
	for _, e := range chat.CheckPlaces(byName, signsIn) {
		switch at := byName[e.Connector].ShowAt; {
		case faulty[e.Connector]: // one fault is enough
		case at == (chat.Place{}):
			r.AddFault(variable, fmt.Sprintf("contains %s, whose cards cannot be shown: %s; %s", e.Connector, e.Problem, e.Remedy))
		default:
			r.AddFault(settings.ConnectorPrefix(e.Connector)+"_SHOW", fmt.Sprintf("cannot be %s: %s; %s", at, e.Problem, e.Remedy))
		}
	}
	return all
}

// missing returns the variables that are settings of a connector with a suffix which names does not
// contain, such as ROCKETCHAT_EMEA_URL, each with the connector.
func missing(names []string) map[string]string {
	found := map[string]string{}
	for _, pair := range os.Environ() {
		name, _, _ := strings.Cut(pair, "=")
		name = strings.TrimSuffix(name, "_FILE")
		for _, service := range Names() {
			after, ours := strings.CutPrefix(name, settings.ConnectorPrefix(service)+"_")
			if !ours {
				continue
			}
			for _, v := range Variables(service) {
				suffix, ends := strings.CutSuffix(after, strings.TrimPrefix(v.Name, settings.ConnectorPrefix(service)))
				connector := service + "-" + strings.ToLower(strings.ReplaceAll(suffix, "_", "-"))
				if ends && IsName(connector) && !slices.Contains(names, connector) {
					found[name] = connector
				}
			}
		}
	}
	return found
}

// intended returns the connector that a misspelt name probably means, or "".
func intended(name string) string {
	name = strings.NewReplacer("_", "-", " ", "-").Replace(strings.ToLower(name))
	service, suffix, _ := strings.Cut(name, "-")
	if meant := settings.Nearest(name, Names()); meant != "" {
		return meant
	}
	meant := settings.Nearest(service, Names()) + "-" + suffix
	if !IsName(meant) {
		return ""
	}
	return meant
}

// skipSettings makes r pass over the settings of the connector that a misspelt name means. If that
// is not known, they may be those of any service that names does not contain.
func skipSettings(r *settings.Reader, meant string, names []string) {
	if meant != "" {
		r.Skip(settings.ConnectorPrefix(meant) + "_")
		return
	}
	for _, service := range Names() {
		if !slices.Contains(names, service) {
			r.Skip(settings.ConnectorPrefix(service) + "_")
		}
	}
}

// shownAt reads where the operator wants a connector's cards. It returns the zero Place if
// the setting is empty or has a fault.
func (k kind) shownAt(r *settings.Reader, prefix string, names []string) chat.Place {
	var p showSetting
	if k.needsShow {
		r.Group(prefix, (*requiredShow)(&p))
	} else {
		r.Group(prefix, &p)
	}
	if p.Show == "" {
		return chat.Place{}
	}
	name, address, ok := strings.Cut(p.Show, ":")
	switch {
	case !ok || address == "" || !nameForm.MatchString(name):
		r.AddFault(prefix+"_SHOW", "must be connector:address, such as slack:C0123456789")
		return chat.Place{}
	case !slices.Contains(names, name):
		r.AddFault(prefix+"_SHOW", "names "+name+", which is not in BRIDGE_CONNECTORS: add it there")
		return chat.Place{}
	}
	return chat.Place{Connector: name, Address: address}
}

// Prefixes returns the prefixes of the variables of all chat services, such as "SLACK_".
func Prefixes() []string {
	var all []string
	for _, name := range Names() {
		all = append(all, settings.ConnectorPrefix(name)+"_")
	}
	return all
}

// Variables returns the variables of a chat service, with its name as their prefix.
func Variables(service string) []settings.Variable {
	k := kinds[service]
	var place any = &showSetting{}
	if k.needsShow {
		place = &requiredShow{}
	}
	prefix := settings.ConnectorPrefix(service)
	return slices.Concat(settings.Variables(prefix, k.settings), settings.Variables(prefix, place), settings.Variables(prefix, &proxySetting{}))
}

// withClock returns the Check of a connector that also compares this machine's clock with the service's,
// unless the connector does that itself.
func withClock(c chat.Connector, transport http.RoundTripper) func(context.Context) []chat.Finding {
	check := c.Check
	if check == nil {
		return nil
	}
	return func(ctx context.Context) []chat.Finding {
		found := check(ctx)
		if slices.ContainsFunc(found, func(f chat.Finding) bool { return strings.HasSuffix(f.Code, ".clock") }) {
			return found
		}
		if ahead, ok := rest.ClockAhead(transport); ok && ahead.Abs() > rest.ClockTolerance {
			found = append(found, chat.Finding{Code: "chat.clock",
				Warning: "This machine's clock is " + rest.ClockDifference(ahead) + " that of " + cmp.Or(c.Title, c.Name) + ".",
				Remedy:  "Set the clock of this machine, for instance with NTP. Chats and cards work, but times in them and in the audit log are wrong."})
		}
		return found
	}
}
