// Package card defines what a card is: its states, its data and its sessions. It reads and
// writes nothing outside. Read card.go first; states.md has a drawing of the states.
package card

import (
	"cmp"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

// CodeHash returns a hash of a lookup code, different for each card. It is "" for no code.
func (c *Card) CodeHash(code string) string {
	if code == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(c.ID + code))
	return hex.EncodeToString(sum[:8])
}

// Serve stores in the card who serves the chat and what the ask says of the visitor. For a new
// agent the door gets a new address, and that of the previous agent stops working.
func (c *Card) Serve(ask chat.Ask) {
	if agent := AgentID(c.Connector, ask.Agent); agent != c.Agent {
		if c.Version > 0 {
			c.Generation++
		}
		c.Agent, c.About.FirstGeneration = agent, c.Generation
	}
	c.About.Agent, c.About.Visitor, c.About.ChatURL = ask.Agent, ask.Visitor, ask.ChatURL
	c.About.Place = ask.Place
	if c.About.Place.Connector == "" {
		c.About.Place.Connector = c.Connector
	}
	if lasting := stable(ask.Clues); !lasting.Empty() {
		c.About.Clues = lasting
	}
	c.About.HasClue = c.About.HasClue || !ask.Clues.Empty()
}

// AgentID returns the id of an agent of a chat service, as the store and Upscope have it:
// "connector:id". It is "" for an agent without an id.
func AgentID(connector string, a chat.Agent) string {
	if a.ID == "" {
		return ""
	}
	return connector + ":" + a.ID
}

// A State is the state of a card. states.md shows all transitions.
type State string

// The states of a card.
const (
	Searching State = templates.StateSearching // no visitor found yet; the search goes on
	NoVisitor State = templates.StateNoVisitor // the search found no visitor
	Choose    State = templates.StateChoose    // several visitors match: the agent chooses
	Offline   State = templates.StateOffline   // one visitor, offline
	Ready     State = templates.StateReady     // one visitor, online
	Opened    State = templates.StateOpened    // an agent has pressed; no session is live yet
	Live      State = templates.StateLive      // an agent sees the screen
	Ended     State = templates.StateEnded     // the session is over; the card tells about it
	Closed    State = templates.StateClosed    // the chat is over
	Failed    State = templates.StateFailed    // Upscope does not answer; the search goes on
)

// OpenStates are all states but Closed.
var OpenStates = []State{Searching, NoVisitor, Choose, Offline, Ready, Opened, Live, Ended, Failed}

// An event is what can move a card from one state to another.
type event int

const (
	eventFoundNobody event = iota
	eventFoundSeveral
	eventFoundOffline
	eventFoundOnline
	eventOpened
	eventNotOpened
	eventSessionLive
	eventSessionOver
	eventChatClosed
	EventUpscopeFailed
)

// nextState alone decides the state after an event. A closed card stays closed. A card that is
// opened, live or ended stays so when its visitor goes offline or comes back. An event that means
// nothing in a state does not change it.
func nextState(s State, e event) State {
	found := s != Searching && s != Failed // before that no visitor can be watched
	switch {
	case e == eventChatClosed:
		return Closed
	case s == Closed:
		return s
	case e == eventOpened && found && s != NoVisitor && s != Live:
		return Opened
	case e == eventNotOpened && s == Opened:
		return Ready
	case e == eventSessionLive && found:
		return Live
	case e == eventSessionOver && found:
		return Ended
	case s == Opened, s == Live, s == Ended:
		return s
	case e == EventUpscopeFailed && s == Searching:
		return Failed
	case e == eventFoundNobody:
		return NoVisitor
	case e == eventFoundSeveral:
		return Choose
	case e == eventFoundOffline:
		return Offline
	case e == eventFoundOnline:
		return Ready
	}
	return s
}

