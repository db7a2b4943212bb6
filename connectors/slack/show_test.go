package slack

import (
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/slack/slacktest"
)

func TestACardIsPostedOnceAndEditedInPlace(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	card := exampleCard()
	ref := d.show(t, "dm/U1", card)
	card.Ref, card.Title = ref, "Session with Ann is running"
	card.Button.Label, card.More = "Join", []chat.Link{{Label: "End session", Address: testDoor + "?stop"}}
	if again := d.show(t, "dm/U1", card); again != ref {
		t.Errorf("ref %q, then %q", ref, again)
	}
	card.Title, card.Button, card.More = "Session with Ann has ended", chat.Link{}, nil
	d.show(t, "dm/U1", card)
	posts := d.Direct("U1")
	if len(posts) != 1 || posts[0].Edited != 2 || !strings.HasPrefix(posts[0].Text, "Session with Ann has ended") {
		t.Fatalf("%+v", posts)
	}
	if strings.Contains(string(posts[0].Blocks), "/w/") {
		t.Error("the link is still there")
	}
}

func TestAtASharedPlaceNoButtonHasAnAddress(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	card := exampleCard() // with addresses, which the bridge should not send to a shared place
	card.More = []chat.Link{{Label: "End session", Address: testDoor + "?stop"}, {Label: "Recording", Address: "https://upscope.io/r/secret"}}
	card.Chat = chat.Link{Label: "Open the chat", Address: "https://chat.example.org/live/1"}
	for _, address := range []string{"channel/C1", "C1", "thread/C1/1700000000.000001"} {
		d.show(t, address, card)
	}
	posts := d.Channel("C1")
	if len(posts) != 2 { // C1 is another way to write channel/C1
		t.Fatalf("%d posts", len(posts))
	}
	for _, p := range posts {
		for i, b := range slacktest.Buttons(p.Blocks) {
			if link := b.Label == "Open the chat"; link != (b.URL != "") || link == (b.Value == card.ID) {
				t.Errorf("button %d: %+v", i, b)
			}
		}
		if sent, _ := json.Marshal(p.Sent); strings.Contains(string(sent), "/w/") || strings.Contains(string(sent), "secret") {
			t.Errorf("sent %s", sent)
		}
	}
	if posts[0].Thread != "" || posts[1].Thread != "1700000000.000001" {
		t.Errorf("threads %q and %q", posts[0].Thread, posts[1].Thread)
	}
}

// The page behind a public card asks who opens it, so several people may see the link.
func TestAPublicCardHasLinksEverywhere(t *testing.T) {
	t.Parallel()
	for address, posts := range map[string]func(*desk) []slacktest.Post{
		"channel/C1":                  func(d *desk) []slacktest.Post { return d.Channel("C1") },
		"thread/C1/1700000000.000001": func(d *desk) []slacktest.Post { return d.Channel("C1") },
		"dm/U1":                       func(d *desk) []slacktest.Post { return d.Direct("U1") },
		place{kind: placeReply, user: "U1", channel: "C1", given: time.Now()}.address(): func(d *desk) []slacktest.Post { return d.Ephemeral("U1") },
	} {
		d := newDesk(t)
		d.show(t, address, publicCard())
		buttons := slacktest.Buttons(posts(d)[0].Blocks)
		if len(buttons) != 3 || buttons[0].URL != testDoor || buttons[0].Style != "primary" || buttons[1].URL != testDoor+"?stop" || buttons[2].URL == "" {
			t.Errorf("%s: %+v", address, buttons)
		}
		if len(posts(d)) != 1 || posts(d)[0].Text == "" || strings.Contains(posts(d)[0].Text, "/w/") {
			t.Errorf("%s: %+v", address, posts(d))
		}
	}
	d := newDesk(t)
	d.show(t, "home/U1", publicCard())
	if v, ok := d.Home("U1"); !ok || strings.Count(string(v.Body), `"url":`) != 3 {
		t.Errorf("the Home tab: %s", v.Body)
	}
}

