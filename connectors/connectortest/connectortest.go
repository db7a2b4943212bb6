// Package connectortest is the suite that every connector passes. It holds a
// connector to what package bridge promises of it: nothing secret in an error,
// every answer of the chat service classified, contexts obeyed, one post for a
// card however often and however badly showing it went, nothing where a visitor
// reads, and no forged delivery let in.
//
// A connector's test calls Run with a Harness that can make its chat service in
// memory. All faults are put between the connector and that service, so the
// service needs to know none of them.
package connectortest

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
)

// A Harness makes services. Its functions are called for each test anew.
type Harness struct {
	// New gives a chat service with one open chat that an agent serves, and a
	// connector set up for it. All of the connector's requests go through wrap
	// applied to the transport that reaches the service.
	New func(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) Service

	// Verdict is what an error for an answer of each status, without a body
	// that says more, must be.
	Verdict func(status int) Verdict

	// Optional reports whether a connector does well without the answer to a
	// request: a status from 400 on may then be no error. Nil means that every
	// answer is needed.
	Optional func(r *http.Request) bool
}

// A Verdict says what the bridge is to do about a failure.
type Verdict int

const (
	// Retry is a plain error.
	Retry Verdict = iota
	// Permanent is one marked so.
	Permanent
	// Wait is one marked with bridge.RetryAfter.
	Wait
)

// A Service is a chat service in memory and its connector. Fields for a
// capability that the connector does not have are left zero.
type Service struct {
	Connector bridge.Connector

	// Secrets must not turn up in any error: tokens, signing secrets, what
	// belongs to the visitor.
	Secrets []string

	// Genuine makes an authentic request with this body.
	Genuine func(body []byte) Request
	// Event is the body of an event about the open chat.
	Event func() []byte
	// Closing is the body of an event that closes the open chat; nil where no event
	// says so.
	Closing func() []byte
	// Forged are requests that only look authentic.
	Forged []Request
	// Same are bodies of one event as it is sent again; Different are bodies
	// of events that mean different things.
	Same, Different [][]byte

	// Place is where the chat's agent sees cards.
	Place bridge.Place
	// Shown are the texts that the agent sees there now.
	Shown func() []string
	// VisitorReads is all that the visitor can see.
	VisitorReads func() []string
}

// A Request is a delivery as it arrives.
type Request struct {
	// Name says what it is, for a failing test.
	Name   string
	Path   string
	Header http.Header
	Body   []byte
}

func (r Request) accept(c bridge.Connector) (bridge.Receipt, error) {
	req, err := http.NewRequest(http.MethodPost, "https://bridge.example.org"+r.Path, strings.NewReader(string(r.Body)))
	if err != nil {
		return bridge.Receipt{}, err
	}
	req.Header = r.Header.Clone()
	return c.Accept(req, r.Body)
}

// door stands for the secret address on a card.
const door = "https://bridge.example.org/w/kaeW1Aephei7naiDooqu9Oe4xieph1ieg3ahKu5Chee"

func card() bridge.Card {
	return bridge.Card{
		ID:     "card-1",
		Title:  "Co-browse with Ann",
		Lines:  []bridge.Line{{Label: "Page", Text: "Basket"}},
		Button: bridge.Link{Label: "Watch", Address: door},
	}
}

// Run runs the suite.
func Run(t *testing.T, h Harness) {
	s := h.New(t, func(rt http.RoundTripper) http.RoundTripper { return rt })
	if (s.Connector.Accept == nil) != (s.Connector.Read == nil) {
		t.Error("Accept and Read come together")
	}
	if s.Connector.Accept != nil {
		t.Run("Accept", h.accept)
	}
	if s.Connector.Serving != nil && s.Connector.Read == nil {
		t.Error("Serving is asked about chats that Read named")
	} else if s.Connector.Serving != nil {
		t.Run("Serving", h.serving)
	}
	if s.Connector.Show != nil {
		t.Run("Show", h.show)
	}
	t.Run("Failures", h.failures)
}

func (h Harness) serving(t *testing.T) {
	t.Run("it names the agent that Read names", func(t *testing.T) {
		s := h.New(t, (&wire{}).wrap)
		ask, err := s.read(t.Context())
		if err != nil || ask.Chat == "" || ask.Agent.ID == "" {
			t.Fatalf("Read: %+v, %v", ask, err)
		}
		agent, open, err := s.Connector.Serving(t.Context(), ask.Chat)
		if agent != ask.Agent.ID || !open || err != nil {
			t.Errorf("got %q, open %v, error %v; Read says %q serves", agent, open, err, ask.Agent.ID)
		}
	})
}

