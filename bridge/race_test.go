package bridge_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// pressWhile presses the door and calls something while the press waits for Upscope, which
// takes three seconds to answer.
func (b *browser) pressWhile(at upscopetest.Endpoint, door string, form url.Values, something func()) (got *answer) {
	b.upscope.Fail(at, upscopetest.Fault{Delay: 3 * time.Second}, 1)
	var pressing sync.WaitGroup
	pressing.Go(func() { got = b.press(door, form) })
	b.pass(time.Second)
	something()
	b.pass(time.Second)
	pressing.Wait()
	return got
}

func (w *world) auditedActions() (all []string) {
	w.Helper()
	for record, err := range w.store.AuditLog().After(w.Context(), 0) {
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
			w.deliverEvent("LivechatSession", room)
		}, "This chat is closed"},
		"handed over": {func(w *world, room string) {
			w.chat.Forward(room, "eve")
			w.deliverEvent("LivechatSessionForwarded", room)
		}, "another agent"},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				ann := w.ann()
				room := w.openChat(withPageKey())
				w.bobTakes(room)
				w.pass(10 * time.Second)
				got := w.browser().pressWhile(upscopetest.List, w.door("bob"), url.Values{"visitor": {ann}}, func() { test.change(w, room) })
				got.want(t, http.StatusGone, test.says)
				if w.upscope.Minted() != 0 || slices.Contains(w.auditedActions(), "watching") {
					t.Errorf("%d links, and the audit log has %v; want no watching", w.upscope.Minted(), w.auditedActions())
				}
			})
		})
	}
}

func TestAPressOnACardThatChangesMeanwhileIsAudited(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		room := w.openChat(withPageKey())
		w.upscope.Go(ann)
		w.bobTakes(room)
		w.pass(10 * time.Second)
		w.upscope.Return(ann)
		w.browser().pressWhile(upscopetest.Watch, w.door("bob"), url.Values{"visitor": {ann}}, func() {
			w.chat.Say(room, "", "hello") // makes the card ready
			w.deliverEvent("Message", room)
		}).wantWatch(t)
		w.pass(5 * time.Second)
		if got := w.auditedActions(); !slices.Contains(got, "watching") || slices.Contains(got, "not opened") {
			t.Errorf("audited %v", got)
		}
		if text := w.posts("bob", 1); !strings.Contains(text, "Waiting for") {
			t.Errorf("the card reads %q", text)
		}
	})
}

func TestLookAgainWhileTheChatClosesSaysThatItIsOver(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		room := w.openChat(withPageKey())
		w.upscope.Go(ann)
		w.bobTakes(room)
		w.pass(10 * time.Second)
		w.browser().pressWhile(upscopetest.List, w.door("bob"), url.Values{"look": {"1"}}, func() {
			w.chat.CloseChat(room)
			w.deliverEvent("LivechatSession", room)
		}).want(t, http.StatusGone, "This chat is closed")
	})
}

func TestADoubleClickOrALostAnswerDoesNotLockTheAgentOut(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		bob := w.browser()
		bob.follow(door)
		twice := func() *answer {
			r := bob.form(door, url.Values{"visitor": {ann}})
			r.Header.Set("Sec-Fetch-User", "?1")
			for _, c := range bob.cookies {
				r.AddCookie(&http.Cookie{Name: c.Name, Value: c.Value})
			}
			return w.do(r) // the cookies of the answer are lost
		}
		var pressing sync.WaitGroup
		for range 2 {
			pressing.Go(func() { twice().wantWatch(t) })
		}
		pressing.Wait()
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
	})
}

func TestADoorOpenedInTheRememberedBrowserIsRefusedInOthers(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		bob, thief := w.browser(), w.browser()
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		w.idle(31 * time.Minute)
		bob.press(door+"?renew=1", nil).want(t, http.StatusOK)
		w.pass(time.Second)
		fresh := w.door("bob")
		bob.press(fresh, url.Values{"visitor": {ann}}).wantWatch(t)
		thief.press(fresh, url.Values{"visitor": {ann}}).want(t, http.StatusForbidden)
		bob.follow(fresh).wantWatch(t)

		// The door stays the browser's: each use extends the time that the bridge remembers it.
		w.idle(12*time.Hour - 5*time.Minute)
		w.bobTakes(w.openChat(withPageKey()))
		later := w.door("bob")
		bob.follow(later).wantWatch(t)
		w.idle(6 * time.Minute)
		thief.press(later, url.Values{"visitor": {ann}}).want(t, http.StatusForbidden)
	})
}

