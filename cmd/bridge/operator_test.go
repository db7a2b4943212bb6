package main

import (
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"cobrowse-bridge/connectors/rocketchat/rocketchattest"
	"cobrowse-bridge/upscope/upscopetest"
)

// command runs a command, checks its exit status and returns its output.
func (s *services) command(t testing.TB, env map[string]string, status int, args ...string) string {
	t.Helper()
	p := start(t, env, args...)
	if got := p.wait(maxWait); got != status {
		t.Fatalf("bridge %s ended with %d, want %d: %s%s", strings.Join(args, " "), got, status, p.out, p.err)
	}
	return p.out.String() + p.err.String()
}

// onEachEngine runs f with SQLite and with PostgreSQL.
func onEachEngine(t *testing.T, f func(t *testing.T, s *services, env map[string]string)) {
	for _, engine := range []string{"sqlite", "postgres"} {
		t.Run(engine, func(t *testing.T) {
			t.Parallel()
			address := newDatabase(t, engine)
			s := newServices(t)
			f(t, s, with(s.env(t), "BRIDGE_DATABASE="+address, "BRIDGE_LOG_LEVEL=warn"))
		})
	}
}

func TestCommandsWorkWhileTheBridgeRuns(t *testing.T) {
	t.Parallel()
	onEachEngine(t, func(t *testing.T, s *services, env map[string]string) {
		_, address := startServe(t, env)
		bob := newBrowser(t, address)
		// Rocket.Chat answers that the room does not exist. So the delivery fails without
		// further retries, and the operator sees it.
		ann := s.ann()
		room := s.openChat(pageKeyFields())
		s.chat.Take(room, "bob")
		s.chat.Fail("rooms.info", rocketchattest.Fault{Status: 404, Body: `{"success":false,"error":"Resource not found"}`}, 1)
		bob.deliverEvent(s, "LivechatSessionTaken", room)
		line := regexp.MustCompile(`(?m)^([0-9a-f-]{36}) .* failed .*`)
		var failed string
		eventually(t, "a delivery that failed is listed", maxWait, func() bool {
			if m := line.FindStringSubmatch(s.command(t, env, 0, "deliveries", "list")); m != nil {
				failed = m[1]
			}
			return failed != ""
		})
		if shown := s.command(t, env, 0, "deliveries", "show", failed, "--body"); !strings.Contains(shown, room) {
			t.Errorf("the delivery is shown as %s", shown)
		}
		if got := s.command(t, with(env, "BRIDGE_LISTEN="+address), 1, "check"); !strings.Contains(got, "problem  Failed: 1. Failed and retried automatically: 0. [bridge.failures]\n") {
			t.Errorf("check prints %s", got)
		}
		if got := s.command(t, env, 0, "deliveries", "retry", "--all-failed"); got != "Retried: 1.\n" {
			t.Errorf("retry prints %q", got)
		}
		eventually(t, "bob has the card", maxWait, func() bool { return len(s.chat.Posts("bob")) == 1 })
		eventually(t, "the list is empty", maxWait, func() bool {
			return s.command(t, env, 0, "deliveries", "list") == "No delivery waits, and nothing failed.\n"
		})

		if got := s.command(t, with(env, "BRIDGE_LISTEN="+address), 0, "check"); !strings.Contains(got, "ok       Nothing failed in the running bridge. [bridge.failures]\n") {
			t.Errorf("check prints %s", got)
		}

		// The audit log can be read and verified while the bridge writes to it.
		head := lastWord(s.command(t, env, 0, "audit", "verify"))
		bob.follow(s.door(t, "bob"))
		bob.press(s.door(t, "bob"), url.Values{"visitor": {ann}}).wantWatch(t)
		s.command(t, env, 0, "audit", "verify", "--head", head)
		if list := s.command(t, env, 0, "audit", "list", "--action", "watching", "--agent", "rocketchat:a1"); strings.Count(list, "\n") != 2 {
			t.Errorf("the audit log is %s", list)
		}
		if lines := s.command(t, env, 0, "audit", "export"); strings.Count(lines, "\n") < 3 {
			t.Errorf("exported %s", lines)
		}
	})
}

func lastWord(text string) string {
	words := strings.Fields(text)
	return words[len(words)-1]
}

