package templates

import "strings"

// The states of a Card.
const (
	StateSearching = "searching"
	StateNoVisitor = "no-visitor"
	StateChoose    = "choose"
	StateOffline   = "offline"
	StateReady     = "ready"
	StateOpened    = "opened"
	StateClosed    = "closed"
	StateMoved     = "moved"
	StateFailed    = "failed"
)

// A Card is what the message about one chat has to say.
type Card struct {
	// State is one of the State constants; any other is shown as failed.
	State string
	// Visitor is what the chat calls the visitor.
	Visitor string
	Reason  Reason
	// Page, Where and Device are those of the Visitor that was found.
	Page, Where, Device string
	// Found is how many visitors match, for choose; zero leaves it out.
	Found int
	// Agent is who opened the session, for opened.
	Agent string
	// To is who has the chat now, for moved; may be empty.
	To string
}

// A Line is one fact. Text may hold words that a visitor typed.
type Line struct {
	Label string
	Text  string
}

// A CardText is a message in plain text: no markup, no line breaks and no
// address.
type CardText struct {
	Title string
	Lines []Line
	// Button is the label of the button; empty means that there is none.
	Button string
}

// Text puts the card into words.
func (c Card) Text() CardText {
	name := message(clean(c.Visitor, maxShort))
	who := orVisitor(name)
	var t CardText
	add := func(label, text string) {
		if text != "" {
			t.Lines = append(t.Lines, Line{label, text})
		}
	}
	visitor := func() {
		add("Page", message(place(c.Page)))
		add("From", message(joined(clean(c.Where, maxFact), clean(c.Device, maxFact))))
	}
	switch c.State {
	case StateSearching:
		t.Title = "Looking for " + who
		add("Note", "This message updates itself.")
	case StateNoVisitor:
		t.Title = "Can’t find " + who + " yet"
		add("Why", "Nobody on your site matches this chat so far.")
		add("Next", "Ask them to reload your page, then check again.")
		t.Button = "Check again"
	case StateChoose:
		t.Title = "Several visitors match"
		add("Visitor", name)
		if c.Found > 0 {
			add("Found", count(c.Found, "visitor"))
		}
		add("Next", "Open the list and choose the right one.")
		t.Button = "Open"
	case StateOffline:
		t.Title = capital(who) + " is offline"
		visitor()
		add("Next", "A tab left idle counts as offline. Ask them to click in the page, then check again.")
		t.Button = "Check again"
	case StateReady:
		t.Title = "Co-browse with " + who
		visitor()
		add("How we know", c.Reason.Sentence())
		t.Button = "Co-browse"
	case StateOpened:
		t.Title = "Co-browsing with " + who
		add("Opened by", message(clean(c.Agent, maxName)))
		visitor()
		t.Button = "Co-browse"
	case StateClosed:
		t.Title = "Chat closed"
		add("Visitor", name)
		add("Note", "Its co-browse button no longer works. A session that is still running goes on until one of you ends it.")
	case StateMoved:
		to := message(clean(c.To, maxShort))
		if to == "" {
			to = "another agent"
		}
		t.Title = "Chat moved to " + to
		add("Visitor", name)
		add("Note", "Whoever has the chat has the co-browse button.")
	default:
		t.Title = "Co-browsing is not available"
		add("Visitor", name)
		add("Why", "The visitor could not be looked up.")
		add("Next", "Carry on in the chat, and tell your administrator if this happens again.")
	}
	return t
}

// message takes the schemes out of a text, so that no chat service makes a link
// of what a visitor typed.
func message(s string) string { return strings.ReplaceAll(s, "://", " ") }
