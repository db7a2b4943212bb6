package main

import (
	"bytes"
	"cmp"
	"context"
	"database/sql"
	"encoding/base64"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/proof"
	"cobrowse-bridge/bridge/signin/signintest"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/connectors/slack/slacktest"
	"cobrowse-bridge/upscope/upscopetest"
)

// A misconfiguration is one thing that is wrong, and what check says about it.
type misconfiguration struct {
	name  string
	spoil func(b *checkedBridge) (args []string)
	// code is that of the only finding that is not OK, or there are several with spaces between them. The
	// remedy of one of them has the text remedy. The exit status is 0 for a warning.
	code, remedy string
	status       int
}

// setting returns a spoil function that changes settings.
func setting(changes ...string) func(*checkedBridge) []string {
	return func(b *checkedBridge) []string {
		b.set(changes...)
		return nil
	}
}

func there(h http.HandlerFunc) func(*checkedBridge) []string {
	return func(b *checkedBridge) []string {
		b.there = h
		return nil
	}
}

// certified returns a spoil function that gives the origin another certificate.
func certified(host string, life time.Duration) func(*checkedBridge) []string {
	return func(b *checkedBridge) []string {
		b.certificate = b.authority.issue(b.t, host, life)
		return nil
	}
}

func status(code int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) }
}

func htmlPage(w http.ResponseWriter, _ *http.Request) {
	w.Header().Set("Content-Type", "text/html")
	_, _ = io.WriteString(w, "<!doctype html><title>canary of the answer</title>")
}

// huge answers with 10 MB, and endless without an end.
func huge(w http.ResponseWriter, _ *http.Request) {
	_, _ = w.Write(bytes.Repeat([]byte("canary of the answer"), 500_000))
}

func endless(w http.ResponseWriter, r *http.Request) {
	for r.Context().Err() == nil {
		if _, err := w.Write(bytes.Repeat([]byte("canary of the answer"), 1000)); err != nil {
			return
		}
	}
}

// silent answers only when the client has gone.
func silent(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }

// metadata redirects to an address that clouds give secrets at.
func metadata(w http.ResponseWriter, r *http.Request) {
	http.Redirect(w, r, "http://169.254.169.254/latest/meta-data/", http.StatusFound)
}

// A service that stands in for each of the others, as a handler at the address of a setting.
func instead(variable, path string, h http.HandlerFunc) func(*checkedBridge) []string {
	return func(b *checkedBridge) []string {
		b.set(variable + "=" + listen(b.t, h) + path)
		return nil
	}
}

func TestCheckNamesWhatIsWrong(t *testing.T) {
	t.Parallel()
	world := newCheckWorld(t)
	all := slices.Concat(wrongSettings, wrongDatabases, wrongOrigins, wrongServices, wrongMachines)
	if len(all) < 60 {
		t.Errorf("only %d misconfigurations", len(all))
	}
	for _, m := range all {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			b := newCheckedBridge(t, world)
			args := m.spoil(b)
			began := time.Now()
			status, found, p := b.check(args...)
			took := time.Since(began)
			faults := wrong(found)
			var codes, remedies []string
			for _, f := range faults {
				codes, remedies = append(codes, f.Code), append(remedies, f.Remedy)
			}
			slices.Sort(codes)
			if status != m.status || strings.Join(codes, " ") != m.code || !strings.Contains(strings.Join(remedies, "\n"), m.remedy) {
				t.Errorf("exit status %d, want %d; want only %s with a remedy that has %q:\n%+v", status, m.status, m.code, m.remedy, faults)
			}
			for _, secret := range []string{"canary", b.secrets.upscope, b.reader, b.poster, b.webhook, b.env["BRIDGE_SECRET"]} {
				if secret != "" && strings.Contains(p.out.String()+p.err.String(), secret) {
					t.Errorf("the output contains %q:\n%s%s", secret, p.out, p.err)
				}
			}
			if took > 60*time.Second { // the limits of check are 6 s; this machine may be busy
				t.Errorf("check took %s", took)
			}
		})
	}
}

