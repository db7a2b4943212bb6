package bridge_test

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// waiting has bob ask to be told when ann, who is offline, is back.
func (w *world) waiting() (bob *browser, ann, room string) {
	w.Helper()
	bob, ann, room = w.browser(), w.ann(), w.opens(keyed())
	w.upscope.Go(ann)
	w.taken(room)
	w.reads("bob", "is offline")
	bob.follow(w.door("bob")).want(w, http.StatusOK, "Tell me when they are back")
	bob.press(w.door("bob"), url.Values{"tell": {"1"}}).want(w, http.StatusOK, "tell you when they are back")
	return bob, ann, room
}

// told are the messages to an agent that somebody is back.
func (w *world) told(username string) (n int) {
	for _, p := range w.chat.Posts(username) {
		if strings.Contains(p.Text, "is back") {
			n++
		}
	}
	return n
}

func TestAnAgentIsToldOnceThatTheVisitorIsBack(t *testing.T) {
	inWorld(t, func(w *world) {
		_, ann, _ := w.waiting()
		w.pass(2 * time.Minute)
		if w.told("bob") != 0 {
			t.Fatal("told too early")
		}
		w.upscope.Return(ann)
		w.pass(30 * time.Second)
		text := w.posts("bob", 2)
		if !strings.Contains(text, "Ann is back") || !strings.Contains(text, "[Co-browse]") {
			t.Errorf("bob is told %q", text)
		}
		if first := w.chat.Posts("bob")[0].Text; !strings.Contains(first, "Co-browse with Ann") {
			t.Errorf("the card reads %q", first)
		}
		w.posts("eve", 0)

		w.upscope.Go(ann)
		w.pass(time.Minute)
		w.upscope.Return(ann)
		w.pass(2 * time.Minute)
		if n := w.told("bob"); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}

func TestTheMessageThatTheyAreBackLeadsToThem(t *testing.T) {
	inWorld(t, func(w *world) {
		bob, ann, _ := w.waiting()
		w.upscope.Return(ann)
		w.pass(30 * time.Second)
		bob.press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(t)
	})
}

func TestSomebodyWhoComesBackUnderAnotherIdIsFoundByTheirKey(t *testing.T) {
	inWorld(t, func(w *world) {
		bob, _, _ := w.waiting()
		fresh := w.ann() // the same page key, another short id
		w.pass(30 * time.Second)
		if w.told("bob") != 1 {
			t.Fatal("bob is not told")
		}
		bob.follow(w.door("bob")).want(t, http.StatusOK, fresh+".")
	})
}

func TestWaitingStopsOnItsOwn(t *testing.T) {
	for name, stop := range map[string]func(w *world, bob *browser, ann, room string){
		"after an hour": func(w *world, _ *browser, _, _ string) { w.idle(61 * time.Minute) },
		"when the chat is over": func(w *world, _ *browser, _, room string) {
			w.chat.CloseChat(room)
			w.tells("LivechatSession", room)
			w.pass(time.Second)
		},
		"when another agent has the chat": func(w *world, _ *browser, _, room string) {
			w.chat.Forward(room, "eve")
			w.tells("LivechatSessionForwarded", room)
			w.pass(time.Second)
		},
		"when a session began": func(w *world, bob *browser, ann, _ string) {
			bob.press(w.door("bob"), url.Values{"visitor": {ann}, "anyway": {"1"}}).wantWatch(w)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				bob, ann, room := w.waiting()
				stop(w, bob, ann, room)
				w.pass(30 * time.Second)
				before := w.asked(upscopetest.List)
				w.pass(90 * time.Second)
				if n := w.asked(upscopetest.List) - before; n > 1 { // 1: the card's own refresh
					t.Errorf("asked %d more times", n)
				}
				w.upscope.Return(ann)
				w.pass(time.Minute)
				if w.told("bob")+w.told("eve") != 0 {
					t.Error("somebody was told")
				}
			})
		})
	}
}

func TestARestartTellsAnAgentOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		_, ann, _ := w.waiting()
		w.pass(10 * time.Second)
		w.stop()
		w.upscope.Return(ann)
		<-time.After(5 * time.Minute)
		w.run()
		w.pass(30 * time.Second)
		w.stop()
		w.run()
		w.pass(30 * time.Second)
		if n := w.told("bob"); n != 1 {
			t.Errorf("told %d times", n)
		}
	})
}

func TestAThousandWaitsCostABoundedNumberOfCallsAndAreToldInTime(t *testing.T) {
	if testing.Short() {
		t.Skip("a thousand cards take a while")
	}
	inWorld(t, func(w *world) {
		const n = 1000
		visitors, names := make([]string, n), make([]string, n)
		for i := range n {
			key, agent := rand.Text(), fmt.Sprint("agent", i)
			names[i] = agent
			w.chat.AddUser(rocketchattest.User{ID: "u" + agent, Username: agent, Name: agent, Roles: []string{"user", "livechat-agent"}})
			visitors[i] = w.upscope.Come(upscope.Visitor{Name: "Ann", Identities: []string{"rocketchat:" + key}, IsSupported: true})
			w.upscope.SetIntegrationIDs(visitors[i], "rocketchat:"+key)
			w.upscope.Go(visitors[i])
			room := w.opens(map[string]string{"upscope_key": key})
			w.chat.Take(room, agent)
			w.tells("LivechatSessionTaken", room)
		}
		w.pass(20 * time.Second)
		for _, agent := range names {
			w.browser().press(w.door(agent), url.Values{"tell": {"1"}}).want(t, http.StatusOK, "tell you when they are back")
		}
		w.pass(30 * time.Second)
		before := len(w.upscope.Calls())
		<-time.After(time.Minute)
		if calls := len(w.upscope.Calls()) - before; calls > 2400+200 { // and the cards' own refreshes
			t.Errorf("%d calls a minute", calls)
		}
		for _, v := range visitors {
			w.upscope.Return(v)
		}
		<-time.After(30 * time.Second)
		late := 0
		for _, agent := range names {
			if w.told(agent) != 1 {
				late++
			}
		}
		if late > 0 {
			t.Errorf("%d of %d agents were not told within 30 s", late, n)
		}
	})
}

