package bridge

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

// A State says how far a card has come. The drawing in states.md shows every
// way from one to the next.
type State string

// The states of a card.
const (
	Searching State = templates.StateSearching // nobody found yet, still looking
	NoVisitor State = templates.StateNoVisitor // looked, and found nobody
	Choose    State = templates.StateChoose    // several visitors fit: the agent chooses
	Offline   State = templates.StateOffline   // one visitor, not connected
	Ready     State = templates.StateReady     // one visitor, connected
	Opened    State = templates.StateOpened    // an agent was led to the watch link
	Live      State = templates.StateLive      // the agent sees the screen
	Ended     State = templates.StateEnded     // the session is over: the card is its record
	Closed    State = templates.StateClosed    // the chat is over
	Failed    State = templates.StateFailed    // Upscope cannot be asked; looking goes on
)

// An event is what can move a card from one state to another.
type event int

const (
	foundNobody event = iota
	foundSeveral
	foundOffline
	foundOnline
	watched
	notWatched
	sessionLive
	sessionOver
	chatClosed
	upscopeFailed
)

// next is the one place that decides the state after an event. A closed card
// stays closed, and one whose visitor is being watched, or was, stays so while
// they come and go. An event that means nothing in a state leaves it as it is.
func next(s State, e event) State {
	found := s != Searching && s != Failed // nobody else can be watched
	switch {
	case e == chatClosed:
		return Closed
	case s == Closed:
		return s
	case e == watched && found && s != NoVisitor && s != Live:
		return Opened
	case e == notWatched && s == Opened:
		return Ready
	case e == sessionLive && found:
		return Live
	case e == sessionOver && found:
		return Ended
	case s == Opened, s == Live, s == Ended:
		return s
	case e == upscopeFailed && s == Searching:
		return Failed
	case e == foundNobody:
		return NoVisitor
	case e == foundSeveral:
		return Choose
	case e == foundOffline:
		return Offline
	case e == foundOnline:
		return Ready
	}
	return s
}

// detail is the part of a card that speaks of people. The store keeps it
// sealed.
type detail struct {
	Visitor string `json:"visitor"` // the name typed in the chat: a claim
	ChatURL string `json:"chat_url,omitempty"`
	Agent   Agent  `json:"agent"`
	Place   Place  `json:"place"`
	// Clues holds the stable clues only. A lookup code is never kept: it may
	// be somebody else's by the time it would be used again.
	Clues Clues `json:"clues"`
	// Clued says that the chat side named the visitor at all, if only by a
	// code. Chats without any clue have no co-browsing and get no card.
	Clued bool `json:"clued,omitempty"`

	Reason templates.Reason `json:"reason,omitempty"`
	// Sighting is what Upscope said of the one visitor when it was matched.
	Sighting *sighting `json:"sighting,omitempty"`
	// Unseen says that a request for the page found this visitor in the place of others. Until
	// an agent presses for them on a page, nobody may have seen who they are.
	Unseen bool `json:"unseen,omitempty"`
	// Choices are the short ids the agent may choose from.
	Choices []string `json:"choices,omitempty"`
	// Subjects are keyed hashes of the ids that the visitor was ever named by, so
	// that they can be erased when the clues are forgotten.
	Subjects []string `json:"subjects,omitempty"`
	// Opener is the delivery that opened the card. It is the one that looks again
	// while nobody is found.
	Opener string `json:"opener,omitempty"`
	// Code is a print of the lookup code that was followed last, so that it is
	// not followed again.
	Code string `json:"code,omitempty"`
	// Asked says that the agent looked the visitor up, apart from any chat.
	Asked bool `json:"asked,omitempty"`
	// Shared is the card that the agent pressed to get this one; empty for all
	// others.
	Shared string `json:"shared,omitempty"`
	// SharedOf and SharedAt are that card's connector and place.
	SharedOf string `json:"shared_of,omitempty"`
	SharedAt Place  `json:"shared_at,omitzero"`
	// By is the name of who was led to the visitor last, if not the agent who serves
	// the chat, and ByID their id.
	By   string `json:"by,omitempty"`
	ByID string `json:"by_id,omitempty"`
	// Pressed is when an agent was led to the visitor last.
	Pressed time.Time `json:"pressed,omitzero"`
	// PressedIn is a print of the token of the browser in which that was.
	PressedIn string `json:"pressed_in,omitempty"`
	// Sessions are those that began from this card, in order.
	Sessions []session `json:"sessions,omitempty"`
	// Told counts how often an agent was told that the visitor is back; ToldAgent
	// and ToldAt are who was last, and when.
	Told      int       `json:"told,omitzero"`
	ToldAgent string    `json:"told_agent,omitempty"`
	ToldAt    time.Time `json:"told_at,omitzero"`
	// Over is when it was last heard that the chat is over: the time of the delivery
	// that said so, however late it was worked on.
	Over time.Time `json:"over,omitzero"`
	// Heard is when it was last heard that a conversation began, for services without
	// ids of them.
	Heard time.Time `json:"heard,omitzero"`
	// HandedOver is when the last delivery came that said who serves the chat and was worked
	// on; see Receipt.Changes.
	HandedOver time.Time `json:"handed_over,omitzero"`
	// Since is the first generation of the door that the present agent had. A
	// later one was sent to the agent's own place because somebody asked for it.
	Since int `json:"since,omitempty"`
}

