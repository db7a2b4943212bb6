package store

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/jobs"
	"cobrowse-bridge/bridge/store/limit"
	"cobrowse-bridge/bridge/store/refreshes"
)

// Three replicas change the same rows, each in another order and several in one transaction. The
// database never has to end a transaction because two of them wait for each other.
func TestReplicasDoNotDeadlock(t *testing.T) {
	t.Parallel()
	address := newDatabase(t, "postgres")
	log := &logged{}
	o := Options{Secret: secretA, Log: slog.New(slog.NewTextHandler(log, nil))}
	replicas := []*Store{openAt(t, address, o), openAt(t, address, o), openAt(t, address, o)}

	const cards, rounds = 24, 8
	ids := make([]string, cards)
	for i := range ids {
		ids[i] = fmt.Sprintf("card %02d", i)
		c := Card{ID: ids[i], Connector: "c", Chat: ids[i], Agent: "agent", State: "ready"}
		if err := replicas[0].Commit(t.Context(), Change{Card: &c}); err != nil {
			t.Fatal(err)
		}
	}
	often := limit.Limit{Name: "often", Acts: 1_000_000, While: time.Hour}
	place := func(id string) Place { return Place{"c", id} }
	changes := map[string]func(s *Store, id string) error{
		"press": func(s *Store, id string) error {
			c, err := s.Card(t.Context(), id)
			if err != nil {
				return err
			}
			return s.Commit(t.Context(), Change{
				Spend: []limit.Spending{{Limit: often, Subject: id}, {Limit: often, Subject: "all"}},
				Card:  &c, Posts: []Post{{Card: id, Place: place(id), Current: true}},
				EndWaits: []Wait{{Card: id}}, Refresh: &refreshes.Refresh{Card: id, Due: time.Now()}, Audit: []audit.Entry{{Action: "watching", Card: id}},
			})
		},
		"wait": func(s *Store, id string) error {
			return s.StartWait(t.Context(), Wait{Card: id, Agent: "agent", Until: inAWhile()}, time.Now())
		},
		"waits": func(s *Store, _ string) error {
			_, err := s.LeaseWaits(t.Context(), time.Now(), 10)
			return err
		},
		"refresh": func(s *Store, _ string) error {
			due, err := s.Refreshes().Due(t.Context(), time.Now(), 10)
			if err == nil {
				_, err = s.Refreshes().Lease(t.Context(), due, time.Now())
			}
			return err
		},
		"skip": func(s *Store, _ string) error {
			_, err := s.Refreshes().Skip(t.Context(), time.Now(), time.Now())
			return err
		},
		"post": func(s *Store, id string) error {
			return s.SavePost(t.Context(), Post{Card: id, Place: place(id), Ref: "r", Shown: "s"})
		},
		"connect": func(s *Store, id string) error {
			return s.Commit(t.Context(), Change{Connect: &Account{ID: id, Agent: "ann", Replaces: "x"}, Audit: []audit.Entry{{Action: "connected"}}})
		},
		"webhook": func(s *Store, id string) error {
			_, err := s.StoreDelivery(t.Context(), Delivery{Connector: "c", Key: id, Body: []byte("x")}, jobs.Job{Queue: "c", Kind: "answer"})
			return err
		},
		"session": func(s *Store, id string) error {
			return s.AgentSessions().CommitCtx(t.Context(), id, []byte("{}"), inAWhile())
		},
		"purge": func(s *Store, _ string) error { return s.purgeChanges(t.Context()) },
	}
	for range rounds {
		var all sync.WaitGroup
		for n, s := range replicas {
			order := slices.Clone(ids)
			switch n {
			case 1:
				slices.Reverse(order)
			case 2:
				order = append(order[cards/2:], order[:cards/2]...)
			}
			for _, id := range order {
				for name, change := range changes {
					all.Go(func() {
						if err := change(s, id); err != nil && !errors.Is(err, ErrConflict) && !errors.Is(err, ErrNotFound) {
							t.Errorf("%s of %s: %v", name, id, err)
						}
					})
				}
			}
		}
		all.Wait()
	}
	if text := log.String(); strings.Contains(text, "deadlock") || strings.Contains(text, "commit failed") {
		t.Errorf("the log says %s", text)
	}
	if _, err := replicas[0].AuditLog().Verify(t.Context(), audit.Head{}); err != nil {
		t.Error(err)
	}
}

// A transaction holds the head of the audit log only while it writes its records. Here another one has
// a card for long: presses of other cards do not wait for it.
func TestAPressWaitsOnlyForItsOwnCard(t *testing.T) {
	t.Parallel()
	address := newDatabase(t, "postgres")
	slow, fast := openAt(t, address, Options{Secret: secretA}), openAt(t, address, Options{Secret: secretA})
	held, release := make(chan struct{}), make(chan struct{})
	var all sync.WaitGroup
	all.Go(func() {
		err := slow.write(t.Context(), &write{rows: []string{rowOfCard("a")}, audit: []audit.Entry{{Action: "watching", Card: "a"}}, do: func(context.Context, engine.Tx) error {
			close(held)
			<-release
			return nil
		}})
		if err != nil {
			t.Error(err)
		}
	})
	<-held
	b := Card{ID: "b", Connector: "c", Chat: "b", State: "ready"}
	if err := fast.Commit(t.Context(), Change{Card: &b, Audit: []audit.Entry{{Action: "watching", Card: "b"}}}); err != nil {
		t.Error(err)
	}
	all.Go(func() {
		a := Card{ID: "a", Connector: "c", Chat: "a", State: "ready"}
		if err := fast.Commit(t.Context(), Change{Card: &a}); err != nil {
			t.Error(err)
		}
	})
	waits := `SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
	for deadline := time.Now().Add(time.Minute); number(t, slow, waits) != 1; <-time.After(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Error("the press of the same card does not wait")
			break
		}
	}
	close(release)
	all.Wait()
}
