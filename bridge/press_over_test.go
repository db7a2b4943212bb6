package bridge_test

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"
)

// An endOfTurn is a way in which an agent loses a chat, and the event that says so.
type endOfTurn struct {
	name  string
	lose  func(w *world, room string)
	event string
	says  string
}

var endsOfTurns = []endOfTurn{
	{"closed", func(w *world, room string) { w.chat.CloseChat(room) }, "LivechatSession", "This chat is over"},
	{"handed over", func(w *world, room string) { w.chat.Forward(room, "eve") }, "LivechatSessionForwarded", "another agent"},
	{"back in the queue", func(w *world, room string) { w.chat.Queue(room) }, "LivechatSessionQueued", ""},
	{"taken by another", func(w *world, room string) { w.chat.Take(room, "eve") }, "LivechatSessionTaken", "another agent"},
}

// over checks that a press was refused since the agent does not have the chat.
func (a *answer) over(t testing.TB, how string, e endOfTurn) {
	t.Helper()
	if a.StatusCode != http.StatusGone || !strings.Contains(a.body, e.says) {
		t.Errorf("%s, %s: answered %d to %q, want 410 that says %q: %s", e.name, how, a.StatusCode, a.Header.Get("Location"), e.says, a.body)
	}
}

func TestPromise7AChatThatIsKnownToBeOverIsNotWatchedWhileTheChatServiceIsDown(t *testing.T) {
	for name, how := range map[string]outage{"broken": broken, "slow": slow} {
		t.Run(name, func(t *testing.T) {
			onEachStand(t, func(s *stand) {
				s.visitor("Ann", pageKey)
				s.remembered()
				links := s.upscope.Minted()
				here, there := s.replicas[0], s.replicas[len(s.replicas)-1]
				doors, rooms := make([]string, len(endsOfTurns)), make([]string, len(endsOfTurns))
				var pressing sync.WaitGroup
				for i, e := range endsOfTurns {
					room, door := s.card(keyed())
					form := url.Values{"visitor": {onlyChoice(s, s.bob.look(here, door))}}
					rooms[i], doors[i] = room, door
					// Nobody can read the room, so that the delivery is not worked on.
					s.wire.fail(room, how)
					e.lose(here, room)
					there.tells(e.event, room)
					pressing.Go(func() {
						s.bob.post(here, door, form).over(s, "button", e)
						s.bob.follow(here, door).over(s, "link", e)
					})
					if here != there {
						pressing.Go(func() { s.bob.post(there, door, form).over(s, "button, where it was acknowledged", e) })
					}
				}
				pressing.Wait()
				for _, room := range rooms {
					s.wire.fail(room, working)
				}
				for i, e := range endsOfTurns {
					eventually(s, "the delivery is worked on", func() bool {
						c, err := here.store.CardOfChat(s.Context(), "rocketchat", rooms[i])
						here.must(err)
						return c.State == "closed" || c.Agent != "rocketchat:a1"
					})
					s.bob.follow(here, doors[i]).over(s, "later", e)
				}
				if n := s.upscope.Minted() - links; n != 0 {
					s.Errorf("%d links", n)
				}
			})
		})
	}
}

func TestPromise7AChatThatCameBackOrIsAnotherIsWatchedWhileTheChatServiceIsDown(t *testing.T) {
	onEachStand(t, func(s *stand) {
		ann := s.visitor("Ann", pageKey)
		here, there := s.replicas[0], s.replicas[len(s.replicas)-1]
		press := func(door string, form url.Values) {
			s.Helper()
			links := s.upscope.Minted()
			s.bob.post(here, door, form).wantWatch(s)
			if all := s.upscope.Watches(); len(all) != links+1 || all[links].VisitorID != ann {
				s.Errorf("%d links", len(all)-links)
			}
		}
		form := func(door string) url.Values {
			return url.Values{"visitor": {onlyChoice(s, s.bob.look(here, door))}}
		}

		room, door := s.card(keyed())
		shown := form(door)
		s.wire.fail(room, broken)
		s.chat.Forward(room, "eve")
		there.tells("LivechatSessionForwarded", room)
		s.bob.post(here, door, shown).want(s, http.StatusGone, "another agent")
		s.chat.Forward(room, "bob")
		there.tells("LivechatSessionForwarded", room)
		press(door, shown)

		room, door = s.card(keyed())
		shown = form(door)
		s.wire.fail(room, broken)
		s.chat.Queue(room)
		there.tells("LivechatSessionQueued", room)
		s.chat.Take(room, "bob")
		there.tells("LivechatSessionTaken", room)
		press(door, shown)

		other, _ := s.card(keyed())
		room, door = s.card(keyed())
		shown = form(door)
		s.wire.fail(room, broken)
		s.wire.fail(other, broken)
		s.chat.CloseChat(other)
		there.tells("LivechatSession", other)
		press(door, shown)

		// What is only said about the agent's own turn changes nothing.
		room, door = s.card(keyed())
		shown = form(door)
		s.wire.fail(room, broken)
		s.chat.Say(room, "", "hello?")
		there.tells("Message", room)
		press(door, shown)
	})
}

// The workers stand still, so that nothing is worked on whatever can be read, and the
// press finds out within the two seconds that it waits for the chat service.
func TestPromise7AnEndThatWaitsForAWorkerRefusesThePressInTime(t *testing.T) {
	for _, how := range []outage{broken, slow} {
		for _, e := range endsOfTurns {
			t.Run(e.name, func(t *testing.T) {
				lines := newWire()
				inWorld(t, func(w *world) {
					_, door := ready(w)
					room := w.room(door)
					bob := w.browser()
					form := url.Values{"visitor": {onlyChoice(t, bob.send(lookRequest(door)))}}
					w.stop()
					lines.fail("", how)
					e.lose(w, room)
					w.tells(e.event, room)
					time.Sleep(30 * time.Second)
					began := time.Now()
					bob.press(door, form).over(t, "button", e)
					if took := time.Since(began); took > 3*time.Second {
						t.Errorf("it took %v", took)
					}
					lines.fail("", working)
					bob.press(door, form).over(t, "and the chat service is back", e)
					w.run()
					w.pass(5 * time.Second)
					bob.press(door, form).over(t, "and it was worked on", e)
					if n := w.upscope.Minted(); n != 0 || w.recorded("watching") != 0 {
						t.Errorf("%d links", n)
					}
				}, options{transport: lines.transport(0)})
			})
		}
	}
}

// room is the chat of bob's latest card.
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
