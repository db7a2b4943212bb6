package upscope_test

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// apart are differences between the service's clock and ours.
var apart = map[string]time.Duration{
	"ours is right": 0, "ours is ten minutes ahead": -10 * time.Minute, "ours is ten minutes behind": 10 * time.Minute,
	"ours is a day behind": 24 * time.Hour,
}

// near reports whether a and b are equal but for the seconds that Date leaves out.
func near(a, b time.Time) bool { return a.Sub(b).Abs() < 5*time.Second }

func TestAWatchLinkIsValidAsLongAsUpscopeSays(t *testing.T) {
	t.Parallel()
	for name, difference := range apart {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, upscopetest.Options{Now: func() time.Time { return time.Now().Add(difference) }})
			populate(f)
			link, err := f.client.Watch(t.Context(), onlineID, watchRequest())
			if err != nil {
				t.Fatal(err)
			}
			hosts, err := upscope.ParseHosts("127.0.0.1:" + f.url[strings.LastIndexByte(f.url, ':')+1:strings.LastIndexByte(f.url, ':')+6])
			if err != nil {
				t.Fatal(err)
			}
			now := time.Now()
			if _, err := link.Location(hosts, now); err != nil {
				t.Errorf("a fresh link: %v", err)
			}
			if !near(link.Expires(), now.Add(5*time.Minute)) {
				t.Errorf("it expires in %v, want 5 minutes", link.Expires().Sub(now))
			}
			if _, err := link.Location(hosts, now.Add(6*time.Minute)); !errors.Is(err, upscope.ErrExpired) {
				t.Errorf("after its life: %v", err)
			}
			if got, known := f.client.ClockAhead(); !known || (got+difference).Abs() > 5*time.Second {
				t.Errorf("our clock counts as %v ahead, want %v", got, -difference)
			}
		})
	}
}

func TestTimesAreByOurClock(t *testing.T) {
	t.Parallel()
	for name, difference := range apart {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, upscopetest.Options{Now: func() time.Time { return time.Now().Add(difference) }})
			begun := time.Now()
			id := f.Come(upscope.Visitor{})
			if _, err := f.client.Watch(t.Context(), id, watchRequest()); err != nil {
				t.Fatal(err)
			}
			session, err := f.Open(f.Watches()[0])
			if err != nil {
				t.Fatal(err)
			}
			f.End(session, 0)
			v, err := f.client.Visitor(t.Context(), id)
			if err != nil || len(v.Sessions) != 1 {
				t.Fatalf("%d sessions, %v", len(v.Sessions), err)
			}
			latest, err := f.client.Latest(t.Context(), 1)
			if err != nil || len(latest) != 1 {
				t.Fatalf("%d visitors, %v", len(latest), err)
			}
			agent, err := f.client.AgentByExternalID(t.Context(), watchRequest().Agent.ID)
			if err != nil || len(agent.Sessions) != 1 {
				t.Fatalf("%d sessions of the agent, %v", len(agent.Sessions), err)
			}
			hook, err := f.client.ParseWebhook(fmt.Appendf(nil, `{"id":"s1","visitor_id":"v1","ended_at":%q}`, time.Now().Add(difference).Format(time.RFC3339)))
			if err != nil {
				t.Fatal(err)
			}
			for what, got := range map[string]time.Time{
				"last_seen_at": v.LastSeenAt, "added_at": v.AddedAt, "started_at": v.Sessions[0].StartedAt, "ended_at": v.Sessions[0].EndedAt,
				"last_seen_at in a list": latest[0].LastSeenAt, "ended_at of the agent's session": agent.Sessions[0].EndedAt, "ended_at of a webhook": hook.EndedAt,
			} {
				if !near(got, begun) {
					t.Errorf("%s is %v off", what, got.Sub(begun))
				}
			}
		})
	}
}

