package bridge

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"time"

	"github.com/sony/gobreaker/v2"
)

// Upstream is the way out to one service. While the service is down it fails at
// once instead of after a timeout, so that agents are told quickly and a backlog
// of jobs does not pile up on it; every few seconds one request finds out
// whether the service is back.
func Upstream(name string, next http.RoundTripper, log *slog.Logger) http.RoundTripper {
	//nolint:bodyclose // nothing is opened here: the type only looks like an answer
	return &upstream{next, gobreaker.NewCircuitBreaker[*http.Response](gobreaker.Settings{
		Name:    name,
		Timeout: 5 * time.Second,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			return c.ConsecutiveFailures >= 10
		},
		// That a caller left says nothing about the service.
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(name string, _, to gobreaker.State) {
			log.Warn("way to service changed", "service", name, "state", to.String())
		},
	})}
}

type upstream struct {
	next    http.RoundTripper
	breaker *gobreaker.CircuitBreaker[*http.Response]
}

var errStatus = errors.New("service failed")

func (u *upstream) RoundTrip(r *http.Request) (*http.Response, error) {
	var answer *http.Response
	_, err := u.breaker.Execute(func() (*http.Response, error) {
		var err error
		if answer, err = u.next.RoundTrip(r); err != nil {
			return nil, err
		}
		if answer.StatusCode >= 500 {
			return nil, errStatus
		}
		return answer, nil
	})
	if answer != nil {
		return answer, nil
	}
	return nil, err
}
