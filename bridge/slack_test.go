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
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/secret"
	"cobrowse-bridge/bridge/signin/signintest"
	"cobrowse-bridge/connectors/slack"
	"cobrowse-bridge/connectors/slack/slacktest"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// A slackWorld is a world in which agents use Slack as well.
type slackWorld struct {
	*world
	slack *slacktest.Workspace
}

const signingSecret = "canary-signing-secret-6b1d"

// inSlack runs a test in a world with Slack. If channel is not empty, the cards of
// Rocket.Chat's chats are shown in that channel of Slack.
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
			Name: "slack", Secrets: secret.All(signingSecret), BotToken: secret.New(s.slack.BotToken),
			Transport: bridge.InProcess(s.slack), Log: slog.New(slog.NewJSONHandler(log, nil)),
		})
		if err != nil {
			t.Fatal(err)
		}
		if channel != "" {
			c.Connectors[0].ShowAt = chat.Place{Connector: "slack", Address: channel}
		}
		c.Connectors = append(c.Connectors, connector)
	}})
	inWorld(t, func(w *world) {
		s.world = w
		test(s)
	}, opts...)
}

// fromSlack has Slack send a signed request.
func (w *slackWorld) fromSlack(body []byte) {
	w.Helper()
	if got := w.post("/hooks/slack", body, w.slack.Sign(body)); got.StatusCode != http.StatusOK || got.body != "" {
		w.Fatalf("Slack is answered %d %q", got.StatusCode, got.body)
	}
	w.pass(time.Second)
}

var slackDoor = regexp.MustCompile(`https://bridge\.example\.org(/w/[A-Za-z0-9_-]{43})`)

// doorIn returns the path of the door in a message.
func (w *slackWorld) doorIn(p slacktest.Post) string {
	w.Helper()
	m := slackDoor.FindStringSubmatch(string(p.Blocks))
	if m == nil {
		w.Fatalf("no door in %s", p.Blocks)
	}
	if strings.Contains(p.Text, "/w/") {
		w.Errorf("the text contains the door: %q", p.Text)
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
		ann := w.visitorWithCode("Ann Silva", "4821")
		w.fromSlack(w.slack.Command("U1", "C1", "4821"))
		reply := w.last(w.slack.Ephemeral("U1"), 1)
		bob := w.browser()
		bob.follow(w.doorIn(reply)).want(t, http.StatusOK, "Ann Silva")
		bob.press(w.doorIn(reply), url.Values{"visitor": {ann}}).wantWatch(t)
		if a := w.upscope.Watches()[0].Body.Agent; a.ID != "slack:T0ACME/U1" || a.Name != "Bob Baker" {
			t.Errorf("Upscope got the agent %+v", a)
		}
		session := w.openLatestLink()
		w.pass(sessionsWait)
		if card := w.last(w.slack.Direct("U1"), 1); !strings.Contains(card.Text, "is running") {
			t.Errorf("the card reads %q", card.Text)
		}
		w.upscope.End(session, 4)
		w.sendCallback(session, upscopetest.Bare)
		w.pass(10 * time.Second)
		if card := w.last(w.slack.Direct("U1"), 1); !strings.Contains(card.Text, "has ended") || !strings.Contains(string(card.Blocks), "4 of 5") {
			t.Errorf("the card reads %q %s", card.Text, card.Blocks)
		}
		if len(w.slack.Channel("C1")) != 0 || len(w.slack.Ephemeral("U2")) != 0 {
			t.Error("others can see a message")
		}
	})
}

func TestACardInAChannelGivesEachAgentTheirOwnDoor(t *testing.T) {
	inSlack(t, "C1", func(w *slackWorld) {
		ann := w.ann()
		room := w.openChat(withPageKey())
		w.bobTakes(room)
		w.posts("bob", 0)
		card := w.last(w.slack.Channel("C1"), 1)
		if slackDoor.Match(card.Blocks) {
			t.Fatalf("the channel contains a door: %s", card.Blocks)
		}
		for range 2 { // a double click
			w.fromSlack(w.slack.Press("U2", card, 0))
		}
		own := w.last(w.slack.Ephemeral("U2"), 1)
		eve := w.browser()
		eve.follow(w.doorIn(own)).want(t, http.StatusOK, "Eve Evans")
		eve.press(w.doorIn(own), url.Values{"visitor": {ann}}).wantWatch(t)
		if a := w.upscope.Watches()[0].Body.Agent; a.ID != "slack:T0ACME/U2" || a.Name != "Eve Evans" {
			t.Errorf("Upscope got the agent %+v", a)
		}
		w.openLatestLink()
		w.pass(sessionsWait)
		if card := w.last(w.slack.Channel("C1"), 1); !strings.Contains(card.Text, "Session with Ann is running") || slackDoor.Match(card.Blocks) {
			t.Errorf("the card in the channel reads %q %s", card.Text, card.Blocks)
		}
		// Another browser cannot use her door.
		w.browser().follow(w.doorIn(own)).want(t, http.StatusForbidden)
	})
}

