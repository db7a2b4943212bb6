package wholetest

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
	"cobrowse-bridge/connectors/chatvisor/rules"
)

// A list is one delivery, and each of its events becomes another one.
func TestAnEndInAListIsPendingUntilTheCardIsClosed(t *testing.T) {
	wantPending := func(w *system, chat string, want int) {
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
	slow := func(w *system, c *bridge.Config) {
		read := c.Connectors[0].Read
		c.Connectors[0].Read = func(ctx context.Context, d chat.Delivery) (chat.Ask, error) {
			ask, err := read(ctx, d)
			if ask.Verb == chat.Close {
				<-time.After(5 * time.Second) // the list is finished by then
				wantPending(w, ask.Chat, 1)
				closes.Add(1)
			}
			return ask, err
		}
	}
	withSystemConfig(t, "all-steps", slow, func(w *system) {
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		w.addVisitor("Ann Silva", "chatvisorext:cust-77", "")
		w.sendHooks(w.Write("c-1", "hello")...)
		w.wantCards("Ann")
		w.stop() // deliveries are stored, but not handled
		body := `[{"customerId":"c-1","status":"DONE"},{"customerId":"c-2","status":"DONE"},{"customerId":"c-3","status":"UNRESOLVED"}]`
		w.post(hookPath(hookSecret, rules.StatusChange), []byte(body), nil)
		wantPending(w, "c-1", 1)
		wantPending(w, "c-2", 1)
		wantPending(w, "c-3", 0)
		w.bridge, w.stop = w.start()
		w.waitFor(time.Minute)
		wantPending(w, "c-1", 0)
		wantPending(w, "c-2", 0)
		w.wantCards("closed")
		if n := closes.Load(); n != 2 {
			w.Errorf("%d ends were read, want 2", n)
		}
	})
}