// What answers need not be the service that the settings name, and need not stop answering.
func TestCheckHasOneFindingForEachServiceThatIsNotOne(t *testing.T) {
	t.Parallel()
	world := newCheckWorld(t)
	for name, answer := range map[string]http.HandlerFunc{"HTML": htmlPage, "10 MB": huge, "no end": endless, "a redirect": metadata, "no answer": silent} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := newCheckedBridge(t, world)
			b.useChatvisor()
			at := listen(t, answer)
			b.there, b.here = answer, nil
			b.set("BRIDGE_SIGNIN=oidc", "BRIDGE_OIDC_ISSUER="+at+"/realm", "BRIDGE_OIDC_CLIENT_ID=bridge", "BRIDGE_OIDC_CLIENT_SECRET="+b.client,
				"UPSCOPE_URL="+at, "SLACK_URL="+at+"/api/", "SLACK_APP_TOKEN=xapp-1-any-token-of-the-app", "CHATVISOR_URL="+at+"/rest/v1")
			status, found, p := b.check()
			times := map[string]int{}
			for _, f := range wrong(found) {
				times[f.About]++
			}
			want := map[string]int{"BRIDGE_ORIGIN": 1, "upscope": 1, "sign-in": 1, "slack": 1, "chatvisor": 1}
			if status != 1 || !maps.Equal(times, want) || strings.Contains(p.out.String()+p.err.String(), "canary") {
				t.Errorf("exit status %d, findings %v:\n%s%s", status, times, p.out, p.err)
			}
		})
	}
}

var wrongSettings = []misconfiguration{
	{"the origin has a path", setting("BRIDGE_ORIGIN=https://bridge.example.org/cobrowse"), "settings.invalid", "", 2},
	{"the origin is not https", setting("BRIDGE_ORIGIN=http://bridge.example.org"), "settings.invalid", "", 2},
	{"there is no secret", setting("BRIDGE_SECRET="), "settings.invalid", "", 2},
	{"the secret is short", setting("BRIDGE_SECRET=c2hvcnQ="), "settings.invalid", "", 2},
	{"a setting is misspelt", setting("BRIDGE_ORIGINS=https://bridge.example.org"), "settings.invalid", "", 2},
	{"a connector does not exist", setting("BRIDGE_CONNECTORS=rocketchat,intercom"), "settings.invalid", "", 2},
	{"the poster is the reader", setting("ROCKETCHAT_POSTER_ID=readerId"), "settings.invalid", "", 2},
	{"the folder of the database does not exist", setting("BRIDGE_DATABASE=sqlite:/nowhere/at/all/b.db"), "settings.invalid", "", 2},
	{"the policy file does not exist", setting("BRIDGE_POLICY_FILE=/nowhere/policy.yaml"), "settings.invalid", "", 2},
	{"the stop takes longer than the supervisor waits", setting("BRIDGE_STOP_DELAY=20s", "BRIDGE_STOP_TIMEOUT=10s"), "stop.killed", "BRIDGE_KILL_AFTER", 0},
	{"the stop takes longer than Docker waits", setting("BRIDGE_KILL_AFTER=10s", "BRIDGE_STOP_DELAY=5s"), "stop.killed", "stop_grace_period", 0},
	{"the policy names a connector that is not used", func(b *checkedBridge) []string {
		file := filepath.Join(b.t.TempDir(), "policy.yaml")
		content := "rules:\n  - name: all\n    where: {connectors: [slack]}\n    may: [watch]\n"
		if err := os.WriteFile(file, []byte(content), 0o600); err != nil {
			b.t.Fatal(err)
		}
		b.set("BRIDGE_POLICY_FILE="+file, "BRIDGE_SIGNIN=header", "BRIDGE_TRUSTED_PROXIES=127.0.0.1")
		return nil
	}, "policy.no-effect", "remove this part", 1},
}