func TestAnAgentsOwnDoorExpiresAndClosesWithTheChat(t *testing.T) {
	inSlack(t, "C1", func(w *slackWorld) {
		w.ann()
		room := w.openChat(withPageKey())
		w.bobTakes(room)
		card := w.last(w.slack.Channel("C1"), 1)
		w.fromSlack(w.slack.Press("U2", card, 0))
		first := w.doorIn(w.last(w.slack.Ephemeral("U2"), 1))
		w.pass(2 * time.Minute)
		w.browser().follow(first).want(t, http.StatusGone, "expired")
		w.fromSlack(w.slack.Press("U2", card, 0))
		second := w.doorIn(w.last(w.slack.Ephemeral("U2"), 2))
		w.browser().follow(second).want(t, http.StatusOK)
		w.chat.CloseChat(room)
		w.deliverEvent("LivechatSession", room)
		w.pass(time.Second)
		w.pass(time.Second)
		w.browser().follow(second).want(t, http.StatusGone, "This chat is closed")
		w.fromSlack(w.slack.Press("U2", card, 0))
		if text := w.last(w.slack.Ephemeral("U2"), 3).Text; !strings.Contains(text, "Chat closed") {
			t.Errorf("eve reads %q", text)
		}
	})
}

func TestASessionCanBeEndedAfterItsChatIsOver(t *testing.T) {
	inSlack(t, "C1", func(w *slackWorld) {
		ann, room := w.ann(), w.openChat(withPageKey())
		w.bobTakes(room)
		w.fromSlack(w.slack.Press("U2", w.last(w.slack.Channel("C1"), 1), 0))
		door := w.doorIn(w.last(w.slack.Ephemeral("U2"), 1))
		eve := w.browser()
		eve.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		session := w.openLatestLink()
		w.pass(10 * time.Minute) // longer than an unused door of an agent works
		eve.loads(door).want(t, http.StatusOK, "Your session with")
		w.chat.CloseChat(room)
		w.deliverEvent("LivechatSession", room)
		w.pass(time.Second)
		w.pass(time.Second)
		eve.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusGone, "This chat is closed")
		eve.press(door, url.Values{"stop": {"1"}}).want(t, http.StatusOK, "ended")
		if w.upscope.End(session, 0) {
			t.Error("the session was not stopped")
		}
	})
}

func TestCustomersAreNotLookedUpByEMailUnlessTheOperatorAllowsIt(t *testing.T) {
	inSlack(t, "", func(w *slackWorld) {
		w.fromSlack(w.slack.Command("U1", "C1", "jane@example.org"))
		reply := w.last(w.slack.Ephemeral("U1"), 1)
		if !strings.Contains(reply.Text, "You cannot search by e-mail address") {
			t.Errorf("bob reads %q", reply.Text)
		}
		if got := w.records("refused"); len(got) != 1 || got[0].Agent != "slack:T0ACME/U1" || got[0].Detail != "search by e-mail address is switched off" {
			t.Errorf("audited %+v", got)
		}
		if n := w.callsTo(upscopetest.List); n != 0 {
			t.Errorf("%d searches at Upscope, want none", n)
		}
	})
}

func TestAnAgentWhoLooksUpTooManyCustomersHasToWait(t *testing.T) {
	inSlack(t, "", func(w *slackWorld) {
		for range 40 {
			w.fromSlack(w.slack.Command("U1", "C1", "rocketchat:"+pageKey))
		}
		refused := 0
		for _, reply := range w.slack.Ephemeral("U1") {
			if strings.Contains(reply.Text, "Too many look-ups") {
				refused++
			}
		}
		if looked := 40 - refused; looked < 20 || looked > 34 {
			t.Errorf("%d of 40 were looked up, want 20 to 34", looked)
		}
	})
}

