package bridge_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/connectors/rocketchat"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// Secrets of the world. None of them may appear in a log, the store or a page.
const (
	upscopeKey    = "canary-upscope-key-5f0e1b"
	webhookSecret = "canary-webhook-secret-77ab"
	readerToken   = "canary-reader-token-c31d9"
	posterToken   = "canary-poster-token-e0f42"
	adminToken    = "canary-admin-token-61d0a"
	visitorToken  = "canary-visitor-token-19aa7"
	bridgeSecret  = "canary-bridge-secret-0123456789a" // 32 bytes
	pageKey       = "7b0c5e62-a4f1-4c1f-9d3e-2d9f1c6b1a77"
)

const origin = "https://bridge.example.org"

// A world is a bridge between a Rocket.Chat workspace and Upscope, all in one process and in
// virtual time.
type world struct {
	*testing.T
	upscope *upscopetest.Server
	chat    *rocketchattest.Workspace
	bridge  *bridge.Bridge
	store   *store.Store
	calls   *metrics.Calls // of the database
	// readings serves calls; see databaseReads.
	readings http.Handler
	database string // the address of a PostgreSQL database, or empty
	file     string
	log      *logBuffer
	stop     func()
	config   bridge.Config
	end      func()
	visitor  string // ann's short id
	trouble  bool   // the test makes something fail; see wantNoOtherTrouble
}

type options struct {
	config     func(*bridge.Config)
	rocketchat func(*rocketchat.Config)
	upscope    func(*upscopetest.Options)
	transport  func(service string, rt http.RoundTripper) http.RoundTripper
	// sweeping makes the bridge sweep the workspace for open rooms.
	sweeping bool
}

// inWorld runs a test in its own world.
func inWorld(t *testing.T, test func(w *world), opts ...options) {
	t.Helper()
	t.Parallel()
	file := filepath.Join(t.TempDir(), "bridge.db")
	if err := os.WriteFile(file, emptyStore(), 0o600); err != nil {
		t.Fatal(err)
	}
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t, file, opts...)
		test(w)
		w.wantNoOtherTrouble()
	})
}

// emptyStore returns the bytes of an empty store. Tests copy it, because creating the tables
// each time would take most of their time.
var emptyStore = sync.OnceValue(func() []byte {
	folder, err := os.MkdirTemp("", "bridge-test-")
	if err != nil {
		panic(err)
	}
	defer os.RemoveAll(folder)
	file := filepath.Join(folder, "bridge.db")
	s, err := store.Open(context.Background(), "sqlite:"+file, store.Options{Secret: []byte(bridgeSecret)})
	if err != nil {
		panic(err)
	}
	if err := s.Close(); err != nil {
		panic(err)
	}
	data, err := os.ReadFile(file)
	if err != nil {
		panic(err)
	}
	return data
})

func newWorld(t *testing.T, file string, opts ...options) *world {
	t.Helper()
	w := &world{T: t, file: file, log: &logBuffer{}}
	w.logOnFailure()
	service := upscopetest.Options{Key: upscopeKey}
	for _, o := range opts {
		if o.upscope != nil {
			o.upscope(&service)
		}
	}
	w.upscope = upscopetest.New(service)
	w.chat = newWorkspace(t)
	w.start(opts...)
	return w
}

func newWorkspace(t testing.TB) *rocketchattest.Workspace {
	chat := rocketchattest.New(t.Errorf)
	chat.Secret = webhookSecret
	chat.AddUser(rocketchattest.User{ID: "readerId", Username: "cobrowse.reader", Token: readerToken, Roles: []string{"bot", "livechat-monitor"}})
	chat.AddUser(rocketchattest.User{ID: "adminId", Username: "cobrowse.admin", Token: adminToken, Roles: []string{"admin"}})
	chat.AddUser(rocketchattest.User{ID: "posterId", Username: "cobrowse", Token: posterToken, Roles: []string{"bot"}})
	chat.AddUser(rocketchattest.User{ID: "a1", Username: "bob", Name: "Bob Baker", Email: "bob@example.org", Roles: []string{"user", "livechat-agent"}})
	chat.AddUser(rocketchattest.User{ID: "a2", Username: "eve", Name: "Eve Evans", Roles: []string{"user", "livechat-agent"}})
	chat.AddField("upscope_key", "visitor")
	chat.AddField("upscope_code", "visitor")
	return chat
}

