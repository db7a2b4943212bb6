package bridge_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// startSession has bob press the door of a chat with ann and open the watch link.
func (w *world) startSession() (bob *browser, room, session string) {
	w.Helper()
	bob, ann, room := w.browser(), w.ann(), w.openChat(withPageKey())
	w.bobTakes(room)
	bob.press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(w)
	return bob, room, w.openLatestLink()
}

// openLatestLink opens the latest watch link and returns the id of the session.
func (w *world) openLatestLink() (session string) {
	w.Helper()
	all := w.upscope.Watches()
	session, err := w.upscope.Open(all[len(all)-1])
	w.must(err)
	return session
}

// reads checks that the only card of an agent contains each text, or does not if "no " is before it.
func (w *world) reads(username string, says ...string) {
	w.Helper()
	text := w.posts(username, 1)
	for _, s := range says {
		s, without := strings.CutPrefix(s, "no ")
		if strings.Contains(text, s) == without {
			w.Errorf("the card reads %q; it contains %q: %v, want %v", text, s, without, !without)
		}
	}
}

// callbackPath returns the path that Upscope calls for the session of the latest watch link.
func (w *world) callbackPath() string {
	all := w.upscope.Watches()
	return strings.TrimPrefix(all[len(all)-1].Body.WebhookURL, origin)
}

// sendCallback sends Upscope's callback about a session, with its body wrapped in the given way.
func (w *world) sendCallback(session string, wrap upscopetest.Wrap) {
	w.Helper()
	client := &http.Client{Transport: bridge.InProcess(w.bridge)}
	if status, err := w.upscope.SendWebhook(w.Context(), client, session, wrap); err != nil || status != http.StatusOK {
		w.Fatalf("Upscope's callback is answered %d, %v", status, err)
	}
}

// callsTo counts the calls to an endpoint of Upscope.
func (w *world) callsTo(e upscopetest.Endpoint) (n int) {
	for _, c := range w.upscope.Calls() {
		if c.Endpoint == e {
			n++
		}
	}
	return n
}

// sessionListCalls counts the calls for the list of sessions.
func (w *world) sessionListCalls() int { return w.callsTo(upscopetest.Sessions) }

func TestTheCardBecomesTheRecordOfTheSession(t *testing.T) {
	inWorld(t, func(w *world) {
		_, _, session := w.startSession()
		w.pass(sessionsWait)
		w.reads("bob", "Session with Ann is running", "Running · Bob Baker", "[Go to session]", "[End session]")

		w.pass(12 * time.Minute)
		w.upscope.End(session, 5, "Helped with the address.")
		w.sendCallback(session, upscopetest.Bare)
		w.pass(5 * time.Second)
		w.reads("bob", "Session with Ann has ended", "12 min · Bob Baker", "5 of 5", "Helped with the address. （Bob Baker）", "no ea_", "(https://app.upscope.io/recordings/"+session+")", "[Co-browse again]", "no CANARY-SECRET-VIDEO")

		// A later rating is added. After that the bridge stops asking for the session.
		w.upscope.Change(session, func(s *upscope.Session) { s.VisitorAgentRating = new(4.5) })
		w.pass(sessionsWait)
		w.reads("bob", "4․5 of 5") // Rocket.Chat gets no dots between letters or digits
		w.pass(15 * time.Minute)
		asked := w.sessionListCalls()
		w.pass(10 * time.Minute)
		if n := w.sessionListCalls() - asked; n != 0 {
			t.Errorf("%d calls for sessions when none is awaited", n)
		}
		if got := strings.Join(w.auditedActions(), " "); got != "asked watching live ended" {
			t.Errorf("audited %s", got)
		}
	})
}

// sessionsWait is long enough for the next call for Upscope's sessions and the changes that
// follow.
const sessionsWait = 17 * time.Second

