package chat

import (
	"errors"
	"fmt"
	"time"
)

// ErrForged means that a request does not prove that the chat service sent it.
var ErrForged = errors.New("delivery is not authentic")

// ErrNoRoute means that a connector does not use the path of a request.
var ErrNoRoute = errors.New("path not used by this connector")

// ErrIncomplete means that a Sweep could not see whether the list of open chats is longer than what
// it read. The sweep counts as complete, and the bridge lists the error as a failure, for an
// operator to change the settings or the service.
var ErrIncomplete = errors.New("the list may be longer")

// Permanent marks err as an error that another attempt cannot fix. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanentError{err}
}

// RetryAfter marks err as temporary: the bridge tries again after wait and does not count the
// failed attempt. RetryAfter(nil, …) is nil.
func RetryAfter(err error, wait time.Duration) error {
	if err == nil {
		return nil
	}
	return &retryError{err, wait}
}

// IsPermanent reports whether err is marked Permanent.
func IsPermanent(err error) bool {
	var p *permanentError
	return errors.As(err, &p)
}

// RetryWait returns the wait of an error marked RetryAfter. ok is false for any other error.
func RetryWait(err error) (wait time.Duration, ok bool) {
	var r *retryError
	if errors.As(err, &r) {
		return r.wait, true
	}
	return 0, false
}

type permanentError struct{ err error }

func (e *permanentError) Error() string { return e.err.Error() }

func (e *permanentError) Unwrap() error { return e.err }

type retryError struct {
	err  error
	wait time.Duration
}

func (e *retryError) Error() string { return fmt.Sprintf("%v (retry in %v)", e.err, e.wait) }

func (e *retryError) Unwrap() error { return e.err }
