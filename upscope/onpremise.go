package upscope

import (
	"context"
	"errors"
	"net/http"
)

// OnPremiseToken lets one agent watch one visitor on an on-premise installation. Its value cannot be
// printed, logged or marshalled; see Reveal.
type OnPremiseToken struct{ secret }

// Reveal returns the token. Give it only to the installation.
func (t OnPremiseToken) Reveal() string { return t.open() }

// AuthorizeOnPremise asks Upscope's cloud API for a token with which an agent can watch a visitor of an on-premise
// installation: POST /onpremise/token. The agent needs an id and a name. The error is ErrOverPlan if the session is
// not authorized. How to give the token to the installation is not documented publicly.
func (c *Client) AuthorizeOnPremise(ctx context.Context, shortID string, a Agent) (OnPremiseToken, error) {
	const op = "authorize on-premise"
	if !ValidShortID(shortID) {
		return OnPremiseToken{}, invalidRequest(op, "not a short id")
	}
	if why := a.sendable(); why != "" {
		return OnPremiseToken{}, invalidRequest(op, why)
	}
	if a.Name == "" {
		return OnPremiseToken{}, invalidRequest(op, "the agent needs a name")
	}
	r := request{
		op: op, method: http.MethodPost, path: []string{"onpremise", "token"}, deadline: quickDeadline,
		body: struct {
			VisitorID string    `json:"visitor_id"`
			Agent     sentAgent `json:"agent"`
		}{shortID, sentAgent{a.ID, a.Name}},
		private: []string{shortID, a.ID},
	}
	var answer struct {
		Authorized bool
		Token      string
	}
	if err := c.wire.call(ctx, r, &answer); err != nil {
		if e, ok := errors.AsType[*Error](err); ok && e.Status == http.StatusPaymentRequired {
			e.Reason = "the session is not authorized"
		}
		return OnPremiseToken{}, err
	}
	if !answer.Authorized || answer.Token == "" {
		return OnPremiseToken{}, badAnswer(op, "the answer has no token")
	}
	return OnPremiseToken{seal("on-premise token", answer.Token)}, nil
}
