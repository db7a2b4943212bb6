package bridge_test

import (
	"context"
	"crypto/rand"
	"database/sql"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/store/refreshes"
	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope"
	"cobrowse-bridge/upscope/upscopetest"
)

// bobWaits has bob ask to be told when ann, who is offline, is back online.
func (w *world) bobWaits() (bob *browser, ann, room string) {
	w.Helper()
	bob, ann, room = w.browser(), w.ann(), w.openChat(withPageKey())
	w.upscope.Go(ann)
	w.bobTakes(room)
	w.reads("bob", "is offline")
	bob.follow(w.door("bob")).want(w, http.StatusOK, "Tell me when the customer is back")
	bob.press(w.door("bob"), url.Values{"tell": {"1"}}).want(w, http.StatusOK, "Waiting for the customer to come back")
	return bob, ann, room
}

// backMessages counts the messages to an agent that a visitor is back.
func (w *world) backMessages(username string) (n int) {
	for _, p := range w.chat.Posts(username) {
		if strings.Contains(p.Text, "is back") {
			n++
		}
	}
	return n
}

func TestAnAgentIsToldOnceThatTheVisitorIsBack(t *testing.T) {
	inWorld(t, func(w *world) {
		_, ann, _ := w.bobWaits()
		w.pass(2 * time.Minute)
		if w.backMessages("bob") != 0 {
			t.Fatal("bob was told before ann was back")
		}
		w.upscope.Return(ann)
		w.pass(30 * time.Second)
		text := w.posts("bob", 2)
		if !strings.Contains(text, "Ann is back") || !strings.Contains(text, "[Co-browse]") {
			t.Errorf("bob is told %q", text)
		}
		if first := w.chat.Posts("bob")[0].Text; !strings.Contains(first, "Co-browse with Ann") {
			t.Errorf("the card reads %q", first)
		}
		w.posts("eve", 0)

		w.upscope.Go(ann)
		w.pass(time.Minute)
		w.upscope.Return(ann)
		w.pass(2 * time.Minute)
		if n := w.backMessages("bob"); n != 1 {
			t.Errorf("bob was told %d times, want once", n)
		}
	})
}

func TestTheMessageThatTheVisitorIsBackLeadsToTheirScreen(t *testing.T) {
	inWorld(t, func(w *world) {
		bob, ann, _ := w.bobWaits()
		w.upscope.Return(ann)
		w.pass(30 * time.Second)
		bob.press(w.door("bob"), url.Values{"visitor": {ann}}).wantWatch(t)
	})
}

func TestAVisitorWhoReturnsUnderAnotherIDIsFoundByTheirKey(t *testing.T) {
	inWorld(t, func(w *world) {
		bob, _, _ := w.bobWaits()
		fresh := w.ann() // the same page key, another short id
		w.pass(30 * time.Second)
		if w.backMessages("bob") != 1 {
			t.Fatal("bob was not told")
		}
		bob.follow(w.door("bob")).want(t, http.StatusOK, fresh+".")
	})
}

func TestWaitingForAVisitorStopsByItself(t *testing.T) {
	for name, stop := range map[string]func(w *world, bob *browser, ann, room string){
		"after an hour": func(w *world, _ *browser, _, _ string) { w.idle(61 * time.Minute) },
		"when the chat is closed": func(w *world, _ *browser, _, room string) {
			w.chat.CloseChat(room)
			w.deliverEvent("LivechatSession", room)
			w.pass(time.Second)
		},
		"when another agent has the chat": func(w *world, _ *browser, _, room string) {
			w.chat.Forward(room, "eve")
			w.deliverEvent("LivechatSessionForwarded", room)
			w.pass(time.Second)
		},
		"when a session began": func(w *world, bob *browser, ann, _ string) {
			bob.press(w.door("bob"), url.Values{"visitor": {ann}, "anyway": {"1"}}).wantWatch(w)
		},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				bob, ann, room := w.bobWaits()
				stop(w, bob, ann, room)
				w.pass(30 * time.Second)
				before := w.callsTo(upscopetest.List)
				w.pass(90 * time.Second)
				if n := w.callsTo(upscopetest.List) - before; n > 1 { // one is the refresh of the card
					t.Errorf("%d more searches, want at most 1", n)
				}
				w.upscope.Return(ann)
				w.pass(time.Minute)
				if w.backMessages("bob")+w.backMessages("eve") != 0 {
					t.Error("an agent was told")
				}
			})
		})
	}
}

