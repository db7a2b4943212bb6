package rocketchat

import (
	"encoding/json"
	"os"
	"slices"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

// The run has every type of event, every state of a card, a hand-over, a channel, a lost
// answer, a refused edit, checks, a sweep and a command. If BRIDGE_TEST_ROCKETCHAT_REQUESTS
// names a file, the requests are written to it as JSON lines; testdata/schemas/run.sh checks
// them with the vendor's schemas.
func TestRequestsOfAWholeRunAreRecorded(t *testing.T) {
	d := newCommandDesk(t)
	d.AddChannel("support-agents", "bob", "cobrowse")
	d.Say(d.chat, "", "hello")
	states := func(to string) {
		c := exampleCard()
		c.Public = isChannel(to)
		for _, title := range []string{"Searching", "No visitor", "Choose", "Offline", "Ready", "Opened", "Live", "Ended", "Closed", "Failed"} {
			c.Title = title
			c.Ref = d.show(t, to, c)
		}
	}
	for _, kind := range []string{typeStart, typeQueued, typeTaken, typeMessage, typeCapture, typeForward, typeClose} {
		switch kind {
		case typeTaken:
			d.Take(d.chat, "bob")
		case typeForward:
			d.Forward(d.chat, "eve")
		case typeClose:
			d.CloseChat(d.chat)
		}
		if a := d.mustAsk(t, kind); a.Place.Address != "" {
			states(a.Place.Address)
		}
	}
	states("#support-agents")
	lost := exampleCard()
	lost.ID = "lost"
	d.Fail("chat.sendMessage", rocketchattest.Fault{Done: true, Status: 502}, 1)
	d.Fail("chat.update", rocketchattest.Fault{Status: 500}, 1)
	if _, err := d.Show(t.Context(), chat.Place{Address: "bob"}, lost); err == nil {
		t.Error("Show reports no error, although two answers were lost")
	}
	d.RefuseEdits(true)
	lost.Ref = d.show(t, "bob", lost) // finds the post with chat.getMessage
	lost.Title = "Changed"
	d.show(t, "bob", lost) // posts again
	d.Check(t.Context())
	d.CheckPlace(t.Context(), "#support-agents")

	d.Take(d.StartChat(rocketchattest.Visitor{ID: "v2", Username: "guest-8"}), "bob")
	d.StartChat(rocketchattest.Visitor{ID: "v3", Username: "guest-9"})
	var in inbox
	d.mustSweep(t, &in)
	for _, delivery := range in.byKey {
		if _, err := d.Read(t.Context(), delivery); err != nil {
			t.Errorf("a room that the sweep found: %v", err)
		}
	}
	if a, err := d.read(t, d.command(t, d.channel, "bob", "!cobrowse 4821")); err != nil || a.Verb != chat.LookUp {
		t.Errorf("the command: %+v, %v", a, err)
	}

	requests := d.Requests()
	for _, list := range []string{"onhold=true", "queued=true"} {
		if !slices.ContainsFunc(requests, func(r rocketchattest.Request) bool { return strings.Contains(r.Query, list) }) {
			t.Errorf("the run requested no list with %s", list)
		}
	}
	for _, route := range []string{"GET me", "GET users.info", "GET rooms.info", "GET livechat/visitors.info", "GET livechat/rooms",
		"GET livechat/custom-fields", "GET livechat/units", "GET settings.public", "GET livechat/integrations.settings", "GET chat.getMessage", "GET subscriptions.getOne", "GET /api/info", "POST im.create", "POST chat.sendMessage", "POST chat.update"} {
		if !slices.Contains(d.routes(0), route) {
			t.Errorf("the run made no %s", route)
		}
	}
	name := os.Getenv("BRIDGE_TEST_ROCKETCHAT_REQUESTS")
	if name == "" {
		return
	}
	file, err := os.Create(name)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	lines := json.NewEncoder(file)
	for _, r := range requests {
		if err := lines.Encode(r); err != nil {
			t.Fatal(err)
		}
	}
}
