package bridge

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strconv"
	"time"

	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

const (
	// personalLife is how long a door opens that an agent got by pressing a card
	// which several people see, and doubleClick how soon a second press is the same.
	personalLife = 2 * time.Minute
	doubleClick  = 10 * time.Second
	// codeLife is how old a lookup code may be that somebody read out: it may be
	// another visitor's by then.
	codeLife = 2 * time.Minute
)

// wish does what an agent asks for by themselves, apart from any chat.
func (b *Bridge) wish(ctx context.Context, c Connector, j store.Job, d store.Delivery, ask Ask) error {
	switch ask.Verb {
	case LookUp:
		// Ids of wishes and of conversations may be alike.
		ask.Chat = "asked/" + ask.Chat
		if told, err := b.mayLookUp(ctx, c, d, ask); told || err != nil {
			return err
		}
		if c.ShowAt != (Place{}) {
			ask.Place = c.ShowAt
		}
		card, err := b.cardOfChat(ctx, c.Name, ask.Chat)
		if err != nil {
			return err
		}
		return b.settle(ctx, j, d, ask, card)
	case Open:
		return b.openTo(ctx, c, d, ask)
	case Status:
		return b.status(ctx, c, d, ask)
	case Usage:
		return b.usage(ctx, c, d, ask)
	case Stop:
		return b.stopAll(ctx, c, d, ask)
	case Refuse:
		return b.refuse(ctx, c, d, ask, ask.Refusal)
	}
	return b.reply(ctx, c, d, ask, templates.Card{State: templates.StateHelp, Usage: ask.Usage})
}

// reply tells the agent who asked something, in a message that is no card.
// What is to be on record is so once they were told.
func (b *Bridge) reply(ctx context.Context, conn Connector, d store.Delivery, ask Ask, text templates.Card, record ...store.Entry) error {
	return b.replyWith(ctx, conn, d, ask, plain(text.Text()), record...)
}

func (b *Bridge) replyWith(ctx context.Context, conn Connector, d store.Delivery, ask Ask, said Card, record ...store.Entry) error {
	if conn.Show != nil && ask.Place.Address != "" {
		said.ID = d.ID
		if _, err := conn.Show(ctx, Place{Connector: conn.Name, Address: ask.Place.Address}, said); err != nil {
			return err
		}
	}
	return b.store.Commit(ctx, store.Change{Finish: d.ID, Audit: record})
}

// mayLookUp decides whether an agent may look somebody up. One who may not is told.
func (b *Bridge) mayLookUp(ctx context.Context, c Connector, d store.Delivery, ask Ask) (told bool, err error) {
	agent := agentID(c.Name, ask.Agent)
	code, email := ask.Clues.LookupCode != "", ask.Clues.Email != ""
	ask.Clues.LookupCode, ask.Clues.Email = "", ""
	say := func(state string) (bool, error) {
		return true, b.reply(ctx, c, d, ask, templates.Card{State: state})
	}
	switch {
	case code && time.Since(d.Received) > codeLife:
		return say(templates.StateTooLate)
	case email && !b.finder.matchEmail && !code && ask.Clues.Empty():
		return true, b.refuse(ctx, c, d, ask, templates.RefusedEmail)
	// Where agents sign in, the door asks, which knows more of them.
	case !b.signsIn() && !b.asks(c, ask, policy.LookUp):
		return true, b.refuse(ctx, c, d, ask, templates.RefusedPolicy)
	case !b.looks.allow(agent):
		return say(templates.StateTooOften)
	case !code:
		return false, nil
	}
	err = b.limits.left(ctx, b.agentTries(ctx, agent)...)
	if errors.Is(err, errThrottled) {
		return say(templates.StateTooMany)
	}
	return false, err
}

// asks decides whether an agent may do what they ask for in the chat, where nobody
// signs in.
func (b *Bridge) asks(c Connector, ask Ask, act policy.Act) bool {
	q := policy.Question{Act: act, Agent: agentID(c.Name, ask.Agent), Connector: c.Name}
	if ask.Place.Address != "" {
		q.Place = cmp.Or(ask.Place.Connector, c.Name) + ":" + ask.Place.Address
	}
	return b.policy.Current().Decide(q).Allowed
}

