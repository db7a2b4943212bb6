package chatvisor

import (
	"context"
	"errors"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/chatvisor/rules"
)

// listen logs how events without a name are handled and which steps are configured.
// Until ctx ends it lets deliverEach store the events of lists.
func (c *connector) listen(ctx context.Context, deliver func(context.Context, chat.Delivery) error) error {
	c.deliver.Store(&deliver)
	defer c.deliver.Store(nil)
	c.log.DebugContext(ctx, "webhooks to /auto handled by status", "connector", c.name,
		"unread", rules.NewConversation, "other_status", rules.StatusChange, "no_status", rules.NewMessage)
	for _, line := range c.stepLines() {
		c.log.DebugContext(ctx, "step of the API", "connector", c.name, "status", line)
	}
	<-ctx.Done()
	return ctx.Err()
}

// deliverEach stores each event of a list as a delivery of its own. Ends stay pending
// throughout, since the list is finished only after all its events are stored.
func (c *connector) deliverEach(ctx context.Context, list []storedEvent, received time.Time) error {
	deliver := c.deliver.Load()
	if deliver == nil {
		return chat.RetryAfter(errors.New("the events of a list wait until the connector has started"), time.Second)
	}
	for i, k := range list {
		key, body, err := encodeDelivery([]storedEvent{k})
		if err != nil {
			return err
		}
		if err := (*deliver)(ctx, chat.Delivery{Key: key, Body: body, Received: received.Add(listOffset(i)), Changes: changes([]storedEvent{k})}); err != nil {
			return err
		}
	}
	return nil
}
