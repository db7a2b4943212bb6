package templates

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"net/url"
	"slices"
	"strconv"
	"time"
)

// A Desk is the page of one agent: who is there for them, what became of their
// sessions, and a way to find a caller.
//
// Its forms are posted to
//
//	/desk/look-up    code=4821: the digits a caller reads out
//	/desk/tell       card=ID: tell the agent when the visitor is back
//	/desk/unlink     identity=ID: disconnect a chat account
//	/signout
//
// and a card is opened by a GET of /desk/card/{ID}, with ?stop=1 to end its
// session. The page holds no handle, so whoever copies it has no door.
//
// static/desk.js keeps the part that RenderLive renders up to date by the
// events named "cards" of /desk/events. Without script the page needs a reload.
type Desk struct {
	Seat Seat
	Note Note
	// CanLookUp shows the form for lookup codes.
	CanLookUp bool
	// Cards and Sessions may come in any order.
	Cards    []DeskCard
	Sessions []DeskSession
	Accounts []Account
	// More says that there are more cards that are everybody's than are shown.
	More bool
	// Now is what times are compared with; zero is the time of the call.
	Now time.Time
}

// A DeskCard is a card as the desk shows it, in the words that the chat has for
// it.
type DeskCard struct {
	ID string
	// State is one of the State constants that are states of a card, or
	// StateBack.
	State               string
	Visitor             string
	Reason              Reason
	Page, Where, Device string
	// Chat leads to the conversation; without a label it is "Open the chat".
	Chat Link
	// Changed is when the state did; zero leaves it out.
	Changed time.Time
	// CanOpen shows the button that a card of this state has, CanStop the one
	// that ends its session.
	CanOpen, CanStop bool
	// CanTell offers to wait for the visitor. Waiting says that we do already.
	CanTell, Waiting bool
	// Shared says that it is everybody's who may see it, and By who of them was led to
	// the visitor last.
	Shared bool
	By     string
}

// A DeskSession is one session that the agent had.
type DeskSession struct {
	// Card is the id of the card it began from.
	Card    string
	Visitor string
	Started time.Time
	Session Session
	// Recording may ask for an Upscope login of the agent's own.
	Recording Link
	Chat      Link
}

// An Account is the agent's account at a chat service.
type Account struct {
	// ID is what the bridge calls it, such as slack:T1/U2.
	ID string
	// Service is like "Slack", Name what the account is called there.
	Service, Name string
	// How says in a few words how it came to be connected.
	How   string
	Since time.Time
}

type deskView struct {
	frame
	CanLookUp bool
	Groups    []cardGroup
	Sessions  []sessionView
	Accounts  []accountView
}

// A cardGroup is the cards that ask the same of the agent.
type cardGroup struct {
	Title string
	Cards []deskCardView
	More  bool // these are the latest
}

type deskCardView struct {
	DeskCard
	words  cardWords
	Page   []string // hides that of DeskCard, as in visitorView
	Path   string
	How    string
	Hints  []string
	With   string // is or was: By with the visitor; empty for neither
	Button string
	Stop   string
	When   moment
}

// cardWords say how a card of one state looks on the desk.
type cardWords struct {
	status, tone string
	group        int
	// rank puts cards of a group in order, what waits for the agent first.
	rank int
}

// Groups of cards, in the order of the page.
const (
	groupReady = iota
	groupTeam
	groupAway
	groupOver
)

var groupTitles = [...]string{groupReady: "Ready for you", groupTeam: "For whoever is free", groupAway: "Not there yet", groupOver: "Finished"}

var cardStates = map[string]cardWords{
	StateBack:      {"Back online", "online", groupReady, 0},
	StateReady:     {"Online", "online", groupReady, 0},
	StateChoose:    {"Several match", "", groupReady, 1},
	StateOpened:    {"Opened", "busy", groupReady, 2},
	StateLive:      {"Live", "busy", groupReady, 3},
	StateOffline:   {"Offline", "", groupAway, 0},
	StateSearching: {"Looking", "", groupAway, 1},
	StateNoVisitor: {"Not found yet", "", groupAway, 2},
	StateFailed:    {"Not available", "", groupAway, 3},
	StateEnded:     {"Session over", "", groupOver, 0},
	StateClosed:    {"Chat closed", "", groupOver, 1},
	StateMoved:     {"Moved", "", groupOver, 2},
}

// Status and Tone are the words and the look of the card's state.
func (c deskCardView) Status() string { return c.words.status }
func (c deskCardView) Tone() string   { return c.words.tone }

// group is where the card stands on the page.
func (c deskCardView) group() int {
	if c.Shared && c.words.group == groupReady {
		return groupTeam
	}
	return c.words.group
}

// Here reports whether the visitor can be co-browsed with at once; coming to be
// so is news.
func (c deskCardView) Here() bool { return c.words.tone == "online" }

