package slack

import (
	"io"
	"net/http"
	"path"
	"strconv"
	"sync/atomic"
	"time"

	"cobrowse-bridge/bridge/requestid"
	"cobrowse-bridge/connectors/rest"
)

// maxAnswer is how many bytes of an answer are read.
const maxAnswer = 2 << 20

// careful is a transport that does what slack-go's client does not: it limits the size of
// answers, gives every 429 a valid Retry-After in seconds, learns Slack's time, and returns an
// *unsentError if nothing of the request was sent.
type careful struct {
	next  http.RoundTripper
	clock *rest.Clock // of Slack
}

func (t careful) RoundTrip(req *http.Request) (*http.Response, error) {
	if ctx := req.Context(); requestid.Route(ctx) == "" {
		req = req.WithContext(requestid.WithRoute(ctx, path.Base(req.URL.Path))) // a method of the Web API
	}
	var sent atomic.Bool
	if req.Body != nil && req.Body != http.NoBody {
		out := req.Clone(req.Context())
		out.Body = markingBody{req.Body, &sent}
		if again := req.GetBody; again != nil {
			out.GetBody = func() (io.ReadCloser, error) {
				body, err := again()
				return markingBody{body, &sent}, err
			}
		}
		req = out
	}
	began := time.Now()
	resp, err := t.next.RoundTrip(req)
	if err != nil {
		if !sent.Load() {
			err = &unsentError{err}
		}
		return nil, err
	}
	t.clock.Note(resp.Header, began, time.Now())
	if resp.StatusCode == http.StatusTooManyRequests {
		resp.Header.Set("Retry-After", strconv.Itoa(int(retryAfter(resp.Header)/time.Second)))
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.LimitReader(resp.Body, maxAnswer), resp.Body}
	return resp, nil
}

// markingBody sets read when the body of a request is read. A transport reads it only when it
// writes to a connection, so after a failure to connect read is false.
type markingBody struct {
	io.ReadCloser
	read *atomic.Bool
}

func (b markingBody) Read(p []byte) (int, error) {
	b.read.Store(true)
	return b.ReadCloser.Read(p)
}

// unsentError means that nothing of a request reached the service.
type unsentError struct{ error }

func (e *unsentError) Unwrap() error { return e.error }

// retryAfter is the pause after a 429, in whole seconds.
func retryAfter(h http.Header) time.Duration {
	wait, _ := rest.RetryAfter(h, time.Now(), rest.MaxWait)
	return (wait + time.Second - 1).Truncate(time.Second)
}
