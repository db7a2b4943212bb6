package main

import (
	"testing"

	"cobrowse-bridge/bridge/browsertest"
)

// TestDemoInEveryEngine plays the demo up to the customer's screen.
func TestDemoInEveryEngine(t *testing.T) {
	if testing.Short() {
		t.Skip("starts browsers")
	}
	temporary(t)
	for _, engine := range browsertest.Engines {
		t.Run(string(engine), func(t *testing.T) {
			b := browsertest.Start(t, engine)
			origin, _ := startDemo(t)
			b.Open(origin)
			demo := b.Tab()
			b.Click("Start a chat")
			b.NewTab(func() { b.Click("Co-browse") })
			b.See("Who are you?")
			b.Loads(func() { b.Click("Sign in as Robin…") })
			b.Loads(func() { b.Click("Co-browse with Ann Lee") })
			b.See("You are watching Ann Lee")

			b.SwitchTo(demo)
			b.NewTab(func() { b.Click("Co-browse", "Join") }) // as the card says by then
			if engine == browsertest.WebKit {                 // it does not say that a person clicked
				b.Loads(func() { b.Click("Go back to the session") })
			}
			b.See("You are watching Ann Lee")
		})
	}
}
