package signin_test

import (
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/signin"

	"github.com/go-jose/go-jose/v4"
)

// withKeys lets change the issuer's key set.
func (w *world) withKeys(change func(signing map[string]any) []any) {
	w.config.Transport = around{w.issuer.Transport(), func(path string, _ http.Header, body map[string]any) {
		if strings.HasSuffix(path, "/keys") {
			signing, _ := body["keys"].([]any)[0].(map[string]any)
			body["keys"] = change(signing)
		}
	}}
	w.oidc = must(signin.NewOIDC(w.config))
}

// A member of the key set that cannot be used does not keep people from signing in.
func TestOneUnusableKeyDoesNotMatter(t *testing.T) {
	type object = map[string]any
	const point = "axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY"
	for name, test := range map[string]struct {
		member any
		logged string // empty if go-oidc skips it without a word
	}{
		"unknown kty":               {object{"kid": "odd", "kty": "AKP", "pub": "AA"}, "type or curve"},
		"unknown kty with RS256":    {object{"kid": "odd", "kty": "AKP", "alg": "RS256"}, "type or curve"},
		"unknown curve Ed448":       {object{"kid": "odd", "kty": "OKP", "crv": "Ed448", "x": point}, "type or curve"},
		"unknown curve secp256k1":   {object{"kid": "odd", "kty": "EC", "crv": "secp256k1", "x": point, "y": point}, "a value"},
		"no kty":                    {object{"kid": "odd", "use": "sig"}, "a value"},
		"kty a number":              {object{"kid": "odd", "kty": 1}, "a value"},
		"padded n":                  {object{"kid": "odd", "kty": "RSA", "n": "AQAB==", "e": "AQAB"}, "a value"},
		"e missing":                 {object{"kid": "odd", "kty": "RSA", "n": "AQAB"}, "a value"},
		"a point off the curve":     {object{"kid": "odd", "kty": "EC", "crv": "P-256", "x": point, "y": point}, "a value"},
		"a symmetric key":           {object{"kid": "odd", "kty": "oct", "k": "c2VjcmV0"}, "a value"},
		"null":                      {nil, "not a JSON object"},
		"a text":                    {"odd", "not a JSON object"},
		"a list":                    {[]any{"odd"}, "not a JSON object"},
		"an algorithm of tomorrow":  {object{"kid": "odd", "kty": "RSA", "alg": "RS1024", "n": "AQAB", "e": "AQAB"}, ""},
		"an encryption key":         {object{"kid": "odd", "kty": "RSA", "alg": "RSA-OAEP", "use": "enc", "n": "AQAB", "e": "AQAB"}, ""},
		"the same kid as the other": {object{"kid": "the other's", "kty": "RSA", "n": "AQAB", "e": "AQAB"}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.withKeys(func(signing map[string]any) []any {
				if member, ok := test.member.(object); ok && member["kid"] == "the other's" {
					member["kid"] = signing["kid"]
				}
				return []any{test.member, signing}
			})
			w.browser().signIn()
			if _, err := w.oidc.Check(t.Context()); err != nil {
				t.Error(err)
			}
			logged := strings.Count(w.log.String(), "key of the identity provider not used")
			if _, ok := test.member.(object); ok && logged > 0 && !strings.Contains(w.log.String(), "odd") {
				t.Errorf("the log does not name the key: %s", w.log)
			}
			if test.logged == "" && logged != 0 || test.logged != "" && (logged != 1 || !strings.Contains(w.log.String(), test.logged)) {
				t.Errorf("logged %d times, want %q: %s", logged, test.logged, w.log)
			}
		})
	}
}

// Optional members of the key that signs are not needed.
func TestOddOptionalMembersDoNotCostTheKey(t *testing.T) {
	for name, odd := range map[string]map[string]any{
		"broken x5c":      {"x5c": []string{"not base64"}},
		"x5c a text":      {"x5c": "AA"},
		"wrong x5t":       {"x5t": "AAAA"},
		"x5t#S256 a list": {"x5t#S256": []any{1}},
		"x5u":             {"x5u": "%"},
		"alg a number":    {"alg": 1},
		"use a list":      {"use": []string{"sig"}},
		"d":               {"d": "AA"},
	} {
		w := newWorld(t)
		w.withKeys(func(signing map[string]any) []any {
			maps.Copy(signing, odd)
			return []any{signing}
		})
		w.browser().signIn()
		if log := w.log.String(); log != "" {
			t.Errorf("%s: logged %s", name, log)
		}
	}
}

// The error says whether the key that signs is missing, or no key can be used.
func TestKeysThatCannotBeUsed(t *testing.T) {
	broken := map[string]any{"kid": "odd", "kty": "EC"}
	for _, test := range []struct {
		name   string
		change func(signing map[string]any) []any
		want   error
		says   string
	}{
		{"the key that signs, of two", func(signing map[string]any) []any {
			odd := maps.Clone(signing)
			odd["kid"], signing["kid"] = "other", 7
			return []any{odd, signing}
		}, signin.ErrToken, "signature"},
		{"all", func(map[string]any) []any { return []any{broken, nil} }, signin.ErrIssuer, "none of its keys can be used"},
		{"none there", func(map[string]any) []any { return []any{} }, signin.ErrIssuer, "it has no keys"},
	} {
		w := newWorld(t)
		w.withKeys(test.change)
		b := w.browser()
		b.step(b.callback())
		if err := w.lastError(); !errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says) || w.sessions() != 0 {
			t.Errorf("%s: %v, not %v that says %q", test.name, err, test.want, test.says)
		}
		if _, err := w.oidc.Check(t.Context()); errors.Is(test.want, signin.ErrIssuer) && (!errors.Is(err, test.want) || !strings.Contains(err.Error(), test.says)) {
			t.Errorf("%s: Check says %v", test.name, err)
		}
	}
}

func TestAKeySetOfAnotherShape(t *testing.T) {
	for body, says := range map[string]string{
		`[]`: "not the expected JSON", `{"keys": {}}`: "not the expected JSON", `<html>`: "not the expected JSON", `{}`: "it has no keys", `null`: "it has no keys",
	} {
		w := newWorld(t)
		w.config.Transport = roundTrip(func(r *http.Request) (*http.Response, error) {
			answer, err := w.issuer.Transport().RoundTrip(r)
			if err == nil && strings.HasSuffix(r.URL.Path, "/keys") {
				answer.Body = io.NopCloser(strings.NewReader(body))
			}
			return answer, err
		})
		w.oidc = must(signin.NewOIDC(w.config))
		b := w.browser()
		b.step(b.callback())
		if err := w.lastError(); !errors.Is(err, signin.ErrIssuer) || !strings.Contains(err.Error(), "its keys cannot be read: ") || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, not %q", body, err, says)
		}
	}
}

func FuzzReadKeys(f *testing.F) {
	f.Add([]byte(`{"keys":[{"kty":"EC","crv":"P-256","x":"axfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpY","y":"T-NC4v4af5uO5-tKfA-eFivOM1drMV7Oy7ZAaDe_UfU"},{"kty":"AKP"},null]}`))
	f.Add([]byte(`{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB","x5c":["x"],"d":"AA"},{"kty":"oct","k":"AA"}]}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		usable, err := signin.ReadKeys(body)
		if err != nil {
			return
		}
		var set jose.JSONWebKeySet
		if err := json.Unmarshal(usable, &set); err != nil || len(set.Keys) == 0 {
			t.Fatalf("%s: %v", usable, err)
		}
		for _, key := range set.Keys {
			if !key.IsPublic() {
				t.Errorf("%s has a key that is not public", usable)
			}
		}
	})
}
