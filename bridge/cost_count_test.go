package bridge

import (
	"bytes"
	"crypto/tls"
	"database/sql"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"cobrowse-bridge/bridge/benchtest"
	"cobrowse-bridge/bridge/policy"
	"cobrowse-bridge/upscope"
)

// The tests here count. What they count is the same on every machine.

func newCrowdedTest(t testing.TB) *crowded {
	t.Helper()
	c, err := newCrowded(t.TempDir(), "http://127.0.0.1:1", inMemory{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

func (c *crowded) serve(t testing.TB, r *http.Request, status int) {
	t.Helper()
	answer := httptest.NewRecorder()
	c.ServeHTTP(answer, r)
	if answer.Code != status {
		t.Fatalf("%s %s is answered %d: %s", r.Method, r.URL.Path, answer.Code, answer.Body)
	}
}

// On a busy machine a connection may be given up because Go does not learn in time that
// a request was written (net/http, maxWriteWaitBeforeConnReuse), so there are three tries.
func TestManyClicksShareAFewConnectionsToUpscope(t *testing.T) {
	t.Parallel()
	var opened []int64
	for range 3 {
		n := connectionsOfClicks(t, 10_000)
		if n <= 80 {
			return
		}
		opened = append(opened, n)
	}
	t.Errorf("%d connections for 10,000 clicks", opened)
}

func connectionsOfClicks(t *testing.T, clicks int) int64 {
	const parallel = 64
	var connections, came atomic.Int64
	// The first are all under way at once, or some would be answered on each other's
	// connections while their own are still made.
	all := make(chan struct{})
	fake := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if came.Add(1) == parallel {
			close(all)
		}
		<-all
		quickUpscope(w, r)
	}))
	fake.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			connections.Add(1)
		}
	}
	fake.EnableHTTP2 = false
	fake.StartTLS()
	defer fake.Close()
	transport := upscope.NewTransport()
	transport.TLSClientConfig = &tls.Config{RootCAs: fake.Client().Transport.(*http.Transport).TLSClientConfig.RootCAs}
	defer transport.CloseIdleConnections()
	c, err := newCrowded(t.TempDir(), fake.URL, transport)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.close() }()
	benchtest.Parallel(t, parallel, clicks, func(i int) error {
		v, err := c.finder.visitor(t.Context(), fmt.Sprintf("V%09d", i))
		if err != nil {
			return err
		}
		k := card{about: detail{Agent: Agent{ID: "agent-1", Name: "Bob Baker"}}}
		k.Agent = "desk:agent-1"
		_, err = c.mint(t.Context(), k, v, policy.Profile{})
		return err
	})
	return connections.Load()
}

func TestADeliveryIsOneTransactionAndSoIsAClick(t *testing.T) {
	t.Parallel()
	c := newCrowdedTest(t)
	const n = 10
	doors, err := c.doorways(n)
	if err != nil {
		t.Fatal(err)
	}
	emptyLog(t, c.file)
	for i := range n {
		c.serve(t, delivery("", fmt.Sprint("event-", i)), http.StatusOK)
	}
	if got := transactions(t, c.file); got != n {
		t.Errorf("%d transactions for %d deliveries", got, n)
	}
	emptyLog(t, c.file)
	for i := range n {
		c.serve(t, doors[i].press(""), http.StatusSeeOther)
	}
	if got := transactions(t, c.file); got != n {
		t.Errorf("%d transactions for %d clicks", got, n)
	}
	emptyLog(t, c.file)
	for i := range n {
		c.serve(t, doors[i].look(""), http.StatusOK)
		c.serve(t, delivery("", fmt.Sprint("event-", i)), http.StatusOK)
	}
	if got := transactions(t, c.file); got != 0 {
		t.Errorf("%d transactions for what changes nothing", got)
	}
	c.budgets.unknownDoors.Acts = n
	for range 10 * n {
		c.ServeHTTP(httptest.NewRecorder(), unknown(""))
	}
	if got := transactions(t, c.file); got > n+1 {
		t.Errorf("%d transactions for one address that guesses doors and may do so %d times", got, n)
	}
}

// emptyLog has SQLite bring all that is in the write-ahead log to the database.
func emptyLog(t *testing.T, file string) {
	t.Helper()
	db, err := sql.Open("sqlite", file)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = db.Close() }()
	var busy, frames, moved int
	if err := db.QueryRowContext(t.Context(), "PRAGMA wal_checkpoint(TRUNCATE)").Scan(&busy, &frames, &moved); err != nil || busy != 0 {
		t.Fatalf("the log cannot be emptied: %d, %v", busy, err)
	}
}

// transactions counts the commits in the write-ahead log: the frames that tell
// the size of the database (sqlite.org/fileformat2.html#walformat).
func transactions(t *testing.T, file string) (n int) {
	t.Helper()
	log, err := os.ReadFile(file + "-wal")
	if err != nil {
		t.Fatal(err)
	}
	const header, frameHeader = 32, 24
	if len(log) < header {
		return 0
	}
	salt, page := log[16:24], int(binary.BigEndian.Uint32(log[8:]))
	for at := header; at+frameHeader+page <= len(log); at += frameHeader + page {
		frame := log[at : at+frameHeader]
		if !bytes.Equal(frame[8:16], salt) {
			t.Fatal("the log was begun anew while it was written")
		}
		if binary.BigEndian.Uint32(frame[4:]) != 0 {
			n++
		}
	}
	return n
}

func TestACacheHoldsNoMoreThanItsBound(t *testing.T) {
	t.Parallel()
	const bound, keys = 10_000, 1_000_000
	c := newCache(bound, func(int) time.Duration { return time.Hour })
	benchtest.Parallel(t, 8, keys, func(i int) error {
		c.put(fmt.Sprint(i), i)
		return nil
	})
	if n := c.items.ItemCount(); n != bound {
		t.Errorf("%d entries after %d keys, where %d are allowed", n, keys, bound)
	}
}
