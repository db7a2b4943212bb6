// Package web has what pages and hooks share: who sends a request, whether a person pressed,
// limits, headers, the request log and the answers to errors. Read web.go first.
package web

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math"
	"net/http"
	"net/netip"
	"net/url"
	"runtime/debug"
	"strconv"
	"strings"
	"sync"
	"time"

	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/netaddr"
	"cobrowse-bridge/bridge/requestid"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"

	"github.com/gorilla/mux"
)

// A Web wraps the handlers of the other packages and tells them who sends a request.
type Web struct {
	// CSP is the Content-Security-Policy of every page.
	CSP string
	// OIDC or Header identifies agents; both are nil where agents do not sign in.
	OIDC   *signin.OIDC
	Header *signin.Header

	origin  *url.URL
	headers http.Header // of every page
	clients *netaddr.Clients
	metrics *metrics.Metrics
	log     *slog.Logger

	wrongHosts struct {
		sync.Mutex
		names map[string]bool // that were warned of
	}
}

// Config is what New needs. Origin, Metrics and Log are required.
type Config struct {
	// Origin is the public address: scheme and host, no path.
	Origin *url.URL
	// CSP is the Content-Security-Policy of every page.
	CSP string
	// OIDC or Header identifies agents; both are nil where agents do not sign in.
	OIDC   *signin.OIDC
	Header *signin.Header
	// Proxies are the networks of proxies whose X-Forwarded-For is trusted.
	Proxies []netip.Prefix
	Metrics *metrics.Metrics
	Log     *slog.Logger
}

// New returns a Web.
func New(c Config) *Web {
	clients := netaddr.NewClients(c.Proxies, "BRIDGE_TRUSTED_PROXIES", "limits by IP address do not count its requests", c.Log)
	web := &Web{CSP: c.CSP, OIDC: c.OIDC, Header: c.Header, origin: c.Origin, headers: headersOf(c), clients: clients, metrics: c.Metrics, log: c.Log}
	web.wrongHosts.names = map[string]bool{}
	return web
}

// A handler answers a request, or returns an error without having answered.
type handler func(w http.ResponseWriter, r *http.Request) error

// Machine wraps a handler for programs: an error becomes a status, as a rule without a text.
func (web *Web) Machine(h handler) http.Handler {
	return web.logged(func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		err := h(w, r)
		if err != nil && !answerNotSent(err) {
			v := respond(err)
			retryAfter(w, v)
			w.WriteHeader(v.status)
			if errors.Is(err, ErrUnreadable) {
				_, _ = fmt.Fprintln(w, "This delivery is genuine but could not be read.")
			}
		}
		return err
	})
}

// MachineTime is how long a probe or a call of Upscope may take. Writes have a shorter limit of their
// own; this one is for reads. Senders of deliveries wait about three seconds.
const MachineTime = 2800 * time.Millisecond

// answerTime is how long a page or a press may work before its answer. An audit entry that is
// written after that takes at most 2.5 s, so the agent has an answer within ten seconds.
const answerTime = 7 * time.Second

// GoOn returns a context for work that goes on when the client leaves, within the time limit of
// the request. Call cancel when the work is done.
func GoOn(ctx context.Context) (goesOn context.Context, cancel context.CancelFunc) {
	goesOn = context.WithoutCancel(ctx)
	if limit, ok := ctx.Deadline(); ok {
		return context.WithDeadline(goesOn, limit)
	}
	return goesOn, func() {}
}

// Page wraps a handler for people: an error becomes a page. OnPress and Desk.atDesk wrap handlers
// of forms. The request's context ends after answerTime.
func (web *Web) Page(h handler) http.Handler {
	return web.LongPage(func(w http.ResponseWriter, r *http.Request) error {
		ctx, cancel := context.WithTimeout(r.Context(), answerTime)
		defer cancel()
		return h(w, r.WithContext(ctx))
	})
}

// LongPage is Page for an answer that may take longer than answerTime.
func (web *Web) LongPage(h handler) http.Handler {
	return web.logged(func(w http.ResponseWriter, r *http.Request) error {
		maps.Copy(w.Header(), web.headers)
		var err error
		if web.ourHost(r.Host) {
			err = h(w, r)
		} else {
			err = web.misdirected(r)
		}
		if err == nil || answerNotSent(err) {
			return err
		}
		return web.errorPage(w, r, err)
	})
}

