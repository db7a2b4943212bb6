package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"regexp"
	"slices"
	"sync"
	"time"
)

// desks are open pages of agents, with the event streams that keep them up to date.
type desks struct {
	end context.CancelFunc
	all sync.WaitGroup

	mu      sync.Mutex
	open    map[int]int // pages by agent
	shown   int         // pages that have had their first event
	cards   int         // in the first events
	events  int
	bytes   int
	ended   int               // streams that ended although nobody closed the page
	fault   error             // of the last of them
	waiting map[int][]*ending // by agent
	updated []time.Duration   // from the end of a chat to the event of a page without it
	endings int               // how many such events must come
}

// An ending is a chat that ended and that pages of its agent may still show.
type ending struct {
	name  string
	at    time.Time
	pages map[int]bool // that have been updated, by number
}

var customerName = regexp.MustCompile(`G[0-9]{7}`)

// openDesks opens n pages, which belong to the agents in turn, and waits until each has had its first
// event.
func (s *site) openDesks(ctx context.Context, n int) (*desks, error) {
	if err := s.connectAgents(ctx, min(n, s.chat.agents)); err != nil {
		return nil, err
	}
	streaming, cancel := context.WithCancel(ctx)
	d := &desks{end: cancel, open: map[int]int{}, waiting: map[int][]*ending{}}
	for page := range n {
		agent := page%s.chat.agents + 1
		d.open[agent]++
		d.all.Go(func() {
			err := d.read(streaming, s, page, agent)
			for errors.Is(err, errTooMany) { // the bridge still counts streams that were closed a moment ago
				select {
				case <-time.After(time.Second):
				case <-streaming.Done():
				}
				err = d.read(streaming, s, page, agent)
			}
			if streaming.Err() == nil {
				d.mu.Lock()
				d.ended++
				d.fault = err
				d.mu.Unlock()
			}
		})
	}
	deadline := time.After(readyWait)
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		d.mu.Lock()
		ready := d.shown + d.ended
		d.mu.Unlock()
		if ready == n {
			return d, nil
		}
		select {
		case <-tick.C:
		case <-deadline:
			return d, nil // state says how many were opened
		}
	}
}

// connectAgents makes the first n agents the owners of their chat accounts.
func (s *site) connectAgents(ctx context.Context, n int) error {
	connected := s.connected
	for range 4 * s.chat.openRooms() {
		r := s.chat.another()
		if r == nil || len(connected) >= n {
			break
		}
		if _, agent := s.chat.card(r); agent > n || connected[agent] {
			continue
		} else if err := s.connect(ctx, r); err != nil {
			return err
		} else {
			connected[agent] = true
		}
	}
	if len(connected) < n {
		return fmt.Errorf("only %d of %d agents have a card", len(connected), n)
	}
	return nil
}

// errTooMany means that the bridge has as many streams as it allows.
var errTooMany = errors.New("answered 429")

// read reads the event stream of a page until ctx or the stream ends.
func (d *desks) read(ctx context.Context, s *site, page, agent int) error {
	answer, err := s.get(ctx, "/desk/events", agent)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusTooManyRequests:
		return errTooMany
	default:
		return fmt.Errorf("answered %d", answer.StatusCode)
	}
	lines := bufio.NewReaderSize(answer.Body, 2<<10)
	var event []byte
	first := true
	for {
		line, err := lines.ReadSlice('\n')
		event = append(event, line...)
		if errors.Is(err, bufio.ErrBufferFull) {
			continue
		}
		if err != nil {
			return errors.Join(err, io.ErrUnexpectedEOF)
		}
		if len(line) > 1 || !bytes.HasSuffix(event, []byte("\n\n")) {
			continue
		}
		d.received(page, agent, event, first)
		first, event = false, event[:0]
	}
}

func (d *desks) received(page, agent int, event []byte, first bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.bytes += len(event); event[0] == ':' || bytes.HasPrefix(event, []byte("event: alive\n")) {
		return // it says only that the connection works, as a comment in earlier versions
	}
	d.events++
	if first {
		names := map[string]bool{}
		for _, name := range customerName.FindAll(event, -1) {
			names[string(name)] = true
		}
		d.shown++
		d.cards += len(names)
	}
	for _, e := range d.waiting[agent] {
		if !e.pages[page] && !bytes.Contains(event, []byte(e.name)) {
			e.pages[page] = true
			d.updated = append(d.updated, time.Since(e.at))
		}
	}
	d.waiting[agent] = slices.DeleteFunc(d.waiting[agent], func(e *ending) bool { return len(e.pages) == d.open[agent] })
}

// await expects that the open pages of a chat's agent are updated because the chat ends now. It leaves
// out chats with a session, which stay on the page. d may be nil.
func (d *desks) await(r *room) {
	if d == nil || r.pressed {
		return
	}
	agent := r.agent
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[agent] > 0 {
		d.waiting[agent] = append(d.waiting[agent], &ending{name: customerName.FindString(r.name), at: time.Now(), pages: map[int]bool{}})
		d.endings += d.open[agent]
	}
}

// A deskState is what was counted since the last call of state.
type deskState struct {
	open, ended      int
	cards            float64 // on a page, in its first event
	events, bytes    int
	fault            error // of the last stream that ended
	updated          []time.Duration
	missing, endings int // updates that have not come, of all that must come
}

func (d *desks) state() deskState {
	d.mu.Lock()
	defer d.mu.Unlock()
	state := deskState{
		open: d.shown, ended: d.ended, fault: d.fault, cards: float64(d.cards) / float64(max(1, d.shown)), events: d.events, bytes: d.bytes,
		updated: d.updated, missing: d.endings - len(d.updated), endings: d.endings,
	}
	d.events, d.bytes = 0, 0
	return state
}

// finish waits until every page has been updated, or until the limit is over.
func (d *desks) finish(limit time.Duration) {
	deadline := time.After(limit)
	for tick := time.NewTicker(100 * time.Millisecond); ; {
		d.mu.Lock()
		missing := d.endings - len(d.updated)
		d.mu.Unlock()
		if missing == 0 {
			return
		}
		select {
		case <-tick.C:
		case <-deadline:
			return
		}
	}
}

// close closes the pages.
func (d *desks) close() {
	d.end()
	d.all.Wait()
}
