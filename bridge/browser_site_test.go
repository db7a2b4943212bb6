package bridge_test

import (
	"bytes"
	"context"
	"fmt"
	"html/template"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/signin/signintest"
	"cobrowse-bridge/connectors/rocketchat"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// A site is a world on loopback ports and in real time, for a real browser. The chat is at
// localhost and the bridge at 127.0.0.1, so that a browser treats them as two sites, as in
// production.
type site struct {
	*world
	chromium context.Context
	scripts  bool // whether browsers run the scripts of pages

	bridgeURL, chatURL        string
	atBridge, atChat, atWatch *tap
	doorAt                    *regexp.Regexp
	proxied                   atomic.Value // the user whom the proxy signs in, a string
}

// A way is how agents sign in at a site.
type way string

const (
	byLink   way = "link"
	byHeader way = "header"
	byOIDC   way = "oidc"
)

// newSite returns a site whose agents sign in this way. Rules is the text of a policy file;
// if it is empty, the built-in policy applies.
func newSite(t *testing.T, by way, rules string) *site {
	t.Helper()
	s := &site{
		world:    &world{T: t, file: filepath.Join(t.TempDir(), "bridge.db"), log: &logBuffer{}},
		atBridge: newTap(), atChat: newTap(), atWatch: newTap(),
	}
	s.must(os.WriteFile(s.file, emptyStore(), 0o600))
	s.logOnFailure()
	serve := func(h http.Handler) (base string) {
		srv := httptest.NewServer(h)
		t.Cleanup(func() {
			srv.CloseClientConnections() // browsers keep some open
			srv.Close()
		})
		return srv.URL
	}
	s.upscope = upscopetest.New(upscopetest.Options{Key: upscopeKey})
	watchURL := serve(s.atWatch.record(s.upscope))
	s.upscope.SetWatchBase(watchURL)
	s.chat = newWorkspace(t)
	s.chatURL = strings.Replace(serve(s.atChat.record(http.HandlerFunc(s.serveChat))), "127.0.0.1", "localhost", 1)

	// The bridge must know its port before it is created.
	var handler http.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { s.bridge.ServeHTTP(w, r) })
	if by == byHeader {
		behind, err := url.Parse(serve(handler))
		s.must(err)
		handler = s.proxy(behind)
	}
	front := httptest.NewUnstartedServer(s.atBridge.record(handler))
	s.bridgeURL = "http://" + front.Listener.Addr().String()
	s.doorAt = regexp.MustCompile(regexp.QuoteMeta(s.bridgeURL) + `(/w/[A-Za-z0-9_-]{43})`)
	s.start(options{config: func(c *bridge.Config) {
		c.Origin, _ = url.Parse(s.bridgeURL)
		var err error
		c.Upscope, err = upscope.New(upscope.Config{URL: watchURL, Key: upscopeKey})
		s.must(err)
		c.WatchHosts, err = upscope.ParseHosts(strings.TrimPrefix(watchURL, "http://"))
		s.must(err)
		server, _ := url.Parse(s.chatURL)
		connector, err := rocketchat.New(rocketchat.Config{
			Name: "rocketchat", URL: server, Secrets: secret.All(webhookSecret), Log: c.Log,
			Reader: rocketchat.Credential{UserID: "readerId", Token: secret.New(readerToken)},
			Poster: rocketchat.Credential{UserID: "posterId", Token: secret.New(posterToken)},
		})
		s.must(err)
		c.Connectors = []chat.Connector{connector}
		switch by {
		case byHeader:
			c.Header, err = signin.NewHeader(signin.HeaderConfig{
				User: "X-Forwarded-User", Name: "X-Forwarded-Preferred-Username", Groups: "X-Forwarded-Groups",
				Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")},
			})
		case byOIDC:
			c.OIDC, err = s.oidc(c, serve)
		}
		s.must(err)
		if rules != "" {
			p, err := policy.Parse("policy.yaml", []byte(rules))
			s.must(err)
			c.Policy = policy.Fixed(p)
		}
	}})
	front.Start()
	t.Cleanup(func() {
		s.bridge.EndStreams()
		front.CloseClientConnections()
		front.Close()
	})
	return s
}

