package signintest

import (
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"
)

type object = map[string]any

const (
	codeLife  = time.Minute
	tokenLife = 5 * time.Minute
)

func answer(w http.ResponseWriter, status int, body object) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	if err := json.NewEncoder(w).Encode(body); err != nil {
		panic(http.ErrAbortHandler) // the client is gone
	}
}

func (i *Issuer) discovery(w http.ResponseWriter, _ *http.Request) {
	algorithms := []string{"ES256"}
	if i.broken(HS256) || i.broken(AlgNone) {
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
	if !i.broken(NoUserinfo) {
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
		// Whoever sent the browser here is unknown, so it is not sent back.
		http.Error(w, "unknown client, or not its redirect address", http.StatusBadRequest)
		return
	}
	challenge, err := base64.RawURLEncoding.Strict().DecodeString(q.Get("code_challenge"))
	switch {
	case q.Get("response_type") != "code",
		!strings.Contains(" "+q.Get("scope")+" ", " openid "),
		q.Get("state") == "", q.Get("nonce") == "",
		q.Get("code_challenge_method") != "S256", err != nil, len(challenge) != sha256.Size:
		i.sendBack(w, q, url.Values{"error": {"invalid_request"}})
		return
	case i.broken(Deny):
		i.sendBack(w, q, url.Values{"error": {"access_denied"}})
		return
	}

	sub := i.config.Auto
	if r.Method == http.MethodPost {
		sub = r.PostFormValue("sub")
	}
	if sub == "" {
		i.choose(w)
		return
	}
	code := rand.Text()
	i.mu.Lock()
	known := i.user(sub) != nil
	if known {
		i.codes[code] = &grant{sub: sub, nonce: q.Get("nonce"), challenge: q.Get("code_challenge"), made: time.Now()}
	}
	i.mu.Unlock()
	if !known {
		http.Error(w, "no such user", http.StatusBadRequest)
		return
	}
	i.sendBack(w, q, url.Values{"code": {code}})
}

// choose asks who is signing in.
func (i *Issuer) choose(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	// Browsers hold form-action against where an answer to the form leads, too.
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

// sendBack sends the browser to the client.
func (i *Issuer) sendBack(w http.ResponseWriter, asked, values url.Values) {
	values.Set("state", asked.Get("state"))
	values.Set("iss", i.config.URL)
	if i.broken(OtherState) {
		values.Set("state", rand.Text())
	}
	if i.broken(OtherIss) {
		values.Set("iss", "https://elsewhere.example")
	}
	w.Header().Set("Referrer-Policy", "no-referrer")
	w.Header().Set("Location", i.config.Redirect+"?"+values.Encode())
	w.WriteHeader(http.StatusSeeOther)
}

func (i *Issuer) token(w http.ResponseWriter, r *http.Request) {
	refuse := func(status int, code string) { answer(w, status, object{"error": code}) }
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
	case r.PostFormValue("grant_type") != "authorization_code":
		refuse(http.StatusBadRequest, "unsupported_grant_type")
		return
	}

	i.mu.Lock()
	g := i.codes[r.PostFormValue("code")]
	sum := sha256.Sum256([]byte(r.PostFormValue("code_verifier")))
	switch {
	case g != nil && g.access != "":
		// RFC 6749, 4.1.2: a code that comes twice was stolen, and so may be what it gave.
		delete(i.access, g.access)
		fallthrough
	case g == nil, time.Since(g.made) > codeLife, i.user(g.sub) == nil,
		r.PostFormValue("redirect_uri") != i.config.Redirect,
		base64.RawURLEncoding.EncodeToString(sum[:]) != g.challenge:
		i.mu.Unlock()
		refuse(http.StatusBadRequest, "invalid_grant")
		return
	}
	g.access = rand.Text()
	i.access[g.access] = g.sub
	user := *i.user(g.sub)
	i.mu.Unlock()

	idToken := i.sign(user, g)
	i.mu.Lock()
	i.last = idToken
	i.mu.Unlock()
	answer(w, http.StatusOK, object{
		"access_token": g.access,
		"token_type":   "Bearer",
		"expires_in":   int(tokenLife.Seconds()),
		"id_token":     idToken,
	})
}

func (i *Issuer) userinfo(w http.ResponseWriter, r *http.Request) {
	token, _ := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer ")
	i.mu.Lock()
	user := i.user(i.access[token])
	var about object
	if user != nil {
		about = i.about(*user)
	}
	i.mu.Unlock()
	switch {
	case i.broken(NotOK):
		answer(w, http.StatusOK, object{"ok": false, "error": "token_revoked"})
		return
	case user == nil, i.broken(Refusing):
		w.Header().Set("WWW-Authenticate", `Bearer error="invalid_token"`)
		answer(w, http.StatusUnauthorized, object{"error": "invalid_token"})
		return
	case i.broken(OtherPerson):
		about["sub"] = "somebody else"
	}
	answer(w, http.StatusOK, about)
}
