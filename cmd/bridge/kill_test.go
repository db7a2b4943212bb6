package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"database/sql"
	"fmt"
	"maps"
	mathrand "math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	_ "github.com/jackc/pgx/v5/stdlib"

	"cobrowse-bridge/bridge/store"
	"cobrowse-bridge/bridge/store/audit"
	"cobrowse-bridge/bridge/store/sweeps"
)

const (
	writers    = 16
	pace       = 8 * time.Millisecond // between new deliveries of all writers
	minRun     = 50 * time.Millisecond
	maxRun     = 300 * time.Millisecond
	finishTime = 45 * time.Second // for all jobs after the last kill
)

// newDatabase returns the address of an empty database of the engine. For PostgreSQL
// it uses the server that BRIDGE_TEST_POSTGRES names, or skips the test.
func newDatabase(t testing.TB, engine string) (address string) {
	t.Helper()
	if engine == "sqlite" {
		return "sqlite:" + t.TempDir() + "/bridge.db"
	}
	server := os.Getenv("BRIDGE_TEST_POSTGRES")
	if server == "" {
		t.Skip("BRIDGE_TEST_POSTGRES does not name a PostgreSQL server")
	}
	u, err := url.Parse(server)
	if err != nil {
		t.Fatal("BRIDGE_TEST_POSTGRES is not a URL")
	}
	ctx := context.Background()
	admin := func(query string) {
		conn, err := pgx.Connect(ctx, server)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close(ctx)
		if _, err := conn.Exec(ctx, query); err != nil {
			t.Fatal(err)
		}
	}
	u.Path = "/bridge_test_" + strings.ToLower(rand.Text())
	admin("CREATE DATABASE " + u.Path[1:])
	t.Cleanup(func() { admin("DROP DATABASE " + u.Path[1:] + " WITH (FORCE)") })
	return u.String()
}

// openDatabase opens the bridge's database directly, without package store.
func openDatabase(t testing.TB, address string) *sql.DB {
	t.Helper()
	driver, source := "pgx", address
	if path, ok := strings.CutPrefix(address, "sqlite:"); ok {
		driver, source = "sqlite", path
	}
	db, err := sql.Open(driver, source)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	return db
}

func number(t testing.TB, db *sql.DB, query string) (n int) {
	t.Helper()
	if err := db.QueryRowContext(t.Context(), query).Scan(&n); err != nil {
		t.Fatalf("%s: %v", query, err)
	}
	return n
}

// A sender is a chat service that repeats each delivery until the answer is 200. While
// the bridge is down it waits for the address of the next bridge.
type sender struct {
	*services
	t        *testing.T
	client   *http.Client
	address  atomic.Pointer[string] // of one bridge, or of several with commas between; nil for none
	allowed  chan struct{}          // one for each delivery that may be sent
	answered atomic.Int64           // deliveries answered 200
	sent     atomic.Int64           // deliveries sent, with repeats
	mu       sync.Mutex
	rooms    []string        // of the deliveries answered 200
	over     map[string]bool // rooms that were closed
}

// deliver sends one delivery until it is answered 200.
func (s *sender) deliver(event, room string) {
	body, header := s.chat.Event(event, room)
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	for !s.post(body, header) {
		select {
		case <-tick.C:
		case <-s.t.Context().Done():
			return
		}
	}
	s.answered.Add(1)
}

func (s *sender) post(body []byte, header http.Header) bool {
	address := s.address.Load()
	if address == nil {
		return false
	}
	all := strings.Split(*address, ",")
	r, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, "http://"+all[mathrand.IntN(len(all))]+"/hooks/rocketchat", bytes.NewReader(body))
	if err != nil {
		return false
	}
	r.Header, r.Host = header, strings.TrimPrefix(origin, "https://") // proxies look at the host
	s.sent.Add(1)
	res, err := s.client.Do(r)
	if err != nil {
		return false
	}
	res.Body.Close()
	return res.StatusCode == http.StatusOK
}

// write sends one delivery for each value of allowed, each of a new chat. It closes
// some of the chats at once.
func (s *sender) write() {
	for range s.allowed {
		room := s.openChat(pageKeyFields())
		s.chat.Take(room, "bob")
		s.deliver("LivechatSessionTaken", room)
		over := mathrand.IntN(8) == 0
		if over {
			s.chat.CloseChat(room)
			s.deliver("LivechatSession", room)
		}
		s.mu.Lock()
		s.rooms = append(s.rooms, room)
		s.over[room] = over
		s.mu.Unlock()
	}
}

