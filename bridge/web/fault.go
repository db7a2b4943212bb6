package web

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

// The errors of handlers, besides those of Upscope. Their texts appear in logs, metrics and the
// audit log, and never on pages.
var (
	ErrNoPage      = errors.New("no such page")
	ErrMethod      = errors.New("method not allowed")
	errMisdirected = errors.New("wrong host name")

	ErrEncoded    = errors.New("body is compressed (Content-Encoding)")
	ErrTooLarge   = errors.New("body too large")
	ErrBody       = errors.New("body not received")
	ErrUnreadable = errors.New("unreadable delivery")
	ErrBusy       = errors.New("too many large deliveries at once")
	ErrSlow       = errors.New("body sent too slowly")
	ErrStore      = errors.New("store")

	ErrUnknown      = errors.New("link not found")
	ErrExpired      = errors.New("link has expired")
	ErrReplaced     = errors.New("a newer link was sent")
	ErrClosed       = errors.New("chat is over")
	ErrMoved        = errors.New("chat has another agent")
	ErrOtherBrowser = errors.New("card is bound to another browser")
	ErrThrottled    = errors.New("too many attempts")
	ErrGone         = errors.New("customer not found at Upscope")
	ErrNoChat       = errors.New("chat service gave no link into the conversation")
	errNoIdentity   = errors.New("the proxy sent no identity")
	ErrConnect      = errors.New("chat account of the card is not connected to an agent")
	ErrOtherAgent   = errors.New("card belongs to another agent")
	ErrTaken        = errors.New("chat account belongs to another agent")
	ErrPolicy       = errors.New("policy does not allow it")
)

// Refusals are the errors that are counted as refusals, by their text.
var Refusals = []error{
	ErrMoved, ErrThrottled, ErrPolicy, ErrTaken, ErrOtherAgent, ErrOtherBrowser, errPress, errOrigin, errCookies, errOldBrowser,
}

// StoreFault wraps an error of the store in ErrStore.
func StoreFault(err error) error { return fmt.Errorf("%w: %w", ErrStore, err) }

// OutcomeOfError returns the outcome of a delivery that was answered with err.
func OutcomeOfError(err error) metrics.DeliveryOutcome {
	switch {
	case errors.Is(err, chat.ErrForged):
		return metrics.DeliveryForged
	case errors.Is(err, ErrUnreadable):
		return metrics.DeliveryUnreadable
	case errors.Is(err, ErrBusy), errors.Is(err, ErrSlow):
		return metrics.DeliveryBusy
	case errors.Is(err, ErrStore):
		return metrics.DeliveryFailed
	}
	return metrics.DeliveryMalformed
}

// An errorResponse is the answer to an error: a status, a page if a person reads the answer, and a
// log line of level error if an operator can fix the cause.
type errorResponse struct {
	status int
	kind   templates.Kind
	// fault says that the cause is not the request, but the bridge, its configuration or another
	// service.
	fault bool
	wait  time.Duration
}

