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
	pendingLife = 10 * time.Minute // how long a person may take to sign in
	// maxPending is how many pending sign-ins, each with its own cookie, a browser may have. Eight
	// cookies add about 3 KiB to every request.
	maxPending    = 8
	pendingPrefix = "signin-" // cookie names begin with it, after OIDC.cookiePrefix
)

// A pending is a sign-in that has begun and is not finished. It is kept in an encrypted cookie (AES-GCM) of
// the browser. Each has its own cookie, so that two tabs can sign in at the same time.
type pending struct {
	Nonce    string    `json:"nonce"`
	Verifier string    `json:"verifier"` // PKCE, RFC 7636
	Next     string    `json:"next"`
	Until    time.Time `json:"until"`
}

// startPending starts a sign-in and sets its cookie.
func (o *OIDC) startPending(w http.ResponseWriter, r *http.Request, next string) (state string, p pending) {
	state = rand.Text()
	p = pending{
		Nonce: rand.Text(), Verifier: oauth2.GenerateVerifier(),
		Next: localPath(next), Until: time.Now().Add(pendingLife).UTC(),
	}
	plain, err := json.Marshal(p)
	if err != nil {
		panic(err) // strings and a time can always be encoded
	}
	// Cookies come oldest first (RFC 6265, 5.4), so the loop below deletes the oldest.
	var old []string
	for _, cookie := range r.Cookies() {
		if name, ok := strings.CutPrefix(cookie.Name, o.cookiePrefix+pendingPrefix); ok {
			old = append(old, name)
		}
	}
	for len(old) >= maxPending {
		o.setCookie(w, pendingPrefix+old[0], "", -1)
		old = old[1:]
	}
	o.setCookie(w, cookieOf(state), o.cookieKeys.encrypt(plain, state), pendingLife)
	return state, p
}

// consumePending returns the pending sign-in of this browser with the given state, and deletes its
// cookie, so that it can be used only once.
func (o *OIDC) consumePending(w http.ResponseWriter, r *http.Request, state string) (p pending, err error) {
	if state == "" {
		return p, fmt.Errorf("%w: it has no state", ErrState)
	}
	cookie, err := r.Cookie(o.cookiePrefix + cookieOf(state))
	if err != nil {
		return p, fmt.Errorf("%w: this browser has no such pending sign-in", ErrState)
	}
	o.setCookie(w, cookieOf(state), "", -1)
	plain, ok := o.cookieKeys.decrypt(cookie.Value, state)
	if !ok || json.Unmarshal(plain, &p) != nil {
		return p, fmt.Errorf("%w: the cookie of this sign-in cannot be read", ErrState)
	}
	if time.Now().After(p.Until) {
		return p, fmt.Errorf("%w: the sign-in took longer than %s", ErrState, pendingLife)
	}
	return p, nil
}

// cookieOf returns the name of the cookie for a state.
func cookieOf(state string) string {
	sum := sha256.Sum256([]byte(state))
	return pendingPrefix + hex.EncodeToString(sum[:6])
}

// cookieKeys encrypt the cookies of pending sign-ins. The first key encrypts; every key decrypts.
type cookieKeys []cipher.AEAD

// keyInfo separates these keys and cookies from other uses of the same secret. Do not change it.
const keyInfo = "cobrowse-bridge sign-in under way"

// newCookieKeys derives the keys. The first secret is required; a later one may be nil and is then skipped.
func newCookieKeys(secrets ...[]byte) (keys cookieKeys, err error) {
	for n, secret := range secrets {
		if secret == nil && n > 0 {
			continue
		}
		if len(secret) != 32 {
			return nil, fmt.Errorf("secret %d must have 32 bytes; it has %d", n+1, len(secret))
		}
		key, err := hkdf.Key(sha256.New, secret, nil, keyInfo, 32)
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

// encrypt encrypts plain. It can be decrypted only with the same state.
func (k cookieKeys) encrypt(plain []byte, state string) string {
	return base64.RawURLEncoding.EncodeToString(k[0].Seal(nil, nil, plain, []byte(keyInfo+" "+state)))
}

func (k cookieKeys) decrypt(text, state string) ([]byte, bool) {
	encrypted, err := base64.RawURLEncoding.DecodeString(text)
	if err != nil {
		return nil, false
	}
	for _, aead := range k {
		if plain, err := aead.Open(nil, nil, encrypted, []byte(keyInfo+" "+state)); err == nil {
			return plain, true
		}
	}
	return nil, false
}
