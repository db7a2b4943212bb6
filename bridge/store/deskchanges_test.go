package store

import (
	"context"
	"errors"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store/engine"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func deskChanges(t *testing.T, s *Store, after int64) []DeskChange {
	t.Helper()
	changes, err := s.DeskChanges(t.Context(), after)
	if err != nil {
		t.Fatal(err)
	}
	return changes
}

func TestDeskChangesSayWhatChangedAtDesks(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		ctx := t.Context()
		calls := 0
		stop := s.OnDeskChange(func() { calls++ })
		card := Card{ID: "c1", Connector: "slack", Chat: "chat", Agent: "slack:U1", State: "ready"}
		account := Account{ID: "slack:U1", Agent: "oidc:ann", How: "x", Since: time.Now()}
		sessions := s.AgentSessions()
		receipt, err := NewReceipt()
		if err != nil {
			t.Fatal(err)
		}
		for name, step := range []struct {
			do   func() error
			want []DeskChange
		}{
			{func() error { return s.Commit(ctx, Change{Card: &card}) }, []DeskChange{{Card: "c1", Agent: "slack:U1", Connector: "slack"}}},
			{func() error {
				stale := card
				stale.Version = 7
				if err := s.Commit(ctx, Change{Card: &stale}); !errors.Is(err, ErrConflict) {
					return errors.New("an old version of a card was stored")
				}
				return nil
			}, nil},
			{func() error { return s.Commit(ctx, Change{Connect: &account}) }, []DeskChange{{Agent: "oidc:ann"}, {Agent: "slack:U1"}}},
			{func() error { return s.Commit(ctx, Change{Disconnect: &account}) }, []DeskChange{{Agent: "oidc:ann"}, {Agent: "slack:U1"}}},
			{func() error { return s.StartWait(ctx, Wait{"c1", "slack:U1", time.Now().Add(time.Hour)}, time.Now()) }, []DeskChange{{Card: "c1", Agent: "slack:U1"}}},
			{func() error { return s.Commit(ctx, Change{EndWaits: []Wait{{Card: "c1"}}}) }, []DeskChange{{Card: "c1"}}},
			{func() error { return sessions.CommitCtx(ctx, "token", nil, time.Now().Add(time.Hour)) }, nil},
			{func() error { return sessions.DeleteCtx(ctx, "token") }, []DeskChange{{Session: "token"}}},
			{func() error { return s.Erase(ctx, ErasureMatches{Cards: []string{"c1"}}, &receipt, "") }, []DeskChange{{Card: "c1"}}},
		} {
			last, err := s.LastDeskChange(ctx)
			if err != nil {
				t.Fatal(err)
			}
			before := calls
			if err := step.do(); err != nil {
				t.Fatalf("step %d: %v", name, err)
			}
			if diff := cmp.Diff(step.want, deskChanges(t, s, last), cmpopts.IgnoreFields(DeskChange{}, "Seq"), cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("step %d (-want +got):\n%s", name, diff)
			}
			if called := calls > before; called != (step.want != nil) {
				t.Errorf("step %d: the listener was called: %t", name, called)
			}
		}
		stop()
		before := calls
		if err := sessions.DeleteCtx(ctx, "token"); err != nil || calls != before {
			t.Errorf("a stopped listener was called %d times: %v", calls-before, err)
		}
	})
}

// A number is used again neither after a restart nor after Purge.
func TestOldDeskChangesAreRemoved(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		insert := func(n int) {
			err := s.engine.Write(t.Context(), engine.Locks{All: true}, func(ctx context.Context, tx engine.Tx) error {
				return insertDeskChanges(ctx, tx, make([]DeskChange, n))
			})
			if err != nil {
				t.Fatal(err)
			}
		}
		insert(keptDeskChanges + 1500)
		if err := s.Purge(t.Context(), time.Now(), Retention{}); err != nil {
			t.Fatal(err)
		}
		if n := number(t, s, `SELECT count(*) FROM desk_changes`); n != keptDeskChanges {
			t.Errorf("%d are left, want %d", n, keptDeskChanges)
		}
		insert(1)
		if last, err := s.LastDeskChange(t.Context()); err != nil || last != keptDeskChanges+1501 {
			t.Errorf("the last has the number %d: %v", last, err)
		}
		if changes := deskChanges(t, s, 0); len(changes) != MaxDeskChanges || changes[0].Seq != 1501 {
			t.Errorf("%d are read from number %d on", len(changes), changes[0].Seq)
		}
	})
}
