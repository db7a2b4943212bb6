package network_test

import (
	"encoding/pem"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/network"
	"cobrowse-bridge/bridge/network/networktest"
)

func tlsServer(t *testing.T) (address string, ca []byte) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello") }))
	t.Cleanup(s.Close)
	return s.URL, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
}

func get(t *testing.T, r network.Route, address string) error {
	t.Helper()
	transport := r.Transport(&http.Transport{DisableKeepAlives: true})
	q, err := http.NewRequestWithContext(t.Context(), http.MethodGet, address, nil)
	if err != nil {
		t.Fatal(err)
	}
	answer, err := transport.RoundTrip(q)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	if text, err := io.ReadAll(answer.Body); err != nil || string(text) != "hello" {
		t.Errorf("%q %v", text, err)
	}
	return nil
}

func TestCertificatesOfTheFileAreTrusted(t *testing.T) {
	t.Parallel()
	address, ca := tlsServer(t)
	pool, err := network.Roots(append([]byte("Our CA\n"), ca...))
	if err != nil {
		t.Fatal(err)
	}
	direct, _, _ := network.ParseProxy(network.Direct)
	if err := get(t, network.Route{Roots: pool}.Through(direct), address); err != nil {
		t.Error(err)
	}
	if err := get(t, network.Route{}.Through(direct), address); err == nil {
		t.Error("without the file the certificate is trusted")
	}
	broken := strings.Replace(string(ca), "MII", "AAA", 1)
	for name, data := range map[string]string{
		"without certificates": "hello", "without certificates ": "", "certificate number 2": string(ca) + broken,
		"a private key": string(ca) + "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
	} {
		if _, err := network.Roots([]byte(data)); err == nil || !strings.Contains(err.Error(), strings.TrimSpace(name)) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCallsGoThroughTheProxyAndARefusalNamesIt(t *testing.T) {
	t.Parallel()
	address, ca := tlsServer(t)
	pool, err := network.Roots(ca)
	if err != nil {
		t.Fatal(err)
	}
	for status, want := range map[int]string{
		0: "", 403: "refused the connection (403 Forbidden)", 407: "requires a user and password, or does not accept them (407)",
		502: "refused the connection (502 Bad Gateway)", 600: "refused the connection (600)",
	} {
		proxy := &networktest.Proxy{Status: status}
		server := httptest.NewServer(proxy)
		through, secrets, err := network.ParseProxy(strings.Replace(server.URL, "://", "://ada:pass%2Fword@", 1))
		if err != nil || !slices.Equal(secrets, []string{"pass/word", "pass%2Fword", "ada:pass/word"}) {
			t.Fatalf("%v %q", err, secrets)
		}
		err = get(t, network.Route{Roots: pool}.Through(through), address)
		server.Close()
		host := strings.TrimPrefix(server.URL, "http://")
		refused, is := errors.AsType[*network.ProxyError](err)
		if want == "" {
			if err != nil || len(proxy.Hosts()) != 1 || proxy.User() != "Basic YWRhOnBhc3Mvd29yZA==" {
				t.Errorf("%v, %d connections, user %q", err, len(proxy.Hosts()), proxy.User())
			}
			continue
		}
		if !is || refused.Host != host || refused.Status != status || refused.Error() != "the proxy "+host+" "+want {
			t.Errorf("%d: %v", status, err)
		}
		// The server is closed now.
		err = get(t, network.Route{Roots: pool}.Through(through), address)
		if refused, is := errors.AsType[*network.ProxyError](err); !is || refused.Status != 0 || refused.Error() != "the proxy "+host+" cannot be reached" {
			t.Errorf("closed: %v", err)
		}
	}
}

func TestASOCKSProxyThatRefusesIsNamed(t *testing.T) {
	t.Parallel()
	address, _ := tlsServer(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer c.Close()
				_, _ = io.ReadFull(c, make([]byte, 3))
				_, _ = c.Write([]byte{5, 0})                         // version 5, no authentication
				_, _ = io.ReadFull(c, make([]byte, 10))              // CONNECT to an IPv4 address
				_, _ = c.Write([]byte{5, 2, 0, 1, 0, 0, 0, 0, 0, 0}) // not allowed by ruleset
			}()
		}
	}()
	through, _, err := network.ParseProxy("socks5://" + l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	err = get(t, network.Route{}.Through(through), address)
	if refused, is := errors.AsType[*network.ProxyError](err); !is || refused.Error() != "the proxy "+l.Addr().String()+" refused the connection" {
		t.Error(err)
	}
}

func TestTheSettingOfAProxy(t *testing.T) {
	t.Parallel()
	for _, wrong := range []string{"proxy.example.org:3128", "ftp://proxy.example.org", "http://", "http://proxy.example.org/path", "http://proxy.example.org?x=1", "Direct", "socks4://proxy"} {
		if _, _, err := network.ParseProxy(wrong); err == nil {
			t.Errorf("%q is accepted", wrong)
		}
	}
	if proxy, _, err := network.ParseProxy(""); proxy != nil || err != nil {
		t.Errorf("nothing: %v", err)
	}
	request := &http.Request{URL: &url.URL{Scheme: "https", Host: "service.example.org"}}
	for value, host := range map[string]string{
		"direct": "", "http://p.example.org:3128": "p.example.org:3128", "https://u:p@p.example.org/": "p.example.org", "socks5://10.0.0.1:1080": "10.0.0.1:1080",
	} {
		proxy, _, err := network.ParseProxy(value)
		if err != nil {
			t.Errorf("%s: %v", value, err)
			continue
		}
		u, err := network.Route{}.Through(proxy).ProxyOf(request)
		if err != nil || (u == nil) != (host == "") || u != nil && u.Host != host {
			t.Errorf("%s: %v %v", value, u, err)
		}
	}
	if got := network.SecretsOf("ada:pass-word@proxy.example.org:3128"); !slices.Contains(got, "pass-word") {
		t.Errorf("without a scheme: %q", got)
	}
	if got := network.SecretsOf("http://ada@proxy.example.org"); got != nil {
		t.Errorf("without a password: %q", got)
	}
}
