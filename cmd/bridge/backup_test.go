package main

import (
	"net/http"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// doorsByRoom returns the path of the link in an agent's direct message about each room.
func (s *services) doorsByRoom(username string) map[string]string {
	doors := map[string]string{}
	for _, p := range s.chat.Posts(username) {
		room, door := roomOf.FindStringSubmatch(p.Text), doorAddress.FindStringSubmatch(p.Text)
		if room != nil && door != nil {
			doors[room[1]] = door[1]
		}
	}
	return doors
}

// answeredRooms returns the rooms whose deliveries were answered 200, and how many were.
func (s *sender) answeredRooms() (rooms []string, answered int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.rooms), s.answered.Load()
}

// runToEnd runs a command of the program, and returns its exit status and output.
func runToEnd(t *testing.T, env map[string]string, args ...string) (status int, out, errors string) {
	t.Helper()
	p := start(t, env, args...)
	return p.wait(maxWait), p.out.String(), p.err.String()
}

func TestABackupUnderLoadHasEveryAcknowledgedDelivery(t *testing.T) {
	t.Parallel()
	s := &sender{services: newServices(t), t: t, client: newClient(), allowed: make(chan struct{}), over: map[string]bool{}}
	t.Cleanup(s.client.CloseIdleConnections)
	s.ann()
	env := with(s.env(t), "BRIDGE_LOG_LEVEL=warn")
	bridge, address := startServe(t, env)
	s.address.Store(&address)
	var all, feeding sync.WaitGroup
	for range 4 {
		all.Go(s.write)
	}
	stop := make(chan struct{})
	feeding.Go(func() {
		defer close(s.allowed)
		for {
			select {
			case s.allowed <- struct{}{}:
			case <-stop:
				return
			}
		}
	})
	eventually(t, "there are enough chats and cards", maxWait, func() bool {
		rooms, _ := s.answeredRooms()
		return len(rooms) >= 30 && len(s.doorsByRoom("bob")) >= 10
	})
	doors := s.doorsByRoom("bob")
	rooms, answered := s.answeredRooms()
	file := filepath.Join(t.TempDir(), "copy.db")
	if status, out, errors := runToEnd(t, env, "backup", file); status != 0 {
		t.Fatalf("the backup ended with %d: %s%s", status, out, errors)
	}
	_, later := s.answeredRooms()
	close(stop)
	feeding.Wait()
	all.Wait()
	bridge.terminate()
	t.Logf("%d deliveries were acknowledged before the backup and %d while it ran", answered, later-answered)

	env = with(env, "BRIDGE_DATABASE=sqlite:"+filepath.Join(t.TempDir(), "restored.db"))
	if status, out, errors := runToEnd(t, env, "restore", file); status != 0 {
		t.Fatalf("the restore ended with %d: %s%s", status, out, errors)
	}
	s.wantDeliveries(env["BRIDGE_DATABASE"], rooms)
	bridge, address = startServe(t, env)
	bob, opened := newBrowser(t, address), 0
	for room, door := range doors {
		if !s.over[room] {
			bob.follow(door).want(t, http.StatusOK, "Ann Silva")
			opened++
		}
	}
	if opened < 3 {
		t.Errorf("only %d doors were tried", opened)
	}
	bridge.terminate()
	s.verify(env["BRIDGE_DATABASE"])
}

// wantDeliveries checks that the database has a delivery of each room.
func (s *sender) wantDeliveries(database string, rooms []string) {
	s.t.Helper()
	there := map[string]bool{}
	rows, err := openDatabase(s.t, database).QueryContext(s.t.Context(), "SELECT dedupe FROM deliveries")
	if err != nil {
		s.t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var key string
		if err := rows.Scan(&key); err != nil {
			s.t.Fatal(err)
		}
		there[regexp.MustCompile(`room[0-9]+`).FindString(key)] = true
	}
	if err := rows.Err(); err != nil {
		s.t.Fatal(err)
	}
	for _, room := range rooms {
		if !there[room] {
			s.t.Errorf("the acknowledged delivery of %s is missing", room)
		}
	}
}

// The commands that are printed for PostgreSQL are run as an operator does.
func TestThePrintedCommandsBackUpAndRestorePostgres(t *testing.T) {
	t.Parallel()
	s := newServices(t)
	s.ann()
	env := with(s.env(t), "BRIDGE_DATABASE="+newDatabase(t, "postgres")+"?pool_max_conns=5")
	if _, err := exec.LookPath("pg_dump"); err != nil {
		t.Skip("there is no pg_dump")
	}
	bridge, address := startServe(t, env)
	door, _ := s.chatWithCard(t, newBrowser(t, address))
	bridge.terminate()
	file := filepath.Join(t.TempDir(), "bridge.dump")
	runPrinted(t, env, "backup", file)
	_, head, _ := runToEnd(t, env, "audit", "verify")

	env = with(env, "BRIDGE_DATABASE="+newDatabase(t, "postgres"))
	for range 2 { // into an empty database, and over another one
		runPrinted(t, env, "restore", file)
		if status, got, errors := runToEnd(t, env, "audit", "verify"); status != 0 || got != head {
			t.Errorf("audit verify printed %q, want %q: %s", got, head, errors)
		}
		bridge, address = startServe(t, env)
		newBrowser(t, address).follow(door).want(t, http.StatusOK, "Ann Silva")
		bridge.terminate()
	}
}

// runPrinted runs the shell command that a command of the bridge prints.
func runPrinted(t *testing.T, env map[string]string, args ...string) {
	t.Helper()
	status, out, errors := runToEnd(t, env, args...)
	line := regexp.MustCompile(`(?m)^  (pg_.*)$`).FindStringSubmatch(errors)
	if status != 2 || out != "" || line == nil {
		t.Fatalf("%s ended with %d: %s%s", strings.Join(args, " "), status, out, errors)
	}
	began := time.Now()
	if text, err := exec.CommandContext(t.Context(), "sh", "-c", line[1]).CombinedOutput(); err != nil {
		t.Fatalf("%s: %v: %s", line[1], err, text)
	}
	t.Logf("%s took %v", args[0], time.Since(began).Round(time.Millisecond))
}
