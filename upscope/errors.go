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

// What went wrong, for errors.Is. The statuses are those of cobrowsingapi.com/docs/rest-api/api-endpoints and
// …/authentication; 429 is documented nowhere.
var (
	// ErrUnauthorized (401): the key is wrong, or the account or its plan may not use the API. It is a fault
	// of the configuration, whatever Error.Code says: invalid_api_key, no_subscription (formerly
	// subscription_expired), api_not_enabled, please_contact_team, or a word not known yet.
	ErrUnauthorized = errors.New("key not accepted")
	// ErrOverPlan (402): one more session would exceed the subscription; of AuthorizeOnPremise, the session is
	// not authorised, which the vendor does not explain further. Repeating does not help.
	ErrOverPlan = errors.New("plan limit reached")
	// ErrNotFound (404): no such visitor or agent.
	ErrNotFound = errors.New("not found")
	// ErrVisitorOnline (409): a visitor who is online cannot be erased.
	ErrVisitorOnline = errors.New("visitor is online")
	// ErrRateLimited (429): Error.RetryAfter says how long to wait, if the service did.
	ErrRateLimited = errors.New("too many requests")
	// ErrUpstream: the service failed, could not be reached in time, or answered what cannot be understood.
	ErrUpstream = errors.New("service unavailable or not understood")
	// ErrInvalid: the arguments are no request the service documents; nothing was sent.
	ErrInvalid = errors.New("invalid request, not sent")
)

// MaxRetryAfter is the longest Error.RetryAfter; what the service asks beyond it is cut.
const MaxRetryAfter = time.Hour

// Error is a call that failed. errors.Is finds one of the sentinels in it; a cancelled call instead answers to
// context.Canceled alone, and one out of time to both ErrUpstream and context.DeadlineExceeded.
//
// Its text is made of this package's own words and a plain vendor token. It holds no key, id, search text,
// address or body, and there is no inner error to print: those of net/http quote addresses and answers.
type Error struct {
	Op         string        // which call, in words
	Status     int           // HTTP status; 0 when there was no answer
	Code       string        // the vendor's word for it, such as invalid_api_key, or empty
	Reason     string        // more in our own words, or empty
	RetryAfter time.Duration // with 429 and 503: how long to wait, at most MaxRetryAfter; 0 when not said

	kind error // a sentinel, or nil when the caller gave up
	ctx  error // the context's error, or nil
}

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

// Unwrap returns the sentinel and the context's error, as far as there are any.
func (e *Error) Unwrap() []error {
	var all []error
	for _, err := range []error{e.kind, e.ctx} {
		if err != nil {
			all = append(all, err)
		}
	}
	return all
}

// Timeout reports whether the call ran out of time, its own or the caller's.
func (e *Error) Timeout() bool { return errors.Is(e.ctx, context.DeadlineExceeded) }

// refuse is a call that was not made.
func refuse(op, reason string) *Error { return &Error{Op: op, Reason: reason, kind: ErrInvalid} }

// unreadable is a good answer that lacks what was asked for.
func unreadable(op, reason string) *Error {
	return &Error{Op: op, Status: http.StatusOK, Reason: reason, kind: ErrUpstream}
}

func tooLong(op string, status int) *Error {
	return &Error{Op: op, Status: status, Reason: "the answer is longer than 1 MiB", kind: ErrUpstream}
}

// broken is a call whose transport failed. caller is the context we were given, call the one with our deadline.
func broken(op string, status int, caller, call context.Context, err error) *Error {
	e := &Error{Op: op, Status: status, kind: ErrUpstream}
	var timeout net.Error
	switch {
	case errors.Is(caller.Err(), context.Canceled):
		e.kind, e.ctx = nil, context.Canceled
	case call.Err() != nil, errors.As(err, &timeout) && timeout.Timeout():
		e.ctx, e.Reason = context.DeadlineExceeded, "no complete answer in time"
	default:
		e.Reason = failure(err)
	}
	return e
}

// failure puts a network error into words without its text, which may quote what was sent or received.
func failure(err error) string {
	var (
		name        *net.DNSError
		certificate *tls.CertificateVerificationError
		plain       tls.RecordHeaderError
	)
	switch {
	case errors.As(err, &name):
		return "the host's name does not resolve"
	case errors.As(err, &certificate):
		return "the host's certificate is not trusted"
	case errors.As(err, &plain):
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

// retryAfter reads a Retry-After header, seconds or a date (RFC 9110, section 10.2.3): 0 for none or nonsense,
// at most MaxRetryAfter.
func retryAfter(value string, now time.Time) time.Duration {
	value = strings.TrimSpace(value)
	if value == "" {
		return 0
	}
	if !strings.ContainsFunc(value, func(c rune) bool { return c < '0' || c > '9' }) {
		seconds, err := strconv.ParseInt(value, 10, 64)
		if err != nil || seconds > int64(MaxRetryAfter/time.Second) { // digits beyond int64 are only larger
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
