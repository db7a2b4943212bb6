package upscopetest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// clock is a time that changes only by add.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) add(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// undated removes the Date header, so that the client takes the service's times as they are.
type undated struct{ http.RoundTripper }

func (u undated) RoundTrip(r *http.Request) (*http.Response, error) {
	resp, err := u.RoundTripper.RoundTrip(r)
	if err == nil {
		resp.Header.Del("Date")
	}
	return resp, err
}

func serve(t *testing.T, o upscopetest.Options) (*upscopetest.Server, *upscope.Client, string) {
	t.Helper()
	srv := upscopetest.New(o)
	web := httptest.NewServer(srv)
	t.Cleanup(web.Close)
	srv.SetWatchBase(web.URL)
	client, err := upscope.New(upscope.Config{URL: web.URL, Key: "test-key", Transport: undated{upscope.NewTransport()}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	return srv, client, web.URL
}

// ask sends a request that the client may not be able to send.
func ask(t *testing.T, method, address, key, body string) (int, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, address, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if key != "" {
		r.Header.Set("X-Api-Key", key)
	}
	resp, err := http.DefaultTransport.RoundTrip(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func watch(t *testing.T, srv *upscopetest.Server, client *upscope.Client, id string, r upscope.WatchRequest) upscopetest.WatchRecord {
	t.Helper()
	if r.Agent.ID == "" {
		r.Agent = upscope.Agent{ID: "a1", Name: "Dana"}
	}
	if _, err := client.Watch(t.Context(), id, r); err != nil {
		t.Fatal(err)
	}
	all := srv.Watches()
	return all[len(all)-1]
}

func TestCallsNeedTheKeyTheVersionAndTheMethod(t *testing.T) {
	t.Parallel()
	srv, _, base := serve(t, upscopetest.Options{})
	srv.Come(upscope.Visitor{ShortID: "AB12"})
	for _, tt := range []struct {
		method, path, key string
		want              int
	}{
		{"GET", "/v1.3/usage", "test-key", 200},
		{"GET", "/v1.3/usage", "", 401},
		{"GET", "/v1.3/usage", "test-kex", 401},
		{"GET", "/v1.3/usage", "test-key2", 401},
		{"GET", "/v1.2/usage", "test-key", 404},
		{"GET", "/usage", "test-key", 404},
		{"GET", "/v1.3/usage.json", "test-key", 404},
		{"POST", "/v1.3/usage", "test-key", 404},
		{"GET", "/v1.3/visitors/AB12/watch_url", "test-key", 404},
		{"POST", "/v1.3/visitors/AB12", "test-key", 404},
		{"DELETE", "/v1.3/visitors", "test-key", 404},
		{"GET", "/v1.3/agents/lookup?id=1", "test-key", 404},
		{"GET", "/v1.3/agents/lookup", "test-key", 404},
		{"GET", "/v1.3/list?max_results=11", "test-key", 400},
		{"GET", "/v1.3/cobrowsing_sessions/list?updated_after=today", "test-key", 400},
		{"POST", "/v1.3/onpremise/token", "test-key", 400},
		{"POST", "/v1.3/visitors/AB12/watch_url", "test-key", 400},
		{"DELETE", "/v1.3/visitors/AB12", "test-key", 409},
	} {
		got, body := ask(t, tt.method, base+tt.path, tt.key, "{}")
		if got != tt.want {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, got, tt.want)
		}
		if got == 401 && strings.TrimSpace(body) != `{"error":"invalid_api_key","status":"error"}` {
			t.Errorf("%s %s: %s", tt.method, tt.path, body)
		}
	}
	if n := srv.Requests(); n[upscopetest.Usage] != 4 || n[upscopetest.Unknown] == 0 {
		t.Errorf("%v", n)
	}
}

func TestLaterVersionsReadABearerToken(t *testing.T) {
	t.Parallel()
	srv := upscopetest.New(upscopetest.Options{Key: "k", Version: "v1.4"})
	web := httptest.NewServer(srv)
	t.Cleanup(web.Close)
	client, err := upscope.New(upscope.Config{URL: web.URL, Version: "v1.4", Key: "k"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.CloseIdleConnections)
	if _, err := client.Usage(t.Context()); err != nil {
		t.Error(err)
	}
	if status, _ := ask(t, "GET", web.URL+"/v1.4/usage", "k", ""); status != 401 {
		t.Errorf("X-Api-Key: %d", status)
	}
}

func TestSearchForOtherTextsIsFuzzy(t *testing.T) {
	t.Parallel()
	srv, _, base := serve(t, upscopetest.Options{})
	srv.Come(upscope.Visitor{ShortID: "AB12", Name: "Joe Smith", UniqueID: "u-1"})
	srv.Come(upscope.Visitor{ShortID: "CD34", Name: "Ann Jones"})
	srv.SetIntegrationIDs("AB12", "rocketchat:k1")
	srv.SetLookupCode("AB12", "0042")
	for search, others := range map[string]bool{
		"smith": false, "smithereens": false, "AB12": false, "AB12 online": false,
		// A code with a filter, or a misspelt prefix, is not an exact token.
		"0042 online": true, "integrationId:rocketchat:k1": true, "integration_ids:rocketchat:k1": true, "zzzzzz": true,
	} {
		status, body := ask(t, "GET", base+"/v1.3/list?search="+url.QueryEscape(search), "test-key", "")
		if status != 200 || !strings.Contains(body, `"AB12"`) || strings.Contains(body, `"CD34"`) != others {
			t.Errorf("%q: %d %s", search, status, body)
		}
		if strings.Contains(body, "rocketchat") {
			t.Errorf("%q shows integration ids: %s", search, body)
		}
	}
	for _, exact := range []string{"0043", "id:u", "integration_id:rocketchat:k", "#nobody", "ip:192.0.2.9", "joe@example.com"} {
		if _, body := ask(t, "GET", base+"/v1.3/list?search="+url.QueryEscape(exact), "test-key", ""); strings.Contains(body, `"short_id"`) {
			t.Errorf("%q: %s", exact, body)
		}
	}
}

func TestOneResultIsTheFirstRegionsAndHidesTheOthers(t *testing.T) {
	t.Parallel()
	srv, client, _ := serve(t, upscopetest.Options{Regions: []string{"eu", "us"}})
	srv.Come(upscope.Visitor{ShortID: "US1", UniqueID: "u"})
	srv.Come(upscope.Visitor{ShortID: "EU1", UniqueID: "u"})
	srv.SetRegion("US1", "us")
	srv.Go("EU1")
	term, err := upscope.UniqueID("u")
	if err != nil {
		t.Fatal(err)
	}
	one, err := client.Search(t.Context(), term, 1)
	if err != nil || len(one) != 1 || one[0].ShortID != "EU1" || one[0].IsOnline {
		t.Errorf("%+v, %v", one, err)
	}
	all, err := client.Search(t.Context(), term, 2)
	if err != nil || len(all) != 2 {
		t.Errorf("%d, %v", len(all), err)
	}
}

func TestAVisitorComesGoesAndReturns(t *testing.T) {
	t.Parallel()
	c := &clock{now: time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)}
	srv, client, _ := serve(t, upscopetest.Options{Now: c.Now})
	id := srv.Come(upscope.Visitor{Name: "Joe", UniqueID: "u", LastURL: "https://shop.example/"})
	read := func(id string) upscope.Visitor {
		t.Helper()
		v, err := client.Visitor(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
	if v := read(id); !v.IsOnline || !v.IsSupported || v.SDK != "web" || v.WatchLink == "" || !v.LastSeenAt.Equal(c.Now()) {
		t.Errorf("%+v", v)
	}
	srv.Go(id)
	if read(id).IsOnline {
		t.Error("still online")
	}
	c.add(time.Hour)
	srv.Return(id)
	srv.ChangePage(id, "https://shop.example/cart")
	srv.SetUniqueID(id, "u2")
	srv.SetIdentities(id, "joe@example.com")
	srv.SetLookupCode(id, "0001")
	if v := read(id); !v.IsOnline || v.LastURL != "https://shop.example/cart" || v.UniqueID != "u2" || v.LookupCode != "0001" ||
		!slices.Equal(v.Identities, []string{"joe@example.com"}) || !v.LastSeenAt.Equal(c.Now()) {
		t.Errorf("%+v", v)
	}
	fresh := srv.Reset(id)
	old, v := read(id), read(fresh)
	if fresh == id || old.IsOnline || old.UniqueID != "u2" || !v.IsOnline || v.UniqueID != "" || v.Name != "" || v.LookupCode != "" || v.LastURL != old.LastURL {
		t.Errorf("%s became %s:\n%+v\n%+v", id, fresh, old, v)
	}
	defer func() {
		if recover() == nil {
			t.Error("an unknown visitor was changed")
		}
	}()
	srv.Go("Nobody99")
}

func TestAWatchLinkOpensAPageAndBeginsASession(t *testing.T) {
	t.Parallel()
	srv, client, _ := serve(t, upscopetest.Options{})
	id := srv.Come(upscope.Visitor{Name: `Joe "<script>alert(1)</script>`, LastURL: "https://shop.example/cart?a=1&b=2"})
	w := watch(t, srv, client, id, upscope.WatchRequest{})
	if len(srv.SessionIDs()) != 0 {
		t.Error("the request for a link began a session")
	}
	for _, method := range []string{"HEAD", "OPTIONS", "PUT"} {
		ask(t, method, w.URL, "", "")
	}
	if srv.Opened() != 0 || len(srv.SessionIDs()) != 0 {
		t.Error("something other than GET opened the link")
	}
	status, body := ask(t, "GET", w.URL, "", "")
	if status != 200 || !strings.Contains(body, "You are watching Joe") || !strings.Contains(body, "shop.example/cart?a=1&amp;b=2") || !strings.Contains(body, "Dana") {
		t.Errorf("%d %s", status, body)
	}
	if strings.Contains(body, "<script") {
		t.Error("a visitor's name is written as markup")
	}
	if ids := srv.SessionIDs(); len(ids) != 1 || srv.Opened() != 1 || srv.Minted() != 1 {
		t.Errorf("%v, opened %d, minted %d", ids, srv.Opened(), srv.Minted())
	}
	if v, err := client.Visitor(t.Context(), id); err != nil || !v.IsInSession {
		t.Errorf("%+v, %v", v, err)
	}
	if status, _ := ask(t, "GET", w.URL, "", ""); status != 200 || len(srv.SessionIDs()) != 1 || srv.Opened() != 2 {
		t.Errorf("opened again: %d, %v", status, srv.SessionIDs())
	}
	if status, _ := ask(t, "GET", w.URL[:len(w.URL)-1]+"x", "", ""); status != 404 {
		t.Errorf("another link: %d", status)
	}
}

func TestAWatchLinkThatCannotBeOpenedShowsTheReason(t *testing.T) {
	t.Parallel()
	c := &clock{now: time.Now()}
	srv, client, _ := serve(t, upscopetest.Options{Now: c.Now, OneUse: true, LinkLife: time.Minute})
	id := srv.Come(upscope.Visitor{})
	retry := upscope.WatchRequest{Branding: upscope.Branding{RetryURL: "https://bridge.example/w/1"}}

	once := watch(t, srv, client, id, retry)
	if _, err := srv.Open(once); err != nil {
		t.Fatal(err)
	}
	late := watch(t, srv, client, id, retry)
	c.add(time.Minute)
	offline := watch(t, srv, client, id, retry)
	srv.Go(id)
	for want, record := range map[string]upscopetest.WatchRecord{"has been used": once, "has expired": late, "is not online": offline} {
		status, body := ask(t, "GET", record.URL, "", "")
		if status != 410 || !strings.Contains(body, want) || !strings.Contains(body, `href="https://bridge.example/w/1"`) {
			t.Errorf("%s: %d %s", want, status, body)
		}
		if _, err := srv.Open(record); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", want, err)
		}
	}
	if _, err := srv.Open(upscopetest.WatchRecord{}); err == nil {
		t.Error("an unknown link was opened")
	}
	if srv.Opened() != 1 {
		t.Errorf("opened %d", srv.Opened())
	}
}

func TestTheAgentsButtonEndsTheSession(t *testing.T) {
	t.Parallel()
	var ended []string
	c := &clock{now: time.Now()}
	srv, client, base := serve(t, upscopetest.Options{Now: c.Now, OnEnd: func(id string) { ended = append(ended, id) }})
	id := srv.Come(upscope.Visitor{})
	w := watch(t, srv, client, id, upscope.WatchRequest{Branding: upscope.Branding{OnEndURL: base + "/desk"}})
	if status, _ := ask(t, "POST", w.URL+"/end", "", ""); status != 404 {
		t.Errorf("before it began: %d", status)
	}
	ask(t, "GET", w.URL, "", "")
	c.add(90 * time.Second)
	if status, _ := ask(t, "POST", w.URL+"/end", "", ""); status != 303 {
		t.Errorf("%d", status)
	}
	if !slices.Equal(ended, []string{"s1"}) {
		t.Errorf("%v", ended)
	}
	for s, err := range client.Sessions(t.Context(), upscope.SessionQuery{}) {
		if err != nil || s.LengthSeconds != 90 || s.VideoStatus != "ready" || s.PublicVideoURL == "" {
			t.Errorf("%+v, %v", s, err)
		}
	}
	plain := watch(t, srv, client, id, upscope.WatchRequest{})
	ask(t, "GET", plain.URL, "", "")
	if status, body := ask(t, "POST", plain.URL+"/end", "", ""); status != 200 || !strings.Contains(body, "has ended") {
		t.Errorf("%d %s", status, body)
	}
	if srv.End(id, 5) || srv.End("s1", 5) {
		t.Error("an ended session was ended again")
	}
}

func TestTheWebhookIsSentOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	var bodies []string
	receiver := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		b, _ := io.ReadAll(r.Body)
		bodies = append(bodies, string(b))
		w.WriteHeader(http.StatusAccepted)
	}))
	t.Cleanup(receiver.Close)
	srv, client, _ := serve(t, upscopetest.Options{})
	id := srv.Come(upscope.Visitor{})
	w := watch(t, srv, client, id, upscope.WatchRequest{WebhookURL: receiver.URL + "/ended/secret"})
	session, err := srv.Open(w)
	if err != nil || !srv.End(id, 5, "fine") || len(bodies) != 0 {
		t.Fatalf("%v, %d bodies", err, len(bodies))
	}
	for _, wrap := range []upscopetest.Wrap{upscopetest.Bare, upscopetest.SessionKey, upscopetest.CobrowsingSession} {
		if status, err := srv.SendWebhook(t.Context(), receiver.Client(), session, wrap); err != nil || status != http.StatusAccepted {
			t.Errorf("%d, %v", status, err)
		}
		s, err := client.ParseWebhook([]byte(bodies[len(bodies)-1]))
		if err != nil || s.ID != session || s.VisitorID != id || s.VisitorAgentRating == nil || *s.VisitorAgentRating != 5 {
			t.Errorf("%+v, %v", s, err)
		}
	}
	v, err := client.Visitor(t.Context(), id)
	if err != nil || len(v.Sessions[0].WebhookLogs) != 3 || v.Sessions[0].WebhookLogs[0].StatusCode != http.StatusAccepted {
		t.Errorf("%+v, %v", v, err)
	}
	if _, err := srv.SendWebhook(t.Context(), receiver.Client(), "s9", upscopetest.Bare); err == nil {
		t.Error("an unknown session was sent")
	}
}

