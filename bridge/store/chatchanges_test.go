package store

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/riverqueue/river"

	"cobrowse-bridge/bridge/store/engine"
	"cobrowse-bridge/bridge/store/jobs"
)

var begun = time.Date(2026, 11, 29, 12, 0, 0, 0, time.UTC)

// arrive stores a delivery and returns its id, which is empty for a repeat.
func arrive(t *testing.T, s *Store, d Delivery) (id string) {
	t.Helper()
	fresh, err := s.StoreDelivery(t.Context(), d, jobs.Job{Kind: "answer"})
	if err != nil {
		t.Fatal(err)
	}
	if !fresh {
		return ""
	}
	if err := s.engine.QueryRow(t.Context(), `SELECT id FROM deliveries WHERE connector = $1 AND dedupe = $2`, d.Connector, d.Key).Scan(&id); err != nil {
		t.Fatal(err)
	}
	return id
}

func commit(t *testing.T, s *Store, c Change) {
	t.Helper()
	if err := s.Commit(t.Context(), c); err != nil {
		t.Fatal(err)
	}
}

func wantPending(t *testing.T, s *Store, connector, chat string, want ...PendingChange) {
	t.Helper()
	got, err := s.PendingChanges(t.Context(), connector, chat)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("pending changes of %s of %s (-want +got):\n%s", chat, connector, diff)
	}
}

func changeRows(t *testing.T, s *Store) int64 {
	t.Helper()
	return number(t, s, `SELECT count(*) FROM chat_changes`)
}

func TestAChatChangeIsPendingUntilItsDeliveryIsFinished(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		wantPending(t, s, "c", "room")
		// The changes are ordered by Received, not by the calls.
		closed := arrive(t, s, Delivery{Connector: "c", Key: "close", Received: begun.Add(2 * time.Second), Changes: []ChatChange{{Chat: "room", Closed: true}}})
		moved := arrive(t, s, Delivery{Connector: "c", Key: "forward", Received: begun, Changes: []ChatChange{{Chat: "room", Agent: "eve"}}})
		queued := arrive(t, s, Delivery{Connector: "c", Key: "queued", Received: begun.Add(time.Second), Changes: []ChatChange{{Chat: "room"}}})
		message := arrive(t, s, Delivery{Connector: "c", Key: "message", Received: begun})
		arrive(t, s, Delivery{Connector: "c2", Key: "close", Received: begun, Changes: []ChatChange{{Chat: "room", Closed: true}}})
		arrive(t, s, Delivery{Connector: "c", Key: "other", Received: begun, Changes: []ChatChange{{Chat: "room2", Closed: true}}})

		first, second, third := PendingChange{Agent: "eve", Received: begun}, PendingChange{Received: begun.Add(time.Second)}, PendingChange{Closed: true, Received: begun.Add(2 * time.Second)}
		wantPending(t, s, "c", "room", first, second, third)
		wantPending(t, s, "c", "room2", PendingChange{Closed: true, Received: begun})
		wantPending(t, s, "c2", "room", PendingChange{Closed: true, Received: begun})
		wantPending(t, s, "c2", "room2")
		for id, want := range map[string]bool{closed: true, moved: true, queued: true, message: false} {
			if d, err := s.Delivery(t.Context(), id); err != nil || d.ChangesPending != want || d.Changes != nil {
				t.Errorf("Delivery = %+v, %v, want ChangesPending %v", d, err, want)
			}
		}

		commit(t, s, Change{Finish: message})
		wantPending(t, s, "c", "room", first, second, third)
		commit(t, s, Change{Finish: queued})
		wantPending(t, s, "c", "room", first, third)
		commit(t, s, Change{Finish: moved})
		commit(t, s, Change{Finish: closed})
		wantPending(t, s, "c", "room")
		wantPending(t, s, "c2", "room", PendingChange{Closed: true, Received: begun})
	})
}

