package rocketchat

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
)

func TestACardIsADirectMessageToItsAgentAlone(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	ref := d.show(t, "bob", exampleCard())
	posts := d.Posts("bob")
	if len(posts) != 1 || len(d.Posts("eve")) != 0 {
		t.Fatalf("bob sees %v, eve %v", posts, d.Posts("eve"))
	}
	want := "*Co-browse with Ann*\nPage: Basket\n[Watch](https://bridge.example.org/w/4kqRs7)  |  [Open the chat](https://chat.example.org/chat/live/room1)"
	if posts[0].Text != want {
		t.Errorf("got\n%s\nwant\n%s", posts[0].Text, want)
	}
	if string(ref) != "posterIda1/"+posts[0].ID || len(posts[0].ID) < 17 || strings.Trim(posts[0].ID, "0123456789abcdefghijklmnopqrstuvwxyz") != "" {
		t.Errorf("ref %q of post %q", ref, posts[0].ID)
	}
	if p := d.Previewed(); p != nil {
		t.Errorf("the server may open the links of %q", p)
	}
}

func TestAHandOverMovesTheCard(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	c := exampleCard()
	c.Ref = d.show(t, "bob", c)
	d.Forward(d.chat, "eve")

	// The bridge edits the card of the first agent and shows it to the second.
	gone := bridge.Card{ID: c.ID, Ref: c.Ref, Title: "Eve Evans took over"}
	if ref := d.show(t, "bob", gone); ref != c.Ref {
		t.Errorf("edited as %q, was %q", ref, c.Ref)
	}
	c.Ref = ""
	d.show(t, "eve", c)
	if got := texts(d.Posts("bob")); !slices.Equal(got, []string{"*Eve Evans took over*"}) {
		t.Errorf("bob sees %q", got)
	}
	if got := texts(d.Posts("eve")); len(got) != 1 || !strings.Contains(got[0], "/w/4kqRs7") {
		t.Errorf("eve sees %q", got)
	}
	if d.Posts("bob")[0].ID == d.Posts("eve")[0].ID {
		t.Error("two places share a message id")
	}
}

func TestTimedOutAlthoughPostedIsJoined(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"7.0", "9.0"} {
		for _, edits := range []bool{true, false} {
			d := newDesk(t)
			d.Version = version
			d.RefuseEdits(!edits)
			d.Fail("chat.sendMessage", rocketchattest.Fault{Done: true, Hang: true}, 1)
			c := exampleCard()
			_, err := d.Show(withTimeout(t, 50*time.Millisecond), bridge.Place{Address: "bob"}, c)
			if err == nil || bridge.IsPermanent(err) {
				t.Fatalf("%s: the lost answer gives %v", version, err)
			}
			c.Title = "Ready"
			ref := d.show(t, "bob", c)
			posts := d.Posts("bob")
			if len(posts) != 1 || string(ref) != "posterIda1/"+posts[0].ID {
				t.Fatalf("%s, edits %v: ref %q, posts %+v", version, edits, ref, posts)
			}
			if edits && !strings.HasPrefix(posts[0].Text, "*Ready*") {
				t.Errorf("%s: joined, but still %q", version, posts[0].Text)
			}
		}
	}
}

func TestARefusedEditIsPostedAnew(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"7.0", "8.8", "9.0"} {
		d := newDesk(t)
		d.Version = version
		c := exampleCard()
		c.Ref = d.show(t, "bob", c)
		d.RefuseEdits(true)
		c.Title = "Over"
		second := d.show(t, "bob", c)
		if second == c.Ref || len(d.Posts("bob")) != 2 {
			t.Fatalf("%s: ref %q, posts %+v", version, second, d.Posts("bob"))
		}
		// The bridge died before it stored the new ref: it calls with the old one.
		if again := d.show(t, "bob", c); again != second || len(d.Posts("bob")) != 2 {
			t.Errorf("%s: again: ref %q, want %q; %d posts", version, again, second, len(d.Posts("bob")))
		}
		c.Ref, c.Title = second, "Really over"
		if third := d.show(t, "bob", c); third == second || len(d.Posts("bob")) != 3 {
			t.Errorf("%s: the third has ref %q", version, third)
		}
	}
}

func TestADeletedPostIsPostedAnew(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	c := exampleCard()
	c.Ref = d.show(t, "bob", c)
	d.DeletePost(d.Posts("bob")[0].ID)
	if ref := d.show(t, "bob", c); ref == c.Ref || len(d.Posts("bob")) != 1 {
		t.Errorf("ref %q, posts %+v", ref, d.Posts("bob"))
	}
}

func TestAnEditThatFailsForAWhileIsNotPostedAnew(t *testing.T) {
	t.Parallel()
	for _, f := range []rocketchattest.Fault{
		{Status: 429, Body: "{}"},
		{Status: 400, Body: `{"success":false,"error":"Error, too many requests. [error-too-many-requests]"}`},
		{Status: 401, Body: "Unauthorized"}, {Status: 500}, {Status: 502, Body: "<html>"}, {Status: 404, Body: "<html>"},
	} {
		d := newDesk(t)
		c := exampleCard()
		c.Ref = d.show(t, "bob", c)
		d.Fail("chat.update", f, 1)
		_, err := d.Show(t.Context(), bridge.Place{Address: "bob"}, c)
		if err == nil || bridge.IsPermanent(err) || len(d.Posts("bob")) != 1 {
			t.Errorf("%d: %v, %d posts", f.Status, err, len(d.Posts("bob")))
		}
		if _, wait := bridge.RetryWait(err); wait != strings.Contains(f.Body+"x", "too-many") && f.Status != 429 {
			t.Errorf("%d %s: waits %v", f.Status, f.Body, wait)
		}
	}
}

