package bridge

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"time"

	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

// A press is what an agent asks for who wants to see a visitor's screen.
type press struct {
	// visitor is the short id of the visitor whom the agent pressed for.
	visitor string
	// seen is the identity of the visitor as the page showed it; empty if the agent saw no
	// page, or the form does not say.
	seen string
	// chosen says that the page showed several visitors, and the agent chose this one.
	chosen bool
	// anyway insists although the visitor reads as offline.
	anyway bool
	// straight says that the agent has not seen the door's page.
	straight bool
	// from is where the agent clicked.
	from source
	// browser is the token of the agent's browser; empty if it returned no cookie.
	browser string
}

// servingWait is how long the chat service may take to say who serves the chat
// before what its deliveries said is taken.
const servingWait = 2 * time.Second

// overPlanRest is how long nobody asks for a watch link after Upscope said that the
// plan is used up: each that asks may count.
const overPlanRest = time.Minute

// open leads an agent to the visitor's screen, once for a press that is made twice. If the
// press does not fit what the bridge now knows, the page says so instead.
func (b *Bridge) open(w http.ResponseWriter, r *http.Request, c card, p press) error {
	if p.visitor == "" || p.visitor != c.Visitor && !slices.Contains(c.about.Choices, p.visitor) {
		return b.showChanged(w, r, c, p)
	}
	// The policy may have changed since the door's page was shown.
	how := b.decide(c, policy.Watch)
	if !how.Allowed {
		b.refused(r.Context(), c, errPolicy)
		return errPolicy
	}
	if c.over {
		return errClosed
	}
	key := repeatKey{opens: "screen", card: c.ID, agent: c.actor(), browser: p.browser}
	answer, same, err := b.repeats.once(r.Context(), key, p.visitor+"."+c.seen(p), func(ctx context.Context) (outcome, error) {
		return b.openNow(ctx, c, p, how.Profile)
	})
	switch {
	case err != nil:
		return err
	case !same:
		return b.showChanged(w, r, c, p)
	case answer.address == "":
		return b.render(w, http.StatusOK, answer.page)
	}
	// The cookie lives as long from here as the store remembers the browser. A browser that
	// gets a cookie also keeps no copy of the page before, so Back loads it from here.
	if p.browser != "" {
		b.mark(w, p.browser)
	}
	leadAway(w, answer.address)
	return nil
}

// openNow asks for the watch link, after the record of who asks is written. The link exists
// in the outcome alone. Ctx is not the request's: it goes on if the browser gives up.
func (b *Bridge) openNow(ctx context.Context, c card, p press, profile policy.Profile) (outcome, error) {
	if c.ledJustNow(p.browser, time.Now()) {
		// Another process has answered the same press, and has the link.
		return b.pageInstead(b.changedPage(ctx, c, p))
	}
	if err := b.limits.known(b.watchTries(c)); err != nil {
		return outcome{}, err
	}
	if !b.looks.allow(c.actor()) {
		return outcome{}, errThrottled
	}
	v, note, err := b.lookBefore(ctx, c, p)
	switch {
	case errors.Is(err, errSeveral), errors.Is(err, upscope.ErrNotFound):
		return b.pageInstead(b.followVisitor(ctx, c, p, errors.Is(err, errSeveral)))
	case err != nil:
		b.refused(ctx, c, err)
		return outcome{}, err
	case v.ShortID != p.visitor, !v.IsOnline && !p.anyway && !c.about.Clues.Empty():
		return b.pageInstead(b.followVisitor(ctx, c, p, false))
	case !v.IsOnline && !p.anyway, c.seen(p) != identity(v), p.straight && !b.passes(c, v):
		page := b.doorOf(c, v)
		c.markChanged(&page, c.seen(p), identity(v))
		return outcome{page: page}, nil
	}
	if time.Now().Before(time.UnixMicro(b.overPlan.Load())) {
		return outcome{}, &noticeError{upscope.ErrOverPlan, c.overPlan(v, b.hosts)}
	}
	return b.watch(ctx, c, p, v, note, profile)
}

// passes reports whether an agent may be led to v who has not seen the page.
func (b *Bridge) passes(c card, v upscope.Visitor) bool {
	if v.IsInSession {
		return c.watches(v, time.Now()) && !b.foreign(v)
	}
	return c.certain() && !b.foreign(v)
}