// errorResponses maps errors to answers. The first entry that matches decides.
var errorResponses = []struct {
	err error
	errorResponse
}{
	{ErrNoPage, errorResponse{status: http.StatusNotFound, kind: templates.KindNotFound}},
	{chat.ErrNoRoute, errorResponse{status: http.StatusNotFound, kind: templates.KindNotFound}},
	{ErrMethod, errorResponse{status: http.StatusMethodNotAllowed, kind: templates.KindMethod}},
	{errMisdirected, errorResponse{status: http.StatusMisdirectedRequest, kind: templates.KindMisdirected}},

	{chat.ErrForged, errorResponse{status: http.StatusUnauthorized}},
	{ErrEncoded, errorResponse{status: http.StatusUnsupportedMediaType}},
	{ErrTooLarge, errorResponse{status: http.StatusRequestEntityTooLarge}},
	{ErrBody, errorResponse{status: http.StatusBadRequest}},
	{ErrUnreadable, errorResponse{status: http.StatusBadRequest}},
	{ErrBusy, errorResponse{status: http.StatusServiceUnavailable, wait: 5 * time.Second}},
	{ErrSlow, errorResponse{status: http.StatusServiceUnavailable, wait: 5 * time.Second}},

	{ErrUnknown, errorResponse{status: http.StatusNotFound, kind: templates.KindUnknown}},
	{ErrExpired, errorResponse{status: http.StatusGone, kind: templates.KindExpired}},
	{ErrReplaced, errorResponse{status: http.StatusGone, kind: templates.KindReplaced}},
	{ErrClosed, errorResponse{status: http.StatusGone, kind: templates.KindClosed}},
	{ErrMoved, errorResponse{status: http.StatusGone, kind: templates.KindMoved}},
	{ErrOtherBrowser, errorResponse{status: http.StatusForbidden, kind: templates.KindElsewhere}},
	{ErrThrottled, errorResponse{status: http.StatusTooManyRequests, kind: templates.KindThrottled, wait: time.Minute}},
	{errPress, errorResponse{status: http.StatusForbidden, kind: templates.KindPress}},
	{errCookies, errorResponse{status: http.StatusForbidden, kind: templates.KindCookies}},
	{errOldBrowser, errorResponse{status: http.StatusForbidden, kind: templates.KindOldBrowser}},
	{ErrGone, errorResponse{status: http.StatusNotFound, kind: templates.KindVisitorGone}},

	{errNoIdentity, errorResponse{status: http.StatusForbidden, kind: templates.KindNobody}},
	{signin.ErrNobody, errorResponse{status: http.StatusUnauthorized, kind: templates.KindSignIn}},
	{signin.ErrSpoofed, errorResponse{status: http.StatusForbidden, kind: templates.KindNobody}},
	{signin.ErrHeaders, errorResponse{status: http.StatusForbidden, kind: templates.KindNobody, fault: true}},
	{signin.ErrIssuer, errorResponse{status: http.StatusServiceUnavailable, kind: templates.KindIssuerDown, fault: true, wait: 10 * time.Second}},
	{signin.ErrSetup, errorResponse{status: http.StatusServiceUnavailable, kind: templates.KindSignInSetup, fault: true}},
	{signin.ErrState, errorResponse{status: http.StatusBadRequest, kind: templates.KindStaleSignIn}},
	{signin.ErrDenied, errorResponse{status: http.StatusForbidden, kind: templates.KindDenied}},
	{signin.ErrDomain, errorResponse{status: http.StatusForbidden, kind: templates.KindDomain}},
	{signin.ErrGroupsLeftOut, errorResponse{status: http.StatusForbidden, kind: templates.KindGroupsLeftOut, fault: true}},
	{signin.ErrGroup, errorResponse{status: http.StatusForbidden, kind: templates.KindGroup}},
	{signin.ErrClock, errorResponse{status: http.StatusBadGateway, kind: templates.KindClock, fault: true}},
	{signin.ErrToken, errorResponse{status: http.StatusBadGateway, kind: templates.KindToken, fault: true}},
	{signin.ErrStore, errorResponse{status: http.StatusServiceUnavailable, kind: templates.KindStore, fault: true, wait: 5 * time.Second}},
	{ErrNoChat, errorResponse{status: http.StatusBadGateway, kind: templates.KindChatDown, fault: true, wait: 10 * time.Second}},
	{ErrOtherAgent, errorResponse{status: http.StatusForbidden, kind: templates.KindOther}},
	{ErrTaken, errorResponse{status: http.StatusForbidden, kind: templates.KindLinked}},
	{ErrPolicy, errorResponse{status: http.StatusForbidden, kind: templates.KindPolicy}},
	{errOrigin, errorResponse{status: http.StatusForbidden, kind: templates.KindCrossOrigin}},

	// An act whose audit entry cannot be written is not done. So an error of the store decides
	// before one of Upscope.
	{ErrAgain, errorResponse{status: http.StatusServiceUnavailable, kind: templates.KindAgain, wait: 5 * time.Second}},
	{ErrStore, errorResponse{status: http.StatusServiceUnavailable, kind: templates.KindStore, fault: true, wait: 5 * time.Second}},

	{upscope.ErrOverPlan, errorResponse{status: http.StatusPaymentRequired, kind: templates.KindOverPlan, fault: true}},
	{upscope.ErrUnauthorized, errorResponse{status: http.StatusBadGateway, kind: templates.KindUpscopeRefused, fault: true}},
	{upscope.ErrNotFound, errorResponse{status: http.StatusNotFound, kind: templates.KindVisitorGone}},
	{upscope.ErrUntrustedTarget, errorResponse{status: http.StatusBadGateway, kind: templates.KindUntrusted, fault: true}},
	{upscope.ErrExpired, errorResponse{status: http.StatusBadGateway, kind: templates.KindUpscopeDown, fault: true, wait: 5 * time.Second}},
	{upscope.ErrRateLimited, errorResponse{status: http.StatusServiceUnavailable, kind: templates.KindUpscopeDown, fault: true, wait: 30 * time.Second}},
	{upscope.ErrUpstream, errorResponse{status: http.StatusServiceUnavailable, kind: templates.KindUpscopeDown, fault: true, wait: 10 * time.Second}},
	{context.DeadlineExceeded, errorResponse{status: http.StatusServiceUnavailable, kind: templates.KindInternal, fault: true, wait: 10 * time.Second}},
}

