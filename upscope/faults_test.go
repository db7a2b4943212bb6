package upscope_test

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

func TestEveryFailureOfEveryCallIsClassified(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		fault upscopetest.Fault
		want  error
		// inBody is a fault in the body of a success. A call that reads no body does not notice it.
		inBody bool
		code   string
		after  time.Duration
	}{
		{name: "401 invalid_api_key", fault: upscopetest.Fault{Status: 401, Code: "invalid_api_key"}, want: upscope.ErrUnauthorized, code: "invalid_api_key"},
		{name: "401 no_subscription", fault: upscopetest.Fault{Status: 401, Code: "no_subscription"}, want: upscope.ErrUnauthorized, code: "no_subscription"},
		{name: "401 subscription_expired", fault: upscopetest.Fault{Status: 401, Code: "subscription_expired"}, want: upscope.ErrUnauthorized, code: "subscription_expired"},
		{name: "401 api_not_enabled", fault: upscopetest.Fault{Status: 401, Code: "api_not_enabled"}, want: upscope.ErrUnauthorized, code: "api_not_enabled"},
		{name: "401 please_contact_team", fault: upscopetest.Fault{Status: 401, Code: "please_contact_team"}, want: upscope.ErrUnauthorized, code: "please_contact_team"},
		{name: "401 with an unknown code", fault: upscopetest.Fault{Status: 401, Code: "some_new_word"}, want: upscope.ErrUnauthorized, code: "some_new_word"},
		{name: "401 with a text that is not a code", fault: upscopetest.Fault{Status: 401, Code: "Call +1 555!"}, want: upscope.ErrUnauthorized},
		{name: "401 with a long code", fault: upscopetest.Fault{Status: 401, Code: strings.Repeat("a", 41)}, want: upscope.ErrUnauthorized},
		{name: "401 without a body", fault: upscopetest.Fault{Status: 401}, want: upscope.ErrUnauthorized},
		{name: "401 with a long body", fault: upscopetest.Fault{Status: 401, Size: 5 << 20}, want: upscope.ErrUnauthorized},
		{name: "402", fault: upscopetest.Fault{Status: 402}, want: upscope.ErrOverPlan},
		{name: "402 in HTML", fault: upscopetest.Fault{Status: 402, Body: "<h1>Payment Required</h1>"}, want: upscope.ErrOverPlan},
		{name: "404", fault: upscopetest.Fault{Status: 404}, want: upscope.ErrNotFound},
		{name: "404 that says ok", fault: upscopetest.Fault{Status: 404, Body: `{"status":"ok","visitors":[]}`}, want: upscope.ErrNotFound},
		{name: "409", fault: upscopetest.Fault{Status: 409, Body: "{}"}, want: upscope.ErrVisitorOnline},
		{name: "429", fault: upscopetest.Fault{Status: 429}, want: upscope.ErrRateLimited},
		{name: "429 for 7 s", fault: upscopetest.Fault{Status: 429, RetryAfter: "7"}, want: upscope.ErrRateLimited, after: 7 * time.Second},
		{name: "429 until a date", fault: upscopetest.Fault{Status: 429, RetryAfter: "Wed, 21 Oct 2026 07:28:30 GMT", Header: http.Header{"Date": {"Wed, 21 Oct 2026 07:28:00 GMT"}}}, want: upscope.ErrRateLimited, after: 30 * time.Second},
		{name: "429 until a date in the past", fault: upscopetest.Fault{Status: 429, RetryAfter: "Wed, 21 Oct 2015 07:28:30 GMT"}, want: upscope.ErrRateLimited},
		{name: "429 for 10^9 s", fault: upscopetest.Fault{Status: 429, RetryAfter: "1000000000"}, want: upscope.ErrRateLimited, after: upscope.MaxRetryAfter},
		{name: "429 for 10^30 s", fault: upscopetest.Fault{Status: 429, RetryAfter: "1" + strings.Repeat("0", 30)}, want: upscope.ErrRateLimited, after: upscope.MaxRetryAfter},
		{name: "429 for nonsense", fault: upscopetest.Fault{Status: 429, RetryAfter: "soon"}, want: upscope.ErrRateLimited},
		{name: "500", fault: upscopetest.Fault{Status: 500, RetryAfter: "9"}, want: upscope.ErrUpstream},
		{name: "502 in HTML", fault: upscopetest.Fault{Status: 502, Body: "<html>Bad Gateway</html>"}, want: upscope.ErrUpstream},
		{name: "503", fault: upscopetest.Fault{Status: 503, RetryAfter: "9"}, want: upscope.ErrUpstream, after: 9 * time.Second},
		{name: "400", fault: upscopetest.Fault{Status: 400}, want: upscope.ErrUpstream},
		{name: "403", fault: upscopetest.Fault{Status: 403, Code: "blocked"}, want: upscope.ErrUpstream, code: "blocked"},
		{name: "422", fault: upscopetest.Fault{Status: 422}, want: upscope.ErrUpstream},
		{name: "304", fault: upscopetest.Fault{Status: 304}, want: upscope.ErrUpstream},
		{name: "dropped", fault: upscopetest.Fault{Drop: true}, want: upscope.ErrUpstream},
		{name: "truncated", fault: upscopetest.Fault{Truncate: true}, want: upscope.ErrUpstream, inBody: true},
		{name: "reset in the body", fault: upscopetest.Fault{Reset: true}, want: upscope.ErrUpstream, inBody: true},
		{name: "Content-Length too large", fault: upscopetest.Fault{ContentLength: 1 << 16}, want: upscope.ErrUpstream, inBody: true},
		{name: "Content-Length too small", fault: upscopetest.Fault{ContentLength: 5}, want: upscope.ErrUpstream, inBody: true},
		{name: "50 MB", fault: upscopetest.Fault{Size: 50 << 20}, want: upscope.ErrUpstream, inBody: true},
		{name: "50 MB of failure", fault: upscopetest.Fault{Status: 500, Size: 50 << 20}, want: upscope.ErrUpstream},
		{name: "nested 100,000 deep", fault: upscopetest.Fault{Depth: 100_000}, want: upscope.ErrUpstream, inBody: true},
		{name: "nested 65 deep", fault: upscopetest.Fault{Depth: 65}, want: upscope.ErrUpstream, inBody: true},
		{name: "wrong types", fault: upscopetest.Fault{WrongTypes: true}, want: upscope.ErrUpstream, inBody: true},
		{name: "names twice", fault: upscopetest.Fault{Duplicate: true}, want: upscope.ErrUpstream, inBody: true},
		{name: "an empty body", fault: upscopetest.Fault{Status: 200}, want: upscope.ErrUpstream, inBody: true},
		{name: "204", fault: upscopetest.Fault{Status: 204}, want: upscope.ErrUpstream, inBody: true},
		{name: "HTML with 200", fault: upscopetest.Fault{Status: 200, Body: "<html>Sign in to the Wi-Fi</html>"}, want: upscope.ErrUpstream, inBody: true},
		{name: "two JSON values", fault: upscopetest.Fault{Status: 200, Body: `{"usage":{}} {}`}, want: upscope.ErrUpstream, inBody: true},
		{name: "a JSON array", fault: upscopetest.Fault{Status: 200, Body: `[]`}, want: upscope.ErrUpstream, inBody: true},
	} {
		for _, call := range everyCall {
			t.Run(tt.name+"/"+call.name, func(t *testing.T) {
				t.Parallel()
				f := setup(t, upscopetest.Options{})
				populate(f)
				f.Fail(call.endpoint, tt.fault, -1)
				err := call.do(t.Context(), f)
				if tt.inBody && call.bodyless {
					if err != nil {
						t.Fatalf("status 200, but the call failed: %v", err)
					}
					return
				}
				e, ok := errors.AsType[*upscope.Error](err)
				if !ok || !errors.Is(err, tt.want) {
					t.Fatalf("got %v, want %v", err, tt.want)
				}
				if e.Code != tt.code || e.RetryAfter != tt.after || e.Op == "" {
					t.Errorf("%#v", e)
				}
				if tt.fault.Status != 0 && e.Status != tt.fault.Status {
					t.Errorf("status %d", e.Status)
				}
				for _, other := range []error{
					upscope.ErrUnauthorized, upscope.ErrOverPlan, upscope.ErrNotFound, upscope.ErrVisitorOnline,
					upscope.ErrRateLimited, upscope.ErrUpstream, upscope.ErrInvalid, context.Canceled, context.DeadlineExceeded,
				} {
					if !errors.Is(other, tt.want) && errors.Is(err, other) {
						t.Errorf("the error is also %v", other)
					}
				}
				if n := f.Requests()[call.endpoint]; n != 1 {
					t.Errorf("asked %d times", n)
				}
				f.Heal()
				if err := call.do(t.Context(), f); err != nil {
					t.Errorf("afterwards: %v", err)
				}
			})
		}
	}
}

