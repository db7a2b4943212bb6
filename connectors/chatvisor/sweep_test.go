package chatvisor

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/chatvisor/api"
	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
	"cobrowse-bridge/connectors/chatvisor/rules"
)

// runSweep reads the list once and returns what was found.
func (d *tenant) runSweep(t *testing.T) (found []chat.Delivery, err error) {
	t.Helper()
	err = d.Sweep(t.Context(), func(_ context.Context, page []chat.Delivery) error {
		found = append(found, page...)
		return nil
	})
	return found, err
}

// asks returns the asks of the deliveries that were found.
func (d *tenant) asks(t *testing.T, found []chat.Delivery) (all []chat.Ask) {
	t.Helper()
	for _, one := range found {
		ask, err := d.Read(t.Context(), one)
		if err != nil || ask.Verb != chat.Start {
			t.Errorf("%s: %+v, %v", one.Body, ask, err)
		}
		all = append(all, ask)
	}
	return all
}

func TestASweepFindsOpenConversationsWithTheirCodes(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "all-steps\njoin: [lookup_code]\n")
	d.AddCustomer(chatvisortest.Customer{ID: "quiet"})
	d.Write("c-1", "hello")
	d.Write("c-2", "4821")
	d.Write("c-3", "bye")
	d.SetStatus("c-3", chatvisortest.Done)
	d.Write("c-4", "well?")
	d.SetStatus("c-4", chatvisortest.Unresolved)
	found, err := d.runSweep(t)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, ask := range d.asks(t, found) {
		got = append(got, fmt.Sprint(ask.Chat, " ", ask.Clues.LookupCode, " new:", ask.New))
	}
	// An agent has opened c-4, so it is not a new conversation.
	if want := []string{"c-1  new:true", "c-2 4821 new:true", "c-4  new:false"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

func TestASweepKeyStaysTheSameUntilTheCustomerWrites(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "all-steps")
	key := func() string {
		t.Helper()
		found, err := d.runSweep(t)
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		return found[0].Key
	}
	hooks := d.Write("c-1", "hello")
	first := key()
	d.SetStatus("c-1", chatvisortest.Unresolved) // opens no card
	if key() != first {
		t.Error("the key changes with the status")
	}
	// Webhooks report the key of the sweep.
	for _, h := range hooks {
		r, err := d.receive(h.Event, string(h.Body))
		want := first
		if h.Event == rules.StatusChange {
			want = "" // begins no conversation
		}
		if err != nil || r.SweepKey != want {
			t.Errorf("%s has the sweep key %q, %v; the sweep finds %q", h.Event, r.SweepKey, err, first)
		}
	}
	d.Write("c-1", "are you there?")
	if key() == first {
		t.Error("the key does not change with another message")
	}
	// A sweep does not find a conversation that has ended.
	if r, err := d.receive(rules.StatusChange, testBody(t, "done")); err != nil || r.SweepKey != "" {
		t.Errorf("the end has the sweep key %q, %v", r.SweepKey, err)
	}
	if r, err := newTenant(t, "").receive(rules.NewConversation, testBody(t, "text")); err != nil || r.SweepKey != "" {
		t.Errorf("the sweep key is %q though no list is configured, %v", r.SweepKey, err)
	}
}

func TestARowWithoutAStatusIsNotFound(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "endpoints: {list_conversations: {path: /all}}", func(c *Config) {
		c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			return jsonAnswer(r, http.StatusOK, `[{"customerId":"c-1","state":{"is":"DONE"}},{"customerId":"c-2","status":"SNOOZED"}]`), nil
		})
	})
	found, err := d.runSweep(t)
	if err != nil || len(found) != 1 || !strings.Contains(string(found[0].Body), "c-2") { // an unknown status means open
		t.Errorf("found %+v, %v", found, err)
	}
	if said := d.log.String(); !strings.Contains(said, "conversation in the list ignored") || !strings.Contains(said, "{customerId: text, state: {is: text}}") {
		t.Errorf("the log says %s", said)
	}
}

func TestAListLongerThanMaxPagesIsAFailure(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "all-steps\nsweep: {page_size: 2, max_pages: 2}\n")
	for i := range 5 {
		d.Write(fmt.Sprintf("c-%d", i), "hello")
	}
	if found, err := d.runSweep(t); !errors.Is(err, chat.ErrIncomplete) || len(found) != 4 || !strings.Contains(err.Error(), "no empty page within 2 pages") {
		t.Errorf("found %d, %v", len(found), err)
	}
}

