package templates

import (
	"strings"
	"time"
)

// A Visitor is a person as Upscope knows them. Everything in it but ID and the
// last four fields can have been made up in the visitor's browser.
type Visitor struct {
	// ID is Upscope's short id. It is the value of the form field "visitor" and
	// is not shown.
	ID   string
	Name string
	// Page is the page they are on; only host and path of it are shown.
	Page string
	// Where is like "Lisbon, Portugal".
	Where string
	// Device is like "Chrome on Windows".
	Device string
	// LastSeen is left out when zero.
	LastSeen time.Time
	Online   bool
	// InSession says that somebody is co-browsing with them now.
	InSession bool
	// Supported is false where Upscope cannot show their browser.
	Supported bool
	// Foreign says that Page is not on one of the operator's own sites.
	Foreign bool
}

// A Door is the page behind a card's button: who the visitor is, why we think
// so, and one thing to press. It asks for a press in every case and gives no
// way on by itself.
//
// Its form is posted to Path with the fields
//
//	visitor=ID       the visitor whose screen to open
//	anyway=1         if the visitor is offline and the agent insists
//	look=1           if there is no visitor, or none online: look again, whatever else there is
//	tell=1           if the visitor is offline: tell the agent when they are back
//	stop=1           if a session of this card may run: end it
//	chat=1           if the conversation is opened through the bridge: open it
type Door struct {
	// Path is the door's own address; a GET of it looks again.
	Path string
	// Agent is the name of the agent who is asking, which the visitor may see.
	Agent string
	// Claimed is what the chat calls the visitor.
	Claimed string
	Chat    Link
	Reason  Reason
	// Visitors are those who match: none, the one, or several to choose from,
	// shown in this order.
	Visitors []Visitor
	// Changed says that the visitor is not the one the card was made for. Before
	// is what that one was called.
	Changed bool
	Before  string
	// Several says that more than one visitor matches now, where the agent saw one
	// before. It shows where there are several Visitors.
	Several bool
	// Watching are the names of the agents who are co-browsing with the visitor now.
	// It may be empty although a session runs. The page shows the first few.
	Watching []string
	// Yours says that the session which runs is the reader's own. Watching is then
	// not shown.
	Yours bool
	// Tells says that the agent can be told when an offline visitor is back.
	Tells bool
	// Stops says that a session of this card may be running, which the agent can
	// end. Stopping says that this is what they have come for.
	Stops, Stopping bool
	// Enter leads to where the conversation is opened through the bridge, since its
	// address is made for one agent at one moment; empty where it is not. Entering
	// says that this is what they have come for.
	Enter    string
	Entering bool
	// Now is what LastSeen is compared with; zero is the time of the call.
	Now time.Time
}

// doorView is a Door with its words chosen and its texts cleaned.
type doorView struct {
	frame
	// State is none, choose, offline, session, ready, stop or chat.
	State   string
	Heading heading
	Path    string
	// Who is the visitor's name, for use in the middle of a sentence.
	Who     string
	Claimed string
	// Differs says that chat and Upscope have two names that do not go together.
	Differs  bool
	Reason   string
	Doubtful bool
	Changed  bool
	Before   string
	// Several is the title of a note, or empty.
	Several string
	// Watching are the agents to name, MoreWatching how many there are beside them.
	Watching     []watching
	MoreWatching int
	Yours        bool
	Tells        bool
	Stops        bool
	Enter        string
	// One is the only visitor; zero unless State is offline, session or ready.
	One      visitorView
	Visitors []visitorView
}

// watching is an agent who is co-browsing, with what separates the name from the
// one before.
type watching struct{ Separator, Name string }

// maxWatching is how many agents who are co-browsing a page names.
const maxWatching = 5

// namesOf returns the first names of a list, ready for a sentence, and how many
// are not among them. A name that shows nothing is not among them.
func namesOf(agents []string) (named []watching, more int) {
	for _, name := range agents {
		if name = clean(name, maxName); name != "" && len(named) < maxWatching {
			named = append(named, watching{", ", name})
		}
	}
	if len(named) == 0 {
		return nil, 0
	}
	named[0].Separator = ""
	more = len(agents) - len(named)
	if last := len(named) - 1; last > 0 && more == 0 {
		named[last].Separator = " and "
	}
	return named, more
}

