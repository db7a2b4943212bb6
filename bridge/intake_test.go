package bridge_test

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/chat"
)

// A pipes is a listener whose connections are in memory.
type pipes chan net.Conn

func (p pipes) Accept() (net.Conn, error) {
	if c, ok := <-p; ok {
		return c, nil
	}
	return nil, net.ErrClosed
}
func (p pipes) Close() error   { close(p); return nil }
func (p pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe"} }

// listen serves the world's bridge on connections in memory, as the program serves it.
func (w *world) listen() pipes {
	p := make(pipes)
	server := &http.Server{Handler: w.bridge, ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 15 * time.Second, WriteTimeout: 30 * time.Second}
	done := make(chan struct{})
	go func() { _ = server.Serve(p); close(done) }()
	w.Cleanup(func() {
		_ = server.Close()
		<-done
		<-time.After(2 * time.Second) // until the goroutines of the connections have ended
	})
	return p
}

// A slowSender sends one delivery over a connection of its own.
type slowSender struct {
	net.Conn
	chunked bool
	answers chan *http.Response // closed without one if the connection ends
}

// begin sends the head of a delivery that announces size bytes; -1 means that it is chunked.
func (w *world) begin(p pipes, path string, header http.Header, size int) *slowSender {
	w.Helper()
	client, server := net.Pipe()
	p <- server
	s := &slowSender{client, size < 0, make(chan *http.Response, 1)}
	w.Cleanup(func() { _ = client.Close() })
	go func() {
		defer close(s.answers)
		if res, err := http.ReadResponse(bufio.NewReader(client), nil); err == nil {
			s.answers <- res
		}
	}()
	var head bytes.Buffer
	fmt.Fprintf(&head, "POST %s HTTP/1.1\r\nHost: bridge.example.org\r\n", path)
	_ = header.Write(&head)
	if s.chunked {
		head.WriteString("Transfer-Encoding: chunked\r\n\r\n")
	} else {
		fmt.Fprintf(&head, "Content-Length: %d\r\n\r\n", size)
	}
	_, _ = client.Write(head.Bytes())
	return s
}

// send sends a part of the body, or all that the bridge reads of it.
func (s *slowSender) send(part []byte) {
	if s.chunked {
		part = bytes.Join([][]byte{[]byte(strconv.FormatInt(int64(len(part)), 16) + "\r\n"), part, []byte("\r\n")}, nil)
	}
	_, _ = s.Write(part)
}

// end sends the end of a chunked body.
func (s *slowSender) end() {
	if s.chunked {
		_, _ = io.WriteString(s, "0\r\n\r\n")
	}
}

// drip sends first bytes and then one each second, until the connection ends.
func (s *slowSender) drip(first int) {
	s.send(bytes.Repeat([]byte(" "), first))
	for {
		<-time.After(time.Second)
		if _, err := s.Write([]byte(" ")); err != nil {
			return
		}
		if s.chunked {
			return // what follows is not a chunk
		}
	}
}

// want checks the answer and how long it took.
func (s *slowSender) want(t *testing.T, status int, within time.Duration) {
	t.Helper()
	began := time.Now()
	res := <-s.answers
	if res == nil {
		t.Fatalf("the connection ended without an answer after %v, want %d", time.Since(began), status)
	}
	if took := time.Since(began); res.StatusCode != status || took > within {
		t.Errorf("answered %d after %v, want %d within %v", res.StatusCode, took, status, within)
	}
	if (res.Header.Get("Retry-After") != "") != (status == http.StatusServiceUnavailable) {
		t.Errorf("%d has Retry-After %q", res.StatusCode, res.Header.Get("Retry-After"))
	}
}

// padded returns a delivery with spaces in front, so that it has size bytes.
func padded(body []byte, size int) []byte {
	return append(bytes.Repeat([]byte(" "), size-len(body)), body...)
}

// signing is a connector whose service signs the body.
func signing(name string) chat.Connector {
	return chat.Connector{
		Name: name, MaxBody: 16 << 20,
		Accept: func(_ *http.Request, body []byte) (chat.Receipt, error) {
			if !bytes.HasSuffix(body, []byte("signed")) {
				return chat.Receipt{}, chat.ErrForged
			}
			return chat.Receipt{}, nil
		},
		Read: func(context.Context, chat.Delivery) (chat.Ask, error) { return chat.Ask{}, nil },
	}
}

func TestStrangersWithLargeBodiesKeepNoGenuineDeliveryOut(t *testing.T) {
	extra := options{config: func(c *bridge.Config) { c.Connectors = append(c.Connectors, signing("signed"), signing("other")) }}
	for name, attack := range map[string]struct {
		path    string
		senders int
		size    int // announced; -1: chunked
		first   int // sent at once
		refused int // the status of most of them; 0: they wait
	}{
		"a wrong secret":                         {"/hooks/rocketchat", 9, 8 << 20, 8 << 20, http.StatusUnauthorized},
		"a wrong secret, chunked":                {"/hooks/rocketchat", 9, -1, 8 << 20, http.StatusUnauthorized},
		"commands, which have no secret outside": {"/hooks/rocketchat/command", 80, 8 << 20, 1 << 20, 0},
		"chunked commands":                       {"/hooks/rocketchat/command", 80, -1, 1 << 20, 0},
		"another connector":                      {"/hooks/other", 80, 1 << 20, 1<<20 - 1, 0},
		"large announcements":                    {"/hooks/signed", 200, 16 << 20, 60 << 10, 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				room := w.openChat(withPageKey())
				w.chat.Take(room, "bob")
				p := w.listen()
				forged := http.Header{"X-Rocketchat-Livechat-Token": {"wrong"}}
				for range attack.senders {
					s := w.begin(p, attack.path, forged, attack.size)
					go s.drip(attack.first)
					if attack.refused != 0 {
						s.want(t, attack.refused, 3*time.Second)
					}
				}
				synctest.Wait()
				for range 5 {
					body, header := w.chat.Event("LivechatSessionTaken", room)
					s := w.begin(p, "/hooks/rocketchat", header, 200_000)
					s.send(padded(body, 200_000))
					s.want(t, http.StatusOK, 0)
				}
				s := w.begin(p, "/hooks/signed", nil, 200_000)
				s.send(padded([]byte("signed"), 200_000))
				s.want(t, http.StatusOK, 0)
			}, extra)
		})
	}
}

