package templates

import (
	"bytes"
	"cmp"
	"fmt"
	"html/template"
	"net/url"
	"slices"
	"strconv"
	"time"

	"cobrowse-bridge/templates/clean"
)

// A Desk is the page of one agent: their cards, their sessions, and a form to look
// up a caller.
//
// Its forms are posted to
//
//	/desk/look-up    code=4821: the digits that a caller reads out
//	/desk/tell       card=ID: tell the agent when the visitor is back
//	/desk/unlink     account=ID: disconnect a chat account
//	/signout
//
// and a card is opened by a GET of /desk/card/{ID}, with ?stop=1 to end its
// session. The page holds no handle, so a copy of it opens no door.
//
// static/desk.js keeps the part that a LiveDesk renders up to date by the
// events named "cards" of /desk/events. Without script the page needs a reload.
type Desk struct {
	SignedIn SignedInAgent
	Note     Note
	// CanLookUp shows the form for lookup codes.
	CanLookUp bool
	// Cards and Sessions may come in any order.
	Cards    []DeskCard
	Sessions []DeskSession
	Accounts []Account
	// More says that there are more shared cards than are shown.
	More bool
	// Now is what times are compared with; zero is the time of the call.
	Now time.Time
}

// A DeskCard is a card on the desk. It reads like the message in the chat.
type DeskCard struct {
	ID string
	// State is a state of a Card, or StateBack.
	State    string
	Customer CustomerName
	// Found is how many visitors match, for choose.
	Found  int
	Reason Reason
	// Asked says that an agent looked the visitor up outside a chat.
	Asked               bool
	Page, Where, Device string
	// Chat leads to the conversation; without a label it is OpenChatLabel.
	Chat Link
	// Changed is when the state changed; zero leaves it out.
	Changed time.Time
	// CanOpen shows the button that a card of this state has, CanStop the one
	// that ends its session.
	CanOpen, CanStop bool
	// Expired says that CanOpen is false because the card's address has expired. Else the
	// agent is not allowed to open it.
	Expired bool
	// CanTell offers to tell the agent when the visitor is back. Waiting says that
	// they asked for it.
	CanTell, Waiting bool
	// Shared says that all agents who may see the card may use it. Agent is the name of the
	// agent who serves the chat, By of the one who opened the session last.
	Shared    bool
	Agent, By string
}

// A DeskSession is one of the agent's sessions.
type DeskSession struct {
	// Card is the id of the card it began from.
	Card     string
	Customer CustomerName
	Started  time.Time
	Session  Session
	// Recording may ask for an Upscope login of the agent's own.
	Recording Link
	Chat      Link
}

// How an agent's chat account was connected, in the words of the store and the audit log.
const (
	ConnectedBySlack = "signed in with Slack"
	ConnectedByEmail = "by e-mail address"
	ConnectedByAgent = "by the agent"
)

// An Account is the agent's account at a chat service.
type Account struct {
	// ID is its id in the bridge, such as slack:T1/U2.
	ID string
	// Service is like "Slack"; Name is the name of the account there.
	Service, Name string
	How           string // one of the Connected constants
	Since         time.Time
}

const deskLayout = "desk"

type deskView struct {
	Frame     frame
	CanLookUp bool
	Connected bool // a chat account is connected
	Groups    []cardGroup
	Sessions  []sessionView
	Accounts  []accountView
}

type cardGroup struct {
	Title string
	Cards []deskCardView
	More  bool // there are more cards than these
}

type deskCardView struct {
	DeskCard
	look   cardStatus
	Page   template.HTML // hides that of DeskCard
	Path   string
	How    string
	Hints  []string
	With   template.HTML // who serves the visitor or what By does with them, or empty
	Row    template.HTML // the card as HTML
	Button string
	Stop   string
	When   moment
}

// Groups of cards, in the order of the page.
const (
	groupReady = iota
	groupTeam
	groupAway
	groupOver
)

// Status is the text of the card's state, Tone its style.
func (c deskCardView) Status() string { return c.look.status }
func (c deskCardView) Tone() string   { return c.look.tone }

func (c deskCardView) group() int {
	if c.Shared && c.look.group == groupReady {
		return groupTeam
	}
	return c.look.group
}

// Here reports whether the visitor is online. desk.js announces a card that becomes so.
func (c deskCardView) Here() bool { return c.look.tone == "online" }

func (c deskCardView) Main() bool { return c.look.group == groupReady }

func (c deskCardView) From() string { return joined(c.Where, c.Device) }

func (c deskCardView) Doubtful() bool { return c.Reason.doubtful() }

type sessionView struct {
	DeskSession
	Key     string
	Summary string
	Running bool
	Rating  decimal
	Notes   []SessionNote
	When    moment
	// Audit links to the records about the card, for agents who may see them.
	Audit string
	Row   template.HTML // the session as HTML
}

type accountView struct {
	Account
	When moment
}

func (d Desk) view() (string, any, error) {
	now := d.Now
	if now.IsZero() {
		now = time.Now()
	}
	v, err := d.viewAt(now)
	if err != nil {
		return "", nil, err
	}
	return deskLayout, *v, nil
}

