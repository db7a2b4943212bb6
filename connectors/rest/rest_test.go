package rest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const token = "token-Ahf7seiy0Ei"

// service serves h below /prefix/ and returns a client for it. A request outside the prefix
// fails the test.
func service(t *testing.T, h http.HandlerFunc) *Client {
	t.Helper()
	mux := http.NewServeMux()
	mux.Handle("/prefix/", http.StripPrefix("/prefix", h))
	mux.HandleFunc("/", func(_ http.ResponseWriter, r *http.Request) { t.Errorf("%s is not below the prefix", r.URL.Path) })
	server := httptest.NewServer(mux)
	transport := NewTransport()
	t.Cleanup(func() { server.Close(); transport.CloseIdleConnections() })
	return client(t, server.URL+"/prefix", transport)
}

func client(t *testing.T, base string, rt http.RoundTripper) *Client {
	t.Helper()
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	c, err := New(Config{Base: u, Header: http.Header{"X-Auth-Token": {token}}, Transport: rt, MaxBody: 1000})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestACallCarriesPathQueryHeaderAndBody(t *testing.T) {
	t.Parallel()
	c := service(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Header().Set("X-Seen", "yes")
		fmt.Fprintf(w, `{"method":%q,"path":%q,"query":%q,"token":%q,"body":%q,"type":%q}`,
			r.Method, r.URL.Path, r.URL.RawQuery, r.Header.Get("X-Auth-Token"), body, r.Header.Get("Content-Type"))
	})
	var got struct{ Method, Path, Query, Token, Body, Type string }
	h, err := c.Get(t.Context(), "api/v1/rooms.info", url.Values{"roomId": {"a&b=c/../"}}, &got)
	if err != nil || got.Method != "GET" || got.Path != "/api/v1/rooms.info" || got.Query != "roomId=a%26b%3Dc%2F..%2F" || got.Token != token || h.Get("X-Seen") != "yes" {
		t.Errorf("GET: %+v, %v", got, err)
	}
	if _, err := c.Post(t.Context(), "api/v1/im.create", map[string]string{"username": "bob"}, &got); err != nil || got.Method != "POST" || got.Body != `{"username":"bob"}` || got.Type != "application/json" {
		t.Errorf("POST: %+v, %v", got, err)
	}
	if _, err := c.Get(t.Context(), "me", nil, nil); err != nil {
		t.Errorf("GET without out: %v", err)
	}
}

func TestARedirectIsNotFollowed(t *testing.T) {
	t.Parallel()
	elsewhere := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		t.Errorf("the redirect was followed, with the token %q", r.Header.Get("X-Auth-Token"))
	}))
	t.Cleanup(elsewhere.Close)
	for status := 300; status < 309; status++ {
		c := service(t, func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", elsewhere.URL)
			w.WriteHeader(status)
		})
		_, err := c.Get(t.Context(), "me", nil, nil)
		if se, ok := errors.AsType[*StatusError](err); !ok || se.Status != status {
			t.Errorf("%d: %v", status, err)
		}
	}
}

func TestAStatusErrorHasStatusHeaderAndBody(t *testing.T) {
	t.Parallel()
	c := service(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("X-RateLimit-Reset", "17")
		w.WriteHeader(429)
		io.WriteString(w, `{"error":"`+token+strings.Repeat("x", 100_000))
	})
	h, err := c.Get(t.Context(), "me", url.Values{"secret": {token}}, nil)
	se, ok := errors.AsType[*StatusError](err)
	if !ok || se.Status != 429 || se.Header.Get("X-RateLimit-Reset") != "17" || h.Get("X-RateLimit-Reset") != "17" || len(se.Body) != maxErrorBody {
		t.Fatalf("got %#v", err)
	}
	if err.Error() != "GET me: answered 429 Too Many Requests" {
		t.Errorf("got %q", err)
	}
}

func TestALongAnswerIsRefused(t *testing.T) {
	t.Parallel()
	for n, want := range map[int]error{900: nil, 2000: ErrTooLarge, 50 << 20: ErrTooLarge} {
		var sent atomic.Int64
		c := service(t, func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"a":"`)
			for i := 0; i < n; i += 100 {
				k, err := io.WriteString(w, strings.Repeat("x", 100))
				if sent.Add(int64(k)); err != nil {
					return
				}
			}
			io.WriteString(w, `"}`)
		})
		var out struct{ A string }
		if _, err := c.Get(t.Context(), "me", nil, &out); !errors.Is(err, want) {
			t.Errorf("%d bytes: %v", n, err)
		}
		if sent.Load() > 20<<20 {
			t.Errorf("%d bytes were read of an answer that is too large", sent.Load())
		}
	}
}

type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

