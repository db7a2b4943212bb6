package store

import (
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/limit"
)

func TestAnAccountHasOneAgent(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		since := time.Now().Truncate(time.Microsecond).UTC()
		bob := Account{ID: "slack:T1/U2", Agent: "oidc:bob", How: "asked", Since: since, Name: "Bob"}
		if _, err := s.Account(ctx, bob.ID); !errors.Is(err, ErrNotFound) {
			t.Errorf("an account without an owner: %v", err)
		}
		connect := func(a Account) error {
			return s.Commit(ctx, Change{Connect: &a, Audit: []audit.Entry{{Action: "connected", Agent: a.Agent}}})
		}
		if err := connect(bob); err != nil {
			t.Fatal(err)
		}
		if err := connect(bob); err != nil {
			t.Errorf("once more: %v", err)
		}
		eve := bob
		eve.Agent = "oidc:eve"
		if err := connect(eve); !errors.Is(err, ErrTaken) {
			t.Errorf("another agent's account: %v", err)
		}
		if n := number(t, s, `SELECT count(*) FROM audit`); n != 2 {
			t.Errorf("%d records, want those of the two that succeeded", n)
		}
		if got, err := s.Account(ctx, bob.ID); err != nil || got != bob {
			t.Errorf("got %+v, %v", got, err)
		}
		if err := s.Commit(ctx, Change{Disconnect: &eve}); err != nil {
			t.Fatal(err)
		}
		if all, err := s.Accounts(ctx, "oidc:bob"); err != nil || len(all) != 1 {
			t.Errorf("another agent disconnected the account: %v, %v", all, err)
		}
		if err := s.Commit(ctx, Change{Disconnect: &bob}); err != nil {
			t.Fatal(err)
		}
		if err := connect(eve); err != nil {
			t.Errorf("an account that is free again: %v", err)
		}
	})
}

func TestCardByHandleReturnsTheOwnerOfTheAccount(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		handle := [32]byte{7}
		if err := s.Commit(ctx, Change{Card: &Card{ID: "id", Connector: "c", Chat: "chat", Agent: "c:bob", HandleHash: handle}}); err != nil {
			t.Fatal(err)
		}
		owner := func() string {
			t.Helper()
			_, holder, err := s.CardByHandle(ctx, handle)
			if err != nil {
				t.Fatal(err)
			}
			return holder.Agent
		}
		if got := owner(); got != "" {
			t.Errorf("owned by %q before it was connected", got)
		}
		if err := s.Commit(ctx, Change{Connect: &Account{ID: "c:bob", Agent: "oidc:bob"}}); err != nil {
			t.Fatal(err)
		}
		if got := owner(); got != "oidc:bob" {
			t.Errorf("owned by %q", got)
		}
	})
}

func TestASessionOfAnAgentLastsUntilItExpiresOrIsEnded(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		db, ctx := open(Options{}), t.Context()
		s := db.AgentSessions()
		commit := func(token, data string, life time.Duration) {
			t.Helper()
			if err := s.CommitCtx(ctx, token, []byte(data), time.Now().Add(life)); err != nil {
				t.Fatal(err)
			}
		}
		holds := func(token string) string {
			t.Helper()
			data, found, err := s.FindCtx(ctx, token)
			if err != nil || found != (data != nil) {
				t.Fatalf("%s, %v, %v", data, found, err)
			}
			return string(data)
		}
		commit("one", "first", time.Hour)
		commit("one", "second", time.Hour)
		commit("old", "gone", -time.Second)
		commit("two", "other", time.Hour)
		for token, want := range map[string]string{"one": "second", "old": "", "two": "other", "none": ""} {
			if got := holds(token); got != want {
				t.Errorf("session %s holds %q, want %q", token, got, want)
			}
		}
		if err := s.DeleteCtx(ctx, "one"); err != nil {
			t.Fatal(err)
		}
		if all, err := s.AllCtx(ctx); err != nil || len(all) != 1 || string(all["two"]) != "other" {
			t.Errorf("remaining sessions: %q, %v", all, err)
		}
		if err := db.Purge(ctx, time.Now(), Retention{}); err != nil {
			t.Fatal(err)
		}
		if n := number(t, db, `SELECT count(*) FROM sessions`); n != 1 {
			t.Errorf("%d rows are left", n)
		}
	})
}

