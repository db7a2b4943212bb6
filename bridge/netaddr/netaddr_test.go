package netaddr_test

import (
	"bytes"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/netaddr"
	"cobrowse-bridge/upscope"
)

// hosts are names and addresses; the value says whether each is this machine.
var hosts = map[string]bool{
	"localhost": true, "LocalHost": true, "127.0.0.1": true, "127.8.9.10": true, "::1": true,
	"": false, "localhost.example.org": false, "127.0.0.1.example.org": false, "127.1": false, "0x7f000001": false,
	"0.0.0.0": false, "::": false, "10.0.0.1": false, "chat.example.org": false,
}

func TestLoopback(t *testing.T) {
	t.Parallel()
	for host, want := range hosts {
		if got := netaddr.Loopback(host); got != want {
			t.Errorf("%q: %v", host, got)
		}
	}
}

// Package upscope imports nothing of the bridge, so it has its own copy of the rule.
func TestUpscopeAcceptsPlainHTTPForTheSameHosts(t *testing.T) {
	t.Parallel()
	for host, want := range hosts {
		if host == "" {
			continue
		}
		address := "http://" + host
		if addr, err := netip.ParseAddr(host); err == nil && addr.Is6() {
			address = "http://[" + host + "]"
		}
		_, err := upscope.New(upscope.Config{URL: address, Key: "any"})
		if got := err == nil; got != want {
			t.Errorf("%s: %v", address, err)
		}
	}
}

func TestInternationalHostsAreWrittenInASCII(t *testing.T) {
	t.Parallel()
	const list = " Brücke.example,app.example:8443,xn--brcke-lva.example, brücke.example:8443, ü_b.example,"
	want := "xn--brcke-lva.example,app.example:8443,xn--brcke-lva.example,xn--brcke-lva.example:8443, ü_b.example,"
	if got := netaddr.ASCIIList(list); got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestCanonicalHosts(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ scheme, host, want string }{
		{"https", "Bridge.example.org:443", "bridge.example.org"},
		{"https", "bridge.example.org:80", "bridge.example.org:80"},
		{"http", "127.0.0.1:80", "127.0.0.1"},
		{"http", "[::1]:80", "[::1]"},
		{"http", "[::443]", "[::443]"},
		{"https", "bridge.example.org:8443", "bridge.example.org:8443"},
	} {
		if got := netaddr.CanonicalHost(c.scheme, c.host); got != c.want {
			t.Errorf("%s: %s", c.host, got)
		}
	}
}

func TestClient(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for name, c := range map[string]struct {
		remote    string
		forwarded []string
		want      string
		err       error
	}{
		"no proxy":                                  {"192.0.2.1:4711", nil, "192.0.2.1", nil},
		"a header of a client":                      {"192.0.2.1:4711", []string{"198.51.100.7"}, "192.0.2.1", nil},
		"a proxy":                                   {"10.0.0.1:4711", []string{"192.0.2.1"}, "192.0.2.1", nil},
		"a proxy and a client's own header":         {"10.0.0.1:4711", []string{"198.51.100.7", "192.0.2.1"}, "192.0.2.1", nil},
		"two proxies":                               {"10.0.0.1:4711", []string{"198.51.100.7, 192.0.2.1, 10.2.0.1"}, "192.0.2.1", nil},
		"two proxies in two headers":                {"10.0.0.1:4711", []string{"192.0.2.1", "10.2.0.1"}, "192.0.2.1", nil},
		"proxies only":                              {"10.0.0.1:4711", []string{"10.3.0.1, 10.2.0.1"}, "10.3.0.1", nil},
		"IPv4 as IPv6":                              {"[::ffff:10.0.0.1]:4711", []string{"192.0.2.1"}, "192.0.2.1", nil},
		"IPv6 with a zone":                          {"[fd00::1%eth0]:4711", []string{"2001:db8::1"}, "2001:db8::1", nil},
		"without a port":                            {"192.0.2.1", nil, "192.0.2.1", nil},
		"a proxy without X-Forwarded-For":           {"10.0.0.1:4711", nil, "invalid IP", netaddr.ErrNotForwarded},
		"a proxy that names no address":             {"10.0.0.1:4711", []string{"192.0.2.1, unknown"}, "invalid IP", netaddr.ErrUnreadable},
		"the outer proxy names no address":          {"10.0.0.1:4711", []string{"192.0.2.1, unknown, 10.2.0.1"}, "invalid IP", netaddr.ErrUnreadable},
		"an unreadable hop that no proxy wrote":     {"10.0.0.1:4711", []string{"unknown, 192.0.2.1"}, "192.0.2.1", nil},
		"a proxy with an empty X-Forwarded-For":     {"10.0.0.1:4711", []string{" "}, "invalid IP", netaddr.ErrNotForwarded},
		"a proxy that appends nothing":              {"10.0.0.1:4711", []string{"192.0.2.1,"}, "invalid IP", netaddr.ErrUnreadable},
		"a proxy that appends words":                {"10.0.0.1:4711", []string{"192.0.2.1, [unknown]"}, "invalid IP", netaddr.ErrUnreadable},
		"a proxy that appends a false port":         {"10.0.0.1:4711", []string{"192.0.2.1:99999"}, "invalid IP", netaddr.ErrUnreadable},
		"a port":                                    {"10.0.0.1:4711", []string{"192.0.2.1:51034"}, "192.0.2.1", nil},
		"a port at each proxy":                      {"10.0.0.1:4711", []string{"198.51.100.7:1, 192.0.2.1:51034,10.2.0.1:443"}, "192.0.2.1", nil},
		"IPv6 with a port":                          {"10.0.0.1:4711", []string{"[2001:db8::1]:51034"}, "2001:db8::1", nil},
		"IPv6 in brackets":                          {"10.0.0.1:4711", []string{"[2001:db8::1]"}, "2001:db8::1", nil},
		"IPv6 in brackets and quotes":               {"10.0.0.1:4711", []string{`"[2001:db8::1]:51034"`}, "2001:db8::1", nil},
		"a quoted address":                          {"10.0.0.1:4711", []string{`"192.0.2.1"`}, "192.0.2.1", nil},
		"IPv4 as IPv6 with a port":                  {"10.0.0.1:4711", []string{"192.0.2.1, [::ffff:10.2.0.1]:443"}, "192.0.2.1", nil},
		"a connection whose address cannot be read": {"@", []string{"192.0.2.1"}, "invalid IP", netaddr.ErrNoAddress},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.remote
		r.Header["X-Forwarded-For"] = c.forwarded
		client, err := netaddr.Client(r, proxies)
		if client.String() != c.want || !errors.Is(err, c.err) {
			t.Errorf("%s: %v, %v", name, client, err)
		}
	}
}

