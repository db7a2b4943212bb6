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
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// watched has bob press the door of a chat with ann, and open the link.
func (w *world) watched() (bob *browser, room, session string) {
	w.Helper()
	bob, ann, room := w.browser(), w.ann(), w.opens(keyed())
	w.taken(room)
	bob.press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(w)
	return bob, room, w.begun()
}

// begun opens the link that was minted last.
func (w *world) begun() (session string) {
	w.Helper()
	all := w.upscope.Watches()
	session, err := w.upscope.Open(all[len(all)-1])
	w.must(err)
	return session
}

// reads checks what the one card of an agent says, and what it does not.
func (w *world) reads(username string, says ...string) {
	w.Helper()
	text := w.posts(username, 1)
	for _, s := range says {
		s, without := strings.CutPrefix(s, "no ")
		if strings.Contains(text, s) == without {
			w.Errorf("the card reads %q; that it does not say %q should be %v", text, s, without)
		}
	}
}

// callback is the address that Upscope calls for the session that was minted last.
func (w *world) callback() string {
	all := w.upscope.Watches()
	return strings.TrimPrefix(all[len(all)-1].Body.WebhookURL, origin)
}

// calls has Upscope call back about a session, in a shape of its choice.
func (w *world) calls(session string, wrap upscopetest.Wrap) {
	w.Helper()
	client := &http.Client{Transport: bridge.InProcess(w.bridge)}
	if status, err := w.upscope.SendWebhook(w.Context(), client, session, wrap); err != nil || status != http.StatusOK {
		w.Fatalf("Upscope's call is answered %d, %v", status, err)
	}
}

// asked counts what was asked of an endpoint of Upscope.
func (w *world) asked(e upscopetest.Endpoint) (n int) {
	for _, c := range w.upscope.Calls() {
		if c.Endpoint == e {
			n++
		}
	}
	return n
}

func (w *world) lists() int { return w.asked(upscopetest.Sessions) }

func TestTheCardBecomesTheRecordOfTheSession(t *testing.T) {
	inWorld(t, func(w *world) {
		_, _, session := w.watched()
		w.pass(sessionsWait)
		w.reads("bob", "Live with Ann", "running · Bob Baker", "[Join]", "[Stop]")

		w.pass(12 * time.Minute)
		w.upscope.End(session, 5, "Helped with the address.")
		w.calls(session, upscopetest.Bare)
		w.pass(5 * time.Second)
		w.reads("bob", "Co-browsing with Ann is over", "12 min · Bob Baker", "5 of 5", "Helped with the address", "(https://app.upscope.io/recordings/"+session+")", "[Co-browse again]", "no CANARY-SECRET-VIDEO")

		// A rating that comes later is added, and then nobody asks any more.
		w.upscope.Change(session, func(s *upscope.Session) { s.VisitorAgentRating = 2 })
		w.pass(sessionsWait)
		w.reads("bob", "2 of 5")
		w.pass(15 * time.Minute)
		asked := w.lists()
		w.pass(10 * time.Minute)
		if n := w.lists() - asked; n != 0 {
			t.Errorf("%d looks at sessions with nothing to wait for", n)
		}
		if got := strings.Join(w.actions(), " "); got != "asked watching live ended" {
			t.Errorf("recorded %s", got)
		}
	})
}

// sessionsWait is long enough for the next look at Upscope's sessions and what
// follows from it.
const sessionsWait = 17 * time.Second

