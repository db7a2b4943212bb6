package bridge_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"

	"github.com/jackc/pgx/v5"
)

// A setup is an Upscope, a Rocket.Chat workspace and bridges between them, in real time: one
// bridge on SQLite, or two replicas on one PostgreSQL database.
type setup struct {
	*testing.T
	upscope  *upscopetest.Server
	chat     *rocketchattest.Workspace
	wire     *wire
	replicas []*world
	oidc     *oidcWorld // where agents sign in; nil in link mode
	bob      *person
}

// onEachSetup runs a test on both databases, each with and without sign-in.
func onEachSetup(t *testing.T, test func(s *setup)) {
	t.Helper()
	t.Parallel()
	for _, database := range []string{"sqlite", "postgres"} {
		for _, mode := range []string{"link", "oidc"} {
			t.Run(database+"/"+mode, func(t *testing.T) {
				t.Parallel()
				test(newSetup(t, database, mode))
			})
		}
	}
}

func newSetup(t *testing.T, database, mode string) *setup {
	t.Helper()
	s := &setup{T: t, wire: newWire(), upscope: upscopetest.New(upscopetest.Options{Key: upscopeKey}), chat: newWorkspace(t)}
	var opts []options
	if mode == "oidc" {
		s.oidc = newOIDCWorld(t, "")
		opts = s.oidc.opts
	}
	addresses := []string{""}
	if database == "postgres" {
		address := newPostgres(t)
		addresses = []string{address, address}
	}
	for i, address := range addresses {
		s.replicas = append(s.replicas, s.newReplica(address, append(opts, options{transport: s.wire.transport(i)})...))
	}
	s.bob = s.newPerson()
	if s.oidc != nil {
		s.oidc.world = s.replicas[0]
		s.bob.cookies = s.oidc.signedIn("bob").cookies
	}
	return s
}

// newReplica starts a bridge on the PostgreSQL database at the address, or on its own SQLite
// file if the address is empty.
func (s *setup) newReplica(address string, opts ...options) *world {
	s.Helper()
	w := &world{T: s.T, file: filepath.Join(s.TempDir(), "bridge.db"), log: &logBuffer{}, upscope: s.upscope, chat: s.chat}
	if err := os.WriteFile(w.file, emptyStore(), 0o600); err != nil {
		s.Fatal(err)
	}
	w.logOnFailure()
	var shared *store.Store
	if address != "" {
		var err error
		shared, err = store.Open(s.Context(), address, store.Options{Secret: []byte(bridgeSecret)})
		w.must(err)
		opts = append([]options{{config: func(c *bridge.Config) { c.Store = shared }}}, opts...)
	}
	w.start(opts...)
	if shared != nil {
		w.must(w.store.Close()) // the file is not used
		w.store, w.database = shared, address
	}
	return w
}

// newPostgres creates an empty database on the server in BRIDGE_TEST_POSTGRES.
func newPostgres(t *testing.T) (address string) {
	t.Helper()
	server := os.Getenv("BRIDGE_TEST_POSTGRES")
	if server == "" {
		t.Skip("BRIDGE_TEST_POSTGRES does not name a PostgreSQL server")
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("BRIDGE_TEST_POSTGRES is not a URL")
	}
	admin := func(query string) {
		conn, err := pgx.Connect(context.Background(), server)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(context.Background())
		if _, err := conn.Exec(context.Background(), query); err != nil {
			t.Fatal(err)
		}
	}
	u.Path = "/bridge_test_" + strings.ToLower(rand.Text())
	admin("CREATE DATABASE " + u.Path[1:])
	t.Cleanup(func() { admin("DROP DATABASE " + u.Path[1:] + " WITH (FORCE)") })
	return u.String()
}

// eventually waits until ok returns true, for at most three minutes.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(3 * time.Minute); !ok(); <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within three minutes: %s", what)
		}
	}
}

// card opens a chat with these fields, has bob take it, and waits for bob's card.
func (s *setup) card(fields map[string]string) (room, door string) {
	s.Helper()
	before := len(s.chat.Posts("bob"))
	room = s.replicas[0].openChat(fields)
	s.chat.Take(room, "bob")
	s.replicas[0].deliverEvent("LivechatSessionTaken", room)
	eventually(s, "a card for bob", func() bool { return len(s.chat.Posts("bob")) > before })
	door = s.replicas[0].door("bob")
	if s.oidc != nil {
		s.confirmAccount(door)
	}
	return room, door
}

