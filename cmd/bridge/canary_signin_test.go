package main

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/signin/signintest"
)

func TestPromise10NoSecretOfASignInAnywhere(t *testing.T) {
	t.Parallel()
	r := newCanaryRun(t)
	rules := filepath.Join(t.TempDir(), "policy.yaml")
	if err := os.WriteFile(rules, []byte("rules:\n  - may: [watch, operate, audit, erase]\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	issuer, env := r.issuer(t, with(r.env, "BRIDGE_POLICY_FILE="+rules), "ada")
	r.env = env
	r.marks = append(r.marks, mark{"BRIDGE_OIDC_CLIENT_SECRET", r.client})
	r.start()

	// An agent signs in, watches, opens every page of the desk and signs out.
	door, _, ada := r.card()
	r.signIn(ada, door).want(t, http.StatusOK, "Is this your account?")
	ada.press(door, url.Values{"connect": {"1"}}).want(t, http.StatusOK, "Ann Silva")
	first := ada.follow(door).Header.Get("Location")
	if again := r.watch(ada, door).Header.Get("Location"); first == "" || again != first {
		t.Error("a second press within three seconds got another link") // the program keeps the link for it
	}
	for _, page := range []string{"/", "/desk/audit", "/desk/operations", "/desk/erase", "/desk/audit/export"} {
		ada.follow(page).want(t, http.StatusOK)
	}
	ada.press("/signout", nil).want(t, http.StatusOK)
	r.signIn(ada, "/signin").want(t, http.StatusOK, "Ada Lovelace")
	other := r.newBrowser(ada.address)
	r.signIn(other, door).want(t, http.StatusOK, "Co-browse with")
	other.follow(door).wantWatch(t)

	// Faults of an issuer.
	for _, fault := range []signintest.Fault{
		signintest.Deny, signintest.OtherState, signintest.OtherIss, signintest.WrongIssuer, signintest.WrongAudience, signintest.WrongNonce,
		signintest.WrongHash, signintest.WrongKey, signintest.NoSubject, signintest.Expired, signintest.Future, signintest.OtherPerson,
		signintest.UserinfoFailing, signintest.UserinfoTokenRevoked, signintest.KeysFailing, signintest.AllFailing,
	} {
		issuer.Break(fault)
		r.signIn(r.newBrowser(ada.address), "/signin")
	}
	issuer.Break()
	// A callback that is used twice, and one with an error, for no sign-in of this browser.
	codes := issuer.Secrets()
	for _, q := range []url.Values{{"state": {"x"}, "code": {codes[1]}}, {"error": {r.client}, "state": {codes[1]}}} {
		ada.follow("/signin/callback?" + q.Encode())
	}
	r.signOutByCommand(ada)

	for _, route := range []string{"configuration", "keys", "token", "userinfo"} {
		if len(r.program.logLines(logLine{"msg": "service called", "service": "issuer", "route": route})) == 0 {
			t.Errorf("no line of the log has the call %s", route)
		}
	}
	for _, secret := range issuer.Secrets() {
		r.marks = append(r.marks, mark{"a code or token of the issuer", secret})
	}
	for _, cookie := range r.cookies {
		r.marks = append(r.marks, mark{"a cookie", cookie})
	}
	for _, w := range r.upscope.Watches() {
		r.marks = append(r.marks, mark{"a watch link", w.URL})
	}
	if n := len(issuer.Secrets()); n < 10 || len(r.cookies) < 15 || len(r.upscope.Watches()) < 2 {
		t.Errorf("only %d secrets of the issuer, %d cookies, %d watch links", n, len(r.cookies), len(r.upscope.Watches()))
	}
	r.searchAll()

	// The agent and operators may see her e-mail address; nothing else may contain it.
	r.marks = []mark{{"the agent's e-mail", "ada@corp.example"}}
	r.searchText("the log", r.program.err.String())
	r.searchDatabase()
	r.searchRequests()
}

// signIn signs in as browser.signIn does, and keeps the cookies of every step as secrets.
func (r *canaryRun) signIn(b *browser, path string) answer {
	r.Helper()
	a := b.signIn(path)
	r.cookies = append(r.cookies, b.setCookies...)
	b.setCookies = nil
	return a
}

func (r *canaryRun) signOutByCommand(b *browser) {
	r.Helper()
	list := r.command(r, r.env, 0, "agents", "list")
	id := ""
	for word := range strings.FieldsSeq(list) {
		if strings.HasPrefix(word, "oidc:") {
			id = word
		}
	}
	printed := list + r.command(r, r.env, 0, "agents", "list", "--json") + r.command(r, r.env, 0, "agents", "sign-out", id)
	if a := b.follow("/"); a.StatusCode != http.StatusSeeOther {
		r.Errorf("after the sign-out the answer is %d, want a redirect", a.StatusCode)
	}
	r.answers.add(answer{&http.Response{Status: "printed"}, printed})
}
