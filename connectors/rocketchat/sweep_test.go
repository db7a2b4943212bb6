package rocketchat

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

// inbox collects the deliveries of sweeps by key, as the bridge does.
type inbox struct {
	byKey map[string]chat.Delivery
	calls int // all deliveries, also with repeated keys
}

func (b *inbox) found(_ context.Context, page []chat.Delivery) error {
	if b.byKey == nil {
		b.byKey = make(map[string]chat.Delivery)
	}
	for _, d := range page {
		b.calls++
		b.byKey[d.Key] = d
	}
	return nil
}

func (d *desk) mustSweep(t *testing.T, in *inbox) {
	t.Helper()
	if err := d.Sweep(t.Context(), in.found); err != nil {
		t.Errorf("the sweep failed: %v", err)
	}
}

func TestChatsWhoseEventsWereLostAreFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.Take(d.chat, "bob")
		open := func(id string) string {
			return d.StartChat(rocketchattest.Visitor{ID: id, Username: id, Token: visitorToken, Email: "ann@example.org"})
		}
		queued, held, over := open("v2"), open("v3"), open("v4")
		d.Take(held, "eve")
		d.Hold(held)
		d.CloseChat(over)
		d.AddChannel("lobby", "bob")

		var in inbox
		begun := time.Now()
		d.mustSweep(t, &in)
		if took := time.Since(begun); took != 0 {
			t.Errorf("a sweep of few chats takes %v", took)
		}
		if n := len(slices.DeleteFunc(d.routes(0), func(r string) bool { return r != "GET livechat/rooms" })); n != 3 {
			t.Errorf("%d lists were requested", n)
		}
		rooms := map[string]chat.Ask{}
		for key, delivery := range in.byKey {
			ask, err := d.Read(t.Context(), delivery)
			if err != nil || ask.Verb != chat.Start {
				t.Errorf("%s: %+v, %v", key, ask, err)
			}
			rooms[ask.Chat] = ask
			clean(t, "the delivery", string(delivery.Body)+key)
			if strings.Contains(string(delivery.Body), "Ann") || len(delivery.Body) > 300 || delivery.Received.IsZero() {
				t.Errorf("delivery %s at %v", delivery.Body, delivery.Received)
			}
		}
		if len(rooms) != 3 || rooms[d.chat].Agent.ID != "a1" || rooms[held].Agent.ID != "a2" || rooms[queued].Agent.ID != "" {
			t.Errorf("found %+v", rooms)
		}
		if got := rooms[d.chat].Clues.IntegrationIDs; !slices.Equal(got, []string{"rocketchat:" + testKey}) {
			t.Errorf("clues %q", got)
		}
	})
}

func TestASecondSweepFindsNothingNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.Take(d.chat, "bob")
		d.StartChat(rocketchattest.Visitor{ID: "v2", Username: "guest-8"})
		var in inbox
		sweep := func() {
			time.Sleep(time.Minute)
			d.mustSweep(t, &in)
		}
		sweep()
		d.Say(d.chat, "", "hello")
		sweep()
		if in.calls != 4 || len(in.byKey) != 2 {
			t.Errorf("%d deliveries with %d keys", in.calls, len(in.byKey))
		}
		d.Forward(d.chat, "eve")
		sweep()
		d.Forward(d.chat, "bob") // the same agent, but again
		sweep()
		if len(in.byKey) != 4 {
			t.Errorf("%d keys after two hand-overs", len(in.byKey))
		}
	})
}