func TestTheCardShowsOnceHowASessionEnded(t *testing.T) {
	declined := func(s *upscope.Session) { s.WentLive, s.Authorized = false, false }
	unseen := func(s *upscope.Session) { s.WentLive = false }
	for name, test := range map[string]struct {
		change func(*upscope.Session)
		call   func(w *world, session string)
		says   []string
	}{
		"called at once":      {nil, func(w *world, s string) { w.sendCallback(s, upscopetest.Bare) }, []string{"Under a minute"}},
		"called in a wrapper": {nil, func(w *world, s string) { w.sendCallback(s, upscopetest.SessionKey) }, []string{"Under a minute"}},
		"in another wrapper":  {nil, func(w *world, s string) { w.sendCallback(s, upscopetest.CobrowsingSession) }, []string{"Under a minute"}},
		"called twice": {nil, func(w *world, s string) {
			w.sendCallback(s, upscopetest.Bare)
			w.sendCallback(s, upscopetest.SessionKey)
		}, []string{"Under a minute"}},
		"never called": {nil, func(w *world, _ string) { w.pass(sessionsWait) }, []string{"Under a minute"}},
		"called late": {nil, func(w *world, s string) {
			w.pass(20 * time.Minute)
			w.sendCallback(s, upscopetest.Bare)
		}, []string{"Under a minute"}},
		"called with an invalid body": {nil, func(w *world, _ string) {
			w.post(w.callbackPath(), []byte(`[[`), http.Header{}).want(t, http.StatusOK)
		}, []string{"Under a minute"}},
		"declined":   {declined, func(w *world, s string) { w.sendCallback(s, upscopetest.Bare) }, []string{"Ended before the customer agreed"}},
		"never live": {unseen, func(w *world, s string) { w.sendCallback(s, upscopetest.Bare) }, []string{"Ended before an agent saw the page"}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				_, _, session := w.startSession()
				if test.change != nil {
					w.upscope.Change(session, test.change)
				}
				w.pass(40 * time.Second)
				w.upscope.End(session, 0)
				test.call(w, session)
				w.pass(5 * time.Second)
				w.reads("bob", append(test.says, "ession with Ann ")...)
				edits := w.chat.Posts("bob")[0].Edited
				w.sendCallback(session, upscopetest.Bare)
				w.pass(2 * time.Minute)
				if now := w.chat.Posts("bob")[0].Edited; now != edits {
					t.Errorf("the card was edited %d more times without a change", now-edits)
				}
				ended := 0
				for _, action := range w.auditedActions() {
					if action == "ended" {
						ended++
					}
				}
				if ended != 1 {
					t.Errorf("audited %v, want one \"ended\"", w.auditedActions())
				}
			})
		})
	}
}

func TestACallbackIsOnlyAHint(t *testing.T) {
	inWorld(t, func(w *world) {
		_, _, session := w.startSession()
		w.pass(sessionsWait)
		// The callback says that the session is over and of another visitor; both are wrong.
		body, err := json.Marshal(map[string]any{
			"id": session, "visitor_id": "OTHER", "ended_at": time.Now().UTC().Format(time.RFC3339), "length_seconds": 9999,
			"agents": []any{map[string]any{"id": "ea_1", "name": "Mallory"}},
		})
		w.must(err)
		w.post(w.callbackPath(), body, http.Header{}).want(t, http.StatusOK)
		w.pass(sessionsWait)
		w.reads("bob", "Session with Ann is running", "no Mallory", "no ended")
	})
}

func TestForgedCallbacksShowNothingAndCauseNoCalls(t *testing.T) {
	inWorld(t, func(w *world) {
		_, _, session := w.startSession()
		w.pass(sessionsWait)
		w.upscope.End(session, 0)
		genuine := w.callbackPath()
		body := bytes.Repeat([]byte("x"), 2<<20)
		before := w.sessionListCalls()
		for i := range 1000 {
			forged := fmt.Sprintf("/upscope/ended/%043d%s", i, genuine[len(genuine)-36:])
			if got := w.post(forged, body, http.Header{}); got.StatusCode != http.StatusNotFound || got.body != "" {
				t.Fatalf("a forged callback is answered %d %q", got.StatusCode, got.body)
			}
		}
		for _, wrong := range []string{"/upscope/ended/x", genuine[:len(genuine)-1], genuine + "x", strings.Replace(genuine, "ended/", "ended/A", 1)} {
			w.post(wrong, nil, http.Header{}).want(t, http.StatusNotFound)
		}
		if w.do(request(http.MethodGet, genuine, nil)).StatusCode != http.StatusMethodNotAllowed {
			t.Error("a GET is not answered 405")
		}
		w.pass(3 * time.Second)
		if n := w.sessionListCalls() - before; n > 1 {
			t.Errorf("forged callbacks caused %d calls for sessions, want at most 1", n)
		}
	})
}

