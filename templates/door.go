package templates

import (
	"html/template"
	"strings"
	"time"

	"cobrowse-bridge/templates/clean"
)

// A Visitor is a person as Upscope knows them. The visitor's browser may have made
// up any of it except ID and the last four fields.
type Visitor struct {
	// ID is Upscope's short id, for the form field "visitor". It is not shown.
	ID   string
	Name string
	// NameIsID says that Name is an id or an e-mail address.
	NameIsID bool
	// Page is the page they are on; only host and path of it are shown.
	Page string
	// Where is like "Lisbon, Portugal".
	Where string
	// Device is like "Chrome on Windows".
	Device string
	// LastSeen is left out when zero.
	LastSeen time.Time
	Online   bool
	// InSession says that an agent is co-browsing with them now.
	InSession bool
	// Supported is false where Upscope cannot show their browser.
	Supported bool
	// Foreign says that Page is not on one of the operator's own sites.
	Foreign bool
}

// A Door is the page behind a card's button. It says who the visitor is and how
// they were matched, and has one main button. Nothing opens before it is pressed.
//
// Its form is posted to Path with the fields
//
//	visitor=ID       the visitor whose screen to open
//	anyway=1         if the visitor is offline and the agent insists
//	look=1           if there is no visitor, or none online: search again; the other fields are ignored
//	code=CODE        if Withheld is set: search by this code
//	tell=1           if the visitor is offline: tell the agent when they are back
//	stop=1           if a session of this card may run: end it
//	chat=1           if the conversation is opened through the bridge: open it
type Door struct {
	// Path is the door's own address; a GET of it searches again.
	Path string
	// Agent is the name of the agent who is asking, which the visitor may see.
	Agent string
	// NameInChat is the visitor's name in the chat.
	NameInChat string
	Chat       Link
	Reason     Reason
	// Asked says that an agent looked the visitor up outside a chat.
	Asked bool
	// Withheld says, if there is no visitor, why the code from the chat was not looked up. The page
	// then asks for the code if CanType is set. WrongCode says that the agent typed one that was not
	// found, and Malformed that it was no code.
	Withheld                      Withheld
	CanType, WrongCode, Malformed bool
	// Visitors are those who match, in the order of the page.
	Visitors []Visitor
	// OtherPerson says that the visitor is not the one that the card was made for,
	// whose name was PreviousName.
	OtherPerson  bool
	PreviousName string
	// Several says that the agent saw only one visitor before. It needs several Visitors.
	Several bool
	// Watching are the names of the agents who are co-browsing with the visitor now.
	// It may be empty although a session runs. The page shows the first five.
	Watching []string
	// OwnSession says that the session is the agent's own. Watching is then not shown.
	OwnSession bool
	// CanNotify says that the agent can be told when an offline visitor is back.
	CanNotify bool
	// CanStop says that a session of this card may be running and that the agent can
	// end it. Stopping says that they came to do so, and Runs that the session certainly runs.
	CanStop, Stopping, Runs bool
	// OpenChat is the page that opens the conversation by an address made for this
	// agent, or empty. OpeningChat says that the agent came to open it.
	OpenChat    string
	OpeningChat bool
	// Now is what LastSeen is compared with; zero is the time of the call.
	Now time.Time
}

// doorView is a Door with its texts chosen and cleaned.
type doorView struct {
	Frame frame
	// What the page is about: one of these is true.
	None, CodeWithheld, Choose, Offline, InSession, Ready, Stopping, OpeningChat bool

	Heading template.HTML
	Path    string
	// Who is the visitor's name; empty if it is not known.
	Who        string
	NameInChat string
	// Differs says that chat and Upscope have two names that do not go together.
	Differs      bool
	Reason       string
	Doubtful     bool
	OtherPerson  bool
	PreviousName string
	// Namesake says that PreviousName is the name of the visitor now as well.
	Namesake bool
	// Several is the title of a note, or empty.
	Several string
	// Browsers says that Visitors are browsers of one customer.
	Browsers bool
	// Watching are the agents to name, MoreWatching how many there are besides them.
	Watching      []string
	MoreWatching  int
	OwnSession    bool
	CanNotify     bool
	CanStop, Runs bool
	OpenChat      string
	// Withheld says why the code was not looked up, or is empty.
	Withheld                      string
	CanType, WrongCode, Malformed bool
	// One is the only visitor; zero unless Offline, InSession or Ready is true.
	One      visitorView
	Visitors []visitorView
	// Known says that there is a fact to show about One.
	Known bool
}

// maxWatching is how many agents who are co-browsing a page names.
const maxWatching = 5

// namesOf returns the first names of a list, and how many agents it leaves out. A
// name that shows nothing is left out. If all are, more is 0.
func namesOf(agents []string) (names []string, more int) {
	for _, name := range agents {
		if name = clean.Text(name, maxName); name != "" && len(names) < maxWatching {
			names = append(names, name)
		}
	}
	if len(names) == 0 {
		return nil, 0
	}
	return names, len(agents) - len(names)
}

