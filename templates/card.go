package templates

import (
	"cmp"
	"math"
	"slices"
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

// Messages of their own, which are not states of a card.
const (
	StateMoved      = "moved"    // the chat went to another agent
	StateBack       = "back"     // the visitor whom an agent waited for is online
	StateHelp       = "help"     // how to ask
	StateTooMany    = "too-many" // too many codes were not found
	StateTooOften   = "too-often"
	StateTooLate    = "too-late" // a code is too old to look it up
	StateStatus     = "status"   // the states of an agent's cards, one on each line
	StateUsage      = "usage"    // Upscope's counts, one on each line
	StateNoUsage    = "no-usage" // Upscope's counts could not be read
	StateStop       = "stop"     // the agent's running sessions, one on each button
	StateStopped    = "stopped"
	StateNotStopped = "not-stopped" // Upscope could not be asked to end the session
	StateRefused    = "refused"     // the agent may not ask; see Card.Refusal
)

// A Card holds what the message about one chat says.
type Card struct {
	// State is one of the State constants; any other is shown as failed.
	State    string
	Customer CustomerName
	Reason   Reason
	// Page, Where and Device are those of the visitor that was found.
	Page, Where, Device string
	// Found is a number: of matching visitors for choose, of cards for status, of
	// ended sessions for stopped. Zero means unknown or none.
	Found int
	// Agent is the name of the agent who started the session, for opened.
	Agent string
	// To is the name of the agent who has the chat now, for moved; may be empty.
	To string
	// Sessions are those that began from this card, in order.
	Sessions []Session
	// Asked says that the agent looked the visitor up outside a chat. ByCode says that they typed
	// a code.
	Asked, ByCode bool
	// Personal says that the card was made for one agent and that its button works for a short time.
	Personal bool
	// Usage is an example of the command, for help: "!cobrowse 4821". InThread is one for
	// threads, and Commands lists other commands; both may be empty.
	Usage, InThread, Commands string
	// Unclear is the reason, for help, why the agent's command was not understood: one of the
	// Unclear constants, or empty.
	Unclear string
	// Refusal is one of the Refused constants, for refused.
	Refusal string
}

// A CustomerName is what a customer is called.
type CustomerName struct {
	Text   string
	Source NameSource
}

// A NameSource says where a name comes from. Neither source is proven.
type NameSource int

// The sources of names.
const (
	NameInChat NameSource = iota // the customer's name in the chat
	NameOnSite                   // the chat has no name; the operator's site gave this one to Upscope
	IDOnSite                     // the same with an id or an e-mail address, for lack of a name
)

// note says where a name comes from that is not the chat's, or is empty.
func (n CustomerName) note() string {
	switch {
	case n.Text == "":
		return ""
	case n.Source == NameOnSite:
		return labelSiteName
	case n.Source == IDOnSite:
		return labelSiteID
	}
	return ""
}

// Reasons why a command was not understood.
const (
	UnclearText    = "text"    // nothing that names a customer
	UnclearSeveral = "several" // several customers
	UnclearLetters = "letters" // an address with letters that cannot be looked up
)

// Reasons why an agent may not ask.
const (
	RefusedExternal = "external"
	RefusedGuest    = "guest"
	RefusedInactive = "inactive"
	RefusedBot      = "bot"
	RefusedPolicy   = "policy"
	RefusedStop     = "policy-stop"
	RefusedEmail    = "e-mail"
)

// A Session is what is known of one co-browse session.
type Session struct {
	Outcome Outcome
	// Length is left out when zero.
	Length time.Duration
	Agents []string
	// Rating is the visitor's, from 0 to 5; nil means none.
	Rating *float64
	Notes  []SessionNote
}

// A SessionNote is what an agent wrote during a session.
type SessionNote struct{ Text, By string }

// An Outcome says how far a session came.
type Outcome int

const (
	Waiting  Outcome = iota // begun; no agent sees the screen yet
	Running                 // an agent sees the screen
	Over                    // an agent saw the screen, and the session ended
	Declined                // the visitor did not agree
	NotBegun                // ended before an agent saw the screen
	Unknown                 // Upscope did not report the end
)

// String returns the outcome as the audit log has it.
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
	// Button is the label of the button, or empty.
	Button string
	// Stop is the label of the button that ends the session, or empty.
	Stop string
}

// Text returns the message about the card.
func (c Card) Text() CardText {
	texts := c.texts()
	name := shortName(c.Customer.Text)
	if c.Customer.Source == IDOnSite {
		name = "" // an e-mail address or id of the site does not belong in a channel
	}
	t := CardText{
		Title:  texts.title.plain(values{"name": name, "agent": withoutSchemes(clean(c.To, maxShort))}),
		Button: texts.button, Stop: texts.stop,
	}
	if texts.counted.one != "" && c.Found > 0 {
		t.Title = texts.counted.of(c.Found)
	}
	show := func(f fact, label, text string) {
		if texts.shows&f != 0 {
			t.add(label, text)
		}
	}
	if c.Customer.Source == NameOnSite {
		show(factName|factPage|factSessions, labelSiteName, name)
	} else {
		show(factName, labelName, name)
	}
	show(factOpener, labelOpener, withoutSchemes(clean(c.Agent, maxName)))
	show(factPage, labelPage, withoutSchemes(hostAndPath(c.Page)))
	show(factPage, labelFrom, withoutSchemes(joined(clean(c.Where, maxFact), clean(c.Device, maxFact))))
	show(factReason, labelReason, c.Reason.sentence(c.Asked))
	if texts.shows&factSessions != 0 {
		t.Lines = append(t.Lines, c.sessionLines()...)
	}
	t.add(labelWhy, texts.why)
	t.add(labelFirst, texts.first)
	if texts.example != "" {
		t.add(texts.example, withoutSchemes(clean(c.Usage, maxFact)))
		t.add(labelInThread, withoutSchemes(clean(c.InThread, maxFact)))
		t.add(labelCommands, withoutSchemes(clean(c.Commands, maxNote)))
	}
	t.add(labelNext, texts.next)
	t.add("", texts.note)
	if c.Personal && t.Button != "" && !slices.Contains([]string{StateOpened, StateLive, StateEnded}, c.State) {
		t.add("", ownNote)
	}
	return t
}

