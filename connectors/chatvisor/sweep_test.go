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

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
)

// sweeps goes through the list once and gives what was found.
func (d *tenant) sweeps(t *testing.T) (found []bridge.Delivery, err error) {
	t.Helper()
	err = d.Sweep(t.Context(), func(_ context.Context, page []bridge.Delivery) error {
		found = append(found, page...)
		return nil
	})
	return found, err
}

// asks are what was found means.
func (d *tenant) asks(t *testing.T, found []bridge.Delivery) (all []bridge.Ask) {
	t.Helper()
	for _, one := range found {
		ask, err := d.Read(t.Context(), one)
		if err != nil || ask.Verb != bridge.Start {
			t.Errorf("%s: %+v, %v", one.Body, ask, err)
		}
		all = append(all, ask)
	}
	return all
}

func TestAListIsOfOpenConversationsWithTheirCodes(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "odd\njoin: [lookup_code]\n")
	d.AddCustomer(chatvisortest.Customer{ID: "quiet"})
	d.Write("c-1", "hello")
	d.Write("c-2", "4821")
	d.Write("c-3", "bye")
	d.SetStatus("c-3", chatvisortest.Done)
	d.Write("c-4", "well?")
	d.SetStatus("c-4", chatvisortest.Unresolved)
	found, err := d.sweeps(t)
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for _, ask := range d.asks(t, found) {
		got = append(got, fmt.Sprint(ask.Chat, " ", ask.Clues.LookupCode, " new:", ask.New))
	}
	// An agent was at c-4 already, which so is not begun by the customer just now.
	if want := []string{"c-1  new:true", "c-2 4821 new:true", "c-4  new:false"}; !slices.Equal(got, want) {
		t.Errorf("found %q, want %q", got, want)
	}
}

func TestAConversationIsFoundUnderTheSameKeyUntilTheCustomerWrites(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "odd")
	key := func() string {
		t.Helper()
		found, err := d.sweeps(t)
		if err != nil || len(found) != 1 {
			t.Fatal(found, err)
		}
		return found[0].Key
	}
	hooks := d.Write("c-1", "hello")
	first := key()
	d.SetStatus("c-1", chatvisortest.Unresolved) // which opens nothing
	if key() != first {
		t.Error("an agent's change of the status is news")
	}
	// What webhooks told of is no news to a sweep.
	for _, h := range hooks {
		r, err := d.comes(h.Event, string(h.Body))
		want := first
		if h.Event == eventStatus {
			want = "" // it begins nothing
		}
		if err != nil || r.Known != want {
			t.Errorf("%s is known as %q, %v; the sweep finds %q", h.Event, r.Known, err, first)
		}
	}
	d.Write("c-1", "are you there?")
	if key() == first {
		t.Error("another message is no news")
	}
	// An end is no chat that a sweep could find.
	if r, err := d.comes(eventStatus, recorded(t, "done")); err != nil || r.Known != "" {
		t.Errorf("the end is known as %q, %v", r.Known, err)
	}
	if r, err := newTenant(t, "").comes(eventConversation, recorded(t, "text")); err != nil || r.Known != "" {
		t.Errorf("without a list something is known as %q, %v", r.Known, err)
	}
}

func TestAListThatDoesNotSayWhatIsOverOpensNothing(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "endpoints: {list_conversations: {path: /all}}", func(c *Config) {
		c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			return jsonAnswer(r, http.StatusOK, `[{"customerId":"c-1","state":{"is":"DONE"}},{"customerId":"c-2","status":"SNOOZED"}]`), nil
		})
	})
	found, err := d.sweeps(t)
	if err != nil || len(found) != 1 || !strings.Contains(string(found[0].Body), "c-2") { // what it does not know is open
		t.Errorf("found %+v, %v", found, err)
	}
	if said := d.log.String(); !strings.Contains(said, "or its status") || !strings.Contains(said, "{customerId: text, state: {is: text}}") {
		t.Errorf("the log says %s", said)
	}
}

func TestAListThatIsCutOffIsSaidToBe(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "odd\nsweep: {page_size: 2, max_pages: 2}\n")
	for i := range 5 {
		d.Write(fmt.Sprintf("c-%d", i), "hello")
	}
	if found, err := d.sweeps(t); err != nil || len(found) != 4 || !strings.Contains(d.log.String(), "no end after 2 pages") {
		t.Errorf("found %d, %v; the log says %s", len(found), err, d.log.String())
	}
}

