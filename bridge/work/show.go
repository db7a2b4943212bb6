package work

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/templates"
)

// leaseLife is how long a worker may take to show a card at one place before another may try. It is
// longer than a job can run, so that two workers never post at the same time.
const leaseLife = time.Minute

// show updates every post of a card at the connector's places. It does nothing for a post that is
// up to date, so it may run twice.
func (work *Worker) show(ctx context.Context, conn chat.Connector, cardID string) error {
	if conn.Show == nil {
		return chat.Permanent(fmt.Errorf("connector %s shows no cards", conn.Name))
	}
	posts, err := work.store.Posts(ctx, cardID)
	if err != nil {
		return err
	}
	// A place that fails for good must not end the job for the other places. A place that
	// another worker holds must not make the job run sooner than a service has asked for.
	var temporary, held, permanent []error
	for _, p := range posts {
		if p.Place.Connector != conn.Name {
			continue
		}
		switch err := work.showAt(ctx, conn, cardID, p.Place); {
		case err == nil:
		case errors.Is(err, web.ErrAgain):
			held = append(held, err)
		case chat.IsPermanent(err):
			permanent = append(permanent, err)
		default:
			temporary = append(temporary, err)
		}
	}
	for _, errs := range [][]error{temporary, held, permanent} {
		if len(errs) > 0 {
			return errors.Join(errs...)
		}
	}
	return nil
}

func (work *Worker) showAt(ctx context.Context, conn chat.Connector, cardID string, place store.Place) (err error) {
	shown, err := work.store.LeasePost(ctx, cardID, place, time.Now().Add(leaseLife))
	if err != nil {
		if errors.Is(err, store.ErrLeased) {
			return fmt.Errorf("%w: %w", web.ErrAgain, err)
		}
		return err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, work.store.ReleasePost(context.WithoutCancel(ctx), cardID, place))
		}
	}()
	// The card is read under the lease, so no other worker can show a later version meanwhile.
	c, p, other, err := work.readPost(ctx, cardID, place)
	if err != nil {
		return err
	}
	last, ref := splitRef(p.Ref)
	text, err := work.postText(c, p)
	if err != nil {
		return err
	}
	text.Ref, p.Shown = ref, shown
	sum, now := cardPrint(text), summaryOf(c, p, text)
	unwanted := p.Shown == "" && (!p.Current || !c.Visible())
	if unwanted || p.Shown == sum || conn.CannotEdit && !now.isNews(last, p.Shown) {
		return work.store.SavePost(ctx, p)
	}
	if conn.CannotEdit {
		text.Key = now.key(c.ID, ref)
	}
	ref, err = work.post(ctx, conn, chat.Place(place), text)
	if err != nil {
		return err
	}
	p.Ref, p.Shown = string(ref), sum
	if conn.CannotEdit {
		p.Ref = joinRef(now, ref)
	}
	if err := work.store.SavePost(ctx, p); err != nil {
		return err
	}
	if shown == "" && !other && c.Kind != store.KindPress {
		work.metrics.CardStep(c.Connector, metrics.StepShown, c.About.Found, time.Now())
	}
	work.log.InfoContext(ctx, "card shown", "connector", conn.Name, "card", c.ID, "state", c.State, "agent", c.Agent)
	return nil
}

// readPost reads a card and its post at a place. other says that the card was shown at another place.
func (work *Worker) readPost(ctx context.Context, cardID string, place store.Place) (c card.Card, post store.Post, other bool, err error) {
	row, err := work.store.Card(ctx, cardID)
	if err != nil {
		return c, post, false, err
	}
	if c, err = card.Open(row); err != nil {
		return c, post, false, err
	}
	posts, err := work.store.Posts(ctx, cardID)
	if err != nil {
		return c, post, false, err
	}
	found := false
	for _, p := range posts {
		if p.Place == place {
			post, found = p, true
		} else if p.Shown != "" {
			other = true
		}
	}
	if found {
		return c, post, other, nil
	}
	return c, post, false, fmt.Errorf("the record of where card %s was posted: %w", cardID, store.ErrNotFound)
}

