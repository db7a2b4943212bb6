// Package connectortest is the test suite that every connector must pass. Run lists its parts:
// deliveries (accept.go, ids.go), chats that change (chats.go), answers of an unexpected form
// (odd.go), sweeps (sweep.go), posts (show.go, content.go, places.go), and failures of the chat
// service (failures.go). Open this file first.
//
// A connector's test calls Run with a Harness that makes its chat service in memory. The suite
// puts faults between the connector and the service, so the service needs no faults itself.
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

	"cobrowse-bridge/bridge/chat"
)

// A Harness makes services. Its functions are called again for each test.
type Harness struct {
	// New returns a chat service with one open chat that an agent serves, and a connector
	// for it. The connector must send its requests through wrap of the transport that
	// reaches the service.
	New func(t *testing.T, wrap func(http.RoundTripper) http.RoundTripper) Service

	// Refusal returns the answer with which the service refuses a request with a code of its
	// own. Nil means the status 400 with the code in the member error.
	Refusal func(code string) (status int, body string)

	// OddFields are the optional fields in the service's answers, by name or by parent and
	// name, as in "visitor.name". Read must not fail if they have an unexpected type.
	OddFields []string

	// Optional reports whether the connector does not need the answer to a request. A
	// status from 400 on then need not be an error. Nil means that every answer is needed.
	Optional func(r *http.Request) bool
}

// A Service is a chat service in memory and its connector. Fields for capabilities that the
// connector does not have are zero.
type Service struct {
	Connector chat.Connector

	// Secrets are the texts that no error may contain: tokens, signing secrets, secrets of
	// the visitor.
	Secrets []string

	// Genuine makes an authentic request with this body.
	Genuine func(body []byte) Request
	// Event returns the body of an event about the open chat.
	Event func() []byte
	// Closing closes the open chat, HandOver gives it to another agent, and Release leaves
	// it without an agent. Each returns the body of the event that says so, and is nil if
	// there is no such event. A connector with Serving needs Closing and HandOver.
	Closing, HandOver, Release func() []byte
	// Remove deletes the open chat from the service; nil if that is not possible.
	Remove func()
	// Keyed returns the body of an event with this key: the service's delivery id, or
	// another text that distinguishes its events.
	Keyed func(key string) []byte
	// Named returns the body of an event with this key about the chat with this id. Nil if
	// events name no chat.
	Named func(chat, key string) []byte
	// Forged are requests that only look authentic.
	Forged []Request
	// Same are bodies of one event and its retries. Different are bodies of events with
	// different meanings.
	Same, Different [][]byte

	// Open begins another chat that an agent serves. PageSize is how many chats a page of the
	// service's list has at most. News changes the open chat so that Sweep gives it another
	// key, and returns the body of the event about it, whose receipt must have that key as
	// its SweepKey. A connector with Sweep needs these three.
	Open     func()
	PageSize int
	News     func() []byte

	// Place is where the chat's agent sees cards. Team is a place that several people see; it
	// may be equal to Place, and is zero if the service has none.
	Place, Team chat.Place
	// Shown returns the texts of the posts that are at Place or Team now.
	Shown func(at chat.Place) []string
	// Markup are texts that the service's clients would show as markup: links, mentions,
	// bold text. Marked returns the parts of the posts at Place in which they would; nil means
	// all of Shown. If clients show every text as it is, both are nil.
	Markup []string
	Marked func() []string
	// Press returns the body of the delivery about an agent who pressed the button of the last
	// card at Team. It is nil unless the service signs presses.
	Press func() []byte
	// VisitorReads returns all texts that the visitor can see.
	VisitorReads func() []string
}

// A Request is a delivery as it arrives.
type Request struct {
	// Name describes the request in a test's failure message.
	Name   string
	Path   string
	Header http.Header
	Body   []byte
}

// accept calls Permit and Accept as the bridge does.
func (r Request) accept(c chat.Connector) (chat.Receipt, error) {
	req, err := r.request()
	if err != nil {
		return chat.Receipt{}, err
	}
	if c.Permit != nil {
		head := *req
		head.Body = http.NoBody
		if _, err := c.Permit(&head); err != nil {
			return chat.Receipt{}, err
		}
	}
	return c.Accept(req, r.Body)
}

func (r Request) request() (*http.Request, error) {
	req, err := http.NewRequest(http.MethodPost, "https://bridge.example.org"+r.Path, strings.NewReader(string(r.Body)))
	if err != nil {
		return nil, err
	}
	req.RemoteAddr = "192.0.2.1:1234"
	req.Header = r.Header.Clone()
	return req, nil
}

// door is the secret address on a card.
const door = "https://bridge.example.org/w/kaeW1Aephei7naiDooqu9Oe4xieph1ieg3ahKu5Chee"

// card returns a card as the bridge shows it at the service's place. If several people see the
// place, the card is Public, since other cards have no address there.
func (s Service) card() chat.Card {
	return chat.Card{
		ID:     "card-1",
		Key:    "card-1",
		Title:  "Co-browse with Ann",
		Lines:  []chat.Line{{Label: "Page", Text: "Basket"}},
		Button: chat.Link{Label: "Co-browse", Address: door},
		Public: s.Connector.IsShared(s.Place.Address),
	}
}

