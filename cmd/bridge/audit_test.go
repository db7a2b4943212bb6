package main

import (
	"fmt"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store/audit"
)

func FuzzHead(f *testing.F) {
	for _, text := range []string{"", "1:", "3:00", fmt.Sprintf("7:%064x", 1), fmt.Sprintf("-7:%064x", 1), fmt.Sprintf("9:%064X:", 1), fmt.Sprintf("0:%064x", 0)} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		head, err := parseHead(text)
		if err != nil || text == "" {
			return
		}
		again, err := parseHead(fmt.Sprintf("%d:%x", head.Seq, head.Hash))
		if err != nil || again != head || head.Seq < 0 || head.Seq == 0 && head != (audit.Head{}) {
			t.Errorf("%q parses as %v; printed and parsed again it is %v, %v", text, head, again, err)
		}
	})
}

func TestATimeIsADateOrAnAge(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]time.Time{
		"2026-11-21":                time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC),
		"2026-11-21T15:04:05Z":      time.Date(2026, 11, 21, 15, 4, 5, 0, time.UTC),
		"2026-11-21T15:04:05+01:00": time.Date(2026, 11, 21, 14, 4, 5, 0, time.UTC),
		"36h":                       time.Now().Add(-36 * time.Hour),
		"7d":                        time.Now().AddDate(0, 0, -7),
	} {
		if got, err := parseTime("since", text); err != nil || got.Sub(want).Abs() > time.Minute {
			t.Errorf("%s is %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"yesterday", "-7d", "-3h", "21.11.2026", "d"} {
		if got, err := parseTime("since", text); err == nil {
			t.Errorf("%s is %v", text, got)
		}
	}
}
