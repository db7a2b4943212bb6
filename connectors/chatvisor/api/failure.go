package api

import (
	"errors"
	"fmt"
	"net/http"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/rest"
)

// maxRetryAfter is the longest Retry-After that is obeyed in full. The vendor does not
// document its limits.
const maxRetryAfter = time.Hour

// StatusOf returns the HTTP status of an answer outside 2xx; zero for other errors.
func StatusOf(err error) int {
	if se, ok := errors.AsType[*rest.StatusError](err); ok {
		return se.Status
	}
	return 0
}

// IsPostponed reports whether a request was not made because its turn is too far away.
func IsPostponed(err error) bool {
	_, postponed := errors.AsType[*postponedError](err)
	return postponed
}

// Classify returns an error that says whether the bridge should retry a failed request, and
// what an operator can do. A 404 is retried too, since a proxy may have answered it.
func (a *Client) Classify(err error) error {
	if postponed, ok := errors.AsType[*postponedError](err); ok {
		return chat.RetryAfter(err, postponed.wait)
	}
	se, ok := errors.AsType[*rest.StatusError](err)
	if !ok {
		return err
	}
	if wait, requested := requestedWait(se, time.Now()); requested {
		return chat.RetryAfter(err, wait)
	}
	switch status := se.Status; {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fmt.Errorf("%w: Chatvisor does not accept the token of %s for this request", err, a.Env("TOKEN"))
	case status < 400:
		return fmt.Errorf("%w: Chatvisor redirects to another address: check %s", err, a.Env("URL"))
	case status == http.StatusNotFound:
		return fmt.Errorf("%w: it was deleted in Chatvisor, or its path in the file of %s is wrong", err, a.Env("CONFIG"))
	default:
		return rest.Codes{}.Mark(err, status, "", rest.DefaultWait) // the vendor documents no codes
	}
}

// requestedWait returns how long no request should be made, and whether the service asked
// for a pause: by a 429, or by Retry-After with a 5xx.
func requestedWait(se *rest.StatusError, now time.Time) (wait time.Duration, requested bool) {
	if se.Status != http.StatusTooManyRequests && se.Status < 500 {
		return 0, false
	}
	wait, requested = rest.RetryAfter(se.Header, now, maxRetryAfter)
	return wait, requested || se.Status == http.StatusTooManyRequests
}
