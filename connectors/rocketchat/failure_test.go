package rocketchat

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

func TestARoomThatIsGone(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	closing, header := d.Event(typeClose, d.chat)
	taken, _ := d.Event(typeTaken, d.chat)
	d.RemoveRoom(d.chat)
	read := func(body []byte) (bridge.Ask, error) {
		r, err := d.receipt(t, body, header)
		if err != nil {
			t.Fatal(err)
		}
		return d.Read(t.Context(), bridge.Delivery{Body: r.Body})
	}
	for _, gone := range []rocketchattest.Fault{
		{Status: 400, Body: `{"success":false,"error":"The required \"roomId\" does not match any channel [error-room-not-found]"}`},
		{Status: 400, Body: `{"error":"x","errorType":"error-room-not-found"}`},
		{Status: 404, Body: `{"success":false,"error":"Resource not found"}`},
		{Status: 404, Body: `{"success":false,"error":"x","errorType":"error-room-not-found"}`},
	} {
		d.Fail("rooms.info", gone, 3)
		if a, err := read(closing); err != nil || a.Verb != bridge.Close || a.Chat != d.chat {
			t.Errorf("%d %s, closed: %+v, %v", gone.Status, gone.Body, a, err)
		}
		if _, err := read(taken); !bridge.IsPermanent(err) {
			t.Errorf("%d %s, taken: %v", gone.Status, gone.Body, err)
		}
		if agent, open, err := d.Serving(t.Context(), d.chat); agent != "" || open || err != nil {
			t.Errorf("%d %s, serving: %q, %v, %v", gone.Status, gone.Body, agent, open, err)
		}
	}
}

func TestANotFoundOfSomethingInBetweenLosesNothing(t *testing.T) {
	t.Parallel()
	for _, body := range []string{
		`{"status":"error","message":"API endpoint does not exist"}`,
		`{"error":"Not Found"}`, `{"error":"not found","success":true}`, `{"error":"Resource not found"}`,
		`{"success":false,"error":"no such upstream"}`, `{"success":false,"error":"resource not found here"}`,
		`{"error":{"code":404},"errorType":"error-room-not-found"}`, `{"message":"no Route matched with those values"}`,
		`{}`, `null`, `"Resource not found"`, `<html></html>`, ``,
	} {
		d := newDesk(t)
		d.Take(d.chat, "bob")
		proxys := rocketchattest.Fault{Status: http.StatusNotFound, Body: body}
		d.Fail("rooms.info", proxys, 3)
		for _, kind := range []string{typeClose, typeTaken} {
			if a, err := d.ask(t, kind); err == nil || bridge.IsPermanent(err) || !strings.Contains(err.Error(), "ROCKETCHAT_URL") {
				t.Errorf("%s: %s gives %+v, %v", body, kind, a, err)
			}
		}
		if _, open, err := d.Serving(t.Context(), d.chat); err == nil || bridge.IsPermanent(err) {
			t.Errorf("%s: it closes a door: open %v, %v", body, open, err)
		}

		c := exampleCard()
		c.Ref = d.show(t, "bob", c)
		d.Fail("chat.update", proxys, 1)
		if _, err := d.Show(t.Context(), bridge.Place{Address: "bob"}, c); err == nil || bridge.IsPermanent(err) || len(d.Posts("bob")) != 1 {
			t.Errorf("%s for an edit: %v, %d posts", body, err, len(d.Posts("bob")))
		}
		// Posted before, its answer lost, and editing is off: only a look tells.
		c.Ref = ""
		d.RefuseEdits(true)
		d.Fail("chat.getMessage", proxys, 1)
		if _, err := d.Show(t.Context(), bridge.Place{Address: "bob"}, c); err == nil || bridge.IsPermanent(err) {
			t.Errorf("%s for a look: %v", body, err)
		}
	}
}

func TestARefusedReaderSaysWhatItLacks(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"7.0", "7.10", "8.8", "9.0"} {
		d := newDesk(t)
		d.Version = version
		d.AddUser(rocketchattest.User{ID: "readerId", Username: "cobrowse.reader", Token: readerToken, Roles: []string{"bot"}})
		if _, err := d.ask(t, typeTaken); err == nil || bridge.IsPermanent(err) || !strings.Contains(err.Error(), "reader lacks view-livechat-rooms") {
			t.Errorf("%s, no role: %v", version, err)
		}
		d.AddUser(rocketchattest.User{ID: "readerId", Username: "cobrowse.reader", Token: "changed", Roles: []string{"bot"}})
		if _, err := d.ask(t, typeTaken); err == nil || bridge.IsPermanent(err) || !strings.Contains(err.Error(), "ROCKETCHAT_READER_TOKEN") {
			t.Errorf("%s, wrong token: %v", version, err)
		}
	}
}

func TestARateLimitSaysWhenToComeBack(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		now := time.Now()
		ms := func(d time.Duration) string { return strconv.FormatInt(now.Add(d).UnixMilli(), 10) }
		for _, c := range []struct {
			reset, after string
			want         time.Duration
		}{
			{reset: ms(20 * time.Second), want: 20 * time.Second},
			{reset: ms(-time.Hour), want: time.Second},
			{reset: ms(0), want: time.Second},
			{reset: ms(48 * time.Hour), want: 120 * time.Second},
			{reset: "9223372036854775807", want: 120 * time.Second},
			{reset: "-9223372036854775808", want: time.Second},
			{reset: "soon", want: 30 * time.Second},
			{want: 30 * time.Second},
			{after: "7", want: 7 * time.Second},
			{after: "99999999999", want: 120 * time.Second},
			{after: "-5", want: time.Second},
		} {
			d := newDesk(t)
			h := http.Header{}
			if c.reset != "" {
				h["X-Ratelimit-Reset"] = []string{c.reset}
			}
			if c.after != "" {
				h["Retry-After"] = []string{c.after}
			}
			d.Fail("rooms.info", rocketchattest.Fault{Status: 429, Header: h, Body: "{}"}, 1)
			_, err := d.ask(t, typeTaken)
			if wait, ok := bridge.RetryWait(err); !ok || wait != c.want || bridge.IsPermanent(err) {
				t.Errorf("%s: waits %v (%v), want %v", cmp.Or(c.reset, c.after, "nothing"), wait, ok, c.want)
			}
		}
	})
}

func TestAReaderWithoutTheBotRoleIsLimitedAndWaits(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.AddUser(rocketchattest.User{ID: "readerId", Username: "cobrowse.reader", Token: readerToken, Roles: []string{"livechat-monitor"}})
	var err error
	for range 11 {
		_, err = d.ask(t, typeTaken)
	}
	if wait, ok := bridge.RetryWait(err); !ok || wait < 50*time.Second || !strings.Contains(err.Error(), "role bot") {
		t.Errorf("got %v", err)
	}
}

func TestAWorkspaceThatHangsIsLeftAfterTheTimeout(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.Fail("rooms.info", rocketchattest.Fault{Hang: true}, 1)
		begin := time.Now()
		_, err := d.ask(t, typeTaken)
		if err == nil || bridge.IsPermanent(err) || time.Since(begin) != 10*time.Second || !strings.Contains(err.Error(), "timed out") {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}
