package bridge_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/card"
	"cobrowse-bridge/bridge/chat"
	"cobrowse-bridge/bridge/store"
)

// A board is a chat service in memory that cannot edit its posts, as help desks whose private
// notes are final. If a post comes again with the same key, it returns the first one.
type board struct {
	*world
	mu         sync.Mutex
	posts      []boardPost
	showError  error           // if not nil, Show returns it and posts nothing
	loseAnswer bool            // whether the answer to the next post is lost
	asked      map[string]bool // the chats whose agent the bridge asked for
}

type boardPost struct {
	at   string
	ref  chat.Ref
	card chat.Card
}

// A boardEvent is the body of the board's deliveries.
type boardEvent struct {
	Key, Chat, Agent, Visitor string
	Page                      string // URL of the chat; it changes nothing that the card shows
	Place                     string
	Done                      bool
}

// onBoard runs a test in a world with a board. Change, if not nil, changes its connector.
func onBoard(t *testing.T, test func(b *board), change func(*chat.Connector), opts ...options) {
	t.Helper()
	b := &board{asked: map[string]bool{}}
	conn := chat.Connector{
		Name: "board", Accept: b.accept, Read: b.read, Show: b.show, CannotEdit: true,
		Serving: func(_ context.Context, id string) (string, bool, error) {
			b.mu.Lock()
			defer b.mu.Unlock()
			b.asked[id] = true
			return "", true, errors.New("the board does not know")
		},
	}
	if change != nil {
		change(&conn)
	}
	inWorld(t, func(w *world) {
		b.world = w
		w.ann()
		test(b)
	}, append(opts, options{config: func(c *bridge.Config) { c.Connectors = append(c.Connectors, conn) }})...)
}

func (b *board) accept(_ *http.Request, body []byte) (chat.Receipt, error) {
	var o boardEvent
	err := json.Unmarshal(body, &o)
	r := chat.Receipt{Key: o.Key}
	if o.Done {
		r.Changes = []chat.ChatChange{{Chat: o.Chat, Closed: true}}
	}
	return r, err
}

func (b *board) read(_ context.Context, d chat.Delivery) (chat.Ask, error) {
	var o boardEvent
	if err := json.Unmarshal(d.Body, &o); err != nil {
		return chat.Ask{}, chat.Permanent(err)
	}
	if o.Done {
		return chat.Ask{Verb: chat.Close, Chat: o.Chat}, nil
	}
	return chat.Ask{
		Verb: chat.Start, Chat: o.Chat, Visitor: o.Visitor, ChatURL: o.Page, Agent: chat.Agent{ID: o.Agent, Name: o.Agent},
		Place: chat.Place{Address: o.Place}, Clues: chat.Clues{IntegrationIDs: []string{"rocketchat:" + pageKey}},
	}, nil
}

func (b *board) show(_ context.Context, p chat.Place, c chat.Card) (chat.Ref, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.showError != nil {
		return "", b.showError
	}
	for _, post := range b.posts {
		if post.at == p.Address && post.card.Key == c.Key {
			return post.ref, nil
		}
	}
	ref := chat.Ref(fmt.Sprint("note-", len(b.posts)))
	b.posts = append(b.posts, boardPost{p.Address, ref, c})
	if b.loseAnswer {
		b.loseAnswer = false
		return "", errors.New("the answer was lost")
	}
	return ref, nil
}

// deliverAndWait delivers an event, with a new key if it has none, and waits until it is processed.
func (b *board) deliverAndWait(o boardEvent) {
	b.Helper()
	if o.Key == "" {
		o.Key = fmt.Sprint("event-", time.Now().UnixNano())
	}
	b.deliver(o)
	b.pass(2 * time.Second)
}

func (b *board) deliver(o boardEvent) {
	b.Helper()
	body, err := json.Marshal(o)
	b.must(err)
	b.post("/hooks/board", body, http.Header{}).want(b, http.StatusOK)
}

// titles returns the titles of the posts at an address, in order.
func (b *board) titles(at string) (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.posts {
		if p.at == at {
			all = append(all, p.card.Title)
		}
	}
	return all
}

// wantTitles checks the titles of the posts at an address.
func (b *board) wantTitles(at string, want ...string) {
	b.Helper()
	if got := b.titles(at); strings.Join(got, " | ") != strings.Join(want, " | ") {
		b.Errorf("%s reads %q, want %q", at, got, want)
	}
}

// doorAt returns the path of the door in the last post at an address that has one.
func (b *board) doorAt(at string) (door string) {
	b.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, p := range b.posts {
		if m := doorAddress.FindStringSubmatch(p.card.Button.Address); p.at == at && m != nil {
			door = m[1]
		}
	}
	if door == "" {
		b.Fatalf("no post at %s has a door", at)
	}
	return door
}

