package slack

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/connectors/slack/slacktest"
)

// Only the agent who typed a command sees its answer, which has the button and cannot be
// edited. After a change the card continues as a direct message.
func TestACommandsCardContinuesAsADirectMessage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	at := d.mustAsk(t, d.Command("U1", "C2", "4821")).Place.Address
	card := exampleCard()
	card.Ref = d.show(t, at, card)
	posts := d.Ephemeral("U1")
	if card.Ref != ephemeralRef || len(posts) != 1 || slacktest.Buttons(posts[0].Blocks)[0].URL != testDoor || len(d.Direct("U1")) != 0 {
		t.Fatalf("ref %q, ephemeral %+v", card.Ref, posts)
	}
	card.Title = "Session with Ann is running"
	card.Ref = d.show(t, at, card)
	if dm := d.Direct("U1"); len(d.Ephemeral("U1")) != 1 || len(dm) != 1 || !strings.HasPrefix(string(card.Ref), "DU1/") {
		t.Fatalf("ref %q, direct %+v", card.Ref, dm)
	}
	card.Title = "Session with Ann has ended"
	d.show(t, at, card)
	if dm := d.Direct("U1"); len(dm) != 1 || dm[0].Edited != 1 || !strings.HasPrefix(dm[0].Text, card.Title) {
		t.Errorf("%+v", dm)
	}
}

func TestAnAnswerIsNotSentTwice(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	at := d.mustAsk(t, d.Command("U1", "C1", "4821")).Place.Address
	card := exampleCard()
	for range 2 { // the ref of the first was lost
		if ref := d.show(t, at, card); ref != ephemeralRef {
			t.Errorf("ref %q", ref)
		}
	}
	if n := len(d.Ephemeral("U1")); n != 1 {
		t.Errorf("%d answers", n)
	}
	card.Title = "Ann is offline" // it changed meanwhile
	d.show(t, at, card)
	if dm := d.Direct("U1"); len(dm) != 1 || len(d.Ephemeral("U1")) != 1 {
		t.Errorf("direct %+v", dm)
	}
}

func TestAResponseURLThatFails(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name      string
		fault     slacktest.Fault
		ephemeral int
		direct    int
		again     bool
	}{
		{"used up", slacktest.Fault{Status: 404, Body: "used_url"}, 1, 0, false},
		{"expired", slacktest.Fault{Status: 404, Body: "expired_url"}, 1, 0, false},
		{"it refuses the blocks", slacktest.Fault{Status: 400, Body: "invalid_blocks"}, 1, 0, false},
		{"too many requests", slacktest.Fault{Status: 429, Header: http.Header{"Retry-After": {"1"}}}, 0, 0, true},
		{"a lost answer", slacktest.Fault{Done: true, Status: 503}, 1, 1, false},
		{"an error of Slack", slacktest.Fault{Status: 500}, 0, 1, false},
		{"a redirect", slacktest.Fault{Status: 302, Header: http.Header{"Location": {"https://evil.example/"}}}, 0, 0, true},
	} {
		d := newDesk(t)
		at := d.mustAsk(t, d.Command("U1", "C1", "4821")).Place.Address
		d.Fail("response_url", c.fault, 1)
		_, err := d.Show(t.Context(), chat.Place{Address: at}, exampleCard())
		if c.again != (err != nil) || chat.IsPermanent(err) || len(d.Ephemeral("U1")) != c.ephemeral || len(d.Direct("U1")) != c.direct {
			t.Errorf("%s: %v, %d ephemeral, %d direct", c.name, err, len(d.Ephemeral("U1")), len(d.Direct("U1")))
		}
		if err != nil {
			clean(t, c.name, err.Error())
		}
		// After a second attempt there is at most one message of each kind.
		_, err = d.Show(t.Context(), chat.Place{Address: at}, exampleCard())
		if err != nil || len(d.Ephemeral("U1")) != max(c.ephemeral, 1-c.direct) || len(d.Direct("U1")) != c.direct {
			t.Errorf("%s, again: %v, %d ephemeral, %d direct", c.name, err, len(d.Ephemeral("U1")), len(d.Direct("U1")))
		}
	}
}

// The connector cannot find out whether an ephemeral message was shown. So the agent also gets
// one direct message, from the process that makes the next attempt.
func TestAnAnswerThatMayBeLostIsAlsoADirectMessage(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		at := d.mustAsk(t, d.Command("U1", "C1", "4821")).Place.Address
		d.Fail("response_url", slacktest.Fault{Done: true, Status: 502}, 1)
		d.Fail("chat.postMessage", slacktest.Fault{Done: true, Status: 502}, 1)
		_, err := d.Show(t.Context(), chat.Place{Address: at}, exampleCard())
		wait, ok := chat.RetryWait(err)
		if !ok || wait > replyTime || wait < replyTime-time.Second {
			t.Fatalf("%v", err)
		}
		time.Sleep(wait)
		ref, err := d.another(t).Show(t.Context(), chat.Place{Address: at}, exampleCard())
		if err != nil || !strings.HasPrefix(string(ref), "DU1/") || len(d.Ephemeral("U1")) != 1 || len(d.Direct("U1")) != 1 {
			t.Errorf("ref %q, %v; %d ephemeral, %d direct", ref, err, len(d.Ephemeral("U1")), len(d.Direct("U1")))
		}
	})
}

