package bridge_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/chat"
)

// showInChannel shows the cards of Rocket.Chat's livechats in one of its channels.
var showInChannel = options{config: func(c *bridge.Config) {
	c.Connectors[0].ShowAt = chat.Place{Connector: "rocketchat", Address: "#support-agents"}
}}

func TestALivechatsCardInAChannelOpensForAnySignedInAgent(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
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
		room := o.openChat(withPageKey())
		o.bobTakes(room)
		door := doorAddress.FindStringSubmatch(card("Bob Baker"))[1]
		o.browser().follow(door).want(t, http.StatusSeeOther) // redirects to the sign-in
		eve := o.signedIn("eve")                              // does not serve the chat
		eve.follow(door).wantWatch(t)
		if a := o.upscope.Watches()[0].Body.Agent; a.ID != eveID {
			t.Errorf("Upscope got the agent %+v", a)
		}
		o.chat.Forward(room, "eve")
		o.deliverEvent("LivechatSessionForwarded", room)
		o.pass(time.Second)
		if text := card("Ann"); !strings.Contains(text, "Assigned to") || !strings.Contains(text, "Eve Evans") {
			t.Errorf("the card does not say whose it is: %s", text)
		}
		o.chat.CloseChat(room)
		o.deliverEvent("LivechatSession", room)
		o.pass(time.Second)
		card("closed")
		if len(o.chat.Posts("bob"))+len(o.chat.Posts("eve")) != 0 || !slices.Equal(o.chat.VisitorReads(room), nil) {
			t.Error("something was posted elsewhere")
		}
	}, showInChannel)
}

func TestASharedPlaceNeedsSignInOrSignedPresses(t *testing.T) {
	inWorld(t, func(w *world) {
		c := w.config
		c.Connectors = slices.Clone(c.Connectors)
		showInChannel.config(&c)
		if _, err := bridge.New(c); err == nil || !strings.Contains(err.Error(), "rocketchat:#support-agents") {
			t.Errorf("without sign-in New returns %v", err)
		}
		c.Connectors[0].SignsPresses = true
		if _, err := bridge.New(c); err != nil {
			t.Errorf("with signed presses New returns %v", err)
		}
	})
}