// heading is a title in which the visitor's name stands apart, so that a name
// written from right to left leaves the words around it in order.
type heading struct{ Before, Name, After string }

func (h heading) String() string { return h.Before + h.Name + h.After }

type visitorView struct {
	Visitor
	// Page hides that of Visitor: it comes in parts, between which a line may
	// break.
	Page     []string
	Seen     string // "2 minutes ago"
	SeenTime string // RFC 3339
}

// Known reports whether there is anything to tell about the only visitor.
func (v doorView) Known() bool {
	o := v.One
	return len(o.Page) > 0 || o.From() != "" || o.Name != "" || o.Seen != "" || v.Claimed != "" || v.Reason != ""
}

func (d Door) view() (string, any, error) {
	now := d.Now
	if now.IsZero() {
		now = time.Now()
	}
	v := doorView{
		frame:    frame{Agent: clean(d.Agent, maxName), AgentSeen: true, Chat: cleanLink(d.Chat, "Back to the chat")},
		Path:     d.Path,
		Claimed:  clean(d.Claimed, maxName),
		Reason:   d.Reason.Sentence(),
		Doubtful: d.Reason.doubtful(),
		Changed:  d.Changed,
		Before:   clean(d.Before, maxName),
		Yours:    d.Yours,
		Tells:    d.Tells,
		Stops:    d.Stops,
		Enter:    d.Enter,
	}
	v.Watching, v.MoreWatching = namesOf(d.Watching)
	for _, known := range d.Visitors {
		v.Visitors = append(v.Visitors, known.view(now))
	}
	v.Who = v.Claimed
	switch len(v.Visitors) {
	case 0:
		v.State, v.Heading = "none", heading{"We can’t find ", orVisitor(v.Who), " yet"}
	case 1:
		v.One = v.Visitors[0]
		if v.One.Name != "" {
			v.Who = v.One.Name
			v.Differs = differ(v.One.Name, v.Claimed)
		}
		v.State, v.Heading = v.One.state(orVisitor(v.Who))
		if v.State == "session" && v.Yours {
			v.Heading.Before = "Back to your session with "
		}
		if v.Changed {
			v.Heading = heading{Before: "This is a different visitor"}
		}
	default:
		v.State, v.Heading = "choose", heading{Before: "Which visitor are you chatting with?"}
		if d.Several {
			v.Several = d.Reason.another()
		}
	}
	if d.Stopping {
		v.State, v.Heading = "stop", heading{"End the session with ", orVisitor(v.Who), "?"}
	}
	if d.Entering {
		v.State, v.Heading = "chat", heading{"Open the chat with ", orVisitor(v.Who), ""}
	}
	v.Title, v.Who = v.Heading.String(), orVisitor(v.Who)
	return "door", v, nil
}

func (v Visitor) view(now time.Time) visitorView {
	v.ID = strings.ToValidUTF8(v.ID, "\ufffd")
	v.Name = clean(v.Name, maxName)
	v.Where = clean(v.Where, maxFact)
	v.Device = clean(v.Device, maxFact)
	seen := visitorView{Visitor: v, Page: breakable(place(v.Page)), Seen: ago(now, v.LastSeen)}
	if seen.Seen != "" {
		seen.SeenTime = v.LastSeen.UTC().Format(time.RFC3339)
	}
	return seen
}

func (v visitorView) state(who string) (string, heading) {
	switch {
	case v.InSession:
		return "session", heading{"Join the session with ", who, ""}
	case v.Online:
		return "ready", heading{"Co-browse with ", who, ""}
	default:
		return "offline", heading{"", capital(who), " is offline"}
	}
}

// From says where the visitor is and with what.
func (v visitorView) From() string { return joined(v.Where, v.Device) }

// differ reports whether two names belong to different people as far as one can
// tell: "Ann" and "ann silva" go together. An empty name goes with all.
func differ(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	return !strings.Contains(a, b) && !strings.Contains(b, a)
}

func orVisitor(name string) string {
	if name == "" {
		return "the visitor"
	}
	return name
}

// capital lets who begin a sentence. Names keep the case that people gave them.
func capital(who string) string {
	if who == orVisitor("") {
		return "The visitor"
	}
	return who
}