// Waiting for a turn is not a failure of the list.
func TestASweepWaitsLongForItsTurn(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newTenant(t, "all-steps")
		d.Write("c-1", "hello")
		for range 12 {
			go func() { _, _ = d.k.api.Do(t.Context(), rules.Request{Name: "busy", Path: "/customer"}, time.Minute) }()
		}
		synctest.Wait()
		began, found := time.Now(), 0
		err := d.k.sweep(t.Context(), func(_ context.Context, page []chat.Delivery) error {
			found += len(page)
			return nil
		})
		if err != nil || found != 1 || time.Since(began) <= api.BackgroundWait {
			t.Errorf("found %d after %v, %v", found, time.Since(began), err)
		}
	})
}

func TestTheAuthorIsIgnoredInAList(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "webhook: {mapping: {new-conversation: {author_role: by}}}\nendpoints: {list_conversations: {path: /all}}", func(c *Config) {
		c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			return jsonAnswer(r, http.StatusOK, `[{"customerId":"c-1","status":"UNREAD","by":"agent"}]`), nil
		})
	})
	if found, err := d.runSweep(t); err != nil || len(found) != 1 {
		t.Errorf("found %d, %v", len(found), err)
	}
}

func TestAListedConversationIsReceivedWhenTheListWasRequested(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked time.Time
		d := newTenant(t, "all-steps", func(c *Config) {
			next := c.Transport
			c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				asked = time.Now()
				<-time.After(4 * time.Second) // the conversation may end meanwhile
				return next.RoundTrip(r)
			})
		})
		d.Write("c-1", "hello")
		if found, err := d.runSweep(t); err != nil || len(found) != 1 || found[0].Received.After(asked) {
			t.Errorf("requested at %v: %+v, %v", asked, found, err)
		}
	})
}

func TestTheSweepMakesAtMostTwoRequestsASecond(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newTenant(t, "all-steps\nsweep: {page_size: 5, max_pages: 30}\n")
		for i := range 200 {
			d.Write(fmt.Sprintf("c-%d", i), "hello")
		}
		if found, err := d.runSweep(t); !errors.Is(err, chat.ErrIncomplete) || len(found) != 150 {
			t.Errorf("%d of 200 were found in 30 pages of 5, %v", len(found), err)
		}
		requests := d.Requests()
		for i := 2; i < len(requests); i++ {
			if gap := requests[i].At.Sub(requests[i-2].At); gap < time.Second-time.Millisecond {
				t.Errorf("three requests within %v", gap)
			}
		}
		if n := len(requests); n != 30 {
			t.Errorf("%d requests for 30 pages", n)
		}
	})
}

// pagedTenant returns a tenant with a list, and the number of requests for it.
func pagedTenant(t *testing.T, file string, serve func(page int) (rows []string)) (d *tenant, asked *atomic.Int32) {
	asked = new(atomic.Int32)
	return newTenant(t, file, func(c *Config) {
		c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			asked.Add(1)
			page, _ := strconv.Atoi(r.URL.Query().Get("p"))
			return jsonAnswer(r, http.StatusOK, "["+strings.Join(serve(page), ",")+"]"), nil
		})
	}), asked
}

// talkRows returns two open conversations for each page.
func talkRows(page int) []string {
	return []string{fmt.Sprintf(`{"customerId":"c-%d-a","status":"UNREAD"}`, page), fmt.Sprintf(`{"customerId":"c-%d-b","status":"UNREAD"}`, page)}
}

func TestPagesEndWithAnEmptyOrRepeatedPage(t *testing.T) {
	const (
		sized   = `{path: /all, query: {p: "{page}", s: "{pageSize}"}}`
		unsized = `{path: /all, query: {p: "{page}"}}`
	)
	for name, c := range map[string]struct {
		endpoint     string
		pageSize     int
		serve        func(page int) []string
		asked, found int
		says         string // empty without an error
	}{
		"an endpoint without pages":     {`{path: /all}`, 2, talkRows, 1, 2, ""},
		"a service without pages":       {unsized, 2, func(int) []string { return talkRows(0) }, 2, 2, "page 0 and page 1 of endpoints.list_conversations are the same: set first_page: 1, or"},
		"pages that count from 1":       {sized, 2, func(page int) []string { return talkRows(max(page, 1)) }, 2, 2, "page 0 and page 1 of endpoints.list_conversations are the same: set first_page: 1, or"},
		"pages that start again":        {sized, 2, func(page int) []string { return talkRows(page % 3) }, 4, 6, "page 0 and page 3 of endpoints.list_conversations are the same: the page after the last one must be empty"},
		"a last page that repeats":      {sized, 2, func(page int) []string { return talkRows(min(page, 2)) }, 4, 6, "page 2 and page 3"},
		"nothing before the first page": {sized, 3, func(page int) []string { return talkRows(page)[:2*min(page, 1)] }, 2, 2, ""},
		"no page at all":                {sized, 3, func(int) []string { return nil }, 2, 0, ""},
		"a short page":                  {sized, 3, talkRows, 1, 2, ""},
		"a page of no known size": {unsized, 50, func(page int) []string {
			if page > 2 {
				return nil
			}
			return talkRows(page)
		}, 4, 6, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d, asked := pagedTenant(t, fmt.Sprintf("sweep: {page_size: %d}\n", c.pageSize)+withEndpoint(rules.ListConversations, c.endpoint), c.serve)
				found, err := d.runSweep(t)
				if n := int(asked.Load()); len(found) != c.found || n != c.asked {
					t.Errorf("found %d in %d requests, %v", len(found), n, err)
				}
				if c.says == "" && err != nil || c.says != "" && (!errors.Is(err, chat.ErrIncomplete) || !strings.Contains(err.Error(), c.says)) {
					t.Errorf("the error is %v", err)
				}
			})
		})
	}
}