func TestAnAgentIsToldOnceAfterARestart(t *testing.T) {
	inWorld(t, func(w *world) {
		_, ann, _ := w.bobWaits()
		w.pass(10 * time.Second)
		w.stop()
		w.upscope.Return(ann)
		<-time.After(5 * time.Minute)
		w.run()
		w.pass(30 * time.Second)
		w.stop()
		w.run()
		w.pass(30 * time.Second)
		if n := w.backMessages("bob"); n != 1 {
			t.Errorf("bob was told %d times, want once", n)
		}
	})
}

func TestWaitingAgentsAreToldInTimeWithFewCalls(t *testing.T) {
	n := howMany(t, "BRIDGE_TEST_AGENTS", 200)
	inWorld(t, func(w *world) {
		visitors, names := make([]string, n), make([]string, n)
		for i := range n {
			key, agent := rand.Text(), fmt.Sprint("agent", i)
			names[i] = agent
			w.chat.AddUser(rocketchattest.User{ID: "u" + agent, Username: agent, Name: agent, Roles: []string{"user", "livechat-agent"}})
			visitors[i] = w.upscope.Come(upscope.Visitor{Name: "Ann", Identities: []string{"rocketchat:" + key}, IsSupported: true})
			w.upscope.SetIntegrationIDs(visitors[i], "rocketchat:"+key)
			w.upscope.Go(visitors[i])
			room := w.openChat(map[string]string{"upscope_key": key})
			w.chat.Take(room, agent)
			w.deliverEvent("LivechatSessionTaken", room)
		}
		w.pass(20 * time.Second)
		for _, agent := range names {
			w.browser().press(w.door(agent), url.Values{"tell": {"1"}}).want(t, http.StatusOK, "Waiting for the customer to come back")
		}
		w.pass(30 * time.Second)
		before := len(w.upscope.Calls())
		<-time.After(time.Minute)
		if calls := len(w.upscope.Calls()) - before; calls > min(2400+200, 3*n) { // 200 for refreshes of the cards
			t.Errorf("%d calls to Upscope in a minute for %d agents", calls, n)
		}
		for _, v := range visitors {
			w.upscope.Return(v)
		}
		<-time.After(30 * time.Second)
		late := 0
		for _, agent := range names {
			if w.backMessages(agent) != 1 {
				late++
			}
		}
		if late > 0 {
			t.Errorf("%d of %d agents were not told within 30 s", late, n)
		}
	})
}

func TestTheCardsPresenceIsRefreshedWithFewCalls(t *testing.T) {
	if testing.Short() {
		t.Skip("follows a card for hours")
	}
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.bobTakes(w.openChat(withPageKey()))
		w.pass(10 * time.Second)
		w.upscope.Go(ann)
		before := len(w.upscope.Calls())
		w.pass(2*time.Minute + 10*time.Second)
		w.reads("bob", "Ann is offline")
		w.upscope.Return(ann)
		w.pass(6 * time.Minute)
		w.reads("bob", "Co-browse with Ann")
		w.pass(3 * time.Hour)
		if n := len(w.upscope.Calls()) - before; n > 5 {
			t.Errorf("%d calls to Upscope for a card without a press, want at most 5", n)
		}
	})
}

// addDueCards adds n cards, each with a visitor of its own whom Upscope does not know. The first has been due
// since the given time, and each other one for a microsecond less. It returns the visitors in that order.
func (w *world) addDueCards(n int, since time.Time) (visitors []string) {
	w.Helper()
	var all errgroup.Group
	all.SetLimit(200)
	for i := range n {
		c := store.Card{
			ID: fmt.Sprintf("card-%05d", n-i), Connector: "rocketchat", Kind: store.KindLookUp, Chat: fmt.Sprint(i),
			Visitor: fmt.Sprintf("gone%05d", i), State: string(card.Ready), Detail: []byte("{}"),
		}
		visitors = append(visitors, c.Visitor)
		refresh := refreshes.Refresh{Card: c.ID, Due: since.Add(time.Duration(i) * time.Microsecond)}
		all.Go(func() error { return w.store.Commit(w.Context(), store.Change{Card: &c, Refresh: &refresh}) })
	}
	w.must(all.Wait())
	return visitors
}

// visitorsRead returns the visitors that Upscope was asked about by their short id.
func (w *world) visitorsRead() (visitors []string) {
	for _, c := range w.upscope.Calls() {
		if c.Endpoint == upscopetest.Visitor {
			visitors = append(visitors, path.Base(c.RequestURI))
		}
	}
	return visitors
}

// refreshesIn returns the number of refreshes with a condition.
func (w *world) refreshesIn(condition string) (n int) {
	w.Helper()
	db, err := sql.Open("sqlite", "file:"+w.file)
	w.must(err)
	w.must(errors.Join(db.QueryRowContext(w.Context(), "SELECT count(*) FROM refreshes WHERE "+condition).Scan(&n), db.Close()))
	return n
}

