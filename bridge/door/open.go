package door

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"sync"
	"time"

	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/limit"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

// servingWait is how long the chat service may take to say who serves the chat. After that the
// bridge relies on the deliveries that it has stored.
const servingWait = 2 * time.Second

// undoTime is how long a press that failed may take to change the card back. The press itself may
// have used all the time of the request.
const undoTime = 2500 * time.Millisecond

// overPlanBackoff is the pause after Upscope reports that the plan is used up. A refused request may
// still count against the plan.
const overPlanBackoff = time.Minute

// open redirects an agent to the visitor's screen. If the agent presses again within RepeatLife, they
// get the same answer, or the page if that press was for another visitor (not sameVisitor). If the
// visitor or the card is no longer as the agent saw it, open shows the page instead.
func (door *Door) open(w http.ResponseWriter, r *http.Request, c CardRequest, p press) error {
	if p.visitor == "" || p.visitor != c.Visitor && !slices.Contains(c.About.Choices, p.visitor) {
		return door.showChanged(w, r, c, p)
	}
	// The policy may have changed since the page was shown.
	decision := door.DecideForCard(c, policy.Watch)
	if !decision.Allowed {
		door.Refused(r.Context(), c, web.ErrPolicy)
		return web.ErrPolicy
	}
	if c.chatEnded {
		return web.ErrClosed
	}
	key := repeatKey{kind: "screen", card: c.ID, agent: c.actor(), browser: p.browser}
	answer, sameVisitor, err := door.repeats.deduplicate(r.Context(), key, p.visitor+"."+c.shownIdentity(p), func(ctx context.Context) (outcome, error) {
		return door.openNow(ctx, c, p, decision.Profile)
	})
	switch {
	case err != nil:
		return err
	case !sameVisitor:
		return door.showChanged(w, r, c, p)
	case answer.address == "":
		return door.web.Render(w, http.StatusOK, answer.page)
	}
	// Set the cookie again, so that it expires together with the stored browser. A second reason:
	// after an answer with a cookie, Back loads the page from the bridge and not from a cache.
	if p.browser != "" {
		door.web.SetBrowserCookie(w, p.browser)
	}
	web.RedirectWithoutReferrer(w, answer.address)
	return nil
}

// openNow returns the watch link, or a page that says why there is none. ctx is not cancelled when
// the browser closes the connection.
func (door *Door) openNow(ctx context.Context, c CardRequest, p press, profile policy.Profile) (outcome, error) {
	location, err := door.obtainLink(ctx, &c, p, profile)
	var mustShow mustShowPageError
	switch {
	case err == nil:
		return outcome{address: location}, nil
	case errors.Is(err, errAnswered):
		return door.pageInstead(door.changedPage(ctx, c, p))
	case errors.Is(err, errSeveral), errors.Is(err, errGone), errors.Is(err, upscope.ErrNotFound):
		return door.pageInstead(door.followVisitor(ctx, c, p, errors.Is(err, errSeveral)))
	case errors.As(err, &mustShow):
		page := door.visitorPage(c, mustShow.visitor)
		c.MarkChanged(&page, c.shownIdentity(p), card.Identity(mustShow.visitor))
		return outcome{page: page}, nil
	}
	return outcome{}, err
}

// The errors of obtainLink that openNow answers with a page.
var (
	// errAnswered means that another process answered the same press. Only that process has the link.
	errAnswered = errors.New("the press was answered already")
	// errSeveral means that several visitors match the clue that led to the card's visitor.
	errSeveral = errors.New("several visitors match")
	// errGone means that the visitor is offline or has another short id now.
	errGone = errors.New("the visitor is gone")
)

// A mustShowPageError means that the agent must see the page before the screen: the visitor is offline
// or another person, or mayGoStraight forbids to skip the page.
type mustShowPageError struct{ visitor upscope.Visitor }

func (mustShowPageError) Error() string { return "the agent has not seen the visitor as they are now" }

// obtainLink does the steps of a press and returns the watch link, which is never written to the
// store. If it fails after it stored the card, c has the card's new version.
func (door *Door) obtainLink(ctx context.Context, c *CardRequest, p press, profile policy.Profile) (location string, err error) {
	if c.OpenedJustNow(c.actor(), web.BrowserHash(p.browser), time.Now()) {
		return "", errAnswered
	}
	if err := door.checkLimits(*c); err != nil {
		return "", err
	}
	v, note, err := door.checkBeforePress(ctx, *c, p)
	if err != nil {
		door.Refused(ctx, *c, err)
		return "", door.countFault(err)
	}
	if err := door.checkVisitor(*c, p, v); err != nil {
		return "", err
	}
	if time.Now().Before(time.UnixMicro(door.overPlanUntil.Load())) {
		return "", door.countFault(web.WithNotice(upscope.ErrOverPlan, c.overPlanNotice(v, door.hosts)))
	}
	before := c.Card
	c.markPressed(p, v)
	if err := door.storePress(ctx, c, before, p, note); err != nil {
		return "", door.countFailedPress(ctx, *c, p, err)
	}
	if location, err = door.requestLink(ctx, *c, v, profile); err != nil {
		return "", door.undoPress(ctx, c, before, v, err)
	}
	door.markShared(ctx, *c)
	door.metrics.Watch(metrics.WatchOpened)
	found := before.About.Found
	if !before.About.Pressed.IsZero() {
		found = time.Time{} // an agent had pressed before
	}
	door.metrics.CardStep(c.ChatConnector(), metrics.StepOpened, found, c.About.Pressed)
	door.log.LogAttrs(ctx, slog.LevelInfo, "watch link opened", slog.String("connector", c.Connector), slog.String("card", c.ID))
	return location, nil
}

// countFault counts a press that failed before it was stored, if a service or the bridge is the cause.
// It returns err.
func (door *Door) countFault(err error) error {
	if web.IsFault(err) {
		door.metrics.Watch(metrics.WatchFailed)
	}
	return err
}

// checkLimits returns ErrThrottled if the agent has used up the limit of watch links or of look-ups.
func (door *Door) checkLimits(c CardRequest) error {
	if err := door.limits.CheckCached(door.watchSpending(c)); err != nil {
		return err
	}
	if !door.lookUps.Allow(c.actor()) {
		return web.ErrThrottled
	}
	return nil
}

// checkVisitor returns errGone or a mustShowPageError if the agent may not get to v's screen now.
func (door *Door) checkVisitor(c CardRequest, p press, v upscope.Visitor) error {
	if v.ShortID != p.visitor {
		return errGone // the visitor has another short id
	}
	if !v.IsOnline && !p.anyway {
		if !c.About.Clues.Empty() {
			return errGone // a search may find them under another short id
		}
		return mustShowPageError{v}
	}
	if c.shownIdentity(p) != card.Identity(v) {
		return mustShowPageError{v} // another person has the short id
	}
	if p.straight && !door.mayGoStraight(c, v) {
		return mustShowPageError{v}
	}
	return nil
}

// mayGoStraight reports whether an agent who has not seen the page may get to v's screen.
func (door *Door) mayGoStraight(c CardRequest, v upscope.Visitor) bool {
	if v.IsInSession {
		return c.IsWatching(c.actor(), v, time.Now()) && !door.onOtherSite(v)
	}
	return c.Certain() && !door.onOtherSite(v)
}

// markPressed records in the card that an agent opens v's screen now.
func (c *CardRequest) markPressed(p press, v upscope.Visitor) {
	if v.ShortID != c.Visitor {
		c.About.Reason, c.About.Choices = templates.ReasonChosen, nil
	}
	c.SetVisitor(v)
	c.About.NotYetShown = false
	c.MarkOpened(time.Now())
	c.About.PressedIn = web.BrowserHash(p.browser)
	if c.Who.ID != "" {
		c.About.By, c.About.ByID = c.actorName(), c.Who.ID
	}
}

// markShared records on the shared card, if there is one, which agent opened the screen.
func (door *Door) markShared(ctx context.Context, c CardRequest) {
	if err := door.book.UpdateShared(ctx, c.Card, func(shared *card.Card) {
		shared.MarkOpened(time.Now())
		shared.About.By = c.About.Agent.Name
	}); err != nil {
		door.log.WarnContext(ctx, "shared card not marked as opened", "card", c.About.SharedCard, "err", err)
	}
}

