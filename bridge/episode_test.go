package bridge_test

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/upscope/upscopetest"
)

// A customerEvent is an event of a customerChat: the customer wrote, or an agent ended the conversation.
type customerEvent struct {
	N    int // makes each event unique
	Done bool
}

// A customerChat is a chat service that has ids of customers only, none of conversations.
type customerChat struct {
	*world
	slow atomic.Bool // whether reading an event has to be retried
	n    int         // events so far
}

// inCustomerChat runs a test in a world with a customerChat. All its events are of the customer "cust".
func inCustomerChat(t *testing.T, test func(c *customerChat)) {
	c := &customerChat{}
	conn := chat.Connector{
		Name: "customerchat",
		Accept: func(_ *http.Request, body []byte) (chat.Receipt, error) {
			var l customerEvent
			err := json.Unmarshal(body, &l)
			return chat.Receipt{Key: fmt.Sprint(l.N)}, err
		},
		Read: func(_ context.Context, d chat.Delivery) (chat.Ask, error) {
			var l customerEvent
			if err := json.Unmarshal(d.Body, &l); err != nil {
				return chat.Ask{}, chat.Permanent(err)
			}
			if l.Done {
				return chat.Ask{Verb: chat.Close, Chat: "cust"}, nil
			}
			if c.slow.Load() {
				return chat.Ask{}, chat.RetryAfter(errors.New("the customer is not known yet"), 5*time.Second)
			}
			return chat.Ask{
				Verb: chat.Start, Chat: "cust", New: true, Agent: chat.Agent{ID: "team", Name: "Team"},
				Clues: chat.Clues{IntegrationIDs: []string{"rocketchat:" + pageKey}},
			}, nil
		},
	}
	inWorld(t, func(w *world) {
		c.world = w
		w.ann()
		test(c)
	}, options{config: func(config *bridge.Config) { config.Connectors = append(config.Connectors, conn) }})
}

func (c *customerChat) deliver(done bool) {
	c.Helper()
	c.n++
	body, err := json.Marshal(customerEvent{c.n, done})
	c.must(err)
	c.post("/hooks/customerchat", body, http.Header{}).want(c, http.StatusOK)
	c.pass(2 * time.Second)
}

// episodes returns the states of the customer's cards, oldest first.
func (c *customerChat) episodes() string {
	c.Helper()
	var all []string
	cards, err := c.store.Cards(c.Context(), "")
	c.must(err)
	slices.SortFunc(cards, func(a, b store.Card) int { return cmp.Compare(a.Episode, b.Episode) })
	for _, card := range cards {
		if card.Chat == "cust" {
			all = append(all, card.State)
		}
	}
	return strings.Join(all, " ")
}

func (c *customerChat) wantEpisodes(episodes string) {
	c.Helper()
	if got := c.episodes(); got != episodes {
		c.Errorf("the states of the cards are %q, want %q", got, episodes)
	}
}

func TestANewConversationGetsItsOwnCard(t *testing.T) {
	inCustomerChat(t, func(c *customerChat) {
		c.deliver(false)
		c.deliver(false)
		c.wantEpisodes("ready")
		c.deliver(true)
		c.wantEpisodes("closed")
		c.deliver(false)
		c.wantEpisodes("closed ready")
		c.deliver(true)
		c.deliver(false)
		c.wantEpisodes("closed closed ready")
	})
}

func TestAConversationWhoseEndIsProcessedFirstGetsNoCard(t *testing.T) {
	inCustomerChat(t, func(c *customerChat) {
		c.deliver(false)
		c.deliver(true)
		c.slow.Store(true)
		c.deliver(false) // is retried
		c.deliver(true)  // is processed first
		c.slow.Store(false)
		c.pass(time.Minute)
		c.wantEpisodes("closed")
		c.deliver(false)
		c.wantEpisodes("closed ready")
	})
}

func TestAConversationThatEndsDuringItsSearchGetsNoCard(t *testing.T) {
	inCustomerChat(t, func(c *customerChat) {
		c.deliver(false)
		c.deliver(true)
		c.pass(time.Minute)
		c.upscope.Fail(upscopetest.List, upscopetest.Fault{Delay: 5 * time.Second}, 1)
		c.deliver(false) // its customer is being searched
		c.deliver(true)
		c.pass(time.Minute)
		c.wantEpisodes("closed")
		c.deliver(false)
		c.wantEpisodes("closed ready")
	})
}

func TestAConversationIsNotLostIfTheOneBeforeClosesLate(t *testing.T) {
	inCustomerChat(t, func(c *customerChat) {
		c.deliver(false)
		c.stop() // no job runs
		c.n++
		for _, done := range []bool{true, false} {
			body, err := json.Marshal(customerEvent{c.n, done})
			c.must(err)
			c.post("/hooks/customerchat", body, http.Header{}).want(c, http.StatusOK)
			c.n++
			<-time.After(time.Second)
		}
		<-time.After(time.Minute)
		c.run()
		c.pass(time.Minute)
		// The two can be processed in either order; the customer has an open card in both.
		if got := c.episodes(); got != "closed ready" && got != "ready" {
			t.Errorf("the states of the cards are %q", got)
		}
	})
}
