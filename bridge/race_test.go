package bridge_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// during does something while a press of the door waits for an answer of
// Upscope that takes three seconds.
func (b *browser) during(at upscopetest.Endpoint, door string, form url.Values, something func()) (got *answer) {
	b.upscope.Fail(at, upscopetest.Fault{Delay: 3 * time.Second}, 1)
	var pressing sync.WaitGroup
	pressing.Go(func() { got = b.press(door, form) })
	b.pass(time.Second)
	something()
	b.pass(time.Second)
	pressing.Wait()
	return got
}

func (w *world) actions() (all []string) {
	w.Helper()
	for record, err := range w.store.Audit(w.Context(), 0) {
		w.must(err)
		all = append(all, record.Action)
	}
	return all
}

func TestAChatThatEndsWhileItsDoorIsPressedIsNotWatched(t *testing.T) {
	for name, test := range map[string]struct {
		change func(w *world, room string)
		says   string
	}{
		"closed": {func(w *world, room string) {
			w.chat.CloseChat(room)
			w.tells("LivechatSession", room)
		}, "This chat is over"},
		"handed over": {func(w *world, room string) {
			w.chat.Forward(room, "eve")
			w.tells("LivechatSessionForwarded", room)
		}, "another agent"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				ann := w.ann()
				room := w.opens(keyed())
				w.taken(room)
				w.pass(10 * time.Second)
				got := w.browser().during(upscopetest.List, w.door("bob"), url.Values{"visitor": {ann}}, func() { test.change(w, room) })
				got.want(t, http.StatusGone, test.says)
				if w.upscope.Minted() != 0 || slices.Contains(w.actions(), "watching") {
					t.Errorf("%d links, %v", w.upscope.Minted(), w.actions())
				}
			})
		})
	}
}

func TestACardThatChangesWhileItsDoorIsPressedIsWatchedOnTheRecord(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		room := w.opens(keyed())
		w.upscope.Go(ann)
		w.taken(room)
		w.pass(10 * time.Second)
		w.upscope.Return(ann)
		w.browser().during(upscopetest.Watch, w.door("bob"), url.Values{"visitor": {ann}}, func() {
			w.chat.Say(room, "", "hello") // makes the card ready
			w.tells("Message", room)
		}).wantWatch(t)
		w.pass(5 * time.Second)
		if got := w.actions(); !slices.Contains(got, "watching") || slices.Contains(got, "not opened") {
			t.Errorf("recorded %v", got)
		}
		if text := w.posts("bob", 1); !strings.Contains(text, "Co-browsing with") {
			t.Errorf("the card reads %q", text)
		}
	})
}

func TestALookThatMeetsAClosingChatSaysSo(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		room := w.opens(keyed())
		w.upscope.Go(ann)
		w.taken(room)
		w.pass(10 * time.Second)
		w.browser().during(upscopetest.List, w.door("bob"), url.Values{"look": {"1"}}, func() {
			w.chat.CloseChat(room)
			w.tells("LivechatSession", room)
		}).want(t, http.StatusGone, "This chat is over")
	})
}

func TestADoubleClickOrALostAnswerDoesNotLockTheAgentOut(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := ready(w)
		bob := w.browser()
		bob.follow(door)
		twice := func() *answer {
			r := bob.form(door, url.Values{"visitor": {ann}})
			r.Header.Set("Sec-Fetch-User", "?1")
			for _, c := range bob.cookies {
				r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
			}
			return w.do(r) // whose cookies are lost
		}
		var pressing sync.WaitGroup
		for range 2 {
			pressing.Go(func() { twice().wantWatch(t) })
		}
		pressing.Wait()
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
	})
}

func TestADoorOpenedByTheRememberedBrowserIsNobodyElses(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := ready(w)
		bob, thief := w.browser(), w.browser()
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		w.idle(31 * time.Minute)
		bob.press(door+"?renew=1", nil).want(t, http.StatusOK)
		w.pass(time.Second)
		fresh := w.door("bob")
		bob.press(fresh, url.Values{"visitor": {ann}}).wantWatch(t)
		thief.press(fresh, url.Values{"visitor": {ann}}).want(t, http.StatusForbidden)
		bob.follow(fresh).wantWatch(t)

		// Nor when the browser would have been forgotten, had it not been used.
		w.idle(12*time.Hour - 5*time.Minute)
		w.taken(w.opens(keyed()))
		later := w.door("bob")
		bob.follow(later).wantWatch(t)
		w.idle(6 * time.Minute)
		thief.press(later, url.Values{"visitor": {ann}}).want(t, http.StatusForbidden)
	})
}

