package slack

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"cobrowse-bridge/bridge"
)

// read says what a delivery means.
func (c *connector) read(ctx context.Context, d bridge.Delivery) (bridge.Ask, error) {
	var k kept
	if err := json.Unmarshal(d.Body, &k); err != nil || k.Kind == "" || !userID(k.User) {
		return bridge.Ask{}, bridge.Permanent(errors.New("the stored delivery cannot be read"))
	}
	p := k.place(d.Received)
	if k.Kind == kindGlobal || k.Kind == kindSearch || k.Kind == kindMessage && !k.names() {
		return c.dialog(ctx, d.Key, k, p)
	}
	agent, why, err := c.agent(ctx, k)
	if err != nil {
		return bridge.Ask{}, err
	}
	if why != "" {
		return refusal(k, agent, p, why), nil
	}
	ask := bridge.Ask{Verb: bridge.Help, Chat: d.Key, Agent: agent, Place: bridge.Place{Address: p.address()}}
	switch {
	case k.Kind == kindOpen:
		ask.Verb, ask.Chat, ask.Card = bridge.Open, "", k.Card
	case k.Kind == kindHome:
		ask.Verb = bridge.Status
	case k.names():
		ask.Verb, ask.Clues = bridge.LookUp, k.clues()
	case k.Word == "status":
		ask.Verb = bridge.Status
	case k.Word == "stop":
		ask.Verb = bridge.Stop
	case k.Word == "usage":
		ask.Verb = bridge.Usage
	default:
		ask.Usage, err = c.usage(ctx, k)
	}
	return ask, err
}

// usage is how to ask, as it is called here. Slack has no commands in threads.
func (c *connector) usage(ctx context.Context, k kept) (string, error) {
	me, err := c.self(ctx)
	mention := "@" + me.name + " 4821"
	if k.Typed == "" {
		return mention, err
	}
	return k.Typed + " 4821, or in a thread " + mention, err
}

func refusal(k kept, a bridge.Agent, p place, why bridge.Refusal) bridge.Ask {
	return bridge.Ask{Verb: bridge.Refuse, Agent: a, Place: bridge.Place{Address: p.address()}, Card: k.Card, Refusal: why}
}

// place is where the answer to a delivery is shown.
func (k kept) place(received time.Time) place {
	switch k.Kind {
	case kindHome:
		return place{kind: placeHome, user: k.User}
	case kindSubmit, kindGlobal:
		return place{kind: placeDM, user: k.User}
	}
	return place{kind: placeReply, user: k.User, channel: k.Channel, thread: k.Thread, given: received, respond: k.Respond}
}
