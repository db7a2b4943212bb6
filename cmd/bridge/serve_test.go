package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope/upscopetest"
)

func TestServeLeadsFromATakenChatToTheVisitorsScreen(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	ann := s.ann()
	p, address := startServe(t, s.env(t))
	bob := newBrowser(t, address)

	room := s.openChat(pageKeyFields())
	s.chat.Take(room, "bob")
	bob.deliverEvent(s, "LivechatSessionTaken", room)
	eventually(t, "bob has a card", maxWait, func() bool { return len(s.chat.Posts("bob")) > 0 })
	door := s.door(t, "bob")
	bob.follow(door).want(t, http.StatusOK, "Ann Silva", "Lisbon, Portugal")
	if n := s.upscope.Minted(); n != 0 {
		t.Fatalf("there are %d watch links before a press", n)
	}
	bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
	eventually(t, "the card shows the session", maxWait, func() bool {
		return strings.Contains(s.chat.Posts("bob")[0].Text, "Waiting for Ann")
	})
	if n := len(s.chat.Posts("bob")); n != 1 {
		t.Errorf("bob has %d direct messages", n)
	}
	if n := s.upscope.Minted(); n != 1 {
		t.Errorf("%d watch links for a press", n)
	}

	p.terminate()
	if want := fmt.Sprintf("bridge is ready on %s for %s\n", address, origin); p.out.String() != want {
		t.Errorf("it printed %q, want the one line %q", p.out, want)
	}
	for line := range strings.Lines(p.err.String()) {
		if !json.Valid([]byte(line)) {
			t.Errorf("a line of the log is not JSON: %s", line)
		}
	}
}

func TestSIGTERMAnswersWhatWasAccepted(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	ann := s.ann()
	p, address := startServe(t, s.env(t))
	bob := newBrowser(t, address)
	room := s.openChat(pageKeyFields())
	s.chat.Take(room, "bob")
	bob.deliverEvent(s, "LivechatSessionTaken", room)
	eventually(t, "bob has a card", maxWait, func() bool { return len(s.chat.Posts("bob")) > 0 })

	// A press is waiting for Upscope.
	met, goOn := make(chan struct{}), make(chan struct{})
	s.upscope.Fail(upscopetest.Watch, upscopetest.Fault{Met: func() { close(met); <-goOn }}, 1)
	type result struct {
		answer
		error
	}
	pressed := make(chan result, 1)
	door := s.door(t, "bob")
	bob.loadPage(door)
	go func() {
		a, err := bob.send(http.MethodPost, door, formHeader(), strings.NewReader(url.Values{"visitor": {ann}}.Encode()))
		pressed <- result{a, err}
	}()
	<-met

	// Half of a delivery has arrived.
	second := s.openChat(pageKeyFields())
	s.chat.Take(second, "bob")
	body, header := s.chat.Event("LivechatSessionTaken", second)
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "POST /hooks/rocketchat HTTP/1.1\r\nHost: bridge.example.org\r\nExpect: 100-continue\r\nContent-Length: %d\r\n", len(body))
	_ = header.Write(conn)
	_, _ = io.WriteString(conn, "\r\n")
	answers := make([]byte, 1024)
	n, err := conn.Read(answers) // 100 Continue: the handler reads the body
	if err != nil || !bytes.Contains(answers[:n], []byte("100 Continue")) {
		t.Fatalf("answered %q, %v", answers[:n], err)
	}
	_, _ = conn.Write(body[:len(body)/2])

	began := time.Now()
	p.signal(syscall.SIGTERM)
	eventually(t, "new connections are refused", maxWait, func() bool {
		c, err := net.Dial("tcp", address)
		if err == nil {
			c.Close()
		}
		return err != nil
	})
	close(goOn)
	_, _ = conn.Write(body[len(body)/2:])
	rest, _ := io.ReadAll(conn)
	if !strings.HasPrefix(string(rest), "HTTP/1.1 200 OK") {
		t.Errorf("the delivery was answered %q", rest)
	}
	if got := <-pressed; got.error != nil {
		t.Errorf("the press was not answered: %v", got.error)
	} else {
		got.wantWatch(t)
	}
	if status := p.wait(10 * time.Second); status != 0 {
		t.Errorf("exit status %d", status)
	}
	t.Logf("ended after %v", time.Since(began))

	// The delivery was answered 200, so it is handled after the next start.
	p, _ = startServe(t, p.env)
	eventually(t, "the second chat has its card", maxWait, func() bool { return s.postsByRoom("bob")[second] == 1 })
	p.terminate()
}