func TestAnErasureSurvivesKill9(t *testing.T) {
	t.Parallel()
	onEachEngine(t, func(t *testing.T, s *services, env map[string]string) {
		program, address := startServe(t, env)
		// Otherwise the first sweep, a second after the start, could find the chat again
		// after the person was erased.
		eventually(t, "the first sweep is over", maxWait, func() bool {
			return len(rowsOf(t, env["BRIDGE_DATABASE"], `SELECT connector FROM sweeps WHERE ended > 0`)) == 1
		})
		bob := newBrowser(t, address)
		ann := s.ann()
		room := s.openChat(pageKeyFields())
		s.chat.Take(room, "bob")
		bob.deliverEvent(s, "LivechatSessionTaken", room)
		eventually(t, "bob has the card", maxWait, func() bool { return len(s.chat.Posts("bob")) == 1 })
		bob.follow(s.door(t, "bob"))
		bob.press(s.door(t, "bob"), url.Values{"visitor": {ann}}).wantWatch(t)
		s.chat.CloseChat(room)
		bob.deliverEvent(s, "LivechatSession", room)
		eventually(t, "all deliveries are handled", maxWait, func() bool {
			return s.command(t, env, 0, "deliveries", "list") == "No delivery waits, and nothing failed.\n"
		})
		s.upscope.Go(ann)
		canaries := []string{ann, room, "cust-77", pageKey, "Ann Silva", "shop.example.org/basket"}
		if there := contents(t, env["BRIDGE_DATABASE"]); !strings.Contains(there, ann) || !strings.Contains(there, room) {
			t.Fatal("the database does not contain the data that is to be erased")
		}
		head := lastWord(s.command(t, env, 0, "audit", "verify"))

		// The bridge is killed while Upscope is asked to remove the visitor.
		met := make(chan bool, 1)
		s.upscope.Fail(upscopetest.DeleteVisitor, upscopetest.Fault{Met: func() { met <- true }, Hang: true}, 1)
		printed := s.command(t, env, 0, "erase", "--unique-id", "cust-77", "--upscope", "--yes")
		receipt := strings.Fields(printed)[1]
		select {
		case <-met:
		case <-time.After(maxWait):
			t.Fatal("the bridge did not ask Upscope to remove the visitor")
		}
		program.kill()
		checkErased(t, contents(t, env["BRIDGE_DATABASE"]), canaries)
		if state := s.command(t, env, 0, "erase", "--receipt", receipt); !strings.Contains(state, "state      pending") {
			t.Errorf("while no bridge runs: %s", state)
		}

		// The next bridge continues the erasure.
		startServe(t, env)
		var state string
		eventually(t, lazyText(func() string { return "done: " + state }), 2*maxWait+rescue, func() bool {
			state = s.command(t, env, 0, "erase", "--receipt", receipt)
			return strings.Contains(state, "state      done") && strings.Contains(state, "upscope    1 customers removed")
		})
		checkErased(t, contents(t, env["BRIDGE_DATABASE"]), canaries)
		s.command(t, env, 0, "audit", "verify", "--head", head)
		if found := s.command(t, env, 0, "erase", "--unique-id", "cust-77"); !strings.Contains(found, "no data about this person") {
			t.Error(found)
		}
		if deleted := s.upscope.Requests()[upscopetest.DeleteVisitor]; deleted != 2 { // the first was never answered
			t.Errorf("Upscope was asked %d times, want 2", deleted)
		}
	})
}

// rescue is the time after which jobs of a killed process on PostgreSQL run again. Before
// that, the process may only be slow.
const rescue = 90 * time.Second

func checkErased(t *testing.T, text string, canaries []string) {
	t.Helper()
	for _, c := range canaries {
		if strings.Contains(text, c) {
			t.Errorf("the database still contains %q", c)
		}
	}
}

// contents returns every byte of SQLite's files, or the rows of every PostgreSQL table.
func contents(t *testing.T, address string) string {
	t.Helper()
	var all strings.Builder
	if file, ok := strings.CutPrefix(address, "sqlite:"); ok {
		names, err := filepath.Glob(file + "*")
		if err != nil || len(names) == 0 {
			t.Fatalf("no files: %v", err)
		}
		for _, name := range names {
			content, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			all.Write(content)
		}
		return all.String()
	}
	tables := rowsOf(t, address, `SELECT tablename::text FROM pg_tables WHERE schemaname = 'public'`)
	for _, table := range tables {
		all.WriteString(strings.Join(rowsOf(t, address, fmt.Sprintf(`SELECT t::text FROM %q t`, table)), "\n"))
	}
	return all.String()
}

func rowsOf(t *testing.T, address, query string) (all []string) {
	t.Helper()
	db := openDatabase(t, address)
	defer func() { _ = db.Close() }() // a caller may ask often, and a server has few connections
	rows, err := db.QueryContext(t.Context(), query)
	if err != nil {
		t.Fatal(err)
	}
	defer rows.Close()
	for rows.Next() {
		var s string
		if err := rows.Scan(&s); err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	if err := rows.Err(); err != nil {
		t.Fatal(err)
	}
	return all
}