func TestPeopleOfOtherCompaniesAndGuestsAreRefusedAndAudited(t *testing.T) {
	inSlack(t, "C1", func(w *slackWorld) {
		w.ann()
		w.bobTakes(w.openChat(withPageKey()))
		card := w.last(w.slack.Channel("C1"), 1)
		for user, says := range map[string]string{"U3": "guest", "U4": "another organisation"} {
			w.fromSlack(w.slack.Press(user, card, 0))
			refused := w.last(w.slack.Ephemeral(user), 1)
			if !strings.Contains(refused.Text+string(refused.Blocks), says) || slackDoor.Match(refused.Blocks) {
				t.Errorf("%s reads %q %s", user, refused.Text, refused.Blocks)
			}
		}
		refused := map[string]string{}
		for record, err := range w.store.AuditLog().After(w.Context(), 0) {
			w.must(err)
			if record.Action == "refused" {
				refused[record.Agent] = record.Detail
			}
		}
		if len(refused) != 2 || refused["slack:T0ACME/U3"] != "guest" || refused["slack:T9OTHER/U4"] != "external" {
			t.Errorf("the audited refusals are %v", refused)
		}
		if w.upscope.Minted() != 0 {
			t.Error("a watch link was made")
		}
	})
}

func TestARefusalIsAuditedOnceAlthoughItsMessageIsRetried(t *testing.T) {
	inSlack(t, "", func(w *slackWorld) {
		for _, way := range []string{"response_url", "chat.postEphemeral", "chat.postMessage"} {
			w.slack.Fail(way, slacktest.Fault{Status: http.StatusServiceUnavailable}, 3)
		}
		w.fromSlack(w.slack.Command("U1", "C1", "ann@example.org"))
		if got := w.records("refused"); len(got) != 1 || len(w.slack.Direct("U1"))+len(w.slack.Ephemeral("U1")) > 0 {
			t.Errorf("before bob is told, %d refusals are audited", len(got))
		}
		w.pass(5 * time.Minute)
		if got := w.slack.Direct("U1"); len(got) != 1 || !strings.Contains(got[0].Text, "You cannot search by e-mail address") {
			t.Errorf("bob reads %+v", got)
		}
		if got := w.records("refused"); len(got) != 1 {
			t.Errorf("%d audit records of one refusal: %+v", len(got), got)
		}
	})
}

func TestSlackAnswersStatusUsageAndStop(t *testing.T) {
	inSlack(t, "", func(w *slackWorld) {
		ann := w.visitorWithCode("Ann", "4821")
		w.fromSlack(w.slack.Command("U1", "C1", "status"))
		w.fromSlack(w.slack.Command("U1", "C1", "usage"))
		w.fromSlack(w.slack.Command("U1", "C1", "stop"))
		w.fromSlack(w.slack.Command("U1", "C1", "help"))
		var all []string
		for _, p := range w.slack.Ephemeral("U1") {
			all = append(all, p.Text+string(p.Blocks))
		}
		for i, says := range []string{"no co-browse messages yet", "Customers online", "No session was ended", "4821"} {
			if len(all) != 4 || !strings.Contains(all[i], says) {
				t.Fatalf("answer %d does not say %q: %q", i, says, all)
			}
		}
		w.fromSlack(w.slack.Command("U1", "C1", "4821"))
		bob := w.browser()
		bob.press(w.doorIn(w.last(w.slack.Ephemeral("U1"), 5)), url.Values{"visitor": {ann}}).wantWatch(t)
		w.openLatestLink()
		w.pass(sessionsWait)
		w.fromSlack(w.slack.Command("U1", "C1", "stop"))
		if text := w.last(w.slack.Ephemeral("U1"), 6).Text; !strings.Contains(text, "Ended 1 session") {
			t.Errorf("bob reads %q", text)
		}
		w.pass(10 * time.Second)
		if card := w.last(w.slack.Direct("U1"), 1); !strings.Contains(card.Text, "has ended") {
			t.Errorf("the card reads %q", card.Text)
		}
	})
}