// Detail is the part of a card with data about people. The store encrypts it.
type Detail struct {
	Visitor string     `json:"visitor"` // the visitor's name in the chat; not verified
	ChatURL string     `json:"chat_url,omitempty"`
	Agent   chat.Agent `json:"agent"`
	Place   chat.Place `json:"place"`
	// Clues holds the stable clues only. A lookup code is not stored: another visitor may have
	// it later.
	Clues chat.Clues `json:"clues"`
	// HasClue says that an ask had a clue, even if only a lookup code. Without any, no card is
	// shown in the chat.
	HasClue bool `json:"clued,omitempty"`

	Reason templates.Reason `json:"reason,omitempty"`
	// Sighting is what Upscope said about the visitor when they were matched.
	Sighting *sighting `json:"sighting,omitempty"`
	// NotYetShown says that this visitor replaced others while a page was made. Agents may not have
	// seen who they are, so no click leads straight to the screen until an agent has pressed.
	NotYetShown bool `json:"unseen,omitempty"`
	// Choices are the short ids the agent may choose from.
	Choices []string `json:"choices,omitempty"`
	// Subjects are keyed hashes of all ids that the card's visitors had, so that they can be
	// erased after the clues are deleted.
	Subjects []string `json:"subjects,omitempty"`
	// Customer are those of them that the visitor had last, before the chat was closed.
	Customer []string `json:"customer,omitempty"`
	// Opener is the id of the delivery that made the card. Only its job repeats the search
	// while no visitor is found.
	Opener string `json:"opener,omitempty"`
	// Code is CodeHash of the lookup code that was last searched for, so that it is not
	// searched for again.
	Code string `json:"code,omitempty"`
	// Withheld says why a lookup code was not searched for; "" if it was, or if there was none.
	Withheld templates.Withheld `json:"withheld,omitempty"`
	// WithheldCode is CodeHash of that code. Replaced says that the agent found the visitor by
	// another code, so that this one is not searched for any more.
	WithheldCode string `json:"withheld_code,omitempty"`
	Replaced     bool   `json:"replaced,omitempty"`
	// LookedUp says that the shared card was made by a look-up.
	LookedUp bool `json:"looked_up,omitempty"`
	// SharedCard is the id of the shared card that the agent pressed to get this one; "" if the
	// card was not made so.
	SharedCard string `json:"shared,omitempty"`
	// SharedConnector and SharedPlace are that card's connector and place.
	SharedConnector string     `json:"shared_of,omitempty"`
	SharedPlace     chat.Place `json:"shared_at,omitzero"`
	// By and ByID are the name and id of the agent who opened the screen last, if that was not
	// the agent who serves the chat.
	By   string `json:"by,omitempty"`
	ByID string `json:"by_id,omitempty"`
	// Pressed is when an agent last opened the screen.
	Pressed time.Time `json:"pressed,omitzero"`
	// PressedIn is web.BrowserHash of the browser in which that was.
	PressedIn string `json:"pressed_in,omitempty"`
	// Sessions are the sessions that began from this card, by start.
	Sessions []Session `json:"sessions,omitempty"`
	// Notified counts messages that the visitor is back; NotifiedAgent got the last, at NotifiedAt.
	Notified      int       `json:"told,omitzero"`
	NotifiedAgent string    `json:"told_agent,omitempty"`
	NotifiedAt    time.Time `json:"told_at,omitzero"`
	// EndHeard is when the last delivery was received that said that the chat is over. It may
	// have been handled later.
	EndHeard time.Time `json:"over,omitzero"`
	// StartHeard is when the last delivery was received that said that a conversation began.
	// It is for chat services in which several conversations have the same id.
	StartHeard time.Time `json:"heard,omitzero"`
	// HandedOver is when the last handled delivery was received that said who serves the chat;
	// see chat.Receipt.Changes.
	HandedOver time.Time `json:"handed_over,omitzero"`
	// Found is when the card first had a visitor, or several to choose from.
	Found time.Time `json:"found,omitzero"`
	// FirstGeneration is the first generation of the door that the present agent had. A higher
	// Generation means that the agent asked for a new link.
	FirstGeneration int `json:"since,omitempty"`
}

// A sighting is what a card stores about its visitor.
type sighting struct {
	Page   string `json:"page,omitempty"`
	Where  string `json:"where,omitempty"`
	Device string `json:"device,omitempty"`
	// Name is the visitor's name in Upscope. If another person has the id later, a page shows
	// this name as the previous one.
	Name string `json:"name,omitempty"`
	// NameIsID says that the site gave no name, so that Name is an e-mail address or the site's id.
	NameIsID bool `json:"name_is_id,omitempty"`
	// Identity is the result of Identity for this visitor.
	Identity string `json:"identity"`
	// UniqueID and Identities are the site's own ids of the visitor.
	UniqueID   string   `json:"unique_id,omitempty"`
	Identities []string `json:"identities,omitempty"`
}