// viewAt returns the view. Its times say how long ago something was, seen from now; if now is zero, they say when
// it was.
func (d Desk) viewAt(now time.Time) (*deskView, error) {
	v := &deskView{Frame: d.SignedIn.frame(deskTitle, deskPath, d.Note), CanLookUp: d.CanLookUp, Connected: len(d.Accounts) > 0}
	var cards []deskCardView
	for _, c := range d.Cards {
		cards = append(cards, c.view(now))
	}
	slices.SortStableFunc(cards, func(a, b deskCardView) int {
		return cmp.Or(cmp.Compare(a.group(), b.group()), cmp.Compare(a.look.rank, b.look.rank), b.Changed.Compare(a.Changed))
	})
	for i, title := range groupTitles {
		g := cardGroup{Title: title, More: i == groupTeam && d.More}
		for _, c := range cards {
			if c.group() == i {
				g.Cards = append(g.Cards, c)
			}
		}
		if g.Cards != nil {
			v.Groups = append(v.Groups, g)
		}
	}
	for _, s := range d.Sessions {
		v.Sessions = append(v.Sessions, s.view(now, d.SignedIn.CanAudit))
	}
	slices.SortStableFunc(v.Sessions, func(a, b sessionView) int { return b.Started.Compare(a.Started) })
	keys := map[string]int{}
	for i := range v.Sessions {
		s := &v.Sessions[i]
		if keys[s.Key]++; keys[s.Key] > 1 { // began in the same second
			s.Key += "-" + strconv.Itoa(keys[s.Key])
		}
	}
	for _, a := range d.Accounts {
		v.Accounts = append(v.Accounts, accountView{
			Account: Account{
				ID: clean.Text(a.ID, maxID), Service: clean.Text(a.Service, maxName), Name: clean.Text(a.Name, maxName), How: connectedTexts[a.How],
			},
			When: momentOf(now, a.Since),
		})
	}
	return v, v.renderRows()
}

// renderRows sets the HTML of each card and session.
func (v *deskView) renderRows() error {
	for i := range v.Groups {
		for k := range v.Groups[i].Cards {
			c := &v.Groups[i].Cards[k]
			if err := renderPart("card", c, &c.Row); err != nil {
				return err
			}
		}
	}
	for i := range v.Sessions {
		s := &v.Sessions[i]
		if err := renderPart("session", s, &s.Row); err != nil {
			return err
		}
	}
	return nil
}

// renderPart renders a part of the desk's layout.
func renderPart(name string, data any, to *template.HTML) error {
	var b bytes.Buffer
	if err := pages[deskLayout].ExecuteTemplate(&b, name, data); err != nil {
		return fmt.Errorf("render %s: %w", name, err)
	}
	*to = template.HTML(b.String())
	return nil
}

// NameNote says where the customer's name comes from if that is not the chat.
func (v deskCardView) NameNote() string { return v.Customer.note() }
func (v sessionView) NameNote() string  { return v.Customer.note() }

func (c DeskCard) view(now time.Time) deskCardView {
	look := statusOf(c.State, c.Found)
	texts := Card{State: c.State, Found: c.Found}.texts()
	c.ID = clean.Text(c.ID, maxID)
	c.Customer.Text = clean.Text(c.Customer.Text, maxName)
	c.Where = clean.Text(c.Where, maxFact)
	c.Device = clean.Text(c.Device, maxFact)
	c.Agent, c.By = clean.Text(c.Agent, maxName), clean.Text(c.By, maxName)
	c.Chat = cleanLink(c.Chat, OpenChatLabel)
	v := deskCardView{
		DeskCard: c, look: look, Path: "/desk/card/" + url.PathEscape(c.ID), Page: breakable(clean.Address(c.Page, maxFact)),
		Button: texts.button, Stop: cmp.Or(texts.stop, endSession), When: momentOf(now, c.Changed),
	}
	if look.group == groupReady {
		v.How = c.Reason.sentence(c.Asked)
	}
	for _, hint := range []string{texts.why, texts.next, texts.note} {
		if hint != "" && c.CanOpen {
			v.Hints = append(v.Hints, hint)
		}
	}
	switch opened := openedByTexts[c.State]; {
	case c.Shared && c.By != "" && opened != nil:
		v.With = opened.HTML(values{"agent": c.By})
	case c.Shared:
		v.With = servedTexts.HTML(values{"agent": c.Agent})
	}
	return v
}

// statusOf returns how the desk shows a card in a state, with the number of visitors that match.
func statusOf(state string, found int) cardStatus {
	if status, ok := cardStatuses[Card{State: state, Found: found}.key()]; ok {
		return status
	}
	if status, ok := cardStatuses[state]; ok {
		return status
	}
	return cardStatuses[StateFailed]
}

func (s DeskSession) view(now time.Time, audit bool) sessionView {
	v := sessionView{
		DeskSession: DeskSession{
			Card: clean.Text(s.Card, maxID), Customer: CustomerName{clean.Text(s.Customer.Text, maxName), s.Customer.Source}, Started: s.Started,
			Recording: cleanLink(s.Recording, RecordingLabel(0)), Chat: cleanLink(s.Chat, OpenChatLabel),
		},
		Summary: s.Session.summary(),
		Rating:  s.Session.rating(),
		Running: s.Session.Outcome == Running,
		When:    momentOf(now, s.Started),
	}
	v.Key = v.Card + "-" + strconv.FormatInt(s.Started.Unix(), 10)
	if audit && v.Card != "" {
		v.Audit = auditPath + "?" + url.Values{"card": {v.Card}}.Encode()
	}
	for _, n := range s.Session.Notes {
		if n = (SessionNote{Text: clean.Text(n.Text, maxNote), By: clean.Text(n.By, maxName)}); n.Text != "" {
			v.Notes = append(v.Notes, n)
		}
	}
	return v
}
