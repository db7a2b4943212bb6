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
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/signin/signintest"
	"cobrowse-bridge/connectors/rocketchat"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// A site is a world on loopback ports and in real time, for a real browser. Its
// chat is at localhost and its bridge at 127.0.0.1, so that a browser takes them
// for two sites, as they are in life.
type site struct {
	*world
	chromium context.Context
	scripts  bool // whether browsers run the scripts of pages

	bridgeURL, chatURL        string
	atBridge, atChat, atWatch *tap
	doorAt                    *regexp.Regexp
	proxied                   atomic.Value // the user whom the proxy names, a string
}

// A way is how agents sign in at a site.
type way string

const (
	byLink   way = "link"
	byHeader way = "header"
	byOIDC   way = "oidc"
)

// newSite is a site in which agents sign in this way. Rules are those of a policy
// file; with none, the policy is the built-in one.
func newSite(t *testing.T, by way, rules string) *site {
	t.Helper()
	s := &site{
		world:    &world{T: t, file: filepath.Join(t.TempDir(), "bridge.db"), log: &logBuffer{}},
		atBridge: newTap(), atChat: newTap(), atWatch: newTap(),
	}
	s.must(os.WriteFile(s.file, emptyStore(), 0o600))
	s.explain()
	serve := func(h http.Handler) (base string) {
		srv := httptest.NewServer(h)
		t.Cleanup(func() {
			srv.CloseClientConnections() // a browser keeps some
			srv.Close()
		})
		return srv.URL
	}
	s.upscope = upscopetest.New(upscopetest.Options{Key: upscopeKey})
	watchURL := serve(s.atWatch.record(s.upscope))
	s.upscope.SetWatchBase(watchURL)
	s.chat = newWorkspace(t)
	s.chatURL = strings.Replace(serve(s.atChat.record(http.HandlerFunc(s.serveChat))), "127.0.0.1", "localhost", 1)

	// The bridge has to know its port before it exists.
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
		chat, _ := url.Parse(s.chatURL)
		connector, err := rocketchat.New(rocketchat.Config{
			Name: "rocketchat", URL: chat, Secrets: []string{webhookSecret}, Log: c.Log,
			Reader: rocketchat.Credential{UserID: "readerId", Token: readerToken},
			Poster: rocketchat.Credential{UserID: "posterId", Token: posterToken},
		})
		s.must(err)
		c.Connectors = []bridge.Connector{connector}
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

// users are the people of a site: their name and what group they are in.
var users = map[string]struct{ name, group string }{"bob": {"Bob Baker", "support"}, "eve": {"Eve Evans", "leads"}}

// proxy is a trusted proxy in front of the bridge. It signs everybody in as the user
// whom s.proxied has, who is bob at first.
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
		// A browser that has left is nothing to log.
		ErrorHandler: func(w http.ResponseWriter, _ *http.Request, _ error) { w.WriteHeader(http.StatusBadGateway) },
	}
}

// oidc is the sign-in at an issuer that is another site, as the chat is.
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

// chatPage is what an agent reads: the latest direct message, whose link opens a
// tab of its own as in Rocket.Chat, and here in this tab as well. Beside it is a form
// that another site has no business to have.
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
		address = s.posted(username)
	}
	if err := chatPage.Execute(w, address); err != nil {
		s.Error(err)
	}
}

// posted is the door in an agent's latest direct message, or nothing.
func (s *site) posted(username string) string {
	posts := s.chat.Posts(username)
	if len(posts) == 0 {
		return ""
	}
	return s.doorAt.FindString(posts[len(posts)-1].Text)
}

// card has bob take the chat of a visitor with these fields, and gives the
// address of the door in the message that he gets.
func (s *site) card(fields map[string]string) (door string) {
	s.Helper()
	before := s.posted("bob")
	room := s.opens(fields)
	s.chat.Take(room, "bob")
	s.deliver(room)
	return s.fresh(before)
}

// deliver tells the bridge that a room was taken.
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

// fresh waits until bob's latest message has another door than before.
func (s *site) fresh(before string) (door string) {
	s.Helper()
	s.atChat.await(s.T, "a card with another door", func() bool {
		door = s.posted("bob")
		return door != "" && door != before
	})
	return door
}

// expire lets the time of all doors be over. The bridge is writing meanwhile.
func (s *site) expire() {
	s.Helper()
	s.sql("PRAGMA busy_timeout = 30000; UPDATE cards SET door_until = 1")
}

// watched checks which visitors a watch link was asked for.
func (s *site) watched(visitors ...string) {
	s.Helper()
	var got []string
	for _, w := range s.upscope.Watches() {
		got = append(got, w.VisitorID)
	}
	if n := s.upscope.Requests()[upscopetest.Watch]; n != len(visitors) || !slices.Equal(got, visitors) {
		s.Errorf("watch links of %q were asked for in %d calls, want %q", got, n, visitors)
	}
}

// secretive checks that no watch link was ever in a page of ours, and that no
// browser told anybody where it came from.
func (s *site) secretive() {
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

// A tap remembers what a server was asked and what it answered.
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
		seen := &tapWriter{ResponseWriter: w, status: http.StatusOK}
		h.ServeHTTP(seen, r)
		t.mu.Lock()
		defer t.mu.Unlock()
		t.visits = append(t.visits, visit{r.Method, r.URL.Path, r.Header.Clone(), seen.status, seen.body.String()})
		close(t.next)
		t.next = make(chan struct{})
	})
}

func (t *tap) all() []visit {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.Clone(t.visits)
}

// of are the visits of one address.
func (t *tap) of(address string) []visit {
	u, _ := url.Parse(address)
	return slices.DeleteFunc(t.all(), func(v visit) bool { return v.path != u.Path })
}

// await looks after each visit whether what it waits for is there.
func (t *tap) await(tb testing.TB, what string, there func() bool) {
	tb.Helper()
	patience := time.After(time.Minute)
	for {
		t.mu.Lock()
		next := t.next
		t.mu.Unlock()
		if there() {
			return
		}
		select {
		case <-next:
		case <-patience:
			tb.Fatalf("waited in vain for %s", what)
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
