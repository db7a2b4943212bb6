package slack

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/rest"
	"cobrowse-bridge/connectors/slack/slacktest"
)

var bob = chat.Agent{ID: "T0ACME/U1", Name: "Bob Baker"}

func TestACommandIsUnderstood(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for text, want := range map[string]chat.Ask{
		"4821":          {Verb: chat.LookUp, Clues: chat.Clues{LookupCode: "4821"}},
		"jane@acme.com": {Verb: chat.LookUp, Clues: chat.Clues{Email: "jane@acme.com"}},
		"crm:4711":      {Verb: chat.LookUp, Clues: chat.Clues{IntegrationIDs: []string{"crm:4711"}}},
		"status":        {Verb: chat.Status},
		"stop":          {Verb: chat.Stop},
		"usage":         {Verb: chat.PlanUsage},
		"help":          {Verb: chat.Help},
		"":              {Verb: chat.Help},
		"who is it?":    {Verb: chat.Help, Unclear: chat.UnclearText},
		"4821 or 4822?": {Verb: chat.Help, Unclear: chat.UnclearSeveral},
	} {
		got := d.mustAsk(t, d.Command("U1", "C1", text))
		if got.Verb != want.Verb || !equal(got.Clues, want.Clues) || got.Unclear != want.Unclear || got.Agent != bob || (got.Example == "/cobrowse 4821" && got.ExampleInThread == "@cobrowse 4821") != (want.Verb == chat.Help) || got.Chat == "" {
			t.Errorf("%q: %+v", text, got)
		}
		if p, err := parsePlace(got.Place.Address); err != nil || p.kind != placeReply || p.user != "U1" || p.respond == "" || d.Shared(got.Place.Address) {
			t.Errorf("%q is answered at %q", text, got.Place.Address)
		}
	}
	if n := len(d.Requests()); n != 2 {
		t.Errorf("%d requests for one agent, want auth.test and users.info: %v", n, d.methods(0))
	}
}

func equal(a, b chat.Clues) bool {
	return a.LookupCode == b.LookupCode && a.Email == b.Email && strings.Join(a.IntegrationIDs, " ") == strings.Join(b.IntegrationIDs, " ")
}

func TestUsageHasTheNameOfTheCommandInTheWorkspace(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	form := d.CommandFields("U1", "C1", "help")
	form.Set("command", "/watch")
	if got := d.mustAsk(t, []byte(form.Encode())); got.Example != "/watch 4821" || got.ExampleInThread != "@cobrowse 4821" {
		t.Errorf("usage %q", got.Example)
	}
	if got := d.mustAsk(t, d.Mention("U1", "C1", "", "help")); got.Example != "@cobrowse 4821" {
		t.Errorf("usage of a mention %q", got.Example)
	}
}

func TestAMentionIsAnsweredInItsThread(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	got := d.mustAsk(t, d.Mention("U2", "C1", "1700000000.000001", "4821"))
	if got.Verb != chat.LookUp || got.Clues.LookupCode != "4821" || got.Agent != (chat.Agent{ID: "T0ACME/U2", Name: "Eve"}) {
		t.Errorf("%+v", got)
	}
	d.show(t, got.Place.Address, exampleCard())
	if posts := d.Ephemeral("U2"); len(posts) != 1 || posts[0].Thread != "1700000000.000001" || posts[0].Channel != "C1" {
		t.Errorf("%+v", posts)
	}
}

func TestOpeningTheHomeTabAsksForTheStatus(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	got := d.mustAsk(t, d.HomeOpened("U1", "home"))
	if got.Verb != chat.Status || got.Agent != bob || got.Place.Address != "home/U1" {
		t.Errorf("%+v", got)
	}
}

func TestAPressOnASharedCardIsAnsweredToThePresserOnly(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	card := sharedCard()
	d.show(t, "channel/C1", card)
	got := d.mustAsk(t, d.Press("U2", d.Channel("C1")[0], 0))
	if got.Verb != chat.Open || got.Card != card.ID || got.Agent.ID != "T0ACME/U2" || d.Shared(got.Place.Address) {
		t.Errorf("%+v", got)
	}
	// Only the agent who pressed sees the answer.
	d.show(t, got.Place.Address, exampleCard())
	if eve, bob := d.Ephemeral("U2"), d.Ephemeral("U1"); len(eve) != 1 || len(bob) != 0 || len(d.Channel("C1")) != 1 {
		t.Errorf("eve sees %d, bob %d", len(eve), len(bob))
	}
}

