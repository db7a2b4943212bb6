package rocketchat

import (
	"cmp"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

func TestARoomThatDoesNotExist(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	closing, header := d.Event(typeClose, d.chat)
	taken, _ := d.Event(typeTaken, d.chat)
	d.RemoveRoom(d.chat)
	read := func(body []byte) (chat.Ask, error) {
		r, err := d.receipt(t, body, header)
		if err != nil {
			t.Fatal(err)
		}
		return d.Read(t.Context(), chat.Delivery{Body: r.Body})
	}
	for _, gone := range []rocketchattest.Fault{
		{Status: 400, Body: `{"success":false,"error":"The required \"roomId\" does not match any channel [error-room-not-found]"}`},
		{Status: 400, Body: `{"error":"x","errorType":"error-room-not-found"}`},
		{Status: 404, Body: `{"success":false,"error":"Resource not found"}`},
		{Status: 404, Body: `{"success":false,"error":"x","errorType":"error-room-not-found"}`},
	} {
		d.Fail("rooms.info", gone, 3)
		if a, err := read(closing); err != nil || a.Verb != chat.Close || a.Chat != d.chat {
			t.Errorf("%d %s, closed: %+v, %v", gone.Status, gone.Body, a, err)
		}
		if _, err := read(taken); !chat.IsPermanent(err) {
			t.Errorf("%d %s, taken: %v", gone.Status, gone.Body, err)
		}
		if agent, open, err := d.Serving(t.Context(), d.chat); agent != "" || open || err != nil {
			t.Errorf("%d %s, serving: %q, %v, %v", gone.Status, gone.Body, agent, open, err)
		}
	}
}

func TestA404OfAProxyIsRetried(t *testing.T) {
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
			if a, err := d.ask(t, kind); err == nil || chat.IsPermanent(err) || !strings.Contains(err.Error(), "ROCKETCHAT_URL") {
				t.Errorf("%s: %s gives %+v, %v", body, kind, a, err)
			}
		}
		if _, open, err := d.Serving(t.Context(), d.chat); err == nil || chat.IsPermanent(err) {
			t.Errorf("%s: serving: open %v, %v", body, open, err)
		}

		c := exampleCard()
		c.Ref = d.show(t, "bob", c)
		d.Fail("chat.update", proxys, 1)
		if _, err := d.Show(t.Context(), chat.Place{Address: "bob"}, c); err == nil || chat.IsPermanent(err) || len(d.Posts("bob")) != 1 {
			t.Errorf("%s for an edit: %v, %d posts", body, err, len(d.Posts("bob")))
		}
		// If an answer was lost and editing is off, only chat.getMessage finds the post.
		c.Ref = ""
		d.RefuseEdits(true)
		d.Fail("chat.getMessage", proxys, 1)
		if _, err := d.Show(t.Context(), chat.Place{Address: "bob"}, c); err == nil || chat.IsPermanent(err) {
			t.Errorf("%s for chat.getMessage: %v", body, err)
		}
	}
}

func TestARefusedReaderSaysWhatItLacks(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"7.0", "7.10", "8.8", "9.0"} {
		d := newDesk(t)
		d.Version = version
		d.AddUser(rocketchattest.User{ID: "readerId", Username: "cobrowse.reader", Token: readerToken, Roles: []string{"bot"}})
		if _, err := d.ask(t, typeTaken); err == nil || chat.IsPermanent(err) || !strings.Contains(err.Error(), "reader lacks view-livechat-rooms") {
			t.Errorf("%s, no role: %v", version, err)
		}
		d.AddUser(rocketchattest.User{ID: "readerId", Username: "cobrowse.reader", Token: "changed", Roles: []string{"bot"}})
		if _, err := d.ask(t, typeTaken); err == nil || chat.IsPermanent(err) || !strings.Contains(err.Error(), "ROCKETCHAT_READER_TOKEN") {
			t.Errorf("%s, wrong token: %v", version, err)
		}
	}
}

func TestARateLimitSaysHowLongToWait(t *testing.T) {
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
			if wait, ok := chat.RetryWait(err); !ok || wait != c.want || chat.IsPermanent(err) {
				t.Errorf("%s: waits %v (%v), want %v", cmp.Or(c.reset, c.after, "nothing"), wait, ok, c.want)
			}
		}
	})
}

