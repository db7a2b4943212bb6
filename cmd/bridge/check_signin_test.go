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
		{"all is sound", func(*signintest.Issuer, map[string]string) {}, 0, []string{
			"ok       The sign-in service answers. The redirect address to register there is https://bridge.example.org/signin/callback.",
			"/realm, and everybody with an account there may.", "ok       There is no policy file",
		}},
		{"it is down", func(i *signintest.Issuer, _ map[string]string) { i.Break(signintest.Failing) }, 1, []string{
			"problem  Nobody can sign in: the sign-in service does not work: ask what it is like: answered 500.", "Check BRIDGE_OIDC_ISSUER", "Who is signed in stays so.",
		}},
		{"it has no keys", func(i *signintest.Issuer, _ map[string]string) { i.Break(signintest.KeysFailing) }, 1, []string{"ask for its keys: answered 500."}},
		{"it goes by another name", func(_ *signintest.Issuer, env map[string]string) { env["BRIDGE_OIDC_ISSUER"] += "/" }, 1, []string{
			"problem  Nobody can sign in: the sign-in service does not work: it calls itself ", "the setting must say the same, to the letter.",
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			s := newServices(t)
			issuer, env := s.issuer(t, s.env(t), "")
			c.spoil(issuer, env)
			says(t, env, c.status, c.says...)
			if n := issuer.Requests("authorize") + issuer.Requests("token"); n != 0 {
				t.Errorf("check signs somebody in: %d requests", n)
			}
		})
	}
}

func TestCheckComparesClocksWithTheSignInService(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	issuer, env := s.issuer(t, s.env(t), "")
	at := env["BRIDGE_OIDC_ISSUER"]
	ahead := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Date", time.Now().Add(5*time.Minute).UTC().Format(http.TimeFormat))
		answer := httptest.NewRecorder()
		issuer.ServeHTTP(answer, r)
		_, _ = w.Write([]byte(strings.ReplaceAll(answer.Body.String(), at, "http://"+r.Host+"/realm")))
	}))
	defer ahead.Close()
	env["BRIDGE_OIDC_ISSUER"] = ahead.URL + "/realm"
	says(t, env, 1, "problem  Nobody can sign in: the clocks of the bridge and the sign-in service differ by ", "Set the clock of this machine")
}

func TestCheckSaysWhoseWordIsTaken(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	says(t, with(s.env(t), "BRIDGE_SIGNIN=header", "BRIDGE_TRUSTED_PROXIES=10.0.0.7"), 0, "ok       Agents are whom 10.0.0.7/32 names in X-Forwarded-User, ")
}

// says runs check to its end.
func says(t *testing.T, env map[string]string, status int, texts ...string) {
	t.Helper()
	p := start(t, env, "check")
	if got := p.wait(patience); got != status {
		t.Errorf("exit status %d, want %d:\n%s", got, status, p.out)
	}
	for _, text := range texts {
		if !strings.Contains(p.out.String(), text) {
			t.Errorf("does not say %q:\n%s", text, p.out)
		}
	}
}
