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

// issuer is a sign-in service on loopback, and the settings that name it. It signs
// in whoever is given, and asks where nobody is.
func (s *services) issuer(t testing.TB, env map[string]string, auto string) (*signintest.Issuer, map[string]string) {
	t.Helper()
	server := httptest.NewUnstartedServer(nil)
	at := "http://" + server.Listener.Addr().String() + "/realm"
	issuer := signintest.New(signintest.Config{
		URL: at, ClientID: "bridge", ClientSecret: s.client, Redirect: origin + "/signin/callback", Users: people, Auto: auto,
	})
	server.Config.Handler = issuer
	server.Start()
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	return issuer, with(env, "BRIDGE_SIGNIN=oidc", "BRIDGE_OIDC_ISSUER="+at, "BRIDGE_OIDC_CLIENT_ID=bridge", "BRIDGE_OIDC_CLIENT_SECRET="+s.client)
}

// signsIn follows a link in the chat, and every redirect from there but the last,
// to Upscope.
func (b *browser) signsIn(path string) answer {
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
	b.t.Fatal("redirected without end")
	return answer{}
}

// ready is a chat of bob's with a card, and its door.
func (s *services) ready(t testing.TB, b *browser) (door, room string) {
	t.Helper()
	room = s.opens(keyed())
	s.chat.Take(room, "bob")
	before := len(s.chat.Posts("bob"))
	b.tells(s, "LivechatSessionTaken", room)
	eventually(t, "bob has a card", patience, func() bool { return len(s.chat.Posts("bob")) > before })
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

		// The first click leads through the sign-in, and to a question; the next does not.
		door, _ := s.ready(t, ada)
		ada.signsIn(door).want(t, http.StatusOK, "Is this your account?", "Bob Baker", "Ada Lovelace")
		ada.press(door, url.Values{"connect": {"1"}}).want(t, http.StatusOK, "Ann Silva")
		ada.follow(door).wantWatch(t)
		ada.follow("/").want(t, http.StatusOK, "Your chat accounts", "Ada Lovelace")
		ada.follow("/desk/audit").want(t, http.StatusOK, "watching")
		ada.follow("/desk/erase").want(t, http.StatusForbidden)

		// The policy changes at once on SIGHUP; a wrong one changes nothing, and is told.
		reload := func(content, logged string) {
			t.Helper()
			write(content)
			before := strings.Count(p.err.String(), logged)
			p.signal(syscall.SIGHUP)
			eventually(t, logged, patience, func() bool { return strings.Count(p.err.String(), logged) > before })
		}
		reload(mayNot, `"msg":"policy reloaded"`)
		ada.follow(door).want(t, http.StatusForbidden)
		reload("rules: wrong\n", "policy.yaml:1: ")
		ada.follow(door).want(t, http.StatusForbidden)
		ada.do(http.MethodGet, "/readyz", nil, nil).want(t, http.StatusOK, `"policy":"fault"`, `"ready":true`)
		if m := s.metrics(t, p); !strings.Contains(m, "\nbridge_policy_fault 1\n") {
			t.Errorf("the metrics know of no fault:\n%s", m)
		}
		reload(mayNot, "policy file is what the policy was made of")
		reload(mayWatch, `"msg":"policy reloaded"`)
		ada.follow(door).wantWatch(t)

		// Signing out by command ends the session for the bridge that runs.
		id := "oidc:" + strings.TrimPrefix(env["BRIDGE_OIDC_ISSUER"], "http://") + "/ada"
		if list := s.command(t, env, 0, "agents", "list"); !strings.Contains(list, id+" ") || !strings.Contains(list, "ada@corp.example") {
			t.Errorf("the list reads %s", list)
		}
		if said := s.command(t, env, 0, "agents", "sign-out", id); !strings.Contains(said, "(browsers: 1)") {
			t.Errorf("signing out prints %s", said)
		}
		if a := ada.follow(door); a.StatusCode != http.StatusSeeOther || !strings.Contains(a.Header.Get("Location"), "/realm/authorize?") {
			t.Errorf("signed out, yet answered %d to %q", a.StatusCode, a.Header.Get("Location"))
		}
		if record := s.command(t, env, 0, "audit", "list", "--action", "signed out"); !strings.Contains(record, id) || !strings.Contains(record, " operator:") {
			t.Errorf("the record reads %s", record)
		}
		ada.signsIn(door).want(t, http.StatusOK, "Co-browse with")

		// An account that was claimed wrongly is free again.
		if said := s.command(t, env, 0, "agents", "disconnect", "rocketchat:a1"); said != "disconnected rocketchat:a1 from "+id+"\n" {
			t.Errorf("disconnecting prints %s", said)
		}
		ada.follow(door).want(t, http.StatusOK, "Is this your account?")
		if said := s.command(t, env, 1, "agents", "disconnect", "rocketchat:a1"); !strings.Contains(said, "is nobody's") {
			t.Errorf("disconnecting again prints %s", said)
		}
		if record := s.command(t, env, 0, "audit", "list", "--action", "disconnected"); !strings.Contains(record, "rocketchat:a1 of "+id) {
			t.Errorf("the record reads %s", record)
		}
		ada.press(door, url.Values{"connect": {"1"}}).want(t, http.StatusOK)

		// Who is signed in stays so while the issuer is down.
		issuer.Break(signintest.Down)
		ada.follow(door).wantWatch(t)
		p.terminate()
	})
}

