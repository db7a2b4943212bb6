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

	"cobrowse-bridge/bridge/chat"
)

// errTarget means that a request was not sent, because its room is not proven to be a direct
// message with one agent or the channel that the operator configured.
var errTarget = errors.New("refused to post where it is not proven that only agents read")

// errWrites means that a request was not sent, because the reader would have written.
var errWrites = errors.New("refused to write as the reader")

// dm opens the direct message between the poster and one agent and returns its room id. The
// server's answer must prove that the room has the type "d" and that these two are its only
// members. Every post and edit for an agent begins with it.
func (c *connector) dm(ctx context.Context, agent string) (rid string, err error) {
	own, err := c.ownName(ctx)
	if err != nil {
		return "", err
	}
	if agent == noUserName {
		return "", chat.Permanent(errors.New("the bridge cannot send a direct message to the agent's user name: change it in Rocket.Chat"))
	}
	if agent == own || !username(agent) {
		return "", chat.Permanent(errors.New("the place is neither an agent's user name nor a channel"))
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
	if len(members) > 0 && !slices.ContainsFunc(members, func(m string) bool { return m != own }) {
		// So does the server answer for a name that no user has, also in another case.
		return "", fmt.Errorf("im.create found no user with the agent's name: %w", errTarget)
	}
	if room.Type != "d" || rid == "" || room.ID != "" && room.ID != rid || !slices.Equal(members, wanted) || !c.proven.allow(rid) {
		// The poster may have been renamed; the next attempt reads the name again.
		c.posterName.Store(nil)
		return "", fmt.Errorf("im.create did not return the direct message with that agent: %w", errTarget)
	}
	return rid, nil
}

// ownName returns the poster's user name.
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

// noUserName is the address of an agent whose user name is not one for username. Showing a card
// there fails, so the card is listed as failed.
const noUserName = "@"

// username reports whether s can be the name of one user. im.create reads separators as
// several names, and a leading @ or # as a prefix. An @ or # inside a name is allowed:
// directories have names such as ann@corp.
func username(s string) bool {
	return s != "" && len(s) <= 256 && s[0] != '@' && s[0] != '#' &&
		!strings.ContainsAny(s, `,/\"'`) &&
		!strings.ContainsFunc(s, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) })
}

// provenOnly is the poster's transport. It sends no request that could post anywhere except
// in a direct message between the poster and one agent, or in a channel that the operator
// configured, even if the code that calls it has a mistake.
type provenOnly struct {
	next http.RoundTripper

	mu    sync.Mutex
	rooms map[string]bool // proven targets by room id; only dm and channel add to it
	// firstIDs has, for each channel's name, the id of the first room proven to have it.
	firstIDs map[string]string
	// young and old are the ids of livechat rooms that were read recently. Nothing is
	// written to them, even if they are also in rooms.
	young, old map[string]bool
}

func newProvenOnly(next http.RoundTripper) *provenOnly {
	return &provenOnly{next: next, rooms: make(map[string]bool), firstIDs: make(map[string]string)}
}

// remembered is how many of the latest livechat rooms are remembered at least. There are
// never more than twice as many, which are a few megabytes.
const remembered = 8192

// livechat notes that a visitor can read the room.
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

// allow adds a proven direct message to the targets. It refuses a livechat room.
func (d *provenOnly) allow(rid string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.young[rid] || d.old[rid] {
		return false
	}
	d.rooms[rid] = true
	return true
}

// allowAs adds a proven channel to the targets. It refuses a livechat room, and another room
// than the first that had this name in this process: otherwise a user who may create
// channels could take over a name that became free.
func (d *provenOnly) allowAs(name, rid string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	first, ok := d.firstIDs[name]
	if d.young[rid] || d.old[rid] || ok && first != rid {
		return false
	}
	d.firstIDs[name], d.rooms[rid] = rid, true
	return true
}

func (d *provenOnly) allowed(rid string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rooms[rid] && !d.young[rid] && !d.old[rid]
}

// RoundTrip sends a GET unchanged. It decodes and checks the body of a POST, and sends the
// decoded value, encoded again. JSON decoders differ in how they read names in another case,
// repeated names and data after the value, so the server could read the original bytes
// differently.
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
	checked := d.checkBody(route, body)
	if req.Method != http.MethodPost || checked == nil {
		return nil, errTarget
	}
	if body, err = json.Marshal(checked); err != nil {
		return nil, err
	}
	sent := req.Clone(req.Context())
	// A transport that has to send the request again takes the body from GetBody.
	sent.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	sent.Body, _ = sent.GetBody()
	sent.ContentLength = int64(len(body))
	return d.next.RoundTrip(sent)
}

// checkBody decodes the body of a POST. It returns nil unless the body has only the fields
// that we use, names a proven room, and switches link previews off. With previews the server
// would open the card's link.
func (d *provenOnly) checkBody(route string, body []byte) any {
	switch route {
	case "im.create":
		var in imCreate
		if strict(body, &in) && username(in.Username) {
			return in
		}
	case "chat.sendMessage":
		var in sendMessage
		if strict(body, &in) && d.allowed(in.Message.RID) && !in.Message.ParseURLs && emptyList(in.PreviewURLs) {
			return in
		}
	case "chat.update":
		var in update
		if strict(body, &in) && d.allowed(in.RoomID) && emptyList(in.PreviewURLs) {
			return in
		}
	}
	return nil
}

// emptyList reports whether a list is present and empty.
func emptyList(list []string) bool { return list != nil && len(list) == 0 }

func strict(body []byte, out any) bool {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.DisallowUnknownFields()
	return dec.Decode(out) == nil
}

// getOnly is the transport of the reader and of requests without credentials. It sends GETs
// only: the reader could post in every livechat room.
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