// The bridge's own pace is no failure of the list's.
func TestASweepWaitsForItsTurnForLong(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newTenant(t, "odd")
		d.Write("c-1", "hello")
		for range 12 {
			go func() { _, _ = d.k.api.do(t.Context(), request{name: "busy", path: "/customer", most: time.Minute}) }()
		}
		synctest.Wait()
		began, found := time.Now(), 0
		err := d.k.sweep(t.Context(), func(_ context.Context, page []bridge.Delivery) error {
			found += len(page)
			return nil
		})
		if err != nil || found != 1 || time.Since(began) <= maxPause {
			t.Errorf("found %d after %v, %v", found, time.Since(began), err)
		}
	})
}

func TestWhoWroteLastSaysNothingInAList(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "webhook: {mapping: {new-conversation: {author_role: by}}}\nendpoints: {list_conversations: {path: /all}}", func(c *Config) {
		c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			return jsonAnswer(r, http.StatusOK, `[{"customerId":"c-1","status":"UNREAD","by":"agent"}]`), nil
		})
	})
	if found, err := d.sweeps(t); err != nil || len(found) != 1 {
		t.Errorf("found %d, %v", len(found), err)
	}
}

func TestWhatAListSaysIsAsOldAsTheQuestion(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var asked time.Time
		d := newTenant(t, "odd", func(c *Config) {
			next := c.Transport
			c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
				asked = time.Now()
				<-time.After(4 * time.Second) // in which the conversation may be done
				return next.RoundTrip(r)
			})
		})
		d.Write("c-1", "hello")
		if found, err := d.sweeps(t); err != nil || len(found) != 1 || found[0].Received.After(asked) {
			t.Errorf("asked at %v: %+v, %v", asked, found, err)
		}
	})
}

func TestTheSweepAsksTwiceASecondAtMost(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newTenant(t, "odd\nsweep: {page_size: 5, max_pages: 30}\n")
		for i := range 200 {
			d.Write(fmt.Sprintf("c-%d", i), "hello")
		}
		if found, err := d.sweeps(t); err != nil || len(found) != 150 {
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

// paged is a tenant with a list, which counts how often it is asked for.
func paged(t *testing.T, file string, serve func(page int) (rows []string)) (d *tenant, asked *atomic.Int32) {
	asked = new(atomic.Int32)
	return newTenant(t, file, func(c *Config) {
		c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			asked.Add(1)
			page, _ := strconv.Atoi(r.URL.Query().Get("p"))
			return jsonAnswer(r, http.StatusOK, "["+strings.Join(serve(page), ",")+"]"), nil
		})
	}), asked
}

// talks are open conversations, two a page.
func talks(page int) []string {
	return []string{fmt.Sprintf(`{"customerId":"c-%d-a","status":"UNREAD"}`, page), fmt.Sprintf(`{"customerId":"c-%d-b","status":"UNREAD"}`, page)}
}

func TestPagesEndWhereTheyAreEmptyOrRepeat(t *testing.T) {
	const (
		sized   = `{path: /all, query: {p: "{page}", s: "{pageSize}"}}`
		unsized = `{path: /all, query: {p: "{page}"}}`
	)
	for name, c := range map[string]struct {
		endpoint     string
		pageSize     int
		serve        func(page int) []string
		asked, found int
		says         string // nothing if all is well
	}{
		"an endpoint without pages":     {`{path: /all}`, 2, talks, 1, 2, ""},
		"a service that knows no pages": {unsized, 2, func(int) []string { return talks(0) }, 2, 2, "page 0 and page 1 of endpoints.list_conversations are the same: set first_page: 1, or"},
		"pages that count from 1":       {sized, 2, func(page int) []string { return talks(max(page, 1)) }, 2, 2, "page 0 and page 1 of endpoints.list_conversations are the same: set first_page: 1, or"},
		"pages that begin anew":         {sized, 2, func(page int) []string { return talks(page % 3) }, 4, 6, "page 0 and page 3 of endpoints.list_conversations are the same: a page behind the last has to be empty"},
		"a last page for ever":          {sized, 2, func(page int) []string { return talks(min(page, 2)) }, 4, 6, "page 2 and page 3"},
		"nothing before the first page": {sized, 3, func(page int) []string { return talks(page)[:2*min(page, 1)] }, 2, 2, ""},
		"no page at all":                {sized, 3, func(int) []string { return nil }, 2, 0, ""},
		"a short page":                  {sized, 3, talks, 1, 2, ""},
		"a page of no known size": {unsized, 50, func(page int) []string {
			if page > 2 {
				return nil
			}
			return talks(page)
		}, 4, 6, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d, asked := paged(t, fmt.Sprintf("sweep: {page_size: %d}\n", c.pageSize)+withEndpoint(listConversations, c.endpoint), c.serve)
				found, err := d.sweeps(t)
				if n := int(asked.Load()); err != nil || len(found) != c.found || n != c.asked {
					t.Errorf("found %d, asked %d times, %v", len(found), n, err)
				}
				if said := d.log.String(); !strings.Contains(said, c.says) || c.says == "" && said != "" {
					t.Errorf("the log says %s", said)
				}
			})
		})
	}
}

