package bridge

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"cobrowse-bridge/templates"
)

// This file holds the rule for presses: which requests count as a person's own act.
// Two functions decide. Bridge.pressed is asked for every form of the co-browse page and
// of the desk, clicked for the GET that leads an agent straight to the screen.
//
// # A press on one of our buttons
//
// A POST is a press if all of these hold:
//
//   - Its Origin is the bridge's own. Every browser sends Origin with a POST
//     (fetch.spec.whatwg.org, "append a request Origin header"). A page of another site
//     has another origin, a sandboxed frame has "null", and most programs send none.
//   - The User-Agent is not that of a robot. This is a courtesy: robots can lie.
//   - The browser's fetch metadata (www.w3.org/TR/fetch-metadata) describes a form of our
//     own page that replaces the page in its tab: Sec-Fetch-Site same-origin, Sec-Fetch-Mode
//     navigate, Sec-Fetch-Dest document. So fetch() and frames do not count.
//   - Sec-Fetch-User is "?1". Chromium and Firefox send it if a person clicked or pressed a
//     key, and not if a script alone called submit() or click(). For about five seconds after
//     a click they send it for scripts as well.
//   - In link mode, the request has the cookie that our page has set, since the cookie is
//     what tells browsers apart.
//
// There are three exceptions:
//
//   - WebKit (Safari, and every browser on iOS) never sends Sec-Fetch-User
//     (webkit.org/b/247697). There the cookie is needed instead, in every mode: the sender
//     has at least loaded the page. A script on the page could press, but our pages run no
//     script that does, and their Content-Security-Policy admits no other. Only the
//     User-Agent tells which engine it is: a program that lies about it gains no more than a
//     program that sends "?1".
//   - A browser that sends no fetch metadata at all (Safari before 16.4, or any behind a
//     proxy that removes the headers) may press where agents sign in, with the cookie. In
//     link mode it may not: the link alone opens the door there, so a scanner that runs
//     scripts would be taken for its agent.
//   - Chromium 76 to 79 sends "?1", but no Sec-Fetch-Dest.
//
// To load the answer to a form again sends the form again, after the browser has asked its
// user. That is a press too.
//
// # A click that leads straight on
//
// A GET leads straight to the screen only if Sec-Fetch-User is "?1" and the page opens in a
// tab of its own (see clicked). WebKit cannot prove a click, so its agents always see the
// page with its button. Back, reload and a restored tab are no clicks; see Bridge.straight.

// maxForm is the largest body of a form in bytes.
const maxForm = 4 << 10

// onPress wraps a handler of forms. It answers what is not a press.
func (b *Bridge) onPress(h handler) http.Handler {
	return b.page(func(w http.ResponseWriter, r *http.Request) error {
		if err := b.readPress(w, r); err != nil {
			return err
		}
		return h(w, r)
	})
}

// readPress parses a form and makes sure that a person pressed its button.
func (b *Bridge) readPress(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return fmt.Errorf("%w: %w", errBody, err)
	}
	err := b.pressed(r)
	if err == nil {
		return nil
	}
	b.metrics.refusal(err.Error())
	switch {
	case errors.Is(err, errOrigin): // our page must not lead on from there
		return err
	case strings.HasPrefix(r.URL.Path, doorPath):
		return &noticeError{err, templates.Notice{Retry: pageOf(r.PostForm)}}
	}
	return &noticeError{err, templates.Notice{Retry: deskPath}}
}

