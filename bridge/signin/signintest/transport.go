package signintest

import (
	"io"
	"net/http"
	"net/http/httptest"
)

// Transport carries requests to the issuer without a network, so that time in a
// synctest bubble passes while a test waits for nothing. Requests to any other
// host than the issuer's fail.
func (i *Issuer) Transport() http.RoundTripper { return inProcess{i} }

type inProcess struct{ issuer *Issuer }

func (p inProcess) RoundTrip(r *http.Request) (answer *http.Response, err error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	defer r.Body.Close()
	if r.URL.Scheme+"://"+r.URL.Host != origin(p.issuer.config.URL) {
		return nil, io.ErrUnexpectedEOF
	}
	asked := r.Clone(r.Context())
	asked.RequestURI = r.URL.RequestURI()
	asked.Host = r.URL.Host
	asked.RemoteAddr = "127.0.0.1:1"
	recorder := httptest.NewRecorder()
	// As net/http does where a handler breaks off.
	defer func() {
		if recover() != nil {
			if answer, err = nil, r.Context().Err(); err == nil {
				err = io.ErrUnexpectedEOF
			}
		}
	}()
	p.issuer.ServeHTTP(recorder, asked)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return recorder.Result(), nil
}
