package wholetest

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/connectors/chatvisor"
	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
	"cobrowse-bridge/connectors/chatvisor/rules"
)

func TestASweepFindsLostConversationsAndClosesNone(t *testing.T) {
	withSystem(t, "all-steps\nsweep: {interval: 60s}\n", func(w *system) {
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		w.addVisitor("Ann Silva", "chatvisorext:cust-77", "")
		w.Write("c-1", "hello") // its webhooks are lost
		w.waitFor(70 * time.Second)
		w.wantCards("Ann")
		w.SetStatus("c-1", chatvisortest.Done)
		w.waitFor(5 * time.Minute)
		if posts := w.slack.Channel("C1"); len(posts) != 1 || strings.Contains(posts[0].Text, "closed") {
			t.Errorf("the sweep closed a card: %+v", posts)
		}
	})
}

// countRequests counts the requests for customers, without the first since requests, and
// returns the times of those for the list.
func (w *system) countRequests(since int) (reads int, lists []time.Time) {
	for _, r := range w.Requests()[since:] {
		switch {
		case strings.HasSuffix(r.Path, "/card"):
			reads++
		case strings.HasSuffix(r.Path, "/talks"):
			lists = append(lists, r.At)
		}
	}
	return reads, lists
}

func TestASweepSkipsConversationsKnownFromWebhooks(t *testing.T) {
	withSystem(t, "all-steps\nsweep: {interval: 60s}\n", func(w *system) {
		w.waitFor(10 * time.Second) // the first sweep has ended
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		w.addVisitor("Ann Silva", "chatvisorext:cust-77", "")
		w.sendHooks(w.Write("c-1", "hello")...)
		w.waitFor(10 * time.Second)
		w.sendHooks(w.Write("c-1", "are you there?")...)
		w.waitFor(10 * time.Second)
		before := len(w.Requests())
		w.waitFor(6 * time.Minute)
		if reads, lists := w.countRequests(before); reads != 0 || len(lists) < 5 {
			w.Errorf("%d customers were read in %d sweeps though no webhook was lost", reads, len(lists))
		}
		w.wantCards("Ann")
	})
}

func TestAnOldConversationGetsACardOnlyIfItsCustomerIsOnline(t *testing.T) {
	withSystemAfter(t, "all-steps\nsweep: {interval: 60s}\n", func(w *system) {
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-1", Name: "Ann"})
		w.AddCustomer(chatvisortest.Customer{ID: "c-2", ExternalID: "cust-2", Name: "Ben"})
		w.AddCustomer(chatvisortest.Customer{ID: "c-3", ExternalID: "cust-3", Name: "Cleo"})
		w.addVisitor("Ann Silva", "chatvisorext:cust-1", "")
		w.upscope.Go(w.addVisitor("Ben Stone", "chatvisorext:cust-2", ""))
		for _, c := range []string{"c-1", "c-2", "c-3"} {
			w.Write(c, "hello") // long before the bridge runs
		}
	}, func(w *system) {
		w.waitFor(3 * time.Minute)
		w.wantCards("Ann")
		w.sendHooks(w.Write("c-2", "anybody?")...) // a webhook always makes a card
		w.wantCards("Ann", "Ben")
	})
}

// A change of status begins no conversation, so the sweep must still find it.
func TestAStatusChangeDoesNotHideALostConversation(t *testing.T) {
	withSystem(t, "all-steps\nsweep: {interval: 60s}\n", func(w *system) {
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		w.addVisitor("Ann Silva", "chatvisorext:cust-77", "")
		w.sendHooks(w.Write("c-1", "hello")...)
		w.sendHooks(w.SetStatus("c-1", chatvisortest.Done)...)
		w.waitFor(2 * time.Minute)
		for _, h := range w.Write("c-1", "it is me again") {
			if h.Event == rules.StatusChange {
				w.sendHooks(h) // the others are lost
			}
		}
		w.waitFor(2 * time.Minute)
		w.wantCards("closed", "Ann")
	})
}

func TestAnAgentWhoReopensAConversationGetsNoNewCard(t *testing.T) {
	withSystem(t, "all-steps\nsweep: {interval: 60s}\n", func(w *system) {
		w.waitFor(10 * time.Second)
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		w.addVisitor("Ann Silva", "chatvisorext:cust-77", "")
		w.sendHooks(w.Write("c-1", "hello")...)
		w.sendHooks(w.SetStatus("c-1", chatvisortest.Done)...)
		w.waitFor(3 * time.Minute) // the store no longer has the sweep key
		w.sendHooks(w.SetStatus("c-1", chatvisortest.Unresolved)...)
		w.waitFor(3 * time.Minute)
		w.wantCards("closed")
		// Only a message of the customer begins another, which the sweep finds.
		w.Write("c-1", "one more thing")
		w.waitFor(2 * time.Minute)
		w.wantCards("closed", "Ann")
	})
}

