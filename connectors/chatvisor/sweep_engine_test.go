package chatvisor

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
)

func TestLostWebhooksAreMadeUpForAndTheSweepClosesNothing(t *testing.T) {
	inTown(t, "odd\nsweep: {interval: 60s}\n", func(w *town) {
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		w.visits("Ann Silva", "chatvisorext:cust-77", "")
		w.Write("c-1", "hello") // and nobody hears of it
		w.pass(70 * time.Second)
		w.cards("Ann")
		w.SetStatus("c-1", chatvisortest.Done)
		w.pass(5 * time.Minute)
		if posts := w.slack.Channel("C1"); len(posts) != 1 || strings.Contains(posts[0].Text, "closed") {
			t.Errorf("the sweep closed a card: %+v", posts)
		}
	})
}

// asked counts the requests for customers after the first so many of all, and gives
// the times of those for the list.
func (w *town) asked(since int) (reads int, lists []time.Time) {
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

func TestWhatWebhooksToldOfIsNotTakenUpAgain(t *testing.T) {
	inTown(t, "odd\nsweep: {interval: 60s}\n", func(w *town) {
		w.pass(10 * time.Second) // the first sweep is over
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		w.visits("Ann Silva", "chatvisorext:cust-77", "")
		w.calls(w.Write("c-1", "hello")...)
		w.pass(10 * time.Second)
		w.calls(w.Write("c-1", "are you there?")...)
		w.pass(10 * time.Second)
		before := len(w.Requests())
		w.pass(6 * time.Minute)
		if reads, lists := w.asked(before); reads != 0 || len(lists) < 5 {
			w.Errorf("%d customers were read in %d sweeps though nothing was lost", reads, len(lists))
		}
		w.cards("Ann")
	})
}

func TestAnOldConversationGetsACardOnlyIfItsCustomerIsThere(t *testing.T) {
	inTownWith(t, "odd\nsweep: {interval: 60s}\n", func(w *town) {
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-1", Name: "Ann"})
		w.AddCustomer(chatvisortest.Customer{ID: "c-2", ExternalID: "cust-2", Name: "Ben"})
		w.AddCustomer(chatvisortest.Customer{ID: "c-3", ExternalID: "cust-3", Name: "Cleo"})
		w.visits("Ann Silva", "chatvisorext:cust-1", "")
		w.upscope.Go(w.visits("Ben Stone", "chatvisorext:cust-2", ""))
		for _, c := range []string{"c-1", "c-2", "c-3"} {
			w.Write(c, "hello") // long before there was a bridge
		}
	}, func(w *town) {
		w.pass(3 * time.Minute)
		w.cards("Ann")
		w.calls(w.Write("c-2", "anybody?")...) // and that gets a card at once, as always
		w.cards("Ann", "Ben")
	})
}

// A change of the status begins nothing, so it is no news of what has begun.
func TestALoneChangeOfTheStatusHidesNothing(t *testing.T) {
	inTown(t, "odd\nsweep: {interval: 60s}\n", func(w *town) {
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		w.visits("Ann Silva", "chatvisorext:cust-77", "")
		w.calls(w.Write("c-1", "hello")...)
		w.calls(w.SetStatus("c-1", chatvisortest.Done)...)
		w.pass(2 * time.Minute)
		for _, h := range w.Write("c-1", "it is me again") {
			if h.Event == eventStatus {
				w.calls(h) // the others are lost
			}
		}
		w.pass(2 * time.Minute)
		w.cards("closed", "Ann")
	})
}

func TestAnAgentWhoTakesUpWhatWasDoneBeginsNothing(t *testing.T) {
	inTown(t, "odd\nsweep: {interval: 60s}\n", func(w *town) {
		w.pass(10 * time.Second)
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		w.visits("Ann Silva", "chatvisorext:cust-77", "")
		w.calls(w.Write("c-1", "hello")...)
		w.calls(w.SetStatus("c-1", chatvisortest.Done)...)
		w.pass(3 * time.Minute) // and the sweep does not know the words any more
		w.calls(w.SetStatus("c-1", chatvisortest.Unresolved)...)
		w.pass(3 * time.Minute)
		w.cards("closed")
		// Only the customer begins another, and then a lost webhook is made up for.
		w.Write("c-1", "one more thing")
		w.pass(2 * time.Minute)
		w.cards("closed", "Ann")
	})
}

func TestALostConversationThatAnAgentWasAtHasItsCard(t *testing.T) {
	inTown(t, "odd\nsweep: {interval: 60s}\n", func(w *town) {
		w.pass(10 * time.Second)
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		w.visits("Ann Silva", "chatvisorext:cust-77", "")
		w.Write("c-1", "hello")
		w.SetStatus("c-1", chatvisortest.Unresolved)
		w.pass(2 * time.Minute)
		w.cards("Ann")
	})
}

// What began since the last sweep is treated as its webhooks would have been.
func TestAConversationOfTheLastMinutesGetsItsCardThoughNobodyIsThereYet(t *testing.T) {
	inTown(t, "odd\nsweep: {interval: 60s}\n", func(w *town) {
		w.AddCustomer(chatvisortest.Customer{ID: "c-1", ExternalID: "cust-77", Name: "Ann"})
		w.pass(90 * time.Second)
		w.Write("c-1", "hello") // and its webhooks are lost
		w.pass(2 * time.Minute)
		w.cards("find Ann")
	})
}

func TestPromise7NobodyIsFoundByACodeOfLongAgo(t *testing.T) {
	for name, arrives := range map[string]func(w *town){
		"in a list": func(w *town) {
			w.AddCustomer(chatvisortest.Customer{ID: "c-1", Name: "Ann"})
			w.Write("c-1", "4821")
			w.stops()
		},
		"in a webhook that waited": func(w *town) {
			w.stops()
			w.calls(w.Write("c-1", "4821")...)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inTown(t, "odd\njoin: [lookup_code]\nsweep: {interval: 60s}\n", func(w *town) {
				arrives(w)
				w.pass(3 * time.Hour)
				w.visits("Bob Stranger", "shop:2", "4821") // it is his now
				w.starts()
				w.pass(3 * time.Minute)
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

// The first sweep over a tenant's old conversations takes its time, and what comes
// in by itself goes before it.
func TestTheFirstSweepIsInNobodysWay(t *testing.T) {
	const many = 80
	inTownWith(t, "odd\nsweep: {interval: 60s}\n", func(w *town) {
		for i := range many {
			id := fmt.Sprintf("old-%d", i)
			w.AddCustomer(chatvisortest.Customer{ID: id, ExternalID: "x-" + id, Name: id})
			w.Write(id, "hello")
		}
		w.visits("Ann Silva", "chatvisorext:x-old-7", "") // one of them is still there
	}, func(w *town) {
		w.pass(20 * time.Second)
		for i := range 5 {
			id := fmt.Sprintf("new-%d", i)
			w.AddCustomer(chatvisortest.Customer{ID: id, ExternalID: "x-" + id, Name: id})
			w.visits(id, "chatvisorext:x-"+id, "")
			w.calls(w.Write(id, "hello")...) // waits two seconds
			if posts := w.slack.Channel("C1"); len(posts) != i+2 {
				w.Fatalf("%d cards after the webhooks of %d new conversations", len(posts), i+1)
			}
		}
		w.pass(2 * time.Minute)
		if posts := w.slack.Channel("C1"); len(posts) != 6 {
			w.Errorf("%d cards, of 6 customers who are there", len(posts))
		}
		requests := w.Requests()
		for i := 2; i < len(requests); i++ {
			if gap := requests[i].At.Sub(requests[i-2].At); gap < time.Second-time.Millisecond {
				w.Errorf("three requests within %v", gap)
			}
		}
		if reads, _ := w.asked(0); reads < many || reads > many+10 {
			w.Errorf("%d customers were read, of %d", reads, many+5)
		}
	})
}

// opened has so many customers with an open conversation, each of them on the site.
func opened(n int) func(w *town) {
	return func(w *town) {
		for i := range n {
			id := fmt.Sprintf("c-%d", i)
			w.AddCustomer(chatvisortest.Customer{ID: id, ExternalID: "x-" + id, Name: id})
			w.visits(id, "chatvisorext:x-"+id, "")
			w.Write(id, "hello")
		}
	}
}

func TestARestartFindsNothingTwice(t *testing.T) {
	inTownWith(t, "odd\nsweep: {interval: 60s}\n", opened(8), func(w *town) {
		w.pass(4 * time.Second)
		w.stops() // in the midst of the first sweep
		first, _ := w.asked(0)
		if first == 0 || first == 8 {
			w.Fatalf("%d customers were read before the restart", first)
		}
		w.starts()
		w.pass(3 * time.Minute)
		if reads, _ := w.asked(0); reads != 8 {
			w.Errorf("%d customers were read, and not 8 once", reads)
		}
	})
}

func TestReplicasSweepAsOne(t *testing.T) {
	inTownWith(t, "odd\nsweep: {interval: 60s}\n", opened(20), func(w *town) {
		_, stopSecond := w.starts()
		w.starts()
		w.pass(4 * time.Minute)
		reads, lists := w.asked(0)
		if reads != 20 || len(lists) < 3 || len(lists) > 5 {
			w.Errorf("%d customers were read, and the list %d times in four minutes", reads, len(lists))
		}
		// Whichever of them stops, the others go on.
		before := len(w.Requests())
		w.stops()
		stopSecond()
		w.pass(3 * time.Minute)
		if _, lists := w.asked(before); len(lists) < 2 || len(lists) > 4 {
			w.Errorf("the list was read %d times in three minutes by the last of three", len(lists))
		}
	})
}

// sweepSlack is how much later than it is due a sweep may begin.
const sweepSlack = 31 * time.Second

func TestAFailingListIsLeftAloneForLongerAndLonger(t *testing.T) {
	for name, f := range map[string]struct {
		status int
		after  string
		least  time.Duration // between the third time and the fourth
	}{
		"down": {500, "", 4 * time.Minute}, "not there": {404, "", 10 * time.Minute}, "told to wait": {429, "300", 5 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			var asked chan time.Time
			inTown(t, "odd\nsweep: {interval: 60s}\n", func(w *town) {
				tooLong := time.After(40 * time.Minute)
				var times []time.Time
				for len(times) < 4 {
					select {
					case at := <-asked:
						times = append(times, at)
					case <-tooLong:
						w.Fatalf("asked %d times in 40 minutes", len(times))
					}
				}
				if gap := times[3].Sub(times[2]); gap < f.least || gap > f.least+sweepSlack {
					w.Errorf("the fourth time came %v after the third", gap)
				}
				w.pass(time.Second)
				if !strings.Contains(w.log.String(), "the sweep broke off") {
					w.Error("nobody is told")
				}
			}, func(c *Config) {
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

func TestPagesBeforeOneThatFailsAreTakenUpOnce(t *testing.T) {
	customers := 0
	inTown(t, "sweep: {page_size: 1, interval: 60s}\nendpoints: {list_conversations: {path: /all, query: {p: \"{page}\"}}, get_customer: {path: \"/who/{customerId}\"}}", func(w *town) {
		w.pass(8 * time.Minute)
		if customers != 1 {
			w.Errorf("the one customer was read %d times", customers)
		}
	}, func(c *Config) {
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