// errorPage answers with the page for err, and returns err. It is a function of its own so that it takes no
// space on the stack of a stream.
func (web *Web) errorPage(w http.ResponseWriter, r *http.Request, err error) error {
	notice := templates.Notice{Kind: templates.KindInternal}
	var withNotice *noticeError
	if errors.As(err, &withNotice) {
		notice = withNotice.notice
	}
	v := respond(err)
	notice.Kind, notice.Wait = cmp.Or(v.kind, templates.KindInternal), v.wait
	if web.SignsIn() && notice == (templates.Notice{Kind: notice.Kind, Wait: notice.Wait}) && leadsToDesk[notice.Kind] {
		notice.Chat = templates.Link{Label: templates.GoToDesk, Address: DeskPath}
	}
	if v.fault {
		notice.Request = requestid.ID(r.Context())
	}
	retryAfter(w, v)
	return errors.Join(err, web.Render(w, v.status, notice))
}

// SignsIn reports whether agents sign in. Where they do not, a person with a card's address counts
// as its agent, in the browser that pressed first.
func (web *Web) SignsIn() bool { return web.OIDC != nil || web.Header != nil }

// leadsToDesk has the kinds of notices that link to the desk if they have no other link.
var leadsToDesk = map[templates.Kind]bool{
	templates.KindUnknown: true, templates.KindNotFound: true, templates.KindMethod: true,
}

// Render answers with a page.
func (web *Web) Render(w http.ResponseWriter, status int, p templates.Page) error {
	page, err := templates.Render(p)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, err = w.Write(page)
	return SendFault(err)
}

// ContentPolicy returns the Content-Security-Policy of pages. targets are the hosts of watch links
// and chats: browsers apply form-action also to the redirect after a form.
func ContentPolicy(targets ...upscope.Hosts) string {
	actions := []string{"'self'"}
	for _, hosts := range targets {
		actions = append(actions, hosts.CSPSources()...)
	}
	return "default-src 'none'; style-src 'self'; img-src 'self'; form-action " + strings.Join(actions, " ") + "; frame-ancestors 'none'; base-uri 'none'"
}

// headersOf returns the headers that keep a page out of caches, frames and search engines.
// Referrer-Policy is same-origin: with no-referrer, browsers send our own forms with the Origin
// "null".
func headersOf(c Config) http.Header {
	h := http.Header{}
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", c.CSP)
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Robots-Tag", "noindex, nofollow, noarchive")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	if c.Origin.Scheme == "https" {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
	return h
}

// SeeOther redirects a browser to another page of the bridge.
func SeeOther(w http.ResponseWriter, location string) {
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
}

// RedirectWithoutReferrer redirects a browser to a page that must not learn the present address.
func RedirectWithoutReferrer(w http.ResponseWriter, location string) {
	w.Header().Set("Referrer-Policy", "no-referrer")
	SeeOther(w, location)
}

func retryAfter(w http.ResponseWriter, v errorResponse) {
	if v.wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(v.wait.Seconds()))))
	}
}

// ourHost reports whether host is that of the bridge. Some proxies keep the default port.
func (web *Web) ourHost(host string) bool {
	return netaddr.CanonicalHost(web.origin.Scheme, host) == netaddr.CanonicalHost(web.origin.Scheme, web.origin.Host)
}

// misdirected returns the error for a request with a wrong host name. It warns of the first names,
// each once: mostly the proxy replaces the name. Scanners send many others.
func (web *Web) misdirected(r *http.Request) error {
	const most = 8
	host := r.Host[:min(len(r.Host), 255)]
	web.wrongHosts.Lock()
	_, before := web.wrongHosts.names[host]
	fresh := !before && len(web.wrongHosts.names) < most
	if fresh {
		web.wrongHosts.names[host] = true
	}
	web.wrongHosts.Unlock()
	if fresh {
		web.log.WarnContext(r.Context(), "request for another host name refused", "host", host, "expected", web.origin.Host,
			"remedy", "if it came through your proxy, let the proxy pass Host on unchanged")
	}
	return fmt.Errorf("%w: %q, expected %q", errMisdirected, host, web.origin.Host)
}

// logged writes one log line for each request, with the route's template and never the path, which
// contains handles. It answers a panic with status 500 and logs the stack.
func (web *Web) logged(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		id := web.requestID(r)
		r = r.WithContext(requestid.With(r.Context(), id))
		w.Header().Set(requestid.Header, id)
		out := &statusWriter{ResponseWriter: w}
		var err error
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(p)
				}
				web.log.ErrorContext(r.Context(), "program error", "value", fmt.Sprint(p), "stack", string(debug.Stack()),
					"remedy", "report it with this whole line to the people from whom you have the bridge")
				if out.status == 0 {
					out.WriteHeader(http.StatusInternalServerError)
				}
				err = errors.New("panic")
			}
			web.logRequest(r, out.status, time.Since(began), err)
		}()
		if err = h(out, r); err != nil && out.status == 0 {
			out.WriteHeader(http.StatusInternalServerError) // the error page could not be rendered
		}
	})
}

