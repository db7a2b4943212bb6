package main

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// secrets are the secrets in a test's settings. They contain characters that URLs, JSON
// or HTML escape, where the services allow that.
type secrets struct {
	upscope, webhook, reader, poster, client string
	bridge                                   []byte
}

func newSecrets() secrets {
	key := make([]byte, 32)
	_, _ = rand.Read(key) // never fails
	return secrets{
		upscope: `upscope/key+"` + rand.Text(), webhook: `webhook/<secret>&` + rand.Text(),
		reader: `reader%20token+` + rand.Text(), poster: `poster\token/` + rand.Text(),
		client: `client<secret>+` + rand.Text(), bridge: key,
	}
}

const (
	origin  = "https://bridge.example.org"
	pageKey = "7b0c5e62-a4f1-4c1f-9d3e-2d9f1c6b1a77"
)

// services are an Upscope and a Rocket.Chat on loopback.
type services struct {
	secrets
	upscope    *upscopetest.Server
	chat       *rocketchattest.Workspace
	upscopeURL string
	// upscopeAhead is how far Upscope's clock is ahead of ours, a time.Duration.
	upscopeAhead atomic.Int64
	chatURL      string
}

func newServices(t testing.TB) *services {
	t.Helper()
	s := &services{secrets: newSecrets()}
	s.upscope = upscopetest.New(upscopetest.Options{Key: s.secrets.upscope, Now: func() time.Time {
		return time.Now().Add(time.Duration(s.upscopeAhead.Load()))
	}})
	s.chat = rocketchattest.New(t.Errorf)
	s.chat.Secret = s.webhook
	for _, u := range []rocketchattest.User{
		{ID: "readerId", Username: "cobrowse.reader", Token: s.reader, Roles: []string{"bot", "livechat-monitor"}},
		{ID: "posterId", Username: "cobrowse", Token: s.poster, Roles: []string{"bot"}},
		{ID: "a1", Username: "bob", Name: "Bob Baker", Email: "bob@example.org", Roles: []string{"user", "livechat-agent"}},
		{ID: "a2", Username: "eve", Name: "Eve Evans", Roles: []string{"user", "livechat-agent"}},
	} {
		s.chat.AddUser(u)
	}
	s.chat.AddField("upscope_key", "visitor")
	s.chat.AddField("upscope_code", "visitor")
	s.upscopeURL, s.chatURL = listen(t, s.upscope), listen(t, s.chat)
	return s
}

func listen(t testing.TB, h http.Handler) (address string) {
	server := httptest.NewServer(h)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return server.URL
}

// env returns valid settings for these services, with a new database.
func (s *services) env(t testing.TB) map[string]string {
	return map[string]string{
		"BRIDGE_ORIGIN": origin, "BRIDGE_LISTEN": "127.0.0.1:0", "BRIDGE_METRICS_LISTEN": "off", "BRIDGE_LOG_LEVEL": "debug",
		// Requests that are not for loopback, as of `bridge check` to the origin, end at a port on which
		// nothing listens.
		"HTTPS_PROXY":     "http://127.0.0.1:1",
		"BRIDGE_DATABASE": "sqlite:" + filepath.Join(t.TempDir(), "bridge.db"),
		"BRIDGE_SECRET":   base64.StdEncoding.EncodeToString(s.bridge), "BRIDGE_CONNECTORS": "rocketchat",
		"UPSCOPE_API_KEY": s.secrets.upscope, "UPSCOPE_URL": s.upscopeURL,
		"ROCKETCHAT_URL": s.chatURL, "ROCKETCHAT_WEBHOOK_SECRET": s.webhook,
		"ROCKETCHAT_READER_ID": "readerId", "ROCKETCHAT_READER_TOKEN": s.reader,
		"ROCKETCHAT_POSTER_ID": "posterId", "ROCKETCHAT_POSTER_TOKEN": s.poster,
	}
}

// ann adds a visitor to Upscope who is online with the page key.
func (s *services) ann() (shortID string) {
	id := s.upscope.Come(upscope.Visitor{
		Name: "Ann Silva", UniqueID: "cust-77", Identities: []string{"rocketchat:" + pageKey},
		LastURL: "https://shop.example.org/basket", LocationCity: "Lisbon", LocationCountryName: "Portugal",
	})
	s.upscope.SetIntegrationIDs(id, "rocketchat:"+pageKey)
	return id
}

// openChat begins a chat of a visitor. The visitor's page gave these custom fields to
// Rocket.Chat.
func (s *services) openChat(fields map[string]string) (room string) {
	return s.chat.StartChat(rocketchattest.Visitor{
		ID: rand.Text(), Username: "guest-7", Name: "Ann", Token: "visitor-" + rand.Text(), Email: "ann@example.org", Fields: fields,
	})
}

func pageKeyFields() map[string]string { return map[string]string{"upscope_key": pageKey} }

var doorAddress = regexp.MustCompile(regexp.QuoteMeta(origin) + `(/w/[A-Za-z0-9_-]{43})`)

// door returns the path of the card's link in an agent's latest direct message.
func (s *services) door(t testing.TB, username string) string {
	t.Helper()
	posts := s.chat.Posts(username)
	if len(posts) == 0 {
		t.Fatalf("%s has no direct message", username)
	}
	m := doorAddress.FindStringSubmatch(posts[len(posts)-1].Text)
	if m == nil {
		t.Fatalf("no link in %q", posts[len(posts)-1].Text)
	}
	return m[1]
}

// A browser sends requests to one bridge. It keeps cookies and sends fetch metadata as
// Chromium does.
type browser struct {
	t          testing.TB
	address    string
	client     *http.Client
	cookies    map[string]string
	setCookies []string    // values of all cookies that were set
	answers    *transcript // may be nil
}