// visitorView is a Visitor with cleaned texts. It does not embed the Visitor: a template finds a field
// of an embedded struct slowly.
type visitorView struct {
	ID, Name                                        string
	From                                            string // where they are, and their device
	NameIsID, Online, InSession, Supported, Foreign bool
	Page                                            template.HTML
	Seen                                            moment
}

// hasFacts reports whether the page has a fact to show about the only visitor.
func (v *doorView) hasFacts() bool {
	o := &v.One
	return o.Page != "" || o.From != "" || o.Name != "" || o.Seen.Ago != "" || v.NameInChat != "" || v.Reason != ""
}

func (d Door) view() (string, any, error) {
	now := d.Now
	if now.IsZero() {
		now = time.Now()
	}
	v := doorView{
		Frame:        frame{Agent: clean.Text(d.Agent, maxName), AgentSeen: true, Chat: cleanLink(d.Chat, OpenChatLabel)},
		Path:         d.Path,
		NameInChat:   clean.Text(d.NameInChat, maxName),
		Reason:       d.Reason.sentence(d.Asked),
		Doubtful:     d.Reason.doubtful(),
		OtherPerson:  d.OtherPerson && len(d.Visitors) == 1,
		PreviousName: clean.Text(d.PreviousName, maxName),
		OwnSession:   d.OwnSession,
		CanNotify:    d.CanNotify,
		CanStop:      d.CanStop,
		Runs:         d.Stopping && d.Runs,
		OpenChat:     d.OpenChat,
		CanType:      d.CanType,
		WrongCode:    d.WrongCode,
		Malformed:    d.Malformed,
	}
	switch d.Withheld {
	case WithheldOwn:
		v.Withheld = withheldOwn
	case WithheldOthers:
		v.Withheld = withheldOthers
	}
	v.Watching, v.MoreWatching = namesOf(d.Watching)
	for _, known := range d.Visitors {
		v.Visitors = append(v.Visitors, known.view(now))
	}
	v.Who = v.NameInChat
	if len(v.Visitors) == 1 {
		v.One = v.Visitors[0]
		if v.One.Name != "" {
			v.Who = v.One.Name
			v.Differs = !v.One.NameIsID && differ(v.One.Name, v.NameInChat)
		}
	}
	if len(v.Visitors) > 1 && d.Several {
		v.Several = d.Reason.secondMatch(d.Asked)
	}
	v.Browsers = d.Reason == ReasonUnique
	v.Namesake = v.PreviousName != "" && v.PreviousName == v.Who
	v.Known = v.hasFacts()
	state, heading := d.state(v)
	v.None, v.CodeWithheld, v.Choose = state == "none", state == "withheld", state == "choose"
	v.Offline, v.InSession, v.Ready = state == "offline", state == "session", state == "ready"
	v.Stopping, v.OpeningChat = state == "stop", state == "chat"
	name := values{"name": v.Who}
	v.Frame.Title, v.Heading = doorHeadings[heading].Plain(name), doorHeadings[heading].HTML(name)
	return "door", v, nil
}

// state returns the state of the page and the key of its heading.
func (d Door) state(v doorView) (state, heading string) {
	switch {
	case d.OpeningChat:
		return "chat", "chat"
	case d.Stopping:
		return "stop", "stop"
	case len(v.Visitors) == 0 && v.Withheld != "":
		return "withheld", "withheld"
	case len(v.Visitors) == 0:
		return "none", "none"
	case len(v.Visitors) > 1:
		if v.Browsers {
			return "choose", "browser"
		}
		return "choose", "choose"
	}
	state = v.One.state()
	switch {
	case v.OtherPerson:
		return state, "changed"
	case state == "session" && v.OwnSession:
		return state, "yours"
	}
	return state, state
}

func (v Visitor) view(now time.Time) visitorView {
	return visitorView{
		ID: strings.ToValidUTF8(v.ID, "\ufffd"), Name: clean.Text(v.Name, maxName), NameIsID: v.NameIsID,
		From:   joined(clean.Text(v.Where, maxFact), clean.Text(v.Device, maxFact)),
		Online: v.Online, InSession: v.InSession, Supported: v.Supported, Foreign: v.Foreign,
		Page: breakable(clean.Address(v.Page, maxFact)), Seen: momentOf(now, v.LastSeen),
	}
}

func (v visitorView) state() string {
	switch {
	case v.InSession:
		return "session"
	case v.Online:
		return "ready"
	}
	return "offline"
}

// differ reports whether two names seem to belong to different people: "Ann" and
// "ann silva" go together. An empty name goes with all.
func differ(a, b string) bool {
	a, b = strings.ToLower(a), strings.ToLower(b)
	return !strings.Contains(a, b) && !strings.Contains(b, a)
}