func TestAThousandGenuineCallbacksCauseFewCalls(t *testing.T) {
	inWorld(t, func(w *world) {
		_, _, session := w.startSession()
		w.pass(sessionsWait)
		w.upscope.End(session, 0)
		before := w.sessionListCalls()
		for range 1000 {
			w.post(w.callbackPath(), []byte("{}"), http.Header{}).want(t, http.StatusOK)
		}
		w.pass(8 * time.Second)
		w.reads("bob", "has ended")
		if n := w.sessionListCalls() - before; n > 2 {
			t.Errorf("%d calls for sessions, want at most 2", n)
		}
	})
}

// An end that Upscope reports late is looked for until it is stored, also if the database fails meanwhile.
func TestAnEndThatIsReportedLateSurvivesAFailureOfTheDatabase(t *testing.T) {
	inWorld(t, func(w *world) {
		_, _, session := w.startSession()
		w.idle(card.MaxSessionLife + time.Hour)
		w.reads("bob", "details unknown") // the card waits no longer
		w.upscope.End(session, 0, "Helped with the address.")
		call, err := json.Marshal(map[string]any{"id": session, "visitor_id": "any", "ended_at": time.Now().UTC().Format(time.RFC3339)})
		w.must(err)
		w.idle(20 * time.Minute)
		w.reads("bob", "details unknown")
		asked := w.sessionListCalls()
		w.post(w.callbackPath(), call, http.Header{}).want(t, http.StatusOK)
		w.sql("CREATE TRIGGER full BEFORE UPDATE ON cards BEGIN SELECT RAISE(ABORT, 'the disk is full'); END")
		w.pass(10 * time.Second)
		if w.sessionListCalls() == asked {
			t.Error("the list was not read while the database failed")
		}
		w.sql("DROP TRIGGER full")
		w.pass(time.Minute)
		w.reads("bob", "Helped with the address.")
	})
}

func TestACallbackAfterThreeDaysIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		w.startSession()
		w.idle(73 * time.Hour)
		w.post(w.callbackPath(), []byte("{}"), http.Header{}).want(t, http.StatusNotFound)
	})
}

func TestSessionsOfOtherProgramsAreIgnored(t *testing.T) {
	inWorld(t, func(w *world) {
		_, room, _ := w.startSession()
		w.pass(sessionsWait)
		// Another user of the same Upscope account writes our metadata name into a session.
		client, err := upscope.New(upscope.Config{URL: "https://api.upscope.io", Key: upscopeKey, Transport: bridge.InProcess(w.upscope)})
		w.must(err)
		card, err := w.store.CardOfChat(w.Context(), "rocketchat", store.KindChat, room)
		w.must(err)
		for _, mark := range []string{card.ID, strings.Repeat("A", 43) + card.ID, ""} {
			_, err = client.Watch(w.Context(), card.Visitor, upscope.WatchRequest{
				Agent: upscope.Agent{ID: "x", Name: "Mallory"}, Metadata: map[string]any{"bridge_card": mark},
			})
			w.must(err)
			w.openLatestLink()
		}
		w.pass(sessionsWait)
		w.reads("bob", "no Mallory", "no Session 2")
	})
}