func TestALostConversationThatAnAgentAnsweredGetsACard(t *testing.T) {
	withSystem(t, "all-steps\nsweep: {interval: 60s}\n", func(w *system) {
		w.waitFor(10 * time.Second)
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		w.addVisitor("Ann Silva", "chatvisorext:cust-77", "")
		w.Write("c-1", "hello")
		w.SetStatus("c-1", chatvisortest.Unresolved)
		w.waitFor(2 * time.Minute)
		w.wantCards("Ann")
	})
}

// A conversation that began since the last sweep is handled like a webhook.
func TestARecentConversationGetsACardThoughTheCustomerIsOffline(t *testing.T) {
	withSystem(t, "all-steps\nsweep: {interval: 60s}\n", func(w *system) {
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		w.waitFor(90 * time.Second)
		w.Write("c-1", "hello") // its webhooks are lost
		w.waitFor(2 * time.Minute)
		w.wantCards("Ann not found")
	})
}

func TestPromise7AnOldCodeFindsNoVisitor(t *testing.T) {
	for name, arrives := range map[string]func(w *system){
		"in a list": func(w *system) {
			w.AddCustomer(chatvisortest.Customer{ID: "c-1", Name: "Ann"})
			w.Write("c-1", "4821")
			w.stop()
		},
		"in a webhook that waited": func(w *system) {
			w.stop()
			w.sendHooks(w.Write("c-1", "4821")...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			withSystem(t, "all-steps\njoin: [lookup_code]\nsweep: {interval: 60s}\n", func(w *system) {
				arrives(w)
				w.waitFor(3 * time.Hour)
				w.addVisitor("Bob Stranger", "shop:2", "4821") // the code is now Bob's
				w.start()
				w.waitFor(3 * time.Minute)
				for _, p := range w.slack.Channel("C1") {
					if strings.Contains(p.Text+string(p.Blocks), "Bob") || strings.Contains(p.Text+string(p.Blocks), "/w/") {
						w.Errorf("the card says %s", p.Text)
					}
				}
				if strings.Contains(fmt.Sprint(w.upscope.Calls()), "4821") {
					w.Error("the code was looked up")
				}
			})
		})
	}
}

// The first sweep of a tenant's old conversations takes minutes, and webhooks are
// handled before it.
func TestTheFirstSweepDoesNotDelayWebhooks(t *testing.T) {
	const many = 80
	withSystemAfter(t, "all-steps\nsweep: {interval: 60s}\n", func(w *system) {
		for i := range many {
			id := fmt.Sprintf("old-%d", i)
			w.AddCustomer(chatvisortest.Customer{ID: id, ExternalID: "x-" + id, Name: id})
			w.Write(id, "hello")
		}
		w.addVisitor("Ann Silva", "chatvisorext:x-old-7", "") // one customer is still online
	}, func(w *system) {
		w.waitFor(20 * time.Second)
		for i := range 5 {
			id := fmt.Sprintf("new-%d", i)
			w.AddCustomer(chatvisortest.Customer{ID: id, ExternalID: "x-" + id, Name: id})
			w.addVisitor(id, "chatvisorext:x-"+id, "")
			w.sendHooks(w.Write(id, "hello")...) // waits two seconds
			if posts := w.slack.Channel("C1"); len(posts) != i+2 {
				w.Fatalf("%d cards after the webhooks of %d new conversations", len(posts), i+1)
			}
		}
		w.waitFor(2 * time.Minute)
		if posts := w.slack.Channel("C1"); len(posts) != 6 {
			w.Errorf("%d cards for 6 customers who are online", len(posts))
		}
		requests := w.Requests()
		for i := 2; i < len(requests); i++ {
			if gap := requests[i].At.Sub(requests[i-2].At); gap < time.Second-time.Millisecond {
				w.Errorf("three requests within %v", gap)
			}
		}
		if reads, _ := w.countRequests(0); reads < many || reads > many+10 {
			w.Errorf("%d customers were read, of %d", reads, many+5)
		}
	})
}

// withOpenChats adds n customers who are online and have an open conversation.
func withOpenChats(n int) func(w *system) {
	return func(w *system) {
		for i := range n {
			id := fmt.Sprintf("c-%d", i)
			w.AddCustomer(chatvisortest.Customer{ID: id, ExternalID: "x-" + id, Name: id})
			w.addVisitor(id, "chatvisorext:x-"+id, "")
			w.Write(id, "hello")
		}
	}
}