func TestSlackSaysThatUpscopeDoesNotAnswerACommand(t *testing.T) {
	inSlack(t, "", func(w *slackWorld) {
		ann := w.visitorWithCode("Ann", "4821")
		w.fromSlack(w.slack.Command("U1", "C1", "4821"))
		w.browser().press(w.doorIn(w.last(w.slack.Ephemeral("U1"), 1)), url.Values{"visitor": {ann}}).wantWatch(t)
		w.openLatestLink()
		w.pass(sessionsWait)
		for _, endpoint := range []upscopetest.Endpoint{upscopetest.StopSession, upscopetest.Usage} {
			w.upscope.Fail(endpoint, upscopetest.Fault{Status: http.StatusServiceUnavailable}, -1)
		}
		w.fromSlack(w.slack.Command("U1", "C1", "stop"))
		w.fromSlack(w.slack.Command("U1", "C1", "usage"))
		all := w.slack.Ephemeral("U1")
		if len(all) != 3 || !strings.Contains(all[1].Text, "Not all sessions were ended") || !strings.Contains(all[2].Text, "cannot be read now") {
			t.Errorf("bob reads %+v", all)
		}
	})
}

func TestTheSameSlackEventThreeTimesIsOneCard(t *testing.T) {
	inSlack(t, "", func(w *slackWorld) {
		w.visitorWithCode("Ann", "4821")
		event := w.slack.Mention("U1", "C1", "", "<@"+w.slack.BotUser+"> 4821")
		w.fromSlack(event)
		for n := range 3 {
			body, header := w.slack.Retry(event, n+1, "http_timeout")
			w.post("/hooks/slack", body, header).want(t, http.StatusOK)
		}
		w.pass(10 * time.Second)
		w.last(w.slack.Ephemeral("U1"), 1)
	})
}

func TestTheAddressForSlackMayEndWithASlash(t *testing.T) {
	inSlack(t, "", func(w *slackWorld) {
		w.visitorWithCode("Ann", "4821")
		event := w.slack.Mention("U1", "C1", "", "<@"+w.slack.BotUser+"> 4821")
		w.post("/hooks/slack/", event, w.slack.Sign(event)).want(t, http.StatusOK)
		w.pass(10 * time.Second)
		w.last(w.slack.Ephemeral("U1"), 1)
	})
}

func TestASharedCardStaysAtItsPlaceAfterAHandOver(t *testing.T) {
	inSlack(t, "C1", func(w *slackWorld) {
		w.ann()
		room := w.openChat(withPageKey())
		w.bobTakes(room)
		w.chat.Forward(room, "eve")
		w.deliverEvent("LivechatSessionForwarded", room)
		w.pass(time.Second)
		if card := w.last(w.slack.Channel("C1"), 1); !strings.Contains(card.Text, "Co-browse with Ann") || !strings.Contains(string(card.Blocks), "Eve Evans") {
			t.Errorf("the card reads %q %s", card.Text, card.Blocks)
		}
		w.posts("bob", 0)
		w.posts("eve", 0)
	})
}

func TestAnAgentsOwnDoorIsNeverRenewed(t *testing.T) {
	inSlack(t, "C1", func(w *slackWorld) {
		ann := w.ann()
		w.bobTakes(w.openChat(withPageKey()))
		card := w.last(w.slack.Channel("C1"), 1)
		w.fromSlack(w.slack.Press("U2", card, 0))
		door := w.doorIn(w.last(w.slack.Ephemeral("U2"), 1))
		w.upscope.Go(ann)
		w.browser().follow(door).want(t, http.StatusOK, "is offline")
		w.pass(2*time.Minute + 10*time.Second)
		w.browser().follow(door).want(t, http.StatusGone, "expired")
		w.browser().press(door+"?renew=1", nil).want(t, http.StatusGone)
		w.pass(10 * time.Minute)
		w.browser().follow(door).want(t, http.StatusGone)
		if n := len(w.slack.Direct("U2")); n != 0 {
			t.Errorf("%d direct messages to eve, want none", n)
		}
		// Slack drops the message at a reload. Another press gives a new one.
		w.upscope.Return(ann)
		w.fromSlack(w.slack.Press("U2", card, 0))
		w.pass(15 * time.Second)
		w.fromSlack(w.slack.Press("U2", card, 0))
		w.last(w.slack.Ephemeral("U2"), 3)
	})
}

