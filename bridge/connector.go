package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

// A Connector teaches the bridge one chat service. It translates, and nothing
// else: it never retries, stores, looks a visitor up, audits, serves a page or
// sees a watch link. The bridge does all of that once, for every connector.
//
// A capability that a service does not have is left nil. What Accept, Listen or Sweep
// hears of is read by Read, so it comes with any of them; everything else is optional.
// All functions may be called from many goroutines at once.
type Connector struct {
	// Name is the configured name ("rocketchat", "slack-emea"). The bridge puts
	// it into every key it keeps, so two tenants of one service never meet.
	Name string

	// Title is what people call the service, such as "Rocket.Chat"; empty is Name.
	Title string

	// Accept tells a genuine delivery from a forged one by its raw body, which
	// the bridge has already capped at MaxBody. It does no I/O. It returns
	// ErrForged for a delivery that does not prove where it comes from,
	// ErrNoRoute for a path below /hooks/{name} that means nothing, and any
	// other error for a genuine delivery that cannot be read.
	Accept func(r *http.Request, body []byte) (Receipt, error)

	// MaxBody is the largest body in bytes that Accept wants to see; zero means
	// 1 MiB.
	MaxBody int64

	// Read says what a delivery means. It may ask the chat service. A zero Ask
	// means that there is nothing to do. A Permanent error ends the delivery, a
	// RetryAfter error says when to come back, anything else is tried again.
	Read func(ctx context.Context, d Delivery) (Ask, error)

	// Show posts the card at the place, or edits the post named by Card.Ref. It
	// is called again with the same Card.ID and Place after a failure, and must
	// not post twice; the Ref it returns is stored and comes back in the next
	// call. It never posts where a visitor can read. Errors are those of Read.
	Show func(ctx context.Context, p Place, c Card) (Ref, error)

	// Shared reports whether several people see what is shown at an address. Nil
	// means that none of the connector's places is.
	Shared func(address string) bool

	// SignsPresses says that the service tells who presses a button at a shared
	// place, which Read reports as an Open. Without it, cards are shown at shared
	// places only where agents sign in at the bridge.
	SignsPresses bool

	// ShowAt is where the operator wants this connector's cards; its zero value
	// is where each Ask says.
	ShowAt Place

	// Serving says who serves a chat at this moment: the agent's id, empty if
	// nobody does, and whether the chat is still open. It is asked when an agent
	// presses Co-browse, since deliveries come late or not at all. Where it is
	// nil or fails, what the deliveries said is taken.
	Serving func(ctx context.Context, chat string) (agent string, open bool, err error)

	// SameAccount compares an agent's account with that with which somebody signed in
	// at the bridge, as the service names it: whether it is that one, and whether it is
	// known to be somebody else's. It is nil where nobody signs in with the service.
	SameAccount func(account, signedIn string) (same, other bool)

	// EnterChat makes an address at which an agent goes on in a conversation, at the
	// moment when they ask for it. The address is theirs alone: the bridge leads
	// them there and forgets it, as it does with watch links. Where it is nil,
	// Ask.ChatURL is good for everybody. The agent is who signed in, if anybody did.
	EnterChat func(ctx context.Context, chat string, a Agent) (address string, err error)

	// ChatHosts are the hosts, and their subdomains, to which such an address may
	// lead.
	ChatHosts []string

	// Check asks the chat service whether the configuration works. It backs
	// `bridge check`.
	Check func(ctx context.Context) []Finding

	// CheckPlace asks whether cards can be shown at an address that the operator
	// named. It backs `bridge check` too.
	CheckPlace func(ctx context.Context, address string) []Finding

	// Listen serves chat services that are called rather than call. It hands
	// each delivery to deliver and may acknowledge it once that returns nil. It
	// returns when ctx ends; if it returns before, it is called again a little
	// later.
	Listen func(ctx context.Context, deliver func(context.Context, Delivery) error) error

	// Sweep lists the chats that are open, for services whose deliveries may be lost,
	// and hands each page of the list to found. The Key of a chat is the same for as
	// long as nothing is new about it, and may hold what people wrote: the bridge
	// remembers a keyed hash of it, and makes a delivery of what it does not know. So
	// found takes its time. A chat that may have begun long ago gets a card only if its
	// visitor is online, and lookup codes are not followed. The bridge sweeps in one
	// process at a time, whatever ran before; that a chat is not in the list means
	// nothing. Errors are those of Read.
	Sweep func(ctx context.Context, found func(context.Context, []Delivery) error) error

	// SweepEvery is the pause between two sweeps; zero means two minutes.
	SweepEvery time.Duration

	// Forward hands a body that Accept put into Receipt.Forward on to another
	// receiver. Errors are those of Read; it may be called again after a success
	// that a crash kept from being noticed.
	Forward func(ctx context.Context, d Delivery) error

	// Page is the visitor-side script, served at /page/{name}.js.
	Page []byte
}

