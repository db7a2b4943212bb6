package slack

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/connectors/slack/slacktest"
)

var bob = bridge.Agent{ID: "T0ACME/U1", Name: "Bob Baker"}

func TestACommandIsUnderstood(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for text, want := range map[string]bridge.Ask{
		"4821":          {Verb: bridge.LookUp, Clues: bridge.Clues{LookupCode: "4821"}},
		"jane@acme.com": {Verb: bridge.LookUp, Clues: bridge.Clues{Email: "jane@acme.com"}},
		"crm:4711":      {Verb: bridge.LookUp, Clues: bridge.Clues{IntegrationIDs: []string{"crm:4711"}}},
		"status":        {Verb: bridge.Status},
		"stop":          {Verb: bridge.Stop},
		"usage":         {Verb: bridge.Usage},
		"help":          {Verb: bridge.Help},
		"":              {Verb: bridge.Help},
		"who is it?":    {Verb: bridge.Help},
	} {
		got := d.mustAsk(t, d.Command("U1", "C1", text))
		if got.Verb != want.Verb || !equal(got.Clues, want.Clues) || got.Agent != bob || (got.Usage == "/cobrowse 4821, or in a thread @cobrowse 4821") != (want.Verb == bridge.Help) || got.Chat == "" {
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

func equal(a, b bridge.Clues) bool {
	return a.LookupCode == b.LookupCode && a.Email == b.Email && strings.Join(a.IntegrationIDs, " ") == strings.Join(b.IntegrationIDs, " ")
}

func TestTheCommandIsCalledAsItIsHere(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	form := d.CommandFields("U1", "C1", "help")
	form.Set("command", "/watch")
	if got := d.mustAsk(t, []byte(form.Encode())); got.Usage != "/watch 4821, or in a thread @cobrowse 4821" {
		t.Errorf("usage %q", got.Usage)
	}
	if got := d.mustAsk(t, d.Mention("U1", "C1", "", "help")); got.Usage != "@cobrowse 4821" {
		t.Errorf("usage of a mention %q", got.Usage)
	}
}

func TestAMentionIsAnsweredInItsThread(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	got := d.mustAsk(t, d.Mention("U2", "C1", "1700000000.000001", "4821"))
	if got.Verb != bridge.LookUp || got.Clues.LookupCode != "4821" || got.Agent != (bridge.Agent{ID: "T0ACME/U2", Name: "Eve"}) {
		t.Errorf("%+v", got)
	}
	d.show(t, got.Place.Address, exampleCard())
	if posts := d.Ephemeral("U2"); len(posts) != 1 || posts[0].Thread != "1700000000.000001" || posts[0].Channel != "C1" {
		t.Errorf("%+v", posts)
	}
}

func TestTheHomeTabAsksHowThingsStand(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	got := d.mustAsk(t, d.HomeOpened("U1", "home"))
	if got.Verb != bridge.Status || got.Agent != bob || got.Place.Address != "home/U1" {
		t.Errorf("%+v", got)
	}
}

func TestAPressOnASharedCardIsThePressersOwn(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	card := sharedCard()
	d.show(t, "channel/C1", card)
	got := d.mustAsk(t, d.Press("U2", d.Channel("C1")[0], 0))
	if got.Verb != bridge.Open || got.Card != card.ID || got.Agent.ID != "T0ACME/U2" || d.Shared(got.Place.Address) {
		t.Errorf("%+v", got)
	}
	// The answer is seen by whoever pressed, and by nobody else.
	d.show(t, got.Place.Address, exampleCard())
	if eve, bob := d.Ephemeral("U2"), d.Ephemeral("U1"); len(eve) != 1 || len(bob) != 0 || len(d.Channel("C1")) != 1 {
		t.Errorf("eve sees %d, bob %d", len(eve), len(bob))
	}
}

func TestAPressOnALinkMeansNothing(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.show(t, "dm/U1", exampleCard())
	r, err := d.receive(d.Press("U1", d.Direct("U1")[0], 0))
	if err != nil || r.Key != "" {
		t.Errorf("%+v, %v", r, err)
	}
}

func TestWhoMayNotAskIsRefused(t *testing.T) {
	t.Parallel()
	for user, want := range map[string]bridge.Ask{
		"U3GUEST":   {Refusal: bridge.RefuseGuest, Agent: bridge.Agent{ID: "T0ACME/U3GUEST", Name: "Gus Guest"}},
		"U4BOT":     {Refusal: bridge.RefuseBot, Agent: bridge.Agent{ID: "T0ACME/U4BOT", Name: "robot"}},
		"U5GONE":    {Refusal: bridge.RefuseInactive, Agent: bridge.Agent{ID: "T0ACME/U5GONE", Name: "gone"}},
		"U6OTHER":   {Refusal: bridge.RefuseExternal, Agent: bridge.Agent{ID: "T9OTHER/U6OTHER", Name: "Carl Customer"}},
		"U7STRANGE": {Refusal: bridge.RefuseExternal, Agent: bridge.Agent{ID: "T0ACME/U7STRANGE", Name: "strange"}},
		"U404":      {Refusal: bridge.RefuseInactive, Agent: bridge.Agent{ID: "T0ACME/U404", Name: "U404"}},
	} {
		d := newDesk(t)
		got := d.mustAsk(t, d.Command(user, "C1", "4821"))
		if got.Verb != bridge.Refuse || got.Refusal != want.Refusal || got.Agent != want.Agent || !got.Clues.Empty() {
			t.Errorf("%s: %+v", user, got)
		}
		d.show(t, got.Place.Address, bridge.Card{ID: "d1", Title: "You can’t co-browse from here"})
		if len(d.Ephemeral(user)) != 1 {
			t.Errorf("%s is told nothing", user)
		}
	}
}

func TestAnOutsiderPressesACardInASharedChannel(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.show(t, "channel/C3", sharedCard())
	got := d.mustAsk(t, d.Press("U6OTHER", d.Channel("C3")[0], 0))
	if got.Verb != bridge.Refuse || got.Refusal != bridge.RefuseExternal || got.Card != sharedCard().ID {
		t.Errorf("%+v", got)
	}
}

func TestGuestsMayAskWhereTheOperatorSaysSo(t *testing.T) {
	t.Parallel()
	d := newDesk(t, func(c *Config) { c.AllowGuests = true })
	if got := d.mustAsk(t, d.Command("U3GUEST", "C1", "4821")); got.Verb != bridge.LookUp {
		t.Errorf("%+v", got)
	}
}

func TestAnotherWorkspacesDeliveryIsRefused(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	form := d.CommandFields("U1", "C1", "4821")
	form.Set("team_id", "T9OTHER")
	if got := d.mustAsk(t, []byte(form.Encode())); got.Refusal != bridge.RefuseExternal {
		t.Errorf("%+v", got)
	}
}

func TestWhoSomebodyIsIsAskedAgainAfterTenMinutes(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		d.mustAsk(t, d.Command("U1", "C1", "4821"))
		d.AddUser(slacktest.User{ID: "U1", Name: "bob", Deleted: true})
		time.Sleep(10 * time.Minute)
		if got := d.mustAsk(t, d.Command("U1", "C1", "4821")); got.Refusal != bridge.RefuseInactive {
			t.Errorf("a closed account asks: %+v", got)
		}
	})
}

func TestWhereSlackDoesNotAnswerNobodyIsLetIn(t *testing.T) {
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
		{"users.info", slacktest.Fault{Error: "ratelimited"}, false, blindWait, "pause"},
		{"users.info", slacktest.Fault{Status: 429, Header: map[string][]string{"Retry-After": {"7"}}}, false, 7 * time.Second, "pause"},
		{"users.info", slacktest.Fault{Status: 429}, false, blindWait, "pause"},
		{"users.info", slacktest.Fault{Status: 429, Header: map[string][]string{"Retry-After": {"soon"}}}, false, blindWait, "pause"},
		{"users.info", slacktest.Fault{Status: 429, Header: map[string][]string{"Retry-After": {"86400"}}}, false, maxWait, "pause"},
		{"users.info", slacktest.Fault{Status: 429, Header: map[string][]string{"Retry-After": {"0"}}}, false, minWait, "pause"},
		{"users.info", slacktest.Fault{Status: 503, Body: "<html>"}, false, 0, "503"},
		{"users.info", slacktest.Fault{Status: 200, Body: "<html>"}, false, 0, "cannot be read"},
		{"users.info", slacktest.Fault{Status: 200, Body: `{"ok":true,"user":{"id":"U2"}}`}, false, 0, "cannot be read"},
		{"users.info", slacktest.Fault{Status: 200, Body: `{"ok":true,"pad":"` + strings.Repeat("x", 3<<20) + `","user":{"id":"U1","team_id":"T0ACME"}}`}, false, 0, "closed early"},
		{"users.info", slacktest.Fault{Error: "some_new_code"}, true, 0, "some_new_code"},
	} {
		d := newDesk(t)
		d.Fail(c.method, c.fault, 1)
		got, err := d.ask(t, d.Command("U1", "C1", "4821"))
		wait, _ := bridge.RetryWait(err)
		if err == nil || got.Verb != bridge.Nothing || bridge.IsPermanent(err) != c.permanent || wait != c.wait || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s %.80v: %+v, %v", c.method, fmt.Sprint(c.fault), got, err)
		}
		if err != nil {
			clean(t, c.method, err.Error())
		}
	}
}