func TestACodeThatCouldNotBeLookedUpInTimeIsNotUsedLater(t *testing.T) {
	inSlack(t, "", func(w *slackWorld) {
		w.upscope.Fail(upscopetest.List, upscopetest.Fault{Status: http.StatusInternalServerError}, 10_000)
		w.fromSlack(w.slack.Command("U1", "C1", "4821"))
		w.pass(3 * time.Minute)
		w.upscope.Heal()
		w.visitorWithCode("Zoe", "4821")
		w.pass(3 * time.Minute)
		for _, p := range append(w.slack.Ephemeral("U1"), w.slack.Direct("U1")...) {
			if slackDoor.Match(p.Blocks) {
				t.Errorf("bob gets a door to another visitor: %q %s", p.Text, p.Blocks)
			}
		}
	})
}

func TestWithSignInACardInAChannelShowsItsDoor(t *testing.T) {
	o := newOIDCWorld(t, "rules:\n  - who: {groups: [support]}\n    where: {places: [\"slack:C1\"]}\n    may: [watch]\n")
	inSlack(t, "C1", func(w *slackWorld) {
		o.world = w.world
		w.ann()
		w.bobTakes(w.openChat(withPageKey()))
		card := w.last(w.slack.Channel("C1"), 1)
		// An agent who may watch goes straight on, and the audit log names that agent.
		bob := o.browser()
		o.follow(bob, "bob", w.doorIn(card)).want(t, http.StatusOK, "Co-browse with")
		bob.follow(w.doorIn(card)).wantWatch(t)
		w.openLatestLink()
		w.pass(sessionsWait)
		if after := w.last(w.slack.Channel("C1"), 1); !strings.Contains(after.Text, "is running") {
			t.Errorf("the card reads %q", after.Text)
		}
		if got := w.records("watching"); len(got) != 1 || got[0].Agent != bobID || !strings.Contains(got[0].Detail, "card of rocketchat:a1") {
			t.Errorf("audited %+v", got)
		}
		if got := w.records("live"); len(got) != 1 || got[0].Agent != bobID {
			t.Errorf("audited %+v", got)
		}
		eve := o.browser()
		o.follow(eve, "eve", w.doorIn(card)).want(t, http.StatusForbidden)
	}, o.opts...)
}

func TestTheDeskShowsTheCardsOfAChannelToAgentsWhoMayWatch(t *testing.T) {
	o := newOIDCWorld(t, "rules:\n  - who: {groups: [support]}\n    where: {places: [\"slack:C1\"]}\n    may: [watch]\n")
	inSlack(t, "C1", func(w *slackWorld) {
		o.world = w.world
		w.ann()
		room := w.openChat(withPageKey())
		w.bobTakes(room)
		door := w.doorIn(w.last(w.slack.Channel("C1"), 1))
		// An agent can take the chat from the desk, without Slack.
		bob := o.signedIn("bob")
		page := bob.follow("/")
		page.want(t, http.StatusOK, "Your team’s customers online", "Online", "basket")
		if to := bob.follow(o.cardPath(page)).Header.Get("Location"); to != door {
			t.Fatalf("the card leads to %q, want %q", to, door)
		}
		bob.follow(door).wantWatch(t)
		w.openLatestLink()
		w.pass(sessionsWait)
		bob.follow("/").want(t, http.StatusOK, "<bdi>Bob Baker</bdi> started this session.", "Recent sessions", "Session running")
		// An agent who may not watch in the channel sees nothing of the card.
		if eve := o.signedIn("eve").follow("/"); eve.StatusCode != http.StatusOK || strings.Contains(eve.body, "/desk/card/") || strings.Contains(eve.body, "basket") {
			t.Errorf("an agent who may not watch sees %d %s", eve.StatusCode, eve.body)
		}
		w.chat.CloseChat(room)
		w.deliverEvent("LivechatSession", room)
		w.pass(time.Second)
		if after := bob.follow("/"); strings.Contains(after.body, "Your team’s customers online") {
			t.Error("the desk offers a closed chat to free agents")
		}
	}, o.opts...)
}