// countFailedPress counts a press for which storePress failed, and returns the error to answer with.
func (door *Door) countFailedPress(ctx context.Context, c CardRequest, p press, err error) error {
	if errors.Is(err, web.ErrThrottled) && door.openedMeanwhile(ctx, c, p) {
		return web.ErrAgain // another process answered this press and used up the limit; now obtainLink returns errAnswered
	}
	door.Refused(ctx, c, err)
	if errors.Is(err, web.ErrStore) {
		door.metrics.Watch(metrics.WatchFailed)
	} else if !errors.Is(err, web.ErrAgain) {
		door.metrics.Watch(metrics.WatchRefused)
	}
	return err
}

// openedMeanwhile reports whether the same press was answered since the card was read.
func (door *Door) openedMeanwhile(ctx context.Context, c CardRequest, p press) bool {
	now, err := door.book.Card(ctx, c.ID)
	return err == nil && now.OpenedJustNow(c.actor(), web.BrowserHash(p.browser), time.Now())
}

// pageInstead returns the outcome of a press that is answered with a page.
func (door *Door) pageInstead(page templates.Page, err error) (outcome, error) {
	return outcome{page: page}, err
}

// storePress writes the audit entry "watching". The same transaction checks the limit, fails if the
// card changed, ties the card to the agent's browser, and stores the card as opened. If this process
// dies after that, the poll of sessions finds out whether a session began.
func (door *Door) storePress(ctx context.Context, c *CardRequest, before card.Card, p press, note string) error {
	sighting := before.About.Sighting
	newPerson := sighting == nil || c.Visitor != before.Visitor || sighting.Identity != c.About.Sighting.Identity
	if newPerson {
		door.book.Subjects.Update(&c.Card)
	}
	change := store.Change{
		Spend: door.watchSpending(*c),
		Audit: []audit.Entry{door.auditEntry(*c, "watching", "by "+card.JoinNonEmpty(", ", string(c.About.Reason), note, c.OwnerNote(c.actor()), p.provenance()))},
	}
	if !door.web.SignsIn() {
		change.Claim = c.claim(p.browser)
	}
	if !c.SameToPeople(before) {
		door.book.ScheduleEffects(&c.Card, before, &change)
	}
	row, err := c.Row()
	if err != nil {
		return err
	}
	// Store the jobs outside this transaction: the agent waits for it, and posts can be updated later.
	later := change.Jobs
	change.Card, change.Jobs = row, nil
	if err := door.commitPress(ctx, change); err != nil {
		return err
	}
	c.Version = row.Version
	door.work.WorkSoon(ctx, later)
	return nil
}

// commitPress commits the change of a press. Its error is ErrAgain, ErrOtherBrowser, ErrThrottled
// or ErrStore.
func (door *Door) commitPress(ctx context.Context, change store.Change) error {
	err := door.store.Commit(ctx, change)
	switch {
	case errors.Is(err, store.ErrConflict):
		return fmt.Errorf("%w: %w", web.ErrAgain, err)
	case errors.Is(err, store.ErrTaken):
		return web.ErrOtherBrowser
	}
	return door.limits.FromStore(err)
}

// watchSpending returns the limits against which a watch link counts.
func (door *Door) watchSpending(c CardRequest) []limit.Spending {
	return []limit.Spending{{Limit: door.budgets.Watches, Subject: c.actor()}}
}

// undoPress undoes what storePress changed in the card, since Upscope gave no watch link, and writes an
// audit entry. It returns cause, or ErrClosed if the card was erased meanwhile.
func (door *Door) undoPress(ctx context.Context, c *CardRequest, before card.Card, v upscope.Visitor, cause error) error {
	door.metrics.Watch(metrics.WatchFailed)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTime)
	defer cancel()
	after, err := door.book.Revise(ctx, c.ID, func(now *card.Card) []audit.Entry {
		switch {
		case !now.About.Pressed.Equal(c.About.Pressed): // an agent pressed again
		case len(now.VisitorsInSession()) > 0: // the link was made after all, and used
		default:
			now.About.Pressed, now.NextCheck = before.About.Pressed, before.NextCheck
			now.About.By, now.About.ByID, now.About.PressedIn = before.About.By, before.About.ByID, before.About.PressedIn
			if before.CurrentState() != c.CurrentState() {
				now.UnmarkOpened()
			}
			if now.Visitor == v.ShortID {
				now.UpdatePresence(v)
			}
		}
		return []audit.Entry{door.auditEntry(*c, "not opened", cause.Error())}
	})
	if err != nil {
		// The audit log keeps the entry "watching". Card.Expire resets the card after UnusedLinkLife.
		door.log.ErrorContext(ctx, "failed press not recorded", "card", c.ID, "err", err,
			"effect", "the audit log has watching without not opened; the card is corrected later")
		return cause
	}
	if after.ID == "" {
		return web.ErrClosed // erased meanwhile
	}
	c.Card = after
	return cause
}

