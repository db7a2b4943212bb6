package templates

import (
	"strconv"
	"strings"
	"time"
)

// The states of a Card.
const (
	StateSearching = "searching"
	StateNoVisitor = "no-visitor"
	StateChoose    = "choose"
	StateOffline   = "offline"
	StateReady     = "ready"
	StateOpened    = "opened"
	StateLive      = "live"
	StateEnded     = "ended"
	StateClosed    = "closed"
	StateFailed    = "failed"
)

// Messages of their own, which are no states of one.
const (
	StateMoved    = "moved"
	StateBack     = "back" // the visitor whom an agent waited for is online
	StateHelp     = "help" // how to ask
	StateTooMany  = "too-many"
	StateTooOften = "too-often"
	StateTooLate  = "too-late"
	StateStatus   = "status" // how an agent's cards stand, a line each
	StateUsage    = "usage"  // what Upscope counts, a line each
	StateStopped  = "stopped"
	StateRefused  = "refused" // whoever asked may not
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
	// Found is how many visitors match, for choose; zero leaves it out. For status
	// it is how many cards there are, for stopped how many sessions were ended.
	Found int
	// Agent is who opened the session, for opened.
	Agent string
	// To is who has the chat now, for moved; may be empty.
	To string
	// Sessions are those that began from this card, in order.
	Sessions []Session
	// Asked says that the agent looked the visitor up, apart from any chat.
	Asked bool
	// Usage is how to ask, for help: "!cobrowse 4821".
	Usage string
	// Refusal is one of the Refused constants, for refused.
	Refusal string
}

// Why somebody may not ask.
const (
	RefusedExternal = "external"
	RefusedGuest    = "guest"
	RefusedInactive = "inactive"
	RefusedBot      = "bot"
	RefusedPolicy   = "policy"
	RefusedEmail    = "e-mail"
)

// refusals say so.
var refusals = map[string]string{
	RefusedExternal: "You belong to another organisation. Customers’ screens are shown to this one’s own people only.",
	RefusedGuest:    "You are a guest here. Guests may not see customers’ screens unless your administrator allows it.",
	RefusedInactive: "Your account could not be confirmed.",
	RefusedBot:      "This was asked by a program.",
	RefusedPolicy:   "Your administrator’s rules do not allow it.",
	RefusedEmail:    "Customers are not looked up by e-mail address here: anybody can type one. Ask them to read out the code on their page.",
}

// A Session is what is known of one co-browsing session.
type Session struct {
	Outcome Outcome
	// Length is left out when zero.
	Length time.Duration
	Agents []string
	// Rating is what the visitor thought of it, of 5; zero is none.
	Rating int
	Notes  []SessionNote
}

// A SessionNote is what an agent wrote during a session.
type SessionNote struct{ Text, By string }

// An Outcome says how far a session came.
type Outcome int

// The outcomes.
const (
	Waiting  Outcome = iota // begun, and nothing seen yet
	Running                 // the screen is seen
	Over                    // it was seen, and that is over
	Declined                // the visitor did not agree
	NotBegun                // ended before anything was seen
	Unknown                 // nobody said how it ended
)