// refusal returns the answer that refuses a request with a code.
func (h Harness) refusal(code string) (status int, body string) {
	if h.Refusal != nil {
		return h.Refusal(code)
	}
	return http.StatusBadRequest, fmt.Sprintf(`{"success":false,"error":%q}`, code)
}

// Run runs the suite as sub-tests of t.
func Run(t *testing.T, h Harness) {
	s := h.New(t, func(rt http.RoundTripper) http.RoundTripper { return rt })
	if (s.Connector.Accept == nil) != (s.Connector.Read == nil) {
		t.Error("a connector with Accept needs Read, and the other way round")
	}
	if s.Connector.Show == nil && (s.Connector.Shared != nil || s.Connector.AllShared || s.Connector.SignsPresses) {
		t.Error("a connector without Show has no places and no presses")
	}
	if s.Connector.Accept != nil {
		t.Run("Accept", h.accept)
		t.Run("IDs", h.ids)
		t.Run("Chats", h.chats)
		t.Run("Odd answers", h.odd)
	}
	if s.Connector.Serving != nil && (s.Connector.Read == nil || s.Closing == nil || s.HandOver == nil) {
		t.Error("a connector with Serving needs Read, and its service Closing and HandOver")
	} else if s.Connector.Serving != nil {
		t.Run("Serving", h.serving)
	}
	if s.Connector.Sweep != nil && (s.Connector.Read == nil || s.Open == nil || s.PageSize == 0 || s.News == nil) {
		t.Error("a connector with Sweep needs Read, and its service Open, PageSize and News")
	} else if s.Connector.Sweep != nil {
		t.Run("Sweep", h.sweep)
	}
	if s.Connector.Show != nil {
		t.Run("Show", h.show)
		t.Run("Content", h.content)
		t.Run("Places", h.places)
	}
	if s.Connector.Check != nil {
		t.Run("Check", h.findings)
	}
	t.Run("Failures", h.failures)
}

// read returns what Read makes of the service's event.
func (s Service) read(ctx context.Context) (chat.Ask, error) {
	_, ask, err := s.deliver(ctx, s.Event())
	return ask, err
}

// deliver returns the receipt of a delivery with this body, and what Read makes of it.
func (s Service) deliver(ctx context.Context, body []byte) (chat.Receipt, chat.Ask, error) {
	r, err := s.Genuine(body).accept(s.Connector)
	if err != nil {
		return r, chat.Ask{}, fmt.Errorf("deliver: %w", err)
	}
	ask, err := s.Connector.Read(ctx, chat.Delivery{Key: r.Key, Body: kept(r, body), Received: time.Now()})
	return r, ask, err
}

// mustDeliver is deliver for a delivery that must not fail.
func (s Service) mustDeliver(t *testing.T, body []byte) (chat.Receipt, chat.Ask) {
	t.Helper()
	r, ask, err := s.deliver(t.Context(), body)
	if err != nil || r.Key == "" {
		t.Fatalf("key %q, error %v: %.200s", r.Key, err, body)
	}
	return r, ask
}

// A call is one capability that talks to the chat service.
type call struct {
	name string
	// prepare reads what do needs, before any fault is set; it may be nil.
	prepare func(context.Context) error
	do      func(context.Context) error
}

// calls returns the capabilities of a service that make requests. For Check, which returns
// findings, the error is the text of all problems and warnings; its statuses are not checked.
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
			return s.Connector.Sweep(ctx, func(context.Context, []chat.Delivery) error { return nil })
		}})
	}
	if s.Connector.Forward != nil {
		var kept []byte
		all = append(all, call{
			name: "Forward",
			prepare: func(context.Context) error {
				r, err := s.Genuine(s.Event()).accept(s.Connector)
				if kept = r.Forward; err == nil && kept == nil {
					err = errors.New("the receipt has nothing to forward")
				}
				return err
			},
			do: func(ctx context.Context) error {
				return s.Connector.Forward(ctx, chat.Delivery{Key: "event", Body: kept, Received: time.Now()})
			},
		})
	}
	if s.Connector.Show != nil {
		all = append(all, call{name: "Show", do: func(ctx context.Context) error {
			_, err := s.Connector.Show(ctx, s.Place, s.card())
			return err
		}})
	}
	if s.Connector.Check != nil {
		all = append(all, call{name: "Check", do: func(ctx context.Context) error {
			var problems []string
			for _, f := range s.Connector.Check(ctx) {
				if f.OK == "" {
					problems = append(problems, f.Problem+f.Warning+" "+f.Remedy)
				}
			}
			if problems == nil {
				return nil
			}
			return fmt.Errorf("%s", strings.Join(problems, "\n"))
		}})
	}
	return all
}

// kept returns the body that the bridge stores for Read.
func kept(r chat.Receipt, body []byte) []byte {
	if r.Body != nil {
		return r.Body
	}
	return body
}

// leaks fails the test if text contains a secret.
func leaks(t *testing.T, where, text string, secrets []string) {
	t.Helper()
	for _, s := range secrets {
		if s != "" && strings.Contains(text, s) {
			t.Errorf("%s: there is a secret in %q", where, strings.ReplaceAll(text, s, "‹secret›"))
		}
	}
}

// A wire is the connection between a connector and its service. It counts requests, and
// answers each with fault; if fault is nil, it passes them to the service.
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

// at answers the n-th request from now on with wrong. The others reach the service.
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