func TestANameOfASessionIsClaimedOnce(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}).AgentSessions(), t.Context()
		claim := func(name string, until time.Time) bool {
			claimed, err := s.ClaimCtx(ctx, name, until)
			if err != nil {
				t.Error(err)
			}
			return claimed
		}
		var all sync.WaitGroup
		var claimed atomic.Int64
		for range 8 {
			all.Go(func() {
				if claim("one", time.Now().Add(time.Hour)) {
					claimed.Add(1)
				}
			})
		}
		all.Wait()
		if n := claimed.Load(); n != 1 {
			t.Errorf("%d of 8 callers got the name", n)
		}
		if !claim("two", time.Now().Add(-time.Second)) || !claim("two", time.Now().Add(time.Hour)) || claim("two", time.Now().Add(time.Hour)) {
			t.Error("a name is not free after its time, or is free before")
		}
	})
}

func TestASessionSealedWithAnUnknownSecretIsNotFound(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		before := open(Options{Secret: secretA})
		if err := before.AgentSessions().CommitCtx(t.Context(), "one", []byte("data"), time.Now().Add(time.Hour)); err != nil {
			t.Fatal(err)
		}
		before.Close()
		during := open(Options{Secret: secretB, OldSecret: secretA})
		if data, _, err := during.AgentSessions().FindCtx(t.Context(), "one"); string(data) != "data" || err != nil {
			t.Errorf("while the old secret is configured: %q, %v", data, err)
		}
		during.Close()
		if _, found, err := open(Options{Secret: secretB}).AgentSessions().FindCtx(t.Context(), "one"); found || err != nil {
			t.Errorf("afterwards: %v, %v", found, err)
		}
	})
}

func TestALimitAllowsActsInAPeriod(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		codes := limit.Limit{Name: "codes", Acts: 5, While: 10 * time.Minute}
		bob := limit.Spending{Limit: codes, Subject: "bob"}
		for range codes.Acts {
			if err := s.Spend(ctx, bob); err != nil {
				t.Fatal(err)
			}
		}
		var spent *limit.SpentError
		if err := s.Spend(ctx, bob); !errors.As(err, &spent) || !errors.Is(err, limit.ErrSpent) {
			t.Fatalf("one too many: %v", err)
		}
		if spent.Act != bob || spent.Wait > 2*time.Minute || spent.Wait < 119*time.Second {
			t.Errorf("%+v, want the next act after a fifth of the period", spent)
		}
		if err := s.CheckSpend(ctx, bob); !errors.Is(err, limit.ErrSpent) {
			t.Errorf("CheckSpend = %v", err)
		}
		for name, other := range map[string]limit.Spending{"another subject": {Limit: codes, Subject: "eve"}, "another limit": {Limit: limit.Limit{Name: "doors", Acts: 1, While: time.Minute}, Subject: "bob"}} {
			if err := s.Spend(ctx, other); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
		if err := s.GiveBack(ctx, bob); err != nil {
			t.Fatal(err)
		}
		if err := s.CheckSpend(ctx, bob); err != nil {
			t.Errorf("after one was given back: %v", err)
		}
		if err := s.Spend(ctx, bob); err != nil {
			t.Errorf("after one was given back: %v", err)
		}
	})
}

