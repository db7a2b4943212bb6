package bridge_test

import (
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/templates"
	"cobrowse-bridge/upscope/upscopetest"
)

// strangersType lets strangers begin chats, each with a wrong code of its own.
func (w *world) strangersType(chats int) {
	w.Helper()
	for n := range chats {
		w.chatWithCode("eve", fmt.Sprintf("%04d", n))
	}
	w.pass(20 * time.Second)
}

// chatWithCode begins a chat in which the customer's page gives a code, and lets an agent serve it.
func (w *world) chatWithCode(agent, code string) (room string) {
	w.Helper()
	room = w.openChat(map[string]string{"upscope_code": code})
	w.chat.Take(room, agent)
	w.deliverEvent("LivechatSessionTaken", room)
	return room
}

func TestWrongCodesOfStrangersDoNotKeepAnHonestCustomerOut(t *testing.T) {
	inWorld(t, func(w *world) {
		zoe := w.visitorWithCode("Zoe", "4821")
		w.strangersType(40)
		if n := w.callsTo(upscopetest.List); n > 30*4 { // each of the first 30 is searched again three times
			t.Errorf("%d searches", n)
		}
		w.chatWithCode("bob", "4821")
		w.pass(20 * time.Second)
		// The code is not looked up automatically, and the card says so.
		text := w.posts("bob", 1)
		for _, says := range []string{"was not looked up", "in other chats", "Type the code"} {
			if !strings.Contains(text, says) {
				t.Errorf("the card does not say %q: %q", says, text)
			}
		}
		if strings.Contains(text, "not found on your website") {
			t.Errorf("the card says that the customer was not found: %q", text)
		}
		// The agent types it.
		bob, door := w.browser(), w.door("bob")
		bob.follow(door).want(t, http.StatusOK, "in other chats", `name="code"`)
		bob.press(door, url.Values{"code": {"0000"}}).want(t, http.StatusOK, "several have it", `name="code"`)
		bob.press(door, url.Values{"code": {"my code"}}).want(t, http.StatusOK, `name="code"`)
		bob.press(door, url.Values{"code": {"4821"}}).want(t, http.StatusOK, "Co-browse with", "Zoe")
		w.pass(time.Second)
		if text := w.posts("bob", 1); !strings.Contains(text, "Co-browse with") {
			t.Errorf("the card reads %q", text)
		}
		bob.press(door, url.Values{"visitor": {zoe}}).wantWatch(t)
	})
}

func TestACustomerWhoTypesWrongCodesIsFoundByTheAgent(t *testing.T) {
	inWorld(t, func(w *world) {
		w.visitorWithCode("Zoe", "4821")
		room := w.chatWithCode("bob", "0000")
		w.pass(20 * time.Second)
		text := w.posts("bob", 1)
		for n := 1; n < 10 && !strings.Contains(text, "was not looked up"); n++ {
			w.must(w.chat.SetField(room, "upscope_code", fmt.Sprintf("%04d", n)))
			w.chat.Say(room, "", "again")
			w.deliverEvent("Message", room)
			w.pass(time.Second)
			text = w.posts("bob", 1)
		}
		if !strings.Contains(text, "in this chat") || strings.Contains(text, "in other chats") {
			t.Errorf("the card reads %q", text)
		}
		bob, door := w.browser(), w.door("bob")
		bob.follow(door).want(t, http.StatusOK, "in this chat")
		bob.press(door, url.Values{"code": {"4821"}}).want(t, http.StatusOK, "Zoe")
	})
}

func TestACardThatACodeFoundKeepsItsCustomerWhileTheyAreOffline(t *testing.T) {
	inWorld(t, func(w *world) {
		zoe := w.visitorWithCode("Zoe", "4821")
		room := w.chatWithCode("bob", "4821")
		w.pass(20 * time.Second)
		w.reads("bob", "Co-browse")
		w.upscope.Go(zoe)
		w.pass(time.Hour)
		w.reads("bob", "offline")
		w.chat.Say(room, "", "again")
		w.deliverEvent("Message", room)
		w.pass(20 * time.Second)
		c, err := w.store.CardOfChat(t.Context(), "rocketchat", store.KindChat, room)
		if w.must(err); c.Visitor != zoe || c.State != "offline" {
			t.Errorf("the card is about %q in state %s, want Zoe, %s, offline", c.Visitor, c.State, zoe)
		}
	})
}

func TestACodeThatTheAgentHasReplacedIsNotLookedUpLater(t *testing.T) {
	inWorld(t, func(w *world) {
		w.visitorWithCode("Max", "7777")
		zoe := w.visitorWithCode("Zoe", "4821")
		room := w.chatWithCode("bob", "0000")
		w.pass(20 * time.Second)
		for n := range 10 {
			w.must(w.chat.SetField(room, "upscope_code", fmt.Sprintf("%04d", 9000+n)))
			w.chat.Say(room, "", "again")
			w.deliverEvent("Message", room)
			w.pass(time.Second)
		}
		w.must(w.chat.SetField(room, "upscope_code", "7777"))
		w.chat.Say(room, "", "again")
		w.deliverEvent("Message", room)
		w.pass(time.Second)
		w.reads("bob", "was not looked up")
		w.browser().press(w.door("bob"), url.Values{"code": {"4821"}}).want(t, http.StatusOK, "Zoe")

		w.upscope.Go(zoe)
		w.pass(time.Hour) // the limit is free again
		w.reads("bob", "offline")
		w.chat.Say(room, "", "again")
		w.deliverEvent("Message", room)
		w.pass(20 * time.Second)
		c, err := w.store.CardOfChat(t.Context(), "rocketchat", store.KindChat, room)
		if w.must(err); c.Visitor != zoe {
			t.Errorf("the card is about %s, want Zoe, %s", c.Visitor, zoe)
		}
	})
}

