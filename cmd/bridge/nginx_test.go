package main

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// aroundServer is the rest of nginx's configuration around a file of deploy/. With
// it any user can run nginx, in a folder of its own.
const aroundServer = `
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
%[2]s
}
`

// This runs deploy/nginx-oauth2-proxy.conf between browsers and a bridge. A fake
// oauth2-proxy answers /oauth2/auth with 202 and X-Auth-Request headers, or with 401:
// oauth2-proxy.github.io/oauth2-proxy/features/endpoints
func TestTheNginxExampleSignsAgentsIn(t *testing.T) {
	t.Parallel()
	path := nginx(t)
	s := newServices(t)
	s.ann()
	_, bridge := startServe(t, with(s.env(t), "BRIDGE_SIGNIN=header", "BRIDGE_TRUSTED_PROXIES=127.0.0.1"))
	oauth2 := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who, err := r.Cookie("_oauth2_proxy")
		switch {
		case r.URL.Path != "/oauth2/auth":
			fmt.Fprintf(w, "the sign-in page, for %s", r.URL.Query().Get("rd"))
		case err != nil:
			w.WriteHeader(http.StatusUnauthorized)
		default:
			w.Header().Set("X-Auth-Request-User", who.Value)
			w.Header().Set("X-Auth-Request-Preferred-Username", "Ada Lovelace")
			w.Header().Set("X-Auth-Request-Groups", strings.Repeat("5f2a0c1e-7d1b-4a6e-9c3f-1234567890ab,", 400))
			w.WriteHeader(http.StatusAccepted)
		}
	}))
	t.Cleanup(oauth2.Close)
	address := startNginx(t, path, "nginx-oauth2-proxy.conf", map[string]string{
		"127.0.0.1:8080": bridge, "http://127.0.0.1:4180": oauth2.URL,
	})

	b := newBrowser(t, address)
	door, _ := s.chatWithCard(t, b) // webhooks come through, without a sign-in
	stranger := b.follow(door)
	if to := stranger.Header.Get("Location"); stranger.StatusCode != http.StatusFound || !strings.Contains(to, "/oauth2/sign_in?rd=") || !strings.HasSuffix(to, door) {
		t.Errorf("a stranger is answered %d to %q", stranger.StatusCode, to)
	}
	b.follow("/oauth2/sign_in?rd="+door).want(t, http.StatusOK, "the sign-in page, for "+door)
	b.follow("/oauth2/auth").want(t, http.StatusNotFound)

	// The proxy replaces or removes the headers with which a browser claims to be eve.
	b.cookies["_oauth2_proxy"] = "ada"
	claims := navigation("cross-site")
	for _, name := range []string{"X-Forwarded-User", "X-Forwarded-Email", "X-Forwarded-Groups", "X-Forwarded-Preferred-Username"} {
		claims.Set(name, "eve@corp.example")
	}
	claims.Set("X_Forwarded_User", "eve")
	for _, header := range []http.Header{navigation("cross-site"), claims} {
		a := b.do(http.MethodGet, door, header, nil)
		a.want(t, http.StatusOK, "Is this your account?", "Ada Lovelace")
		if strings.Contains(a.body, "eve@") {
			t.Errorf("the bridge took the identity from the browser's headers: %s", a.body)
		}
	}
	b.cookies["of-another-site"] = strings.Repeat("x", 12<<10)
	b.follow("/").want(t, http.StatusOK, "Your chat accounts", "header:ada")
}

// nginx returns the path of nginx. It skips the test if there is none.
func nginx(t *testing.T) string {
	t.Helper()
	for _, name := range []string{"nginx", "/usr/sbin/nginx"} {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	t.Skip("no nginx on this machine (apt-get install nginx-light)")
	return ""
}

// startNginx runs nginx with a file of deploy/. behind replaces addresses and paths in it.
func startNginx(t *testing.T, path, name string, behind map[string]string) (address string) {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(deployFolder, name))
	if err != nil {
		t.Fatal(err)
	}
	server := string(text)
	for from, to := range behind {
		server = strings.ReplaceAll(server, from, to)
	}
	address = freeAddress(t) // nginx cannot choose a free port
	folder := t.TempDir()
	conf := filepath.Join(folder, "nginx.conf")
	server = strings.Replace(server, "listen 443 ssl;", "listen "+address+";", 1)
	server = regexp.MustCompile(`(?m)^ *ssl_certificate.*\n`).ReplaceAllString(server, "")
	if err := os.WriteFile(conf, fmt.Appendf(nil, aroundServer, folder, server), 0o600); err != nil {
		t.Fatal(err)
	}
	startProxy(t, exec.Command(path, "-p", folder, "-c", conf, "-e", "stderr"), address)
	return address
}