var wrongDatabases = []misconfiguration{
	{"PostgreSQL does not run", setting("BRIDGE_DATABASE=postgres://u:canary-password@127.0.0.1:1/x"), "store.unreachable", "PostgreSQL runs", 1},
	{"PostgreSQL never answers", func(b *checkedBridge) []string {
		at := httptest.NewUnstartedServer(nil) // accepts connections and reads nothing
		b.t.Cleanup(func() { at.Listener.Close() })
		b.set("BRIDGE_DATABASE=postgres://u:canary-password@" + at.Listener.Addr().String() + "/x")
		return nil
	}, "store.unreachable", "reach it", 1},
	{"another program answers as PostgreSQL", func(b *checkedBridge) []string {
		b.set("BRIDGE_DATABASE=postgres://u:canary-password@" + strings.TrimPrefix(listen(b.t, http.HandlerFunc(htmlPage)), "http://") + "/x?sslmode=disable")
		return nil
	}, "store.unreachable", "PostgreSQL runs", 1},
	{"the database of PostgreSQL does not exist", func(b *checkedBridge) []string {
		b.set("BRIDGE_DATABASE=" + newDatabase(b.t, "postgres") + "_nowhere")
		return nil
	}, "store.unreachable", "name of the database", 1},
	{"PostgreSQL is read only", postgresWith("default_transaction_read_only=on"), "store.readonly", "", 1},
	{"PostgreSQL may lose commits", postgresWith("synchronous_commit=off"), "store.unsafe", "Change the setting", 1},
	{"the user of PostgreSQL may not make tables", func(b *checkedBridge) []string {
		address := newDatabase(b.t, "postgres")
		b.set("BRIDGE_DATABASE=" + asRole(b.t, address, "REVOKE CREATE ON SCHEMA public FROM PUBLIC"))
		return nil
	}, "store.readonly", "", 1},
	{"the user of PostgreSQL may only read", func(b *checkedBridge) []string {
		address := newDatabase(b.t, "postgres")
		b.written(address)
		b.set("BRIDGE_DATABASE=" + asRole(b.t, address, "GRANT SELECT ON ALL TABLES IN SCHEMA public TO PUBLIC"))
		return nil
	}, "store.readonly", "", 1},
	{"PostgreSQL was written by a newer release", func(b *checkedBridge) []string {
		address := newDatabase(b.t, "postgres")
		b.written(address)
		execute(b.t, address, newerSchema)
		b.set("BRIDGE_DATABASE=" + address)
		return nil
	}, "store.newer", "newer release", 1},
	{"the SQLite file was written by a newer release", func(b *checkedBridge) []string {
		b.written(b.env["BRIDGE_DATABASE"])
		execute(b.t, b.env["BRIDGE_DATABASE"], newerSchema)
		return nil
	}, "store.newer", "restore a backup", 1},
	{"the SQLite file is that of another program", func(b *checkedBridge) []string {
		execute(b.t, b.env["BRIDGE_DATABASE"], "CREATE TABLE bookmarks (url TEXT)")
		return nil
	}, "store.foreign", "bridge's own file", 1},
	{"the SQLite file is something else", func(b *checkedBridge) []string {
		if err := os.WriteFile(strings.TrimPrefix(b.env["BRIDGE_DATABASE"], "sqlite:"), bytes.Repeat([]byte("canary of the answer"), 500), 0o600); err != nil {
			b.t.Fatal(err)
		}
		return nil
	}, "store.unreachable", "It must be a file", 1},
	{"the SQLite file is read only", func(b *checkedBridge) []string {
		b.written(b.env["BRIDGE_DATABASE"])
		b.ordinaryUser()
		return chmod(b, strings.TrimPrefix(b.env["BRIDGE_DATABASE"], "sqlite:"), 0o400)
	}, "store.readonly", "read and write it", 1},
	{"the folder of the SQLite file is read only", func(b *checkedBridge) []string {
		b.ordinaryUser()
		return chmod(b, filepath.Dir(strings.TrimPrefix(b.env["BRIDGE_DATABASE"], "sqlite:")), 0o500)
	}, "store.readonly", "and its folder", 1},
	{"the secret is another one", func(b *checkedBridge) []string {
		b.written(b.env["BRIDGE_DATABASE"])
		b.secrets.bridge = bytes.Repeat([]byte{7}, 32)
		b.set("BRIDGE_SECRET=" + base64.StdEncoding.EncodeToString(b.secrets.bridge))
		b.bridge = b.bridgeOf(b.origin, b.secrets.bridge)
		b.here, b.there = b.bridge, b.bridge
		return nil
	}, "store.secret", "", 2},
	{"two replicas use one SQLite file", func(b *checkedBridge) []string {
		db, err := store.Open(context.Background(), b.env["BRIDGE_DATABASE"], store.Options{Secret: b.secrets.bridge})
		if err != nil {
			b.t.Fatal(err)
		}
		b.t.Cleanup(func() { db.Close() })
		return []string{"--start"}
	}, "store.in-use", "Run one replica", 1},
}

