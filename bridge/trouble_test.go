package bridge_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/connectors/rocketchat"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/connectors/slack"
	"cobrowse-bridge/connectors/slack/slacktest"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope/upscopetest"
)

// wantCalm checks that everything that says whether something failed says that nothing did.
func (w *world) wantCalm() {
	w.Helper()
	w.wantTrouble()
}

// wantTrouble checks that the store, /readyz and the metrics agree that exactly these things fail,
// each as "kind failed" or "kind retrying" and maybe several times.
func (w *world) wantTrouble(want ...string) {
	w.Helper()
	w.trouble = len(want) > 0
	slices.Sort(want)
	var listed []string
	failing := map[string]bool{}
	for f, err := range w.store.Jobs().Failures(w.Context()) {
		w.must(err)
		listed = append(listed, f.Kind+" "+stateOf(f))
		failing[strings.TrimSuffix(f.Queue, "_forward")] = true
	}
	slices.Sort(listed)
	if !slices.Equal(listed, want) {
		w.Errorf("failures are %q, want %q", listed, want)
	}

	var counted []string
	metrics := httptest.NewRecorder()
	w.bridge.Metrics().ServeHTTP(metrics, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, m := range regexp.MustCompile(`bridge_failures\{connector="[^"]*",kind="([^"]*)",state="([^"]*)"\} (\d+)`).FindAllStringSubmatch(metrics.Body.String(), -1) {
		n, _ := strconv.Atoi(m[3])
		for range n {
			counted = append(counted, m[1]+" "+m[2])
		}
	}
	slices.Sort(counted)
	if !slices.Equal(counted, want) || !strings.Contains(metrics.Body.String(), "bridge_scrape_failed 0") {
		w.Errorf("the metrics count %q, want %q", counted, want)
	}

	var ready struct {
		Connectors map[string]struct{ State string }
		Failures   struct{ Failed, Retrying int }
	}
	answer := w.do(request(http.MethodGet, "/readyz", nil))
	answer.want(w, http.StatusOK)
	w.must(json.Unmarshal([]byte(answer.body), &ready))
	if ready.Failures.Failed+ready.Failures.Retrying != len(want) {
		w.Errorf("/readyz says %s, want %q", answer.body, want)
	}
	for name, c := range ready.Connectors {
		if (c.State == "failing") != failing[name] {
			w.Errorf("/readyz says that %s is %s, and the failures are %q", name, c.State, listed)
		}
		gauge := fmt.Sprintf("bridge_connector_failing{connector=%q} 1", name)
		if strings.Contains(metrics.Body.String(), gauge) != failing[name] {
			w.Errorf("the metrics disagree with /readyz about %s", name)
		}
	}
}

// wantCount checks that the metrics have a line.
func (w *world) wantCount(line string) {
	w.Helper()
	metrics := httptest.NewRecorder()
	w.bridge.Metrics().ServeHTTP(metrics, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if !strings.Contains(metrics.Body.String(), line+"\n") {
		w.Errorf("the metrics lack %s", line)
	}
}

// wantNoOtherTrouble checks at the end of a test that nothing failed, unless the test expects it.
func (w *world) wantNoOtherTrouble() {
	w.Helper()
	if !w.trouble && !w.Failed() {
		w.wantCalm()
	}
}

func stateOf(f jobs.Failure) string {
	if f.Next.IsZero() {
		return "failed"
	}
	return "retrying"
}

var errorInvalidUser = rocketchattest.Fault{Status: http.StatusBadRequest, Body: `{"success":false,"error":"x","errorType":"error-invalid-user"}`}

func TestPromise13CardsThatCannotBeShownAreListedCountedAndRetried(t *testing.T) {
	inOIDCWorld(t, leadsOperate, func(o *oidcWorld) {
		o.ann()
		o.wantCalm()
		const chats = 6
		o.chat.Fail("im.create", errorInvalidUser, chats)
		for range chats {
			o.bobTakes(o.openChat(withPageKey()))
		}
		o.posts("bob", 0)
		o.wantTrouble(slices.Repeat([]string{"show failed"}, chats)...)
		eve := o.signedIn("eve")
		page := eve.follow("/desk/operations")
		page.want(t, http.StatusOK, "Card for Bob Baker", "error-invalid-user", "Failing", "Dismiss", "Retry all")
		if n := strings.Count(page.body, "Card for Bob Baker</bdi></h3>"); n != chats || strings.Contains(page.body, "Working") {
			t.Errorf("the page shows %d cards, want %d: %s", n, chats, page.body)
		}
		o.pass(2 * time.Hour)
		o.posts("bob", 0)

		eve.press("/desk/retry", map[string][]string{"all": {"1"}}).note(t, templates.NoteRetried)
		o.pass(time.Second)
		o.posts("bob", chats)
		o.wantCalm()
		eve.follow("/desk/operations").want(t, http.StatusOK, "Nothing failed", "Working")
		if got := o.records("retried"); len(got) != chats || got[0].Agent != eveID {
			t.Errorf("audited %+v", got)
		}
	})
}

func TestPromise13AFailedCardIsDismissed(t *testing.T) {
	inOIDCWorld(t, leadsOperate, func(o *oidcWorld) {
		o.ann()
		o.chat.Fail("im.create", errorInvalidUser, 1)
		o.bobTakes(o.openChat(withPageKey()))
		o.wantTrouble("show failed")
		eve := o.signedIn("eve")
		var id string
		for f, err := range o.store.Jobs().Failures(o.Context()) {
			o.must(err)
			id = f.ID()
		}
		eve.press("/desk/retry", map[string][]string{"failure": {id}, "dismiss": {"1"}}).note(t, templates.NoteDismissed)
		o.wantCalm()
		eve.press("/desk/retry", map[string][]string{"failure": {id}, "dismiss": {"1"}}).note(t, templates.NoteRetryGone)
		if got := o.records("dismissed"); len(got) != 1 || got[0].Agent != eveID {
			t.Errorf("audited %+v", got)
		}
	})
}

func TestPromise13WorkThatIsRetriedIsListedUntilItSucceeds(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		w.chat.Fail("im.create", rocketchattest.Fault{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"60"}}}, 1)
		w.bobTakes(w.openChat(withPageKey()))
		w.posts("bob", 0)
		w.wantTrouble("show retrying")
		w.restart()
		w.wantTrouble("show retrying")
		w.pass(2 * time.Minute)
		w.posts("bob", 1)
		w.wantCalm()

		w.chat.Fail("rooms.info", rocketchattest.Fault{Status: http.StatusInternalServerError}, 2)
		w.bobTakes(w.openChat(withPageKey()))
		w.wantTrouble("answer retrying")
		w.pass(time.Minute)
		w.posts("bob", 2)
		w.wantCalm()
	})
}

