package rest_test

import (
	"errors"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/connectors/rest"
	"cobrowse-bridge/upscope"
)

func TestRetryAfter(t *testing.T) {
	t.Parallel()
	now := time.Date(2026, 11, 20, 10, 0, 0, 0, time.UTC)
	date := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	for value, want := range map[string]time.Duration{
		"7": 7 * time.Second, " 7 ": 7 * time.Second, "120": 2 * time.Minute, "121": rest.MaxWait, "86400": rest.MaxWait,
		"99999999999": rest.MaxWait, "99999999999999999999": rest.MaxWait,
		"0": rest.MinWait, "-5": rest.MinWait, "-9999999999": rest.MinWait,
		date(time.Minute): time.Minute, date(time.Hour): rest.MaxWait, date(-time.Hour): rest.MinWait,
	} {
		if wait, ok := rest.RetryAfter(http.Header{"Retry-After": {value}}, now, rest.MaxWait); wait != want || !ok {
			t.Errorf("%q: %v, %v, want %v", value, wait, ok, want)
		}
	}
	for _, value := range []string{"", "soon", "1.5", "1m", "2026-11-20T10:01:00Z"} {
		if wait, ok := rest.RetryAfter(http.Header{"Retry-After": {value}}, now, rest.MaxWait); wait != rest.DefaultWait || ok {
			t.Errorf("%q: %v, %v", value, wait, ok)
		}
	}
	for _, theirs := range []time.Duration{-10 * time.Minute, 10 * time.Minute} { // the clocks differ
		h := http.Header{"Retry-After": {date(theirs + time.Minute)}, "Date": {date(theirs)}}
		if wait, ok := rest.RetryAfter(h, now, time.Hour); wait != time.Minute || !ok {
			t.Errorf("a service whose clock differs by %v: %v, %v", theirs, wait, ok)
		}
	}
	if wait, _ := rest.RetryAfter(http.Header{"Retry-After": {"1800"}}, now, time.Hour); wait != 30*time.Minute {
		t.Errorf("Retry-After of 30 minutes, with at most an hour: %v", wait)
	}
}

// throttled answers every request with 429 and a Retry-After header.
type throttled string

func (after throttled) RoundTrip(r *http.Request) (*http.Response, error) {
	h := http.Header{"Retry-After": {string(after)}}
	return &http.Response{StatusCode: http.StatusTooManyRequests, Header: h, Body: http.NoBody, Request: r}, nil
}

// Package upscope imports nothing of ours and has its own copy of RetryAfter.
func TestUpscopeReadsTheSameRetryAfter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		date := time.Now().Add(time.Minute).UTC().Format(http.TimeFormat)
		for _, value := range []string{"1", "7", "3600", "86400", "99999999999999999999", date, "soon", "1.5", strings.ToLower(date)} {
			client, err := upscope.New(upscope.Config{Key: "any", Transport: throttled(value)})
			if err != nil {
				t.Fatal(err)
			}
			_, err = client.Usage(t.Context())
			theirs, ok := errors.AsType[*upscope.Error](err)
			if !ok {
				t.Fatalf("%q: %v", value, err)
			}
			ours, ok := rest.RetryAfter(http.Header{"Retry-After": {value}}, time.Now(), upscope.MaxRetryAfter)
			if ok != (theirs.RetryAfter > 0) || ok && ours != theirs.RetryAfter {
				t.Errorf("%q: %v (%v) here, %v in upscope", value, ours, ok, theirs.RetryAfter)
			}
		}
	})
}
