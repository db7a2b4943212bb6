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

	"cobrowse-bridge/bridge"
)

func TestABurstIsWorkedOffAtFullPaceAndHardlyAnybodyComesBackInVain(t *testing.T) {
	for name, endpoint := range map[string]string{
		"in the path":  `{path: "/who/{customerId}/card"}`,
		"in the query": `{path: "/who", query: {id: "{customerId}"}}`,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				const many = 40
				var asked, vain atomic.Int32
				d := newTenant(t, withEndpoint(getCustomer, endpoint), func(c *Config) {
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
							_, err := d.Read(t.Context(), bridge.Delivery{Body: mustJSON(kept{Event: eventMessage, Customer: fmt.Sprintf("c-%d", i)})})
							wait, put := bridge.RetryWait(err)
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
					t.Errorf("%d customers were put off %d times", many, n)
				}
			})
		})
	}
}

func TestPeopleHaveATurnHoweverManyOthersWait(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newTenant(t, "odd")
		for i := range 100 {
			id := fmt.Sprintf("c-%d", i)
			go func() { _, _ = d.k.customer(t.Context(), id) }()
		}
		go func() { _ = d.k.sweep(t.Context(), func(context.Context, []bridge.Delivery) error { return nil }) }()
		synctest.Wait()
		for range 3 { // at once
			if _, err := d.k.api.do(t.Context(), customersPage(1)); err != nil {
				t.Error(err)
			}
		}
		synctest.Wait()
	})
}

func TestWhoeverWaitsHasATurnTooButNotALateOne(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newTenant(t, "")
		began, put := time.Now(), 0
		var mu sync.Mutex
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				_, err := d.k.api.do(t.Context(), customersPage(1))
				if wait, ok := bridge.RetryWait(d.k.classify(err)); ok && wait > maxPrompt {
					mu.Lock()
					put++
					mu.Unlock()
				} else if err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if n := len(d.Requests()); n != 11 || put != 9 || time.Since(began) != maxPrompt {
			t.Errorf("%d requests in %v, %d put off", n, time.Since(began), put)
		}
	})
}

func TestTheSecondTryWithANewTokenWaitsItsTurn(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(apiToken), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		d := newTenant(t, "", func(c *Config) { c.Token, c.TokenFile = "canary-former-token-Zoo2ahw", file })
		if _, err := d.k.api.do(t.Context(), customersPage(1)); err != nil {
			t.Fatal(err)
		}
		if r := d.Requests(); len(r) != 2 || r[1].At.Sub(r[0].At) < gap {
			t.Errorf("requests %+v", r)
		}
	})
}

// refusing is a tenant whose API refuses everything for now, and counts what it is
// asked.
func refusing(t *testing.T, status int, after string) (d *tenant, asked *atomic.Int32) {
	asked = new(atomic.Int32)
	return newTenant(t, "odd", func(c *Config) {
		c.Transport = roundTripper(func(r *http.Request) (*http.Response, error) {
			asked.Add(1)
			resp := jsonAnswer(r, status, "{}")
			resp.Header.Set("Retry-After", after)
			return resp, nil
		})
	}), asked
}

func TestAServiceThatWantsToBeLeftAloneIsAskedByNobody(t *testing.T) {
	for name, c := range map[string]struct {
		status int
		after  func(now time.Time) string
		want   time.Duration // zero for no wish of the kind
	}{
		"429 with seconds":          {429, seconds("120"), 2 * time.Minute},
		"429 with an hour":          {429, seconds("3600"), time.Hour},
		"429 with a day":            {429, seconds("86400"), time.Hour},
		"429 with no seconds":       {429, seconds("0"), time.Second},
		"429 with a time":           {429, func(now time.Time) string { return now.Add(time.Minute).UTC().Format(http.TimeFormat) }, time.Minute},
		"429 with something else":   {429, seconds("soon"), blindWait},
		"429 with nothing":          {429, seconds(""), blindWait},
		"503 with seconds":          {503, seconds("120"), 2 * time.Minute},
		"500 with a time":           {500, func(now time.Time) string { return now.Add(time.Minute).UTC().Format(http.TimeFormat) }, time.Minute},
		"503 with nothing":          {503, seconds(""), 0},
		"404, which asks for none":  {404, seconds("120"), 0},
		"a redirect to another API": {302, seconds("120"), 0},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				d, asked := refusing(t, c.status, c.after(time.Now()))
				_, err := d.k.customer(t.Context(), "c-1")
				if wait, told := bridge.RetryWait(err); wait != c.want || told != (c.want > 0) {
					t.Errorf("the first waits %v: %v", wait, err)
				}
				if c.want == 0 {
					_, _ = d.k.customer(t.Context(), "c-2")
					if n := asked.Load(); n != 2 {
						t.Errorf("asked %d times, and not twice", n)
					}
					return
				}
				if c.want <= maxPrompt {
					return
				}
				began := time.Now()
				for i := range 4 {
					_, err := d.k.customer(t.Context(), fmt.Sprintf("c-%d", i))
					if wait, _ := bridge.RetryWait(err); wait < c.want || wait > c.want+maxAway {
						t.Errorf("another waits %v: %v", wait, err)
					}
				}
				_, err = d.k.api.do(t.Context(), customersPage(1))
				if err == nil || !strings.Contains(err.Error(), "Chatvisor said to leave it alone") || !time.Now().Equal(began) {
					t.Errorf("a person is told after %v: %v", time.Since(began), err)
				}
				if n := asked.Load(); n != 1 {
					t.Errorf("asked %d times meanwhile", n-1)
				}
				<-time.After(c.want)
				if _, _ = d.k.customer(t.Context(), "c-9"); asked.Load() != 2 {
					t.Error("nobody asks after that")
				}
			})
		})
	}
}

func seconds(n string) func(time.Time) string { return func(time.Time) string { return n } }

func TestWhoeverStandsInLineIsSentAwayToo(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d, asked := refusing(t, http.StatusServiceUnavailable, "60")
		var all sync.WaitGroup
		for range 3 {
			all.Go(func() {
				_, err := d.k.api.do(t.Context(), customersPage(1))
				if wait, told := bridge.RetryWait(d.k.classify(err)); !told || wait < 50*time.Second {
					t.Errorf("%v", err)
				}
			})
		}
		all.Wait()
		if n := asked.Load(); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

func TestWhoeverLeavesTheLineIsNotServed(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newTenant(t, "")
		if _, err := d.k.api.do(t.Context(), customersPage(1)); err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), gap/2)
		defer cancel()
		if _, err := d.k.api.do(ctx, customersPage(1)); !errors.Is(err, context.DeadlineExceeded) || len(d.Requests()) != 1 {
			t.Errorf("%v after %d requests", err, len(d.Requests()))
		}
	})
}
