package signintest

import (
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

type object = map[string]any

const (
	codeLife    = time.Minute
	idTokenLife = 5 * time.Minute
	accessLife  = time.Hour // unless Config.AccessLife is set
)

func answer(w http.ResponseWriter, status int, body object) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
}

func text(w http.ResponseWriter, mediaType, body string) {
	w.Header().Set("Content-Type", mediaType)
	if _, err := io.WriteString(w, body); err != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
}

func (i *Issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	algorithms := []string{"ES256"}
	if i.has(HS256) || i.has(AlgNone) {
		algorithms = []string{"ES256", "HS256", "none"}
	}
	about := object{
		"issuer":                                         i.config.URL,
		"authorization_endpoint":                         i.config.URL + "/authorize",
		"token_endpoint":                                 i.config.URL + "/token",
		"jwks_uri":                                       i.config.URL + "/keys",
		"response_types_supported":                       []string{"code"},
		"subject_types_supported":                        []string{"public"},
		"id_token_signing_alg_values_supported":          algorithms,
		"code_challenge_methods_supported":               []string{"S256"},
		"token_endpoint_auth_methods_supported":          []string{"client_secret_basic", "client_secret_post"},
		"scopes_supported":                               []string{"openid", "profile", "email", "groups"},
		"authorization_response_iss_parameter_supported": true,
	}
	if !i.has(NoUserinfo) {
		about["userinfo_endpoint"] = i.config.URL + "/userinfo"
	}
	answer(w, http.StatusOK, about)
}

//go:embed choose.html
var chooseHTML string

var choosePage = template.Must(template.New("choose").Parse(chooseHTML))

func (i *Issuer) authorize(w http.ResponseWriter, r *http.Request) {
	q := r.URL.Query()
	if q.Get("client_id") != i.config.ClientID || q.Get("redirect_uri") != i.config.Redirect {
		// An unknown client gets no redirect (RFC 6749, 4.1.2.1).
		http.Error(w, "unknown client, or not its redirect address", http.StatusBadRequest)
		return
	}
	switch code := i.faultCode(callbackErrorPrefix); {
	case code != "":
		i.sendBack(w, q, url.Values{"error": {code}})
		return
	case i.config.Slack && q.Has("code_challenge"):
		i.sendBack(w, q, url.Values{"error": {"internal_error"}})
		return
	}
	challenge, err := base64.RawURLEncoding.Strict().DecodeString(q.Get("code_challenge"))
	proof := q.Get("code_challenge_method") == "S256" && err == nil && len(challenge) == sha256.Size
	switch {
	case q.Get("response_type") != "code",
		!strings.Contains(" "+q.Get("scope")+" ", " openid "),
		q.Get("state") == "", q.Get("nonce") == "",
		!proof && !i.config.Slack:
		i.sendBack(w, q, url.Values{"error": {"invalid_request"}})
		return
	case i.has(Deny):
		i.sendBack(w, q, url.Values{"error": {"access_denied"}})
		return
	}

	sub := i.config.SignedIn
	if r.Method == http.MethodPost {
		sub = r.PostFormValue("sub")
	}
	if sub == "" {
		i.choose(w)
		return
	}
	code := rand.Text()
	i.mu.Lock()
	exists := i.user(sub) != nil
	if exists {
		i.grants[code] = &grant{subject: sub, nonce: q.Get("nonce"), challenge: q.Get("code_challenge"), createdAt: time.Now()}
	}
	i.mu.Unlock()
	if !exists {
		http.Error(w, "no such user", http.StatusBadRequest)
		return
	}
	i.sendBack(w, q, url.Values{"code": {code}})
}

// choose shows a page with all users.
func (i *Issuer) choose(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	// Browsers apply form-action also to redirects after the form.
	w.Header().Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; frame-ancestors 'none'; form-action 'self' "+origin(i.config.Redirect))
	i.mu.Lock()
	users := slices.Clone(i.users)
	i.mu.Unlock()
	if err := choosePage.Execute(w, users); err != nil {
		panic(http.ErrAbortHandler) // the browser is gone
	}
}

func origin(address string) string {
	u, err := url.Parse(address)
	if err != nil {
		return ""
	}
	return u.Scheme + "://" + u.Host
}

// sendBack redirects the browser to the client.
func (i *Issuer) sendBack(w http.ResponseWriter, asked, values url.Values) {
	values.Set("state", asked.Get("state"))
	values.Set("iss", i.config.URL)
	if i.has(OtherState) {
		values.Set("state", rand.Text())
	}
	if i.has(OtherIss) {
		values.Set("iss", "https://elsewhere.example")
	}
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Location", i.config.Redirect+"?"+values.Encode())
	w.WriteHeader(http.StatusSeeOther)
}

// refuse answers with an error code of the token endpoint.
func (i *Issuer) refuse(w http.ResponseWriter, status int, code string) {
	if i.config.Slack {
		answer(w, http.StatusOK, object{"ok": false, "error": code})
		return
	}
	answer(w, status, object{"error": code})
}

// slackCodes are Slack's names for codes of RFC 6749.
var slackCodes = map[string]string{"invalid_client": "bad_client_secret", "invalid_grant": "invalid_code"}