// metrics are what the metrics listener of a program answers.
func (s *services) metrics(t testing.TB, p *program) string {
	t.Helper()
	_, address, ok := strings.Cut(strings.TrimSpace(p.out.String()), ", with metrics on ")
	if !ok {
		t.Fatalf("the ready line does not say where metrics are: %s", p.out)
	}
	b := newBrowser(t, address)
	a := b.do(http.MethodGet, "/metrics", nil, nil)
	a.want(t, http.StatusOK)
	return a.body
}

// Whoever waits for the issuer waits five seconds each time; whoever does not may take
// as long now and then, on a busy machine.
func TestPromise9ADeadIssuerDelaysNobodyElse(t *testing.T) {
	t.Parallel()
	const tries = 4
	for n := 1; ; n++ {
		took := beyondADeadIssuer(t)
		if took < 4*time.Second || t.Failed() {
			return
		}
		if n == tries {
			t.Fatalf("%d times it took about as long as the issuer is waited for to be ready and to show a card, %v the last time", n, took)
		}
	}
}

// beyondADeadIssuer has cards shown and closed though nobody can sign in, and reports
// how long it took from the start to the first card.
func beyondADeadIssuer(t *testing.T) (took time.Duration) {
	s := newServices(t)
	ann := s.ann()
	issuer, env := s.issuer(t, s.env(t), "ada")
	issuer.Break(signintest.Slow)
	began := time.Now()
	p, address := startServe(t, env)
	bob := newBrowser(t, address)
	door, room := s.ready(t, bob)
	bob.do(http.MethodGet, "/readyz", nil, nil).want(t, http.StatusOK)
	took = time.Since(began)
	bob.follow(door).want(t, http.StatusServiceUnavailable, "The sign-in page isn’t answering", "Your chat is not affected")
	s.chat.CloseChat(room)
	bob.tells(s, "LivechatSession", room)
	eventually(t, "the card is closed", patience, func() bool {
		posts := s.chat.Posts("bob")
		return strings.Contains(posts[len(posts)-1].Text, "Chat closed")
	})
	if n := s.upscope.Minted(); n != 0 {
		t.Errorf("%d watch links for nobody, of %s", n, ann)
	}
	eventually(t, "the log says what is wrong", patience, func() bool { return strings.Contains(p.err.String(), "Nobody can sign in") })
	p.terminate()
	return took
}

