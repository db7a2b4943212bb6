package bridge

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"time"

	"cobrowse-bridge/bridge/store"

	"github.com/google/uuid"
)

// looks are the waits before a delivery that opened a card is read again while
// nobody has been found: pages tell the chat and Upscope who they are a little
// after the chat begins.
var looks = []time.Duration{time.Second, 3 * time.Second, 10 * time.Second}

const (
	// patience is how long Upscope may fail before the agent is told.
	patience = 15 * time.Second
	// youth is how long a card is left to the delivery that opened it to look
	// for the visitor.
	youth = time.Minute
)

// answer does what a delivery asks for.
func (b *Bridge) answer(ctx context.Context, c Connector, j store.Job) error {
	d, err := b.store.Delivery(ctx, j.Subject)
	if errors.Is(err, store.ErrNotFound) {
		return nil // handled already, by a run whose end was lost in a crash
	}
	if err != nil {
		return err
	}
	read := func() (Ask, error) {
		ask, err := c.Read(ctx, Delivery{Key: d.Key, Body: d.Body, Received: d.Received})
		if ask.Verb == Start && c.ShowAt != (Place{}) {
			ask.Place = c.ShowAt
		}
		return ask, err
	}
	ask, err := read()
	if err != nil {
		return err // one that fails for good stays, for an operator to see and to retry
	}
	switch ask.Verb {
	case Nothing:
		return b.store.Commit(ctx, store.Change{Finish: d.ID})
	case Start, Close:
	default:
		return b.wish(ctx, c, j, d, ask)
	}
	card, err := b.episode(ctx, c.Name, ask, d)
	if err != nil {
		return err
	}
	if card.Version > 0 && ask.Verb == Start && card.Agent != agentID(c.Name, ask.Agent) {
		// Deliveries arrive in any order, and what was read for this one may be
		// older than the card. Read now that the card is at hand, it cannot be,
		// unless the card changes meanwhile; and that its version tells.
		ask, err = read()
		if err != nil {
			return err
		}
	}
	return b.settle(ctx, j, d, ask, card)
}

// cardOfChat gives the card of a chat, or a new one that is not stored yet.
func (b *Bridge) cardOfChat(ctx context.Context, connector, chat string) (card, error) {
	row, err := b.store.CardOfChat(ctx, connector, chat)
	if err == nil {
		return openCard(row)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return card{}, err
	}
	c, err := b.newCard(connector)
	c.Chat = chat
	return c, err
}

// newCard is a card that is not stored yet.
func (b *Bridge) newCard(connector string) (card, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return card{}, fmt.Errorf("draw a card id: %w", err)
	}
	return card{Card: store.Card{
		ID: id.String(), Connector: connector, State: string(Searching), Handle: b.doors.first(id.String()).hash(),
	}}, nil
}

