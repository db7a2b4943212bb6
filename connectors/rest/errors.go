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

	"cobrowse-bridge/bridge/network"
)

// A StatusError is an answer outside 2xx, including a redirect. Its text holds only the
// operation, the status and the code, because the rest of the body may repeat what was sent to
// the service.
type StatusError struct {
	// Op is the method and the path below the base.
	Op     string
	Status int
	Header http.Header
	// Body is the beginning of the answer. It is for classification, and is never shown.
	Body []byte
}

func (e *StatusError) Error() string {
	text := fmt.Sprintf("%s: answered %d %s", e.Op, e.Status, http.StatusText(e.Status))
	if code := e.Code(); code != "" {
		text += " (" + code + ")"
	}
	return text
}

// GoString keeps %#v from printing the header and the body.
func (e *StatusError) GoString() string { return fmt.Sprintf("%q", e.Error()) }

// broken makes the error of a call without a complete answer. A *url.Error holds the query,
// and net/http quotes a malformed answer, so the text gives only a plain reason. errors.Is
// still finds the cause.
func broken(op string, err error) error {
	if outer, ok := errors.AsType[*url.Error](err); ok {
		err = outer.Err
	}
	return &brokenError{op: op, cause: err}
}

// Broken makes the error of a call without a complete answer, for calls that were not made
// through a Client. It unwraps to err, and its text holds only op and a plain reason.
func Broken(op string, err error) error { return broken(op, err) }

// ProxyRemedy says what an operator can do if a proxy is the cause of err, and otherwise returns other.
// variable is the setting of the service's proxy, such as "SLACK_PROXY".
func ProxyRemedy(err error, variable, other string) string {
	if _, ok := errors.AsType[*network.ProxyError](err); !ok {
		return other
	}
	return "Let the proxy allow the bridge to reach this service, or set " + variable + " to another proxy, or to direct for none. Without it, HTTPS_PROXY and NO_PROXY decide."
}

type brokenError struct {
	op    string
	cause error
}

func (e *brokenError) Error() string { return e.op + ": " + reason(e.cause) }
func (e *brokenError) Unwrap() error { return e.cause }

// GoString keeps %#v from printing the cause.
func (e *brokenError) GoString() string { return fmt.Sprintf("%q", e.Error()) }

func reason(err error) string {
	if paused, ok := errors.AsType[*PausedError](err); ok {
		return paused.Error()
	}
	if errors.Is(err, context.Canceled) {
		return "cancelled"
	}
	if proxy, ok := errors.AsType[*network.ProxyError](err); ok {
		return proxy.Error()
	}
	if t, ok := errors.AsType[net.Error](err); ok && t.Timeout() {
		return "timed out"
	}
	if dns, ok := errors.AsType[*net.DNSError](err); ok {
		if dns.IsNotFound {
			return "cannot resolve the host name"
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
