package signin

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"time"

	"golang.org/x/oauth2"
)

const (
	underWayLife = 10 * time.Minute
	// maxUnderWay bounds what such cookies add to every request: eight are some
	// 3 KiB.
	maxUnderWay  = 8
	underWayName = "signin-"
)

// underWay is a sign-in that has begun. It is kept in a sealed cookie of the
// browser that began it, one cookie for each, so that two tabs can sign in at
// once.
type underWay struct {
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"` // PKCE, RFC 7636
	Next     string    `json:"next"`
	Until    time.Time `json:"until"`
}

// begin makes a sign-in and gives the browser its cookie.
func (o *OIDC) begin(w http.ResponseWriter, r *http.Request, next string) (state string, u underWay) {
	state = rand.Text()
	u = underWay{
		Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(),
		Next: localPath(next), Until: time.Now().Add(underWayLife).UTC(),
	}
	plain, err := json.Marshal(u)
	if err != nil {
		panic(err) // three texts and a time can always be encoded
	}
	// Browsers send the oldest first (RFC 6265, 5.4).
	var old []string
	for _, cookie := range r.Cookies() {
		if name, ok := strings.CutPrefix(cookie.Name, o.prefix+underWayName); ok {
			old = append(old, name)
		}
	}
	for len(old) >= maxUnderWay {
		o.setCookie(w, underWayName+old[0], "", -1)
		old = old[1:]
	}
	o.setCookie(w, cookieOf(state), o.keys.seal(plain, state), underWayLife)
	return state, u
}

// finish returns the sign-in that this browser began with the state, and takes
// its cookie away: it is good for one try.
func (o *OIDC) finish(w http.ResponseWriter, r *http.Request, state string) (u underWay, err error) {
	if state == "" {
		return u, ErrState
	}
	cookie, err := r.Cookie(o.prefix + cookieOf(state))
	if err != nil {
		return u, ErrState
	}
	o.setCookie(w, cookieOf(state), "", -1)
	plain, ok := o.keys.open(cookie.Value, state)
	if !ok || json.Unmarshal(plain, &u) != nil {
		return u, fmt.Errorf("%w: its cookie does not open", ErrState)
	}
	if time.Now().After(u.Until) {
		return u, fmt.Errorf("%w: it took longer than %s", ErrState, underWayLife)
	}
	return u, nil
}

// cookieOf is the name of the cookie of the sign-in with that state.
func cookieOf(state string) string {
	print := sha256.Sum256([]byte(state))
	return underWayName + hex.EncodeToString(print[:6])
}

// cookieKeys seal with the first and open with each.
type cookieKeys []cipher.AEAD

const purpose = "cobrowse-bridge sign-in under way"

func newCookieKeys(secrets ...[]byte) (keys cookieKeys, err error) {
	for n, secret := range secrets {
		if secret == nil && n > 0 {
			continue
		}
		if len(secret) != 32 {
			return nil, fmt.Errorf("a secret has %d bytes, not 32", len(secret))
		}
		key, err := hkdf.Key(sha256.New, secret, nil, purpose, 32)
		if err != nil {
			return nil, fmt.Errorf("derive the cookies' key: %w", err)
		}
		block, err := aes.NewCipher(key)
		if err != nil {
			return nil, fmt.Errorf("derive the cookies' key: %w", err)
		}
		aead, err := cipher.NewGCMWithRandomNonce(block)
		if err != nil {
			return nil, fmt.Errorf("derive the cookies' key: %w", err)
		}
		keys = append(keys, aead)
	}
	return keys, nil
}

// seal encrypts plain so that it opens for the same state only.
func (k cookieKeys) seal(plain []byte, state string) string {
	return base64.RawURLEncoding.EncodeToString(k[0].Seal(nil, nil, plain, []byte(purpose+" "+state)))
}

func (k cookieKeys) open(text, state string) ([]byte, bool) {
	sealed, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, false
	}
	for _, aead := range k {
		if plain, err := aead.Open(nil, nil, sealed, []byte(purpose+" "+state)); err == nil {
			return plain, true
		}
	}
	return nil, false
}
