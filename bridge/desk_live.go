package bridge

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"time"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/templates"
)

const (
	// liveEvery is how often an open desk is looked at, in the store alone, and
	// liveQuiet how long it may hear nothing, so that nobody between takes the
	// connection for dead.
	liveEvery = 2 * time.Second
	liveQuiet = 15 * time.Second
	liveWrite = 10 * time.Second

	// liveDesks is how many desks may be open at once, and liveTabs how many of one
	// agent.
	liveDesks = 2000
	liveTabs  = 8
)

// streams are the desks that are open. They are ended when the server stops, which
// would wait for them.
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

func (s *streams) add(agent string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.all >= liveDesks || s.open[agent] >= liveTabs {
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

// EndStreams ends answers that go on for as long as somebody looks. A server that
// stops calls it, with http.Server.RegisterOnShutdown.
func (b *Bridge) EndStreams() { b.streams.end() }

// deskEvents keeps an open desk up to date: an event whenever what it shows
// changes, for as long as its agent is signed in.
func (b *Bridge) deskEvents(w http.ResponseWriter, r *http.Request, who signin.Identity) error {
	if !b.streams.add(who.ID) {
		return errThrottled
	}
	defer b.streams.remove(who.ID)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx.org/en/docs/http/ngx_http_proxy_module.html#proxy_buffering
	out := http.NewResponseController(w)
	tick := time.NewTicker(liveEvery)
	defer tick.Stop()
	var shown bytes.Buffer
	var quiet time.Duration
	for {
		var now bytes.Buffer
		page, err := b.deskOf(r.Context(), who)
		if err == nil {
			err = templates.RenderLive(&now, page)
		}
		if err != nil {
			b.log.WarnContext(r.Context(), "an open desk is not kept up to date", "agent", who.ID, "err", err)
			return nil // the page tries again
		}
		if quiet += liveEvery; !bytes.Equal(now.Bytes(), shown.Bytes()) || quiet >= liveQuiet {
			event := ":\n\n"
			if !bytes.Equal(now.Bytes(), shown.Bytes()) {
				event = "event: cards\ndata: " + strings.ReplaceAll(now.String(), "\n", "\ndata: ") + "\n\n"
			}
			if err := send(w, out, event); err != nil {
				return unanswered(err)
			}
			shown, quiet = now, 0
		}
		select {
		case <-r.Context().Done():
			return nil
		case <-b.streams.ended:
			return nil
		case <-tick.C:
		}
		if _, err := b.peek(r); err != nil {
			return nil // signed out: the page's next request leads to the sign-in
		}
	}
}

func send(w io.Writer, out *http.ResponseController, event string) error {
	if err := out.SetWriteDeadline(time.Now().Add(liveWrite)); err != nil {
		return fmt.Errorf("events: %w", err)
	}
	if _, err := io.WriteString(w, event); err != nil {
		return err
	}
	return out.Flush()
}