func TestFaultsApplyInTheirOrderAndEnd(t *testing.T) {
	t.Parallel()
	srv, client, _ := serve(t, upscopetest.Options{})
	srv.Fail(upscopetest.Usage, upscopetest.Fault{Status: 500}, 2)
	srv.Fail(upscopetest.Usage, upscopetest.Fault{Status: 402}, 1)
	srv.Fail(upscopetest.List, upscopetest.Fault{Status: 500}, -1)
	srv.Fail(upscopetest.Usage, upscopetest.Fault{Status: 404}, 0)
	for i, want := range []error{upscope.ErrUpstream, upscope.ErrUpstream, upscope.ErrOverPlan, nil, nil} {
		if _, err := client.Usage(t.Context()); !errors.Is(err, want) {
			t.Errorf("call %d: %v", i, err)
		}
	}
	for range 3 {
		if _, err := client.Latest(t.Context(), 1); !errors.Is(err, upscope.ErrUpstream) {
			t.Error(err)
		}
	}
	srv.Heal()
	if _, err := client.Latest(t.Context(), 1); err != nil {
		t.Error(err)
	}
}

func TestUsageCountsVisitorsAndSessions(t *testing.T) {
	t.Parallel()
	srv, client, _ := serve(t, upscopetest.Options{})
	srv.Add(upscope.Visitor{}, upscope.Visitor{ShortID: "Old12345"})
	id := srv.Come(upscope.Visitor{})
	if _, err := srv.Open(watch(t, srv, client, id, upscope.WatchRequest{})); err != nil {
		t.Fatal(err)
	}
	u, err := client.Usage(t.Context())
	if got := fmt.Sprint(u.Agents.Today, u.SessionCounts.Now, u.Visitors.OnlineNow, u.Visitors.Last24Hours); err != nil || got != "1 1 1 1" {
		t.Errorf("%s, %v", got, err)
	}
}

func TestTheServerIsSafeForManyGoroutines(t *testing.T) {
	t.Parallel()
	srv, client, _ := serve(t, upscopetest.Options{OnEnd: func(string) {}})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for range 20 {
				id := srv.Come(upscope.Visitor{UniqueID: "u"})
				srv.SetIntegrationIDs(id, "demo:"+id)
				srv.SetLookupCode(id, "0042")
				_, err := client.Watch(context.WithoutCancel(t.Context()), id, upscope.WatchRequest{Agent: upscope.Agent{ID: "a"}})
				if err != nil {
					t.Error(err)
				}
				_, _ = srv.Open(srv.Watches()[0])
				_, _ = client.Latest(t.Context(), 10)
				_, _ = client.Usage(t.Context())
				srv.End(id, 1)
				srv.Reset(id)
				_, _, _ = srv.Calls(), srv.Requests(), srv.SessionIDs()
			}
		})
	}
	wg.Wait()
}
