package signin_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/bridge/signin/signintest"
)

func TestTheDiscoveryDocumentIsCachedForAnHour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		if n := w.issuer.Requests("discovery"); n != 0 {
			t.Errorf("asked %d times before the first sign-in", n)
		}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { w.browser().step("/signin") })
		}
		all.Wait()
		time.Sleep(59 * time.Minute)
		w.browser().step("/signin")
		if n := w.issuer.Requests("discovery"); n != 1 {
			t.Errorf("asked %d times in an hour", n)
		}
		time.Sleep(2 * time.Minute)
		w.browser().signIn()
		if n := w.issuer.Requests("discovery"); n != 2 {
			t.Errorf("asked %d times in more than an hour", n)
		}
		time.Sleep(2 * time.Hour)
		w.browser().signIn()
		if n := w.issuer.Requests("keys"); n != 1 {
			t.Errorf("the same keys were asked for %d times", n)
		}
	})
}

func TestIssuerIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.issuer.Break(signintest.Down)
		b := w.browser()
		for range 10 {
			if status, _ := b.get("/signin"); status != http.StatusBadGateway || !errors.Is(w.lastError(), signin.ErrIssuer) {
				t.Fatalf("%d: %v", status, w.lastError())
			}
		}
		if n := w.issuer.Requests("discovery"); n != 1 {
			t.Errorf("asked %d times at once", n)
		}
		if len(b.cookies()) != 0 {
			t.Errorf("cookies after a failure: %v", b.cookies())
		}
		w.issuer.Break()
		time.Sleep(6 * time.Second)
		b.signIn()
	})
}

func TestIssuerHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		w.issuer.Break(signintest.NoAnswer)
		began := time.Now()
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() { w.browser().step("/signin") })
		}
		all.Wait()
		if took := time.Since(began); took > 5*time.Second || !errors.Is(w.lastError(), signin.ErrIssuer) || !strings.Contains(w.lastError().Error(), "timed out") {
			t.Errorf("%v after %s", w.lastError(), took)
		}
		r := httptest.NewRequestWithContext(cancelled(t), http.MethodGet, "/signin", nil)
		time.Sleep(time.Minute)
		if err := w.oidc.Begin(httptest.NewRecorder(), r, "/"); !errors.Is(err, signin.ErrIssuer) {
			t.Errorf("a cancelled request: %v", err)
		}
		time.Sleep(10 * time.Second) // until the request to the issuer has ended
	})
}

// A cancelled request does not cancel the request to the issuer that others share.
func TestDiscoveryContinuesAfterItsRequestEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		r := httptest.NewRequestWithContext(cancelled(t), http.MethodGet, "/signin", nil)
		err := w.oidc.Begin(httptest.NewRecorder(), r, "/")
		if err != nil && !errors.Is(err, signin.ErrIssuer) {
			t.Error(err)
		}
		synctest.Wait()
		w.browser().signIn()
		if n := w.issuer.Requests("discovery"); n != 1 {
			t.Errorf("asked %d times", n)
		}
	})
}

// Each request to the issuer may be slow, but all of them have one time limit.
func TestCallbackDoesNotWaitForever(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		config := w.config
		config.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			select {
			case <-time.After(4 * time.Second):
				return w.issuer.Transport().RoundTrip(r)
			case <-r.Context().Done():
				return nil, r.Context().Err()
			}
		})
		w.oidc = must(signin.NewOIDC(config))
		b := w.browser()
		callback := b.callback()
		w.oidc = must(signin.NewOIDC(config)) // it has to get the discovery document again
		began := time.Now()
		b.step(callback)
		if took := time.Since(began); !errors.Is(w.lastError(), signin.ErrIssuer) || took > 7*time.Second || w.sessions() != 0 {
			t.Errorf("%v after %s", w.lastError(), took)
		}
		time.Sleep(10 * time.Second) // until the last request has ended
	})
}

// The cached discovery document is used while the issuer fails.
func TestAnOldDiscoveryDocumentIsUsedWhileTheIssuerFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		b := w.browser()
		b.signIn()
		time.Sleep(2 * time.Hour)
		w.issuer.Break(signintest.AllFailing)
		for range 10 {
			if next := b.step("/signin"); !strings.HasPrefix(next, issuerURL) {
				t.Fatalf("led to %q: %v", next, w.lastError())
			}
		}
		if n := w.issuer.Requests("discovery"); n != 2 {
			t.Errorf("asked %d times", n)
		}
		w.issuer.Break()
		b.signIn()
	})
}

