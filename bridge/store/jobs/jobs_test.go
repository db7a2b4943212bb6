package jobs

import (
	"errors"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func TestRetryDelaysGrowAndEndAfterADay(t *testing.T) {
	t.Parallel()
	for attempt, want := range map[int]time.Duration{
		0: 2 * time.Second, 1: 2 * time.Second, 2: 4 * time.Second, 6: 64 * time.Second, 7: 2 * time.Minute, 63: 2 * time.Minute, 1 << 30: 2 * time.Minute,
	} {
		low, middle, high := retryDelay(attempt, 0), retryDelay(attempt, 0.5), retryDelay(attempt, 1)
		if low != want*8/10 || middle.Round(time.Millisecond) != want || high.Round(time.Millisecond) != want*12/10 {
			t.Errorf("attempt %d: %v to %v, want %v ± 20 %%", attempt, low, high, want)
		}
	}
	var all time.Duration
	for attempt := 1; attempt < maxAttempts; attempt++ {
		all += retryDelay(attempt, 0.5)
	}
	if all < 23*time.Hour || all > 25*time.Hour {
		t.Errorf("retries take %v altogether", all)
	}
	if rescueAfter+30*time.Second > 90*time.Second || rescueAfter < jobTimeout {
		t.Error("stuck jobs are rescued too late, or while they run")
	}
}

func TestStoredErrorsAreShortText(t *testing.T) {
	t.Parallel()
	cause := errors.New(strings.Repeat("ä", 200) + "\xff\x00")
	err := briefError{cause}
	if text := err.Error(); len(text) > 310 || !utf8.ValidString(text) || strings.Contains(text, "\x00") || !errors.Is(err, cause) {
		t.Errorf("%q", text)
	}
	if text := (briefError{errors.New("a\x00\xffb")}).Error(); text != "a??b" {
		t.Errorf("%q", text)
	}
	if Cancel(nil) != nil || Snooze(nil, time.Second) != nil {
		t.Error("nil is marked")
	}
}
