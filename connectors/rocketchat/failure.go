package rocketchat

import (
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rest"
)

const (
	minWait = time.Second
	maxWait = 120 * time.Second
	// blindWait is for a 429 that does not say when to come back.
	blindWait = 30 * time.Second
)

// A refusal is the body of an answer outside 2xx, in all the shapes that
// versions 6 to 9 give it (Rocket.Chat, app/api/server/api.ts and ApiClass.ts):
// error may be a string, a number or an object, and success may be absent.
type refusal struct {
	Status int
	Error  string
	Type   string
	// Failed is set by "success": false. Only the API itself says so of a thing
	// asked for; a missing route, the web app or a proxy does not.
	Failed bool
}

func refused(err error) (refusal, *rest.StatusError) {
	se, ok := errors.AsType[*rest.StatusError](err)
	if !ok {
		return refusal{}, nil
	}
	var body struct {
		Error     any    `json:"error"`
		ErrorType string `json:"errorType"`
		Success   any    `json:"success"`
	}
	if rest.Decode(se.Body, &body) != nil {
		return refusal{Status: se.Status}, se
	}
	return refusal{
		Status: se.Status,
		Error:  asString(body.Error),
		Type:   body.ErrorType,
		Failed: body.Success == false,
	}, se
}

// says reports whether the refusal carries one of the server's error codes: as
// its type, as its whole text, or in brackets at the end of it.
func (r refusal) says(codes ...string) bool {
	for _, code := range codes {
		if r.Type == code || r.Error == code || strings.HasSuffix(r.Error, "["+code+"]") {
			return true
		}
	}
	return false
}

func (r refusal) tooMany() bool {
	return r.Status == http.StatusTooManyRequests || r.says("error-too-many-requests", "too-many-requests")
}

// forbidden covers 9.0, which answers 403, and earlier versions, which answer
// 400 to the same.
func (r refusal) forbidden() bool {
	return r.Status == http.StatusForbidden || r.Status == http.StatusBadRequest &&
		r.says("error-not-allowed", "not-allowed", "Not Allowed", "unauthorized", "not-authorized",
			"error-unauthorized", "error-not-authorized", "error-forbidden", "error-action-not-allowed", "totp-required")
}

// missing means that there is no such thing, or no such route, or that
// something else answered in its place.
func (r refusal) missing() bool {
	return r.Status == http.StatusNotFound || r.Status == http.StatusMethodNotAllowed
}

func (r refusal) noVisitor() bool {
	return (r.Status == http.StatusBadRequest || r.Status == http.StatusNotFound) &&
		r.says("visitor-not-found", "error-visitor-not-found", "error-invalid-visitor")
}

func (r refusal) noRoom() bool {
	return r.absent("error-room-not-found", "room-not-found", "error-invalid-room", "invalid-room", "error-room-does-not-exist")
}

// absent means that the API says that there is no such thing, by one of codes or
// by its text for a 404. A 404 of anything else may be over in a minute, so it
// must not end a chat.
func (r refusal) absent(codes ...string) bool {
	return r.Status == http.StatusBadRequest && r.says(codes...) ||
		r.Status == http.StatusNotFound && r.Failed && (r.says(codes...) || r.Error == "Resource not found")
}

// declined is any 4xx but a credential that is not accepted and a rate limit. It
// is for questions that one can do without an answer to.
func (r refusal) declined() bool {
	return r.Status >= 400 && r.Status < 500 && r.Status != http.StatusUnauthorized && !r.tooMany()
}

// classify says what the bridge should do about a failed call. An operator can
// mend a refused credential, a missing permission and a wrong address, so those
// are tried again; any other 4xx cannot be mended by trying. who is READER or
// POSTER, and needs what that user must have for the call.
func (c *connector) classify(err error, who, needs string) error {
	for _, ours := range []error{errTarget, errWrites} {
		if errors.Is(err, ours) {
			return bridge.Permanent(ours)
		}
	}
	r, se := refused(err)
	user := strings.ToLower(who)
	switch {
	case se == nil:
		return err
	case r.tooMany():
		return bridge.RetryAfter(fmt.Errorf("%w: give the %s the role bot", err, user), wait(se.Header, time.Now()))
	case r.Status == http.StatusUnauthorized:
		return fmt.Errorf("%w: the %s's id or token is not accepted (%s, %s)", err, user, c.env(who+"_ID"), c.env(who+"_TOKEN"))
	case r.forbidden():
		return fmt.Errorf("%w: the %s lacks %s", err, user, needs)
	case r.missing():
		return fmt.Errorf("%w: no such route: is %s right, its path included?", err, c.env("URL"))
	case r.Status >= 300 && r.Status < 400:
		return fmt.Errorf("%w: the workspace is somewhere else: is %s right?", err, c.env("URL"))
	case r.Status == http.StatusRequestTimeout || r.Status == http.StatusTooEarly || r.Status >= 500:
		return err
	case r.Type != "":
		return bridge.Permanent(fmt.Errorf("%w: %.60q", err, r.Type))
	}
	return bridge.Permanent(err)
}

// wait is how long to stay away after a 429. X-RateLimit-Reset is an epoch in
// milliseconds by the server's clock, which may differ from ours, so it is
// bounded; a proxy in front may send Retry-After instead.
func wait(h http.Header, now time.Time) time.Duration {
	d := blindWait
	if ms, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil {
		// Compared before it is subtracted: the difference may not fit.
		switch left := ms - now.UnixMilli(); {
		case ms <= 0 || left < 0:
			d = minWait
		case left > maxWait.Milliseconds():
			d = maxWait
		default:
			d = time.Duration(left) * time.Millisecond
		}
	} else if s, err := strconv.Atoi(h.Get("Retry-After")); err == nil {
		d = maxWait
		if s < int(maxWait/time.Second) {
			d = time.Duration(max(s, 0)) * time.Second
		}
	}
	return min(max(d, minWait), maxWait)
}