func TestNoErrorHoldsTheAddressOrAToken(t *testing.T) {
	t.Parallel()
	secret := url.Values{"secret": {token}}
	for name, rt := range map[string]roundTripper{
		"an address error": func(r *http.Request) (*http.Response, error) {
			return nil, &url.Error{Op: "Get", URL: r.URL.String(), Err: syscall.ECONNREFUSED}
		},
		"an error that repeats a header": func(r *http.Request) (*http.Response, error) {
			return nil, fmt.Errorf("malformed HTTP response %q", r.Header.Get("X-Auth-Token"))
		},
		"a cut answer": func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(io.MultiReader(strings.NewReader(`{"a":`), fails(token)))}, nil
		},
		"an answer that is not JSON": func(*http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: 200, Body: io.NopCloser(strings.NewReader(token))}, nil
		},
	} {
		c := client(t, "https://chat.example.org", rt)
		_, err := c.Get(t.Context(), "me", secret, new(any))
		if err == nil {
			t.Errorf("%s: no error", name)
			continue
		}
		if text := fmt.Sprintf("%v %+v %#v", err, err, err); strings.Contains(text, token) {
			t.Errorf("%s: %s", name, text)
		}
	}
	c := client(t, "https://chat.example.org", roundTripper(func(*http.Request) (*http.Response, error) { return nil, syscall.ECONNREFUSED }))
	if _, err := c.Get(t.Context(), "me", nil, nil); !errors.Is(err, syscall.ECONNREFUSED) || err.Error() != "GET me: connection refused" {
		t.Errorf("the cause is lost: %v", err)
	}
}

type fails string

func (f fails) Read([]byte) (int, error) { return 0, errors.New(string(f)) }

func TestACallEndsWithItsTimeoutOrItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		c := client(t, "https://chat.example.org", roundTripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, r.Context().Err()
		}))
		begin := time.Now()
		_, err := c.Get(t.Context(), "me", nil, nil)
		if !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != defaultTimeout || err.Error() != "GET me: timed out" {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begin = time.Now()
		if _, err := c.Get(ctx, "me", nil, nil); !errors.Is(err, context.DeadlineExceeded) || time.Since(begin) != time.Second {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
		ctx, cancel = context.WithCancel(t.Context())
		cancel()
		if _, err := c.Get(ctx, "me", nil, nil); !errors.Is(err, context.Canceled) || err.Error() != "GET me: cancelled" {
			t.Errorf("cancelled: %v", err)
		}
	})
}

func TestPlainHTTPIsForLoopbackOnly(t *testing.T) {
	t.Parallel()
	for address, fit := range map[string]bool{
		"https://chat.example.org": true, "https://chat.example.org/a/b": true, "https://10.0.0.1:8443": true,
		"http://localhost:3000": true, "http://127.0.0.1": true, "http://127.9.9.9": true, "http://[::1]:3000/x": true,
		"http://chat.example.org": false, "http://10.0.0.1": false, "http://localhost.example.org": false, "http://127.0.0.1.example.org": false,
		"ftp://localhost": false, "https://": false, "chat.example.org": false, "https://u:p@chat.example.org": false,
		"https://chat.example.org?a=b": false, "https://chat.example.org#x": false, "": false,
	} {
		u, err := url.Parse(address)
		if err != nil {
			t.Fatal(err)
		}
		if err := CheckBase(u); (err == nil) != fit {
			t.Errorf("%s: %v", address, err)
		}
	}
	if CheckBase(nil) == nil {
		t.Error("a nil address is accepted")
	}
}

func TestConnectionsAreUsedAgain(t *testing.T) {
	t.Parallel()
	c := service(t, func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, `{}`) })
	var made atomic.Int32
	ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{GotConn: func(i httptrace.GotConnInfo) {
		if !i.Reused {
			made.Add(1)
		}
	}})
	for range 50 {
		if _, err := c.Get(ctx, "me", nil, nil); err != nil {
			t.Fatal(err)
		}
	}
	if n := made.Load(); n != 1 {
		t.Errorf("%d connections for 50 calls, one after the other", n)
	}
}

func TestJSONIsReadLoosely(t *testing.T) {
	t.Parallel()
	type answer struct {
		Name  string
		Count int
		List  []string
	}
	for in, want := range map[string]answer{
		`{"name":"a","count":2,"list":["x"],"more":{}}`: {"a", 2, []string{"x"}},
		`{"name":7,"count":2}`:                          {"", 2, nil},
		`{"name":null,"count":"2","list":{"0":"x"}}`:    {},
		`[]`: {}, `null`: {}, `"text"`: {},
	} {
		var got answer
		if err := Decode([]byte(in), &got); err != nil || fmt.Sprint(got) != fmt.Sprint(want) {
			t.Errorf("%s: %+v, %v", in, got, err)
		}
	}
	deep := func(n int) []byte { return []byte(strings.Repeat("[", n) + strings.Repeat("]", n)) }
	for in, want := range map[string]error{
		"": ErrNotJSON, "{": ErrNotJSON, "<html>": ErrNotJSON, `{} {}`: ErrNotJSON,
		string(deep(MaxDepth)): nil, string(deep(MaxDepth + 1)): ErrTooDeep, string(deep(100_000)): ErrTooDeep,
		`"` + strings.Repeat(`[\"`, 1000) + `"`: nil,
	} {
		if err := Decode([]byte(in), new(any)); !errors.Is(err, want) {
			t.Errorf("%.20s: %v, want %v", in, err, want)
		}
	}
}

func FuzzDecode(f *testing.F) {
	for _, s := range []string{`{"a":[1,"\"[",{}]}`, `[[[[`, `"\\"`, `{"name":1}`, ``} {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		err := Decode(data, &struct{ Name string }{})
		if valid := json.Valid(data); !valid && err == nil || valid && err != nil && !errors.Is(err, ErrTooDeep) {
			t.Fatalf("valid %v, error %v", valid, err)
		}
	})
}