var wrongOrigins = []misconfiguration{
	{"nothing runs yet", func(b *checkedBridge) []string { b.there, b.here = nil, nil; return nil }, "origin.not-running", "Before the first start", 0},
	{"nothing runs yet, and warnings count", func(b *checkedBridge) []string { b.there, b.here = nil, nil; return []string{"--strict"} }, "origin.not-running", "Start the bridge", 1},
	{"the origin refuses connections", func(b *checkedBridge) []string { b.there = nil; return nil }, "origin.unreachable", "firewall", 1},
	{"the origin never answers", there(silent), "origin.unreachable", "Check the DNS record", 1},
	{"the host name does not exist", setting("BRIDGE_ORIGIN=https://" + strings.Repeat("a.", 130) + "example"), "origin.dns", "make a DNS record", 1},
	{"a page of another program is at the origin", there(htmlPage), "origin.other", "Correct BRIDGE_ORIGIN", 1},
	{"another program does not know the path", there(status(http.StatusNotFound)), "origin.other", "pass every path", 1},
	{"the origin answers 10 MB", there(huge), "origin.other", "Correct BRIDGE_ORIGIN", 1},
	{"the origin's answer does not end", there(endless), "origin.other", "Correct BRIDGE_ORIGIN", 1},
	{"JSON of another program", there(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, `{"secret":7}`) }), "origin.other", "Correct BRIDGE_ORIGIN", 1},
	{"the origin redirects to an address of the cloud", there(metadata), "origin.redirect", "Set BRIDGE_ORIGIN", 1},
	{"the origin redirects permanently", there(func(w http.ResponseWriter, r *http.Request) {
		http.Redirect(w, r, "https://www.example.org/", http.StatusMovedPermanently)
	}), "origin.redirect", "at which the bridge itself answers", 1},
	{"the origin is too busy", there(status(http.StatusTooManyRequests)), "origin.busy", "in a minute", 0},
	{"a bridge with another secret answers", func(b *checkedBridge) []string {
		b.there = b.bridgeOf(b.origin, make([]byte, 32))
		return nil
	}, "origin.other-bridge", "all replicas need the same one", 1},
	{"a bridge of an earlier release runs", func(b *checkedBridge) []string {
		b.there = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == proof.Path {
				http.NotFound(w, r)
				return
			}
			b.bridge.ServeHTTP(w, r)
		})
		b.here = b.there
		return nil
	}, "origin.older", "Update the bridge", 0},
	{"the running bridge has another origin", func(b *checkedBridge) []string {
		b.there = b.bridgeOf(&url.URL{Scheme: "https", Host: "other.example.org"}, b.secrets.bridge)
		return nil
	}, "origin.setting", "restart the bridge", 1},
	{"the proxy changes Host", func(b *checkedBridge) []string {
		b.there = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			r.Host = "127.0.0.1:8080"
			b.bridge.ServeHTTP(w, r)
		})
		return nil
	}, "origin.rewritten", "pass Host on unchanged", 1},
	{"the proxy holds answers back", func(b *checkedBridge) []string {
		b.there = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			whole := httptest.NewRecorder()
			b.bridge.ServeHTTP(whole, r)
			_, _ = w.Write(whole.Body.Bytes())
		})
		return nil
	}, "origin.buffered", "X-Accel-Buffering", 0},
	{"the proxy does not reach the bridge", there(status(http.StatusBadGateway)), "origin.gateway", "on which the bridge listens", 1},
	{"the proxy runs and the bridge does not", func(b *checkedBridge) []string {
		b.notHere()
		b.there = status(http.StatusServiceUnavailable)
		return nil
	}, "origin.not-running", "Start the bridge", 0},
	{"the proxy asks everyone to sign in", func(b *checkedBridge) []string {
		b.set("BRIDGE_SIGNIN=header", "BRIDGE_TRUSTED_PROXIES=127.0.0.1")
		b.there = http.RedirectHandler("/oauth2/sign_in", http.StatusFound)
		return nil
	}, "origin.sign-in", ".well-known/cobrowse-bridge", 0},
	{"the certificate has another name", certified("other.example.org", 90*24*time.Hour), "origin.tls-name", "certificate for this host name", 1},
	{"the certificate has expired", certified("127.0.0.1", -time.Hour), "origin.tls-expired", "Renew the certificate", 1},
	{"the certificate expires soon", certified("127.0.0.1", 20*24*time.Hour), "origin.tls-expiring", "Renew it", 0},
	{"the certificate is of an unknown authority", func(b *checkedBridge) []string {
		b.certificate = newAuthority(b.t).issue(b.t, "127.0.0.1", 90*24*time.Hour)
		return nil
	}, "origin.tls-issuer", "BRIDGE_CA_FILE", 1},
	{"the origin does not speak TLS", func(b *checkedBridge) []string { b.plain = true; return nil }, "origin.tls", "serve HTTPS", 1},
	{"the proxy for outgoing requests refuses", func(b *checkedBridge) []string {
		b.set("BRIDGE_ORIGIN=https://bridge.example.org", "HTTPS_PROXY="+strings.Replace(listen(b.t, status(http.StatusForbidden)), "://", "://me:canary@", 1))
		return nil
	}, "origin.proxy", "NO_PROXY", 0},
}