// read takes the event all the way through Read.
func (s Service) read(ctx context.Context) (bridge.Ask, error) {
	r, err := s.Genuine(s.Event()).accept(s.Connector)
	if err != nil {
		return bridge.Ask{}, fmt.Errorf("deliver: %w", err)
	}
	return s.Connector.Read(ctx, bridge.Delivery{Key: r.Key, Body: kept(r, s.Event())})
}

// A call is one capability that talks to the chat service.
type call struct {
	name string
	// prepare finds out what do needs, before anything goes wrong; it may be nil.
	prepare func(context.Context) error
	do      func(context.Context) error
	// verdict is Harness.Verdict unless the call has one of its own.
	verdict func(status int) Verdict
}

// forwardVerdict is the same for every connector: who gets what is handed on is
// no service of ours, and one that refuses it will go on to.
func forwardVerdict(status int) Verdict {
	switch {
	case status == http.StatusTooManyRequests:
		return Wait
	case status == http.StatusRequestTimeout, status == http.StatusTooEarly, status < 400, status >= 500:
		return Retry
	}
	return Permanent
}

// calls are the capabilities of a fresh service. Check has findings instead of
// errors; they are held to the same, save that which statuses are none of its
// problems is its own affair.
func (s Service) calls() []call {
	var all []call
	if s.Connector.Read != nil {
		all = append(all, call{name: "Read", do: func(ctx context.Context) error {
			_, err := s.read(ctx)
			return err
		}})
	}
	if s.Connector.Serving != nil && s.Connector.Read != nil {
		var chat string
		all = append(all, call{
			name: "Serving",
			prepare: func(ctx context.Context) error {
				ask, err := s.read(ctx)
				chat = ask.Chat
				return err
			},
			do: func(ctx context.Context) error {
				_, _, err := s.Connector.Serving(ctx, chat)
				return err
			},
		})
	}
	if s.Connector.Sweep != nil {
		all = append(all, call{name: "Sweep", do: func(ctx context.Context) error {
			return s.Connector.Sweep(ctx, func(context.Context, []bridge.Delivery) error { return nil })
		}})
	}
	if s.Connector.Forward != nil {
		var kept []byte
		all = append(all, call{
			name: "Forward",
			prepare: func(context.Context) error {
				r, err := s.Genuine(s.Event()).accept(s.Connector)
				if kept = r.Forward; err == nil && kept == nil {
					err = errors.New("nothing is kept to hand on")
				}
				return err
			},
			do: func(ctx context.Context) error {
				return s.Connector.Forward(ctx, bridge.Delivery{Key: "event", Body: kept, Received: time.Now()})
			},
			verdict: forwardVerdict,
		})
	}
	if s.Connector.Show != nil {
		all = append(all, call{name: "Show", do: func(ctx context.Context) error {
			_, err := s.Connector.Show(ctx, s.Place, card())
			return err
		}})
	}
	if s.Connector.Check != nil {
		all = append(all, call{name: "Check", do: func(ctx context.Context) error {
			var said []string
			for _, f := range s.Connector.Check(ctx) {
				if f.Problem != "" {
					said = append(said, f.Problem+" "+f.Remedy)
				}
			}
			if said == nil {
				return nil
			}
			return fmt.Errorf("%s", strings.Join(said, "\n"))
		}})
	}
	return all
}

func kept(r bridge.Receipt, body []byte) []byte {
	if r.Body != nil {
		return r.Body
	}
	return body
}

func leaks(t *testing.T, where, text string, secrets []string) {
	t.Helper()
	for _, s := range secrets {
		if s != "" && strings.Contains(text, s) {
			t.Errorf("%s: a secret is in %q", where, strings.ReplaceAll(text, s, "‹secret›"))
		}
	}
}

// A wire is the way between a connector and its service. Its function decides
// about each request; nil lets it through.
type wire struct {
	mu    sync.Mutex
	count int
	fault func(n int, req *http.Request, next http.RoundTripper) (*http.Response, error)
}

func (w *wire) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		w.mu.Lock()
		w.count++
		n, fault := w.count, w.fault
		w.mu.Unlock()
		if fault == nil {
			return next.RoundTrip(req)
		}
		return fault(n, req, next)
	})
}

func (w *wire) set(fault func(int, *http.Request, http.RoundTripper) (*http.Response, error)) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.count, w.fault = 0, fault
}

// at lets the n-th request from now on go wrong; those before it get through.
func (w *wire) at(n int, wrong func(*http.Request) (*http.Response, error)) {
	w.set(func(i int, req *http.Request, next http.RoundTripper) (*http.Response, error) {
		if i == n {
			return wrong(req)
		}
		return next.RoundTrip(req)
	})
}

func (w *wire) requests() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.count
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }
