package main

import (
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"cobrowse-bridge/bridge/signin/signintest"
)

// issuer starts a sign-in service on loopback and returns it with the settings that name
// it. The service signs in the user auto, or asks if auto is empty.
func (s *services) issuer(t testing.TB, env map[string]string, auto string) (*signintest.Issuer, map[string]string) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	at := "http://" + server.Listener.Addr().String() + "/realm"
	issuer := signintest.New(signintest.Config{
		URL: at, ClientID: "bridge", ClientSecret: s.client, Redirect: origin + "/signin/callback", Users: people, SignedIn: auto,
	})
	server.Config.Handler = issuer
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return issuer, with(env, "BRIDGE_SIGNIN=oidc", "BRIDGE_OIDC_ISSUER="+at, "BRIDGE_OIDC_CLIENT_ID=bridge", "BRIDGE_OIDC_CLIENT_SECRET="+s.client)
}

// signIn follows a link in the chat and its redirects, but not one to Upscope.
func (b *browser) signIn(path string) answer {
	b.t.Helper()
	a := b.follow(path)
	for range 6 {
		location := a.Header.Get("Location")
		switch {
		case strings.HasPrefix(location, origin):
			a = b.follow(strings.TrimPrefix(location, origin))
		case strings.HasPrefix(location, "/"):
			a = b.follow(location)
		case strings.Contains(location, "/realm/authorize?"):
			res, err := b.client.Get(location)
			if err != nil {
				b.t.Fatal(err)
			}
			res.Body.Close()
			a = answer{Response: res}
		default:
			return a
		}
	}
	b.t.Fatal("too many redirects")
	return answer{}
}

// chatWithCard opens a chat that bob serves, and waits for its card.
func (s *services) chatWithCard(t testing.TB, b *browser) (door, room string) {
	t.Helper()
	room = s.openChat(pageKeyFields())
	s.chat.Take(room, "bob")
	before := len(s.chat.Posts("bob"))
	b.deliverEvent(s, "LivechatSessionTaken", room)
	eventually(t, "bob has a card", maxWait, func() bool { return len(s.chat.Posts("bob")) > before })
	return s.door(t, "bob"), room
}

const (
	mayWatch = "rules:\n  - who: {groups: [agents]}\n    may: [watch, audit]\n"
	mayNot   = "rules:\n  - who: {groups: [nobody]}\n    may: [watch]\n"
)

func TestServeSignsAgentsInAndOutAndFollowsThePolicy(t *testing.T) {
	t.Parallel()
	onEachEngine(t, func(t *testing.T, s *services, env map[string]string) {
		s.ann()
		rules := filepath.Join(t.TempDir(), "policy.yaml")
		write := func(content string) {
			t.Helper()
			if err := os.WriteFile(rules, []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		write(mayWatch)
		issuer, env := s.issuer(t, with(env, "BRIDGE_POLICY_FILE="+rules, "BRIDGE_METRICS_LISTEN=127.0.0.1:0", "BRIDGE_LOG_LEVEL=info"), "ada")
		p, address := startServe(t, env)
		ada := newBrowser(t, address)

		// The first click leads to the sign-in and to a question; the next one does not.
		door, _ := s.chatWithCard(t, ada)
		ada.signIn(door).want(t, http.StatusOK, "Is this your account?", "Bob Baker", "Ada Lovelace")
		ada.press(door, url.Values{"connect": {"1"}}).want(t, http.StatusOK, "Ann Silva")
		ada.follow(door).wantWatch(t)
		ada.follow("/").want(t, http.StatusOK, "Your chat accounts", "Ada Lovelace")
		ada.follow("/desk/audit").want(t, http.StatusOK, "watching")
		ada.follow("/desk/erase").want(t, http.StatusForbidden)

		// SIGHUP reloads the policy at once. A file with faults changes nothing; the bridge
		// reports it.
		reload := func(content, logged string) {
			t.Helper()
			write(content)
			before := strings.Count(p.err.String(), logged)
			p.signal(syscall.SIGHUP)
			eventually(t, logged, maxWait, func() bool { return strings.Count(p.err.String(), logged) > before })
		}
		reload(mayNot, `"msg":"policy reloaded"`)
		ada.follow(door).want(t, http.StatusForbidden)
		reload("rules: wrong\n", "policy.yaml:1: ")
		ada.follow(door).want(t, http.StatusForbidden)
		ada.do(http.MethodGet, "/readyz", nil, nil).want(t, http.StatusOK, `"policy":"fault"`, `"ready":true`)
		if m := s.metrics(t, p); !strings.Contains(m, "\nbridge_policy_fault 1\n") {
			t.Errorf("the metrics do not report the fault:\n%s", m)
		}
		reload(mayNot, "policy unchanged")
		reload(mayWatch, `"msg":"policy reloaded"`)
		ada.follow(door).wantWatch(t)

		// The sign-out command ends the sign-in in the running bridge.
		id := "oidc:" + strings.TrimPrefix(env["BRIDGE_OIDC_ISSUER"], "http://") + "/ada"
		if list := s.command(t, env, 0, "agents", "list"); !strings.Contains(list, id+" ") || !strings.Contains(list, "ada@corp.example") {
			t.Errorf("agents list prints %s", list)
		}
		if printed := s.command(t, env, 0, "agents", "sign-out", id); !strings.Contains(printed, "(browsers: 1)") {
			t.Errorf("agents sign-out prints %s", printed)
		}
		if a := ada.follow(door); a.StatusCode != http.StatusSeeOther || !strings.Contains(a.Header.Get("Location"), "/realm/authorize?") {
			t.Errorf("after the sign-out the answer is %d to %q", a.StatusCode, a.Header.Get("Location"))
		}
		if list := s.command(t, env, 0, "audit", "list", "--action", "signed out"); !strings.Contains(list, id) || !strings.Contains(list, " operator:") {
			t.Errorf("the audit log is %s", list)
		}
		ada.signIn(door).want(t, http.StatusOK, "Co-browse with")

		// After agents disconnect, the account can be connected again.
		if printed := s.command(t, env, 0, "agents", "disconnect", "rocketchat:a1"); printed != "disconnected rocketchat:a1 from "+id+"\n" {
			t.Errorf("agents disconnect prints %s", printed)
		}
		ada.follow(door).want(t, http.StatusOK, "Is this your account?")
		if printed := s.command(t, env, 1, "agents", "disconnect", "rocketchat:a1"); !strings.Contains(printed, "is not connected to an agent") {
			t.Errorf("a second agents disconnect prints %s", printed)
		}
		if list := s.command(t, env, 0, "audit", "list", "--action", "disconnected"); !strings.Contains(list, "rocketchat:a1 of "+id) {
			t.Errorf("the audit log is %s", list)
		}
		ada.press(door, url.Values{"connect": {"1"}}).want(t, http.StatusOK)

		// Agents stay signed in while the issuer is down.
		issuer.Break(signintest.Down)
		ada.follow(door).wantWatch(t)
		p.terminate()
	})
}

// metrics reads GET /metrics of a program.
func (s *services) metrics(t testing.TB, p *program) string {
	t.Helper()
	_, address, ok := strings.Cut(strings.TrimSpace(p.out.String()), ", with metrics on ")
	if !ok {
		t.Fatalf("the ready line has no address of metrics: %s", p.out)
	}
	b := newBrowser(t, address)
	defer b.client.CloseIdleConnections() // a caller may compare how many connections are open
	a := b.do(http.MethodGet, "/metrics", nil, nil)
	a.want(t, http.StatusOK)
	return a.body
}

// A request to the dead issuer takes five seconds. On a busy machine the rest may take as
// long by chance, so the test has several tries.
func TestPromise9ADeadIssuerDelaysOnlySignIns(t *testing.T) {
	t.Parallel()
	const tries = 4
	for n := 1; ; n++ {
		took := cardsWithADeadIssuer(t)
		if took < 4*time.Second || t.Failed() {
			return
		}
		if n == tries {
			t.Fatalf("in %d tries the first card took as long as a request to the dead issuer, %v in the last try", n, took)
		}
	}
}

// cardsWithADeadIssuer shows and closes a card while the issuer is dead, and returns the
// time from the start to the first card.
func cardsWithADeadIssuer(t *testing.T) (took time.Duration) {
	s := newServices(t)
	ann := s.ann()
	issuer, env := s.issuer(t, s.env(t), "ada")
	issuer.Break(signintest.NoAnswer)
	began := time.Now()
	p, address := startServe(t, env)
	bob := newBrowser(t, address)
	door, room := s.chatWithCard(t, bob)
	bob.do(http.MethodGet, "/readyz", nil, nil).want(t, http.StatusOK)
	took = time.Since(began)
	bob.follow(door).want(t, http.StatusServiceUnavailable, "sign-in page is not available", "Continue without co-browsing")
	s.chat.CloseChat(room)
	bob.deliverEvent(s, "LivechatSession", room)
	eventually(t, "the card is closed", maxWait, func() bool {
		posts := s.chat.Posts("bob")
		return strings.Contains(posts[len(posts)-1].Text, "Chat closed")
	})
	if n := s.upscope.Minted(); n != 0 {
		t.Errorf("%d watch links of %s although no agent signed in", n, ann)
	}
	eventually(t, "the log has the problem", maxWait, func() bool { return strings.Contains(p.err.String(), "Agents cannot sign in") })
	p.terminate()
	return took
}

func TestServeReadsTheSettingsOfUnusualIssuers(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	issuer, env := s.issuer(t, s.env(t), "ada")
	issuer.Break(signintest.NoAzp)
	_, address := startServe(t, with(env, "BRIDGE_OIDC_AUDIENCES=third,another"))
	newBrowser(t, address).signIn("/signin").want(t, http.StatusOK, "Ada Lovelace")
}

func TestServeSaysWhichSettingTheIssuerRefuses(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	_, env := s.issuer(t, s.env(t), "ada")
	p, address := startServe(t, with(env, "BRIDGE_OIDC_CLIENT_SECRET=an-old-secret-of-the-client"))
	newBrowser(t, address).signIn("/signin").want(t, http.StatusServiceUnavailable, "Sign-in is not set up correctly", "See the log of Co-browse bridge")
	eventually(t, "the log names the setting", maxWait, func() bool {
		return strings.Contains(p.err.String(), "401 invalid_client; look at BRIDGE_OIDC_CLIENT_ID and BRIDGE_OIDC_CLIENT_SECRET")
	})
}

func TestServeTrustsOnlyTheProxysHeaders(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.ann()
	env := with(s.env(t), "BRIDGE_SIGNIN=header", "BRIDGE_TRUSTED_PROXIES=127.0.0.1")
	p, address := startServe(t, env)
	b := newBrowser(t, address)
	door, _ := s.chatWithCard(t, b)
	openAs := func(at *browser, pairs ...string) answer {
		header := navigation("cross-site")
		for i := 0; i < len(pairs); i += 2 {
			header.Add(pairs[i], pairs[i+1])
		}
		return at.do(http.MethodGet, door, header, nil)
	}
	openAs(b, "X-Forwarded-User", "ada", "X-Forwarded-Preferred-Username", "Ada").want(t, http.StatusOK, "Is this your account?", "Ada")
	openAs(b).want(t, http.StatusForbidden, "Your sign-in was not recognised")
	openAs(b, "X-Forwarded-User", "ada", "X_Forwarded_User", "eve").want(t, http.StatusForbidden)
	p.terminate()

	p, address = startServe(t, with(env, "BRIDGE_TRUSTED_PROXIES=192.0.2.7", "BRIDGE_METRICS_LISTEN=127.0.0.1:0"))
	openAs(newBrowser(t, address), "X-Forwarded-User", "ada").want(t, http.StatusForbidden, "Your sign-in was not recognised")
	if m := s.metrics(t, p); !strings.Contains(m, "\nbridge_spoofed_identities_total 1\n") {
		t.Errorf("the metrics do not count it:\n%s", m)
	}
}

func TestPagesAcceptManyCookiesAndGroups(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.ann()
	_, address := startServe(t, with(s.env(t), "BRIDGE_SIGNIN=header", "BRIDGE_TRUSTED_PROXIES=127.0.0.1"))
	b := newBrowser(t, address)
	door, _ := s.chatWithCard(t, b)
	for name, long := range map[string]struct{ header, value string }{
		"24 KiB of cookies of other sites": {"Cookie", strings.Repeat("shop="+strings.Repeat("x", 1000)+"; ", 24)},
		"600 groups with long ids":         {"X-Forwarded-Groups", strings.Repeat("5f2a0c1e-7d1b-4a6e-9c3f-1234567890ab,", 600)},
	} {
		for _, path := range []string{door, "/"} {
			header := navigation("cross-site")
			header.Set("X-Forwarded-User", "ada")
			header.Set(long.header, long.value)
			if a := b.do(http.MethodGet, path, header, nil); a.StatusCode != http.StatusOK {
				t.Errorf("%s: %s is answered %d", name, path, a.StatusCode)
			}
		}
	}
}

func TestMetricsAreOnlyOnTheMetricsAddress(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	env := with(s.env(t), "BRIDGE_METRICS_LISTEN=127.0.0.1:0")
	p, address := startServe(t, env)
	if m := s.metrics(t, p); !strings.Contains(m, `bridge_build_info{go="go1.`) || !strings.Contains(m, `version="dev"} 1`) {
		t.Errorf("the metrics are\n%s", m)
	}
	_, at, _ := strings.Cut(strings.TrimSpace(p.out.String()), ", with metrics on ")
	operators := newBrowser(t, at)
	for _, path := range []string{"/", "/desk", "/debug/pprof/"} {
		operators.do(http.MethodGet, path, nil, nil).want(t, http.StatusNotFound)
	}
	for _, path := range []string{"/healthz", "/readyz"} { // so that only the proxy needs to reach the other address
		operators.do(http.MethodGet, path, nil, nil).want(t, http.StatusOK)
	}
	operators.do(http.MethodPost, "/metrics", nil, nil).want(t, http.StatusMethodNotAllowed)
	newBrowser(t, address).do(http.MethodGet, "/metrics", nil, nil).want(t, http.StatusNotFound)

	second := start(t, with(env, "BRIDGE_METRICS_LISTEN="+at, "BRIDGE_DATABASE=sqlite:"+filepath.Join(t.TempDir(), "bridge.db")), "serve")
	if status := second.wait(maxWait); status != 1 || !strings.Contains(second.err.String(), " (BRIDGE_METRICS_LISTEN): address already in use; ") || !strings.Contains(second.err.String(), "or off") {
		t.Errorf("with a port in use it ended with %d: %s", status, second.err)
	}
	p.terminate()
}

func TestSIGHUPWithoutAPolicyFileChangesNothing(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	p, address := startServe(t, s.env(t))
	p.signal(syscall.SIGHUP)
	eventually(t, "the log has a line about it", maxWait, func() bool { return strings.Contains(p.err.String(), "no policy file to reload") })
	newBrowser(t, address).do(http.MethodGet, "/readyz", nil, nil).want(t, http.StatusOK)
	p.terminate()
}

// An open desk streams events until it is closed.
func TestSIGTERMEndsTheDesksEventStreams(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	_, env := s.issuer(t, s.env(t), "ada")
	p, address := startServe(t, env)
	ada := newBrowser(t, address)
	ada.signIn("/").want(t, http.StatusOK, "Ada Lovelace")
	conn, err := net.Dial("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET /desk/events HTTP/1.1\r\nHost: bridge.example.org\r\nSec-Fetch-Mode: cors\r\nSec-Fetch-Site: same-origin\r\nCookie: __Host-session=%s\r\n\r\n", ada.cookies["__Host-session"])
	first := make([]byte, 15)
	if _, err := conn.Read(first); err != nil || string(first) != "HTTP/1.1 200 OK" {
		t.Fatalf("the desk's events answer %q, %v", first, err)
	}
	began := time.Now()
	p.terminate()
	if took := time.Since(began); took >= stopTimeout {
		t.Errorf("it took %v to end", took)
	}
	if strings.Contains(p.err.String(), "connections closed") {
		t.Error("the event stream of the open desk did not end by itself")
	}
}