// refuse tells an agent that they may not, and why, and writes it down; somebody
// who goes on and on hears of it now and then.
func (b *Bridge) refuse(ctx context.Context, c Connector, d store.Delivery, ask Ask, why Refusal) error {
	agent := agentID(c.Name, ask.Agent)
	b.metrics.refusal(string(why))
	if !b.refusals.allow(agent) {
		return b.store.Commit(ctx, store.Change{Finish: d.ID})
	}
	entry := store.Entry{At: time.Now(), Action: "refused", Agent: agent, Card: ask.Card, Connector: c.Name, Detail: string(why)}
	err := b.reply(ctx, c, d, ask, templates.Card{State: templates.StateRefused, Refusal: string(why)}, entry)
	if IsPermanent(err) {
		b.writeDown(ctx, entry) // though nobody can tell them
	}
	if err != nil {
		b.refusals.forget(agent) // they have heard nothing yet
	}
	return err
}

// openTo gives an agent who pressed a card that several people see a card of their
// own, with a door that opens for two minutes. A double click gives one.
func (b *Bridge) openTo(ctx context.Context, conn Connector, d store.Delivery, ask Ask) error {
	row, err := b.store.Card(ctx, ask.Card)
	if errors.Is(err, store.ErrNotFound) || err == nil && State(row.State) == Closed {
		return b.reply(ctx, conn, d, ask, templates.Card{State: templates.StateClosed})
	}
	if err != nil {
		return err
	}
	shared, err := openCard(row)
	if err != nil {
		return err
	}
	there, err := b.isAt(ctx, conn, shared.ID)
	if err != nil {
		return err
	}
	if !there {
		return b.reply(ctx, conn, d, ask, templates.Card{State: templates.StateMoved, Visitor: shared.about.Visitor})
	}
	agent := agentID(conn.Name, ask.Agent)
	var own card
	for n := 0; ; n++ {
		own, err = b.cardOfChat(ctx, conn.Name, "open/"+shared.ID+"/"+agent+"/"+strconv.Itoa(n))
		if err != nil {
			return err
		}
		if own.Version == 0 {
			break
		}
		if time.Since(own.Created) < doubleClick {
			return b.store.Commit(ctx, store.Change{Finish: d.ID}) // it is in front of them
		}
	}
	own.Agent, own.Visitor, own.State = agent, shared.Visitor, string(shared.unpressed())
	own.about = detail{
		Visitor: shared.about.Visitor, ChatURL: shared.about.ChatURL, Agent: ask.Agent,
		Place: Place{Connector: conn.Name, Address: ask.Place.Address}, Clues: shared.about.Clues, Clued: true,
		Subjects: shared.about.Subjects, Reason: shared.about.Reason, Sighting: shared.about.Sighting,
		Choices: shared.about.Choices, Asked: true, Shared: shared.ID, SharedOf: shared.Connector, SharedAt: shared.about.Place,
	}
	change := store.Change{Finish: d.ID, Audit: []store.Entry{b.entry(own, "asked", "from card "+shared.ID)}}
	b.follow(&own, card{}, &change)
	own.DoorUntil = time.Now().Add(personalLife)
	return b.commit(ctx, &own, change)
}

// isAt reports whether a card is shown where several people see it, at this
// connector: a button that is still about may be of a card that is not.
func (b *Bridge) isAt(ctx context.Context, conn Connector, card string) (bool, error) {
	posts, err := b.store.Posts(ctx, card)
	return slices.ContainsFunc(posts, func(p store.Post) bool {
		return p.Current && p.Place.Connector == conn.Name && b.shared(Place(p.Place))
	}), err
}

// unpressed is the state of a card as it was before anybody was led to its visitor.
func (c *card) unpressed() State {
	switch s := c.state(); {
	case s != Opened && s != Live && s != Ended:
		return s
	case len(c.about.Choices) > 0:
		return Choose
	}
	return Ready
}

// sharedOpen makes sure that the card which an agent pressed to get their own, if
// they did, is still open.
func (b *Bridge) sharedOpen(ctx context.Context, own card) error {
	if own.about.Shared == "" {
		return nil
	}
	row, err := b.store.Card(ctx, own.about.Shared)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && State(row.State) == Closed:
		return errClosed
	case err != nil:
		return storeFault(err)
	}
	return nil
}

// shareNews brings what became of an agent's own card to the one they pressed.
func (b *Bridge) shareNews(ctx context.Context, own card, news func(shared *card)) error {
	if own.about.Shared == "" {
		return nil
	}
	_, err := b.revise(ctx, own.about.Shared, func(shared *card) []store.Entry {
		news(shared)
		return nil
	})
	return err
}

// shownToAgent is how many cards an agent is told of at once.
const shownToAgent = 10

// status tells an agent how their latest cards stand.
func (b *Bridge) status(ctx context.Context, conn Connector, d store.Delivery, ask Ask) error {
	cards, err := b.cardsOf(ctx, agentID(conn.Name, ask.Agent))
	if err != nil {
		return err
	}
	said := plain(templates.Card{State: templates.StateStatus, Found: len(cards)}.Text())
	for _, c := range cards {
		words, err := b.worded(c, c.State)
		if err != nil {
			return err
		}
		said.Lines = append(said.Lines, Line{Text: words.Title})
		if c.stoppable() && words.Button.Address != "" && time.Now().Before(c.DoorUntil) {
			said.More, said.Public = append(said.More, words.Button), words.Public
		}
	}
	return b.replyWith(ctx, conn, d, ask, said)
}

func (b *Bridge) cardsOf(ctx context.Context, agent string) (cards []card, err error) {
	rows, err := b.store.CardsOfAgent(ctx, agent, shownToAgent)
	if err != nil {
		return nil, err
	}
	for _, row := range rows {
		c, err := openCard(row)
		if err != nil {
			return nil, err
		}
		if !c.stoppable() && b.sharedOpen(ctx, c) != nil {
			continue // the chat of the card that was pressed is over
		}
		if c.visible() || c.state() == Closed && len(c.about.Sessions) > 0 {
			cards = append(cards, c)
		}
	}
	return cards, nil
}

// usage tells an agent what Upscope counts.
func (b *Bridge) usage(ctx context.Context, conn Connector, d store.Delivery, ask Ask) error {
	u, err := b.upscope.Usage(ctx)
	if err != nil {
		return err
	}
	said := plain(templates.Card{State: templates.StateUsage}.Text())
	for _, count := range []struct {
		label string
		n     int
	}{
		{"Visitors online now", u.Visitors.OnlineNow}, {"Sessions now", u.SessionCounts.Now}, {"Sessions today", u.SessionCounts.Today},
		{"Sessions in 30 days", u.SessionCounts.Last30Days}, {"Agents in 30 days", u.Agents.Last30Days},
	} {
		said.Lines = append(said.Lines, Line{Label: count.label, Text: strconv.Itoa(count.n)})
	}
	return b.replyWith(ctx, conn, d, ask, said)
}

// stopAll ends the sessions that an agent began, or, where agents sign in, shows
// them the cards on which they can.
func (b *Bridge) stopAll(ctx context.Context, conn Connector, d store.Delivery, ask Ask) error {
	switch {
	case b.signsIn(): // what they may is known at the door, to which their cards lead
		return b.status(ctx, conn, d, ask)
	case !b.asks(conn, ask, policy.Stop):
		return b.refuse(ctx, conn, d, ask, templates.RefusedPolicy)
	}
	cards, err := b.cardsOf(ctx, agentID(conn.Name, ask.Agent))
	if err != nil {
		return err
	}
	stopped := 0
	for _, c := range cards {
		if !c.stoppable() {
			continue
		}
		if err := b.stopSession(ctx, c); err != nil {
			return err
		}
		stopped++
	}
	return b.reply(ctx, conn, d, ask, templates.Card{State: templates.StateStopped, Found: stopped})
}

// stopSession ends the sessions of a card, after writing down who does. Their
// visitor may be known by another id by now.
func (b *Bridge) stopSession(ctx context.Context, c card) error {
	if err := b.store.Commit(ctx, store.Change{Audit: []store.Entry{b.entry(c, "stopping", "")}}); err != nil {
		return storeFault(err)
	}
	ctx = context.WithoutCancel(ctx)
	visitors := c.running()
	if len(visitors) == 0 && c.Visitor != "" {
		visitors = []string{c.Visitor}
	}
	for _, v := range visitors {
		err := b.upscope.StopSession(ctx, v)
		if err != nil && !errors.Is(err, upscope.ErrNotFound) {
			b.writeDown(ctx, b.entry(c, "not stopped", err.Error()))
			return err
		}
	}
	b.sessions.lookNow(time.Now().Add(-overlap))
	return nil
}
