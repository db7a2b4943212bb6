package bridge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"cobrowse-bridge/bridge/signin"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope"
)

// What a handler can run into, besides the errors of Upscope. People never see
// their texts.
var (
	errNoPage      = errors.New("no such page")
	errMethod      = errors.New("method not allowed")
	errMisdirected = errors.New("not our host name")

	errEncoded    = errors.New("encoded body")
	errTooLarge   = errors.New("body too large")
	errBody       = errors.New("body did not arrive")
	errUnreadable = errors.New("unreadable delivery")
	errBusy       = errors.New("too many large deliveries at once")
	errStore      = errors.New("store")

	errUnknown   = errors.New("no such door")
	errExpired   = errors.New("door has expired")
	errReplaced  = errors.New("a newer door was sent")
	errClosed    = errors.New("chat is over")
	errMoved     = errors.New("chat has another agent")
	errElsewhere = errors.New("door belongs to another browser")
	errThrottled = errors.New("too many attempts")
	errGone      = errors.New("visitor is gone")
	errNoChat    = errors.New("chat service gave no way into the conversation")
	errNobody    = errors.New("the proxy did not say who asks")
	errConnect   = errors.New("card belongs to an account that nobody has claimed")
	errOther     = errors.New("card belongs to another agent")
	errTaken     = errors.New("chat account belongs to another agent")
	errPolicy    = errors.New("policy does not allow it")
)

// storeFault marks a failure of the store, which stops whatever is to be recorded.
func storeFault(err error) error { return fmt.Errorf("%w: %w", errStore, err) }

// A verdict is how an error is answered: with a status, with a page where a
// person reads the answer, and with a line in the log where an operator can do
// something about the cause.
type verdict struct {
	status int
	kind   templates.Kind
	// fault says that the cause is the bridge, its configuration, or a service
	// behind it, rather than the request.
	fault bool
	wait  time.Duration
}

