package upscope

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"unicode"
)

// Agent is somebody who watches.
//
// Towards Upscope, in WatchRequest and AuthorizeOnPremise, only ID and Name are filled: ID is the caller's own
// id for that person, which must stay the same from call to call: the plan most likely counts agents by it.
// From Upscope, that id comes back as ExternalID, and ID is Upscope's own: ea_… for agents of the
// API, u_… for users of the dashboard, who have an e-mail address instead
// (cobrowsingapi.com/docs/rest-api/object-types). An Agent read from Upscope is therefore refused as one to send.
type Agent struct {
	ID         string `json:"id"`
	Name       string `json:"name"` // shown to the visitor who is asked for consent
	ExternalID string `json:"external_id"`
	Email      string `json:"email"`

	Sessions []Session `json:"sessions"` // the last ten; only from AgentByEmail and AgentByExternalID
}

// UnmarshalJSON reads an agent as the service writes it, replacing what a held.
func (a *Agent) UnmarshalJSON(b []byte) error {
	*a = Agent{}
	type plain Agent
	in := struct {
		*plain
		ID         text          `json:"id"`
		ExternalID text          `json:"external_id"`
		Sessions   list[Session] `json:"sessions"`
	}{plain: (*plain)(a)}
	if err := informing(b, &in); err != nil {
		return err
	}
	a.ID, a.ExternalID, a.Sessions = string(in.ID), string(in.ExternalID), in.Sessions
	return nil
}

// AgentByEmail reads a dashboard user and the last ten sessions: GET /agents/lookup?email=. ErrNotFound when
// there is none.
func (c *Client) AgentByEmail(ctx context.Context, email string) (Agent, error) {
	if !plainEmail(email) {
		return Agent{}, refuse("agent", "that is no plain e-mail address")
	}
	return c.agent(ctx, "email", email)
}

// AgentByExternalID reads an agent of the API by the id this caller uses, and the last ten sessions:
// GET /agents/lookup?external_id=. ErrNotFound when there is none.
func (c *Client) AgentByExternalID(ctx context.Context, id string) (Agent, error) {
	if !personID(id) {
		return Agent{}, refuse("agent", "an agent needs an id of at most 256 bytes without control characters")
	}
	return c.agent(ctx, "external_id", id)
}

// agent asks with exactly one parameter; the service finds nobody with any other.
func (c *Client) agent(ctx context.Context, by, value string) (Agent, error) {
	r := request{
		op: "agent", method: http.MethodGet, path: []string{"agents", "lookup"}, query: url.Values{by: {value}},
		deadline: quickDeadline, private: []string{value},
	}
	// The page does not show where the sessions are; beside the agent is understood as well.
	var answer struct {
		Agent    *Agent
		Sessions list[Session]
	}
	if err := c.wire.call(ctx, r, &answer); err != nil {
		return Agent{}, err
	}
	if answer.Agent == nil || answer.Agent.ID == "" {
		return Agent{}, unreadable(r.op, "the answer has no agent")
	}
	a := *answer.Agent
	if a.Sessions == nil {
		a.Sessions = answer.Sessions
	}
	return a, nil
}

// sendable reports what keeps a from being sent, or nothing.
func (a Agent) sendable() string {
	switch {
	case !personID(a.ID):
		return "an agent needs an id of at most 256 bytes without control characters"
	case a.ExternalID != "" || a.Email != "" || a.Sessions != nil:
		return "an agent read from Upscope has Upscope's id, not the caller's"
	}
	return ""
}

func personID(id string) bool {
	return id != "" && len(id) <= 256 && !strings.ContainsFunc(id, unicode.IsControl)
}

// sentAgent is an Agent on its way to the service.
type sentAgent struct {
	ID   string `json:"id"`
	Name string `json:"name,omitzero"`
}
