package main

import (
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// freeAddress returns an address on which nothing listens now.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startProxy runs a proxy until the test ends, and waits until it listens.
func startProxy(t *testing.T, cmd *exec.Cmd, address string) {
	t.Helper()
	stderr := newOutput()
	cmd.Stderr = stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		if t.Failed() {
			t.Logf("%s wrote\n%s", filepath.Base(cmd.Path), stderr)
		}
	})
	eventually(t, lazyText(func() string { return "the proxy listens: " + stderr.String() }), maxWait, func() bool {
		conn, err := net.Dial("tcp", address)
		if err == nil {
			conn.Close()
		}
		return err == nil
	})
}

var caddyVersion = regexp.MustCompile(`^v?2\.(\d+)\.`)

// caddy returns the path of Caddy. It skips the test if there is none, or only an old one.
func caddy(t *testing.T) string {
	t.Helper()
	path, err := exec.LookPath("caddy")
	if err != nil {
		t.Skip("no Caddy on this machine (go install github.com/caddyserver/caddy/v2/cmd/caddy@v2.11.9)")
	}
	version, err := exec.Command(path, "version").Output()
	if err != nil {
		t.Fatal(err)
	}
	// A Caddy that was built without this information prints "unknown".
	if m := caddyVersion.FindStringSubmatch(string(version)); m != nil {
		if minor, err := strconv.Atoi(m[1]); err != nil || minor < 11 {
			t.Skipf("Caddy is %s, and deploy/Caddyfile needs 2.11", strings.TrimSpace(string(version)))
		}
	}
	return path
}

// startCaddy runs Caddy with deploy/Caddyfile in front of these addresses.
func startCaddy(t *testing.T, path string, upstreams ...string) (address string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deployFolder, "Caddyfile"))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := filepath.Abs(deployFolder)
	if err != nil {
		t.Fatal(err)
	}
	folder := t.TempDir()
	config := filepath.Join(folder, "Caddyfile")
	if err := os.WriteFile(config, []byte(strings.ReplaceAll(string(text), "/etc/caddy", pages)), 0o600); err != nil {
		t.Fatal(err)
	}
	address = freeAddress(t)
	cmd := exec.Command(path, "run", "--config", config, "--adapter", "caddyfile")
	_, port, _ := net.SplitHostPort(address)
	cmd.Env = []string{
		"HOME=" + folder, "CADDY_ADMIN=unix/" + filepath.Join(folder, "admin"),
		"BRIDGE_ORIGIN=http://" + strings.TrimPrefix(origin, "https://") + ":" + port, "UPSTREAMS=" + strings.Join(upstreams, " "),
	}
	startProxy(t, cmd, address)
	return address
}

// A dyingReplica is ready, takes each request, and closes the connection in place of an answer, as
// a replica that was killed.
type dyingReplica struct {
	mu       sync.Mutex
	requests map[string]int // by the method and the first part of the path: POST hooks
}

func (d *dyingReplica) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path == "/readyz" {
		return
	}
	_, _ = io.Copy(io.Discard, r.Body)
	first, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	d.mu.Lock()
	d.requests[r.Method+" "+first]++
	d.mu.Unlock()
	panic(http.ErrAbortHandler)
}

func (d *dyingReplica) count(requests string) int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.requests[requests]
}

// proxies start each proxy with its file of deploy/ in front of the replicas.
var proxies = map[string]func(t *testing.T, replicas ...string) (address string){
	"nginx": func(t *testing.T, replicas ...string) string {
		pages, err := filepath.Abs(deployFolder)
		if err != nil {
			t.Fatal(err)
		}
		return startNginx(t, nginx(t), "nginx.conf", map[string]string{
			"server 127.0.0.1:8080;": "server " + strings.Join(replicas, " max_fails=0; server ") + " max_fails=0;", "/usr/share/bridge": pages,
		})
	},
	"Caddy": func(t *testing.T, replicas ...string) string { return startCaddy(t, caddy(t), replicas...) },
}

// A delivery or press that a replica did not answer goes to another one, because the bridge acts on
// it once. Another form does not, because the replica may have acted on it.
func TestProxiesRepeatDeliveriesAndPressesOnly(t *testing.T) {
	t.Parallel()
	for name, startIt := range proxies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newServices(t)
			visitor := s.ann()
			dying := &dyingReplica{requests: map[string]int{}}
			other := httptest.NewServer(dying)
			t.Cleanup(other.Close)
			p, bridge := startServe(t, with(s.env(t), "BRIDGE_TRUSTED_PROXIES=127.0.0.1"))
			b := newBrowser(t, startIt(t, bridge, strings.TrimPrefix(other.URL, "http://")))

			door, room := s.chatWithCard(t, b)
			eventually(t, "the dying replica got a delivery", maxWait, func() bool {
				b.deliverEvent(s, "LivechatSessionTaken", room) // fails the test if it is not answered 200
				return dying.count("POST hooks") > 0
			})
			eventually(t, "the dying replica got a press", maxWait, func() bool {
				b.press(door, url.Values{"visitor": {visitor}}).wantWatch(t)
				return dying.count("POST w") > 0
			})
			failed := 0
			eventually(t, "the dying replica got another form", maxWait, func() bool {
				if a := b.do(http.MethodPost, "/erase", formHeader(), nil); a.StatusCode == http.StatusBadGateway {
					failed++
				}
				return dying.count("POST erase") > 0
			})
			if n := dying.count("POST erase"); failed != 1 || n != 1 {
				t.Errorf("%d forms reached the dying replica, and %d were answered 502", n, failed)
			}

			p.kill() // no replica is left
			b.do(http.MethodPost, door, formHeader(), nil).want(t, http.StatusBadGateway, "The co-browse bridge did not answer", "press <b>Co-browse</b> again")
		})
	}
}
