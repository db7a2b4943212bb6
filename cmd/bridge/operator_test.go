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

// command runs a command to its end, and returns what it printed.
func (s *services) command(t testing.TB, env map[string]string, status int, args ...string) string {
	t.Helper()
	p := start(t, env, args...)
	if got := p.wait(patience); got != status {
		t.Fatalf("bridge %s ended with %d, want %d: %s%s", strings.Join(args, " "), got, status, p.out, p.err)
	}
	return p.out.String() + p.err.String()
}

// onEachEngine runs f with a configuration for each kind of database.
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

func TestCommandsWorkBesideABridgeThatRuns(t *testing.T) {
	t.Parallel()
	onEachEngine(t, func(t *testing.T, s *services, env map[string]string) {
		_, address := startServe(t, env)
		bob := newBrowser(t, address)
		// The workspace says that there is no such room: the delivery fails for good,
		// for an operator to see.
		ann := s.ann()
		room := s.opens(keyed())
		s.chat.Take(room, "bob")
		s.chat.Fail("rooms.info", rocketchattest.Fault{Status: 404, Body: `{"success":false,"error":"Resource not found"}`}, 1)
		bob.tells(s, "LivechatSessionTaken", room)
		line := regexp.MustCompile(`(?m)^([0-9a-f-]{36}) .* failed .*`)
		var failed string
		eventually(t, "a delivery that failed is listed", patience, func() bool {
			if m := line.FindStringSubmatch(s.command(t, env, 0, "deliveries", "list")); m != nil {
				failed = m[1]
			}
			return failed != ""
		})
		if shown := s.command(t, env, 0, "deliveries", "show", failed, "--body"); !strings.Contains(shown, room) {
			t.Errorf("the delivery reads %s", shown)
		}
		if got := s.command(t, env, 0, "deliveries", "retry", "--all-failed"); got != "retried "+failed+"\n" {
			t.Errorf("retry prints %q", got)
		}
		eventually(t, "bob has the card", patience, func() bool { return len(s.chat.Posts("bob")) == 1 })
		eventually(t, "nothing is left", patience, func() bool {
			return s.command(t, env, 0, "deliveries", "list") == "No delivery failed or waits.\n"
		})

		// The record, while more is written to it.
		head := lastWord(s.command(t, env, 0, "audit", "verify"))
		bob.follow(s.door(t, "bob"))
		bob.press(s.door(t, "bob"), url.Values{"visitor": {ann}}).wantWatch(t)
		s.command(t, env, 0, "audit", "verify", "--head", head)
		if list := s.command(t, env, 0, "audit", "list", "--action", "watching", "--agent", "rocketchat:a1"); strings.Count(list, "\n") != 2 {
			t.Errorf("the record reads %s", list)
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

func TestAPersonIsErasedThroughKill9(t *testing.T) {
	t.Parallel()
	onEachEngine(t, func(t *testing.T, s *services, env map[string]string) {
		program, address := startServe(t, env)
		bob := newBrowser(t, address)
		ann := s.ann()
		room := s.opens(keyed())
		s.chat.Take(room, "bob")
		bob.tells(s, "LivechatSessionTaken", room)
		eventually(t, "bob has the card", patience, func() bool { return len(s.chat.Posts("bob")) == 1 })
		bob.follow(s.door(t, "bob"))
		bob.press(s.door(t, "bob"), url.Values{"visitor": {ann}}).wantWatch(t)
		s.chat.CloseChat(room)
		bob.tells(s, "LivechatSession", room)
		eventually(t, "all is handled", patience, func() bool {
			return s.command(t, env, 0, "deliveries", "list") == "No delivery failed or waits.\n"
		})
		s.upscope.Go(ann)
		canaries := []string{ann, room, "cust-77", pageKey, "Ann Silva", "shop.example.org/basket"}
		if there := contents(t, env["BRIDGE_DATABASE"]); !strings.Contains(there, ann) || !strings.Contains(there, room) {
			t.Fatal("the database does not hold what is to be erased")
		}
		head := lastWord(s.command(t, env, 0, "audit", "verify"))

		// The bridge is killed while Upscope is asked to remove the visitor.
		met := make(chan bool, 1)
		s.upscope.Fail(upscopetest.DeleteVisitor, upscopetest.Fault{Met: func() { met <- true }, Hang: true}, 1)
		printed := s.command(t, env, 0, "erase", "--unique-id", "cust-77", "--upscope", "--yes")
		receipt := strings.Fields(printed)[1]
		select {
		case <-met:
		case <-time.After(patience):
			t.Fatal("Upscope is not asked to remove the visitor")
		}
		program.kill()
		nothingOf(t, contents(t, env["BRIDGE_DATABASE"]), canaries)
		if state := s.command(t, env, 0, "erase", "--receipt", receipt); !strings.Contains(state, "state    pending") {
			t.Errorf("while no bridge runs: %s", state)
		}

		// The next one goes on.
		startServe(t, env)
		var state string
		eventually(t, saying(func() string { return "done: " + state }), 2*patience+rescue, func() bool {
			state = s.command(t, env, 0, "erase", "--receipt", receipt)
			return strings.Contains(state, "state    done") && strings.Contains(state, "upscope  1 visitors")
		})
		nothingOf(t, contents(t, env["BRIDGE_DATABASE"]), canaries)
		s.command(t, env, 0, "audit", "verify", "--head", head)
		if found := s.command(t, env, 1, "erase", "--unique-id", "cust-77"); !strings.Contains(found, "There are 0 cards") {
			t.Error(found)
		}
		if deleted := s.upscope.Requests()[upscopetest.DeleteVisitor]; deleted != 2 { // the first was never answered
			t.Errorf("Upscope was asked %d times", deleted)
		}
	})
}

// rescue is how long PostgreSQL's jobs of a process that was killed are left alone:
// it may only be slow.
const rescue = 90 * time.Second

func nothingOf(t *testing.T, text string, canaries []string) {
	t.Helper()
	for _, c := range canaries {
		if strings.Contains(text, c) {
			t.Errorf("the database still holds %q", c)
		}
	}
}

// contents is all that a database holds: every byte of SQLite's files, and the
// rows of every table of PostgreSQL.
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
	rows, err := openDatabase(t, address).QueryContext(t.Context(), query)
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
