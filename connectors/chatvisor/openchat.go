package chatvisor

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/chatvisor/api"
	"cobrowse-bridge/connectors/chatvisor/rules"
)

// openChat returns the address at which an agent continues a conversation. The address
// logs the agent in, so it is a secret: the bridge redirects to it and stores it nowhere.
func (c *connector) openChat(ctx context.Context, conversation string, a chat.Agent) (string, error) {
	customer, _, _ := strings.Cut(conversation, "/")
	if !rules.PlausibleID(customer) {
		return "", chat.Permanent(errors.New("the conversation id contains no customer id"))
	}
	values := rules.Values{"customerId": customer, "agentEmail": strings.ToLower(a.Email)}
	if e := c.rules.Endpoints[rules.AgentChatURL]; e != nil && e.Has("agentEmail") && a.Email == "" {
		return "", chat.Permanent(errors.New("agent_chat_url needs a confirmed e-mail address of the agent, and there is none: let agents sign in at the bridge"))
	}
	e, answer, err := c.api.RunStep(ctx, rules.AgentChatURL, values, api.PersonWait)
	if err != nil {
		return "", c.api.Classify(err)
	}
	address := e.Result.Text(answer)
	if !allowedURL(address, c.rules.ChatHosts) {
		return "", chat.Permanent(fmt.Errorf("agent_chat_url: the address at result does not lead to one of agent_url_hosts in the file of %s", c.api.Env("CONFIG")))
	}
	return address, nil
}
