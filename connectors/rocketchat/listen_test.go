package rocketchat

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

// inbox keeps deliveries by their key, as a store does.
type inbox struct {
	mu    sync.Mutex
	byKey map[string]bridge.Delivery
	calls int
	fail  int // so many fail first
}

func (b *inbox) deliver(_ context.Context, d bridge.Delivery) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.calls++
	if b.fail > 0 {
		b.fail--
		return errors.New("the disk is full")
	}
	if b.byKey == nil {
		b.byKey = make(map[string]bridge.Delivery)
	}
	b.byKey[d.Key] = d
	return nil
}

func (b *inbox) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.byKey)
}

// listenFor lets the connector listen for a time, in a bubble of synctest.
func (d *desk) listenFor(t *testing.T, long time.Duration, b *inbox) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), long)
	defer cancel()
	begun := time.Now()
	if err := d.Listen(ctx, b.deliver); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("Listen ended with %v", err)
	}
	if took := time.Since(begun); took != long {
		t.Errorf("Listen ended after %v, not with its context after %v", took, long)
	}
}

func TestChatsWhoseEventsWereLostAreFoundAtTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.Take(d.chat, "bob")
		open := func(id string) string {
			return d.OpenChat(rocketchattest.Visitor{ID: id, Username: id, Token: visitorToken, Email: "ann@example.org"})
		}
		queued, held, over := open("v2"), open("v3"), open("v4")
		d.Take(held, "eve")
		d.Hold(held)
		d.CloseChat(over)
		d.AddChannel("lobby", "bob")

		var in inbox
		d.listenFor(t, time.Hour, &in)
		rooms := map[string]bridge.Ask{}
		for key, delivery := range in.byKey {
			ask, err := d.Read(t.Context(), delivery)
			if err != nil || ask.Verb != bridge.Start {
				t.Errorf("%s: %+v, %v", key, ask, err)
			}
			rooms[ask.Chat] = ask
			clean(t, "what is kept", string(delivery.Body)+key)
			if strings.Contains(string(delivery.Body), "Ann") || len(delivery.Body) > 300 || delivery.Received.IsZero() {
				t.Errorf("kept %s at %v", delivery.Body, delivery.Received)
			}
		}
		if len(rooms) != 3 || rooms[d.chat].Agent.ID != "a1" || rooms[held].Agent.ID != "a2" || rooms[queued].Agent.ID != "" {
			t.Errorf("found %+v", rooms)
		}
		if got := rooms[d.chat].Clues.IntegrationIDs; !slices.Equal(got, []string{"rocketchat:" + testKey}) {
			t.Errorf("clues %q", got)
		}
		if n := len(slices.DeleteFunc(d.routes(0), func(r string) bool { return r != "GET livechat/rooms" })); n != 3 {
			t.Errorf("%d lists were asked for in an hour", n)
		}
	})
}

func TestASecondStartFindsNothingNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.Take(d.chat, "bob")
		d.OpenChat(rocketchattest.Visitor{ID: "v2", Username: "guest-8"})
		var in inbox
		d.listenFor(t, time.Minute, &in)
		d.Say(d.chat, "", "hello")
		d.listenFor(t, time.Minute, &in)
		if in.calls != 4 || in.len() != 2 {
			t.Errorf("%d deliveries with %d keys", in.calls, in.len())
		}
		d.Forward(d.chat, "eve")
		d.listenFor(t, time.Minute, &in)
		d.Forward(d.chat, "bob") // the same agent, but again
		d.listenFor(t, time.Minute, &in)
		if in.len() != 4 {
			t.Errorf("%d keys after two hand-overs", in.len())
		}
	})
}

func TestManyChatsAreFoundPageByPage(t *testing.T) {
	for name, roles := range map[string][]string{
		"as a bot":                         {"bot", "livechat-monitor"},
		"with ten calls a minute, in time": {"livechat-monitor"},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t)
			d.AddUser(rocketchattest.User{ID: "readerId", Username: "reader", Token: readerToken, Roles: roles})
			const more = 777
			for range more {
				room := d.OpenChat(rocketchattest.Visitor{ID: "v2", Username: "guest-8"})
				d.Take(room, "bob")
			}
			var in inbox
			d.listenFor(t, time.Hour, &in)
			if in.len() != more+1 || in.calls != more+1 {
				t.Errorf("%s: %d chats in %d deliveries", name, in.len(), in.calls)
			}
			// Eighteen pages, and what the limiter refused.
			if n := len(d.Requests()); n > 25 {
				t.Errorf("%s: %d requests", name, n)
			}
		})
	}
}

