// Package book reads and writes the cards in the store, together with the posts, jobs and
// audit entries that a change requires. Read cards.go first.
package book

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/google/uuid"

	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/store/refreshes"
	"cobrowse-bridge/bridge/web"
)

// A Book reads and writes the cards in the store. The book is the set of all cards.
type Book struct {
	Doors    DoorKeys    // the keys of the cards' secret addresses
	Subjects SubjectKeys // the keys of the hashes of people's ids

	origin     *url.URL
	store      *store.Store
	connectors map[string]chat.Connector
	doorLife   time.Duration
	metrics    *metrics.Metrics
	log        *slog.Logger
}

// Config is what New needs. Every field is required. Doors and Subjects are as in Book.
type Config struct {
	// Origin is the public address: scheme and host, no path.
	Origin     *url.URL
	Store      *store.Store
	Connectors map[string]chat.Connector
	Doors      DoorKeys
	Subjects   SubjectKeys
	// DoorLife is how long a card's address works after the card was last shown.
	DoorLife time.Duration
	Metrics  *metrics.Metrics
	Log      *slog.Logger
}

// New returns a Book.
func New(c Config) *Book {
	return &Book{Doors: c.Doors, Subjects: c.Subjects, origin: c.Origin, store: c.Store, connectors: c.Connectors, doorLife: c.DoorLife, metrics: c.Metrics, log: c.Log}
}

// CardOfChat returns the card of the latest conversation (episode) of a chat. If the chat has
// none, it returns a new card that is not stored yet.
func (book *Book) CardOfChat(ctx context.Context, connector string, kind store.Kind, chatID string) (card.Card, error) {
	row, err := book.store.CardOfChat(ctx, connector, kind, chatID)
	if err == nil {
		return card.Open(row)
	}
	if !errors.Is(err, store.ErrNotFound) {
		return card.Card{}, err
	}
	c, err := book.NewCard(connector, kind)
	c.Chat = chatID
	return c, err
}

// NewCard returns a new card with an id. It does not store it.
func (book *Book) NewCard(connector string, kind store.Kind) (card.Card, error) {
	id, err := uuid.NewV7()
	if err != nil {
		return card.Card{}, fmt.Errorf("make a card id: %w", err)
	}
	return card.Card{Card: store.Card{
		ID: id.String(), Connector: connector, Kind: kind, Episode: 1, State: string(card.Searching), HandleHash: book.Doors.NewHandle(id.String()).Hash(),
	}}, nil
}

// DeskName is the connector's name in cards that agents make at the desk.
const DeskName = "desk"

// Title returns the name of a chat service for people: the connector's title, with the suffix of
// its name after "-" in brackets, or the connector's name if it has no title.
func (book *Book) Title(connector string) string {
	title := cmp.Or(book.connectors[connector].Title, connector)
	if _, which, ok := strings.Cut(connector, "-"); ok && title != connector {
		title += " (" + which + ")"
	}
	return title
}

// Retry calls answer until it does not return ErrAgain (the card was changed meanwhile), at most
// three times. answer must not write to the browser before it has stored the card.
func Retry(answer func() error) (err error) {
	for range 3 {
		if err = answer(); !errors.Is(err, web.ErrAgain) {
			return err
		}
	}
	return err
}

// CommitForRequest is Commit for HTTP handlers: it turns every error except ErrAgain into ErrStore.
func (book *Book) CommitForRequest(ctx context.Context, c *card.Card, change store.Change) error {
	err := book.Commit(ctx, c, change)
	if err == nil || errors.Is(err, web.ErrAgain) {
		return err
	}
	return web.StoreFault(err)
}

// SkipUnreadable reports whether err means that a card cannot be decrypted, for example after the
// secret it was encrypted with was removed. It logs such an err. The caller then skips the card. key
// and id say which card or list of cards it is.
func (book *Book) SkipUnreadable(ctx context.Context, err error, key, id string) bool {
	if !errors.Is(err, store.ErrSealed) {
		return false
	}
	book.log.ErrorContext(ctx, "card cannot be read", key, id, "err", err)
	return true
}

// Card reads a card. The error is store.ErrNotFound if there is none with this id.
func (book *Book) Card(ctx context.Context, id string) (card.Card, error) {
	row, err := book.store.Card(ctx, id)
	if err != nil {
		return card.Card{}, err
	}
	return card.Open(row)
}

