package connectortest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/chat"
)

func (h Harness) accept(t *testing.T) {
	t.Run("a forged delivery is refused without a request", h.refusesForged)
	t.Run("Permit decides without the body and without I/O", h.permitsWithoutBody)
	t.Run("equal events have equal keys, different events have different keys", h.keysEvents)
	t.Run("any body is handled", h.acceptsAnyBody)
	t.Run("an unknown path has no route", h.hasNoRouteElsewhere)
}

func (h Harness) refusesForged(t *testing.T) {
	var w wire
	s := h.New(t, w.wrap)
	for _, r := range slices.Concat(s.Forged, s.mutations(s.Genuine(s.Event()))) {
		receipt, err := r.accept(s.Connector)
		if !errors.Is(err, chat.ErrForged) {
			t.Errorf("%s: got error %v, want ErrForged", r.Name, err)
		}
		if receipt.Key != "" || receipt.Body != nil || receipt.Answer != nil || receipt.Note != "" || receipt.Changes != nil {
			t.Errorf("%s: got a receipt with the error", r.Name)
		}
	}
	if _, err := s.Genuine(s.Event()).accept(s.Connector); err != nil {
		t.Errorf("the genuine delivery is refused after the forged ones: %v", err)
	}
	if n := w.requests(); n != 0 {
		t.Errorf("Accept made %d requests", n)
	}
}

func (h Harness) permitsWithoutBody(t *testing.T) {
	var w wire
	s := h.New(t, w.wrap)
	if s.Connector.Permit == nil {
		t.Skip("the connector has no Permit")
	}
	permit := func(r Request) (proven bool, err error) {
		req, err := r.request()
		if err != nil {
			t.Fatal(err)
		}
		req.Body, req.ContentLength = unread{t}, 1<<30
		return s.Connector.Permit(req)
	}
	refused := 0
	for _, r := range slices.Concat(s.Forged, s.mutations(s.Genuine(s.Event()))) {
		// Permit need not recognise every forged request: Accept does, see above.
		switch proven, err := permit(r); {
		case errors.Is(err, chat.ErrForged), errors.Is(err, chat.ErrNoRoute):
			refused++
		case err != nil:
			t.Errorf("%s: got error %v, want ErrForged or ErrNoRoute", r.Name, err)
		case proven:
			t.Errorf("%s: the sender is reported as proven", r.Name)
		}
	}
	if refused == 0 {
		t.Error("Permit refuses none of the forged deliveries")
	}
	elsewhere := s.Genuine(s.Event())
	elsewhere.Path = "/hooks/nobody/x"
	if _, err := permit(elsewhere); !errors.Is(err, chat.ErrNoRoute) && !errors.Is(err, chat.ErrForged) {
		t.Errorf("another path: got %v", err)
	}
	if _, err := permit(s.Genuine(s.Event())); err != nil {
		t.Errorf("the genuine delivery is refused: %v", err)
	}
	if n := w.requests(); n != 0 {
		t.Errorf("Permit made %d requests", n)
	}
}

func (h Harness) keysEvents(t *testing.T) {
	s := h.New(t, (&wire{}).wrap)
	key := func(body []byte) string {
		r, err := s.Genuine(body).accept(s.Connector)
		if err != nil || r.Key == "" {
			t.Fatalf("an event was not accepted: key %q, error %v: %.200s", r.Key, err, body)
		}
		return r.Key
	}
	seen := make(map[string]int)
	for i, body := range s.Different {
		k := key(body)
		if j, dup := seen[k]; dup {
			t.Errorf("the different events %d and %d have the same key", j, i)
		}
		seen[k] = i
	}
	for _, body := range s.Same {
		if key(body) != key(s.Same[0]) {
			t.Errorf("a retry has another key: %.200s", body)
		}
	}
}

