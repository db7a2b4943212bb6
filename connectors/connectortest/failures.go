package connectortest

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/chat"
)

var errLost = errors.New("the connection was lost")

func (h Harness) failures(t *testing.T) {
	t.Run("no error contains a secret", h.hidesSecrets)
	t.Run("every status is classified", h.classifiesStatuses)
	t.Run("an unknown code is retried and named", h.retriesUnknownCodes)
	t.Run("a call ends with its context", h.endsWithContext)
}

func (h Harness) hidesSecrets(t *testing.T) {
	h.each(t, func(name string, n int, fresh func() (Service, *wire, call)) {
		for mishap, fault := range mishaps {
			s, w, c := fresh()
			w.at(n, fault)
			if err := c.do(t.Context()); err != nil {
				text := fmt.Sprintf("%v %+v %#v", err, err, err)
				leaks(t, fmt.Sprintf("%s, request %d, %s", name, n, mishap), text, append(s.Secrets, door))
			}
		}
	})
}

func (h Harness) classifiesStatuses(t *testing.T) {
	h.each(t, func(name string, n int, fresh func() (Service, *wire, call)) {
		for status := 200; status < 600; status++ {
			_, w, c := fresh()
			needed := true
			w.at(n, func(req *http.Request) (*http.Response, error) {
				needed = h.Optional == nil || !h.Optional(req)
				resp := respond(req, status, "text/html", "<html></html>")
				resp.Header.Set("Location", "https://elsewhere.example/") // for redirects
				return resp, nil
			})
			err := c.do(t.Context())
			if name == "Forward" && ((err == nil) != (status < 300) || w.requests() != n) {
				t.Errorf("Forward, %d: error %v after %d requests", status, err, w.requests())
			}
			if status < 300 || name == "Check" {
				continue
			}
			if err == nil {
				if status >= 400 && needed {
					t.Errorf("%s, request %d, %d: no error", name, n, status)
				}
				continue
			}
			if got, want := kindOf(err), kindWithoutCode(status); got != want {
				t.Errorf("%s, request %d, %d: kind %d of error, want %d (%v)", name, n, status, got, want, err)
			}
			if wait, ok := chat.RetryWait(err); ok && (wait <= 0 || wait > time.Hour) {
				t.Errorf("%s, request %d, %d: waits %v", name, n, status, wait)
			}
		}
	})
}

func (h Harness) retriesUnknownCodes(t *testing.T) {
	const code = "brand_new_word"
	h.each(t, func(name string, n int, fresh func() (Service, *wire, call)) {
		_, w, c := fresh()
		needed := true
		w.at(n, func(req *http.Request) (*http.Response, error) {
			needed = h.Optional == nil || !h.Optional(req)
			status, body := h.refusal(code)
			if name == "Forward" { // the receiver is another service
				status, body = Harness{}.refusal(code)
			}
			return respond(req, status, "application/json", body), nil
		})
		switch err := c.do(t.Context()); {
		case err == nil && needed:
			t.Errorf("%s, request %d: no error", name, n)
		case err == nil:
		case !strings.Contains(err.Error(), code):
			t.Errorf("%s, request %d: the code is not in %q", name, n, err)
		case kindOf(err) != retried:
			t.Errorf("%s, request %d: kind %d of error, want a retry (%v)", name, n, kindOf(err), err)
		}
	})
}

func (h Harness) endsWithContext(t *testing.T) {
	h.each(t, func(name string, n int, fresh func() (Service, *wire, call)) {
		_, w, c := fresh()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		w.at(n, func(req *http.Request) (*http.Response, error) {
			cancel()
			<-req.Context().Done()
			return nil, req.Context().Err()
		})
		if err := c.do(ctx); name != "Check" && !errors.Is(err, context.Canceled) {
			t.Errorf("%s, request %d: got %v, want the context's error", name, n, err)
		}
	})
}

// An errorKind says how the bridge handles an error.
type errorKind int

const (
	retried   errorKind = iota // without a mark
	permanent                  // marked with chat.Permanent
	delayed                    // marked with chat.RetryAfter
)