// X-RateLimit-Reset is a time by the server's clock, and so is Date. The text of an answer counts
// if no header says how long to wait.
func TestARateLimitIsReckonedByTheServersClock(t *testing.T) {
	t.Parallel()
	server := time.Date(2031, 4, 5, 6, 7, 8, 0, time.UTC)
	text := `{"success":false,"error":"Error, too many requests. Please slow down. You must wait 2 seconds before trying this endpoint again. [error-too-many-requests]"}`
	reset := http.Header{"X-Ratelimit-Reset": {strconv.FormatInt(server.Add(20*time.Second).UnixMilli(), 10)}, "Date": {server.Format(http.TimeFormat)}}
	for name, c := range map[string]struct {
		fault rocketchattest.Fault
		want  time.Duration
	}{
		"the server's clock":   {rocketchattest.Fault{Status: 429, Header: reset, Body: text}, 20 * time.Second},
		"only the text":        {rocketchattest.Fault{Status: 429, Body: text}, 2 * time.Second},
		"the text of a 400":    {rocketchattest.Fault{Status: 400, Body: text}, 2 * time.Second},
		"Retry-After and text": {rocketchattest.Fault{Status: 429, Header: http.Header{"Retry-After": {"7"}}, Body: text}, 7 * time.Second},
		"an hour in the text":  {rocketchattest.Fault{Status: 429, Body: strings.Replace(text, "2 seconds", "3600 seconds", 1)}, 2 * time.Minute},
		"another text":         {rocketchattest.Fault{Status: 429, Body: `{"error":"slow down"}`}, 30 * time.Second},
	} {
		d := newDesk(t)
		d.Fail("rooms.info", c.fault, 1)
		_, err := d.ask(t, typeTaken)
		if wait, ok := chat.RetryWait(err); !ok || wait != c.want {
			t.Errorf("%s: waits %v (%v), want %v", name, wait, ok, c.want)
		}
	}
}

// An error names the code that the server gives, and what an operator can do.
func TestTheCodeOfARefusalSaysWhatToDo(t *testing.T) {
	t.Parallel()
	for body, c := range map[string]struct {
		status    int
		says      string
		permanent bool
	}{
		`{"success":false,"error":"restricted-workspace"}`:                           {400, "the workspace is read-only until it reaches Rocket.Chat's cloud again", false},
		`{"success":false,"error":"x","errorType":"totp-required"}`:                  {400, "the poster's token asks for two-factor authentication: make one that ignores it (ROCKETCHAT_POSTER_TOKEN)", false},
		`{"success":false,"error":"No permission [error-unauthorized]"}`:             {401, "(error-unauthorized): the poster lacks create-d", false},
		`{"success":false,"error":"x","errorType":"error-forbidden"}`:                {403, "(error-forbidden): the poster lacks create-d", false},
		`{"success":false,"error":"You must be logged in to do this."}`:              {401, "the poster's id or token is not accepted", false},
		`{"success":false,"error":"a-code-of-a-new-version"}`:                        {400, "answered 400 Bad Request (a-code-of-a-new-version)", false},
		`{"success":false,"error":"x","errorType":"error-in-an-app"}`:                {422, "(error-in-an-app)", false},
		`{"success":false,"error":"Invalid user [error-invalid-user]"}`:              {400, "(error-invalid-user)", true},
		`{"success":false,"error":"x","errorType":"error-message-size-exceeded"}`:    {400, "(error-message-size-exceeded)", true},
		`{"success":false,"error":"must match [invalid-params]"}`:                    {400, "(invalid-params)", true},
		`{"success":false,"error":"x","errorType":"error-invalid-params"}`:           {404, "(error-invalid-params)", true},
		`{"success":false,"error":"Mail to ann@example.org failed","errorType":"x"}`: {400, "POST api/v1/im.create: answered 400 Bad Request", false},
	} {
		d := newDesk(t)
		d.Fail("im.create", rocketchattest.Fault{Status: c.status, Body: body}, 1)
		_, err := d.Show(t.Context(), chat.Place{Address: "bob"}, exampleCard())
		if err == nil || chat.IsPermanent(err) != c.permanent || !strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "ann@") {
			t.Errorf("%d %s: %v", c.status, body, err)
		}
	}
}

func TestAReaderWithoutTheBotRoleIsLimitedAndWaits(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.AddUser(rocketchattest.User{ID: "readerId", Username: "cobrowse.reader", Token: readerToken, Roles: []string{"livechat-monitor"}})
	var err error
	for range 11 {
		_, err = d.ask(t, typeTaken)
	}
	if wait, ok := chat.RetryWait(err); !ok || wait < 50*time.Second || !strings.Contains(err.Error(), "role bot") {
		t.Errorf("got %v", err)
	}
}

func TestACallTimesOutIfTheWorkspaceHangs(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.Fail("rooms.info", rocketchattest.Fault{Hang: true}, 1)
		begin := time.Now()
		_, err := d.ask(t, typeTaken)
		if err == nil || chat.IsPermanent(err) || time.Since(begin) != 10*time.Second || !strings.Contains(err.Error(), "timed out") {
			t.Errorf("after %v: %v", time.Since(begin), err)
		}
	})
}