// pressed returns nil if a person pressed a button on one of our pages, by the rule at the
// top of this file. Otherwise it returns errPress, errOrigin, errCookies or errOldBrowser.
func (b *Bridge) pressed(r *http.Request) error {
	origins := r.Header.Values("Origin")
	meta := metadataOf(r)
	switch {
	case robot(r), len(origins) == 0:
		return errPress
	case len(origins) > 1 || !b.ourOrigin(origins[0]), meta.site == "cross-site", meta.site == "same-site":
		return errOrigin
	case meta == metadata{} && !browserLike(r):
		return errPress
	case meta == metadata{} && !b.signsIn():
		return errOldBrowser
	case meta == metadata{}:
	case meta.site != "same-origin" || meta.mode != "navigate":
		return errPress
	case meta.dest != "document" && (meta.dest != "" || meta.user != byPerson):
		return errPress
	case meta.user != byPerson && !webKit(r.UserAgent()):
		return errPress
	}
	if b.token(r) == "" && (meta.user != byPerson || !b.signsIn()) {
		return errCookies
	}
	return nil
}

func (b *Bridge) ourOrigin(origin string) bool {
	scheme, host, _ := strings.Cut(origin, "://")
	return scheme == b.origin.Scheme && b.ourHost(host)
}

// clicked reports whether a person followed a link, or typed an address, to a page that
// opens in a tab and not in a frame. Only Chromium and Firefox can prove that.
func clicked(r *http.Request) bool {
	meta := metadataOf(r)
	return meta.opensPage() && meta.user == byPerson
}

// metadata is a browser's fetch metadata. Its zero value means that the browser sends none.
type metadata struct{ site, mode, dest, user string }

// byPerson is the value of Sec-Fetch-User for what a person did.
const byPerson = "?1"

func metadataOf(r *http.Request) metadata {
	h := r.Header
	return metadata{h.Get("Sec-Fetch-Site"), h.Get("Sec-Fetch-Mode"), h.Get("Sec-Fetch-Dest"), h.Get("Sec-Fetch-User")}
}

// opensPage reports whether the answer becomes the page of a tab.
func (m metadata) opensPage() bool { return m.mode == "navigate" && m.dest == "document" }

// webKit reports whether a User-Agent is that of an engine that never sends
// Sec-Fetch-User. Chromium's has the words of WebKit too, and its own.
func webKit(userAgent string) bool {
	return strings.Contains(userAgent, "AppleWebKit/") && !strings.Contains(userAgent, "Chrome/") && !strings.Contains(userAgent, "Chromium/")
}

// browserLike reports whether the sender calls itself a browser. Programs such as curl
// have names of their own (www.rfc-editor.org/rfc/rfc9110#name-user-agent).
func browserLike(r *http.Request) bool { return strings.HasPrefix(r.UserAgent(), "Mozilla/") }

// A source is where an agent was when they clicked, in the words of the audit log.
type source string

const (
	fromOurPage source = "our page"
	fromChat    source = "the chat"
	fromSite    source = "another site"
	// fromSomewhere is a link whose page keeps its address to itself (rel=noreferrer), as
	// chats often do.
	fromSomewhere source = "the chat or another site"
	// fromPerson is the address bar, a bookmark, or a program other than the browser.
	fromPerson source = "the address bar or an app"
	// fromUnknown is a browser that does not say.
	fromUnknown source = "a place that the browser does not tell"
)

// sourceOf returns where a click came from, by fetch metadata and the Referer.
func (b *Bridge) sourceOf(r *http.Request, c card) source {
	switch metadataOf(r).site {
	case "same-origin":
		return fromOurPage
	case "none":
		return fromPerson
	case "cross-site", "same-site":
	default:
		return fromUnknown
	}
	referer, err := url.Parse(r.Referer())
	if err != nil || referer.Host == "" {
		return fromSomewhere
	}
	if chat, err := url.Parse(c.about.ChatURL); err == nil && strings.EqualFold(chat.Host, referer.Host) {
		return fromChat
	}
	return fromSite
}

// What is wrong with a form that was not pressed.
var (
	errPress      = errors.New("not pressed by a person")
	errOrigin     = errors.New("sent by another site's page")
	errCookies    = errors.New("browser keeps no cookies")
	errOldBrowser = errors.New("browser sends no fetch metadata")
)
