package bridge_test

import (
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

func TestATakenChatLeadsToTheVisitorsScreen(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.bobTakes(w.openChat(withPageKey()))
		if text := w.posts("bob", 1); !strings.Contains(text, "Co-browse with Ann") {
			t.Errorf("the card reads %q", text)
		}
		w.posts("eve", 0)

		bob := w.browser()
		bob.follow(w.door("bob")).want(t, http.StatusOK, "Ann Silva", "Lisbon, Portugal")
		if n := w.upscope.Minted(); n != 0 {
			t.Fatalf("%d watch links before a press, want none", n)
		}
		bob.press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(t)
		watches := w.upscope.Watches()
		if len(watches) != 1 || watches[0].Body.Agent.ID != "rocketchat:a1" || watches[0].Body.Agent.Name != "Bob Baker" {
			t.Errorf("Upscope got the requests %+v", watches)
		}
		w.pass(time.Second)
		if text := w.posts("bob", 1); !strings.Contains(text, "Waiting for Ann") {
			t.Errorf("the card reads %q after the press", text)
		}
	})
}

func TestPromise5OneDeliveryOneCard(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		room := w.openChat(withPageKey())
		w.chat.Take(room, "bob")
		body, header := w.chat.Event("LivechatSessionTaken", room)
		var all sync.WaitGroup
		for range 10 {
			all.Go(func() {
				if got := w.post("/hooks/rocketchat", body, header); got.StatusCode != http.StatusOK || got.body != "" {
					t.Errorf("answered %d %q", got.StatusCode, got.body)
				}
			})
		}
		all.Wait()
		w.pass(20 * time.Second)
		before := w.posts("bob", 1)
		sent := len(w.chat.Requests())
		w.post("/hooks/rocketchat", body, header).want(t, http.StatusOK)
		w.pass(20 * time.Second)
		if after := w.posts("bob", 1); after != before || len(w.chat.Requests()) != sent {
			t.Errorf("a repeated delivery changed %q to %q, or sent a request", before, after)
		}
	})
}

func TestAllEventsOfOneChatMakeOneCard(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		room := w.openChat(withPageKey())
		w.deliverEvent("LivechatSessionStart", room)
		w.chat.Take(room, "bob")
		for _, event := range []string{"LivechatSessionTaken", "LivechatSessionQueued", "LivechatSessionForwarded"} {
			w.deliverEvent(event, room)
		}
		for range 3 {
			w.chat.Say(room, "", "hello")
			w.deliverEvent("Message", room)
		}
		w.pass(20 * time.Second)
		w.posts("bob", 1)
	})
}

func TestAQueuedChatGetsNoCardUntilAnAgentTakesIt(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		room := w.openChat(withPageKey())
		w.chat.Queue(room)
		w.deliverEvent("LivechatSessionQueued", room)
		w.pass(20 * time.Second)
		w.posts("bob", 0)
		w.bobTakes(room)
		w.posts("bob", 1)
	})
}

func TestTheTestButtonIsAnsweredAndOnlyLogged(t *testing.T) {
	inWorld(t, func(w *world) {
		sample := []byte(`{"_id":"fasd6f5a4sd6f8a4sdf","label":"title","topic":"asiodojf","createdAt":"2016-04-01T00:00:00.000Z",` +
			`"lastMessageAt":"2016-04-01T00:00:00.000Z","tags":["tag1"],"customFields":{"productId":"123456"},` +
			`"visitor":{"_id":"","name":"Rocket.Chat","username":"rocketchat-username","department":"rocketchat-department","email":"rocketchat@example.org","phone":"+1"},` +
			`"agent":{"_id":"asdf89as6df8","username":"agent.username","name":"Agent Name","email":"agent@example.org"},"type":"LivechatSession",` +
			`"messages":[{"username":"visitor-username","msg":"message content","ts":"2016-04-01T00:00:00.000Z"}]}`)
		header := http.Header{"Content-Type": {"application/json"}, "X-Rocketchat-Livechat-Token": {webhookSecret}}
		if got := w.post("/hooks/rocketchat", sample, header); got.StatusCode != http.StatusOK || got.body != "" {
			t.Errorf("answered %d %q", got.StatusCode, got.body)
		}
		w.pass(20 * time.Second)
		if n := len(w.chat.Requests()); n != 0 {
			t.Errorf("%d requests to Rocket.Chat, want none", n)
		}
		if !strings.Contains(w.log.String(), "test button") {
			t.Error("the log does not say that the test button was pressed")
		}
	})
}