func TestIssuerRotatesItsKey(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := newWorld(t)
		for range 3 {
			w.browser().signIn()
			w.browser().signIn()
			synctest.Wait() // go-oidc may still be storing the keys
			w.issuer.Rotate()
		}
		if n := w.issuer.Requests("keys"); n != 3 {
			t.Errorf("three keys were asked for %d times", n)
		}
	})
}

func TestErrorsContainTheErrorCodeOfTheIssuer(t *testing.T) {
	w := newWorld(t, func(c *signin.OIDCConfig) { c.ClientSecret = "not the secret" })
	b := w.browser()
	b.step(b.callback())
	if err := w.lastError(); !errors.Is(err, signin.ErrSetup) || !strings.Contains(err.Error(), "401 invalid_client") ||
		!strings.Contains(err.Error(), "BRIDGE_OIDC_CLIENT_SECRET") || strings.Contains(err.Error(), "not the secret") {
		t.Error(err)
	}
}

func TestCheck(t *testing.T) {
	for _, test := range []struct {
		name   string
		change func(description map[string]any)
		skew   time.Duration
		noKeys bool
		want   error
		says   string
	}{
		{name: "valid"},
		{name: "without optional fields", change: func(d map[string]any) {
			for name := range maps.Clone(d) {
				if strings.HasSuffix(name, "_supported") {
					delete(d, name)
				}
			}
			delete(d, "userinfo_endpoint")
		}},
		{name: "clock less than a minute off", skew: 55 * time.Second},
		{name: "slow clock", skew: -3 * time.Minute, want: signin.ErrClock, says: "differ by"},
		{name: "fast clock", skew: 3 * time.Minute, want: signin.ErrClock, says: "differ by"},
		{name: "slash at the end", change: func(d map[string]any) { d["issuer"] = issuerURL + "/" }, want: signin.ErrIssuer, says: "exactly the same"},
		{name: "another issuer", change: func(d map[string]any) { d["issuer"] = "https://elsewhere.example" }, want: signin.ErrIssuer, says: "elsewhere"},
		{name: "no issuer", change: func(d map[string]any) { delete(d, "issuer") }, want: signin.ErrIssuer},
		{name: "only HS256", change: func(d map[string]any) {
			d["id_token_signing_alg_values_supported"] = []string{"HS256", "none"}
		}, want: signin.ErrIssuer, says: "algorithm"},
		{name: "no S256", change: func(d map[string]any) { d["code_challenge_methods_supported"] = []string{"plain"} }, want: signin.ErrIssuer, says: "PKCE"},
		{name: "implicit flow only", change: func(d map[string]any) { d["response_types_supported"] = []string{"id_token"} }, want: signin.ErrIssuer, says: "code flow"},
		{name: "no token endpoint", change: func(d map[string]any) { delete(d, "token_endpoint") }, want: signin.ErrIssuer, says: "token_endpoint"},
		{name: "plain http", change: func(d map[string]any) { d["token_endpoint"] = "http://login.example/token" }, want: signin.ErrIssuer, says: "token_endpoint"},
		{name: "a javascript address", change: func(d map[string]any) { d["authorization_endpoint"] = "javascript:alert(1)" }, want: signin.ErrIssuer, says: "authorization_endpoint"},
		{name: "a password in an address", change: func(d map[string]any) { d["jwks_uri"] = "https://u:p@login.example/" }, want: signin.ErrIssuer, says: "jwks_uri"},
		{name: "wrong types", change: func(d map[string]any) { d["token_endpoint"] = 1 }, want: signin.ErrIssuer, says: "token_endpoint"},
		{name: "optional fields of other types", change: func(d map[string]any) {
			d["response_types_supported"] = "code"
			d["id_token_signing_alg_values_supported"] = map[string]any{"ES256": true}
			d["userinfo_signing_alg_values_supported"] = 1
			d["code_challenge_methods_supported"] = []any{1, "S256"}
			d["token_endpoint_auth_methods_supported"] = false
			d["authorization_response_iss_parameter_supported"] = "true"
			d["scopes_supported"] = "openid"
		}},
		{name: "no keys", noKeys: true, want: signin.ErrIssuer, says: "no keys"},
		{name: "far too long", change: func(d map[string]any) { d["padding"] = strings.Repeat("x", 2<<20) }, want: signin.ErrIssuer},
	} {
		t.Run(test.name, func(t *testing.T) {
			w := newWorld(t)
			config := w.config
			config.Transport = around{w.issuer.Transport(), func(path string, header http.Header, body map[string]any) {
				header.Set("Date", time.Now().Add(test.skew).UTC().Format(http.TimeFormat))
				switch {
				case strings.HasSuffix(path, "openid-configuration") && test.change != nil:
					test.change(body)
				case strings.HasSuffix(path, "/keys") && test.noKeys:
					body["keys"] = []any{}
				}
			}}
			_, err := must(signin.NewOIDC(config)).Check(t.Context())
			if !errors.Is(err, test.want) || err != nil && !strings.Contains(err.Error(), test.says) {
				t.Errorf("%v, not %v that says %q", err, test.want, test.says)
			}
		})
	}
	for _, fault := range []signintest.Fault{signintest.Down, signintest.AllFailing, signintest.KeysFailing} {
		w := newWorld(t)
		w.issuer.Break(fault)
		if _, err := w.oidc.Check(t.Context()); !errors.Is(err, signin.ErrIssuer) {
			t.Errorf("%s: %v", fault, err)
		}
	}
	for fault, says := range map[signintest.Fault]string{
		signintest.UserinfoHTML: "not the expected JSON", signintest.UserinfoMissing: "HTTP status 404", signintest.UserinfoFailing: "HTTP status 500",
	} {
		w := newWorld(t)
		w.issuer.Break(fault)
		if _, err := w.oidc.Check(t.Context()); !errors.Is(err, signin.ErrUserinfo) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v", fault, err)
		}
	}
}