func TestChatsThatEndMeanwhilePushNoneOut(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		var rooms []string
		for range 120 {
			time.Sleep(time.Second)
			room := d.OpenChat(rocketchattest.Visitor{ID: "v2", Username: "guest-8"})
			d.Take(room, "bob")
			rooms = append(rooms, room)
		}
		var in inbox
		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		d.Listen(ctx, func(ctx context.Context, delivery bridge.Delivery) error {
			if in.calls == 10 {
				for _, room := range rooms[:3] {
					d.CloseChat(room)
				}
			}
			return in.deliver(ctx, delivery)
		})
		if in.len() != 121 {
			t.Errorf("%d of 121 chats", in.len())
		}
	})
}

func TestWhatKeepsChatsFromBeingFoundIsWaitedOut(t *testing.T) {
	for name, c := range map[string]struct {
		spoil func(*desk, *inbox)
		least time.Duration // before it is found
		most  int           // requests until then
	}{
		"a workspace that starts too": {func(d *desk, _ *inbox) {
			d.Fail("livechat/rooms", rocketchattest.Fault{Status: 502}, 5)
		}, 62 * time.Second, 8},
		"a broken answer": {func(d *desk, _ *inbox) {
			d.Fail("livechat/rooms", rocketchattest.Fault{Status: 200, Body: "<html>"}, 1)
		}, 2 * time.Second, 4},
		"a limit": {func(d *desk, _ *inbox) {
			d.Fail("livechat/rooms", rocketchattest.Fault{Status: 429}, 2)
		}, time.Minute, 5},
		"a missing permission": {func(d *desk, _ *inbox) {
			d.Fail("livechat/rooms", rocketchattest.Fault{Status: 403, Body: `{"success":false,"error":"unauthorized"}`}, 2)
		}, 20 * time.Minute, 5},
		"a wrong token": {func(d *desk, _ *inbox) {
			d.Fail("livechat/rooms", rocketchattest.Fault{Status: 401}, 1)
		}, 10 * time.Minute, 4},
		"a store that is not ready": {func(_ *desk, in *inbox) { in.fail = 2 }, 6 * time.Second, 5},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t)
			d.Take(d.chat, "bob")
			in := new(inbox)
			c.spoil(d, in)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			go d.Listen(ctx, in.deliver)
			time.Sleep(c.least - time.Millisecond)
			synctest.Wait()
			if in.len() != 0 {
				t.Errorf("%s: found too soon", name)
			}
			time.Sleep(time.Minute)
			synctest.Wait()
			if in.len() != 1 {
				t.Errorf("%s: %d chats found", name, in.len())
			}
			if n := len(d.Requests()); n > c.most {
				t.Errorf("%s: %d requests", name, n)
			}
			if !strings.Contains(d.log.String(), "open chats cannot be listed yet") {
				t.Errorf("%s: the operator reads %q", name, d.log)
			}
		})
	}
}

func TestTheOperatorIsToldWhichPermissionTheListNeeds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.AddUser(rocketchattest.User{ID: "readerId", Username: "reader", Token: readerToken, Roles: []string{"bot"}})
		d.listenFor(t, time.Hour, new(inbox))
		for _, want := range []string{"the reader lacks view-livechat-rooms", "livechat-monitor", "level=WARN"} {
			if !strings.Contains(d.log.String(), want) {
				t.Errorf("%q is not in %s", want, d.log)
			}
		}
		if n := len(d.Requests()); n > 7 {
			t.Errorf("%d requests in an hour", n)
		}
	})
}

func TestAVersionWithoutAListOfItsOwnIsDoneWithTheFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.Take(d.chat, "bob")
		var in inbox
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		d.Listen(ctx, func(ctx context.Context, delivery bridge.Delivery) error {
			// The lists after the first are refused.
			d.Fail("livechat/rooms", rocketchattest.Fault{Status: 400, Body: `{"success":false,"error":"must NOT have additional properties [invalid-params]","errorType":"invalid-params"}`}, 2)
			return in.deliver(ctx, delivery)
		})
		if in.len() != 1 || len(d.Requests()) != 3 || strings.Contains(d.log.String(), "cannot be listed") {
			t.Errorf("%d chats, %d requests, log %s", in.len(), len(d.Requests()), d.log)
		}
	})
}

func TestAPageThatIsTooLargeIsAskedForInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.Take(d.chat, "bob")
		d.Fail("livechat/rooms", rocketchattest.Fault{Status: 200, Body: strings.Repeat(" ", 2<<20)}, 2)
		var in inbox
		d.listenFor(t, time.Second, &in)
		if in.len() != 1 || !strings.Contains(d.Requests()[2].Query, "count=12") {
			t.Errorf("%d chats, asked %+v", in.len(), d.Requests())
		}
	})
}

func TestListenEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.Fail("livechat/rooms", rocketchattest.Fault{Status: 500}, 100)
		d.listenFor(t, 90*time.Second, new(inbox)) // in a pause
	})
}
