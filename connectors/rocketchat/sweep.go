package rocketchat

import (
	"context"
	"encoding/json"
	"errors"
	"net/url"
	"strconv"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/rest"
)

// typeOpen is the type of a delivery for a room that a sweep found.
const typeOpen = "Open"

const (
	// sweepEvery is the pause between two sweeps. Rocket.Chat gives up on an event after
	// two or three minutes. A sweep of up to fifty open chats makes three requests.
	sweepEvery = 5 * time.Minute

	pageSize = 50
	// pageOverlap is how many chats a page repeats from the page before. If a chat ends
	// meanwhile, the chats after it move forward in the list.
	pageOverlap = 5
	// maxPages limits each list to 18,000 chats.
	maxPages = 400

	// quickPages is how many requests of a sweep follow each other without a pause. Each
	// further request begins at least pagePace after the one before it. So a sweep makes
	// fewer than ten requests a minute, the limit for users without the role bot.
	quickPages = 3
	pagePace   = 9 * time.Second
)

// openRooms are the queries for rooms that are not closed, as the vendor's own page of
// current chats makes them (client/views/omnichannel/currentChats). The first list does not
// contain rooms that are queued or on hold.
var openRooms = []url.Values{
	{"open": {"true"}},
	{"open": {"true"}, "onhold": {"true"}},
	{"open": {"true"}, "queued": {"true"}},
}

// sweep lists the open rooms, to find those whose events were lost. Rocket.Chat gives up on
// an event after some minutes, and forgets it when it restarts. A closed room is in no list, and
// neither is one that business units hide from the reader.
func (c *connector) sweep(ctx context.Context, found func(context.Context, []chat.Delivery) error) error {
	l := &listing{connector: c, size: pageSize}
	for _, list := range openRooms {
		if err := l.read(ctx, list, found); err != nil {
			return err
		}
	}
	return nil
}

// A listing reads the lists of one sweep.
type listing struct {
	*connector
	size     int       // of a page
	requests int       // made so far
	last     time.Time // when the last request began
}

// read passes each page of a list to found.
func (l *listing) read(ctx context.Context, list url.Values, found func(context.Context, []chat.Delivery) error) error {
	first := len(list) == 1
	for pages, offset := 0, 0; pages < maxPages; {
		rooms, total, err := l.page(ctx, list, offset)
		if errors.Is(err, rest.ErrTooLarge) && l.size > 1 {
			l.size /= 2
			continue
		}
		if r, _ := refused(err); !first && r.says("invalid-params", "error-invalid-params") {
			return nil // this version has no such list: its rooms are in the first one
		}
		if err != nil {
			return l.classify(err, "READER", "view-livechat-rooms and view-l-room (livechat-monitor has both)")
		}
		open, err := l.deliveries(rooms)
		if err != nil {
			return err
		}
		if err := found(ctx, open); err != nil {
			return err
		}
		pages++
		if len(rooms) == 0 || offset+len(rooms) >= total {
			return nil
		}
		offset += max(len(rooms)-pageOverlap, 1)
	}
	return nil
}

// page requests one page of a list. From the fourth request on it waits for pagePace.
func (l *listing) page(ctx context.Context, list url.Values, offset int) (rooms []room, total int, err error) {
	if l.requests >= quickPages {
		select {
		case <-ctx.Done():
			return nil, 0, ctx.Err()
		case <-time.After(time.Until(l.last.Add(pagePace))):
		}
	}
	l.requests, l.last = l.requests+1, time.Now()
	query := url.Values{"count": {strconv.Itoa(l.size)}, "offset": {strconv.Itoa(offset)}, "sort": {`{"ts":1}`}}
	for k, v := range list {
		query[k] = v
	}
	var answer struct {
		Rooms []room `json:"rooms"`
		Total int    `json:"total"`
	}
	_, err = l.reader.Get(ctx, api+"livechat/rooms", query, &answer)
	return answer.Rooms, answer.Total, err
}

// deliveries makes a delivery of each livechat room.
func (l *listing) deliveries(rooms []room) ([]chat.Delivery, error) {
	var all []chat.Delivery
	for _, r := range rooms {
		if r.Type != "l" || !plausible(r.ID) {
			continue
		}
		l.proven.livechat(r.ID)
		body, err := json.Marshal(kept{
			Type: typeOpen, Room: r.ID, Visitor: short(r.Visitor.ID), Agent: short(r.ServedBy.ID), At: short(r.ServedBy.At),
		})
		if err != nil {
			return nil, err
		}
		all = append(all, chat.Delivery{Key: sweepKey(r.ID, r.ServedBy), Body: body, Chat: r.ID, Received: time.Now()})
	}
	return all, nil
}

// sweepKey is the key that a sweep gives a room. It stays the same while the same agent
// serves the room.
func sweepKey(room string, by served) string { return compose(typeOpen, room, by.ID, by.At) }