// around changes the answers of an issuer.
type around struct {
	next   http.RoundTripper
	change func(path string, header http.Header, body map[string]any)
}

func (a around) RoundTrip(r *http.Request) (*http.Response, error) {
	answer, err := a.next.RoundTrip(r)
	if err != nil {
		return nil, err
	}
	var body map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		return nil, err
	}
	a.change(r.URL.Path, answer.Header, body)
	text, err := json.Marshal(body)
	answer.Body = io.NopCloser(strings.NewReader(string(text)))
	return answer, err
}

// Some issuers support only one way to authenticate clients.
func TestTheClientAuthenticatesAsTheIssuerSupports(t *testing.T) {
	for _, ways := range [][]string{nil, {"client_secret_basic"}, {"client_secret_post"}, {"private_key_jwt", "client_secret_post"}} {
		w := newWorld(t)
		var basic, post int
		config := w.config
		config.Transport = around{roundTrip(func(r *http.Request) (*http.Response, error) {
			if r.Method == http.MethodPost {
				if _, _, ok := r.BasicAuth(); ok {
					basic++
				} else {
					post++
				}
			}
			return w.issuer.Transport().RoundTrip(r)
		}), func(_ string, _ http.Header, body map[string]any) {
			if _, ok := body["token_endpoint"]; ok {
				body["token_endpoint_auth_methods_supported"] = ways
			}
		}}
		w.oidc = must(signin.NewOIDC(config))
		w.browser().signIn()
		if want := fmt.Sprint(ways); basic+post != 1 || (post == 1) != strings.Contains(want, "post") {
			t.Errorf("%s: %d basic, %d post", want, basic, post)
		}
	}
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// Requests to the issuer contain secrets and must not be redirected to another host.
func TestRedirectsOfTheIssuerAreNotFollowed(t *testing.T) {
	w := newWorld(t)
	var asked []string
	config := w.config
	config.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
		asked = append(asked, r.URL.Host)
		if strings.HasSuffix(r.URL.Path, "/token") || strings.HasSuffix(r.URL.Path, "/userinfo") {
			return &http.Response{
				StatusCode: http.StatusTemporaryRedirect, Body: http.NoBody, Request: r,
				Header: http.Header{"Location": {"https://thief.example/"}},
			}, nil
		}
		return w.issuer.Transport().RoundTrip(r)
	})
	w.oidc = must(signin.NewOIDC(config))
	b := w.browser()
	b.step(b.callback())
	if !errors.Is(w.lastError(), signin.ErrIssuer) || w.sessions() != 0 {
		t.Errorf("%v, %d sessions", w.lastError(), w.sessions())
	}
	for _, host := range asked {
		if host != must(url.Parse(issuerURL)).Host {
			t.Errorf("asked %s", host)
		}
	}
}
