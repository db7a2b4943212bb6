package templates

import (
	"cmp"
	"html/template"
	"math"
	"slices"
	"strconv"
	"strings"
	"time"

	"cobrowse-bridge/templates/clean"
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
	StateMoved         = "moved"           // the chat went to another agent
	StateBack          = "back"            // the visitor whom an agent waited for is online
	StateHelp          = "help"            // how to ask
	StateTooMany       = "too-many"        // the agent typed too many wrong codes
	StateTooManyOthers = "too-many-others" // other agents typed many wrong codes, and this one a few
	StateTooOften      = "too-often"
	StateTooLate       = "too-late" // a code is too old to look it up
	StateStatus        = "status"   // the states of an agent's cards, one on each line
	StateUsage         = "usage"    // Upscope's counts, one on each line
	StateNoUsage       = "no-usage" // Upscope's counts could not be read
	StateStop          = "stop"     // the agent's running sessions, one on each button
	StateStopped       = "stopped"
	StateNotStopped    = "not-stopped" // Upscope could not be asked to end the session
	StateRefused       = "refused"     // the agent may not ask; see Card.Refusal
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
	// Owner is the name of the agent who has the chat, where several agents see the card; else empty.
	Owner string
	// To is the name of the agent who has the chat now, for moved; may be empty.
	To string
	// Sessions are those that began from this card, in order.
	Sessions []Session
	// Asked says that the agent looked the visitor up outside a chat. ByCode says that they typed
	// a code.
	Asked, ByCode bool
	// Withheld says, for no-visitor, why the customer's code was not looked up. Empty means that it
	// was, or that there was none.
	Withheld Withheld
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

// Withheld says why a lookup code was not looked up.
type Withheld string

const (
	WithheldOwn    Withheld = "own"    // too many wrong codes were typed in this chat, or by this agent
	WithheldOthers Withheld = "others" // too many wrong codes were typed in other chats, or by other agents
)

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
		Title:  texts.title.Plain(values{"name": name, "agent": clean.WithoutSchemes(clean.Text(c.To, maxShort))}),
		Button: texts.button, Stop: texts.stop,
	}
	if texts.counted[0] != "" && c.Found > 0 {
		t.Title = texts.counted.Of(c.Found)
	}
	show := func(f fact, label, text string) {
		if texts.shows&f != 0 {
			t.add(label, text)
		}
	}
	t.add(labelOwner, clean.WithoutSchemes(clean.Text(c.Owner, maxName)))
	if c.Customer.Source == NameOnSite {
		show(factName|factPage|factSessions, labelSiteName, name)
	} else {
		show(factName, labelName, name)
	}
	show(factOpener, labelOpener, clean.WithoutSchemes(clean.Text(c.Agent, maxName)))
	show(factPage, labelPage, clean.WithoutSchemes(clean.Address(c.Page, maxFact)))
	show(factPage, labelFrom, clean.WithoutSchemes(joined(clean.Text(c.Where, maxFact), clean.Text(c.Device, maxFact))))
	show(factReason, labelReason, c.Reason.sentence(c.Asked))
	if texts.shows&factSessions != 0 {
		t.Lines = append(t.Lines, c.sessionLines()...)
	}
	t.add(labelWhy, texts.why)
	t.add(labelFirst, texts.first)
	if texts.example != "" {
		t.add(texts.example, clean.WithoutSchemes(clean.Text(c.Usage, maxFact)))
		t.add(labelInThread, clean.WithoutSchemes(clean.Text(c.InThread, maxFact)))
		t.add(labelCommands, clean.WithoutSchemes(clean.Text(c.Commands, maxNote)))
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
	case c.State == StateNoVisitor && c.Withheld != "":
		return c.Withheld.key(c.Asked)
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

// key returns the key of the texts in cardTexts. asked says that an agent typed the code.
func (w Withheld) key(asked bool) string {
	switch {
	case asked && w == WithheldOthers:
		return StateTooManyOthers
	case asked:
		return StateTooMany
	case w == WithheldOthers:
		return textWithheldOthers
	}
	return textWithheldOwn
}

// JoinLabel returns the label of the button that leads to the session with a customer, and
// StopLabel of the one that ends it.
func JoinLabel(name string) string { return joinLabel.Plain(values{"name": shortName(name)}) }
func StopLabel(name string) string { return stopLabel.Plain(values{"name": shortName(name)}) }

// StatusLine says in a few words how far the card of a customer is.
func StatusLine(name, state string) Line {
	return Line{cmp.Or(shortName(name), someone), statusOf(state, 0).status}
}

func shortName(name string) string { return clean.WithoutSchemes(clean.Text(name, maxShort)) }

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
			label = sessionNumber.Plain(values{"n": i + 1})
		}
		t.add(label, s.summary())
		if rating := s.rating(); rating != "" {
			t.add(labelRating, sessionRating.Plain(values{"n": rating}))
		}
		for _, n := range s.Notes {
			if text := clean.WithoutSchemes(clean.Text(n.Text, maxNote)); text != "" {
				t.add(labelNote, sessionNote.Plain(values{"note": text, "agent": clean.WithoutSchemes(clean.Text(n.By, maxName))}))
			}
		}
	}
	return t.Lines
}

// RecordingLabel is the label of a link to recording n; 0 if there is only one.
func RecordingLabel(n int) string { return recordingLabel.Plain(values{"n": n}) }

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
		if a = clean.WithoutSchemes(clean.Text(a, maxName)); a != "" {
			agents = append(agents, a)
		}
	}
	return joined(text, strings.Join(agents, ", "))
}

// A decimal is a number with a fraction, as text; empty if there is none.
type decimal string

// Plain implements phrase.Shown.
func (d decimal) Plain() string { return string(d) }

// HTML implements phrase.Shown.
func (d decimal) HTML() template.HTML { return template.HTML(template.HTMLEscapeString(string(d))) }

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
		return lengthMinutes.Of(int(d / time.Minute))
	}
	return lengthInHours.Plain(values{"hours": int(d / time.Hour), "minutes": int(d % time.Hour / time.Minute)})
}