func TestTheDeskSaysThatAChannelHasMoreCardsThanItShows(t *testing.T) {
	o := newOIDCWorld(t, "rules:\n  - who: {groups: [support]}\n    where: {places: [\"slack:C1\"]}\n    may: [watch]\n")
	inSlack(t, "C1", func(w *slackWorld) {
		o.world = w.world
		w.ann()
		takes := func() {
			room := w.openChat(withPageKey())
			w.chat.Take(room, "bob")
			w.deliverEvent("LivechatSessionTaken", room)
		}
		for range 50 {
			takes()
		}
		w.pass(10 * time.Second)
		const more = "Only the latest customers are shown"
		bob := o.signedIn("bob")
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
	o := newOIDCWorld(t, "rules:\n  - who: {groups: [support]}\n    may: [watch, look-up]\n  - who: {groups: [leads]}\n    may: [watch]\n")
	inSlack(t, "C1", func(w *slackWorld) {
		o.world = w.world
		w.visitorWithCode("Ann Silva", "4821")
		w.typeCommand(w.chat.AddChannel("helpdesk", "bob", "eve"), "bob", "!cobrowse 4821")
		w.pass(2 * time.Second)
		w.last(w.slack.Channel("C1"), 1)
		o.signedIn("bob").follow("/").want(t, http.StatusOK, "/desk/card/")
		if eve := o.signedIn("eve").follow("/"); strings.Contains(eve.body, "/desk/card/") {
			t.Error("an agent who may not look up customers is offered one whom a colleague looked up")
		}
	}, o.opts...)
}

func TestSigningInWithSlackConnectsTheSlackAccount(t *testing.T) {
	for issuer, owns := range map[string]bool{"https://slack.com": true, "https://slack.com.example.org": false} {
		t.Run(issuer, func(t *testing.T) {
			o := newOIDCWorldAt(t, issuer, "")
			inSlack(t, "", func(w *slackWorld) {
				o.world = w.world
				w.visitorWithCode("Ann Silva", "4821")
				w.fromSlack(w.slack.Command("U1", "C1", "4821"))
				got := o.follow(o.browser(), "U1", w.doorIn(w.last(w.slack.Ephemeral("U1"), 1)))
				if owns {
					got.want(t, http.StatusOK, "Co-browse with", "Ann Silva")
				} else { // only Slack itself may say who has a Slack account
					got.want(t, http.StatusOK, "Is this your account?")
				}
			}, o.opts...)
		})
	}
}

// Where the app is installed in a whole organisation, a card has the id of the organisation, and the sign-in
// names a workspace too.
func TestSigningInWithSlackConnectsAnAccountOfAnOrganisation(t *testing.T) {
	claims := func(user, org string) map[string]any {
		all := map[string]any{"https://slack.com/team_id": "T5WEST", "https://slack.com/user_id": user}
		if org != "" {
			all["https://slack.com/enterprise_id"] = org
		}
		return all
	}
	for name, test := range map[string]struct {
		claims map[string]any // of the person who opens the card of W1
		status int
		says   string
	}{
		"the same person":                  {claims("W1", "E0GROUP"), http.StatusOK, "Co-browse with"},
		"a colleague":                      {claims("W2", "E0GROUP"), http.StatusForbidden, "Co-browse bridge"},
		"a person of another organisation": {claims("W1", "E9OTHER"), http.StatusOK, "Is this your account?"},
		"no organisation is named":         {claims("W1", ""), http.StatusOK, "Is this your account?"},
	} {
		t.Run(name, func(t *testing.T) {
			o := newOIDCWorldAt(t, "https://slack.com", "")
			o.issuer.Change("U1", func(u *signintest.User) { u.Claims = test.claims })
			inSlack(t, "", func(w *slackWorld) {
				o.world = w.world
				w.slack.Team, w.slack.Enterprise, w.slack.OrgWide = "T0ACME", "E0GROUP", true
				w.slack.AddUser(slacktest.User{ID: "W1", Name: "wilma", RealName: "Wilma West", Team: "T5WEST", Enterprise: "E0GROUP", Teams: []string{"T5WEST"}})
				w.visitorWithCode("Ann Silva", "4821")
				w.fromSlack(w.slack.Command("W1", "C1", "4821"))
				door := w.doorIn(w.last(w.slack.Ephemeral("W1"), 1))
				b := o.browser()
				o.follow(b, "U1", door).want(t, test.status, test.says)
				if test.status == http.StatusForbidden { // confirming does not help
					b.press(door, url.Values{"connect": {"1"}}).want(t, http.StatusForbidden)
				}
			}, o.opts...)
		})
	}
}

func TestAnAgentWithAnotherSlackIDCannotClaimTheAccount(t *testing.T) {
	o := newOIDCWorldAt(t, "https://slack.com", "")
	inSlack(t, "", func(w *slackWorld) {
		o.world = w.world
		w.visitorWithCode("Ann Silva", "4821")
		w.fromSlack(w.slack.Command("U2", "C1", "4821"))
		door := w.doorIn(w.last(w.slack.Ephemeral("U2"), 1))
		bob := o.browser()
		o.follow(bob, "U1", door).want(t, http.StatusForbidden)
		bob.press(door, url.Values{"connect": {"1"}}).want(t, http.StatusForbidden)
	}, o.opts...)
}

func TestAnAgentsOwnDoorHasThePolicyOfThePressedCard(t *testing.T) {
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
				w.bobTakes(w.openChat(withPageKey()))
				w.fromSlack(w.slack.Press("U2", w.last(w.slack.Channel("C1"), 1), 0))
				door := w.doorIn(w.last(w.slack.Ephemeral("U2"), 1))
				w.browser().press(door, url.Values{"visitor": {ann}}).want(t, http.StatusForbidden)
			}, rules)
		})
	}
}