func TestPresenceOnTheCardIsKeptHonestWithinABound(t *testing.T) {
	if testing.Short() {
		t.Skip("follows a card for hours")
	}
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.taken(w.opens(keyed()))
		w.pass(10 * time.Second)
		w.upscope.Go(ann)
		before := len(w.upscope.Calls())
		w.pass(2*time.Minute + 10*time.Second)
		w.reads("bob", "Ann is offline")
		w.upscope.Return(ann)
		w.pass(6 * time.Minute)
		w.reads("bob", "Co-browse with Ann")
		w.pass(3 * time.Hour)
		if n := len(w.upscope.Calls()) - before; n > 5 {
			t.Errorf("%d calls for one card that nobody pressed", n)
		}
	})
}

func TestWhoeverLooksAtTheDoorRefreshesTheCard(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.taken(w.opens(keyed()))
		w.pass(10 * time.Second)
		w.upscope.Go(ann)
		w.browser().follow(w.door("bob")).want(t, http.StatusOK, "is offline")
		w.pass(time.Second)
		w.reads("bob", "Ann is offline")
		if w.upscope.Minted() != 0 {
			t.Error("a look minted a link")
		}
	})
}

func TestTellMeWorksAfterASession(t *testing.T) {
	inWorld(t, func(w *world) {
		bob, _, session := w.watched()
		w.pass(sessionsWait)
		w.upscope.Go(w.visitor)
		w.upscope.End(session, 0)
		w.pass(time.Minute)
		bob.follow(w.door("bob")).want(t, http.StatusOK, "Tell me when they are back")
		bob.press(w.door("bob"), url.Values{"tell": {"1"}}).want(t, http.StatusOK, "tell you when they are back")
		w.pass(10 * time.Second)
		w.upscope.Return(w.visitor)
		w.pass(30 * time.Second)
		if w.told("bob") != 1 {
			t.Errorf("told %d times", w.told("bob"))
		}
	})
}

func TestACardThatWasNotReadyAtFirstIsKeptHonestToo(t *testing.T) {
	inWorld(t, func(w *world) {
		room := w.opens(keyed())
		w.taken(room)
		w.pass(20 * time.Second)
		w.reads("bob", "find Ann yet")
		ann := w.ann()
		w.browser().press(w.door("bob"), url.Values{"look": {"1"}}).want(t, http.StatusOK, "Co-browse with")
		w.pass(time.Second)
		w.reads("bob", "Co-browse with Ann")
		w.upscope.Go(ann)
		w.pass(2*time.Minute + 10*time.Second)
		w.reads("bob", "Ann is offline")
	})
}

func TestPromise7ALookInTheBackgroundSendsNobodyToSomebodyElse(t *testing.T) {
	inWorld(t, func(w *world) {
		bob, room, session := w.watched()
		w.pass(sessionsWait)
		w.upscope.End(session, 0)
		w.chat.CloseChat(room)
		w.tells("LivechatSession", room)
		w.pass(time.Second)

		// bob's browser is known now, and goes straight on as a rule.
		w.taken(w.opens(keyed()))
		zoe := w.upscope.Come(upscope.Visitor{
			Name: "Zoe", UniqueID: "cust-1", Identities: []string{"rocketchat:" + pageKey}, IsSupported: true,
		})
		w.upscope.SetIntegrationIDs(zoe, "rocketchat:"+pageKey)
		w.upscope.Go(w.visitor)
		w.pass(2*time.Minute + 10*time.Second) // the card looks for itself
		minted := w.upscope.Minted()
		bob.follow(w.door("bob")).want(t, http.StatusOK, "different visitor", "Zoe")
		if n := w.upscope.Minted() - minted; n != 0 {
			t.Errorf("%d links for somebody whom nobody has seen", n)
		}
	})
}

func TestUpscopeIsNotAskedForReturnsWhileItWantsToBeLeftAlone(t *testing.T) {
	inWorld(t, func(w *world) {
		_, ann, _ := w.waiting()
		w.upscope.Fail(upscopetest.List, upscopetest.Fault{Status: http.StatusTooManyRequests, RetryAfter: "100"}, 1)
		<-time.After(30 * time.Second)
		asked := w.asked(upscopetest.List)
		<-time.After(70 * time.Second)
		if n := w.asked(upscopetest.List) - asked; n != 0 {
			t.Errorf("asked %d times meanwhile", n)
		}
		w.upscope.Return(ann)
		<-time.After(time.Minute)
		if w.told("bob") != 1 {
			t.Error("bob is not told")
		}
	})
}

func TestStaleNewsAreNotTold(t *testing.T) {
	inWorld(t, func(w *world) {
		_, ann, _ := w.waiting()
		w.chat.Fail("chat.sendMessage", rocketchattest.Fault{Status: http.StatusBadGateway}, 10)
		w.upscope.Return(ann)
		w.pass(30 * time.Minute) // in which the message is tried often enough
		if n := w.told("bob"); n != 0 {
			t.Errorf("told %d times, hours late", n)
		}
	})
}