// The bridge makes no delivery of a room whose key it knows from Receipt.SweepKey.
func TestASweepGivesAChatTheKeyThatItsEventPredicted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		predicted := func(kind string) string {
			body, header := d.Event(kind, d.chat)
			r, err := d.receipt(t, body, header)
			if err != nil || r.Key == "" {
				t.Fatalf("%s: %+v, %v", kind, r, err)
			}
			return r.SweepKey
		}
		finds := func(key string) bool {
			var in inbox
			d.mustSweep(t, &in)
			_, listed := in.byKey[key]
			return listed
		}
		time.Sleep(time.Second)
		start, queued := predicted(typeStart), predicted(typeQueued)
		if !finds(start) || !finds(queued) {
			t.Error("a chat in the queue has another key")
		}
		d.Take(d.chat, "bob")
		if finds(queued) {
			t.Error("after an agent took the chat it still has the key of the queue")
		}
		taken := predicted(typeTaken)
		if !finds(taken) {
			t.Error("a chat that was taken has another key")
		}
		if key := predicted(typeMessage); key != "" {
			t.Errorf("a message predicts the key %q, without the time when its agent took the chat", key)
		}
		time.Sleep(time.Second)
		d.Forward(d.chat, "eve")
		if finds(taken) {
			t.Error("after a hand-over the chat still has the former key")
		}
		if !finds(predicted(typeForward)) {
			t.Error("a chat that was handed over has another key")
		}
		d.CloseChat(d.chat)
		if key := predicted(typeClose); key != "" {
			t.Errorf("a closed chat has the key %q", key)
		}
	})
}

func TestManyChatsAreFoundPageByPage(t *testing.T) {
	for name, roles := range map[string][]string{
		"as a bot":                {"bot", "livechat-monitor"},
		"with ten calls a minute": {"livechat-monitor"},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t)
			d.AddUser(rocketchattest.User{ID: "readerId", Username: "reader", Token: readerToken, Roles: roles})
			const more = 777
			for range more {
				room := d.StartChat(rocketchattest.Visitor{ID: "v2", Username: "guest-8"})
				d.Take(room, "bob")
			}
			var in inbox
			begun := time.Now()
			d.mustSweep(t, &in)
			if len(in.byKey) != more+1 {
				t.Errorf("%s: %d chats in %d deliveries", name, len(in.byKey), in.calls)
			}
			// Eighteen pages, and one for each of the two lists that are empty.
			if n, took := len(d.Requests()), time.Since(begun); n > 20 || took > 3*time.Minute {
				t.Errorf("%s: %d requests in %v", name, n, took)
			}
		})
	}
}

func TestNoChatIsMissedIfOthersEndDuringASweep(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		var rooms []string
		for range 120 {
			time.Sleep(time.Second)
			room := d.StartChat(rocketchattest.Visitor{ID: "v2", Username: "guest-8"})
			d.Take(room, "bob")
			rooms = append(rooms, room)
		}
		var in inbox
		err := d.Sweep(t.Context(), func(ctx context.Context, page []chat.Delivery) error {
			if in.calls == 0 {
				for _, room := range rooms[:3] {
					d.CloseChat(room)
				}
			}
			return in.found(ctx, page)
		})
		if err != nil || len(in.byKey) != 121 {
			t.Errorf("%d of 121 chats, %v", len(in.byKey), err)
		}
	})
}

