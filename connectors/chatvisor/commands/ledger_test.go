package commands

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"

	"cobrowse-bridge/connectors/chatvisor/chatvisortest"
)

// A syncTest is an operator whose tenant has an account boss that a person made, and
// accounts old and ren that the bridge created. nextSync creates ann and bob, renames ren
// and deletes old.
type syncTest struct {
	*operator
	ledger string
}

func newSyncTest(t *testing.T) *syncTest {
	o := newOperator(t, "all-steps")
	s := &syncTest{o, filepath.Join(o.dir, "made", "ledger.json")}
	if err := os.Mkdir(filepath.Dir(s.ledger), 0o700); err != nil {
		t.Fatal(err)
	}
	o.AddAgent(chatvisortest.Agent{ID: "s-1", Email: "boss@x.org"})
	if _, err := s.sync("boss@x.org,", "old@x.org,Old", "ren@x.org,R"); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *syncTest) sync(rows ...string) (string, error) {
	return s.run("sync-agents", s.write("agents.csv", "email,firstname\n"+strings.Join(rows, "\n")+"\n"), "--ledger", s.ledger, "--yes", "--allow-delete")
}

// nextSync runs the sync under test.
func (s *syncTest) nextSync() (string, error) {
	return s.sync("boss@x.org,", "ren@x.org,Ren", "ann@x.org,Ann", "bob@x.org,Bob")
}

// deleteAllButBoss runs a sync with a file that has only the boss.
func (s *syncTest) deleteAllButBoss() {
	s.Helper()
	if said, err := s.sync("boss@x.org,"); err != nil {
		s.Errorf("%v after %q", err, said)
	}
}

// state returns the ledger and the accounts of the tenant, by the part before the @. An
// account of the ledger that has another id in the tenant is marked with !.
func (s *syncTest) state() string {
	s.Helper()
	var book ledger
	if data, err := os.ReadFile(s.ledger); err != nil || json.Unmarshal(data, &book) != nil {
		s.Fatal(err)
	}
	name := func(email string) string { return strings.TrimSuffix(email, "@x.org") }
	var made, unknown, there []string
	for _, m := range book.Made {
		made = append(made, name(m.Email))
		if slices.ContainsFunc(s.Agents(), func(a chatvisortest.Agent) bool { return a.Email == m.Email && a.ID != m.ID }) {
			made[len(made)-1] += "!"
		}
	}
	for _, email := range book.Unknown {
		unknown = append(unknown, name(email))
	}
	for _, a := range s.Agents() {
		there = append(there, name(a.Email))
	}
	return fmt.Sprintf("made %s; id not known %s; there %s", strings.Join(made, " "), strings.Join(unknown, " "), strings.Join(there, " "))
}

