package main

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

func TestDuringTheStopDelayEverythingIsAnsweredAndReadyzSaysStopping(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.ann()
	env := with(s.env(t), "BRIDGE_STOP_DELAY=1m")
	p, address := startServe(t, env)
	env["BRIDGE_LISTEN"] = address
	p.signal(syscall.SIGTERM)
	bob := newBrowser(t, address)
	eventually(t, "/readyz says that the bridge stops", maxWait, func() bool {
		a := bob.do(http.MethodGet, "/readyz", nil, nil)
		return a.StatusCode == http.StatusServiceUnavailable && strings.Contains(a.body, `"stopping":true`)
	})
	if a := bob.do(http.MethodGet, "/healthz", nil, nil); a.StatusCode != http.StatusOK || !a.Close {
		t.Errorf("/healthz is answered %d, and the connection is kept open: %v", a.StatusCode, !a.Close)
	}
	probe := start(t, env, "healthcheck")
	if status := probe.wait(maxWait); status != 1 || !strings.Contains(probe.err.String(), "it is stopping") {
		t.Errorf("healthcheck ends with %d and says %q", status, probe.err)
	}
	room := s.openChat(pageKeyFields())
	s.chat.Take(room, "bob")
	bob.deliverEvent(s, "LivechatSessionTaken", room)
	eventually(t, "bob has a card", maxWait, func() bool { return s.postsByRoom("bob")[room] == 1 })
	p.terminate() // the second signal ends the delay
}

// startWith starts the program with sockets, as systemd does. names are their FileDescriptorNames.
func startWith(t *testing.T, env map[string]string, names string, sockets ...*os.File) *program {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	named := filepath.Join(t.TempDir(), "bridge")
	if err := os.Symlink(self, named); err != nil {
		t.Fatal(err)
	}
	env = with(env, "LISTEN_FDS="+string('0'+rune(len(sockets))), "LISTEN_FDNAMES="+names)
	pid := "$$"
	if env["LISTEN_PID"] != "" {
		pid = env["LISTEN_PID"]
	}
	return startCommand(t, &exec.Cmd{Path: "/bin/sh", Args: []string{"sh", "-c", "LISTEN_PID=" + pid + ` exec "$0" serve`, named}, ExtraFiles: sockets}, env)
}

// stream returns a socket that listens on a free port, and its address.
func stream(t *testing.T) (socket *os.File, address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { f.Close() })
	return f, l.Addr().String()
}

func TestActivationRefusesNoConnectionDuringARestart(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.ann()
	env := with(s.env(t), "BRIDGE_METRICS_LISTEN=")
	public, address := stream(t)
	metrics, metricsAddress := stream(t)
	p := startWith(t, env, "public:metrics", public, metrics)
	p.ready()
	if a := newBrowser(t, metricsAddress).do(http.MethodGet, "/metrics", nil, nil); a.StatusCode != http.StatusOK {
		t.Errorf("/metrics is answered %d on the socket for metrics", a.StatusCode)
	}
	p.terminate()

	// Nobody serves now. The delivery waits in the socket for the next bridge.
	room := s.openChat(pageKeyFields())
	s.chat.Take(room, "bob")
	body, header := s.chat.Event("LivechatSessionTaken", room)
	answered := make(chan int, 1)
	go func() {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://"+address+"/hooks/rocketchat", bytes.NewReader(body))
		if err != nil {
			answered <- 0
			return
		}
		r.Header = header
		client := newClient()
		defer client.CloseIdleConnections()
		res, err := client.Do(r)
		if err != nil {
			t.Error(err)
			answered <- 0
			return
		}
		res.Body.Close()
		answered <- res.StatusCode
	}()
	p = startWith(t, env, "public:metrics", public, metrics)
	if status := <-answered; status != http.StatusOK {
		t.Errorf("the delivery is answered %d", status)
	}
	eventually(t, "bob has a card", maxWait, func() bool { return s.postsByRoom("bob")[room] == 1 })
	p.terminate()
}

func TestSocketsThatTheBridgeCannotUseAreRefused(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	public, _ := stream(t)
	packets, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer packets.Close()
	datagrams, err := packets.(*net.UDPConn).File()
	if err != nil {
		t.Fatal(err)
	}
	defer datagrams.Close()
	for names, c := range map[string]struct {
		sockets []*os.File
		says    string
	}{
		"http:https":       {[]*os.File{public, public}, `the service manager passes a socket "http"`},
		"public:public":    {[]*os.File{public, public}, `the service manager passes a socket "public"`},
		"public":           {[]*os.File{datagrams}, "it must be a stream socket"},
		"public:metrics:x": {[]*os.File{public, public, public}, `the service manager passes a socket "x"`},
	} {
		p := startWith(t, s.env(t), names, c.sockets...)
		if status := p.wait(maxWait); status != 1 || !strings.Contains(p.err.String(), c.says) {
			t.Errorf("with %s the bridge ends with %d and says %s", names, status, p.err)
		}
	}
	// Sockets that were passed to another process are not the bridge's.
	p := startWith(t, with(s.env(t), "LISTEN_PID=1"), "public", public)
	if address := p.ready(); address == public.Name() {
		t.Errorf("the bridge took the socket of another process: %s", address)
	}
	p.terminate()
}

