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
		_, customer, err := c.take(ctx, getCustomer, map[placeholder]any{"customerId": id}, maxPause)
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

// What a customer may lack altogether, because a path is wrong or because nobody
// gave it yet.
var (
	errNoLabels     = errors.New("the customer has nothing at labels_path")
	errNoExternalID = errors.New("the customer has nothing at external_id_path")
)

// customerLabels are the labels that a customer has. They are only believed if
// there is a list of texts: with a wrong path, those there are would be lost.
func (r *Rules) customerLabels(customer gjson.Result) ([]string, error) {
	if len(r.labels.all) == 0 {
		return nil, errors.New("labels_path is not set, so the labels that a customer has would be lost")
	}
	for _, path := range r.labels.all {
		list := customer.Get(path)
		if list.Type == gjson.Null { // or there is nothing
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

// customerExternalID is the external id that a customer has; empty if there is null
// or an empty text. Nothing at all is not believed: with a wrong path, a customer
// who has one would seem to have none.
func (r *Rules) customerExternalID(customer gjson.Result) (string, error) {
	err := errNoExternalID
	for _, path := range r.externalID.all {
		switch id := customer.Get(path); {
		case !id.Exists():
		case id.Type == gjson.Null, id.Type == gjson.String, id.Type == gjson.Number:
			err = nil
		default:
			return "", errors.New("what is at external_id_path is neither a text nor a number")
		}
	}
	return r.externalID.text(customer), err
}