func TestADeliveryMayChangeManyChats(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		d := Delivery{Connector: "c", Key: "list", Received: begun}
		for i := range 2*32 + 7 {
			d.Changes = append(d.Changes, ChatChange{Chat: fmt.Sprint("room", i), Closed: i%2 == 0})
		}
		// Of several changes of one chat the last counts.
		d.Changes = append(d.Changes, ChatChange{Chat: "room1", Agent: "bob"}, ChatChange{Chat: "room1", Agent: "eve"})
		id := arrive(t, s, d)
		if n := changeRows(t, s); n != 2*32+7 {
			t.Errorf("%d rows", n)
		}
		wantPending(t, s, "c", "room0", PendingChange{Closed: true, Received: begun})
		wantPending(t, s, "c", "room1", PendingChange{Agent: "eve", Received: begun})
		wantPending(t, s, "c", "room70", PendingChange{Closed: true, Received: begun})
		commit(t, s, Change{Applied: id})
		if n := changeRows(t, s); n != 0 {
			t.Errorf("%d rows are left", n)
		}
	})
}

func TestAtMostAHundredChangesOfAChatAreReturned(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		for i := range maxPendingChanges + 3 {
			arrive(t, s, Delivery{Connector: "c", Key: fmt.Sprint(i), Received: begun.Add(time.Duration(i) * time.Second), Changes: []ChatChange{{Chat: "room"}}})
		}
		got, err := s.PendingChanges(t.Context(), "c", "room")
		if err != nil || len(got) != maxPendingChanges {
			t.Fatalf("%d changes, %v", len(got), err)
		}
		if first, last := got[0].Received, got[maxPendingChanges-1].Received; !first.Equal(begun.Add(3*time.Second)) || !last.Equal(begun.Add((maxPendingChanges+2)*time.Second)) {
			t.Errorf("changes from %v to %v", first, last)
		}
	})
}

func TestARepeatStoresNoChatChange(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		d := Delivery{Connector: "c", Key: "close", Received: begun, Changes: []ChatChange{{Chat: "room", Closed: true}}}
		id := arrive(t, s, d)
		repeat := d
		repeat.Received, repeat.Changes = begun.Add(time.Minute), []ChatChange{{Chat: "room", Agent: "eve"}, {Chat: "room2"}}
		if arrive(t, s, repeat) != "" {
			t.Fatal("a repeat is fresh")
		}
		wantPending(t, s, "c", "room", PendingChange{Closed: true, Received: begun})
		commit(t, s, Change{Finish: id})
		if arrive(t, s, repeat) != "" {
			t.Fatal("a repeat of a finished delivery is fresh")
		}
		wantPending(t, s, "c", "room")
		wantPending(t, s, "c", "room2")

		// Two copies in one commit are one delivery.
		g := gate(s)
		twice := Delivery{Connector: "c", Key: "twice", Received: begun, Changes: []ChatChange{{Chat: "room3", Closed: true}}}
		storeTwice := func() error { _, err := s.StoreDelivery(t.Context(), twice, jobs.Job{Kind: "answer"}); return err }
		if err := errors.Join(together(t, s, g, storeTwice, storeTwice)...); err != nil {
			t.Fatal(err)
		}
		wantPending(t, s, "c", "room3", PendingChange{Closed: true, Received: begun})
	})
}

func TestAnAppliedChangeIsNotPending(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		handOver := []ChatChange{{Chat: "room", Agent: "eve"}}
		first := arrive(t, s, Delivery{Connector: "c", Key: "first", Received: begun, Changes: handOver})
		arrive(t, s, Delivery{Connector: "c", Key: "second", Received: begun.Add(time.Second), Changes: handOver})
		card := Card{ID: "card", Connector: "c", Chat: "room"}
		commit(t, s, Change{Card: &card})

		// A refused Change applies nothing.
		old := card
		old.Version = 7
		if err := s.Commit(t.Context(), Change{Card: &old, Applied: first}); !errors.Is(err, ErrConflict) {
			t.Fatalf("Commit = %v", err)
		}
		wantPending(t, s, "c", "room", PendingChange{Agent: "eve", Received: begun}, PendingChange{Agent: "eve", Received: begun.Add(time.Second)})

		commit(t, s, Change{Card: &card, Applied: first})
		wantPending(t, s, "c", "room", PendingChange{Agent: "eve", Received: begun.Add(time.Second)})
		if d, err := s.Delivery(t.Context(), first); err != nil || d.ChangesPending {
			t.Errorf("Delivery = %+v, %v", d, err)
		}
		commit(t, s, Change{Applied: first}) // a second time, which changes nothing
		commit(t, s, Change{Finish: first})
	})
}