// A Receipt is what Accept found in a genuine delivery.
type Receipt struct {
	// Key makes equal events collide: the service's delivery id, or one built
	// from the event's meaning where there is none. Empty means that there is
	// nothing to do: the delivery is acknowledged and forgotten.
	Key string

	// Body is what is kept for Read, with everything left out that must not be
	// stored. Nil keeps the body as it came.
	Body []byte

	// Known is the Key that Sweep would give the chat after this delivery, so that it
	// is no news to the next; empty where there is none.
	Known string

	// Changes are the chats that the delivery takes from their agents, as far as its
	// body says so. While such a delivery waits to be worked on, the bridge refuses a
	// press on the card of the chat if the chat service cannot confirm who serves it:
	// what the card says may be out of date.
	Changes []ChatChange

	// Forward is the body to hand to the connector's Forward, apart from what
	// becomes of the delivery itself; nil means that there is nothing to hand on.
	// It is kept sealed until that is done.
	Forward []byte

	// Answer is the body of the 200 answer; nil is an empty one. Some services
	// store or post what they are answered.
	Answer []byte
	// AnswerType is the Content-Type of Answer.
	AnswerType string

	// Note is a line for the operator's log, such as that a test delivery
	// arrived.
	Note string
}

// A ChatChange says that a delivery takes a chat from its agent.
type ChatChange struct {
	// Chat is the id that Read gives as Ask.Chat.
	Chat string
	// Closed says that the chat is over. Otherwise it was handed over.
	Closed bool
	// Agent is the id of the agent who serves the chat now, as in Agent.ID; empty if the
	// delivery does not say, or nobody does.
	Agent string
}

// A Delivery is one authentic request from a chat service, kept until it is
// handled.
type Delivery struct {
	Key      string
	Body     []byte
	Received time.Time
	// Changes are what Receipt.Changes are, for a delivery that Listen hands over. Read
	// does not get them, and the bridge ignores them in what Sweep finds: Sweep lists
	// chats that are open.
	Changes []ChatChange
}

// A Verb says what an Ask wants.
type Verb int

const (
	// Nothing is the verb of the zero Ask.
	Nothing Verb = iota
	// Start asks for a card: the chat is open and served by Ask.Agent. Asked
	// again with another agent it moves the card; with no agent it takes the
	// card from the one who had it.
	Start
	// Close says that the chat is over.
	Close
	// LookUp is an agent's own wish, apart from any chat, for a card of the
	// visitor whom Ask.Clues name. Ask.Chat is then the service's id of the
	// wish, and only that agent gets the card.
	LookUp
	// Help is an agent's wish to be told how to ask.
	Help
	// Status is an agent's wish to see how their cards stand, Usage to see
	// Upscope's counters, and Stop to end the sessions that they began.
	Status
	Usage
	Stop
	// Open is an agent's press on a card that several people see. Whoever
	// pressed, which the service vouches for, gets a door of their own at
	// Ask.Place.
	Open
	// Refuse says that somebody asked who may not, for Ask.Refusal. It goes on
	// record, and they are told so at Ask.Place.
	Refuse
)

// A Refusal is why somebody may not ask.
type Refusal string

// The refusals.
const (
	RefuseExternal Refusal = templates.RefusedExternal // belongs to another organisation
	RefuseGuest    Refusal = templates.RefusedGuest    // is a guest
	RefuseInactive Refusal = templates.RefusedInactive // is deactivated, or nobody knows them
	RefuseBot      Refusal = templates.RefusedBot      // is a program
)

// An Ask is what a delivery means. Ids are those of the chat service; the
// bridge adds the connector's name to them.
type Ask struct {
	Verb Verb
	// Chat is the id of the conversation, or of the wish to look somebody up.
	// There is one card for each.
	Chat string
	// ChatURL leads an agent to the conversation; empty where there is no such
	// address.
	ChatURL string
	// Agent serves the chat. Its zero value means nobody does.
	Agent Agent
	// Visitor is what the chat calls the visitor. It is the visitor's own
	// claim: shown, never trusted.
	Visitor string
	// Clues name the visitor for Upscope. While they are empty the bridge reads
	// the delivery again a few times, since pages may tell them late.
	Clues Clues
	// Place is where the card of this agent is shown, and answered what they
	// asked. The zero Place shows it nowhere in the chat service.
	Place Place
	// Usage is how the agent asks, for Help: "!cobrowse 4821".
	Usage string
	// New says, for Start, that a conversation has begun anew: if that of Chat is
	// over, this is the next one, and has a card of its own. Services without ids of
	// their conversations name the visitor in Chat.
	New bool
	// Card is the ID of the card that was pressed, for Open.
	Card string
	// Refusal is why, for Refuse.
	Refusal Refusal
}