func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, code string) {
		if i.config.Slack {
			code = cmp.Or(slackCodes[code], code)
		}
		i.refuse(w, status, code)
	}
	if code := i.faultCode(tokenErrorPrefix); code != "" {
		i.refuse(w, http.StatusBadRequest, code)
		return
	}
	id, secret, basic := r.BasicAuth()
	if basic {
		// RFC 6749, 2.3.1: both are form-encoded first.
		id, _ = url.QueryUnescape(id)
		secret, _ = url.QueryUnescape(secret)
	} else {
		id, secret = r.PostFormValue("client_id"), r.PostFormValue("client_secret")
	}
	switch {
	case r.Method != http.MethodPost:
		refuse(http.StatusMethodNotAllowed, "invalid_request")
		return
	case id != i.config.ClientID || subtle.ConstantTimeCompare([]byte(secret), []byte(i.config.ClientSecret)) != 1:
		refuse(http.StatusUnauthorized, "invalid_client")
		return
	case i.config.Slack && r.PostFormValue("code_verifier") != "":
		refuse(http.StatusBadRequest, "internal_error")
		return
	}
	var g *grant
	switch r.PostFormValue("grant_type") {
	case "authorization_code":
		g = i.useCode(r)
	case "refresh_token":
		g = i.useRefreshToken(r.PostFormValue("refresh_token"))
	default:
		refuse(http.StatusBadRequest, "unsupported_grant_type")
		return
	}
	if g == nil {
		refuse(http.StatusBadRequest, "invalid_grant")
		return
	}
	answer(w, http.StatusOK, i.newTokens(g, r.PostFormValue("grant_type") == "refresh_token"))
}

// useCode returns the grant of the code in a request, or nil if the request is refused.
func (i *Issuer) useCode(r *http.Request) *grant {
	i.mu.Lock()
	defer i.mu.Unlock()
	g := i.grants[r.PostFormValue("code")]
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	switch {
	case g != nil && g.accessToken != "":
		i.revoke(g) // RFC 6749, 4.1.2
		return nil
	case g == nil, time.Since(g.createdAt) > codeLife, i.user(g.subject) == nil,
		r.PostFormValue("redirect_uri") != i.config.Redirect,
		!i.config.Slack && base64.RawURLEncoding.EncodeToString(sum[:]) != g.challenge:
		return nil
	}
	return g
}

// useRefreshToken returns the grant of a refresh token, or nil if the token is refused.
func (i *Issuer) useRefreshToken(token string) *grant {
	i.mu.Lock()
	defer i.mu.Unlock()
	g := i.refresh[token]
	switch {
	case g == nil, i.user(g.subject) == nil:
		return nil
	case g.refreshToken != token:
		i.revoke(g) // it was used before
		return nil
	}
	return g
}

// revoke makes the tokens of a grant invalid. The caller holds i.mu.
func (i *Issuer) revoke(g *grant) { g.accessUntil, g.refreshToken = time.Time{}, "" }

// newTokens returns an answer of the token endpoint with new tokens.
func (i *Issuer) newTokens(g *grant, refreshed bool) object {
	life := cmp.Or(i.config.AccessLife, accessLife)
	sameRefresh := refreshed && i.has(SameRefreshToken)
	i.mu.Lock()
	g.accessToken, g.accessUntil = rand.Text(), time.Now().Add(life)
	i.access[g.accessToken] = g
	if i.config.Refresh && !sameRefresh {
		g.refreshToken = rand.Text()
		i.refresh[g.refreshToken] = g
	}
	user := *i.user(g.subject)
	i.mu.Unlock()

	if refreshed && i.has(RefreshOtherPerson) {
		user.Sub = "another person"
	}
	idToken := i.sign(user, g, refreshed)
	i.mu.Lock()
	i.lastIDToken = idToken
	i.mu.Unlock()
	tokens := object{
		"access_token": g.accessToken,
		"token_type":   "Bearer",
		"expires_in":   int(life.Seconds()),
		"id_token":     idToken,
	}
	if i.config.Refresh && !sameRefresh {
		tokens["refresh_token"] = g.refreshToken
	}
	if i.has(NoIDToken) {
		delete(tokens, "id_token")
	}
	if i.has(NoExpiresIn) {
		delete(tokens, "expires_in")
	}
	return tokens
}

func (i *Issuer) userinfo(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	i.mu.Lock()
	var user *User
	if g := i.access[token]; g != nil && time.Now().Before(g.accessUntil) {
		user = i.user(g.subject)
	}
	var about object
	if user != nil {
		about = i.about(*user)
	}
	i.mu.Unlock()
	switch {
	case i.has(UserinfoHTML):
		text(w, "text/html; charset=utf-8", "<!doctype html><title>Sign in</title>")
		return
	case i.has(UserinfoMissing):
		http.NotFound(w, r)
		return
	case i.has(UserinfoJWE): // five parts: RFC 7516, 3.1
		text(w, "application/jwt", segment(object{"alg": "RSA-OAEP", "enc": "A256GCM"})+strings.Repeat("."+rand.Text(), 4))
		return
	case i.faultCode(userinfoErrorPrefix) != "":
		answer(w, http.StatusOK, object{"ok": false, "error": i.faultCode(userinfoErrorPrefix)})
		return
	case i.config.Slack && user == nil:
		answer(w, http.StatusOK, object{"ok": false, "error": "token_revoked"})
		return
	case user == nil, i.has(UserinfoRefuses):
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		answer(w, http.StatusUnauthorized, object{"error": "invalid_token"})
		return
	case i.has(OtherPerson):
		about["sub"] = "another person"
	}
	if i.has(UserinfoJWT) || i.has(UserinfoWrongKey) || i.has(UserinfoWrongAudience) {
		text(w, "application/jwt", i.signedUserinfo(about))
		return
	}
	answer(w, http.StatusOK, about)
}