func TestAPressOnALinkIsIgnored(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.show(t, "dm/U1", exampleCard())
	r, err := d.receive(d.Press("U1", d.Direct("U1")[0], 0))
	if err != nil || r.Key != "" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestPeopleWhoMayNotAskAreRefused(t *testing.T) {
	t.Parallel()
	for user, want := range map[string]chat.Ask{
		"U3GUEST":   {Refusal: chat.RefuseGuest, Agent: chat.Agent{ID: "T0ACME/U3GUEST", Name: "Gus Guest"}},
		"U4BOT":     {Refusal: chat.RefuseBot, Agent: chat.Agent{ID: "T0ACME/U4BOT", Name: "robot"}},
		"U5GONE":    {Refusal: chat.RefuseInactive, Agent: chat.Agent{ID: "T0ACME/U5GONE", Name: "gone"}},
		"U6OTHER":   {Refusal: chat.RefuseExternal, Agent: chat.Agent{ID: "T9OTHER/U6OTHER", Name: "Carl Customer"}},
		"U7STRANGE": {Refusal: chat.RefuseExternal, Agent: chat.Agent{ID: "T0ACME/U7STRANGE", Name: "strange"}},
		"U404":      {Refusal: chat.RefuseInactive, Agent: chat.Agent{ID: "T0ACME/U404", Name: "U404"}},
	} {
		d := newDesk(t)
		got := d.mustAsk(t, d.Command(user, "C1", "4821"))
		if got.Verb != chat.Refuse || got.Refusal != want.Refusal || got.Agent != want.Agent || !got.Clues.Empty() {
			t.Errorf("%s: %+v", user, got)
		}
		d.show(t, got.Place.Address, chat.Card{ID: "d1", Title: "You can’t co-browse from here"})
		if len(d.Ephemeral(user)) != 1 {
			t.Errorf("%s gets no answer", user)
		}
	}
}

func TestAnOutsiderPressesACardInASharedChannel(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.show(t, "channel/C3", sharedCard())
	got := d.mustAsk(t, d.Press("U6OTHER", d.Channel("C3")[0], 0))
	if got.Verb != chat.Refuse || got.Refusal != chat.RefuseExternal || got.Card != sharedCard().ID {
		t.Errorf("%+v", got)
	}
}

func TestGuestsMayAskIfTheOperatorAllowsIt(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *Config) { c.AllowGuests = true })
	if got := d.mustAsk(t, d.Command("U3GUEST", "C1", "4821")); got.Verb != chat.LookUp {
		t.Errorf("%+v", got)
	}
}

func TestAnotherWorkspacesDeliveryIsRefused(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	form := d.CommandFields("U1", "C1", "4821")
	form.Set("team_id", "T9OTHER")
	if got := d.mustAsk(t, []byte(form.Encode())); got.Refusal != chat.RefuseExternal {
		t.Errorf("%+v", got)
	}
}

func TestAPersonIsReadAgainAfterTenMinutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.mustAsk(t, d.Command("U1", "C1", "4821"))
		d.AddUser(slacktest.User{ID: "U1", Name: "bob", Deleted: true})
		time.Sleep(10 * time.Minute)
		if got := d.mustAsk(t, d.Command("U1", "C1", "4821")); got.Refusal != chat.RefuseInactive {
			t.Errorf("a closed account is not refused: %+v", got)
		}
	})
}