// The process may die before or after each request. Between two requests it writes the
// ledger at most once, so the test covers all states that it can leave.
func TestASyncThatDiesNeverChangesAnotherAccount(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSyncTest(t)
		type world struct {
			at     string
			ledger []byte
			agents []chatvisortest.Agent
		}
		var worlds []world
		dies := func(at string) {
			data, err := os.ReadFile(s.ledger)
			if err != nil {
				t.Fatal(err)
			}
			worlds = append(worlds, world{at, data, s.Agents()})
		}
		s.between = func(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
			dies("before " + r.Method)
			resp, err := serve()
			dies("after " + r.Method)
			return resp, err
		}
		if _, err := s.nextSync(); err != nil {
			t.Fatal(err)
		}
		dies("at the end")
		s.between = nil

		for i, want := range []struct {
			at, state string
			spared    string // accounts that deleteAllButBoss leaves
		}{
			{"before GET", "made old ren; id not known ; there boss old ren", "boss"},
			{"after GET", "made old ren; id not known ; there boss old ren", "boss"},
			{"before GET", "made old ren; id not known ; there boss old ren", "boss"},
			{"after GET", "made old ren; id not known ; there boss old ren", "boss"},
			{"before POST", "made old ren; id not known ann; there boss old ren", "boss"},
			{"after POST", "made old ren; id not known ann; there boss old ren ann", "boss ann"},
			{"before POST", "made old ren; id not known ann bob; there boss old ren ann", "boss ann"},
			{"after POST", "made old ren; id not known ann bob; there boss old ren ann bob", "boss ann bob"},
			{"before GET", "made old ren; id not known ann bob; there boss old ren ann bob", "boss ann bob"},
			{"after GET", "made old ren; id not known ann bob; there boss old ren ann bob", "boss ann bob"},
			{"before GET", "made old ren; id not known ann bob; there boss old ren ann bob", "boss ann bob"},
			{"after GET", "made old ren; id not known ann bob; there boss old ren ann bob", "boss ann bob"},
			{"before GET", "made old ren; id not known ann bob; there boss old ren ann bob", "boss ann bob"},
			{"after GET", "made old ren; id not known ann bob; there boss old ren ann bob", "boss ann bob"},
			{"before PATCH", "made old ren ann bob; id not known ; there boss old ren ann bob", "boss"},
			{"after PATCH", "made old ren ann bob; id not known ; there boss old ren ann bob", "boss"},
			{"before DELETE", "made old ren ann bob; id not known ; there boss old ren ann bob", "boss"},
			{"after DELETE", "made old ren ann bob; id not known ; there boss ren ann bob", "boss"},
			{"at the end", "made ren ann bob; id not known ; there boss ren ann bob", "boss"},
		} {
			if i >= len(worlds) {
				t.Fatalf("only %d requests, want %q", len(worlds)/2, want.at)
			}
			w := worlds[i]
			begin := func(agents []chatvisortest.Agent) {
				if err := os.WriteFile(s.ledger, w.ledger, 0o600); err != nil {
					t.Fatal(err)
				}
				s.SetAgents(agents...)
			}
			begin(w.agents)
			if got := s.state(); w.at != want.at || got != want.state {
				t.Errorf("%d, %s: %s\nwant %s: %s", i, w.at, got, want.at, want.state)
			}
			s.deleteAllButBoss()
			wantAgents(t, s.operator, strings.Fields(want.spared)...)

			// The next run completes the changes.
			begin(w.agents)
			if said, err := s.nextSync(); err != nil {
				t.Errorf("%d, %s: %v after %q", i, w.at, err, said)
			}
			wantAgents(t, s.operator, "boss", "ren", "ann", "bob")

			// A person deleted all accounts and created them again.
			by := slices.Clone(w.agents)
			for i := range by {
				by[i].ID = fmt.Sprint("hand-", i)
			}
			begin(by)
			s.deleteAllButBoss()
			if !slices.Equal(s.Agents(), by) {
				t.Errorf("%d, %s: accounts of a person were changed: %v", i, w.at, s.Agents())
			}
		}
		if len(worlds) != 19 {
			t.Errorf("%d points at which it can die, want 19", len(worlds))
		}
	})
}

// The process continues after a failed request.
func TestAFailedSyncRecordsTheIdsItFinds(t *testing.T) {
	const (
		refused     = "refused"     // by the service, which changes nothing
		cut         = "cut"         // after the service made the change
		down        = "down"        // like all later requests
		interrupted = "interrupted" // by the operator
	)
	for _, c := range []struct {
		how, request string
		n            int // number of the request with this method
		state        string
		want         []string
	}{
		{refused, "GET", 1, "made old ren; id not known ; there boss old ren", nil},
		{refused, "POST", 1, "made old ren; id not known ; there boss old ren", []string{"ann@x.org: create_agent"}},
		{cut, "POST", 1, "made old ren; id not known ann; there boss old ren ann", []string{"ann@x.org: creating this account failed, but the list contains it now", neverTouched}},
		{down, "POST", 1, "made old ren; id not known ann; there boss old ren", []string{"ann@x.org: possibly created, but the list of agents cannot be read", neverTouched}},
		{refused, "POST", 2, "made old ren ann; id not known ; there boss old ren ann", []string{"bob@x.org: create_agent"}},
		{cut, "POST", 2, "made old ren ann; id not known bob; there boss old ren ann bob", []string{"bob@x.org: creating this account failed, but the list contains it now"}},
		{interrupted, "POST", 2, "made old ren ann; id not known ; there boss old ren ann", []string{"bob@x.org: create_agent: cancelled"}},
		{down, "POST", 2, "made old ren; id not known ann bob; there boss old ren ann", []string{"ann@x.org: possibly created", "bob@x.org: possibly created"}},
		{refused, "GET", 3, "made old ren; id not known ann bob; there boss old ren ann bob", []string{"ann@x.org: possibly created", "bob@x.org: possibly created"}},
		{refused, "GET", 5, "made old ren; id not known ann bob; there boss old ren ann bob", []string{"the list of agents cannot be read"}},
		{refused, "PATCH", 1, "made old ren ann bob; id not known ; there boss old ren ann bob", []string{"ren@x.org: update_agent"}},
		{refused, "DELETE", 1, "made old ren ann bob; id not known ; there boss old ren ann bob", []string{"old@x.org: delete_agent"}},
		{cut, "DELETE", 1, "made old ren ann bob; id not known ; there boss ren ann bob", []string{"old@x.org: delete_agent"}},
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSyncTest(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			s.ctx = ctx
			n, dead := 0, false
			s.between = func(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
				if r.Method == c.request {
					n++
				}
				switch failing := n == c.n && r.Method == c.request; {
				case failing && c.how == interrupted:
					cancel()
					return nil, ctx.Err()
				case failing && c.how == cut:
					_, _ = serve()
					return nil, errors.New("connection reset")
				case failing || dead:
					dead = c.how == down
					return &http.Response{StatusCode: http.StatusInternalServerError, Body: http.NoBody}, nil
				}
				return serve()
			}
			said, err := s.nextSync()
			if err == nil {
				t.Fatalf("%s %s %d: no error after %q", c.how, c.request, c.n, said)
			}
			s.wantText(err.Error(), c.want...)
			if got := s.state(); got != c.state {
				t.Errorf("%s %s %d: %s\nwant %s", c.how, c.request, c.n, got, c.state)
			}
			s.between, s.ctx = nil, t.Context()
			if said, err := s.nextSync(); err != nil {
				t.Errorf("%s %s %d: then %v after %q", c.how, c.request, c.n, err, said)
			}
			wantAgents(t, s.operator, "boss", "ren", "ann", "bob")
		})
	}
}

