// Package proof lets `bridge check` recognise the bridge that answers at an address. The bridge
// proves that it has the secret of the settings, without telling it or its own host name.
package proof

import (
	"crypto/hkdf"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
)

const (
	// Path is where a bridge answers with an Answer, in JSON.
	Path = "/.well-known/cobrowse-bridge"
	// NonceParameter is the parameter of the query that has the nonce. Its value is EncodeNonce's.
	NonceParameter = "nonce"
	// StreamParameter makes the bridge send the Answer as an event, and a second event a little
	// later, so that the client sees whether a proxy holds events back. Any value does.
	StreamParameter = "stream"

	nonceSize = 16
	// prefix is in every proof, so that none of them can be taken for another signature.
	prefix = "cobrowse-bridge proof 1\x00"
)

// A Nonce is what a client chooses for one request, at random.
type Nonce [nonceSize]byte

// Encode returns the nonce as it stands in a query.
func (n Nonce) Encode() string { return base64.RawURLEncoding.EncodeToString(n[:]) }

// ParseNonce reads a nonce from a query. It must have exactly 16 bytes.
func ParseNonce(text string) (n Nonce, ok bool) {
	if len(text) != base64.RawURLEncoding.EncodedLen(nonceSize) {
		return n, false
	}
	raw, err := base64.RawURLEncoding.Strict().DecodeString(text)
	if err != nil || len(raw) != nonceSize {
		return n, false
	}
	return Nonce(raw), true
}

// An Answer has three proofs in base64. Only a program with the secret can make or read them.
type Answer struct {
	// Secret proves that the bridge has the secret.
	Secret string `json:"secret"`
	// Host proves which host the bridge read in the request.
	Host string `json:"host"`
	// Origin proves which host is that of the bridge's own public address.
	Origin string `json:"origin"`
}

// Keys are derived from the secrets of a bridge for this use alone.
type Keys [][]byte

// NewKeys derives a key from each secret that is not empty. The first one makes answers.
func NewKeys(secrets ...[]byte) (Keys, error) {
	var keys Keys
	for _, secret := range secrets {
		if len(secret) == 0 {
			continue
		}
		key, err := hkdf.Key(sha256.New, secret, nil, "bridge proof of origin", sha256.Size)
		if err != nil {
			return nil, fmt.Errorf("derive proof key: %w", err)
		}
		keys = append(keys, key)
	}
	return keys, nil
}

// Answer answers a request with a nonce for a host, of a bridge with this origin.
func (k Keys) Answer(n Nonce, host, origin string) Answer {
	return answer(k[0], n, host, origin)
}

func answer(key []byte, n Nonce, host, origin string) Answer {
	prove := func(what, value string) string {
		mac := hmac.New(sha256.New, key)
		mac.Write([]byte(prefix + what + "\x00")) // never fails
		mac.Write(n[:])
		mac.Write([]byte(value))
		return base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	return Answer{Secret: prove("secret", ""), Host: prove("host", host), Origin: prove("origin", origin)}
}

// Match says what an Answer proves.
type Match struct {
	Secret bool // the bridge has one of our secrets
	Host   bool // the bridge read the host that we sent
	Origin bool // the bridge has the same origin
}

// Match compares an answer to a request for a host with what a bridge with our secrets and this origin
// answers.
func (k Keys) Match(a Answer, n Nonce, host, origin string) Match {
	for _, key := range k {
		want := answer(key, n, host, origin)
		if hmac.Equal([]byte(want.Secret), []byte(a.Secret)) {
			return Match{true, hmac.Equal([]byte(want.Host), []byte(a.Host)), hmac.Equal([]byte(want.Origin), []byte(a.Origin))}
		}
	}
	return Match{}
}
