package store

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/jobs"
)

func TestACardIsFoundByIdChatAndHandle(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
		c := Card{ID: "id", Connector: "c", Chat: "chat", Agent: "a", Visitor: "v", State: "ready", Generation: 2,
			HandleHash: [32]byte{9}, Created: at, Updated: at.Add(time.Second), DoorUntil: at.Add(time.Hour), Detail: []byte(`{"name":"Ann"}`)}
		if err := s.Commit(ctx, Change{Card: &c}); err != nil {
			t.Fatal(err)
		}
		if c.Version != 1 {
			t.Errorf("Version = %d after insert", c.Version)
		}
		for name, find := range map[string]func() (Card, error){
			"Card":         func() (Card, error) { return s.Card(ctx, "id") },
			"CardOfChat":   func() (Card, error) { return s.CardOfChat(ctx, "c", KindChat, "chat") },
			"CardByHandle": byHandle(s, [32]byte{9}),
		} {
			got, err := find()
			if err != nil {
				t.Fatalf("%s: %v", name, err)
			}
			detail := got.Detail
			got.Detail = nil
			want := c
			want.Detail = nil
			if string(detail) != string(c.Detail) || !cardsEqual(got, want) {
				t.Errorf("%s = %+v, want %+v", name, got, c)
			}
		}
		for name, find := range map[string]func() (Card, error){
			"Card":                func() (Card, error) { return s.Card(ctx, "chat") },
			"CardOfChat":          func() (Card, error) { return s.CardOfChat(ctx, "other", KindChat, "chat") },
			"CardByHandle":        byHandle(s, [32]byte{8}),
			"CardByHandle of nil": byHandle(s, [32]byte{}),
		} {
			if _, err := find(); !errors.Is(err, ErrNotFound) {
				t.Errorf("%s: %v", name, err)
			}
		}

		// Cards without a door do not collide.
		for _, chat := range []string{"x", "y"} {
			if err := s.Commit(ctx, Change{Card: &Card{ID: chat, Connector: "c", Chat: chat}}); err != nil {
				t.Error(err)
			}
		}
	})
}

func cardsEqual(a, b Card) bool {
	same := a.Created.Equal(b.Created) && a.Updated.Equal(b.Updated) && a.DoorUntil.Equal(b.DoorUntil)
	for _, c := range []*Card{&a, &b} {
		c.Created, c.Updated, c.DoorUntil, c.Detail = time.Time{}, time.Time{}, time.Time{}, nil
	}
	return same && a.ID == b.ID && a.Connector == b.Connector && a.Chat == b.Chat && a.Agent == b.Agent && a.Visitor == b.Visitor &&
		a.State == b.State && a.Version == b.Version && a.Generation == b.Generation && a.HandleHash == b.HandleHash && a.Claimed == b.Claimed
}

func TestACardIsReplacedOnlyWithItsCurrentVersion(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		c := Card{ID: "id", Connector: "c", Chat: "chat", HandleHash: [32]byte{1}}
		if err := s.Commit(ctx, Change{Card: &c}); err != nil {
			t.Fatal(err)
		}
		stale := c
		c.State, c.Detail = "live", []byte("new")
		if err := s.Commit(ctx, Change{Card: &c}); err != nil || c.Version != 2 {
			t.Fatalf("version %d, %v", c.Version, err)
		}
		moved := c
		moved.Chat = "elsewhere"
		replaced := c
		replaced.HandleHash = [32]byte{2}
		for name, bad := range map[string]Card{
			"a stale version":         stale,
			"a second card of a chat": {ID: "id2", Connector: "c", Chat: "chat"},
			"a second use of a door":  {ID: "id3", Connector: "c", Chat: "chat3", HandleHash: [32]byte{1}},
			"an unknown card":         {ID: "id4", Connector: "c", Chat: "chat4", Version: 1},
			"another chat":            moved,
			"another handle":          replaced,
		} {
			before := bad.Version
			err := s.Commit(ctx, Change{
				Card:  &bad,
				Posts: []Post{{Card: "id", Place: Place{"c", name}}},
				Jobs:  []jobs.Job{{Kind: "job"}},
				Audit: []audit.Entry{{Action: name}},
			})
			if !errors.Is(err, ErrConflict) || bad.Version != before {
				t.Errorf("%s: version %d, %v", name, bad.Version, err)
			}
		}
		if got, err := s.Card(ctx, "id"); err != nil || got.State != "live" || string(got.Detail) != "new" || got.Version != 2 {
			t.Errorf("Card = %+v, %v", got, err)
		}
		if head, _ := s.AuditLog().Head(ctx); head.Seq != 0 {
			t.Error("a refused change left an audit entry")
		}
		if posts, _ := s.Posts(ctx, "id"); len(posts) != 0 {
			t.Error("a refused change left a post")
		}
		if n := number(t, s, `SELECT count(*) FROM river_job`); n != 0 {
			t.Error("a refused change left a job")
		}
	})
}

