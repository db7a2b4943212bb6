package rest

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/sony/gobreaker/v2"
)

// A Counter keeps metrics of calls to services. It is an interface so that the tests of connectors need
// no library for metrics.
type Counter interface {
	// Transport returns a transport that counts the calls to a service.
	Transport(service string, next http.RoundTripper) http.RoundTripper
	// Breaker notes the state of the service's circuit breaker: closed, half-open or open.
	Breaker(service, state string)
	// Paused counts a call that the circuit breaker did not let through.
	Paused(service string)
}

type noCounter struct{}

func (noCounter) Transport(_ string, next http.RoundTripper) http.RoundTripper { return next }
func (noCounter) Breaker(string, string)                                       {}
func (noCounter) Paused(string)                                                {}

// Upstream returns a transport with a circuit breaker for the named service. After ten
// failures in a row it fails requests at once, so that agents do not wait for a timeout and
// jobs do not pile up. Every five seconds it lets one request through to test the service. It
// logs if the clocks of this machine and of the service differ, and each call at debug level. calls
// counts the requests; nil counts none.
func Upstream(name string, next http.RoundTripper, calls Counter, log *slog.Logger) http.RoundTripper {
	if calls == nil {
		calls = noCounter{}
	}
	calls.Breaker(name, gobreaker.StateClosed.String())
	next = calls.Transport(name, Logged(name, next, log))
	//nolint:bodyclose // this is a type parameter, no response is opened
	return &upstream{name: name, next: next, calls: calls, clock: &clockLog{service: name, log: log}, breaker: gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{
		Name:    name,
		Timeout: 5 * time.Second,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures >= 10
		},
		// A caller who cancelled says nothing about the service.
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(name string, _, to gobreaker.State) {
			calls.Breaker(name, to.String())
			switch to {
			case gobreaker.StateOpen:
				log.Warn("requests paused", "service", name, "cause", "ten requests in a row failed")
			case gobreaker.StateHalfOpen:
				log.Info("one request allowed as a test", "service", name)
			case gobreaker.StateClosed:
				log.Info("requests resumed", "service", name)
			}
		},
	})}
}

// ClockAhead returns how far this machine's clock is ahead of the service's. ok is false before the
// first answer with a date, and for a transport that Upstream did not make.
func ClockAhead(transport http.RoundTripper) (ahead time.Duration, ok bool) {
	u, ok := transport.(*upstream)
	if !ok {
		return 0, false
	}
	return u.clock.Ahead()
}

type upstream struct {
	name    string
	next    http.RoundTripper
	calls   Counter
	breaker *gobreaker.CircuitBreaker[*http.Response]
	last    atomic.Value // string: how the last request failed
	clock   *clockLog
}

var errStatus = errors.New("service failed")

func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	var answer *http.Response
	_, err := u.breaker.Execute(func() (*http.Response, error) {
		var err error
		sent := time.Now()
		if answer, err = u.next.RoundTrip(r); err != nil {
			if !errors.Is(err, context.Canceled) {
				u.last.Store(reason(err))
			}
			return nil, err
		}
		if answer.StatusCode >= 500 {
			u.last.Store(fmt.Sprintf("answered %d", answer.StatusCode))
			return nil, errStatus
		}
		u.clock.note(answer.Header, sent, time.Now())
		return answer, nil
	})
	if answer != nil {
		return answer, nil
	}
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		u.calls.Paused(u.name)
		last, _ := u.last.Load().(string)
		return nil, &PausedError{Last: last, cause: err}
	}
	return nil, err
}

// A PausedError means that a request was not sent, because the last ten had failed.
type PausedError struct {
	// Last is how the last request that was sent failed, such as "cannot resolve the host name".
	Last  string
	cause error
}

func (e *PausedError) Error() string {
	return "not sent, because ten requests in a row failed (the last: " + e.Last + ")"
}

func (e *PausedError) Unwrap() error { return e.cause }
