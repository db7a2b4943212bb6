package work

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/templates"
)

// answer does what a delivery asks for.
func (work *Worker) answer(ctx context.Context, conn chat.Connector, j jobs.Job) error {
	d, err := work.store.Delivery(ctx, j.Subject)
	if errors.Is(err, store.ErrNotFound) {
		return nil // an earlier run of this job handled it, and the process crashed after that
	}
	if err != nil {
		return err
	}
	read := func() (chat.Ask, error) {
		ask, err := conn.Read(ctx, chat.Delivery{Key: d.Key, Body: d.Body, Received: d.Received})
		if ask.Verb == chat.Start && conn.ShowAt != (chat.Place{}) {
			ask.Place = conn.ShowAt
		}
		if err == nil {
			err = work.checkAsk(conn, ask)
		}
		return ask, err
	}
	ask, err := read()
	if err != nil {
		return err // if it fails for good, the delivery stays, and an operator can retry it
	}
	switch ask.Verb {
	case chat.Nothing:
		return work.store.Commit(ctx, store.Change{Finish: d.ID})
	case chat.Start, chat.Close:
	default:
		return work.command(ctx, conn, j, d, ask)
	}
	c, err := work.book.Episode(ctx, conn.Name, ask, d)
	if err != nil {
		return err
	}
	if c.Version > 0 && ask.Verb == chat.Start && c.Agent != card.AgentID(conn.Name, ask.Agent) {
		// Deliveries arrive in any order, so what Read returned may be older than the card.
		// Reading again, after the card, cannot return anything older. If the card changes
		// after that, the commit fails because of its version.
		ask, err = read()
		if err != nil {
			return err
		}
	}
	return work.applyAsk(ctx, j, d, ask, c)
}

// checkAsk returns a permanent error if the id of the ask's chat is not allowed, or a card cannot
// be shown at its place. The delivery then stays failed until an operator retries it or it expires.
func (work *Worker) checkAsk(conn chat.Connector, ask chat.Ask) error {
	switch ask.Verb {
	case chat.Start, chat.Close, chat.LookUp:
		if err := chat.CheckChatID(ask.Chat); err != nil {
			return chat.Permanent(fmt.Errorf("connector %s: %w", conn.Name, err))
		}
	}
	at := ask.Place
	switch {
	case ask.Verb == chat.LookUp && conn.ShowAt != (chat.Place{}):
		at = conn.ShowAt // where command shows the card
	case ask.Verb == chat.Start && ask.Agent.ID != "", ask.Verb == chat.LookUp, ask.Verb == chat.Open:
	default:
		return nil
	}
	if at.Address == "" {
		return nil
	}
	if err := chat.CheckPlace(work.connectors, conn.Name, at, work.web.SignsIn()); err != nil {
		return chat.Permanent(fmt.Errorf("card not shown: %w", err))
	}
	return nil
}

// command does what an agent asks for outside a chat.
func (work *Worker) command(ctx context.Context, conn chat.Connector, j jobs.Job, d store.Delivery, ask chat.Ask) error {
	switch ask.Verb {
	case chat.LookUp:
		if refused, err := work.refuseLookUp(ctx, conn, d, ask); refused || err != nil {
			return err
		}
		if conn.ShowAt != (chat.Place{}) {
			ask.Place = conn.ShowAt
		}
		c, err := work.book.CardOfChat(ctx, conn.Name, store.KindLookUp, ask.Chat)
		if err != nil {
			return err
		}
		return work.applyAsk(ctx, j, d, ask, c)
	case chat.Open:
		return work.openPersonalCard(ctx, conn, d, ask)
	case chat.Status:
		return work.status(ctx, conn, d, ask)
	case chat.PlanUsage:
		return work.usage(ctx, conn, d, ask)
	case chat.Stop:
		return work.stopAll(ctx, conn, d, ask)
	case chat.Refuse:
		return work.refuse(ctx, conn, d, ask, ask.Refusal, string(ask.Refusal))
	}
	return work.reply(ctx, conn, d, ask, templates.Card{
		State: templates.StateHelp, Usage: ask.Example, InThread: ask.ExampleInThread, Commands: ask.Commands, Unclear: string(ask.Unclear),
	})
}