// Main reports whether the card's button is what the agent came for.
func (c deskCardView) Main() bool { return c.words.group == groupReady }

// From says where the visitor is and with what.
func (c deskCardView) From() string { return joined(c.Where, c.Device) }

// Doubtful reports whether the agent should check who it is.
func (c deskCardView) Doubtful() bool { return c.Reason.doubtful() }

type sessionView struct {
	DeskSession
	Key     string
	Said    string
	Running bool
	Rated   string
	Notes   []SessionNote
	When    moment
	// Audit leads to the records about the card, for those who may see them.
	Audit string
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
	v := deskView{frame: d.Seat.frame("Your desk", deskPath, d.Note), CanLookUp: d.CanLookUp}
	var cards []deskCardView
	for _, c := range d.Cards {
		cards = append(cards, c.view(now))
	}
	slices.SortStableFunc(cards, func(a, b deskCardView) int {
		return cmp.Or(cmp.Compare(a.group(), b.group()), cmp.Compare(a.words.rank, b.words.rank), b.Changed.Compare(a.Changed))
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
		v.Sessions = append(v.Sessions, s.view(now, d.Seat.CanAudit))
	}
	slices.SortStableFunc(v.Sessions, func(a, b sessionView) int { return b.Started.Compare(a.Started) })
	for _, a := range d.Accounts {
		v.Accounts = append(v.Accounts, accountView{
			Account: Account{
				ID: clean(a.ID, maxID), Service: clean(a.Service, maxName), Name: clean(a.Name, maxName), How: clean(a.How, maxFact),
			},
			When: momentOf(now, a.Since),
		})
	}
	return "desk", v, nil
}

func (c DeskCard) view(now time.Time) deskCardView {
	words, ok := cardStates[c.State]
	if !ok {
		words = cardStates[StateFailed]
	}
	text := Card{State: c.State}.Text()
	c.ID = clean(c.ID, maxID)
	c.Visitor = clean(c.Visitor, maxName)
	c.Where = clean(c.Where, maxFact)
	c.Device = clean(c.Device, maxFact)
	c.By = clean(c.By, maxName)
	c.Chat = cleanLink(c.Chat, "Open the chat")
	v := deskCardView{
		DeskCard: c, words: words, Path: "/desk/card/" + url.PathEscape(c.ID), Page: breakable(place(c.Page)),
		Button: cmp.Or(text.Button, "Open"), Stop: cmp.Or(text.Stop, "Stop"), When: momentOf(now, c.Changed),
	}
	if words.group == groupReady {
		v.How = c.Reason.Sentence()
	}
	for _, l := range text.Lines {
		switch l.Label {
		case "Why", "Next", "Note":
			v.Hints = append(v.Hints, l.Text)
		}
	}
	if c.Shared {
		v.With = map[string]string{StateOpened: "is", StateLive: "is", StateEnded: "was"}[c.State]
	}
	if c.State == StateSearching {
		v.Hints = nil // which speak of a message
	}
	return v
}

func (s DeskSession) view(now time.Time, audit bool) sessionView {
	v := sessionView{
		DeskSession: DeskSession{
			Card: clean(s.Card, maxID), Visitor: clean(s.Visitor, maxName), Started: s.Started,
			Recording: cleanLink(s.Recording, "Recording"), Chat: cleanLink(s.Chat, "Open the chat"),
		},
		Said:    upper(s.Session.sentence()),
		Running: s.Session.Outcome == Running,
		When:    momentOf(now, s.Started),
	}
	v.Key = v.Card + "-" + strconv.FormatInt(s.Started.Unix(), 10)
	if audit && v.Card != "" {
		v.Audit = auditPath + "?" + url.Values{"card": {v.Card}}.Encode()
	}
	if r := s.Session.Rating; r > 0 {
		v.Rated = "Rated " + strconv.Itoa(r) + " of 5"
	}
	for _, n := range s.Session.Notes {
		if n = (SessionNote{Text: clean(n.Text, maxNote), By: clean(n.By, maxName)}); n.Text != "" {
			v.Notes = append(v.Notes, n)
		}
	}
	return v
}

// RenderLive writes the part of the desk that changes by itself, cards and
// sessions, as static/desk.js puts it in place. It holds line feeds and no
// carriage returns. Like Render it writes all in one call, or nothing.
func RenderLive(w io.Writer, d Desk) error {
	layout, data, err := d.view()
	if err != nil {
		return fmt.Errorf("render live part: %w", err)
	}
	var b bytes.Buffer
	if err := pages[layout].ExecuteTemplate(&b, "live", data); err != nil {
		return fmt.Errorf("render live part: %w", err)
	}
	_, err = w.Write(b.Bytes())
	return err
}