// Slack also reports a press on a link, which the browser opens by itself.
func TestAPressOnTheLinkOfAPublicCardIsIgnored(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.show(t, "channel/C1", publicCard())
	for n := range 3 {
		if r, err := d.receive(d.Press("U2", d.Channel("C1")[0], n)); err != nil || r.Key != "" {
			t.Errorf("button %d: %+v, %v", n, r, err)
		}
	}
}

// A card's button gets an address, or loses it, if the operator changes how agents sign in.
func TestACardBecomesPublicByAnEdit(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for i, card := range []chat.Card{sharedCard(), publicCard(), sharedCard()} {
		if i > 0 {
			card.Ref = chat.Ref("C1/" + d.Channel("C1")[0].TS)
		}
		d.show(t, "channel/C1", card)
		posts := d.Channel("C1")
		if b := slacktest.Buttons(posts[0].Blocks); len(posts) != 1 || (b[0].URL != "") != card.Public || (b[0].Value != "") == card.Public {
			t.Errorf("step %d: %+v", i, b)
		}
	}
}

func TestACardInAChannelWithAnotherCompanyDoesNotNameTheVisitor(t *testing.T) {
	t.Parallel()
	card := sharedCard()
	card.Chat = chat.Link{Label: "Open the chat", Address: "https://chat.example.org/live/ann"}
	beforeOutsiders(t, card, slacktest.Button{Label: "Co-browse", Action: "cobrowse_open0", Value: card.ID, Style: "primary"})
	// A public card has only its button there.
	beforeOutsiders(t, publicCard(), slacktest.Button{Label: "Co-browse", Action: "cobrowse_link0", URL: testDoor, Style: "primary"})
}

// beforeOutsiders shows a card at places where people of other companies are or may be, and
// checks that it has nothing but one button there.
func beforeOutsiders(t *testing.T, card chat.Card, button slacktest.Button) {
	t.Helper()
	for name, change := range map[string]func(*desk) string{
		"shared":              func(*desk) string { return "channel/C3" },
		"a thread there":      func(*desk) string { return "thread/C3/1700000000.000001" },
		"invited, not joined": func(d *desk) string { d.pending(); return "channel/C4" },
		"without the scope": func(d *desk) string {
			d.Scopes = []string{"chat:write", "commands", "users:read"}
			return "channel/C1"
		},
	} {
		d := newDesk(t)
		address := change(d)
		d.show(t, address, card)
		p, _ := parsePlace(address)
		posts := d.Channel(p.channel)
		if len(posts) != 1 {
			t.Fatalf("%s: %d posts", name, len(posts))
		}
		sent, _ := json.Marshal(posts[0].Sent)
		for _, word := range []string{"Ann", "live/ann", "Basket", "Berlin", "Page"} {
			if strings.Contains(string(sent), word) {
				t.Errorf("%s: %q is in %s", name, word, sent)
			}
		}
		if b := slacktest.Buttons(posts[0].Blocks); len(b) != 1 || b[0] != button {
			t.Errorf("%s: buttons %+v", name, b)
		}
	}
}

func (d *desk) pending() {
	d.AddChannel(slacktest.Channel{ID: "C4", Name: "new", Members: []string{d.BotUser}, Pending: true})
}

func TestAPostThatCannotBeEditedIsNotPostedAgain(t *testing.T) {
	t.Parallel()
	for _, code := range []string{"message_not_found", "cant_update_message", "edit_window_closed", "msg_too_long", "block_mismatch"} {
		d := newDesk(t)
		card := exampleCard()
		card.Ref = d.show(t, "dm/U1", card)
		d.Fail("chat.update", slacktest.Fault{Error: code}, 1)
		if _, err := d.Show(t.Context(), chat.Place{Address: "dm/U1"}, card); !chat.IsPermanent(err) || !strings.Contains(err.Error(), code) {
			t.Errorf("%s: %v", code, err)
		}
		if n := len(d.Direct("U1")); n != 1 {
			t.Errorf("%s: %d posts", code, n)
		}
	}
	d := newDesk(t)
	card := exampleCard()
	card.Ref = d.show(t, "dm/U1", card)
	for _, code := range []string{"external_channel_migrating", "is_inactive", "restricted_action", "a_new_code"} {
		d.Fail("chat.update", slacktest.Fault{Error: code}, 1)
		if _, err := d.Show(t.Context(), chat.Place{Address: "dm/U1"}, card); err == nil || chat.IsPermanent(err) || !strings.Contains(err.Error(), code) || len(d.Direct("U1")) != 1 {
			t.Errorf("%s: %v, %d posts", code, err, len(d.Direct("U1")))
		}
	}
	card.Ref = "../x"
	if _, err := d.Show(t.Context(), chat.Place{Address: "dm/U1"}, card); !chat.IsPermanent(err) {
		t.Errorf("an invalid ref: %v", err)
	}
}

