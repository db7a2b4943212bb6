package bridge_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store"
)

// A chatLoss is a way in which an agent loses a chat, and the event about it.
type chatLoss struct {
	name  string
	lose  func(w *world, room string)
	event string
	says  string
}

var chatLosses = []chatLoss{
	{"closed", func(w *world, room string) { w.chat.CloseChat(room) }, "LivechatSession", "This chat is closed"},
	{"handed over", func(w *world, room string) { w.chat.Forward(room, "eve") }, "LivechatSessionForwarded", "another agent"},
	{"back in the queue", func(w *world, room string) { w.chat.Queue(room) }, "LivechatSessionQueued", ""},
	{"taken by another", func(w *world, room string) { w.chat.Take(room, "eve") }, "LivechatSessionTaken", "another agent"},
}

// wantChatLost checks that a press was refused because the agent does not have the chat any more.
func (a *answer) wantChatLost(t testing.TB, how string, e chatLoss) {
	t.Helper()
	if a.StatusCode != http.StatusGone || !strings.Contains(a.body, e.says) {
		t.Errorf("%s, %s: answered %d to %q, want 410 with %q: %s", e.name, how, a.StatusCode, a.Header.Get("Location"), e.says, a.body)
	}
}

func TestPromise7AChatThatIsKnownToBeOverIsNotWatchedWhileTheChatServiceIsDown(t *testing.T) {
	for name, how := range map[string]outage{"broken": broken, "slow": slow} {
		t.Run(name, func(t *testing.T) {
			onEachSetup(t, func(s *setup) {
				s.addVisitor("Ann", pageKey)
				s.rememberBrowser()
				links := s.upscope.Minted()
				here, there := s.replicas[0], s.replicas[len(s.replicas)-1]
				doors, rooms := make([]string, len(chatLosses)), make([]string, len(chatLosses))
				var pressing sync.WaitGroup
				for i, e := range chatLosses {
					room, door := s.card(withPageKey())
					form := url.Values{"visitor": {onlyFormValue(s, s.bob.look(here, door))}}
					rooms[i], doors[i] = room, door
					// The bridge cannot read the room, so it cannot process the delivery.
					s.wire.fail(room, how)
					e.lose(here, room)
					there.deliverEvent(e.event, room)
					pressing.Go(func() {
						s.bob.post(here, door, form).wantChatLost(s, "button", e)
						s.bob.follow(here, door).wantChatLost(s, "link", e)
					})
					if here != there {
						pressing.Go(func() {
							s.bob.post(there, door, form).wantChatLost(s, "button, on the replica that acknowledged the event", e)
						})
					}
				}
				pressing.Wait()
				for _, room := range rooms {
					s.wire.fail(room, working)
				}
				for i, e := range chatLosses {
					eventually(s, "the delivery is processed", func() bool {
						c, err := here.store.CardOfChat(s.Context(), "rocketchat", store.KindChat, rooms[i])
						here.must(err)
						return c.State == "closed" || c.Agent != "rocketchat:a1"
					})
					s.bob.follow(here, doors[i]).wantChatLost(s, "link, after the delivery is processed", e)
				}
				if n := s.upscope.Minted() - links; n != 0 {
					s.Errorf("%d links, want none", n)
				}
			})
		})
	}
}

func TestPromise7EventsThatDoNotTakeTheChatAwayRefuseNoPress(t *testing.T) {
	onEachSetup(t, func(s *setup) {
		ann := s.addVisitor("Ann", pageKey)
		here, there := s.replicas[0], s.replicas[len(s.replicas)-1]
		press := func(door string, form url.Values) {
			s.Helper()
			links := s.upscope.Minted()
			s.bob.post(here, door, form).wantWatch(s)
			if all := s.upscope.Watches(); len(all) != links+1 || all[links].VisitorID != ann {
				s.Errorf("%d links, want one of ann", len(all)-links)
			}
		}
		form := func(door string) url.Values {
			return url.Values{"visitor": {onlyFormValue(s, s.bob.look(here, door))}}
		}

		other, _ := s.card(withPageKey())
		room, door := s.card(withPageKey())
		shown := form(door)
		s.wire.fail(room, broken)
		s.wire.fail(other, broken)
		s.chat.CloseChat(other)
		there.deliverEvent("LivechatSession", other)
		press(door, shown)

		// A message in the agent's own chat changes nothing.
		room, door = s.card(withPageKey())
		shown = form(door)
		s.wire.fail(room, broken)
		s.chat.Say(room, "", "hello?")
		there.deliverEvent("Message", room)
		press(door, shown)
	})
}

