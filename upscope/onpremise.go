package upscope

import (
	"context"
	"errors"
	"net/http"
)

// OnPremiseToken admits one agent to one visitor on an on-premise installation. It does not print, log or
// marshal.
type OnPremiseToken struct{ secret }

// Reveal returns the token, to be handed to the installation and nobody else.
func (t OnPremiseToken) Reveal() string { return t.open() }

// AuthorizeOnPremise asks the cloud to admit an agent, whose id and name are both required, to a visitor of an
// on-premise installation: POST /onpremise/token. ErrOverPlan, with a Reason of its own, when the session is not
// authorised. How the token reaches the installation is not documented publicly.
func (c *Client) AuthorizeOnPremise(ctx context.Context, shortID string, a Agent) (OnPremiseToken, error) {
	const op = "authorize on-premise"
	if !ValidShortID(shortID) {
		return OnPremiseToken{}, refuse(op, "that is no short id")
	}
	if why := a.sendable(); why != "" {
		return OnPremiseToken{}, refuse(op, why)
	}
	if a.Name == "" {
		return OnPremiseToken{}, refuse(op, "an agent needs a name here")
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
			e.Reason = "the session is not authorised"
		}
		return OnPremiseToken{}, err
	}
	if !answer.Authorized || answer.Token == "" {
		return OnPremiseToken{}, unreadable(op, "the answer has no token")
	}
	return OnPremiseToken{seal("on-premise token", answer.Token)}, nil
}