var wrongServices = []misconfiguration{
	{"Upscope's key is wrong", setting("UPSCOPE_API_KEY=a-public-key-of-the-page-script"), "upscope.key", "secret REST key", 1},
	{"Upscope's subscription has ended", refusedByUpscope("no_subscription"), "upscope.subscription", "Renew", 1},
	{"Upscope's plan has no API", refusedByUpscope("api_not_enabled"), "upscope.plan", "plan with REST access", 1},
	{"Upscope has restricted the account", refusedByUpscope("please_contact_team"), "upscope.account", "Contact Upscope", 1},
	{"Upscope is down", instead("UPSCOPE_URL", "", status(http.StatusServiceUnavailable)), "upscope.unreachable", "Check UPSCOPE_URL", 1},
	{"Upscope cannot be reached", setting("UPSCOPE_URL=http://127.0.0.1:1"), "upscope.unreachable", "UPSCOPE_PROXY", 1},
	{"Upscope cannot be reached through the proxy", func(b *checkedBridge) []string {
		b.set("UPSCOPE_URL=https://api.example.org", "HTTPS_PROXY="+listen(b.t, status(http.StatusForbidden)))
		return nil
	}, "upscope.unreachable", "to direct for none", 1},
	{"another program is at Upscope's address", instead("UPSCOPE_URL", "", htmlPage), "upscope.other", "Check UPSCOPE_URL", 1},
	{"Upscope's address redirects", instead("UPSCOPE_URL", "", metadata), "upscope.other", "Check UPSCOPE_URL", 1},
	{"Upscope answers 10 MB", instead("UPSCOPE_URL", "", huge), "upscope.other", "Check UPSCOPE_URL", 1},
	{"Upscope never answers", instead("UPSCOPE_URL", "", silent), "upscope.unreachable", "Check UPSCOPE_URL", 1},
	{"the clock differs from Upscope's by six minutes", func(b *checkedBridge) []string {
		b.upscopeAhead.Store(int64(6 * time.Minute))
		return nil
	}, "upscope.clock", "NTP", 0},
	{"Rocket.Chat cannot be reached", setting("ROCKETCHAT_URL=http://127.0.0.1:1"), "rocketchat.unreachable", "ROCKETCHAT_URL", 1},
	{"another program is at Rocket.Chat's address", instead("ROCKETCHAT_URL", "", htmlPage), "rocketchat.unreachable", "ROCKETCHAT_URL", 1},
	{"Rocket.Chat's answer does not end", instead("ROCKETCHAT_URL", "", endless), "rocketchat.unreachable", "ROCKETCHAT_URL", 1},
	{"Rocket.Chat never answers", instead("ROCKETCHAT_URL", "", silent), "rocketchat.unreachable", "ROCKETCHAT_URL", 1},
	{"Rocket.Chat redirects", instead("ROCKETCHAT_URL", "", metadata), "rocketchat.unreachable", "ROCKETCHAT_URL", 1},
	{"the reader's token was revoked", setting("ROCKETCHAT_READER_TOKEN=a-token-that-was-revoked"), "rocketchat.user", "ROCKETCHAT_READER_TOKEN", 1},
	{"the reader is an administrator", func(b *checkedBridge) []string {
		b.chat.AddUser(rocketchattest.User{ID: "readerId", Username: "cobrowse.reader", Token: b.reader, Roles: []string{"admin", "bot", "livechat-monitor"}})
		return nil
	}, "rocketchat.role", "Remove that role", 1},
	{"the poster sees livechat rooms", func(b *checkedBridge) []string {
		b.chat.AddUser(rocketchattest.User{ID: "posterId", Username: "cobrowse", Token: b.poster, Roles: []string{"bot", "livechat-manager"}})
		return nil
	}, "rocketchat.poster-rights", "Remove every role except bot", 1},
	{"the custom field does not exist", setting("ROCKETCHAT_FIELD=cobrowse_key"), "rocketchat.field", "scope Visitor", 1},
	{"Rocket.Chat becomes read-only soon", func(b *checkedBridge) []string { b.chat.SetDaysLeft(5); return nil }, "rocketchat.read-only-soon", "cloud", 0},
	{"Rocket.Chat is read-only", func(b *checkedBridge) []string { b.chat.SetDaysLeft(0); return nil }, "rocketchat.read-only", "cloud", 1},
	{"the clock differs from Rocket.Chat's by six minutes", func(b *checkedBridge) []string {
		at, err := url.Parse(b.chatURL)
		if err != nil {
			b.t.Fatal(err)
		}
		late := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(at) }, ModifyResponse: func(r *http.Response) error {
			r.Header.Set("Date", time.Now().Add(6*time.Minute).UTC().Format(http.TimeFormat))
			return nil
		}}
		b.set("ROCKETCHAT_URL=" + listen(b.t, late))
		return nil
	}, "chat.clock", "NTP", 0},
	{"the app lacks a scope", func(b *checkedBridge) []string {
		b.useSlack()
		b.slack.Set(func(w *slacktest.Workspace) {
			w.Scopes = slices.DeleteFunc(slices.Clone(w.Scopes), func(s string) bool { return s == "users:read" })
		})
		return nil
	}, "slack.scope", "install the app again", 1},
	{"the bot token was revoked", func(b *checkedBridge) []string {
		b.useSlack()
		b.set("SLACK_BOT_TOKEN=xoxb-a-token-that-was-revoked")
		return nil
	}, "slack.token", "SLACK_BOT_TOKEN", 1},
	{"the clock differs from Slack's by six minutes", func(b *checkedBridge) []string {
		b.useSlack()
		b.slack.Set(func(w *slacktest.Workspace) { w.Skew = 6 * time.Minute })
		return nil
	}, "slack.clock", "NTP", 1},
	{"the clock differs from Slack's by one minute", func(b *checkedBridge) []string {
		b.useSlack()
		b.slack.Set(func(w *slacktest.Workspace) { w.Skew = time.Minute })
		return nil
	}, "slack.clock", "NTP", 0},
	{"Slack cannot be reached", func(b *checkedBridge) []string {
		b.useSlack()
		b.set("SLACK_URL=http://127.0.0.1:1/api/", "SLACK_APP_TOKEN=xapp-1-any-token-of-the-app")
		return nil
	}, "slack.unreachable", "HTTPS_PROXY", 1},
	{"the app is not in the channel for cards", func(b *checkedBridge) []string {
		b.useChatvisor()
		b.slack.AddChannel(slacktest.Channel{ID: "C0OTHERS", Name: "others"})
		b.set("CHATVISOR_SHOW=slack:C0OTHERS")
		return nil
	}, "slack.place", "/invite", 1},
	{"Chatvisor's token is wrong", func(b *checkedBridge) []string {
		b.useChatvisor()
		b.set("CHATVISOR_TOKEN=a-token-that-was-revoked")
		return nil
	}, "chatvisor.token", "CHATVISOR_TOKEN", 1},
	{"the identity provider is down", func(b *checkedBridge) []string {
		b.useOIDC().Break(signintest.AllFailing)
		return nil
	}, "signin.issuer", "BRIDGE_OIDC_ISSUER", 1},
	{"the identity provider has no userinfo", func(b *checkedBridge) []string {
		b.useOIDC().Break(signintest.UserinfoMissing)
		return nil
	}, "signin.userinfo", "userinfo_endpoint", 1},
}

