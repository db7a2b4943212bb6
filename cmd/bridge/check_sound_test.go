package main

import (
	"compress/gzip"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/connectors/slack/slacktest"
)

// A soundSetUp is one about which check has nothing to say.
type soundSetUp struct {
	name  string
	build func(b *checkedBridge) (args []string)
}

func TestCheckIsSilentAboutSoundSetUps(t *testing.T) {
	t.Parallel()
	world := newCheckWorld(t)
	if len(soundSetUps) < 20 {
		t.Errorf("only %d set-ups", len(soundSetUps))
	}
	for _, s := range soundSetUps {
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			b := newCheckedBridge(t, world)
			args := s.build(b)
			status, found, p := b.check(append(args, "--strict")...)
			if faults := wrong(found); status != 0 || len(faults) > 0 || len(found) < 3 {
				t.Errorf("exit status %d, %d findings, not silent: %+v\n%s", status, len(found), faults, p.err)
			}
		})
	}
}

var soundSetUps = []soundSetUp{
	{"as it is installed", setting()},
	{"a SQLite file in use", func(b *checkedBridge) []string { b.written(b.env["BRIDGE_DATABASE"]); return nil }},
	{"a SQLite file of an earlier release", func(b *checkedBridge) []string {
		from, err := os.Open(filepath.Join("..", "..", "bridge", "store", "testdata", "upgrade", "v2", "bridge.db.gz"))
		if err != nil {
			b.t.Fatal(err)
		}
		defer from.Close()
		unpacked, err := gzip.NewReader(from)
		if err != nil {
			b.t.Fatal(err)
		}
		content, err := io.ReadAll(unpacked)
		if err == nil {
			err = os.WriteFile(strings.TrimPrefix(b.env["BRIDGE_DATABASE"], "sqlite:"), content, 0o600)
		}
		if err != nil {
			b.t.Fatal(err)
		}
		// The secret of those databases; the running bridge of the other tests has another one.
		b.set("BRIDGE_SECRET=" + base64.StdEncoding.EncodeToString([]byte("canary-bridge-secret-0123456789a")))
		return []string{"--start"}
	}},
	{"a new database of PostgreSQL", func(b *checkedBridge) []string { b.set("BRIDGE_DATABASE=" + newDatabase(b.t, "postgres")); return nil }},
	{"a database of PostgreSQL in use", func(b *checkedBridge) []string {
		address := newDatabase(b.t, "postgres")
		b.written(address)
		b.set("BRIDGE_DATABASE=" + address)
		return nil
	}},
	{"a database of PostgreSQL with remote_write", postgresWith("synchronous_commit=remote_write")},
	{"a role that owns nothing but may write", func(b *checkedBridge) []string {
		address := newDatabase(b.t, "postgres")
		b.written(address)
		b.set("BRIDGE_DATABASE=" + asRole(b.t, address, "GRANT ALL ON ALL TABLES IN SCHEMA public TO PUBLIC"))
		return nil
	}},
	{"an init container", func(b *checkedBridge) []string { b.written(b.env["BRIDGE_DATABASE"]); return []string{"--start"} }},
	{"settings only", func(b *checkedBridge) []string { b.there, b.here = nil, nil; return []string{"--offline"} }},
	{"agents sign in", func(b *checkedBridge) []string { b.useOIDC(); return nil }},
	{"agents sign in with a policy", func(b *checkedBridge) []string {
		b.useOIDC()
		file := filepath.Join(b.t.TempDir(), "policy.yaml")
		if err := os.WriteFile(file, []byte("rules:\n  - name: all\n    may: [watch, stop]\n"), 0o600); err != nil {
			b.t.Fatal(err)
		}
		b.set("BRIDGE_POLICY_FILE=" + file)
		return nil
	}},
	{"a proxy signs agents in", setting("BRIDGE_SIGNIN=header", "BRIDGE_TRUSTED_PROXIES=127.0.0.1")},
	{"Slack", func(b *checkedBridge) []string { b.useSlack(); return nil }},
	{"Slack in Socket Mode", func(b *checkedBridge) []string {
		b.useSlack()
		b.slack.AppToken = "xapp-1-token-of-the-app"
		b.slack.SocketURL = "wss://wss-primary.slack.com/link"
		b.set("SLACK_APP_TOKEN=" + b.slack.AppToken)
		return nil
	}},
	{"Chatvisor with cards in Slack", func(b *checkedBridge) []string { b.useChatvisor(); return nil }},
	{"two workspaces of Rocket.Chat", func(b *checkedBridge) []string {
		emea := newServices(b.t)
		emea.chat.Set("Livechat_webhookUrl", b.origin.JoinPath("hooks/rocketchat-emea").String())
		b.set("BRIDGE_CONNECTORS=rocketchat,rocketchat-emea", "ROCKETCHAT_EMEA_URL="+emea.chatURL, "ROCKETCHAT_EMEA_WEBHOOK_SECRET="+emea.webhook,
			"ROCKETCHAT_EMEA_READER_ID=readerId", "ROCKETCHAT_EMEA_READER_TOKEN="+emea.reader,
			"ROCKETCHAT_EMEA_POSTER_ID=posterId", "ROCKETCHAT_EMEA_POSTER_TOKEN="+emea.poster)
		return nil
	}},
	{"cards in a private group", func(b *checkedBridge) []string {
		b.chat.AddRoom(rocketchattest.Room{Type: "p", Name: "support-agents", Members: []string{"bob", "cobrowse"}})
		b.set("ROCKETCHAT_SHOW=rocketchat:#support-agents", "BRIDGE_SIGNIN=header", "BRIDGE_TRUSTED_PROXIES=127.0.0.1")
		return nil
	}},
	{"Rocket.Chat and Slack", func(b *checkedBridge) []string {
		before := b.env
		b.useSlack()
		for name, value := range before {
			if strings.HasPrefix(name, "ROCKETCHAT_") {
				b.set(name + "=" + value)
			}
		}
		b.slack.AddChannel(slacktest.Channel{ID: "C0CARDS", Name: "cards", Members: []string{b.slack.BotUser}})
		b.set("BRIDGE_CONNECTORS=rocketchat,slack", "ROCKETCHAT_SHOW=slack:C0CARDS")
		return nil
	}},
	{"the secret is being replaced", func(b *checkedBridge) []string {
		b.written(b.env["BRIDGE_DATABASE"])
		b.set("BRIDGE_SECRET_OLD="+b.env["BRIDGE_SECRET"], "BRIDGE_SECRET="+base64.StdEncoding.EncodeToString(make([]byte, 32)))
		return nil // the running bridge still has the old one
	}},
	{"systemd passes the socket", func(b *checkedBridge) []string {
		b.notHere() // but at the origin
		return nil
	}},
	{"the socket is a file", func(b *checkedBridge) []string {
		folder, err := os.MkdirTemp("", "socket") // a test's own folder has a longer path than sockets may have
		if err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { _ = os.RemoveAll(folder) })
		var l net.ListenConfig
		file := filepath.Join(folder, "http.sock")
		listener, err := l.Listen(b.t.Context(), "unix", file)
		if err != nil {
			b.t.Fatal(err)
		}
		b.hereAt.Listener.Close()
		b.hereAt.Listener = listener
		b.set("BRIDGE_LISTEN=unix:" + file)
		return nil
	}},
	{"a proxy that does not buffer", func(b *checkedBridge) []string {
		at, err := url.Parse(listen(b.t, b.bridge))
		if err != nil {
			b.t.Fatal(err)
		}
		b.there = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(at)
			r.Out.Host = r.In.Host
		}}
		return nil
	}},
	{"a certificate with 22 days left", certified("127.0.0.1", 22*24*time.Hour+time.Hour)},
	{"a slow stop that the supervisor waits for", setting("BRIDGE_STOP_DELAY=30s", "BRIDGE_STOP_TIMEOUT=30s", "BRIDGE_KILL_AFTER=90s")},
	{"clocks that differ a little", func(b *checkedBridge) []string { b.upscopeAhead.Store(int64(20 * time.Second)); return nil }},
	{"a page that is not the bridge's on another path", func(b *checkedBridge) []string {
		b.there = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.HasPrefix(r.URL.Path, "/robots.txt") {
				htmlPage(w, r)
				return
			}
			b.bridge.ServeHTTP(w, r)
		})
		return nil
	}},
}
