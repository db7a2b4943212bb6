package signintest

import (
	"crypto/ecdsa"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"
	"time"
)

func (i *Issuer) keys(w http.ResponseWriter, _ *http.Request) {
	i.mu.Lock()
	k := i.key
	i.mu.Unlock()
	// An uncompressed point is 4, x and y.
	point, err := k.private.PublicKey.Bytes()
	if err != nil {
		panic(err) // a key of a standard curve has an encoding
	}
	answer(w, http.StatusOK, object{"keys": []object{{
		"kty": "EC", "crv": "P-256", "use": "sig", "alg": "ES256", "kid": k.id,
		"x": base64.RawURLEncoding.EncodeToString(point[1:33]),
		"y": base64.RawURLEncoding.EncodeToString(point[33:]),
	}}})
}

// about are the claims about a user; i.mu is held.
func (i *Issuer) about(u User) object {
	claims := object{"sub": u.Sub}
	if u.Name != "" {
		claims["name"] = u.Name
	}
	if u.Email != "" {
		claims["email"] = u.Email
		claims["email_verified"] = !u.Unverified && !slices.Contains(i.faults, UnverifiedEmail)
	}
	if u.Groups != nil {
		claims["groups"] = u.Groups
	}
	maps.Copy(claims, u.Claims)
	if slices.Contains(i.faults, NoGroups) {
		delete(claims, "groups")
	}
	maps.DeleteFunc(claims, func(_ string, value any) bool { return value == nil })
	return claims
}

// sign makes the ID token of a grant, with the faults that are wanted.
func (i *Issuer) sign(u User, g *grant) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	broken := func(f Fault) bool { return slices.Contains(i.faults, f) }
	now := time.Now()
	claims := object{"sub": u.Sub}
	if !broken(Thin) {
		claims = i.about(u)
	}
	hash := sha256.Sum256([]byte(g.access))
	maps.Copy(claims, object{
		"iss": i.config.URL, "aud": i.config.ClientID, "nonce": g.nonce,
		"iat": now.Unix(), "exp": now.Add(tokenLife).Unix(),
		"at_hash": base64.RawURLEncoding.EncodeToString(hash[:len(hash)/2]),
	})
	for fault, change := range map[Fault]object{
		WrongIssuer:     {"iss": "https://elsewhere.example"},
		WrongAudience:   {"aud": "another"},
		TwoAudiences:    {"aud": []string{"another", i.config.ClientID}, "azp": "another"},
		WrongNonce:      {"nonce": rand.Text()},
		WrongHash:       {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
		NoSubject:       {"sub": ""},
		LongSubject:     {"sub": strings.Repeat("a", 256)},
		Expired:         {"iat": now.Add(-7 * time.Minute).Unix(), "exp": now.Add(-2 * time.Minute).Unix()},
		Future:          {"iat": now.Add(2 * time.Minute).Unix(), "exp": now.Add(7 * time.Minute).Unix()},
		FutureNotBefore: {"nbf": now.Add(2 * time.Minute).Unix()},
	} {
		if broken(fault) {
			maps.Copy(claims, change)
		}
	}

	k := i.key
	if broken(WrongKey) {
		k.private = newKey().private
	}
	header := object{"alg": "ES256", "kid": k.id, "typ": "JWT"}
	switch {
	case broken(AlgNone):
		header = object{"alg": "none"}
	case broken(HS256):
		header = object{"alg": "HS256", "typ": "JWT"}
	}
	text := segment(header) + "." + segment(claims)
	switch {
	case broken(AlgNone):
		return text + "."
	case broken(HS256):
		mac := hmac.New(sha256.New, []byte(i.config.ClientSecret))
		mac.Write([]byte(text))
		return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	sum := sha256.Sum256([]byte(text))
	r, s, err := ecdsa.Sign(rand.Reader, k.private, sum[:])
	if err != nil {
		panic(err) // the system's randomness does not fail
	}
	var signature [64]byte // RFC 7518, 3.4: the two numbers, 32 bytes each
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return text + "." + base64.RawURLEncoding.EncodeToString(signature[:])
}

func segment(part object) string {
	text, err := json.Marshal(part)
	if err != nil {
		panic(err) // a User's own claims that are no JSON
	}
	return base64.RawURLEncoding.EncodeToString(text)
}
