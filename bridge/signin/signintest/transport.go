package signintest

import (
	"cmp"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
)

// Transport passes requests to the issuer without a network, so that time in a synctest bubble
// can advance. Requests to another host fail.
func (i *Issuer) Transport() http.RoundTripper { return inProcess{i} }

type inProcess struct{ issuer *Issuer }

// RoundTrip calls the issuer's handler. If the handler panics, the request fails, as over a network.
func (p inProcess) RoundTrip(r *http.Request) (answer *http.Response, err error) {
	if r.Body == nil {
		r.Body = http.NoBody
	}
	defer r.Body.Close()
	if r.URL.Scheme+"://"+r.URL.Host != origin(p.issuer.config.URL) {
		return nil, errors.New("signintest: request to another host: " + r.URL.Host)
	}
	request := r.Clone(r.Context())
	request.RequestURI = r.URL.RequestURI()
	request.Host = r.URL.Host
	request.RemoteAddr = "127.0.0.1:1"
	recorder := httptest.NewRecorder()
	defer func() {
		if recover() != nil { // net/http breaks the connection then
			err = cmp.Or(r.Context().Err(), io.ErrUnexpectedEOF)
		}
	}()
	p.issuer.ServeHTTP(recorder, request)
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	return recorder.Result(), nil
}