func TestACardFollowsAnotherOnlyIfThatDidNotChange(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		first := Card{ID: "id", Connector: "c", Chat: "chat", State: "closed"}
		if err := s.Commit(ctx, Change{Card: &first}); err != nil {
			t.Fatal(err)
		}
		read, ended := first, first
		if err := s.Commit(ctx, Change{Card: &ended}); err != nil {
			t.Fatal(err)
		}
		second := Card{ID: "id2", Connector: "c", Chat: "chat#2"}
		if err := s.Commit(ctx, Change{Card: &second, Follows: &read}); !errors.Is(err, ErrConflict) {
			t.Fatalf("after a card that changed: %v", err)
		}
		if _, err := s.Card(ctx, "id2"); !errors.Is(err, ErrNotFound) {
			t.Errorf("it is stored nevertheless: %v", err)
		}
		if err := s.Commit(ctx, Change{Card: &Card{ID: "id3", Connector: "c", Chat: "chat"}, Follows: &ended}); !errors.Is(err, ErrConflict) {
			t.Fatalf("a chat that has a card: %v", err)
		}
		if got, err := s.Card(ctx, "id"); err != nil || got.Version != ended.Version {
			t.Errorf("after a refused change: version %d, want %d, %v", got.Version, ended.Version, err)
		}
		if err := s.Commit(ctx, Change{Card: &second, Follows: &ended}); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(ctx, Change{Card: &ended}); !errors.Is(err, ErrConflict) {
			t.Errorf("the first card can still be changed: %v", err)
		}
	})
}

