package chatvisor

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"strings"
	"unicode"

	"cobrowse-bridge/bridge"

	"github.com/tidwall/gjson"
)

// chat is what the conversation is called: by the customer, who has but one at a
// time, unless the operator has found an id for conversations.
func (k kept) chat() string {
	if k.Conversation == "" {
		return k.Customer
	}
	return k.Customer + "/" + k.Conversation
}

// read says what an event means. That a conversation is over is believed at once,
// since it only ends something; that one goes on is a hint, and the customer is
// read before anything is said of them.
func (c *connector) read(ctx context.Context, d bridge.Delivery) (bridge.Ask, error) {
	var k kept
	err := json.Unmarshal(d.Body, &k)
	if err == nil && len(k.List) > 0 {
		return bridge.Ask{}, c.spread(ctx, k.List, d.Received)
	}
	if err != nil || k.Event == "" || k.Customer == "" && k.Misfit == "" {
		return bridge.Ask{}, bridge.Permanent(errors.New("the stored delivery cannot be read"))
	}
	switch {
	case k.Misfit != "" && k.Rules == c.rules.print:
		return bridge.Ask{}, bridge.Permanent(fmt.Errorf("mend webhook.mapping in the file of %s, restart, and retry this to be rid of it: %s", c.env("CONFIG"), k.Misfit))
	case k.Misfit != "":
		return bridge.Ask{}, nil // the file was mended, and of the event nothing is left
	case k.Done:
		return bridge.Ask{Verb: bridge.Close, Chat: k.chat()}, nil
	}
	ask := bridge.Ask{
		Verb: bridge.Start, Chat: k.chat(), ChatURL: k.URL,
		// A customer who writes after the conversation was done begins another, and
		// both hooks say so; a change of status says nothing of the kind.
		New: k.Event != eventStatus,
		// Webhooks do not tell whose conversation it is. Where cards are shown,
		// whoever presses is known.
		Agent: bridge.Agent{ID: "team", Name: c.rules.team},
	}
	customer, err := c.customer(ctx, k.Customer)
	if err != nil {
		return bridge.Ask{}, err
	}
	ask.Visitor = short(c.rules.name.text(customer))
	ask.Clues = c.clues(ctx, k, customer)
	return ask, nil
}

// termForm is that of an id that Upscope can be asked for.
var termForm = regexp.MustCompile(`^[A-Za-z0-9_-]{1,128}$`)

// The beginnings of integration ids. There are two, so that the ids of customers
// and those of the operator's site never meet.
const (
	customerPrefix = "chatvisor:"
	externalPrefix = "chatvisorext:"
)

// clues are what the customer may be found by, in the order of the file. All of
// them are claims of the page.
func (c *connector) clues(ctx context.Context, k kept, customer gjson.Result) bridge.Clues {
	var clues bridge.Clues
	id := func(prefix, id string) {
		switch {
		case termForm.MatchString(id):
			clues.IntegrationIDs = append(clues.IntegrationIDs, prefix+id)
		case id != "":
			c.log.WarnContext(ctx, "an id is no clue: it holds something besides letters, digits, - and _, or is too long",
				"connector", c.name, "chat", k.chat(), "kind", prefix)
		}
	}
	for _, way := range c.rules.join {
		switch way {
		case joinExternal:
			id(externalPrefix, c.rules.externalID.text(customer))
		case joinCustomer:
			id(customerPrefix, k.Customer)
		case joinCode:
			clues.LookupCode = k.Code
		case joinEmail:
			clues.Email = c.rules.email.text(customer)
		}
	}
	return clues
}

// maxName is how much of a name is shown, in runes.
const maxName = 80

// short is a text of somebody else's, fit for a line.
func short(text string) string {
	text = strings.Map(func(r rune) rune {
		if !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, text)
	if r := []rune(text); len(r) > maxName {
		return string(r[:maxName]) + "…"
	}
	return text
}
