package bridge_test

import (
	"context"
	"database/sql"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/bridge"
	"cobrowse-bridge/bridge/metrics"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/bridge/store"

	"github.com/jackc/pgx/v5"
)

var operationsCount = regexp.MustCompile(`bridge_database_operations_total\{operation="(\w+)",outcome="ok"\} (\d+)`)

// databaseReads returns how often the bridge has read its database, without its jobs.
func (w *world) databaseReads() int {
	w.Helper()
	return w.databaseOperations("read")
}

// databaseWrites returns how many transactions the bridge has made, without those of its jobs.
func (w *world) databaseWrites() int {
	w.Helper()
	return w.databaseOperations("write")
}

func (w *world) databaseOperations(operation string) int {
	w.Helper()
	if w.readings == nil {
		w.readings = metrics.New(metrics.Config{Calls: w.calls}).Handler()
	}
	rec := httptest.NewRecorder()
	w.readings.ServeHTTP(rec, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	for _, m := range operationsCount.FindAllStringSubmatch(rec.Body.String(), -1) {
		if m[1] == operation {
			n, err := strconv.Atoi(m[2])
			w.must(err)
			return n
		}
	}
	w.Fatalf("no count in %s", rec.Body)
	return 0
}

// readsDuring returns how often the database is read while time passes without jobs.
func (w *world) readsDuring(d time.Duration) int {
	w.Helper()
	before := w.databaseReads()
	<-time.After(d)
	return w.databaseReads() - before
}

// cards returns the events with cards.
func (s *stream) cards() (events []string) {
	for _, e := range s.all() {
		if strings.HasPrefix(e, "event: cards\n") {
			events = append(events, e)
		}
	}
	return events
}

// last returns the last event with cards.
func (s *stream) last() string {
	events := s.cards()
	if len(events) == 0 {
		return ""
	}
	return events[len(events)-1]
}

// desks opens n desks of agents other than bob.
func (o *oidcWorld) desks(n int) (all []*stream) {
	for i := range n {
		b := o.signedIn([]string{"eve", "agent0", "agent1", "agent2", "agent3"}[i%5])
		s, stop := o.listen(b)
		o.Cleanup(stop)
		all = append(all, s)
	}
	return all
}

func TestIdleDesksShareOneQueryForEachTick(t *testing.T) {
	for _, n := range []int{1, 40} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inOIDCWorld(t, "", func(o *oidcWorld) {
				bobHasCard(o.world)
				o.stop() // jobs read as well
				o.desks(n)
				<-time.After(5*time.Second + 500*time.Millisecond) // between two ticks
				if got := o.readsDuring(20 * time.Second); got != 20 {
					t.Errorf("%d reads in 20 seconds, want 20", got)
				}
			})
		})
	}
}

func TestAChangeIsReadOnlyForTheDesksConcerned(t *testing.T) {
	for _, n := range []int{1, 40} {
		t.Run(fmt.Sprint(n), func(t *testing.T) {
			inOIDCWorld(t, "", func(o *oidcWorld) {
				bobHasCard(o.world)
				bob := o.connectedBob()
				others := o.desks(n)
				s, stop := o.listen(bob)
				defer stop()
				o.pass(5 * time.Second)
				o.stop()
				before := o.databaseReads()
				id := strings.TrimPrefix(o.cardPath(bob.follow("/")), "/desk/card/")
				page := o.databaseReads() - before
				stored, err := o.store.Card(o.Context(), id)
				o.must(err)
				before = o.databaseReads()
				stored.State = "closed"
				o.must(o.store.Commit(o.Context(), store.Change{Card: &stored}))
				<-time.After(500 * time.Millisecond)
				took := o.databaseReads() - before
				if got := s.last(); len(s.cards()) != 2 || strings.Contains(got, id) || !strings.Contains(got, "No customers yet") {
					t.Errorf("%d events, the last is %q", len(s.cards()), got)
				}
				if took > page+2 {
					t.Errorf("%d reads for the change, and %d for a page", took, page)
				}
				for i, other := range others {
					if n := len(other.cards()); n != 1 {
						t.Errorf("desk %d has %d events", i, n)
					}
				}
			})
		})
	}
}

func TestAnEventHasOnlyTheRowsThatChanged(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		bobHasCard(o.world)
		bob := o.connectedBob()
		o.bobTakes(o.openChat(nil))
		o.visitorWithCode("Carl Cole", "4821")
		s, stop := o.listen(bob)
		defer stop()
		old, stopOld := o.listenAt(bob, "/desk/events") // of the script of an earlier version
		defer stopOld()
		o.pass(time.Second)
		if got := s.last(); len(s.cards()) != 1 || strings.Contains(got, "data-same") || !strings.Contains(got, "basket") {
			t.Fatalf("the first events are %q", s.cards())
		}
		bob.press("/desk/look-up", url.Values{"code": {"4821"}})
		<-time.After(200 * time.Millisecond)
		got := s.last()
		if len(s.cards()) != 2 || strings.Contains(got, "basket") || !strings.Contains(got, "data-same") || !strings.Contains(got, "Carl Cole") || !strings.Contains(got, `<span class="count">2</span>`) {
			t.Errorf("the events are %q", s.cards())
		}
		if got := old.last(); !strings.Contains(got, "basket") || strings.Contains(got, "data-same") || !strings.Contains(got, "Carl Cole") {
			t.Errorf("the event for the earlier script is %q", got)
		}
		again, stopAgain := o.listen(bob)
		defer stopAgain()
		<-time.After(200 * time.Millisecond)
		if got := again.last(); strings.Contains(got, "data-same") || !strings.Contains(got, "basket") || !strings.Contains(got, "Carl Cole") {
			t.Errorf("a new stream begins with %q", got)
		}
	})
}

