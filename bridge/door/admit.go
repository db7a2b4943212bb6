package door

import (
	"context"
	"errors"
	"strings"
	"time"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/templates"
)

// AdmitAgent checks whether a signed-in agent may use a card's link: the card is theirs or shared, or the policy
// lets them use any card. If the policy allows them to watch and the chat account of the card is provably theirs, it
// also connects the account to them. It returns ErrPolicy, ErrConnect, ErrOtherAgent or ErrStore.
func (door *Door) AdmitAgent(ctx context.Context, c *CardRequest, who signin.Identity) error {
	c.Who = who
	if !door.MayWatch(*c) {
		return web.ErrPolicy
	}
	proof, different := door.samePerson(c, who)
	if proof != "" && who.ID != c.Holder.Agent {
		err := door.connect(ctx, c, proof)
		if err != nil && !errors.Is(err, store.ErrTaken) { // if another agent has the account, the checks below decide
			return web.StoreFault(err)
		}
	}
	switch {
	case who.ID == c.Agent, who.ID == c.Holder.Agent, door.book.IsShared(c.About.Place), door.DecideForCard(*c, policy.AnyCard).Allowed:
		return nil
	case !different && c.hasFreeAccount():
		return web.ErrConnect
	}
	return web.ErrOtherAgent
}

// hasFreeAccount reports whether the card has a chat account that no signed-in agent owns.
func (c *CardRequest) hasFreeAccount() bool {
	return c.Holder.Agent == "" && c.Agent != "" && c.Connector != book.DeskName
}

// MayWatch reports whether the policy allows the agent of c to watch the card's visitor. For a card that
// was made by a look-up it must allow look-ups as well.
func (door *Door) MayWatch(c CardRequest) bool {
	return door.DecideForCard(c, policy.Watch).Allowed && (c.Kind != store.KindLookUp || door.DecideForCard(c, policy.LookUp).Allowed)
}

// samePerson compares the card's agent with the signed-in agent. proof is a templates.ConnectedBy… text, or "".
// different means that they are known to be two people.
func (door *Door) samePerson(c *CardRequest, who signin.Identity) (proof string, different bool) {
	if compare := door.connectors[c.Connector].SameAccount; compare != nil {
		for _, signedIn := range who.SlackAccounts() {
			same, other := compare(strings.TrimPrefix(c.Agent, c.Connector+":"), signedIn)
			if same {
				return templates.ConnectedBySlack, false
			}
			different = different || other
		}
		if different {
			return "", true
		}
	}
	if door.linkEmail && who.Email != "" && who.Email == lowerASCII(c.About.Agent.Email) {
		return templates.ConnectedByEmail, false
	}
	return "", false
}

// lowerASCII lowers ASCII letters only. strings.ToLower would make the Kelvin sign a "k", and so two different
// addresses equal. (Package signin accepts ASCII addresses only.)
func lowerASCII(address string) string {
	return strings.Map(func(r rune) rune {
		if 'A' <= r && r <= 'Z' {
			return r + 'a' - 'A'
		}
		return r
	}, address)
}

// connect stores that the chat account of the card's agent belongs to the signed-in agent.
func (door *Door) connect(ctx context.Context, c *CardRequest, proof string) error {
	account := store.Account{ID: c.Agent, Agent: c.Who.ID, How: proof, Since: time.Now(), Name: c.About.Agent.Name}
	if proof != templates.ConnectedByAgent {
		account.Replaces = templates.ConnectedByAgent // a proof replaces a connection that an agent only confirmed
	}
	entry := door.auditEntry(*c, "connected", c.Agent+" "+proof)
	entry.Visitor, entry.Chat = "", "" // the entry is about the agent only
	if err := door.store.Commit(ctx, store.Change{Connect: &account, Audit: []audit.Entry{entry}}); err != nil {
		return err
	}
	c.Holder.Agent = c.Who.ID
	return nil
}

// DecideForCard asks the policy whether the agent of c may do act. For a card made from a shared card it asks with
// the connector and place of the shared card.
func (door *Door) DecideForCard(c CardRequest, act policy.Act) policy.Decision {
	q := policy.Question{Act: act, Agent: c.actor(), Email: c.Who.Email, Groups: c.Who.Groups, Connector: c.Connector}
	place := c.About.Place
	if c.About.SharedCard != "" {
		q.Connector, place = c.About.SharedConnector, c.About.SharedPlace
	}
	if place.Address != "" {
		q.Place = place.Connector + ":" + place.Address
	}
	return door.policy.Current().Decide(q)
}

// DecideAtDesk asks the policy about an act on the page /desk that is not about a card.
func (door *Door) DecideAtDesk(who signin.Identity, act policy.Act) policy.Decision {
	return door.policy.Current().Decide(policy.Question{Act: act, Agent: who.ID, Email: who.Email, Groups: who.Groups, Connector: book.DeskName})
}

// refusalOf returns the refusal that err wraps, or nil.
func refusalOf(err error) error {
	for _, refusal := range []error{web.ErrMoved, web.ErrThrottled, web.ErrPolicy, web.ErrTaken, web.ErrOtherAgent, web.ErrOtherBrowser} {
		if errors.Is(err, refusal) {
			return refusal
		}
	}
	return nil
}

// Refused counts a refusal and writes an audit entry about it. It does nothing unless err is one of those in
// refusalOf. details are added to the entry. Entries about the same refusal are throttled.
func (door *Door) Refused(ctx context.Context, c CardRequest, err error, details ...string) {
	refusal := refusalOf(err)
	if refusal == nil {
		return
	}
	reason := refusal.Error()
	door.metrics.Refusal(reason)
	entry := door.auditEntry(c, "refused", card.JoinNonEmpty(": ", append([]string{reason}, details...)...))
	if !door.web.SignsIn() {
		entry.Agent = "" // it is not known who asked
	}
	if door.refusals.Allow(strings.Join([]string{entry.Agent, c.From, c.ID, entry.Detail}, "\x00")) {
		door.book.Record(ctx, entry)
	}
}

// admitAgentOrBrowser returns nil if an agent may use a card's link. browser is the browser's token, or "". Where
// agents do not sign in, the first browser that uses a link is remembered for the agent; others are then refused,
// unless the agent asked for a new link (the rule of store.Claim). identified says that the agent is signed in, or
// that the browser is theirs. Otherwise the page with its button is shown first.
func (door *Door) admitAgentOrBrowser(ctx context.Context, c *CardRequest, who signin.Identity, browser string) (identified bool, err error) {
	if door.web.SignsIn() {
		err := door.AdmitAgent(ctx, c, who)
		return err == nil, err
	}
	same, different := c.Holder.Browser.Is(browser)
	otherRemembered := different && !c.Renewed()
	switch {
	case !same && (c.Claimed || otherRemembered):
		return false, web.ErrOtherBrowser
	case !door.DecideForCard(*c, policy.Watch).Allowed:
		return false, web.ErrPolicy
	}
	return same, nil
}
