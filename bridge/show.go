package bridge

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strconv"
	"time"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"
)

// leaseLife is how long a worker may take to show a card at one place before
// another may try. It outlasts a job, so that no two ever post at once.
const leaseLife = time.Minute

// show brings every post of a card at the connector's places up to the card.
// Showing a card twice is harmless: a post that is up to date is left alone.
func (b *Bridge) show(ctx context.Context, conn Connector, cardID string) error {
	if conn.Show == nil {
		return Permanent(fmt.Errorf("connector %s shows no cards", conn.Name))
	}
	posts, err := b.store.Posts(ctx, cardID)
	if err != nil {
		return err
	}
	// One place that fails for good must not end the job for the others, and one
	// that is held by somebody must not hurry those that want to be left alone.
	var passing, held, permanent []error
	for _, p := range posts {
		if p.Place.Connector != conn.Name {
			continue
		}
		switch err := b.showAt(ctx, conn, cardID, p.Place); {
		case err == nil:
		case errors.Is(err, errAgain):
			held = append(held, err)
		case IsPermanent(err):
			permanent = append(permanent, err)
		default:
			passing = append(passing, err)
		}
	}
	for _, errs := range [][]error{passing, held, permanent} {
		if len(errs) > 0 {
			return errors.Join(errs...)
		}
	}
	return nil
}

func (b *Bridge) showAt(ctx context.Context, conn Connector, cardID string, place store.Place) (err error) {
	shown, err := b.store.LeasePost(ctx, cardID, place, time.Now().Add(leaseLife))
	if err != nil {
		if errors.Is(err, store.ErrLeased) {
			return fmt.Errorf("%w: %w", errAgain, err)
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, b.store.ReleasePost(context.WithoutCancel(ctx), cardID, place))
		}
	}()
	// Only what is read under the lease is sure to be the latest.
	c, p, err := b.posted(ctx, cardID, place)
	if err != nil {
		return err
	}
	words, err := b.words(c, p)
	if err != nil {
		return err
	}
	p.Shown = shown
	unwanted := p.Shown == "" && (!p.Current || !c.visible())
	if unwanted || p.Shown == words.print() {
		return b.store.SavePost(ctx, p)
	}
	ref, err := conn.Show(ctx, Place{Connector: place.Connector, Address: place.Address}, words)
	if err != nil {
		return err
	}
	p.Ref, p.Shown = string(ref), words.print()
	if err := b.store.SavePost(ctx, p); err != nil {
		return err
	}
	b.log.InfoContext(ctx, "card shown", "connector", conn.Name, "card", c.ID, "state", c.State, "agent", c.Agent)
	return nil
}

func (b *Bridge) posted(ctx context.Context, cardID string, place store.Place) (card, store.Post, error) {
	row, err := b.store.Card(ctx, cardID)
	if err != nil {
		return card{}, store.Post{}, err
	}
	c, err := openCard(row)
	if err != nil {
		return card{}, store.Post{}, err
	}
	posts, err := b.store.Posts(ctx, cardID)
	if err != nil {
		return card{}, store.Post{}, err
	}
	for _, p := range posts {
		if p.Place == place {
			return c, p, nil
		}
	}
	return card{}, store.Post{}, fmt.Errorf("card %s: post: %w", cardID, store.ErrNotFound)
}

// print tells what two postings of a card have in common: with equal prints
// people would see no difference.
func (c Card) print() string {
	c.Ref = ""
	h := sha256.New()
	fmt.Fprintf(h, "%#v", c)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// words is the card as it reads at one of its posts. An agent who no longer has
// the chat is told so, and gets no door.
func (b *Bridge) words(c card, p store.Post) (Card, error) {
	if !p.Current {
		moved := templates.Card{State: templates.StateMoved, Visitor: c.about.Visitor, To: c.about.Agent.Name}
		shown := plain(moved.Text())
		shown.ID, shown.Ref = c.ID, Ref(p.Ref)
		return shown, nil
	}
	shown, err := b.worded(c, c.State)
	shown.Ref = Ref(p.Ref)
	return shown, err
}

// worded is the card as it reads to its agent in a state.
func (b *Bridge) worded(c card, state string) (Card, error) {
	text := templates.Card{
		State: state, Visitor: c.about.Visitor, Agent: cmp.Or(c.about.By, c.about.Agent.Name),
		Reason: c.about.Reason, Found: len(c.about.Choices), Asked: c.about.Asked,
	}
	if s := c.about.Sighting; s != nil {
		text.Page, text.Where, text.Device = s.Page, s.Where, s.Device
	}
	for _, s := range c.about.Sessions {
		text.Sessions = append(text.Sessions, s.words())
	}
	said := text.Text()
	shown := plain(said)
	shown.ID, shown.Public = c.ID, b.signsIn()
	if c.about.ChatURL != "" {
		shown.Chat = Link{Label: "Open the chat", Address: c.about.ChatURL}
	}
	switch {
	case said.Button == "":
	case b.shared(c.about.Place) && !b.signsIn():
		shown.Button.Label = said.Button
	default:
		address, err := b.doorAddress(c.Card)
		if err != nil {
			return Card{}, err
		}
		shown.Button = Link{Label: said.Button, Address: address}
		if said.Stop != "" {
			shown.More = append(shown.More, Link{Label: said.Stop, Address: address + stopPage})
		}
		if b.enters(c) {
			shown.More = append(shown.More, Link{Label: "Open the chat", Address: address + chatPage})
		}
	}
	for i, s := range c.about.Sessions {
		if s.Recording == "" || !b.hosts.Allow(s.Recording) {
			continue
		}
		label := "Recording"
		if len(c.about.Sessions) > 1 {
			label += " " + strconv.Itoa(i+1)
		}
		shown.More = append(shown.More, Link{Label: label, Address: s.Recording})
	}
	return shown, nil
}

func (s session) words() templates.Session {
	words := templates.Session{
		Outcome: s.outcome(), Length: time.Duration(s.Seconds) * time.Second, Agents: s.Agents, Rating: s.Rating,
	}
	for _, n := range s.Notes {
		words.Notes = append(words.Notes, templates.SessionNote(n))
	}
	return words
}

// shared reports whether several people see a place.
func (b *Bridge) shared(p Place) bool {
	shared := b.connectors[p.Connector].Shared
	return shared != nil && shared(p.Address)
}

// plain is a text without anything to press.
func plain(text templates.CardText) Card {
	c := Card{Title: text.Title}
	for _, l := range text.Lines {
		c.Lines = append(c.Lines, Line(l))
	}
	return c
}