// The bridge retries a failed sweep later, and not before the wait of its error.
func TestTheErrorOfASweepSaysWhatToDo(t *testing.T) {
	full := errors.New("the disk is full")
	for name, c := range map[string]struct {
		fault *rocketchattest.Fault
		wait  time.Duration
		says  string
	}{
		"a workspace that restarts": {fault: &rocketchattest.Fault{Status: 502}, says: "502"},
		"a broken answer":           {fault: &rocketchattest.Fault{Status: 200, Body: "<html>"}, says: "not JSON"},
		"a limit":                   {fault: &rocketchattest.Fault{Status: 429}, wait: 30 * time.Second, says: "give the reader the role bot"},
		"a missing permission":      {fault: &rocketchattest.Fault{Status: 403, Body: `{"success":false,"error":"unauthorized"}`}, says: "the reader lacks view-livechat-rooms"},
		"a new code":                {fault: &rocketchattest.Fault{Status: 400, Body: `{"success":false,"error":"a-new-code"}`}, says: "(a-new-code)"},
		"a wrong token":             {fault: &rocketchattest.Fault{Status: 401}, says: "ROCKETCHAT_READER_TOKEN"},
		"a store that fails":        {},
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t)
			d.Take(d.chat, "bob")
			var in inbox
			found := in.found
			if c.fault != nil {
				d.Fail("livechat/rooms", *c.fault, 1)
			} else {
				found = func(context.Context, []chat.Delivery) error { return full }
			}
			err := d.Sweep(t.Context(), found)
			wait, _ := chat.RetryWait(err)
			if err == nil || chat.IsPermanent(err) || wait != c.wait || !strings.Contains(err.Error(), c.says) || c.fault == nil && !errors.Is(err, full) {
				t.Errorf("%s: %v", name, err)
			}
			if n := len(d.Requests()); n != 1 || len(in.byKey) > 0 {
				t.Errorf("%s: %d requests, %d chats", name, n, len(in.byKey))
			}
			d.mustSweep(t, &in)
			if len(in.byKey) != 1 {
				t.Errorf("%s: the next sweep finds %d chats", name, len(in.byKey))
			}
		})
	}
}

func TestTheErrorOfASweepNamesTheMissingPermission(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.AddUser(rocketchattest.User{ID: "readerId", Username: "reader", Token: readerToken, Roles: []string{"bot"}})
	err := d.Sweep(t.Context(), new(inbox).found)
	for _, want := range []string{"the reader lacks view-livechat-rooms", "livechat-monitor"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q is not in %v", want, err)
		}
	}
}

func TestASweepNeedsOnlyTheFirstList(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Take(d.chat, "bob")
	var in inbox
	err := d.Sweep(t.Context(), func(ctx context.Context, page []chat.Delivery) error {
		// The lists after the first are refused.
		d.Fail("livechat/rooms", rocketchattest.Fault{Status: 400, Body: `{"success":false,"error":"must NOT have additional properties [invalid-params]","errorType":"invalid-params"}`}, 2)
		return in.found(ctx, page)
	})
	if err != nil || len(in.byKey) != 1 || len(d.Requests()) != 3 {
		t.Errorf("%d chats, %d requests, %v", len(in.byKey), len(d.Requests()), err)
	}
}

// Without the lists after the first, chats on hold and in the queue are missing.
func TestASweepIsIncompleteIfALaterListIsRefused(t *testing.T) {
	t.Parallel()
	for _, f := range []rocketchattest.Fault{
		{Status: 400, Body: `{"success":false,"error":"a-new-code"}`}, {Status: 400, Body: "<html>"}, {Status: 403, Body: `{"success":false,"error":"unauthorized"}`},
	} {
		d := newDesk(t)
		err := d.Sweep(t.Context(), func(context.Context, []chat.Delivery) error {
			d.Fail("livechat/rooms", f, 1)
			return nil
		})
		if err == nil || chat.IsPermanent(err) {
			t.Errorf("%d %s: %v", f.Status, f.Body, err)
		}
	}
}

func TestAPageThatIsTooLargeIsReadInParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.Take(d.chat, "bob")
		d.Fail("livechat/rooms", rocketchattest.Fault{Status: 200, Body: strings.Repeat(" ", 2<<20)}, 2)
		var in inbox
		d.mustSweep(t, &in)
		if len(in.byKey) != 1 || !strings.Contains(d.Requests()[2].Query, "count=12") {
			t.Errorf("%d chats, asked %+v", len(in.byKey), d.Requests())
		}
	})
}

func TestASweepEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		for range 300 {
			d.Take(d.StartChat(rocketchattest.Visitor{ID: "v2", Username: "guest-8"}), "bob")
		}
		ctx, cancel := context.WithTimeout(t.Context(), pagePace/2)
		defer cancel()
		begun := time.Now()
		if err := d.Sweep(ctx, new(inbox).found); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) != pagePace/2 {
			t.Errorf("ended after %v with %v", time.Since(begun), err)
		}
	})
}
