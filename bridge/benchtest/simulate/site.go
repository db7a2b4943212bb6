package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"cobrowse-bridge/upscope/upscopetest"
)

// A site is a support team with its chat service, its customers at Upscope and its bridge. The
// services run in this process, the replicas of the bridge in others.
type site struct {
	program, folder string
	database        string    // BRIDGE_DATABASE
	server          *postgres // nil with SQLite
	chat            *chatService
	upscope         *upscopetest.Server
	bridges         []*bridge
	settings        []string
	client          *http.Client
	turn            atomic.Int64 // of the replicas
	connected       map[int]bool // agents who own their chat accounts at the bridge
	running         sync.WaitGroup
	close           []func()
}

// newSite makes a site without a bridge. database is sqlite, or the address of a PostgreSQL server
// on which it makes a database of its own.
func newSite(ctx context.Context, o options, database string) (*site, error) {
	s := &site{program: o.bridge, connected: map[int]bool{}, chat: newChatService(max(1, o.chats/o.cards), o.delay), upscope: upscopetest.New(upscopetest.Options{Key: upscopeKey})}
	folder, err := os.MkdirTemp("", "bridge-simulate")
	if err != nil {
		return nil, err
	}
	s.folder = folder
	s.close = append(s.close, func() { os.RemoveAll(folder) })
	s.database = "sqlite:" + filepath.Join(folder, "bridge.db")
	if database != "sqlite" {
		if s.server, err = newPostgres(ctx, database); err != nil {
			s.end()
			return nil, err
		}
		s.database = s.server.address
		s.close = append(s.close, s.server.drop)
	}
	chat, upscope := httptest.NewServer(s.chat), httptest.NewServer(delayed(s.upscope, o.delay))
	s.close = append(s.close, chat.Close, upscope.Close)
	s.settings = settings(s.database, chat.URL, upscope.URL)
	transport := &http.Transport{MaxIdleConnsPerHost: 512}
	s.client = &http.Client{
		Transport:     toBridge{transport, func() string { return s.replica().address }},
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
	return s, nil
}

// replica returns the replicas in turn, as a proxy does.
func (s *site) replica() *bridge { return s.bridges[int(s.turn.Add(1))%len(s.bridges)] }

// runReplicas starts or stops replicas until there are n.
func (s *site) runReplicas(ctx context.Context, n int) error {
	for len(s.bridges) < n {
		b, err := startBridge(ctx, s.program, s.folder, s.settings)
		if err != nil {
			return err
		}
		s.bridges = append(s.bridges, b)
	}
	for len(s.bridges) > n {
		last := s.bridges[len(s.bridges)-1]
		s.bridges = s.bridges[:len(s.bridges)-1]
		if err := last.stop(); err != nil {
			return err
		}
	}
	return nil
}

// end stops the bridges and removes all that was made.
func (s *site) end() {
	s.running.Wait()
	for _, b := range s.bridges {
		if err := b.stop(); err != nil {
			fmt.Fprintln(os.Stderr, "simulate:", err)
		}
	}
	for i := len(s.close) - 1; i >= 0; i-- {
		s.close[i]()
	}
}

// send sends a webhook and returns the status of the answer.
func (s *site) send(ctx context.Context, kind string, r *room) (status int, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, origin+"/hooks/rocketchat", bytes.NewReader(s.chat.webhook(kind, r)))
	if err != nil {
		return 0, err
	}
	request.Header.Set("Content-Type", "application/json")
	request.Header.Set("X-RocketChat-Livechat-Token", webhookSecret)
	answer, err := s.client.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return answer.StatusCode, err
}

// get opens a page of the bridge as an agent, with the headers of Chromium after a click in the chat
// and those of the proxy at which the agent signed in.
func (s *site) get(ctx context.Context, path string, agent int) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, origin+path, nil)
	if err != nil {
		return nil, err
	}
	request.Header = http.Header{
		"User-Agent":     {"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/156.0.0.0 Safari/537.36"},
		"Sec-Fetch-Site": {"cross-site"}, "Sec-Fetch-Mode": {"navigate"}, "Sec-Fetch-User": {"?1"}, "Sec-Fetch-Dest": {"document"},
		"Referer":          {s.chatURL()},
		"X-Forwarded-User": {agentName(agent)}, "X-Forwarded-Email": {agentName(agent) + "@example.org"},
	}
	return s.client.Do(request)
}

func (s *site) chatURL() string {
	for _, setting := range s.settings {
		if value, found := strings.CutPrefix(setting, "ROCKETCHAT_URL="); found {
			return value + "/"
		}
	}
	return ""
}

// press follows the link of the card of a reserved chat. If the answer leads to the customer's screen,
// the session goes on in the background. It returns how long the answer took, and its status.
func (s *site) press(ctx context.Context, r *room) (took time.Duration, status int, err error) {
	path, agent := s.chat.card(r)
	began := time.Now()
	answer, err := s.get(ctx, path, agent)
	if err != nil {
		s.chat.release(r)
		return 0, 0, err
	}
	took = time.Since(began)
	answer.Body.Close()
	if answer.StatusCode != http.StatusSeeOther {
		s.chat.release(r)
		return took, answer.StatusCode, nil
	}
	s.running.Go(func() {
		defer s.chat.release(r)
		if err := session(ctx, s.upscope, s.client, answer.Header.Get("Location")); err != nil && ctx.Err() == nil {
			fmt.Fprintln(os.Stderr, "simulate: a session:", err)
		}
	})
	return took, answer.StatusCode, nil
}

// connect opens the co-browse page of a card as its agent. The bridge then knows that the chat account belongs to
// the agent who signed in. A page with a query does not lead straight to the screen.
func (s *site) connect(ctx context.Context, r *room) error {
	path, agent := s.chat.card(r)
	answer, err := s.get(ctx, path+"?page", agent)
	if err != nil {
		return err
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return fmt.Errorf("the co-browse page was answered %d", answer.StatusCode)
	}
	return nil
}

func (s *site) cpu() (seconds float64) {
	for _, b := range s.bridges {
		seconds += b.cpu()
	}
	return seconds
}

func (s *site) memory() (bytes int64) {
	for _, b := range s.bridges {
		bytes += b.memory()
	}
	return bytes
}

// upscopeCalls returns how often the bridge called Upscope, and how many of the calls listed sessions.
func (s *site) upscopeCalls() (all, lists int) {
	for endpoint, n := range s.upscope.Requests() {
		all += n
		if endpoint == upscopetest.Sessions {
			lists += n
		}
	}
	return all, lists
}

var errNotFinished = errors.New("work is left")

// finish waits until every chat has its card and no job has been due for two seconds, or until the
// limit is over. It returns how long it waited.
func (s *site) finish(ctx context.Context, limit time.Duration) (time.Duration, error) {
	began := time.Now()
	for tick := time.NewTicker(250 * time.Millisecond); ; {
		oldest, err := s.bridges[0].oldestJob(ctx)
		if err != nil {
			return time.Since(began), err
		}
		if s.chat.withoutCard() == 0 && oldest < 2 {
			return time.Since(began), nil
		}
		if time.Since(began) > limit {
			return time.Since(began), errNotFinished
		}
		select {
		case <-tick.C:
		case <-ctx.Done():
			return time.Since(began), ctx.Err()
		}
	}
}