func TestTheBridgeListensOnAUnixSocket(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	folder, err := os.MkdirTemp("", "") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	file := filepath.Join(folder, "http.sock")
	env := with(s.env(t), "BRIDGE_LISTEN=unix:"+file)
	p, _ := startServe(t, env)
	if info, err := os.Stat(file); err != nil || info.Mode().Perm() != socketMode {
		t.Errorf("the socket has mode %v: %v", info.Mode(), err)
	}
	if probe := start(t, env, "healthcheck"); probe.wait(maxWait) != 0 {
		t.Errorf("healthcheck says %s", probe.err)
	}
	second := start(t, with(env, "BRIDGE_DATABASE="+s.env(t)["BRIDGE_DATABASE"]), "serve")
	if status := second.wait(maxWait); status != 1 || !strings.Contains(second.err.String(), "cannot listen on unix:"+file) {
		t.Errorf("a second bridge ends with %d and says %s", status, second.err)
	}
	p.kill() // the socket stays
	p, _ = startServe(t, env)
	conn, err := net.Dial("unix", file)
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
	p.terminate()

	if err := os.WriteFile(file, []byte("a file of the operator"), 0o600); err != nil {
		t.Fatal(err)
	}
	p = start(t, env, "serve")
	if status := p.wait(maxWait); status != 1 || !strings.Contains(p.err.String(), "is no socket") {
		t.Errorf("the bridge ends with %d and says %s", status, p.err)
	}
	if text, err := os.ReadFile(file); err != nil || string(text) != "a file of the operator" {
		t.Errorf("the file has %q: %v", text, err)
	}
}

// A manager is a service manager that is told what the bridge does.
type manager struct {
	net.PacketConn
	mu       sync.Mutex
	messages []string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	folder, err := os.MkdirTemp("", "") // t.TempDir may be too long for a socket
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(folder) })
	socket, err := net.ListenPacket("unixgram", filepath.Join(folder, "notify"))
	if err != nil {
		t.Fatal(err)
	}
	m := &manager{PacketConn: socket}
	var reading sync.WaitGroup
	reading.Go(func() {
		for message := make([]byte, 1000); ; {
			n, _, err := m.ReadFrom(message)
			if err != nil {
				return
			}
			m.mu.Lock()
			m.messages = append(m.messages, string(message[:n]))
			m.mu.Unlock()
		}
	})
	t.Cleanup(func() {
		m.Close()
		reading.Wait()
	})
	return m
}

// count returns how many messages begin with a text.
func (m *manager) count(text string) (n int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, message := range m.messages {
		if strings.HasPrefix(message, text) {
			n++
		}
	}
	return n
}

func TestTheServiceManagerIsTold(t *testing.T) {
	t.Parallel()
	m := newManager(t)
	p := start(t, with(newServices(t).env(t), "NOTIFY_SOCKET="+m.LocalAddr().String(), "WATCHDOG_USEC=200000"), "serve")
	wait := func(text string, n int) {
		t.Helper()
		eventually(t, text, maxWait, func() bool { return m.count(text) >= n })
	}
	wait("READY=1", 1)
	wait("WATCHDOG=1", 2)
	p.signal(syscall.SIGHUP)
	wait("RELOADING=1\nMONOTONIC_USEC=", 1)
	wait("READY=1", 2)
	p.signal(syscall.SIGTERM)
	wait("STOPPING=1", 1)
	p.wait(maxWait)
}

func TestTheWatchdogIsFedOnlyWhileTheStoreAnswers(t *testing.T) {
	t.Parallel()
	s, m := newServices(t), newManager(t)
	s.ann()
	env := with(s.env(t), "NOTIFY_SOCKET="+m.LocalAddr().String(), "WATCHDOG_USEC=100000")
	p, address := startServe(t, env)
	s.chatWithCard(t, newBrowser(t, address)) // so jobs run
	conn, err := openDatabase(t, env["BRIDGE_DATABASE"]).Conn(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.ExecContext(t.Context(), locks["sqlite"]); err != nil {
		t.Fatal(err)
	}
	refusals := func() int { return strings.Count(p.err.String(), "the service manager restarts the bridge") }
	eventually(t, "the bridge notices the lock", maxWait, func() bool { return refusals() > 0 })
	fed, before := m.count("WATCHDOG=1"), refusals()
	eventually(t, "the bridge looks again", maxWait, func() bool { return refusals() > before+1 })
	if n := m.count("WATCHDOG=1"); n > fed {
		t.Errorf("the watchdog is fed %d times while the database is locked", n-fed)
	}
	if _, err := conn.ExecContext(t.Context(), "ROLLBACK"); err != nil {
		t.Fatal(err)
	}
	conn.Close()
	eventually(t, "the watchdog is fed again", maxWait, func() bool { return m.count("WATCHDOG=1") > fed })
	p.terminate()
}

// The program is told to stop while it starts, and then fails.
func TestAFailureEndsTheStopDelay(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	failure := errors.New("a failure")
	stop := stopping{delay: time.Hour, timeout: time.Second, announce: func() {}, endStreams: func() {}}
	err = serve(ctx, l, http.NotFoundHandler(), slog.New(slog.DiscardHandler), stop, func(context.Context) error { return failure })
	if !errors.Is(err, failure) {
		t.Errorf("serve returned %v", err)
	}
}
