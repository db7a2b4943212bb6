package rest_test

import (
	"bytes"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/connectors/rest"
)

// clocked is a service whose clock differs from ours.
type clocked struct {
	ahead  time.Duration // of ours
	status int
	age    string
}

func (c *clocked) RoundTrip(r *http.Request) (*http.Response, error) {
	h := http.Header{"Date": {time.Now().Add(c.ahead).UTC().Format(http.TimeFormat)}}
	if c.age != "" {
		h.Set("Age", c.age)
	}
	return &http.Response{StatusCode: c.status, Header: h, Body: http.NoBody, Request: r}, nil
}

func TestAClockThatDiffersIsLoggedOncePerChange(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var log bytes.Buffer
		service := &clocked{status: http.StatusOK}
		transport := rest.Upstream("chat", service, nil, slog.New(slog.NewTextHandler(&log, nil)))
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://chat.example.org/", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, step := range []struct {
			name   string
			change func()
			wait   time.Duration
			logs   string // empty for no line
		}{
			{"the clocks agree", func() {}, 0, ""},
			{"29 seconds", func() { service.ahead = 29 * time.Second }, 0, ""},
			{"a cache answers", func() { service.ahead, service.age = -time.Hour, "3600" }, 0, ""},
			{"a failing proxy answers", func() { service.age, service.status = "", http.StatusBadGateway }, 0, ""},
			{"ten minutes", func() { service.status, service.ahead = http.StatusOK, -10*time.Minute }, 0, "level=WARN msg=\"clock of this machine differs from the service's\" service=chat clock=\"10m0s ahead of the service's\""},
			{"a little more", func() { service.ahead -= 20 * time.Second }, 11 * time.Minute, ""},
			{"machines of the service differ", func() { service.ahead = 0 }, time.Minute, "agrees with the service's again"},
			{"and back", func() { service.ahead = 10 * time.Minute }, time.Minute, ""},
			{"later", func() {}, 10 * time.Minute, "behind the service's"},
			{"the clock was set", func() { service.ahead = 0 }, time.Hour, "agrees with the service's again"},
		} {
			time.Sleep(step.wait)
			step.change()
			log.Reset()
			for range 3 {
				if resp, err := transport.RoundTrip(request); err == nil {
					resp.Body.Close()
				}
			}
			want := 1
			if step.logs == "" {
				want = 0
			}
			if n := strings.Count(log.String(), "\n"); n != want || !strings.Contains(log.String(), step.logs) {
				t.Errorf("%s: want %d line with %q:\n%s", step.name, want, step.logs, &log)
			}
		}
	})
}

func TestNowIsTheServicesTime(t *testing.T) {
	t.Parallel()
	var c rest.Clock
	if _, ok := c.Ahead(); ok || time.Since(c.Now()).Abs() > time.Second {
		t.Error("before the first answer, Now is not our time")
	}
	for _, theirs := range []time.Duration{-time.Hour, 0, 2 * time.Hour} {
		now := time.Now()
		c.Note(http.Header{"Date": {now.Add(theirs).UTC().Format(http.TimeFormat)}}, now, now)
		if got := time.Until(c.Now()); (got - theirs).Abs() > 5*time.Second {
			t.Errorf("Now is %v from our time, want %v", got, theirs)
		}
		if ahead, ok := c.Ahead(); !ok || (ahead+theirs).Abs() > 5*time.Second {
			t.Errorf("we are %v ahead, want %v", ahead, -theirs)
		}
	}
}
