package chatvisor

import (
	"context"
	"errors"
	"time"

	"cobrowse-bridge/bridge"
)

// listen takes up the events that came in a list with others. It begins with what
// an operator may wonder about later: how events without a name are read, and which
// steps are taken.
func (c *connector) listen(ctx context.Context, deliver func(context.Context, bridge.Delivery) error) error {
	c.hand.Store(&deliver)
	defer c.hand.Store(nil)
	c.log.InfoContext(ctx, "a webhook that names no event is taken by its status: UNREAD opens, another changes, none is a message", "connector", c.name)
	for _, line := range c.stepLines() {
		c.log.InfoContext(ctx, "step", "connector", c.name, "about", line)
	}
	<-ctx.Done()
	return ctx.Err()
}

// spread makes a delivery of its own of each event that came in a list. That a
// conversation is over is pending at every moment until it is worked on: the list is
// finished only after the deliveries of all its events are stored.
func (c *connector) spread(ctx context.Context, list []kept, received time.Time) error {
	hand := c.hand.Load()
	if hand == nil {
		return bridge.RetryAfter(errors.New("the events of a list wait until the connector listens"), time.Second)
	}
	for i, k := range list {
		key, body, err := pack([]kept{k})
		if err != nil {
			return err
		}
		if err := (*hand)(ctx, bridge.Delivery{Key: key, Body: body, Received: received.Add(inList(i)), Changes: changes([]kept{k})}); err != nil {
			return err
		}
	}
	return nil
}