func (c Card) texts() cardText {
	texts, ok := cardTexts[c.key()]
	if !ok {
		texts = cardTexts[StateFailed]
	}
	if c.State == StateRefused {
		refusal := refusalTexts[c.Refusal]
		if refusal.title != "" {
			texts.title = wording{refusal.title}
		}
		texts.why, texts.next = refusal.why, refusal.next
	}
	if c.key() == textNotUnderstood {
		texts.why = unclearTexts[c.Unclear]
	}
	return texts
}

// key returns the key of the card's texts in cardTexts.
func (c Card) key() string {
	switch {
	case c.State == StateNoVisitor && c.Asked && c.ByCode:
		return textNotFoundCode
	case c.State == StateNoVisitor && c.Asked:
		return textNotFoundID
	case c.State == StateFailed && c.Asked && c.ByCode:
		return textFailedCode // without a button: the code is not kept
	case c.State == StateChoose && c.Found == 1:
		return textPossible
	case c.State == StateEnded && len(c.Sessions) > 0 && !slices.ContainsFunc(c.Sessions, Session.began):
		return textNotStarted
	case c.State == StateHelp && c.Unclear != "":
		return textNotUnderstood
	case c.State == StateStopped && c.Found == 0:
		return textNoneStopped
	case c.State == StateClosed && c.running():
		return textClosedRunning
	case c.State == StateStatus && c.Found == 0:
		return textNoCards
	}
	return c.State
}

// JoinLabel returns the label of the button that leads to the session with a customer, and
// StopLabel of the one that ends it.
func JoinLabel(name string) string { return joinLabel.plain(values{"name": shortName(name)}) }
func StopLabel(name string) string { return stopLabel.plain(values{"name": shortName(name)}) }

// StatusLine says in a few words how far the card of a customer is.
func StatusLine(name, state string) Line {
	return Line{cmp.Or(shortName(name), someone), statusOf(state, 0).status}
}

func shortName(name string) string { return withoutSchemes(clean(name, maxShort)) }

func (t *CardText) add(label, text string) {
	if text != "" {
		t.Lines = append(t.Lines, Line{label, text})
	}
}

// sessionLines describe the card's sessions. Several are numbered.
func (c Card) sessionLines() []Line {
	var t CardText
	for i, s := range c.Sessions {
		label := labelSession
		if len(c.Sessions) > 1 {
			label = sessionNumber.plain(values{"n": i + 1})
		}
		t.add(label, s.summary())
		if rating := s.rating(); rating != "" {
			t.add(labelRating, sessionRating.plain(values{"n": rating}))
		}
		for _, n := range s.Notes {
			if text := withoutSchemes(clean(n.Text, maxNote)); text != "" {
				t.add(labelNote, sessionNote.plain(values{"note": text, "agent": withoutSchemes(clean(n.By, maxName))}))
			}
		}
	}
	return t.Lines
}

// RecordingLabel is the label of a link to recording n; 0 if there is only one.
func RecordingLabel(n int) string { return recordingLabel.plain(values{"n": n}) }

func (c Card) running() bool {
	for _, s := range c.Sessions {
		if s.Outcome == Running {
			return true
		}
	}
	return false
}

// began reports whether the session may have shown an agent the screen.
func (s Session) began() bool { return s.Outcome != Declined && s.Outcome != NotBegun }

// summary is the outcome of the session; where an agent saw the screen, with the
// length and the agents.
func (s Session) summary() string {
	text, ok := sessionTexts[s.Outcome]
	if !ok {
		text = sessionTexts[Unknown]
	}
	if s.Outcome != Running && s.Outcome != Over {
		return text
	}
	if s.Outcome == Over && s.Length > 0 {
		text = lengthText(s.Length)
	}
	var agents []string
	for _, a := range s.Agents {
		if a = withoutSchemes(clean(a, maxName)); a != "" {
			agents = append(agents, a)
		}
	}
	return joined(text, strings.Join(agents, ", "))
}

// rating returns the rating with at most two decimals, such as "4.5", or "" if there is none.
func (s Session) rating() decimal {
	if s.Rating == nil {
		return ""
	}
	return decimal(strconv.FormatFloat(math.Round(*s.Rating*100)/100, 'f', -1, 64))
}

func lengthText(d time.Duration) string {
	switch {
	case d < time.Minute:
		return underAMinute
	case d < time.Hour:
		return lengthMinutes.of(int(d / time.Minute))
	}
	return lengthInHours.plain(values{"hours": int(d / time.Hour), "minutes": int(d % time.Hour / time.Minute)})
}

// withoutSchemes removes "://" from a text, so that no chat service makes a link
// of what a visitor typed.
func withoutSchemes(s string) string { return strings.ReplaceAll(s, "://", " ") }
