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

	"cobrowse-bridge/bridge/benchtest"
	"cobrowse-bridge/bridge/web"
	"cobrowse-bridge/upscope"
)

// The tests in this file count operations. The counts are the same on every machine.

func newCountedBridge(t testing.TB) *benchBridge {
	t.Helper()
	c, err := newBenchBridge(t.TempDir(), "http://127.0.0.1:1", inMemory{}, unlimited)
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

func (c *benchBridge) serve(t testing.TB, r *http.Request, status int) {
	t.Helper()
	answer := httptest.NewRecorder()
	c.ServeHTTP(answer, r)
	if answer.Code != status {
		t.Fatalf("%s %s is answered %d: %s", r.Method, r.URL.Path, answer.Code, answer.Body)
	}
}

// 64 clicks at once need at least 64 connections; a new one for each click would be 10,000.
// On a busy machine Go drops some connections, because it learns too late that a request
// was written (net/http, maxWriteWaitBeforeConnReuse).
func TestManyClicksShareAFewConnectionsToUpscope(t *testing.T) {
	t.Parallel()
	const clicks, most = 10_000, 200
	if n := connectionsOfClicks(t, clicks); n > most {
		t.Errorf("%d connections for %d clicks, want at most %d", n, clicks, most)
	}
}

func connectionsOfClicks(t *testing.T, clicks int) int64 {
	const parallel = 64
	var connections, came atomic.Int64
	// The first requests are held until all connections are made. Otherwise one request could
	// reuse the connection of another.
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
	c, err := newBenchBridge(t.TempDir(), fake.URL, transport, unlimited)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.close() }()
	benchtest.Parallel(t, parallel, clicks, func(i int) error {
		visitor := fmt.Sprintf("V%09d", i)
		if _, err := c.upscope.Visitor(t.Context(), visitor); err != nil {
			return err
		}
		_, err := c.mint(t.Context(), visitor)
		return err
	})
	return connections.Load()
}

func TestADeliveryAndAClickUseOneTransactionEach(t *testing.T) {
	t.Parallel()
	c := newCountedBridge(t)
	const n = 10
	doors, err := c.makeDoors(n)
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
		t.Errorf("%d transactions for pages and repeated deliveries, want none", got)
	}
}

func TestGuessedDoorsBeyondTheLimitAreNotWritten(t *testing.T) {
	t.Parallel()
	c, err := newBenchBridge(t.TempDir(), "http://127.0.0.1:1", inMemory{}, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.close() }()
	emptyLog(t, c.file)
	most := web.DefaultBudgets().UnknownDoors.Acts
	for range 10 * most {
		c.ServeHTTP(httptest.NewRecorder(), unknownDoor(""))
	}
	if got := transactions(t, c.file); got > most+1 {
		t.Errorf("%d transactions for one address that guesses doors, want at most %d", got, most+1)
	}
}

// emptyLog makes SQLite move the whole write-ahead log into the database file.
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

// transactions counts the commits in the write-ahead log: the frames that have the size of
// the database (sqlite.org/fileformat2.html#walformat).
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
			t.Fatal("SQLite restarted the write-ahead log during the test")
		}
		if binary.BigEndian.Uint32(frame[4:]) != 0 {
			n++
		}
	}
	return n
}