// A Card is a stored card with its detail decrypted and parsed.
type Card struct {
	store.Card
	About Detail
	// stored is the state that was read from the store; empty for a card that is not stored yet.
	stored State
	// Follows is the card of the previous conversation, for a card that is not stored yet.
	Follows *store.Card
}

// Open parses the detail of a stored card.
func Open(c store.Card) (Card, error) {
	opened := Card{Card: c, stored: State(c.State)}
	if err := json.Unmarshal(c.Detail, &opened.About); err != nil {
		return Card{}, fmt.Errorf("card %s: detail: %w", c.ID, err)
	}
	return opened, nil
}

// Row returns the card in the form that the store writes.
func (c *Card) Row() (*store.Card, error) {
	sealed, err := json.Marshal(c.About)
	if err != nil {
		return nil, fmt.Errorf("card %s: detail: %w", c.ID, err)
	}
	row := c.Card
	row.Detail, row.Updated = sealed, time.Now()
	return &row, nil
}

// Place returns the place where the card is shown.
func (c *Card) Place() store.Place {
	return store.Place{Connector: c.About.Place.Connector, Address: c.About.Place.Address}
}

// Renewed reports whether the present agent has asked for a new link.
func (c *Card) Renewed() bool { return c.Generation > c.About.FirstGeneration }

// Close closes the card and deletes what served only to find the visitor. heard is when the
// delivery was received that said that the chat is over.
func (c *Card) Close(heard time.Time) {
	c.About.EndHeard = Latest(c.About.EndHeard, heard.UTC())
	c.ApplyEvent(eventChatClosed)
	c.About.Clues, c.About.Code, c.About.Sighting, c.About.Choices = chat.Clues{}, "", nil, nil
	c.About.Withheld, c.About.WithheldCode, c.About.Replaced = "", "", false
}

// CurrentState returns the card's state.
func (c *Card) CurrentState() State { return State(c.State) }

// ApplyEvent changes the state; see nextState.
func (c *Card) ApplyEvent(e event) { c.State = string(nextState(c.CurrentState(), e)) }

// Visible reports whether the card is shown in the chat. A card without a visitor is shown only
// if the chat had a clue.
func (c *Card) Visible() bool {
	switch c.CurrentState() {
	case Choose, Offline, Ready, Opened, Live, Ended:
		return true
	case NoVisitor, Failed:
		return c.About.HasClue
	}
	return false
}

// ChatConnector returns the connector of the conversation that the card is about. It is not that of
// the place where an agent pressed a shared card.
func (c *Card) ChatConnector() string { return cmp.Or(c.About.SharedConnector, c.Connector) }

// JustFound reports whether the card has a visitor, or several to choose from, for the first time.
func (c *Card) JustFound() bool {
	return c.About.Found.IsZero() && hasFound(c.CurrentState()) && !hasFound(c.stored)
}

func hasFound(s State) bool {
	switch s {
	case Choose, Offline, Ready, Opened, Live, Ended:
		return true
	}
	return false
}

// Looking reports whether the next delivery about the chat searches for the visitor again.
func (c *Card) Looking() bool {
	switch c.CurrentState() {
	case Searching, NoVisitor, Failed, Choose, Offline:
		return true
	}
	return false
}

// Apply changes the card to the result of a search.
func (c *Card) Apply(m Match) {
	c.About.Reason, c.About.Choices = m.Reason, nil
	if len(m.Visitors) > 0 {
		c.About.Withheld = ""
	}
	switch {
	case len(m.Visitors) == 0:
		c.Visitor, c.About.Sighting = "", nil
		c.ApplyEvent(eventFoundNobody)
	case m.OneTrusted:
		c.SetVisitor(m.Visitors[0])
		if m.Visitors[0].IsOnline {
			c.ApplyEvent(eventFoundOnline)
		} else {
			c.ApplyEvent(eventFoundOffline)
		}
	default:
		c.Visitor, c.About.Sighting = "", nil
		for _, v := range m.Visitors {
			c.About.Choices = append(c.About.Choices, v.ShortID)
		}
		c.ApplyEvent(eventFoundSeveral)
	}
}

// SetVisitor makes v the visitor of the card.
func (c *Card) SetVisitor(v upscope.Visitor) {
	c.Visitor = v.ShortID
	shown := Describe(v)
	c.About.Sighting = &sighting{
		Page: shown.Page, Where: shown.Where, Device: shown.Device, Name: shown.Name, NameIsID: shown.NameIsID && shown.Name != "", Identity: Identity(v),
		UniqueID: v.UniqueID, Identities: v.Identities,
	}
}