// verdicts maps errors to answers. The first that fits decides.
var verdicts = []struct {
	err error
	verdict
}{
	{errNoPage, verdict{status: http.StatusNotFound, kind: templates.KindNotFound}},
	{ErrNoRoute, verdict{status: http.StatusNotFound, kind: templates.KindNotFound}},
	{errMethod, verdict{status: http.StatusMethodNotAllowed, kind: templates.KindMethod}},
	{errMisdirected, verdict{status: http.StatusMisdirectedRequest, kind: templates.KindMisdirected}},

	{ErrForged, verdict{status: http.StatusUnauthorized}},
	{errEncoded, verdict{status: http.StatusUnsupportedMediaType}},
	{errTooLarge, verdict{status: http.StatusRequestEntityTooLarge}},
	{errBody, verdict{status: http.StatusBadRequest}},
	{errUnreadable, verdict{status: http.StatusBadRequest}},
	{errBusy, verdict{status: http.StatusServiceUnavailable, wait: 5 * time.Second}},

	{errUnknown, verdict{status: http.StatusNotFound, kind: templates.KindUnknown}},
	{errExpired, verdict{status: http.StatusGone, kind: templates.KindExpired}},
	{errReplaced, verdict{status: http.StatusGone, kind: templates.KindReplaced}},
	{errClosed, verdict{status: http.StatusGone, kind: templates.KindClosed}},
	{errMoved, verdict{status: http.StatusGone, kind: templates.KindMoved}},
	{errElsewhere, verdict{status: http.StatusForbidden, kind: templates.KindElsewhere}},
	{errThrottled, verdict{status: http.StatusTooManyRequests, kind: templates.KindThrottled, wait: time.Minute}},
	{errPress, verdict{status: http.StatusForbidden, kind: templates.KindPress}},
	{errCookies, verdict{status: http.StatusForbidden, kind: templates.KindCookies}},
	{errOldBrowser, verdict{status: http.StatusForbidden, kind: templates.KindOldBrowser}},
	{errGone, verdict{status: http.StatusNotFound, kind: templates.KindVisitorGone}},

	{errNobody, verdict{status: http.StatusForbidden, kind: templates.KindNobody}},
	{signin.ErrNobody, verdict{status: http.StatusUnauthorized, kind: templates.KindSignIn}},
	{signin.ErrSpoofed, verdict{status: http.StatusForbidden, kind: templates.KindNobody}},
	{signin.ErrHeaders, verdict{status: http.StatusForbidden, kind: templates.KindNobody, fault: true}},
	{signin.ErrIssuer, verdict{status: http.StatusServiceUnavailable, kind: templates.KindIssuerDown, fault: true, wait: 10 * time.Second}},
	{signin.ErrState, verdict{status: http.StatusBadRequest, kind: templates.KindStaleSignIn}},
	{signin.ErrDenied, verdict{status: http.StatusForbidden, kind: templates.KindDenied}},
	{signin.ErrDomain, verdict{status: http.StatusForbidden, kind: templates.KindDomain}},
	{signin.ErrGroup, verdict{status: http.StatusForbidden, kind: templates.KindGroup}},
	{signin.ErrClock, verdict{status: http.StatusBadGateway, kind: templates.KindClock, fault: true}},
	{signin.ErrToken, verdict{status: http.StatusBadGateway, kind: templates.KindToken, fault: true}},
	{signin.ErrStore, verdict{status: http.StatusServiceUnavailable, kind: templates.KindStore, fault: true, wait: 5 * time.Second}},
	{errNoChat, verdict{status: http.StatusBadGateway, kind: templates.KindChatDown, fault: true, wait: 10 * time.Second}},
	{errOther, verdict{status: http.StatusForbidden, kind: templates.KindOther}},
	{errTaken, verdict{status: http.StatusForbidden, kind: templates.KindLinked}},
	{errPolicy, verdict{status: http.StatusForbidden, kind: templates.KindPolicy}},
	{errOrigin, verdict{status: http.StatusForbidden, kind: templates.KindCrossOrigin}},

	// A record that cannot be written stops the act, so the store comes before
	// what the act would have met.
	{errAgain, verdict{status: http.StatusServiceUnavailable, kind: templates.KindStore, wait: 5 * time.Second}},
	{errStore, verdict{status: http.StatusServiceUnavailable, kind: templates.KindStore, fault: true, wait: 5 * time.Second}},

	{upscope.ErrOverPlan, verdict{status: http.StatusPaymentRequired, kind: templates.KindOverPlan, fault: true}},
	{upscope.ErrUnauthorized, verdict{status: http.StatusBadGateway, kind: templates.KindUpscopeRefused, fault: true}},
	{upscope.ErrNotFound, verdict{status: http.StatusNotFound, kind: templates.KindVisitorGone}},
	{upscope.ErrUntrustedTarget, verdict{status: http.StatusBadGateway, kind: templates.KindUntrusted, fault: true}},
	{upscope.ErrExpired, verdict{status: http.StatusBadGateway, kind: templates.KindUpscopeDown, fault: true, wait: 5 * time.Second}},
	{upscope.ErrRateLimited, verdict{status: http.StatusServiceUnavailable, kind: templates.KindUpscopeDown, fault: true, wait: 30 * time.Second}},
	{upscope.ErrUpstream, verdict{status: http.StatusServiceUnavailable, kind: templates.KindUpscopeDown, fault: true, wait: 10 * time.Second}},
	{context.DeadlineExceeded, verdict{status: http.StatusServiceUnavailable, kind: templates.KindUpscopeDown, fault: true, wait: 10 * time.Second}},
}

func judge(err error) verdict {
	for _, v := range verdicts {
		if errors.Is(err, v.err) {
			if wait, ok := retryWait(err); ok {
				v.wait = wait
			}
			return v.verdict
		}
	}
	return verdict{status: http.StatusInternalServerError, kind: templates.KindInternal, fault: true}
}