func TestHoweverASessionEndsTheCardShowsTheTruthOnce(t *testing.T) {
	declined := func(s *upscope.Session) { s.WentLive, s.Authorized = false, false }
	unseen := func(s *upscope.Session) { s.WentLive = false }
	for name, test := range map[string]struct {
		change func(*upscope.Session)
		call   func(w *world, session string)
		says   []string
	}{
		"called at once":      {nil, func(w *world, s string) { w.calls(s, upscopetest.Bare) }, []string{"under a minute"}},
		"called in a wrapper": {nil, func(w *world, s string) { w.calls(s, upscopetest.SessionKey) }, []string{"under a minute"}},
		"in another wrapper":  {nil, func(w *world, s string) { w.calls(s, upscopetest.CobrowsingSession) }, []string{"under a minute"}},
		"called twice": {nil, func(w *world, s string) {
			w.calls(s, upscopetest.Bare)
			w.calls(s, upscopetest.SessionKey)
		}, []string{"under a minute"}},
		"never called": {nil, func(w *world, _ string) { w.pass(sessionsWait) }, []string{"under a minute"}},
		"called late": {nil, func(w *world, s string) {
			w.pass(20 * time.Minute)
			w.calls(s, upscopetest.Bare)
		}, []string{"under a minute"}},
		"called with nonsense": {nil, func(w *world, _ string) {
			w.post(w.callback(), []byte(`[[`), http.Header{}).want(t, http.StatusOK)
		}, []string{"under a minute"}},
		"declined":   {declined, func(w *world, s string) { w.calls(s, upscopetest.Bare) }, []string{"the customer did not agree"}},
		"never live": {unseen, func(w *world, s string) { w.calls(s, upscopetest.Bare) }, []string{"ended before anything was seen"}},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				_, _, session := w.watched()
				if test.change != nil {
					w.upscope.Change(session, test.change)
				}
				w.pass(40 * time.Second)
				w.upscope.End(session, 0)
				test.call(w, session)
				w.pass(5 * time.Second)
				w.reads("bob", append(test.says, "Co-browsing with Ann is over")...)
				edits := w.chat.Posts("bob")[0].Edited
				w.calls(session, upscopetest.Bare)
				w.pass(2 * time.Minute)
				if now := w.chat.Posts("bob")[0].Edited; now != edits {
					t.Errorf("the card was edited %d more times for the same news", now-edits)
				}
				ended := 0
				for _, action := range w.actions() {
					if action == "ended" {
						ended++
					}
				}
				if ended != 1 {
					t.Errorf("recorded %v", w.actions())
				}
			})
		})
	}
}

func TestACallIsOnlyAHint(t *testing.T) {
	inWorld(t, func(w *world) {
		_, _, session := w.watched()
		w.pass(sessionsWait)
		// It says that the session is over, and of another visitor, while it goes on.
		body, err := json.Marshal(map[string]any{
			"id": session, "visitor_id": "OTHER", "ended_at": time.Now().UTC().Format(time.RFC3339), "length_seconds": 9999,
			"agents": []any{map[string]any{"id": "ea_1", "name": "Mallory"}},
		})
		w.must(err)
		w.post(w.callback(), body, http.Header{}).want(t, http.StatusOK)
		w.pass(sessionsWait)
		w.reads("bob", "Live with Ann", "no Mallory", "no over")
	})
}

func TestForgedCallsShowNothingAndCostNoLooks(t *testing.T) {
	inWorld(t, func(w *world) {
		_, _, session := w.watched()
		w.pass(sessionsWait)
		w.upscope.End(session, 0)
		genuine := w.callback()
		body := bytes.Repeat([]byte("x"), 2<<20)
		before := w.lists()
		for i := range 1000 {
			forged := fmt.Sprintf("/upscope/ended/%043d%s", i, genuine[len(genuine)-36:])
			if got := w.post(forged, body, http.Header{}); got.StatusCode != http.StatusNotFound || got.body != "" {
				t.Fatalf("a forged call is answered %d %q", got.StatusCode, got.body)
			}
		}
		for _, short := range []string{"/upscope/ended/x", genuine[:len(genuine)-1], genuine + "x", strings.Replace(genuine, "ended/", "ended/A", 1)} {
			w.post(short, nil, http.Header{}).want(t, http.StatusNotFound)
		}
		if w.do(request(http.MethodGet, genuine, nil)).StatusCode != http.StatusMethodNotAllowed {
			t.Error("a GET is listened to")
		}
		w.pass(3 * time.Second)
		if n := w.lists() - before; n > 1 {
			t.Errorf("forged calls cost %d looks", n)
		}
	})
}

