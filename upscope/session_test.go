package upscope_test

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// sessions returns a service with n sessions that began a minute apart.
func sessions(t *testing.T, n, pageSize int) fixture {
	t.Helper()
	now := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	f := setup(t, upscopetest.Options{PageSize: pageSize, Now: func() time.Time { return now }})
	populate(f)
	for range n {
		if _, err := f.client.Watch(t.Context(), onlineID, watchRequest()); err != nil {
			t.Fatal(err)
		}
		w := f.Watches()
		if _, err := f.Open(w[len(w)-1]); err != nil {
			t.Fatal(err)
		}
		now = now.Add(time.Minute)
	}
	return f
}

func collect(t *testing.T, f fixture, q upscope.SessionQuery) []string {
	t.Helper()
	var ids []string
	for s, err := range f.client.Sessions(t.Context(), q) {
		if err != nil {
			t.Fatal(err)
		}
		ids = append(ids, s.ID)
	}
	return ids
}

func TestSessionsFollowsThePages(t *testing.T) {
	t.Parallel()
	f := sessions(t, 7, 3)
	if got := collect(t, f, upscope.SessionQuery{}); !slices.Equal(got, []string{"s1", "s2", "s3", "s4", "s5", "s6", "s7"}) {
		t.Errorf("%v", got)
	}
	var queries []string
	for _, c := range f.Calls() {
		if c.Endpoint == upscopetest.Sessions {
			queries = append(queries, strings.TrimPrefix(c.RequestURI, "/v1.3/cobrowsing_sessions/list"))
		}
	}
	if want := []string{"", "?after_id=s3", "?after_id=s6"}; !slices.Equal(queries, want) {
		t.Errorf("%q, want %q", queries, want)
	}
}

func TestSessionsReadsAPageOnlyWhenItIsNeeded(t *testing.T) {
	t.Parallel()
	f := sessions(t, 7, 3)
	for _, err := range f.client.Sessions(t.Context(), upscope.SessionQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		break
	}
	if n := f.Requests()[upscopetest.Sessions]; n != 1 {
		t.Errorf("%d pages", n)
	}
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

func TestSessionsAreNarrowedByTheQuery(t *testing.T) {
	t.Parallel()
	f := sessions(t, 5, 2)
	f.client, _ = clients(t, upscope.Config{URL: f.url, Key: key, Transport: undated{upscope.NewTransport()}})
	f.End("s2", 0)
	began := time.Date(2026, 11, 20, 12, 0, 0, 0, time.UTC)
	for _, tt := range []struct {
		q    upscope.SessionQuery
		want string
	}{
		{upscope.SessionQuery{AfterID: "s2"}, "s3 s4 s5"},
		{upscope.SessionQuery{BeforeID: "s4"}, "s1 s2 s3"},
		{upscope.SessionQuery{BeforeID: "s5", AfterID: "s1"}, "s2 s3 s4"},
		{upscope.SessionQuery{OngoingOnly: true}, "s1 s3 s4 s5"},
		{upscope.SessionQuery{UpdatedAfter: began.Add(3 * time.Minute).In(time.FixedZone("", 7200))}, "s2 s5"},
		{upscope.SessionQuery{AfterID: "s5"}, ""},
	} {
		if got := strings.Join(collect(t, f, tt.q), " "); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.q, got, tt.want)
		}
	}
	calls := f.Calls()
	var last url.Values
	for _, c := range calls {
		if u, err := url.Parse(c.RequestURI); err == nil && u.Query().Has("updated_after") {
			last = u.Query()
		}
	}
	if got := last.Get("updated_after"); got != "2026-11-20T12:03:00.000Z" {
		t.Errorf("updated_after=%s", got)
	}
}

