package connectors

import (
	"context"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/network"
	"cobrowse-bridge/bridge/settings"
)

// addKind adds an invented chat service, whose connectors are copies of c, until the test ends.
func addKind(t *testing.T, service string, c chat.Connector) {
	c.Read = func(context.Context, chat.Delivery) (chat.Ask, error) { return chat.Ask{}, nil }
	c.Show = func(context.Context, chat.Place, chat.Card) (chat.Ref, error) { return "", nil }
	open := func(_ *settings.Reader, name, _ string, _ bool, _ http.RoundTripper, _ network.Route, _ *slog.Logger) chat.Connector {
		c := c
		c.Name = name
		return c
	}
	kinds[service] = kind{open: open, settings: &struct{}{}}
	t.Cleanup(func() { delete(kinds, service) })
}

func TestAConnectorWhoseCardsCannotBeShownIsAFault(t *testing.T) {
	addKind(t, "wall", chat.Connector{AllShared: true})
	addKind(t, "postcard", chat.Connector{CannotEdit: true, PostsOnce: true})
	addKind(t, "desk", chat.Connector{})
	for _, test := range []struct {
		name, show string
		signsIn    bool
		variable   string   // of the fault; empty if there is none
		says       []string // parts of the fault
	}{
		{name: "desk"},
		{name: "wall", variable: "BRIDGE_CONNECTORS", says: []string{"contains wall, whose cards cannot be shown: several people see it", "let agents sign in"}},
		{name: "wall", signsIn: true},
		{name: "wall", show: "wall:hall", variable: "WALL_SHOW", says: []string{"cannot be wall:hall: several people see it", "let agents sign in"}},
		{name: "postcard", signsIn: true, variable: "BRIDGE_CONNECTORS", says: []string{"contains postcard, whose cards cannot be shown: it can neither edit", "choose a place"}},
	} {
		t.Run(test.name+" "+test.show, func(t *testing.T) {
			t.Setenv(settings.ConnectorPrefix(test.name)+"_SHOW", test.show)
			var r settings.Reader
			Open(&r, "BRIDGE_CONNECTORS", []string{test.name}, test.signsIn, false, nil, network.Route{}, slog.New(slog.DiscardHandler))
			faults := r.Faults()
			if test.variable == "" {
				if len(faults) != 0 {
					t.Errorf("faults %v", faults)
				}
				return
			}
			if len(faults) != 1 || faults[0].Variable != test.variable {
				t.Fatalf("faults %v, want one of %s", faults, test.variable)
			}
			for _, part := range test.says {
				if !strings.Contains(faults[0].Problem, part) {
					t.Errorf("%q does not say %q", faults[0].Problem, part)
				}
			}
		})
	}
}