func TestChangesOfAFailedDeliveryArePending(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{})
		id := arrive(t, s, Delivery{Connector: "c", Key: "close", Received: begun, Changes: []ChatChange{{Chat: "room", Closed: true}}})
		runJobs(t, s, 1, func(context.Context, jobs.Job) error { return jobs.Cancel(errors.New("bad delivery")) })
		wantPending(t, s, "c", "room", PendingChange{Closed: true, Received: begun})
		if err := s.Retry(t.Context(), id, "operator"); err != nil {
			t.Fatal(err)
		}
		wantPending(t, s, "c", "room", PendingChange{Closed: true, Received: begun})
		runJobs(t, s, 1, func(ctx context.Context, j jobs.Job) error { return s.Commit(ctx, Change{Finish: j.Subject}) })
		wantPending(t, s, "c", "room")
	})
}

func TestChangesOfFinishedOrRemovedDeliveriesArePurged(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		list := Delivery{Connector: "c", Key: "list", Received: begun}
		for i := range 600 { // more than one portion
			list.Changes = append(list.Changes, ChatChange{Chat: fmt.Sprint("room", i), Closed: true})
		}
		finished := arrive(t, s, list)
		arrive(t, s, Delivery{Connector: "c", Key: "waits", Received: begun, Changes: []ChatChange{{Chat: "room", Closed: true}}})
		last := arrive(t, s, Delivery{Connector: "c", Key: "last", Received: begun, Changes: []ChatChange{{Chat: "room"}}})
		commit(t, s, Change{Finish: finished})
		commit(t, s, Change{Finish: last})
		if n := changeRows(t, s); n != 602 {
			t.Fatalf("%d rows before", n)
		}
		if err := s.Purge(ctx, time.Now(), Retention{}); err != nil {
			t.Fatal(err)
		}
		if n := changeRows(t, s); n != 1 {
			t.Errorf("%d rows are left, want the one of the waiting delivery", n)
		}
		wantPending(t, s, "c", "room", PendingChange{Closed: true, Received: begun})
		// Now the waiting delivery is older than Retention.Failed.
		if err := s.Purge(ctx, time.Now().Add(2*time.Hour), Retention{Failed: time.Hour}); err != nil {
			t.Fatal(err)
		}
		if n := changeRows(t, s); n != 0 {
			t.Errorf("%d rows are left, want none", n)
		}
		wantPending(t, s, "c", "room")
	})
}

func TestErasingRemovesChatChanges(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		keep := func(key, chat string) string {
			return arrive(t, s, Delivery{Connector: "c", Key: key, Received: begun, Body: []byte(`{"customer":"` + chat + `"}`), Changes: []ChatChange{{Chat: chat, Closed: true}}})
		}
		keep("hash1", "chat-of-ann")
		// Without its body, this delivery does not show whom it is about.
		commit(t, s, Change{Finish: keep("hash2", "chat-of-ann")})
		commit(t, s, Change{Finish: keep("hash3", "chat-of-carl")})
		keep("hash4", "chat-of-carl")

		found, err := s.FindForErasure(ctx, ErasureQuery{IDs: []string{"chat-of-ann"}})
		if err != nil {
			t.Fatal(err)
		}
		if want := (Removed{Deliveries: 1, Jobs: 1}); found.Removed() != want {
			t.Errorf("found %+v, want %+v", found.Removed(), want)
		}
		r, _ := NewReceipt()
		r.State = ErasureDone
		if err := s.Erase(ctx, found, &r, "operator"); err != nil {
			t.Fatal(err)
		}
		if n := number(t, s, `SELECT count(*) FROM chat_changes WHERE chat = 'chat-of-ann'`); n != 0 {
			t.Errorf("%d rows of the person are left", n)
		}
		wantPending(t, s, "c", "chat-of-carl", PendingChange{Closed: true, Received: begun})
		if err := s.RemoveDeletedData(ctx); err != nil {
			t.Fatal(err)
		}
	})
}

