package bridge_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
)

// inTheChannel shows the cards of Rocket.Chat's livechats in a channel there.
var inTheChannel = options{config: func(c *bridge.Config) {
	c.Connectors[0].ShowAt = bridge.Place{Connector: "rocketchat", Address: "#support-agents"}
}}

func TestALivechatsCardInAChannelOpensForWhoeverIsSignedIn(t *testing.T) {
	inOffice(t, "", func(o *office) {
		o.ann()
		group := o.chat.AddChannel("support-agents", "bob", "eve", "cobrowse")
		card := func(says string) string {
			t.Helper()
			posts := o.chat.PostsIn(group)
			if len(posts) != 1 || !strings.Contains(posts[0].Text, says) {
				t.Fatalf("the channel does not read %q: %+v", says, posts)
			}
			return posts[0].Text
		}
		room := o.opens(keyed())
		o.taken(room)
		door := doorAddress.FindStringSubmatch(card("Ann"))[1]
		o.browser().follow(door).want(t, http.StatusSeeOther) // to the sign-in
		eve := o.at("eve")                                    // who does not serve the chat
		eve.follow(door).wantWatch(t)
		if a := o.upscope.Watches()[0].Body.Agent; a.ID != eveID {
			t.Errorf("Upscope is told %+v", a)
		}
		o.chat.Forward(room, "eve")
		o.tells("LivechatSessionForwarded", room)
		o.pass(time.Second)
		card("Ann")
		o.chat.CloseChat(room)
		o.tells("LivechatSession", room)
		o.pass(time.Second)
		card("closed")
		if len(o.chat.Posts("bob"))+len(o.chat.Posts("eve")) != 0 || !slices.Equal(o.chat.VisitorReads(room), nil) {
			t.Error("something was posted elsewhere")
		}
	}, inTheChannel)
}

func TestAPlaceWhereNobodyKnowsWhoPressesNeedsASignIn(t *testing.T) {
	inWorld(t, func(w *world) {
		c := w.config
		c.Connectors = slices.Clone(c.Connectors)
		inTheChannel.config(&c)
		if _, err := bridge.New(c); err == nil || !strings.Contains(err.Error(), "rocketchat:#support-agents unless agents sign in") {
			t.Errorf("where nobody signs in: %v", err)
		}
		c.Connectors[0].SignsPresses = true
		if _, err := bridge.New(c); err != nil {
			t.Errorf("where the service signs presses: %v", err)
		}
	})
}