// writeUntil allows one delivery each pace until enough, and fails if the program ends.
func (s *sender) writeUntil(enough <-chan time.Time, p *program) {
	s.t.Helper()
	tick := time.NewTicker(pace)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			select {
			case s.allowed <- struct{}{}:
			default: // all are still sending
			}
		case <-enough:
			return
		case <-p.ended:
			s.t.Fatalf("the bridge ended by itself with %d", p.status)
		}
	}
}

func TestPromise4AcknowledgedDeliveriesSurviveKill9(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		engine   string
		replicas int
	}{"sqlite": {"sqlite", 1}, "postgres": {"postgres", 1}, "three replicas": {"postgres", 3}} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			testSurvivesKill9(t, newDatabase(t, test.engine), test.replicas)
		})
	}
}

// howManyKills returns the number in BRIDGE_TEST_KILLS, or 12. One takes a third of a second.
func howManyKills(t *testing.T) int {
	given := os.Getenv("BRIDGE_TEST_KILLS")
	if given == "" {
		return 12
	}
	kills, err := strconv.Atoi(given)
	if err != nil || kills < 1 {
		t.Fatalf("BRIDGE_TEST_KILLS is %q, want a number from 1", given)
	}
	return kills
}

// testSurvivesKill9 kills the replicas in turn while the others go on.
func testSurvivesKill9(t *testing.T, database string, replicas int) {
	kills := howManyKills(t)
	s := &sender{services: newServices(t), t: t, client: newClient(), allowed: make(chan struct{}, writers), over: map[string]bool{}}
	t.Cleanup(s.client.CloseIdleConnections)
	s.ann()
	env := with(s.env(t), "BRIDGE_DATABASE="+database, "BRIDGE_LOG_LEVEL=warn")
	var all sync.WaitGroup
	for range writers {
		all.Go(s.write)
	}

	began := time.Now()
	live := make([]*program, 0, replicas)
	serving := map[*program]string{} // addresses
	useServing := func() {
		all := strings.Join(slices.Collect(maps.Values(serving)), ",")
		if s.address.Store(&all); all == "" {
			s.address.Store(nil)
		}
	}
	for n := range kills + replicas - 1 {
		p := start(t, env, "serve")
		if n%4 != 3 { // every fourth bridge is killed while it starts
			serving[p] = p.ready()
			useServing()
		}
		live = append(live, p)
		s.writeUntil(time.After(minRun+mathrand.N(maxRun-minRun)), p)
		if len(live) < replicas {
			continue
		}
		delete(serving, live[0])
		useServing()
		live[0].kill()
		live = live[1:]
	}
	close(s.allowed)
	s.address.Store(nil)
	for _, p := range live {
		p.kill()
	}
	killed := time.Since(began)

	db := openDatabase(t, database)
	expire(t, db)
	p, address := startServe(t, env)
	s.address.Store(&address)
	all.Wait()
	eventually(t, lazyText(func() string {
		return fmt.Sprintf("every chat is handled: %d jobs are pending; %s", pending(t, db), s.unhandled())
	}), finishTime, func() bool { return s.unhandled() == "" && pending(t, db) == 0 })
	p.terminate()
	if t.Failed() {
		return
	}
	s.reconcile(db)
	s.verify(database)
	t.Logf("%d kills in %v, then %v; %d deliveries of %d chats answered 200, %d sent",
		kills, killed.Round(time.Millisecond), (time.Since(began) - killed).Round(time.Millisecond), s.answered.Load(), len(s.rooms), s.sent.Load())
}

// expire makes the dead process's leases a minute older. Another worker may then show
// its posts, and PostgreSQL's jobs count as abandoned.
func expire(t *testing.T, db *sql.DB) {
	t.Helper()
	for _, query := range []string{
		"UPDATE posts SET leased = leased - 60000000 WHERE leased > 0",
		// On SQLite the bridge finds abandoned jobs at its next start.
		"UPDATE river_job SET attempted_at = attempted_at - INTERVAL '1 minute' WHERE state = 'running'",
	} {
		_, err := db.ExecContext(t.Context(), query)
		// A bridge that runs takes the same rows in another order, so PostgreSQL may end the statement.
		for err != nil && strings.Contains(err.Error(), "deadlock detected") {
			_, err = db.ExecContext(t.Context(), query)
		}
		if err != nil && !strings.Contains(err.Error(), "syntax error") {
			t.Fatal(err)
		}
	}
}

