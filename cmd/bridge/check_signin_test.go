package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/signin/signintest"
)

func TestCheckAsksTheSignInService(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name   string
		spoil  func(i *signintest.Issuer, env map[string]string)
		status int
		says   []string
	}{
		{"the sign-in works", func(*signintest.Issuer, map[string]string) {}, 0, []string{
			"ok       The identity provider answers. The redirect address to register there is http://127.0.0.1:1/signin/callback.",
			"/realm. Anyone with an account there can sign in.", "ok       There is no policy file",
		}},
		{"it is down", func(i *signintest.Issuer, _ map[string]string) { i.Break(signintest.AllFailing) }, 1, []string{
			"problem  Agents cannot sign in: the identity provider failed: its configuration (/.well-known/openid-configuration) cannot be read: HTTP status 500.", "Check BRIDGE_OIDC_ISSUER", "Agents who are signed in stay signed in.",
		}},
		{"it has no keys", func(i *signintest.Issuer, _ map[string]string) { i.Break(signintest.KeysFailing) }, 1, []string{"its keys cannot be read: HTTP status 500."}},
		{"its userinfo is a page for people", func(i *signintest.Issuer, _ map[string]string) { i.Break(signintest.UserinfoHTML) }, 1, []string{
			"problem  The bridge does not notice when an agent loses access", "userinfo cannot be used: the answer is not the expected JSON.", "Check userinfo_endpoint in http://",
		}},
		{"its userinfo is missing", func(i *signintest.Issuer, _ map[string]string) { i.Break(signintest.UserinfoMissing) }, 1, []string{"userinfo cannot be used: HTTP status 404."}},
		{"it has another issuer address", func(_ *signintest.Issuer, env map[string]string) { env["BRIDGE_OIDC_ISSUER"] += "/" }, 1, []string{
			"problem  Agents cannot sign in: the identity provider failed: its issuer is ", "the setting must be exactly the same.",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServices(t)
			issuer, env := s.issuer(t, with(s.env(t), noOrigin), "")
			c.spoil(issuer, env)
			checkSays(t, env, c.status, c.says...)
			if n := issuer.Requests("authorize") + issuer.Requests("token"); n != 0 {
				t.Errorf("check began a sign-in: %d requests", n)
			}
		})
	}
}

func TestCheckComparesClocksWithTheSignInService(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	issuer, env := s.issuer(t, with(s.env(t), noOrigin), "")
	at := env["BRIDGE_OIDC_ISSUER"]
	ahead := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(5*time.Minute).UTC().Format(http.TimeFormat))
		answer := httptest.NewRecorder()
		issuer.ServeHTTP(answer, r)
		_, _ = w.Write([]byte(strings.ReplaceAll(answer.Body.String(), at, "http://"+r.Host+"/realm")))
	}))
	defer ahead.Close()
	env["BRIDGE_OIDC_ISSUER"] = ahead.URL + "/realm"
	checkSays(t, env, 1, "problem  Agents cannot sign in: the clocks of the bridge and the identity provider differ by ", "Set the clock of this machine")
}

func TestCheckNamesTheTrustedProxy(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	checkSays(t, with(s.env(t), noOrigin, "BRIDGE_SIGNIN=header", "BRIDGE_TRUSTED_PROXIES=10.0.0.7"), 0, "ok       The proxy at 10.0.0.7/32 signs agents in, by the headers X-Forwarded-User, ")
}

// checkSays runs check and compares its exit status and its output.
func checkSays(t *testing.T, env map[string]string, status int, texts ...string) {
	t.Helper()
	p := start(t, env, "check")
	if got := p.wait(maxWait); got != status {
		t.Errorf("exit status %d, want %d:\n%s", got, status, p.out)
	}
	for _, text := range texts {
		if !strings.Contains(p.out.String(), text) {
			t.Errorf("the output has no %q:\n%s", text, p.out)
		}
	}
}