func TestADoorBelongsToTheFirstAllowedBrowser(t *testing.T) {
	const agent, this, other = "c:agent", "this browser", "other browser"
	tests := []struct {
		name       string
		remembered string // the agent's browser before the claim
		expired    bool
		claimed    bool // another agent claimed this generation of the door before
		generation int  // of the card
		with       int  // the generation of the claim
		renewed    bool // this generation was sent to the agent's own place
		err        error
		after      string // the agent's browser after the claim
		marked     bool   // the door is claimed after the claim
	}{
		{"first press", "", false, false, 0, 0, false, nil, this, true},
		{"the agent's own browser", this, false, false, 0, 0, false, nil, this, true},
		{"the agent's own browser, again", this, false, true, 0, 0, false, nil, this, true},
		{"another browser of the agent", other, false, false, 0, 0, false, ErrTaken, other, false},
		{"another browser of the agent, second press", other, false, true, 0, 0, false, ErrTaken, other, true},
		{"another browser, a renewed door", other, false, false, 1, 1, true, nil, this, true},
		{"another browser, a door handed over", other, false, false, 1, 1, false, ErrTaken, other, false},
		{"another browser, a renewed door that was pressed", other, false, true, 1, 1, true, ErrTaken, other, true},
		{"second press by a stranger", "", false, true, 0, 0, false, ErrTaken, "", true},
		{"second press by a stranger, a renewed door", "", false, true, 1, 1, true, ErrTaken, "", true},
		{"the agent's browser has expired", this, true, false, 0, 0, false, nil, this, true},
		{"the agent's browser has expired after the press", this, true, true, 0, 0, false, ErrTaken, "", true},
		{"another browser has expired", other, true, false, 0, 0, false, nil, this, true},
		{"an old door", "", false, false, 1, 0, false, ErrTaken, "", false},
		{"an old door in the agent's own browser", this, false, false, 1, 0, false, ErrTaken, this, false},
		{"a future door", "", false, false, 0, 1, false, ErrTaken, "", false},
	}
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		for i, test := range tests {
			t.Run(test.name, func(t *testing.T) {
				ctx := t.Context()
				agent := agent + test.name
				later := time.Now().Add(time.Hour)
				commit := func(c Change) {
					t.Helper()
					if err := s.Commit(ctx, c); err != nil {
						t.Fatal(err)
					}
				}
				card := Card{ID: test.name, Connector: "c", Chat: test.name, Generation: test.generation, HandleHash: [32]byte{1, byte(i)}}
				commit(Change{Card: &card})
				if test.remembered != "" {
					until := later
					if test.expired {
						until = time.Now().Add(-time.Second)
					}
					commit(Change{Card: &Card{ID: "before " + test.name, Connector: "c", Chat: "before " + test.name}})
					commit(Change{Claim: &Claim{"before " + test.name, 1, 0, agent, test.remembered, false, until}})
				}
				if test.claimed {
					commit(Change{Claim: &Claim{card.ID, 1, test.generation, "other agent " + test.name, "their browser", false, later}})
				}
				head, _ := s.AuditLog().Head(ctx)

				card.State = "opened"
				err := s.Commit(ctx, Change{
					Claim: &Claim{card.ID, 1, test.with, agent, this, test.renewed, later},
					Card:  &card,
					Audit: []audit.Entry{{Action: "watching", Agent: agent}},
				})
				if !errors.Is(err, test.err) {
					t.Errorf("Commit = %v, want %v", err, test.err)
				}
				for _, browser := range []string{this, other} {
					got, elsewhere := remembers(t, s, agent, browser, time.Now())
					if got != (browser == test.after) || elsewhere != (test.after != "" && browser != test.after) {
						t.Errorf("remembers the %s: %v, another: %v", browser, got, elsewhere)
					}
				}
				got, _ := s.Card(ctx, card.ID)
				if got.Claimed != test.marked || (got.State == "opened") != (test.err == nil) {
					t.Errorf("card after: %+v", got)
				}
				after, _ := s.AuditLog().Head(ctx)
				if (after.Seq == head.Seq+1) != (test.err == nil) {
					t.Errorf("audit went from %d to %d", head.Seq, after.Seq)
				}
			})
		}
		if err := s.Commit(t.Context(), Change{Claim: &Claim{Card: "unknown"}}); !errors.Is(err, ErrNotFound) {
			t.Errorf("a claim of an unknown card: %v", err)
		}
	})
}

func TestOneOfManySimultaneousBrowsersGetsTheDoor(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		if err := s.Commit(ctx, Change{Card: &Card{ID: "id", Connector: "c", Chat: "chat"}}); err != nil {
			t.Fatal(err)
		}
		var presses []func() error
		for i := range 20 {
			presses = append(presses, func() error {
				return s.Commit(ctx, Change{Claim: &Claim{"id", 1, 0, "agent", string(rune('a' + i)), false, time.Now().Add(time.Hour)}})
			})
		}
		errs := together(t, s, gate(s), presses...)
		taken := 0
		for _, err := range errs {
			if errors.Is(err, ErrTaken) {
				taken++
			}
		}
		if taken != 19 || !slices.Contains(errs, nil) {
			t.Errorf("%v", errs)
		}
	})
}

