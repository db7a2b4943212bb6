package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
	"cobrowse-bridge/connectors/slack/slacktest"
	"cobrowse-bridge/upscope"
)

// A checkedBridge is a bridge that is set up as it should be, for `bridge check`: it runs, and answers at
// its public address behind a proxy with TLS. Tests spoil it before they call check.
type checkedBridge struct {
	*services
	t *testing.T
	*checkWorld
	env   map[string]string
	slack *slacktest.Workspace

	origin *url.URL
	bridge http.Handler // the running bridge
	// there answers at the origin, and here at BRIDGE_LISTEN. If they are nil, connections are refused.
	there, here http.Handler
	certificate tls.Certificate
	plain       bool     // the origin speaks HTTP on its port for HTTPS
	command     []string // in which check runs, such as setpriv and its arguments

	listener net.Listener // of the origin
	hereAt   *httptest.Server
}

// A checkWorld is what checked bridges share, because it takes time to make.
type checkWorld struct {
	store     *store.Store
	authority *authority
}

func newCheckWorld(t *testing.T) *checkWorld {
	t.Helper()
	db, err := store.Open(t.Context(), newDatabase(t, "sqlite"), store.Options{Secret: make([]byte, 32)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return &checkWorld{db, newAuthority(t)}
}

func newCheckedBridge(t *testing.T, world *checkWorld) *checkedBridge {
	t.Helper()
	b := &checkedBridge{services: newServices(t), t: t, checkWorld: world}
	b.ann()
	b.openChat(nil)
	var l net.ListenConfig
	var err error
	if b.listener, err = l.Listen(t.Context(), "tcp", "127.0.0.1:0"); err != nil {
		t.Fatal(err)
	}
	b.origin = &url.URL{Scheme: "https", Host: b.listener.Addr().String()}
	b.hereAt = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { b.here.ServeHTTP(w, r) }))
	b.certificate = b.authority.issue(t, "127.0.0.1", 90*24*time.Hour)
	b.env = with(b.services.env(t), "BRIDGE_ORIGIN="+b.origin.String(), "BRIDGE_LISTEN="+b.hereAt.Listener.Addr().String(),
		"SSL_CERT_FILE="+b.authority.file, "HTTPS_PROXY=")
	b.bridge = b.bridgeOf(b.origin, b.secrets.bridge)
	b.there, b.here = b.bridge, b.bridge
	return b
}