func TestAThousandGenuineCallsCostALook(t *testing.T) {
	inWorld(t, func(w *world) {
		_, _, session := w.watched()
		w.pass(sessionsWait)
		w.upscope.End(session, 0)
		before := w.lists()
		for range 1000 {
			w.post(w.callback(), []byte("{}"), http.Header{}).want(t, http.StatusOK)
		}
		w.pass(8 * time.Second)
		w.reads("bob", "is over")
		if n := w.lists() - before; n > 2 {
			t.Errorf("%d looks", n)
		}
	})
}

func TestACallOfDaysLaterIsNotListenedTo(t *testing.T) {
	inWorld(t, func(w *world) {
		w.watched()
		w.idle(73 * time.Hour)
		w.post(w.callback(), []byte("{}"), http.Header{}).want(t, http.StatusNotFound)
	})
}

func TestSessionsOfOthersAreNotTaken(t *testing.T) {
	inWorld(t, func(w *world) {
		_, room, _ := w.watched()
		w.pass(sessionsWait)
		// Somebody else with the same Upscope account writes our name into a
		// session's metadata.
		client, err := upscope.New(upscope.Config{URL: "https://api.upscope.io", Key: upscopeKey, Transport: bridge.InProcess(w.upscope)})
		w.must(err)
		card, err := w.store.CardOfChat(w.Context(), "rocketchat", room)
		w.must(err)
		for _, mark := range []string{card.ID, strings.Repeat("A", 43) + card.ID, ""} {
			_, err = client.Watch(w.Context(), card.Visitor, upscope.WatchRequest{
				Agent: upscope.Agent{ID: "x", Name: "Mallory"}, Metadata: map[string]any{"bridge_card": mark},
			})
			w.must(err)
			w.begun()
		}
		w.pass(sessionsWait)
		w.reads("bob", "no Mallory", "no Session 2")
	})
}

func TestASessionThatBeginsTwiceIsTwoInTheRecord(t *testing.T) {
	inWorld(t, func(w *world) {
		bob, _, first := w.watched()
		ann := w.upscope.Watches()[0].VisitorID
		w.pass(sessionsWait)
		w.upscope.Change(first, func(s *upscope.Session) { s.WentLive, s.Authorized = false, false })
		w.upscope.End(first, 0)
		w.pass(time.Minute)
		w.reads("bob", "the customer did not agree", "[Co-browse again]")

		bob.press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(t)
		second := w.begun()
		w.pass(sessionsWait)
		w.reads("bob", "Live with Ann", "Session 1: the customer did not agree", "Session 2: running")
		w.upscope.End(second, 0)
		w.pass(sessionsWait)
		w.reads("bob", "is over", "Session 2: under a minute")
	})
}

func TestALinkThatNobodyUsesLapses(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.taken(w.opens(keyed()))
		w.browser().press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(t)
		w.pass(5 * time.Minute)
		w.reads("bob", "Co-browsing with Ann")
		w.pass(6 * time.Minute)
		w.reads("bob", "Co-browse with Ann", "no Session")
	})
}

func TestASessionWhoseEndIsNeverToldIsGivenUp(t *testing.T) {
	inWorld(t, func(w *world) {
		w.watched()
		w.pass(sessionsWait)
		w.idle(13 * time.Hour)
		w.pass(time.Minute)
		w.reads("bob", "is over", "Upscope has not said how it ended")
	})
}

func TestASessionOutlivesItsChat(t *testing.T) {
	inWorld(t, func(w *world) {
		_, room, session := w.watched()
		w.pass(sessionsWait)
		w.chat.CloseChat(room)
		w.tells("LivechatSession", room)
		w.pass(3 * time.Second)
		w.reads("bob", "Chat closed", "running", "goes on")
		w.upscope.End(session, 4)
		w.calls(session, upscopetest.Bare)
		w.pass(5 * time.Second)
		w.reads("bob", "Chat closed", "under a minute", "4 of 5", "no goes on", "no [Co-browse")
	})
}

