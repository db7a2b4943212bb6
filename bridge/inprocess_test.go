package bridge

import (
	"io"
	"net/http"
	"net/http/httptest"
)

// inProcess carries requests to a handler without a network, so that time in a
// synctest bubble passes while a test waits for nothing.
type inProcess struct{ handler http.Handler }

func (p inProcess) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.RequestURI = r.URL.RequestURI()
	r.Host = r.URL.Host
	r.RemoteAddr = "127.0.0.1:1"
	if r.Body == nil {
		r.Body = http.NoBody
	}
	answer := httptest.NewRecorder()
	aborted := make(chan bool, 1)
	go func() {
		defer func() { aborted <- recover() != nil }()
		p.handler.ServeHTTP(answer, r)
	}()
	if <-aborted {
		return nil, io.ErrUnexpectedEOF
	}
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return answer.Result(), nil
}