// settle brings a card to what an ask says, in one transaction with all that
// follows from it. Where nothing changes, nothing is written but that the
// delivery is done.
func (b *Bridge) settle(ctx context.Context, j store.Job, d store.Delivery, ask Ask, c card) error {
	before := c
	change := store.Change{Finish: j.Subject}
	handsOver := false // whether the delivery says who serves the chat from now on
	var failure error

	switch {
	case ask.Verb == Close && c.about.Heard.After(d.Received):
		// Worked on late: another conversation began since, and has this card.
		c.about.Over = latest(c.about.Over, d.Received.UTC())
	case ask.Verb == Close:
		c.close(d.Received)
	case c.state() == Closed:
	case ask.Agent.ID == "" && c.Version == 0:
		// A chat that waits in a queue has nobody to show a card to.
	default:
		c.serve(ask)
		handsOver = d.ChangesPending
		if ask.New {
			c.about.Heard = latest(c.about.Heard, d.Received.UTC())
		}
		if c.Version == 0 {
			c.about.Opener, c.about.Asked = j.Subject, ask.Verb == LookUp
		}
		if !c.looking() {
			break
		}
		found, late := d.Found()
		clues := ask.Clues
		if found || time.Since(d.Received) > codeLife {
			clues.LookupCode = "" // it may be somebody else's by now
		}
		match, err := b.search(ctx, &c, clues, j.Step > 0)
		if late && before.Version == 0 && !online(match.Visitors) {
			if err == nil {
				err = b.store.Commit(ctx, change) // nobody is there to be helped
			}
			return err
		}
		if failure = err; err != nil {
			// Who serves the chat is known all the same; the search goes on.
			change.Finish = ""
			if time.Since(d.Received) > patience {
				c.move(upscopeFailed)
			}
			break
		}
		c.apply(match)
		if c.state() == NoVisitor && before.state() == Searching && !c.about.Asked {
			// The delivery that opened the card looks again; others leave it
			// to that one.
			opener := c.about.Opener == j.Subject
			young := before.Version == 0 || time.Since(before.Created) < youth
			if opener && j.Step < len(looks) || !opener && young {
				c.State = string(Searching)
			}
			if opener && j.Step < len(looks) {
				change.Finish = ""
				change.Jobs = append(change.Jobs, store.Job{
					Queue: j.Queue, Kind: jobAnswer, Subject: j.Subject, Step: j.Step + 1, At: time.Now().Add(looks[j.Step]),
				})
			}
		}
		if c.State != before.State && match.Trail != "" {
			change.Audit = append(change.Audit, b.entry(c, "asked", match.Trail))
		}
	}

	if change.Finish == "" && d.ChangesPending {
		// Who serves the chat is stored with this change; only the search goes on.
		change.Applied = d.ID
	}
	changed := !reflect.DeepEqual(c, before)
	if !changed && !handsOver {
		if failure != nil && change.Applied == "" {
			return failure
		}
		return errors.Join(failure, b.store.Commit(ctx, change))
	}
	if changed {
		b.follow(&c, before, &change)
	}
	if handsOver { // nobody sees this
		c.about.HandedOver = latest(c.about.HandedOver, d.Received.UTC())
	}
	return errors.Join(failure, b.commit(ctx, &c, change))
}

// search finds the visitor that clues name. A lookup code is followed once, and
// again only by the delivery that brought it: later it may be somebody else's.
// Visitors type codes, of which there are only ten thousand, so each chat and all
// of them together may be wrong so often; beyond that a code waits.
func (b *Bridge) search(ctx context.Context, c *card, clues Clues, again bool) (Match, error) {
	print := c.codePrint(clues.LookupCode)
	fresh := clues.LookupCode != "" && print != c.about.Code
	var m Match
	var err error
	if fresh {
		m, err = b.tryCode(ctx, *c, clues)
	}
	throttled := errors.Is(err, errThrottled)
	if !fresh || throttled {
		if throttled || !again {
			clues.LookupCode = ""
		}
		m, err = b.finder.find(ctx, clues)
	}
	if err == nil && clues.LookupCode != "" {
		c.about.Code = print
	}
	return m, err
}

// tryCode follows clues with a lookup code, if the limits allow another. It counts
// as wrong before it is followed, so that many at once are no way around them.
func (b *Bridge) tryCode(ctx context.Context, c card, clues Clues) (Match, error) {
	tries := b.codeTries(ctx, c)
	if err := b.limits.spend(ctx, tries...); err != nil {
		return Match{}, err
	}
	m, err := b.finder.find(ctx, clues)
	if err != nil || len(m.Visitors) > 0 {
		if err := b.limits.giveBack(context.WithoutCancel(ctx), tries...); err != nil {
			b.log.WarnContext(ctx, "a right code counts as wrong", "connector", c.Connector, "err", err)
		}
	}
	return m, err
}