func TestTheFormerAgentCannotTakeThePresentAgentsDoor(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		room := w.openChat(withPageKey())
		w.bobTakes(room)
		bobs := w.door("bob")
		w.chat.Forward(room, "eve")
		w.deliverEvent("LivechatSessionForwarded", room)
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

func TestAnAgentGoesStraightOnOnlyIfOneVisitorMatches(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		bob := w.browser()
		bob.press(door, url.Values{"visitor": {ann}}).wantWatch(t)
		w.pass(10 * time.Second)
		w.ann() // another browser with her key
		bob.follow(door).want(t, http.StatusOK, "Which customer are you helping?", "Ann Silva")
		if n := w.upscope.Minted(); n != 1 {
			t.Errorf("%d links, want only the first", n)
		}
	})
}

func TestAChosenVisitorWhoChangedIsNotWatched(t *testing.T) {
	inWorld(t, func(w *world) {
		first := w.ann()
		w.ann()
		w.bobTakes(w.openChat(withPageKey()))
		bob := w.browser()
		chosen := firstFormValue(t, bob.follow(w.door("bob")))
		id, _, _ := strings.Cut(chosen, ".")
		w.upscope.SetUniqueID(id, "somebody-else")
		w.pass(10 * time.Second)
		bob.press(w.door("bob"), url.Values{"visitor": {chosen}}).want(t, http.StatusOK)
		if w.upscope.Minted() != 0 {
			t.Errorf("a watch link was made in place of %s", first)
		}
	})
}

func TestAPermanentFailureAtOnePlaceDoesNotStopTheCardAtAnother(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		room := w.openChat(withPageKey())
		w.bobTakes(room)
		// Bob's account is deactivated, and the first message to Eve fails.
		w.chat.Fail("chat.update", rocketchattest.Fault{Status: http.StatusBadRequest, Body: `{"success":false,"error":"x","errorType":"error-invalid-user"}`}, 1)
		w.chat.Fail("chat.sendMessage", rocketchattest.Fault{Status: http.StatusBadGateway}, 1)
		w.chat.Forward(room, "eve")
		w.deliverEvent("LivechatSessionForwarded", room)
		w.pass(15 * time.Second)
		w.posts("eve", 1)
	})
}

func TestAPostWhoseAnswerWasLostLosesItsDoorAtAHandOver(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		room := w.openChat(withPageKey())
		w.chat.Fail("chat.sendMessage", rocketchattest.Fault{Status: http.StatusBadGateway, Done: true}, 1)
		w.chat.Fail("chat.update", rocketchattest.Fault{Status: http.StatusBadGateway}, 1)
		w.chat.Take(room, "bob")
		w.deliverEvent("LivechatSessionTaken", room)
		w.pass(500 * time.Millisecond)
		w.chat.Forward(room, "eve")
		w.deliverEvent("LivechatSessionForwarded", room)
		w.pass(30 * time.Second)
		if text := w.posts("bob", 1); doorAddress.MatchString(text) {
			t.Errorf("bob's message still has a door: %q", text)
		}
		w.posts("eve", 1)
	})
}

func TestARateLimitAtUpscopeDoesNotDelayAHandOver(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.upscope.Go(ann)
		room := w.openChat(withPageKey())
		w.bobTakes(room)
		w.posts("bob", 1)
		w.pass(10 * time.Second)
		w.upscope.Fail(upscopetest.List, upscopetest.Fault{Status: http.StatusTooManyRequests, RetryAfter: "5"}, -1)
		w.chat.Forward(room, "eve")
		w.deliverEvent("LivechatSessionForwarded", room)
		w.pass(2 * time.Second)
		if text := w.posts("bob", 1); !strings.Contains(text, "moved") {
			t.Errorf("bob's card reads %q", text)
		}
		w.posts("eve", 1)
		w.wantTrouble("answer retrying")
	})
}

