package chatvisor

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/tidwall/gjson"
	"golang.org/x/sync/singleflight"
)

const (
	// customerLife is how long a customer is remembered: the hooks of one
	// conversation come together, and there may be two requests a second.
	customerLife = 4 * time.Second
	// maxCustomers bounds how many are, and maxCustomer how large one is in bytes.
	maxCustomers = 1024
	maxCustomer  = 32 << 10
)

// customers remembers what was read of customers, for a moment.
type customers struct {
	reading singleflight.Group
	mu      sync.Mutex
	known   map[string]known
}

type known struct {
	customer gjson.Result
	until    time.Time
}

func (c *customers) get(id string) (gjson.Result, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k, ok := c.known[id]
	return k.customer, ok && time.Now().Before(k.until)
}

func (c *customers) put(id string, customer gjson.Result) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.known == nil || len(c.known) >= maxCustomers {
		c.known = map[string]known{}
	}
	if len(customer.Raw) <= maxCustomer {
		c.known[id] = known{customer, time.Now().Add(customerLife)}
	}
}

// customer reads a customer; nothing where no endpoint for that is configured.
// Whoever asks for the same one at the same time shares the answer.
func (c *connector) customer(ctx context.Context, id string) (gjson.Result, error) {
	if c.rules.off(getCustomer, "") != "" {
		return gjson.Result{}, nil
	}
	answer, err, _ := c.customers.reading.Do(id, func() (any, error) {
		if customer, ok := c.customers.get(id); ok {
			return customer, nil
		}
		_, customer, err := c.take(ctx, getCustomer, map[placeholder]any{"customerId": id}, false)
		if err == nil {
			c.customers.put(id, customer)
		}
		return customer, err
	})
	if err != nil {
		return gjson.Result{}, c.classify(err)
	}
	return answer.(gjson.Result), nil
}

// errNoLabels means that a customer has nothing where labels should be.
var errNoLabels = errors.New("the customer has nothing at labels_path")

// customerLabels are the labels that a customer has. They are only believed if
// there is a list of texts.
func (r *Rules) customerLabels(customer gjson.Result) ([]string, error) {
	if len(r.labels.all) == 0 {
		return nil, errors.New("labels_path is not set, so the labels that a customer has would be lost")
	}
	for _, path := range r.labels.all {
		list := customer.Get(path)
		if !list.Exists() {
			continue
		}
		if !list.IsArray() {
			return nil, errors.New("what is at labels_path is no list")
		}
		var labels []string
		for _, one := range list.Array() {
			if one.Type != gjson.String {
				return nil, errors.New("what is at labels_path is no list of texts")
			}
			if !slices.Contains(labels, one.Str) {
				labels = append(labels, one.Str)
			}
		}
		return labels, nil
	}
	return nil, errNoLabels
}
