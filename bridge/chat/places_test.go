package chat

import (
	"context"
	"errors"
	"strings"
	"testing"
)

func TestCheckPlaceDependsOnPlaceSignInAndConnector(t *testing.T) {
	t.Parallel()
	show := func(context.Context, Place, Card) (Ref, error) { return "", nil }
	read := func(context.Context, Delivery) (Ask, error) { return Ask{}, nil }
	channels := func(address string) bool { return strings.HasPrefix(address, "#") }
	const signIn, once = "BRIDGE_SIGNIN=oidc or header", "neither edit a post nor post again"
	for _, test := range []struct {
		name    string
		to      Connector
		address string
		signsIn bool
		says    []string // parts of the error; none where the card can be shown
	}{
		{"one agent's place", Connector{Show: show, Shared: channels}, "uma", false, nil},
		{"one agent's place, signed in", Connector{Show: show, Shared: channels}, "uma", true, nil},
		{"no place is shared", Connector{Show: show}, "#team", false, nil},
		{"shared, nobody signs in or signs presses", Connector{Show: show, Shared: channels}, "#team", false, []string{"to:#team", "cannot know who presses", signIn}},
		{"shared, agents sign in", Connector{Show: show, Shared: channels}, "#team", true, nil},
		{"shared, presses are signed", Connector{Show: show, Read: read, Shared: channels, SignsPresses: true}, "#team", false, nil},
		{"shared, presses are signed and not read", Connector{Show: show, Shared: channels, SignsPresses: true}, "#team", false, []string{"to:#team", "does not read the presses", signIn}},
		{"all shared", Connector{Show: show, AllShared: true}, "uma", false, []string{"to:uma", signIn}},
		{"all shared, whatever Shared says", Connector{Show: show, AllShared: true, Shared: channels}, "uma", false, []string{"to:uma", signIn}},
		{"all shared, address unknown", Connector{Show: show, AllShared: true}, "", false, []string{"any place of to", signIn}},
		{"some shared, address unknown", Connector{Show: show, Shared: func(string) bool { return true }}, "", false, nil},
		{"all shared, agents sign in", Connector{Show: show, AllShared: true}, "uma", true, nil},
		{"cannot edit", Connector{Show: show, CannotEdit: true}, "uma", false, nil},
		{"posts once, and can edit", Connector{Show: show, PostsOnce: true}, "uma", false, nil},
		{"can neither edit nor post again", Connector{Show: show, CannotEdit: true, PostsOnce: true}, "uma", true, []string{"any place of to", once, "choose a place"}},
		{"shows nothing", Connector{Read: read}, "secret-address", true, []string{"any place of to", "shows no cards", "choose a place"}},
	} {
		err := CheckPlace(map[string]Connector{"from": {}, "to": test.to}, "from", Place{Connector: "to", Address: test.address}, test.signsIn)
		if len(test.says) == 0 {
			if err != nil {
				t.Errorf("%s: %v", test.name, err)
			}
			continue
		}
		pe, ok := errors.AsType[*PlaceError](err)
		if !ok || pe.Connector != "from" || pe.Problem == "" || pe.Remedy == "" {
			t.Errorf("%s: got %#v", test.name, err)
			continue
		}
		for _, says := range append(test.says, "connector from") {
			if !strings.Contains(err.Error(), says) {
				t.Errorf("%s: %q does not say %q", test.name, err, says)
			}
		}
		if strings.Contains(err.Error(), "secret-address") {
			t.Errorf("%s: %q names the address, which may be secret", test.name, err)
		}
	}
}

func TestCheckPlacesReportsFaultsBeforeTheFirstAsk(t *testing.T) {
	t.Parallel()
	show := func(context.Context, Place, Card) (Ref, error) { return "", nil }
	read := func(context.Context, Delivery) (Ask, error) { return Ask{}, nil }
	at := func(connector, address string) Place { return Place{Connector: connector, Address: address} }
	for _, test := range []struct {
		name    string
		all     map[string]Connector
		signsIn bool
		faults  int
	}{
		{"each ask names its place", map[string]Connector{"a": {Read: read, Show: show, Shared: func(string) bool { return true }}}, false, 0},
		{"all of them are shared", map[string]Connector{"a": {Read: read, Show: show, AllShared: true}}, false, 1},
		{"all of them are shared, and agents sign in", map[string]Connector{"a": {Read: read, Show: show, AllShared: true}}, true, 0},
		{"it reads no deliveries", map[string]Connector{"a": {Show: show, AllShared: true}}, false, 0},
		{"its cards are shown elsewhere", map[string]Connector{"a": {Read: read, Show: show, AllShared: true, ShowAt: at("b", "x")}, "b": {Show: show}}, false, 0},
		{"its cards are shown at a shared place", map[string]Connector{"a": {Read: read, ShowAt: at("b", "x")}, "b": {Show: show, AllShared: true}}, false, 1},
		{"its cards go to a connector that does not exist", map[string]Connector{"a": {Read: read, ShowAt: at("b", "x")}}, true, 1},
		{"it can neither edit nor post again", map[string]Connector{"a": {Read: read, Show: show, CannotEdit: true, PostsOnce: true}}, true, 1},
		{"two are wrong", map[string]Connector{"a": {Read: read, Show: show, AllShared: true}, "b": {Read: read, ShowAt: at("c", "x")}}, false, 2},
	} {
		if faults := CheckPlaces(test.all, test.signsIn); len(faults) != test.faults {
			t.Errorf("%s: got %q, want %d faults", test.name, faults, test.faults)
		}
	}
}
