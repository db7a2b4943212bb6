package main

import (
	"bytes"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"cobrowse-bridge/bridge/network/networktest"
	"cobrowse-bridge/upscope"
)

// secretFiles writes settings to files, and returns the settings with the names of the files instead.
func secretFiles(t *testing.T, env map[string]string, names ...string) (folder string, changed map[string]string) {
	folder, changed = t.TempDir(), with(env)
	for _, name := range names {
		writeSecret(t, folder, name, env[name])
		delete(changed, name)
		changed[name+"_FILE"] = filepath.Join(folder, name)
	}
	return folder, changed
}

func writeSecret(t *testing.T, folder, name, value string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(folder, name), []byte(value+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
}

// While the webhook secret changes, half of the senders use the former one and half the new one. None is refused.
func TestASecretChangesUnderLoadAndNoDeliveryIsRefused(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	const variable, next = "ROCKETCHAT_WEBHOOK_SECRET", "the-next-webhook-secret-Ohng4xoo"
	folder, env := secretFiles(t, s.env(t), variable)
	p, address := startServe(t, env)
	room := s.openChat(pageKeyFields())
	s.chat.Take(room, "bob")
	body, header := s.chat.Event("LivechatSessionTaken", room)
	deliver := func(b *browser, secret string) int {
		h := header.Clone()
		h["X-Rocketchat-Livechat-Token"] = []string{secret}
		a, err := b.send(http.MethodPost, "/hooks/rocketchat", h, bytes.NewReader(body))
		if err != nil {
			t.Error(err)
			return 0
		}
		return a.StatusCode
	}
	if status := deliver(newBrowser(t, address), next); status != http.StatusUnauthorized {
		t.Errorf("before the change, the new secret was answered %d", status)
	}

	var sent, refused atomic.Int32
	changed, enough := make(chan struct{}), make(chan struct{})
	var senders sync.WaitGroup
	for i := range 4 {
		b := newBrowser(t, address)
		senders.Go(func() {
			secret := s.webhook
			for {
				select {
				case <-enough:
					return
				case <-changed:
					if i%2 == 0 {
						secret = next
					}
				default:
				}
				if deliver(b, secret) != http.StatusOK {
					refused.Add(1)
				}
				sent.Add(1)
			}
		})
	}
	atLeast := func(n int32) {
		t.Helper()
		before := sent.Load()
		eventually(t, "deliveries are sent", maxWait, func() bool { return sent.Load() >= before+n })
	}
	atLeast(50)
	writeSecret(t, folder, variable, next)
	p.signal(syscall.SIGHUP)
	p.waitForLine(logLine{"msg": "setting reloaded", "setting": variable})
	close(changed)
	atLeast(200)
	close(enough)
	senders.Wait()
	if n := refused.Load(); n > 0 {
		t.Errorf("%d of %d deliveries were refused", n, sent.Load())
	}
	if status := deliver(newBrowser(t, address), "neither-of-the-two-secrets"); status != http.StatusUnauthorized {
		t.Errorf("another secret was answered %d", status)
	}
	if text := p.err.String(); strings.Contains(text, next) {
		t.Error("the log has the new secret")
	}
	p.terminate()
}

// Each key is wrong at first, and is corrected in its file.
func TestKeysThatChangeInTheirFilesAreUsedWithoutARestart(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	right := s.env(t)
	variables := []string{"UPSCOPE_API_KEY", "ROCKETCHAT_READER_TOKEN", "ROCKETCHAT_POSTER_TOKEN"}
	wrong := with(right)
	for _, v := range variables {
		wrong[v] = "wrong-" + v
	}
	wrong["BRIDGE_LOG_LEVEL"] = "info"
	folder, env := secretFiles(t, wrong, append(variables, "BRIDGE_LOG_LEVEL", "BRIDGE_SECRET")...)
	env["BRIDGE_METRICS_LISTEN"] = "127.0.0.1:0"
	p, address := startServe(t, env)
	for _, v := range variables {
		writeSecret(t, folder, v, right[v])
	}
	writeSecret(t, folder, "BRIDGE_LOG_LEVEL", "debug")
	writeSecret(t, folder, "BRIDGE_SECRET", "another one")
	p.signal(syscall.SIGHUP)
	for _, v := range append(variables, "BRIDGE_LOG_LEVEL") {
		p.waitForLine(logLine{"msg": "setting reloaded", "setting": v})
	}
	p.waitForLine(logLine{"msg": "setting changed, needs a restart", "setting": "BRIDGE_SECRET"})
	s.ann()
	room := s.openChat(pageKeyFields())
	s.chat.Take(room, "bob")
	newBrowser(t, address).deliverEvent(s, "LivechatSessionTaken", room)
	p.waitForLine(logLine{"msg": "card shown", "state": "ready"})
	p.waitForLine(logLine{"msg": "service called", "service": "upscope", "route": "search", "status": 200.0})

	if text := s.metrics(t, p); !strings.Contains(text, "\nbridge_settings_fault 0\n") {
		t.Error("bridge_settings_fault is not 0")
	}
	writeSecret(t, folder, "UPSCOPE_API_KEY", "")
	p.signal(syscall.SIGHUP)
	p.waitForLine(logLine{"msg": "setting not reloaded", "setting": "UPSCOPE_API_KEY", "problem": "names a file that is empty"})
	eventually(t, "bridge_settings_fault is 1", maxWait, func() bool { return strings.Contains(s.metrics(t, p), "\nbridge_settings_fault 1\n") })
	newBrowser(t, address).do(http.MethodGet, "/readyz", nil, nil).want(t, http.StatusOK, `"settings":"fault"`, `"ready":true`)
	p.terminate()
}

// Upscope and Rocket.Chat have certificates of a private CA and are reached through proxies of their own.
func TestServicesAreReachedThroughTheirProxiesWithAPrivateCA(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	upscopeServer, chatServer := httptest.NewTLSServer(s.upscope), httptest.NewTLSServer(s.chat)
	t.Cleanup(upscopeServer.Close)
	t.Cleanup(chatServer.Close)
	s.ann()
	ca := filepath.Join(t.TempDir(), "ca.pem")
	content := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: upscopeServer.Certificate().Raw})
	if err := os.WriteFile(ca, content, 0o600); err != nil {
		t.Fatal(err)
	}
	const password = "canary-proxy-password"
	passes, refuses := new(networktest.Proxy), &networktest.Proxy{Status: http.StatusForbidden}
	through, refused := listen(t, passes), listen(t, refuses)
	env := with(s.env(t), "BRIDGE_CA_FILE="+ca, "UPSCOPE_URL="+upscopeServer.URL, "ROCKETCHAT_URL="+chatServer.URL,
		"UPSCOPE_PROXY="+strings.Replace(through, "://", "://ada:"+password+"@", 1), "ROCKETCHAT_PROXY=direct",
		"HTTPS_PROXY="+strings.Replace(refused, "://", "://ada:"+password+"@", 1))
	check := func(env map[string]string) string {
		p := start(t, env, "check")
		p.wait(maxWait)
		text := p.out.String() + p.err.String()
		if strings.Contains(text, password) {
			t.Errorf("the password of a proxy is in\n%s", text)
		}
		return text
	}
	if text := check(env); !strings.Contains(text, "ok       Upscope answers.") || strings.Contains(text, "Rocket.Chat cannot be reached") {
		t.Error(text)
	}
	if host := strings.TrimPrefix(upscopeServer.URL, "https://"); !slices.Contains(passes.Hosts(), host) || slices.Contains(refuses.Hosts(), host) {
		t.Error("Upscope was not reached through UPSCOPE_PROXY")
	}

	without := with(env, "UPSCOPE_PROXY="+refused, "ROCKETCHAT_PROXY="+refused, "BRIDGE_CA_FILE=")
	host := strings.TrimPrefix(refused, "http://")
	text := check(without)
	for _, wanted := range []string{
		"problem  The request to Upscope failed: the proxy " + host + " refused the connection (403 Forbidden).", "or set UPSCOPE_PROXY to another proxy",
		"Rocket.Chat cannot be reached: GET api/info: the proxy " + host + " refused the connection (403 Forbidden).", "or set ROCKETCHAT_PROXY to another proxy",
	} {
		if !strings.Contains(text, wanted) {
			t.Errorf("no %q in\n%s", wanted, text)
		}
	}
	if text := check(with(env, "BRIDGE_CA_FILE=")); !strings.Contains(text, "the host's certificate is not trusted") {
		t.Errorf("without BRIDGE_CA_FILE:\n%s", text)
	}
	if text := check(with(env, "BRIDGE_CA_FILE="+filepath.Join(filepath.Dir(ca), "no.pem"))); !strings.Contains(text, "BRIDGE_CA_FILE names a file that cannot be read: no such file or directory.") {
		t.Error(text)
	}

	p, _ := startServe(t, env)
	p.waitForLine(logLine{"msg": "service called", "service": "upscope", "status": 200.0})
	p.terminate()
	if strings.Contains(p.err.String(), password) {
		t.Error("the log has the password of a proxy")
	}
}

func TestAKeyOfUpscopeThatHasChangedIsSent(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	key := "a-key-that-is-not-right"
	client, err := upscope.New(upscope.Config{URL: s.upscopeURL, Key: key, KeyNow: func() string { return key }})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := client.Usage(t.Context()); err == nil {
		t.Error("a wrong key is accepted")
	}
	key = s.secrets.upscope
	if _, err := client.Usage(t.Context()); err != nil {
		t.Error(err)
	}
}
