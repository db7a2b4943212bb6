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

// A stand is an Upscope, a Rocket.Chat workspace and the bridges between them, in real
// time: one bridge on SQLite, or two replicas on one PostgreSQL database.
type stand struct {
	*testing.T
	upscope  *upscopetest.Server
	chat     *rocketchattest.Workspace
	wire     *wire
	replicas []*world
	office   *office // where agents sign in; nil in link mode
	bob      *person
}

// onEachStand runs a test on both databases, with agents who sign in and without.
func onEachStand(t *testing.T, test func(s *stand)) {
	t.Helper()
	t.Parallel()
	for _, database := range []string{"sqlite", "postgres"} {
		for _, mode := range []string{"link", "oidc"} {
			t.Run(database+"/"+mode, func(t *testing.T) {
				t.Parallel()
				test(newStand(t, database, mode))
			})
		}
	}
}

func newStand(t *testing.T, database, mode string) *stand {
	t.Helper()
	s := &stand{T: t, wire: newWire(), upscope: upscopetest.New(upscopetest.Options{Key: upscopeKey}), chat: newWorkspace(t)}
	var opts []options
	if mode == "oidc" {
		s.office = newOffice(t, "")
		opts = s.office.opts
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
	if s.office != nil {
		s.office.world = s.replicas[0]
		s.bob.cookies = s.office.at("bob").cookies
	}
	return s
}

// newReplica starts a bridge on the PostgreSQL database at the address, or on an SQLite
// file of its own if there is none.
func (s *stand) newReplica(address string, opts ...options) *world {
	s.Helper()
	w := &world{T: s.T, file: filepath.Join(s.TempDir(), "bridge.db"), log: &logBuffer{}, upscope: s.upscope, chat: s.chat}
	if err := os.WriteFile(w.file, emptyStore(), 0o600); err != nil {
		s.Fatal(err)
	}
	w.explain()
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
		w.store = shared
	}
	return w
}

// newPostgres makes an empty database on the server that BRIDGE_TEST_POSTGRES names.
func newPostgres(t *testing.T) (address string) {
	t.Helper()
	server := os.Getenv("BRIDGE_TEST_POSTGRES")
	if server == "" {
		t.Skip("BRIDGE_TEST_POSTGRES does not name a PostgreSQL server")
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("BRIDGE_TEST_POSTGRES is no URL")
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

// eventually waits until ok.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("not within a minute: %s", what)
		}
	}
}

// card opens a chat with these fields, has bob take it, and waits for bob's card.
func (s *stand) card(fields map[string]string) (room, door string) {
	s.Helper()
	before := len(s.chat.Posts("bob"))
	room = s.replicas[0].opens(fields)
	s.chat.Take(room, "bob")
	s.replicas[0].tells("LivechatSessionTaken", room)
	eventually(s, "a card for bob", func() bool { return len(s.chat.Posts("bob")) > before })
	door = s.replicas[0].door("bob")
	if s.office != nil {
		s.connect(door)
	}
	return room, door
}

// connect has bob say that the account of the card is his, if he is asked.
func (s *stand) connect(door string) {
	s.Helper()
	if page := s.bob.look(s.replicas[0], door); strings.Contains(page.body, "Is this your account?") {
		s.bob.post(s.replicas[0], door, url.Values{"connect": {"1"}}).want(s, http.StatusOK, "Co-browse with")
	}
}

// remembered has bob's browser be the one that may go straight on. Where agents sign
// in it is already; elsewhere it is after the first press of any card.
func (s *stand) remembered() {
	s.Helper()
	if s.office != nil {
		return
	}
	other := "another-page-key-0123456789"
	s.visitor("Zoe", other)
	_, door := s.card(map[string]string{"upscope_key": other})
	s.bob.press(s.replicas[0], door).wantWatch(s)
	s.wire.forget()
}

// watching counts the records of presses that led to a link.
func (s *stand) watching() int { return s.replicas[0].recorded("watching") }

func (w *world) recorded(action string) (n int) {
	w.Helper()
	for _, a := range w.actions() {
		if a == action {
			n++
		}
	}
	return n
}

// A person is one browser that sends requests to any of the replicas, several at once
// if need be. It sends what Chromium sends.
type person struct {
	testing.TB
	mu      sync.Mutex
	cookies map[string]*http.Cookie
}

func (s *stand) newPerson() *person { return &person{TB: s, cookies: map[string]*http.Cookie{}} }

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

// look opens the page of a door and is never led straight on: the browser does not say
// that a person followed a link.
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

// follow is a click on the link in the chat.
func (p *person) follow(at *world, door string) *answer { return p.send(at, followRequest(door)) }

func followRequest(door string) *http.Request {
	r := lookRequest(door)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Sec-Fetch-User", "?1")
	return r
}

// post is a click on a button of a page.
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
	return p.post(at, door, url.Values{"visitor": {onlyChoice(p, page)}})
}

// onlyChoice is what the form of a page sends back for the only visitor on it.
func onlyChoice(t testing.TB, page *answer) string {
	t.Helper()
	all := choicesOn(page)
	if len(all) != 1 {
		t.Fatalf("there are %d visitors on the page: %s", len(all), page.body)
	}
	for _, value := range all {
		return value
	}
	panic("unreachable")
}

// choicesOn is what the form of a page sends back, by the visitors' short ids.
func choicesOn(page *answer) map[string]string {
	all := map[string]string{}
	for part := range strings.SplitSeq(page.body, `name="visitor" value="`) {
		if value, _, ok := strings.Cut(part, `"`); ok {
			if id, print, ok := strings.Cut(value, "."); ok && id != "" && print != "" && !strings.ContainsAny(value, "<> ") {
				all[id] = value
			}
		}
	}
	return all
}

// An outage is how the chat service fails to say who serves a chat.
type outage int

const (
	working outage = iota
	broken         // it answers 500
	slow           // it answers 500 after 3 s
)

// A wire is between the bridges and the services. It notes which replica had which watch
// link made, can hold a request for one, and makes the chat service fail by chat.
type wire struct {
	mu      sync.Mutex
	mints   []minted
	outages map[string]outage // by room; "" is every room
	read    func(room string) // told of each room that could be read
	before  *hold             // of the next request for a link, before Upscope gets it
	after   *hold             // and after Upscope answered it
}

// minted is a watch link that Upscope made.
type minted struct {
	replica             int
	agent, visitor, url string
	at                  time.Time
}

// A hold stops one request until it is released, or its caller gives up.
type hold struct{ met, release chan struct{} }

func newHold() *hold { return &hold{make(chan struct{}), make(chan struct{})} }

func (h *hold) wait(r *http.Request) error {
	close(h.met)
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
		if t.read != nil {
			t.read(r.URL.Query().Get("roomId"))
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
	before, after := t.before, t.after
	t.before, t.after = nil, nil
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

// fail has the chat service fail to say who serves a chat, or every chat.
func (t *wire) fail(room string, how outage) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.outages[room] = how
}

// links are the watch links made since the last forget.
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

func (t *wire) hold() (before *hold) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.before = newHold()
	return t.before
}

func (t *wire) holdAnswer() (after *hold) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.after = newHold()
	return t.after
}

// visitor is online at Upscope with a page key of their own.
func (s *stand) visitor(name, key string) (id string) { return visitorOf(s.upscope, name, key) }

func visitorOf(u *upscopetest.Server, name, key string) (id string) {
	id = u.Come(upscope.Visitor{Name: name, Identities: []string{"rocketchat:" + key}, LastURL: "https://shop.example.org/basket"})
	u.SetIntegrationIDs(id, "rocketchat:"+key)
	return id
}
