package rocketchat

import (
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/rest"
)

// A refusal is an answer outside 2xx, as versions 6 to 9 write it (Rocket.Chat,
// app/api/server/api.ts and ApiClass.ts): in the body, error may be a string, a number or an
// object, and success may be absent.
type refusal struct {
	Status int
	Error  string
	Type   string
	// Failed is set by "success": false. Only a route of the API answers that; for a
	// missing route, the web app and a proxy it is false.
	Failed bool
}

// refused returns the refusal in err. The pointer is nil if err is not an answer outside 2xx.
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

// says reports whether the refusal has one of the server's error codes: as its type, as its
// whole text, or in brackets at the end of the text.
func (r refusal) says(codes ...string) bool {
	for _, code := range codes {
		if r.Type == code || r.Error == code || strings.HasSuffix(r.Error, "["+code+"]") {
			return true
		}
	}
	return false
}

// documented are the codes of Rocket.Chat that say what the next attempt will bring. The codes
// for a missing room are not among them: absent decides about those.
var documented = rest.Codes{
	Final: []string{
		"error-invalid-user", "error-user-not-found", "invalid-params", "error-invalid-params", "error-message-size-exceeded",
	},
	Limits: []string{"error-too-many-requests", "too-many-requests"},
}

// code returns the documented code of the refusal, or "".
func (r refusal) code() string {
	for _, code := range slices.Concat(documented.Limits, documented.Final) {
		if r.says(code) {
			return code
		}
	}
	return ""
}

// next returns what to do after the refusal.
func (r refusal) next() rest.NextStep { return documented.Next(r.Status, r.code()) }

func (r refusal) tooMany() bool { return r.next() == rest.Wait }

// readOnly reports whether the workspace has had no contact with Rocket.Chat's cloud for ten
// days, and so refuses every message until it has (applyAirGappedRestrictionsValidation in
// app/api/server/v1/chat.ts).
func (r refusal) readOnly() bool { return r.says("restricted-workspace") }

// secondFactor reports whether the server asks for two-factor authentication.
func (r refusal) secondFactor() bool { return r.says("totp-required") }

// forbidden reports whether the user lacks a permission. Version 9.0 answers that with 403 or
// 401, earlier versions with 400. A 401 for a wrong token has none of the codes.
func (r refusal) forbidden() bool {
	switch {
	case r.readOnly(), r.secondFactor():
		return false
	case r.Status == http.StatusForbidden:
		return true
	}
	return (r.Status == http.StatusBadRequest || r.Status == http.StatusUnauthorized) &&
		r.says("error-not-allowed", "not-allowed", "Not Allowed", "unauthorized", "not-authorized",
			"error-unauthorized", "error-not-authorized", "error-forbidden", "error-action-not-allowed")
}

// badToken reports whether the server does not accept the user's id and token.
func (r refusal) badToken() bool { return r.Status == http.StatusUnauthorized && !r.forbidden() }

// missing reports whether the thing or the route does not exist, or another server answered.
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

// absent reports whether the API itself says that the thing does not exist: by one of codes,
// or by its text for a 404. A 404 of a proxy may be temporary, so it must not end a chat.
func (r refusal) absent(codes ...string) bool {
	return r.Status == http.StatusBadRequest && r.says(codes...) ||
		r.Status == http.StatusNotFound && r.Failed && (r.says(codes...) || r.Error == "Resource not found")
}

// declined reports whether the answer is a 4xx other than a refused token and a rate limit. It
// is for calls whose answer is optional.
func (r refusal) declined() bool {
	return r.Status >= 400 && r.Status < 500 && !r.badToken() && !r.tooMany()
}

// classify turns the error of a call into one that tells the bridge whether to retry, and that
// says what an operator can do. who is READER or POSTER, and needs is the right that the call
// requires.
func (c *connector) classify(err error, who, needs string) error {
	for _, ours := range []error{errTarget, errWrites} {
		if errors.Is(err, ours) {
			return chat.Permanent(ours)
		}
	}
	r, se := refused(err)
	user := strings.ToLower(who)
	switch {
	case se == nil:
		return err
	case r.next() != rest.Retry:
		if r.tooMany() {
			err = fmt.Errorf("%w: give the %s the role bot", err, user)
		}
		return documented.Mark(err, r.Status, r.code(), r.wait(se.Header, time.Now()))
	case r.readOnly():
		return fmt.Errorf("%w: the workspace is read-only until it reaches Rocket.Chat's cloud again", err)
	case r.secondFactor():
		return fmt.Errorf("%w: the %s's token asks for two-factor authentication: make one that ignores it (%s)", err, user, c.env(who+"_TOKEN"))
	case r.forbidden():
		return fmt.Errorf("%w: the %s lacks %s", err, user, needs)
	case r.badToken():
		return fmt.Errorf("%w: the %s's id or token is not accepted (%s, %s)", err, user, c.env(who+"_ID"), c.env(who+"_TOKEN"))
	case r.missing():
		return fmt.Errorf("%w: no such route: check %s and its path", err, c.env("URL"))
	case r.Status < 400:
		return fmt.Errorf("%w: the workspace has another address: check %s", err, c.env("URL"))
	}
	return err
}

// waitText is in the text of some answers of 429, whose header does not say how long.
var waitText = regexp.MustCompile(`wait (\d{1,6}) second`)

// wait is the pause after a rate limit, from MinWait to MaxWait. X-RateLimit-Reset is a Unix
// time in milliseconds by the server's clock, as is Date; that clock may differ from ours. A
// proxy may send Retry-After instead.
func (r refusal) wait(h http.Header, now time.Time) time.Duration {
	if ms, err := strconv.ParseInt(h.Get("X-RateLimit-Reset"), 10, 64); err == nil {
		if theirs, err := http.ParseTime(h.Get("Date")); err == nil {
			now = theirs
		}
		return rest.BoundWait(time.UnixMilli(ms).Sub(now), rest.MaxWait)
	}
	wait, ok := rest.RetryAfter(h, now, rest.MaxWait)
	if found := waitText.FindStringSubmatch(r.Error); !ok && found != nil {
		seconds, _ := strconv.Atoi(found[1]) // six digits at most
		return rest.BoundWait(time.Duration(seconds)*time.Second, rest.MaxWait)
	}
	return wait
}
