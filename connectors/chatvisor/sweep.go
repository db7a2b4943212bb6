package chatvisor

import (
	"context"
	"errors"
	"fmt"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/chatvisor/api"
	"cobrowse-bridge/connectors/chatvisor/rules"

	"github.com/tidwall/gjson"
)

// sweep reads the list of conversations, to find those whose webhooks were lost. The
// vendor does not document its order, or whether it is complete, so a sweep opens cards
// and never closes one.
func (c *connector) sweep(ctx context.Context, found func(context.Context, []chat.Delivery) error) error {
	warned := false
	e := c.rules.Endpoints[rules.ListConversations]
	for p, err := range c.api.Pages(ctx, rules.ListConversations, c.rules.Sweep.MaxPages, api.SweepWait) {
		if incomplete, ok := errors.AsType[*api.IncompleteError](err); ok {
			return fmt.Errorf("%w: %w (sweep.max_pages is %d)", chat.ErrIncomplete, incomplete, c.rules.Sweep.MaxPages)
		}
		if err != nil {
			return err
		}
		var chats []chat.Delivery
		for _, row := range p.Rows {
			d, ok, err := c.deliveryOf(row, p.RequestedAt)
			if err != nil {
				return err
			}
			if d.Key != "" {
				chats = append(chats, d)
			}
			if !ok && !warned {
				warned = true
				c.log.WarnContext(ctx, "conversation in the list ignored: no customer, conversation id or status", "connector", c.name, "fields", rules.Skeleton(row))
			}
		}
		if err := found(ctx, chats); err != nil {
			return err
		}
		if e.Has("pageSize") && len(p.Rows) < c.rules.Sweep.PageSize {
			return nil
		}
	}
	return nil
}

// deliveryOf returns the delivery that the webhook of a listed conversation would have
// been. Its key is empty if the conversation has ended. ok is false if the row has no
// usable customer, conversation id or status.
func (c *connector) deliveryOf(row gjson.Result, requestedAt time.Time) (d chat.Delivery, ok bool, err error) {
	s, fault := c.rules.Bodies[rules.NewConversation].Read(row)
	switch {
	case fault != "" || s.Status == "": // without a status it may have ended
		return d, false, nil
	case c.rules.IsDone(s.Status):
		return d, true, nil
	}
	// Guess treats only UNREAD as a new conversation: an agent who reopens one begins
	// none. A customer who wrote after the end, and whose conversation an agent opened
	// before this sweep, is found when they write again.
	k := c.stored(c.rules.Guess(row), s, requestedAt)
	_, body, err := encodeDelivery([]storedEvent{k})
	return chat.Delivery{Key: sweepKey(s), Body: body, Chat: k.chatID(), Received: requestedAt}, true, err
}

// canSweep reports whether list_conversations is configured.
func (c *connector) canSweep() bool { return c.api.WhyOff(rules.ListConversations) == "" }

// sweepKey returns a key that stays equal until the customer writes again. Webhooks and
// the list both contain the text of the customer's last message.
func sweepKey(s rules.Slots) string {
	return fmt.Sprintf("%d:%s%d:%s%s", len(s.Customer), s.Customer, len(s.Conversation), s.Conversation, s.Text)
}