func TestWithSignInStopLeadsToTheAgentsCards(t *testing.T) {
	o := newOIDCWorld(t, "rules:\n  - who: {groups: [support]}\n    may: [watch, look-up]\n  - may: [watch, look-up, stop]\n")
	inSlack(t, "", func(w *slackWorld) {
		o.world = w.world
		ann := w.visitorWithCode("Ann Silva", "4821")
		w.fromSlack(w.slack.Command("U1", "C1", "4821"))
		door := w.doorIn(w.last(w.slack.Ephemeral("U1"), 1))
		bob := o.signedIn("bob")
		bob.press(door, url.Values{"connect": {"1"}}).want(t, http.StatusOK)
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		session := w.openLatestLink()
		w.pass(sessionsWait)
		w.fromSlack(w.slack.Command("U1", "C1", "stop"))
		all := w.slack.Ephemeral("U1")
		if reply := all[len(all)-1]; !strings.Contains(reply.Text, "Which session do you want to end?") || w.doorIn(reply) != door || !strings.Contains(string(reply.Blocks), "End session with Ann Silva") {
			t.Errorf("bob reads %q", reply.Text)
		}
		bob.press(door, url.Values{"stop": {"1"}}).want(t, http.StatusForbidden)
		if !w.upscope.End(session, 0) {
			t.Error("an agent who may not stop sessions stopped one")
		}
	}, o.opts...)
}

func TestWhatAgentsTypeOrPasteInSlackIsUnderstood(t *testing.T) {
	inSlack(t, "", func(w *slackWorld) {
		w.visitorWithCode("Ann Silva", "0421")
		for _, address := range []string{"o'brien@example.org", "a/b@example.org"} {
			w.upscope.Come(upscope.Visitor{Name: "Pat " + address, Email: address, Identities: []string{address}, IsSupported: true})
		}
		for i, typed := range []string{
			"o'brien@example.org", "o’brien@example.org", "a/b@example.org", "<mailto:a/b@example.org|a/b@example.org>",
			"０４２１", "0421.", "#0421", "<tel:0421|0421>", "code 0421", "0421 please",
		} {
			w.fromSlack(w.slack.Command("U1", "C1", typed))
			if reply := w.last(w.slack.Ephemeral("U1"), i+1); !slackDoor.MatchString(string(reply.Blocks)) {
				t.Errorf("%q is answered %q", typed, reply.Text)
			}
		}
	}, options{config: func(c *bridge.Config) { c.MatchEmail = true }})
}

func TestAnAgentWhoseTextInSlackIsNotUnderstoodIsToldWhy(t *testing.T) {
	inSlack(t, "", func(w *slackWorld) {
		for i, c := range []struct{ typed, want string }{
			{"jörg@exämple.org", "letters like ö"}, {"0421 or 0422", "more than one customer"}, {"the customer Ann", "no code or customer ID"}, {"+1 555 123 0421", "other numbers"},
		} {
			w.fromSlack(w.slack.Command("U1", "C1", c.typed))
			reply := w.last(w.slack.Ephemeral("U1"), i+1)
			if !strings.Contains(reply.Text, "not understood") || !strings.Contains(string(reply.Blocks), c.want) || !strings.Contains(string(reply.Blocks), "/cobrowse 4821") {
				t.Errorf("%q is answered %q, %s", c.typed, reply.Text, reply.Blocks)
			}
		}
		if n := w.callsTo(upscopetest.List); n != 0 {
			t.Errorf("%d searches at Upscope, want none", n)
		}
	})
}
