package upscope_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

func TestConfigurationIsCheckedBeforeAnythingIsSent(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name string
		c    upscope.Config
		ok   bool
	}{
		{"defaults", upscope.Config{Key: key}, true},
		{"https with a prefix", upscope.Config{URL: "https://proxy.example/upscope/", Key: key}, true},
		{"v1.2", upscope.Config{Version: "v1.2", Key: key}, true},
		{"v1.4", upscope.Config{Version: "v1.4", Key: key}, true},
		{"http on 127.0.0.1", upscope.Config{URL: "http://127.0.0.1:99", Key: key}, true},
		{"http on ::1", upscope.Config{URL: "http://[::1]:99", Key: key}, true},
		{"http on localhost", upscope.Config{URL: "http://localhost", Key: key}, true},
		{"no key", upscope.Config{}, false},
		{"key with a line break", upscope.Config{Key: "CANARY\nkey"}, false},
		{"key with a blank at the end", upscope.Config{Key: "CANARY "}, false},
		{"key outside ASCII", upscope.Config{Key: "CANARYé"}, false},
		{"http elsewhere", upscope.Config{URL: "http://CANARY.example", Key: key}, false},
		{"http on a name that begins like loopback", upscope.Config{URL: "http://127.0.0.1.CANARY.example", Key: key}, false},
		{"no scheme", upscope.Config{URL: "CANARY.example", Key: key}, false},
		{"other scheme", upscope.Config{URL: "ftp://CANARY.example", Key: key}, false},
		{"no host", upscope.Config{URL: "https:///CANARY", Key: key}, false},
		{"password", upscope.Config{URL: "https://u:CANARY@api.example", Key: key}, false},
		{"query", upscope.Config{URL: "https://api.example?CANARY", Key: key}, false},
		{"empty query", upscope.Config{URL: "https://api.example?", Key: key}, false},
		{"fragment", upscope.Config{URL: "https://api.example#CANARY", Key: key}, false},
		{"unparseable", upscope.Config{URL: "https://CANARY\x7f", Key: key}, false},
		{"v1.1", upscope.Config{Version: "v1.1", Key: key}, false},
		{"version without v", upscope.Config{Version: "1.3", Key: key}, false},
		{"version with a path", upscope.Config{Version: "v1.3/../CANARY", Key: key}, false},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			_, err := upscope.New(tt.c)
			_, err2 := upscope.NewEraser(tt.c)
			if (err == nil) != tt.ok || (err2 == nil) != tt.ok {
				t.Fatalf("New: %v, NewEraser: %v; want success: %v", err, err2, tt.ok)
			}
			if err != nil && strings.Contains(err.Error(), "CANARY") {
				t.Errorf("the error quotes the configuration: %v", err)
			}
		})
	}
}

func TestEveryCallSucceedsBelowAPathPrefix(t *testing.T) {
	t.Parallel()
	for _, call := range everyCall {
		t.Run(call.name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, upscopetest.Options{})
			populate(f)
			if err := call.do(t.Context(), f); err != nil {
				t.Fatal(err)
			}
			if n := f.Requests()[call.endpoint]; n != 1 || len(f.Calls()) != 1 {
				t.Errorf("asked %s %d times, of %d calls", call.endpoint, n, len(f.Calls()))
			}
		})
	}
}

