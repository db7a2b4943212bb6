package rest

import (
	"cmp"
	"context"
	"log/slog"
	"net/http"
	"time"

	"cobrowse-bridge/bridge/requestid"
)

// Logged returns a transport that logs each call to the named service at debug level: the method, the
// route that requestid.WithRoute has set, the status or the reason of a failure, and the time until the
// answer began. It logs no address, header or body.
func Logged(service string, next http.RoundTripper, log *slog.Logger) http.RoundTripper {
	return &logged{service, next, log}
}

type logged struct {
	service string
	next    http.RoundTripper
	log     *slog.Logger
}

// RoundTrip implements http.RoundTripper.
func (l *logged) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	if !l.log.Enabled(ctx, slog.LevelDebug) {
		return l.next.RoundTrip(r)
	}
	began := time.Now()
	answer, err := l.next.RoundTrip(r)
	var result slog.Attr
	if err != nil {
		result = slog.String("err", reason(err))
	} else {
		result = slog.Int("status", answer.StatusCode)
	}
	l.log.LogAttrs(ctx, slog.LevelDebug, "service called", slog.String("service", l.service), slog.String("method", r.Method),
		slog.String("route", cmp.Or(requestid.Route(ctx), "not named")), result, slog.Int64("ms", time.Since(began).Milliseconds()))
	return answer, err
}

// Routed returns a transport that names the route of each request with requestid.WithRoute. route gets the
// context of the request.
func Routed(route func(context.Context) string, next http.RoundTripper) http.RoundTripper {
	return routed{route, next}
}

type routed struct {
	route func(context.Context) string
	next  http.RoundTripper
}

// RoundTrip implements http.RoundTripper.
func (t routed) RoundTrip(r *http.Request) (*http.Response, error) {
	ctx := r.Context()
	return t.next.RoundTrip(r.WithContext(requestid.WithRoute(ctx, t.route(ctx))))
}
