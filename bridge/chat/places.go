package chat

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
)

// A PlaceError says why a connector's cards cannot be shown at a place.
type PlaceError struct {
	// Connector is the name of the connector that asked for the cards.
	Connector string
	// Place is where the cards should appear. An empty Address means every place of
	// Place.Connector.
	Place Place
	// Problem says what is missing, and Remedy what the operator can do about it.
	Problem, Remedy string
}

// Error names the connector, the place, what is missing and the remedy.
func (e *PlaceError) Error() string {
	at := "any place of " + e.Place.Connector
	if e.Place.Address != "" {
		at = e.Place.String()
	}
	return fmt.Sprintf("connector %s cannot show its cards at %s: %s; %s", e.Connector, at, e.Problem, e.Remedy)
}

// CheckPlace returns a *PlaceError if cards of the connector from cannot be shown at the place
// at, and nil if they can. An empty at.Connector means from, and an empty at.Address an unknown
// address. signsIn says that agents sign in at the bridge.
//
// The bridge checks the configured places at its start, and the place of each Ask.
func CheckPlace(connectors map[string]Connector, from string, at Place, signsIn bool) error {
	if e := checkPlace(connectors, from, at, signsIn); e != nil {
		return e
	}
	return nil
}

func checkPlace(connectors map[string]Connector, from string, at Place, signsIn bool) *PlaceError {
	at.Connector = cmp.Or(at.Connector, from)
	to, known := connectors[at.Connector]
	fault := func(at Place, problem, remedy string) *PlaceError { return &PlaceError{from, at, problem, remedy} }
	const elsewhere = "choose a place of a connector that can"
	// The address may be secret, so errors about every place of a connector leave it out.
	all := Place{Connector: at.Connector}
	shared := to.AllShared || at.Address != "" && to.IsShared(at.Address)
	switch {
	case !known:
		return fault(all, "there is no such connector", "configure it, or name one of the configured connectors")
	case to.Show == nil:
		return fault(all, "it shows no cards", elsewhere)
	case to.CannotEdit && to.PostsOnce:
		return fault(all, "it can neither edit a post nor post again, so its cards could never say that a chat is over", elsewhere)
	case !shared || signsIn:
		return nil
	case !to.SignsPresses:
		return fault(at, "several people see it, and without sign-in the bridge cannot know who presses",
			"let agents sign in, with BRIDGE_SIGNIN=oidc or header, or use a place whose service tells the bridge who presses, such as a channel of Slack")
	case to.Read == nil:
		return fault(at, "several people see it, and the connector does not read the presses that its service signs",
			"let agents sign in, with BRIDGE_SIGNIN=oidc or header, or choose another place")
	}
	return nil
}

// CheckPlaces returns an error for each configured place at which cards cannot be shown. It
// checks each ShowAt. For a connector without ShowAt, it reports what is wrong with all of that
// connector's own places. signsIn says that agents sign in at the bridge.
func CheckPlaces(connectors map[string]Connector, signsIn bool) (faults []*PlaceError) {
	for _, name := range slices.Sorted(maps.Keys(connectors)) {
		c := connectors[name]
		at := c.ShowAt
		if at == (Place{}) {
			if c.Read == nil || c.Show == nil {
				continue // it asks for no cards, or shows none
			}
			at = Place{Connector: name}
		}
		if e := checkPlace(connectors, name, at, signsIn); e != nil {
			faults = append(faults, e)
		}
	}
	return faults
}
