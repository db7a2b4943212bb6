package desk

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/http"
	"runtime/debug"
	"time"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/templates"
)

// writeTimeout is for one event.
const writeTimeout = 10 * time.Second

// alive is the event of a stream on which nothing was sent for maxSilence, so that proxies do not close
// the connection and the page's script knows that it works.
var alive = []byte("event: alive\ndata: 1\n\n")

var errSignedOut = errors.New("the agent is no longer signed in")

// EndStreams ends the event streams of open desk pages. Pass it to http.Server.RegisterOnShutdown.
func (desk *Desk) EndStreams() { desk.streams.end() }

// sendEvents sends an open desk page an event whenever its cards change, until the agent signs out or
// closes the page. The first event has all rows, and each later one those that changed.
func (desk *Desk) sendEvents(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	s, ok := desk.streams.add(who.ID)
	if !ok {
		return web.ErrThrottled
	}
	defer desk.streams.remove(s)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering
	out := http.NewResponseController(w)
	for {
		select {
		case <-r.Context().Done():
			return nil
		case <-desk.streams.ended:
			return nil
		case <-s.wake:
		}
		stale, silent := desk.streams.take(s)
		var event []byte
		if stale {
			var err error
			if event, err = desk.updateApart(r, s); errors.Is(err, errSignedOut) || r.Context().Err() != nil {
				return nil // the next request of the page leads to the sign-in
			} else if err != nil {
				desk.log.WarnContext(r.Context(), "open desk not updated", "agent", who.ID, "err", err)
				return nil // the page's script reconnects
			}
		}
		if event == nil && silent {
			event = alive
		}
		if event == nil {
			continue
		}
		if err := send(w, out, event); err != nil {
			return web.SendFault(err)
		}
		desk.streams.sent(s)
	}
}

// updateApart calls update in a goroutine of its own, because the stack that reading and rendering need
// would stay with a stream. Few desks are read at the same time.
func (desk *Desk) updateApart(r *http.Request, s *openDesk) (event []byte, err error) {
	select {
	case desk.streams.reading <- struct{}{}:
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { <-desk.streams.reading }()
		defer func() {
			if p := recover(); p != nil {
				err = fmt.Errorf("program error: %v\n%s", p, debug.Stack())
			}
		}()
		event, err = desk.update(r, s)
	}()
	<-done
	return event, err
}

// update reads a desk and returns the event that changes the page, or nil if nothing changes.
func (desk *Desk) update(r *http.Request, s *openDesk) ([]byte, error) {
	before := desk.streams.changesSoFar()
	ctx, cancel := context.WithTimeout(r.Context(), readTimeout)
	defer cancel()
	who, err := desk.web.SignedInAgent(r.WithContext(ctx))
	switch {
	case errors.Is(err, signin.ErrStore):
		return nil, err
	case err != nil:
		return nil, errSignedOut
	}
	page, depends, err := desk.deskOf(ctx, who)
	if err != nil {
		return nil, err
	}
	depends.session = desk.web.StoredSession(r)
	html, err := s.shown.Update(page)
	if err == nil && html != nil && !r.Form.Has("rows") {
		html, err = new(templates.LiveDesk).Update(page) // the script of an earlier version needs all rows
	}
	if err != nil {
		return nil, err
	}
	desk.streams.wasRead(s, depends, before)
	if html == nil {
		return nil, nil
	}
	event := make([]byte, 0, len(html)+len(html)/8)
	event = append(event, "event: cards"...)
	for line := range bytes.SplitSeq(html, []byte("\n")) {
		event = append(append(event, "\ndata: "...), line...)
	}
	return append(event, "\n\n"...), nil
}

func send(w http.ResponseWriter, out *http.ResponseController, event []byte) error {
	if err := out.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("events: %w", err)
	}
	if _, err := w.Write(event); err != nil {
		return err
	}
	return out.Flush()
}
