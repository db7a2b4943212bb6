package rest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"syscall"
)

// A StatusError is an answer outside 2xx, redirects included. Its text holds
// the operation and the status only: a service may echo what it was sent.
type StatusError struct {
	// Op is the method and the path below the base.
	Op     string
	Status int
	Header http.Header
	// Body is the beginning of the answer, to classify by and never to show.
	Body []byte
}

func (e *StatusError) Error() string {
	return fmt.Sprintf("%s: answered %d %s", e.Op, e.Status, http.StatusText(e.Status))
}

// broken makes the error of a call that got no whole answer. A *url.Error holds
// the query, and a broken answer is quoted by net/http, so only the reason is
// told; the cause stays reachable for errors.Is.
func broken(op string, err error) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	return &brokenError{op: op, cause: err}
}

// Broken makes the error of a call that got no whole answer and was not made
// through a Client; the rest is as with a Client's.
func Broken(op string, err error) error { return broken(op, err) }

type brokenError struct {
	op    string
	cause error
}

func (e *brokenError) Error() string { return e.op + ": " + reason(e.cause) }
func (e *brokenError) Unwrap() error { return e.cause }

// GoString keeps %#v from printing the cause.
func (e *brokenError) GoString() string { return fmt.Sprintf("%q", e.Error()) }

func reason(err error) string {
	if errors.Is(err, context.Canceled) {
		return "cancelled"
	}
	if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() {
		return "timed out"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return "no such host"
		}
		return "name look-up failed"
	}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		return errno.Error()
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "certificate not accepted"
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		return "connection closed early"
	}
	return "connection broke"
}