// reply sends the agent who asked a message that is no card, and finishes the delivery.
func (work *Worker) reply(ctx context.Context, conn chat.Connector, d store.Delivery, ask chat.Ask, text templates.Card) error {
	return work.replyWith(ctx, conn, d, ask, plain(text.Text()))
}

func (work *Worker) replyWith(ctx context.Context, conn chat.Connector, d store.Delivery, ask chat.Ask, message chat.Card) error {
	if conn.Show != nil && ask.Place.Address != "" {
		message.ID = d.ID
		if _, err := work.post(ctx, conn, chat.Place{Connector: conn.Name, Address: ask.Place.Address}, message); err != nil {
			return err
		}
	}
	return work.store.Commit(ctx, store.Change{Finish: d.ID})
}

// refuseLookUp sends the agent a refusal if they may not look up a visitor now, and returns true.
func (work *Worker) refuseLookUp(ctx context.Context, c chat.Connector, d store.Delivery, ask chat.Ask) (refused bool, err error) {
	agent := card.AgentID(c.Name, ask.Agent)
	code, email := ask.Clues.LookupCode != "", ask.Clues.Email != ""
	ask.Clues.LookupCode, ask.Clues.Email = "", ""
	reply := func(state string) (bool, error) {
		return true, work.reply(ctx, c, d, ask, templates.Card{State: state})
	}
	switch {
	case code && time.Since(d.Received) > codeLife:
		return reply(templates.StateTooLate)
	case email && !work.matcher.Finder.MatchEmail && !code && ask.Clues.Empty():
		return true, work.refuse(ctx, c, d, ask, detailEmail, templates.RefusedEmail)
	// Where agents sign in, the door checks the policy: it knows their groups.
	case !work.web.SignsIn() && !work.mayAsk(c, ask, policy.LookUp):
		return true, work.refuse(ctx, c, d, ask, detailPolicy, templates.RefusedPolicy)
	case !work.lookUps.Allow(agent):
		return reply(templates.StateTooOften)
	case !code:
		return false, nil
	}
	err = work.matcher.CheckAgent(ctx, agent, "")
	if errors.Is(err, web.ErrThrottled) {
		if work.matcher.Withheld(err) == templates.WithheldOthers {
			return reply(templates.StateTooManyOthers)
		}
		return reply(templates.StateTooMany)
	}
	return false, err
}

// mayAsk reports whether the policy allows an agent what they ask for in the chat. It is for
// bridges where agents do not sign in.
func (work *Worker) mayAsk(c chat.Connector, ask chat.Ask, act policy.Act) bool {
	q := policy.Question{Act: act, Agent: card.AgentID(c.Name, ask.Agent), Connector: c.Name}
	if ask.Place.Address != "" {
		q.Place = cmp.Or(ask.Place.Connector, c.Name) + ":" + ask.Place.Address
	}
	return work.policy.Current().Decide(q).Allowed
}

// The reasons of refusals in metrics and the audit log, beside those of chat.Refusal.
var (
	detailPolicy = chat.Refusal(web.ErrPolicy.Error()) // as for presses
	detailEmail  = chat.Refusal("search by e-mail address is switched off")
)

// Refusals are all reasons why an agent may not ask in the chat.
var Refusals = append([]chat.Refusal{detailPolicy, detailEmail}, chat.Refusals...)

