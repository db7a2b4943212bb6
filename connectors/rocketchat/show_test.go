package rocketchat

import (
	"errors"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/chat"
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
	want := "*Co-browse with Ann*\nPage: Basket\n[Co-browse](https://bridge.example.org/w/4kqRs7)  |  [Open the chat](https://chat.example.org/chat/live/room1)"
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
	gone := chat.Card{ID: c.ID, Ref: c.Ref, Title: "Chat moved to Eve Evans"}
	if ref := d.show(t, "bob", gone); ref != c.Ref {
		t.Errorf("edited as %q, was %q", ref, c.Ref)
	}
	c.Ref = ""
	d.show(t, "eve", c)
	if got := texts(d.Posts("bob")); !slices.Equal(got, []string{"*Chat moved to Eve Evans*"}) {
		t.Errorf("bob sees %q", got)
	}
	if got := texts(d.Posts("eve")); len(got) != 1 || !strings.Contains(got[0], "/w/4kqRs7") {
		t.Errorf("eve sees %q", got)
	}
	if d.Posts("bob")[0].ID == d.Posts("eve")[0].ID {
		t.Error("two places share a message id")
	}
}

func TestAPostWhoseAnswerTimedOutIsNotRepeated(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, version := range []string{"7.0", "9.0"} {
			for _, edits := range []bool{true, false} {
				d := newDesk(t)
				d.Version = version
				d.RefuseEdits(!edits)
				d.Fail("chat.sendMessage", rocketchattest.Fault{Done: true, Hang: true}, 1)
				c := exampleCard()
				_, err := d.Show(withTimeout(t, 50*time.Millisecond), chat.Place{Address: "bob"}, c)
				if err == nil || chat.IsPermanent(err) {
					t.Fatalf("%s: the lost answer gives %v", version, err)
				}
				c.Title = "Ready"
				ref := d.show(t, "bob", c)
				posts := d.Posts("bob")
				if len(posts) != 1 || string(ref) != "posterIda1/"+posts[0].ID {
					t.Fatalf("%s, edits %v: ref %q, posts %+v", version, edits, ref, posts)
				}
				if edits && !strings.HasPrefix(posts[0].Text, "*Ready*") {
					t.Errorf("%s: the post still says %q", version, posts[0].Text)
				}
			}
		}
	})
}

func TestARefusedEditIsPostedAgain(t *testing.T) {
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
		// The bridge stopped before it stored the new ref, and calls with the old one.
		if again := d.show(t, "bob", c); again != second || len(d.Posts("bob")) != 2 {
			t.Errorf("%s: again: ref %q, want %q; %d posts", version, again, second, len(d.Posts("bob")))
		}
		c.Ref, c.Title = second, "Really over"
		if third := d.show(t, "bob", c); third == second || len(d.Posts("bob")) != 3 {
			t.Errorf("%s: the third has ref %q", version, third)
		}
	}
}

func TestAnEditThatIsTooLateIsPostedAgain(t *testing.T) {
	t.Parallel()
	for _, f := range []rocketchattest.Fault{
		{Status: 400, Body: `{"success":false,"error":"Message editing is blocked [error-message-editing-blocked]","errorType":"error-message-editing-blocked"}`},
		{Status: 403, Body: `{"success":false,"error":"Message editing not allowed","errorType":"error-action-not-allowed"}`},
		{Status: 400, Body: `{"success":false,"error":"The room id provided does not match where the message is from."}`},
	} {
		d := newDesk(t)
		c := exampleCard()
		c.Ref = d.show(t, "bob", c)
		d.Fail("chat.update", f, 1)
		if ref := d.show(t, "bob", c); ref == c.Ref || len(d.Posts("bob")) != 2 {
			t.Errorf("%s: ref %q, %d posts", f.Body, ref, len(d.Posts("bob")))
		}
	}
}