var wrongMachines = []misconfiguration{
	{"something failed in the running bridge", func(b *checkedBridge) []string {
		failing := readiness(`{"ready":true,"store":"ok","policy":"ok","failures":{"failed":2,"retrying":1}}`, b.bridge)
		b.here = failing
		return nil
	}, "bridge.failures", "bridge deliveries retry", 1},
	{"something failed in the bridge behind the proxy", func(b *checkedBridge) []string {
		b.notHere()
		b.there = readiness(`{"ready":true,"store":"ok","policy":"ok","failures":{"failed":2,"retrying":1}}`, b.bridge)
		return nil
	}, "bridge.failures", "bridge deliveries list", 1},
	{"the running bridge cannot write", func(b *checkedBridge) []string {
		b.here = readiness(`{"ready":false,"store":"not writable","policy":"ok","failures":{"failed":0,"retrying":0}}`, b.bridge)
		return nil
	}, "bridge.store", "log of", 1},
	{"the running bridge has an old policy", func(b *checkedBridge) []string {
		b.here = readiness(`{"ready":true,"store":"ok","policy":"fault","failures":{"failed":0,"retrying":0}}`, b.bridge)
		return nil
	}, "bridge.policy", "bridge policy check", 1},
	{"the running bridge has the former value of a setting", func(b *checkedBridge) []string {
		b.here = readiness(`{"ready":true,"store":"ok","policy":"ok","settings":"fault","failures":{"failed":0,"retrying":0}}`, b.bridge)
		return nil
	}, "bridge.settings", "setting not reloaded", 1},
	{"another program has the port", func(b *checkedBridge) []string { b.here = http.HandlerFunc(htmlPage); return nil }, "listen.taken", "another address", 1},
	{"a bridge with another secret has the port", func(b *checkedBridge) []string {
		b.here = b.bridgeOf(b.origin, make([]byte, 32))
		return nil
	}, "listen.taken", "Stop the other program", 1},
	{"what has the port does not answer", func(b *checkedBridge) []string { b.here = http.HandlerFunc(silent); return nil }, "listen.silent", "log of", 1},
	{"the port for metrics is taken", func(b *checkedBridge) []string {
		b.there, b.here = nil, nil
		b.set("BRIDGE_METRICS_LISTEN=" + strings.TrimPrefix(listen(b.t, http.HandlerFunc(htmlPage)), "http://"))
		return nil
	}, "listen.address origin.not-running", "another address", 1},
}