func TestAHandOverMovesTheCard(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		room := w.openChat(withPageKey())
		w.bobTakes(room)
		bobs := w.door("bob")
		w.chat.Forward(room, "eve")
		w.deliverEvent("LivechatSessionForwarded", room)
		w.pass(time.Second)
		if text := w.posts("bob", 1); !strings.Contains(text, "moved to Eve Evans") || doorAddress.MatchString(text) {
			t.Errorf("bob's card reads %q", text)
		}
		w.posts("eve", 1)
		w.browser().follow(bobs).want(t, http.StatusGone, "another agent")
		w.browser().follow(w.door("eve")).want(t, http.StatusOK, "Ann Silva")

		// A later event of the room changes nothing.
		w.chat.Say(room, "", "hello?")
		w.deliverEvent("Message", room)
		w.pass(time.Second)
		w.posts("bob", 1)
		w.posts("eve", 1)
	})
}

func TestAClosedChatClosesItsCardAndDoor(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		room := w.openChat(withPageKey())
		w.bobTakes(room)
		door := w.door("bob")
		w.chat.CloseChat(room)
		w.deliverEvent("LivechatSession", room)
		w.pass(time.Second)
		if text := w.posts("bob", 1); !strings.Contains(text, "Chat closed") || doorAddress.MatchString(text) {
			t.Errorf("the card reads %q", text)
		}
		bob := w.browser()
		bob.follow(door).want(t, http.StatusGone, "This chat is closed")
		bob.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusGone)
		w.deliverEvent("LivechatSessionTaken", room) // late
		w.pass(20 * time.Second)
		w.posts("bob", 1)
		if w.upscope.Minted() != 0 {
			t.Error("the door of a closed chat made a watch link")
		}
	})
}

func TestAKeyThatComesLateIsFound(t *testing.T) {
	for _, late := range []time.Duration{500 * time.Millisecond, 2 * time.Second, 9 * time.Second} {
		t.Run(late.String(), func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.ann()
				room := w.openChat(nil)
				w.chat.Take(room, "bob")
				w.deliverEvent("LivechatSessionTaken", room)
				w.pass(late)
				w.posts("bob", 0)
				w.must(w.chat.SetField(room, "upscope_key", pageKey))
				w.pass(15 * time.Second)
				w.posts("bob", 1)
			})
		})
	}
}

func TestAKeyThatComesVeryLateIsFoundAtTheNextEvent(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		room := w.openChat(nil)
		w.bobTakes(room)
		w.pass(20 * time.Second)
		w.posts("bob", 0)
		w.must(w.chat.SetField(room, "upscope_key", pageKey))
		w.pass(20 * time.Second)
		w.posts("bob", 0)
		w.chat.Say(room, "", "are you there?")
		w.deliverEvent("Message", room)
		w.pass(time.Second)
		w.posts("bob", 1)
	})
}

func TestAChatWithoutAKeyGetsNoCard(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		room := w.openChat(nil)
		w.bobTakes(room)
		w.pass(20 * time.Second)
		w.chat.CloseChat(room)
		w.deliverEvent("LivechatSession", room)
		w.pass(20 * time.Second)
		w.posts("bob", 0)
		if n := w.upscope.Requests()[upscopetest.List]; n != 0 {
			t.Errorf("%d searches without a clue, want none", n)
		}
	})
}

func TestAnUnknownKeyIsReportedOnOneCard(t *testing.T) {
	inWorld(t, func(w *world) {
		room := w.openChat(withPageKey())
		w.bobTakes(room)
		w.pass(10 * time.Second)
		w.posts("bob", 0) // the bridge is still searching
		w.pass(10 * time.Second)
		if text := w.posts("bob", 1); !strings.Contains(text, "Ann not found") {
			t.Errorf("the card reads %q", text)
		}
		bob := w.browser()
		door := w.door("bob")
		bob.follow(door).want(t, http.StatusOK, "Ann not found")
		w.ann()
		w.pass(3 * time.Second)
		bob.follow(door).want(t, http.StatusOK, "Co-browse with", "Ann Silva") // it searches again
		w.pass(time.Second)
		if text := w.posts("bob", 1); !strings.Contains(text, "Co-browse with Ann") {
			t.Errorf("the card reads %q", text)
		}
	})
}