// watch writes down that the agent is about to watch v, and asks for the link.
func (b *Bridge) watch(ctx context.Context, c card, p press, v upscope.Visitor, note string, profile policy.Profile) (outcome, error) {
	before := c
	if v.ShortID != c.Visitor {
		c.about.Reason, c.about.Choices = templates.ReasonChosen, nil
	}
	c.take(v)
	c.about.Unseen = false
	c.led(time.Now())
	c.about.PressedIn = browserPrint(p.browser)
	if c.who.ID != "" {
		c.about.By, c.about.ByID = c.actorName(), c.who.ID
	}
	if err := b.record(ctx, &c, before, p, note); err != nil {
		if errors.Is(err, errThrottled) && b.ledMeanwhile(ctx, c, p) {
			return outcome{}, errAgain // another process answered this press, with the last link that the agent had
		}
		b.refused(ctx, c, err)
		if errors.Is(err, errStore) {
			b.metrics.watch(watchFailed)
		} else if !errors.Is(err, errAgain) {
			b.metrics.watch(watchRefused)
		}
		return outcome{}, err
	}
	location, err := b.mint(ctx, c, v, profile)
	if err != nil {
		b.metrics.watch(watchFailed)
		if c = b.takeBack(ctx, c, before, v, err); c.ID == "" {
			return outcome{}, errClosed // erased meanwhile
		}
		if errors.Is(err, upscope.ErrNotFound) {
			return b.pageInstead(b.followVisitor(ctx, c, p, false))
		}
		return outcome{}, err
	}
	if err := b.shareNews(ctx, c, func(shared *card) {
		shared.led(time.Now())
		shared.about.By = c.about.Agent.Name
	}); err != nil {
		b.log.WarnContext(ctx, "shared card not marked as opened", "card", c.about.Shared, "err", err)
	}
	b.metrics.watch(watchLed)
	return outcome{address: location}, nil
}

// ledMeanwhile reports whether the same press was answered since the card was read.
func (b *Bridge) ledMeanwhile(ctx context.Context, c card, p press) bool {
	now, err := b.card(ctx, c.ID)
	now.who = c.who
	return err == nil && now.ledJustNow(p.browser, time.Now())
}

// pageInstead is the outcome of a press that opens nothing.
func (b *Bridge) pageInstead(page templates.Page, err error) (outcome, error) {
	return outcome{page: page}, err
}

// record writes down who is about to watch whom, in one transaction with what
// allows it, that the card is still what was read and the door the browser's, and
// with what the card then shows: if this process died now, the look at Upscope's
// sessions would find out what came of it.
func (b *Bridge) record(ctx context.Context, c *card, before card, p press, note string) error {
	if seen := before.about.Sighting; seen == nil || c.Visitor != before.Visitor || seen.Identity != c.about.Sighting.Identity {
		c.about.Subjects = b.subjects.add(c.about.Subjects, c.persons())
	}
	row, err := c.row()
	if err != nil {
		return err
	}
	change := store.Change{
		Spend: b.watchTries(*c),
		Card:  row,
		Audit: []store.Entry{b.entry(*c, "watching", "by "+joined(", ", string(c.about.Reason), note, c.forWhom(), p.provenance()))},
	}
	if !b.signsIn() {
		change.Claim = c.claim(p.browser)
	}
	if !c.looksLike(before) {
		b.follow(c, before, &change)
		row.DoorUntil = c.DoorUntil
	}
	// The agent waits for this commit, and not for what their card says.
	jobs := change.Jobs
	change.Jobs = nil
	if err := b.commitPress(ctx, change); err != nil {
		return err
	}
	c.Version = row.Version
	b.workSoon(ctx, jobs)
	return nil
}

// commitPress commits what a press spends and whose door it claims, with its record.
func (b *Bridge) commitPress(ctx context.Context, change store.Change) error {
	err := b.store.Commit(ctx, change)
	switch {
	case errors.Is(err, store.ErrConflict):
		return fmt.Errorf("%w: %w", errAgain, err)
	case errors.Is(err, store.ErrTaken):
		return errElsewhere
	}
	return b.limits.judged(err)
}

// provenance says for the audit log where the agent came from, and whether they saw the page
// about the visitor first.
func (p press) provenance() string {
	if p.straight {
		return "from " + string(p.from) + ", no page seen"
	}
	return "from " + string(p.from) + ", page seen"
}

// claim makes the door that of a browser.
func (c *card) claim(browser string) *store.Claim {
	return &store.Claim{
		Card: c.ID, Version: c.Version, Generation: c.Generation, Agent: c.Agent, Browser: browser,
		Renewed: c.renewed(), Until: time.Now().Add(browserLife),
	}
}

// forWhom says for the record whose card it is, where that is not who acts.
func (c *card) forWhom() string {
	if c.actor() == c.Agent {
		return ""
	}
	return "card of " + c.Agent
}

