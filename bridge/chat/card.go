package chat

// A Place is where a card is shown: a connector, and an address that only that connector
// understands. An empty Connector means the one whose delivery asked for the card. The zero
// Place means nowhere.
type Place struct {
	Connector string
	Address   string
}

// String returns the place in the form of settings, such as "slack:C0123456789".
func (p Place) String() string { return p.Connector + ":" + p.Address }

// A Ref is a connector's name for a post, such as a message id. The bridge stores it encrypted
// and passes it back in Card.Ref.
type Ref string

// A Card is one co-browse request as agents see it. The connector formats it for its service and
// adds no words.
type Card struct {
	// ID is the same in every call for this card. It is not secret. Ask.Card is this ID when a
	// button is pressed.
	ID string
	// Key identifies one post, so that a Show that is repeated after a failure does not post
	// twice. If Connector.CannotEdit is set, each post of a card has its own Key; otherwise
	// Key is ID. It is not secret. It has at most 64 letters, digits, dots and hyphens.
	Key string
	// Ref names the post to edit or, if CannotEdit is set, the previous post of the card.
	// Empty means that the bridge knows of no post at this place.
	Ref Ref
	// Title is one line of plain text. It may contain the visitor's name; see Line.
	Title string
	// Lines follow the title.
	Lines []Line
	// Button leads to the card's co-browse page. The zero Link means that there is no button.
	// Unless the card is Public, the address is the agent's secret: post it to no other person
	// and do not log it. A Button without an Address is for a shared place: show it as a
	// button. When an agent presses it, Connector.Read returns an Ask with the verb Open.
	Button Link
	// Public says that agents must sign in to open the co-browse page, so several people may
	// see its address.
	Public bool
	// More are further links. The rules for Button apply to each of them.
	More []Link
	// Chat leads to the conversation. The zero Link means that there is no such link.
	Chat Link
}

// A Line is one fact on a card. Text may contain words that a visitor typed, so the connector
// escapes its service's markup in it.
type Line struct {
	Label string
	Text  string
}

// A Link is a label and the address to which it leads.
type Link struct {
	Label   string
	Address string
}