// A sighting is the little that a card keeps of a visitor.
type sighting struct {
	Page   string `json:"page,omitempty"`
	Where  string `json:"where,omitempty"`
	Device string `json:"device,omitempty"`
	// Name is what Upscope calls the visitor, kept so that a change of identity
	// can be shown.
	Name string `json:"name,omitempty"`
	// Identity tells whether this is still who was matched.
	Identity string `json:"identity"`
	// UniqueID and Identities are the site's own ids of the visitor.
	UniqueID   string   `json:"unique_id,omitempty"`
	Identities []string `json:"identities,omitempty"`
}

// A card is a stored card with its detail opened.
type card struct {
	store.Card
	about detail
	// holder is who may use its door, for a card that was found by its handle.
	holder store.Holder
	// who acts on it, if they signed in.
	who signin.Identity
	// from is the address of whoever asks for it at the desk.
	from string
	// follows is the card of the conversation before, of one that is not stored yet.
	follows *store.Card
	// page is which of its door's pages was asked for; empty is the first.
	page string
	// over says that the conversation has ended, of a card whose door opens all the
	// same so that what runs can be stopped.
	over bool
}

// actor is who acts on the card: who signed in, or else its agent.
func (c *card) actor() string { return cmp.Or(c.who.ID, c.Agent) }

// actorName is what the visitor may see of them.
func (c *card) actorName() string {
	if c.who.ID == "" {
		return c.about.Agent.Name
	}
	return cmp.Or(c.who.Name, c.who.Email, c.about.Agent.Name)
}

func openCard(c store.Card) (card, error) {
	opened := card{Card: c}
	if err := json.Unmarshal(c.Detail, &opened.about); err != nil {
		return card{}, fmt.Errorf("card %s: detail: %w", c.ID, err)
	}
	return opened, nil
}

// row is the card as the store wants it.
func (c *card) row() (*store.Card, error) {
	sealed, err := json.Marshal(c.about)
	if err != nil {
		return nil, fmt.Errorf("card %s: detail: %w", c.ID, err)
	}
	row := c.Card
	row.Detail, row.Updated = sealed, time.Now()
	return &row, nil
}

func (c *card) place() store.Place {
	return store.Place{Connector: c.about.Place.Connector, Address: c.about.Place.Address}
}

// renewed reports whether the door was sent to its agent once more.
func (c *card) renewed() bool { return c.Generation > c.about.Since }

// close ends the card, as was heard at the given time, and forgets what was only good
// for finding the visitor.
func (c *card) close(heard time.Time) {
	c.about.Over = latest(c.about.Over, heard.UTC())
	c.move(chatClosed)
	c.about.Clues, c.about.Code, c.about.Sighting, c.about.Choices = Clues{}, "", nil, nil
}

func (c *card) state() State { return State(c.State) }

func (c *card) move(e event) { c.State = string(next(c.state(), e)) }

// visible reports whether agents get to see the card in their chat. Chats in
// which nothing points to co-browsing stay undisturbed.
func (c *card) visible() bool {
	switch c.state() {
	case Choose, Offline, Ready, Opened, Live, Ended:
		return true
	case NoVisitor, Failed:
		return c.about.Clued
	}
	return false
}

// looking reports whether the visitor is still to be found, or worth another
// look when the chat moves.
func (c *card) looking() bool {
	switch c.state() {
	case Searching, NoVisitor, Failed, Choose, Offline:
		return true
	}
	return false
}

// apply takes a match into the card.
func (c *card) apply(m Match) {
	c.about.Reason, c.about.Choices = m.Reason, nil
	switch {
	case len(m.Visitors) == 0:
		c.Visitor, c.about.Sighting = "", nil
		c.move(foundNobody)
	case m.Sure:
		c.take(m.Visitors[0])
		if m.Visitors[0].IsOnline {
			c.move(foundOnline)
		} else {
			c.move(foundOffline)
		}
	default:
		c.Visitor, c.about.Sighting = "", nil
		for _, v := range m.Visitors {
			c.about.Choices = append(c.about.Choices, v.ShortID)
		}
		c.move(foundSeveral)
	}
}

// take makes v the visitor of the card.
func (c *card) take(v upscope.Visitor) {
	c.Visitor = v.ShortID
	seen := describe(v)
	c.about.Sighting = &sighting{
		Page: seen.Page, Where: seen.Where, Device: seen.Device, Name: seen.Name, Identity: identity(v),
		UniqueID: v.UniqueID, Identities: v.Identities,
	}
}

// identity is equal for two sightings of one person. Two browsers of a person
// who is known to the site have equal identities; those of a stranger are told
// apart by the short id alone.
func identity(v upscope.Visitor) string {
	ids := v.Identities
	if !slices.IsSorted(ids) {
		ids = slices.Sorted(slices.Values(ids))
	}
	sum := sha256.Sum256([]byte(v.UniqueID + "\x00" + strings.Join(ids, "\x00")))
	return hex.EncodeToString(sum[:identityDigits/2])
}

// identityDigits is the length of an identity, in hexadecimal digits.
const identityDigits = 16
