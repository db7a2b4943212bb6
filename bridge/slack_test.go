package bridge_test

import (
	"log/slog"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/connectors/slack"
	"cobrowse-bridge/connectors/slack/slacktest"
	"cobrowse-bridge/upscope/upscopetest"
)

// A slackWorld is a world in which agents use Slack as well.
type slackWorld struct {
	*world
	slack *slacktest.Workspace
}

const signingSecret = "canary-signing-secret-6b1d"

// inSlack runs a test in a world with Slack. Cards of Rocket.Chat are shown in a
// channel of it, if one is named.
func inSlack(t *testing.T, channel string, test func(w *slackWorld), opts ...options) {
	t.Helper()
	s := &slackWorld{slack: slacktest.New(t.Errorf)}
	s.slack.Secret, s.slack.BotToken = signingSecret, "xoxb-canary-bot-token"
	for _, u := range []slacktest.User{
		{ID: "U1", Name: "bob", RealName: "Bob Baker"}, {ID: "U2", Name: "eve", RealName: "Eve Evans"},
		{ID: "U3", Name: "gus", RealName: "Gus Guest", Guest: true}, {ID: "U4", Name: "carl", RealName: "Carl Customer", Team: "T9OTHER"},
	} {
		s.slack.AddUser(u)
	}
	s.slack.AddChannel(slacktest.Channel{ID: "C1", Name: "support", Members: []string{"U1", "U2", "U3", "U4", s.slack.BotUser}})
	log := &logBuffer{}
	opts = append(opts, options{config: func(c *bridge.Config) {
		connector, err := slack.New(slack.Config{
			Name: "slack", Secrets: []string{signingSecret}, BotToken: s.slack.BotToken,
			Transport: bridge.InProcess(s.slack), Log: slog.New(slog.NewJSONHandler(log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		if channel != "" {
			c.Connectors[0].ShowAt = bridge.Place{Connector: "slack", Address: channel}
		}
		c.Connectors = append(c.Connectors, connector)
	}})
	inWorld(t, func(w *world) {
		s.world = w
		test(s)
	}, opts...)
}

// says has Slack send something, signed.
func (w *slackWorld) says(body []byte) {
	w.Helper()
	if got := w.post("/hooks/slack", body, w.slack.Sign(body)); got.StatusCode != http.StatusOK || got.body != "" {
		w.Fatalf("Slack is answered %d %q", got.StatusCode, got.body)
	}
	w.pass(time.Second)
}

var slackDoor = regexp.MustCompile(`https://bridge\.example\.org(/w/[A-Za-z0-9_-]{43})`)

// doorIn is the path of the door in a message.
func (w *slackWorld) doorIn(p slacktest.Post) string {
	w.Helper()
	m := slackDoor.FindStringSubmatch(string(p.Blocks))
	if m == nil {
		w.Fatalf("no door in %s", p.Blocks)
	}
	if strings.Contains(p.Text, "/w/") {
		w.Errorf("the address stands in the text: %q", p.Text)
	}
	return m[1]
}

func (w *slackWorld) last(posts []slacktest.Post, n int) slacktest.Post {
	w.Helper()
	if len(posts) != n {
		w.Fatalf("%d messages, want %d: %+v", len(posts), n, posts)
	}
	return posts[n-1]
}

func TestASlackCommandLeadsToTheVisitorsScreen(t *testing.T) {
	inSlack(t, "", func(w *slackWorld) {
		ann := w.coded("Ann Silva", "4821")
		w.says(w.slack.Command("U1", "C1", "4821"))
		reply := w.last(w.slack.Ephemeral("U1"), 1)
		bob := w.browser()
		bob.follow(w.doorIn(reply)).want(t, http.StatusOK, "Ann Silva")
		bob.press(w.doorIn(reply), url.Values{"visitor": {ann}}).wantWatch(t)
		if a := w.upscope.Watches()[0].Body.Agent; a.ID != "slack:T0ACME/U1" || a.Name != "Bob Baker" {
			t.Errorf("Upscope is told %+v", a)
		}
		session := w.begun()
		w.pass(sessionsWait)
		if card := w.last(w.slack.Direct("U1"), 1); !strings.Contains(card.Text, "Live with") {
			t.Errorf("the card reads %q", card.Text)
		}
		w.upscope.End(session, 4)
		w.calls(session, upscopetest.Bare)
		w.pass(10 * time.Second)
		if card := w.last(w.slack.Direct("U1"), 1); !strings.Contains(card.Text, "is over") || !strings.Contains(string(card.Blocks), "4 of 5") {
			t.Errorf("the card reads %q %s", card.Text, card.Blocks)
		}
		if len(w.slack.Channel("C1")) != 0 || len(w.slack.Ephemeral("U2")) != 0 {
			t.Error("somebody else can see something")
		}
	})
}

func TestACardInAChannelGivesWhoeverPressesADoorOfTheirOwn(t *testing.T) {
	inSlack(t, "C1", func(w *slackWorld) {
		ann := w.ann()
		room := w.opens(keyed())
		w.taken(room)
		w.posts("bob", 0)
		card := w.last(w.slack.Channel("C1"), 1)
		if slackDoor.Match(card.Blocks) {
			t.Fatalf("a door stands in the channel: %s", card.Blocks)
		}
		for range 2 { // a double click
			w.says(w.slack.Press("U2", card, 0))
		}
		own := w.last(w.slack.Ephemeral("U2"), 1)
		eve := w.browser()
		eve.follow(w.doorIn(own)).want(t, http.StatusOK, "Eve Evans")
		eve.press(w.doorIn(own), url.Values{"visitor": {ann}}).wantWatch(t)
		if a := w.upscope.Watches()[0].Body.Agent; a.ID != "slack:T0ACME/U2" || a.Name != "Eve Evans" {
			t.Errorf("Upscope is told %+v", a)
		}
		w.begun()
		w.pass(sessionsWait)
		if card := w.last(w.slack.Channel("C1"), 1); !strings.Contains(card.Text, "Live with Ann") || slackDoor.Match(card.Blocks) {
			t.Errorf("the card in the channel reads %q %s", card.Text, card.Blocks)
		}
		// Another browser cannot use her door, and nobody can once two minutes are over.
		w.browser().follow(w.doorIn(own)).want(t, http.StatusForbidden)
	})
}

func TestADoorOfOnesOwnClosesByItselfAndWithTheChat(t *testing.T) {
	inSlack(t, "C1", func(w *slackWorld) {
		w.ann()
		room := w.opens(keyed())
		w.taken(room)
		card := w.last(w.slack.Channel("C1"), 1)
		w.says(w.slack.Press("U2", card, 0))
		first := w.doorIn(w.last(w.slack.Ephemeral("U2"), 1))
		w.pass(2 * time.Minute)
		w.browser().follow(first).want(t, http.StatusGone, "expired")
		w.says(w.slack.Press("U2", card, 0))
		second := w.doorIn(w.last(w.slack.Ephemeral("U2"), 2))
		w.browser().follow(second).want(t, http.StatusOK)
		w.chat.CloseChat(room)
		w.tells("LivechatSession", room)
		w.pass(time.Second)
		w.pass(time.Second)
		w.browser().follow(second).want(t, http.StatusGone, "This chat is over")
		w.says(w.slack.Press("U2", card, 0))
		if text := w.last(w.slack.Ephemeral("U2"), 3).Text; !strings.Contains(text, "Chat closed") {
			t.Errorf("eve reads %q", text)
		}
	})
}

func TestASessionCanBeEndedThoughItsChatIsOver(t *testing.T) {
	inSlack(t, "C1", func(w *slackWorld) {
		ann, room := w.ann(), w.opens(keyed())
		w.taken(room)
		w.says(w.slack.Press("U2", w.last(w.slack.Channel("C1"), 1), 0))
		door := w.doorIn(w.last(w.slack.Ephemeral("U2"), 1))
		eve := w.browser()
		eve.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		session := w.begun()
		w.pass(10 * time.Minute) // longer than a door of one's own opens unused
		eve.loads(door).want(t, http.StatusOK, "Back to your session")
		w.chat.CloseChat(room)
		w.tells("LivechatSession", room)
		w.pass(time.Second)
		w.pass(time.Second)
		eve.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusGone, "This chat is over")
		eve.press(door, url.Values{"stop": {"1"}}).want(t, http.StatusOK, "ended")
		if w.upscope.End(session, 0) {
			t.Error("the session goes on")
		}
	})
}

func TestCustomersAreNotLookedUpByEMailUnlessTheOperatorAllowsIt(t *testing.T) {
	inSlack(t, "", func(w *slackWorld) {
		w.says(w.slack.Command("U1", "C1", "jane@example.org"))
		reply := w.last(w.slack.Ephemeral("U1"), 1)
		if !strings.Contains(reply.Text, "anybody can type one") {
			t.Errorf("bob reads %q", reply.Text)
		}
		if got := w.records("refused"); len(got) != 1 || got[0].Agent != "slack:T0ACME/U1" || got[0].Detail != "e-mail" {
			t.Errorf("recorded %+v", got)
		}
		if n := w.asked(upscopetest.List); n != 0 {
			t.Errorf("Upscope was asked %d times", n)
		}
	})
}

func TestAnAgentWhoAsksForMoreCustomersThanOnePersonNeedsWaits(t *testing.T) {
	inSlack(t, "", func(w *slackWorld) {
		for range 40 {
			w.says(w.slack.Command("U1", "C1", "rocketchat:"+pageKey))
		}
		told := 0
		for _, reply := range w.slack.Ephemeral("U1") {
			if strings.Contains(reply.Text, "Please wait a minute") {
				told++
			}
		}
		if looked := 40 - told; looked < 20 || looked > 34 {
			t.Errorf("%d of 40 were looked up", looked)
		}
	})
}

func TestPeopleOfOtherCompaniesAndGuestsAreRefusedOnTheRecord(t *testing.T) {
	inSlack(t, "C1", func(w *slackWorld) {
		w.ann()
		w.taken(w.opens(keyed()))
		card := w.last(w.slack.Channel("C1"), 1)
		for user, says := range map[string]string{"U3": "guest", "U4": "another organisation"} {
			w.says(w.slack.Press(user, card, 0))
			refused := w.last(w.slack.Ephemeral(user), 1)
			if !strings.Contains(refused.Text+string(refused.Blocks), says) || slackDoor.Match(refused.Blocks) {
				t.Errorf("%s reads %q %s", user, refused.Text, refused.Blocks)
			}
		}
		refused := map[string]string{}
		for record, err := range w.store.Audit(w.Context(), 0) {
			w.must(err)
			if record.Action == "refused" {
				refused[record.Agent] = record.Detail
			}
		}
		if len(refused) != 2 || refused["slack:T0ACME/U3"] != "guest" || refused["slack:T9OTHER/U4"] != "external" {
			t.Errorf("recorded %v", refused)
		}
		if w.upscope.Minted() != 0 {
			t.Error("a link was made")
		}
	})
}

func TestARefusalIsOnRecordOnceHoweverLateItIsTold(t *testing.T) {
	inSlack(t, "", func(w *slackWorld) {
		for _, way := range []string{"response_url", "chat.postEphemeral", "chat.postMessage"} {
			w.slack.Fail(way, slacktest.Fault{Status: http.StatusServiceUnavailable}, 3)
		}
		w.says(w.slack.Command("U1", "C1", "ann@example.org"))
		w.pass(5 * time.Minute)
		if got := w.slack.Direct("U1"); len(got) != 1 || !strings.Contains(got[0].Text, "anybody can type one") {
			t.Errorf("bob reads %+v", got)
		}
		if got := w.records("refused"); len(got) != 1 {
			t.Errorf("%d records of one refusal: %+v", len(got), got)
		}
	})
}

func TestSlackAnswersStatusUsageAndStop(t *testing.T) {
	inSlack(t, "", func(w *slackWorld) {
		ann := w.coded("Ann", "4821")
		w.says(w.slack.Command("U1", "C1", "status"))
		w.says(w.slack.Command("U1", "C1", "usage"))
		w.says(w.slack.Command("U1", "C1", "stop"))
		w.says(w.slack.Command("U1", "C1", "help"))
		var all []string
		for _, p := range w.slack.Ephemeral("U1") {
			all = append(all, p.Text+string(p.Blocks))
		}
		for i, says := range []string{"no co-browse cards yet", "Visitors online now", "No session of yours", "4821"} {
			if len(all) != 4 || !strings.Contains(all[i], says) {
				t.Fatalf("answer %d does not say %q: %q", i, says, all)
			}
		}
		w.says(w.slack.Command("U1", "C1", "4821"))
		bob := w.browser()
		bob.press(w.doorIn(w.last(w.slack.Ephemeral("U1"), 5)), url.Values{"visitor": {ann}}).wantWatch(t)
		w.begun()
		w.pass(sessionsWait)
		w.says(w.slack.Command("U1", "C1", "stop"))
		if text := w.last(w.slack.Ephemeral("U1"), 6).Text; !strings.Contains(text, "Ended 1 session") {
			t.Errorf("bob reads %q", text)
		}
		w.pass(10 * time.Second)
		if card := w.last(w.slack.Direct("U1"), 1); !strings.Contains(card.Text, "is over") {
			t.Errorf("the card reads %q", card.Text)
		}
	})
}

func TestTheSameSlackEventThreeTimesIsOneCard(t *testing.T) {
	inSlack(t, "", func(w *slackWorld) {
		w.coded("Ann", "4821")
		event := w.slack.Mention("U1", "C1", "", "<@"+w.slack.BotUser+"> 4821")
		w.says(event)
		for n := range 3 {
			body, header := w.slack.Retry(event, n+1, "http_timeout")
			w.post("/hooks/slack", body, header).want(t, http.StatusOK)
		}
		w.pass(10 * time.Second)
		w.last(w.slack.Ephemeral("U1"), 1)
	})
}

func TestASharedCardStaysWhereTheOperatorWantsIt(t *testing.T) {
	inSlack(t, "C1", func(w *slackWorld) {
		w.ann()
		room := w.opens(keyed())
		w.taken(room)
		w.chat.Forward(room, "eve")
		w.tells("LivechatSessionForwarded", room)
		w.pass(time.Second)
		if card := w.last(w.slack.Channel("C1"), 1); !strings.Contains(card.Text, "Co-browse with Ann") {
			t.Errorf("the card reads %q", card.Text)
		}
		w.posts("bob", 0)
		w.posts("eve", 0)
	})
}

func TestADoorOfOnesOwnIsNeverProlonged(t *testing.T) {
	inSlack(t, "C1", func(w *slackWorld) {
		ann := w.ann()
		w.taken(w.opens(keyed()))
		card := w.last(w.slack.Channel("C1"), 1)
		w.says(w.slack.Press("U2", card, 0))
		door := w.doorIn(w.last(w.slack.Ephemeral("U2"), 1))
		w.upscope.Go(ann)
		w.browser().follow(door).want(t, http.StatusOK, "is offline")
		w.pass(2*time.Minute + 10*time.Second)
		w.browser().follow(door).want(t, http.StatusGone, "expired")
		w.browser().press(door+"?renew=1", nil).want(t, http.StatusGone)
		w.pass(10 * time.Minute)
		w.browser().follow(door).want(t, http.StatusGone)
		if n := len(w.slack.Direct("U2")); n != 0 {
			t.Errorf("%d messages that nobody asked for", n)
		}
		// The message is gone after a reload, and another press gives another.
		w.upscope.Return(ann)
		w.says(w.slack.Press("U2", card, 0))
		w.pass(15 * time.Second)
		w.says(w.slack.Press("U2", card, 0))
		w.last(w.slack.Ephemeral("U2"), 3)
	})
}

func TestACodeThatCouldNotBeLookedUpInTimeIsNotFollowed(t *testing.T) {
	inSlack(t, "", func(w *slackWorld) {
		w.upscope.Fail(upscopetest.List, upscopetest.Fault{Status: http.StatusInternalServerError}, 10_000)
		w.says(w.slack.Command("U1", "C1", "4821"))
		w.pass(3 * time.Minute)
		w.upscope.Heal()
		w.coded("Zoe", "4821")
		w.pass(3 * time.Minute)
		for _, p := range append(w.slack.Ephemeral("U1"), w.slack.Direct("U1")...) {
			if slackDoor.Match(p.Blocks) {
				t.Errorf("bob is led to somebody else: %q %s", p.Text, p.Blocks)
			}
		}
	})
}

func TestWhereAgentsSignInACardInAChannelHasItsAddress(t *testing.T) {
	o := newOffice(t, "rules:\n  - who: {groups: [support]}\n    where: {places: [\"slack:C1\"]}\n    may: [watch]\n")
	inSlack(t, "C1", func(w *slackWorld) {
		o.world = w.world
		w.ann()
		w.taken(w.opens(keyed()))
		card := w.last(w.slack.Channel("C1"), 1)
		// Whoever may watch goes straight on; the record names who it was.
		bob := o.browser()
		o.follow(bob, "bob", w.doorIn(card)).want(t, http.StatusOK, "Co-browse with")
		bob.follow(w.doorIn(card)).wantWatch(t)
		w.begun()
		w.pass(sessionsWait)
		if after := w.last(w.slack.Channel("C1"), 1); !strings.Contains(after.Text, "Live with") {
			t.Errorf("the card reads %q", after.Text)
		}
		if got := w.records("watching"); len(got) != 1 || got[0].Agent != bobID || !strings.Contains(got[0].Detail, "card of rocketchat:a1") {
			t.Errorf("recorded %+v", got)
		}
		if got := w.records("live"); len(got) != 1 || got[0].Agent != bobID {
			t.Errorf("recorded %+v", got)
		}
		eve := o.browser()
		o.follow(eve, "eve", w.doorIn(card)).want(t, http.StatusForbidden)
	}, o.opts...)
}

func TestTheDeskHasTheCardsOfAChannelForWhoeverMayWatch(t *testing.T) {
	o := newOffice(t, "rules:\n  - who: {groups: [support]}\n    where: {places: [\"slack:C1\"]}\n    may: [watch]\n")
	inSlack(t, "C1", func(w *slackWorld) {
		o.world = w.world
		w.ann()
		room := w.opens(keyed())
		w.taken(room)
		door := w.doorIn(w.last(w.slack.Channel("C1"), 1))
		// Nobody has to see Slack to take up a chat.
		bob := o.at("bob")
		page := bob.follow("/")
		page.want(t, http.StatusOK, "For whoever is free", "Online", "basket")
		if to := bob.follow(o.cardPath(page)).Header.Get("Location"); to != door {
			t.Fatalf("the card leads to %q, want %q", to, door)
		}
		bob.follow(door).wantWatch(t)
		w.begun()
		w.pass(sessionsWait)
		bob.follow("/").want(t, http.StatusOK, "<bdi>Bob Baker</bdi> is with them.", "Recent sessions", "Live")
		// Who may not watch there sees nothing of it.
		if eve := o.at("eve").follow("/"); eve.StatusCode != http.StatusOK || strings.Contains(eve.body, "/desk/card/") || strings.Contains(eve.body, "basket") {
			t.Errorf("somebody who may not watch sees %d %s", eve.StatusCode, eve.body)
		}
		w.chat.CloseChat(room)
		w.tells("LivechatSession", room)
		w.pass(time.Second)
		if after := bob.follow("/"); strings.Contains(after.body, "For whoever is free") {
			t.Error("a chat that is over is for whoever is free")
		}
	}, o.opts...)
}

func TestTheDeskSaysThatAChannelHasMoreCardsThanItShows(t *testing.T) {
	o := newOffice(t, "rules:\n  - who: {groups: [support]}\n    where: {places: [\"slack:C1\"]}\n    may: [watch]\n")
	inSlack(t, "C1", func(w *slackWorld) {
		o.world = w.world
		w.ann()
		takes := func() {
			room := w.opens(keyed())
			w.chat.Take(room, "bob")
			w.tells("LivechatSessionTaken", room)
		}
		for range 50 {
			takes()
		}
		w.pass(10 * time.Second)
		const more = "These are the latest"
		bob := o.at("bob")
		if page := bob.follow("/"); strings.Count(page.body, `href="/desk/card/`) != 50 || strings.Contains(page.body, more) {
			t.Errorf("of 50 cards %d are shown; %q is said: %t", strings.Count(page.body, `href="/desk/card/`), more, strings.Contains(page.body, more))
		}
		takes()
		w.pass(time.Second)
		if page := bob.follow("/"); strings.Count(page.body, `href="/desk/card/`) != 50 || !strings.Contains(page.body, more) {
			t.Errorf("of 51 cards %d are shown; %q is said: %t", strings.Count(page.body, `href="/desk/card/`), more, strings.Contains(page.body, more))
		}
	}, o.opts...)
}

func TestTheDeskOffersNoCardThatItsDoorRefuses(t *testing.T) {
	o := newOffice(t, "rules:\n  - who: {groups: [support]}\n    may: [watch, look-up]\n  - who: {groups: [leads]}\n    may: [watch]\n")
	inSlack(t, "C1", func(w *slackWorld) {
		o.world = w.world
		w.coded("Ann Silva", "4821")
		w.types(w.chat.AddChannel("helpdesk", "bob", "eve"), "bob", "!cobrowse 4821")
		w.pass(2 * time.Second)
		w.last(w.slack.Channel("C1"), 1)
		o.at("bob").follow("/").want(t, http.StatusOK, "/desk/card/")
		if eve := o.at("eve").follow("/"); strings.Contains(eve.body, "/desk/card/") {
			t.Error("whoever may not look anybody up is offered somebody whom a colleague looked up")
		}
	}, o.opts...)
}

func TestWhoSignsInWithSlackOwnsTheirSlackAccount(t *testing.T) {
	for issuer, owns := range map[string]bool{"https://slack.com": true, "https://slack.com.example.org": false} {
		t.Run(issuer, func(t *testing.T) {
			o := newOfficeOf(t, issuer, "")
			inSlack(t, "", func(w *slackWorld) {
				o.world = w.world
				w.coded("Ann Silva", "4821")
				w.says(w.slack.Command("U1", "C1", "4821"))
				got := o.follow(o.browser(), "U1", w.doorIn(w.last(w.slack.Ephemeral("U1"), 1)))
				if owns {
					got.want(t, http.StatusOK, "Co-browse with", "Ann Silva")
				} else { // anybody can claim to know Slack's people
					got.want(t, http.StatusOK, "Is this your account?")
				}
			}, o.opts...)
		})
	}
}

func TestWhomSlackKnowsToBeSomebodyElseIsNotAskedWhoseTheAccountIs(t *testing.T) {
	o := newOfficeOf(t, "https://slack.com", "")
	inSlack(t, "", func(w *slackWorld) {
		o.world = w.world
		w.coded("Ann Silva", "4821")
		w.says(w.slack.Command("U2", "C1", "4821"))
		door := w.doorIn(w.last(w.slack.Ephemeral("U2"), 1))
		bob := o.browser()
		o.follow(bob, "U1", door).want(t, http.StatusForbidden)
		bob.press(door, url.Values{"connect": {"1"}}).want(t, http.StatusForbidden)
	}, o.opts...)
}

func TestADoorOfOnesOwnIsDecidedAsTheCardThatWasPressed(t *testing.T) {
	for _, where := range []string{"connectors: [rocketchat]", `places: ["slack:C1"]`} {
		t.Run(where, func(t *testing.T) {
			rules := options{config: func(c *bridge.Config) {
				p, err := policy.Parse("policy.yaml", []byte("rules:\n  - where: {"+where+"}\n    may: []\n  - may: [watch]\n"))
				if err != nil {
					panic(err)
				}
				c.Policy = policy.Fixed(p)
			}}
			inSlack(t, "C1", func(w *slackWorld) {
				ann := w.ann()
				w.taken(w.opens(keyed()))
				w.says(w.slack.Press("U2", w.last(w.slack.Channel("C1"), 1), 0))
				door := w.doorIn(w.last(w.slack.Ephemeral("U2"), 1))
				w.browser().press(door, url.Values{"visitor": {ann}}).want(t, http.StatusForbidden)
			}, rules)
		})
	}
}

func TestWhereAgentsSignInStopLeadsToTheirCards(t *testing.T) {
	o := newOffice(t, "rules:\n  - who: {groups: [support]}\n    may: [watch, look-up]\n  - may: [watch, look-up, stop]\n")
	inSlack(t, "", func(w *slackWorld) {
		o.world = w.world
		ann := w.coded("Ann Silva", "4821")
		w.says(w.slack.Command("U1", "C1", "4821"))
		door := w.doorIn(w.last(w.slack.Ephemeral("U1"), 1))
		bob := o.at("bob")
		bob.press(door, url.Values{"connect": {"1"}}).want(t, http.StatusOK)
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		session := w.begun()
		w.pass(sessionsWait)
		w.says(w.slack.Command("U1", "C1", "stop"))
		all := w.slack.Ephemeral("U1")
		if reply := all[len(all)-1]; !strings.Contains(reply.Text, "Your co-browsing") || w.doorIn(reply) != door {
			t.Errorf("bob reads %q", reply.Text)
		}
		bob.press(door, url.Values{"stop": {"1"}}).want(t, http.StatusForbidden)
		if !w.upscope.End(session, 0) {
			t.Error("the session was stopped by somebody who may not")
		}
	}, o.opts...)
}