func TestAPausedAgentIsAskedAboutWithinTheContext(t *testing.T) {
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
		if _, err := d.Read(ctx, bridge.Delivery{Key: r.Key, Body: r.Body}); !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("got %v", err)
		}
	})
}

func TestWhatIsStoredAndCannotBeReadEndsForGood(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	for _, body := range []string{"", "{", "{}", `{"kind":"command","user":"../x"}`} {
		if _, err := d.Read(t.Context(), bridge.Delivery{Key: "k", Body: []byte(body)}); !bridge.IsPermanent(err) {
			t.Errorf("%q: %v", body, err)
		}
	}
}

func TestAChannelOfAKindThatIsNewIsNoObstacle(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	form := d.CommandFields("U1", "C1", "4821")
	form.Set("channel_id", "Q0000")
	got := d.mustAsk(t, []byte(form.Encode()))
	d.show(t, got.Place.Address, exampleCard())
	if got.Verb != bridge.LookUp || len(d.Ephemeral("U1")) != 1 {
		t.Errorf("%+v, %d answers", got, len(d.Ephemeral("U1")))
	}
}

func TestAMessageShortcutTakesTheClueOfTheMessage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	got := d.mustAsk(t, d.MessageShortcut("U1", shortcutMessage, d.Write("U2", "C2", "", "she says 4821!")))
	if got.Verb != bridge.LookUp || got.Clues.LookupCode != "4821" || got.Agent != bob {
		t.Errorf("%+v", got)
	}
	// The app is not in that channel: the response_url reaches it.
	d.show(t, got.Place.Address, exampleCard())
	if posts := d.Ephemeral("U1"); len(posts) != 1 || posts[0].Channel != "C2" {
		t.Errorf("%+v", posts)
	}
	if len(d.Views()) != 0 {
		t.Error("a dialog was opened")
	}
}

func TestPlacesAreReadAsTheyAreWritten(t *testing.T) {
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
