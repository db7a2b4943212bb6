package rest

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	"cobrowse-bridge/bridge/chat"
)

// Codes are the codes with which a service refuses a request, as far as its documentation
// says what they mean for the next attempt.
type Codes struct {
	// Final are the codes after which the same request can never succeed.
	Final []string
	// Limits are the codes of a rate limit.
	Limits []string
}

// A NextStep says what to do after a refusal.
type NextStep int

const (
	// Retry means that the request may succeed later, perhaps after an operator changed
	// something.
	Retry NextStep = iota
	// Wait means that it may succeed after the pause for which the service asks.
	Wait
	// GiveUp means that it cannot succeed.
	GiveUp
)

// finalStatuses are about the size or the form of the request, which stays the same.
var finalStatuses = []int{
	http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong,
	http.StatusUnsupportedMediaType, http.StatusRequestHeaderFieldsTooLarge,
}

// Next returns what to do after a refusal. The code decides before the status, because a
// proxy may answer any status. An unknown code or status is temporary: services introduce new
// ones, and a delivery that is given up too early is lost.
func (c Codes) Next(status int, code string) NextStep {
	switch {
	case slices.Contains(c.Final, code):
		return GiveUp
	case slices.Contains(c.Limits, code), status == http.StatusTooManyRequests:
		return Wait
	case slices.Contains(finalStatuses, status):
		return GiveUp
	}
	return Retry
}

// Mark marks err, a refusal with this status and code, for what Next says: with chat.RetryAfter and
// wait, with chat.Permanent, or not at all.
func (c Codes) Mark(err error, status int, code string, wait time.Duration) error {
	switch c.Next(status, code) {
	case Wait:
		return chat.RetryAfter(err, wait)
	case GiveUp:
		return chat.Permanent(err)
	default:
		return err
	}
}

const (
	minCode, maxCode = 3, 60
	// maxCodeDigits is less than the digits of a phone number or a credential.
	maxCodeDigits = 4
)

var (
	codeForm   = regexp.MustCompile(`^(?:[a-z][a-z0-9]*(?:[._-][a-z0-9]+)*|[A-Z][A-Z0-9]*(?:[._-][A-Z0-9]+)*)$`)
	digitForm  = regexp.MustCompile(`[0-9]`)
	bracketEnd = regexp.MustCompile(`\[([^\[\]]+)\]$`)
)

// IsCode reports whether s is a plain word, such as "restricted-workspace", that may be logged
// and shown. A sentence, a name, an address and a random credential are not plain words.
func IsCode(s string) bool {
	if len(s) < minCode || len(s) > maxCode || !codeForm.MatchString(s) {
		return false
	}
	digits := len(digitForm.FindAllString(s, -1))
	return digits == 0 || digits <= maxCodeDigits && strings.ContainsAny(s, "._-")
}

// Code returns the code of the refusal, if the body is JSON and the code is a plain word, or
// "". It may be the value of errorType, errorCode, code or error, or the end of the text in
// brackets. Each may also be a member of the object error.
func (e *StatusError) Code() string {
	var body any
	if Decode(e.Body, &body) != nil {
		return ""
	}
	return codeIn(body)
}

func codeIn(value any) string {
	body, _ := value.(map[string]any)
	for _, name := range []string{"errorType", "errorCode", "code", "error"} {
		text, _ := body[name].(string)
		if end := bracketEnd.FindStringSubmatch(text); end != nil {
			text = end[1]
		}
		if IsCode(text) {
			return text
		}
	}
	if inner, ok := body["error"].(map[string]any); ok {
		return codeIn(inner)
	}
	return ""
}