func TestNewsThatCameWhileTheBridgeWasDownAreFound(t *testing.T) {
	inWorld(t, func(w *world) {
		_, _, session := w.watched()
		w.pass(sessionsWait)
		w.stop()
		w.upscope.End(session, 3)
		<-time.After(2 * time.Hour)
		w.run()
		w.pass(10 * time.Second)
		w.reads("bob", "is over", "3 of 5")
	})
}

func TestAnUpscopeThatIsDownLosesNoSession(t *testing.T) {
	inWorld(t, func(w *world) {
		_, _, session := w.watched()
		w.pass(sessionsWait)
		w.upscope.Fail(upscopetest.Sessions, upscopetest.Fault{Status: http.StatusInternalServerError}, 100_000)
		w.upscope.End(session, 3)
		w.calls(session, upscopetest.Bare)
		w.pass(20 * time.Minute)
		w.reads("bob", "Live with Ann")
		w.upscope.Heal()
		w.pass(time.Minute)
		w.reads("bob", "is over", "3 of 5")
	})
}

func TestAnAgentCanEndTheSession(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.taken(w.opens(keyed()))
		bob := w.browser()
		bob.press(w.door("bob"), url.Values{"stop": {"1"}}).want(t, http.StatusOK, "Co-browse with")
		if n := w.asked(upscopetest.StopSession); n != 0 {
			t.Fatalf("%d sessions of others were ended", n)
		}
		bob.press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(t)
		w.begun()
		w.pass(sessionsWait)
		w.reads("bob", "?stop=1)")
		bob.follow(w.door("bob")+"?stop=1").want(t, http.StatusOK, "End the session with", "Keep it running")
		if w.asked(upscopetest.StopSession) != 0 || w.upscope.Minted() != 1 {
			t.Error("a GET ended or minted something")
		}
		bob.script(w.door("bob"), url.Values{"stop": {"1"}}).want(t, http.StatusForbidden)
		w.browser().press(w.door("bob"), url.Values{"stop": {"1"}}).want(t, http.StatusForbidden)
		bob.press(w.door("bob"), url.Values{"stop": {"1"}}).want(t, http.StatusOK, "The session is ended")
		w.pass(5 * time.Second)
		w.reads("bob", "is over")
		if got := strings.Join(w.actions(), " "); got != "asked watching live refused stopping ended" {
			t.Errorf("recorded %s", got)
		}
	})
}

func TestNothingThatUpscopeShowsTheVisitorHoldsAHandle(t *testing.T) {
	inWorld(t, func(w *world) {
		w.watched()
		b := w.upscope.Watches()[0].Body
		for _, address := range []*string{b.Branding.RetryURL, b.Branding.OnEndURL} {
			if address == nil || *address != origin+"/after" {
				t.Fatalf("%v", address)
			}
		}
		w.do(request(http.MethodGet, "/after", nil)).want(t, http.StatusOK, "The session is over")
		door := strings.TrimPrefix(w.door("bob"), "/w/")
		if strings.Contains(string(w.upscope.Watches()[0].Raw), door[:20]) {
			t.Error("Upscope has the handle")
		}
	})
}

func TestAPressDuringASessionThatNobodyUsesHarmsNothing(t *testing.T) {
	inWorld(t, func(w *world) {
		bob, _, session := w.watched()
		w.pass(sessionsWait)
		bob.press(w.door("bob"), url.Values{"visitor": {w.visitor}}).wantWatch(t)
		w.pass(15 * time.Minute)
		w.reads("bob", "Live with Ann", "no said how")
		w.upscope.End(session, 5)
		w.pass(sessionsWait)
		w.reads("bob", "is over", "5 of 5", "no said how")
	})
}