// openPageLater opens the co-browse page 20 seconds later, which updates the card.
func (b *board) openPageLater(bob *browser, at string) {
	b.Helper()
	b.idle(20 * time.Second)
	bob.follow(b.doorAt(at))
	b.pass(time.Second)
}

var umasChat = boardEvent{Chat: "c1", Agent: "uma", Visitor: "Ann", Place: "uma"}

func TestAConnectorThatCannotEditPostsNothingWhileTheVisitorComesAndGoes(t *testing.T) {
	onBoard(t, func(b *board) {
		b.deliverAndWait(umasChat)
		b.wantTitles("uma", "Co-browse with Ann")
		bob := b.browser()
		state := func(want card.State) {
			t.Helper()
			c, err := b.store.CardOfChat(b.Context(), "board", store.KindChat, "c1")
			b.must(err)
			if c.State != string(want) {
				t.Fatalf("the card is %s, want %s", c.State, want)
			}
		}
		for range 20 {
			b.upscope.Go(b.visitor)
			b.openPageLater(bob, "uma")
			state(card.Offline)
			b.upscope.Return(b.visitor)
			b.openPageLater(bob, "uma")
			state(card.Ready)
		}
		b.wantTitles("uma", "Co-browse with Ann")

		// A new URL or name for the same chat makes no post either.
		again := umasChat
		again.Page = "https://board.example.org/c1"
		b.deliverAndWait(again)
		again.Visitor = "Ann Silva"
		b.deliverAndWait(again)
		b.wantTitles("uma", "Co-browse with Ann")
	}, nil)
}

func TestAConnectorThatCannotEditPostsOnceThatTheVisitorIsOnline(t *testing.T) {
	onBoard(t, func(b *board) {
		b.upscope.Go(b.visitor)
		b.deliverAndWait(umasChat)
		bob := b.browser()
		for range 3 {
			b.upscope.Return(b.visitor)
			b.openPageLater(bob, "uma")
			b.upscope.Go(b.visitor)
			b.openPageLater(bob, "uma")
		}
		b.wantTitles("uma", "Ann is offline", "Co-browse with Ann")
	}, nil)
}

func TestAConnectorThatCannotEditPostsTheStartAndEndOfEachSession(t *testing.T) {
	onBoard(t, func(b *board) {
		b.deliverAndWait(umasChat)
		bob := b.browser()
		want := []string{"Co-browse with Ann"}
		for range 2 {
			bob.press(b.doorAt("uma"), url.Values{"visitor": {b.visitor}}).wantWatch(t)
			b.pass(2 * time.Second)
			b.wantTitles("uma", want...)
			session := b.openLatestLink()
			b.pass(20 * time.Second)
			b.upscope.End(session, 5, "Fixed.")
			b.pass(40 * time.Second)
			want = append(want, "Session with Ann is running", "Session with Ann has ended")
			b.wantTitles("uma", want...)
		}
		done := umasChat
		done.Done = true
		b.deliverAndWait(done)
		b.wantTitles("uma", append(want, "Chat closed")...)
	}, nil)
}

func TestAConnectorThatCannotEditPostsHandOversAndFreshLinks(t *testing.T) {
	onBoard(t, func(b *board) {
		b.deliverAndWait(umasChat)
		old := b.doorAt("uma")
		moved := umasChat
		moved.Agent, moved.Place = "vic", "vic"
		b.deliverAndWait(moved)
		b.wantTitles("uma", "Co-browse with Ann", "Chat moved to vic")
		b.wantTitles("vic", "Co-browse with Ann")
		b.deliverAndWait(umasChat)
		b.wantTitles("uma", "Co-browse with Ann", "Chat moved to vic", "Co-browse with Ann")
		b.wantTitles("vic", "Co-browse with Ann", "Chat moved to uma")
		if b.doorAt("uma") == old {
			t.Error("the post has the old door again")
		}

		expired := b.doorAt("uma")
		b.idle(31 * time.Minute)
		b.browser().press(expired+"?renew=1", nil).want(t, http.StatusOK)
		b.pass(2 * time.Second)
		if posts := b.titles("uma"); len(posts) != 4 || b.doorAt("uma") == expired {
			t.Errorf("after a fresh link was asked for, uma reads %q", posts)
		}
	}, nil)
}

func TestAConnectorThatCannotEditDoesNotPostTwiceWhenAnAnswerIsLost(t *testing.T) {
	onBoard(t, func(b *board) {
		b.loseAnswer = true
		b.deliverAndWait(umasChat)
		b.pass(20 * time.Second)
		b.wantTitles("uma", "Co-browse with Ann")
		b.loseAnswer = true
		done := umasChat
		done.Done = true
		b.deliverAndWait(done)
		b.pass(20 * time.Second)
		b.wantTitles("uma", "Co-browse with Ann", "Chat closed")
		b.mu.Lock()
		defer b.mu.Unlock()
		first, last := b.posts[0], b.posts[1]
		if last.card.Ref != first.ref || last.card.Key == first.card.Key || last.card.ID != first.card.ID || len(last.card.Key) > 64 {
			t.Errorf("the second post has %+v after %+v", last.card, first)
		}
	}, nil)
}

