package signintest_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/signin/signintest"

	"github.com/PuerkitoBio/goquery"
	"github.com/coreos/go-oidc/v3/oidc"
)

const (
	issuerURL = "https://login.example/realm"
	redirect  = "https://bridge.example/signin/callback"
	verifier  = "a verifier that is long enough to be one"
)

func newIssuer() *signintest.Issuer {
	return signintest.New(signintest.Config{
		URL: issuerURL, ClientID: "bridge", ClientSecret: "secret", Redirect: redirect, SignedIn: "ada",
		Users: []signintest.User{{Sub: "ada", Name: "Ada", Email: "ada@corp.example", Groups: []string{"agents"}}, {Sub: "eve"}},
	})
}

func client(i *signintest.Issuer) *http.Client {
	return &http.Client{Transport: i.Transport(), CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func query(change map[string]string) string {
	sum := sha256.Sum256([]byte(verifier))
	q := url.Values{
		"response_type": {"code"}, "client_id": {"bridge"}, "redirect_uri": {redirect}, "scope": {"openid email"},
		"state": {"s"}, "nonce": {"n"},
		"code_challenge": {base64.RawURLEncoding.EncodeToString(sum[:])}, "code_challenge_method": {"S256"},
	}
	for name, value := range change {
		q.Set(name, value)
	}
	return issuerURL + "/authorize?" + q.Encode()
}

func code(t *testing.T, i *signintest.Issuer) string {
	t.Helper()
	answer, err := client(i).Get(query(nil))
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	to, err := answer.Location()
	if err != nil {
		t.Fatal(err)
	}
	if got := to.Query().Get("state") + to.Query().Get("iss"); got != "s"+issuerURL || !strings.HasPrefix(to.String(), redirect+"?") {
		t.Fatalf("sent back to %s", to)
	}
	return to.Query().Get("code")
}

type tokens struct {
	Access  string `json:"access_token"`
	Refresh string `json:"refresh_token"`
	ID      string `json:"id_token"`
	Error   string
}

func exchange(t *testing.T, i *signintest.Issuer, form url.Values) (status int, got tokens) {
	t.Helper()
	answer, err := client(i).PostForm(issuerURL+"/token", form)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if err := json.NewDecoder(answer.Body).Decode(&got); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, got
}

func form(code string) url.Values {
	return url.Values{
		"grant_type": {"authorization_code"}, "code": {code}, "redirect_uri": {redirect}, "code_verifier": {verifier},
		"client_id": {"bridge"}, "client_secret": {"secret"},
	}
}

func TestTokensVerify(t *testing.T) {
	i := newIssuer()
	status, got := exchange(t, i, form(code(t, i)))
	if status != http.StatusOK {
		t.Fatal(status, got.Error)
	}
	ctx := oidc.ClientContext(t.Context(), client(i))
	provider, err := oidc.NewProvider(ctx, issuerURL)
	if err != nil {
		t.Fatal(err)
	}
	token, err := provider.Verifier(&oidc.Config{ClientID: "bridge"}).Verify(ctx, got.ID)
	if err != nil || token.Subject != "ada" || token.Nonce != "n" || token.VerifyAccessToken(got.Access) != nil {
		t.Errorf("%+v: %v", token, err)
	}
}

func TestACodeWorksOnce(t *testing.T) {
	i := newIssuer()
	c := code(t, i)
	if status, got := exchange(t, i, form(c)); status != http.StatusOK {
		t.Fatal(status, got.Error)
	}
	if status, got := exchange(t, i, form(c)); status != http.StatusBadRequest || got.Error != "invalid_grant" {
		t.Error(status, got.Error)
	}
}

func TestARefreshTokenWorksOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := signintest.New(signintest.Config{
			URL: issuerURL, ClientID: "bridge", ClientSecret: "secret", Redirect: redirect, SignedIn: "ada",
			Users: []signintest.User{{Sub: "ada"}}, AccessLife: time.Minute, Refresh: true,
		})
		valid := func(access string) bool {
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, issuerURL+"/userinfo", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+access)
			answer, err := client(i).Do(r)
			if err != nil {
				t.Fatal(err)
			}
			answer.Body.Close()
			return answer.StatusCode == http.StatusOK
		}
		refresh := func(token string) (int, tokens) {
			return exchange(t, i, url.Values{
				"grant_type": {"refresh_token"}, "refresh_token": {token}, "client_id": {"bridge"}, "client_secret": {"secret"},
			})
		}
		_, first := exchange(t, i, form(code(t, i)))
		time.Sleep(time.Minute)
		if valid(first.Access) {
			t.Error("an access token does not expire")
		}
		status, second := refresh(first.Refresh)
		if status != http.StatusOK || !valid(second.Access) || second.Refresh == first.Refresh || second.ID == "" {
			t.Errorf("%d %+v", status, second)
		}
		if status, got := refresh(first.Refresh); status != http.StatusBadRequest || got.Error != "invalid_grant" || valid(second.Access) {
			t.Errorf("used twice: %d %s", status, got.Error)
		}
		if status, got := refresh(second.Refresh); status != http.StatusBadRequest || got.Error != "invalid_grant" {
			t.Errorf("of a sign-in that was revoked: %d %s", status, got.Error)
		}
	})
}

