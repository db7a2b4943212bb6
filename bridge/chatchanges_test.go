package bridge_test

import (
	"net/http"
	"testing"
	"time"

	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope/upscopetest"
)

// pending returns the changes of a chat that are not processed yet, without their times.
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

func (w *world) wantAgent(room, agent string) {
	w.Helper()
	c, err := w.store.CardOfChat(w.Context(), "rocketchat", store.KindChat, room)
	w.must(err)
	if c.Agent != agent {
		w.Errorf("the agent of the card is %q, want %q", c.Agent, agent)
	}
}

func TestAHandOverAndACloseArePendingUntilTheyAreProcessed(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		room := w.openChat(withPageKey())
		w.bobTakes(room)
		w.wantPending(room)
		w.chat.Fail("rooms.info", rocketchattest.Fault{Status: http.StatusInternalServerError}, 4)
		w.chat.Forward(room, "eve")
		w.deliverEvent("LivechatSessionForwarded", room)
		w.deliverEvent("LivechatSessionForwarded", room) // sent again
		w.deliverEvent("Message", room)
		w.wantPending(room, store.PendingChange{Agent: "a2"})
		w.pass(time.Second) // the first attempts fail
		w.wantPending(room, store.PendingChange{Agent: "a2"})
		w.chat.CloseChat(room)
		w.deliverEvent("LivechatSession", room)
		w.wantPending(room, store.PendingChange{Agent: "a2"}, store.PendingChange{Closed: true})
		w.pass(5 * time.Minute)
		w.wantPending(room)
		w.reads("bob", "Chat closed")
	})
}

func TestAHandOverIsProcessedWhileTheVisitorIsStillSearched(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		w.upscope.Fail(upscopetest.List, upscopetest.Fault{Status: http.StatusServiceUnavailable}, -1)
		room := w.openChat(withPageKey())
		w.bobTakes(room)
		w.wantPending(room)
		w.wantAgent(room, "rocketchat:a1")
		w.chat.Forward(room, "eve")
		w.stop() // no job runs before its delivery was looked at
		w.deliverEvent("LivechatSessionForwarded", room)
		w.wantPending(room, store.PendingChange{Agent: "a2"})
		w.run()
		w.pass(time.Second)
		w.wantPending(room)
		w.wantAgent(room, "rocketchat:a2")
		// A late event does not change the card, whose agent is eve already.
		w.stop() // no job runs before its delivery was looked at
		w.deliverEvent("LivechatSessionQueued", room)
		w.wantPending(room, store.PendingChange{})
		w.run()
		w.pass(time.Second)
		w.wantPending(room)
		w.wantAgent(room, "rocketchat:a2")
		// None of the deliveries is finished: each still searches for the visitor.
		unfinished := 0
		for _, err := range w.store.UnfinishedDeliveries(w.Context()) {
			w.must(err)
			unfinished++
		}
		if unfinished != 3 {
			w.Errorf("%d deliveries are not finished, want 3", unfinished)
		}
		w.upscope.Heal()
		w.pass(5 * time.Minute)
		w.reads("eve", "Co-browse with Ann")
	})
}

func TestATakenChatIsNotPendingWhileItsVisitorIsNotFound(t *testing.T) {
	inWorld(t, func(w *world) {
		room := w.openChat(withPageKey()) // Upscope does not know its visitor yet
		w.chat.Take(room, "bob")
		w.stop() // no job runs before its delivery was looked at
		w.deliverEvent("LivechatSessionTaken", room)
		w.wantPending(room, store.PendingChange{Agent: "a1"})
		w.run()
		w.pass(500 * time.Millisecond) // the first search is done
		w.wantPending(room)
		w.wantAgent(room, "rocketchat:a1")
		w.pass(time.Minute)
		w.wantPending(room)
	})
}

// TestErasingFindsDeliveriesOfALaterConversation uses a service whose only id is the
// customer's. The card of the first conversation may be removed before that of the second.
func TestErasingFindsDeliveriesOfALaterConversation(t *testing.T) {
	inCustomerChat(t, func(c *customerChat) {
		c.deliver(false)
		c.deliver(true)
		c.deliver(false)
		c.wantEpisodes("closed ready")
		c.stop()
		c.sql("DELETE FROM cards WHERE chat = 'cust' AND episode = 1")
		_, err := c.store.StoreDelivery(c.Context(), store.Delivery{
			Connector: "customerchat", Key: "waits", Body: []byte(`{"customer":"cust"}`), Changes: []store.ChatChange{{Chat: "cust", Closed: true}},
		}, jobs.Job{Queue: "customerchat", Kind: "answer"})
		c.must(err)
		c.erase(card.ByShortID, c.visitor, false)
		for b, err := range c.store.UnfinishedDeliveries(c.Context()) {
			c.must(err)
			c.Errorf("delivery %s was not erased", b.Key)
		}
		if all, err := c.store.PendingChanges(c.Context(), "customerchat", "cust"); err != nil || len(all) > 0 {
			c.Errorf("changes were not erased: %+v, %v", all, err)
		}
		c.run()
	})
}