func TestTheAgentChoosesAmongSeveralMatches(t *testing.T) {
	inWorld(t, func(w *world) {
		first := w.ann()
		second := w.upscope.Come(upscope.Visitor{Name: "Ann at work", Identities: []string{"rocketchat:" + pageKey}, LastURL: "https://shop.example.org/help", IsSupported: true})
		w.upscope.SetIntegrationIDs(second, "rocketchat:"+pageKey)
		stranger := w.upscope.Come(upscope.Visitor{Name: "Zoe", IsSupported: true})
		w.bobTakes(w.openChat(withPageKey()))
		if text := w.posts("bob", 1); !strings.Contains(text, "customers match") {
			t.Errorf("the card reads %q", text)
		}
		bob := w.browser()
		page := bob.follow(w.door("bob"))
		page.want(t, http.StatusOK, first, second, "Ann Silva", "Ann at work")
		if strings.Contains(page.body, "checked") {
			t.Error("a visitor is preselected")
		}
		for _, invalid := range []string{"", stranger, second} { // the last has no fingerprint
			bob.press(w.door("bob"), url.Values{"visitor": {invalid}}).want(t, http.StatusOK)
		}
		if w.upscope.Minted() != 0 {
			t.Fatal("a watch link was made although the agent chose no visitor")
		}
		chosen := regexp.MustCompile(`value="(` + second + `\.[0-9a-f]+)"`).FindStringSubmatch(page.body)
		if chosen == nil {
			t.Fatalf("no choice on the page: %s", page.body)
		}
		bob.press(w.door("bob"), url.Values{"visitor": {chosen[1]}}).wantWatch(t)
		if got := w.upscope.Watches(); len(got) != 1 || got[0].VisitorID != second {
			t.Errorf("watch links %+v, want one of %s", got, second)
		}
	})
}

func TestTheCardSaysThatTheVisitorIsOffline(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.upscope.Go(ann)
		room := w.openChat(withPageKey())
		w.bobTakes(room)
		if text := w.posts("bob", 1); !strings.Contains(text, "Ann is offline") {
			t.Errorf("the card reads %q", text)
		}
		bob := w.browser()
		door := w.door("bob")
		bob.follow(door).want(t, http.StatusOK, "is offline", "has not used it for some minutes")
		bob.press(door, url.Values{"visitor": {ann}}).want(t, http.StatusOK, "is offline")
		if w.upscope.Minted() != 0 {
			t.Fatal("a watch link was made for an offline visitor")
		}

		// The visitor is back online: the next message of the chat updates the card.
		w.upscope.Return(ann)
		w.pass(15 * time.Second)
		w.chat.Say(room, "", "back")
		w.deliverEvent("Message", room)
		w.pass(time.Second)
		if text := w.posts("bob", 1); !strings.Contains(text, "Co-browse with Ann") {
			t.Errorf("the card reads %q", text)
		}
	})
}

func TestAnAgentMayTryAlthoughTheVisitorIsOffline(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.upscope.Go(ann)
		w.bobTakes(w.openChat(withPageKey()))
		w.browser().press(w.door("bob"), url.Values{"visitor": {ann}, "anyway": {"1"}}).wantWatch(t)
	})
}

func TestALookupCodeNeverSkipsThePage(t *testing.T) {
	inWorld(t, func(w *world) {
		zoe := w.upscope.Come(upscope.Visitor{Name: "Zoe", LookupCode: "4821", IsSupported: true})
		w.upscope.SetLookupCode(zoe, "4821")
		w.bobTakes(w.openChat(map[string]string{"upscope_code": "4821"}))
		bob := w.browser()
		door := w.door("bob")
		bob.follow(door).want(t, http.StatusOK, "Zoe", "code")
		bob.press(door, url.Values{"visitor": {zoe}}).wantWatch(t)
		bob.follow(door).want(t, http.StatusOK, "Zoe")
	})
}

func TestPromise12LookupCodesTypedInAChatAreThrottled(t *testing.T) {
	inWorld(t, func(w *world) {
		room := w.openChat(nil)
		w.bobTakes(room)
		for n := range 40 {
			w.must(w.chat.SetField(room, "upscope_code", strings.Repeat("0", 2)+string(rune('0'+n/10))+string(rune('0'+n%10))))
			w.chat.Say(room, "", "again")
			w.deliverEvent("Message", room)
			w.pass(time.Second)
		}
		if n := w.upscope.Requests()[upscopetest.List]; n > 8 { // five codes, and the searches of the delivery that opened the card
			t.Errorf("%d codes were tried in 40 s", n)
		}
	})
}

func TestPromise9AnUpscopeOutageOnlyDelaysTheCard(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		w.upscope.Fail(upscopetest.List, upscopetest.Fault{Status: http.StatusServiceUnavailable}, -1)
		room := w.openChat(withPageKey())
		w.bobTakes(room)
		w.posts("bob", 0)
		w.pass(time.Minute)
		if text := w.posts("bob", 1); !strings.Contains(text, "cannot be looked up now") {
			t.Errorf("the card reads %q", text)
		}
		w.upscope.Heal()
		w.pass(5 * time.Minute)
		if text := w.posts("bob", 1); !strings.Contains(text, "Co-browse with Ann") {
			t.Errorf("the card reads %q", text)
		}
	})
}