// users are the agents of a site by user name, each with a display name and a group.
var users = map[string]struct{ name, group string }{"bob": {"Bob Baker", "support"}, "eve": {"Eve Evans", "leads"}}

// proxy is a trusted proxy in front of the bridge. It signs every request in as the user in
// s.proxied, which is bob at first.
func (s *site) proxy(behind *url.URL) http.Handler {
	s.proxied.Store("bob")
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(behind)
			r.Out.Host = r.In.Host
			user := s.proxied.Load().(string)
			r.Out.Header.Set("X-Forwarded-User", user)
			r.Out.Header.Set("X-Forwarded-Preferred-Username", users[user].name)
			r.Out.Header.Set("X-Forwarded-Groups", users[user].group)
		},
		// A browser that disconnected is not worth a log line.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
}

// oidc returns the sign-in at an issuer on another site (localhost, like the chat).
func (s *site) oidc(c *bridge.Config, serve func(http.Handler) string) (*signin.OIDC, error) {
	var issuer *signintest.Issuer
	at := strings.Replace(serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		issuer.ServeHTTP(w, r)
	})), "127.0.0.1", "localhost", 1)
	config := signintest.Config{URL: at, ClientID: "bridge", ClientSecret: clientSecret, Redirect: s.bridgeURL + "/signin/callback"}
	for sub, user := range users {
		config.Users = append(config.Users, signintest.User{Sub: sub, Name: user.name, Groups: []string{user.group}})
	}
	issuer = signintest.New(config)
	return signin.NewOIDC(signin.OIDCConfig{
		Issuer: at, ClientID: "bridge", ClientSecret: clientSecret, Scopes: []string{"profile", "email", "groups"},
		Origin: c.Origin, Secret: c.Secret, Sessions: c.Store.AgentSessions(), Log: c.Log,
	})
}

// chatPage is the chat as an agent sees it: the latest direct message. One link opens a new
// tab, as in Rocket.Chat; the other opens in the same tab. The form is an attack: another site
// posts to the door.
var chatPage = template.Must(template.New("").Parse(`<!doctype html>
<html lang="en"><title>Chat</title><link rel="icon" href="data:,">
<h1>Chat</h1>
{{with .}}<p><a id="here" href="{{.}}">Open here</a>
<p><a id="tab" href="{{.}}" target="_blank" rel="noopener noreferrer">Open in a tab</a>
<form method="post" action="{{.}}"><button>Win a prize</button></form>{{end}}
`))

