package signin_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/signin/signintest"

	"github.com/alexedwards/scs/v2/memstore"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	origin    = "https://bridge.example"
	issuerURL = "https://login.example/realm"
	clientID  = "bridge"
	clientKey = "the client's secret + more"

	adaID  = "oidc:login.example/realm/ada"
	agents = "agents"
)

// A world is a bridge that can only sign people in, its issuer, and its sessions.
type world struct {
	*testing.T
	oidc   *signin.OIDC
	config signin.OIDCConfig
	issuer *signintest.Issuer
	store  *sessions
	log    *syncBuffer
	// failed is the last error of Begin or Finish.
	failed atomic.Pointer[error]
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (s *syncBuffer) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.Write(p)
}

func (s *syncBuffer) String() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.b.String()
}

func newWorld(t *testing.T, change ...func(*signin.OIDCConfig)) *world {
	t.Helper()
	return newWorldOf(t, func(*signintest.Config) {}, change...)
}

// newWorldOf is newWorld with a change of the issuer's configuration.
func newWorldOf(t *testing.T, issuer func(*signintest.Config), change ...func(*signin.OIDCConfig)) *world {
	t.Helper()
	config := signintest.Config{
		URL: issuerURL, ClientID: clientID, ClientSecret: clientKey, Redirect: origin + "/signin/callback", SignedIn: "ada",
		Users: []signintest.User{
			{Sub: "ada", Name: "Ada Lovelace", Email: "Ada@Corp.example", Groups: []string{agents, "staff"}},
			{Sub: "eve", Name: "Eve", Email: "eve@corp.example", Groups: []string{"staff"}},
		},
	}
	issuer(&config)
	w := &world{T: t, store: newSessions(), log: &syncBuffer{}, issuer: signintest.New(config)}
	w.config = signin.OIDCConfig{
		Issuer: issuerURL, ClientID: clientID, ClientSecret: clientKey,
		Origin: must(url.Parse(origin)), Secret: bytes.Repeat([]byte{7}, 32), Sessions: w.store,
		Transport: w.issuer.Transport(), Log: slog.New(slog.NewTextHandler(w.log, nil)),
	}
	for _, change := range change {
		change(&w.config)
	}
	w.oidc = must(signin.NewOIDC(w.config))
	return w
}

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// ServeHTTP handles the bridge's requests.
func (w *world) ServeHTTP(out http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case "/signin":
		if err := w.oidc.Begin(out, r, r.URL.Query().Get("next")); err != nil {
			w.failed.Store(&err)
			http.Error(out, err.Error(), http.StatusBadGateway)
		}
	case "/signin/callback":
		_, next, err := w.oidc.Finish(out, r)
		w.failed.Store(&err)
		if err != nil {
			http.Error(out, err.Error(), http.StatusForbidden)
			return
		}
		out.Header().Set("Location", next)
		out.WriteHeader(http.StatusSeeOther)
	case "/signout":
		if err := w.oidc.End(out, r); err != nil {
			http.Error(out, err.Error(), http.StatusServiceUnavailable)
		}
	default:
		who, err := w.oidc.Who(r)
		if err != nil {
			http.Error(out, err.Error(), http.StatusUnauthorized)
			return
		}
		fmt.Fprint(out, who.ID)
	}
}

// lastError returns the last error of Begin or Finish.
func (w *world) lastError() error {
	if err := w.failed.Load(); err != nil {
		return *err
	}
	return nil
}

// sessions returns the number of sessions.
func (w *world) sessions() int {
	w.Helper()
	all, err := signin.Sessions(w.Context(), w.store)
	if err != nil {
		w.Fatal(err)
	}
	return len(all)
}

// checkSecrets fails the test if the log, the last error or one of the texts contains a secret.
func (w *world) checkSecrets(texts ...string) {
	w.Helper()
	texts = append(texts, w.log.String())
	if err := w.lastError(); err != nil {
		texts = append(texts, err.Error(), fmt.Sprintf("%+v", err))
	}
	for _, text := range texts {
		for _, secret := range append(w.issuer.Secrets(), "Ada@Corp.example", "ada@corp.example") {
			if strings.Contains(text, secret) {
				w.Errorf("%q contains %q", text, secret)
			}
		}
	}
}