// checkBeforePress reads the visitor and checks at the same time that the agent still serves the
// chat. It asks the chat service, or reads the pending deliveries if the service does not answer. An
// error about the agent takes precedence over one of Upscope. note is for the audit log.
func (door *Door) checkBeforePress(ctx context.Context, c CardRequest, p press) (v upscope.Visitor, note string, err error) {
	conversation, err := door.book.ConversationCard(ctx, c.Card)
	if err != nil {
		return v, "", err
	}
	var confirmed bool
	var refused error
	var asking sync.WaitGroup // the new goroutine gets this part, which needs little stack
	asking.Go(func() { confirmed, refused = door.confirmServing(ctx, c.Card, conversation) })
	v, err = door.readVisitor(ctx, c.Card, p)
	asking.Wait()
	if refused == nil && !confirmed {
		refused = door.checkPendingChanges(ctx, c.Card, conversation)
		if door.connectors[conversation.Connector].Serving != nil {
			note = "chat not confirmed"
		}
	}
	return v, note, cmp.Or(refused, err)
}

// readVisitor reads the visitor of a press from Upscope. It does not use the caches. If an
// integration id or a unique id led to the card's visitor, it searches by that id, and so notices if
// another visitor has the id now. A visitor whom the agent chose, or who was found by a lookup code
// or an e-mail address, is read by short id.
func (door *Door) readVisitor(ctx context.Context, c card.Card, p press) (upscope.Visitor, error) {
	door.matcher.Finder.Forget(c.About.Clues, p.visitor) // so that later reads ask Upscope too
	finder := door.matcher.Finder.Fresh()
	clues := card.CluesBehind(c.About.Reason, c.About.Clues)
	if clues.Empty() || p.chosen {
		return finder.Visitor(ctx, p.visitor)
	}
	m, err := finder.Find(ctx, clues)
	switch {
	case err != nil:
		return upscope.Visitor{}, err
	case m.OneTrusted:
		return m.Visitors[0], nil
	case !card.AnyOnline(m.Visitors):
		// For example after the visitor deleted their cookies. Use the match that is the card's visitor.
		if i := slices.IndexFunc(m.Visitors, func(v upscope.Visitor) bool { return v.ShortID == p.visitor }); i >= 0 {
			return m.Visitors[i], nil
		}
		return upscope.Visitor{}, upscope.ErrNotFound
	}
	return upscope.Visitor{}, errSeveral
}

// confirmServing asks the chat service whether c's agent still serves the chat. conversation is the
// card of that chat. If the service does not answer, confirmed is false and the caller uses
// checkPendingChanges, so that an outage prevents no sessions. A card that was made by a look-up has
// no chat and is confirmed.
func (door *Door) confirmServing(ctx context.Context, c, conversation card.Card) (confirmed bool, refused error) {
	if conversation.Kind == store.KindLookUp {
		return true, nil
	}
	serving := door.connectors[conversation.Connector].Serving
	if serving == nil {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, servingWait)
	defer cancel()
	agent, open, err := serving(ctx, conversation.Chat)
	switch {
	case err != nil:
		door.log.WarnContext(ctx, "agent of the chat not confirmed", "connector", conversation.Connector, "card", c.ID, "err", err)
		return false, nil
	case !open:
		return true, web.ErrClosed
	case !c.Serves(conversation, agent):
		return true, web.ErrMoved
	}
	return true, nil
}

// checkPendingChanges returns ErrClosed or ErrMoved if a stored delivery that is not handled yet
// closes the chat or gives it to another agent. A later delivery does not cancel an earlier one,
// because deliveries may arrive in any order.
func (door *Door) checkPendingChanges(ctx context.Context, c, conversation card.Card) error {
	changes, err := door.store.PendingChanges(ctx, conversation.Connector, conversation.Chat)
	if err != nil {
		return web.StoreFault(err)
	}
	for _, change := range changes {
		switch {
		case change.Received.Before(conversation.About.StartHeard): // about an earlier conversation
		case change.Closed:
			return web.ErrClosed
		case !change.Received.After(conversation.About.HandedOver): // older than the last handled hand-over
		case !c.Serves(conversation, change.Agent):
			return web.ErrMoved
		}
	}
	return nil
}

