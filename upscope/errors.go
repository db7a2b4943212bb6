package upscope

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// Sentinels for errors.Is. The statuses are those of https://cobrowsingapi.com/docs/rest-api/api-endpoints and
// https://cobrowsingapi.com/docs/rest-api/authentication; 429 is not documented.
var (
	// ErrUnauthorized (401): the key is wrong, or the account or its plan may not use the API. Error.Code may say
	// more: invalid_api_key, no_subscription (formerly subscription_expired), api_not_enabled,
	// please_contact_team, or a code that is not known here.
	ErrUnauthorized = errors.New("API key not accepted")
	// ErrOverPlan (402): one more session would exceed the plan. AuthorizeOnPremise returns it too; Upscope does
	// not document why. A retry does not help.
	ErrOverPlan = errors.New("plan limit reached")
	// ErrNotFound (404): no such visitor or agent.
	ErrNotFound = errors.New("not found")
	// ErrVisitorOnline (409): a visitor who is online cannot be erased.
	ErrVisitorOnline = errors.New("visitor is online")
	// ErrRateLimited (429): Error.RetryAfter is how long to wait, if the service said so.
	ErrRateLimited = errors.New("too many requests")
	// ErrUpstream: the service failed, did not answer in time, or sent an unexpected answer.
	ErrUpstream = errors.New("service failed or sent an unexpected answer")
	// ErrInvalid: the arguments are not valid; nothing was sent.
	ErrInvalid = errors.New("invalid request, not sent")
)

// MaxRetryAfter is the longest Error.RetryAfter. A longer Retry-After of the service is reduced to this.
const MaxRetryAfter = time.Hour

// Error is a call that failed. It wraps one of the sentinels. A cancelled call wraps context.Canceled only; a
// timeout wraps ErrUpstream and context.DeadlineExceeded.
//
// Its text is made from fixed phrases and Code. It contains no key, id, search text, address or body. It wraps no
// error of net/http, because those quote addresses and answers.
type Error struct {
	Op         string        // the name of the call, such as "search visitors"
	Status     int           // HTTP status; 0 without an answer
	Code       string        // Upscope's error code, such as invalid_api_key, or empty
	Reason     string        // a fixed phrase about the cause, or empty
	RetryAfter time.Duration // with 429 and 503: how long to wait, at most MaxRetryAfter; 0 if the service does not say

	kind  error // a sentinel, or nil for a cancelled call
	ctx   error // the context's error, or nil
	proxy error // the transport's error about a proxy, or nil
}

// A proxyError is the error of a Config.Transport for a request that a proxy refused. ProxyRefusal returns a text
// without secrets. An Error has this text as its Reason, and wraps the error.
type proxyError interface {
	error
	ProxyRefusal() string
}

// Error returns the operation, the cause, Reason, Status and Code in one line.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("upscope: " + e.Op)
	switch {
	case e.kind != nil:
		b.WriteString(": " + e.kind.Error())
	case e.ctx != nil:
		b.WriteString(": " + e.ctx.Error())
	}
	if e.Reason != "" {
		b.WriteString(": " + e.Reason)
	}
	switch {
	case e.Status != 0 && e.Code != "":
		fmt.Fprintf(&b, " (HTTP %d, %s)", e.Status, e.Code)
	case e.Status != 0:
		fmt.Fprintf(&b, " (HTTP %d)", e.Status)
	}
	return b.String()
}

// Unwrap returns the sentinel, the context's error and that of a proxy, if they are set.
func (e *Error) Unwrap() []error {
	var all []error
	for _, err := range []error{e.kind, e.ctx, e.proxy} {
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}

// Timeout reports whether the deadline of the call or of the caller's context passed.
func (e *Error) Timeout() bool { return errors.Is(e.ctx, context.DeadlineExceeded) }

// invalidRequest is the error of a call that was not sent.
func invalidRequest(op, reason string) *Error {
	return &Error{Op: op, Reason: reason, kind: ErrInvalid}
}

// badAnswer is the error of a successful answer that cannot be used. It always reports status 200.
func badAnswer(op, reason string) *Error {
	return &Error{Op: op, Status: http.StatusOK, Reason: reason, kind: ErrUpstream}
}

// tooLong is the error of an answer longer than maxBody.
func tooLong(op string, status int) *Error {
	return &Error{Op: op, Status: status, Reason: "the answer is longer than 1 MiB", kind: ErrUpstream}
}

// transportError is the error of a call whose transport failed. parent is the caller's context; callCtx is derived
// from it, with the call's deadline.
func transportError(op string, status int, parent, callCtx context.Context, err error) *Error {
	e := &Error{Op: op, Status: status, kind: ErrUpstream}
	var timeout net.Error
	var proxy proxyError
	switch {
	case errors.Is(parent.Err(), context.Canceled):
		e.kind, e.ctx = nil, context.Canceled
	case callCtx.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		e.ctx, e.Reason = context.DeadlineExceeded, "no complete answer in time"
	case errors.As(err, &proxy):
		e.proxy, e.Reason = proxy, proxy.ProxyRefusal()
	default:
		e.Reason = networkReason(err)
	}
	return e
}

// networkReason describes a network error without its text, which may quote the request or the answer.
func networkReason(err error) string {
	var (
		dnsErr    *net.DNSError
		certErr   *tls.CertificateVerificationError
		recordErr tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &dnsErr):
		return "cannot resolve the host name"
	case errors.As(err, &certErr):
		return "the host's certificate is not trusted"
	case errors.As(err, &recordErr):
		return "the host does not speak TLS"
	case errors.Is(err, syscall.ECONNREFUSED):
		return "connection refused"
	case errors.Is(err, syscall.ECONNRESET), errors.Is(err, syscall.EPIPE):
		return "connection reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the answer was cut short"
	}
	return "the connection failed"
}

// retryAfter reads a Retry-After header, seconds or a date (RFC 9110, section 10.2.3). It returns at most
// MaxRetryAfter, and 0 if the header is missing or cannot be read.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if !strings.ContainsFunc(value, func(c rune) bool { return c < '0' || c > '9' }) {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(MaxRetryAfter/time.Second) { // only digits, so an error means that the number is too large
			return MaxRetryAfter
		}
		return time.Duration(seconds) * time.Second
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0
	}
	return min(max(at.Sub(now), 0), MaxRetryAfter)
}
