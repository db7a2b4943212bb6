package bridge

import (
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

// admit decides whether a request may use a door, and reports whether who makes it
// may go straight on. Where nobody signs in, the browser that pressed first is the
// agent's, for this door and for later ones.
func (b *Bridge) admit(r *http.Request, c *card, who signin.Identity) (straight bool, err error) {
	if b.signsIn() {
		err := b.admitAgent(r.Context(), c, who)
		return err == nil, err
	}
	mine, other := c.holder.Browser.Is(b.browser(r, *c))
	switch {
	case !mine && (c.Claimed || other && !c.renewed()):
		return false, errElsewhere
	case !b.decide(*c, policy.Watch).Allowed:
		return false, errPolicy
	}
	return mine, nil
}

// browser is the token of the browser that makes the request; empty if it has
// none for this agent.
func (b *Bridge) browser(r *http.Request, c card) string {
	if cookie, err := r.Cookie(b.cookieName(c.Agent)); err == nil && tokenForm.MatchString(cookie.Value) {
		return cookie.Value
	}
	return ""
}

var tokenForm = regexp.MustCompile(`^[A-Z2-7]{52}$`)

// mark gives the browser a token if it has none, before it presses anything: the
// answer to a press may never arrive, and the door would belong to nobody. Only
// a press makes the token worth something.
func (b *Bridge) mark(w http.ResponseWriter, r *http.Request, c card) (token string) {
	if token = b.browser(r, c); token == "" {
		token = rand.Text() + rand.Text()
		// For when the same request is worked on anew.
		r.AddCookie(&http.Cookie{Name: b.cookieName(c.Agent), Value: token})
	}
	http.SetCookie(w, &http.Cookie{
		Name: b.cookieName(c.Agent), Value: token, Path: "/", MaxAge: int(browserLife.Seconds()),
		Secure: b.origin.Scheme == "https", HttpOnly: true, SameSite: http.SameSiteLaxMode,
	})
	return token
}

// cookieName gives each agent a cookie of their own, so that a browser shared by
// several, or an agent known to several chat services, mixes nothing up.
func (b *Bridge) cookieName(agent string) string {
	sum := sha256.Sum256([]byte(agent))
	name := "door-" + hex.EncodeToString(sum[:8])
	if b.origin.Scheme == "https" {
		return "__Host-" + name
	}
	return name
}

// pressed reports whether a person pressed a button on our page. Browsers that
// send fetch metadata set Sec-Fetch-User only for that; a script cannot.
func pressed(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Site") == "" || r.Header.Get("Sec-Fetch-User") == "?1"
}

// navigated reports whether a person followed a link to here, and not into a
// frame of somebody's page.
func navigated(r *http.Request) bool {
	h := r.Header
	return h.Get("Sec-Fetch-Mode") == "navigate" && h.Get("Sec-Fetch-Dest") == "document" && h.Get("Sec-Fetch-User") == "?1"
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