func TestARestartFindsNothingTwice(t *testing.T) {
	withSystemAfter(t, "all-steps\nsweep: {interval: 60s}\n", withOpenChats(8), func(w *system) {
		w.waitFor(4 * time.Second)
		w.stop() // during the first sweep
		first, _ := w.countRequests(0)
		if first == 0 || first == 8 {
			w.Fatalf("%d customers were read before the restart", first)
		}
		w.start()
		w.waitFor(3 * time.Minute)
		if reads, _ := w.countRequests(0); reads != 8 {
			w.Errorf("%d customers were read, want 8 once each", reads)
		}
	})
}

func TestOnlyOneReplicaSweeps(t *testing.T) {
	withSystemAfter(t, "all-steps\nsweep: {interval: 60s}\n", withOpenChats(20), func(w *system) {
		_, stopSecond := w.start()
		w.start()
		w.waitFor(4 * time.Minute)
		reads, lists := w.countRequests(0)
		if reads != 20 || len(lists) < 3 || len(lists) > 5 {
			w.Errorf("%d customers were read, and the list %d times in four minutes", reads, len(lists))
		}
		// The last replica continues after the others stopped.
		before := len(w.Requests())
		w.stop()
		stopSecond()
		w.waitFor(3 * time.Minute)
		if _, lists := w.countRequests(before); len(lists) < 2 || len(lists) > 4 {
			w.Errorf("the list was read %d times in three minutes by the last of three", len(lists))
		}
	})
}

// sweepSlack is how late a sweep may begin.
const sweepSlack = 31 * time.Second

func TestTheWaitAfterAFailedSweepGrows(t *testing.T) {
	for name, f := range map[string]struct {
		status int
		after  string
		least  time.Duration // between the third time and the fourth
	}{
		"down": {500, "", 4 * time.Minute}, "wrong form": {415, "", 10 * time.Minute}, "told to wait": {429, "300", 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			var asked chan time.Time
			withSystem(t, "all-steps\nsweep: {interval: 60s}\n", func(w *system) {
				tooLong := time.After(40 * time.Minute)
				var times []time.Time
				for len(times) < 4 {
					select {
					case at := <-asked:
						times = append(times, at)
					case <-tooLong:
						w.Fatalf("%d requests in 40 minutes", len(times))
					}
				}
				if gap := times[3].Sub(times[2]); gap < f.least || gap > f.least+sweepSlack {
					w.Errorf("the fourth request came %v after the third", gap)
				}
				w.waitFor(time.Second)
				if !strings.Contains(w.log.String(), "sweep not finished") {
					w.Error("the failure is not logged")
				}
			}, func(c *chatvisor.Config) {
				asked = make(chan time.Time, 100)
				c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
					asked <- time.Now()
					resp := jsonAnswer(r, f.status, `{"a":1}`)
					resp.Header.Set("Retry-After", f.after)
					return resp, nil
				})
			})
		})
	}
}

func TestPagesBeforeAFailedPageAreHandledOnce(t *testing.T) {
	customers := 0
	withSystem(t, "sweep: {page_size: 1, interval: 60s}\nendpoints: {list_conversations: {path: /all, query: {p: \"{page}\"}}, get_customer: {path: \"/who/{customerId}\"}}", func(w *system) {
		w.waitFor(8 * time.Minute)
		if customers != 1 {
			w.Errorf("the one customer was read %d times", customers)
		}
	}, func(c *chatvisor.Config) {
		c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			switch {
			case strings.Contains(r.URL.Path, "/who/"):
				customers++
				return jsonAnswer(r, http.StatusOK, `{}`), nil
			case r.URL.Query().Get("p") != "0":
				return jsonAnswer(r, http.StatusInternalServerError, ""), nil
			}
			return jsonAnswer(r, http.StatusOK, `[{"customerId":"c-1","status":"UNREAD"}]`), nil
		})
	})
}

// The bridge cannot ask Chatvisor about one conversation, so it says only that the list lacks all.
func TestAListWithoutAnyKnownConversationIsLoggedOnce(t *testing.T) {
	withSystem(t, "all-steps\nsweep: {interval: 60s}\n", func(w *system) {
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		w.addVisitor("Ann Silva", "chatvisorext:cust-77", "")
		w.sendHooks(w.Write("c-1", "hello")...)
		w.waitFor(3 * time.Minute)
		if strings.Contains(w.log.String(), "missing from the list") {
			t.Error("the list counts as incomplete")
		}
		w.SetStatus("c-1", chatvisortest.Done) // its webhook is lost
		w.waitFor(5 * time.Minute)
		if log := w.log.String(); strings.Count(log, "missing from the list") != 1 || !strings.Contains(log, "0 of at least 1 known") {
			t.Errorf("the log should say once that the list lacks all known conversations:\n%s", log)
		}
		w.wantCards("Ann")
	})
}