// bridgeOf returns a bridge that runs with another origin or secret.
func (b *checkedBridge) bridgeOf(origin *url.URL, secret []byte) http.Handler {
	b.t.Helper()
	client, err := upscope.New(upscope.Config{Key: b.secrets.upscope, URL: b.upscopeURL})
	if err != nil {
		b.t.Fatal(err)
	}
	hosts, err := upscope.ParseHosts(upscope.DefaultWatchHosts)
	if err != nil {
		b.t.Fatal(err)
	}
	made, err := bridge.New(bridge.Config{
		Origin: origin, Secret: secret, Store: b.store, Upscope: client, WatchHosts: hosts,
		Connectors: []chat.Connector{{
			Name:   "rocketchat",
			Accept: func(*http.Request, []byte) (chat.Receipt, error) { return chat.Receipt{}, chat.ErrForged },
			Read:   func(context.Context, chat.Delivery) (chat.Ask, error) { return chat.Ask{}, nil },
		}},
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return made
}

// set changes settings.
func (b *checkedBridge) set(changes ...string) { b.env = with(b.env, changes...) }

// notHere ends the bridge on this machine.
func (b *checkedBridge) notHere() { b.here = nil }

// useSlack replaces Rocket.Chat by Slack.
func (b *checkedBridge) useSlack() {
	b.slack = slacktest.New(b.t.Errorf)
	b.slack.Secret, b.slack.BotToken = rand.Text(), "xoxb-"+rand.Text()
	b.slack.AddChannel(slacktest.Channel{ID: "C0AGENTS", Name: "agents", Members: []string{b.slack.BotUser}})
	b.set("BRIDGE_CONNECTORS=slack", "ROCKETCHAT_URL=", "ROCKETCHAT_WEBHOOK_SECRET=", "ROCKETCHAT_READER_ID=", "ROCKETCHAT_READER_TOKEN=",
		"ROCKETCHAT_POSTER_ID=", "ROCKETCHAT_POSTER_TOKEN=", "SLACK_URL="+listen(b.t, b.slack)+"/api/",
		"SLACK_BOT_TOKEN="+b.slack.BotToken, "SLACK_SIGNING_SECRET="+b.slack.Secret)
}

// useChatvisor adds Chatvisor, whose cards are shown in Slack.
func (b *checkedBridge) useChatvisor() *chatvisortest.Service {
	b.useSlack()
	token := rand.Text()
	tenant := chatvisortest.New(token)
	b.set("BRIDGE_CONNECTORS=slack,chatvisor", "CHATVISOR_URL="+listen(b.t, tenant)+chatvisortest.Prefix, "CHATVISOR_TOKEN="+token,
		"CHATVISOR_HOOK_SECRET="+rand.Text(), "CHATVISOR_SHOW=slack:C0AGENTS")
	return tenant
}

// quiet drops what servers log about handshakes that fail.
var quiet = log.New(io.Discard, "", 0)

// check runs `bridge check`, and returns its status and what it found.
func (b *checkedBridge) check(args ...string) (status int, found []printed, p *program) {
	b.t.Helper()
	b.serve()
	p = b.run(append([]string{"check", "--json"}, args...)...)
	status = p.wait(maxWait)
	var answer struct{ Findings []printed }
	if err := json.Unmarshal([]byte(p.out.String()), &answer); err != nil {
		b.t.Fatalf("exit status %d, %v: %s%s", status, err, p.out, p.err)
	}
	return status, answer.Findings, p
}

func (b *checkedBridge) run(args ...string) *program {
	b.t.Helper()
	if b.command == nil {
		return start(b.t, b.env, args...)
	}
	self, err := os.Executable()
	if err != nil {
		b.t.Fatal(err)
	}
	named := filepath.Join(b.t.TempDir(), "bridge")
	if err := os.Symlink(self, named); err != nil {
		b.t.Fatal(err)
	}
	whole := append(append(b.command, named), args...)
	return startCommand(b.t, &exec.Cmd{Path: whole[0], Args: whole}, b.env)
}

// serve starts the servers of the origin and of this machine.
func (b *checkedBridge) serve() {
	end := func(s *httptest.Server) {
		b.t.Cleanup(func() {
			s.CloseClientConnections()
			s.Close()
		})
	}
	if b.here == nil {
		b.hereAt.Listener.Close()
	} else {
		b.hereAt.Start()
		end(b.hereAt)
	}
	if b.there == nil {
		b.listener.Close()
		return
	}
	there := &httptest.Server{Listener: b.listener, Config: &http.Server{Handler: b.there, ErrorLog: quiet, ReadHeaderTimeout: maxWait}} //nolint:gosec // maxWait is long
	if b.plain {
		there.Start()
	} else {
		there.TLS = &tls.Config{Certificates: []tls.Certificate{b.certificate}}
		there.StartTLS()
	}
	end(there)
}

// wrong returns the findings that are not OK.
func wrong(found []printed) (all []printed) {
	for _, f := range found {
		if f.Level != "ok" {
			all = append(all, f)
		}
	}
	return all
}

// An authority issues certificates.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
	file        string // its certificate in PEM
}

func newAuthority(t testing.TB) *authority {
	t.Helper()
	a := &authority{certificate: &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Authority of the test"}, NotBefore: time.Now().Add(-400 * 24 * time.Hour),
		NotAfter: time.Now().Add(400 * 24 * time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}}
	var err error
	if a.key, err = ecdsa.GenerateKey(elliptic.P256(), rand.Reader); err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, a.certificate, a.certificate, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	a.file = filepath.Join(t.TempDir(), "authority.pem")
	if err := os.WriteFile(a.file, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600); err != nil {
		t.Fatal(err)
	}
	return a
}

// issue makes a certificate for a host that ends after life, which is negative for one that has ended.
func (a *authority) issue(t testing.TB, host string, life time.Duration) tls.Certificate {
	t.Helper()
	made := &x509.Certificate{SerialNumber: big.NewInt(2), NotBefore: time.Now().Add(-100 * 24 * time.Hour), NotAfter: time.Now().Add(life)}
	if ip := net.ParseIP(host); ip != nil {
		made.IPAddresses = []net.IP{ip}
	} else {
		made.DNSNames = []string{host}
	}
	der, err := x509.CreateCertificate(rand.Reader, made, a.certificate, a.key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: a.key}
}