func TestEachFaultOfAForwardedAddressIsLoggedOnce(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	clients := netaddr.NewClients([]netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}, "BRIDGE_TRUSTED_PROXIES", "the effect", slog.New(slog.NewTextHandler(&log, nil)))
	of := func(remote string, forwarded ...string) (string, bool) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = remote
		r.Header["X-Forwarded-For"] = forwarded
		client, ok := clients.Of(r)
		return client.String(), ok
	}
	for range 100 {
		of("10.0.0.1:1", "192.0.2.9:1")
		of("10.0.0.1:1")
		of("10.0.0.2:1", "192.0.2.9, hidden")
		of("172.17.0.1:1", "192.0.2.9")
		of("172.17.0.1:1")
		of("198.51.100.7:1", "192.0.2.9")
		of("@")
	}
	for _, want := range []string{
		"the proxy 10.0.0.1 sent no X-Forwarded-For", "the proxy 10.0.0.2 sent an X-Forwarded-For that contains no readable address",
		"172.17.0.1 sent X-Forwarded-For, but is not a trusted proxy", "the connection has no IP address",
	} {
		if strings.Count(log.String(), want) != 1 {
			t.Errorf("%q is not logged once", want)
		}
	}
	if strings.Count(log.String(), "setting=BRIDGE_TRUSTED_PROXIES") != 4 || strings.Count(log.String(), "X-Forwarded-For of an unknown proxy ignored") != 1 {
		t.Error(log.String())
	}
	if strings.Count(log.String(), "\n") != 4 || strings.Contains(log.String(), "hidden") || strings.Contains(log.String(), "192.0.2.9") {
		t.Error(log.String())
	}
	if client, ok := of("172.17.0.1:1", "192.0.2.9"); client != "172.17.0.1" || !ok {
		t.Error(client, ok)
	}
}

// FuzzClient checks that what a client writes before the last entry never matters.
func FuzzClient(f *testing.F) {
	for _, seed := range []string{"", "1.2.3.4", "1.2.3.4:5", "[::1]:5", "\"[::1]\"", "what", ",", "10.0.0.1, "} {
		f.Add(seed)
	}
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8")}
	f.Fuzz(func(t *testing.T, written string) {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = "10.0.0.1:1"
		r.Header.Set("X-Forwarded-For", written+", 192.0.2.1:51034")
		if client, err := netaddr.Client(r, proxies); err != nil || client.String() != "192.0.2.1" {
			t.Errorf("%v, %v", client, err)
		}
		r.Header.Set("X-Forwarded-For", written)
		if client, err := netaddr.Client(r, proxies); client.IsValid() != (err == nil) {
			t.Errorf("%v, %v", client, err)
		}
	})
}
