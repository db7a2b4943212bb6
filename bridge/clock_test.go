package bridge_test

import (
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/connectors/rest"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// clockAhead makes the bridge's clock run ahead of Upscope's by d, and log that to log.
func clockAhead(d time.Duration, log *logBuffer) options {
	return options{
		upscope: func(o *upscopetest.Options) { o.Now = func() time.Time { return time.Now().Add(-d) } },
		transport: func(service string, rt http.RoundTripper) http.RoundTripper {
			return rest.Upstream(service, rt, nil, slog.New(slog.NewJSONHandler(log, nil)))
		},
	}
}

func TestTheClockOfTheBridgeMayBeWrong(t *testing.T) {
	for name, test := range map[string]struct {
		ahead time.Duration
		logs  string
	}{
		"ten minutes ahead":  {10 * time.Minute, "0s ahead of the service's"},
		"ten minutes behind": {-10 * time.Minute, "s behind the service's"},
		"two hours ahead":    {2 * time.Hour, "2h0m0s ahead of the service's"},
		"twenty seconds":     {20 * time.Second, ""},
	} {
		t.Run(name, func(t *testing.T) {
			log := &logBuffer{}
			inWorld(t, func(w *world) {
				_, _, session := w.startSession() // fails unless the press leads to the screen
				w.pass(sessionsWait)
				w.reads("bob", "Session with Ann is running")
				w.pass(12 * time.Minute)
				w.upscope.End(session, 5)
				w.pass(sessionsWait) // Upscope's callback is lost
				w.reads("bob", "Session with Ann has ended", "12 min", "5 of 5")
				// After the end, the bridge waits for late details as long as usual.
				w.pass(5 * time.Minute)
				w.upscope.Change(session, func(s *upscope.Session) { s.VisitorAgentRating = new(2.0) })
				w.pass(sessionsWait)
				w.reads("bob", "2 of 5")
				w.pass(15 * time.Minute)
				asked := w.sessionListCalls()
				w.pass(10 * time.Minute)
				if n := w.sessionListCalls() - asked; n != 0 {
					t.Errorf("%d calls for sessions when none is awaited", n)
				}
				lines := strings.Count(log.String(), "clock of this machine differs")
				if test.logs == "" && lines != 0 || test.logs != "" && (lines != 1 || !strings.Contains(log.String(), test.logs)) {
					t.Errorf("%d lines about the clock, want one with %q:\n%s", lines, test.logs, log)
				}
			}, clockAhead(test.ahead, log))
		})
	}
}

func TestTheEndDuringADowntimeIsFoundWithAWrongClock(t *testing.T) {
	for name, ahead := range map[string]time.Duration{"ahead": 10 * time.Minute, "behind": -10 * time.Minute} {
		t.Run(name, func(t *testing.T) {
			log := &logBuffer{}
			inWorld(t, func(w *world) {
				_, _, session := w.startSession()
				w.pass(sessionsWait)
				w.stop()
				w.upscope.End(session, 3)
				<-time.After(20 * time.Minute)
				w.restart(clockAhead(ahead, log)) // the list of sessions is the first call of this process
				w.pass(10 * time.Second)
				w.reads("bob", "has ended", "3 of 5")
			}, clockAhead(ahead, log))
		})
	}
}
