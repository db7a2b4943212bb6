package bridge

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"

	"github.com/gorilla/mux"
)

// A handler answers a request, or returns why it did not.
type handler func(w http.ResponseWriter, r *http.Request) error

// machine wraps a handler whose answers programs read: errors become a status
// and nothing else.
func (b *Bridge) machine(h handler) http.Handler {
	return b.logged(func(w http.ResponseWriter, r *http.Request) error {
		w.Header().Set("Cache-Control", "no-store")
		w.Header().Set("X-Content-Type-Options", "nosniff")
		err := h(w, r)
		if err != nil && !unsent(err) {
			v := judge(err)
			retryAfter(w, v)
			w.WriteHeader(v.status)
			if errors.Is(err, errUnreadable) {
				_, _ = fmt.Fprintln(w, "This delivery is genuine but could not be read.")
			}
		}
		return err
	})
}

// page wraps a handler whose answers people read: errors become pages. A handler of forms
// is wrapped by onPress or atDesk as well.
func (b *Bridge) page(h handler) http.Handler {
	return b.logged(func(w http.ResponseWriter, r *http.Request) error {
		b.pageHeaders(w.Header())
		var err error
		switch {
		case r.URL.IsAbs() || !b.ourHost(r.Host):
			err = errMisdirected
		default:
			err = h(w, r)
		}
		if err == nil || unsent(err) {
			return err
		}
		notice := templates.Notice{Kind: templates.KindInternal}
		var told *noticeError
		if errors.As(err, &told) {
			notice = told.notice
		}
		v := judge(err)
		notice.Kind, notice.Wait = cmp.Or(v.kind, templates.KindInternal), v.wait
		retryAfter(w, v)
		return errors.Join(err, b.render(w, v.status, notice))
	})
}

// noticeError is an error together with what its page knows about the card.
type noticeError struct {
	err    error
	notice templates.Notice
}

func (e *noticeError) Error() string { return e.err.Error() }
func (e *noticeError) Unwrap() error { return e.err }

func (b *Bridge) render(w http.ResponseWriter, status int, p templates.Page) error {
	page, err := templates.Render(p)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.WriteHeader(status)
	_, err = w.Write(page)
	return unanswered(err)
}

// contentPolicy lists the hosts of watch links and chats, since browsers apply
// form-action to where a form's answer redirects as well.
func contentPolicy(leads ...upscope.Hosts) string {
	actions := []string{"'self'"}
	for _, hosts := range leads {
		actions = append(actions, hosts.CSPSources()...)
	}
	return "default-src 'none'; style-src 'self'; img-src 'self'; form-action " + strings.Join(actions, " ") + "; frame-ancestors 'none'; base-uri 'none'"
}

// pageHeaders keep a page out of caches, frames, indexes and other sites.
// Referrer-Policy is same-origin, not no-referrer, under which browsers would
// call the origin of our own form null.
func (b *Bridge) pageHeaders(h http.Header) {
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", b.csp)
	h.Set("Referrer-Policy", "same-origin")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("X-Robots-Tag", "noindex, nofollow, noarchive")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	if b.origin.Scheme == "https" {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// seeOther has a browser go on elsewhere on the bridge's own pages.
func seeOther(w http.ResponseWriter, location string) {
	w.Header().Set("Location", location)
	w.WriteHeader(http.StatusSeeOther)
}

// leadAway has a browser go on somewhere that must not learn from where it came.
func leadAway(w http.ResponseWriter, location string) {
	w.Header().Set("Referrer-Policy", "no-referrer")
	seeOther(w, location)
}

func retryAfter(w http.ResponseWriter, v verdict) {
	if v.wait > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int(math.Ceil(v.wait.Seconds()))))
	}
}

func (b *Bridge) ourHost(host string) bool { return strings.EqualFold(host, b.origin.Host) }

// clientGone marks the failure to send an answer, which is no fault of ours.
type clientGone struct{ error }

func unanswered(err error) error {
	if err == nil {
		return nil
	}
	return clientGone{err}
}