func TestACardWithAnotherIDIsAnotherMessage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	card := exampleCard()
	card.Ref = d.show(t, "dm/U1", card)
	back := exampleCard()
	back.ID, back.Title = card.ID+".back1", "Ann is back online"
	first := d.show(t, "dm/U1", back)
	if again := d.show(t, "dm/U1", back); again != first || len(d.Direct("U1")) != 2 {
		t.Errorf("refs %q and %q, %d posts", first, again, len(d.Direct("U1")))
	}
}

func TestTheHomeTabIsPublished(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, title := range []string{"Your co-browse cards", "Session with Ann is running"} {
		card := exampleCard()
		card.Title = title
		d.show(t, "home/U1", card)
		if v, ok := d.Home("U1"); !ok || !strings.Contains(string(v.Body), title) {
			t.Errorf("%s: %s", title, v.Body)
		}
	}
}

func TestErrorsSayWhatToDo(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		fault     slacktest.Fault
		says      string
		permanent bool
	}{
		{slacktest.Fault{Error: "not_in_channel"}, "invite the app", false},
		{slacktest.Fault{Error: "channel_not_found"}, "invite the app", false},
		// An operator can change these, and a code that is not known may be temporary.
		{slacktest.Fault{Error: "is_archived"}, "is_archived", false},
		{slacktest.Fault{Error: "restricted_action_read_only_channel"}, "restricted_action_read_only_channel", false},
		{slacktest.Fault{Error: "method_not_supported_for_channel_type"}, "method_not_supported_for_channel_type", false},
		{slacktest.Fault{Error: "a_code_of_2027"}, "a_code_of_2027", false},
		{slacktest.Fault{Error: "team_access_not_granted"}, "SLACK_BOT_TOKEN", false},
		{slacktest.Fault{Error: "cannot_dm_bot"}, "cannot_dm_bot", true},
		{slacktest.Fault{Error: "user_disabled"}, "user_disabled", true},
		{slacktest.Fault{Status: 200, Body: `{"ok":false,"error":"missing_scope","needed":"chat:write","provided":"commands"}`}, "the scope chat:write", false},
		{slacktest.Fault{Status: 200, Body: `{"ok":false,"error":"invalid_blocks","response_metadata":{"messages":["[ERROR] must be less than 151 characters [json-pointer:/blocks/0/text/text]"]}}`}, "at /blocks/0/text/text", true},
		{slacktest.Fault{Status: 200, Body: `{"ok":false,"error":"a secret xoxb-1"}`}, "refused by Slack: unknown", false},
		{slacktest.Fault{Status: 404}, "SLACK_URL", false},
		{slacktest.Fault{Status: 302, Header: http.Header{"Location": {"https://evil.example/"}}}, "SLACK_URL", false},
		{slacktest.Fault{Status: 400}, "400", false},
		{slacktest.Fault{Status: 413}, "413", true},
	} {
		d := newDesk(t)
		d.Fail("chat.postMessage", c.fault, 1)
		_, err := d.Show(t.Context(), chat.Place{Address: "dm/U1"}, exampleCard())
		if err == nil || !strings.Contains(err.Error(), c.says) || chat.IsPermanent(err) != c.permanent {
			t.Errorf("%+v: %v", c.fault, err)
		}
		if err != nil {
			clean(t, "the error", err.Error())
		}
	}
}
