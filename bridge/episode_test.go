package bridge_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/upscope/upscopetest"
)

// A line is what a service tells that has no ids of its conversations: that the
// customer wrote, or that an agent is done.
type line struct {
	N    int // so that no two are alike
	Done bool
}

// A counter is such a service, which can be slow to say more.
type counter struct {
	*world
	slow atomic.Bool
	n    int
}

// atCounter runs a test in a world with a counter.
func atCounter(t *testing.T, test func(c *counter)) {
	c := &counter{}
	conn := bridge.Connector{
		Name: "counter",
		Accept: func(_ *http.Request, body []byte) (bridge.Receipt, error) {
			var l line
			err := json.Unmarshal(body, &l)
			return bridge.Receipt{Key: fmt.Sprint(l.N)}, err
		},
		Read: func(_ context.Context, d bridge.Delivery) (bridge.Ask, error) {
			var l line
			if err := json.Unmarshal(d.Body, &l); err != nil {
				return bridge.Ask{}, bridge.Permanent(err)
			}
			if l.Done {
				return bridge.Ask{Verb: bridge.Close, Chat: "cust"}, nil
			}
			if c.slow.Load() {
				return bridge.Ask{}, bridge.RetryAfter(errors.New("who it is cannot be said yet"), 5*time.Second)
			}
			return bridge.Ask{
				Verb: bridge.Start, Chat: "cust", New: true, Agent: bridge.Agent{ID: "team", Name: "Team"},
				Clues: bridge.Clues{IntegrationIDs: []string{"rocketchat:" + pageKey}},
			}, nil
		},
	}
	inWorld(t, func(w *world) {
		c.world = w
		w.ann()
		test(c)
	}, options{config: func(config *bridge.Config) { config.Connectors = append(config.Connectors, conn) }})
}

func (c *counter) hears(done bool) {
	c.Helper()
	c.n++
	body, err := json.Marshal(line{c.n, done})
	c.must(err)
	c.post("/hooks/counter", body, http.Header{}).want(c, http.StatusOK)
	c.pass(2 * time.Second)
}

// episodes are the states of the customer's conversations.
func (c *counter) episodes() string {
	c.Helper()
	var all []string
	for _, chat := range []string{"cust", "cust#2", "cust#3"} {
		if card, err := c.store.CardOfChat(c.Context(), "counter", chat); err == nil {
			all = append(all, card.State)
		}
	}
	return strings.Join(all, " ")
}

func (c *counter) want(episodes string) {
	c.Helper()
	if got := c.episodes(); got != episodes {
		c.Errorf("the conversations are %q, want %q", got, episodes)
	}
}

func TestAConversationThatBeginsAnewHasACardOfItsOwn(t *testing.T) {
	atCounter(t, func(c *counter) {
		c.hears(false)
		c.hears(false)
		c.want("ready")
		c.hears(true)
		c.want("closed")
		c.hears(false)
		c.want("closed ready")
		c.hears(true)
		c.hears(false)
		c.want("closed closed ready")
	})
}

func TestTheEndOfAConversationCountsThoughItWasWorkedOnFirst(t *testing.T) {
	atCounter(t, func(c *counter) {
		c.hears(false)
		c.hears(true)
		c.slow.Store(true)
		c.hears(false) // waits
		c.hears(true)  // and is over before it was read
		c.slow.Store(false)
		c.pass(time.Minute)
		c.want("closed")
		c.hears(false)
		c.want("closed ready")
	})
}

func TestAConversationThatEndsWhileItBeginsIsOver(t *testing.T) {
	atCounter(t, func(c *counter) {
		c.hears(false)
		c.hears(true)
		c.pass(time.Minute)
		c.upscope.Fail(upscopetest.List, upscopetest.Fault{Delay: 5 * time.Second}, 1)
		c.hears(false) // and its customer is being looked for
		c.hears(true)
		c.pass(time.Minute)
		c.want("closed")
		c.hears(false)
		c.want("closed ready")
	})
}

func TestAConversationIsNotLostThoughTheOneBeforeWasClosedLate(t *testing.T) {
	atCounter(t, func(c *counter) {
		c.hears(false)
		c.stop() // nobody works on what comes
		c.n++
		for _, done := range []bool{true, false} {
			body, err := json.Marshal(line{c.n, done})
			c.must(err)
			c.post("/hooks/counter", body, http.Header{}).want(c, http.StatusOK)
			c.n++
			<-time.After(time.Second)
		}
		<-time.After(time.Minute)
		c.run()
		c.pass(time.Minute)
		// Whichever of the two was worked on first, the customer has a card.
		if got := c.episodes(); got != "closed ready" && got != "ready" {
			t.Errorf("the conversations are %q", got)
		}
	})
}