// kindWithoutCode returns the expected kind of error for an answer with a status and without a
// code. It is the same for every service.
func kindWithoutCode(status int) errorKind {
	switch status {
	case http.StatusTooManyRequests:
		return delayed
	case http.StatusRequestEntityTooLarge, http.StatusRequestURITooLong, http.StatusUnsupportedMediaType, http.StatusRequestHeaderFieldsTooLarge:
		return permanent
	}
	return retried
}

func kindOf(err error) errorKind {
	if _, ok := chat.RetryWait(err); ok {
		return delayed
	}
	if chat.IsPermanent(err) {
		return permanent
	}
	return retried
}

// each calls f for every capability and each request that it makes. fresh returns a new
// service on which the capability was not called yet.
func (h Harness) each(t *testing.T, f func(name string, n int, fresh func() (Service, *wire, call))) {
	t.Helper()
	var probe wire
	for k, c := range h.New(t, probe.wrap).calls() {
		c.ready(t)
		probe.set(nil)
		if err := c.do(t.Context()); err != nil {
			t.Fatalf("%s fails without a fault: %v", c.name, err)
		}
		for n := 1; n <= probe.requests(); n++ {
			f(c.name, n, func() (Service, *wire, call) {
				w := new(wire)
				s := h.New(t, w.wrap)
				c := s.calls()[k]
				c.ready(t)
				return s, w, c
			})
		}
	}
}

func (c call) ready(t *testing.T) {
	t.Helper()
	if c.prepare == nil {
		return
	}
	if err := c.prepare(t.Context()); err != nil {
		t.Fatalf("%s cannot be prepared: %v", c.name, err)
	}
}

// mishaps are failures of a request that could put parts of it into an error.
var mishaps = map[string]func(*http.Request) (*http.Response, error){
	"the connection breaks": func(req *http.Request) (*http.Response, error) {
		return nil, fmt.Errorf("write %s: broken: %s", req.URL, dump(req))
	},
	"the address is in the error": func(req *http.Request) (*http.Response, error) {
		return nil, &url.Error{Op: req.Method, URL: req.URL.String(), Err: errors.New(dump(req))}
	},
	"the answer ends half-way": func(req *http.Request) (*http.Response, error) {
		resp := respond(req, http.StatusOK, "application/json", "")
		resp.Body = io.NopCloser(io.MultiReader(strings.NewReader(`{"success":`), broken{dump(req)}))
		return resp, nil
	},
	"the service repeats the request": func(req *http.Request) (*http.Response, error) {
		return respond(req, http.StatusInternalServerError, "text/plain", dump(req)), nil
	},
	"the service refuses and repeats the request": func(req *http.Request) (*http.Response, error) {
		return respond(req, http.StatusBadRequest, "application/json", fmt.Sprintf(`{"ok":false,"success":false,"error":%q,"message":%[1]q}`, dump(req))), nil
	},
	"the answer is not JSON": func(req *http.Request) (*http.Response, error) {
		return respond(req, http.StatusOK, "application/json", dump(req)), nil
	},
	"a redirect has the request in its address": func(req *http.Request) (*http.Response, error) {
		resp := respond(req, http.StatusFound, "text/html", "")
		resp.Header.Set("Location", "https://evil.example/?"+url.QueryEscape(dump(req)))
		return resp, nil
	},
}

func dump(req *http.Request) string {
	var body []byte
	if req.Body != nil {
		body, _ = io.ReadAll(req.Body)
	}
	head, _ := httputil.DumpRequestOut(req.Clone(context.Background()), false)
	for k, v := range req.Header {
		head = fmt.Appendf(head, "%s: %s\n", k, v)
	}
	return string(bytes.Join([][]byte{head, body}, nil))
}

type broken struct{ text string }

func (b broken) Read([]byte) (int, error) { return 0, errors.New(b.text) }

func respond(req *http.Request, status int, kind, body string) *http.Response {
	return &http.Response{
		Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{"Content-Type": {kind}}, Request: req,
		Body: io.NopCloser(strings.NewReader(body)), ContentLength: int64(len(body)),
	}
}
