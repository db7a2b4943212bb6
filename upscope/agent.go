package upscope

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"unicode"
)

// Agent is a person who watches visitors.
//
// In requests (WatchRequest, AuthorizeOnPremise) the caller sets only ID and Name. ID is the caller's id of the
// person and must be the same in each call: the plan most likely counts agents by it. In answers, that id is
// ExternalID, and ID is Upscope's own: ea_… for agents of the API, u_… for users of the dashboard, who have an
// e-mail address instead (cobrowsingapi.com/docs/rest-api/object-types). So a request refuses an Agent that was
// read from Upscope.
type Agent struct {
	ID         string `json:"id"`
	Name       string `json:"name"` // shown to the visitor who is asked for consent
	ExternalID string `json:"external_id"`
	Email      string `json:"email"`

	Sessions []Session `json:"sessions"` // the last ten; only from AgentByEmail and AgentByExternalID
}

// UnmarshalJSON reads an agent as the service writes it, and replaces all fields of a.
func (a *Agent) UnmarshalJSON(b []byte) error {
	*a = Agent{}
	type plain Agent
	in := struct {
		*plain
		ID         idText               `json:"id"`
		ExternalID idText               `json:"external_id"`
		Sessions   lenientList[Session] `json:"sessions"`
	}{plain: (*plain)(a)}
	if _, err := decodeLenient(b, &in); err != nil {
		return err
	}
	a.ID, a.ExternalID, a.Sessions = string(in.ID), string(in.ExternalID), in.Sessions
	return nil
}

// AgentByEmail reads a dashboard user and their last ten sessions: GET /agents/lookup?email=. The error is
// ErrNotFound if there is no such user.
func (c *Client) AgentByEmail(ctx context.Context, email string) (Agent, error) {
	if !plainEmail(email) {
		return Agent{}, invalidRequest("agent", "not a plain e-mail address")
	}
	return c.agent(ctx, "email", email)
}

// AgentByExternalID reads an agent of the API, by the caller's id, and their last ten sessions:
// GET /agents/lookup?external_id=. The error is ErrNotFound if there is no such agent.
func (c *Client) AgentByExternalID(ctx context.Context, id string) (Agent, error) {
	if !personID(id) {
		return Agent{}, invalidRequest("agent", "an agent needs an id of at most 256 bytes without control characters")
	}
	return c.agent(ctx, "external_id", id)
}

// agent looks an agent up by exactly one parameter, email or external_id: the service knows no other.
func (c *Client) agent(ctx context.Context, by, value string) (Agent, error) {
	r := request{
		op: "agent", method: http.MethodGet, path: []string{"agents", "lookup"}, query: url.Values{by: {value}},
		deadline: quickDeadline, private: []string{value},
	}
	// The vendor's page does not show where the sessions are: they may be inside the agent or next to it.
	var answer struct {
		Agent    *Agent
		Sessions lenientList[Session]
	}
	if err := c.wire.call(ctx, r, &answer); err != nil {
		return Agent{}, err
	}
	if answer.Agent == nil || answer.Agent.ID == "" {
		return Agent{}, badAnswer(r.op, "the answer has no agent")
	}
	a := *answer.Agent
	if a.Sessions == nil {
		a.Sessions = answer.Sessions
	}
	c.wire.clock.convertSessions(a.Sessions)
	return a, nil
}

// sendable returns why a cannot be sent, or "" if it can.
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

// sentAgent is an Agent in a request.
type sentAgent struct {
	ID   string `json:"id"`
	Name string `json:"name,omitzero"`
}
