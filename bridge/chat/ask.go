package chat

import "strings"

// A Verb is the kind of an Ask.
type Verb int

const (
	// Nothing is the verb of the zero Ask.
	Nothing Verb = iota
	// Start asks for a card: the chat is open and Ask.Agent serves it. If that is another
	// agent than before, the card moves to the new agent. If Ask.Agent is zero, the agent who
	// had the card loses it.
	Start
	// Close says that the chat is over.
	Close
	// LookUp is an agent's command, outside a chat, that asks for a card of the visitor whom
	// Ask.Clues name. Ask.Chat is the service's id of the command. Only that agent gets the card.
	LookUp
	// Help is an agent's command to see how the commands are used.
	Help
	// Status is an agent's command to list their cards.
	Status
	// PlanUsage is an agent's command to see how much of the Upscope plan is used.
	PlanUsage
	// Stop is an agent's command to end the sessions that they began.
	Stop
	// Open is an agent's press on a card that several people see. The service has proved who
	// pressed. That agent gets a card of their own at Ask.Place.
	Open
	// Refuse says that a person who is not allowed to ask did so. Ask.Refusal is the reason.
	// The bridge writes it to the audit log and tells the person at Ask.Place.
	Refuse
)

// A Refusal is the reason why a person may not ask.
type Refusal string

// The refusals.
const (
	RefuseExternal Refusal = "external" // the person belongs to another organisation
	RefuseGuest    Refusal = "guest"    // the person is a guest
	RefuseInactive Refusal = "inactive" // the account is deactivated or unknown
	RefuseBot      Refusal = "bot"      // the account is a program's
)

// Refusals are all of them.
var Refusals = []Refusal{RefuseExternal, RefuseGuest, RefuseInactive, RefuseBot}

// An Ask is a delivery in the form that all connectors share: what the chat service or an agent
// asks of the bridge. Its ids are the service's; the bridge adds the connector's name to them.
type Ask struct {
	Verb Verb
	// Chat is the id of the conversation, or of the command. The bridge makes one card for
	// each. If CheckChatID refuses the id, the delivery fails and is not tried again.
	Chat string
	// ChatURL is the address at which an agent continues the conversation. Empty means that
	// there is none.
	ChatURL string
	// Agent is the agent who serves the chat or gave the command. The zero Agent means that no
	// agent serves the chat: the bridge makes no card for it then, and takes the card that it
	// has from its agent.
	Agent Agent
	// Visitor is the visitor's name in the chat. The visitor may have made it up: the bridge
	// shows it and never decides by it.
	Visitor string
	// Clues identify the visitor at Upscope. If they are empty, the bridge calls Read again a
	// few times within 14 seconds, because the visitor's page may report them late.
	Clues Clues
	// Place is where the agent sees the card, or the answer to a command. The zero Place
	// means nowhere in the chat service. If no agent serves the chat, it is zero, so that the
	// last agent's card says so. If several people see the card, it is the same as with an
	// agent, and the card stays there.
	Place Place
	// Example is an example of a command, for Help, such as "!cobrowse 4821". ExampleInThread is one
	// for threads, and Commands lists other commands; both may be empty. For Status, Example is the
	// command that asks for help.
	Example, ExampleInThread, Commands string
	// Unclear says, for Help, why the bridge could not read what the agent wrote. It is empty if
	// the agent asked for help.
	Unclear Unclear
	// New says, for Start, that a conversation begins. If the last one with this Chat is over,
	// the new one gets a card of its own. It is for services that give conversations no ids,
	// so that Chat is an id of the visitor.
	New bool
	// Card is the ID of the card that was pressed, for Open.
	Card string
	// Refusal is the reason, for Refuse.
	Refusal Refusal
}

// An Unclear says why a text names no customer. The zero Unclear means that it names one, or that
// there is no text.
type Unclear string

// The reasons.
const (
	UnclearText    Unclear = "text"    // no code, id or address can be read in it
	UnclearSeveral Unclear = "several" // it names more than one customer
	UnclearLetters Unclear = "letters" // it has an address with letters outside ASCII, which Upscope cannot search for
)

// An Agent is the person who helps a visitor.
type Agent struct {
	// ID is the user's id at the chat service, without the connector's name. A person's id
	// never changes.
	ID string
	// Name is shown to the visitor when Upscope asks for consent.
	Name string
	// Email is an address that the chat service has verified. Empty if there is none.
	Email string `json:",omitempty"`
}

// Clues are what the chat knows to identify the visitor at Upscope. They come from the visitor's
// browser and may be false: the bridge searches by them, and they give nobody any rights.
type Clues struct {
	// ShortID is the id that Upscope gave the visitor.
	ShortID string
	// IntegrationIDs are of the form "name:id"; see IsIntegrationID. The name is that of the
	// chat service, such as "rocketchat", and not Connector.Name: it is the one with which the
	// customer's page gives the id to Upscope.
	IntegrationIDs []string
	// LookupCode is the four digits that the visitor reads out.
	LookupCode string
	// UniqueID is the id that the operator's site gave the visitor.
	UniqueID string
	// Email is the visitor's address. The bridge uses it only if the operator allowed that.
	Email string
}

// IsLookupCode reports whether s has the form of one of Upscope's lookup codes: four digits
// (cobrowsingapi.com/docs/sdk/the-lookup-code).
func IsLookupCode(s string) bool {
	return len(s) == 4 && consistsOf(s, digits)
}

// IsIntegrationID reports whether s has the form of an integration id at Upscope that a search can
// carry: a product name of 3 to 32 lower-case letters, a colon, and an id of 1 to 200 letters,
// digits and . _ @ + / = ~ -.
func IsIntegrationID(s string) bool {
	product, id, ok := strings.Cut(s, ":")
	return ok && len(product) >= 3 && len(product) <= 32 && consistsOf(product, lower) &&
		id != "" && len(id) <= 200 && consistsOf(id, alnum+"._@+/=~-")
}

func consistsOf(s, allowed string) bool { return strings.Trim(s, allowed) == "" }

const (
	digits = "0123456789"
	lower  = "abcdefghijklmnopqrstuvwxyz"
	alnum  = digits + lower + "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
)

// Empty reports whether c has no clue.
func (c Clues) Empty() bool {
	return c.ShortID == "" && len(c.IntegrationIDs) == 0 && c.LookupCode == "" && c.UniqueID == "" && c.Email == ""
}