func TestAnEndlessListOfSessionsIsAnError(t *testing.T) {
	t.Parallel()
	for name, next := range map[string]func(n int) string{
		"has more but no last_id": func(int) string { return `[{"id":"a"}],"has_more":true,"last_id":null` },
		"no last_id at all":       func(int) string { return `[{"id":"a"}],"has_more":true` },
		"repeats itself":          func(int) string { return `[{"id":"a"}],"has_more":true,"last_id":"a"` },
		"goes in a circle":        func(n int) string { return fmt.Sprintf(`[{"id":"a"}],"has_more":true,"last_id":"%d"`, n%3) },
		"begins again":            func(int) string { return `[],"has_more":true,"last_id":"start"` },
		"never ends":              func(n int) string { return fmt.Sprintf(`[],"has_more":true,"last_id":%d`, n) },
		"has no ids":              func(int) string { return `[{"visitor_id":"AB12"}]` },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			pages := 0
			web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				pages++
				fmt.Fprintf(w, `{"cobrowsing_sessions":%s}`, next(pages))
			}))
			t.Cleanup(web.Close)
			client, _ := clients(t, upscope.Config{URL: web.URL, Key: key})
			var last error
			n := 0
			for _, err := range client.Sessions(t.Context(), upscope.SessionQuery{AfterID: "start"}) {
				if n++; last != nil {
					t.Fatal("it yields more after an error")
				}
				last = err
			}
			if !errors.Is(last, upscope.ErrUpstream) || pages > 1000 {
				t.Errorf("%v after %d pages", last, pages)
			}
		})
	}
}

func TestAWebhookIsReadInEachShape(t *testing.T) {
	t.Parallel()
	client, _ := clients(t, upscope.Config{Key: key})
	for _, body := range []string{
		documentedSession, `{"session":` + documentedSession + `}`, `{"cobrowsing_session":` + documentedSession + `,"event":"ended"}`,
	} {
		s, err := client.ParseWebhook([]byte(body))
		if diff := cmp.Diff(wantedSession(), s); err != nil || diff != "" {
			t.Errorf("%v\n%s", err, diff)
		}
		checkHidden(t, s, "CANARY")
	}
	for _, body := range []string{
		``, `null`, `{}`, `[]`, `"CANARY"`, `{"id":"s1"}`, `{"visitor_id":"AB12"}`, `{"session":"CANARY"}`, `{"session":null}`,
		`{"id":"s1","id":"s2","visitor_id":"AB12"}`, strings.Repeat(`[`, 70) + strings.Repeat(`]`, 70),
		`{"pad":"` + strings.Repeat("CANARY", 200_000) + `"}`, `{"session":{"id":["CANARY"]}}`,
	} {
		_, err := client.ParseWebhook([]byte(body))
		if err == nil || strings.Contains(err.Error(), "CANARY") {
			t.Errorf("%.40s: %v", body, err)
		}
	}
}

func TestAWatchLinkBecomesASession(t *testing.T) {
	t.Parallel()
	f := setup(t, upscopetest.Options{})
	populate(f)
	f.SetMetadata(onlineID, map[string]any{"plan": "pro"})
	r := watchRequest()
	r.Metadata = map[string]any{"card": "c1", "count": 3, "test": true}
	r.InitialNotes = "Ticket 7"
	if _, err := f.client.Watch(t.Context(), onlineID, r); err != nil {
		t.Fatal(err)
	}
	id, err := f.Open(f.Watches()[0])
	if err != nil {
		t.Fatal(err)
	}
	f.End(id, 4, "all good")
	for s, err := range f.client.Sessions(t.Context(), upscope.SessionQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		got := fmt.Sprintf("%s %s %v %v %s %v %v %d", s.ID, s.VisitorID, s.WentLive, s.EndedAt.IsZero(), s.Source, *s.VisitorAgentRating, s.Metadata, len(s.AgentNotes))
		if want := "s1 canaryid true false api 4 map[card:c1 count:3 test:true visitor_plan:pro] 2"; got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

// A webhook is read as a session with both ids, or is an error.
func FuzzSessionJSON(f *testing.F) {
	f.Add([]byte(documentedSession))
	f.Add([]byte(`{"session":` + documentedSession + `}`))
	f.Add([]byte(`{"cobrowsing_session":{"id":1,"visitor_id":"AB12"}}`))
	f.Add([]byte(`{"id":"s1","visitor_id":"AB12","metadata":{"a":-0.0e+99,"b":"\ud800"},"length_seconds":"91"}`))
	f.Add([]byte(`{"id":"s1","visitor_id":"AB12","id":"s2"}`))
	client, err := upscope.New(upscope.Config{Key: key})
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := client.ParseWebhook(b)
		if err != nil {
			return
		}
		if s.ID == "" || s.VisitorID == "" {
			t.Fatalf("%+v", s)
		}
		roundTrip[upscope.Session](t, s)
	})
}