func TestAClockThatWasAheadLocksNobodyOut(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		bob := limit.Spending{Limit: limit.Limit{Name: "codes", Acts: 5, While: 10 * time.Minute}, Subject: "bob"}
		if err := s.Spend(ctx, bob); err != nil {
			t.Fatal(err)
		}
		exec(t, s, `UPDATE limits SET free = free + 86400000000`) // the clock was a day ahead
		if err := s.CheckSpend(ctx, bob); err != nil {
			t.Errorf("CheckSpend: %v", err)
		}
		if err := s.Spend(ctx, bob); err != nil {
			t.Errorf("the first act: %v", err)
		}
		var spent *limit.SpentError
		if err := s.Spend(ctx, bob); !errors.As(err, &spent) || spent.Wait > 2*time.Minute {
			t.Errorf("the second act: %v, want the next act after a fifth of the period", err)
		}
		// The clocks of replicas differ a little. That allows no more acts.
		exec(t, s, `UPDATE limits SET free = free + 30000000`)
		if err := s.Spend(ctx, bob); !errors.Is(err, limit.ErrSpent) {
			t.Errorf("counted by a replica whose clock is 30 s ahead: %v", err)
		}
	})
}

func TestSeveralLimitsCountTogetherOrNotAtAll(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		minute, hour := limit.Spending{Limit: limit.Limit{Name: "minute", Acts: 1, While: time.Minute}, Subject: "bob"}, limit.Spending{Limit: limit.Limit{Name: "hour", Acts: 9, While: time.Hour}, Subject: "bob"}
		refused := &Card{ID: "id", Connector: "c", Chat: "chat"}
		if err := s.Commit(ctx, Change{Spend: []limit.Spending{hour, minute}}); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(ctx, Change{Spend: []limit.Spending{hour, minute}, Card: refused}); !errors.Is(err, limit.ErrSpent) {
			t.Fatal(err)
		}
		if n := number(t, s, `SELECT count(*) FROM cards`); n != 0 {
			t.Error("a refused change was written")
		}
		for range 8 {
			if err := s.Spend(ctx, hour); err != nil {
				t.Fatalf("the refused act counted: %v", err)
			}
		}
		if err := s.Purge(ctx, time.Now().Add(2*time.Hour), Retention{}); err != nil {
			t.Fatal(err)
		}
		if n := number(t, s, `SELECT count(*) FROM limits`); n != 0 {
			t.Errorf("%d unused limits are stored", n)
		}
	})
}

func TestUnusedLimitsArePurged(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		for i := range 12 { // more than one portion
			var acts []limit.Spending
			for j := range 100 {
				acts = append(acts, limit.Spending{Limit: limit.Limit{Name: "doors", Acts: 1, While: time.Minute}, Subject: fmt.Sprint(i, "/", j)})
			}
			acts = append(acts, limit.Spending{Limit: limit.Limit{Name: "codes", Acts: 1, While: time.Hour}, Subject: fmt.Sprint(i)})
			if err := s.Spend(ctx, acts...); err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Purge(ctx, time.Now().Add(2*time.Minute), Retention{}); err != nil {
			t.Fatal(err)
		}
		if n := number(t, s, `SELECT count(*) FROM limits`); n != 12 {
			t.Errorf("%d limits are stored, want the 12 that are in use", n)
		}
	})
}

func TestReplicasShareALimit(t *testing.T) {
	t.Parallel()
	address := newDatabase(t, "postgres")
	replicas := []*Store{openAt(t, address, Options{}), openAt(t, address, Options{})}
	codes := limit.Limit{Name: "codes", Acts: 10, While: time.Hour}
	var allowed atomic.Int64
	var busy sync.WaitGroup
	for i := range 100 {
		busy.Go(func() {
			switch err := replicas[i%2].Spend(t.Context(), limit.Spending{Limit: codes, Subject: "bob"}); {
			case err == nil:
				allowed.Add(1)
			case !errors.Is(err, limit.ErrSpent):
				t.Error(err)
			}
		})
	}
	busy.Wait()
	if n := allowed.Load(); n != 10 {
		t.Errorf("two replicas allowed %d acts of 10", n)
	}
}