// codeTries are what a wrong lookup code counts against.
func (b *Bridge) codeTries(ctx context.Context, c card) []store.Spending {
	if !c.about.Asked {
		return []store.Spending{{Limit: b.budgets.typedCodes}, {Limit: b.budgets.chatCodes, Subject: c.Connector + "\x00" + c.Chat}}
	}
	tries := b.agentTries(ctx, c.Agent)
	if c.from != "" {
		tries = append(tries, store.Spending{Limit: b.budgets.addressCodes, Subject: c.from})
	}
	return tries
}

// agentTries are what a wrong code counts against that an agent asks for, by
// whichever of their accounts.
func (b *Bridge) agentTries(ctx context.Context, agent string) []store.Spending {
	if account, err := b.store.Account(ctx, agent); err == nil {
		agent = account.Agent
	}
	return []store.Spending{{Limit: b.budgets.askedCodes}, {Limit: b.budgets.agentCodes, Subject: agent}}
}

func (c *card) codePrint(code string) string {
	if code == "" {
		return ""
	}
	sum := sha256.Sum256([]byte(c.ID + code))
	return hex.EncodeToString(sum[:8])
}

// follow adds what a change of the card entails: where it is shown, that it is
// shown again, and how long its door opens.
func (b *Bridge) follow(c *card, before card, change *store.Change) {
	if !c.visible() && !before.visible() && len(c.about.Sessions) == 0 {
		return
	}
	now := time.Now()
	moved := before.Version > 0 && c.Agent != before.Agent
	replaced := before.Version > 0 && c.place() != before.place()
	if moved {
		change.Audit = append(change.Audit, b.entry(*c, "moved", "from "+before.Agent))
	}
	if replaced && before.about.Place.Address != "" {
		change.Posts = append(change.Posts, store.Post{Card: c.ID, Place: before.place(), Current: false})
	}
	switch {
	case c.about.Shared != "" && !c.stoppable(): // see openTo
	case c.state() != Closed:
		c.DoorUntil = now.Add(b.doorLife)
	case before.state() != Closed:
		change.Audit = append(change.Audit, b.entry(*c, "closed", ""))
		change.EndWaits = append(change.EndWaits, store.Wait{Card: c.ID})
	}
	if waiting := []State{Ready, Offline}; c.about.Shared == "" && slices.Contains(waiting, c.state()) && !slices.Contains(waiting, before.state()) {
		change.Jobs = append(change.Jobs, refreshJob(*c, 0))
	}
	if c.about.Place.Address != "" && (replaced || !before.visible()) {
		change.Posts = append(change.Posts, store.Post{Card: c.ID, Place: c.place(), Current: true})
	}
	queues := map[string]bool{}
	for _, p := range append(change.Posts, store.Post{Place: c.place()}) {
		if p.Place.Address != "" && !queues[p.Place.Connector] {
			queues[p.Place.Connector] = true
			change.Jobs = append(change.Jobs, store.Job{Queue: p.Place.Connector, Kind: jobShow, Subject: c.ID})
		}
	}
}

// serve takes over who serves the chat and what the chat side says of the
// visitor. A new agent gets a door of their own; the one before loses theirs.
func (c *card) serve(ask Ask) {
	if agent := agentID(c.Connector, ask.Agent); agent != c.Agent {
		if c.Version > 0 {
			c.Generation++
		}
		c.Agent, c.about.Since = agent, c.Generation
	}
	c.about.Agent, c.about.Visitor, c.about.ChatURL = ask.Agent, ask.Visitor, ask.ChatURL
	c.about.Place = ask.Place
	if c.about.Place.Connector == "" {
		c.about.Place.Connector = c.Connector
	}
	if stable := ask.Clues.stable(); !stable.Empty() {
		c.about.Clues = stable
	}
	c.about.Clued = c.about.Clued || !ask.Clues.Empty()
}

// agentID is the agent's one id across all that the bridge remembers and tells
// Upscope.
func agentID(connector string, a Agent) string {
	if a.ID == "" {
		return ""
	}
	return connector + ":" + a.ID
}