// Slack adds fields from time to time, and changes some.
func TestAnOddFieldOfAPersonDoesNotKeepThemFromAsking(t *testing.T) {
	t.Parallel()
	for odd, want := range map[string]chat.Refusal{
		`"profile":[]`: "", `"profile":{"display_name":7,"real_name":"Bob Baker"}`: "", `"real_name":false`: "", `"tz_offset":"late"`: "", `"enterprise_user":"E1"`: "",
		`"profile":{"fields":7,"image_24":[],"status_emoji_display_info":"x"}`: "", `"is_bot":null`: "", `"is_restricted":"false"`: "",
		// A field that forbids asking does so in every form.
		`"is_restricted":"true"`: chat.RefuseGuest, `"is_ultra_restricted":1`: chat.RefuseGuest, `"is_bot":"yes"`: chat.RefuseBot, `"deleted":1`: chat.RefuseInactive,
	} {
		d := newDesk(t)
		d.Fail("users.info", slacktest.Fault{Status: 200, Body: `{"ok":true,"user":{"id":"U1","team_id":"T0ACME","name":"bob",` + odd + `}}`}, 1)
		got, err := d.ask(t, d.Command("U1", "C1", "4821"))
		if err != nil || got.Refusal != want || got.Agent.ID != "T0ACME/U1" || got.Agent.Name == "" || (got.Verb == chat.LookUp) != (want == "") {
			t.Errorf("%s: %+v, %v", odd, got, err)
		}
	}
	for _, address := range []string{`"is_email_confirmed":"no"`, `"is_email_confirmed":1`, `"is_email_confirmed":false`} {
		d := newDesk(t)
		d.Fail("users.info", slacktest.Fault{Status: 200, Body: `{"ok":true,"user":{"id":"U1","team_id":"T0ACME","name":"bob","profile":{"email":"bob@example.org"},` + address + `}}`}, 1)
		if got, err := d.ask(t, d.Command("U1", "C1", "4821")); err != nil || got.Agent.Email != "" {
			t.Errorf("%s: %+v, %v", address, got, err)
		}
	}
}

func TestAChannelWhoseFormIsUnknownCountsAsShared(t *testing.T) {
	t.Parallel()
	for odd, named := range map[string]bool{
		`"previous_names":7,"latest":[],"purpose":"x"`: true, `"is_ext_shared":"false"`: true, `"is_shared":true,"is_org_shared":true`: true,
		`"is_ext_shared":"true"`: false, `"is_pending_ext_shared":1`: false, `"is_shared":"yes"`: false, `"is_shared":true,"is_org_shared":"perhaps"`: false,
	} {
		d := newDesk(t)
		d.Fail("conversations.info", slacktest.Fault{Status: 200, Body: `{"ok":true,"channel":{"id":"C1",` + odd + `}}`}, 1)
		d.show(t, "channel/C1", sharedCard())
		if post := d.Channel("C1")[0]; strings.Contains(post.Text+string(post.Blocks), "Ann") != named {
			t.Errorf("%s: the channel reads %q", odd, post.Text)
		}
	}
}

func TestNobodyMayAskIfSlackDoesNotAnswer(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		method    string
		fault     slacktest.Fault
		permanent bool
		wait      time.Duration
		says      string
	}{
		{"auth.test", slacktest.Fault{Error: "invalid_auth"}, false, 0, "SLACK_BOT_TOKEN"},
		{"auth.test", slacktest.Fault{Error: "token_revoked"}, false, 0, "SLACK_BOT_TOKEN"},
		{"users.info", slacktest.Fault{Error: "missing_scope"}, false, 0, "scope"},
		{"users.info", slacktest.Fault{Error: "internal_error"}, false, 0, "internal_error"},
		{"users.info", slacktest.Fault{Error: "ratelimited"}, false, rest.DefaultWait, "refused by Slack: ratelimited"},
		{"users.info", slacktest.Fault{Status: 429, Header: map[string][]string{"Retry-After": {"7"}}}, false, 7 * time.Second, "rate limited"},
		{"users.info", slacktest.Fault{Status: 429}, false, rest.DefaultWait, "rate limited"},
		{"users.info", slacktest.Fault{Status: 429, Header: map[string][]string{"Retry-After": {"soon"}}}, false, rest.DefaultWait, "rate limited"},
		{"users.info", slacktest.Fault{Status: 429, Header: map[string][]string{"Retry-After": {"86400"}}}, false, rest.MaxWait, "rate limited"},
		{"users.info", slacktest.Fault{Status: 429, Header: map[string][]string{"Retry-After": {"0"}}}, false, rest.MinWait, "rate limited"},
		{"users.info", slacktest.Fault{Status: 503, Body: "<html>"}, false, 0, "503"},
		{"users.info", slacktest.Fault{Status: 200, Body: "<html>"}, false, 0, "cannot be read"},
		{"users.info", slacktest.Fault{Status: 200, Body: `{"ok":true,"user":{"id":"U2"}}`}, false, 0, "cannot be read"},
		{"users.info", slacktest.Fault{Status: 200, Body: `{"ok":true,"pad":"` + strings.Repeat("x", 3<<20) + `","user":{"id":"U1","team_id":"T0ACME"}}`}, false, 0, "closed early"},
		{"users.info", slacktest.Fault{Error: "some_new_code"}, false, 0, "some_new_code"},
	} {
		d := newDesk(t)
		d.Fail(c.method, c.fault, 1)
		got, err := d.ask(t, d.Command("U1", "C1", "4821"))
		wait, _ := chat.RetryWait(err)
		if err == nil || got.Verb != chat.Nothing || chat.IsPermanent(err) != c.permanent || wait != c.wait || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %.80v: %+v, %v", c.method, fmt.Sprint(c.fault), got, err)
		}
		if err != nil {
			clean(t, c.method, err.Error())
		}
	}
}