func TestAFailedSearchAtUpscopeIsRetried(t *testing.T) {
	for name, fault := range map[string]upscopetest.Fault{
		"key refused":    {Status: http.StatusUnauthorized, Code: "invalid_api_key"},
		"rate limited":   {Status: http.StatusTooManyRequests, RetryAfter: "20"},
		"broken":         {Status: http.StatusInternalServerError},
		"a proxy's page": {Status: http.StatusBadGateway, Body: "<html>"},
		"hanging":        {Hang: true},
		"cut off":        {Truncate: true},
		"50 MB":          {Size: 50 << 20},
		"wrong types":    {WrongTypes: true},
		"nested":         {Depth: 100_000},
		"a redirect":     {RedirectTo: "https://evil.example/"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.ann()
				w.upscope.Fail(upscopetest.List, fault, 2)
				w.bobTakes(w.openChat(withPageKey()))
				w.posts("bob", 0)
				for range 2 {
					w.idle(time.Minute)
					w.pass(6 * time.Second) // River looks for due jobs every 5 s
				}
				if text := w.posts("bob", 1); !strings.Contains(text, "Co-browse with Ann") {
					t.Errorf("the card reads %q", text)
				}
			})
		})
	}
}

func TestPromise9ARocketChatOutageOnlyDelaysTheCard(t *testing.T) {
	for name, route := range map[string]string{"reading": "rooms.info", "writing": "chat.sendMessage"} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.ann()
				w.chat.Fail(route, rocketchattest.Fault{Status: http.StatusBadGateway}, 4)
				w.bobTakes(w.openChat(withPageKey()))
				w.posts("bob", 0)
				w.pass(5 * time.Minute)
				w.posts("bob", 1)
			})
		})
	}
}

// A workspace that does not reach Rocket.Chat's cloud for ten days refuses every message, until
// it has contact again.
func TestACardWaitsWhileTheWorkspaceIsReadOnly(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		w.chat.SetDaysLeft(0)
		room := w.openChat(withPageKey())
		w.bobTakes(room)
		w.pass(2 * time.Hour)
		w.posts("bob", 0)
		if log := w.log.String(); strings.Contains(log, "failed for good") || !strings.Contains(log, "(restricted-workspace)") || !strings.Contains(log, "the workspace is read-only") {
			t.Errorf("the log says %.2000s", log)
		}
		w.chat.SetDaysLeft(10)
		w.pass(2 * time.Hour)
		w.posts("bob", 1)

		// A change of the card waits too, and is no second message.
		w.chat.SetDaysLeft(0)
		w.chat.CloseChat(room)
		w.deliverEvent("LivechatSession", room)
		w.pass(2 * time.Hour)
		w.posts("bob", 1)
		w.chat.SetDaysLeft(10)
		w.pass(2 * time.Hour)
		if text := w.posts("bob", 1); !strings.Contains(text, "closed") || doorAddress.MatchString(text) {
			t.Errorf("the card reads %q", text)
		}
	})
}

// The bridge does not know every code of every version.
func TestACardThatIsRefusedWithAnUnknownCodeIsShownLater(t *testing.T) {
	for _, route := range []string{"rooms.info", "livechat/visitors.info", "im.create", "chat.sendMessage"} {
		t.Run(route, func(t *testing.T) {
			inWorld(t, func(w *world) {
				w.ann()
				refusals := 5
				if route == "chat.sendMessage" {
					w.chat.Fail("chat.update", rocketchattest.Fault{Status: http.StatusBadRequest, Body: `{"success":false,"error":"a-new-code"}`}, refusals)
				}
				w.chat.Fail(route, rocketchattest.Fault{Status: http.StatusBadRequest, Body: `{"success":false,"error":"a-new-code"}`}, refusals)
				w.bobTakes(w.openChat(withPageKey()))
				w.posts("bob", 0)
				w.pass(2 * time.Hour)
				w.posts("bob", 1)
				if !strings.Contains(w.log.String(), "(a-new-code)") {
					t.Error("the log does not name the code")
				}
			})
		})
	}
}

func TestAPostWhoseAnswerTimedOutIsNotPostedTwice(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		w.chat.Fail("chat.sendMessage", rocketchattest.Fault{Status: http.StatusBadGateway, Done: true}, 1)
		w.bobTakes(w.openChat(withPageKey()))
		w.pass(5 * time.Minute)
		w.posts("bob", 1)
	})
}

func TestARateLimitedMessageIsSentLater(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		w.chat.Fail("im.create", rocketchattest.Fault{Status: http.StatusTooManyRequests}, 1)
		w.bobTakes(w.openChat(withPageKey()))
		w.posts("bob", 0)
		w.pass(3 * time.Minute)
		w.posts("bob", 1)
	})
}
