package main

import (
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

const (
	senders    = 4
	pressPause = 100 * time.Millisecond
)

// A rollout is a pair of replicas on one PostgreSQL database behind a proxy, with chat services that
// send and an agent who presses.
type rollout struct {
	*sender
	env     map[string]string
	address [2]string
	replica [2]*program
}

func (r *rollout) start(n int) {
	r.replica[n] = start(r.t, with(r.env, "BRIDGE_LISTEN="+r.address[n]), "serve")
	r.replica[n].ready()
}

// whileUsed calls do while the chat services send and the agent presses. It counts the presses by
// the status of their answers.
func (r *rollout) whileUsed(b *browser, door, visitor string, do func()) (presses map[int]int) {
	var stop atomic.Bool
	var all sync.WaitGroup
	for range senders {
		all.Go(func() {
			for !stop.Load() {
				room := r.openChat(pageKeyFields())
				r.chat.Take(room, "bob")
				r.deliver("LivechatSessionTaken", room)
				r.mu.Lock()
				r.rooms = append(r.rooms, room)
				r.mu.Unlock()
			}
		})
	}
	presses = map[int]int{}
	all.Go(func() {
		for tick := time.NewTicker(pressPause); !stop.Load(); <-tick.C {
			a, err := b.send(http.MethodPost, door, formHeader(), strings.NewReader(url.Values{"visitor": {visitor}}.Encode()))
			if err != nil {
				r.t.Errorf("a press: %v", err)
				return
			}
			presses[a.StatusCode]++
		}
	})
	do()
	stop.Store(true)
	all.Wait()
	return presses
}

// Two replicas are restarted one after the other, and nobody notices. Then one is killed: no
// delivery that was answered 200 is lost.
func TestTwoReplicasAreRestartedUnnoticed(t *testing.T) {
	t.Parallel()
	for name, startProxy := range proxies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := &rollout{sender: &sender{services: newServices(t), t: t, client: newClient(), over: map[string]bool{}}}
			t.Cleanup(r.client.CloseIdleConnections)
			visitor := r.ann()
			database := newDatabase(t, "postgres")
			r.env = with(r.services.env(t), "BRIDGE_DATABASE="+database, "BRIDGE_LOG_LEVEL=warn", "BRIDGE_TRUSTED_PROXIES=127.0.0.1", "BRIDGE_STOP_DELAY=500ms")
			for n := range r.address {
				r.address[n] = freeAddress(t)
				r.start(n)
			}
			proxy := startProxy(t, r.address[:]...)
			r.sender.address.Store(&proxy)
			b := newBrowser(t, proxy)
			door, room := r.chatWithCard(t, b)
			r.rooms = append(r.rooms, room)
			r.answered.Add(1) // of that chat
			r.sent.Add(1)
			b.press(door, url.Values{"visitor": {visitor}}).want(t, http.StatusSeeOther)

			presses := r.whileUsed(b, door, visitor, func() {
				for n := range r.replica {
					r.replica[n].terminate()
					r.start(n)
				}
			})
			if other := r.sent.Load() - r.answered.Load(); other != 0 {
				t.Errorf("during the restarts %d of %d deliveries were not answered 200", other, r.sent.Load())
			}
			afterwards := r.whileUsed(b, door, visitor, func() {
				r.replica[0].kill()
				r.start(0)
			})
			for status, n := range afterwards {
				presses[status] += n
			}
			// The page (200) is the answer to a press soon after one that the other replica answered.
			opened := presses[http.StatusSeeOther]
			if delete(presses, http.StatusSeeOther); len(presses) > 1 || len(presses) == 1 && presses[http.StatusOK] == 0 {
				t.Errorf("%d presses opened the screen, others were answered %v", opened, presses)
			}
			eventually(t, "a press opens the screen again", maxWait, func() bool {
				a, err := b.send(http.MethodPost, door, formHeader(), strings.NewReader(url.Values{"visitor": {visitor}}.Encode()))
				return err == nil && a.StatusCode == http.StatusSeeOther
			})
			db := openDatabase(t, database)
			expire(t, db)
			eventually(t, lazyText(r.unhandled), finishTime, func() bool { return r.unhandled() == "" && pending(t, db) == 0 })
			for n := range r.replica {
				r.replica[n].terminate()
			}
			r.reconcile(db)
			r.verify(database)
			t.Logf("%d deliveries answered 200, %d sent; %d presses opened the screen, and others were answered %v", r.answered.Load(), r.sent.Load(), opened, presses)
		})
	}
}