// Revise reads a card, calls change and commits the result with the audit entries that change
// returns. If another request or job changed the card meanwhile, it starts again. Posts are
// updated if people can see the change. A deleted card is no error: then c is the zero Card.
func (book *Book) Revise(ctx context.Context, id string, change func(*card.Card) []audit.Entry) (c card.Card, err error) {
	err = Retry(func() (err error) {
		c, err = book.Card(ctx, id)
		if errors.Is(err, store.ErrNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		before := c
		write := store.Change{Audit: change(&c)}
		if reflect.DeepEqual(c, before) {
			if len(write.Audit) == 0 {
				return nil
			}
			return book.store.Commit(ctx, write)
		}
		if !c.SameToPeople(before) {
			book.ScheduleEffects(&c, before, &write)
		}
		return book.Commit(ctx, &c, write)
	})
	return c, err
}

// Commit stores a changed card and the rest of change in one transaction. The error is ErrAgain
// if the card was changed since it was read.
func (book *Book) Commit(ctx context.Context, c *card.Card, change store.Change) error {
	book.Subjects.Update(c)
	isNew, found, before := c.Version == 0, c.JustFound(), c.About.Found
	if found {
		c.About.Found = time.Now().UTC()
	}
	row, err := c.Row()
	if err != nil {
		return err
	}
	change.Card, change.Follows = row, c.Follows
	if err := book.store.Commit(ctx, change); err != nil {
		c.About.Found = before
		if errors.Is(err, store.ErrConflict) {
			return fmt.Errorf("%w: %w", web.ErrAgain, err)
		}
		return err
	}
	c.Version, c.Follows = row.Version, nil
	book.countSteps(c, isNew, found)
	return nil
}

// countSteps counts that the bridge began to search for a customer, and that it found one. The card of an
// agent who pressed a shared card is no new request.
func (book *Book) countSteps(c *card.Card, isNew, found bool) {
	if c.Kind == store.KindPress {
		return
	}
	if isNew {
		book.metrics.CardStep(c.Connector, metrics.StepAsked, time.Time{}, time.Time{})
	}
	if found {
		asked := c.Created
		if isNew {
			asked = c.About.Found // in the same commit
		}
		book.metrics.CardStep(c.Connector, metrics.StepFound, asked, c.About.Found)
	}
}

// Episode returns the card of the conversation that an ask is about. A chat id can have several
// conversations, one after the other. Episode returns the card of the latest one, or a new card if
// the ask starts another. A delivery received before the latest conversation ended starts none.
func (book *Book) Episode(ctx context.Context, connector string, ask chat.Ask, d store.Delivery) (card.Card, error) {
	last, err := book.CardOfChat(ctx, connector, store.KindChat, ask.Chat)
	if err != nil {
		return last, err
	}
	lastIsOver := last.Version > 0 && last.CurrentState() == card.Closed
	if ask.Verb == chat.Start && ask.New && lastIsOver && d.Received.After(last.About.EndHeard) {
		return book.NextEpisode(last)
	}
	return last, nil
}

// NextEpisode returns a new card for the next conversation of last's chat. It does not store it.
func (book *Book) NextEpisode(last card.Card) (card.Card, error) {
	next, err := book.NewCard(last.Connector, last.Kind)
	next.Chat, next.Episode = last.Chat, last.Episode+1
	// A Close that is handled at the same time may have read the last card, although it ends the
	// new conversation. Because of Follows, the second of the two commits fails and is repeated.
	next.Follows = &last.Card
	return next, err
}

// ConversationCard returns the card of the conversation. That is c itself, or the shared card that
// the agent pressed to get c. The error is ErrClosed if that was deleted, or else ErrStore.
func (book *Book) ConversationCard(ctx context.Context, c card.Card) (card.Card, error) {
	if c.About.SharedCard == "" {
		return c, nil
	}
	conversation, err := book.Card(ctx, c.About.SharedCard)
	if errors.Is(err, store.ErrNotFound) {
		return card.Card{}, web.ErrClosed
	}
	if err != nil {
		return card.Card{}, web.StoreFault(err)
	}
	return conversation, nil
}

// IsShared reports whether several people see what is posted at p.
func (book *Book) IsShared(p chat.Place) bool {
	return book.connectors[p.Connector].IsShared(p.Address)
}

// IsShownAt reports whether a card has a current post at a shared place of this connector. It
// ignores old posts, which keep their button in the chat.
func (book *Book) IsShownAt(ctx context.Context, conn chat.Connector, card string) (bool, error) {
	posts, err := book.store.Posts(ctx, card)
	return slices.ContainsFunc(posts, func(p store.Post) bool {
		return p.Current && p.Place.Connector == conn.Name && book.IsShared(chat.Place(p.Place))
	}), err
}

// CheckSharedOpen returns ErrClosed if personal was made from a shared card and that one is closed or
// deleted. Otherwise it returns nil, or ErrStore.
func (book *Book) CheckSharedOpen(ctx context.Context, personal card.Card) error {
	if personal.About.SharedCard == "" {
		return nil
	}
	row, err := book.store.Card(ctx, personal.About.SharedCard)
	switch {
	case errors.Is(err, store.ErrNotFound), err == nil && card.State(row.State) == card.Closed:
		return web.ErrClosed
	case err != nil:
		return web.StoreFault(err)
	}
	return nil
}

// UpdateShared applies update to the shared card that personal was made from, if there is one.
func (book *Book) UpdateShared(ctx context.Context, personal card.Card, update func(shared *card.Card)) error {
	if personal.About.SharedCard == "" {
		return nil
	}
	_, err := book.Revise(ctx, personal.About.SharedCard, func(shared *card.Card) []audit.Entry {
		update(shared)
		return nil
	})
	return err
}

// ScheduleEffects adds to change the posts, jobs and audit entries that the new state of c requires,
// and sets c.DoorUntil. A card that was never shown and has no session requires none.
func (book *Book) ScheduleEffects(c *card.Card, before card.Card, change *store.Change) {
	if !c.Visible() && !before.Visible() && len(c.About.Sessions) == 0 {
		return
	}
	if before.Version > 0 && c.Agent != before.Agent {
		change.Audit = append(change.Audit, book.Entry(*c, "moved", "from "+before.Agent))
	}
	fromShared := c.About.SharedCard != ""
	if c.Stoppable() || !fromShared && c.CurrentState() != card.Closed {
		c.DoorUntil = time.Now().Add(book.doorLife) // Worker.openPersonalCard sets it for other cards from shared ones
	}
	if !fromShared && c.CurrentState() == card.Closed && before.CurrentState() != card.Closed {
		change.Audit = append(change.Audit, book.Entry(*c, "closed", ""))
		change.EndWaits = append(change.EndWaits, store.Wait{Card: c.ID})
	}
	if !fromShared && c.AwaitsPress() && !before.AwaitsPress() {
		change.Refresh = &refreshes.Refresh{Card: c.ID, Due: time.Now().Add(refreshes.First)}
	}
	schedulePosts(c, before, change)
}

// schedulePosts adds a post at the card's new place, the one to remove at its old place, and one job
// for each connector that shows them.
func schedulePosts(c *card.Card, before card.Card, change *store.Change) {
	replaced := before.Version > 0 && c.Place() != before.Place()
	if replaced && before.About.Place.Address != "" {
		change.Posts = append(change.Posts, store.Post{Card: c.ID, Place: before.Place(), Current: false})
	}
	if c.About.Place.Address != "" && (replaced || !before.Visible()) {
		change.Posts = append(change.Posts, store.Post{Card: c.ID, Place: c.Place(), Current: true})
	}
	queues := map[string]bool{}
	for _, p := range append(change.Posts, store.Post{Place: c.Place()}) {
		if p.Place.Address != "" && !queues[p.Place.Connector] {
			queues[p.Place.Connector] = true
			change.Jobs = append(change.Jobs, jobs.Job{Queue: p.Place.Connector, Kind: JobShow, Subject: c.ID, Priority: jobs.Soon})
		}
	}
}

// DoorAddress returns the address of the card's button.
func (book *Book) DoorAddress(c store.Card) (string, error) {
	h, err := book.Doors.CurrentHandle(c)
	if err != nil {
		return "", err
	}
	return book.origin.JoinPath(web.DoorPath, h.String()).String(), nil
}

// HasChatLink reports whether the bridge can make a link into the card's conversation.
func (book *Book) HasChatLink(c card.Card) bool {
	return book.connectors[cmp.Or(c.About.SharedConnector, c.Connector)].OpenChat != nil
}

// NewIDEntry returns an audit entry if the card's visitor has another short id than oldID.
func (book *Book) NewIDEntry(c card.Card, oldID string) []audit.Entry {
	if oldID == "" || c.Visitor == oldID {
		return nil
	}
	return []audit.Entry{book.Entry(c, "asked", "short id changed: by "+string(c.About.Reason))}
}

// CanNotifyAgent reports whether the bridge can later send the card's agent a message that the
// visitor is online again. It cannot for a card made from a shared card, whose address soon expires.
func (book *Book) CanNotifyAgent(c card.Card) bool {
	return c.About.SharedCard == "" && c.About.Place.Address != "" && book.connectors[c.About.Place.Connector].Show != nil
}

// Entry returns an audit entry about a card in the name of its agent.
func (book *Book) Entry(c card.Card, action, detail string) audit.Entry {
	return audit.Entry{
		At: time.Now(), Action: action, Agent: c.Agent, Visitor: c.Visitor,
		Card: c.ID, Connector: c.Connector, Chat: c.Chat, Detail: detail,
	}
}

// Record writes an audit entry on which nothing depends. If it cannot be written, that is logged and
// noted as a failure.
func (book *Book) Record(ctx context.Context, e audit.Entry) {
	e.At = time.Now()
	if err := book.store.Commit(context.WithoutCancel(ctx), store.Change{Audit: []audit.Entry{e}}); err != nil {
		book.log.ErrorContext(ctx, "audit entry not written", "action", e.Action, "agent", e.Agent, "card", e.Card, "err", err)
		book.store.Jobs().NoteResult(context.WithoutCancel(ctx), jobs.Failure{Queue: BridgeQueue, Kind: WorkAudit}, err)
	}
}

// EraseQueue is the queue of the jobs that delete people at Upscope.
const EraseQueue = "erasures"

// The kinds of job. The subject of a job is the id of the row that it works on. Its queue is the
// connector whose service it calls, so that a service that hangs delays only its own queue.
const (
	JobAnswer  = "answer"  // JobAnswer handles a delivery.
	JobShow    = "show"    // JobShow shows a card in the chat.
	JobRefresh = "refresh" // JobRefresh updates on a card whether the visitor is online; only earlier versions make such jobs.
	JobTell    = "tell"    // JobTell tells an agent that the visitor of a card is back.
	JobForward = "forward" // JobForward forwards a delivery.
	JobErase   = "erase"   // JobErase deletes a person at Upscope.
)

// ChatJobKinds are the kinds of job in the queues of connectors. There is no other kind than these and
// JobErase.
var ChatJobKinds = []string{JobAnswer, JobShow, JobRefresh, JobTell, JobForward}

// ForwardQueueSuffix ends the name of the queue in which a connector's deliveries are forwarded, so
// that a receiver that hangs delays nothing else. ForwardWorkers is how many of its jobs run at once.
const (
	ForwardQueueSuffix = "_forward"
	ForwardWorkers     = 10
)

// ConnectorOf returns the connector of a queue of jobs.
func ConnectorOf(queue string) string { return strings.TrimSuffix(queue, ForwardQueueSuffix) }

// BridgeQueue is the queue in failures of periodic work that belongs to no connector.
const BridgeQueue = "bridge"

// The kinds of work that is no job and can fail; see store.Note.
const (
	WorkSweep     = jobs.KindSweep       // look for chats whose deliveries were lost
	WorkReconcile = "reconcile"          // compare open cards with their chats
	WorkListen    = "listen"             // receive deliveries on a connection
	WorkSessions  = "sessions"           // read Upscope's list of sessions
	WorkWaits     = "waits"              // look for visitors for whom agents wait
	WorkPurge     = "purge"              // delete expired data
	WorkAudit     = "audit"              // write the audit log
	WorkErasure   = jobs.KindErasureWait // wait until a person can be deleted at Upscope
	WorkQueue     = "queue"              // start the jobs of a queue
)

// WorkKinds are all kinds of work that is no job.
var WorkKinds = []string{WorkSweep, WorkReconcile, WorkListen, WorkSessions, WorkWaits, WorkPurge, WorkAudit, WorkErasure, WorkQueue}