// waiting is a connector that holds each delivery until release is closed.
type waiting struct {
	inside, most atomic.Int64
	release      chan struct{}
}

func (c *waiting) connector(name string, proven bool) chat.Connector {
	return chat.Connector{
		Name: name, MaxBody: 16 << 20,
		Permit: func(*http.Request) (bool, error) { return proven, nil },
		Accept: func(_ *http.Request, body []byte) (chat.Receipt, error) {
			if len(body) > 1<<20 {
				c.most.Store(max(c.most.Load(), c.inside.Add(1)))
				<-c.release
				c.inside.Add(-1)
			}
			return chat.Receipt{}, nil
		},
		Read: func(context.Context, chat.Delivery) (chat.Ask, error) { return chat.Ask{}, nil },
	}
}

func TestFewLargeBodiesAreInMemoryAtOnce(t *testing.T) {
	for name, test := range map[string]struct {
		proven bool
		size   int // announced; -1: chunked
		inside int
	}{
		"of the chat service":                  {true, 8 << 20, 2},
		"of the chat service, chunked":         {true, -1, 2},
		"of a sender who may not be":           {false, 8 << 20, 1},
		"of a sender who may not be, chunked":  {false, -1, 1},
		"of the chat service, the largest":     {true, 16 << 20, 2},
		"of the chat service, just not small":  {true, 1<<20 + 1, 2},
		"of a sender who may not be, the same": {false, 1<<20 + 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			held := &waiting{}
			inWorld(t, func(w *world) {
				held.release = make(chan struct{})
				p := w.listen()
				size := test.size
				if size < 0 {
					size = 4 << 20
				}
				body := bytes.Repeat([]byte(" "), size)
				var senders []*slowSender
				for range 64 {
					s := w.begin(p, "/hooks/held", nil, test.size)
					senders = append(senders, s)
					go func() { s.send(body); s.end() }()
				}
				synctest.Wait()
				// Small deliveries pass beside them, and so do large ones of another connector.
				small := w.begin(p, "/hooks/held", nil, 200_000)
				small.send(body[:200_000])
				small.want(t, http.StatusOK, 0)
				other := w.begin(p, "/hooks/rocketchat", http.Header{"X-Rocketchat-Livechat-Token": {webhookSecret}}, 2<<20)
				other.send(padded([]byte(`{"type":"LivechatEdit"}`), 2<<20))
				other.want(t, http.StatusOK, 0)
				refused := 0
				began := time.Now()
				time.Sleep(3 * time.Second)
				synctest.Wait()
				for _, s := range senders {
					select {
					case res := <-s.answers:
						if res == nil || res.StatusCode != http.StatusServiceUnavailable || res.Header.Get("Retry-After") == "" {
							t.Fatalf("answered %v after %v", res, time.Since(began))
						}
						refused++
					default:
					}
				}
				if got := int(held.inside.Load()); got != test.inside || refused != len(senders)-test.inside {
					t.Errorf("%d large bodies are held and %d refused, want %d and %d", got, refused, test.inside, len(senders)-test.inside)
				}
				close(held.release)
				synctest.Wait()
				// All that they used is free again.
				for range 2 * test.inside {
					s := w.begin(p, "/hooks/held", nil, test.size)
					s.send(body)
					s.end()
					s.want(t, http.StatusOK, 0)
				}
				if got := int(held.most.Load()); got != test.inside {
					t.Errorf("%d large bodies were held at once, want %d", got, test.inside)
				}
			}, options{config: func(c *bridge.Config) { c.Connectors = append(c.Connectors, held.connector("held", test.proven)) }})
		})
	}
}