// watchTries are what a watch link counts against.
func (b *Bridge) watchTries(c card) []store.Spending {
	return []store.Spending{{Limit: b.budgets.watches, Subject: c.actor()}}
}

// takeBack undoes what record wrote of the card, since no watch link came, and
// writes down that it did not. It returns the card as it then is.
func (b *Bridge) takeBack(ctx context.Context, c, before card, v upscope.Visitor, cause error) card {
	after, err := b.revise(ctx, c.ID, func(now *card) []store.Entry {
		switch {
		case !now.about.Pressed.Equal(c.about.Pressed): // somebody pressed again
		case len(now.running()) > 0: // the link was made after all, and used
		default:
			now.about.Pressed, now.Awaited = before.about.Pressed, before.Awaited
			now.about.By, now.about.ByID, now.about.PressedIn = before.about.By, before.about.ByID, before.about.PressedIn
			if before.state() != c.state() {
				now.notLed()
			}
			if now.Visitor == v.ShortID {
				now.saw(v)
			}
		}
		return []store.Entry{b.entry(c, "not opened", cause.Error())}
	})
	if err != nil {
		// That the agent was about to watch is on record; the card lapses.
		b.log.ErrorContext(ctx, "outcome not recorded", "card", c.ID, "err", err)
		return c
	}
	after.who = c.who
	return after
}

// errSeveral means that more than one visitor fits the clue that led to the card's visitor.
var errSeveral = errors.New("several visitors fit")

// lookBefore reads the visitor, and makes sure that the agent still serves the chat: by the
// chat service's word or else, once all else is known, by the deliveries. Whether they do
// decides before anything that Upscope says. The note is for the audit log.
func (b *Bridge) lookBefore(ctx context.Context, c card, p press) (v upscope.Visitor, note string, err error) {
	of, err := b.served(ctx, c)
	if err != nil {
		return v, "", err
	}
	var reading sync.WaitGroup
	reading.Go(func() { v, err = b.meant(ctx, c, p) })
	confirmed, refused := b.confirm(ctx, c, of)
	reading.Wait()
	if refused == nil && !confirmed {
		refused = b.stillServes(ctx, c, of)
		if b.connectors[of.Connector].Serving != nil {
			note = "chat not confirmed"
		}
	}
	return v, note, cmp.Or(refused, err)
}

// meant reads from Upscope, and from no cache, who is behind a press now. If an integration
// id or a unique id led to the card's visitor, it searches by that, in the place of a read by
// short id: the search also shows whether another visitor has the id now. A visitor whom the
// agent chose, or who was found by a code or an e-mail address, is read by short id.
func (b *Bridge) meant(ctx context.Context, c card, p press) (upscope.Visitor, error) {
	b.finder.forget(c.about.Clues, p.visitor)
	finder := b.finder.fresh()
	clues := c.about.Clues.only(c.about.Reason)
	if clues.Empty() || p.chosen {
		return finder.visitor(ctx, p.visitor)
	}
	m, err := finder.find(ctx, clues)
	switch {
	case err != nil:
		return upscope.Visitor{}, err
	case m.Sure:
		return m.Visitors[0], nil
	case !online(m.Visitors):
		// People leave records behind that are offline. The card's own is as good as any.
		if i := slices.IndexFunc(m.Visitors, func(v upscope.Visitor) bool { return v.ShortID == p.visitor }); i >= 0 {
			return m.Visitors[i], nil
		}
		return upscope.Visitor{}, upscope.ErrNotFound
	}
	return upscope.Visitor{}, errSeveral
}

// confirm asks the chat service whether the agent of a card still serves the chat, whose own
// card is of. A service that does not answer must not stop a session: then it is not
// confirmed, and stillServes decides. A card that is about no chat needs no confirmation.
func (b *Bridge) confirm(ctx context.Context, c, of card) (confirmed bool, refused error) {
	if of.about.Asked {
		return true, nil
	}
	serving := b.connectors[of.Connector].Serving
	if serving == nil {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, servingWait)
	defer cancel()
	agent, open, err := serving(ctx, of.conversation())
	switch {
	case err != nil:
		b.log.WarnContext(ctx, "chat service did not say who serves the chat", "connector", of.Connector, "card", c.ID, "err", err)
		return false, nil
	case !open:
		return true, errClosed
	case !c.serves(of, agent):
		return true, errMoved
	}
	return true, nil
}

