package chatvisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
)

// A listener runs Listen in virtual time and keeps what it delivers.
type listener struct {
	*testing.T
	*tenant
	mu  sync.Mutex
	got []bridge.Delivery
	err error // answers deliveries
}

func listening(t *testing.T, file string, test func(l *listener), change ...func(*Config)) {
	t.Helper()
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		l := &listener{T: t, tenant: newTenant(t, file, change...)}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			ended <- l.Listen(ctx, func(_ context.Context, d bridge.Delivery) error {
				l.mu.Lock()
				defer l.mu.Unlock()
				if l.err == nil {
					l.got = append(l.got, d)
				}
				return l.err
			})
		}()
		test(l)
		cancel()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("Listen: %v", err)
		}
	})
}

func (l *listener) pass(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// chats are what was delivered since the last time.
func (l *listener) chats() []string {
	l.mu.Lock()
	got := l.got
	l.got = nil
	l.mu.Unlock()
	var all []string
	for _, d := range got {
		ask, err := l.k.read(l.Context(), d)
		if err != nil || ask.Verb != bridge.Start || !ask.New {
			l.Errorf("%s: %+v, %v", d.Body, ask, err)
		}
		all = append(all, ask.Chat)
	}
	return all
}

func (l *listener) want(all ...string) {
	l.Helper()
	if got := l.chats(); !slices.Equal(got, all) {
		l.Errorf("the sweep found %q, want %q", got, all)
	}
}

func TestTheSweepFindsWhatWebhooksLost(t *testing.T) {
	listening(t, "odd\njoin: [lookup_code]\n", func(l *listener) {
		l.AddCustomer(chatvisortest.Customer{ID: "quiet"})
		l.pass(time.Second)
		l.want()
		l.Write("c-1", "hello") // and its webhooks are lost
		l.Write("c-2", "4821")
		l.SetStatus("c-3", chatvisortest.Done)
		l.pass(2*defaultInterval + time.Second)
		l.want("c-1", "c-2")
		l.pass(30 * time.Minute)
		l.want() // nothing changed
		l.SetStatus("c-1", chatvisortest.Done)
		l.SetStatus("c-2", chatvisortest.Unresolved)
		l.pass(2 * defaultInterval)
		l.want("c-2") // and c-1 is not closed by a list
		l.Write("c-1", "once more")
		l.pass(2 * defaultInterval)
		l.want("c-1")
	})
}

func TestWhatAListSaysIsAsOldAsTheQuestion(t *testing.T) {
	var asked time.Time
	listening(t, "odd", func(l *listener) {
		l.Write("c-1", "hello")
		l.pass(10 * time.Second)
		l.mu.Lock()
		defer l.mu.Unlock()
		if len(l.got) != 1 || l.got[0].Received.After(asked) {
			l.Errorf("asked at %v: %+v", asked, l.got)
		}
	}, func(c *Config) {
		next := c.Transport
		c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			asked = time.Now()
			<-time.After(4 * time.Second) // in which the conversation may be done
			return next.RoundTrip(r)
		})
	})
}

func TestAWebhookAndTheSweepAreOneDelivery(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "odd")
	now := time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)
	d.k.now = func() time.Time { return now }
	hooks := d.Write("c-1", "hello")
	var swept []string
	s := &sweep{connector: d.k, deliver: func(_ context.Context, one bridge.Delivery) error {
		swept = append(swept, one.Key)
		return nil
	}}
	if err := s.run(t.Context()); err != nil || len(swept) != 1 {
		t.Fatal(swept, err)
	}
	r, err := d.k.receipt(eventConversation, http.Header{}, hooks[0].Body)
	if err != nil || r.Key != swept[0] {
		t.Errorf("the webhook is %q, the sweep %q, %v", r.Key, swept[0], err)
	}
}