// refuse writes an audit entry, and then tells an agent why they may not do something. text is the
// key of what the agent reads. refuse is throttled: an agent who repeats the act soon gets no
// message, and no entry is written.
func (work *Worker) refuse(ctx context.Context, c chat.Connector, d store.Delivery, ask chat.Ask, why chat.Refusal, text string) error {
	agent := card.AgentID(c.Name, ask.Agent)
	first := work.recorded.Allow(d.ID) // later the message is only tried again
	if first {
		work.metrics.Refusal(string(why))
	}
	if !work.refusals.Allow(agent) {
		return work.store.Commit(ctx, store.Change{Finish: d.ID})
	}
	entry := audit.Entry{At: time.Now(), Action: "refused", Agent: agent, Card: ask.Card, Connector: c.Name, Detail: string(why)}
	var err error
	if first {
		if err = work.store.Commit(ctx, store.Change{Audit: []audit.Entry{entry}}); err != nil {
			work.recorded.Forget(d.ID)
		}
	}
	if err == nil {
		err = work.reply(ctx, c, d, ask, templates.Card{State: templates.StateRefused, Refusal: text})
	}
	if err != nil {
		work.refusals.Forget(agent) // the agent got no message
	}
	return err
}

// openPersonalCard makes a card for an agent who pressed a shared card. Its address works for
// personalLife. A double click makes one card.
func (work *Worker) openPersonalCard(ctx context.Context, conn chat.Connector, d store.Delivery, ask chat.Ask) error {
	row, err := work.store.Card(ctx, ask.Card)
	if errors.Is(err, store.ErrNotFound) || err == nil && card.State(row.State) == card.Closed {
		return work.reply(ctx, conn, d, ask, templates.Card{State: templates.StateClosed})
	}
	if err != nil {
		return err
	}
	shared, err := card.Open(row)
	if err != nil {
		return err
	}
	shown, err := work.book.IsShownAt(ctx, conn, shared.ID)
	if err != nil {
		return err
	}
	if !shown {
		return work.reply(ctx, conn, d, ask, templates.Card{State: templates.StateMoved, Customer: shared.Name()})
	}
	agent := card.AgentID(conn.Name, ask.Agent)
	personal, err := work.book.CardOfChat(ctx, conn.Name, store.KindPress, shared.ID+"/"+agent)
	switch {
	case err != nil:
		return err
	case personal.Version > 0 && time.Since(personal.Created) < doubleClick:
		return work.store.Commit(ctx, store.Change{Finish: d.ID}) // they have just got a card
	case personal.Version > 0:
		if personal, err = work.book.NextEpisode(personal); err != nil {
			return err
		}
	}
	personal.Agent, personal.Visitor, personal.State = agent, shared.Visitor, string(shared.StateBeforePress())
	personal.About = card.Detail{
		Visitor: shared.About.Visitor, ChatURL: shared.About.ChatURL, Agent: ask.Agent,
		Place: chat.Place{Connector: conn.Name, Address: ask.Place.Address}, Clues: shared.About.Clues, HasClue: true, Withheld: shared.About.Withheld,
		Subjects: shared.About.Subjects, Reason: shared.About.Reason, Sighting: shared.About.Sighting,
		Choices: shared.About.Choices, LookedUp: shared.LookedUp(), Found: shared.About.Found, SharedCard: shared.ID, SharedConnector: shared.Connector, SharedPlace: shared.About.Place,
	}
	change := store.Change{Finish: d.ID, Audit: []audit.Entry{work.book.Entry(personal, "asked", "from card "+shared.ID)}}
	work.book.ScheduleEffects(&personal, card.Card{}, &change)
	personal.DoorUntil = time.Now().Add(personalLife)
	return work.book.Commit(ctx, &personal, change)
}

// shownToAgent is how many cards a status message lists at most.
const shownToAgent = 10

// status sends an agent the states of their latest cards, with buttons for running sessions.
func (work *Worker) status(ctx context.Context, conn chat.Connector, d store.Delivery, ask chat.Ask) error {
	cards, err := work.cardsOf(ctx, card.AgentID(conn.Name, ask.Agent))
	if err != nil {
		return err
	}
	message := plain(templates.Card{State: templates.StateStatus, Found: len(cards), Usage: ask.Example}.Text())
	for _, c := range cards {
		message.Lines = append(message.Lines, chat.Line(templates.StatusLine(c.Name().Text, c.State)))
	}
	if err := work.addButtons(&message, cards, templates.JoinLabel, ""); err != nil {
		return err
	}
	return work.replyWith(ctx, conn, d, ask, message)
}

