package door

import (
	"cmp"
	"strings"
	"time"

	"cobrowse-bridge/bridge/book"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/templates"
)

// A CardRequest is a card in a request, together with the agent who sent the request.
type CardRequest struct {
	card.Card
	// Holder is who may use the card's door.
	Holder store.Holder
	// Who is the signed-in agent; zero where agents do not sign in.
	Who signin.Identity
	// From is the address that the request came from. It is set only where a refusal or a
	// limit needs it.
	From string
	// page is the requested page of the door, such as web.StopPage; empty is the first.
	page string
	// chatEnded says that the conversation has ended. The address still works, so that the agent can
	// stop a running session.
	chatEnded bool
}

// actor returns the id of the agent who acts: the signed-in agent, or else the card's agent.
func (c *CardRequest) actor() string { return cmp.Or(c.Who.ID, c.Agent) }

// actorName returns that agent's name, which the visitor may see.
func (c *CardRequest) actorName() string {
	if c.Who.ID == "" {
		return c.About.Agent.Name
	}
	return cmp.Or(c.Who.Name, c.Who.Email, c.About.Agent.Name)
}

// accountName returns the name of the chat account to which the card was sent, or else its id.
func (c *CardRequest) accountName() string {
	return cmp.Or(c.About.Agent.Name, strings.TrimPrefix(c.Agent, c.Connector+":"))
}

// ChatLink returns the link back to the conversation, or to the desk if the visitor was looked up
// there.
func (c *CardRequest) ChatLink() templates.Link {
	if c.Connector == book.DeskName {
		return templates.Link{Label: templates.GoToDesk, Address: web.DeskPath}
	}
	return c.Card.ChatLink()
}

// auditEntry returns an audit entry about the card in the name of the agent who acts.
func (door *Door) auditEntry(c CardRequest, action, detail string) audit.Entry {
	e := door.book.Entry(c.Card, action, detail)
	e.Agent = c.actor()
	return e
}

// A press is an agent's request to see a visitor's screen.
type press struct {
	// visitor is the short id of the visitor whom the agent wants to see.
	visitor string
	// shown is the identity of the visitor as the page showed it; empty if the agent saw no
	// page, or the form does not say.
	shown string
	// chosen says that the page showed several visitors and the agent chose this one.
	chosen bool
	// anyway says that the agent insists although the visitor is shown as offline.
	anyway bool
	// straight says that the agent has not seen the co-browse page.
	straight bool
	// from is where the agent clicked.
	from web.Source
	// browser is the token of the agent's browser; empty if it returned no cookie.
	browser string
}

// provenance says for the audit log where the agent came from, and whether they saw the page
// about the visitor first.
func (p press) provenance() string {
	if p.straight {
		return "from " + string(p.from) + ", no page seen"
	}
	return "from " + string(p.from) + ", page seen"
}

// claim returns the change that makes a browser the agent's.
func (c *CardRequest) claim(browser string) *store.Claim {
	return &store.Claim{
		Card: c.ID, Version: c.Version, Generation: c.Generation, Agent: c.Agent, Browser: browser,
		Renewed: c.Renewed(), Until: time.Now().Add(web.BrowserLife),
	}
}

// shownIdentity returns the identity of the visitor whom the agent saw: on the page that they
// pressed on, or else on the card.
func (c *CardRequest) shownIdentity(p press) string {
	if p.shown == "" && p.visitor == c.Visitor {
		return c.VisitorIdentity()
	}
	return p.shown
}
