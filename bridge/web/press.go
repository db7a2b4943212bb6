package web

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"cobrowse-bridge/templates"
)

// This file has the rule for presses: which requests count as the act of a person. Web.pressed
// decides for every form of the co-browse page and of the desk. Clicked decides for the GET that
// leads an agent straight to the screen.
//
// # A press on one of our buttons
//
// A POST is a press if all of these hold:
//
//   - Its Origin is the bridge's own. Every browser sends Origin with a POST
//     (fetch.spec.whatwg.org, "append a request Origin header"). A page of another site
//     has another origin, a sandboxed frame has "null", and most programs send none.
//   - The User-Agent is not that of a robot. Robots can lie, so this is only a first check.
//   - The browser's fetch metadata (www.w3.org/TR/fetch-metadata) describes a form of our
//     own page that replaces the page in its tab: Sec-Fetch-Site same-origin, Sec-Fetch-Mode
//     navigate, Sec-Fetch-Dest document. So fetch() and frames do not count.
//   - Sec-Fetch-User is "?1". Chromium and Firefox send it if a person clicked or pressed a
//     key, and not if a script alone called submit() or click(). For about five seconds after
//     a click they send it for scripts as well.
//   - In link mode, where agents do not sign in, the request has the cookie of our page, which
//     tells browsers apart.
//
// There are three exceptions:
//
//   - WebKit (Safari, and every browser on iOS) never sends Sec-Fetch-User
//     (webkit.org/b/247697). There the cookie is needed instead, in every mode: the sender
//     has at least loaded the page. A script on the page could press, but no script of ours
//     does, and the Content-Security-Policy of our pages allows no other. Only the User-Agent
//     tells which engine it is. A program that lies about it gains no more than one that sends
//     "?1".
//   - A browser that sends no fetch metadata at all (Safari before 16.4, or any behind a
//     proxy that removes the headers) may press where agents sign in, with the cookie. In
//     link mode it may not: there the link alone opens the door, so the bridge would take a
//     scanner that runs scripts for the agent.
//   - Chromium 76 to 79 sends "?1", but no Sec-Fetch-Dest.
//
// If a person reloads the answer to a form, the browser asks and then sends the form again. That
// is a press too.
//
// # A click that leads straight on
//
// A GET leads straight to the screen only if Sec-Fetch-User is "?1" and the page opens in a
// tab (see Clicked). WebKit cannot prove a click, so agents who use it always see the page with
// its button. Back, reload and a restored tab are no clicks; see Door.straight.

// maxForm is the largest body of a form in bytes.
const maxForm = 4 << 10

// OnPress wraps a handler of forms. It answers requests that are no press with an error page.
func (web *Web) OnPress(h handler) http.Handler {
	return web.Page(func(w http.ResponseWriter, r *http.Request) error {
		if err := web.ReadPress(w, r); err != nil {
			return err
		}
		return h(w, r)
	})
}

// ReadPress parses a form. It returns an error if no person pressed a button of the form.
func (web *Web) ReadPress(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, maxForm)
	if err := r.ParseForm(); err != nil {
		return fmt.Errorf("%w: %w", ErrBody, err)
	}
	err := web.pressed(r)
	if err == nil {
		return nil
	}
	web.metrics.Refusal(err.Error())
	switch {
	case errors.Is(err, errOrigin): // no link to retry: another site sent the form
		return err
	case strings.HasPrefix(r.URL.Path, DoorPath):
		return WithNotice(err, templates.Notice{Retry: PageOf(r.PostForm)})
	}
	return WithNotice(err, templates.Notice{Retry: DeskPath})
}