// logged writes one line for a request: the route's template, never its path,
// which holds handles. A panic is answered with 500 and its stack goes to the
// log alone.
func (b *Bridge) logged(h handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		began := time.Now()
		seen := &statusWriter{ResponseWriter: w}
		var err error
		defer func() {
			if p := recover(); p != nil {
				if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
					panic(p)
				}
				b.log.ErrorContext(r.Context(), "panic", "value", fmt.Sprint(p), "stack", string(debug.Stack()))
				if seen.status == 0 {
					seen.WriteHeader(http.StatusInternalServerError)
				}
				err = errors.New("panic")
			}
			b.logRequest(r, seen.status, time.Since(began), err)
		}()
		if err = h(seen, r); err != nil && seen.status == 0 {
			seen.WriteHeader(http.StatusInternalServerError) // not even a page about it could be made
		}
	})
}

func (b *Bridge) logRequest(r *http.Request, status int, took time.Duration, err error) {
	route := "none"
	if current := mux.CurrentRoute(r); current != nil {
		if t, e := current.GetPathTemplate(); e == nil {
			route = t
		}
	}
	b.metrics.request(r.Method, route, status, took)
	about := []slog.Attr{
		slog.String("method", knownMethod(r.Method)), slog.String("route", route),
		slog.Int("status", status), slog.Int64("ms", took.Milliseconds()),
	}
	switch {
	case err == nil || left(err):
		b.log.LogAttrs(r.Context(), slog.LevelInfo, "request", about...)
	case judge(err).fault:
		b.log.LogAttrs(r.Context(), slog.LevelError, "request failed", append(about, slog.Any("err", err))...)
	default:
		b.log.LogAttrs(r.Context(), slog.LevelInfo, "request refused", append(about, slog.Any("err", err))...)
	}
}

// left reports whether err only says that the client no longer waits.
func left(err error) bool { return unsent(err) || errors.Is(err, context.Canceled) }

// unsent reports whether err says that an answer was not sent to its end. There is
// no other to be given then.
func unsent(err error) bool {
	_, gone := errors.AsType[clientGone](err)
	return gone
}

func knownMethod(method string) string {
	if slices.Contains([]string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE"}, method) {
		return method
	}
	return "other"
}

// statusWriter remembers the status that was sent.
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

// Unwrap serves http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// address is where a request comes from: the nearest hop that is not one of the
// trusted proxies. What strangers write into X-Forwarded-For lies behind that
// hop and is not looked at.
func (b *Bridge) address(r *http.Request) string {
	host, _, err := net.SplitHostPort(r.RemoteAddr)
	if err != nil {
		return r.RemoteAddr
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for b.trusts(host) && len(hops) > 0 {
		last := strings.TrimSpace(hops[len(hops)-1])
		hops = hops[:len(hops)-1]
		if _, err := netip.ParseAddr(last); err != nil {
			break
		}
		host = last
	}
	return network(host)
}

// network is what a limit by address applies to. With version 6 everybody has a
// whole network of addresses, the last 64 bits of each.
func network(host string) string {
	if addr, err := netip.ParseAddr(host); err == nil && addr.Unmap().Is6() {
		if p, err := addr.WithZone("").Prefix(64); err == nil {
			return p.String()
		}
	}
	return host
}

func (b *Bridge) trusts(host string) bool {
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return false
	}
	return slices.ContainsFunc(b.proxies, func(p netip.Prefix) bool { return p.Contains(addr.Unmap().WithZone("")) })
}

// script serves the visitor-side script of a connector to the pages of the
// operator's site. Browsers compare a script of another origin with a tag's
// integrity only if that origin lets everybody read it (www.w3.org/TR/SRI).
func (b *Bridge) script(w http.ResponseWriter, r *http.Request) error {
	c := b.connectors[mux.Vars(r)["connector"]]
	if c.Page == nil {
		return errNoPage
	}
	h := w.Header()
	h.Set("Content-Type", "text/javascript; charset=utf-8")
	h.Set("Cache-Control", "public, max-age=3600")
	h.Set("Etag", fmt.Sprintf(`"%x"`, sha256.Sum256(c.Page)))
	h.Set("Access-Control-Allow-Origin", "*")
	h.Set("Cross-Origin-Resource-Policy", "cross-origin")
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(c.Page))
	return nil
}

// static serves styles and icons, whose names change with their content.
func (b *Bridge) static(w http.ResponseWriter, r *http.Request) error {
	h := w.Header()
	h.Set("Cache-Control", "public, max-age=31536000, immutable")
	http.StripPrefix("/static/", http.FileServerFS(templates.Static())).ServeHTTP(w, r)
	return nil
}
