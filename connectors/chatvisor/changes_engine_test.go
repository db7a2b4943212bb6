package chatvisor

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
)

// The list is one delivery, and each of its events becomes another.
func TestAnEndInAListIsPendingUntilTheCardIsClosed(t *testing.T) {
	wantPending := func(w *town, chat string, want int) {
		w.Helper()
		all, err := w.store.PendingChanges(w.Context(), "chatvisor", chat)
		if err != nil || len(all) != want {
			w.Errorf("pending changes of %s: %+v, %v, want %d", chat, all, err, want)
		}
		for _, c := range all {
			if !c.Closed || c.Agent != "" {
				w.Errorf("pending: %+v", c)
			}
		}
	}
	var closes atomic.Int64
	slow := func(w *town, c *bridge.Config) {
		read := c.Connectors[0].Read
		c.Connectors[0].Read = func(ctx context.Context, d bridge.Delivery) (bridge.Ask, error) {
			ask, err := read(ctx, d)
			if ask.Verb == bridge.Close {
				<-time.After(5 * time.Second) // the list is finished by then
				wantPending(w, ask.Chat, 1)
				closes.Add(1)
			}
			return ask, err
		}
	}
	inTownOf(t, "odd", slow, func(w *town) {
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		w.visits("Ann Silva", "chatvisorext:cust-77", "")
		w.calls(w.Write("c-1", "hello")...)
		w.cards("Ann")
		w.stops() // nobody works on what comes
		body := `[{"customerId":"c-1","status":"DONE"},{"customerId":"c-2","status":"DONE"},{"customerId":"c-3","status":"UNRESOLVED"}]`
		w.posts(hookPath(hookSecret, eventStatus), []byte(body), nil)
		wantPending(w, "c-1", 1)
		wantPending(w, "c-2", 1)
		wantPending(w, "c-3", 0)
		w.bridge, w.stops = w.starts()
		w.pass(time.Minute)
		wantPending(w, "c-1", 0)
		wantPending(w, "c-2", 0)
		w.cards("closed")
		if n := closes.Load(); n != 2 {
			w.Errorf("%d closes were read", n)
		}
	})
}