func TestPromise13WorkOfEveryKindThatFailsIsListedUntilItSucceeds(t *testing.T) {
	down := rocketchattest.Fault{Status: http.StatusInternalServerError}
	retryAll := func(w *world) {
		_, err := w.store.RetryAll(w.Context(), "operator:ann")
		w.must(err)
	}
	var crmDown atomic.Bool
	crm := http.HandlerFunc(func(out http.ResponseWriter, _ *http.Request) {
		if crmDown.Load() {
			out.WriteHeader(http.StatusBadGateway)
		}
	})
	forwarding := options{rocketchat: func(c *rocketchat.Config) {
		c.ForwardURL, _ = url.Parse("https://crm.example.org/rocketchat")
		c.ForwardTransport = bridge.InProcess(crm)
	}}
	for name, c := range map[string]struct {
		options options
		breaks  func(w *world)
		want    string
		heals   func(w *world)
	}{
		"a message that the customer is back": {
			breaks: func(w *world) {
				_, ann, _ := w.bobWaits()
				w.chat.Fail("chat.sendMessage", errorInvalidUser, 1) // the card is edited, with chat.update
				w.upscope.Return(ann)
				w.pass(30 * time.Second)
			},
			want: "tell failed",
			heals: func(w *world) {
				retryAll(w)
				w.pass(time.Second)
				if n := w.backMessages("bob"); n != 1 {
					w.Errorf("bob was told %d times", n)
				}
			},
		},
		"a message for which it is too late": {
			breaks: func(w *world) {
				_, ann, _ := w.bobWaits()
				w.chat.Fail("chat.sendMessage", errorInvalidUser, 1)
				w.upscope.Return(ann)
				w.pass(10 * time.Minute)
				retryAll(w)
				w.pass(time.Second)
				if n := w.backMessages("bob"); n != 0 {
					w.Errorf("bob was told %d times", n)
				}
			},
			want: "tell failed",
			heals: func(w *world) {
				for f, err := range w.store.Jobs().Failures(w.Context()) {
					w.must(err)
					w.must(w.store.Dismiss(w.Context(), f.ID(), "operator:ann"))
				}
			},
		},
		"a forwarded delivery": {
			options: forwarding,
			breaks: func(w *world) {
				crmDown.Store(true)
				w.ann()
				w.bobTakes(w.openChat(withPageKey()))
				w.posts("bob", 1)
			},
			want:  "forward retrying",
			heals: func(w *world) { crmDown.Store(false); w.pass(5 * time.Minute) },
		},
		"a sweep": {
			options: options{sweeping: true},
			breaks: func(w *world) {
				w.chat.Fail("livechat/rooms", down, 2)
				w.pass(3 * time.Minute)
			},
			want:  "sweep retrying",
			heals: func(w *world) { w.pass(15 * time.Minute) },
		},
		"the comparison of open cards": {
			breaks: func(w *world) {
				w.ann()
				w.bobTakes(w.openChat(withPageKey()))
				w.chat.Fail("rooms.info", down, 5)
				w.restart()
				w.pass(29 * time.Second)
				w.pass(29 * time.Second)
			},
			want:  "reconcile retrying",
			heals: func(w *world) { w.pass(12 * time.Minute) },
		},
		"the list of sessions": {
			breaks: func(w *world) {
				_, door := bobHasCard(w)
				w.upscope.Fail(upscopetest.Sessions, upscopetest.Fault{Status: http.StatusInternalServerError}, 3)
				w.browser().press(door, url.Values{"visitor": {w.visitor}}).wantWatch(w)
				w.pass(20 * time.Second)
			},
			want:  "sessions retrying",
			heals: func(w *world) { w.upscope.Heal(); w.pass(time.Minute) },
		},
		"the search for customers": {
			breaks: func(w *world) {
				w.bobWaits()
				w.upscope.Fail(upscopetest.List, upscopetest.Fault{Status: http.StatusInternalServerError}, -1)
				w.upscope.Fail(upscopetest.Visitor, upscopetest.Fault{Status: http.StatusInternalServerError}, -1)
				w.pass(29 * time.Second)
				w.pass(29 * time.Second)
			},
			want:  "waits retrying",
			heals: func(w *world) { w.upscope.Heal(); w.pass(time.Minute) },
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				c.breaks(w)
				w.wantTrouble(c.want)
				c.heals(w)
				w.wantCalm()
			}, c.options)
		})
	}
}

