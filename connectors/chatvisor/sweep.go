package chatvisor

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"cobrowse-bridge/bridge"

	"github.com/tidwall/gjson"
)

const (
	firstPause = 5 * time.Second
	longPause  = 10 * time.Minute
	// maxSeen bounds what is remembered of a list that never comes to its end.
	maxSeen = 2 * maxPages * maxPageSize
)

// listen looks through the list of conversations now and then, for those whose
// webhooks were lost, if an operator has said where that list is. How it is sorted
// and whether it is whole is not known: it opens cards and never closes one.
func (c *connector) listen(ctx context.Context, deliver func(context.Context, bridge.Delivery) error) error {
	c.hand.Store(&deliver)
	defer c.hand.Store(nil)
	c.log.InfoContext(ctx, "a webhook that names no event is taken by its status: UNREAD opens, another changes, none is a message", "connector", c.name)
	for _, line := range c.stepLines() {
		c.log.InfoContext(ctx, "step", "connector", c.name, "about", line)
	}
	if c.rules.off(listConversations, "") != "" {
		<-ctx.Done()
		return ctx.Err()
	}
	s := &sweep{connector: c, deliver: deliver}
	for pause := firstPause; ; {
		next := c.rules.sweep.interval
		err := s.run(ctx)
		if err != nil && ctx.Err() == nil {
			next, pause = after(err, pause), min(2*pause, longPause)
			c.log.WarnContext(ctx, "conversations cannot be listed; those whose webhooks were lost have no card",
				"connector", c.name, "wait", next, "err", err)
		} else {
			pause = firstPause
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(jitter(next)):
		}
	}
}

// after is how long to leave the service alone after a failure: as long as it
// says, and long where somebody has to mend something.
func after(err error, pause time.Duration) time.Duration {
	if wait, ok := bridge.RetryWait(err); ok {
		return wait
	}
	if status := refusal(err); bridge.IsPermanent(err) || status == http.StatusUnauthorized || status == http.StatusForbidden {
		return longPause
	}
	return pause
}

// jitter keeps replicas from asking all at once: up to a tenth longer.
func jitter(d time.Duration) time.Duration { return d + rand.N(d/10+1) }

// A sweep goes through the list. It remembers what it saw the last time, so that a
// conversation that stays as it is becomes one delivery and no more, also where a
// later page fails.
type sweep struct {
	*connector
	deliver func(context.Context, bridge.Delivery) error
	seen    map[string]bool
}

func (s *sweep) run(ctx context.Context) (err error) {
	seen := map[string]bool{}
	defer func() {
		if err != nil && len(s.seen) < maxSeen {
			maps.Copy(seen, s.seen) // the list broke off, and what it did not come to may be as it was
		}
		s.seen = seen
	}()
	var first string // what the page before began with
	odd := 0
	e := s.rules.endpoints[listConversations]
	for n := range s.rules.sweep.maxPages {
		// What the list says was true no earlier than it was asked for.
		asked := s.now()
		_, answer, err := s.take(ctx, listConversations, map[placeholder]any{
			"page": e.firstPage + n, "pageSize": s.rules.sweep.pageSize,
		}, false)
		if err != nil {
			return s.classify(err)
		}
		rows, err := e.rows(answer)
		if err != nil {
			return err
		}
		if len(rows) == 0 || n > 0 && rows[0].Raw == first {
			break // a service that knows no pages gives the same one for ever
		}
		first = rows[0].Raw
		for _, row := range rows {
			ok, err := s.row(ctx, row, asked, seen)
			if err != nil {
				return err
			}
			if !ok {
				if odd++; odd == 1 {
					s.log.WarnContext(ctx, "a listed conversation does not say whose or which it is", "connector", s.name, "looks", skeleton(row))
				}
			}
		}
		if len(rows) < s.rules.sweep.pageSize || !e.has("page") {
			break
		}
	}
	return nil
}

// row takes a listed conversation for what the webhook of a new one would have
// said. It reports whether it names a customer, and a conversation where it should.
func (s *sweep) row(ctx context.Context, row gjson.Result, asked time.Time, seen map[string]bool) (bool, error) {
	found, lacks := s.rules.bodies[eventConversation].read(row)
	if lacks != "" {
		return false, nil
	}
	k, _ := s.event(eventConversation, row, asked)
	if k.Event == "" {
		return true, nil // it is done
	}
	what := s.print(eventConversation, found.customer, found.conversation, found.status, found.text)
	if s.seen[what] {
		seen[what] = true
		return true, nil
	}
	key, body, err := pack([]kept{k})
	if err == nil {
		err = s.deliver(ctx, bridge.Delivery{Key: key, Body: body, Received: asked})
	}
	if err == nil {
		seen[what] = true
	}
	return true, err
}

// rows are what a list's answer holds.
func (e *endpoint) rows(answer gjson.Result) ([]gjson.Result, error) {
	list := answer
	for _, path := range e.items.all {
		if list = answer.Get(path); list.Exists() {
			break
		}
	}
	if !list.IsArray() {
		return nil, fmt.Errorf("%s: there is no list at items; an answer looks like %s", e.name, skeleton(answer))
	}
	return list.Array(), nil
}

// customersPage is the one documented read (developers.chatvisor.com, "List all
// customers").
func customersPage(size int) request {
	return request{
		name: "GET /customer", method: http.MethodGet, path: "/customer", prompt: true,
		query: url.Values{"pageNumber": {"0"}, "pageSize": {strconv.Itoa(size)}},
	}
}

// stepLines say of each step whether it is taken, and where it comes from.
func (c *connector) stepLines() []string {
	lines := []string{"list_customers: documented."}
	for _, s := range steps {
		line := s.name + ": not configured; the bridge does not " + s.does + "."
		if e := c.rules.endpoints[s.name]; e != nil && e.enabled {
			line = fmt.Sprintf("%s: set by you, %s %s.", s.name, e.method, e.where())
		} else if e != nil {
			line = s.name + ": set by you, but not enabled; the bridge does not " + s.does + "."
		}
		lines = append(lines, line)
	}
	return lines
}

// where is the endpoint's path as the file has it.
func (e *endpoint) where() string {
	var b strings.Builder
	for _, s := range e.path {
		b.WriteString("/" + s.String())
	}
	return b.String()
}