func TestBadRequestsAreRefused(t *testing.T) {
	for name, value := range map[string]string{
		"response_type": "token", "scope": "profile", "state": "", "nonce": "", "code_challenge": "short", "code_challenge_method": "plain",
	} {
		answer, err := client(newIssuer()).Get(query(map[string]string{name: value}))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if to, err := answer.Location(); err != nil || to.Query().Get("error") != "invalid_request" || to.Query().Get("code") != "" {
			t.Errorf("%s %q: %v, %v", name, value, to, err)
		}
	}
	for name, value := range map[string]string{"client_id": "other", "redirect_uri": redirect + "/x"} {
		answer, err := client(newIssuer()).Get(query(map[string]string{name: value}))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		if answer.StatusCode != http.StatusBadRequest || answer.Header.Get("Location") != "" {
			t.Errorf("%s %q: %d", name, value, answer.StatusCode)
		}
	}
	for name, value := range map[string]string{
		"grant_type": "password", "code": "other", "redirect_uri": redirect + "/x", "code_verifier": "other", "client_id": "other", "client_secret": "other",
	} {
		i := newIssuer()
		f := form(code(t, i))
		f.Set(name, value)
		if status, got := exchange(t, i, f); status < 400 || got.Access != "" {
			t.Errorf("%s %q: %d", name, value, status)
		}
	}
}

func TestUsersChooseWhoTheyAre(t *testing.T) {
	i := signintest.New(signintest.Config{
		URL: issuerURL, ClientID: "bridge", ClientSecret: "secret", Redirect: redirect,
		Users: []signintest.User{{Sub: "ada", Name: "Ada <b>"}, {Sub: "eve"}},
	})
	answer, err := client(i).Get(query(nil))
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	page, err := goquery.NewDocumentFromReader(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	buttons := page.Find("form[method=post] button[name=sub]")
	if buttons.Length() != 2 || buttons.First().Text() != "Sign in as Ada <b>" || buttons.Last().Text() != "Sign in as eve" {
		t.Errorf("buttons: %q", buttons.Text())
	}
	if policy := answer.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "form-action 'self' https://bridge.example") {
		t.Errorf("a browser would not follow the redirect to the bridge: %s", policy)
	}
	for sub, want := range map[string]int{"eve": http.StatusSeeOther, "mallory": http.StatusBadRequest} {
		chosen, err := client(i).PostForm(query(nil), url.Values{"sub": {sub}})
		if err != nil {
			t.Fatal(err)
		}
		chosen.Body.Close()
		if chosen.StatusCode != want {
			t.Errorf("%s: %d", sub, chosen.StatusCode)
		}
	}
}

// Faults also work over a network.
func TestFaultsOverANetwork(t *testing.T) {
	i := newIssuer()
	server := httptest.NewServer(i)
	defer server.Close()
	about := server.URL + "/realm/.well-known/openid-configuration"
	i.Break(signintest.Down)
	if answer, err := server.Client().Get(about); err == nil {
		t.Errorf("down: %d", answer.StatusCode)
	}
	i.Break(signintest.AllFailing)
	if answer, err := server.Client().Get(about); err != nil || answer.StatusCode != http.StatusInternalServerError {
		t.Errorf("failing: %v", err)
	}
	i.Break()
	answer, err := server.Client().Get(about)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err := io.ReadAll(answer.Body); err != nil || !strings.Contains(string(body), issuerURL) {
		t.Errorf("working again: %s, %v", body, err)
	}
	if n := i.Requests("discovery"); n != 3 {
		t.Errorf("%d requests", n)
	}
}

func TestSlowEndsWithTheRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		i := newIssuer()
		i.Break(signintest.NoAnswer)
		c := client(i)
		c.Timeout = 5 * time.Second
		began := time.Now()
		_, err := c.Get(issuerURL + "/keys")
		if took := time.Since(began); !errors.Is(err, context.DeadlineExceeded) || took != 5*time.Second {
			t.Errorf("%v after %s", err, took)
		}
	})
}
