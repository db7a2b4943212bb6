package desk

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/templates"
)

const (
	// Every readInterval the cards of an open desk page are read from the store. After maxSilence
	// without a change the server sends an SSE comment line, so that proxies do not close the connection.
	readInterval = 2 * time.Second
	maxSilence   = 15 * time.Second
	writeTimeout = 10 * time.Second // for one event or line

	maxStreams         = 2000
	maxStreamsPerAgent = 8
)

// streams counts the event streams of open desk pages. EndStreams ends them, because a server that
// shuts down waits for running requests.
type streams struct {
	ended chan struct{}
	end   func()

	mu   sync.Mutex
	open map[string]int // by agent
	all  int
}

func newStreams() *streams {
	ended := make(chan struct{})
	return &streams{ended: ended, end: sync.OnceFunc(func() { close(ended) }), open: map[string]int{}}
}

// add counts a stream of the agent, or returns false at a limit.
func (s *streams) add(agent string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= maxStreams || s.open[agent] >= maxStreamsPerAgent {
		return false
	}
	s.all++
	s.open[agent]++
	return true
}

func (s *streams) remove(agent string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all--
	if s.open[agent]--; s.open[agent] == 0 {
		delete(s.open, agent)
	}
}

// EndStreams ends the event streams of open desk pages. Pass it to http.Server.RegisterOnShutdown.
func (desk *Desk) EndStreams() { desk.streams.end() }

// sendEvents sends an open desk page an event whenever its cards change, until the agent signs out or
// closes the page.
func (desk *Desk) sendEvents(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	if !desk.streams.add(who.ID) {
		return web.ErrThrottled
	}
	defer desk.streams.remove(who.ID)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering
	out := http.NewResponseController(w)
	tick := time.NewTicker(readInterval)
	defer tick.Stop()
	var shown bytes.Buffer
	var quiet time.Duration
	for {
		var now bytes.Buffer
		page, err := desk.deskOf(r.Context(), who)
		if err == nil {
			err = templates.RenderLive(&now, page)
		}
		if err != nil {
			desk.log.WarnContext(r.Context(), "open desk not updated", "agent", who.ID, "err", err)
			return nil // the page's script reconnects
		}
		if quiet += readInterval; !bytes.Equal(now.Bytes(), shown.Bytes()) || quiet >= maxSilence {
			event := ":\n\n"
			if !bytes.Equal(now.Bytes(), shown.Bytes()) {
				event = "event: cards\ndata: " + strings.ReplaceAll(now.String(), "\n", "\ndata: ") + "\n\n"
			}
			if err := send(w, out, event); err != nil {
				return web.SendFault(err)
			}
			shown, quiet = now, 0
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-desk.streams.ended:
			return nil
		case <-tick.C:
		}
		if _, err := desk.web.SignedInAgent(r); err != nil {
			return nil // signed out: the next request of the page leads to the sign-in
		}
	}
}

func send(w io.Writer, out *http.ResponseController, event string) error {
	if err := out.SetWriteDeadline(time.Now().Add(writeTimeout)); err != nil {
		return fmt.Errorf("events: %w", err)
	}
	if _, err := io.WriteString(w, event); err != nil {
		return err
	}
	return out.Flush()
}