func TestAnAgentIsToldWhenUpscopesRateLimitLasts(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		w.upscope.Fail(upscopetest.List, upscopetest.Fault{Status: http.StatusTooManyRequests, RetryAfter: "5"}, -1)
		w.bobTakes(w.openChat(withPageKey()))
		w.pass(40 * time.Second)
		if text := w.posts("bob", 1); !strings.Contains(text, "cannot be looked up now") {
			t.Errorf("the card reads %q", text)
		}
		w.wantTrouble("answer retrying")
	})
}

func TestTheSearchForAVisitorWithANewIDUsesNoCache(t *testing.T) {
	inWorld(t, func(w *world) {
		ann, door := bobHasCard(w)
		again := w.upscope.Reset(ann)
		w.upscope.SetIdentities(again, "rocketchat:"+pageKey)
		w.upscope.SetIntegrationIDs(again, "rocketchat:"+pageKey)
		w.upscope.Expire(ann)
		w.pass(5500 * time.Millisecond)
		w.browser().press(door, url.Values{"visitor": {ann}}).want(t, http.StatusOK, again)
	})
}

func TestARightCodeAfterAWrongOneIsLookedUp(t *testing.T) {
	inWorld(t, func(w *world) {
		zoe := w.upscope.Come(upscope.Visitor{Name: "Zoe", IsSupported: true})
		w.upscope.SetLookupCode(zoe, "4821")
		room := w.openChat(map[string]string{"upscope_code": "4812"})
		w.bobTakes(room)
		w.pass(20 * time.Second)
		w.must(w.chat.SetField(room, "upscope_code", "4821"))
		w.chat.Say(room, "", "4821, sorry")
		w.deliverEvent("Message", room)
		w.pass(time.Second)
		if text := w.posts("bob", 1); !strings.Contains(text, "Co-browse with") {
			t.Errorf("the card reads %q", text)
		}
	})
}

func TestALookupCodeIsNotLookedUpAgainLater(t *testing.T) {
	inWorld(t, func(w *world) {
		zoe := w.upscope.Come(upscope.Visitor{Name: "Zoe", IsSupported: true})
		w.upscope.SetLookupCode(zoe, "4821")
		room := w.openChat(map[string]string{"upscope_code": "4821"})
		w.bobTakes(room)
		w.upscope.Expire(zoe)
		yan := w.upscope.Come(upscope.Visitor{Name: "Yan", IsSupported: true})
		w.upscope.SetLookupCode(yan, "4821")
		w.pass(10 * time.Second)
		w.browser().press(w.door("bob"), url.Values{"visitor": {zoe}}).want(t, http.StatusNotFound)
		w.idle(20 * time.Minute)
		w.chat.Say(room, "", "hello?")
		w.deliverEvent("Message", room)
		w.pass(time.Second)
		if got := w.browser().follow(w.door("bob")); strings.Contains(got.body, "Yan") {
			t.Error("the code led to another visitor")
		}
	})
}

func TestAClosedCardKeepsNoDataOfTheVisitor(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		room := w.openChat(withPageKey())
		w.bobTakes(room)
		w.chat.CloseChat(room)
		w.deliverEvent("LivechatSession", room)
		w.pass(time.Second)
		c, err := w.store.CardOfChat(w.Context(), "rocketchat", store.KindChat, room)
		w.must(err)
		for _, personal := range []string{pageKey, "Lisbon", "shop.example.org", "Silva"} {
			if strings.Contains(string(c.Detail), personal) {
				t.Errorf("the closed card still has %q", personal)
			}
		}
	})
}

func TestAHandOverRefusesAPressWhateverUpscopeAnswers(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		room := w.openChat(withPageKey())
		w.bobTakes(room)
		w.pass(10 * time.Second)
		w.upscope.Expire(ann)
		w.chat.Forward(room, "eve")
		w.browser().press(w.door("bob"), url.Values{"visitor": {ann}}).want(t, http.StatusGone, "another agent")
	})
}