// respond returns the answer to an error: status 500 if errorResponses has none.
func respond(err error) errorResponse {
	for _, v := range errorResponses {
		if errors.Is(err, v.err) {
			if wait, ok := RetryWait(err); ok {
				v.wait = wait
			}
			return v.errorResponse
		}
	}
	return errorResponse{status: http.StatusInternalServerError, kind: templates.KindInternal, fault: true}
}

// IsFault reports whether the cause of err is not the request, but the bridge, its configuration or
// another service.
func IsFault(err error) bool { return err != nil && respond(err).fault }

// WithNotice attaches to err what its page says besides the error, such as the agent's name and the
// next link. If err has a notice already, it stays. WithNotice(nil, notice) is nil.
func WithNotice(err error, notice templates.Notice) error {
	if _, has := errors.AsType[*noticeError](err); err == nil || has {
		return err
	}
	return &noticeError{err, notice}
}

// A noticeError is an error with the notice for its page.
type noticeError struct {
	err    error
	notice templates.Notice
}

func (e *noticeError) Error() string { return e.err.Error() }
func (e *noticeError) Unwrap() error { return e.err }

// A sendFault wraps an error that occurred while an answer was being sent.
type sendFault struct{ error }

// SendFault marks err as an error of sending an answer: the client is gone, and no other answer
// can be sent. SendFault(nil) is nil.
func SendFault(err error) error {
	if err == nil {
		return nil
	}
	return sendFault{err}
}

// ClientLeft reports whether err only means that the client no longer waits.
func ClientLeft(err error) bool { return answerNotSent(err) || errors.Is(err, context.Canceled) }

// answerNotSent reports whether err is marked by SendFault.
func answerNotSent(err error) bool {
	_, gone := errors.AsType[sendFault](err)
	return gone
}

// ErrAgain means that another request or job has changed or locked the card meanwhile. The act has
// to start again.
var ErrAgain = errors.New("card changed meanwhile")

// RetryWait returns how long to wait before the next request, if the service that failed says so.
func RetryWait(err error) (time.Duration, bool) {
	if wait, ok := chat.RetryWait(err); ok {
		return wait, true
	}
	var e *upscope.Error
	if errors.As(err, &e) && errors.Is(err, upscope.ErrRateLimited) {
		return max(e.RetryAfter, time.Second), true
	}
	return 0, false
}

// Why a form does not count as a press.
var (
	errPress      = errors.New("not pressed by a person")
	errOrigin     = errors.New("sent by another site's page")
	errCookies    = errors.New("browser keeps no cookies")
	errOldBrowser = errors.New("browser sends no fetch metadata")
)
