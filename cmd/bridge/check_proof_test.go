package main

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"cobrowse-bridge/bridge/proof"
)

// proofFrom asks a bridge for a proof, as a client with an IP address.
func proofFrom(b *checkedBridge, method, address, host, query string) *httptest.ResponseRecorder {
	r := httptest.NewRequestWithContext(b.t.Context(), method, "https://"+host+proof.Path+query, nil)
	r.RemoteAddr = address + ":40000"
	w := httptest.NewRecorder()
	b.bridge.ServeHTTP(w, r)
	return w
}

func TestTheBridgeProvesWhoItIs(t *testing.T) {
	t.Parallel()
	b := newCheckedBridge(t, newCheckWorld(t))
	keys, err := proof.NewKeys(b.secrets.bridge)
	if err != nil {
		t.Fatal(err)
	}
	nonce := proof.Nonce{1, 2, 3}
	query := "?" + proof.NonceParameter + "=" + nonce.Encode()
	origin := b.origin.Host
	for host, want := range map[string]proof.Match{
		origin:                   {Secret: true, Host: true, Origin: true},
		strings.ToUpper(origin):  {Secret: true, Host: true, Origin: true},
		"internal.example:8080":  {Secret: true, Origin: true},
		strings.Repeat("a", 900): {Secret: true, Origin: true},
	} {
		w := proofFrom(b, http.MethodGet, "192.0.2.1", host, query)
		var a proof.Answer
		if err := json.Unmarshal(w.Body.Bytes(), &a); w.Code != http.StatusOK || err != nil {
			t.Fatalf("answered %d %s", w.Code, w.Body)
		}
		if got := keys.Match(a, nonce, origin, origin); got != want {
			t.Errorf("Host %.40s: proves %+v, want %+v", host, got, want)
		}
		if strings.Contains(w.Body.String(), "internal") || w.Header().Get("Cache-Control") != "no-store" {
			t.Errorf("tells %s, with the header %v", w.Body, w.Header())
		}
	}
	for _, wrong := range []string{"", "?nonce=", "?nonce=short", query + "A", query[:len(query)-1], "?nonce=" + strings.Repeat("A", 10_000)} {
		if w := proofFrom(b, http.MethodGet, "192.0.2.2", origin, wrong); w.Code != http.StatusBadRequest || w.Body.Len() > 0 {
			t.Errorf("%.60s: answered %d %s", wrong, w.Code, w.Body)
		}
	}
	if w := proofFrom(b, http.MethodPost, "192.0.2.3", origin, query); w.Code != http.StatusMethodNotAllowed {
		t.Errorf("POST: answered %d", w.Code)
	}
}

func TestProofsAreLimitedByAddress(t *testing.T) {
	t.Parallel()
	b := newCheckedBridge(t, newCheckWorld(t))
	query := "?" + proof.NonceParameter + "=" + proof.Nonce{}.Encode()
	refused := 0
	for range 100 {
		if w := proofFrom(b, http.MethodGet, "192.0.2.1", b.origin.Host, query); w.Code == http.StatusTooManyRequests {
			refused++
		}
	}
	if refused < 50 {
		t.Errorf("of 100 requests of one address %d were refused", refused)
	}
	if w := proofFrom(b, http.MethodGet, "192.0.2.2", b.origin.Host, query); w.Code != http.StatusOK {
		t.Errorf("another address is answered %d", w.Code)
	}
	for range 100 { // `bridge check` on the machine of the bridge
		if w := proofFrom(b, http.MethodGet, "127.0.0.1", b.origin.Host, query); w.Code != http.StatusOK {
			t.Fatalf("this machine is answered %d", w.Code)
		}
	}
}
