// Package requestid gives each request an id, which the log lines about it have, also those of the jobs
// and of the calls to services that follow from it.
package requestid

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"log/slog"
	"net/http"
	"regexp"
	"strings"
)

// Header is the header of an answer with the id of its request.
const Header = "X-Request-Id"

// Attr is the name of the id in log lines.
const Attr = "request"

// New returns a new random id of 64 bits in hexadecimal digits.
func New() string {
	var id [8]byte
	_, _ = rand.Read(id[:]) // it never fails
	return hex.EncodeToString(id[:])
}

// parentForm is the form of traceparent: version, trace id, parent id and flags
// (www.w3.org/TR/trace-context, section 3.2.2). Later versions may append more after a hyphen.
var parentForm = regexp.MustCompile(`^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}(-.*)?$`)

// FromParent returns the trace id of a request's traceparent, of 32 hexadecimal digits. ok is false if
// there is none, more than one, or one that is not valid. Call it only if a trusted proxy sent the request.
func FromParent(h http.Header) (id string, ok bool) {
	values := h.Values("Traceparent")
	if len(values) != 1 || len(values[0]) > 512 {
		return "", false
	}
	part := parentForm.FindStringSubmatch(values[0])
	if part == nil || part[1] == "ff" || part[1] == "00" && part[4] != "" || zeros(part[2]) || zeros(part[3]) {
		return "", false
	}
	return part[2], true
}

func zeros(s string) bool { return strings.Trim(s, "0") == "" }

type idKey struct{}

// With returns a context for work that belongs to the request with an id.
func With(ctx context.Context, id string) context.Context { return context.WithValue(ctx, idKey{}, id) }

// ID returns the id of the request to which a context's work belongs, or "".
func ID(ctx context.Context) string {
	id, _ := ctx.Value(idKey{}).(string)
	return id
}

type routeKey struct{}

// WithRoute returns a context for a call to a service. route is what the log shows of the address: a
// template such as "chats/{id}", or the name of the operation.
func WithRoute(ctx context.Context, route string) context.Context {
	return context.WithValue(ctx, routeKey{}, route)
}

// Route returns the route of a call, or "" if WithRoute was not called.
func Route(ctx context.Context) string {
	route, _ := ctx.Value(routeKey{}).(string)
	return route
}

// Handler returns a handler that adds the id of the context to each record, as the attribute Attr.
func Handler(next slog.Handler) slog.Handler { return handler{next} }

type handler struct{ next slog.Handler }

func (h handler) Enabled(ctx context.Context, level slog.Level) bool {
	return h.next.Enabled(ctx, level)
}

func (h handler) Handle(ctx context.Context, r slog.Record) error {
	if id := ID(ctx); id != "" {
		r = r.Clone() // a handler that keeps the record may share it
		r.AddAttrs(slog.String(Attr, id))
	}
	return h.next.Handle(ctx, r)
}

func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler { return handler{h.next.WithAttrs(attrs)} }

func (h handler) WithGroup(name string) slog.Handler { return handler{h.next.WithGroup(name)} }