// post has a connector show a card at a place. It fails for a card with a button at a place where
// the bridge could not tell which agent presses. It removes addresses that are one agent's secret
// if several people see the place.
func (work *Worker) post(ctx context.Context, conn chat.Connector, at chat.Place, c chat.Card) (chat.Ref, error) {
	c.Key = cmp.Or(c.Key, c.ID)
	if c.Button != (chat.Link{}) {
		if err := chat.CheckPlace(work.connectors, conn.Name, at, work.web.SignsIn()); err != nil {
			return "", chat.Permanent(fmt.Errorf("card not shown: %w", err))
		}
	}
	if conn.IsShared(at.Address) && !c.Public {
		c.Button.Address, c.More = "", nil
	}
	return conn.Show(ctx, at, c)
}

// cardPrint returns a hash of all that people see of a card.
func cardPrint(c chat.Card) string {
	c.Ref = ""
	h := sha256.New()
	fmt.Fprintf(h, "%#v", c)
	return hex.EncodeToString(h.Sum(nil)[:16])
}

// postText returns the card as text for one of its posts. A post to an agent who no longer serves
// the chat says so and has no button.
func (work *Worker) postText(c card.Card, p store.Post) (chat.Card, error) {
	if !p.Current {
		moved := templates.Card{State: templates.StateMoved, Customer: c.Name(), To: c.About.Agent.Name}
		shown := plain(moved.Text())
		shown.ID = c.ID
		return shown, nil
	}
	return work.cardText(c, c.State)
}

// cardText returns the card as text for its agent, as if it were in state.
func (work *Worker) cardText(c card.Card, state string) (chat.Card, error) {
	text := templates.Card{
		State: state, Customer: c.Name(), Agent: cmp.Or(c.About.By, c.About.Agent.Name),
		Reason: c.About.Reason, Found: len(c.About.Choices), Personal: c.Kind == store.KindPress,
		Asked: c.LookedUp(), ByCode: c.About.Clues.Empty(), Withheld: c.About.Withheld,
	}
	if c.Kind == store.KindChat && c.CurrentState() != card.Closed && work.book.IsShared(c.About.Place) {
		text.Owner = c.About.Agent.Name
	}
	if s := c.About.Sighting; s != nil {
		text.Page, text.Where, text.Device = s.Page, s.Where, s.Device
	}
	for _, s := range c.About.Sessions {
		text.Sessions = append(text.Sessions, s.Words())
	}
	words := text.Text()
	shown := plain(words)
	shown.ID, shown.Public = c.ID, work.web.SignsIn()
	if c.About.ChatURL != "" {
		shown.Chat = chat.Link{Label: templates.OpenChatLabel, Address: c.About.ChatURL}
	}
	switch {
	case words.Button == "":
	case work.book.IsShared(c.About.Place) && !work.web.SignsIn():
		shown.Button.Label = words.Button
	default:
		address, err := work.book.DoorAddress(c.Card)
		if err != nil {
			return chat.Card{}, err
		}
		shown.Button = chat.Link{Label: words.Button, Address: address}
		if words.Stop != "" {
			shown.More = append(shown.More, chat.Link{Label: words.Stop, Address: address + web.StopPage})
		}
		if work.book.HasChatLink(c) {
			shown.More = append(shown.More, chat.Link{Label: templates.OpenChatLabel, Address: address + web.ChatPage})
		}
	}
	for i, s := range c.About.Sessions {
		if s.Recording == "" || !work.hosts.Allow(s.Recording) {
			continue
		}
		number := 0
		if len(c.About.Sessions) > 1 {
			number = i + 1
		}
		shown.More = append(shown.More, chat.Link{Label: templates.RecordingLabel(number), Address: s.Recording})
	}
	return shown, nil
}

