package bridge

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"net/http"
	"regexp"
	"strings"
	"time"

	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/signin"
)

// browserLife is how long a browser is remembered as an agent's.
const browserLife = 12 * time.Hour

// admit decides whether an agent may use a door. Browser is the token of their browser, or
// "". Where nobody signs in, the browser that pressed first is the agent's, for this door and
// for later ones. Known says that the agent is known, so that a click may lead straight on:
// they are signed in, or the browser is remembered as theirs.
func (b *Bridge) admit(ctx context.Context, c *card, who signin.Identity, browser string) (known bool, err error) {
	if b.signsIn() {
		err := b.admitAgent(ctx, c, who)
		return err == nil, err
	}
	mine, other := c.holder.Browser.Is(browser)
	switch {
	case !mine && (c.Claimed || other && !c.renewed()):
		return false, errElsewhere
	case !b.decide(*c, policy.Watch).Allowed:
		return false, errPolicy
	}
	return mine, nil
}

// token returns what tells the browser of a request from others, or "" if it returned no
// cookie of ours.
func (b *Bridge) token(r *http.Request) string {
	if cookie, err := r.Cookie(b.cookieName()); err == nil && tokenForm.MatchString(cookie.Value) {
		return cookie.Value
	}
	return ""
}

var tokenForm = regexp.MustCompile(`^[A-Z2-7]{52}$`)

// mark sets the cookie that tells this browser from others, for another browserLife: with
// the token that the browser returned, or a new one for "". It comes with each page that has
// a form, so before any press: the answer to a press may never arrive. The cookie alone
// permits nothing.
func (b *Bridge) mark(w http.ResponseWriter, token string) {
	if token == "" {
		token = rand.Text() + rand.Text()
	}
	http.SetCookie(w, &http.Cookie{
		Name: b.cookieName(), Value: token, Path: "/", MaxAge: int(browserLife.Seconds()),
		Secure: b.origin.Scheme == "https", HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
}

// markShown remembers in a cookie that the browser was at a card's address, and reports
// whether it was there before. The browser returns the cookie to that address alone.
func (b *Bridge) markShown(w http.ResponseWriter, r *http.Request, c card) (before bool) {
	sum := sha256.Sum256([]byte("shown " + c.ID))
	name, value := "shown-"+hex.EncodeToString(sum[:8]), hex.EncodeToString(sum[8:24])
	http.SetCookie(w, &http.Cookie{
		Name: name, Value: value, Path: r.URL.Path, MaxAge: int(browserLife.Seconds()),
		Secure: b.origin.Scheme == "https", HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	_, err := r.Cookie(name)
	return err == nil
}

// browserPrint is what a card keeps of a token, or "" for none.
func browserPrint(token string) string {
	if token == "" {
		return ""
	}
	sum := sha256.Sum256([]byte("press " + token))
	return hex.EncodeToString(sum[:8])
}

// cookieName is the name of that cookie. With the prefix __Host- no other host can set it
// (RFC 6265bis, section 4.1.3.2).
func (b *Bridge) cookieName() string {
	if b.origin.Scheme == "https" {
		return "__Host-browser"
	}
	return "browser"
}

// prefetching reports whether a browser fetches ahead of its user. The headers
// are those of Chromium, Safari and Firefox, past and present.
func prefetching(r *http.Request) bool {
	for _, header := range []string{"Sec-Purpose", "Purpose", "X-Purpose", "X-Moz"} {
		value := strings.ToLower(r.Header.Get(header))
		if strings.Contains(value, "prefetch") || strings.Contains(value, "preview") {
			return true
		}
	}
	return false
}
