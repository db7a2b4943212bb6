package signin_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cobrowse-bridge/bridge/signin"
)

// nginxConf is an nginx that signs people in as its manual says, and sets each header.
// https://nginx.org/en/docs/http/ngx_http_auth_basic_module.html
const nginxConf = `
daemon off;
master_process off;
pid %[1]s/pid;
error_log stderr notice;
events { worker_connections 64; }
http {
	access_log off;
	client_body_temp_path %[1]s/body;
	proxy_temp_path %[1]s/proxy;
	fastcgi_temp_path %[1]s/fastcgi;
	uwsgi_temp_path %[1]s/uwsgi;
	scgi_temp_path %[1]s/scgi;
	server {
		listen %[2]s;
		auth_basic "bridge";
		auth_basic_user_file %[1]s/users;
		location / {
			proxy_pass http://%[3]s;
			proxy_set_header X-Forwarded-User $remote_user;
			proxy_set_header X-Forwarded-Email "";
			proxy_set_header X-Forwarded-Name "";
			proxy_set_header X-Forwarded-Groups "agents";
		}
	}
}
`

// A real reverse proxy between a browser and the bridge.
func TestNginx(t *testing.T) {
	path, err := exec.LookPath("nginx")
	if err != nil {
		if path, err = exec.LookPath("/usr/sbin/nginx"); err != nil {
			t.Skip("no nginx on this machine (apt-get install nginx-light)")
		}
	}
	config := headerConfig()
	config.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.1/32")}
	var trusting atomic.Pointer[signin.Header]
	trusting.Store(must(signin.NewHeader(config)))
	// A result is the identity or error of a request, and its identity headers.
	type result struct {
		ID, Err string
		Groups  []string
		Headers []string
	}
	bridge := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := trusting.Load().Who(r)
		answer := result{ID: who.ID, Groups: who.Groups}
		if err != nil {
			answer.Err = err.Error()
		}
		for name := range r.Header {
			if strings.HasPrefix(strings.ReplaceAll(strings.ToLower(name), "_", "-"), "x-forwarded-") {
				answer.Headers = append(answer.Headers, name)
			}
		}
		if err := json.NewEncoder(w).Encode(answer); err != nil {
			t.Error(err)
		}
	}))
	defer bridge.Close()

	folder := t.TempDir()
	address := freeAddress(t)
	files := map[string]string{
		"conf":  fmt.Sprintf(nginxConf, folder, address, bridge.Listener.Addr()),
		"users": "ada:{PLAIN}correct horse\n",
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(folder, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ctx, stop := context.WithCancel(t.Context())
	var log bytes.Buffer
	// As root, nginx would change to a user who cannot read the folder, so -g sets root.
	args := []string{"-p", folder, "-c", filepath.Join(folder, "conf"), "-e", "stderr"}
	if os.Geteuid() == 0 {
		args = append(args, "-g", "user root;")
	}
	nginx := exec.CommandContext(ctx, path, args...)
	nginx.Stderr = &log
	if err := nginx.Start(); err != nil {
		t.Fatal(err)
	}
	gone := make(chan error, 1)
	go func() { gone <- nginx.Wait() }()
	defer func() {
		stop()
		<-gone
		if t.Failed() {
			t.Logf("nginx: %s", log.String())
		}
	}()
	if !listens(t, address, gone) {
		t.Fatal("nginx does not listen")
	}

	client := &http.Client{Transport: &http.Transport{}, Timeout: 10 * time.Second}
	defer client.CloseIdleConnections()
	ask := func(address, user string, header http.Header) (status int, answer result) {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, "http://"+address+"/", nil)
		if err != nil {
			t.Fatal(err)
		}
		for name, values := range header {
			r.Header[name] = values
		}
		if user != "" {
			r.SetBasicAuth(user, "correct horse")
		}
		got, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body := read(t, got)
		if got.StatusCode == http.StatusOK {
			if err := json.Unmarshal([]byte(body), &answer); err != nil {
				t.Fatal(err)
			}
		}
		return got.StatusCode, answer
	}

	forged := http.Header{
		"X-Forwarded-User": {"eve"}, "x-forwarded-user": {"eve"}, "X_Forwarded_User": {"eve"}, "x_forwarded_groups": {"admins"},
		"X-Forwarded-Groups": {"admins"}, "X-Forwarded-Email": {"eve@corp.example"}, "X-Forwarded-For": {"127.0.0.1"},
	}
	for name, header := range map[string]http.Header{"honest": nil, "forged": forged} {
		status, answer := ask(address, "ada", header)
		if status != http.StatusOK || answer.ID != "header:ada" || fmt.Sprint(answer.Groups) != "[agents]" {
			t.Errorf("%s: %d %+v", name, status, answer)
		}
	}
	for name, header := range map[string]http.Header{"honest": nil, "forged": forged} {
		if status, answer := ask(address, "", header); status != http.StatusUnauthorized {
			t.Errorf("%s, without a password: %d %+v", name, status, answer)
		}
	}
	// With underscores_in_headers off, which is the default, nginx drops them.
	if _, answer := ask(address, "ada", http.Header{"X_Forwarded_User": {"eve"}}); strings.Contains(fmt.Sprint(answer.Headers), "_") {
		t.Errorf("underscores got through: %v", answer.Headers)
	}

	// A request that does not come from the proxy.
	config.Proxies = []netip.Prefix{netip.MustParsePrefix("127.0.0.2/32")}
	trusting.Store(must(signin.NewHeader(config)))
	if _, answer := ask(bridge.Listener.Addr().String(), "", forged); answer.ID != "" || answer.Err != signin.ErrSpoofed.Error() {
		t.Errorf("without the proxy: %+v", answer)
	}
}

// freeAddress returns an address on loopback that is not in use.
func freeAddress(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// listens waits until a program listens on address, and returns false if it ends before.
func listens(t *testing.T, address string, gone chan error) bool {
	t.Helper()
	ticks := time.NewTicker(10 * time.Millisecond)
	defer ticks.Stop()
	deadline := time.After(3 * time.Minute)
	for {
		if c, err := net.Dial("tcp4", address); err == nil {
			c.Close()
			return true
		}
		select {
		case <-ticks.C:
		case err := <-gone:
			gone <- err
			t.Logf("the program ended: %v", err)
			return false
		case <-deadline:
			return false
		}
	}
}