// readiness answers /readyz with a text, and everything else as the bridge does.
func readiness(text string, bridge http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/readyz" {
			_, _ = io.WriteString(w, text)
			return
		}
		bridge.ServeHTTP(w, r)
	})
}

func refusedByUpscope(code string) func(*checkedBridge) []string {
	return func(b *checkedBridge) []string {
		b.upscope.Fail(upscopetest.Any, upscopetest.Fault{Status: http.StatusUnauthorized, Code: code}, -1)
		return nil
	}
}

// useOIDC makes agents sign in at an issuer.
func (b *checkedBridge) useOIDC() *signintest.Issuer {
	issuer, env := b.issuer(b.t, b.env, "")
	b.env = env
	return issuer
}

// newerSchema makes a database look as if a newer release had written it.
const newerSchema = "INSERT INTO goose_db_version (version_id, is_applied) VALUES (9999, true)"

// written makes a bridge store a delivery at an address of a database.
func (b *checkedBridge) written(address string) {
	b.t.Helper()
	ctx := context.Background()
	db, err := store.Open(ctx, address, store.Options{Secret: b.secrets.bridge})
	if err != nil {
		b.t.Fatal(err)
	}
	_, err = db.StoreDelivery(ctx, store.Delivery{Connector: "rocketchat", Key: "1", Body: []byte("{}")}, jobs.Job{Queue: "rocketchat", Kind: "answer"})
	if err = cmp.Or(err, db.Close()); err != nil {
		b.t.Fatal(err)
	}
}

