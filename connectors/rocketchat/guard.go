package rocketchat

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"unicode"

	"cobrowse-bridge/bridge"
)

// errTarget means that a request was about to leave for a place that is not
// proven to be a direct message with one agent or the channel that the operator
// named. It was not sent.
var errTarget = errors.New("refused to post where it is not proven that only agents read")

// errWrites means that a request of the reader was about to change something.
var errWrites = errors.New("refused to write as the reader")

// dm opens the direct message between the poster and one agent, and returns its
// room id once the server's answer proves that it is exactly that: a room of
// type "d" whose members are those two. Whatever an agent gets is posted and
// edited through it, every time.
func (c *connector) dm(ctx context.Context, agent string) (rid string, err error) {
	own, err := c.ownName(ctx)
	if err != nil {
		return "", err
	}
	if agent == own || !username(agent) {
		return "", bridge.Permanent(errors.New("the place is neither the user name of an agent nor a channel"))
	}
	var answer struct {
		Room struct {
			Type      string   `json:"t"`
			ID        string   `json:"_id"`
			RID       string   `json:"rid"`
			Usernames []string `json:"usernames"`
		} `json:"room"`
	}
	if _, err := c.poster.Post(ctx, api+"im.create", imCreate{Username: agent}, &answer); err != nil {
		return "", c.classify(err, "POSTER", "create-d")
	}
	room := answer.Room
	rid = room.RID
	if rid == "" {
		rid = room.ID
	}
	members := slices.Sorted(slices.Values(room.Usernames))
	wanted := []string{own, agent}
	slices.Sort(wanted)
	if room.Type != "d" || rid == "" || room.ID != "" && room.ID != rid || !slices.Equal(members, wanted) || !c.proven.allow(rid) {
		// Perhaps the poster was renamed; the next try asks again.
		c.posterName.Store(nil)
		return "", fmt.Errorf("im.create did not give the direct message with that agent: %w", errTarget)
	}
	return rid, nil
}

// ownName is the poster's user name.
func (c *connector) ownName(ctx context.Context) (string, error) {
	if name := c.posterName.Load(); name != nil {
		return *name, nil
	}
	var me user
	if _, err := c.poster.Get(ctx, api+"me", nil, &me); err != nil {
		return "", c.classify(err, "POSTER", "a valid personal access token")
	}
	if me.ID != c.posterID || me.Username == "" {
		return "", fmt.Errorf("GET me: the answer is not about the poster (%s)", c.env("POSTER_ID"))
	}
	c.posterName.Store(&me.Username)
	return me.Username, nil
}

// username reports whether s can be the name of one user: im.create and its
// relatives read separators as several names and a leading @ or # as a prefix.
// Further in those are part of a name; directories give names like ann@corp.
func username(s string) bool {
	return s != "" && len(s) <= 256 && s[0] != '@' && s[0] != '#' &&
		!strings.ContainsAny(s, `,/\"'`) &&
		!strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}

// provenOnly is the poster's transport and the last line of defence: whatever
// the code above it does, no request leaves that could put a message anywhere
// but into a direct message between the poster and one agent, or a channel that
// the operator named.
type provenOnly struct {
	next http.RoundTripper

	mu    sync.Mutex
	rooms map[string]bool // proven targets by room id; only dm and channel add to it
	// names are the rooms that channels were first proven to be, by their names.
	names map[string]string
	// young and old are the livechat rooms that were read of late. They are
	// never written to, whatever else is said of them.
	young, old map[string]bool
}

func newProvenOnly(next http.RoundTripper) *provenOnly {
	return &provenOnly{next: next, rooms: make(map[string]bool), names: make(map[string]string)}
}

// remembered is how many livechat rooms are remembered at least; at most it is
// twice as many, a few megabytes.
const remembered = 8192

// livechat notes that a room is one where the visitor reads.
func (d *provenOnly) livechat(rid string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.young[rid] {
		return
	}
	if len(d.young) == remembered {
		d.old, d.young = d.young, nil
	}
	if d.young == nil {
		d.young = make(map[string]bool)
	}
	d.young[rid] = true
}

// allow takes a proven direct message as a target, unless it is known as a
// livechat room.
func (d *provenOnly) allow(rid string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.young[rid] || d.old[rid] {
		return false
	}
	d.rooms[rid] = true
	return true
}

// allowAs does the same for a channel, as long as its name leads where it led
// first in this process: whoever may make channels could otherwise take over a
// name that became free.
func (d *provenOnly) allowAs(name, rid string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	before, known := d.names[name]
	if d.young[rid] || d.old[rid] || known && before != rid {
		return false
	}
	d.names[name], d.rooms[rid] = rid, true
	return true
}

func (d *provenOnly) allowed(rid string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rooms[rid] && !d.young[rid] && !d.old[rid]
}

// RoundTrip sends a GET as it is. Of a POST it sends what was read from its body
// and found harmless, encoded anew: decoders differ in what they make of names
// in another case, of names that come twice and of what follows a value, so the
// bytes that came in could mean something else to the server.
func (d *provenOnly) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method == http.MethodGet {
		return d.next.RoundTrip(req)
	}
	if req.Body == nil {
		return nil, errTarget
	}
	body, err := io.ReadAll(req.Body)
	req.Body.Close()
	if err != nil {
		return nil, err
	}
	_, route, _ := strings.Cut(req.URL.Path, "/"+api)
	checked := d.harmless(route, body)
	if req.Method != http.MethodPost || checked == nil {
		return nil, errTarget
	}
	if body, err = json.Marshal(checked); err != nil {
		return nil, err
	}
	sent := req.Clone(req.Context())
	// A transport that has to begin anew takes the body from GetBody.
	sent.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	sent.Body, _ = sent.GetBody()
	sent.ContentLength = int64(len(body))
	return d.next.RoundTrip(sent)
}

// harmless decodes a body that holds the fields that we use and no others, aims
// at a proven room, and switches link previews off: a preview would let the
// server open the card's door. It is nil for any other.
func (d *provenOnly) harmless(route string, body []byte) any {
	switch route {
	case "im.create":
		var in imCreate
		if strict(body, &in) && username(in.Username) {
			return in
		}
	case "chat.sendMessage":
		var in sendMessage
		if strict(body, &in) && d.allowed(in.Message.RID) && !in.Message.ParseURLs && none(in.PreviewURLs) {
			return in
		}
	case "chat.update":
		var in update
		if strict(body, &in) && d.allowed(in.RoomID) && none(in.PreviewURLs) {
			return in
		}
	}
	return nil
}

// none reports whether a list is there and empty.
func none(list []string) bool { return list != nil && len(list) == 0 }

func strict(body []byte, out any) bool {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	return dec.Decode(out) == nil
}

// getOnly is the transport of everybody but the poster: the reader could post
// in every livechat room, so it never gets to send a POST.
type getOnly struct{ next http.RoundTripper }

func (g getOnly) RoundTrip(req *http.Request) (*http.Response, error) {
	if req.Method != http.MethodGet {
		if req.Body != nil {
			req.Body.Close()
		}
		return nil, errWrites
	}
	return g.next.RoundTrip(req)
}