// A browser keeps cookies and follows redirects.
type browser struct {
	*world
	client *http.Client
	jar    http.CookieJar
}

func (w *world) browser() *browser {
	jar := must(cookiejar.New(nil))
	return &browser{world: w, jar: jar, client: &http.Client{Transport: w, Jar: jar}}
}

// RoundTrip passes requests to the bridge or the issuer without a network.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != "bridge.example" {
		return w.issuer.Transport().RoundTrip(r)
	}
	answer := httptest.NewRecorder()
	asked := r.Clone(r.Context())
	asked.RequestURI, asked.Host = r.URL.RequestURI(), r.URL.Host
	w.ServeHTTP(answer, asked)
	return answer.Result(), nil
}

// get follows all redirects and returns the last answer.
func (b *browser) get(path string) (status int, body string) {
	b.Helper()
	answer, err := b.client.Get(absolute(path))
	if err != nil {
		b.Fatal(err)
	}
	return answer.StatusCode, read(b.T, answer)
}

// step makes one request and returns where it redirects to.
func (b *browser) step(path string) (next string) {
	b.Helper()
	one := *b.client
	one.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	answer, err := one.Get(absolute(path))
	if err != nil {
		b.Fatal(err)
	}
	read(b.T, answer)
	return answer.Header.Get("Location")
}

// callback begins a sign-in and returns the address to which the issuer redirects.
func (b *browser) callback() string {
	b.Helper()
	return b.step(b.step("/signin?next=/desk"))
}

func (b *browser) signIn() {
	b.Helper()
	if status, body := b.get("/signin?next=/desk"); status != http.StatusOK || body != adaID {
		b.Fatalf("signing in ended with %d %s", status, body)
	}
}

func (b *browser) cookies() []*http.Cookie { return b.jar.Cookies(must(url.Parse(origin))) }

func absolute(path string) string {
	if strings.HasPrefix(path, "/") {
		return origin + path
	}
	return path
}

func read(t *testing.T, answer *http.Response) string {
	t.Helper()
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// changed returns address with a parameter replaced, or removed if there is no value.
func changed(address, name string, values ...string) string {
	u := must(url.Parse(address))
	q := u.Query()
	q[name] = values
	u.RawQuery = q.Encode()
	return u.String()
}

// sessions is scs's store in memory. It counts reads and writes, and can fail.
type sessions struct {
	*memstore.MemStore
	reads, writes atomic.Int64
	failing       atomic.Bool
	claiming      sync.Mutex
	// found, if set, is called after each read of a session.
	found atomic.Pointer[func()]
}

func newSessions() *sessions {
	return &sessions{MemStore: memstore.NewWithCleanupInterval(0)}
}

var errDisk = errors.New("the disk is full")

func (s *sessions) FindCtx(_ context.Context, token string) ([]byte, bool, error) {
	s.reads.Add(1)
	if s.failing.Load() {
		return nil, false, errDisk
	}
	data, ok, err := s.Find(token)
	if found := s.found.Load(); found != nil {
		(*found)()
	}
	return data, ok, err
}

func (s *sessions) CommitCtx(_ context.Context, token string, data []byte, expiry time.Time) error {
	s.writes.Add(1)
	if s.failing.Load() {
		return errDisk
	}
	return s.Commit(token, data, expiry)
}

func (s *sessions) ClaimCtx(_ context.Context, name string, until time.Time) (bool, error) {
	if s.failing.Load() {
		return false, errDisk
	}
	s.claiming.Lock()
	defer s.claiming.Unlock()
	if _, taken, err := s.Find(name); taken || err != nil {
		return false, err
	}
	return true, s.Commit(name, []byte("{}"), until)
}

func (s *sessions) DeleteCtx(_ context.Context, token string) error {
	s.writes.Add(1)
	if s.failing.Load() {
		return errDisk
	}
	return s.Delete(token)
}

func (s *sessions) AllCtx(context.Context) (map[string][]byte, error) {
	if s.failing.Load() {
		return nil, errDisk
	}
	return s.All()
}

func cancelled(t *testing.T) context.Context {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	return ctx
}