func (o Outcome) String() string {
	switch o {
	case Waiting:
		return "waiting"
	case Running:
		return "running"
	case Over:
		return "over"
	case Declined:
		return "declined"
	case NotBegun:
		return "not begun"
	}
	return "end unknown"
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
	// Stop is the label of the button that ends the session; empty means that
	// there is none.
	Stop string
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
		if c.Asked {
			t.Title = "Nobody found"
			add("Why", "No one customer who is online goes by that now.")
			add("Next", "Ask them to read the code out again. If it is the same, ask them to reload your page for a new one.")
			break
		}
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
		t.Lines = append(t.Lines, c.record()...)
		t.Button = "Co-browse"
	case StateLive:
		t.Title = "Live with " + who
		visitor()
		t.Lines = append(t.Lines, c.record()...)
		t.Button, t.Stop = "Join", "Stop"
	case StateEnded:
		t.Title = "Co-browsing with " + who + " is over"
		t.Lines = append(t.Lines, c.record()...)
		t.Button = "Co-browse again"
	case StateClosed:
		t.Title = "Chat closed"
		add("Visitor", name)
		t.Lines = append(t.Lines, c.record()...)
		note := "Its co-browse button no longer works."
		if c.running() {
			note += " The session goes on until one of you ends it."
		}
		add("Note", note)
	case StateBack:
		t.Title = capital(who) + " is back"
		visitor()
		t.Button = "Co-browse"
	case StateHelp:
		t.Title = "Co-browse with a customer"
		add("Ask", "Have them read out the four-digit code that your page shows them.")
		add("Then type", message(clean(c.Usage, maxFact)))
		add("Note", "Type it where you found this message, never in the customer’s chat.")
	case StateStatus:
		t.Title = "Your co-browsing"
		if c.Found == 0 {
			add("Note", "You have no co-browse cards yet. Type help to see how to get one.")
		}
	case StateUsage:
		t.Title = "Upscope at this moment"
	case StateStopped:
		t.Title = "No session of yours is running"
		if c.Found > 0 {
			t.Title = "Ended " + count(c.Found, "session")
		}
	case StateRefused:
		t.Title = "You can’t co-browse from here"
		add("Why", refusals[c.Refusal])
		add("Next", "Ask your administrator if you should be able to.")
	case StateTooLate:
		t.Title = "Please type the code again"
		add("Why", "It could not be looked up in time, and codes change hands.")
		add("Next", "Ask the customer to read it out once more.")
	case StateTooMany:
		t.Title = "Too many codes"
		add("Why", "More codes led nowhere in a short time than one person needs.")
		add("Next", "Wait ten minutes, then ask the customer to read the code out again.")
	case StateTooOften:
		t.Title = "Please wait a minute"
		add("Why", "You asked for more customers in a short time than one person needs.")
		add("Next", "Wait a minute, then ask again.")
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

// record says how the card's sessions went. Several are numbered.
func (c Card) record() (lines []Line) {
	for i, s := range c.Sessions {
		label := "Session"
		if len(c.Sessions) > 1 {
			label += " " + strconv.Itoa(i+1)
		}
		lines = append(lines, Line{label, s.sentence()})
		if s.Rating > 0 {
			lines = append(lines, Line{"Rated", strconv.Itoa(s.Rating) + " of 5"})
		}
		for _, n := range s.Notes {
			text, by := message(clean(n.Text, maxNote)), message(clean(n.By, maxName))
			if text != "" && by != "" {
				text += " (" + by + ")"
			}
			if text != "" {
				lines = append(lines, Line{"Note", text})
			}
		}
	}
	return lines
}

func (c Card) running() bool {
	for _, s := range c.Sessions {
		if s.Outcome == Running {
			return true
		}
	}
	return false
}

func (s Session) sentence() string {
	var names []string
	for _, a := range s.Agents {
		if a = message(clean(a, maxName)); a != "" {
			names = append(names, a)
		}
	}
	with := strings.Join(names, ", ")
	switch s.Outcome {
	case Waiting:
		return "waiting for the customer"
	case Running:
		return joined("running", with)
	case Over:
		return joined(length(s.Length), with)
	case Declined:
		return "the customer did not agree"
	case NotBegun:
		return "ended before anything was seen"
	}
	return "Upscope has not said how it ended"
}

// length is how long a session was.
func length(d time.Duration) string {
	switch {
	case d <= 0:
		return "ended"
	case d < time.Minute:
		return "under a minute"
	case d < time.Hour:
		return strconv.Itoa(int(d/time.Minute)) + " min"
	}
	return strconv.Itoa(int(d/time.Hour)) + " h " + strconv.Itoa(int(d%time.Hour/time.Minute)) + " min"
}

// message takes the schemes out of a text, so that no chat service makes a link
// of what a visitor typed.
func message(s string) string { return strings.ReplaceAll(s, "://", " ") }