// start starts the bridge on the world's store, and stops it when the test ends.
func (w *world) start(opts ...options) {
	w.Helper()
	transport := func(service string, h http.Handler) http.RoundTripper {
		rt := bridge.InProcess(h)
		for _, o := range opts {
			if o.transport != nil {
				rt = o.transport(service, rt)
			}
		}
		return rt
	}
	log := slog.New(slog.NewJSONHandler(w.log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	var err error
	w.calls = metrics.NewCalls()
	w.store, err = store.Open(w.Context(), "sqlite:"+w.file, store.Options{Secret: []byte(bridgeSecret), Log: log, Calls: w.calls})
	w.must(err)
	account := upscope.Config{URL: "https://api.upscope.io", Key: upscopeKey, Transport: transport("upscope", w.upscope)}
	client, err := upscope.New(account)
	w.must(err)
	eraser, err := upscope.NewEraser(account)
	w.must(err)
	chatURL, _ := url.Parse("https://chat.example.org")
	settings := rocketchat.Config{
		Name: "rocketchat", URL: chatURL, Secrets: secret.All(webhookSecret), Log: log,
		Reader:    rocketchat.Credential{UserID: "readerId", Token: secret.New(readerToken)},
		Poster:    rocketchat.Credential{UserID: "posterId", Token: secret.New(posterToken)},
		Transport: transport("rocketchat", w.chat),
		Command:   rocketchat.Command{Token: secret.New(commandToken), Channels: []string{"helpdesk"}},
	}
	for _, o := range opts {
		if o.rocketchat != nil {
			o.rocketchat(&settings)
		}
	}
	connector, err := rocketchat.New(settings)
	w.must(err)
	sweep := connector.Sweep
	connector.Sweep = nil // see sweeping
	for _, o := range opts {
		if o.sweeping {
			connector.Sweep = sweep
		}
	}
	hosts, err := upscope.ParseHosts(upscope.DefaultWatchHosts)
	w.must(err)
	publicURL, _ := url.Parse(origin)
	config := bridge.Config{
		Origin: publicURL, Secret: []byte(bridgeSecret), Store: w.store, Upscope: client, WatchHosts: hosts,
		Connectors: []chat.Connector{connector}, Eraser: eraser, Log: log,
	}
	for _, o := range opts {
		if o.config != nil {
			o.config(&config)
		}
	}
	w.config = config
	w.bridge, err = bridge.New(config)
	w.must(err)
	w.run()
	w.end = sync.OnceFunc(func() {
		w.stop()
		w.must(w.store.Close())
	})
	w.Cleanup(w.end)
}

// restart stops the bridge and starts another on the same store.
func (w *world) restart(opts ...options) {
	w.Helper()
	w.end()
	w.start(opts...)
}

// run runs the bridge's jobs until stop is called.
func (w *world) run() {
	ctx, cancel := context.WithCancel(w.Context())
	done := make(chan error, 1)
	go func() { done <- w.bridge.Run(ctx) }()
	w.stop = sync.OnceFunc(func() {
		cancel()
		if err := <-done; err != nil && !errors.Is(err, context.Canceled) {
			w.Errorf("Run: %v", err)
		}
	})
}

func (w *world) must(err error) {
	w.Helper()
	if err != nil {
		w.Fatal(err)
	}
}

// pass lets virtual time pass while jobs run. During a long time they run only in the last
// six seconds of each of twenty parts, because polling all the time would make tests of hours slow.
func (w *world) pass(d time.Duration) {
	const short, awake = 30 * time.Second, 6 * time.Second
	for part := max(short, d/20); d > short; d -= part {
		part = min(part, d)
		w.stop()
		<-time.After(part - awake)
		w.run()
		<-time.After(awake)
	}
	<-time.After(d)
	synctest.Wait()
}

// idle lets virtual time pass without jobs, and then starts them again.
func (w *world) idle(d time.Duration) {
	w.stop()
	<-time.After(d)
	w.run()
	w.pass(time.Second)
}

// ann adds Ann to Upscope, online with the page key, and returns her short id.
func (w *world) ann() string {
	id := w.upscope.Come(upscope.Visitor{
		Name: "Ann Silva", UniqueID: "cust-77", Identities: []string{"rocketchat:" + pageKey}, LastURL: "https://shop.example.org/basket?step=2",
		LocationCity: "Lisbon", LocationCountryName: "Portugal", BrowserName: "Chrome", DeviceName: "Windows", IsSupported: true,
	})
	w.upscope.SetIntegrationIDs(id, "rocketchat:"+pageKey)
	w.visitor = id
	return id
}

// openChat opens a chat of a visitor whose page gave Rocket.Chat these fields.
func (w *world) openChat(fields map[string]string) (room string) {
	return w.chat.StartChat(rocketchattest.Visitor{
		ID: rand.Text(), Username: "guest-7", Name: "Ann", Token: visitorToken, Email: "ann@example.org", Fields: fields,
	})
}

func withPageKey() map[string]string { return map[string]string{"upscope_key": pageKey} }

// deliverEvent delivers an event about the present state of a room.
func (w *world) deliverEvent(event, room string) {
	w.Helper()
	body, header := w.chat.Event(event, room)
	if got := w.post("/hooks/rocketchat", body, header); got.StatusCode != http.StatusOK || got.body != "" {
		w.Fatalf("%s was answered %d %q", event, got.StatusCode, got.body)
	}
}

// bobTakes has bob take a room, delivers the event and waits a second.
func (w *world) bobTakes(room string) {
	w.Helper()
	w.chat.Take(room, "bob")
	w.deliverEvent("LivechatSessionTaken", room)
	w.pass(time.Second)
}

func request(method, path string, body io.Reader) *http.Request {
	r := httptest.NewRequest(method, path, body)
	r.Host = strings.TrimPrefix(origin, "https://")
	return r
}

func (w *world) post(path string, body []byte, header http.Header) *answer {
	r := request(http.MethodPost, path, bytes.NewReader(body))
	r.Header = header.Clone()
	return w.do(r)
}

type answer struct {
	*http.Response
	body string
}

func (w *world) do(r *http.Request) *answer {
	rec := httptest.NewRecorder()
	w.bridge.ServeHTTP(rec, r)
	res := rec.Result()
	body, err := io.ReadAll(res.Body)
	w.must(err)
	return &answer{res, string(body)}
}

var doorAddress = regexp.MustCompile(`https://bridge\.example\.org(/w/[A-Za-z0-9_-]{43})`)

// door returns the path of the door in an agent's latest direct message.
func (w *world) door(username string) string {
	w.Helper()
	posts := w.chat.Posts(username)
	if len(posts) == 0 {
		w.Fatalf("%s has no direct message", username)
	}
	m := doorAddress.FindStringSubmatch(posts[len(posts)-1].Text)
	if m == nil {
		w.Fatalf("no door in %q", posts[len(posts)-1].Text)
	}
	return m[1]
}

// posts checks how many direct messages an agent has, and returns the last.
func (w *world) posts(username string, want int) string {
	w.Helper()
	posts := w.chat.Posts(username)
	if len(posts) != want {
		w.Fatalf("%s has %d direct messages, want %d: %+v", username, len(posts), want, posts)
	}
	if want == 0 {
		return ""
	}
	return posts[want-1].Text
}

// A browser keeps cookies and sends fetch metadata as Chromium does.
type browser struct {
	*world
	cookies map[string]*http.Cookie
	// proxied, if not nil, changes each request as a proxy in front of the bridge does.
	proxied func(*http.Request)
}

func (w *world) browser() *browser { return &browser{world: w, cookies: map[string]*http.Cookie{}} }

// follow sends the request of a person who follows a link in the chat.
func (b *browser) follow(path string) *answer {
	r := request(http.MethodGet, path, nil)
	r.Header.Set("Sec-Fetch-Site", "cross-site")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	r.Header.Set("Sec-Fetch-User", "?1")
	return b.send(r)
}

// press sends the request of a person who presses a button on a page. It loads the page first if needed.
func (b *browser) press(path string, form url.Values) *answer {
	if b.cookies["__Host-browser"] == nil {
		b.loads(path)
	}
	r := b.form(path, form)
	r.Header.Set("Sec-Fetch-User", "?1")
	return b.send(r)
}

// loads opens a page without a person's click, so that the bridge shows the page.
func (b *browser) loads(path string) *answer {
	r := request(http.MethodGet, path, nil)
	r.Header.Set("Sec-Fetch-Site", "none")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	return b.send(r)
}

// submitByScript sends the request of a script that submits a form of the page.
func (b *browser) submitByScript(path string, form url.Values) *answer {
	return b.send(b.form(path, form))
}

func (b *browser) form(path string, form url.Values) *http.Request {
	r := request(http.MethodPost, path, strings.NewReader(form.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Origin", origin)
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	return r
}

func (b *browser) send(r *http.Request) *answer {
	r.Header.Set("User-Agent", chromium)
	if b.proxied != nil {
		b.proxied(r)
	}
	for _, c := range b.cookies {
		r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
	}
	a := b.do(r)
	for _, c := range a.Cookies() {
		b.cookies[c.Name] = c
	}
	return a
}

func (a *answer) want(t testing.TB, status int, texts ...string) {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("answered %d, want %d: %s", a.StatusCode, status, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			t.Errorf("the page does not contain %q: %s", text, a.body)
		}
	}
}

// wantWatch checks that the answer redirects to a watch link, and returns the link.
func (a *answer) wantWatch(t testing.TB) string {
	t.Helper()
	location := a.Header.Get("Location")
	if a.StatusCode != http.StatusSeeOther || !strings.HasPrefix(location, "https://cobrowsingapi.com/session/") {
		t.Fatalf("answered %d to %q: %s", a.StatusCode, location, a.body)
	}
	if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Referrer-Policy") != "no-referrer" || a.body != "" {
		t.Errorf("the redirect may be cached, may send a Referer or has a body: %v %q", a.Header, a.body)
	}
	return location
}

// logBuffer is a log in memory. It is safe for concurrent use.
type logBuffer struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logBuffer) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logBuffer) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// logOnFailure prints the log of a test that failed.
func (w *world) logOnFailure() {
	w.Cleanup(func() {
		if w.Failed() {
			w.Log(w.log.String())
		}
	})
}

// failInserts makes every insert into a table fail, until allowInserts.
func (w *world) failInserts(table string) {
	w.Helper()
	w.sql("CREATE TRIGGER refuse BEFORE INSERT ON " + table + " BEGIN SELECT RAISE(ABORT, 'refused'); END")
}

// allowInserts ends failInserts.
func (w *world) allowInserts() { w.sql("DROP TRIGGER refuse") }

func (w *world) sql(statement string) {
	w.Helper()
	db, err := sql.Open("sqlite", "file:"+w.file+"?_pragma=busy_timeout(10000)")
	w.must(err)
	_, err = db.ExecContext(w.Context(), statement)
	w.must(errors.Join(err, db.Close()))
}