func TestASecondSessionIsAddedToTheCard(t *testing.T) {
	inWorld(t, func(w *world) {
		bob, _, first := w.startSession()
		ann := w.upscope.Watches()[0].VisitorID
		w.pass(sessionsWait)
		w.upscope.Change(first, func(s *upscope.Session) { s.WentLive, s.Authorized = false, false })
		w.upscope.End(first, 0)
		w.pass(time.Minute)
		w.reads("bob", "Ended before the customer agreed", "[Co-browse again]")

		bob.press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(t)
		second := w.openLatestLink()
		w.pass(sessionsWait)
		w.reads("bob", "Session with Ann is running", "Session 1: Ended before the customer agreed", "Session 2: Running")
		w.upscope.End(second, 0)
		w.pass(sessionsWait)
		w.reads("bob", "has ended", "Session 2: Under a minute")
	})
}

func TestAnUnusedWatchLinkExpires(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.bobTakes(w.openChat(withPageKey()))
		w.browser().press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(t)
		w.pass(5 * time.Minute)
		w.reads("bob", "Waiting for Ann")
		w.pass(6 * time.Minute)
		w.reads("bob", "Co-browse with Ann", "no Session")
	})
}

func TestASessionWithoutAReportedEndCountsAsOverAfterHours(t *testing.T) {
	inWorld(t, func(w *world) {
		w.startSession()
		w.pass(sessionsWait)
		w.idle(13 * time.Hour)
		w.pass(time.Minute)
		w.reads("bob", "has ended", "Ended, details unknown")
	})
}

func TestASessionGoesOnAfterItsChatIsClosed(t *testing.T) {
	inWorld(t, func(w *world) {
		_, room, session := w.startSession()
		w.pass(sessionsWait)
		w.chat.CloseChat(room)
		w.deliverEvent("LivechatSession", room)
		w.pass(3 * time.Second)
		w.reads("bob", "Chat closed", "Running", "the session still runs")
		w.upscope.End(session, 4)
		w.sendCallback(session, upscopetest.Bare)
		w.pass(5 * time.Second)
		w.reads("bob", "Chat closed", "Under a minute", "4 of 5", "no still runs", "no [Co-browse")
	})
}

func TestTheEndOfASessionDuringADowntimeIsFound(t *testing.T) {
	inWorld(t, func(w *world) {
		_, _, session := w.startSession()
		w.pass(sessionsWait)
		w.stop()
		w.upscope.End(session, 3)
		<-time.After(2 * time.Hour)
		w.run()
		w.pass(10 * time.Second)
		w.reads("bob", "has ended", "3 of 5")
	})
}

// A card may be encrypted with a secret that was removed too early.
func TestACardThatCannotBeDecryptedStopsNoOtherSession(t *testing.T) {
	inWorld(t, func(w *world) {
		_, _, session := w.startSession()
		takes := func(username string) (room string) {
			room = w.openChat(withPageKey())
			w.chat.Take(room, username)
			w.deliverEvent("LivechatSessionTaken", room)
			w.pass(time.Second)
			w.browser().press(w.door(username), url.Values{"visitor": {w.visitor}}).wantWatch(t)
			return room
		}
		damaged := takes("eve")
		w.chat.AddUser(rocketchattest.User{ID: "a3", Username: "kim", Name: "Kim King", Roles: []string{"livechat-agent"}})
		takes("kim") // does not use the link
		w.sql("UPDATE cards SET detail = x'00' WHERE chat = '" + damaged + "'")
		w.restart()
		w.pass(sessionsWait)
		w.upscope.End(session, 4)
		w.pass(sessionsWait)
		w.reads("bob", "has ended", "4 of 5")
		w.pass(20 * time.Minute)
		w.reads("kim", "Co-browse with Ann", "no Waiting")
		w.wantTrouble("sessions retrying")
	})
}

func TestAnUpscopeOutageLosesNoSession(t *testing.T) {
	inWorld(t, func(w *world) {
		_, _, session := w.startSession()
		w.pass(sessionsWait)
		w.upscope.Fail(upscopetest.Sessions, upscopetest.Fault{Status: http.StatusInternalServerError}, 100_000)
		w.upscope.End(session, 3)
		w.sendCallback(session, upscopetest.Bare)
		w.pass(20 * time.Minute)
		w.reads("bob", "Session with Ann is running")
		w.upscope.Heal()
		w.pass(time.Minute)
		w.reads("bob", "has ended", "3 of 5")
	})
}

