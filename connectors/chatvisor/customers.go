package chatvisor

import (
	"context"
	"time"

	"cobrowse-bridge/bridge/cache"
	"cobrowse-bridge/connectors/chatvisor/api"
	"cobrowse-bridge/connectors/chatvisor/rules"

	"github.com/tidwall/gjson"
	"golang.org/x/sync/singleflight"
)

const (
	// customerTTL is how long a customer is cached. The webhooks of one conversation
	// arrive together, and the API gets at most two requests a second.
	customerTTL = 4 * time.Second
	// maxCustomers limits the number in the cache, maxCustomer the size of one in bytes.
	maxCustomers = 1024
	maxCustomer  = 32 << 10
)

// customers caches the answers of get_customer.
type customers struct {
	requests singleflight.Group
	cache    *cache.Cache[gjson.Result]
}

func newCustomers() *customers {
	return &customers{cache: cache.New(maxCustomers, func(customer gjson.Result) time.Duration {
		if len(customer.Raw) > maxCustomer {
			return 0
		}
		return customerTTL
	})}
}

// customer reads a customer; the result is empty if get_customer is not configured.
// Callers who ask for the same customer at the same time share the answer. It does not
// use the cache's own Get, since a connector's requests end with the caller's context.
func (c *connector) customer(ctx context.Context, id string) (gjson.Result, error) {
	if c.api.WhyOff(rules.GetCustomer) != "" {
		return gjson.Result{}, nil
	}
	answer, err, _ := c.customers.requests.Do(id, func() (any, error) {
		if customer, ok := c.customers.cache.Peek(id); ok {
			return customer, nil
		}
		_, customer, err := c.api.RunStep(ctx, rules.GetCustomer, rules.Values{"customerId": id}, api.BackgroundWait)
		if err == nil {
			c.customers.cache.Put(id, customer)
		}
		return customer, err
	})
	if err != nil {
		return gjson.Result{}, c.api.Classify(err)
	}
	return answer.(gjson.Result), nil
}