func TestALargeBodyWaitsForAPlace(t *testing.T) {
	held := &waiting{}
	inWorld(t, func(w *world) {
		held.release = make(chan struct{})
		p := w.listen()
		body := bytes.Repeat([]byte(" "), 2<<20)
		var senders []*slowSender
		for range 6 {
			s := w.begin(p, "/hooks/held", nil, len(body))
			senders = append(senders, s)
			go s.send(body)
		}
		time.Sleep(1900 * time.Millisecond)
		close(held.release)
		for _, s := range senders {
			s.want(t, http.StatusOK, 0)
		}
	}, options{config: func(c *bridge.Config) { c.Connectors = append(c.Connectors, held.connector("held", true)) }})
}

func TestABodyThatIsSentTooSlowlyIsCut(t *testing.T) {
	for name, test := range map[string]struct {
		size, first int
		answer      time.Duration
	}{
		"nothing":           {1000, 0, 3 * time.Second},
		"a byte a second":   {1000, 1, 3 * time.Second},
		"a large beginning": {8 << 20, 1 << 20, 7 * time.Second},
		"chunked":           {-1, 100, 3 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				room := w.openChat(withPageKey())
				p := w.listen()
				_, header := w.chat.Event("LivechatSessionTaken", room)
				s := w.begin(p, "/hooks/rocketchat", header, test.size)
				go s.drip(test.first)
				s.want(t, http.StatusServiceUnavailable, test.answer)
				if _, err := s.Write([]byte(" ")); !errors.Is(err, io.ErrClosedPipe) {
					t.Errorf("the connection stays open: %v", err)
				}
				if bytes.Contains(w.storedBytes(), []byte(room)) {
					t.Error("a part of the delivery is stored")
				}
			})
		})
	}
}

func TestABodyThatIsSentSteadilyIsNotCut(t *testing.T) {
	inWorld(t, func(w *world) {
		room := w.openChat(withPageKey())
		w.chat.Take(room, "bob")
		p := w.listen()
		body, header := w.chat.Event("LivechatSessionTaken", room)
		const size = 2 << 20
		s := w.begin(p, "/hooks/rocketchat", header, size)
		rest := padded(body, size)
		for len(rest) > 0 {
			<-time.After(time.Second)
			n := min(len(rest), 300<<10)
			s.send(rest[:n])
			rest = rest[n:]
		}
		s.want(t, http.StatusOK, 0)
		// The connection serves the next delivery, and its job does not end with the limit of the last one.
		w.pass(20 * time.Second)
		w.posts("bob", 1)
	})
}