// execute runs SQL on a database.
func execute(t testing.TB, address, query string) {
	t.Helper()
	driver, source := "pgx", address
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		driver, source = "sqlite", path
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	_, err = db.ExecContext(context.Background(), query) // also in cleanups
	if err = cmp.Or(err, db.Close()); err != nil {
		t.Fatal(err)
	}
}

// postgresWith returns a spoil function that uses a database with a setting of PostgreSQL.
func postgresWith(setting string) func(*checkedBridge) []string {
	return func(b *checkedBridge) []string {
		b.set("BRIDGE_DATABASE=" + newDatabase(b.t, "postgres") + "?" + setting)
		return nil
	}
}

// asRole makes a role that may do what the query grants it or everyone, and returns the address for it.
func asRole(t testing.TB, address, grant string) string {
	t.Helper()
	at, err := url.Parse(address)
	if err != nil {
		t.Fatal(err)
	}
	role := "role_" + strings.TrimPrefix(at.Path, "/bridge_")
	execute(t, address, grant)
	execute(t, address, "CREATE ROLE "+role+" LOGIN PASSWORD 'canary'")
	t.Cleanup(func() { execute(t, os.Getenv("BRIDGE_TEST_POSTGRES"), "DROP ROLE "+role) })
	at.User = url.UserPassword(role, "canary")
	return at.String()
}

// ordinaryUser makes check run without the right of root to ignore the modes of files.
func (b *checkedBridge) ordinaryUser() {
	if os.Getuid() != 0 {
		return
	}
	setpriv, err := exec.LookPath("setpriv")
	if err != nil {
		b.t.Skip("setpriv, of util-linux, is not installed")
	}
	const rights = "-dac_override,-dac_read_search"
	b.command = []string{setpriv, "--inh-caps=" + rights, "--bounding-set=" + rights}
}

// chmod changes the mode of a file until the test ends.
func chmod(b *checkedBridge, file string, mode os.FileMode) (args []string) {
	b.t.Helper()
	if err := os.Chmod(file, mode); err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { _ = os.Chmod(file, 0o700) }) // so that it can be removed
	return nil
}