// pressed returns nil if a person pressed a button on one of our pages, by the rule at the
// top of this file. Otherwise it returns errPress, errOrigin, errCookies or errOldBrowser.
func (web *Web) pressed(r *http.Request) error {
	origins := r.Header.Values("Origin")
	meta := MetadataOf(r)
	switch {
	case Robot(r), len(origins) == 0:
		return errPress
	case len(origins) > 1 || !web.ourOrigin(origins[0]), meta.Site == "cross-site", meta.Site == "same-site":
		return errOrigin
	case meta == metadata{} && !browserLike(r):
		return errPress
	case meta == metadata{} && !web.SignsIn():
		return errOldBrowser
	case meta == metadata{}:
	case meta.Site != "same-origin" || meta.mode != "navigate":
		return errPress
	case meta.dest != "document" && (meta.dest != "" || meta.user != byPerson):
		return errPress
	case meta.user != byPerson && !webKit(r.UserAgent()):
		return errPress
	}
	if web.Token(r) == "" && (meta.user != byPerson || !web.SignsIn()) {
		return errCookies
	}
	return nil
}

func (web *Web) ourOrigin(origin string) bool {
	scheme, host, _ := strings.Cut(origin, "://")
	return scheme == web.origin.Scheme && web.ourHost(host)
}

// Clicked reports whether a person followed a link or typed an address, and the page opens in a
// tab, not in a frame. Only Chromium and Firefox can prove that.
func Clicked(r *http.Request) bool {
	meta := MetadataOf(r)
	return meta.opensPage() && meta.user == byPerson
}

// metadata is a browser's fetch metadata. Its zero value means that the browser sends none.
type metadata struct{ Site, mode, dest, user string }

// byPerson is the value of Sec-Fetch-User for an act of a person.
const byPerson = "?1"

// MetadataOf returns the fetch metadata of a request.
func MetadataOf(r *http.Request) metadata {
	h := r.Header
	return metadata{h.Get("Sec-Fetch-Site"), h.Get("Sec-Fetch-Mode"), h.Get("Sec-Fetch-Dest"), h.Get("Sec-Fetch-User")}
}

// opensPage reports whether the answer becomes the page of a tab.
func (m metadata) opensPage() bool { return m.mode == "navigate" && m.dest == "document" }

// webKit reports whether a User-Agent is WebKit's, which never sends Sec-Fetch-User. Chromium's
// contains "AppleWebKit/" too, but also its own name.
func webKit(userAgent string) bool {
	return strings.Contains(userAgent, "AppleWebKit/") && !strings.Contains(userAgent, "Chrome/") && !strings.Contains(userAgent, "Chromium/")
}

// browserLike reports whether the sender calls itself a browser. Programs such as curl
// have names of their own (www.rfc-editor.org/rfc/rfc9110#name-user-agent).
func browserLike(r *http.Request) bool { return strings.HasPrefix(r.UserAgent(), "Mozilla/") }

// A Source is where an agent clicked, in the words of the audit log.
type Source string

const (
	FromOurPage Source = "our page"
	fromChat    Source = "the chat"
	FromSite    Source = "another site"
	// FromNoReferer is a link on a page that sends no Referer (rel=noreferrer), as in many chats.
	FromNoReferer Source = "the chat or another site"
	// fromPerson is the address bar, a bookmark, or another program than the browser.
	fromPerson Source = "the address bar or an app"
	// fromUnknown is a browser that sends no Sec-Fetch-Site.
	fromUnknown Source = "unknown: the browser does not say"
)

// SourceOf returns where a click came from, by fetch metadata and Referer. chatURL is the address
// of the conversation.
func (web *Web) SourceOf(r *http.Request, chatURL string) Source {
	switch MetadataOf(r).Site {
	case "same-origin":
		return FromOurPage
	case "none":
		return fromPerson
	case "cross-site", "same-site":
	default:
		return fromUnknown
	}
	referer, err := url.Parse(r.Referer())
	if err != nil || referer.Host == "" {
		return FromNoReferer
	}
	if chat, err := url.Parse(chatURL); err == nil && strings.EqualFold(chat.Host, referer.Host) {
		return fromChat
	}
	return FromSite
}