func TestTheSweepAsksTwiceASecondAtMost(t *testing.T) {
	listening(t, "odd\nsweep: {page_size: 5, max_pages: 30}\n", func(l *listener) {
		for i := range 200 {
			l.Write(fmt.Sprintf("c-%d", i), "hello")
		}
		l.pass(2 * defaultInterval)
		l.mu.Lock()
		found := len(l.got)
		l.got = nil
		l.mu.Unlock()
		if found != 150 {
			l.Errorf("%d of 200 were found in 30 pages of 5", found)
		}
		requests := l.Requests()
		for i := 2; i < len(requests); i++ {
			if gap := requests[i].At.Sub(requests[i-2].At); gap < time.Second-time.Millisecond {
				l.Errorf("three requests within %v", gap)
			}
		}
		if n := len(requests); n < 31 || n > 62 {
			l.Errorf("%d requests in two rounds of 30", n)
		}
	})
}

func TestPagesEndWhereTheyRepeat(t *testing.T) {
	for name, file := range map[string]string{
		"a service that knows no pages": "sweep: {page_size: 1}\nendpoints: {list_conversations: {path: /all, query: {p: \"{page}\"}}}",
		"an endpoint without pages":     "sweep: {page_size: 1}\nendpoints: {list_conversations: {path: /all}}",
	} {
		t.Run(name, func(t *testing.T) {
			asked := 0
			listening(t, file, func(l *listener) {
				l.pass(defaultInterval)
				l.want("c-1", "c-2")
				if asked > 2 {
					l.Errorf("asked %d times", asked)
				}
			}, func(c *Config) {
				c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
					asked++
					return jsonAnswer(r, http.StatusOK, `[{"customerId":"c-1","status":"UNREAD"},{"customerId":"c-2","status":"UNREAD"},{"id":1},{"id":2}]`), nil
				})
			})
			if asked == 0 {
				t.Error("nobody was asked")
			}
		})
	}
}

func jsonAnswer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
}

func TestAFailingListIsLeftAloneForLongerAndLonger(t *testing.T) {
	type fault struct {
		status int
		after  string
		most   int // requests in an hour
	}
	for name, f := range map[string]fault{
		"down": {500, "", 20}, "refused": {401, "", 7}, "forbidden": {403, "", 7}, "not there": {404, "", 7}, "told to wait": {429, "600", 7},
		"no list": {200, "", 20},
	} {
		t.Run(name, func(t *testing.T) {
			var at []time.Time
			listening(t, "odd", func(l *listener) {
				l.pass(time.Hour)
				if len(at) < 4 || len(at) > f.most {
					l.Errorf("asked %d times in an hour", len(at))
				}
				if !strings.Contains(l.log.String(), "cannot be listed") {
					l.Error("nobody is told")
				}
			}, func(c *Config) {
				c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
					at = append(at, time.Now())
					resp := jsonAnswer(r, f.status, `{"a":1}`)
					resp.Header.Set("Retry-After", f.after)
					return resp, nil
				})
			})
		})
	}
}

func TestWhatCannotBeStoredIsFoundAgain(t *testing.T) {
	listening(t, "odd", func(l *listener) {
		l.Write("c-1", "hello")
		l.mu.Lock()
		l.err = errors.New("the store is full")
		l.mu.Unlock()
		l.pass(10 * time.Second)
		l.mu.Lock()
		l.err = nil
		l.mu.Unlock()
		l.pass(defaultInterval)
		l.want("c-1")
	})
}

func TestPagesBeforeOneThatFailsAreDeliveredOnce(t *testing.T) {
	listening(t, "sweep: {page_size: 1}\nendpoints: {list_conversations: {path: /all, query: {p: \"{page}\"}}}", func(l *listener) {
		l.pass(3 * time.Hour)
		l.want("c-1")
	}, func(c *Config) {
		c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			if r.URL.Query().Get("p") != "0" {
				return jsonAnswer(r, http.StatusInternalServerError, ""), nil
			}
			return jsonAnswer(r, http.StatusOK, `[{"customerId":"c-1","status":"UNREAD"}]`), nil
		})
	})
}

func TestWithoutAListNobodyIsAsked(t *testing.T) {
	listening(t, "", func(l *listener) {
		l.pass(24 * time.Hour)
		if n := len(l.Requests()); n != 0 {
			l.Errorf("%d requests", n)
		}
		for _, line := range []string{"list_customers: documented", "tag_customer: not configured", "taken by its status"} {
			if !strings.Contains(l.log.String(), line) {
				l.Errorf("the log does not say %q", line)
			}
		}
	})
}