// addButtons adds to a message a button for each card with a session that may be running. It leads
// to a page of the card's door; label makes its label from the visitor's name.
func (work *Worker) addButtons(message *chat.Card, cards []card.Card, label func(name string) string, page string) error {
	for _, c := range cards {
		if !c.Stoppable() || !time.Now().Before(c.DoorUntil) || work.book.IsShared(c.About.Place) && !work.web.SignsIn() {
			continue
		}
		address, err := work.book.DoorAddress(c.Card)
		if err != nil {
			return err
		}
		message.More = append(message.More, chat.Link{Label: label(c.Name().Text), Address: address + page})
		message.Public = work.web.SignsIn()
	}
	return nil
}

func (work *Worker) cardsOf(ctx context.Context, agent string) (cards []card.Card, err error) {
	rows, err := work.store.CardsOfAgent(ctx, agent, shownToAgent)
	if err != nil && !work.book.SkipUnreadable(ctx, err, "agent", agent) {
		return nil, err
	}
	for _, row := range rows {
		c, err := card.Open(row)
		if err != nil {
			return nil, err
		}
		if !c.Stoppable() && work.book.CheckSharedOpen(ctx, c) != nil {
			continue // the chat of the shared card is over
		}
		if c.Visible() || c.CurrentState() == card.Closed && len(c.About.Sessions) > 0 {
			cards = append(cards, c)
		}
	}
	return cards, nil
}

// usage sends an agent Upscope's numbers of visitors, sessions and agents.
func (work *Worker) usage(ctx context.Context, conn chat.Connector, d store.Delivery, ask chat.Ask) error {
	u, err := work.upscope.Usage(ctx)
	if err != nil {
		work.log.WarnContext(ctx, "counters of Upscope not read for an agent", "err", err)
		return work.reply(ctx, conn, d, ask, templates.Card{State: templates.StateNoUsage})
	}
	message := plain(templates.Card{State: templates.StateUsage}.Text())
	for _, count := range []struct {
		label string
		n     int
	}{
		{templates.UsageOnline, u.Visitors.OnlineNow}, {templates.UsageRunning, u.SessionCounts.Now}, {templates.UsageToday, u.SessionCounts.Today},
		{templates.UsageSessionsMonth, u.SessionCounts.Last30Days}, {templates.UsageAgentsMonth, u.Agents.Last30Days},
	} {
		message.Lines = append(message.Lines, chat.Line{Label: count.label, Text: strconv.Itoa(count.n)})
	}
	return work.replyWith(ctx, conn, d, ask, message)
}

// stopAll ends the sessions that an agent began, also those of closed chats. Where agents sign in,
// it sends them a button for each session instead.
func (work *Worker) stopAll(ctx context.Context, conn chat.Connector, d store.Delivery, ask chat.Ask) error {
	if !work.web.SignsIn() && !work.mayAsk(conn, ask, policy.Stop) {
		return work.refuse(ctx, conn, d, ask, detailPolicy, templates.RefusedStop)
	}
	cards, err := work.cardsOf(ctx, card.AgentID(conn.Name, ask.Agent))
	if err != nil {
		return err
	}
	if work.web.SignsIn() { // the door, to which the buttons lead, checks the policy
		message := plain(templates.Card{State: templates.StateStop}.Text())
		if err := work.addButtons(&message, cards, templates.StopLabel, web.StopPage); err != nil {
			return err
		}
		if len(message.More) == 0 {
			return work.reply(ctx, conn, d, ask, templates.Card{State: templates.StateStopped})
		}
		return work.replyWith(ctx, conn, d, ask, message)
	}
	stopped := 0
	for _, c := range cards {
		if !c.Stoppable() && len(c.VisitorsInSession()) == 0 {
			continue
		}
		n, err := work.StopSession(ctx, c, c.Agent)
		if errors.Is(err, web.ErrStore) {
			return err
		}
		if err != nil {
			return work.reply(ctx, conn, d, ask, templates.Card{State: templates.StateNotStopped})
		}
		stopped += n
	}
	return work.reply(ctx, conn, d, ask, templates.Card{State: templates.StateStopped, Found: stopped})
}