func TestPromise12CodesInManyChatsAreLimitedTogether(t *testing.T) {
	inWorld(t, func(w *world) {
		w.visitorWithCode("Zoe", "4821")
		for n := range 60 {
			w.chatWithCode("eve", fmt.Sprintf("%04d", 4800+n)) // one of them is right
			w.pass(21 * time.Second)                           // until no search is repeated
		}
		// 30 codes, and one each two minutes since. The right code is number 22.
		asked := map[string]bool{}
		for _, call := range w.upscope.Calls() {
			if call.Endpoint == upscopetest.List {
				asked[call.Search] = true
			}
		}
		if n := len(asked); n > 30+11 || n < 30 {
			t.Errorf("%d different codes were looked up in 21 minutes", n)
		}
	})
}

func TestPromise12AnAgentTypesCodesOnACardWithinTheirLimit(t *testing.T) {
	inWorld(t, func(w *world) {
		w.visitorWithCode("Zoe", "4821")
		w.strangersType(31)
		w.chatWithCode("bob", "4821")
		w.pass(20 * time.Second)
		bob, door := w.browser(), w.door("bob")
		before := w.callsTo(upscopetest.List)
		refused := 0
		for n := range 12 {
			if bob.press(door, url.Values{"code": {fmt.Sprintf("%04d", n)}}).StatusCode == http.StatusTooManyRequests {
				refused++
			}
		}
		bob.press(door, url.Values{"code": {"4821"}}).want(t, http.StatusTooManyRequests, "You typed too many wrong codes")
		if n := w.callsTo(upscopetest.List) - before; n != 5 || refused != 7 {
			t.Errorf("%d of 12 codes were looked up and %d refused, want 5 and 7", n, refused)
		}
	})
}

func TestACodeIsTypedOnlyOnACardThatAsksForIt(t *testing.T) {
	inWorld(t, func(w *world) {
		w.visitorWithCode("Zoe", "4821")
		w.bobTakes(w.openChat(withPageKey())) // nobody is found
		w.pass(20 * time.Second)
		w.browser().press(w.door("bob"), url.Values{"code": {"4821"}}).want(t, http.StatusOK, "not found on your website")
		for _, call := range w.upscope.Calls() {
			if strings.Contains(call.Search, "4821") {
				t.Errorf("the code is looked up: %s", call.RequestURI)
			}
		}
	})
}

func TestWrongCodesOfOtherAgentsDoNotKeepAnHonestAgentOut(t *testing.T) {
	inWorld(t, func(w *world) {
		w.visitorWithCode("Ann", "9999")
		var others []string
		for n := range 7 {
			name := fmt.Sprintf("agent%d", n)
			w.chat.AddUser(rocketchattest.User{ID: "x" + name, Username: name, Roles: []string{"user", "livechat-agent"}})
			others = append(others, name)
		}
		room := w.chat.AddChannel("helpdesk", append(others, "bob")...)
		for _, name := range others {
			for n := range 5 {
				w.typeCommand(room, name, fmt.Sprintf("!cobrowse %04d", n))
			}
		}
		// An agent who typed no wrong code is looked up for.
		w.typeCommand(room, "bob", "!cobrowse 9999")
		if text := w.posts("bob", 1); !strings.Contains(text, "[Co-browse]") {
			t.Errorf("bob reads %q", text)
		}
		// After a wrong one he has to wait, and is told why. A right one costs nothing.
		for i, code := range []string{"9999", "0000"} {
			w.typeCommand(room, "bob", "!cobrowse "+code)
			w.posts("bob", 2+i)
		}
		w.typeCommand(room, "bob", "!cobrowse 9999")
		if text := w.posts("bob", 4); !strings.Contains(text, "Other agents typed many wrong codes") || !strings.Contains(text, "Wait 5 minutes") {
			t.Errorf("bob reads %q", text)
		}
		w.idle(5 * time.Minute)
		w.typeCommand(room, "bob", "!cobrowse 9999")
		if text := w.posts("bob", 5); !strings.Contains(text, "[Co-browse]") {
			t.Errorf("five minutes later bob reads %q", text)
		}
	})
}

func TestUnknownLinksOfAColleagueAreNotCountedForOtherAgents(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		unknown := "/w/" + strings.Repeat("A", 43)
		eve, bob := o.signedIn("eve"), o.signedIn("bob") // with one address
		for range 20 {
			eve.follow(unknown).want(t, http.StatusNotFound)
		}
		eve.follow(unknown).want(t, http.StatusTooManyRequests)
		bob.follow(unknown).want(t, http.StatusNotFound)
	})
}

func TestWrongCodesFromAnOfficeDoNotKeepItsOtherAgentsOut(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		o.visitorWithCode("Ann Silva", "9999")
		for n := range 20 {
			agent := o.signedIn(fmt.Sprintf("agent%d", n/5))
			agent.press("/desk/look-up", url.Values{"code": {fmt.Sprintf("%04d", n)}}).note(t, templates.NoteNoCustomer)
		}
		bob := o.signedIn("bob")
		if got := bob.press("/desk/look-up", url.Values{"code": {"9999"}}); !strings.HasPrefix(got.Header.Get("Location"), "/desk/card/") {
			t.Errorf("another agent is redirected to %q", got.Header.Get("Location"))
		}
		bob.press("/desk/look-up", url.Values{"code": {"0002"}}).note(t, templates.NoteNoCustomer)
		bob.press("/desk/look-up", url.Values{"code": {"9999"}}).note(t, templates.NoteTooManyOthers)
	})
}