func TestNothingIsPostedWhileTheWorkspaceIsReadOnly(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	shown := exampleCard()
	shown.ID, shown.Ref = "shown", d.show(t, "bob", exampleCard())
	d.SetDaysLeft(0)
	for _, c := range []chat.Card{shown, exampleCard()} {
		from := len(d.Requests())
		_, err := d.Show(t.Context(), chat.Place{Address: "bob"}, c)
		if err == nil || chat.IsPermanent(err) || !strings.Contains(err.Error(), "(restricted-workspace)") || !strings.Contains(err.Error(), "the workspace is read-only until") {
			t.Errorf("with the ref %q: %v", c.Ref, err)
		}
		if asked := d.routes(from); len(asked) != 2 || len(d.Posts("bob")) != 1 {
			t.Errorf("with the ref %q: asked %v, %d posts", c.Ref, asked, len(d.Posts("bob")))
		}
	}
	d.SetDaysLeft(10)
	shown.Title = "Over"
	if ref := d.show(t, "bob", shown); ref != shown.Ref || len(d.Posts("bob")) != 1 || !strings.Contains(d.Posts("bob")[0].Text, "Over") {
		t.Errorf("afterwards: ref %q, posts %+v", ref, d.Posts("bob"))
	}
}

func TestADeletedPostIsPostedAgain(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	c := exampleCard()
	c.Ref = d.show(t, "bob", c)
	d.DeletePost(d.Posts("bob")[0].ID)
	if ref := d.show(t, "bob", c); ref == c.Ref || len(d.Posts("bob")) != 1 {
		t.Errorf("ref %q, posts %+v", ref, d.Posts("bob"))
	}
}

func TestAnEditThatFailsForAWhileIsNotPostedAgain(t *testing.T) {
	t.Parallel()
	for _, f := range []rocketchattest.Fault{
		{Status: 429, Body: "{}"},
		{Status: 400, Body: `{"success":false,"error":"Error, too many requests. [error-too-many-requests]"}`},
		{Status: 400, Body: `{"success":false,"error":"restricted-workspace"}`},
		{Status: 400, Body: `{"success":false,"error":"a-new-code"}`}, {Status: 400, Body: `{"success":false}`}, {Status: 400, Body: "<html>"},
		{Status: 400, Body: `{"success":false,"error":"x","errorType":"error-not-allowed"}`}, {Status: 403, Body: "<html>"},
		{Status: 403, Body: `{"success":false,"error":"x","errorType":"error-forbidden"}`},
		{Status: 400, Body: `{"success":false,"error":"x","errorType":"totp-required"}`},
		{Status: 401, Body: `{"success":false,"error":"x [error-unauthorized]"}`},
		{Status: 401, Body: "Unauthorized"}, {Status: 500}, {Status: 502, Body: "<html>"}, {Status: 404, Body: "<html>"},
	} {
		d := newDesk(t)
		c := exampleCard()
		c.Ref = d.show(t, "bob", c)
		d.Fail("chat.update", f, 1)
		_, err := d.Show(t.Context(), chat.Place{Address: "bob"}, c)
		if err == nil || chat.IsPermanent(err) || len(d.Posts("bob")) != 1 {
			t.Errorf("%d: %v, %d posts", f.Status, err, len(d.Posts("bob")))
		}
		if _, wait := chat.RetryWait(err); wait != strings.Contains(f.Body+"x", "too-many") && f.Status != 429 {
			t.Errorf("%d %s: waits %v", f.Status, f.Body, wait)
		}
	}
}

func TestARefOfAnotherRoomIsNeverEdited(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, ref := range []chat.Ref{chat.Ref(d.chat + "/m1"), "posterIda2/m1", "nonsense", "/", "posterIda1/"} {
		c := exampleCard()
		c.Ref = ref
		from := len(d.Requests())
		d.show(t, "bob", c)
		if slices.Contains(d.routes(from), "POST chat.update") {
			t.Errorf("%q was edited", ref)
		}
	}
}

