package bridge_test

import (
	"net/http"
	"net/url"
	"testing"
	"time"

	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// A situation is a card in one of its states. Bring creates it. After a restart, then changes
// the card, which must end up with the text says.
type situation struct {
	state card.State
	bring func(w *world) (bob *browser, room string)
	then  func(w *world, bob *browser, room string)
	says  string
}

func situations() []situation {
	opens := func(w *world, bob *browser, _ string) {
		w.upscope.Heal()
		visitor := w.ann()
		w.pass(6 * time.Second)
		bob.press(w.door("bob"), url.Values{"look": {"1"}}).want(w, http.StatusOK, visitor)
	}
	chat := func(prepare func(w *world)) func(w *world) (*browser, string) {
		return func(w *world) (*browser, string) {
			prepare(w)
			room := w.openChat(withPageKey())
			w.bobTakes(room)
			return w.browser(), room
		}
	}
	closes := func(w *world, _ *browser, room string) {
		w.chat.CloseChat(room)
		w.deliverEvent("LivechatSession", room)
	}
	watched := func(w *world) (*browser, string) {
		bob, room, _ := w.startSession()
		return bob, room
	}
	return []situation{
		{card.Searching, chat(func(*world) {}), func(w *world, _ *browser, _ string) {
			w.ann()
			w.pass(20 * time.Second)
		}, "Co-browse with Ann"},
		{card.NoVisitor, func(w *world) (*browser, string) {
			bob, room := chat(func(*world) {})(w)
			w.pass(20 * time.Second)
			return bob, room
		}, opens, "Co-browse with Ann"},
		{card.Failed, func(w *world) (*browser, string) {
			w.upscope.Fail(upscopetest.List, upscopetest.Fault{Status: http.StatusInternalServerError}, 100)
			bob, room := chat(func(*world) {})(w)
			w.pass(2 * time.Minute)
			return bob, room
		}, func(w *world, _ *browser, _ string) {
			w.upscope.Heal()
			w.ann()
			w.pass(10 * time.Minute)
		}, "Co-browse with Ann"},
		{card.Choose, chat(func(w *world) {
			w.ann()
			w.ann()
		}), closes, "Chat closed"},
		{card.Offline, chat(func(w *world) { w.upscope.Go(w.ann()) }), closes, "Chat closed"},
		{card.Ready, chat(func(w *world) { w.ann() }), closes, "Chat closed"},
		{card.Opened, func(w *world) (*browser, string) {
			bob, room := chat(func(w *world) { w.ann() })(w)
			bob.follow(w.door("bob"))
			bob.press(w.door("bob"), url.Values{"visitor": {w.visitor}}).wantWatch(w)
			w.pass(time.Second)
			return bob, room
		}, func(w *world, _ *browser, _ string) {
			w.openLatestLink()
			w.pass(sessionsWait)
		}, "Session with Ann is running"},
		{card.Live, func(w *world) (*browser, string) {
			bob, room := watched(w)
			w.pass(sessionsWait)
			return bob, room
		}, func(w *world, _ *browser, _ string) {
			w.upscope.End(w.upscope.SessionIDs()[0], 5)
			w.pass(sessionsWait)
		}, "5 of 5"},
		{card.Ended, func(w *world) (*browser, string) {
			bob, room := watched(w)
			w.pass(sessionsWait)
			w.upscope.End(w.upscope.SessionIDs()[0], 0)
			w.pass(sessionsWait)
			return bob, room
		}, func(w *world, _ *browser, _ string) {
			w.upscope.Change(w.upscope.SessionIDs()[0], func(s *upscope.Session) { s.VisitorAgentRating = new(4.0) })
			w.pass(sessionsWait)
		}, "4 of 5"},
		{card.Closed, func(w *world) (*browser, string) {
			bob, room := watched(w)
			w.pass(sessionsWait)
			closes(w, bob, room)
			w.pass(time.Second)
			return bob, room
		}, func(w *world, _ *browser, _ string) {
			w.upscope.End(w.upscope.SessionIDs()[0], 3)
			w.pass(sessionsWait)
		}, "3 of 5"},
	}
}

func TestARestartInAnyStateLosesAndRepeatsNothing(t *testing.T) {
	for _, s := range situations() {
		t.Run(string(s.state), func(t *testing.T) {
			inWorld(t, func(w *world) {
				bob, room := s.bring(w)
				card, err := w.store.CardOfChat(w.Context(), "rocketchat", store.KindChat, room)
				w.must(err)
				if card.State != string(s.state) {
					t.Fatalf("the card is %s, want %s", card.State, s.state)
				}
				before := w.chat.Posts("bob")
				w.restart()
				w.pass(time.Second)
				after := w.chat.Posts("bob")
				if len(after) != len(before) || len(after) == 1 && after[0] != before[0] {
					t.Errorf("the restart changed the messages %+v to %+v", before, after)
				}
				s.then(w, bob, room)
				w.pass(2 * time.Second)
				w.reads("bob", s.says)
				if len(w.chat.Posts("eve")) != 0 {
					t.Error("eve got a message")
				}
			})
		})
	}
}