// What another replica commits is found by reading, also if the transaction began before others that were read.
func TestChangesOfAnotherReplicaThatCommitLateAreShown(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		bobHasCard(o.world)
		bob := o.connectedBob()
		s, stop := o.listen(bob)
		defer stop()
		o.pass(3 * time.Second)
		o.stop()
		id := strings.TrimPrefix(o.cardPath(bob.follow("/")), "/desk/card/")
		file, err := sql.Open("sqlite", o.file)
		o.must(err)
		defer file.Close()
		exec := func(query string, args ...any) {
			t.Helper()
			if _, err := file.ExecContext(o.Context(), query, args...); err != nil {
				t.Fatal(err)
			}
		}
		last, err := o.store.LastDeskChange(o.Context())
		o.must(err)
		exec(`INSERT INTO desk_changes (seq, card, agent, connector, session) VALUES (?, 'another', 'another', '', '')`, last+2)
		<-time.After(20 * time.Second)
		exec(`DELETE FROM cards WHERE id = ?`, id)
		if n := len(s.cards()); n != 1 {
			t.Fatalf("%d events before the change", n)
		}
		exec(`INSERT INTO desk_changes (seq, card, agent, connector, session) VALUES (?, ?, '', '', '')`, last+1, id)
		<-time.After(1500 * time.Millisecond)
		if got := s.last(); len(s.cards()) != 2 || strings.Contains(got, id) {
			t.Errorf("%d events, the last is %q", len(s.cards()), got)
		}
	})
}

// A bridge of an earlier version says nothing about its changes.
func TestADeskIsReadAgainWithinAMinute(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		bobHasCard(o.world)
		bob := o.connectedBob()
		s, stop := o.listen(bob)
		defer stop()
		o.pass(3 * time.Second)
		o.stop()
		file, err := sql.Open("sqlite", o.file)
		o.must(err)
		defer file.Close()
		if _, err := file.ExecContext(o.Context(), `UPDATE cards SET state = 'closed', version = version + 1`); err != nil {
			t.Fatal(err)
		}
		<-time.After(61 * time.Second)
		if got := s.last(); len(s.cards()) != 2 || !strings.Contains(got, "No customers yet") {
			t.Errorf("%d events, the last is %q", len(s.cards()), got)
		}
	})
}

func TestADeskChangesWhenTimePasses(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		ann, _ := bobHasCard(o.world)
		bob := o.connectedBob()
		o.upscope.Go(strings.Split(ann, ".")[0])
		o.pass(3 * time.Minute)
		id := strings.TrimPrefix(o.cardPath(bob.follow("/")), "/desk/card/")
		bob.press("/desk/tell", url.Values{"card": {id}})
		s, stop := o.listen(bob)
		defer stop()
		o.upscope.Return(strings.Split(ann, ".")[0])
		for range 60 {
			o.pass(time.Second)
			if strings.Contains(s.last(), "Back online") {
				break
			}
		}
		o.stop()
		stored, err := o.store.Card(o.Context(), id)
		o.must(err)
		stored.DoorUntil = time.Now().Add(10 * time.Minute)
		o.must(o.store.Commit(o.Context(), store.Change{Card: &stored}))
		<-time.After(4 * time.Minute)
		if got := s.last(); !strings.Contains(got, "Back online") {
			t.Fatalf("the last event is %q", got)
		}
		<-time.After(time.Minute + 2*time.Second)
		if got := s.last(); !strings.Contains(got, ">Online<") || strings.Contains(got, ">Back online<") {
			t.Errorf("five minutes after the customer came back the last event is %q", got)
		}
		<-time.After(5 * time.Minute)
		if got := s.last(); !strings.Contains(got, "No customers yet") {
			t.Errorf("after the card expired the last event is %q", got)
		}
	})
}