func TestAnIdThatMayBelongToAnotherAccountIsNotRecorded(t *testing.T) {
	for want, change := range map[string]func(all []chatvisortest.Agent) []chatvisortest.Agent{
		"the list does not contain it":                 func(all []chatvisortest.Agent) []chatvisortest.Agent { return all[:3] },
		"the list has no id for it":                    func(all []chatvisortest.Agent) []chatvisortest.Agent { all[3].ID = ""; return all },
		"an id for it that another account had before": func(all []chatvisortest.Agent) []chatvisortest.Agent { all[3].ID = all[0].ID; return all[1:] },
		"ann@x.org: possibly created, but the list":    func(all []chatvisortest.Agent) []chatvisortest.Agent { return append(all, all[3]) },
	} {
		synctest.Test(t, func(t *testing.T) {
			s := newSyncTest(t)
			s.between = func(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
				resp, err := serve()
				if r.Method == http.MethodPost {
					s.SetAgents(change(s.Agents())...)
				}
				return resp, err
			}
			_, err := s.sync("boss@x.org,", "old@x.org,Old", "ren@x.org,R", "ann@x.org,Ann")
			if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), neverTouched) {
				t.Errorf("%v, want %q", err, want)
			}
			if got := s.state(); !strings.HasPrefix(got, "made old ren; id not known ann; ") {
				t.Errorf("%s: %s", want, got)
			}
		})
	}
}

func TestAnIdInTheLedgerIsNotRecordedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSyncTest(t)
		all := s.Agents()
		s.SetAgents(all[0], all[2]) // a person deleted old
		s.between = func(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
			resp, err := serve()
			if r.Method == http.MethodPost {
				s.SetAgents(all[0], all[2], chatvisortest.Agent{ID: all[1].ID, Email: "ann@x.org", Firstname: "Ann"})
			}
			return resp, err
		}
		_, err := s.sync("boss@x.org,", "ren@x.org,R", "ann@x.org,Ann")
		if err == nil || !strings.Contains(err.Error(), "an id for it that another account had before") {
			t.Error(err)
		}
		if got := s.state(); got != "made old ren; id not known ann; there boss ren ann" {
			t.Error(got)
		}
	})
}

// An account may be missing from a list of pages that changes while it is read.
func TestAnAccountMissingFromOneListStaysInTheLedger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSyncTest(t)
		s.between = func(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
			all := s.Agents()
			if r.Method == http.MethodGet && len(s.changeRequests()) == 2 { // those of newSyncTest
				s.SetAgents(all[:2]...)
				defer s.SetAgents(all...)
			}
			return serve()
		}
		_, err := s.sync("boss@x.org,", "old@x.org,Old", "ren@x.org,R")
		if err == nil || !strings.Contains(err.Error(), "ren@x.org: create_agent") || strings.Contains(err.Error(), neverTouched) {
			t.Error(err)
		}
		if got := s.state(); got != "made old ren; id not known ; there boss old ren" {
			t.Error(got)
		}
	})
}

