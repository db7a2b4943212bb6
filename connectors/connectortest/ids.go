package connectortest

import (
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"cobrowse-bridge/bridge/chat"
)

// SeedVariable is the environment variable with the seed of random ids. Without it the seed
// differs from run to run; a failing test prints it.
const SeedVariable = "BRIDGE_TEST_SEED"

// Rand returns a source of random numbers. Its seed is printed if the test fails.
func Rand(t *testing.T) *rand.Rand {
	t.Helper()
	seed, err := strconv.ParseUint(os.Getenv(SeedVariable), 10, 64)
	if err != nil {
		seed = rand.Uint64()
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("to use the same random ids again: %s=%d", SeedVariable, seed)
		}
	})
	return rand.New(rand.NewPCG(seed, 0))
}

// pieces are the parts of random ids. They include characters that separate, escape or end
// something in a path, a query, a header, a database or a key of the bridge.
var pieces = []string{
	"a", "Z", "7", "c-1", "#", "#2", "#12", "/", "//", "..", "../", "./", "%", "%2F", "%2e%2e", "%00", " ", "  ", "?", "&", "=", "+", ";", ":", "@", "\\",
	"'", "\"", "<b>", "{}", "é", "ß", "👩‍💻", "🙂", "\u202e", "\u00a0", "\x00", "\n", "\r\n", "\t", "\x7f",
	"found/", "found/late/", "forward/", "hashed/", "asked/", "open/", strings.Repeat("x", 100), strings.Repeat("/é", 200),
}

// IDs returns n different random ids or keys, all of them UTF-8. Some have 4 KiB, and some are
// the beginning of another one.
func IDs(r *rand.Rand, n int) []string {
	all := []string{"found/late/1", "../agents", "a#2", "a", strings.Repeat("4", 4<<10), strings.Repeat("4", 4<<10-1)}
	seen := map[string]bool{}
	for _, id := range all {
		seen[id] = true
	}
	for len(all) < n {
		var b strings.Builder
		if r.IntN(4) == 0 {
			b.WriteString(all[r.IntN(len(all))])
		}
		for range 1 + r.IntN(4) {
			b.WriteString(pieces[r.IntN(len(pieces))])
		}
		if id := b.String(); !seen[id] {
			seen[id] = true
			all = append(all, id)
		}
	}
	return all[:n]
}

// drawn is how many ids and keys each connector gets.
const drawn = 60

func (h Harness) ids(t *testing.T) {
	t.Run("a chat's id stays unchanged or is refused, and does not change paths", h.keepsChatIDs)
	t.Run("different keys and chats are different deliveries", h.keepsDeliveriesApart)
}

func (h Harness) keepsChatIDs(t *testing.T) {
	var sent requests
	s := h.New(t, sent.wrap)
	if s.Named == nil {
		t.Skip("the service's events name no chat")
	}
	carried := 0
	for _, id := range IDs(Rand(t), drawn) {
		sent.reset()
		body := s.Named(id, "event-1")
		receipt, err := s.Genuine(body).accept(s.Connector)
		for _, change := range receipt.Changes {
			if change.Chat != id {
				t.Errorf("%.60q: the change is about chat %.60q", id, change.Chat)
			}
		}
		if err == nil && receipt.Key != "" {
			carried++
			ask, err := s.Connector.Read(t.Context(), chat.Delivery{Key: receipt.Key, Body: kept(receipt, body), Received: time.Now()})
			if err == nil && ask.Verb != chat.Nothing && ask.Chat != id {
				t.Errorf("%.60q: Read says %v of chat %.60q", id, ask.Verb, ask.Chat)
			}
		}
		if s.Connector.Serving != nil {
			_, _, _ = s.Connector.Serving(t.Context(), id)
		}
		for _, u := range sent.urls() {
			if why := misled(u, id); why != "" {
				t.Errorf("%.60q: %s: %.200s", id, why, u)
			}
		}
	}
	if carried == 0 {
		t.Error("all ids are refused")
	}
}

func (h Harness) keepsDeliveriesApart(t *testing.T) {
	s := h.New(t, (&wire{}).wrap)
	r := Rand(t)
	ids, keys := IDs(r, drawn), IDs(r, drawn)
	events := map[string]func(i int) []byte{"events": func(i int) []byte { return s.Keyed(keys[i]) }}
	if s.Named != nil {
		events["chats"] = func(i int) []byte { return s.Named(ids[i], "event-"+strconv.Itoa(i)) }
	}
	for what, body := range events {
		seen := map[string]int{}
		for i := range drawn {
			receipt, err := s.Genuine(body(i)).accept(s.Connector)
			if err != nil || receipt.Key == "" {
				continue // refused
			}
			if before, dup := seen[receipt.Key]; dup && !s.fails(t, receipt, body(i)) {
				t.Errorf("%s: numbers %d and %d have the same key %.80q", what, i, before, receipt.Key)
			}
			seen[receipt.Key] = i
		}
		if len(seen) == 0 {
			t.Errorf("%s: all of them are refused", what)
		}
	}
}

// fails reports whether Read returns a permanent error for a delivery, which operators see.
func (s Service) fails(t *testing.T, r chat.Receipt, body []byte) bool {
	_, err := s.Connector.Read(t.Context(), chat.Delivery{Key: r.Key, Body: kept(r, body), Received: time.Now()})
	return chat.IsPermanent(err)
}

// misled says what is wrong with the address of a request about a chat, or returns "". An id of two
// bytes, such as "/a", may be a part of the service's own path.
func misled(u *url.URL, id string) string {
	escaped := u.EscapedPath()
	switch unescaped := u.Path; {
	case path.Clean(unescaped) != strings.TrimSuffix(unescaped, "/") && strings.Contains(escaped, ".."):
		return "the id changes the path"
	case len(id) > 2 && (strings.Contains(escaped, id) || strings.Contains(unescaped, id)) && !inOneSegment(escaped, id):
		return "the id is not escaped in the path"
	}
	if _, err := url.ParseQuery(u.RawQuery); err != nil {
		return "the query cannot be read"
	}
	return ""
}

// inOneSegment reports whether a segment of an escaped path contains the id.
func inOneSegment(escaped, id string) bool {
	for segment := range strings.SplitSeq(escaped, "/") {
		if plain, err := url.PathUnescape(segment); err == nil && strings.Contains(plain, id) {
			return true
		}
	}
	return false
}

// requests records the addresses of a connector's requests.
type requests struct {
	mu  sync.Mutex
	all []*url.URL
}

func (q *requests) wrap(next http.RoundTripper) http.RoundTripper {
	return roundTripper(func(req *http.Request) (*http.Response, error) {
		q.mu.Lock()
		q.all = append(q.all, req.URL)
		q.mu.Unlock()
		return next.RoundTrip(req)
	})
}

func (q *requests) urls() []*url.URL {
	q.mu.Lock()
	defer q.mu.Unlock()
	return append([]*url.URL(nil), q.all...)
}

func (q *requests) reset() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.all = nil
}