func TestACardIsNotShownAtASharedPlaceWithoutSignInOrSignedPresses(t *testing.T) {
	shared := func(c *chat.Connector) {
		c.Shared = func(address string) bool { return strings.HasPrefix(address, "#") }
	}
	team := umasChat
	team.Place = "#team"
	onBoard(t, func(b *board) {
		b.deliverAndWait(umasChat) // at a direct message of one agent
		b.wantTitles("uma", "Co-browse with Ann")
		team.Chat = "c2"
		b.deliverAndWait(team)
		b.wantTitles("#team")
		failed := b.deliveryErrors()
		if why := failed["board"]; len(failed) != 1 || !strings.Contains(why, "card not shown") || !strings.Contains(why, "board:#team") || !strings.Contains(why, "BRIDGE_SIGNIN") {
			t.Errorf("the failed deliveries are %q", failed)
		}
		if !strings.Contains(b.log.String(), "card not shown") {
			t.Error("the log does not say that the card is not shown")
		}
		b.wantTrouble("answer failed")
	}, shared)
	t.Run("the service signs presses", func(t *testing.T) {
		onBoard(t, func(b *board) {
			b.deliverAndWait(team)
			b.wantTitles("#team", "Co-browse with Ann")
			if button := b.posts[0].card.Button; button.Address != "" || button.Label == "" {
				t.Errorf("the button is %+v", button)
			}
		}, func(c *chat.Connector) { shared(c); c.SignsPresses = true })
	})
}

func TestAConnectorOfSharedPlacesIsRefusedAtStartUnlessAgentsSignIn(t *testing.T) {
	onBoard(t, func(b *board) {
		c := b.config
		c.Connectors = append([]chat.Connector(nil), c.Connectors...)
		c.Connectors[1].AllShared = true
		if _, err := bridge.New(c); err == nil || !strings.Contains(err.Error(), "connector board cannot show its cards at any place of board") {
			t.Errorf("without sign-in New returns %v", err)
		}
		c.Connectors[1].SignsPresses = true
		if _, err := bridge.New(c); err != nil {
			t.Errorf("with signed presses New returns %v", err)
		}
	}, nil)
}

// deliveryErrors returns the errors of the deliveries that failed permanently, by connector.
func (b *board) deliveryErrors() map[string]string {
	b.Helper()
	all := map[string]string{}
	for d, err := range b.store.UnfinishedDeliveries(b.Context()) {
		b.must(err)
		if d.State == "failed" {
			for _, e := range d.Errors {
				all[d.Connector] += e.Error + "\n"
			}
		}
	}
	return all
}

func TestForgedDeliveriesAreRefusedBeforeTheirBodyIsRead(t *testing.T) {
	inWorld(t, func(w *world) {
		room := w.openChat(withPageKey())
		w.chat.Take(room, "bob")
		genuine, header := w.chat.Event("LivechatSessionTaken", room)
		big := bytes.Repeat([]byte(" "), 1<<20)
		send := func(path string, header http.Header, body []byte) (*answer, int) {
			read := &countingReader{Reader: bytes.NewReader(body)}
			r := request(http.MethodPost, path, read)
			r.ContentLength, r.Header = -1, header.Clone()
			return w.do(r), read.n
		}
		forged := header.Clone()
		forged.Set("X-RocketChat-Livechat-Token", "a secret of another workspace")
		for name, test := range map[string]struct {
			path   string
			header http.Header
			status int
		}{
			"no token":      {"/hooks/rocketchat", http.Header{}, http.StatusUnauthorized},
			"a wrong token": {"/hooks/rocketchat", forged, http.StatusUnauthorized},
			"another path":  {"/hooks/rocketchat/nothing", header, http.StatusNotFound},
		} {
			if got, n := send(test.path, test.header, big); got.StatusCode != test.status || got.body != "" || n != 0 {
				t.Errorf("%s: answered %d %q after %d bytes", name, got.StatusCode, got.body, n)
			}
		}
		if got, n := send("/hooks/rocketchat", header, genuine); got.StatusCode != http.StatusOK || n != len(genuine) {
			t.Errorf("genuine: answered %d after %d of %d bytes", got.StatusCode, n, len(genuine))
		}
	})
}

// countingReader counts the bytes that are read from it.
type countingReader struct {
	*bytes.Reader
	n int
}

func (c *countingReader) Read(p []byte) (int, error) {
	n, err := c.Reader.Read(p)
	c.n += n
	return n, err
}