func TestAnOpenDeskFollowsThePolicy(t *testing.T) {
	file := filepath.Join(t.TempDir(), "policy.yaml")
	write := func(rules string) {
		if err := os.WriteFile(file, []byte(rules), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("rules:\n  - may: [watch, stop, look-up]\n")
	rules, err := policy.Open(file, "rocketchat")
	if err != nil {
		t.Fatal(err)
	}
	inOIDCWorld(t, "", func(o *oidcWorld) {
		bobHasCard(o.world)
		bob := o.connectedBob()
		s, stop := o.listen(bob)
		defer stop()
		o.pass(3 * time.Second)
		write("rules:\n  - may: [look-up]\n")
		if changed, err := rules.Reload(); !changed || err != nil {
			t.Fatalf("the policy was reloaded: %t, %v", changed, err)
		}
		<-time.After(1500 * time.Millisecond)
		if got := s.last(); len(s.cards()) != 2 || !strings.Contains(got, "You are not allowed to co-browse") {
			t.Errorf("the last event is %q", got)
		}
	}, options{config: func(c *bridge.Config) { c.Policy = rules }})
}

func TestAnOpenDeskShowsAccountsThatAreConnectedAndDisconnected(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		bobHasCard(o.world)
		bob := o.signedIn("bob")
		s, stop := o.listen(bob)
		defer stop()
		o.pass(time.Second)
		if got := s.last(); !strings.Contains(got, "No customers yet") {
			t.Fatalf("the first event is %q", got)
		}
		bob.press(o.door("bob"), url.Values{"connect": {"1"}}).want(t, http.StatusOK)
		<-time.After(200 * time.Millisecond)
		if got := s.last(); !strings.Contains(got, "basket") {
			t.Errorf("the event is %q", got)
		}
		bob.press("/desk/unlink", url.Values{"account": {"rocketchat:a1"}})
		<-time.After(200 * time.Millisecond)
		if got := s.last(); !strings.Contains(got, "No customers yet") {
			t.Errorf("the event is %q", got)
		}
		bob.press("/signout", nil)
		<-time.After(200 * time.Millisecond)
		select {
		case <-s.done:
		default:
			t.Error("the stream did not end when the agent signed out")
		}
	})
}

func TestASharedCardIsShownAtAllDesks(t *testing.T) {
	inOIDCWorld(t, "", func(o *oidcWorld) {
		o.ann()
		o.chat.AddChannel("support-agents", "bob", "eve", "cobrowse")
		desks := o.desks(10)
		o.pass(3 * time.Second)
		room := o.openChat(withPageKey())
		o.bobTakes(room)
		o.pass(4 * time.Second)
		for i, s := range desks {
			if got := s.last(); !strings.Contains(got, "basket") || !strings.Contains(got, "Bob Baker") {
				t.Errorf("desk %d shows %q", i, got)
			}
		}
		o.chat.CloseChat(room)
		o.deliverEvent("LivechatSession", room)
		o.pass(4 * time.Second)
		for i, s := range desks {
			if got := s.last(); strings.Contains(got, "data-card") || !strings.Contains(got, "No customers yet") {
				t.Errorf("after the end of the chat desk %d shows %q", i, got)
			}
		}
	}, showInChannel)
}

func TestReplicasShowEachOthersChangesAtOpenDesks(t *testing.T) {
	t.Parallel()
	s := newSetup(t, "postgres", "oidc")
	first, second := s.replicas[0], s.replicas[1]
	first.ann()
	first.chat.Take(first.openChat(withPageKey()), "bob")
	body, header := first.chat.Event("LivechatSessionTaken", "room00000000000001")
	first.post("/hooks/rocketchat", body, header)
	eventually(t, "the card is shown", func() bool { return len(first.chat.Posts("bob")) > 0 })
	bob := s.oidc.connectedBob()
	id := strings.TrimPrefix(s.oidc.cardPath(bob.follow("/")), "/desk/card/")
	at := *s.oidc
	at.world = second
	desk, stop := at.listen(bob)
	defer stop()
	shows := func(text string) bool { return strings.Contains(desk.last(), text) }
	eventually(t, "the desk is open", func() bool { return shows("basket") })

	stored, err := first.store.Card(t.Context(), id)
	first.must(err)
	stored.State = "offline"
	first.must(first.store.Commit(t.Context(), store.Change{Card: &stored}))
	eventually(t, "the other replica's change is shown", func() bool { return shows(">Offline<") })

	// A transaction that began earlier commits later.
	conn, err := pgx.Connect(t.Context(), second.database)
	first.must(err)
	defer conn.Close(context.WithoutCancel(t.Context()))
	early, err := conn.Begin(t.Context())
	first.must(err)
	_, err = early.Exec(t.Context(), `INSERT INTO desk_changes (card, agent, connector, session) VALUES ($1, '', '', '')`, id)
	first.must(err)
	first.must(first.store.StartWait(t.Context(), store.Wait{Card: id, Agent: stored.Agent, Until: time.Now().Add(time.Hour)}, time.Now().Add(time.Hour)))
	eventually(t, "the later change is shown", func() bool { return shows("comes back within an hour") })
	_, err = early.Exec(t.Context(), `UPDATE cards SET state = 'closed', version = version + 1 WHERE id = $1`, id)
	first.must(err)
	first.must(early.Commit(t.Context()))
	eventually(t, "the earlier change is shown", func() bool { return shows("No customers yet") })
}