func TestAForgottenBrowserIsNotRemembered(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		now := time.Now()
		if err := s.Commit(ctx, Change{Card: &Card{ID: "id", Connector: "c", Chat: "chat"}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(ctx, Change{Claim: &Claim{"id", 1, 0, "agent", "browser", false, now.Add(time.Hour)}}); err != nil {
			t.Fatal(err)
		}
		for at, want := range map[time.Duration]bool{0: true, 59 * time.Minute: true, time.Hour + time.Millisecond: false} {
			if got, _ := remembers(t, s, "agent", "browser", now.Add(at)); got != want {
				t.Errorf("after %v: %v", at, got)
			}
		}
		if err := s.Forget(ctx, "agent"); err != nil {
			t.Fatal(err)
		}
		if got, _ := remembers(t, s, "agent", "browser", now); got {
			t.Error("remembered after Forget")
		}

		// Purge removes expired browsers.
		if err := s.Commit(ctx, Change{Card: &Card{ID: "id2", Connector: "c", Chat: "chat2"}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(ctx, Change{Claim: &Claim{"id2", 1, 0, "agent", "browser", false, now.Add(-time.Minute)}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Purge(ctx, now, Retention{}); err != nil {
			t.Fatal(err)
		}
		if n := number(t, s, `SELECT count(*) FROM browsers`); n != 0 {
			t.Errorf("%d browsers left", n)
		}
	})
}

func byHandle(s *Store, hash [32]byte) func() (Card, error) {
	return func() (Card, error) {
		c, _, err := s.CardByHandle(context.Background(), hash)
		return c, err
	}
}

// remembers reports whether a browser is remembered for an agent at the given time.
func remembers(t *testing.T, s *Store, agent, token string, at time.Time) (this, other bool) {
	t.Helper()
	var b Browser
	err := s.engine.QueryRow(t.Context(), `SELECT browser FROM browsers WHERE agent = $1 AND expires > $2`, agent, engine.Micros(at)).Scan(&b.sum)
	if err != nil && !errors.Is(err, sql.ErrNoRows) {
		t.Fatal(err)
	}
	return b.Is(token)
}

func TestCardByHandleReturnsTheRememberedBrowser(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		handle := [32]byte{7}
		if err := s.Commit(ctx, Change{Card: &Card{ID: "id", Connector: "c", Chat: "chat", Agent: "agent", HandleHash: handle}}); err != nil {
			t.Fatal(err)
		}
		look := func() (this, other bool) {
			t.Helper()
			_, holder, err := s.CardByHandle(ctx, handle)
			if err != nil {
				t.Fatal(err)
			}
			return holder.Browser.Is("browser")
		}
		if this, other := look(); this || other {
			t.Errorf("before any press: %v, %v", this, other)
		}
		claim := func(browser string, until time.Duration) {
			t.Helper()
			if err := s.Commit(ctx, Change{Claim: &Claim{"id", 1, 0, "agent", browser, true, time.Now().Add(until)}}); err != nil {
				t.Fatal(err)
			}
		}
		claim("browser", time.Hour)
		if this, other := look(); !this || other {
			t.Errorf("after a press: %v, %v", this, other)
		}
	})
}

// Cards that cannot be decrypted do not keep others from being checked, however many come first.
func TestAllDueCardsAreChecked(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		now := time.Now().Truncate(time.Microsecond)
		var all sync.WaitGroup
		var want []string
		add := func(id string, check time.Time) {
			all.Go(func() {
				c := Card{ID: id, Connector: "c", Chat: id, NextCheck: check, Detail: []byte("{}")}
				if err := s.Commit(ctx, Change{Card: &c}); err != nil {
					t.Error(err)
				}
			})
		}
		for i := range 250 {
			add(fmt.Sprintf("sealed-%03d", i), now.Add(-time.Hour))
		}
		for i := range 150 { // many have the same time
			id := fmt.Sprintf("card-%03d", i)
			add(id, now.Add(time.Duration(i/120-10)*time.Minute))
			want = append(want, id)
		}
		add("later", now.Add(time.Minute))
		add("never", time.Time{})
		all.Wait()
		exec(t, s, `UPDATE cards SET detail = (SELECT detail FROM cards WHERE id = 'never') WHERE id LIKE 'sealed-%'`)
		cards, err := s.CardsToCheck(ctx, now)
		if !errors.Is(err, ErrSealed) || !strings.Contains(err.Error(), "250 cards, the first is sealed-000") {
			t.Errorf("err = %v", err)
		}
		var got []string
		for _, c := range cards {
			got = append(got, c.ID)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%d cards are due, want %d: %q", len(got), len(want), got)
		}
	})
}