func TestReadEndsWithItsContext(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.Fail("users.info", slacktest.Fault{Hang: true}, 1)
		r, err := d.receive(d.Command("U1", "C1", "4821"))
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		if _, err := d.Read(ctx, chat.Delivery{Key: r.Key, Body: r.Body}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestAStoredDeliveryThatCannotBeReadFailsForGood(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, body := range []string{"", "{", "{}", `{"kind":"command","user":"../x"}`} {
		if _, err := d.Read(t.Context(), chat.Delivery{Key: "k", Body: []byte(body)}); !chat.IsPermanent(err) {
			t.Errorf("%q: %v", body, err)
		}
	}
}

func TestAChannelOfAnUnknownKindCanBeAnswered(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	form := d.CommandFields("U1", "C1", "4821")
	form.Set("channel_id", "Q0000")
	got := d.mustAsk(t, []byte(form.Encode()))
	d.show(t, got.Place.Address, exampleCard())
	if got.Verb != chat.LookUp || len(d.Ephemeral("U1")) != 1 {
		t.Errorf("%+v, %d answers", got, len(d.Ephemeral("U1")))
	}
}

func TestAMessageShortcutUsesTheClueInTheMessage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	got := d.mustAsk(t, d.MessageShortcut("U1", shortcutMessage, d.Write("U2", "C2", "", "she says 4821!")))
	if got.Verb != chat.LookUp || got.Clues.LookupCode != "4821" || got.Agent != bob {
		t.Errorf("%+v", got)
	}
	// The app is not in that channel, but the response_url works there.
	d.show(t, got.Place.Address, exampleCard())
	if posts := d.Ephemeral("U1"); len(posts) != 1 || posts[0].Channel != "C2" {
		t.Errorf("%+v", posts)
	}
	if len(d.Views()) != 0 {
		t.Error("a dialog was opened")
	}
}

func TestPlacesAreReadAndWritten(t *testing.T) {
	t.Parallel()
	for address, want := range map[string]struct{ ok, shared bool }{
		"dm/U1": {true, false}, "U1": {true, false}, "W012AB": {true, false}, "home/U1": {true, false},
		"channel/C1": {true, true}, "C1": {true, true}, "G1": {true, true}, "thread/C1/1700000000.000001": {true, true},
		"reply/U1/C1//1700000000/https://hooks.slack.com/commands/T/1/x": {true, false},
		"reply/U1/D1/1700000000.000001//":                                {true, false},
		"":                                                               {false, false}, "x": {false, false}, "dm/": {false, false}, "dm/C1": {false, false}, "channel/U1": {false, false},
		"channel/#general": {false, false}, "thread/C1": {false, false}, "thread/C1/x": {false, false}, "reply/U1": {false, false},
		"reply/C1////": {false, false}, "reply/U1/C1//x/": {false, false}, "channel/D1": {false, false}, "im/U1": {false, false},
	} {
		p, err := parsePlace(address)
		if (err == nil) != want.ok || isShared(address) != want.shared {
			t.Errorf("%q: %+v, %v, shared %v", address, p, err, isShared(address))
		}
		if err == nil && strings.Contains(address, "/") && p.address() != address {
			t.Errorf("%q is written %q", address, p.address())
		}
	}
}