func TestARefOfAnotherRoomIsNeverEdited(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, ref := range []bridge.Ref{bridge.Ref(d.chat + "/m1"), "posterIda2/m1", "nonsense", "/", "posterIda1/"} {
		c := exampleCard()
		c.Ref = ref
		from := len(d.Requests())
		d.show(t, "bob", c)
		if slices.Contains(d.routes(from), "POST chat.update") {
			t.Errorf("%q was edited", ref)
		}
	}
}

func TestAPosterWithoutItsRoleSaysSo(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"7.0", "9.0"} {
		d := newDesk(t)
		d.Version = version
		d.AddUser(rocketchattest.User{ID: "posterId", Username: "cobrowse", Token: posterToken})
		_, err := d.Show(t.Context(), bridge.Place{Address: "bob"}, exampleCard())
		if err == nil || bridge.IsPermanent(err) || !strings.Contains(err.Error(), "poster lacks create-d") {
			t.Errorf("%s: %v", version, err)
		}
	}
	d := newDesk(t)
	if _, err := d.Show(t.Context(), bridge.Place{Address: "nobody"}, exampleCard()); !bridge.IsPermanent(err) {
		t.Errorf("an unknown agent: %v", err)
	}
}

func TestAMessageOfSomebodyElseIsNeverTakenForOurs(t *testing.T) {
	t.Parallel()
	for name, squat := range map[string]struct{ user, token, rid, agent string }{
		"written by the agent":             {"a1", "bobs-token", "posterIda1", "bob"},
		"of ours, but to another agent":    {"posterId", posterToken, "posterIda2", "eve"},
		"in a room that we do not look at": {"a1", "bobs-token", "a1a2", "eve"},
	} {
		d := newDesk(t)
		d.AddUser(rocketchattest.User{ID: "a1", Username: "bob", Token: "bobs-token", Roles: []string{"user"}})
		c := exampleCard()
		ref := d.show(t, "bob", c)
		_, id, _ := strings.Cut(string(ref), "/")
		d.DeletePost(id)
		post := func(route, body string) {
			req, err := http.NewRequest(http.MethodPost, "https://chat.example.org/chat/api/v1/"+route, strings.NewReader(body))
			if err != nil {
				t.Fatal(err)
			}
			req.Header.Set("X-User-Id", squat.user)
			req.Header.Set("X-Auth-Token", squat.token)
			resp, err := inMemory(d.Workspace).RoundTrip(req)
			if err != nil || resp.StatusCode != http.StatusOK {
				t.Fatal(name, resp, err)
			}
		}
		if squat.agent != "bob" {
			post("im.create", `{"username":"`+squat.agent+`"}`)
		}
		post("chat.sendMessage", `{"message":{"_id":"`+id+`","rid":"`+squat.rid+`","msg":"theirs"}}`)
		if ref, err := d.Show(t.Context(), bridge.Place{Address: "bob"}, c); err == nil {
			t.Errorf("%s: it was taken for the card, as %q", name, ref)
		}
	}
}

func TestALookThatFailsIsNotARefusal(t *testing.T) {
	t.Parallel()
	for _, route := range []string{"chat.update", "chat.getMessage"} {
		d := newDesk(t)
		d.Fail("chat.sendMessage", rocketchattest.Fault{Status: 400, Body: "{}"}, 1)
		d.Fail(route, rocketchattest.Fault{Status: 429, Body: "{}"}, 1)
		_, err := d.Show(t.Context(), bridge.Place{Address: "bob"}, exampleCard())
		if _, wait := bridge.RetryWait(err); !wait {
			t.Errorf("%s: %v", route, err)
		}
	}
}

func TestThePostersNameIsLearnedOnceAndAgainWhenItChanged(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Fail("me", rocketchattest.Fault{Status: 200, Body: `{"_id":"another","username":"cobrowse","success":true}`}, 1)
	if _, err := d.Show(t.Context(), bridge.Place{Address: "bob"}, exampleCard()); err == nil || !strings.Contains(err.Error(), "ROCKETCHAT_POSTER_ID") {
		t.Errorf("a token of another user: %v", err)
	}
	c := exampleCard()
	c.Ref = d.show(t, "bob", c)
	d.show(t, "bob", c)
	if got := d.routes(0); !slices.Equal(got, []string{"GET me", "GET me", "POST im.create", "POST chat.sendMessage", "POST im.create", "POST chat.update"}) {
		t.Errorf("asked %v", got)
	}
	d.AddUser(rocketchattest.User{ID: "posterId", Username: "cobrowse2", Token: posterToken, Roles: []string{"bot"}})
	if _, err := d.Show(t.Context(), bridge.Place{Address: "bob"}, c); !errors.Is(err, errTarget) || bridge.IsPermanent(err) {
		t.Errorf("renamed: %v", err)
	}
	d.show(t, "bob", c)
}
