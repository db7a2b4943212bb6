package chatvisor

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rest"
)

const (
	minWait = time.Second
	maxWait = time.Hour
	// blindWait is for a 429 that does not say when to come back.
	blindWait = 30 * time.Second
)

// refusal is the status of an answer outside 2xx; zero for everything else.
func refusal(err error) int {
	if se, ok := errors.AsType[*rest.StatusError](err); ok {
		return se.Status
	}
	return 0
}

// classify says what the bridge should do about a failed call, by its status alone:
// nothing else about refusals is documented. An operator can mend a token, and time
// a service that is down; a thing that is not there, or a request that is not
// understood, stays so.
func (c *connector) classify(err error) error {
	if put, ok := errors.AsType[*turnError](err); ok {
		return bridge.RetryAfter(err, put.wait)
	}
	se, ok := errors.AsType[*rest.StatusError](err)
	if !ok {
		return err
	}
	if wait, told := askedWait(se, time.Now()); told {
		return bridge.RetryAfter(err, wait)
	}
	switch status := se.Status; {
	case status == http.StatusUnauthorized, status == http.StatusForbidden:
		return fmt.Errorf("%w: the token of %s is not accepted for this", err, c.env("TOKEN"))
	case status >= 300 && status < 400:
		return fmt.Errorf("%w: the API is somewhere else: is %s right?", err, c.env("URL"))
	case status == http.StatusRequestTimeout || status == http.StatusTooEarly || status >= 500:
		return err
	case status == http.StatusNotFound:
		return bridge.Permanent(fmt.Errorf("%w: either there is no such thing any more, or its path in the file of %s is wrong", err, c.env("CONFIG")))
	}
	return bridge.Permanent(err)
}

// askedWait is for how long a service wants to be left alone, if it says so: by
// Retry-After (RFC 9110, section 10.2.3), in seconds or until a time, or by a 429.
func askedWait(se *rest.StatusError, now time.Time) (wait time.Duration, told bool) {
	if se.Status != http.StatusTooManyRequests && se.Status < 500 {
		return 0, false
	}
	after := se.Header.Get("Retry-After")
	if n, err := strconv.Atoi(after); err == nil {
		return time.Duration(min(max(n, int(minWait/time.Second)), int(maxWait/time.Second))) * time.Second, true
	}
	if t, err := http.ParseTime(after); err == nil {
		return min(max(t.Sub(now), minWait), maxWait), true
	}
	return blindWait, se.Status == http.StatusTooManyRequests
}