func TestAnEmptyListThatMayCountFromOneIsWhole(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, _ := paged(t, "sweep: {max_pages: 1}\n"+withEndpoint(listConversations, `{path: /all, query: {p: "{page}"}}`), func(int) []string { return nil })
		if found, err := d.sweeps(t); err != nil || len(found) > 0 || d.log.String() != "" {
			t.Errorf("found %d, %v; the log says %s", len(found), err, d.log)
		}
	})
}

func TestWhatComesWhileAListIsReadDoesNotEndIt(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		row := func(i int) string { return fmt.Sprintf(`{"customerId":"c-%d","status":"UNREAD"}`, i) }
		// The newest are first, and one comes between the pages: the last of a page is the first of the next.
		d, _ := paged(t, "sweep: {page_size: 2}\n"+withEndpoint(listConversations, `{path: /all, query: {p: "{page}", s: "{pageSize}"}}`), func(page int) []string {
			return [][]string{{row(9), row(8)}, {row(8), row(7)}, {row(7), row(6)}, nil}[page]
		})
		if found, err := d.sweeps(t); err != nil || len(found) != 6 || d.log.String() != "" {
			t.Errorf("found %d, %v; the log says %s", len(found), err, d.log)
		}
	})
}

func TestOddRowsAreToldOfOnce(t *testing.T) {
	t.Parallel()
	d, _ := paged(t, withEndpoint(listConversations, "{path: /all}"), func(int) []string { return append(talks(0), `{"id":1}`, `{"id":2}`) })
	if found, err := d.sweeps(t); err != nil || len(found) != 2 {
		t.Errorf("found %d, %v", len(found), err)
	}
	if said := d.log.String(); strings.Count(said, "does not say whose or which it is") != 1 {
		t.Errorf("the log says %s", said)
	}
}

func jsonAnswer(r *http.Request, status int, body string) *http.Response {
	return &http.Response{StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)), Request: r}
}

// What the bridge does about these is its own affair: see TestAFailingListIsLeftAlone….
func TestASweepThatFailsSaysHowLongToStayAway(t *testing.T) {
	for name, f := range map[string]struct {
		status    int
		after     string
		wait      time.Duration
		permanent bool
	}{
		"down": {status: 500}, "refused": {status: 401}, "forbidden": {status: 403},
		"not there": {status: 404, permanent: true}, "told to wait": {status: 429, after: "600", wait: 10 * time.Minute}, "no list": {status: 200},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			d := newTenant(t, "odd", func(c *Config) {
				c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
					resp := jsonAnswer(r, f.status, `{"a":1}`)
					resp.Header.Set("Retry-After", f.after)
					return resp, nil
				})
			})
			_, err := d.sweeps(t)
			wait, _ := bridge.RetryWait(err)
			if err == nil || wait != f.wait || bridge.IsPermanent(err) != f.permanent {
				t.Errorf("%v: wait %v, permanent %v", err, wait, bridge.IsPermanent(err))
			}
		})
	}
}

func TestASweepEndsWithWhoeverAskedForIt(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "odd")
	d.Write("c-1", "hello")
	full := errors.New("the store is full")
	if err := d.Sweep(t.Context(), func(context.Context, []bridge.Delivery) error { return full }); !errors.Is(err, full) {
		t.Errorf("%v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Sweep(ctx, func(context.Context, []bridge.Delivery) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
}

func TestWithoutAListThereIsNoSweep(t *testing.T) {
	t.Parallel()
	d := newTenant(t, "")
	if d.Sweep != nil {
		t.Error("there is a sweep of nothing")
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.Listen(ctx, func(context.Context, bridge.Delivery) error { return nil }); !errors.Is(err, context.Canceled) {
		t.Errorf("Listen: %v", err)
	}
	for _, line := range []string{"list_customers: documented", "tag_customer: not configured", "taken by its status"} {
		if !strings.Contains(d.log.String(), line) {
			t.Errorf("the log does not say %q", line)
		}
	}
}
