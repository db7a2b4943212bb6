package bridge_test

import (
	"net/http"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope/upscopetest"
)

// pending gives the changes of a chat that wait to be worked on, without their times.
func (w *world) pending(room string) (all []store.PendingChange) {
	w.Helper()
	changes, err := w.store.PendingChanges(w.Context(), "rocketchat", room)
	w.must(err)
	for _, c := range changes {
		if time.Since(c.Received) < 0 || time.Since(c.Received) > time.Hour {
			w.Errorf("a change was received at %v", c.Received)
		}
		all = append(all, store.PendingChange{Closed: c.Closed, Agent: c.Agent})
	}
	return all
}

func (w *world) wantPending(room string, want ...store.PendingChange) {
	w.Helper()
	got := w.pending(room)
	if len(got) != len(want) {
		w.Fatalf("pending: %+v, want %+v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			w.Errorf("pending: %+v, want %+v", got, want)
		}
	}
}

func (w *world) servedBy(room, agent string) {
	w.Helper()
	c, err := w.store.CardOfChat(w.Context(), "rocketchat", room)
	w.must(err)
	if c.Agent != agent {
		w.Errorf("the card is %q's, want %q", c.Agent, agent)
	}
}

func TestAHandOverAndACloseArePendingUntilTheyAreWorkedOn(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		room := w.opens(keyed())
		w.taken(room)
		w.wantPending(room)
		w.chat.Fail("rooms.info", rocketchattest.Fault{Status: http.StatusInternalServerError}, 4)
		w.chat.Forward(room, "eve")
		w.tells("LivechatSessionForwarded", room)
		w.tells("LivechatSessionForwarded", room) // sent again
		w.tells("Message", room)
		w.wantPending(room, store.PendingChange{Agent: "a2"})
		w.pass(time.Second) // the first attempts fail
		w.wantPending(room, store.PendingChange{Agent: "a2"})
		w.chat.CloseChat(room)
		w.tells("LivechatSession", room)
		w.wantPending(room, store.PendingChange{Agent: "a2"}, store.PendingChange{Closed: true})
		w.pass(5 * time.Minute)
		w.wantPending(room)
		w.reads("bob", "Chat closed")
	})
}

func TestAHandOverIsNotPendingThoughItsVisitorIsStillLookedFor(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		w.upscope.Fail(upscopetest.List, upscopetest.Fault{Status: http.StatusServiceUnavailable}, -1)
		room := w.opens(keyed())
		w.taken(room)
		w.wantPending(room)
		w.servedBy(room, "rocketchat:a1")
		w.chat.Forward(room, "eve")
		w.tells("LivechatSessionForwarded", room)
		w.wantPending(room, store.PendingChange{Agent: "a2"})
		w.pass(time.Second)
		w.wantPending(room)
		w.servedBy(room, "rocketchat:a2")
		// An event that came late changes nothing on the card, which is eve's already.
		w.tells("LivechatSessionQueued", room)
		w.wantPending(room, store.PendingChange{})
		w.pass(time.Second)
		w.wantPending(room)
		w.servedBy(room, "rocketchat:a2")
		// None of the deliveries is finished: each goes on looking for the visitor.
		left := 0
		for _, err := range w.store.Backlog(w.Context()) {
			w.must(err)
			left++
		}
		if left != 3 {
			w.Errorf("%d deliveries are not finished, want 3", left)
		}
		w.upscope.Heal()
		w.pass(5 * time.Minute)
		w.reads("eve", "Co-browse with Ann")
	})
}

func TestAChatThatWasTakenIsNotPendingWhileItsVisitorIsNotFound(t *testing.T) {
	inWorld(t, func(w *world) {
		room := w.opens(keyed()) // of a visitor whose page has not told Upscope yet
		w.chat.Take(room, "bob")
		w.tells("LivechatSessionTaken", room)
		w.wantPending(room, store.PendingChange{Agent: "a1"})
		w.pass(500 * time.Millisecond) // the first look is over
		w.wantPending(room)
		w.servedBy(room, "rocketchat:a1")
		w.pass(time.Minute)
		w.wantPending(room)
	})
}

// A service without ids of its conversations names the customer in all of them, and the
// card of the first may be removed before that of the second.
func TestErasingFindsDeliveriesOfALaterConversation(t *testing.T) {
	atCounter(t, func(c *counter) {
		c.hears(false)
		c.hears(true)
		c.hears(false)
		c.want("closed ready")
		c.stop()
		c.sql("DELETE FROM cards WHERE chat = 'cust'")
		_, err := c.store.Accept(c.Context(), store.Delivery{
			Connector: "counter", Key: "waits", Body: []byte(`{"customer":"cust"}`), Changes: []store.ChatChange{{Chat: "cust", Closed: true}},
		}, store.Job{Queue: "counter", Kind: "answer"})
		c.must(err)
		c.erase(bridge.ByShortID, c.visitor, false)
		for b, err := range c.store.Backlog(c.Context()) {
			c.must(err)
			c.Errorf("delivery %s is left", b.Key)
		}
		if all, err := c.store.PendingChanges(c.Context(), "counter", "cust"); err != nil || len(all) > 0 {
			c.Errorf("changes are left: %+v, %v", all, err)
		}
		c.run()
	})
}