func TestNullAnswers(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`null`, `{}`,
		`{"status":null,"usage":null,"visitors":null,"visitor":null,"watch_url":null,"expiration":null,"agent":null,"cobrowsing_sessions":null,"has_more":null,"last_id":null,"authorized":null,"token":null}`,
	} {
		f := setup(t, upscopetest.Options{})
		f.Fail(upscopetest.Any, upscopetest.Fault{Status: 200, Body: body}, -1)
		for _, call := range everyCall {
			err := call.do(t.Context(), f)
			switch call.endpoint {
			case upscopetest.List, upscopetest.Sessions: // an empty list
				if err != nil {
					t.Errorf("%s of %s: %v", call.name, body, err)
				}
			default:
				if !call.bodyless && !errors.Is(err, upscope.ErrUpstream) {
					t.Errorf("%s of %s: %v", call.name, body, err)
				}
			}
		}
	}
}

func TestAnUnknownKeyIsUnauthorized(t *testing.T) {
	t.Parallel()
	f := setup(t, upscopetest.Options{Key: "another"})
	for _, call := range everyCall {
		err := call.do(t.Context(), f)
		if e, ok := errors.AsType[*upscope.Error](err); !ok || !errors.Is(err, upscope.ErrUnauthorized) || e.Code != "invalid_api_key" {
			t.Errorf("%s: %v", call.name, err)
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	var elsewhere atomic.Int32
	foreign := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { elsewhere.Add(1) }))
	t.Cleanup(foreign.Close)
	f := setup(t, upscopetest.Options{})
	populate(f)
	for _, target := range []string{foreign.URL + "/v1.3/usage", f.url + "/v1.3/usage"} {
		for _, status := range []int{301, 302, 303, 307, 308} {
			f.Heal()
			f.Fail(upscopetest.Any, upscopetest.Fault{Status: status, RedirectTo: target}, -1)
			for _, call := range everyCall {
				before := len(f.Calls())
				if err := call.do(t.Context(), f); !errors.Is(err, upscope.ErrUpstream) {
					t.Errorf("%d of %s: %v", status, call.name, err)
				}
				if n := len(f.Calls()) - before; n != 1 {
					t.Errorf("%d of %s: %d requests", status, call.name, n)
				}
			}
		}
	}
	if n := elsewhere.Load(); n != 0 {
		t.Errorf("%d requests reached another host", n)
	}
}

