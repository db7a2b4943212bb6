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

// Upstream returns a transport with a circuit breaker for the named service. After ten
// failures in a row it fails requests at once, so that agents do not wait for a timeout and
// jobs do not pile up. Every five seconds it lets one request through to test the service. It
// logs if the clocks of this machine and of the service differ, and each call at debug level.
func Upstream(name string, next http.RoundTripper, log *slog.Logger) http.RoundTripper {
	//nolint:bodyclose // this is a type parameter, no response is opened
	return &upstream{next: Logged(name, next, log), clock: &clockLog{service: name, log: log}, breaker: gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{
		Name:    name,
		Timeout: 5 * time.Second,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures >= 10
		},
		// A caller who cancelled says nothing about the service.
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(name string, _, to gobreaker.State) {
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

type upstream struct {
	next    http.RoundTripper
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