// If a process dies after a post, another process takes over after 45 s. Even if that happens
// several times, there is one message of each kind.
func TestAfterTheProcessDiedThereIsOneDirectMessage(t *testing.T) {
	t.Parallel()
	for name, body := range map[string]func(*desk) []byte{
		"a command": func(d *desk) []byte { return d.Command("U1", "C1", "4821") },
		"a mention": func(d *desk) []byte { return d.Mention("U1", "C1", "1700000000.000001", "4821") },
	} {
		synctest.Test(t, func(t *testing.T) {
			d := newDesk(t)
			at := d.mustAsk(t, body(d)).Place.Address
			d.show(t, at, exampleCard())
			for range 3 {
				time.Sleep(45 * time.Second)
				if _, err := d.another(t).Show(t.Context(), chat.Place{Address: at}, exampleCard()); err != nil {
					t.Fatal(err)
				}
			}
			if len(d.Ephemeral("U1")) != 1 || len(d.Direct("U1")) != 1 {
				t.Errorf("%s: %d ephemeral, %d direct", name, len(d.Ephemeral("U1")), len(d.Direct("U1")))
			}
		})
	}
}

func TestAnswersFallBackToADirectMessage(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	// The app is not in the channel, and the response_url is used up.
	at := d.mustAsk(t, d.Command("U1", "C2", "4821")).Place.Address
	d.Fail("response_url", slacktest.Fault{Status: 404, Body: "used_url"}, 1)
	ref := d.show(t, at, exampleCard())
	if dm := d.Direct("U1"); len(dm) != 1 || !strings.HasPrefix(string(ref), "DU1/") {
		t.Fatalf("ref %q, direct %+v", ref, dm)
	}
	if again := d.show(t, at, exampleCard()); again != ref || len(d.Direct("U1")) != 1 {
		t.Errorf("ref %q, then %q, %d direct", ref, again, len(d.Direct("U1")))
	}
}

// Slack may refuse an ephemeral message for reasons that do not apply to a direct message.
func TestAnEphemeralMessageThatSlackRefusesIsADirectMessage(t *testing.T) {
	t.Parallel()
	for code, direct := range map[string]int{
		"restricted_action_read_only_channel": 1, "is_archived": 1, "a_new_code": 1, "invalid_blocks": 1, "not_in_channel": 1, "missing_scope": 1,
		"token_revoked": 0, "ratelimited": 0, "request_timeout": 0,
	} {
		d := newDesk(t)
		at := d.mustAsk(t, d.Mention("U1", "C1", "1700000000.000001", "4821")).Place.Address
		d.Fail("chat.postEphemeral", slacktest.Fault{Error: code}, 1)
		_, err := d.Show(t.Context(), chat.Place{Address: at}, exampleCard())
		if (err == nil) != (direct == 1) || chat.IsPermanent(err) || len(d.Direct("U1")) != direct || len(d.Ephemeral("U1")) != 0 {
			t.Errorf("%s: %v, %d direct, %d ephemeral", code, err, len(d.Direct("U1")), len(d.Ephemeral("U1")))
		}
	}
}

func TestAResponseURLIsUsedFiveTimesWithinReplyTime(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		d := newDesk(t)
		at := d.mustAsk(t, d.Command("U1", "C2", "4821")).Place.Address
		for i, id := range []string{"a", "b", "c", "d", "e", "f"} {
			card := exampleCard()
			card.ID = id
			d.show(t, at, card)
			if eph, dm := len(d.Ephemeral("U1")), len(d.Direct("U1")); eph != min(i+1, 5) || dm != max(0, i-4) {
				t.Errorf("answer %d: %d ephemeral, %d direct", i+1, eph, dm)
			}
		}
		at = d.mustAsk(t, d.Command("U2", "C2", "4821")).Place.Address
		time.Sleep(replyTime)
		from := len(d.Requests())
		d.show(t, at, exampleCard())
		if m := d.methods(from); strings.Contains(strings.Join(m, " "), "response_url") || len(d.Direct("U2")) != 1 {
			t.Errorf("after replyTime: %v", m)
		}
	})
}

func TestOnlyResponseURLsWithAllowedHostsAreUsed(t *testing.T) {
	t.Parallel()
	for _, address := range []string{
		"https://evil.example/commands/T/1/x", "http://hooks.slack.com/commands/T/1/x", "https://hooks.slack.com:8443/x", "https://x@hooks.slack.com/x",
		"https://hooks.slack.com.evil.example/x", "https://127.0.0.1/x", "https://hooks.slack.com/x#y", "//hooks.slack.com/x", "hooks.slack.com", "https://evil.example\\@hooks.slack.com/",
	} {
		d := newDesk(t)
		form := d.CommandFields("U1", "C1", "4821")
		form.Set("response_url", address)
		d.show(t, d.mustAsk(t, []byte(form.Encode())).Place.Address, exampleCard())
		if m := strings.Join(d.methods(0), " "); strings.Contains(m, "response_url") || len(d.Ephemeral("U1")) != 1 {
			t.Errorf("%s: %s", address, m)
		}
	}
	d := newDesk(t, func(c *Config) { c.ResponseHosts = []string{"hooks.slack-gov.com"} })
	d.show(t, d.mustAsk(t, d.Command("U1", "C1", "4821")).Place.Address, exampleCard())
	if m := strings.Join(d.methods(0), " "); strings.Contains(m, "response_url") {
		t.Errorf("a host that is not in ResponseHosts: %s", m)
	}
}

func TestTheAnswerToAPressDoesNotReplaceTheCardInTheChannel(t *testing.T) {
	t.Parallel()
	d := newDesk(t)
	d.show(t, "channel/C1", sharedCard())
	at := d.mustAsk(t, d.Press("U2", d.Channel("C1")[0], 0)).Place.Address
	d.show(t, at, exampleCard())
	if len(d.Channel("C1")) != 1 || len(d.Ephemeral("U2")) != 1 {
		t.Errorf("%d in the channel, %d for eve", len(d.Channel("C1")), len(d.Ephemeral("U2")))
	}
}