// An Agent is the person who helps a visitor.
type Agent struct {
	// ID never changes for a person: the chat service's user id, without the
	// connector's name.
	ID string
	// Name is shown to the visitor when Upscope asks for consent.
	Name string
	// Email is an address that the chat service has confirmed to be the agent's, or
	// empty.
	Email string `json:",omitempty"`
}

// Clues are how the chat side names the visitor. They come from the visitor's
// browser and are claims: they choose whom to look up, and grant nothing.
type Clues struct {
	// ShortID is Upscope's own id.
	ShortID string
	// IntegrationIDs are of the form "name:id".
	IntegrationIDs []string
	// LookupCode is the four digits a visitor reads out.
	LookupCode string
	// UniqueID is the id that the site gave the visitor.
	UniqueID string
	// Email is used only if the operator allowed it.
	Email string
}

// IsLookupCode reports whether something that somebody typed has the form of one of
// Upscope's lookup codes.
func IsLookupCode(s string) bool {
	_, err := upscope.LookupCode(s)
	return err == nil
}

// IsIntegrationID reports whether something that somebody typed has the form of an
// integration id that Upscope can be asked for.
func IsIntegrationID(s string) bool {
	_, err := upscope.IntegrationID(s)
	return err == nil
}

// Empty reports whether there is no clue at all.
func (c Clues) Empty() bool {
	return c.ShortID == "" && len(c.IntegrationIDs) == 0 && c.LookupCode == "" && c.UniqueID == "" && c.Email == ""
}

// A Place is where a card is shown: a connector, and an address that only that
// connector understands. An empty Connector means the one that asked.
type Place struct {
	Connector string
	Address   string
}

// Ref is a connector's own name for something it posted. The bridge keeps it
// sealed and gives it back.
type Ref string

// A Card is one co-browse request as agents see it. A connector lays it out and
// adds no words of its own.
type Card struct {
	// ID is the same in every call for this card, and no secret.
	ID string
	// Ref names the post to edit; empty means that nothing is known to be
	// posted at this place.
	Ref Ref
	// Title is one line of plain text.
	Title string
	// Lines follow the title.
	Lines []Line
	// Button leads to the card's door. Its zero value means that there is
	// nothing to press. The address is a secret of the agent: it is posted to
	// nobody else and never logged, unless the card is Public. At a shared place
	// one that is not has no address, and the connector makes a button whose press it
	// reports as an Open.
	Button Link
	// Public says that the door asks who comes, so that several people may see its
	// address.
	Public bool
	// More are other ways on, each to be treated as Button is.
	More []Link
	// Chat leads to the conversation; its zero value leaves it out.
	Chat Link
}

// A Line is one fact on a card. Text may hold words that a visitor typed, so a
// connector neutralises its own markup in it.
type Line struct {
	Label string
	Text  string
}

// A Link is a label and where it leads.
type Link struct {
	Label   string
	Address string
}

// A Finding is one answer of a check.
type Finding struct {
	// Problem says what is wrong in one sentence; empty means that OK holds.
	Problem string
	// Remedy says what to do about it.
	Remedy string
	// OK says in one sentence what works.
	OK string
}

// ErrForged means that a delivery does not prove where it comes from.
var ErrForged = errors.New("delivery is not authentic")

// ErrNoRoute means that a connector has nothing at the path of a request.
var ErrNoRoute = errors.New("no such hook")

// Permanent marks err as one that trying again cannot mend. Permanent(nil) is
// nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// RetryAfter marks err as one to try again after wait, without counting the
// attempt. RetryAfter(nil, …) is nil.
func RetryAfter(err error, wait time.Duration) error {
	if err == nil {
		return nil
	}
	return &retryError{err, wait}
}

// IsPermanent reports whether err is marked Permanent.
func IsPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}

// RetryWait gives the wait of an error marked RetryAfter.
func RetryWait(err error) (wait time.Duration, ok bool) {
	var r *retryError
	if errors.As(err, &r) {
		return r.wait, true
	}
	return 0, false
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }
func (e *permanentError) Unwrap() error { return e.err }

type retryError struct {
	err  error
	wait time.Duration
}

func (e *retryError) Error() string { return fmt.Sprintf("%v (again in %v)", e.err, e.wait) }
func (e *retryError) Unwrap() error { return e.err }