func TestAnAgentCanEndTheSession(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.bobTakes(w.openChat(withPageKey()))
		bob := w.browser()
		bob.press(w.door("bob"), url.Values{"stop": {"1"}}).want(t, http.StatusOK, "Co-browse with")
		if n := w.callsTo(upscopetest.StopSession); n != 0 {
			t.Fatalf("%d calls to stop a session before one began, want none", n)
		}
		bob.press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(t)
		w.openLatestLink()
		w.pass(sessionsWait)
		w.reads("bob", "?stop=1)")
		bob.follow(w.door("bob")+"?stop=1").want(t, http.StatusOK, "End the session with", "Keep session running")
		if w.callsTo(upscopetest.StopSession) != 0 || w.upscope.Minted() != 1 {
			t.Error("a GET stopped the session or made a watch link")
		}
		bob.submitByScript(w.door("bob"), url.Values{"stop": {"1"}}).want(t, http.StatusForbidden)
		w.browser().press(w.door("bob"), url.Values{"stop": {"1"}}).want(t, http.StatusForbidden)
		bob.press(w.door("bob"), url.Values{"stop": {"1"}}).want(t, http.StatusOK, "The session has ended")
		w.pass(5 * time.Second)
		w.reads("bob", "has ended")
		if got := strings.Join(w.auditedActions(), " "); got != "asked watching live refused stopping ended" {
			t.Errorf("audited %s", got)
		}
	})
}

func TestNothingThatUpscopeShowsTheVisitorHoldsAHandle(t *testing.T) {
	inWorld(t, func(w *world) {
		w.startSession()
		b := w.upscope.Watches()[0].Body
		if address := b.Branding.OnEndURL; address == nil || *address != origin+"/after" {
			t.Fatalf("after the session Upscope leads to %v, want %s/after", address, origin)
		}
		if b.Branding.RetryURL != nil {
			t.Errorf("Upscope offers to retry at %s, which cannot lead back to the card", *b.Branding.RetryURL)
		}
		w.do(request(http.MethodGet, "/after", nil)).want(t, http.StatusOK, "There is no session now")
		door := strings.TrimPrefix(w.door("bob"), "/w/")
		if strings.Contains(string(w.upscope.Watches()[0].Raw), door[:20]) {
			t.Error("the request to Upscope contains the handle")
		}
	})
}

func TestAnUnusedWatchLinkDuringASessionChangesNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		bob, _, session := w.startSession()
		w.pass(sessionsWait)
		bob.press(w.door("bob"), url.Values{"visitor": {w.visitor}}).wantWatch(t)
		w.pass(15 * time.Minute)
		w.reads("bob", "Session with Ann is running", "no did not report")
		w.upscope.End(session, 5)
		w.pass(sessionsWait)
		w.reads("bob", "has ended", "5 of 5", "no did not report")
	})
}

func TestStopEndsTheSessionOfTheCardAfterItsVisitorChanged(t *testing.T) {
	inWorld(t, func(w *world) {
		bob, _, session := w.startSession()
		first := w.visitor
		w.pass(sessionsWait)
		fresh := w.ann()
		w.upscope.Go(first)
		bob.press(w.door("bob"), url.Values{"look": {"1"}}).want(t, http.StatusOK, fresh)
		bob.press(w.door("bob"), url.Values{"stop": {"1"}}).want(t, http.StatusOK, "The session has ended")
		for _, c := range w.upscope.Calls() {
			if c.Endpoint == upscopetest.StopSession && !strings.Contains(c.RequestURI, first) {
				t.Errorf("the call is %s, but session %s is of visitor %s", c.RequestURI, session, first)
			}
		}
		w.pass(sessionsWait)
		w.reads("bob", "has ended")
	})
}

