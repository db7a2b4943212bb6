package bridge_test

import (
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
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

// To a bridge whose clock is two years ahead, all data seems to have expired. It is deleted only when the clock is right.
func TestNothingIsDeletedWhileTheClockIsWrong(t *testing.T) {
	const years = 730 * 24 * time.Hour
	for name, test := range map[string]struct {
		wrong, right func(w *world, upscopeBehind *atomic.Int64)
		log          string
	}{
		"ahead": {
			func(_ *world, upscopeBehind *atomic.Int64) { upscopeBehind.Store(int64(years)) },
			func(_ *world, upscopeBehind *atomic.Int64) { upscopeBehind.Store(0) },
			"the clock of this machine is 17520h0m0s ahead of Upscope's",
		},
		"Upscope does not answer": {
			func(w *world, _ *atomic.Int64) {
				w.upscope.Fail(upscopetest.Any, upscopetest.Fault{Status: http.StatusBadGateway}, 100_000)
			},
			func(w *world, _ *atomic.Int64) { w.upscope.Heal() },
			"the clock of this machine cannot be compared with Upscope's",
		},
	} {
		t.Run(name, func(t *testing.T) {
			var behind atomic.Int64
			kept := options{
				upscope: func(o *upscopetest.Options) {
					o.Now = func() time.Time { return time.Now().Add(-time.Duration(behind.Load())) }
				},
				config: func(c *bridge.Config) {
					const day = 24 * time.Hour
					c.Retention = store.Retention{Failed: 14 * day, Cards: 30 * day, Audit: 400 * day}
				},
			}
			inWorld(t, func(w *world) {
				old := time.Now().Add(-years)
				c := store.Card{
					ID:        fmt.Sprintf("%08x-%04x-7%s", old.UnixMilli()>>16, old.UnixMilli()&0xffff, "000-8000-000000000000"),
					Connector: "rocketchat", Chat: "old", State: string(card.Closed), Created: old, Updated: old, Detail: []byte("{}"),
				}
				w.must(w.store.Commit(w.Context(), store.Change{Card: &c, Audit: []audit.Entry{{At: old, Action: "closed", Card: c.ID}}}))
				test.wrong(w, &behind)
				w.restart(kept)
				there := func() (card, oldest bool) {
					_, err := w.store.Card(w.Context(), c.ID)
					first, e := w.store.AuditLog().Oldest(w.Context(), 1)
					w.must(e)
					return err == nil, len(first) == 1 && first[0].Seq == 1
				}
				<-time.After(time.Minute)
				w.wantCalm() // Upscope may not answer for a moment
				<-time.After(25 * time.Minute)
				if card, audit := there(); !card || !audit {
					t.Errorf("there is the card: %v, and its audit record: %v", card, audit)
				}
				w.wantTrouble("purge retrying")
				if !strings.Contains(w.log.String(), test.log) {
					t.Errorf("the log does not say %q", test.log)
				}
				test.right(w, &behind)
				<-time.After(11 * time.Minute)
				if card, audit := there(); card || audit {
					t.Errorf("there is the card: %v, and its audit record: %v", card, audit)
				}
				w.wantCalm()
			}, options{upscope: kept.upscope})
		})
	}
}