// confirmAccount has bob confirm that the account of the card is his, if the page asks him.
func (s *setup) confirmAccount(door string) {
	s.Helper()
	if page := s.bob.look(s.replicas[0], door); strings.Contains(page.body, "Is this your account?") {
		s.bob.post(s.replicas[0], door, url.Values{"connect": {"1"}}).want(s, http.StatusOK, "Co-browse with")
	}
}

// rememberBrowser makes bob's browser one that may go straight on. With sign-in it is one already;
// without, it is one after its first press of any card.
func (s *setup) rememberBrowser() {
	s.Helper()
	if s.oidc != nil {
		return
	}
	other := "another-page-key-0123456789"
	s.addVisitor("Zoe", other)
	_, door := s.card(map[string]string{"upscope_key": other})
	s.bob.press(s.replicas[0], door).wantWatch(s)
	s.wire.forget()
}

// countWatching counts the audit records of presses that got a watch link.
func (s *setup) countWatching() int { return s.replicas[0].countAudited("watching") }

// countAudited counts the audit records with an action.
func (w *world) countAudited(action string) (n int) {
	w.Helper()
	for _, a := range w.auditedActions() {
		if a == action {
			n++
		}
	}
	return n
}

// A person is one browser, which can send several requests at once to any replica. It sends
// the headers of Chromium.
type person struct {
	testing.TB
	mu      sync.Mutex
	cookies map[string]*http.Cookie
}

func (s *setup) newPerson() *person { return &person{TB: s, cookies: map[string]*http.Cookie{}} }

func (p *person) send(at *world, r *http.Request) *answer {
	p.mu.Lock()
	b := &browser{world: at, cookies: maps.Clone(p.cookies)}
	p.mu.Unlock()
	a := b.send(r)
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range a.Cookies() {
		p.cookies[c.Name] = c
	}
	return a
}

// look opens the page of a door. It never skips the page, because it does not send that a
// person followed a link.
func (p *person) look(at *world, door string) *answer {
	return p.send(at, lookRequest(door))
}

func lookRequest(door string) *http.Request {
	r := request(http.MethodGet, door, nil)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	return r
}

// follow clicks the link in the chat.
func (p *person) follow(at *world, door string) *answer { return p.send(at, followRequest(door)) }

func followRequest(door string) *http.Request {
	r := lookRequest(door)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Sec-Fetch-User", "?1")
	return r
}

// post clicks a button of a page.
func (p *person) post(at *world, door string, form url.Values) *answer {
	return p.send(at, postRequest(door, form))
}

func postRequest(door string, form url.Values) *http.Request {
	r := new(browser).form(door, form)
	r.Header.Set("Sec-Fetch-User", "?1")
	return r
}

// press opens the page of a door and presses its button for the only visitor.
func (p *person) press(at *world, door string) *answer {
	p.Helper()
	page := p.look(at, door)
	page.want(p, http.StatusOK)
	return p.post(at, door, url.Values{"visitor": {onlyFormValue(p, page)}})
}

// onlyFormValue returns the form value of the only visitor on a page.
func onlyFormValue(t testing.TB, page *answer) string {
	t.Helper()
	all := formValues(page)
	if len(all) != 1 {
		t.Fatalf("%d visitors on the page, want 1: %s", len(all), page.body)
	}
	for _, value := range all {
		return value
	}
	panic("unreachable")
}

// formValues returns the form values of the visitors on a page, by short id.
func formValues(page *answer) map[string]string {
	all := map[string]string{}
	for part := range strings.SplitSeq(page.body, `name="visitor" value="`) {
		if value, _, ok := strings.Cut(part, `"`); ok {
			if id, fingerprint, ok := strings.Cut(value, "."); ok && id != "" && fingerprint != "" && !strings.ContainsAny(value, "<> ") {
				all[id] = value
			}
		}
	}
	return all
}

// An outage is how the chat service answers the question who serves a chat.
type outage int

const (
	working outage = iota
	broken         // answers 500
	slow           // answers 500 after 3 s
)

// A wire is the network between the bridges and the services. It records which replica
// requested which watch link, can hold such a request, and can make the chat service fail.
type wire struct {
	mu           sync.Mutex
	mints        []minted
	outages      map[string]outage // by room; "" is for all rooms
	onRead       func(room string) // called before each room that can be read; may be nil
	holdRequest  *hold             // holds the next request for a link before Upscope gets it
	holdResponse *hold             // holds the answer to the next request for a link
}