func TestEmptyNotesDoNotChangeTheCard(t *testing.T) {
	inWorld(t, func(w *world) {
		_, room, _ := w.startSession()
		w.pass(sessionsWait)
		before, err := w.store.CardOfChat(w.Context(), "rocketchat", store.KindChat, room)
		w.must(err)
		w.pass(2 * time.Minute)
		after, err := w.store.CardOfChat(w.Context(), "rocketchat", store.KindChat, room)
		w.must(err)
		if after.Version != before.Version || !after.DoorUntil.Equal(before.DoorUntil) {
			t.Errorf("the card changed from version %d to %d without news", before.Version, after.Version)
		}
	})
}

func TestACardKeepsItsLatestSessions(t *testing.T) {
	inWorld(t, func(w *world) {
		bob, room, _ := w.startSession()
		for range 22 {
			w.pass(61 * time.Second)
			w.upscope.End(w.visitor, 0)
			bob.press(w.door("bob"), url.Values{"visitor": {w.visitor}}).wantWatch(t)
			w.openLatestLink()
		}
		w.pass(2 * time.Minute)
		w.reads("bob", "Session with Ann is running", "Session 20: Running")
		live := 0
		for record, err := range w.store.AuditLog().After(w.Context(), 0) {
			w.must(err)
			if record.Action == "live" && strings.Contains(record.Chat, room) {
				live++
			}
		}
		if live != 23 {
			t.Errorf("%d audit records of live sessions, want 23", live)
		}
	})
}

func TestSessionsAreNotRequestedBeforeRetryAfterHasPassed(t *testing.T) {
	inWorld(t, func(w *world) {
		_, _, session := w.startSession()
		w.upscope.Fail(upscopetest.Sessions, upscopetest.Fault{Status: http.StatusTooManyRequests, RetryAfter: "110"}, 1)
		<-time.After(sessionsWait)
		asked := w.sessionListCalls()
		w.upscope.End(session, 0)
		for range 3 {
			w.sendCallback(session, upscopetest.Bare)
			<-time.After(31 * time.Second)
		}
		if n := w.sessionListCalls() - asked; n != 0 {
			t.Errorf("%d calls before Retry-After has passed, want none", n)
		}
		<-time.After(30 * time.Second)
		w.pass(time.Second)
		w.reads("bob", "has ended")
	})
}

func TestACardThatCannotBeShownAtOnceIsShownLater(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.bobTakes(w.openChat(withPageKey()))
		w.chat.Fail("chat.update", rocketchattest.Fault{Status: http.StatusBadGateway}, 2)
		w.browser().press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(t)
		w.pass(time.Second)
		w.reads("bob", "Co-browse with Ann")
		w.pass(15 * time.Second)
		w.reads("bob", "Waiting for Ann")
	})
}

func TestARestartLosesNoUpdateOfACard(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.bobTakes(w.openChat(withPageKey()))
		w.chat.Fail("chat.update", rocketchattest.Fault{Hang: true}, 1)
		w.browser().press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(t)
		w.restart()
		w.pass(90 * time.Second)
		w.reads("bob", "Waiting for Ann")
	})
}

func TestACardUpdateWaitsForTheRateLimitToReset(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.bobTakes(w.openChat(withPageKey()))
		reset := strconv.FormatInt(time.Now().Add(60*time.Second).UnixMilli(), 10)
		w.chat.Fail("chat.update", rocketchattest.Fault{
			Status: http.StatusTooManyRequests, Header: http.Header{"X-Ratelimit-Reset": {reset}},
		}, 1)
		w.browser().press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(t)
		w.pass(40 * time.Second)
		edits := 0
		for _, r := range w.chat.Requests() {
			if strings.HasSuffix(r.Path, "chat.update") {
				edits++
			}
		}
		if edits != 1 {
			t.Errorf("%d edits within 40 s, want 1: the next may come after 60 s", edits)
		}
		w.pass(40 * time.Second)
		w.reads("bob", "Waiting for Ann")
	})
}
