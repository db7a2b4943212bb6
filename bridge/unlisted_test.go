package bridge_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

// sweepWait is long enough for the next sweep of the workspace's open rooms and what follows.
const sweepWait = 6 * time.Minute

// runFor lets virtual time pass while the bridge runs. Unlike pass it never starts the bridge again,
// which compares all cards with their chats.
func (w *world) runFor(d time.Duration) {
	<-time.After(d)
	synctest.Wait()
}

// closedCards counts bob's cards that say that their chat is closed.
func (w *world) closedCards() (n int) {
	for _, p := range w.chat.Posts("bob") {
		if strings.Contains(p.Text, "Chat closed") {
			n++
		}
	}
	return n
}

// roomReads returns how many single rooms each sweep read, after the first n requests.
func (w *world) roomReads(n int) (reads []int) {
	for _, r := range w.chat.Requests()[n:] {
		switch {
		case strings.HasSuffix(r.Path, "/livechat/rooms") && strings.Contains(r.Query, "queued=true"): // the last list
			reads = append(reads, 0)
		case strings.HasSuffix(r.Path, "/rooms.info") && len(reads) > 0:
			reads[len(reads)-1]++
		}
	}
	return reads
}

func TestTheCardOfAChatWhoseCloseWasLostIsClosed(t *testing.T) {
	for name, end := range map[string]func(w *world, room string){
		"closed":  func(w *world, room string) { w.chat.CloseChat(room) }, // its event never arrives
		"deleted": func(w *world, room string) { w.chat.RemoveRoom(room) },
		"closed by an event of more than 16 MiB": func(w *world, room string) {
			w.chat.CloseChat(room)
			body, header := w.chat.Event("LivechatSession", room)
			w.post("/hooks/rocketchat", append(body, make([]byte, 16<<20)...), header).want(w, http.StatusRequestEntityTooLarge)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.ann()
				over, open := w.openChat(withPageKey()), w.openChat(withPageKey())
				w.bobTakes(over)
				w.bobTakes(open)
				w.runFor(sweepWait)
				end(w, over)
				w.runFor(sweepWait)
				if n := w.closedCards(); n != 1 {
					t.Errorf("%d cards are closed, want 1 of 2", n)
				}
				if strings.Contains(w.log.String(), "open chats missing") {
					t.Error("an ended chat counts as hidden from the reader")
				}
			}, options{sweeping: true})
		})
	}
}

func TestAListThatTheReaderMayNotSeeIsAFailure(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		var rooms []string
		for range 3 {
			room := w.openChat(withPageKey())
			w.bobTakes(room)
			rooms = append(rooms, room)
		}
		w.runFor(sweepWait)
		w.wantCalm()
		w.chat.AddUnit("north") // from now on the reader sees the rooms of its own units only: none
		w.runFor(sweepWait)
		if !strings.Contains(w.log.String(), "0 of at least 3 known") {
			t.Errorf("the log does not say that the list lacks all chats:\n%s", w.log)
		}
		w.wantCalm() // a chat can be missed once, when it moves between the service's lists
		w.runFor(sweepWait)
		w.wantTrouble("sweep retrying")
		if n := strings.Count(w.log.String(), "open chats missing"); n != 1 {
			t.Errorf("%d lines in the log", n)
		}
		// Chats that end are noticed although they were never listed.
		w.chat.CloseChat(rooms[0])
		w.runFor(4 * sweepWait)
		if n := w.closedCards(); n != 1 {
			t.Errorf("%d cards are closed, want 1 of 3", n)
		}
		w.wantTrouble("sweep retrying")
		w.chat.AddUnit("", "cobrowse.reader") // the rooms have no unit
		w.runFor(sweepWait)
		w.wantCalm()
	}, options{sweeping: true})
}

func TestAFewChatsThatTheReaderMayNotSeeAreAFailureToo(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		seen, hidden := w.openChat(withPageKey()), w.openChat(withPageKey())
		w.bobTakes(seen)
		w.bobTakes(hidden)
		w.chat.AddUnit("", "cobrowse.reader")
		w.chat.AddUnit("north")
		w.chat.ChangeRoom(hidden, func(r *rocketchattest.Room) { r.Unit = "north" })
		w.runFor(2 * sweepWait)
		w.wantTrouble("sweep retrying")
		if !strings.Contains(w.log.String(), "1 of at least 2 known") {
			t.Errorf("log:\n%s", w.log)
		}
	}, options{sweeping: true})
}

func TestASweepAsksAboutAFewMissingChatsOnly(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		for range 25 {
			w.bobTakes(w.openChat(withPageKey()))
		}
		w.runFor(sweepWait)
		from := len(w.chat.Requests())
		w.runFor(2 * sweepWait)
		if reads := w.roomReads(from); len(reads) < 2 || slices.Max(reads) != 0 {
			t.Errorf("sweeps read %d rooms though all are listed", reads)
		}
		w.chat.AddUnit("north")
		from = len(w.chat.Requests())
		w.runFor(5 * sweepWait)
		// After three sweeps, each room has had its turn.
		if reads := w.roomReads(from); len(reads) < 5 || !slices.Equal(reads[:5], []int{10, 10, 5, 1, 1}) {
			t.Errorf("sweeps read %d rooms", reads)
		}
		w.wantTrouble("sweep retrying")
	}, options{sweeping: true})
}

func TestAnOutageSaysNothingAboutMissingChats(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		w.bobTakes(w.openChat(withPageKey()))
		w.runFor(sweepWait)
		w.chat.AddUnit("north")
		w.chat.Fail("rooms.info", rocketchattest.Fault{Status: http.StatusInternalServerError}, 100)
		w.runFor(3 * sweepWait)
		if strings.Contains(w.log.String(), "open chats missing") {
			t.Error("the log says that an open chat is missing, which nobody knows")
		}
		if n := w.closedCards(); n != 0 {
			t.Errorf("%d cards are closed", n)
		}
		w.wantTrouble("sweep retrying") // because nobody knows
	}, options{sweeping: true})
}