// minted is a watch link that Upscope made.
type minted struct {
	replica             int
	agent, visitor, url string
	at                  time.Time
}

// A hold stops one request until it is released or its context ends.
type hold struct{ reached, release chan struct{} }

func newHold() *hold { return &hold{make(chan struct{}), make(chan struct{})} }

func (h *hold) wait(r *http.Request) error {
	close(h.reached)
	select {
	case <-h.release:
		return nil
	case <-r.Context().Done():
		return r.Context().Err()
	}
}

func newWire() *wire { return &wire{outages: map[string]outage{}} }

func (t *wire) transport(replica int) func(string, http.RoundTripper) http.RoundTripper {
	return func(service string, next http.RoundTripper) http.RoundTripper {
		return roundTrip(func(r *http.Request) (*http.Response, error) {
			switch route := path.Base(r.URL.Path); {
			case service == "rocketchat" && route == "rooms.info":
				return t.roomsInfo(r, next)
			case service == "upscope" && route == "watch_url":
				return t.watch(r, next, replica)
			}
			return next.RoundTrip(r)
		})
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func (t *wire) roomsInfo(r *http.Request, next http.RoundTripper) (*http.Response, error) {
	t.mu.Lock()
	how := max(t.outages[""], t.outages[r.URL.Query().Get("roomId")])
	t.mu.Unlock()
	if how == working {
		if t.onRead != nil {
			t.onRead(r.URL.Query().Get("roomId"))
		}
		return next.RoundTrip(r)
	}
	if how == slow {
		select {
		case <-time.After(3 * time.Second):
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
	return &http.Response{
		StatusCode: http.StatusInternalServerError, ProtoMajor: 1, ProtoMinor: 1, Request: r,
		Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"success":false,"error":"internal"}`)),
	}, nil
}

func (t *wire) watch(r *http.Request, next http.RoundTripper, replica int) (*http.Response, error) {
	t.mu.Lock()
	before, after := t.holdRequest, t.holdResponse
	t.holdRequest, t.holdResponse = nil, nil
	t.mu.Unlock()
	if before != nil {
		if err := before.wait(r); err != nil {
			return nil, err
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	var asked upscopetest.WatchBody
	if err := json.Unmarshal(body, &asked); err != nil {
		return nil, fmt.Errorf("wire: %w", err)
	}
	resp, err := next.RoundTrip(r)
	if err == nil && resp.StatusCode == http.StatusOK {
		var link struct {
			URL string `json:"watch_url"`
		}
		text, err := io.ReadAll(resp.Body)
		if err := errors.Join(err, json.Unmarshal(text, &link)); err != nil {
			return nil, fmt.Errorf("wire: %w", err)
		}
		resp.Body = io.NopCloser(bytes.NewReader(text))
		t.mu.Lock()
		t.mints = append(t.mints, minted{replica, asked.Agent.ID, path.Base(path.Dir(r.URL.Path)), link.URL, time.Now()})
		t.mu.Unlock()
	}
	if after != nil && err == nil {
		if err := after.wait(r); err != nil {
			resp.Body.Close()
			return nil, err
		}
	}
	return resp, err
}

// fail sets how the chat service answers who serves a chat, or any chat if room is empty.
func (t *wire) fail(room string, how outage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outages[room] = how
}

// links returns the watch links that were made since the last forget.
func (t *wire) links() []minted {
	t.mu.Lock()
	defer t.mu.Unlock()
	return append([]minted(nil), t.mints...)
}

func (t *wire) forget() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.mints = nil
}

func (t *wire) holdNextRequest() (before *hold) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.holdRequest = newHold()
	return t.holdRequest
}

func (t *wire) holdNextResponse() (after *hold) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.holdResponse = newHold()
	return t.holdResponse
}

// addVisitor adds a visitor who is online at Upscope with this page key.
func (s *setup) addVisitor(name, key string) (id string) { return addVisitor(s.upscope, name, key) }

func addVisitor(u *upscopetest.Server, name, key string) (id string) {
	id = u.Come(upscope.Visitor{Name: name, Identities: []string{"rocketchat:" + key}, LastURL: "https://shop.example.org/basket"})
	u.SetIntegrationIDs(id, "rocketchat:"+key)
	return id
}