// followVisitor searches again by the clues that do not change (all but the lookup code) and returns
// the page with the result. Upscope gives a visitor a new short id after a reset, and other visitors
// may match by now. The page says what has changed since the agent pressed.
func (door *Door) followVisitor(ctx context.Context, c CardRequest, p press, several bool) (templates.Page, error) {
	previous := c.About.Sighting
	p.shown = c.shownIdentity(p) // as it was before the search
	if err := door.lookAgain(ctx, &c); err != nil {
		return nil, err
	}
	if c.Visitor == "" && len(c.About.Choices) == 0 {
		return nil, web.ErrGone
	}
	page, err := door.changedPage(ctx, c, p)
	page.Several = several && len(page.Visitors) > 1
	if page.OtherPerson && previous != nil && previous.Identity == p.shown {
		page.PreviousName = previous.Name
	}
	return page, err
}

// showChanged shows the page of a card that has changed since the agent pressed.
func (door *Door) showChanged(w http.ResponseWriter, r *http.Request, c CardRequest, p press) error {
	page, err := door.changedPage(r.Context(), c, p)
	if err != nil {
		return err
	}
	return door.web.Render(w, http.StatusOK, page)
}

// changedPage returns the page of a card. The page says if the visitor is not the person whom the
// agent saw when pressing.
func (door *Door) changedPage(ctx context.Context, c CardRequest, p press) (templates.Door, error) {
	page, err := door.coBrowsePage(ctx, c)
	if err == nil && c.Visitor != "" {
		c.MarkChanged(&page, c.shownIdentity(p), c.VisitorIdentity())
	}
	return page, err
}

// retryPage returns the address that Upscope offers if the session does not start, or "". Upscope may
// show it to the visitor, so it holds no secret; only an agent who signs in gets further.
func (door *Door) retryPage(c CardRequest) string {
	if !door.web.SignsIn() {
		return "" // an agent's link is secret, so nothing could lead back to the card
	}
	return door.afterPage + "/" + c.ID
}

// requestLink asks Upscope for a watch link and checks where it leads.
func (door *Door) requestLink(ctx context.Context, c CardRequest, v upscope.Visitor, profile policy.Profile) (location string, err error) {
	link, err := door.upscope.Watch(ctx, v.ShortID, upscope.WatchRequest{
		Agent:       upscope.Agent{ID: c.actor(), Name: c.actorName()},
		Branding:    upscope.Branding{Naked: profile.Naked, RetryURL: door.retryPage(c), OnEndURL: door.afterPage},
		Permissions: profile.Permissions,
		Language:    profile.Language,
		InitialNotes: profile.Notes(policy.Values{
			Agent: c.actorName(), Connector: c.Connector, Chat: c.Chat, Reason: string(c.About.Reason),
		}),
		Metadata:   map[string]any{card.MetadataCard: door.book.Doors.Mark(c.ID), card.MetadataAgent: c.actor()},
		WebhookURL: door.origin.JoinPath("upscope", "ended", door.book.Doors.Callback(c.ID)).String(),
	})
	if errors.Is(err, upscope.ErrOverPlan) {
		door.overPlanUntil.Store(time.Now().Add(overPlanBackoff).UnixMicro())
		return "", web.WithNotice(err, c.overPlanNotice(v, door.hosts))
	}
	if err != nil {
		return "", err
	}
	return link.Location(door.hosts, time.Now())
}

// overPlanNotice returns a notice for the agent with Upscope's own watch link, since the plan allows
// the bridge no more sessions. That link needs an Upscope login and is no secret.
func (c *CardRequest) overPlanNotice(v upscope.Visitor, hosts upscope.Hosts) templates.Notice {
	n := templates.Notice{Agent: c.actorName(), Chat: c.ChatLink()}
	if hosts.Allow(v.WatchLink) {
		n.Other = templates.Link{Address: v.WatchLink}
	}
	return n
}
