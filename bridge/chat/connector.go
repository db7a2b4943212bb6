// Package chat is the contract between the bridge and the connectors: what a connector can do,
// what a delivery means, and what a card looks like. Read connector.go first.
package chat

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// A Connector describes one chat service to the bridge. It only translates: it checks and reads
// what the service sends, and shows cards to agents. It never retries, stores, searches for a
// visitor, writes to the audit log, serves a page or sees a watch link. The bridge does all of
// that for every connector.
//
// To write a connector, fill in the fields from top to bottom. Name is required. Read is required
// together with at least one of Accept, Listen and Sweep; a connector that only shows the cards
// of other connectors has none of these four. Leave any other field at its zero value if the
// service does not have the capability. All functions must be safe for concurrent use.
type Connector struct {
	// Name is the configured name, such as "rocketchat" or "slack-emea". The bridge puts it
	// into every key that it stores, so two tenants of one service share nothing.
	Name string

	// Title is what people call the service, such as "Rocket.Chat". Empty means Name.
	Title string

	// Accept checks a POST request to /hooks/{Name} or to a path below it. It gets the raw
	// body, of at most MaxBody bytes. It does no I/O. It returns ErrForged for a request that
	// does not prove its sender (status 401), ErrNoRoute for an unknown path (404), and any
	// other error for a genuine delivery that it cannot read (400). The bridge stores what
	// Accept returns, and answers 200 once that is on disk.
	Accept func(r *http.Request, body []byte) (Receipt, error)

	// MaxBody is the largest body in bytes that Accept gets. Zero means 1 MiB. The bridge
	// answers 413 to a larger one.
	MaxBody int64

	// Permit refuses a request before its body is read, by the path, the headers or the
	// client's address. Use it where the request carries a secret outside the body. The body
	// of r is empty. Permit does no I/O, and returns ErrForged or ErrNoRoute as Accept does;
	// any other error counts as ErrForged. proven says that a secret was found, so Accept cannot
	// return ErrForged for this request; without it, less memory is reserved for the body. Nil
	// means that Accept alone decides, as it must where the service signs the body.
	Permit func(r *http.Request) (proven bool, err error)

	// Listen receives deliveries over a connection that the connector opens, for a service
	// that does not call the bridge. It passes each delivery to deliver, with a Key, and may
	// acknowledge it to the service after deliver returned nil. Listen runs until ctx ends; if
	// it returns earlier, the bridge calls it again after 5 seconds.
	Listen func(ctx context.Context, deliver func(context.Context, Delivery) error) error

	// Listening says why no delivery can arrive now through Listen, or returns nil. The bridge
	// asks every 10 seconds and lists the error as a failure. It makes no request.
	Listening func() error

	// Read says what a delivery means. It may call the chat service, for up to 30 seconds. The
	// zero Ask means that there is nothing to do. After a Permanent error the delivery is
	// listed as failed until an operator retries it. After a RetryAfter error the bridge
	// tries again when the error says so, and after any other error for about a day. For a chat
	// that the service no longer has, return Close or, if the id may be wrong, a Permanent error.
	Read func(ctx context.Context, d Delivery) (Ask, error)

	// Show posts the card at the place, or edits the post that Card.Ref names, and returns the
	// name of the post that shows the card now. If that is not Card.Ref, because the message
	// had to be replaced, the bridge stores the new Ref and forgets the old one. After a
	// failure the bridge calls Show again with the same Card.Key and Place; Show must not post
	// twice then. It never posts where a visitor can read. After a Permanent error the bridge
	// calls Show again only when the card changes. After other errors it tries again as it does
	// with Read, for about a day, each time with the card as it is then. Nil means that the
	// connector shows no cards.
	Show func(ctx context.Context, p Place, c Card) (Ref, error)

	// CannotEdit says that the service cannot change a post. The bridge then calls Show for a card
	// again only if the agent has something new to act on. Each such call has a new Card.Key and
	// makes a new post; Card.Ref names the previous post. False means that Show edits.
	CannotEdit bool

	// PostsOnce says that the service takes only one post for a card, such as one answer to a
	// command. With CannotEdit as well, the connector cannot show cards, because they could
	// never say that the chat is over. See CheckPlace.
	PostsOnce bool

	// Shared reports whether several people see what is posted at an address. Nil means that
	// only one agent sees each address, unless AllShared is set.
	Shared func(address string) bool

	// AllShared says that several people see what is posted at any address of the connector.
	// The bridge does not call Shared then.
	AllShared bool

	// SignsPresses says that the service proves who pressed a button at a shared place. Read
	// then returns an Open for the press. Without it, cards are shown at shared places only if
	// agents sign in at the bridge. See CheckPlace.
	SignsPresses bool

	// ShowAt is the place that the operator chose for this connector's cards. The zero Place
	// means the place that each Ask names.
	ShowAt Place

	// Check asks the chat service whether the configuration works, for `bridge check`.
	Check func(ctx context.Context) []Finding

	// CheckPlace asks the chat service whether cards can be shown at an address that the
	// operator configured, for `bridge check`.
	CheckPlace func(ctx context.Context, address string) []Finding

	// Serving returns the id of the agent who serves a chat now, empty if none does, and
	// whether the chat is still open. The bridge calls it when an agent presses Co-browse,
	// with a timeout of 2 seconds, since deliveries may be late or lost. To close the cards of
	// chats that have ended, it also calls it at its start, and after a Sweep for some of the
	// chats that were not listed. If Serving is nil or fails, the bridge relies on the
	// deliveries. So a chat that the service no longer has is not an error: it is not open.
	Serving func(ctx context.Context, chat string) (agent string, open bool, err error)

	// OpenChat returns an address at which the agent can continue the chat. The bridge calls
	// it when the agent asks, redirects the agent to the address and never stores it, as with
	// watch links. a is the agent who signed in, or the card's agent where agents do not sign
	// in. Nil means that Ask.ChatURL works for every agent.
	OpenChat func(ctx context.Context, chat string, a Agent) (address string, err error)

	// ChatHosts are the hosts to which an address from OpenChat may lead, with their subdomains.
	ChatHosts []string

	// SameAccount compares the id of a card's agent with the account of this service with
	// which a person signed in at the bridge. same means that they are one account, other
	// that they belong to different people; if neither is known, both are false. Nil where
	// agents cannot sign in with the service.
	SameAccount func(account, signedIn string) (same, other bool)

	// Sweep lists the open chats, for a service whose deliveries may be lost, and passes each
	// page of the list to found, at least every two minutes. Each chat is a Delivery. Its Key
	// changes when the chat has news, and only then; it may contain what people wrote, because
	// the bridge stores only a keyed hash of it. The bridge handles the chats whose Key it has
	// not seen, slowly, so found may take minutes. If a chat may have begun long ago, it gets a
	// card only if its visitor is online, and lookup codes are not used. A chat that is
	// missing from the list does not count as closed, because the account that reads the list
	// may not see all chats; the bridge asks Serving. Only one process sweeps at a time. The
	// bridge retries a failed Sweep, and waits at least as long as a RetryAfter error says.
	// See also ErrIncomplete.
	Sweep func(ctx context.Context, found func(context.Context, []Delivery) error) error

	// SweepEvery is the pause between two sweeps. Zero means two minutes.
	SweepEvery time.Duration

	// Forward sends the body from Receipt.Forward to another receiver. Errors mean what they
	// mean for Read. The bridge may call it again after a success, if it crashed before it
	// stored the success.
	Forward func(ctx context.Context, d Delivery) error

	// Page is the script for the customer's page, served at /page/{Name}.js. Nil means that
	// there is none.
	Page []byte
}

// IsShared reports whether several people see what is posted at an address of the connector.
func (c Connector) IsShared(address string) bool {
	return c.AllShared || c.Shared != nil && c.Shared(address)
}

// A Finding is one result of a check. One of Problem, Warning and OK is set.
type Finding struct {
	// Code names what was found, for programs and for the section of deploy/runbook.md about it. It
	// has lower-case words with dots between them and stays the same, such as "rocketchat.webhook-secret".
	Code string
	// Problem says in one sentence what does not work.
	Problem string
	// Warning says in one sentence what works and should be changed.
	Warning string
	// Remedy says what the operator can do about Problem or Warning.
	Remedy string
	// OK says in one sentence what works.
	OK string
}

// IsCode reports whether a text can be the Code of a Finding: words of lower-case letters, digits and
// hyphens that begin with a letter, with dots between them.
func IsCode(text string) bool {
	for word := range strings.SplitSeq(text, ".") {
		if word == "" || word[0] < 'a' || word[0] > 'z' ||
			strings.ContainsFunc(word, func(c rune) bool { return c != '-' && (c < '0' || c > '9') && (c < 'a' || c > 'z') }) {
			return false
		}
	}
	return true
}