func TestTheFormerAgentCannotTakeThePresentAgentsDoor(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		room := w.opens(keyed())
		w.taken(room)
		bobs := w.door("bob")
		w.chat.Forward(room, "eve")
		w.tells("LivechatSessionForwarded", room)
		w.pass(time.Second)
		eve := w.browser()
		w.idle(31 * time.Minute)
		eve.press(w.door("eve")+"?renew=1", nil).want(t, http.StatusOK)
		w.pass(time.Second)
		eve.press(w.door("eve"), url.Values{"visitor": {ann}}).wantWatch(t)
		w.idle(2 * time.Minute)
		bob := w.browser()
		bob.follow(bobs).want(t, http.StatusGone, "another agent")
		bob.press(bobs+"?renew=1", nil).want(t, http.StatusGone, "another agent")
		eve.follow(w.door("eve")).wantWatch(t)
	})
}

func TestAnAgentGoesStraightOnOnlyToTheOnlyOne(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := ready(w)
		bob := w.browser()
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		w.pass(10 * time.Second)
		w.ann() // another browser with her key
		bob.follow(door).want(t, http.StatusOK, "Which visitor are you chatting with?", "Ann Silva")
		if n := w.upscope.Minted(); n != 1 {
			t.Errorf("%d links", n)
		}
	})
}

func TestAChoiceIsOfWhomThePageShowed(t *testing.T) {
	inWorld(t, func(w *world) {
		first := w.ann()
		w.ann()
		w.taken(w.opens(keyed()))
		bob := w.browser()
		chosen := shown(t, bob.follow(w.door("bob")))
		id, _, _ := strings.Cut(chosen, ".")
		w.upscope.SetUniqueID(id, "somebody-else")
		w.pass(10 * time.Second)
		bob.press(w.door("bob"), url.Values{"visitor": {chosen}}).want(t, http.StatusOK)
		if w.upscope.Minted() != 0 {
			t.Errorf("somebody was watched in the place of %s", first)
		}
	})
}

func TestOnePlaceThatFailsForGoodDoesNotCostAnotherItsCard(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		room := w.opens(keyed())
		w.taken(room)
		// Bob was deactivated, and Eve's message fails once.
		w.chat.Fail("chat.update", rocketchattest.Fault{Status: http.StatusBadRequest, Body: `{"success":false,"error":"x","errorType":"error-invalid-user"}`}, 1)
		w.chat.Fail("im.create", rocketchattest.Fault{Status: http.StatusBadRequest, Body: `{"success":false,"error":"x","errorType":"error-invalid-user"}`}, 1)
		w.chat.Fail("chat.sendMessage", rocketchattest.Fault{Status: http.StatusBadGateway}, 1)
		w.chat.Forward(room, "eve")
		w.tells("LivechatSessionForwarded", room)
		w.pass(15 * time.Second)
		w.posts("eve", 1)
	})
}

func TestAPostWhoseAnswerWasLostIsTakenBackAtAHandOver(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		room := w.opens(keyed())
		w.chat.Fail("chat.sendMessage", rocketchattest.Fault{Status: http.StatusBadGateway, Done: true}, 1)
		w.chat.Fail("chat.update", rocketchattest.Fault{Status: http.StatusBadGateway}, 1)
		w.chat.Take(room, "bob")
		w.tells("LivechatSessionTaken", room)
		w.pass(500 * time.Millisecond)
		w.chat.Forward(room, "eve")
		w.tells("LivechatSessionForwarded", room)
		w.pass(30 * time.Second)
		if text := w.posts("bob", 1); doorAddress.MatchString(text) {
			t.Errorf("bob keeps a door: %q", text)
		}
		w.posts("eve", 1)
	})
}

