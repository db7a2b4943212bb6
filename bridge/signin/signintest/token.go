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

// about returns the claims about a user. The caller holds i.mu.
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

// sign returns the ID token of a grant, with the issuer's faults. That of a refresh has no nonce (OpenID
// Connect Core, 12.2).
func (i *Issuer) sign(u User, g *grant, refreshed bool) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	has := func(f Fault) bool { return slices.Contains(i.faults, f) }
	now := time.Now()
	claims := object{"sub": u.Sub}
	if !has(ClaimsOnlyInUserinfo) {
		claims = i.about(u)
	}
	hash := sha256.Sum256([]byte(g.accessToken))
	maps.Copy(claims, object{
		"iss": i.config.URL, "aud": i.config.ClientID, "nonce": g.nonce,
		"iat": now.Unix(), "exp": now.Add(idTokenLife).Unix(),
		"at_hash": base64.RawURLEncoding.EncodeToString(hash[:len(hash)/2]),
	})
	for fault, change := range map[Fault]object{
		WrongIssuer:     {"iss": "https://elsewhere.example"},
		WrongAudience:   {"aud": "another"},
		TwoAudiences:    {"aud": []string{"another", i.config.ClientID}, "azp": "another"},
		NoAzp:           {"aud": []string{i.config.ClientID, "another"}},
		WrongNonce:      {"nonce": rand.Text()},
		WrongHash:       {"at_hash": "AAAAAAAAAAAAAAAAAAAAAA"},
		NoSubject:       {"sub": ""},
		LongSubject:     {"sub": strings.Repeat("a", 256)},
		Expired:         {"iat": now.Add(-7 * time.Minute).Unix(), "exp": now.Add(-2 * time.Minute).Unix()},
		Future:          {"iat": now.Add(2 * time.Minute).Unix(), "exp": now.Add(7 * time.Minute).Unix()},
		FutureNotBefore: {"nbf": now.Add(2 * time.Minute).Unix()},
	} {
		if has(fault) {
			maps.Copy(claims, change)
		}
	}

	if refreshed {
		delete(claims, "nonce")
	}
	k := i.key
	switch {
	case has(WrongKey):
		k.private = newKey().private
	case has(AlgNone):
		return segment(object{"alg": "none"}) + "." + segment(claims) + "."
	case has(HS256):
		text := segment(object{"alg": "HS256", "typ": "JWT"}) + "." + segment(claims)
		mac := hmac.New(sha256.New, []byte(i.config.ClientSecret))
		mac.Write([]byte(text))
		return text + "." + base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	}
	return k.sign(claims)
}

// signedUserinfo returns the answer of userinfo as a signed token (OpenID Connect Core, 5.3.2),
// with the issuer's faults.
func (i *Issuer) signedUserinfo(about object) string {
	i.mu.Lock()
	defer i.mu.Unlock()
	about["iss"], about["aud"] = i.config.URL, i.config.ClientID
	k := i.key
	if slices.Contains(i.faults, UserinfoWrongAudience) {
		about["aud"] = "another"
	}
	if slices.Contains(i.faults, UserinfoWrongKey) {
		k.private = newKey().private
	}
	return k.sign(about)
}

// sign returns a token with the claims, signed with ES256.
func (k key) sign(claims object) string {
	text := segment(object{"alg": "ES256", "kid": k.id, "typ": "JWT"}) + "." + segment(claims)
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
		panic(err) // User.Claims has a value that JSON cannot encode
	}
	return base64.RawURLEncoding.EncodeToString(text)
}