func newBrowser(t testing.TB, address string) *browser {
	b := &browser{t: t, address: address, cookies: map[string]string{}, client: newClient()}
	t.Cleanup(b.client.CloseIdleConnections)
	return b
}

// newClient follows no redirects. Its timeout ends before the test's.
func newClient() *http.Client {
	return &http.Client{
		Transport:     &http.Transport{MaxIdleConnsPerHost: 64},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		Timeout:       maxWait,
	}
}

type answer struct {
	*http.Response
	body string
}

func (b *browser) send(method, path string, header http.Header, body io.Reader) (answer, error) {
	r, err := http.NewRequestWithContext(b.t.Context(), method, "http://"+b.address+path, body)
	if err != nil {
		return answer{}, err
	}
	r.Host = strings.TrimPrefix(origin, "https://")
	if header != nil {
		r.Header = header.Clone()
	}
	for name, value := range b.cookies {
		r.AddCookie(&http.Cookie{Name: name, Value: value})
	}
	res, err := b.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return answer{}, err
	}
	for _, c := range res.Cookies() {
		if b.cookies[c.Name] = c.Value; c.Value != "" {
			b.setCookies = append(b.setCookies, c.Value)
		}
	}
	a := answer{res, string(text)}
	b.answers.add(a)
	return a, nil
}

// do sends a request, and fails the test if there is no answer.
func (b *browser) do(method, path string, header http.Header, body io.Reader) answer {
	b.t.Helper()
	a, err := b.send(method, path, header, body)
	if err != nil {
		b.t.Fatal(err)
	}
	return a
}

func navigation(site string) http.Header {
	return http.Header{
		"User-Agent":     {"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"},
		"Accept":         {"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
		"Sec-Fetch-Site": {site}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-User": {"?1"}, "Sec-Fetch-Dest": {"document"},
	}
}

// follow opens a link as a person's click in the chat does.
func (b *browser) follow(path string) answer {
	b.t.Helper()
	return b.do(http.MethodGet, path, navigation("cross-site"), nil)
}

// loadPage opens a page as a restored tab does, without a click. The co-browse page is
// then shown instead of a redirect to the screen.
func (b *browser) loadPage(path string) answer {
	b.t.Helper()
	header := navigation("none")
	header.Del("Sec-Fetch-User")
	return b.do(http.MethodGet, path, header, nil)
}

// press sends a form as a person's press of a button does. The page is loaded first.
func (b *browser) press(path string, form url.Values) answer {
	b.t.Helper()
	if b.cookies["__Host-browser"] == "" {
		b.loadPage(path)
	}
	return b.do(http.MethodPost, path, formHeader(), strings.NewReader(form.Encode()))
}

// formHeader has the headers that a browser sends with a form after a person's press.
func formHeader() http.Header {
	header := navigation("same-origin")
	header.Set("Origin", origin)
	header.Set("Content-Type", "application/x-www-form-urlencoded")
	return header
}

// deliverEvent sends an event of a room as the workspace does.
func (b *browser) deliverEvent(s *services, event, room string) {
	b.t.Helper()
	body, header := s.chat.Event(event, room)
	a := b.do(http.MethodPost, "/hooks/rocketchat", header, bytes.NewReader(body))
	a.want(b.t, http.StatusOK)
	if a.body != "" {
		b.t.Errorf("%s was answered with the text %q, which the visitor can read", event, a.body)
	}
}

func (a answer) want(t testing.TB, status int, texts ...string) {
	t.Helper()
	if a.StatusCode != status {
		t.Fatalf("answered %d, want %d: %s", a.StatusCode, status, a.body)
	}
	for _, text := range texts {
		if !strings.Contains(a.body, text) {
			t.Errorf("the page has no %q: %s", text, a.body)
		}
	}
}

// wantWatch checks the redirect to a watch link, the only answer that may contain one.
func (a answer) wantWatch(t testing.TB) string {
	t.Helper()
	location := a.Header.Get("Location")
	if a.StatusCode != http.StatusSeeOther || !strings.HasPrefix(location, "https://cobrowsingapi.com/session/") {
		t.Fatalf("answered %d to %q: %s", a.StatusCode, location, a.body)
	}
	if a.Header.Get("Cache-Control") != "no-store" || a.Header.Get("Referrer-Policy") != "no-referrer" || a.body != "" {
		t.Errorf("the redirect is cached, leaks a referrer or has a body: %v %q", a.Header, a.body)
	}
	return location
}

// transcript has the answers of a bridge, without two headers that are secrets of the
// browser: Location of a redirect, and Set-Cookie.
type transcript struct {
	mu   sync.Mutex
	text strings.Builder
}

func (h *transcript) add(a answer) {
	if h == nil {
		return
	}
	header := a.Header.Clone()
	header.Del("Set-Cookie")
	if a.StatusCode == http.StatusSeeOther {
		header.Del("Location")
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.text.WriteString(a.Status + "\n")
	_ = header.Write(&h.text) // to memory
	h.text.WriteString(a.body + "\n")
}

func (h *transcript) String() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.text.String()
}

// roomOf finds the room in a card's text.
var roomOf = regexp.MustCompile(`/live/(room[0-9]+)`)

// postsByRoom counts an agent's direct messages by the room they are about.
func (s *services) postsByRoom(username string) map[string]int {
	posts := map[string]int{}
	for p := range slices.Values(s.chat.Posts(username)) {
		if m := roomOf.FindStringSubmatch(p.Text); m != nil {
			posts[m[1]]++
		}
	}
	return posts
}
