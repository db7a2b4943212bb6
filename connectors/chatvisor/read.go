package chatvisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/chatvisor/rules"

	"github.com/tidwall/gjson"
)

// chatID returns the id of the conversation for the bridge. It is the customer's id,
// since a customer has one conversation at a time, and the mapped conversation id if
// there is one.
func (k storedEvent) chatID() string {
	if k.Conversation == "" {
		return k.Customer
	}
	return k.Customer + "/" + k.Conversation
}

// read turns a delivery into an ask. An end needs no request, since it only closes a
// card. For every other event it reads the customer first, if get_customer is configured.
func (c *connector) read(ctx context.Context, d chat.Delivery) (chat.Ask, error) {
	var k storedEvent
	err := json.Unmarshal(d.Body, &k)
	if err == nil && len(k.List) > 0 {
		return chat.Ask{}, c.deliverEach(ctx, k.List, d.Received)
	}
	if err != nil || k.Event == "" || k.Customer == "" && k.Mismatch == "" {
		return chat.Ask{}, chat.Permanent(errors.New("the stored delivery cannot be read"))
	}
	switch {
	case k.Mismatch != "" && k.Rules == c.rules.Fingerprint:
		return chat.Ask{}, chat.Permanent(fmt.Errorf("correct webhook.mapping in the file of %s, restart the bridge, then retry this delivery to remove it: %s", c.api.Env("CONFIG"), k.Mismatch))
	case k.Mismatch != "":
		return chat.Ask{}, nil // the file has changed since, and the event itself was not stored
	case k.Done:
		return chat.Ask{Verb: chat.Close, Chat: k.chatID()}, nil
	}
	ask := chat.Ask{
		Verb: chat.Start, Chat: k.chatID(), ChatURL: k.URL,
		// A customer who writes after the end of a conversation begins another one. A
		// change of status begins none.
		New: k.Event != rules.StatusChange,
		// Webhooks do not name the agent. The press on the card does.
		Agent: chat.Agent{ID: "team", Name: c.rules.Team},
	}
	customer, err := c.customer(ctx, k.Customer)
	if err != nil {
		return chat.Ask{}, err
	}
	ask.Visitor = rules.Short(c.rules.Name.Text(customer))
	ask.Clues = c.clues(ctx, k, customer)
	return ask, nil
}

// The prefixes of integration ids. There are two, so that an id of Chatvisor never
// equals an id of the operator's site.
const (
	customerPrefix = "chatvisor:"
	externalPrefix = "chatvisorext:"
)

// clues returns the clues that join names, in that order. All are claims of the page.
func (c *connector) clues(ctx context.Context, k storedEvent, customer gjson.Result) chat.Clues {
	var clues chat.Clues
	add := func(prefix, id string) {
		switch {
		case chat.IsIntegrationID(prefix + id):
			clues.IntegrationIDs = append(clues.IntegrationIDs, prefix+id)
		case id != "":
			c.log.WarnContext(ctx, "id not used to find the customer: not 1 to 200 letters, digits and . _ @ + / = ~ -",
				"connector", c.name, "chat", k.chatID(), "kind", prefix)
		}
	}
	for _, method := range c.rules.Join {
		switch method {
		case rules.JoinExternal:
			add(externalPrefix, c.rules.ExternalID.Text(customer))
		case rules.JoinCustomer:
			add(customerPrefix, k.Customer)
		case rules.JoinCode:
			clues.LookupCode = k.Code
		case rules.JoinEmail:
			clues.Email = c.rules.Email.Text(customer)
		}
	}
	return clues
}
