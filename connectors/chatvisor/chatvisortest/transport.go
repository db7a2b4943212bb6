package chatvisortest

import (
	"net/http"
	"net/http/httptest"
)

type transport struct{ http.Handler }

// Transport carries requests to a handler without a network.
func Transport(h http.Handler) http.RoundTripper { return transport{h} }

// RoundTrip implements http.RoundTripper.
func (t transport) RoundTrip(req *http.Request) (*http.Response, error) {
	in := req.Clone(req.Context())
	if in.Body == nil {
		in.Body = http.NoBody
	}
	rec := httptest.NewRecorder()
	t.ServeHTTP(rec, in)
	if err := req.Context().Err(); err != nil {
		return nil, err
	}
	resp := rec.Result()
	resp.Request = req
	return resp, nil
}