func TestStopEndsTheSessionOfTheCardWhoeverItsVisitorIsNow(t *testing.T) {
	inWorld(t, func(w *world) {
		bob, _, session := w.watched()
		first := w.visitor
		w.pass(sessionsWait)
		fresh := w.ann()
		w.upscope.Go(first)
		bob.press(w.door("bob"), url.Values{"look": {"1"}}).want(t, http.StatusOK, fresh)
		bob.press(w.door("bob"), url.Values{"stop": {"1"}}).want(t, http.StatusOK, "The session is ended")
		for _, c := range w.upscope.Calls() {
			if c.Endpoint == upscopetest.StopSession && !strings.Contains(c.RequestURI, first) {
				t.Errorf("asked for %s, and %s is of %s", c.RequestURI, session, first)
			}
		}
		w.pass(sessionsWait)
		w.reads("bob", "is over")
	})
}

func TestEmptyNotesAreNoNews(t *testing.T) {
	inWorld(t, func(w *world) {
		_, room, _ := w.watched()
		w.pass(sessionsWait)
		before, err := w.store.CardOfChat(w.Context(), "rocketchat", room)
		w.must(err)
		w.pass(2 * time.Minute)
		after, err := w.store.CardOfChat(w.Context(), "rocketchat", room)
		w.must(err)
		if after.Version != before.Version || !after.DoorUntil.Equal(before.DoorUntil) {
			t.Errorf("version %d became %d with no news", before.Version, after.Version)
		}
	})
}

func TestACardKeepsItsLatestSessions(t *testing.T) {
	inWorld(t, func(w *world) {
		bob, room, _ := w.watched()
		for range 22 {
			w.pass(61 * time.Second)
			w.upscope.End(w.visitor, 0)
			bob.press(w.door("bob"), url.Values{"visitor": {w.visitor}}).wantWatch(t)
			w.begun()
		}
		w.pass(2 * time.Minute)
		w.reads("bob", "Live with Ann", "Session 20: running")
		live := 0
		for record, err := range w.store.Audit(w.Context(), 0) {
			w.must(err)
			if record.Action == "live" && strings.Contains(record.Chat, room) {
				live++
			}
		}
		if live != 23 {
			t.Errorf("%d sessions went live on record, and 23 did", live)
		}
	})
}

func TestUpscopeIsLeftAloneForAsLongAsItSays(t *testing.T) {
	inWorld(t, func(w *world) {
		_, _, session := w.watched()
		w.upscope.Fail(upscopetest.Sessions, upscopetest.Fault{Status: http.StatusTooManyRequests, RetryAfter: "110"}, 1)
		<-time.After(sessionsWait)
		asked := w.lists()
		w.upscope.End(session, 0)
		for range 3 {
			w.calls(session, upscopetest.Bare)
			<-time.After(31 * time.Second)
		}
		if n := w.lists() - asked; n != 0 {
			t.Errorf("asked %d times meanwhile", n)
		}
		<-time.After(30 * time.Second)
		w.pass(time.Second)
		w.reads("bob", "is over")
	})
}

func TestACardThatCannotBeShownAtOnceIsShownLater(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.taken(w.opens(keyed()))
		w.chat.Fail("chat.update", rocketchattest.Fault{Status: http.StatusBadGateway}, 2)
		w.browser().press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(t)
		w.pass(time.Second)
		w.reads("bob", "Co-browse with Ann")
		w.pass(15 * time.Second)
		w.reads("bob", "Co-browsing with Ann")
	})
}

func TestAStopShowsOrStoresWhatIsStillToBeShown(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.taken(w.opens(keyed()))
		w.chat.Fail("chat.update", rocketchattest.Fault{Hang: true}, 1)
		w.browser().press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(t)
		w.restart()
		w.pass(90 * time.Second)
		w.reads("bob", "Co-browsing with Ann")
	})
}

func TestACardThatHasToWaitIsShownNoSooner(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.taken(w.opens(keyed()))
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
			t.Errorf("asked to edit %d times within 40 s, and 60 were to pass", edits)
		}
		w.pass(40 * time.Second)
		w.reads("bob", "Co-browsing with Ann")
	})
}
