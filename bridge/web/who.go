package web

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/templates"
)

// who returns the agent who sends a request, or an error of package signin. Where agents do not
// sign in it returns the zero Identity.
func (web *Web) who(r *http.Request) (signin.Identity, error) {
	switch {
	case web.OIDC != nil:
		return web.OIDC.Who(r)
	case web.Header != nil:
		who, err := web.Header.Who(r)
		if errors.Is(err, signin.ErrSpoofed) {
			web.metrics.Spoofed()
		}
		return who, err
	}
	return signin.Identity{}, nil
}

// SignedInAgent returns the agent like who, but does not extend their sign-in. It is for requests
// that an open page sends by itself.
func (web *Web) SignedInAgent(r *http.Request) (signin.Identity, error) {
	if web.OIDC != nil {
		return web.OIDC.Peek(r)
	}
	return web.who(r)
}

// StoredSession returns the session of the agent who sends a request as store.DeskChange names it, or "".
func (web *Web) StoredSession(r *http.Request) string {
	if web.OIDC == nil {
		return ""
	}
	return web.OIDC.StoredToken(r)
}

// AsAgent calls do with the agent who sends the request. A person who opens a page and is not
// signed in is redirected to the sign-in, and from there back to the page.
func (web *Web) AsAgent(w http.ResponseWriter, r *http.Request, do func(signin.Identity) error) error {
	who, err := web.who(r)
	if err == nil {
		return do(who)
	}
	return web.withoutAgent(w, r, err)
}

// withoutAgent answers a request whose agent is not known because of err.
func (web *Web) withoutAgent(w http.ResponseWriter, r *http.Request, err error) error {
	mode := r.Header.Get("Sec-Fetch-Mode")
	switch {
	case errors.Is(err, signin.ErrNobody) && web.OIDC != nil && r.Method == http.MethodGet && (mode == "navigate" || mode == ""):
		return web.OIDC.Begin(w, r, r.URL.RequestURI())
	case errors.Is(err, signin.ErrNobody) && web.OIDC != nil && strings.HasPrefix(r.URL.Path, DoorPath):
		return WithNotice(err, templates.Notice{Retry: SamePage})
	case errors.Is(err, signin.ErrNobody) && web.OIDC != nil:
		return WithNotice(err, templates.Notice{Retry: DeskPath})
	case errors.Is(err, signin.ErrNobody):
		return fmt.Errorf("%w: %w", errNoIdentity, err)
	}
	return err
}

// BrowserLife is how long a browser is remembered as an agent's.
const BrowserLife = 12 * time.Hour

// Token returns the token of the browser that sends a request, or "" if it returned no such cookie.
func (web *Web) Token(r *http.Request) string {
	if cookie, err := r.Cookie(web.cookieName()); err == nil && isToken(cookie.Value) {
		return cookie.Value
	}
	return ""
}

// isToken reports whether s has the form of a token: two texts of rand.Text, which are in base32.
func isToken(s string) bool {
	return len(s) == 52 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") == ""
}

// SetBrowserCookie sets the cookie with the browser's token for another BrowserLife; "" makes a new
// token. Each page with a form sets it, before any press, since the answer to a press may not
// arrive. The cookie alone gives no access.
func (web *Web) SetBrowserCookie(w http.ResponseWriter, token string) {
	if token == "" {
		token = rand.Text() + rand.Text()
	}
	http.SetCookie(w, &http.Cookie{
		Name: web.cookieName(), Value: token, Path: "/", MaxAge: int(BrowserLife.Seconds()),
		Secure: web.origin.Scheme == "https", HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// SetShownCookie sets a cookie that says that the browser was at a card's address, and reports
// whether it had the cookie before. The browser returns the cookie only to that address.
func (web *Web) SetShownCookie(w http.ResponseWriter, r *http.Request, card string) (before bool) {
	sum := sha256.Sum256([]byte("shown " + card))
	name, value := "shown-"+hex.EncodeToString(sum[:8]), hex.EncodeToString(sum[8:24])
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: r.URL.Path, MaxAge: int(BrowserLife.Seconds()),
		Secure: web.origin.Scheme == "https", HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	_, err := r.Cookie(name)
	return err == nil
}

// BrowserHash returns a hash of a browser's token for the card, or "" for "".
func BrowserHash(token string) string {
	if token == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("press " + token))
	return hex.EncodeToString(sum[:8])
}

// cookieName returns the name of the cookie with the browser's token. With the prefix __Host- no
// other host can set it (RFC 6265bis, section 4.1.3.2).
func (web *Web) cookieName() string {
	if web.origin.Scheme == "https" {
		return "__Host-browser"
	}
	return "browser"
}

// Prefetching reports whether a browser fetches a page before its user opens it. The headers are
// those of Chromium, Safari and Firefox, old and new.
func Prefetching(r *http.Request) bool {
	for _, header := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		value := strings.ToLower(r.Header.Get(header))
		if strings.Contains(value, "prefetch") || strings.Contains(value, "preview") {
			return true
		}
	}
	return false
}