func TestRequestsAreWrittenAsDocumented(t *testing.T) {
	t.Parallel()
	f := setup(t, upscopetest.Options{})
	populate(f)
	for _, call := range everyCall {
		if err := call.do(t.Context(), f); err != nil {
			t.Fatalf("%s: %v", call.name, err)
		}
	}
	want := []string{
		"GET /v1.3/usage",
		"GET /v1.3/list?max_results=10&search=integration_id%3Arocketchat%3A" + ownKey,
		"GET /v1.3/list?max_results=10",
		"GET /v1.3/visitors/canaryid",
		"POST /v1.3/visitors/canaryid/watch_url",
		"DELETE /v1.3/visitors/canaryid/session",
		"GET /v1.3/agents/lookup?email=dana%40example.com",
		"GET /v1.3/agents/lookup?external_id=slack%3AT1%2FCANARYagent",
		"GET /v1.3/cobrowsing_sessions/list",
		"POST /v1.3/onpremise/token",
		"DELETE /v1.3/visitors/Gone1234",
		"DELETE /v1.3/visitors?all=true",
	}
	var got []string
	for _, c := range f.Calls() {
		got = append(got, c.Method+" "+c.RequestURI)
	}
	if !slices.Equal(got, want) {
		t.Errorf("got\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

func TestTheKeyIsSentInTheHeaderOfTheVersion(t *testing.T) {
	t.Parallel()
	for version, want := range map[string][2]string{
		"v1.2": {key, ""}, "v1.3": {key, ""}, "v1.4": {"", "Bearer " + key}, "v1.10": {"", "Bearer " + key},
	} {
		a := &fixedAnswer{body: `{"usage":{}}`}
		client, _ := clients(t, upscope.Config{Version: version, Key: key, Transport: a})
		if _, err := client.Usage(t.Context()); err != nil {
			t.Fatal(err)
		}
		got := [2]string{a.last.Header.Get("X-Api-Key"), a.last.Header.Get("Authorization")}
		if got != want || a.last.URL.String() != "https://api.upscope.io/"+version+"/usage" {
			t.Errorf("%s: %s with %q", version, a.last.URL, got)
		}
	}
}

func TestUsageCounts(t *testing.T) {
	t.Parallel()
	a := &fixedAnswer{body: `{"status":"ok","usage":{"agents":{"last_30_days":10,"today":1},
		"session_counts":{"last_30_days":20,"now":2,"today":3},"session_seconds":{"last_30_days":5000,"today":4},
		"visitors":{"last_24_hrs":50000,"online_now":400}}}`}
	client, _ := clients(t, upscope.Config{Key: key, Transport: a})
	u, err := client.Usage(t.Context())
	if got := fmt.Sprint(u); err != nil || got != "{{10 1} {20 2 3} {5000 4} {50000 400}}" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestShortIDsThatCouldChangeAPathAreRefused(t *testing.T) {
	t.Parallel()
	f := setup(t, upscopetest.Options{})
	for _, id := range []string{
		"", ".", "..", "../../visitors?all=true", "a/b", "a b", "a%2fb", "a?all=true", "a#b", "a\x00", "ä", "a.json",
		"a\n", strings.Repeat("a", 65),
	} {
		_, err1 := f.client.Visitor(t.Context(), id)
		_, err2 := f.client.Watch(t.Context(), id, watchRequest())
		_, err3 := f.client.AuthorizeOnPremise(t.Context(), id, upscope.Agent{ID: "a", Name: "b"})
		for _, err := range []error{
			err1, err2, err3, f.client.StopSession(t.Context(), id), f.eraser.DeleteVisitor(t.Context(), id),
		} {
			if !errors.Is(err, upscope.ErrInvalid) {
				t.Errorf("%q: %v", id, err)
			}
		}
		if upscope.ValidShortID(id) {
			t.Errorf("%q is called valid", id)
		}
	}
	if n := len(f.Calls()); n != 0 {
		t.Errorf("%d requests were sent", n)
	}
}

func TestErasingAllVisitorsNeedsTheConfirmation(t *testing.T) {
	t.Parallel()
	f := setup(t, upscopetest.Options{})
	populate(f)
	var zero upscope.Confirmation
	for _, c := range []upscope.Confirmation{zero, "yes", "Delete all offline visitors", "delete all offline visitors "} {
		if err := f.eraser.DeleteAllOfflineVisitors(t.Context(), c); !errors.Is(err, upscope.ErrInvalid) {
			t.Errorf("%q: %v", c, err)
		}
	}
	if n := len(f.Calls()); n != 0 {
		t.Fatalf("%d requests were sent", n)
	}
	if err := f.eraser.DeleteAllOfflineVisitors(t.Context(), upscope.AllOfflineVisitors); err != nil {
		t.Fatal(err)
	}
	if _, err := f.client.Visitor(t.Context(), offlineID); !errors.Is(err, upscope.ErrNotFound) {
		t.Errorf("the offline visitor: %v", err)
	}
	if _, err := f.client.Visitor(t.Context(), onlineID); err != nil {
		t.Errorf("the online visitor: %v", err)
	}
}

func TestAnOnlineVisitorIsNotErased(t *testing.T) {
	t.Parallel()
	f := setup(t, upscopetest.Options{})
	populate(f)
	if err := f.eraser.DeleteVisitor(t.Context(), onlineID); !errors.Is(err, upscope.ErrVisitorOnline) {
		t.Errorf("online: %v", err)
	}
	f.Go(onlineID)
	if err := f.eraser.DeleteVisitor(t.Context(), onlineID); err != nil {
		t.Errorf("offline: %v", err)
	}
	if err := f.eraser.DeleteVisitor(t.Context(), onlineID); !errors.Is(err, upscope.ErrNotFound) {
		t.Errorf("erased: %v", err)
	}
}

func TestStopSessionEndsIt(t *testing.T) {
	t.Parallel()
	f := setup(t, upscopetest.Options{})
	populate(f)
	if _, err := f.client.Watch(t.Context(), onlineID, watchRequest()); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open(f.Watches()[0]); err != nil {
		t.Fatal(err)
	}
	if v, err := f.client.Visitor(t.Context(), onlineID); err != nil || !v.IsInSession {
		t.Fatalf("in session: %v, %v", v.IsInSession, err)
	}
	if err := f.client.StopSession(t.Context(), onlineID); err != nil {
		t.Fatal(err)
	}
	v, err := f.client.Visitor(t.Context(), onlineID)
	if err != nil || v.IsInSession || len(v.Sessions) != 1 || v.Sessions[0].EndedAt.IsZero() {
		t.Errorf("after stopping: %+v, %v", v, err)
	}
}

func TestThePlainTextAnswerOfOlderVersionsIsSuccess(t *testing.T) {
	t.Parallel()
	client, _ := clients(t, upscope.Config{Key: key, Transport: &fixedAnswer{body: "ok"}})
	if err := client.StopSession(t.Context(), "AB12"); err != nil {
		t.Error(err)
	}
}

func TestAgentsAreLookedUpByEmailOrExternalID(t *testing.T) {
	t.Parallel()
	f := setup(t, upscopetest.Options{})
	populate(f)
	if _, err := f.client.Watch(t.Context(), onlineID, upscope.WatchRequest{Agent: upscope.Agent{ID: "slack:T1/U2", Name: "Ed"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open(f.Watches()[0]); err != nil {
		t.Fatal(err)
	}
	a, err := f.client.AgentByExternalID(t.Context(), "slack:T1/U2")
	if err != nil || !strings.HasPrefix(a.ID, "ea_") || a.ExternalID != "slack:T1/U2" || a.Name != "Ed" || a.Email != "" || len(a.Sessions) != 1 {
		t.Errorf("%+v, %v", a, err)
	}
	a, err = f.client.AgentByEmail(t.Context(), "dana@example.com")
	if err != nil || !strings.HasPrefix(a.ID, "u_") || a.Email != "dana@example.com" {
		t.Errorf("%+v, %v", a, err)
	}
	if _, err = f.client.AgentByEmail(t.Context(), "nobody@example.com"); !errors.Is(err, upscope.ErrNotFound) {
		t.Errorf("unknown: %v", err)
	}
	for _, bad := range []string{"", "a@b@example.com", "a b@example.com", "example.com"} {
		if _, err := f.client.AgentByEmail(t.Context(), bad); !errors.Is(err, upscope.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
	for _, bad := range []string{"", "a\nb", strings.Repeat("a", 257)} {
		if _, err := f.client.AgentByExternalID(t.Context(), bad); !errors.Is(err, upscope.ErrInvalid) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func TestSessionsOfAnAgentAreReadInsideTheAgentOrNextToIt(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"agent":{"id":"ea_1","sessions":[{"id":"s1","visitor_id":"AB"}]}}`,
		`{"agent":{"id":"ea_1"},"sessions":[{"id":"s1","visitor_id":"AB"}]}`,
	} {
		client, _ := clients(t, upscope.Config{Key: key, Transport: &fixedAnswer{body: body}})
		a, err := client.AgentByExternalID(t.Context(), "x")
		if err != nil || len(a.Sessions) != 1 || a.Sessions[0].ID != "s1" {
			t.Errorf("%s: %+v, %v", body, a, err)
		}
	}
}

func TestOnPremiseTokenIsRevealedButNotShown(t *testing.T) {
	t.Parallel()
	f := setup(t, upscopetest.Options{})
	populate(f)
	token, err := f.client.AuthorizeOnPremise(t.Context(), onlineID, upscope.Agent{ID: "a", Name: "b"})
	if err != nil || !strings.HasPrefix(token.Reveal(), "onprem-") {
		t.Fatalf("%q, %v", token.Reveal(), err)
	}
	checkHidden(t, token, token.Reveal())
	for _, a := range []upscope.Agent{{Name: "b"}, {ID: "a"}} {
		if _, err := f.client.AuthorizeOnPremise(t.Context(), onlineID, a); !errors.Is(err, upscope.ErrInvalid) {
			t.Errorf("%+v: %v", a, err)
		}
	}
	f.SetOverPlan(true)
	_, err = f.client.AuthorizeOnPremise(t.Context(), onlineID, upscope.Agent{ID: "a", Name: "b"})
	if !errors.Is(err, upscope.ErrOverPlan) || !strings.Contains(err.Error(), "the session is not authorized") {
		t.Errorf("402: %v", err)
	}
	client, _ := clients(t, upscope.Config{Key: key, Transport: &fixedAnswer{body: `{"authorized":false,"token":"x"}`}})
	if _, err := client.AuthorizeOnPremise(t.Context(), onlineID, upscope.Agent{ID: "a", Name: "b"}); !errors.Is(err, upscope.ErrUpstream) {
		t.Errorf("not authorized: %v", err)
	}
}

func TestOneClientIsSafeForManyGoroutines(t *testing.T) {
	t.Parallel()
	f := setup(t, upscopetest.Options{})
	populate(f)
	done := make(chan error)
	for range 8 {
		for _, call := range everyCall[:10] { // all that does not erase
			go func() { done <- call.do(t.Context(), f) }()
		}
	}
	for range 80 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

func TestAnAgentsIDMayBeANumber(t *testing.T) {
	t.Parallel()
	var a upscope.Agent
	if err := json.Unmarshal([]byte(`{"id":1,"external_id":2,"name":null}`), &a); err != nil || a.ID != "1" || a.ExternalID != "2" {
		t.Errorf("%+v, %v", a, err)
	}
}