func (h Harness) acceptsAnyBody(t *testing.T) {
	s := h.New(t, (&wire{}).wrap)
	size := s.Connector.MaxBody
	if size == 0 {
		size = 1 << 20
	}
	event := s.Event()
	bodies := map[string][]byte{
		"nothing": nil, "null": []byte("null"), "a list": []byte("[]"), "a number": []byte("1"),
		"an empty object": []byte("{}"), "not UTF-8": {0xff, 0xfe, 0}, "half an event": event[:len(event)/2],
		"deep lists":   []byte(strings.Repeat("[", 100_000)),
		"deep objects": []byte(strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)),
		"all spaces":   bytes.Repeat([]byte(" "), int(size)),
		"too large":    []byte(`{"a":"` + strings.Repeat("x", int(size)) + `"}`),
	}
	for name, body := range bodies {
		r, err := s.Genuine(body).accept(s.Connector)
		if err == nil && r.Key != "" && len(body) < 10 {
			t.Errorf("%s is accepted as a delivery", name)
		}
		if err != nil && len(err.Error()) > 300 {
			t.Errorf("%s: the error repeats its input", name)
		}
		if err != nil {
			leaks(t, name, err.Error(), s.Secrets)
		}
	}
}

func (h Harness) hasNoRouteElsewhere(t *testing.T) {
	s := h.New(t, (&wire{}).wrap)
	r := s.Genuine(s.Event())
	for _, path := range []string{"/nothing-of-the-kind", "/../x", "/%2e"} {
		r := r
		r.Path += path
		if _, err := r.accept(s.Connector); !errors.Is(err, chat.ErrNoRoute) && !errors.Is(err, chat.ErrForged) {
			t.Errorf("%s: got %v", path, err)
		}
	}
}

// unread is a body that must not be read.
type unread struct{ t *testing.T }

func (u unread) Read([]byte) (int, error) {
	u.t.Error("the body is read")
	return 0, io.EOF
}

func (u unread) Close() error { return nil }

// mutations returns copies of a genuine request, each with a change in a header that proves the
// sender.
func (s Service) mutations(genuine Request) []Request {
	var all []Request
	with := func(name, header string, values ...string) {
		r := Request{Name: fmt.Sprintf("%s %s", header, name), Path: genuine.Path, Body: genuine.Body, Header: genuine.Header.Clone()}
		r.Header[header] = values
		all = append(all, r)
	}
	for header, values := range genuine.Header {
		v := values[0]
		if !s.proves(genuine, header) {
			continue
		}
		with("missing", header)
		with("empty", header, "")
		with("doubled", header, v, v)
		with("after a wrong one", header, "wrong", v)
		with("before a wrong one", header, v, "wrong")
		with("with a space before it", header, " x"+v)
		with("too long", header, v+"0")
		with("too short", header, v[:len(v)-1])
		with("twice in one", header, v+","+v)
		if up := strings.ToUpper(v); up != v {
			with("in capitals", header, up)
		}
		for i := range len(v) * 8 {
			flipped := []byte(v)
			flipped[i/8] ^= 1 << (i % 8)
			with(fmt.Sprintf("with bit %d flipped", i), header, string(flipped))
		}
	}
	all = append(all, Request{Name: "no header at all", Path: genuine.Path, Body: genuine.Body, Header: http.Header{}})
	return all
}

// proves reports whether a header proves the sender: it has a secret or a signature, or the
// request is forged without it, as with the time that is signed. Proxies may repeat
// X-Forwarded-For, so the connector's own tests cover that.
func (s Service) proves(genuine Request, header string) bool {
	switch {
	case header == "X-Forwarded-For":
		return false
	case slices.Contains(s.Secrets, genuine.Header[header][0]), strings.Contains(strings.ToLower(header), "signature"):
		return true
	}
	without := genuine
	without.Header = genuine.Header.Clone()
	without.Header.Del(header)
	_, err := without.accept(s.Connector)
	return errors.Is(err, chat.ErrForged)
}