// The first call of a process may be the one for sessions, when the difference is not known yet.
func TestSessionsAreFoundBySinceByOurClock(t *testing.T) {
	t.Parallel()
	for name, difference := range apart {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			f := setup(t, upscopetest.Options{Now: func() time.Time { return time.Now().Add(difference) }})
			id := f.Come(upscope.Visitor{})
			if _, err := f.client.Watch(t.Context(), id, watchRequest()); err != nil {
				t.Fatal(err)
			}
			if _, err := f.Open(f.Watches()[0]); err != nil {
				t.Fatal(err)
			}
			fresh, _ := clients(t, upscope.Config{URL: f.url, Key: key})
			for since, want := range map[time.Duration]int{-time.Minute: 1, time.Minute: 0} {
				for range 2 {
					n := 0
					for s, err := range fresh.Sessions(t.Context(), upscope.SessionQuery{UpdatedAfter: time.Now().Add(since)}) {
						if err != nil || !near(s.StartedAt, time.Now()) {
							t.Fatalf("begun %v, %v", s.StartedAt, err)
						}
						n++
					}
					if n != want {
						t.Errorf("%d sessions since %v from now, want %d", n, since, want)
					}
				}
			}
		})
	}
}

// dated answers with a Date header as given, empty for none.
type dated struct {
	header http.Header
	status int
}

func (d *dated) RoundTrip(r *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: d.status, Header: d.header, Request: r, Body: io.NopCloser(strings.NewReader(`{"usage":{}}`))}, nil
}

func TestTheClockIsReadFromUsableDatesOnly(t *testing.T) {
	t.Parallel()
	transport := &dated{status: http.StatusOK}
	client, _ := clients(t, upscope.Config{Key: key, Transport: transport})
	date := func(d time.Duration) string { return time.Now().Add(d).UTC().Format(http.TimeFormat) }
	for _, step := range []struct {
		name   string
		status int
		header http.Header
		want   time.Duration
	}{
		{"a usual answer", 200, http.Header{"Date": {date(0)}}, 0},
		{"no date", 200, http.Header{}, 0},
		{"an unreadable date", 200, http.Header{"Date": {"yesterday"}}, 0},
		{"an answer of a cache", 200, http.Header{"Date": {date(-time.Hour)}, "Age": {"3600"}}, 0},
		{"a failure, perhaps of a proxy", 502, http.Header{"Date": {date(-time.Hour)}}, 0},
		{"a service that is behind", 200, http.Header{"Date": {date(-time.Hour)}}, time.Hour},
		{"no date then", 200, http.Header{}, time.Hour},
		{"the clock was set", 200, http.Header{"Date": {date(0)}}, 0},
	} {
		transport.status, transport.header = step.status, step.header
		_, _ = client.Usage(t.Context())
		if got, _ := client.ClockAhead(); (got-step.want).Abs() > 5*time.Second || step.want == 0 && got != 0 {
			t.Errorf("%s: our clock counts as %v ahead, want %v", step.name, got, step.want)
		}
	}
}

// Small differences must not make the times of one session jump from answer to answer.
func TestConvertedTimesDoNotJump(t *testing.T) {
	t.Parallel()
	var service time.Duration
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Date", time.Now().Add(service).UTC().Format(http.TimeFormat))
		_, _ = io.WriteString(w, `{"visitor":{"short_id":"AB12","last_seen_at":"2026-11-30T10:00:00Z"}}`)
	}))
	t.Cleanup(web.Close)
	client, _ := clients(t, upscope.Config{URL: web.URL, Key: key})
	seen := map[time.Time]bool{}
	for i := range 20 {
		service = 10*time.Minute + time.Duration(i)*20*time.Millisecond
		v, err := client.Visitor(t.Context(), "AB12")
		if err != nil {
			t.Fatal(err)
		}
		seen[v.LastSeenAt] = true
	}
	if len(seen) > 2 {
		t.Errorf("one time was converted to %d different ones", len(seen))
	}
}