func TestChangesAreReadAfterTheSecretChanged(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s := open(Options{Secret: secretA})
		arrive(t, s, Delivery{Connector: "c", Key: "close", Received: begun, Changes: []ChatChange{{Chat: "room", Closed: true}}})
		s.Close()
		for _, o := range []Options{{Secret: secretB, OldSecret: secretA}, {Secret: secretB}} {
			s = open(o)
			wantPending(t, s, "c", "room", PendingChange{Closed: true, Received: begun})
			s.Close()
		}
	})
}

// Two processes store and finish changes of the same chats at the same time, and purge.
func TestTwoReplicasShareChatChanges(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		one := open(Options{})
		replicas := []*Store{one, open(Options{Beside: true})}
		const chats, each = 5, 60
		var all sync.WaitGroup
		for n, s := range replicas {
			for i := range each {
				all.Go(func() {
					d := Delivery{Connector: "c", Key: fmt.Sprint(n, "/", i), Received: begun}
					for c := range chats { // each replica in an order of its own
						d.Changes = append(d.Changes, ChatChange{Chat: fmt.Sprint("room", (c*(n+1)+i)%chats), Agent: fmt.Sprint(n)})
					}
					if fresh, err := s.StoreDelivery(t.Context(), d, jobs.Job{Kind: "answer"}); err != nil || !fresh {
						t.Errorf("StoreDelivery = %v, %v", fresh, err)
						return
					}
					var id string
					if err := s.engine.QueryRow(t.Context(), `SELECT id FROM deliveries WHERE dedupe = $1`, d.Key).Scan(&id); err != nil {
						t.Error(err)
						return
					}
					change := Change{Finish: id}
					switch i % 3 {
					case 1:
						change = Change{Applied: id}
					case 2:
						return // it stays pending
					}
					// The other replica finishes it.
					if err := replicas[1-n].Commit(t.Context(), change); err != nil {
						t.Error(err)
					}
				})
			}
		}
		for range 3 {
			for _, s := range replicas {
				all.Go(func() {
					if err := s.Purge(t.Context(), time.Now(), Retention{}); err != nil {
						t.Error(err)
					}
				})
			}
		}
		all.Wait()
		if err := one.Purge(t.Context(), time.Now(), Retention{}); err != nil {
			t.Fatal(err)
		}
		for _, s := range replicas {
			for c := range chats {
				got, err := s.PendingChanges(t.Context(), "c", fmt.Sprint("room", c))
				if err != nil || len(got) != len(replicas)*each/3 {
					t.Errorf("room%d: %d changes are pending, want %d: %v", c, len(got), len(replicas)*each/3, err)
				}
			}
		}
		if n := changeRows(t, one); n != int64(chats*len(replicas)*each/3) {
			t.Errorf("%d rows", n)
		}
	})
}

// A counter is an engine that records its statements.
type counter struct {
	engine.Engine
	statements []string
}

func (c *counter) Query(ctx context.Context, query string, args ...any) (engine.Rows, error) {
	c.statements = append(c.statements, query)
	return c.Engine.Query(ctx, query, args...)
}

func (c *counter) QueryRow(ctx context.Context, query string, args ...any) engine.Row {
	c.statements = append(c.statements, query)
	return c.Engine.QueryRow(ctx, query, args...)
}