// Slack refuses the app token, so no delivery can arrive through Socket Mode.
func TestPromise13AConnectionThatCannotBeOpenedIsListed(t *testing.T) {
	workspace := slacktest.New(t.Errorf)
	workspace.BotToken, workspace.AppToken = "xoxb-canary-bot-token", "xapp-canary-app-token"
	inWorld(t, func(w *world) {
		w.pass(15 * time.Second)
		w.wantTrouble("listen retrying")
		for f, err := range w.store.Jobs().Failures(w.Context()) {
			w.must(err)
			if f.Queue != "slack" || !strings.Contains(f.Cause, "SLACK_APP_TOKEN") {
				t.Errorf("it fails with %+v", f)
			}
		}
	}, options{config: func(c *bridge.Config) {
		connector, err := slack.New(slack.Config{Name: "slack", Secrets: secret.All(signingSecret), BotToken: secret.New(workspace.BotToken), AppToken: secret.New("xapp-canary-old-token"), Transport: bridge.InProcess(workspace)})
		if err != nil {
			t.Fatal(err)
		}
		c.Connectors = append(c.Connectors, connector)
	}})
}

// A press shows the card at once, without a stored job.
func TestPromise13ACardThatCannotBeShownAfterAPressIsListed(t *testing.T) {
	inWorld(t, func(w *world) {
		_, door := bobHasCard(w)
		w.chat.Fail("im.create", errorInvalidUser, 2)
		w.browser().press(door, url.Values{"visitor": {w.visitor}}).wantWatch(t)
		w.pass(10 * time.Second)
		w.wantTrouble("show failed")
		w.wantCount(`bridge_jobs_total{connector="rocketchat",kind="show",outcome="failed"} 1`)
		_, err := w.store.RetryAll(w.Context(), "operator:ann")
		w.must(err)
		w.pass(time.Second)
		w.wantCalm()
	})
}

func TestPromise13AnAuditEntryThatCannotBeWrittenIsListedUntilItIsDismissed(t *testing.T) {
	inOIDCWorld(t, leadsOperate, func(o *oidcWorld) {
		eve := o.signedIn("eve")
		o.failInserts("audit")
		o.signedIn("bob")
		o.allowInserts()
		o.wantTrouble("audit failed")
		page := eve.follow("/desk/operations")
		page.want(t, http.StatusOK, "Entry in the audit log", "Dismiss")
		if strings.Contains(page.body, ">Retry<") || strings.Contains(page.body, "Retry all") {
			t.Error("the page offers to retry what cannot be retried")
		}
		if err := o.store.Retry(o.Context(), "audit:bridge", "operator:ann"); !errors.Is(err, store.ErrNoRetry) {
			t.Errorf("retried: %v", err)
		}
		eve.press("/desk/retry", url.Values{"failure": {"audit:bridge"}, "dismiss": {"1"}}).note(t, templates.NoteDismissed)
		o.wantCalm()
	})
}

// A job that does not start does not fail, and calls no service. Here its queue is paused, which is like a queue
// whose workers all wait.
func TestPromise13WorkThatDoesNotStartIsAFailure(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		pause := func(value string) {
			w.sql("UPDATE river_queue SET paused_at = " + value + " WHERE name = 'rocketchat'")
			w.restart()
		}
		w.pass(time.Second)
		pause("datetime('now')")
		w.bobTakes(w.openChat(withPageKey()))
		w.pass(30 * time.Second)
		w.wantCalm()
		w.pass(time.Minute)
		w.wantTrouble("queue retrying")
		pause("NULL")
		w.pass(30 * time.Second)
		w.reads("bob", "Co-browse with Ann")
		w.wantCalm()
	})
}