// pending counts the jobs that are not done. Jobs that refresh the presence on a card
// do not count: they run again later in any case.
func pending(t *testing.T, db *sql.DB) int {
	return number(t, db, "SELECT count(*) FROM river_job WHERE state IN ('available', 'running', 'retryable', 'scheduled', 'pending') AND args ->> 'kind' <> 'refresh'")
}

// unhandled describes a chat that is open without an open card, or closed with a card
// that does not say so. It returns "" if there is none.
func (s *sender) unhandled() string {
	cards := map[string]string{} // texts by room
	for _, p := range s.chat.Posts("bob") {
		if m := roomOf.FindStringSubmatch(p.Text); m != nil {
			cards[m[1]] = p.Text
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, room := range s.rooms {
		text, there := cards[room]
		if closed := strings.Contains(text, "Chat closed"); s.over[room] && there && !closed || !s.over[room] && (!there || closed) {
			return fmt.Sprintf("%s, closed: %v, has the card %q", room, s.over[room], text)
		}
	}
	return ""
}

// reconcile compares the deliveries that were answered 200 with the database.
func (s *sender) reconcile(db *sql.DB) {
	t := s.t
	for room, n := range s.postsByRoom("bob") {
		if n != 1 {
			t.Errorf("%s has %d direct messages", room, n)
		}
	}
	n, want := number(t, db, "SELECT count(*) FROM deliveries WHERE dedupe NOT LIKE '"+sweeps.FoundKey+"%'"), int(s.answered.Load())
	handled := number(t, db, "SELECT count(*) FROM handled") // hashes, also of deliveries that sweeps found
	if n+handled < want || handled == 0 && n > want {
		t.Errorf("%d rows of deliveries and %d hashes for %d that were answered 200", n, handled, want)
	}
	if n, want := number(t, db, "SELECT count(*) FROM cards"), len(s.rooms); n != want {
		t.Errorf("%d cards for %d chats", n, want)
	}
	for what, query := range map[string]string{
		"deliveries that are not finished": "SELECT count(*) FROM deliveries WHERE finished IS NULL OR body IS NOT NULL",
		"deliveries that are there twice":  "SELECT count(*) FROM (SELECT 1 FROM deliveries GROUP BY connector, dedupe HAVING count(*) > 1) AS twice",
		"chats with two cards":             "SELECT count(*) FROM (SELECT 1 FROM cards GROUP BY connector, chat HAVING count(*) > 1) AS twice",
		"cards with two posts":             "SELECT count(*) FROM (SELECT 1 FROM posts GROUP BY card HAVING count(*) > 1) AS twice",
		"posts still leased":               "SELECT count(*) FROM posts WHERE leased > 0",
		"jobs given up":                    "SELECT count(*) FROM river_job WHERE state IN ('cancelled', 'discarded')",
	} {
		if n := number(t, db, query); n != 0 {
			t.Errorf("%d %s", n, what)
		}
	}
	for room, over := range s.over {
		var state string
		if err := db.QueryRowContext(t.Context(), "SELECT state FROM cards WHERE chat = $1", room).Scan(&state); err != nil || (state == "closed") != over {
			t.Errorf("%s, closed: %v, has a card in state %q, %v", room, over, state, err)
		}
	}
}

// verify checks the database file and the audit log.
func (s *sender) verify(database string) {
	t := s.t
	if path, ok := strings.CutPrefix(database, "sqlite:"); ok {
		var answer string
		db := openDatabase(t, "sqlite:"+path)
		if err := db.QueryRowContext(t.Context(), "PRAGMA integrity_check").Scan(&answer); err != nil || answer != "ok" {
			t.Errorf("integrity_check says %q, %v", answer, err)
		}
		db.Close()
	}
	db, err := store.Open(t.Context(), database, store.Options{Secret: s.bridge})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.AuditLog().Verify(t.Context(), audit.Head{}); err != nil {
		t.Error(err)
	}
	head, err := db.AuditLog().Head(t.Context())
	if err != nil || head.Seq == 0 {
		t.Errorf("the audit log has %d records, %v", head.Seq, err)
	}
}
