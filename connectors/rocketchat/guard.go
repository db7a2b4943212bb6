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

	"cobrowse-bridge/bridge"
)

// errTarget means that a request was about to leave for a place that is not
// known to be a direct message with one agent. It was not sent.
var errTarget = errors.New("refused to post outside a direct message with one agent")

// errWrites means that a request of the reader was about to change something.
var errWrites = errors.New("refused to write as the reader")

// dm opens the direct message between the poster and one agent, and returns its
// room id once the server's answer proves that it is exactly that: a room of
// type "d" whose members are those two. Everything is posted and edited through
// it, every time.
func (c *connector) dm(ctx context.Context, agent string) (rid string, err error) {
	own, err := c.ownName(ctx)
	if err != nil {
		return "", err
	}
	if agent == own || !username(agent) {
		return "", bridge.Permanent(errors.New("the place is not the user name of an agent"))
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
	if room.Type != "d" || rid == "" || room.ID != "" && room.ID != rid || !slices.Equal(members, wanted) {
		// Perhaps the poster was renamed; the next try asks again.
		c.posterName.Store(nil)
		return "", fmt.Errorf("im.create did not give the direct message with that agent: %w", errTarget)
	}
	c.direct.allow(rid)
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
// relatives read separators and prefixes as something else.
func username(s string) bool {
	return s != "" && len(s) <= 256 && !strings.ContainsAny(s, " ,@#/\\\"'\t\r\n")
}

func (d *directOnly) allow(rid string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.rooms[rid] = true
}

func (d *directOnly) allowed(rid string) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.rooms[rid]
}

// RoundTrip sends a GET, and a POST whose very bytes were read and found
// harmless.
func (d *directOnly) RoundTrip(req *http.Request) (*http.Response, error) {
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
	if req.Method != http.MethodPost || !d.harmless(route, body) {
		return nil, errTarget
	}
	sent := req.Clone(req.Context())
	sent.Body = io.NopCloser(bytes.NewReader(body))
	return d.next.RoundTrip(sent)
}

// harmless reports whether a body holds the fields that we use and no others,
// aims at a proven direct message, and switches link previews off: a preview
// would let the server open the card's door.
func (d *directOnly) harmless(route string, body []byte) bool {
	switch route {
	case "im.create":
		var in imCreate
		return strict(body, &in) && username(in.Username)
	case "chat.sendMessage":
		var in sendMessage
		return strict(body, &in) && d.allowed(in.Message.RID) && !in.Message.ParseURLs &&
			in.PreviewURLs != nil && len(in.PreviewURLs) == 0
	case "chat.update":
		var in update
		return strict(body, &in) && d.allowed(in.RoomID) && in.PreviewURLs != nil && len(in.PreviewURLs) == 0
	}
	return false
}

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