func (s *site) serveChat(w http.ResponseWriter, r *http.Request) {
	if strings.HasPrefix(r.URL.Path, "/api/") {
		s.chat.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	address := ""
	if username, ok := strings.CutPrefix(r.URL.Path, "/direct/"); ok {
		address = s.latestDoor(username)
	}
	if err := chatPage.Execute(w, address); err != nil {
		s.Error(err)
	}
}

// latestDoor returns the address of the door in an agent's latest direct message, or "".
func (s *site) latestDoor(username string) string {
	posts := s.chat.Posts(username)
	if len(posts) == 0 {
		return ""
	}
	return s.doorAt.FindString(posts[len(posts)-1].Text)
}

// card opens a chat with these fields, has bob take it, and returns the address of the door
// in bob's message.
func (s *site) card(fields map[string]string) (door string) {
	s.Helper()
	before := s.latestDoor("bob")
	room := s.openChat(fields)
	s.chat.Take(room, "bob")
	s.deliver(room)
	return s.waitForNewDoor(before)
}

// deliver sends the bridge the event that a room was taken.
func (s *site) deliver(room string) {
	s.Helper()
	body, header := s.chat.Event("LivechatSessionTaken", room)
	r, err := http.NewRequestWithContext(s.Context(), http.MethodPost, s.bridgeURL+"/hooks/rocketchat", bytes.NewReader(body))
	s.must(err)
	r.Header = header
	got, err := http.DefaultClient.Do(r)
	s.must(err)
	s.must(got.Body.Close())
	if got.StatusCode != http.StatusOK {
		s.Fatalf("the webhook was answered %d", got.StatusCode)
	}
}

// waitForNewDoor waits until the door in bob's latest message differs from before, and returns it.
func (s *site) waitForNewDoor(before string) (door string) {
	s.Helper()
	s.atChat.await(s.T, "a card with another door", func() bool {
		door = s.latestDoor("bob")
		return door != "" && door != before
	})
	return door
}

// expireDoors makes all doors expire. It waits for the database, which the bridge is using.
func (s *site) expireDoors() {
	s.Helper()
	s.sql("PRAGMA busy_timeout = 30000; UPDATE cards SET door_until = 1")
}

// wantWatched checks for which visitors a watch link was requested.
func (s *site) wantWatched(visitors ...string) {
	s.Helper()
	var got []string
	for _, w := range s.upscope.Watches() {
		got = append(got, w.VisitorID)
	}
	if n := s.upscope.Requests()[upscopetest.Watch]; n != len(visitors) || !slices.Equal(got, visitors) {
		s.Errorf("watch links of %q were requested in %d calls, want %q", got, n, visitors)
	}
}

// wantNoLeaks checks that no answer of the bridge had a watch link in its body, and that no
// browser sent an address of the bridge as Referer to another site.
func (s *site) wantNoLeaks() {
	s.Helper()
	for _, v := range s.atBridge.all() {
		for _, w := range s.upscope.Watches() {
			id := w.URL[strings.LastIndexByte(w.URL, '/')+1:]
			if strings.Contains(v.body, id) {
				s.Errorf("the answer to %s %s holds a watch link", v.method, v.path)
			}
		}
	}
	for _, v := range slices.Concat(s.atWatch.all(), s.atChat.all()) {
		if from := v.header.Get("Referer"); strings.HasPrefix(from, s.bridgeURL) {
			s.Errorf("%s %s came with the Referer %s", v.method, v.path, from)
		}
	}
}

// A tap records the requests to a server and its answers.
type tap struct {
	mu     sync.Mutex
	visits []visit
	next   chan struct{} // closed with the next visit
}

type visit struct {
	method, path string
	header       http.Header
	status       int
	body         string
}

func (v visit) String() string {
	return fmt.Sprintf("%s %d (mode %q, user %q, site %q)", v.method, v.status,
		v.header.Get("Sec-Fetch-Mode"), v.header.Get("Sec-Fetch-User"), v.header.Get("Sec-Fetch-Site"))
}

func newTap() *tap { return &tap{next: make(chan struct{})} }

func (t *tap) record(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer := &tapWriter{ResponseWriter: w, status: http.StatusOK}
		h.ServeHTTP(answer, r)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.visits = append(t.visits, visit{r.Method, r.URL.Path, r.Header.Clone(), answer.status, answer.body.String()})
		close(t.next)
		t.next = make(chan struct{})
	})
}

func (t *tap) all() []visit {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.visits)
}

// of returns the visits of one address.
func (t *tap) of(address string) []visit {
	u, _ := url.Parse(address)
	return slices.DeleteFunc(t.all(), func(v visit) bool { return v.path != u.Path })
}

// await waits until ready returns true. It checks at once and after each visit.
func (t *tap) await(tb testing.TB, what string, ready func() bool) {
	tb.Helper()
	timeout := time.After(3 * time.Minute)
	for {
		t.mu.Lock()
		next := t.next
		t.mu.Unlock()
		if ready() {
			return
		}
		select {
		case <-next:
		case <-timeout:
			tb.Fatalf("not within three minutes: %s", what)
		}
	}
}

type tapWriter struct {
	http.ResponseWriter
	status int
	body   bytes.Buffer
}

func (w *tapWriter) WriteHeader(status int) {
	w.status = status
	w.ResponseWriter.WriteHeader(status)
}

func (w *tapWriter) Write(p []byte) (int, error) {
	return io.MultiWriter(w.ResponseWriter, &w.body).Write(p)
}

func (w *tapWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