func TestTheErrorNamesTheRoleThatThePosterLacks(t *testing.T) {
	t.Parallel()
	for _, version := range []string{"7.0", "9.0"} {
		d := newDesk(t)
		d.Version = version
		d.AddUser(rocketchattest.User{ID: "posterId", Username: "cobrowse", Token: posterToken})
		_, err := d.Show(t.Context(), chat.Place{Address: "bob"}, exampleCard())
		if err == nil || chat.IsPermanent(err) || !strings.Contains(err.Error(), "poster lacks create-d") {
			t.Errorf("%s: %v", version, err)
		}
	}
	d := newDesk(t)
	if _, err := d.Show(t.Context(), chat.Place{Address: "nobody"}, exampleCard()); !chat.IsPermanent(err) {
		t.Errorf("an unknown agent: %v", err)
	}
	// Some versions answer with the direct message of the poster with itself (seen with 7.13.9).
	d.Fail("im.create", rocketchattest.Fault{Status: 200, Body: `{"success":true,"room":{"t":"d","rid":"posterIdposterId","usernames":["cobrowse"]}}`}, 1)
	if _, err := d.Show(t.Context(), chat.Place{Address: "nobody"}, exampleCard()); err == nil || !strings.Contains(err.Error(), "found no user with the agent's name") {
		t.Errorf("an unknown agent: %v", err)
	}
}

func TestAnotherUsersMessageWithOurIDIsNotUsed(t *testing.T) {
	t.Parallel()
	for name, squat := range map[string]struct{ user, token, rid, agent string }{
		"written by the agent":          {"a1", "bobs-token", "posterIda1", "bob"},
		"our own, to another agent":     {"posterId", posterToken, "posterIda2", "eve"},
		"in a room that we do not read": {"a1", "bobs-token", "a1a2", "eve"},
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
		if ref, err := d.Show(t.Context(), chat.Place{Address: "bob"}, c); err == nil {
			t.Errorf("%s: Show returns it as the card's post, %q", name, ref)
		}
	}
}

func TestAFailedSearchForThePostIsRetried(t *testing.T) {
	t.Parallel()
	for _, route := range []string{"chat.update", "chat.getMessage"} {
		d := newDesk(t)
		d.Fail("chat.sendMessage", rocketchattest.Fault{Status: 400, Body: "{}"}, 1)
		d.Fail(route, rocketchattest.Fault{Status: 429, Body: "{}"}, 1)
		_, err := d.Show(t.Context(), chat.Place{Address: "bob"}, exampleCard())
		if _, wait := chat.RetryWait(err); !wait {
			t.Errorf("%s: %v", route, err)
		}
	}
}

func TestThePostersNameIsReadOnceAndAgainAfterARename(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.Fail("me", rocketchattest.Fault{Status: 200, Body: `{"_id":"another","username":"cobrowse","success":true}`}, 1)
	if _, err := d.Show(t.Context(), chat.Place{Address: "bob"}, exampleCard()); err == nil || !strings.Contains(err.Error(), "ROCKETCHAT_POSTER_ID") {
		t.Errorf("a token of another user: %v", err)
	}
	c := exampleCard()
	c.Ref = d.show(t, "bob", c)
	d.show(t, "bob", c)
	if got := d.routes(0); !slices.Equal(got, []string{"GET me", "GET me", "POST im.create", "POST chat.sendMessage", "POST im.create", "POST chat.update"}) {
		t.Errorf("asked %v", got)
	}
	d.AddUser(rocketchattest.User{ID: "posterId", Username: "cobrowse2", Token: posterToken, Roles: []string{"bot"}})
	if _, err := d.Show(t.Context(), chat.Place{Address: "bob"}, c); !errors.Is(err, errTarget) || chat.IsPermanent(err) {
		t.Errorf("renamed: %v", err)
	}
	d.show(t, "bob", c)
}
