package chatvisor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cobrowse-bridge/bridge"
)

// enterChat mints the address at which an agent goes on in a conversation. It logs
// them in, so it is a password: the bridge leads the agent there and forgets it.
func (c *connector) enterChat(ctx context.Context, chat string, a bridge.Agent) (string, error) {
	customer, _, _ := strings.Cut(chat, "/")
	if !plausible(customer) {
		return "", bridge.Permanent(errors.New("the conversation names no customer"))
	}
	values := map[placeholder]any{"customerId": customer, "agentEmail": strings.ToLower(a.Email)}
	if e := c.rules.endpoints[agentChatURL]; e != nil && e.has("agentEmail") && a.Email == "" {
		return "", bridge.Permanent(errors.New("agent_chat_url needs the agent's e-mail address, which nobody has confirmed: let agents sign in"))
	}
	e, answer, err := c.take(ctx, agentChatURL, values, maxPrompt)
	if err != nil {
		return "", c.classify(err)
	}
	address := e.result.text(answer)
	if !chatURL(address, c.rules.chatHosts) {
		return "", bridge.Permanent(fmt.Errorf("what agent_chat_url answers at result is no address below agent_url_hosts in the file of %s", c.env("CONFIG")))
	}
	return address, nil
}
