package chatvisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge"

	"github.com/tidwall/gjson"
)

// sweep goes through the list of conversations, for those whose webhooks were lost.
// How it is sorted and whether it is whole is not known: it opens cards and never
// closes one.
func (c *connector) sweep(ctx context.Context, found func(context.Context, []bridge.Delivery) error) error {
	odd := false
	e := c.rules.endpoints[listConversations]
	for p, err := range c.pages(ctx, listConversations, c.rules.sweep.maxPages, maxPatience) {
		if part, ok := errors.AsType[*partError](err); ok {
			c.log.WarnContext(ctx, "the list of conversations may go on; what is there is not looked at", "connector", c.name, "why", part.why, "max_pages", c.rules.sweep.maxPages)
			return nil
		}
		if err != nil {
			return err
		}
		var open []bridge.Delivery
		for _, row := range p.rows {
			d, ok, err := c.listed(row, p.asked)
			if err != nil {
				return err
			}
			if d.Key != "" {
				open = append(open, d)
			}
			if !ok && !odd {
				odd = true
				c.log.WarnContext(ctx, "a listed conversation does not say whose or which it is, or its status", "connector", c.name, "looks", skeleton(row))
			}
		}
		if err := found(ctx, open); err != nil {
			return err
		}
		if e.has("pageSize") && len(p.rows) < c.rules.sweep.pageSize {
			return nil
		}
	}
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