func TestAThrottlingUpscopeDoesNotHoldUpAHandOver(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.upscope.Go(ann)
		room := w.opens(keyed())
		w.taken(room)
		w.posts("bob", 1)
		w.pass(10 * time.Second)
		w.upscope.Fail(upscopetest.List, upscopetest.Fault{Status: http.StatusTooManyRequests, RetryAfter: "5"}, -1)
		w.chat.Forward(room, "eve")
		w.tells("LivechatSessionForwarded", room)
		w.pass(2 * time.Second)
		if text := w.posts("bob", 1); !strings.Contains(text, "moved") {
			t.Errorf("bob's card reads %q", text)
		}
		w.posts("eve", 1)
	})
}

func TestAnAgentIsToldWhenUpscopeThrottlesForLong(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		w.upscope.Fail(upscopetest.List, upscopetest.Fault{Status: http.StatusTooManyRequests, RetryAfter: "5"}, -1)
		w.taken(w.opens(keyed()))
		w.pass(40 * time.Second)
		if text := w.posts("bob", 1); !strings.Contains(text, "not available") {
			t.Errorf("the card reads %q", text)
		}
	})
}

func TestLookingAgainAsksAndDoesNotRemember(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := ready(w)
		again := w.upscope.Reset(ann)
		w.upscope.SetIdentities(again, "rocketchat:"+pageKey)
		w.upscope.SetIntegrationIDs(again, "rocketchat:"+pageKey)
		w.upscope.Expire(ann)
		w.pass(5500 * time.Millisecond)
		w.browser().press(door, url.Values{"visitor": {ann}}).want(t, http.StatusOK, again)
	})
}

func TestARightCodeAfterAWrongOneIsFollowed(t *testing.T) {
	inWorld(t, func(w *world) {
		zoe := w.upscope.Come(upscope.Visitor{Name: "Zoe", IsSupported: true})
		w.upscope.SetLookupCode(zoe, "4821")
		room := w.opens(map[string]string{"upscope_code": "4812"})
		w.taken(room)
		w.pass(20 * time.Second)
		w.must(w.chat.SetField(room, "upscope_code", "4821"))
		w.chat.Say(room, "", "4821, sorry")
		w.tells("Message", room)
		w.pass(time.Second)
		if text := w.posts("bob", 1); !strings.Contains(text, "Co-browse with") {
			t.Errorf("the card reads %q", text)
		}
	})
}

func TestALookupCodeIsNotFollowedAgainLater(t *testing.T) {
	inWorld(t, func(w *world) {
		zoe := w.upscope.Come(upscope.Visitor{Name: "Zoe", IsSupported: true})
		w.upscope.SetLookupCode(zoe, "4821")
		room := w.opens(map[string]string{"upscope_code": "4821"})
		w.taken(room)
		w.upscope.Expire(zoe)
		yan := w.upscope.Come(upscope.Visitor{Name: "Yan", IsSupported: true})
		w.upscope.SetLookupCode(yan, "4821")
		w.pass(10 * time.Second)
		w.browser().press(w.door("bob"), url.Values{"visitor": {zoe}}).want(t, http.StatusNotFound)
		w.idle(20 * time.Minute)
		w.chat.Say(room, "", "hello?")
		w.tells("Message", room)
		w.pass(time.Second)
		if got := w.browser().follow(w.door("bob")); strings.Contains(got.body, "Yan") {
			t.Error("the code led to somebody else")
		}
	})
}

func TestAClosedCardForgetsWhoTheVisitorWas(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		room := w.opens(keyed())
		w.taken(room)
		w.chat.CloseChat(room)
		w.tells("LivechatSession", room)
		w.pass(time.Second)
		c, err := w.store.CardOfChat(w.Context(), "rocketchat", room)
		w.must(err)
		for _, personal := range []string{pageKey, "Lisbon", "shop.example.org", "Silva"} {
			if strings.Contains(string(c.Detail), personal) {
				t.Errorf("the card keeps %q", personal)
			}
		}
	})
}

func TestTheChatDecidesBeforeWhatUpscopeSays(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		room := w.opens(keyed())
		w.taken(room)
		w.pass(10 * time.Second)
		w.upscope.Expire(ann)
		w.chat.Forward(room, "eve")
		w.browser().press(w.door("bob"), url.Values{"visitor": {ann}}).want(t, http.StatusGone, "another agent")
	})
}