func TestACancelledCallIsNotAnUpstreamFault(t *testing.T) {
	t.Parallel()
	for _, call := range everyCall {
		t.Run(call.name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, upscopetest.Options{})
			populate(f)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			// The caller cancels after the server has received the request.
			f.Fail(upscopetest.Any, upscopetest.Fault{Met: cancel, Hang: true}, -1)
			err := call.do(ctx, f)
			if !errors.Is(err, context.Canceled) || errors.Is(err, upscope.ErrUpstream) {
				t.Errorf("%v", err)
			}
		})
	}
}

func TestAContextThatHasEndedSendsNothing(t *testing.T) {
	t.Parallel()
	f := setup(t, upscopetest.Options{})
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for _, call := range everyCall {
		if err := call.do(ctx, f); !errors.Is(err, context.Canceled) {
			t.Errorf("%s: %v", call.name, err)
		}
	}
	late, cancel := context.WithDeadline(t.Context(), time.Now().Add(-time.Second))
	defer cancel()
	for _, call := range everyCall {
		err := call.do(late, f)
		if e, ok := errors.AsType[*upscope.Error](err); !ok || !errors.Is(err, context.DeadlineExceeded) || !errors.Is(err, upscope.ErrUpstream) || !e.Timeout() {
			t.Errorf("%s: %v", call.name, err)
		}
	}
	if n := len(f.Calls()); n != 0 {
		t.Errorf("%d requests", n)
	}
}

func TestRetryAfterIsReadInBothForms(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 10, 21, 7, 28, 0, 0, time.UTC)
	for value, want := range map[string]time.Duration{
		"": 0, "0": 0, "1": time.Second, " 120 ": 2 * time.Minute, "3600": time.Hour, "3601": time.Hour,
		"99999999999999999999": time.Hour, "-1": 0, "1.5": 0, "1e3": 0, "+5": 0, "٣": 0,
		"Wed, 21 Oct 2026 07:29:00 GMT":     time.Minute,
		"Wednesday, 21-Oct-26 07:29:00 GMT": time.Minute,
		"Wed Oct 21 07:29:00 2026":          time.Minute,
		"Wed, 21 Oct 2026 07:27:00 GMT":     0,
		"Fri, 31 Dec 9999 23:59:59 GMT":     time.Hour,
	} {
		if got := upscope.RetryAfter(value, now); got != want {
			t.Errorf("%q: %v, want %v", value, got, want)
		}
	}
}