func TestSIGTERMEndsTheProgramWithinItsTimeLimit(t *testing.T) {
	if most := 9 * time.Second; stopTimeout > most {
		t.Errorf("requests may run for %v, and supervisors kill after ten seconds", stopTimeout)
	}
	for name, hold := range map[string]func(t *testing.T, s *services, address string){
		"a Rocket.Chat that never answers": func(t *testing.T, s *services, address string) {
			s.chat.Fail("rooms.info", rocketchattest.Fault{Hang: true}, 100)
			room := s.openChat(pageKeyFields())
			s.chat.Take(room, "bob")
			newBrowser(t, address).deliverEvent(s, "LivechatSessionTaken", room)
			eventually(t, "a job waits for Rocket.Chat", maxWait, func() bool { return len(s.chat.Requests()) > 0 })
		},
		"a request whose body never ends": func(t *testing.T, _ *services, address string) {
			conn, err := net.Dial("tcp", address)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(func() { conn.Close() })
			fmt.Fprintf(conn, "POST /hooks/rocketchat HTTP/1.1\r\nHost: bridge.example.org\r\nExpect: 100-continue\r\nContent-Length: 100\r\n\r\n")
			if _, err := conn.Read(make([]byte, 100)); err != nil {
				t.Fatal(err)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServices(t)
			p, address := startServe(t, s.env(t))
			hold(t, s, address)
			began := time.Now()
			p.terminate()
			t.Logf("ended after %v", time.Since(began))
		})
	}
}

func TestSIGTERMWorksDuringTheStart(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	env := s.env(t)
	env["BRIDGE_LOG_LEVEL"] = "error"
	ends := func(p *program) {
		t.Helper()
		p.terminate()
		if p.err.String() != "" {
			t.Errorf("it wrote to the log: %s", p.err)
		}
	}
	for range 10 {
		file := filepath.Join(t.TempDir(), "bridge.db")
		env["BRIDGE_DATABASE"] = "sqlite:" + file
		p := start(t, env, "serve")
		eventually(t, "it makes its tables", maxWait, func() bool {
			_, err := os.Stat(file)
			return err == nil
		})
		ends(p)
		p, _ = startServe(t, env)
		ends(p) // at once, before it looks for jobs
	}
}

func TestASecondBridgeOnOneFileIsRefused(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	env := s.env(t)
	first, address := startServe(t, env)
	second := start(t, env, "serve")
	if status := second.wait(maxWait); status != 1 {
		t.Errorf("the second ended with %d", status)
	}
	if text := second.err.String(); !strings.Contains(text, "in use by another process: stop the other bridge") || strings.Count(text, "\n") != 1 {
		t.Errorf("the second wrote %q", text)
	}
	if second.out.String() != "" {
		t.Errorf("the second printed %q", second.out)
	}
	newBrowser(t, address).do(http.MethodGet, "/readyz", nil, nil).want(t, http.StatusOK, `"ready":true`)
	first.terminate()
}

func TestAnOriginMayHaveAnInternationalName(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.ann()
	p, address := startServe(t, with(s.env(t), "BRIDGE_ORIGIN=https://Brücke.example"))
	bob := newBrowser(t, address)
	room := s.openChat(pageKeyFields())
	s.chat.Take(room, "bob")
	bob.deliverEvent(s, "LivechatSessionTaken", room)
	eventually(t, "bob has a card", maxWait, func() bool { return len(s.chat.Posts("bob")) > 0 })
	_, path, ok := strings.Cut(s.chat.Posts("bob")[0].Text, "https://xn--brcke-lva.example/w/")
	if !ok || len(path) < 43 {
		t.Fatalf("the card reads %q", s.chat.Posts("bob")[0].Text)
	}
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+address+"/w/"+path[:43], nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Host, r.Header = "xn--brcke-lva.example", navigation("cross-site")
	res, err := bob.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if res.StatusCode != http.StatusOK || !strings.Contains(p.out.String(), " for https://xn--brcke-lva.example\n") {
		t.Errorf("answered %d; %s", res.StatusCode, p.out)
	}
}

func TestHealthcheckAsksTheBridgeOfThisMachine(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	_, address := startServe(t, s.env(t))
	healthy := start(t, map[string]string{"BRIDGE_LISTEN": address}, "healthcheck")
	if status := healthy.wait(maxWait); status != 0 || healthy.out.String() != "ready\n" {
		t.Errorf("ended with %d, %q %q", status, healthy.out, healthy.err)
	}
}