func TestAnEmptyListIsCompleteIfPagesMayCountFromOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, _ := pagedTenant(t, "sweep: {max_pages: 1}\n"+withEndpoint(rules.ListConversations, `{path: /all, query: {p: "{page}"}}`), func(int) []string { return nil })
		if found, err := d.runSweep(t); err != nil || len(found) > 0 || d.log.String() != "" {
			t.Errorf("found %d, %v; the log says %s", len(found), err, d.log)
		}
	})
}

func TestARowThatMovesToTheNextPageDoesNotEndTheList(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		row := func(i int) string { return fmt.Sprintf(`{"customerId":"c-%d","status":"UNREAD"}`, i) }
		// The newest row is first. A row is added between two requests, so the last row of a page is the first of the next.
		d, _ := pagedTenant(t, "sweep: {page_size: 2}\n"+withEndpoint(rules.ListConversations, `{path: /all, query: {p: "{page}", s: "{pageSize}"}}`), func(page int) []string {
			return [][]string{{row(9), row(8)}, {row(8), row(7)}, {row(7), row(6)}, nil}[page]
		})
		if found, err := d.runSweep(t); err != nil || len(found) != 6 || d.log.String() != "" {
			t.Errorf("found %d, %v; the log says %s", len(found), err, d.log)
		}
	})
}

func TestUnreadableRowsAreLoggedOnce(t *testing.T) {
	t.Parallel()
	d, _ := pagedTenant(t, withEndpoint(rules.ListConversations, "{path: /all}"), func(int) []string { return append(talkRows(0), `{"id":1}`, `{"id":2}`) })
	if found, err := d.runSweep(t); err != nil || len(found) != 2 {
		t.Errorf("found %d, %v", len(found), err)
	}
	if said := d.log.String(); strings.Count(said, "conversation in the list ignored") != 1 {
		t.Errorf("the log says %s", said)
	}
}

func jsonAnswer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
}

// For what the bridge does then, see TestTheWaitAfterAFailedSweepGrows in wholetest.
func TestAFailedSweepReportsHowLongToWait(t *testing.T) {
	for name, f := range map[string]struct {
		status    int
		after     string
		wait      time.Duration
		permanent bool
	}{
		"down": {status: 500}, "refused": {status: 401}, "forbidden": {status: 403},
		"not there": {status: 404}, "a conflict": {status: 409}, "wrong form": {status: 415, permanent: true}, "told to wait": {status: 429, after: "600", wait: 10 * time.Minute}, "no list": {status: 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newTenant(t, "all-steps", func(c *Config) {
				c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
					resp := jsonAnswer(r, f.status, `{"a":1}`)
					resp.Header.Set("Retry-After", f.after)
					return resp, nil
				})
			})
			_, err := d.runSweep(t)
			wait, _ := chat.RetryWait(err)
			if err == nil || wait != f.wait || chat.IsPermanent(err) != f.permanent {
				t.Errorf("%v: wait %v, permanent %v", err, wait, chat.IsPermanent(err))
			}
		})
	}
}

func TestASweepEndsWithAnErrorOfItsCaller(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "all-steps")
	d.Write("c-1", "hello")
	full := errors.New("the store is full")
	if err := d.Sweep(t.Context(), func(context.Context, []chat.Delivery) error { return full }); !errors.Is(err, full) {
		t.Errorf("the store is full: %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Sweep(ctx, func(context.Context, []chat.Delivery) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("a cancelled sweep: %v", err)
	}
}

func TestWithoutAListThereIsNoSweep(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "")
	if d.Sweep != nil {
		t.Error("Sweep is set though no list is configured")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Listen(ctx, func(context.Context, chat.Delivery) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Listen: %v", err)
	}
	for _, line := range []string{"list_customers: works without configuration", "not configured: get_customer, list_conversations, tag_customer", "webhooks to /auto handled by status"} {
		if !strings.Contains(d.log.String(), line) {
			t.Errorf("the log does not contain %q", line)
		}
	}
}