// Identity returns a hash of the site's ids of a visitor. It is the same in all browsers of a
// person whom the site has identified. It is the same for all visitors without such ids; only
// their short ids differ.
func Identity(v upscope.Visitor) string {
	ids := v.Identities
	if !slices.IsSorted(ids) {
		ids = slices.Sorted(slices.Values(ids))
	}
	sum := sha256.Sum256([]byte(v.UniqueID + "\x00" + strings.Join(ids, "\x00")))
	return hex.EncodeToString(sum[:IdentityDigits/2])
}

// IdentityDigits is the length of an identity, in hexadecimal digits.
const IdentityDigits = 16

// ChatLink returns the link back to the conversation.
func (c *Card) ChatLink() templates.Link {
	return templates.Link{Label: templates.OpenChatLabel, Address: c.About.ChatURL}
}

// Name returns the visitor's name in the chat or, if the chat has none, the name or id that the
// operator's site gave Upscope. It is empty if both are unknown.
func (c *Card) Name() templates.CustomerName {
	s := c.About.Sighting
	switch {
	case c.About.Visitor != "" || s == nil || s.Name == "":
		return templates.CustomerName{Text: c.About.Visitor}
	case s.NameIsID:
		return templates.CustomerName{Text: s.Name, Source: templates.IDOnSite}
	}
	return templates.CustomerName{Text: s.Name, Source: templates.NameOnSite}
}

// LookedUp reports whether an agent looked the visitor up outside a chat.
func (c *Card) LookedUp() bool { return c.Kind == store.KindLookUp || c.About.LookedUp }

// VisitorIdentity returns the Identity that the card's visitor had when they were matched, or "".
func (c *Card) VisitorIdentity() string {
	if c.About.Sighting == nil {
		return ""
	}
	return c.About.Sighting.Identity
}

// Certain reports whether the card has one visitor and a click may lead straight to the screen,
// without the co-browse page.
func (c *Card) Certain() bool {
	return c.Visitor != "" && slices.Contains([]State{Ready, Opened, Live, Ended}, c.CurrentState()) && c.About.Reason != templates.ReasonCode && !c.About.NotYetShown
}

// OwnerNote returns for the audit log whose card it is, or "" if it is that of actor, an agent's id.
func (c *Card) OwnerNote(actor string) string {
	if actor == c.Agent {
		return ""
	}
	return "card of " + c.Agent
}

// Serves reports whether the card's agent may go on if agent serves the chat. conversation is the
// card of the conversation, and agent an id in its chat service. The agent of a card made from a
// shared card need not serve the chat.
func (c *Card) Serves(conversation Card, agent string) bool {
	return c.About.SharedCard != "" || AgentID(conversation.Connector, chat.Agent{ID: agent}) == c.Agent
}

// MarkChanged makes a page about one visitor say that this is another person, if the identity
// that the agent saw before differs from the present one.
func (c *Card) MarkChanged(page *templates.Door, before, now string) {
	if before == "" || before == now || len(page.Visitors) != 1 {
		return
	}
	page.OtherPerson = true
	if s := c.About.Sighting; s != nil && s.Identity == before {
		page.PreviousName = s.Name
	}
}

// UpdatePresence sets whether the visitor of a card that was not pressed yet is online, and a new
// short id. If v is another person, the sighting stays, so that the page and the press notice.
func (c *Card) UpdatePresence(v upscope.Visitor) {
	if s := c.CurrentState(); s != Ready && s != Offline {
		return
	}
	if v.ShortID != c.Visitor {
		if s := c.About.Sighting; s == nil || s.Identity == Identity(v) {
			c.SetVisitor(v)
		}
		c.Visitor = v.ShortID
	}
	if v.IsOnline {
		c.ApplyEvent(eventFoundOnline)
	} else {
		c.ApplyEvent(eventFoundOffline)
	}
}

// AwaitsPress reports whether the card has a visitor and no agent has pressed yet. The store knows these states
// too: see package refreshes.
func (c *Card) AwaitsPress() bool { return c.CurrentState() == Ready || c.CurrentState() == Offline }

// CanWaitForVisitor reports whether an agent may ask for a notification when the card's visitor is online again:
// the visitor is offline, or may be by the time the agent reads the card.
func (c *Card) CanWaitForVisitor() bool {
	switch c.CurrentState() {
	case Offline, Ready, Opened, Ended:
		return true
	}
	return false
}