// Deliveries come in any order. So an event that gives the chat back to the agent does not
// cancel the event that took it away.
func TestPromise7AReturnedChatIsWatchedOnlyOnceTheChatServiceConfirmsIt(t *testing.T) {
	for _, away := range []struct {
		event string
		goes  func(s *setup, room string)
		back  string
		comes func(s *setup, room string)
	}{
		{"LivechatSessionForwarded", func(s *setup, room string) { s.chat.Forward(room, "eve") }, "LivechatSessionForwarded", func(s *setup, room string) { s.chat.Forward(room, "bob") }},
		{"LivechatSessionQueued", func(s *setup, room string) { s.chat.Queue(room) }, "LivechatSessionTaken", func(s *setup, room string) { s.chat.Take(room, "bob") }},
	} {
		t.Run(away.event, func(t *testing.T) {
			onEachSetup(t, func(s *setup) {
				s.addVisitor("Ann", pageKey)
				here, there := s.replicas[0], s.replicas[len(s.replicas)-1]
				room, door := s.card(withPageKey())
				shown := url.Values{"visitor": {onlyFormValue(s, s.bob.look(here, door))}}
				s.wire.fail(room, broken)
				away.goes(s, room)
				there.deliverEvent(away.event, room)
				away.comes(s, room)
				there.deliverEvent(away.back, room)
				s.bob.post(here, door, shown).want(s, http.StatusGone, "another agent")
				s.wire.fail(room, working)
				s.bob.post(here, door, shown).wantWatch(s)
			})
		})
	}
}

// No worker runs, so the delivery is not processed. The press waits at most two seconds for
// the chat service, and then uses the stored delivery.
func TestPromise7AnUnprocessedEndRefusesThePressInTime(t *testing.T) {
	for _, how := range []outage{broken, slow} {
		for _, e := range chatLosses {
			t.Run(e.name, func(t *testing.T) {
				network := newWire()
				inWorld(t, func(w *world) {
					_, door := bobHasCard(w)
					room := w.room(door)
					bob := w.browser()
					form := url.Values{"visitor": {onlyFormValue(t, bob.send(lookRequest(door)))}}
					w.stop()
					network.fail("", how)
					e.lose(w, room)
					w.deliverEvent(e.event, room)
					time.Sleep(30 * time.Second)
					began := time.Now()
					bob.press(door, form).wantChatLost(t, "button", e)
					if took := time.Since(began); took > 3*time.Second {
						t.Errorf("the press took %v", took)
					}
					network.fail("", working)
					bob.press(door, form).wantChatLost(t, "button, after the chat service works again", e)
					w.run()
					w.pass(5 * time.Second)
					bob.press(door, form).wantChatLost(t, "button, after the delivery is processed", e)
					if n := w.upscope.Minted(); n != 0 || w.countAudited("watching") != 0 {
						t.Errorf("%d links, or an audit record of watching; want none", n)
					}
				}, options{transport: network.transport(0)})
			})
		}
	}
}

// room returns the id of the chat of bob's latest card.
func (w *world) room(door string) string {
	w.Helper()
	posts := w.chat.Posts("bob")
	_, link, ok := strings.Cut(posts[len(posts)-1].Text, "https://chat.example.org/live/")
	room, _, closed := strings.Cut(link, ")")
	if !ok || !closed {
		w.Fatalf("no chat in the card of %s", door)
	}
	return room
}
