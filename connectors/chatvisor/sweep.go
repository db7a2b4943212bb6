package chatvisor

import (
	"context"
	"fmt"
	"time"

	"cobrowse-bridge/bridge"

	"github.com/tidwall/gjson"
)

// sweep goes through the list of conversations, for those whose webhooks were lost.
// How it is sorted and whether it is whole is not known: it opens cards and never
// closes one.
func (c *connector) sweep(ctx context.Context, found func(context.Context, []bridge.Delivery) error) error {
	begins := firstRows{}
	odd := 0
	e := c.rules.endpoints[listConversations]
	for n := range c.rules.sweep.maxPages {
		// What the list says was true no earlier than it was asked for.
		asked := c.now()
		_, answer, err := c.take(ctx, listConversations, map[placeholder]any{
			"page": e.firstPage + n, "pageSize": c.rules.sweep.pageSize,
		}, maxPatience)
		if err != nil {
			return c.classify(err)
		}
		rows, err := e.rows(answer)
		if err != nil {
			return err
		}
		switch {
		case len(rows) == 0 && e.mayCountFromOne(n):
			continue
		case len(rows) == 0:
			return nil
		}
		if before, repeats := begins.repeats(e.firstPage+n, rows); repeats {
			c.log.WarnContext(ctx, "the list of conversations repeats itself; what may be behind is not looked at", "connector", c.name, "why", e.repeated(before, e.firstPage+n))
			return nil
		}
		var page []bridge.Delivery
		for _, row := range rows {
			d, ok, err := c.listed(row, asked)
			if err != nil {
				return err
			}
			if d.Key != "" {
				page = append(page, d)
			}
			if !ok {
				if odd++; odd == 1 {
					c.log.WarnContext(ctx, "a listed conversation does not say whose or which it is, or its status", "connector", c.name, "looks", skeleton(row))
				}
			}
		}
		if err := found(ctx, page); err != nil {
			return err
		}
		if !e.has("page") || e.has("pageSize") && len(rows) < c.rules.sweep.pageSize {
			return nil
		}
	}
	c.log.WarnContext(ctx, "the list of conversations goes on behind max_pages; what is there is not looked at", "connector", c.name)
	return nil
}

// listed takes a listed conversation for what its webhook would have said; it has no
// key if the conversation is over. It reports whether it says whose and which it is,
// and whether that is so.
func (c *connector) listed(row gjson.Result, asked time.Time) (d bridge.Delivery, ok bool, err error) {
	s, wrong := c.rules.bodies[eventConversation].read(row)
	switch {
	case wrong != "" || s.status == "": // and whether it is over nobody knows
		return d, false, nil
	case c.rules.isDone(s.status):
		return d, true, nil
	}
	// As with a webhook that names no event, only UNREAD is the customer's doing: an
	// agent who takes up again what was done begins no other conversation. Somebody who
	// wrote after the end, and whose conversation an agent was at before the sweep was,
	// is found as soon as they write once more.
	k := c.keep(c.rules.guess(row), s, asked)
	_, body, err := pack([]kept{k})
	return bridge.Delivery{Key: s.standing(), Body: body, Received: asked}, true, err
}

// sweeps reports whether there is a list to go through.
func (c *connector) sweeps() bool { return c.rules.off(listConversations, "") == "" }

// standing is equal for as long as nothing is new in an open conversation. All hooks
// of one have the text of the customer's last message, and so has the list.
func (s slots) standing() string {
	return fmt.Sprintf("%d:%s%d:%s%s", len(s.customer), s.customer, len(s.conversation), s.conversation, s.text)
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

// firstRows know which page began with what. A service that knows no pages gives the
// same one for ever, one that counts them from 1 may give the first for 0 as well.
type firstRows map[[32]byte]int

// repeats reports whether a page begins as one did before, and which.
func (f firstRows) repeats(page int, rows []gjson.Result) (before int, repeats bool) {
	first := digest(rows[0].Raw)
	if before, repeats = f[first]; !repeats {
		f[first] = page
	}
	return before, repeats
}

// repeated says that a page is one that came before, and what an operator can do.
func (e *endpoint) repeated(before, page int) string {
	remedy := "a page behind the last has to be empty; if the service knows no pages, take {page} out"
	if page == 1 {
		remedy = "set first_page: 1, or, if the service knows no pages, take {page} out"
	}
	return fmt.Sprintf("page %d and page %d of endpoints.%s are the same: %s", before, page, e.name, remedy)
}

// mayCountFromOne reports whether an empty page may be the one before the first: the
// operator did not say with which number the list begins.
func (e *endpoint) mayCountFromOne(n int) bool { return n == 0 && e.firstPage == 0 && e.has("page") }
