package slack

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"cobrowse-bridge/bridge/chat"
)

// read says what a delivery means.
func (c *connector) read(ctx context.Context, d chat.Delivery) (chat.Ask, error) {
	var k kept
	if err := json.Unmarshal(d.Body, &k); err != nil || k.Kind == "" || !userID(k.User) {
		return chat.Ask{}, chat.Permanent(errors.New("the stored delivery cannot be read"))
	}
	p := k.place(d.Received)
	if k.Kind == kindGlobal || k.Kind == kindSearch || k.Kind == kindMessage && (!k.hasClue() || k.Email != "" && !c.emails) {
		return c.dialog(ctx, d.Key, k, p)
	}
	agent, why, err := c.agent(ctx, k)
	if err != nil {
		return chat.Ask{}, err
	}
	if why != "" {
		return refusal(k, agent, p, why), nil
	}
	ask := chat.Ask{Verb: chat.Help, Chat: d.Key, Agent: agent, Place: chat.Place{Address: p.address()}}
	switch {
	case k.Kind == kindOpen:
		ask.Verb, ask.Chat, ask.Card = chat.Open, "", k.Card
	case k.Kind == kindHome:
		ask.Verb = chat.Status
		ask.Example, err = c.usage(ctx, k, "help")
	case k.hasClue():
		ask.Verb, ask.Clues = chat.LookUp, k.clues()
	case k.Word == "status":
		ask.Verb = chat.Status
		ask.Example, err = c.usage(ctx, k, "help")
	case k.Word == "stop":
		ask.Verb = chat.Stop
	case k.Word == "usage":
		ask.Verb = chat.PlanUsage
	default:
		if k.Word != "help" {
			ask.Unclear = cmp.Or(k.Unclear, chat.UnclearText)
		}
		if ask.Example, err = c.usage(ctx, k, "4821"); err == nil && k.Typed != "" {
			ask.ExampleInThread, err = c.usage(ctx, kept{}, "4821")
		}
		ask.Commands = fmt.Sprintf(commandsText, strings.TrimSuffix(ask.Example, " 4821"))
	}
	return ask, err
}

// usage returns a command with an argument, with the name of the command in this workspace, or a
// mention of the app if the agent typed no command. Slack has no commands in threads.
func (c *connector) usage(ctx context.Context, k kept, arg string) (string, error) {
	if k.Typed != "" {
		return k.Typed + " " + arg, nil
	}
	me, err := c.self(ctx)
	return "@" + me.name + " " + arg, err
}

func refusal(k kept, a chat.Agent, p place, why chat.Refusal) chat.Ask {
	return chat.Ask{Verb: chat.Refuse, Agent: a, Place: chat.Place{Address: p.address()}, Card: k.Card, Refusal: why}
}

// place returns where the answer to a delivery is shown.
func (k kept) place(received time.Time) place {
	switch k.Kind {
	case kindHome:
		return place{kind: placeHome, user: k.User}
	case kindSubmit, kindGlobal:
		return place{kind: placeDM, user: k.User}
	}
	return place{kind: placeReply, user: k.User, channel: k.Channel, thread: k.Thread, given: received, respond: k.Respond}
}
