package connectortest

import (
	"bytes"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
)

func (h Harness) accept(t *testing.T) {
	t.Run("a forged delivery is refused and nothing is asked", func(t *testing.T) {
		var w wire
		s := h.New(t, w.wrap)
		for _, r := range slices.Concat(s.Forged, mutations(s.Genuine(s.Event()), s.Secrets)) {
			receipt, err := r.accept(s.Connector)
			if !errors.Is(err, bridge.ErrForged) {
				t.Errorf("%s: got error %v, want ErrForged", r.Name, err)
			}
			if receipt.Key != "" || receipt.Body != nil || receipt.Answer != nil || receipt.Note != "" || receipt.Changes != nil {
				t.Errorf("%s: got a receipt beside the error", r.Name)
			}
		}
		if _, err := s.Genuine(s.Event()).accept(s.Connector); err != nil {
			t.Errorf("the genuine delivery is refused after the forged ones: %v", err)
		}
		if n := w.requests(); n != 0 {
			t.Errorf("Accept made %d requests", n)
		}
	})

	t.Run("equal events have equal keys, different events different ones", func(t *testing.T) {
		s := h.New(t, (&wire{}).wrap)
		key := func(body []byte) string {
			r, err := s.Genuine(body).accept(s.Connector)
			if err != nil || r.Key == "" {
				t.Fatalf("an event was not taken: key %q, error %v: %.200s", r.Key, err, body)
			}
			return r.Key
		}
		seen := make(map[string]int)
		for i, body := range s.Different {
			k := key(body)
			if j, dup := seen[k]; dup {
				t.Errorf("different events %d and %d have one key", j, i)
			}
			seen[k] = i
		}
		for _, body := range s.Same {
			if key(body) != key(s.Same[0]) {
				t.Errorf("the same event got another key: %.200s", body)
			}
		}
	})

	t.Run("an event that closes a chat says so before it is read", func(t *testing.T) {
		s := h.New(t, (&wire{}).wrap)
		if s.Closing == nil {
			t.Skip("no event of this service closes a chat")
		}
		body := s.Closing()
		receipt, err := s.Genuine(body).accept(s.Connector)
		if err != nil || receipt.Key == "" || len(receipt.Changes) != 1 || !receipt.Changes[0].Closed || receipt.Changes[0].Agent != "" {
			t.Fatalf("got %+v, %v", receipt, err)
		}
		// The bridge looks for the change by the chat that Read names.
		ask, err := s.Connector.Read(t.Context(), bridge.Delivery{Key: receipt.Key, Body: kept(receipt, body), Received: time.Now()})
		if err != nil || ask.Chat == "" || ask.Chat != receipt.Changes[0].Chat {
			t.Errorf("the change is about chat %q, and Read says %q, %v", receipt.Changes[0].Chat, ask.Chat, err)
		}
	})

	t.Run("any body is survived", func(t *testing.T) {
		s := h.New(t, (&wire{}).wrap)
		size := s.Connector.MaxBody
		if size == 0 {
			size = 1 << 20
		}
		event := s.Event()
		bodies := map[string][]byte{
			"nothing": nil, "null": []byte("null"), "a list": []byte("[]"), "a number": []byte("1"),
			"an empty object": []byte("{}"), "no UTF-8": {0xff, 0xfe, 0}, "half an event": event[:len(event)/2],
			"deep lists":   []byte(strings.Repeat("[", 100_000)),
			"deep objects": []byte(strings.Repeat(`{"a":`, 100_000) + "1" + strings.Repeat("}", 100_000)),
			"all spaces":   bytes.Repeat([]byte(" "), int(size)),
			"too large":    []byte(`{"a":"` + strings.Repeat("x", int(size)) + `"}`),
		}
		for name, body := range bodies {
			r, err := s.Genuine(body).accept(s.Connector)
			if err == nil && r.Key != "" && len(body) < 10 {
				t.Errorf("%s became a delivery", name)
			}
			if err != nil && len(err.Error()) > 300 {
				t.Errorf("%s: the error echoes its input", name)
			}
			if err != nil {
				leaks(t, name, err.Error(), s.Secrets)
			}
		}
	})

	t.Run("a path that means nothing is told so", func(t *testing.T) {
		s := h.New(t, (&wire{}).wrap)
		r := s.Genuine(s.Event())
		for _, path := range []string{"/nothing-of-the-kind", "/../x", "/%2e"} {
			r := r
			r.Path += path
			if _, err := r.accept(s.Connector); !errors.Is(err, bridge.ErrNoRoute) && !errors.Is(err, bridge.ErrForged) {
				t.Errorf("%s: got %v", path, err)
			}
		}
	})
}

// mutations changes what carries a secret or a signature: any header whose value
// is not plainly harmless.
func mutations(genuine Request, secrets []string) []Request {
	var all []Request
	with := func(name, header string, values ...string) {
		r := Request{Name: fmt.Sprintf("%s %s", header, name), Path: genuine.Path, Body: genuine.Body, Header: genuine.Header.Clone()}
		r.Header[header] = values
		all = append(all, r)
	}
	for header, values := range genuine.Header {
		v := values[0]
		if !slices.Contains(secrets, v) && !strings.Contains(strings.ToLower(header), "signature") {
			continue
		}
		with("left out", header)
		with("empty", header, "")
		with("doubled", header, v, v)
		with("beside a wrong one", header, "wrong", v)
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