func TestACrowdOfDueCardsCostsLittle(t *testing.T) {
	const crowd, seconds = 5000, 60
	inWorld(t, func(w *world) {
		w.pass(time.Second)
		visitors := w.addDueCards(crowd, time.Now())
		reads, writes := w.databaseReads(), w.databaseWrites()
		<-time.After(seconds * time.Second)
		read := w.visitorsRead()
		if n := len(read); n < 2*(seconds-6) || n > 2*(seconds+1) {
			t.Errorf("%d visitors were read in %d s, want 2 in a second", n, seconds)
		}
		// Those of a second are read at the same time.
		for i, visitor := range read {
			if visitor != visitors[i] && visitor != visitors[i^1] {
				t.Fatalf("visitor %d is %s, want the one that was due first", i, visitor)
			}
		}
		// Each second one read of the refreshes and one of each card, and one transaction. The rest is other work.
		if reads, writes := w.databaseReads()-reads, w.databaseWrites()-writes; reads > 5*seconds || writes > 2*seconds {
			t.Errorf("%d reads and %d transactions of the database in %d s", reads, writes, seconds)
		}
		before := w.databaseWrites()
		<-time.After(2 * time.Minute) // those that are left are late now
		if n := w.refreshesIn("step = 0"); n != 0 {
			t.Errorf("%d cards still have their first refresh", n)
		}
		if n := w.refreshesIn("step = 1"); n != crowd {
			t.Errorf("%d cards have their second refresh", n)
		}
		if n := w.databaseWrites() - before; n > 2*120+crowd/100 {
			t.Errorf("%d transactions until the rest were skipped", n)
		}
		asked := len(w.visitorsRead())
		<-time.After(time.Minute)
		if n := len(w.visitorsRead()) - asked; n > 2 {
			t.Errorf("%d visitors were read although none is due", n)
		}
	})
}

func TestReplicasReadEachDueCardOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		other, err := bridge.New(w.config)
		w.must(err)
		ctx, cancel := context.WithCancel(w.Context())
		done := make(chan error, 1)
		go func() { done <- other.Run(ctx) }()
		w.pass(time.Second)
		visitors := w.addDueCards(100, time.Now())
		<-time.After(time.Minute)
		read := w.visitorsRead()
		slices.Sort(read)
		if !slices.Equal(read, visitors) {
			t.Errorf("the replicas read %d visitors, want each of %d once: %q", len(read), len(visitors), read)
		}
		cancel()
		w.must(<-done)
	})
}

func TestACardIsRefreshedAfterARestart(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.bobTakes(w.openChat(withPageKey()))
		w.pass(10 * time.Second)
		w.stop()
		w.upscope.Go(ann)
		<-time.After(3 * time.Hour)
		w.restart()
		w.pass(5 * time.Second)
		w.reads("bob", "Ann is offline")
		w.upscope.Return(ann)
		w.pass(5*time.Minute + 10*time.Second)
		w.reads("bob", "Co-browse with Ann")
	})
}

// A replica of the version before has no table for refreshes, but makes a job for each.
func TestARefreshJobOfTheVersionBeforeIsContinued(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		room := w.openChat(withPageKey())
		w.bobTakes(room)
		w.pass(10 * time.Second)
		c, err := w.store.CardOfChat(w.Context(), "rocketchat", store.KindChat, room)
		w.must(err)
		w.sql("DELETE FROM refreshes")
		w.must(w.store.Commit(w.Context(), store.Change{Jobs: []jobs.Job{
			{Queue: "rocketchat", Kind: "refresh", Subject: c.ID, Step: 2, At: time.Now().Add(time.Minute)},
		}}))
		w.upscope.Go(ann)
		w.pass(time.Minute + 15*time.Second)
		w.reads("bob", "Ann is offline")
		if w.refreshesIn("step = 3") != 1 {
			t.Error("the card has no next refresh")
		}
	})
}

func TestWithoutDueCardsTheDatabaseIsReadRarely(t *testing.T) {
	inWorld(t, func(w *world) {
		w.ann()
		w.bobTakes(w.openChat(withPageKey()))
		w.pass(10 * time.Second)
		reads, writes := w.databaseReads(), w.databaseWrites()
		<-time.After(time.Minute)
		// The search for waiting agents makes 60, and other work a few.
		if n := w.databaseReads() - reads; n > 60+30 {
			t.Errorf("%d reads of the database in a minute in which nothing is due", n)
		}
		if n := w.databaseWrites() - writes; n != 0 {
			t.Errorf("%d transactions in a minute in which nothing is due", n)
		}
	})
}

