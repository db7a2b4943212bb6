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
	useTempFolder(t)
	for _, engine := range browsertest.Engines {
		t.Run(string(engine), func(t *testing.T) {
			b := browsertest.Start(t, engine)
			origin, _ := startDemo(t)
			b.Open(origin)
			demo := b.Tab()
			b.Click("Start a chat")
			b.NewTab(func() { b.Click("Co-browse") })
			b.WaitForText("Who are you?")
			b.WaitForLoad(func() { b.Click("Sign in as Robin…") })
			b.WaitForLoad(func() { b.Click("Co-browse with Ann Lee") })
			b.WaitForText("You are watching Ann Lee")

			b.SwitchTo(demo)
			b.NewTab(func() { b.Click("Open again", "Go to session") }) // the card may say either
			if engine == browsertest.WebKit {                           // it sends no Sec-Fetch-User
				b.WaitForLoad(func() { b.Click("Go to session") })
			}
			b.WaitForText("You are watching Ann Lee")
		})
	}
}