// plain returns a text as a chat card without buttons.
func plain(text templates.CardText) chat.Card {
	c := chat.Card{Title: text.Title}
	for _, l := range text.Lines {
		c.Lines = append(c.Lines, chat.Line(l))
	}
	return c
}

// A connector that cannot edit posts a card again if the agent has something new to act on, and not
// at each change. That depends on the last post:
//
//	the card now                     posted again if the last post says
//	ready                            choose, offline, not found, failed or moved
//	choose                           ready, offline, not found, failed or moved
//	live                             anything else
//	ended, closed                    anything else, or fewer sessions that are over
//	moved to another agent           anything else
//	offline, not found, failed       moved
//	opened, searching                moved
//	any, with another address        an older address, which no longer opens
//
// So the card is not posted again if the visitor goes offline, comes back or opens another page, or
// for a rating or a note. The button of the last post leads to a page with the present state.

// A summary is what the agent can act on in one post of a card.
type summary struct {
	state        string // of the card, or templates.StateMoved
	sessionsOver int    // how many of its sessions are over
	door         string // a hash of the button's address; empty without one
}

// summaryOf returns the summary of a post with this text.
func summaryOf(c card.Card, p store.Post, text chat.Card) summary {
	s := summary{state: c.State}
	if !p.Current {
		s.state = templates.StateMoved
	}
	for _, session := range c.About.Sessions {
		if session.Over() {
			s.sessionsOver++
		}
	}
	if text.Button.Address != "" {
		s.door = shortPrint(text.Button.Address)
	}
	return s
}

// isNews reports whether s is to be posted after a post with summary last, which is zero if there
// was none. shown is Post.Shown of the last post. If it is PerhapsShown, a post since then may have
// reached the agent, so s is posted even if it equals last.
func (s summary) isNews(last summary, shown string) bool {
	switch {
	case last == summary{}:
		return true
	case s.state == last.state && shown == store.PerhapsShown:
		return true
	case s.door != "" && last.door != "" && s.door != last.door:
		return true
	}
	switch s.state {
	case string(card.Ended), string(card.Closed):
		return s.state != last.state || s.sessionsOver > last.sessionsOver
	case string(card.Live), templates.StateMoved:
		return s.state != last.state
	case string(card.Ready), string(card.Choose):
		return s.state != last.state && last.isBeforePress() || last.state == templates.StateMoved
	}
	return last.state == templates.StateMoved
}

// isBeforePress reports whether s is of an open chat without a session.
func (s summary) isBeforePress() bool {
	switch card.State(s.state) {
	case card.Ready, card.Choose, card.Offline, card.NoVisitor, card.Failed:
		return true
	}
	return false
}

// key returns Card.Key for a post of s that comes after the post ref.
func (s summary) key(cardID string, ref chat.Ref) string {
	return cardID + "." + shortPrint(s.String()+" "+string(ref))
}

// String returns s in one line; splitRef parses it.
func (s summary) String() string { return fmt.Sprintf("%s %d %s", s.state, s.sessionsOver, s.door) }

// summaryMark is the start of the stored Ref of a post that cannot be edited.
const summaryMark = "said\x00"

// joinRef returns the Ref to store for a post: its summary and the connector's ref. Both belong to
// the last post that was certainly made; later attempts do not change them.
func joinRef(s summary, ref chat.Ref) string { return summaryMark + s.String() + "\x00" + string(ref) }

// splitRef splits a stored Ref. The summary of a post that can be edited is zero.
func splitRef(stored string) (last summary, ref chat.Ref) {
	rest, ok := strings.CutPrefix(stored, summaryMark)
	text, name, _ := strings.Cut(rest, "\x00")
	if !ok {
		return summary{}, chat.Ref(stored)
	}
	_, _ = fmt.Sscanf(text, "%s %d %s", &last.state, &last.sessionsOver, &last.door)
	return last, chat.Ref(name)
}

func shortPrint(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:8])
}
