package main

import (
	"bytes"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"cobrowse-bridge/upscope"
)

// neighbourRevision returns the git revision of the version before: BRIDGE_TEST_NEIGHBOUR, or the
// last tag.
func neighbourRevision(t *testing.T) string {
	t.Helper()
	if _, err := exec.LookPath("git"); err != nil {
		t.Skip("there is no git, so the version before cannot be built")
	}
	if named := os.Getenv("BRIDGE_TEST_NEIGHBOUR"); named != "" {
		return named
	}
	if err := exec.CommandContext(t.Context(), "git", "rev-parse", "--git-dir").Run(); err != nil {
		t.Skip("this is no git repository, so the version before cannot be built")
	}
	tag, err := exec.CommandContext(t.Context(), "git", "describe", "--tags", "--abbrev=0").Output()
	if err != nil {
		t.Skip("there is no tag, so there is no version before; BRIDGE_TEST_NEIGHBOUR can name a revision instead")
	}
	return strings.TrimSpace(string(tag))
}

// buildRevision builds the program of a revision and returns its path.
func buildRevision(t *testing.T, revision string) string {
	t.Helper()
	run := func(folder, in string, name string, args ...string) string {
		cmd := exec.CommandContext(t.Context(), name, args...)
		cmd.Dir, cmd.Stdin = folder, strings.NewReader(in)
		var failed bytes.Buffer
		cmd.Stderr = &failed
		out, err := cmd.Output()
		if err != nil {
			t.Fatalf("%s %s: %v: %s", name, strings.Join(args, " "), err, failed.String())
		}
		return string(out)
	}
	top := strings.TrimSpace(run(".", "", "git", "rev-parse", "--show-toplevel"))
	source := t.TempDir()
	run(source, run(top, "", "git", "archive", "--format=tar", revision), "tar", "-x")
	program := filepath.Join(t.TempDir(), "bridge-before")
	run(source, "", "go", "build", "-buildvcs=false", "-o", program, "./cmd/bridge")
	return program
}

// A replica of the version before and one of this version work on one database, as while replicas
// are updated one after another. Each delivery and each press goes to one of them, and the other
// one does the next step of the same chat.
func TestNeighbouringVersionsShareADatabase(t *testing.T) {
	t.Parallel()
	revision := neighbourRevision(t)
	database := newDatabase(t, "postgres")
	before := buildRevision(t, revision)
	s := &sender{services: newServices(t), t: t, client: newClient(), over: map[string]bool{}}
	t.Cleanup(s.client.CloseIdleConnections)
	env := with(s.env(t), "BRIDGE_DATABASE="+database, "BRIDGE_LOG_LEVEL=warn")

	// The version before runs first, and this one updates the tables while it works.
	old := startCommand(t, &exec.Cmd{Path: before, Args: []string{"bridge", "serve"}}, env)
	oldAddress := old.ready()
	s.address.Store(&oldAddress)
	chats := []string{s.neighbourChat(0)}
	present, newAddress := startServe(t, env)
	addresses := []string{oldAddress, newAddress}
	for n := 1; n < 8; n++ {
		s.address.Store(&addresses[n%2])
		chats = append(chats, s.neighbourChat(n))
	}
	eventually(t, "each chat has a card", finishTime, func() bool { return len(s.doorsByRoom("bob")) == len(chats) })

	bob := []*browser{newBrowser(t, oldAddress), newBrowser(t, newAddress)}
	bob[1].cookies = bob[0].cookies // it is one browser
	doors := s.doorsByRoom("bob")
	for n, room := range chats[:4] { // each replica opens cards that it answered and cards of the other
		bob[n/2].loadPage(doors[room]).want(t, http.StatusOK, neighbourName(n))
		bob[n/2].press(doors[room], url.Values{"visitor": {neighbourID(n)}}).wantWatch(t)
	}
	for n, room := range chats[4:6] {
		s.address.Store(&addresses[n])
		s.chat.CloseChat(room)
		s.deliver("LivechatSession", room)
		s.over[room] = true
	}
	s.rooms = chats
	db := openDatabase(t, database)
	eventually(t, lazyText(func() string { return "every chat is handled: " + s.unhandled() }), finishTime, func() bool {
		return s.unhandled() == "" && pending(t, db) == 0
	})

	old.terminate()
	s.address.Store(&newAddress)
	bob[1].loadPage(doors[chats[7]]).want(t, http.StatusOK, neighbourName(7))
	present.terminate()
	s.reconcile(db)
	s.verify(database)
	if n := number(t, db, "SELECT count(*) FROM audit WHERE action = 'watching'"); n != 4 {
		t.Errorf("the audit log has %d presses, want 4", n)
	}
}

func neighbourID(n int) string   { return fmt.Sprintf("customer%03d", n) }
func neighbourName(n int) string { return fmt.Sprintf("Customer Number%d", n) }

// neighbourChat has bob take a chat of a customer of its own, and delivers that.
func (s *sender) neighbourChat(n int) (room string) {
	key := fmt.Sprintf("%08d-a4f1-4c1f-9d3e-2d9f1c6b1a77", n)
	identity := "rocketchat:" + key
	s.upscope.Come(upscope.Visitor{ShortID: neighbourID(n), Name: neighbourName(n), Identities: []string{identity}})
	s.upscope.SetIntegrationIDs(neighbourID(n), identity)
	room = s.openChat(map[string]string{"upscope_key": key})
	s.chat.Take(room, "bob")
	s.deliver("LivechatSessionTaken", room)
	return room
}
