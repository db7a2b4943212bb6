package slack

import (
	"io"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"
)

const (
	// maxAnswer is how much of an answer is read, in bytes.
	maxAnswer = 2 << 20

	minWait = time.Second
	maxWait = 120 * time.Second
	// blindWait is for a 429 that does not say when to come back.
	blindWait = 30 * time.Second
)

// careful is what slack-go's client leaves to its transport: it bounds answers,
// gives every 429 a Retry-After that is a number of seconds in bounds, and tells
// a request that was never sent from one that may have arrived.
type careful struct{ next http.RoundTripper }

func (t careful) RoundTrip(req *http.Request) (*http.Response, error) {
	var sent atomic.Bool
	if req.Body != nil && req.Body != http.NoBody {
		out := req.Clone(req.Context())
		out.Body = noted{req.Body, &sent}
		if again := req.GetBody; again != nil {
			out.GetBody = func() (io.ReadCloser, error) {
				body, err := again()
				return noted{body, &sent}, err
			}
		}
		req = out
	}
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		if !sent.Load() {
			err = &unsentError{err}
		}
		return nil, err
	}
	if resp.StatusCode == http.StatusTooManyRequests {
		resp.Header.Set("Retry-After", strconv.Itoa(int(retryAfter(resp.Header)/time.Second)))
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	return resp, nil
}

// noted notes whether anybody read a request's body. A transport reads it when it
// writes to a connection, so one that failed to connect has not.
type noted struct {
	io.ReadCloser
	read *atomic.Bool
}

func (n noted) Read(p []byte) (int, error) {
	n.read.Store(true)
	return n.ReadCloser.Read(p)
}

// unsentError means that nothing of a request reached the service.
type unsentError struct{ error }

func (e *unsentError) Unwrap() error { return e.error }

func retryAfter(h http.Header) time.Duration {
	s, err := strconv.Atoi(h.Get("Retry-After"))
	switch {
	case err != nil:
		return blindWait
	case s > int(maxWait/time.Second):
		return maxWait
	}
	return max(time.Duration(s)*time.Second, minWait)
}