func (c *counter) Write(ctx context.Context, locks engine.Locks, f func(context.Context, engine.Tx) error) error {
	return c.Engine.Write(ctx, locks, func(ctx context.Context, tx engine.Tx) error { return f(ctx, countedTx{tx, c}) })
}

type countedTx struct {
	engine.Tx
	c *counter
}

func (t countedTx) Query(ctx context.Context, query string, args ...any) (engine.Rows, error) {
	t.c.statements = append(t.c.statements, query)
	return t.Tx.Query(ctx, query, args...)
}

func (t countedTx) QueryRow(ctx context.Context, query string, args ...any) engine.Row {
	t.c.statements = append(t.c.statements, query)
	return t.Tx.QueryRow(ctx, query, args...)
}

func (t countedTx) Exec(ctx context.Context, query string, args ...any) (int64, error) {
	t.c.statements = append(t.c.statements, query)
	return t.Tx.Exec(ctx, query, args...)
}

func (t countedTx) InsertJobs(ctx context.Context, all []river.InsertManyParams) error {
	t.c.statements = append(t.c.statements, "jobs")
	return t.Tx.InsertJobs(ctx, all)
}

func TestADeliveryWithoutChangesNeedsNoMoreStatements(t *testing.T) {
	onEachEngine(t, func(t *testing.T, open func(Options) *Store) {
		s, ctx := open(Options{}), t.Context()
		c := &counter{Engine: s.engine}
		s.engine = c
		count := func(f func()) (statements []string) {
			c.statements = nil
			f()
			for _, query := range c.statements {
				verb, _, _ := strings.Cut(query, " ")
				statements = append(statements, verb)
			}
			return statements
		}
		s.headRead = time.Now().Add(time.Hour) // else a transaction in each second reads the head
		store := func(key string, changes ...ChatChange) func() {
			return func() {
				if fresh, err := s.StoreDelivery(ctx, Delivery{Connector: "c", Key: key, Changes: changes}, jobs.Job{Kind: "answer"}); err != nil || !fresh {
					t.Errorf("StoreDelivery = %v, %v", fresh, err)
				}
			}
		}
		var id string
		for _, step := range []struct {
			name string
			do   func()
			want []string
		}{
			{"a delivery without changes", store("plain"), []string{"INSERT", "SELECT", "jobs"}},
			{"a delivery with changes", store("close", ChatChange{Chat: "a"}, ChatChange{Chat: "b"}), []string{"INSERT", "INSERT", "SELECT", "jobs"}},
			{"its reading", func() {
				if err := s.engine.QueryRow(ctx, `SELECT id FROM deliveries WHERE dedupe = 'close'`).Scan(&id); err != nil {
					t.Error(err)
				}
				c.statements = nil
				if d, err := s.Delivery(ctx, id); err != nil || !d.ChangesPending {
					t.Errorf("Delivery = %+v, %v", d, err)
				}
			}, []string{"SELECT"}},
			{"its changes", func() {
				if all, err := s.PendingChanges(ctx, "c", "a"); err != nil || len(all) != 1 {
					t.Errorf("PendingChanges = %v, %v", all, err)
				}
			}, []string{"SELECT"}},
			{"its end", func() { commit(t, s, Change{Finish: id}) }, []string{"UPDATE"}},
		} {
			if got := count(step.do); !slices.Equal(got, step.want) {
				t.Errorf("%s needs the statements %q, want %q", step.name, got, step.want)
			}
		}
	})
}

func TestPendingChangesAreFoundThroughTheIndexesOfBothTables(t *testing.T) {
	t.Parallel()
	s := openAt(t, newDatabase(t, "sqlite"), Options{})
	steps := strings.Join(plan(t, s, queryPendingChanges), "\n")
	for _, want := range []string{"SEARCH chat_changes USING PRIMARY KEY (connector=? AND chat=?)", "SEARCH deliveries USING INDEX sqlite_autoindex_deliveries_1 (id=?)"} {
		if !strings.Contains(steps, want) {
			t.Errorf("%q is not in the plan:\n%s", want, steps)
		}
	}
}