// requestID returns the trace id that a trusted proxy sent, or a new id.
func (web *Web) requestID(r *http.Request) string {
	if web.clients.FromProxy(r) {
		if id, ok := requestid.FromParent(r.Header); ok {
			return id
		}
	}
	return requestid.New()
}

func (web *Web) logRequest(r *http.Request, status int, took time.Duration, err error) {
	route := noRoute
	if current := mux.CurrentRoute(r); current != nil {
		if t, e := current.GetPathTemplate(); e == nil {
			route = t
		}
	}
	probe := probes[route]
	web.metrics.Request(r.Method, route, status, probe, took)
	about := []slog.Attr{
		slog.String("method", metrics.KnownMethod(r.Method)), slog.String("route", route),
		slog.Int("status", status), slog.Int64("ms", took.Milliseconds()),
	}
	switch {
	case err == nil && probe:
		web.log.LogAttrs(r.Context(), slog.LevelDebug, "request", about...)
	case err == nil || ClientLeft(err):
		web.log.LogAttrs(r.Context(), slog.LevelInfo, "request", about...)
	case respond(err).fault:
		web.log.LogAttrs(r.Context(), slog.LevelError, "request failed", append(about, slog.Any("err", err))...)
	default:
		web.log.LogAttrs(r.Context(), slog.LevelInfo, "request refused", append(about, slog.Any("err", err))...)
	}
}

// statusWriter stores the status that was sent; zero before that.
type statusWriter struct {
	http.ResponseWriter
	status int
}

func (w *statusWriter) WriteHeader(status int) {
	if w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *statusWriter) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	return w.ResponseWriter.Write(p)
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// Address returns the IP address of a request's sender for limits: the nearest hop that is not a
// trusted proxy. For IPv6 it returns the /64 network, since a client usually has one. It returns ""
// if the address is not known.
func (web *Web) Address(r *http.Request) string {
	client, ok := web.clients.Of(r)
	switch client = client.Unmap(); {
	case !ok:
		return ""
	case client.Is6():
		if network, err := client.WithZone("").Prefix(64); err == nil {
			return network.String()
		}
	}
	return client.String()
}

// Paths of pages to which other packages lead.
const (
	SignInPath = "/signin"
	DeskPath   = "/"
	CardPath   = "/desk/card/" // followed by a card's id
	AfterPath  = "/after"      // Upscope leads to it after a session; with a slash and a card's id, to retry
)

// Paths of probes. Other programs call them every few seconds.
const (
	AlivePath = "/healthz"
	ReadyPath = "/readyz"
)

var probes = map[string]bool{AlivePath: true, ReadyPath: true}

// CountRoutes makes the metrics of all routes.
func (web *Web) CountRoutes(r *mux.Router) {
	web.metrics.AddRoute(noRoute, false, http.MethodGet, http.MethodPost)
	_ = r.Walk(func(route *mux.Route, _ *mux.Router, _ []*mux.Route) error { // the function returns no error
		template, err := route.GetPathTemplate()
		if err != nil {
			return nil //nolint:nilerr // it is no route for paths
		}
		methods, _ := route.GetMethods() // none are set for a route of all methods
		web.metrics.AddRoute(template, probes[template], methods...)
		return nil
	})
}

// noRoute is the route in logs and metrics of a request that matches none.
const noRoute = "none"

// DoorPath is the path of co-browse pages; a handle follows it.
const DoorPath = "/w/"

// The links on a co-browse page are relative, so that no page contains its handle.
const (
	SamePage  = "?"
	RenewPage = "?renew=1"
	StopPage  = "?stop=1"
	ChatPage  = "?chat=1"
	// SignedInPage is the page to which a sign-in leads back. It never leads straight to the
	// screen: browsers apply the form-action of the issuer's page to all redirects after its form.
	SignedInPage = "?signed-in=1"
)

// PageOf returns the page of a door that a form or a query names. After an error, Retry leads
// there.
func PageOf(form url.Values) string {
	switch {
	case form.Get("stop") != "":
		return StopPage
	case form.Get("chat") != "":
		return ChatPage
	}
	return SamePage
}