func TestServeTakesTheWordOfTheProxyAlone(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.ann()
	env := with(s.env(t), "BRIDGE_SIGNIN=header", "BRIDGE_TRUSTED_PROXIES=127.0.0.1")
	p, address := startServe(t, env)
	b := newBrowser(t, address)
	door, _ := s.ready(t, b)
	named := func(at *browser, pairs ...string) answer {
		header := navigation("cross-site")
		for i := 0; i < len(pairs); i += 2 {
			header.Add(pairs[i], pairs[i+1])
		}
		return at.do(http.MethodGet, door, header, nil)
	}
	named(b, "X-Forwarded-User", "ada", "X-Forwarded-Preferred-Username", "Ada").want(t, http.StatusOK, "Is this your account?", "Ada")
	named(b).want(t, http.StatusForbidden, "We don’t know who you are")
	named(b, "X-Forwarded-User", "ada", "X_Forwarded_User", "eve").want(t, http.StatusForbidden)
	p.terminate()

	p, address = startServe(t, with(env, "BRIDGE_TRUSTED_PROXIES=192.0.2.7", "BRIDGE_METRICS_LISTEN=127.0.0.1:0"))
	named(newBrowser(t, address), "X-Forwarded-User", "ada").want(t, http.StatusForbidden, "We don’t know who you are")
	if m := s.metrics(t, p); !strings.Contains(m, "\nbridge_spoofed_identities_total 1\n") {
		t.Errorf("nobody is told:\n%s", m)
	}
}

func TestMetricsAreForOperatorsAlone(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	env := with(s.env(t), "BRIDGE_METRICS_LISTEN=127.0.0.1:0")
	p, address := startServe(t, env)
	if m := s.metrics(t, p); !strings.Contains(m, `bridge_build_info{go="go1.`) || !strings.Contains(m, `version="dev"} 1`) {
		t.Errorf("the metrics are\n%s", m)
	}
	_, at, _ := strings.Cut(strings.TrimSpace(p.out.String()), ", with metrics on ")
	operators := newBrowser(t, at)
	for _, path := range []string{"/", "/readyz", "/desk", "/debug/pprof/"} {
		operators.do(http.MethodGet, path, nil, nil).want(t, http.StatusNotFound)
	}
	operators.do(http.MethodPost, "/metrics", nil, nil).want(t, http.StatusMethodNotAllowed)
	newBrowser(t, address).do(http.MethodGet, "/metrics", nil, nil).want(t, http.StatusNotFound)

	second := start(t, with(env, "BRIDGE_METRICS_LISTEN="+at, "BRIDGE_DATABASE=sqlite:"+filepath.Join(t.TempDir(), "bridge.db")), "serve")
	if status := second.wait(patience); status != 1 || !strings.Contains(second.err.String(), "listen on BRIDGE_METRICS_LISTEN: ") || !strings.Contains(second.err.String(), "or off") {
		t.Errorf("with a port that is taken it ended with %d: %s", status, second.err)
	}
	p.terminate()
}

func TestSIGHUPWithoutAPolicyFileEndsNothing(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	p, address := startServe(t, s.env(t))
	p.signal(syscall.SIGHUP)
	eventually(t, "the log says so", patience, func() bool { return strings.Contains(p.err.String(), "there is none") })
	newBrowser(t, address).do(http.MethodGet, "/readyz", nil, nil).want(t, http.StatusOK)
	p.terminate()
}

// A desk that is open is an answer without an end.
func TestSIGTERMEndsOpenDesks(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	_, env := s.issuer(t, s.env(t), "ada")
	p, address := startServe(t, env)
	ada := newBrowser(t, address)
	ada.signsIn("/").want(t, http.StatusOK, "Ada Lovelace")
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
	if took := time.Since(began); took > drain/2 {
		t.Errorf("it took %v to end", took)
	}
	if strings.Contains(p.err.String(), "cut off") {
		t.Error("the open desk was cut off")
	}
}
