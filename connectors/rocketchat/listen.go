package rocketchat

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rest"
)

// typeOpen is the type of a delivery for a room that was open when the bridge
// started.
const typeOpen = "Open"

const (
	pageSize = 50
	// pageOverlap is how far a page reaches back into the one before: chats that
	// end meanwhile move those after them to the front.
	pageOverlap = 5
	// maxPages bounds each list, at 18,000 chats.
	maxPages = 400

	firstPause = 2 * time.Second
	longPause  = 10 * time.Minute
)

// openRooms are the lists of rooms that are not closed, as the vendor's own page
// of current chats asks for them (client/views/omnichannel/currentChats): plain
// open leaves out those that wait or are on hold.
var openRooms = []url.Values{
	{"open": {"true"}},
	{"open": {"true"}, "onhold": {"true"}},
	{"open": {"true"}, "queued": {"true"}},
}

// listen makes up for the events that Rocket.Chat could not deliver while the
// bridge was down, since it gives up after minutes: it takes every open room as
// an event once, and then waits. A room that was closed is not in any list; that
// is noticed when its card is looked at.
func (c *connector) listen(ctx context.Context, deliver func(context.Context, bridge.Delivery) error) error {
	s := &sweep{connector: c, deliver: deliver, size: pageSize, seen: make(map[string]bool)}
	if err := s.run(ctx); err != nil {
		return err
	}
	c.log.InfoContext(ctx, "open chats were looked through", "connector", c.name, "chats", len(s.seen))
	s.seen = nil
	<-ctx.Done()
	return ctx.Err()
}

// A sweep goes through the lists page by page and goes on where it failed, so
// that it ends even where only ten calls a minute are allowed.
type sweep struct {
	*connector
	deliver func(context.Context, bridge.Delivery) error

	list, offset, pages, size int
	seen                      map[string]bool // the keys that were delivered
}

// run ends when all is delivered or ctx ends.
func (s *sweep) run(ctx context.Context) error {
	for pause := firstPause; s.list < len(openRooms); {
		err := s.page(ctx)
		switch {
		case err == nil:
			pause = firstPause
			continue
		case ctx.Err() != nil:
			return ctx.Err()
		}
		now := pause
		after, limited := bridge.RetryWait(err)
		r, _ := refused(err)
		switch {
		case limited:
			now = after
		case bridge.IsPermanent(err) || r.forbidden() || r.Status == http.StatusUnauthorized:
			now = longPause // somebody has to mend it first
		default:
			pause = min(2*pause, longPause)
		}
		s.log.WarnContext(ctx, "open chats cannot be listed yet; those whose events were lost have no card",
			"connector", s.name, "wait", now, "err", err)
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(now):
		}
	}
	return nil
}

func (s *sweep) page(ctx context.Context) error {
	query := url.Values{"count": {strconv.Itoa(s.size)}, "offset": {strconv.Itoa(s.offset)}, "sort": {`{"ts":1}`}}
	for k, v := range openRooms[s.list] {
		query[k] = v
	}
	var answer struct {
		Rooms []room `json:"rooms"`
		Total int    `json:"total"`
	}
	_, err := s.reader.Get(ctx, api+"livechat/rooms", query, &answer)
	if errors.Is(err, rest.ErrTooLarge) && s.size > 1 {
		s.size /= 2
		return nil
	}
	if r, se := refused(err); se != nil && r.Status == http.StatusBadRequest && !r.forbidden() && !r.tooMany() && s.list > 0 {
		s.next() // a version that has no such list: its rooms are in the first
		return nil
	}
	if err != nil {
		return s.classify(err, "READER", "view-livechat-rooms and view-l-room (livechat-monitor has both)")
	}
	for _, r := range answer.Rooms {
		if r.Type != "l" || !plausible(r.ID) {
			continue
		}
		s.proven.livechat(r.ID)
		d, err := listed(r)
		if err != nil {
			return err
		}
		if s.seen[d.Key] {
			continue
		}
		if err := s.deliver(ctx, d); err != nil {
			return err
		}
		s.seen[d.Key] = true
	}
	n := len(answer.Rooms)
	s.pages++
	if n == 0 || s.offset+n >= answer.Total || s.pages == maxPages {
		s.next()
		return nil
	}
	s.offset += max(n-pageOverlap, 1)
	return nil
}

func (s *sweep) next() { s.list, s.offset, s.pages = s.list+1, 0, 0 }

// listed makes the delivery for a room. Its key is made of who serves the room
// since when, so that it is one delivery however often and by however many
// bridges of one store the lists are read.
func listed(r room) (bridge.Delivery, error) {
	body, err := json.Marshal(kept{
		Type: typeOpen, Room: r.ID, Visitor: short(r.Visitor.ID), Agent: short(r.ServedBy.ID), At: short(r.ServedBy.At),
	})
	return bridge.Delivery{
		Key: compose(typeOpen, r.ID, r.ServedBy.ID, r.ServedBy.At), Body: body, Received: time.Now(),
	}, err
}