// Creating many accounts takes minutes, in which people may change others.
func TestWhatChangesWhileAgentsAreCreatedIsLeftAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSyncTest(t)
		s.between = func(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
			if all := s.Agents(); r.Method == http.MethodPost {
				all[1].ID, all[2].ID = "hand-1", "hand-2"
				s.SetAgents(all...)
			}
			return serve()
		}
		said, err := s.nextSync()
		if err != nil {
			t.Fatal(err)
		}
		s.wantText(said, "rename  ren@x.org", "leave   ren@x.org Ren: this account was changed in Chatvisor meanwhile", "leave   old@x.org Old: this account was changed")
		if got := s.state(); got != "made old! ren! ann bob; id not known ; there boss old ren ann bob" {
			t.Error(got)
		}
	})
}

func TestNoAccountIsCreatedIfTheLedgerCannotBeWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSyncTest(t)
		s.between = func(_ *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
			if err := os.RemoveAll(filepath.Dir(s.ledger)); err != nil {
				t.Fatal(err)
			}
			return serve()
		}
		before := len(s.changeRequests())
		if _, err := s.nextSync(); err == nil || !strings.Contains(err.Error(), "ann@x.org was not created") || len(s.changeRequests()) != before {
			t.Errorf("%v after %q", err, s.changeRequests())
		}
	})
}

func TestTwoSyncsDoNotRunAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newSyncTest(t)
		before := s.state()
		release, err := lockLedger(s.ledger)
		if err != nil {
			t.Fatal(err)
		}
		if said, err := s.nextSync(); err == nil || !strings.Contains(err.Error(), "another sync-agents is using") {
			t.Errorf("%v after %q", err, said)
		}
		if after := s.state(); after != before {
			t.Errorf("the refused sync left %q, want %q", after, before)
		}
		release()
		if said, err := s.nextSync(); err != nil {
			t.Errorf("%v after %q", err, said)
		}
	})
}

func TestAnInvalidLedgerIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		o := newOperator(t, "all-steps")
		for text, want := range map[string]string{
			`{"url": "https://api.example.org/rest/v1", "made": ["eve@example.org"]}`:              "Name a new file with --ledger",
			`{"format": 3, "url": "https://api.example.org/rest/v1"}`:                              "has a format that this version does not read",
			`{"format": 2, "url": "https://api.example.org/rest/v1", "made": ["eve@example.org"]}`: "is not a ledger of sync-agents",
			`{"format": 2, "url": "https://emea.example.org/rest/v1"}`:                             "another tenant",
			`{"format": 2, "url": "https://api.exa`:                                                "is not a ledger of sync-agents",
			"email\neve@example.org\n":                                                             "is not a ledger of sync-agents",
			"":                                                                                     "is not a ledger of sync-agents",
		} {
			_, err := o.run("sync-agents", o.write("agents.csv", "email\nann@x.org\n"), "--ledger", o.write("ledger.json", text), "--yes")
			if err == nil || !strings.Contains(err.Error(), want) || len(o.Requests()) > 0 {
				t.Errorf("%s: %v, want %q", text, err, want)
			}
		}
	})
}

func TestASyncRecordsIdsAfterRetryAfter(t *testing.T) {
	for _, wait := range []string{"5", "90"} {
		synctest.Test(t, func(t *testing.T) {
			s := newSyncTest(t)
			made := 0
			s.between = func(r *http.Request, serve func() (*http.Response, error)) (*http.Response, error) {
				if r.Method == http.MethodPost {
					if made++; made == 2 {
						answer := jsonAnswer(r, http.StatusTooManyRequests, "")
						answer.Header.Set("Retry-After", wait)
						return answer, nil
					}
				}
				return serve()
			}
			if said, err := s.nextSync(); err == nil {
				t.Errorf("no error after %q", said)
			}
			if got, want := s.state(), "made old ren ann; id not known ; there boss old ren ann"; got != want {
				t.Errorf("after a wait of %s s: %s, want %s", wait, got, want)
			}
		})
	}
}