func TestOpeningThePageRefreshesTheCard(t *testing.T) {
	inWorld(t, func(w *world) {
		ann := w.ann()
		w.bobTakes(w.openChat(withPageKey()))
		w.pass(10 * time.Second)
		w.upscope.Go(ann)
		w.browser().follow(w.door("bob")).want(t, http.StatusOK, "is offline")
		w.pass(time.Second)
		w.reads("bob", "Ann is offline")
		if w.upscope.Minted() != 0 {
			t.Error("opening the page made a watch link")
		}
	})
}

func TestTellMeWorksAfterASession(t *testing.T) {
	inWorld(t, func(w *world) {
		bob, _, session := w.startSession()
		w.pass(sessionsWait)
		w.upscope.Go(w.visitor)
		w.upscope.End(session, 0)
		w.pass(time.Minute)
		bob.follow(w.door("bob")).want(t, http.StatusOK, "Tell me when the customer is back")
		bob.press(w.door("bob"), url.Values{"tell": {"1"}}).want(t, http.StatusOK, "Waiting for the customer to come back")
		w.pass(10 * time.Second)
		w.upscope.Return(w.visitor)
		w.pass(30 * time.Second)
		if w.backMessages("bob") != 1 {
			t.Errorf("bob was told %d times, want once", w.backMessages("bob"))
		}
	})
}

func TestACardThatWasNotReadyAtFirstIsRefreshedToo(t *testing.T) {
	inWorld(t, func(w *world) {
		room := w.openChat(withPageKey())
		w.bobTakes(room)
		w.pass(20 * time.Second)
		w.reads("bob", "Ann not found")
		ann := w.ann()
		w.browser().press(w.door("bob"), url.Values{"look": {"1"}}).want(t, http.StatusOK, "Co-browse with")
		w.pass(time.Second)
		w.reads("bob", "Co-browse with Ann")
		w.upscope.Go(ann)
		w.pass(2*time.Minute + 10*time.Second)
		w.reads("bob", "Ann is offline")
	})
}

func TestPromise7ARefreshInTheBackgroundLeadsToNoOtherVisitor(t *testing.T) {
	inWorld(t, func(w *world) {
		bob, room, session := w.startSession()
		w.pass(sessionsWait)
		w.upscope.End(session, 0)
		w.chat.CloseChat(room)
		w.deliverEvent("LivechatSession", room)
		w.pass(time.Second)

		// The bridge remembers bob's browser now, which normally skips the page.
		w.bobTakes(w.openChat(withPageKey()))
		zoe := w.upscope.Come(upscope.Visitor{
			Name: "Zoe", UniqueID: "cust-1", Identities: []string{"rocketchat:" + pageKey}, IsSupported: true,
		})
		w.upscope.SetIntegrationIDs(zoe, "rocketchat:"+pageKey)
		w.upscope.Go(w.visitor)
		w.pass(2*time.Minute + 10*time.Second) // the card is refreshed in the background
		minted := w.upscope.Minted()
		bob.follow(w.door("bob")).want(t, http.StatusOK, "Another customer matches now", "Zoe")
		if n := w.upscope.Minted() - minted; n != 0 {
			t.Errorf("%d links for a visitor whom bob has not seen", n)
		}
	})
}

func TestSearchesForWaitingAgentsStopUntilRetryAfterHasPassed(t *testing.T) {
	inWorld(t, func(w *world) {
		_, ann, _ := w.bobWaits()
		w.upscope.Fail(upscopetest.List, upscopetest.Fault{Status: http.StatusTooManyRequests, RetryAfter: "100"}, 1)
		<-time.After(30 * time.Second)
		asked := w.callsTo(upscopetest.List)
		<-time.After(70 * time.Second)
		if n := w.callsTo(upscopetest.List) - asked; n != 0 {
			t.Errorf("%d searches before Retry-After has passed, want none", n)
		}
		w.upscope.Return(ann)
		<-time.After(time.Minute)
		if w.backMessages("bob") != 1 {
			t.Error("bob was not told")
		}
	})
}

func TestAnOldMessageThatTheVisitorIsBackIsNotSent(t *testing.T) {
	inWorld(t, func(w *world) {
		_, ann, _ := w.bobWaits()
		w.chat.Fail("chat.sendMessage", rocketchattest.Fault{Status: http.StatusBadGateway}, 10)
		w.upscope.Return(ann)
		w.pass(30 * time.Minute) // long enough for all attempts to send the message
		if n := w.backMessages("bob"); n != 0 {
			t.Errorf("bob was told %d times, half an hour late", n)
		}
		w.wantTrouble("tell failed")
	})
}