// stillServes refuses a press if a delivery that was acknowledged, and waits to be worked
// on, says that the chat of the card is over or has another agent. What came before the
// present conversation began is about an earlier one, and a hand-over that came before the
// last one that was worked on is out of date.
func (b *Bridge) stillServes(ctx context.Context, c, of card) error {
	changes, err := b.store.PendingChanges(ctx, of.Connector, of.conversation())
	if err != nil {
		return storeFault(err)
	}
	var refused error
	for _, change := range changes {
		switch {
		case change.Received.Before(of.about.Heard):
		case change.Closed:
			return errClosed
		case !change.Received.After(of.about.HandedOver):
		case c.serves(of, change.Agent):
			refused = nil // it came back
		default:
			refused = errMoved
		}
	}
	return refused
}

// serves reports whether the card is that of the agent with this id in the chat service of
// the card of the conversation. Who pressed a card that several people see need not serve
// the chat.
func (c *card) serves(of card, agent string) bool {
	return c.about.Shared != "" || agentID(of.Connector, Agent{ID: agent}) == c.Agent
}

// followVisitor searches again by the clues that last, and returns the page about what it
// found: Upscope gives a visitor a new short id after a reset, and others may fit by now.
// The page says what is not as the agent saw it.
func (b *Bridge) followVisitor(ctx context.Context, c card, p press, several bool) (templates.Page, error) {
	was := c.about.Sighting
	p.seen = c.seen(p) // as it was before the search
	if err := b.lookAgain(ctx, &c); err != nil {
		return nil, err
	}
	if c.Visitor == "" && len(c.about.Choices) == 0 {
		return nil, errGone
	}
	page, err := b.changedPage(ctx, c, p)
	page.Several = several && len(page.Visitors) > 1
	if page.Changed && was != nil && was.Identity == p.seen {
		page.Before = was.Name
	}
	return page, err
}

// showChanged shows the page of a card that is no longer as it was when the agent pressed.
func (b *Bridge) showChanged(w http.ResponseWriter, r *http.Request, c card, p press) error {
	page, err := b.changedPage(r.Context(), c, p)
	if err != nil {
		return err
	}
	return b.render(w, http.StatusOK, page)
}

// changedPage is the page of a card, which says so if it is about another person than the
// agent saw when they pressed.
func (b *Bridge) changedPage(ctx context.Context, c card, p press) (templates.Door, error) {
	page, err := b.doorPage(ctx, c)
	if err == nil && c.Visitor != "" {
		c.markChanged(&page, c.seen(p), c.identity())
	}
	return page, err
}

// markChanged has a page about one visitor say so if that is not who the agent saw.
func (c *card) markChanged(page *templates.Door, saw, is string) {
	if saw == "" || saw == is || len(page.Visitors) != 1 {
		return
	}
	page.Changed = true
	if s := c.about.Sighting; s != nil && s.Identity == saw {
		page.Before = s.Name
	}
}

// mint asks Upscope for a watch link and checks where it leads.
func (b *Bridge) mint(ctx context.Context, c card, v upscope.Visitor, how policy.Profile) (location string, err error) {
	link, err := b.upscope.Watch(ctx, v.ShortID, upscope.WatchRequest{
		Agent:       upscope.Agent{ID: c.actor(), Name: c.actorName()},
		Branding:    upscope.Branding{Naked: how.Naked, RetryURL: b.afterPage, OnEndURL: b.afterPage},
		Permissions: how.Permissions,
		Language:    how.Language,
		InitialNotes: how.Notes(policy.Values{
			Agent: c.actorName(), Connector: c.Connector, Chat: c.Chat, Reason: string(c.about.Reason),
		}),
		Metadata:   map[string]any{markName: b.doors.mark(c.ID), agentName: c.actor()},
		WebhookURL: b.origin.JoinPath("upscope", "ended", b.doors.callback(c.ID)).String(),
	})
	if errors.Is(err, upscope.ErrOverPlan) {
		b.overPlan.Store(time.Now().Add(overPlanRest).UnixMicro())
		return "", &noticeError{err, c.overPlan(v, b.hosts)}
	}
	if err != nil {
		return "", err
	}
	return link.Location(b.hosts, time.Now())
}

// overPlan offers Upscope's own link, which needs an Upscope login and is no
// secret, where the plan allows no more sessions of ours.
func (c *card) overPlan(v upscope.Visitor, hosts upscope.Hosts) templates.Notice {
	n := templates.Notice{Agent: c.actorName(), Chat: c.chatLink()}
	if hosts.Allow(v.WatchLink) {
		n.Other = templates.Link{Label: "Open in Upscope", Address: v.WatchLink}
	}
	return n
}