// SameToPeople reports whether people see no difference between two versions of a card.
func (c *Card) SameToPeople(other Card) bool {
	return c.State == other.State && c.Visitor == other.Visitor && c.About.Withheld == other.About.Withheld && reflect.DeepEqual(c.About.Sighting, other.About.Sighting) &&
		reflect.DeepEqual(c.About.Sessions, other.About.Sessions)
}

// Stoppable reports whether a session that began from the card may be running.
func (c *Card) Stoppable() bool { return c.CurrentState() == Opened || c.CurrentState() == Live }

// StateBeforePress returns the state of the card. After a press it returns Choose or Ready, as if no
// agent had pressed.
func (c *Card) StateBeforePress() State {
	switch s := c.CurrentState(); {
	case s != Opened && s != Live && s != Ended:
		return s
	case len(c.About.Choices) > 0:
		return Choose
	}
	return Ready
}

// Describe returns a visitor as pages show them.
func Describe(v upscope.Visitor) templates.Visitor {
	return templates.Visitor{
		ID: v.ShortID, Name: cmp.Or(v.Name, v.Nickname, v.Email, v.UniqueID), NameIsID: v.Name == "" && v.Nickname == "", Page: v.LastURL,
		Where:    JoinNonEmpty(", ", v.LocationCity, v.LocationCountryName),
		Device:   JoinNonEmpty(" on ", v.BrowserName, v.DeviceName),
		LastSeen: v.LastSeenAt, Online: v.IsOnline, InSession: v.IsInSession, Supported: v.IsSupported,
	}
}

// JoinNonEmpty joins the parts that are not empty.
func JoinNonEmpty(sep string, parts ...string) string {
	return strings.Join(slices.DeleteFunc(parts, func(s string) bool { return s == "" }), sep)
}

// Words returns a session as pages and cards show it.
func (s Session) Words() templates.Session {
	words := templates.Session{
		Outcome: s.Outcome(), Length: time.Duration(s.Seconds) * time.Second, Agents: s.Agents, Rating: s.Rating,
	}
	for _, n := range s.Notes {
		words.Notes = append(words.Notes, templates.SessionNote(n))
	}
	return words
}

// A Person is one id of a person who is to be erased.
type Person struct {
	Kind PersonKind `json:"kind"`
	ID   string     `json:"id"`
}

// A PersonKind says what kind of id a Person has.
type PersonKind string

// The kinds of id.
const (
	ByShortID       PersonKind = "visitor"        // Upscope's short id of a browser
	ByUniqueID      PersonKind = "unique id"      // the site's own
	ByIntegrationID PersonKind = "integration id" // of the page script, such as rocketchat:key
)

// Check returns an error if Upscope cannot have such an id, so that a mistyped id is noticed.
func (p Person) Check() (err error) {
	switch p.Kind {
	case ByUniqueID:
		_, err = upscope.UniqueID(p.ID)
	case ByIntegrationID:
		if _, e := upscope.IntegrationID(p.ID); e != nil {
			err = errors.New("an integration id is like rocketchat:KEY, of letters, digits, _ and -")
		}
	case ByShortID:
		if p.ID == "" || strings.Trim(p.ID, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-") != "" {
			err = errors.New("a short id of Upscope has only letters, digits, _ and -")
		}
	default:
		err = fmt.Errorf("unknown kind of id %q", p.Kind)
	}
	return err
}

// Persons returns all ids of its visitor that the card has now.
func (c *Card) Persons() (all []Person) {
	add := func(kind PersonKind, ids ...string) {
		for _, id := range ids {
			if id != "" {
				all = append(all, Person{kind, id})
			}
		}
	}
	clues := c.About.Clues
	add(ByShortID, c.Visitor, clues.ShortID)
	add(ByUniqueID, clues.UniqueID)
	add(ByIntegrationID, clues.IntegrationIDs...)
	if s := c.About.Sighting; s != nil {
		add(ByUniqueID, s.UniqueID)
		add(ByIntegrationID, s.Identities...) // our page script repeats integration ids there
	}
	return all
}

// Persons returns ids of one kind as Persons.
func Persons(kind PersonKind, ids []string) (all []Person) {
	for _, id := range ids {
		all = append(all, Person{kind, id})
	}
	return all
}
