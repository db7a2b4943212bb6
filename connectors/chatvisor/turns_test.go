package chatvisor

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/connectors/chatvisor/api"
	"cobrowse-bridge/connectors/chatvisor/rules"
	"cobrowse-bridge/connectors/rest"
)

const (
	gap            = time.Second / 2 // between two requests
	maxReturnDelay = time.Minute     // after the next free turn
)

func TestABurstIsHandledAtFullPaceWithFewPostponedTwice(t *testing.T) {
	for name, endpoint := range map[string]string{
		"in the path":  `{path: "/who/{customerId}/card"}`,
		"in the query": `{path: "/who", query: {id: "{customerId}"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const many = 40
				var asked, vain atomic.Int32
				d := newTenant(t, withEndpoint(rules.GetCustomer, endpoint), func(c *Config) {
					c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
						asked.Add(1)
						return jsonAnswer(r, http.StatusOK, "{}"), nil
					})
				})
				var all sync.WaitGroup
				began := time.Now()
				for i := range many {
					all.Go(func() {
						for {
							_, err := d.Read(t.Context(), chat.Delivery{Body: mustJSON(storedEvent{Event: rules.NewMessage, Customer: fmt.Sprintf("c-%d", i)})})
							wait, put := chat.RetryWait(err)
							if !put {
								if err != nil {
									t.Error(err)
								}
								return
							}
							vain.Add(1)
							<-time.After(wait)
						}
					})
				}
				all.Wait()
				if n, took := asked.Load(), time.Since(began); n != many || took != (many-1)*gap {
					t.Errorf("%d requests in %v", n, took)
				}
				if n := vain.Load(); n > many {
					t.Errorf("%d customers were postponed %d times", many, n)
				}
			})
		})
	}
}

func TestRequestsOfPeopleGoBeforeBackgroundRequests(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newTenant(t, "all-steps")
		for i := range 100 {
			id := fmt.Sprintf("c-%d", i)
			go func() { _, _ = d.k.customer(t.Context(), id) }()
		}
		go func() { _ = d.k.sweep(t.Context(), func(context.Context, []chat.Delivery) error { return nil }) }()
		synctest.Wait()
		for range 3 { // at once
			if _, err := d.k.api.Customers(t.Context(), 1); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
	})
}

func TestRequestsOfPeopleArePostponedAfterPersonWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newTenant(t, "")
		began, put := time.Now(), 0
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				_, err := d.k.api.Customers(t.Context(), 1)
				if wait, ok := chat.RetryWait(d.k.api.Classify(err)); ok && wait > api.PersonWait {
					mu.Lock()
					put++
					mu.Unlock()
				} else if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := len(d.Requests()); n != 11 || put != 9 || time.Since(began) != api.PersonWait {
			t.Errorf("%d requests in %v, %d postponed", n, time.Since(began), put)
		}
	})
}

func TestTheRetryWithANewTokenWaitsForItsTurn(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(apiToken), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		d := newTenant(t, "", func(c *Config) { c.Token, c.TokenFile = secret.New("canary-former-token-Zoo2ahw"), file })
		if _, err := d.k.api.Customers(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if r := d.Requests(); len(r) != 2 || r[1].At.Sub(r[0].At) < gap {
			t.Errorf("requests %+v", r)
		}
	})
}

// refusingTenant returns a tenant whose API refuses every request, and their number.
func refusingTenant(t *testing.T, status int, after string) (d *tenant, asked *atomic.Int32) {
	asked = new(atomic.Int32)
	return newTenant(t, "all-steps", func(c *Config) {
		c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			asked.Add(1)
			resp := jsonAnswer(r, status, "{}")
			resp.Header.Set("Retry-After", after)
			return resp, nil
		})
	}), asked
}

func TestNoRequestIsMadeDuringRetryAfter(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		after  func(now time.Time) string
		want   time.Duration // zero if the service asks for no pause
	}{
		"429 with seconds":          {429, seconds("120"), 2 * time.Minute},
		"429 with an hour":          {429, seconds("3600"), time.Hour},
		"429 with a day":            {429, seconds("86400"), time.Hour},
		"429 with no seconds":       {429, seconds("0"), time.Second},
		"429 with a time":           {429, func(now time.Time) string { return now.Add(time.Minute).UTC().Format(http.TimeFormat) }, time.Minute},
		"429 with something else":   {429, seconds("soon"), rest.DefaultWait},
		"429 with nothing":          {429, seconds(""), rest.DefaultWait},
		"503 with seconds":          {503, seconds("120"), 2 * time.Minute},
		"500 with a time":           {500, func(now time.Time) string { return now.Add(time.Minute).UTC().Format(http.TimeFormat) }, time.Minute},
		"503 with nothing":          {503, seconds(""), 0},
		"404 with Retry-After":      {404, seconds("120"), 0},
		"a redirect to another API": {302, seconds("120"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d, asked := refusingTenant(t, c.status, c.after(time.Now()))
				_, err := d.k.customer(t.Context(), "c-1")
				if wait, waits := chat.RetryWait(err); wait != c.want || waits != (c.want > 0) {
					t.Errorf("the first request waits %v: %v", wait, err)
				}
				if c.want == 0 {
					_, _ = d.k.customer(t.Context(), "c-2")
					if n := asked.Load(); n != 2 {
						t.Errorf("%d requests, want 2", n)
					}
					return
				}
				if c.want <= api.PersonWait {
					return
				}
				began := time.Now()
				for i := range 4 {
					_, err := d.k.customer(t.Context(), fmt.Sprintf("c-%d", i))
					if wait, _ := chat.RetryWait(err); wait < c.want || wait > c.want+maxReturnDelay {
						t.Errorf("another request waits %v: %v", wait, err)
					}
				}
				_, err = d.k.api.Customers(t.Context(), 1)
				if err == nil || !strings.Contains(err.Error(), "Chatvisor asked for a pause") || !time.Now().Equal(began) {
					t.Errorf("a request of a person fails after %v: %v", time.Since(began), err)
				}
				if n := asked.Load(); n != 1 {
					t.Errorf("%d requests during the pause", n-1)
				}
				<-time.After(c.want)
				if _, _ = d.k.customer(t.Context(), "c-9"); asked.Load() != 2 {
					t.Error("no request after the pause")
				}
			})
		})
	}
}

func seconds(n string) func(time.Time) string { return func(time.Time) string { return n } }

func TestWaitingRequestsArePostponedByRetryAfter(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, asked := refusingTenant(t, http.StatusServiceUnavailable, "60")
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				_, err := d.k.api.Customers(t.Context(), 1)
				if wait, waits := chat.RetryWait(d.k.api.Classify(err)); !waits || wait < 50*time.Second {
					t.Errorf("a waiting request is not postponed: %v", err)
				}
			})
		}
		all.Wait()
		if n := asked.Load(); n != 1 {
			t.Errorf("%d requests, want 1", n)
		}
	})
}

func TestACancelledWaitMakesNoRequest(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newTenant(t, "")
		if _, err := d.k.api.Customers(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), gap/2)
		defer cancel()
		if _, err := d.k.api.Customers(ctx, 1); !errors.Is(err, context.DeadlineExceeded) || len(d.Requests()) != 1 {
			t.Errorf("%v after %d requests", err, len(d.Requests()))
		}
	})
}
