package signin_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/signin"

	"github.com/PuerkitoBio/goquery"
	"github.com/google/go-cmp/cmp"
)

// A real issuer, over loopback.
func TestCertifiedProvider(t *testing.T) {
	const folder = "testdata/provider"
	if _, err := os.Stat(filepath.Join(folder, "node_modules")); err != nil {
		t.Skip("oidc-provider is not installed (npm ci --prefix bridge/signin/" + folder + ")")
	}
	node, err := exec.LookPath("node")
	if err != nil {
		t.Skip("no node on this machine (apt-get install nodejs)")
	}

	w := &world{T: t, store: newSessions(), log: &syncBuffer{}}
	bridge := httptest.NewServer(w)
	defer bridge.Close()
	w.config = signin.OIDCConfig{
		Issuer:   startProvider(t, node, folder, bridge.URL+"/signin/callback"),
		ClientID: clientID, ClientSecret: clientKey,
		Scopes:  []string{"profile", "email", "groups"},
		Domains: []string{"corp.example"}, Groups: []string{agents},
		Origin: must(url.Parse(bridge.URL)), Secret: bytes.Repeat([]byte{7}, 32), Sessions: w.store,
		Transport: &http.Transport{DisableKeepAlives: true},
	}
	w.oidc = must(signin.NewOIDC(w.config))
	if _, err := w.oidc.Check(t.Context()); err != nil {
		t.Fatal(err)
	}

	person := func() *http.Client {
		b := w.browser()
		b.client.Transport = &http.Transport{DisableKeepAlives: true}
		return b.client
	}
	ada := person()
	if status, body := sendForms(t, ada, bridge.URL+"/signin?next=/desk", "ada"); status != http.StatusOK || !strings.HasSuffix(body, "/ada") {
		t.Fatalf("%d %s: %v", status, body, w.lastError())
	}
	all := must(signin.Sessions(t.Context(), w.store))
	if len(all) != 1 {
		t.Fatalf("%d sessions", len(all))
	}
	want := signin.Identity{
		ID:   "oidc:" + strings.TrimPrefix(w.config.Issuer, "http://") + "/ada",
		Name: "Ada Lovelace", Email: "ada@corp.example", Groups: []string{"agents", "staff"},
	}
	if diff := cmp.Diff(want, all[0].Identity); diff != "" {
		t.Error(diff)
	}

	// Access tokens are valid for five seconds, so each check refreshes. Refresh tokens can be used once.
	for range 3 {
		access := w.makeDue()
		if status, body := sendForms(t, ada, bridge.URL+"/desk", ""); status != http.StatusOK || !strings.HasSuffix(body, "/ada") {
			t.Fatalf("%d %s", status, body)
		}
		if w.makeDue() == access {
			t.Error("the access token was not refreshed")
		}
	}

	// A person who is signed in at the issuer sees no form there.
	if status, body := sendForms(t, ada, bridge.URL+"/signin?next=/desk", ""); status != http.StatusOK || w.sessions() != 1 {
		t.Errorf("again: %d %s", status, body)
	}
	if status, body := sendForms(t, ada, bridge.URL+"/signout", ""); status != http.StatusOK || w.sessions() != 0 {
		t.Errorf("signing out: %d %s", status, body)
	}

	for _, test := range []struct {
		name, login string
		change      func(address string) string
		want        error
	}{
		{"in no permitted group", "eve", nil, signin.ErrGroup},
		{"e-mail not verified", "bob", nil, signin.ErrDomain},
		{"PKCE of another sign-in", "ada", func(a string) string {
			return changed(a, "code_challenge", "47DEQpj8HBSa-_TImW-5JCeuQeRkm5NMpJWZG3hSuFU")
		}, signin.ErrState},
		{"PKCE missing", "ada", func(a string) string {
			return changed(changed(a, "code_challenge"), "code_challenge_method")
		}, signin.ErrSetup},
		{"nonce of another sign-in", "ada", func(a string) string { return changed(a, "nonce", "another") }, signin.ErrToken},
	} {
		b := person()
		b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		begun, err := b.Get(bridge.URL + "/signin?next=/desk")
		if err != nil {
			t.Fatal(err)
		}
		read(t, begun)
		b.CheckRedirect = nil
		address := begun.Header.Get("Location")
		if test.change != nil {
			address = test.change(address)
		}
		sendForms(t, b, address, test.login)
		if !errors.Is(w.lastError(), test.want) || w.sessions() != 0 {
			t.Errorf("%s: %v, %d sessions", test.name, w.lastError(), w.sessions())
		}
	}
}

// makeDue makes the only session due for a check and a refresh, and returns its access token.
func (w *world) makeDue() (access string) {
	w.Helper()
	for token, data := range must(w.store.All()) {
		var session map[string]any
		if json.Unmarshal(data, &session) != nil || session["access"] == nil {
			if err := w.store.Delete(token); err != nil { // the claim of the last refresh
				w.Fatal(err)
			}
			continue
		}
		access, _ = session["access"].(string)
		session["next"] = time.Now().Add(-time.Second)
		if err := w.store.Commit(token, must(json.Marshal(session)), time.Now().Add(time.Hour)); err != nil {
			w.Fatal(err)
		}
	}
	return access
}

// startProvider starts the provider and returns its address.
func startProvider(t *testing.T, node, folder, redirect string) string {
	t.Helper()
	provider := exec.Command(node, "provider.mjs", redirect)
	provider.Dir = folder
	var log bytes.Buffer
	provider.Stderr = &log
	stdin := must(provider.StdinPipe())
	stdout := must(provider.StdoutPipe())
	if err := provider.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		stdin.Close()
		if err := provider.Wait(); err != nil {
			t.Errorf("%v: %s", err, log.String())
		}
	})
	address, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatalf("the provider does not start: %v", err)
	}
	return strings.TrimSpace(address)
}

// sendForms opens address and submits each form that follows, with the login, until there is
// none.
func sendForms(t *testing.T, b *http.Client, address, login string) (status int, body string) {
	t.Helper()
	answer, err := b.Get(address)
	for range 4 {
		if err != nil {
			t.Fatal(err)
		}
		body = read(t, answer)
		page, err := goquery.NewDocumentFromReader(strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		form := page.Find("form[method=post]")
		action, ok := form.Attr("action")
		if !ok {
			return answer.StatusCode, body
		}
		if login == "" {
			t.Fatalf("there is a form at %s", answer.Request.URL.Path)
		}
		values := url.Values{}
		form.Find("input").Each(func(_ int, input *goquery.Selection) {
			values.Set(input.AttrOr("name", ""), input.AttrOr("value", login))
		})
		answer, err = b.PostForm(must(answer.Request.URL.Parse(action)).String(), values)
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Fatal("there are more than four forms")
	return 0, ""
}
